//! The end of a window: what is open is closed as open, sums become the snapshot.
//!
//! In: the machines' state at the end of the stream. Out: the [`Snapshot`].

mod listeners;
use crate::model::{
    ByEndpoint, Conservation, Coverage, Listener, Losses, Process, Server, Snapshot, Sockets,
    Thread as ThreadTotal,
};
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::fact::holders::ForeignHolders;
use crate::fact::{Account, Attached, OpenSlice, Overhead, Sight, ThreadTotals};
use crate::machine::driver::state::State;
use crate::machine::join::front;
use crate::machine::time::slot::Busy;
use crate::machine::time::state::Time;
use crate::machine::world::queue::Measured;
use crate::machine::world::waiter::Found;
use crate::model::dropped::{Cause, Counted, Dropped, Example};
use crate::model::gil::Gil;
use crate::model::slot::{HeatRow, Slot, Slots};
use crate::server::{Inside, Observed, Recognised, Role, ServerKind, recognise, slots_of_one_worker};
use crate::timeline::Entry;

use super::counted::{self, Received};
use super::{Machines, not_measured};
use crate::decode::open::slice_of;

impl Machines {
    /// Closes everything and makes the snapshot.
    pub(super) fn finish(mut self, sink: &mut dyn FnMut(Entry)) -> Snapshot {
        let counted = self.counted();
        let waiting = self.close(sink);
        let has_front_end = self.state.join.topology.has_front_end();
        let losses = self.losses(counted);
        let laws = std::mem::take(&mut self.state.time.conservation);
        let laws = Conservation { requests_broken: self.state.product.summary.broken, ..laws };
        let (overhead, totals) = (self.readings.overhead.as_ref(), &self.readings.totals);
        let (conservation, impossible) = conserved(laws, &losses, overhead, totals);
        let recognised = recognise(&self.state.world.processes.seen, &self.state.world.processes.listeners);
        let server = recognised.kind.refine(&recognised.server, &observed(&self.state, &recognised));
        let front_end = has_front_end.then(|| front::report(&self.state.world, &self.state.join));
        let processes = processes(&self.state, &recognised);
        let listeners = self.told_listeners(waiting);
        let blind_spots = self.blind_spots(impossible, &listeners);
        let dropped = self.dropped(&listeners, &processes, sink);
        let slots = self.slots((recognised.kind, &server), &processes);
        let mut capacity = self.state.product.by_process.finish(
            &slots,
            &processes,
            (&self.state.time.busy, &self.state.time.busy_of),
            self.attached.arrival_measured && slots.not_measured.is_none(),
        );
        capacity.lives =
            std::mem::take(&mut self.state.product.lives).finish(&processes, self.window.start_ns);
        let gil_wait_not_measured = self.state.gil.not_measured();
        let gil = self.gil(&processes);
        let connections = self.state.wire.connections.seen_in_window();
        let mut event_loops = std::mem::take(&mut self.state.runtime.event_loops);
        event_loops.sort_by_key(|event_loop| (event_loop.tgid, event_loop.tid));
        let window = (self.window.start_ns, self.window.end_ns);
        let chains = self.state.chains(&dropped.cut_off);
        Entry::of_chains(&chains).for_each(&mut *sink);
        let unattributed = self.state.world.unattributed.told();
        let (requests, endpoints) = self.state.product.summary.finish(connections, unattributed, window);
        let (endpoints, other_endpoints) = endpoints.finish();
        let coverage = Coverage {
            not_measured: not_measured(
                self.attached.arrival_measured,
                gil_wait_not_measured,
                has_front_end,
                self.attached.sight(),
            ),
            blind_spots,
            losses,
            conservation,
            overhead: self.readings.overhead,
            left_out: self.readings.left_out,
        };
        Snapshot {
            gil,
            session: self.session,
            attached: self.attached,
            window: self.window,
            server,
            requests,
            slots,
            capacity,
            chains,
            event_loops,
            front_end,
            dropped,
            processes,
            cgroups: self.readings.cgroups,
            machine_busy_ratio: self.readings.machine.and_then(|(first, last)| last.busy_ratio(&first)),
            memory: self.readings.memory,
            container: self.readings.container,
            coverage,
            by_endpoint: ByEndpoint { list: endpoints, others: other_endpoints },
            sockets: Sockets { listeners, networks: self.listening.queues.networks() },
        }
    }

