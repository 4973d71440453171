//! The order in which all that happens to a slice.
//!
//! In: slices in the order of time, with the capture that came before them. Out: requests that begin, advance
//! and finish; pieces of time given to requests or to slots; timeline slices.

use crate::event::{Call, Slice, Tid};
use crate::machine::driver::chains::Told;
use crate::machine::driver::state::State;
use crate::machine::driver::{draw, effect, follow, meaning, work};
use crate::machine::join::front;
use crate::machine::ledger::{finish, gil_attribution, slots};
use crate::machine::lock::gil::Part;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{asker, handoff, job};
use crate::machine::time::piece::Piece;
use crate::machine::world::classify::{Idle, Meaning};
use crate::phase::Phase;
use crate::timeline::Entry;

impl State {
    /// Takes one slice.
    pub fn slice(&mut self, slice: &Slice, sink: &mut dyn FnMut(Entry)) {
        let tid = slice.tid;
        let Some(mut thread) = self.take_thread(slice, sink) else { return };
        let head = follow::take_head(&mut self.heads, tid, slice.sequence);
        let repaired;
        let slice = if let Some(sound) = self.continuity(&mut thread, slice) {
            repaired = sound;
            &repaired
        } else {
            slice
        };

        if let Call::EpollWait { epoll_fd, .. } = slice.call {
            self.world.descriptors.waits_in(slice.tgid, epoll_fd);
        }
        let mut meaning = meaning::meaning_of(self.view(), slice);
        let number = meaning::touched(self.view(), slice.tgid, &meaning);
        let (serving, window_start_ns) = (thread.serving, self.window_start_ns);
        let gil_context = &mut self.gil_context();
        gil_attribution::note(gil_context, &mut thread, tid);
        let (part, because) = gil_attribution::follow(gil_context, &mut thread, slice, window_start_ns);
        let mut gap = thread.gap(slice, meaning::closes_file(slice, &meaning));
        part.apply(&mut meaning, &mut gap);
        let held_by = because.by;
        gap.held_by = held_by;
        let accepts = thread.signs.accepts || meaning.idle == Idle::Always;
        let time = (&mut self.time, window_start_ns);
        slots::waited_for_its_turn(time, &mut thread, slice, accepts, &mut gap);
        if let Some(lasted) = thread.lasted_at(gap.start_ns) {
            gap.holding = Some(lasted.became.holding());
        }
        if gap.length_ns() > 0 {
            thread.pending.push(gap);
        }
        let idle = work::waits(&mut self.runtime_context(), &mut thread, slice, &meaning, part);
        if !self.runtime.late.is_empty() {
            let call = if idle { None } else { Some(Piece::call(slice, &meaning)) };
            self.late(tid, [Some(gap), call], slice.exit_ns, sink);
        }
        if self.wants_slices {
            let shown = meaning::shown(self.view(), &thread, slice, idle, part, &meaning);
            draw::draw(slice, shown, because, false, sink);
        }
        let told = Told { meaning: &meaning, idle, held_by, part, is_open: false };
        self.note_slice(&mut thread, slice, &gap, &told);
        // How a front end waits is none of the server's ways.
        if !self.join.topology.is_front_end(slice.tgid) {
            work::note_ways(&mut self.world, slice, &meaning);
        }
        if idle && meaning.idle == Idle::UnlessServing && thread.serving.is_some() {
            let State { time, product, .. } = self;
            let (time, slice) = ((time, window_start_ns), slice);
            work::waits_after_response(time, &mut product.summary, &mut thread, slice, &meaning);
        } else if idle {
            let time = (&mut self.time, window_start_ns);
            slots::waited_in_mutex(time, &mut thread, meaning.idle == Idle::Always);
            self.wait_for_work(&mut thread, slice, sink);
        } else {
            let mut piece = Piece::call(slice, &meaning);
            let lasted = thread.lasted_at(slice.enter_ns).map(|lasted| lasted.became.holding());
            piece.holding = lasted.or_else(|| Some(meaning::holding(self.view(), number, &meaning)));
            piece.held_by = held_by;
            thread.pending.push(piece);
            slots::note_mutex(&mut thread, slice, meaning.idle);
            let time = (&mut self.time, window_start_ns);
            work::works(time, &mut thread, slice, meaning.blocked);
        }
        if !idle && part == Part::None && handoff::is_woken_by_loop(self.view(), &thread, slice) {
            work::is_given_job(&mut self.runtime_context(), window_start_ns, &mut thread, slice);
        }
        let captured = head.as_ref().map(|head| head.bytes.as_slice());
        self.effects(&mut thread, slice, &meaning, number, captured, sink);
        self.publish(sink);
        // A thread waits before it touches the request that it waits for.
        if part == Part::None {
            gil_attribution::settle(&mut self.gil_context(), &mut thread, tid);
        }
        gil_attribution::turned(&mut thread, serving, slice.exit_ns);
        self.put_back(tid, thread);
    }

