//! The path of the data: items in, timeline entries and a snapshot out.
//!
//! In: [`Item`]s from any source. Out: [`Entry`]s as they become certain, and at the end one [`Snapshot`].
//! Live runs and replays share every line from here on.

mod counted;
mod finish;
mod listeners;
mod window;

use std::collections::VecDeque;

use profiler_common::loss::{LOSS_NAMES, WAKE_MISSED};
use profiler_common::record::slice::Undecided;
use rustc_hash::FxHashMap;

use crate::decode;
use crate::decode::open::slice_of;
use crate::event::{Body, Change, Connection, Event, Lifecycle, Slice};
use crate::fact::queue::AcceptQueues;
use crate::fact::waiting::WaitingConnections;
use crate::fact::{
    Attached, CgroupCpu, Counters, DescriptorClass, DescriptorSeen, Fact, ProcessSeen, SessionStarted, Sight,
};
use crate::machine::driver::state::{MAX_OPEN, State};
use crate::machine::runtime::handoff;
use crate::machine::time::slot::Heat;
use crate::machine::world::descriptor::Descriptors;
use crate::machine::world::waiter::ListenerWaits;
use crate::machine::world::wake::Wakes;
use crate::model::{CgroupWindow, Snapshot, Window};
use crate::order::Order;
use crate::phase::Phase;
use crate::stream::Item;
use crate::timeline::Entry;

/// How long an event waits for earlier ones from other CPUs.
const HOLD_BACK_NS: u64 = 100_000_000;
/// Connections that nobody serves as a window ends, of which each is an open request.
const MAX_WAITING: usize = profiler_common::waiting::MAX_WAITING as usize;
/// Threads whose totals are compared with the kernel's.
const MAX_TOTALS: usize = 16_384;
/// Cgroups whose CPU accounts are kept.
const MAX_CGROUPS: usize = 1024;
/// Stretches in which something is left out.
const MAX_LEFT_OUT: usize = 64;

/// Phases that a run cannot measure, each with its reason. It needs the attach report and the facts about
/// interpreters. `gil`: why waits for the interpreter lock are not measured, if they are not. `sight`: what
/// threads were seen to do.
pub fn not_measured(
    arrival_measured: bool,
    gil: Option<String>,
    front_end_traced: bool,
    sight: Sight,
) -> Vec<(Phase, String)> {
    let mut list = Vec::new();
    if sight != Sight::Calls {
        let untold = Phase::ALL.into_iter().filter(|phase| !sight.tells(*phase));
        list.extend(untold.map(|phase| (phase, Attached::LIGHT_SEES_NO_CALLS.to_owned())));
        if let Some(reason) = gil.filter(|_| sight.tells(Phase::GilWait)) {
            list.push((Phase::GilWait, reason));
        }
        list.sort_by_key(|(phase, _)| *phase);
        return list;
    }
    if !front_end_traced {
        list.push((Phase::FrontEnd, "no front end is traced".to_owned()));
    }
    if let Some(reason) = gil {
        list.insert(0, (Phase::GilWait, reason));
    }
    if !arrival_measured {
        let reason = "this kernel does not show when data arrive (sock:sk_data_ready, Linux 6.3)";
        list.insert(0, (Phase::AcceptQueue, reason.to_owned()));
    }
    list
}

/// What a consumer wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Thread slices on the timeline, not only requests.
    pub thread_slices: bool,
}

/// How far a run is, for a progress line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Requests completed.
    pub completed: u64,
    /// Requests in flight.
    pub in_flight: u32,
    /// Length of the window so far.
    pub elapsed_ns: u64,
    /// Records lost, late or malformed.
    pub lost: u64,
}

/// All stages after the source.
#[derive(Clone, Debug)]
pub struct Pipeline {
    order: Order,
    machines: Machines,
    malformed: u64,
}