    /// What threads are in the middle of. Where the slice came after all, between the look at its thread and
    /// the end of the window, it is left out.
    pub(super) fn take_open(&mut self) -> Vec<OpenSlice> {
        let mut open = std::mem::take(&mut self.readings.open);
        open.retain(|open| {
            self.state.runtime.threads.get(open.tid).is_none_or(|thread| thread.row.sequence <= open.sequence)
        });
        open
    }

    /// Ends what threads are in the middle of. Returns who waited for which listener.
    fn close(&mut self, sink: &mut dyn FnMut(Entry)) -> FxHashMap<u64, Found> {
        let end_ns = self.window.end_ns;
        let open = self.take_open();
        let slice = |open| {
            let mut slice = slice_of(open, end_ns);
            slice.lock.holder_tid = self.state.gil.thread(slice.tgid, slice.lock.holder_tid);
            slice
        };
        // A gap has no entry that could be unknown.
        let is_unknown = |open: &OpenSlice| open.system_call.is_some() && open.enter_ns == 0;
        let slices: Vec<_> = open.iter().map(|open| (slice(open), is_unknown(open))).collect();
        for (slice, _) in &slices {
            self.waits.inside(slice, &self.state.world);
        }
        let open_calls: Vec<_> = slices.iter().map(|(slice, _)| *slice).collect();
        let waiting = self.waits.finish(&self.state.world, &open_calls);
        let state = &mut self.state;
        let unserved = state.unserved(&self.readings.waiting);
        state.end_light_window((&open, &open_calls), end_ns, sink);
        state.end_window((&slices, &unserved), end_ns, sink);
        state.update_topology();
        state.expire(None, sink);
        state.settle(Some(end_ns), sink);
        state.time.busy.finish();
        state.time.busy_of.values_mut().for_each(Busy::finish);
        if let Some(overhead) = &mut self.readings.overhead {
            // Of all threads, also those that ended: a reading at the end covers only the living.
            overhead.target_cpu_ns = state.runtime.ended_cpu_ns;
        }
        waiting
    }

    fn losses(&self, counted: counted::Counted) -> Losses {
        let mut losses = losses(&self.state, &counted.received);
        let forced = counted.received.order.forced_events;
        losses.evicted = self.evicted().saturating_sub(self.before.evicted).saturating_add(forced);
        losses.kernel = counted.counters;
        losses.undecided_waits = counted.undecided_waits;
        losses.sleeps_left_out = counted.patrol.left_out;
        losses.looks_refused = counted.patrol.refused;
        losses.looks_unplaced = counted.patrol.unplaced;
        losses.recording_truncated = self.window.end_reason.is_none();
        losses
    }

    /// What was not seen, in sentences. `impossible`: number of threads whose account by the kernel cannot be
    /// true.
    fn blind_spots(&self, impossible: usize, listeners: &[Listener]) -> Vec<String> {
        let mut blind_spots = blind_spots(&self.state);
        if impossible > 0 {
            blind_spots.push(format!(
                "left out of the comparison with the kernel's own account, by which they ran and waited for a CPU for longer than \
                 passed: threads: {impossible}"
            ));
        }
        if self.attached.is_light() {
            blind_spots.insert(0, LIGHT_SHOWS_LESS.to_owned());
        }
        blind_spots.extend(listeners_blind_spots(&self.listening.foreign, &self.state));
        let unread = listeners.iter().filter(|listener| !listener.is_closed && listener.queue.is_none());
        blind_spots
            .extend(self.listening.queues.blind_spot(unread.map(|listener| listener.seen.address.as_str())));
        blind_spots
    }

