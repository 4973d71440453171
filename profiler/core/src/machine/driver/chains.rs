//! What the chain stage is told of threads.
//!
//! In: slices with what they mean, in full mode; sleeps and messages in light mode. Out: threads' histories;
//! who accepts where; who reads which connection.

use profiler_common::gap_sleep::{self, GapSleep};
use profiler_common::record::slice::{NO_CALL, PAGE_FAULT};
use profiler_common::system_call::{FUTEX, kind};

use crate::event::{Call, CpuTaken, Light, Slept, SleptOn, Slice, Tid};
use crate::fact::asleep::{AsleepSeen, LOOKED_AT_NS, ObjectSeen, OtherProcess, SleepState};
use crate::fact::machine::MachineCpu;
use crate::fact::place::{OwnCode, PlaceSeen};
use crate::fact::sample::SampleSeen;
use crate::fact::{Account, DescriptorClass};
use crate::machine::chain::feed::{Doer, SleepSeen};
use crate::machine::chain::looks::{AsleepLook, are_of_one_host, port_of};
use crate::machine::chain::segment::{SleepEnd, is_file_lock, opens};
use crate::machine::driver::meaning;
use crate::machine::driver::state::State;
use crate::machine::lock::gil::Part;
use crate::machine::lock::gil_holder::Holders;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::time::short::ShortRun;
use crate::machine::time::sleeps::{IdleSleep, SleepPurpose};
use crate::machine::world::classify::Meaning;
use crate::machine::world::errno::ETIMEDOUT;
use crate::model::chain::{Chains, Held, Object};
use crate::model::whereabouts::CutOff;
use crate::phase::Phase;

/// What the driver has found out about a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// What its call means.
    pub meaning: &'a Meaning,
    /// Its call waits for work.
    pub idle: bool,
    /// Who had the interpreter lock, if it waits for that.
    pub held_by: Holders,
    /// What it is of such a wait.
    pub part: Part,
    /// The window ends in the middle of it.
    pub is_open: bool,
}

impl State {
    /// A slice, as its thread's history has it.
    #[inline]
    pub(super) fn note_slice(&mut self, thread: &mut Thread, slice: &Slice, gap: &Piece, told: &Told<'_>) {
        let serving = thread.serving.map(|(_, id)| id);
        let serving = serving.or_else(|| thread.lasted_at(slice.enter_ns).map(|lasted| lasted.request));
        let request = serving.map_or(0, |id| id.saturating_add(1));
        if thread.short.can_take(gap.start_ns, slice.exit_ns, request) && !told.is_open {
            thread.short.take(slice, told.part, told.idle, request);
            if matches!(slice.call, Call::Poll { .. } | Call::EpollWait { .. })
                && slice.inside.blocked_ns == 0
                && slice.result > 0
            {
                thread.short.short.looks += 1;
            }
        } else {
            self.note_long(thread, slice, gap, request, told);
        }
    }