/// What the ordered events change.
#[derive(Clone, Debug)]
struct Machines {
    state: State,
    session: SessionStarted,
    attached: Attached,
    readings: counted::Readings,
    undecided_waits: u64,
    listening: listeners::Listening,
    wakes: Wakes,
    waits: ListenerWaits,
    window: Window,
    started: bool,
    received: counted::Received,
    before: window::Before,
    /// Windows that have ended and that nobody has taken yet, oldest first.
    windows: VecDeque<Snapshot>,
}

impl Pipeline {
    /// An empty pipeline.
    pub fn new(settings: Settings) -> Self {
        Self {
            order: Order::new(HOLD_BACK_NS),
            machines: Machines {
                state: State::new(settings.thread_slices),
                session: SessionStarted::default(),
                attached: Attached::default(),
                readings: counted::Readings::default(),
                undecided_waits: 0,
                listening: listeners::Listening::default(),
                wakes: Wakes::default(),
                waits: ListenerWaits::default(),
                window: Window::default(),
                started: false,
                received: counted::Received::default(),
                before: window::Before::default(),
                windows: VecDeque::new(),
            },
            malformed: 0,
        }
    }

    /// Takes one item. Entries that become certain go to `sink`.
    pub fn push<B: AsRef<[u8]>>(&mut self, item: Item<B>, sink: &mut dyn FnMut(Entry)) {
        match item {
            Item::Kernel(bytes) => self.take(Item::Kernel(bytes.as_ref()), sink),
            Item::Fact(fact) => self.take(Item::Fact(fact), sink),
        }
    }

    /// Takes an item, whoever has its bytes. Compiled here, together with what it calls, and not where it is
    /// used.
    fn take(&mut self, item: Item<&[u8]>, sink: &mut dyn FnMut(Entry)) {
        let in_place = match &item {
            Item::Kernel(bytes) => decode::slice_in_place(bytes),
            Item::Fact(_) => None,
        };
        // Nearly every item is a slice: it is decoded straight to where it waits.
        if let Some(record) = in_place {
            self.order
                .push_with(record.header.time_ns, || Body::Slice(decode::slice(record, Undecided::NOTHING)));
        } else {
            match decode::item(item) {
                Ok(event) => self.order.push(event),
                Err(_) => self.malformed = self.malformed.saturating_add(1),
            }
        }
        let machines = &mut self.machines;
        machines.received = counted::Received { malformed: self.malformed, order: self.order.counts() };
        self.order.release(&mut |event| machines.event(event, sink));
    }

    /// How far the run is.
    pub fn progress(&self) -> Progress {
        let machines = &self.machines;
        let lost = finish::total(&machines.readings.counters.lost);
        Progress {
            completed: machines.state.product.summary.completed(),
            in_flight: machines.state.product.summary.in_flight,
            elapsed_ns: machines.window.length_ns(),
            lost: lost.saturating_add(self.malformed).saturating_add(self.order.counts().late_events),
        }
    }

    /// Takes what is held back, as if nothing earlier could come any more.
    fn catch_up(&mut self, sink: &mut dyn FnMut(Entry)) {
        let machines = &mut self.machines;
        self.order.release_all(&mut |event| machines.event(event, sink));
    }

    /// The stream has ended: closes what is open and makes the snapshot.
    pub fn finish(self, sink: &mut dyn FnMut(Entry)) -> Snapshot {
        self.finish_windows(sink).1
    }

    /// The stream has ended: the windows before the last one that nobody has taken, oldest first, and the
    /// snapshot of the last.
    pub fn finish_windows(self, sink: &mut dyn FnMut(Entry)) -> (Vec<Snapshot>, Snapshot) {
        let mut machines = self.machines;
        let counts = self.order.finish(&mut |event| machines.event(event, sink));
        machines.received = counted::Received { malformed: self.malformed, order: counts };
        let windows = std::mem::take(&mut machines.windows).into();
        (windows, machines.finish(sink))
    }
}