    /// The listeners, each with its queue and with who accepted, was woken and waited.
    fn told_listeners(&mut self, mut waiting: FxHashMap<u64, Found>) -> Vec<Listener> {
        let mut listeners = listeners::told(&self.state, &self.listening.counts);
        let measured = Measured {
            delays: self.attached.delays_measured,
            full_unix_queues: self.attached.counts_full_unix_queues(),
        };
        for listener in &mut listeners {
            listener.queue = self.listening.queues.finish(listener.seen.inode, self.window.end_ns, measured);
            listener.foreign = listeners::held_by_others(listener, &self.state, &self.listening.foreign);
            if self.attached.is_light() {
                listeners::leave_queue_alone(listener);
                continue;
            }
            listener.beside_free = self.state.time.capacity.finish(listener.seen.inode);
            listener.is_deferred = self.listening.queues.is_deferred(listener.seen.inode);
            listener.woken = self.wakes.of(listener.seen.inode).cloned();
            let waiting = waiting.remove(&listener.seen.inode).unwrap_or_default();
            listener.waiters = waiting.rows;
            // A master holds it too, and accepts nothing.
            listener.accepted_by.retain(|(tgid, accepted)| *accepted > 0 || waiting.processes.contains(tgid));
        }
        listeners::count_siblings(&mut listeners);
        listeners
    }

    /// What became of connections that were not served.
    fn dropped(
        &mut self,
        listeners: &[Listener],
        processes: &[Process],
        sink: &mut dyn FnMut(Entry),
    ) -> Dropped {
        let state = &mut self.state;
        let seen = &state.world.processes.seen;
        let limits: BTreeMap<Tid, Option<u64>> =
            seen.iter().map(|process| (process.tgid, process.open_files_limit)).collect();
        let limit_of = |tgid: Tid| limits.get(&tgid).copied().flatten();
        let open = state.wire.connections.clients_open().saturating_add(state.wire.light.left_open);
        let drops = std::mem::take(&mut state.product.drops);
        let mut dropped = drops.finish(open, state.next_follows, self.window.end_ns, limit_of, sink);
        let families = listeners::families_for_requests(listeners, processes);
        let (unix, count) = (families.iter().filter(|family| **family == "unix").count(), families.len());
        if self.attached.is_light() && unix > 0 && unix == count {
            return Dropped { accepts_not_measured: self.no_accepts(), ..Dropped::not_seen(NO_UNIX_ENDS) };
        }
        dropped.causes.splice(..0, refused(listeners));
        let of_role = |role: Role| processes.iter().filter(move |process| process.role == role.name());
        if of_role(Role::Worker).next().is_some() {
            let helpers: Vec<Tid> = of_role(Role::Unknown).map(|process| process.tgid).collect();
            dropped.forget_helpers(&helpers);
        }
        if self.attached.is_light() && unix > 0 {
            dropped.not_seen.push(NO_UNIX_ENDS.to_owned());
        }
        dropped.accepts_not_measured = self.no_accepts();
        dropped
    }

    /// Why it is not known which accepts failed.
    fn no_accepts(&self) -> Option<String> {
        if self.attached.counts_failing_accepts() {
            return None;
        }
        let refused =
            self.attached.missing.iter().find(|one| Attached::OF_ACCEPTS.contains(&one.program.as_str()));
        let reason = refused.map_or(Attached::LIGHT_SEES_NO_CALLS, |one| one.reason.as_str());
        Some(format!("{reason}: accepts that fail are not seen"))
    }