    /// What its thread did before is over; the slice begins another stretch, or is one by itself.
    #[inline(never)]
    fn note_long(&mut self, thread: &mut Thread, slice: &Slice, gap: &Piece, request: u64, told: &Told<'_>) {
        let doer = Doer { tgid: slice.tgid, tid: slice.tid, request };
        self.chain.histories.run((slice.tgid, slice.tid), &thread.short);
        thread.short =
            ShortRun { start_ns: gap.start_ns, end_ns: gap.start_ns, request, ..ShortRun::default() };
        if !told.is_open && thread.short.can_take(gap.start_ns, slice.exit_ns, request) {
            return thread.short.take(slice, told.part, told.idle, request);
        }
        (thread.short.start_ns, thread.short.end_ns) = (slice.exit_ns, slice.exit_ns);
        let call = Piece { held_by: told.held_by, ..Piece::call(slice, told.meaning) };
        let call = &call;
        let since_before = |piece: &Piece| piece.start_ns <= self.watch_start_ns;
        let in_gap = slice.in_gap.blocked_call;
        let in_gap = if in_gap == PAGE_FAULT || in_gap == NO_CALL { -1 } else { in_gap };
        // Unobserved calls that sleep are known by their numbers.
        let is_way_out = u32::try_from(in_gap).is_ok_and(|number| kind(number).is_some());
        let of_gap = SleepSeen {
            since_before: since_before(gap),
            is_way_out,
            held: self.held_in(slice.tid, (gap.start_ns, gap.end_ns)),
            since_ns: self.asleep_since(slice.tid, (gap.start_ns, gap.end_ns), in_gap),
            is_open: told.is_open && slice.system_call == u32::MAX,
            end: match slice.in_gap.woken_by_tid {
                _ if told.is_open && slice.system_call == u32::MAX && is_file_lock(in_gap) => SleepEnd::Open,
                by @ 1.. if is_file_lock(in_gap) || gap_sleep::of(in_gap) == GapSleep::Child => {
                    SleepEnd::Thread(by)
                }
                _ => SleepEnd::Outside,
            },
            ..SleepSeen::outside(in_gap)
        };
        if gap.length_ns() > 0 {
            self.chain.histories.piece(doer, gap, false, &of_gap);
        }
        let held = self.held_in(slice.tid, (call.start_ns, call.end_ns));
        let seen = SleepSeen { since_before: since_before(call), held, ..self.sleep_of(slice, call, told) };
        if slice.system_call != u32::MAX {
            self.chain.histories.piece(doer, call, true, &seen);
        }
        if is_one_connection(&seen) {
            self.chain.reads(seen.connection, slice.tgid);
        }
        self.note_release(slice.tgid, &seen, call.start_ns.saturating_add(call.account.blocked_ns));
        let (is_loop, serves) = (thread.is_loop(), thread.slot.is_some() || thread.pooled.is_pooled);
        if (is_loop || serves)
            && let Some(history) = self.chain.histories.get_mut(slice.tid)
        {
            history.is_loop |= is_loop;
            history.is_slot |= serves && !is_loop;
        }
    }

    /// A thread of the target may have ended a wait for a lock.
    fn note_release(&mut self, tgid: Tid, seen: &SleepSeen, at_ns: u64) {
        if let (Object::Futex { address }, SleepEnd::Thread(by)) = (seen.object, seen.end) {
            self.chain.releases.released((tgid, address), at_ns, by);
        }
    }

    /// What is known of the sleep in a call.
    fn sleep_of(&self, slice: &Slice, call: &Piece, told: &Told<'_>) -> SleepSeen {
        let (object, connection) = self.object_of(slice);
        let is_idle = told.idle && !self.is_in_application(slice.tid, (call.start_ns, call.end_ns));
        let ends_with_us = is_idle || matches!(call.blocked, Phase::LockWait | Phase::ChildWait);
        // Who ran as a packet came is none of ours, most likely: only these say who woke whom.
        let by_thread = match slice.call {
            Call::FutexWait { operation, .. } => self.can_wake(slice.woken.by_tid, slice.tgid, operation),
            _ => matches!(object, Object::Descriptor { .. }),
        };
        let end = match slice.woken.by_tid {
            _ if !ends_with_us => SleepEnd::Outside,
            _ if told.is_open => SleepEnd::Open,
            _ if slice.result == ETIMEDOUT => SleepEnd::Limit,
            0 => SleepEnd::Unknown,
            tid if by_thread => SleepEnd::Thread(tid),
            _ => SleepEnd::Unknown,
        };
        let system_call = slice.system_call.cast_signed();
        SleepSeen {
            system_call,
            is_idle,
            object,
            connection,
            is_own_port: self.is_own_port(object),
            end,
            since_before: false,
            is_way_out: false,
            is_open: told.is_open,
            held: None,
            since_ns: None,
        }
    }

    /// Whether a look saw a thread in the middle of the application within such a sleep. Who sleeps since
    /// before the watch is looked at before that begins.
    fn is_in_application(&self, tid: Tid, (from_ns, until_ns): (u64, u64)) -> bool {
        let from_ns = if from_ns <= self.watch_start_ns { 0 } else { from_ns };
        may_be_looked_at((from_ns, until_ns)) && self.chain.looks.is_in_application(tid, (from_ns, until_ns))
    }

