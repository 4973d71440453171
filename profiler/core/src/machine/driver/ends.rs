//! Ends that are not a response: a process dies, a descriptor's number is given again, the window closes.
//!
//! In: exits of processes and threads; the slices that were open at the end of the window. Out: requests
//! finished without an answer, or marked open.

use crate::event::{Slice, Tid};
use crate::machine::driver::chains::Told;
use crate::machine::driver::state::State;
use crate::machine::driver::unserved::Unserved;
use crate::machine::driver::{draw, follow, meaning};
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::{busy, exchange, finish, gil_attribution, in_hand, slots, thread_end, turn};
use crate::machine::lock::gil_holder::Holders;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::time::piece::Piece;
use crate::machine::wire::ending::{How, asked};
use crate::machine::world::classify::Meaning;
use crate::timeline::Entry;

impl State {
    /// A thread has ended; its process may go on.
    pub fn end_thread(&mut self, tid: Tid, at_ns: u64) {
        if let Some(mut thread) = self.runtime.threads.remove(tid) {
            self.note_short(tid, &mut thread);
            thread_end::dies(&mut self.context(), &mut thread, tid);
            thread.make_slot_in_flight(&mut self.time);
            thread.was_busy(&mut self.time, at_ns, self.window_start_ns);
            thread_end::end(&mut self.context(), tid, thread, at_ns);
        }
        self.gil.samples.forget(tid);
        self.heads.remove(&tid);
        self.time.light.sleeps.forget(tid);
        self.runtime.initial.remove(&tid);
    }

    /// A process has ended. Its requests end with it; what its threads did after their last slices is not
    /// known.
    pub fn end_process(&mut self, tgid: Tid, code: i64, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        self.time.capacity.ended(tgid, at_ns);
        self.time.vacant_slots.remove(&tgid);
        let numbers = self.world.descriptors.exit(tgid);
        let held = numbers.iter().filter_map(|number| self.wire.connections.get(*number));
        let held = held.filter_map(|connection| connection.requests.front().map(|active| &active.request));
        let held = held.map(|request| (asked(request), at_ns.saturating_sub(request.times.start_ns)));
        let held: Vec<_> = held.chain(self.wire.light.held(tgid, at_ns)).collect();
        self.product.drops.process_ends(tgid, code, at_ns, &held);
        // Its first thread may end before others do.
        for tid in self.runtime.threads.of_process(tgid) {
            if let Some(mut thread) = self.runtime.threads.take(tid) {
                thread_end::dies(&mut self.context(), &mut thread, tid);
                self.put_back(tid, thread);
            }
        }
        for number in numbers {
            finish::end_connection(&mut self.context(), number, How::ProcessGone, at_ns);
        }
        self.publish(sink);
        self.light_process_ends(tgid, at_ns, sink);
        self.completion_context().process_ends(tgid, sink);
        self.join.links.process_ends(tgid, at_ns);
        self.runtime.pools.process_ends(tgid);
    }

    /// A descriptor's number was given to a new connection: the old one is gone, even if we lost its close.
    pub fn end_predecessor(&mut self, tgid: Tid, fd: i32, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        if let Some(number) = self.world.descriptors.connection(tgid, fd) {
            finish::end_connection(&mut self.context(), number, How::Closed, at_ns);
            self.publish(sink);
        }
    }

    /// The window ends at `end_ns`. Each open slice comes with whether its entry is unknown. `unserved`:
    /// connections on which requests wait.
    pub fn end_window(
        &mut self,
        (open, unserved): (&[(Slice, bool)], &Unserved),
        end_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        for (slice, entry_unknown) in open {
            self.end_slice(slice, *entry_unknown, sink);
        }
        if !self.time.is_light {
            in_hand::settle(&mut self.context(), end_ns);
        }
        self.note_workers();
        if self.time.is_light {
            self.note_unheard(end_ns);
        }
        self.update_topology();
        self.begin_unread(unserved, end_ns);
        self.publish(sink);
        self.completion_context().window_ends(sink);
        let numbers: Vec<u32> = self.wire.connections.numbers().collect();
        for number in numbers {
            while finish::end_open(&mut self.context(), number, end_ns) {
                self.publish(sink);
            }
        }
        self.end_unserved(unserved, end_ns, sink);
        self.end_hung(end_ns, sink);
        let tids: Vec<Tid> = self.runtime.threads.tids().collect();
        for tid in tids {
            if let Some(mut thread) = self.runtime.threads.remove(tid) {
                self.note_short(tid, &mut thread);
                thread.make_slot_in_flight(&mut self.time);
                busy::up_to_last_slice(&mut thread, &mut self.time, self.window_start_ns);
                thread_end::end(&mut self.context(), tid, thread, end_ns);
            }
        }
        self.runtime.ended_threads.sort_by_key(|(tgid, thread)| (*tgid, thread.tid));
    }