impl Machines {
    /// Takes an event out of where it waited. Nearly all are read where they lie.
    fn event(&mut self, place: &mut Option<Event>, sink: &mut dyn FnMut(Entry)) {
        let Some(event) = place else { return };
        let time_ns = event.time_ns;
        if self.window.end_reason.is_none() {
            self.window.end_ns = self.window.end_ns.max(time_ns);
        } else if time_ns > self.window.end_ns {
            // No source sends what happened later: the recording was tampered with.
            self.state.product.summary.impossible("record_after_the_end", 1);
            return;
        }
        if let Body::Slice(slice) = &mut event.body {
            self.slice(slice, sink);
        } else {
            self.beside_slices(place, sink);
        }
    }

    /// What is no slice, taken out of where it waited only if it has to be.
    #[inline(never)]
    fn beside_slices(&mut self, place: &mut Option<Event>, sink: &mut dyn FnMut(Entry)) {
        match place {
            Some(Event { time_ns, body: Body::Light(light) }) => self.state.light(light, *time_ns, sink),
            Some(Event { time_ns, body: Body::Slept(slept) }) => self.state.slept(slept, *time_ns, sink),
            Some(Event { time_ns, body: Body::Connection(opened) }) => {
                self.connection(opened, *time_ns, sink);
            }
            _ => {
                if let Some(event) = place.take() {
                    self.other(event, sink);
                }
            }
        }
    }

    fn slice(&mut self, slice: &mut Slice, sink: &mut dyn FnMut(Entry)) {
        if slice.lock.holder_tid > 0 {
            slice.lock.holder_tid = self.state.gil.thread(slice.tgid, slice.lock.holder_tid);
        }
        if slice.lock.last_holder_tid > 0 {
            slice.lock.last_holder_tid = self.state.gil.thread(slice.tgid, slice.lock.last_holder_tid);
        }
        self.listening.counts.slice(slice, self.started);
        self.wakes.slice(slice, self.started, sink);
        self.waits.slice(slice, &self.state.world, |slice| self.state.gil.is_wait(slice));
        self.follow_listeners(slice);
        self.state.slice(slice, sink);
    }

    fn other(&mut self, Event { time_ns, body }: Event, sink: &mut dyn FnMut(Entry)) {
        match body {
            Body::Slice(mut slice) => self.slice(&mut slice, sink),
            Body::Head(head) => {
                self.state.heads.insert(head.tid, head);
            }
            Body::Plaintext(plaintext) => {
                let State { wire, world, .. } = &mut self.state;
                wire.plaintexts.take(&mut wire.connections, &plaintext, world.wall_clock_offset_ns);
            }
            Body::Connection(opened) => self.connection(&opened, time_ns, sink),
            Body::Wake(wake) => self.wakes.wake(&wake, time_ns, self.started, sink),
            Body::Frames(frames) => self.state.gil.samples.sample(*frames, time_ns),
            Body::Task(seen) => self.state.runtime.tasks.switch(&seen, time_ns),
            Body::Timer(seen) => self.state.runtime.timer(&seen, time_ns),
            Body::Light(light) => self.state.light(&light, time_ns, sink),
            Body::LightEnd(end) => self.state.light_closed(&end, time_ns, sink),
            Body::Slept(slept) => self.state.slept(&slept, time_ns, sink),
            Body::CpuTaken(taken) => self.state.note_cpu_taken(&taken, time_ns),
            Body::Lifecycle(lifecycle) => self.lifecycle(&lifecycle, time_ns, sink),
            Body::Evidence(evidence) => {
                self.state.evidence(&evidence, time_ns, sink);
            }
            Body::Fact(fact) => self.fact(*fact, time_ns, sink),
        }
    }