    /// Whether a peer's port is one that the target listens at. It may be another host's.
    pub(super) fn is_own_port(&self, object: Object) -> bool {
        let Object::Peer { port } = object else { return false };
        self.world.processes.listener_at(port).is_some()
    }

    /// A call that connects may connect to the target itself.
    pub(super) fn note_connect(&mut self, port: u16, identity: u64) {
        if self.is_own_port(Object::Peer { port }) {
            self.chain.own_connections.made(identity);
        }
    }

    /// Whether a thread can have woken one that waits in a futex of a process. One of another process, as a
    /// child that ends, sends a signal, unless the futex lies in memory that they share.
    fn can_wake(&self, tid: Tid, tgid: Tid, operation: u32) -> bool {
        /// include/uapi/linux/futex.h.
        const FUTEX_PRIVATE_FLAG: u32 = 128;
        operation & FUTEX_PRIVATE_FLAG == 0
            || self.chain.histories.get(tid).is_none_or(|waker| waker.tgid == tgid)
    }

    /// What a call waits for, and what distinguishes its connection.
    fn object_of(&self, slice: &Slice) -> (Object, u64) {
        let fd = match slice.call {
            Call::Read { fd, .. }
            | Call::Write { fd }
            | Call::Transfer { to_fd: fd, .. }
            | Call::Poll { only_fd: Some(fd), .. }
            | Call::Shutdown { fd, .. }
            | Call::Close { fd } => fd,
            Call::Connect { port, identity, .. } => return (Object::Peer { port }, identity),
            Call::FutexWait { address, .. } => return (Object::Futex { address }, 0),
            // What was opened is a named pipe: it waited for the other end.
            Call::Make { class: DescriptorClass::Wakeup } if opens(slice.system_call.cast_signed()) => {
                return (Object::Descriptor { fd: i32::try_from(slice.result).unwrap_or(-1) }, 0);
            }
            Call::Poll { is_sleep: false, .. } | Call::EpollWait { .. } => return (Object::Several, 0),
            _ => return (Object::Unknown, 0),
        };
        let descriptors = &self.world.descriptors;
        match descriptors.class(slice.tgid, fd) {
            Some(DescriptorClass::Client) => (Object::Client, 0),
            Some(DescriptorClass::Backend { port }) => {
                (Object::Peer { port }, descriptors.get(slice.tgid, fd).map_or(0, |known| known.identity))
            }
            Some(DescriptorClass::Socket) => (Object::Peer { port: 0 }, 0),
            _ => (Object::Descriptor { fd }, 0),
        }
    }

    /// A thread was inside a call before the watch began, and up to `until_ns`. `is_open`: it still is.
    pub(super) fn note_initial(&mut self, found: &Slice, until_ns: u64, is_open: bool) {
        if found.system_call == u32::MAX {
            return;
        }
        let known = self.chain.histories.get(found.tid);
        let since_ns = known.map_or(self.watch_start_ns, |known| known.end_ns().max(self.watch_start_ns));
        if is_open && self.hangs_on(found.tid, until_ns) {
            return;
        }
        let Some(length_ns) = until_ns.checked_sub(since_ns) else { return };
        let meaning = meaning::meaning_of(self.view(), found);
        let thread = Thread { tgid: found.tgid, ..Thread::default() };
        let idle = meaning::waits_for_work(self.view(), &thread, found, &meaning)
            || meaning::is_idle_master(self.view(), &thread, found);
        let call = Piece {
            blocked: meaning.blocked,
            account: Account { blocked_ns: length_ns, ..Account::default() },
            ..Piece::unknown(since_ns, until_ns)
        };
        let told = Told { meaning: &meaning, idle, held_by: Holders::NONE, part: Part::None, is_open };
        let held = self.held_in(found.tid, (since_ns, until_ns));
        let seen = SleepSeen { since_before: true, held, ..self.sleep_of(found, &call, &told) };
        let doer = Doer { tgid: found.tgid, tid: found.tid, request: 0 };
        self.chain.histories.piece(doer, &call, true, &seen);
        self.note_program(found.tgid);
        if is_one_connection(&seen) {
            self.chain.reads(seen.connection, found.tgid);
        }
        // Its end is no slice: who serves one connection for the whole window accepts in no other call.
        if let Call::Accept { listener_fd } = found.call {
            self.note_acceptor(found, listener_fd);
        }
    }