    /// What a thread is in the middle of as the window ends.
    fn end_slice(&mut self, slice: &Slice, entry_unknown: bool, sink: &mut dyn FnMut(Entry)) {
        let tid = slice.tid;
        if self.runtime.threads.get(tid).is_some_and(|thread| thread.row.sequence >= slice.sequence) {
            // Its slice came after all, between the look at the thread and the end of the window.
            return;
        }
        let mut thread = take_thread(&mut self.runtime.threads, slice);
        follow::add_up(&mut self.time, &mut thread, slice);
        let slice = &slice.within(thread.row.last_exit_ns);
        let mut meaning = meaning::meaning_of(self.view(), slice);
        let window_start_ns = self.window_start_ns;
        let gil_context = &mut self.gil_context();
        let (part, because) = gil_attribution::last(gil_context, &mut thread, slice, window_start_ns);
        let mut gap = thread.gap(slice, meaning::closes_file(slice, &meaning));
        part.apply(&mut meaning, &mut gap);
        let held_by = because.by;
        gap.held_by = held_by;
        let accepts = thread.signs.accepts;
        let time = (&mut self.time, window_start_ns);
        slots::waited_for_its_turn(time, &mut thread, slice, accepts, &mut gap);
        let idle = meaning::waits_for_work(self.view(), &thread, slice, &meaning);
        if !self.time.is_light {
            let told = Told { meaning: &meaning, idle, held_by, part, is_open: true };
            if entry_unknown {
                self.note_short(tid, &mut thread);
                self.note_initial(slice, slice.exit_ns, true);
            } else {
                self.note_slice(&mut thread, slice, &gap, &told);
            }
        }
        self.late(tid, [Some(gap), None], slice.enter_ns, sink);
        // In light mode it is known in more detail (`light::slots`).
        if gap.length_ns() > 0 && !self.time.is_light {
            thread.pending.push(gap);
        }
        if self.wants_slices && !entry_unknown && slice.system_call != u32::MAX {
            let shown = meaning::shown(self.view(), &thread, slice, idle, part, &meaning);
            draw::draw(slice, shown, because, true, sink);
        }
        let context = &mut self.context();
        if idle && slice.system_call != u32::MAX {
            ends_in_wait(context, &mut thread, slice);
        } else {
            ends_at_work(context, &mut thread, slice, &meaning, held_by, entry_unknown);
        }
        self.publish(sink);
        self.put_back(tid, thread);
    }

    /// Busy slots are certain up to the last slice of the slot that has been silent longest. At the end of
    /// the window they are certain up to that end.
    pub fn settle(&mut self, end_ns: Option<u64>, sink: &mut dyn FnMut(Entry)) {
        let window_start_ns = self.window_start_ns;
        busy::settle(&mut self.runtime.threads, &mut self.time, window_start_ns, end_ns, sink);
    }
}

/// The thread of a slice, made where it is seen for the first time.
fn take_thread(threads: &mut Threads, slice: &Slice) -> Box<Thread> {
    threads.take(slice.tid).unwrap_or_else(|| {
        threads.enter(slice.tid);
        Box::new(Thread { tgid: slice.tgid, since_ns: slice.gap_start_ns(), ..Thread::default() })
    })
}

/// The window's end finds a thread in a wait for work.
fn ends_in_wait(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    turn::recognise(context, thread, slice);
    finish::leave(context, thread, slice.tid, slice.enter_ns);
    thread.drain(context.window_start_ns);
    thread.was_busy(context.time, slice.enter_ns, context.window_start_ns);
    thread.busy_since_ns = None;
    turn::polls(context, thread, slice);
}

/// The window's end finds a thread at work: that is part of what it serves, which is open.
fn ends_at_work(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    meaning: &Meaning,
    held_by: Holders,
    entry_unknown: bool,
) {
    let serving = thread.serving;
    thread.make_slot_in_flight(context.time);
    if slice.system_call != u32::MAX {
        let mut piece = Piece::call(slice, meaning);
        let number = meaning::touched(context.view(), slice.tgid, meaning);
        piece.holding = Some(meaning::holding(context.view(), number, meaning));
        piece.held_by = held_by;
        thread.pending.push(piece);
    }
    if !entry_unknown {
        thread.was_busy(context.time, slice.exit_ns, context.window_start_ns);
        thread.busy_since_ns = None;
    }
    if let Some(key) = serving.filter(|key| context.wire.connections.active(*key).is_some()) {
        exchange::advance(context, thread, key.0, slice);
        if let Some(active) = context.wire.connections.front_mut(key.0) {
            active.request.seen.open = true;
        }
    }
}