    fn connection(&mut self, opened: &Connection, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        if !opened.seeded {
            self.listening.counts.accepted(opened, time_ns, self.started);
            let listener = (opened.tgid, opened.listener_fd);
            if self.started {
                self.state.world.count_accept(listener, 0);
            }
            if let Some(inode) = self.state.world.processes.listener_inode(opened.tgid, opened.listener_fd) {
                self.listening.queues.accepted(inode, opened, time_ns, self.started);
            }
            self.state.end_predecessor(opened.tgid, opened.fd, time_ns, sink);
        }
        let number = self.state.wire.connections.open(opened, time_ns);
        self.comes_from_listener(number, opened, time_ns);
        if let Some(number) = number {
            self.state.opened(number, opened);
            let (tgid, fd) = (opened.tgid, opened.fd);
            self.state.world.descriptors.open_client(tgid, fd, time_ns, number);
        }
    }

    fn lifecycle(&mut self, lifecycle: &Lifecycle, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let state = &mut self.state;
        if let Some(tgid) = state.world.processes.change(lifecycle) {
            sink(Entry::Process { tgid, name: lifecycle.comm.clone() });
        }
        state.product.lives.change(lifecycle, time_ns);
        let name = lifecycle.comm.clone();
        match lifecycle.change {
            Change::Fork { child_tgid, child_tid, child_number } => {
                state.world.descriptors.fork(lifecycle.tgid, child_tgid);
                state.join.topology.fork(lifecycle.tgid, child_tgid);
                state.gil.fork(lifecycle.tgid, child_tgid);
                state.gil.born((child_tgid, child_tid), child_number);
                state.note_birth((child_tgid, child_tid), lifecycle.tid, time_ns);
                if child_tgid == lifecycle.tgid {
                    if let Some(thread) = state.runtime.threads.get_mut(lifecycle.tid)
                        && !thread.helpers.start(child_tid)
                    {
                        state.evict();
                    }
                    handoff::made(
                        &mut state.runtime_context(),
                        lifecycle.tgid,
                        (lifecycle.tid, child_tid),
                        time_ns,
                    );
                } else {
                    state.product.drops.born(child_tgid, lifecycle.tgid);
                    state.world.stops.born(child_tgid);
                }
                sink(Entry::Thread { tgid: child_tgid, tid: child_tid, name });
            }
            Change::Adopted => sink(Entry::Thread { tgid: lifecycle.tgid, tid: lifecycle.tid, name }),
            Change::Exec => {
                state.gil.exec(lifecycle.tgid);
                state.note_exec(lifecycle.tgid, &name);
            }
            Change::Exit { code } => {
                self.listening.forget(lifecycle.tid);
                self.wakes.forget(lifecycle.tid);
                self.waits.forget(lifecycle.tid);
                handoff::ended(&mut state.runtime_context(), lifecycle.tgid, lifecycle.tid);
                state.end_light_thread(lifecycle.tid, time_ns);
                state.end_thread(lifecycle.tid, time_ns);
                state.note_end(lifecycle.tid, time_ns);
                if lifecycle.tid == lifecycle.tgid {
                    state.end_process(lifecycle.tgid, code, time_ns, sink);
                }
            }
        }
    }