    /// Slots.
    fn slots(&mut self, (kind, server): (&'static dyn ServerKind, &Server), processes: &[Process]) -> Slots {
        let not_measured = self.slots_not_measured((kind, server), processes);
        if not_measured.is_some() {
            return Slots { not_measured, ..Slots::default() };
        }
        let configured = kind.configured_slots(server);
        let of_one_worker = slots_of_one_worker(kind, server);
        slots(configured, of_one_worker, &mut self.state.time, self.window.end_ns)
    }

    /// Why slots are not measured; `None`: they are. Without system calls it is known which thread a request
    /// holds only where one thread reads and answers it.
    fn slots_not_measured(
        &self,
        (kind, server): (&'static dyn ServerKind, &Server),
        processes: &[Process],
    ) -> Option<String> {
        let passed_on = self.state.time.light.passed_on;
        let crosses = || {
            kind.inside(server) == Inside::PrivateOverUnix
                || processes.iter().any(|process| process.role == Role::FrontEnd.name())
        };
        match self.attached.sight() {
            Sight::Calls => None,
            Sight::Sleeps if crosses() => {
                Some("light mode does not see that two processes serve one request".to_owned())
            }
            Sight::Sleeps if !kind.has_thread_per_request(server) => {
                Some("light mode sees slots only where a request has a thread of its own".to_owned())
            }
            Sight::Sleeps if passed_on > 0 => Some(format!(
                "light mode does not see which thread a request holds that passes from one to another: {passed_on} did"
            )),
            Sight::Sleeps => None,
        }
    }

    /// The waits for interpreter locks.
    fn gil(&mut self, processes: &[Process]) -> Gil {
        let names = &self.state.world.processes.names;
        let mut gil =
            std::mem::take(&mut self.state.gil).finish(|tid| names.get(&tid).cloned().unwrap_or_default());
        hold_at_most(&mut gil, processes, self.window.length_ns());
        let is_light = self.attached.is_light();
        gil.locks.iter_mut().for_each(|lock| lock.is_between_unseen = is_light);
        gil
    }
}

/// What light mode cannot show besides phases.
const LIGHT_SHOWS_LESS: &str = "light mode does not hook system calls: accepts and event loops are not known. Requests that were \
     sent before the first was answered (pipelined) count as one. What a thread slept for is known from the call in which it slept. \
     `unexplained` is a wait for one of several descriptors, or for an end that was not seen, or time of a thread that did other \
     things too";
/// Why light mode does not know what became of connections over UNIX sockets.
const NO_UNIX_ENDS: &str = "light mode does not see how connections over UNIX sockets end";

/// Sum of what was counted, by name.
pub(super) fn total(counts: &[(String, u64)]) -> u64 {
    counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// Bounds how long a lock was held: as long as threads of its process have or want a CPU, without the waits
/// for it. Sleep with the lock held is not seen. Of several locks in a process it is not known which one a
/// thread had.
fn hold_at_most(gil: &mut Gil, processes: &[Process], window_ns: u64) {
    for lock in &mut gil.locks {
        let seen = gil.interpreters.iter().find(|seen| seen.tgid == lock.tgid);
        let process = processes.iter().find(|process| process.tgid == lock.tgid);
        let (Some(_), Some(process)) = (seen.filter(|seen| seen.locks.len() == 1), process) else { continue };
        let awake_ns = process
            .threads
            .iter()
            .fold(0u64, |sum, thread| sum.saturating_add(thread.cpu_ns).saturating_add(thread.run_queue_ns));
        let held_ns = awake_ns.saturating_sub(lock.run_queue_ns).max(lock.held_at_least_ns);
        lock.held_at_most_ns = Some(held_ns.min(window_ns));
    }
}

/// How well the laws held, and how many threads could not be compared: their account by the kernel cannot be
/// true.
fn conserved(
    mut conservation: Conservation,
    losses: &Losses,
    overhead: Option<&Overhead>,
    totals: &[ThreadTotals],
) -> (Conservation, usize) {
    conservation.received = losses.kernel.received;
    conservation.emitted = total(&losses.kernel.emitted);
    if let Some(overhead) = overhead {
        conservation.stolen_ns = overhead.stolen_ns;
        conservation.interrupt_ns = overhead.interrupt_ns;
    }
    let (possible, impossible): (Vec<_>, Vec<_>) = totals.iter().partition(|totals| is_possible(totals));
    for totals in possible {
        let Account { cpu_ns, run_queue_ns, .. } = totals.ours;
        for (sum, part) in [
            (&mut conservation.threads_compared, 1),
            (&mut conservation.cpu_ns, cpu_ns),
            (&mut conservation.run_queue_ns, run_queue_ns),
            (&mut conservation.kernel_cpu_ns, totals.kernel_cpu_ns),
            (&mut conservation.kernel_run_queue_ns, totals.kernel_run_queue_ns),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
    (conservation, impossible.len())
}

fn losses(state: &State, received: &Received) -> Losses {
    Losses {
        malformed: received.malformed,
        late: received.order.late_events,
        sequence_holes: state.time.sequence_holes,
        crowded: state.runtime.crowded,
        impossible: state
            .product
            .summary
            .impossible
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
        ..Losses::default()
    }
}

/// Attempts that full accept queues refused. The listener that refused most is the example.
pub(super) fn refused(listeners: &[Listener]) -> Option<Counted> {
    let refused = |listener: &Listener| {
        let Some(queue) = &listener.queue else { return 0 };
        match &queue.delays {
            Some(delays) => delays.attempts,
            None if listener.seen.family == "unix" => queue.refused.unwrap_or(0),
            None => 0,
        }
    };
    let count = listeners.iter().map(refused).fold(0_u64, u64::saturating_add);
    let worst = listeners.iter().max_by_key(|listener| refused(listener)).filter(|_| count > 0)?;
    let limit = worst.queue.as_ref().map_or(0, |queue| queue.limit);
    let then = match worst.seen.family.as_str() {
        "unix" => "the client is told so (EAGAIN), or waits in connect and tries again",
        _ => "each is tried again by its client",
    };
    let evidence = format!(
        "{} refused {} attempts, as its queue of {limit} was full; {then}",
        worst.seen.address,
        refused(worst)
    );
    let examples = vec![Example { evidence, ..Example::default() }];
    Some(Counted { cause: Cause::AcceptQueueOverflow, count, waited_ns: 0, examples })
}

/// Who may accept, and be woken, without being seen.
fn listeners_blind_spots(foreign: &ForeignHolders, state: &State) -> Option<String> {
    let is_own = |tgid: Tid| state.world.processes.is_seen(tgid);
    let mut others: Vec<_> = foreign.holders.iter().filter(|holder| !is_own(holder.tgid)).collect();
    others.dedup_by_key(|holder| holder.tgid);
    let first = others.first()?;
    let (count, verb) = match others.len() {
        1 => ("a process that is not traced holds".to_owned(), "it"),
        count => (format!("{count} processes that are not traced hold"), "they"),
    };
    Some(format!(
        "{count} the target's listeners too (pid {}, {}): what {verb} accept, and their threads that connections wake, are in no \
         number",
        first.tgid, first.comm
    ))
}

/// Whether the kernel's account of a thread can be true. Linux 6.18 was seen to add a thread's whole sleep to
/// its wait for a CPU.
fn is_possible(totals: &ThreadTotals) -> bool {
    let passed_ns = totals.until_ns.saturating_sub(totals.since_ns);
    let kernel_ns = totals.kernel_cpu_ns.saturating_add(totals.kernel_run_queue_ns);
    // Both are read one after the other.
    kernel_ns <= passed_ns.saturating_add(passed_ns / 10).saturating_add(10_000_000)
}

/// What the target does that cannot be seen from here.
fn blind_spots(state: &State) -> Vec<String> {
    let mut list = Vec::new();
    let links = state.join.links.counts;
    if links.ambiguous > 0 {
        list.push(format!(
            "{} of {} requests were matched between the front end and the server by their order alone",
            links.ambiguous, links.joined
        ));
    }
    if links.unpaired > 0 {
        list.push(format!(
            "of {} requests between the front end and the server only one half is known (they began before the watch, \
             or were given up). What the other half did is not in their phases",
            links.unpaired
        ));
    }
    list.extend(io_uring(state));
    if state.world.foreign_descriptor_calls > 0 {
        list.push(format!(
            "{} reads and writes went to file descriptors whose origin was not seen: waits there are unexplained. They were \
             passed over a UNIX socket, made by calls that are not observed, or open before in a process whose file \
             descriptors this user may not read",
            state.world.foreign_descriptor_calls
        ));
    }
    list
}

/// What goes through io_uring. libuv, and so uvloop, has one ring to set what epoll waits for, and one for
/// files. It reads and writes sockets by ordinary calls (`uv__epoll_ctl_prep` and `uv__iou_fs_…`,
/// src/unix/linux.c of libuv).
fn io_uring(state: &State) -> Option<String> {
    let mut using = state.world.processes.seen.iter().filter(|process| process.uses_io_uring).peekable();
    if !state.world.uses_io_uring && using.peek().is_none() {
        return None;
    }
    let text = if !state.world.uses_io_uring
        && using.all(|process| state.world.processes.has_rings_of_loop(process.tgid))
    {
        "uvloop tells epoll what to wait for, and may read files, through io_uring. Which connections a wait was for is not \
         seen; what is read from sockets and written to them is"
    } else {
        "the target uses io_uring: reads, writes and waits that go through it are not seen"
    };
    Some(text.to_owned())
}

fn observed(state: &State, recognised: &Recognised) -> Observed {
    let mut serving: BTreeMap<Tid, u32> = BTreeMap::new();
    for slot in state.time.ended_slots.values() {
        *serving.entry(slot.tgid).or_default() += 1;
    }
    let workers = state
        .world
        .processes
        .seen
        .iter()
        .filter(|process| recognised.role(process.tgid) == Role::Worker)
        .filter(|process| !state.world.processes.ended.contains_key(&process.tgid))
        .count();
    Observed {
        worker_processes: u32::try_from(workers).unwrap_or(u32::MAX),
        serving_threads: serving.values().copied().max().unwrap_or(0),
        listener_in_epoll: state.world.listener_in_epoll,
        main_threads_serve: !state.time.ended_slots.is_empty()
            && state.time.ended_slots.values().all(|slot| slot.tid == slot.tgid),
    }
}

fn processes(state: &State, recognised: &Recognised) -> Vec<Process> {
    let mut threads: BTreeMap<Tid, Vec<ThreadTotal>> = BTreeMap::new();
    for (tgid, thread) in &state.runtime.ended_threads {
        threads.entry(*tgid).or_default().push(thread.clone());
    }
    let mut list: Vec<_> = state
        .world
        .processes
        .seen
        .iter()
        .map(|process| {
            let mut own = threads.remove(&process.tgid).unwrap_or_default();
            own.sort_by_key(|thread| thread.tid);
            Process {
                tgid: process.tgid,
                parent_tgid: process.parent_tgid,
                comm: process.comm.clone(),
                role: recognised.role(process.tgid).name().to_owned(),
                exit_code: state.world.processes.ended.get(&process.tgid).copied(),
                requests: state.product.served.get(&process.tgid).copied().unwrap_or(0),
                threads: own,
            }
        })
        .collect();
    list.sort_by_key(|process| process.tgid);
    list
}

fn slots(configured: Option<u32>, of_one_worker: Option<u32>, time: &mut Time, end_ns: u64) -> Slots {
    let observed: Vec<Slot> = std::mem::take(&mut time.ended_slots).into_values().collect();
    let heat = std::mem::replace(&mut time.heat, crate::machine::time::slot::Heat::new(0));
    let (heat_bucket_ns, mut heat) = heat.finish(end_ns);
    for row in &mut heat {
        row.slots = of_one_worker.unwrap_or(0).max(slots_of(row, &observed));
        row.exhausted_ns = time.busy_of.get(&row.tgid).map_or(0, |busy| busy.at_least_ns(row.slots.max(1)));
    }
    let acceptor_linger_ns = time.acceptor_linger_ns;
    let busy: &Busy = &time.busy;
    let mut slots = Slots {
        configured,
        observed,
        come_and_go: configured.is_none() && time.slots_come_and_go,
        peak_busy: busy.peak(),
        busy_at_end: busy.at_end(),
        heat,
        heat_bucket_ns,
        acceptor_linger_ns,
        ..Slots::default()
    };
    if slots.count() > 0 {
        slots.exhausted_ns = busy.at_least_ns(slots.count());
    }
    slots
}

fn slots_of(row: &HeatRow, observed: &[Slot]) -> u32 {
    u32::try_from(observed.iter().filter(|slot| slot.tgid == row.tgid).count()).unwrap_or(u32::MAX)
}