    /// The thread of a slice, which is taken out to be put back. `None`: there is no room for it.
    #[inline]
    pub(super) fn take_thread(&mut self, slice: &Slice, sink: &mut dyn FnMut(Entry)) -> Option<Box<Thread>> {
        self.runtime.threads.take(slice.tid).or_else(|| self.begin_thread(slice, sink))
    }

    #[cold]
    fn begin_thread(&mut self, slice: &Slice, sink: &mut dyn FnMut(Entry)) -> Option<Box<Thread>> {
        let mut initial = std::mem::take(&mut self.runtime.initial);
        if let Some(found) = initial.get(&slice.tid) {
            self.note_initial(found, slice.gap_start_ns(), false);
        }
        let thread = follow::begin_thread(&mut self.context(), &mut initial, slice);
        self.runtime.initial = initial;
        self.publish(sink);
        thread
    }

    /// Checks a slice against those before it. Of one that breaks the laws it returns what can be true.
    #[inline]
    pub(super) fn continuity(&mut self, thread: &mut Thread, slice: &Slice) -> Option<Box<Slice>> {
        let broken = follow::follows(&mut self.time, thread, slice)?;
        let repaired = follow::repair(&mut self.context(), thread, slice, broken);
        if let Some((from_ns, to_ns)) = repaired.lost {
            self.product.drops.lost.between(from_ns, to_ns);
        }
        repaired.slice
    }

    /// These pieces of a thread's time are known now, up to `end_ns`.
    pub(super) fn late(
        &mut self,
        tid: Tid,
        pieces: [Option<Piece>; 2],
        end_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        self.runtime.late.explain(&mut self.wire.connections, tid, pieces, end_ns);
        self.completion_context().complete_late(end_ns, sink);
    }

    /// The call waits for work: what came before it is over.
    fn wait_for_work(&mut self, thread: &mut Thread, slice: &Slice, sink: &mut dyn FnMut(Entry)) {
        let left = work::leave(&mut self.context(), thread, slice);
        self.publish(sink);
        work::is_left(&mut self.context(), thread, slice, left);
        work::next_job(&mut self.product.summary, thread, slice.exit_ns);
        work::begin(&mut self.context(), thread, slice);
    }

    /// What a call does beside taking time. `number`: the connection that it touches.
    fn effects(
        &mut self,
        thread: &mut Thread,
        slice: &Slice,
        meaning: &Meaning,
        number: Option<u32>,
        captured: Option<&[u8]>,
        sink: &mut dyn FnMut(Entry),
    ) {
        if let Call::Accept { listener_fd } = slice.call {
            thread.signs.accepts = true;
            self.note_acceptor(slice, listener_fd);
            let State { world, product, .. } = self;
            effect::accept((world, &mut product.drops), slice, listener_fd);
        }
        if meaning.blocked == Phase::BackendWait {
            asker::waited(&mut self.runtime_context(), thread, slice);
        }
        if let Some((fd, touch)) = meaning.touch {
            if let Some(number) = number {
                thread.signs.in_front = front::is_in_front(&self.wire, number);
                job::engage(thread, number, slice, touch);
                effect::touches(&mut self.context(), thread, number, slice, fd, touch, captured);
            }
        } else {
            self.beside_clients(thread, slice, sink);
        }
    }

    /// A call on no client's connection. Where there is a front end, its halves are joined before descriptors
    /// change.
    fn beside_clients(&mut self, thread: &mut Thread, slice: &Slice, sink: &mut dyn FnMut(Entry)) {
        if let Call::Connect { port, identity, .. } = slice.call {
            self.note_connect(port, identity);
        }
        let has_front_end = self.join.topology.has_front_end();
        if has_front_end && let Some(before) = front::uses_again(&self.wire, &self.join, thread, slice) {
            finish::shut(&mut self.context(), before);
            self.publish(sink);
        }
        effect::on_others(&mut self.context(), thread, slice);
        if has_front_end {
            self.publish(sink);
            let State { world, wire, join, .. } = self;
            let ready = front::call(world, wire, join, thread, slice);
            self.complete_all(ready, sink);
        }
        effect::on_descriptors(&mut self.context(), thread, slice);
    }
}