    /// Where in Python threads are that are looked at. A place that is known better now may be in a request.
    pub fn note_place(&mut self, place: PlaceSeen) {
        let number = place.number;
        if self.chain.looks.note_place(place) {
            for (tgid, tid) in self.chain.looks.last_at(number) {
                self.chain.note_place_of((tgid, tid), Some(number));
                self.note_hung(tid);
            }
        }
    }

    /// A thread computed as the clock ticked.
    pub fn note_sample(&mut self, sample: SampleSeen) {
        self.chain.note_sample(sample);
    }

    /// What is the application's own code.
    pub fn note_own(&mut self, own: OwnCode) {
        self.chain.looks.note_own(own);
    }

    /// A thread that slept for long was looked at.
    pub fn note_asleep(&mut self, mut seen: AsleepSeen, at_ns: u64) {
        if seen.state == SleepState::Stopped && seen.held_by.is_none() {
            let by = self.world.stops.stopped_by(seen.tgid, at_ns);
            seen.held_by = by.map(|(tgid, comm)| OtherProcess { tgid, comm, ..OtherProcess::default() });
        }
        // A connection to one of our own listeners that nobody has accepted has nobody at its other end yet.
        let own_listener = match &seen.object {
            // Another host may have a port of the same number.
            Some(ObjectSeen::Tcp { local, peer, .. }) if are_of_one_host(local, peer) => {
                let listener = self.world.processes.listener_at(port_of(peer).unwrap_or(0));
                listener.map_or(0, |listener| listener.inode)
            }
            Some(ObjectSeen::Unix { waits_at: Some(inode), .. }) => {
                self.world.processes.listener_of(*inode).map_or(0, |listener| listener.inode)
            }
            _ => 0,
        };
        // Requests of a loop take turns.
        let serves = |thread: &Thread| if thread.is_loop() { None } else { thread.serving };
        let request = self.runtime.threads.get(seen.tid).and_then(serves).map(|(_, id)| id);
        let (tgid, tid) = (seen.tgid, seen.tid);
        self.chain.note_look(seen, at_ns, own_listener, request);
        self.note_program(tgid);
        self.note_hung(tid);
    }

    /// Since when a look saw a thread asleep in a call, within an interval.
    fn asleep_since(&self, tid: Tid, interval: (u64, u64), system_call: i32) -> Option<u64> {
        let call = u32::try_from(system_call).ok().filter(|_| may_be_looked_at(interval))?;
        self.chain.looks.asleep_since(tid, interval, call)
    }

    /// How a look saw a thread held in a sleep, and since when.
    fn held_in(&self, tid: Tid, interval: (u64, u64)) -> Option<(Held, u64)> {
        may_be_looked_at(interval).then(|| self.chain.looks.held_in(tid, interval)).flatten()
    }

    /// A thread has waited for a CPU for long, up to `until_ns`.
    pub fn note_cpu_taken(&mut self, taken: &CpuTaken, until_ns: u64) {
        self.chain.cpus.note(taken, until_ns);
    }

    /// The time of all CPUs was read.
    pub fn note_machine_cpu(&mut self, reading: &MachineCpu) {
        self.chain.cpus.read(reading);
    }

    /// A thread is born.
    pub fn note_birth(&mut self, child: (Tid, Tid), by: Tid, at_ns: u64) {
        self.chain.histories.born(child, by, at_ns);
    }

    /// A process runs another program.
    pub fn note_exec(&mut self, tgid: Tid, comm: &str) {
        self.chain.executes(tgid, comm);
    }

    /// A process of which something is known since before the trace may run another program.
    fn note_program(&mut self, tgid: Tid) {
        if let Some(name) = self.other_program(tgid) {
            self.chain.executes(tgid, &name);
        }
    }