    fn fact(&mut self, fact: Fact, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        if fact.process().is_some_and(|tgid| self.state.world.processes.is_gone(tgid)) {
            return;
        }
        match fact {
            Fact::SessionStarted(session) => {
                self.state.world.wall_clock_offset_ns = Some(session.wall_clock_offset_ns);
                self.session = session;
            }
            Fact::Attached(attached) => {
                self.state.world.arrival_measured = attached.arrival_measured;
                self.state.time.is_light = attached.is_light();
                self.state.wire.plaintexts.placed = attached.reads_tls();
                self.attached = attached;
            }
            Fact::ProcessSeen(process) => self.process_seen(&process, sink),
            Fact::InterpreterSeen(seen) => self.state.gil.see(seen),
            Fact::ThreadNumbers(seen) => self.state.gil.number(&seen),
            Fact::GilMethod(method) => {
                self.state.gil.samples.wanted = method.stacks;
                self.state.gil.method.note(method);
            }
            Fact::FrameSeen(seen) => self.state.gil.samples.see(seen),
            Fact::ListenerSeen(listener) => {
                self.state.world.descriptors.reclass(listener.tgid, listener.fd, DescriptorClass::Listener);
                self.listener_seen(&listener);
                self.state.join.topology_is_old = true;
            }
            Fact::ForeignHolders(found) => self.listening.foreign = found,
            Fact::DescriptorSeen(seen) => descriptor_seen(&mut self.state.world.descriptors, seen),
            Fact::WindowStarted => self.start_window(time_ns),
            Fact::Tick => self.tick(time_ns, sink),
            Fact::Counters(counters) => self.count(counters, time_ns),
            Fact::ListenerCounts(counts) => self.listening.counts.count(&counts, self.started),
            Fact::AcceptQueues(reading) => self.read_queues(&reading, time_ns, sink),
            Fact::QueueCounts(counts) => self.listening.queues.count(&counts, self.started),
            Fact::NetworkCounters(counters) => self.listening.queues.network(&counters, self.started),
            Fact::WaitingConnections(waiting) => self.waiting(waiting),
            Fact::OpenFiles(reading) => self.state.product.drops.open_files(reading),
            Fact::AsleepSeen(seen) => self.state.note_asleep(seen, time_ns),
            Fact::PlaceSeen(place) => self.state.note_place(place),
            Fact::SampleSeen(sample) => self.state.note_sample(sample),
            Fact::OwnCode(own) => self.state.note_own(own),
            Fact::Patrol(patrol) => self.readings.patrol = patrol,
            Fact::CgroupCpu(cgroup) => self.cgroup(cgroup),
            Fact::CgroupMemory(memory) => self.readings.memory = Some(memory),
            Fact::Container(container) => self.readings.container = Some(container),
            Fact::MachineCpu(reading) => {
                let first = self.readings.machine.map_or(reading, |(first, _)| first);
                self.readings.machine = Some((first, reading));
                self.state.note_machine_cpu(&reading);
            }
            Fact::ProcessMemory(memory) => self.state.product.by_process.remember(memory),
            Fact::OpenSlice(_)
                if self.readings.open.len().max(self.state.runtime.initial.len()) >= MAX_OPEN =>
            {
                self.state.evict();
            }
            // Before the window: what the threads were in the middle of when they were first seen.
            Fact::OpenSlice(open) if !self.started => {
                let found = slice_of(&open, time_ns);
                self.listening.counts.found_inside(&found);
                self.waits.inside(&found, &self.state.world);
                self.state.runtime.initial.insert(open.tid, found);
            }
            Fact::OpenSlice(open) => self.readings.open.push(open.as_of(time_ns)),
            Fact::ThreadTotals(_) if self.readings.totals.len() >= MAX_TOTALS => {
                self.state.evict();
            }
            Fact::ThreadTotals(totals) => self.readings.totals.push(totals),
            Fact::Overhead(overhead) => self.readings.overhead = Some(overhead),
            Fact::LeftOut(_) if self.readings.left_out.len() >= MAX_LEFT_OUT => self.state.evict(),
            Fact::LeftOut(left_out) => self.readings.left_out.push(left_out),
            Fact::WindowRolled => self.roll(time_ns, sink),
            Fact::WindowEnded { reason } => {
                self.window.end_ns = time_ns;
                self.window.end_reason = Some(reason);
            }
        }
    }

    fn process_seen(&mut self, process: &ProcessSeen, sink: &mut dyn FnMut(Entry)) {
        sink(Entry::Process { tgid: process.tgid, name: process.comm.clone() });
        for (tid, name) in &process.threads {
            sink(Entry::Thread { tgid: process.tgid, tid: *tid, name: name.clone() });
        }
        self.state.product.drops.seen(process.tgid, process.parent_tgid);
        self.state.world.processes.see(process);
        self.state.join.topology_is_old = true;
    }