    /// Name of a process that was seen to run another program than the one that started it, and no Python.
    fn other_program(&self, tgid: Tid) -> Option<String> {
        let of = |tgid: Tid| self.world.processes.seen.iter().find(|process| process.tgid == tgid);
        let process = of(tgid).filter(|process| process.python_version.is_none())?;
        let parent = of(process.parent_tgid)?;
        let is_known = !process.executable.is_empty() && !parent.executable.is_empty();
        (is_known && process.executable != parent.executable).then(|| process.comm.clone())
    }

    /// A thread has ended.
    pub fn note_end(&mut self, tid: Tid, at_ns: u64) {
        self.chain.histories.ended(tid, at_ns);
    }

    /// A thread's last short stretch is over.
    pub(super) fn note_short(&mut self, tid: Tid, thread: &mut Thread) {
        self.chain.histories.run((thread.tgid, tid), &std::mem::take(&mut thread.short));
    }

    /// The window has ended: where its requests' time was. `cut_off`: those that ended with their process.
    pub fn chains(&mut self, cut_off: &[CutOff]) -> Chains {
        let names = &self.world.processes.names;
        let name_of = |tid| names.get(&tid).cloned().unwrap_or_default();
        std::mem::take(&mut self.chain).finish(&name_of, self.product.summary.slowest(), cut_off)
    }

    /// A thread accepts from a listener.
    pub(super) fn note_acceptor(&mut self, slice: &Slice, listener_fd: i32) {
        if let Some(inode) = self.world.processes.listener_inode(slice.tgid, listener_fd) {
            self.chain.attendance.accepts(inode, slice.tid);
        }
        if let Some(history) = self.chain.histories.get_mut(slice.tid) {
            history.accepts = true;
        }
    }

    /// Light mode: a thread slept for something.
    pub(super) fn note_sleep(&mut self, slept: &Slept, meant: &SleepPurpose, end_ns: u64, is_open: bool) {
        let (request, is_slot) = self.light_request(slept.tid, slept.start_ns);
        let polls = meant.idle == IdleSleep::ForDescriptors;
        let request = if polls && self.chain.dispatches(slept.tid) { 0 } else { request };
        let is_idle = meant.idle != IdleSleep::No
            && request == 0
            && !self.is_in_application(slept.tid, (slept.start_ns, end_ns));
        let phase = meant.phase;
        let object = object_slept_on(slept);
        // Of other sleeps whoever ran as an interrupt came is none of ours, most likely.
        let waits_for_file_lock = phase == Phase::FileWait && is_file_lock(slept.system_call);
        let waits_for_child = phase == Phase::ChildWait;
        let by_thread = is_futex(slept)
            || matches!(slept.on, SleptOn::Pipe | SleptOn::Anonymous)
            || waits_for_file_lock
            || waits_for_child;
        let ends_with_us = is_idle || phase == Phase::LockWait || waits_for_file_lock || waits_for_child;
        let end = match slept.woken_by {
            _ if is_open => SleepEnd::Open,
            _ if !ends_with_us => SleepEnd::Outside,
            0 => SleepEnd::Unknown,
            tid if by_thread => SleepEnd::Thread(tid),
            _ => SleepEnd::Unknown,
        };
        let since_before = slept.start_ns <= self.watch_start_ns;
        let system_call = slept.system_call.max(-1);
        let seen = SleepSeen {
            system_call,
            is_idle,
            object,
            connection: 0,
            is_own_port: self.is_own_port(object),
            end,
            since_before,
            is_way_out: false,
            is_open,
            held: self.held_in(slept.tid, (slept.start_ns, end_ns)),
            since_ns: None,
        };
        if phase == Phase::LockWait {
            self.note_release(slept.tgid, &seen, slept.woken_ns);
        }
        self.note_since_before(slept.tid, slept.start_ns);
        let Some(mut entry) = self.chain.histories.entry(slept.tgid, slept.tid, slept.start_ns) else {
            return;
        };
        entry.awake(request, slept.start_ns, (slept.sequence, slept.cpu_ns));
        entry.slept(request, (slept.start_ns, slept.woken_ns, end_ns), (phase, meant.held_by), &seen);
        entry.history.is_slot |= is_slot;
        entry.history.polls |= polls;
        if is_open {
            self.note_program(slept.tgid);
        }
    }

    /// Light mode: a thread moved a message.
    pub(super) fn note_message(&mut self, light: &Light, time_ns: u64) {
        let begun_ns = time_ns.saturating_sub(light.account.total_ns());
        let (request, _) = self.light_request(light.tid, begun_ns);
        let before = light.sequence.saturating_sub(1);
        let awake_ns = light.account.cpu_ns.saturating_add(light.account.run_queue_ns);
        self.note_since_before(light.tid, time_ns.saturating_sub(awake_ns));
        let Some(mut entry) = self.chain.histories.entry(light.tgid, light.tid, time_ns) else { return };
        entry.awake(request, time_ns, (before, light.account.cpu_ns));
        let since_ns = time_ns.saturating_sub(light.account.total_ns());
        entry.history.was_queued(since_ns, light.account.run_queue_ns);
    }

    /// Light mode: threads of which nothing was heard by the window's end sleep as they were seen to.
    pub(super) fn note_unheard(&mut self, end_ns: u64) {
        for (tgid, tid) in self.chain.looks.threads() {
            if !self.world.processes.ended.contains_key(&tgid) {
                self.note_since_before(tid, end_ns);
            }
        }
    }

    /// Light mode: nothing has been heard of a thread before this moment but what a look saw, if one did.
    fn note_since_before(&mut self, tid: Tid, until_ns: u64) {
        if self.hangs_on(tid, until_ns) || self.chain.histories.get(tid).is_some() {
            return;
        }
        let own_port = self.chain.looks.last(tid).and_then(AsleepLook::own_port);
        // Whether a client is waited for, or the next request, a look does not say.
        if own_port.is_none_or(|port| self.world.processes.listener_at(port).is_none()) {
            self.chain.slept_since_before(tid, (self.watch_start_ns, until_ns));
        }
    }

    /// The request that a thread serves, plus 1 (0: none), in what began at this moment, and whether it is a
    /// slot.
    fn light_request(&self, tid: Tid, begun_ns: u64) -> (u64, bool) {
        let Some(thread) = self.runtime.threads.get(tid) else { return (0, false) };
        let serving = thread.serving.map(|(_, id)| id);
        let serving = serving.or_else(|| thread.lasted_at(begun_ns).map(|lasted| lasted.request));
        (serving.map_or(0, |id| id.saturating_add(1)), thread.slot.is_some())
    }
}

/// Whether a sleep in an interval may be long enough for a look.
const fn may_be_looked_at((from_ns, until_ns): (u64, u64)) -> bool {
    until_ns.saturating_sub(from_ns) >= LOOKED_AT_NS
}

/// What a sleep of light mode, or of a look, waits for.
pub(super) fn object_slept_on(slept: &Slept) -> Object {
    match slept.on {
        SleptOn::Client => Object::Client,
        SleptOn::Socket { port } => Object::Peer { port },
        SleptOn::Pipe | SleptOn::File | SleptOn::Anonymous => {
            Object::Descriptor { fd: i32::try_from(slept.argument).unwrap_or(-1) }
        }
        _ if is_futex(slept) => Object::Futex { address: slept.argument },
        _ => Object::Unknown,
    }
}

fn is_futex(slept: &Slept) -> bool {
    slept.system_call == FUTEX.cast_signed()
}

/// Whether a sleep's connection is distinguished from all others. Those over UNIX sockets to one path are
/// alike; only a look distinguishes them.
fn is_one_connection(seen: &SleepSeen) -> bool {
    seen.connection > 0 && seen.object != Object::Peer { port: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_over_unix_sockets_are_distinguished_by_looks_alone() {
        let sleep =
            |port| SleepSeen { connection: 9, object: Object::Peer { port }, ..SleepSeen::outside(-1) };
        assert!(is_one_connection(&sleep(5432)) && !is_one_connection(&sleep(0)));
    }
}