    /// What is done at each tick.
    fn tick(&mut self, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        // Where damage took the start of the window out of a recording, what is left still counts.
        self.start_window(time_ns);
        self.state.expire(Some(time_ns), sink);
        let State { world, time, .. } = &mut self.state;
        self.waits.acceptors(world, |inode, tgid, since_ns| time.capacity.accepts(inode, tgid, since_ns));
        self.state.settle(None, sink);
        self.state.product.drops.expire(time_ns, sink);
    }

    /// Cumulative counters: the newest replace earlier ones. A missed wakeup is a doubt, not a loss.
    fn count(&mut self, mut counters: Counters, time_ns: u64) {
        let missed = LOSS_NAMES.get(WAKE_MISSED as usize).copied().unwrap_or_default();
        self.undecided_waits = 0;
        counters.lost.retain(|(name, count)| {
            let is_missed = name == missed;
            self.undecided_waits = self.undecided_waits.saturating_add(if is_missed { *count } else { 0 });
            !is_missed
        });
        let unread = self.received.malformed.saturating_add(self.received.order.late_events);
        self.state.product.drops.lost.count(&counters, unread, time_ns);
        self.readings.counters = counters;
    }

    fn start_window(&mut self, time_ns: u64) {
        if self.started {
            return;
        }
        self.started = true;
        let State { world, time, .. } = &mut self.state;
        self.waits.acceptors(world, |inode, tgid, since_ns| time.capacity.accepts(inode, tgid, since_ns));
        self.window.start_ns = time_ns;
        self.state.window_start_ns = time_ns;
        self.state.watch_start_ns = time_ns;
        self.state.join.links.start(time_ns);
        self.listening.queues.start(time_ns);
        // What was accepted before is no part of it.
        self.state.world.accepts.clear();
        self.state.time.busy.start(time_ns);
        self.state.time.heat = Heat::new(time_ns);
        self.state.product.drops.start(time_ns);
    }

    fn read_queues(&mut self, reading: &AcceptQueues, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let mut addresses: FxHashMap<u64, &str> = FxHashMap::default();
        for seen in &self.state.world.processes.listeners {
            addresses.entry(seen.inode).or_insert(&seen.address);
        }
        for queue in &reading.queues {
            let inode = queue.inode;
            let address = addresses.get(&inode).copied().unwrap_or_default().to_owned();
            sink(Entry::AcceptQueue { time_ns, inode, address, depth: queue.depth });
        }
        self.listening.queues.read(reading, time_ns, self.started);
    }

    fn waiting(&mut self, mut waiting: WaitingConnections) {
        for _ in waiting.connections.drain(MAX_WAITING.min(waiting.connections.len())..) {
            self.state.evict();
        }
        self.state.evicted = self.state.evicted.saturating_add(waiting.beyond);
        self.readings.waiting = waiting;
    }

    fn cgroup(&mut self, seen: CgroupCpu) {
        let has_room = self.readings.cgroups.len() < MAX_CGROUPS;
        match self.readings.cgroups.iter_mut().find(|window| window.first.cgroup == seen.cgroup) {
            Some(window) => window.last = seen,
            None if has_room => {
                self.readings.cgroups.push(CgroupWindow { first: seen.clone(), last: seen });
            }
            None => self.state.evict(),
        }
    }
}

/// A descriptor as /proc shows it. What a call or the kernel's iterator showed of it is newer.
fn descriptor_seen(descriptors: &mut Descriptors, seen: DescriptorSeen) {
    let (tgid, fd) = (seen.tgid, seen.fd);
    let known = descriptors.get(tgid, fd);
    if known.is_some_and(|known| known.opened_ns != 0 || known.connection.is_some()) {
        return;
    }
    descriptors.open(tgid, fd, seen.class, 0);
    descriptors.set_interest(tgid, fd, seen.interest, &seen.interest_events);
    if seen.shared {
        descriptors.share(tgid, fd);
    }
    descriptors.identify(tgid, fd, u64::from(seen.local_port));
}

#[cfg(test)]
mod tests;
