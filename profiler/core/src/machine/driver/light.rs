//! Light mode: the order in which all that happens to a light slice.
//!
//! In: light slices, and the sleeps that lie in them. Out: finished requests, threads' totals.
//!
//! A request begins with the first bytes that are received on a new connection, or after an answer. It ends
//! with the last bytes that are sent before others are received, so it is finished when those come. (The
//! handshakes of TLS are no such bytes.) Until somebody reads it, it waits ([`Phase::PoolWait`]). From then
//! on its time is that of the threads that moved its bytes: on a CPU, waiting for one, or asleep. The call in
//! which a thread slept says what for. Where no call is known, that is [`Phase::Unexplained`]. So is all that
//! a thread does that serves several requests by turns: nothing shows for which of them.
//!
//! Behind a front end of the target a request is what the server behind it receives and sends.

use crate::event::{Light, LightWhat, Slept, Slice, Tid};
use crate::fact::OpenSlice;
use crate::machine::driver::follow;
use crate::machine::driver::state::State;
use crate::machine::join::topology::AF_UNIX;
use crate::machine::ledger::gil_attribution;
use crate::machine::lock::gil::Part;
use crate::machine::lock::gil_holder::Holders;
use crate::machine::time::sleeps::{IdleSleep, SleepPurpose, Sleeping};
use crate::machine::wire::ending::How;
use crate::machine::wire::light_socket::{LightRequest, Socket};
use crate::machine::world::sleep;
use crate::machine::world::waiter::lock_of;
use crate::phase::Phase;
use crate::timeline::Entry;

use message::Message;

mod ending;
mod gil;
mod lasting;
mod message;
pub(super) mod seen_asleep;
mod slots;

/// Connections followed at once; one more is counted and not followed.
const MAX_SOCKETS: usize = 65_536;

impl State {
    /// A thread slept, and got a CPU again at `time_ns`.
    pub fn slept(&mut self, slept: &Slept, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        self.sleeps(slept, (time_ns, false), sink);
    }

    /// A thread slept up to `time_ns`. `is_open`: it sleeps on.
    fn sleeps(&mut self, slept: &Slept, (time_ns, is_open): (u64, bool), sink: &mut dyn FnMut(Entry)) {
        let meant = match self.waited_for_lock(slept, time_ns, sink) {
            Some((part @ (Part::First | Part::Again), held_by)) => SleepPurpose {
                held_by,
                goes_on: part == Part::Again,
                ..SleepPurpose::new(Phase::GilWait, IdleSleep::No)
            },
            // To give the lock up: nobody gives it a job so.
            Some(_) => SleepPurpose::new(Phase::LockWait, IdleSleep::No),
            None => {
                let phase = sleep::phase(slept);
                SleepPurpose::new(phase, idle(slept, phase))
            }
        };
        if meant.idle != IdleSleep::No {
            gil::rests(&mut self.runtime.threads, &self.wire.light, slept.tid);
        }
        self.note_sleep(slept, &meant, time_ns, is_open);
        self.time.light.sleeps.add(slept, meant, time_ns);
    }

    /// The sleep's part in a wait for the interpreter lock, and who had that. `None`: it is not on a lock's
    /// memory.
    fn waited_for_lock(
        &mut self,
        slept: &Slept,
        end_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) -> Option<(Part, Holders)> {
        let at_lock = gil::at_lock(&self.gil, &self.runtime.threads, &self.time.light.sleeps, slept, end_ns)?;
        let mut thread = self.take_thread(&at_lock.slice, sink)?;
        let told = gil::slept(&mut self.context(), &mut thread, (slept, &at_lock.slice));
        self.put_back(slept.tid, thread);
        at_lock.is_on_lock.then_some(told)
    }

    /// A thread has ended.
    pub fn end_light_thread(&mut self, tid: Tid, time_ns: u64) {
        if self.time.is_light {
            let sleeping = self.time.light.sleeps.take_last(tid);
            self.rests_at_the_end(tid, &sleeping, time_ns);
            if let Some(thread) = self.runtime.threads.get_mut(tid) {
                slots::dies(&self.wire, thread, (self.window_start_ns, time_ns));
            }
        }
    }

    /// A thread ends at `at_ns`, or the window does.
    fn rests_at_the_end(&mut self, tid: Tid, sleeping: &Sleeping, at_ns: u64) {
        if let Some(mut thread) = self.runtime.threads.take(tid) {
            slots::ends(&mut self.context(), &mut thread, sleeping, at_ns);
            self.put_back(tid, thread);
        }
    }

    /// Takes one light slice.
    pub fn light(&mut self, light: &Light, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let head = follow::take_head(&mut self.heads, light.tid, light.sequence);
        let captured = head.as_ref().map_or(&[][..], |head| head.bytes.as_ref());
        let mut sleeping = self.time.light.sleeps.take(light.tid, light.sequence);
        self.note_message(light, time_ns);
        let (slice, is_first) = self.light_slice((light, time_ns), &mut sleeping, sink);
        self.light_turns_away(light);
        let Some(mut socket) = self.enter(light, time_ns, sink) else { return };
        socket.life.tgid = light.tgid;
        let takes_turns = self.runtime.threads.get(light.tid).is_some_and(|thread| thread.signs.takes_turns);
        let unknown = takes_turns.then(|| (slice.unknown(), Sleeping::default()));
        let done = unknown.as_ref().map_or((&slice, &sleeping), |(slice, sleeping)| (slice, sleeping));
        let begun_before = socket.begun;
        let in_hands_of =
            socket.active.as_ref().filter(|active| !active.is_responding).map(|active| active.owner);
        let message = Message { light, captured, done, time_ns };
        let lasts = self.light_lasting(&mut socket, &message, sink);
        match light.what {
            _ if lasts.is_some() => {}
            LightWhat::Sent => {
                let State { wire, product, .. } = self;
                message::sent((wire, &mut product.summary), &mut socket, &message);
            }
            _ => self.received(&mut socket, &message, sink),
        }
        let (mut moved, mut for_request, mut begun_ns) = (None, None, u64::MAX);
        let became = socket.active.as_ref().and_then(|active| active.request.lasting());
        // What others move on a connection that has become something else is no work of its thread.
        if lasts != Some(false)
            && let Some(active) = &mut socket.active
        {
            active.owner = light.tid;
            let request = active.request.id;
            if let Some(before) = in_hands_of.filter(|before| *before != light.tid) {
                gil::handed_over(&mut self.runtime.threads, before, request);
                self.time.light.passed_on = self.time.light.passed_on.saturating_add(1);
            }
            // What waits for its beginning is known from where its thread turned to it on.
            let has_turned = light.what == LightWhat::Sent || sleeping.turned_ns(&slice, 0).is_some();
            let is_over = active.is_answered;
            for_request = active.last.take();
            begun_ns = active.request.times.start_ns;
            moved = Some(gil::MovedMessage { socket: light.socket, request, is_over, has_turned });
        }
        if light.what == LightWhat::Sent {
            self.light_becomes(&mut socket, time_ns, sink);
        }
        self.wire.light.open.insert(light.socket, socket);
        if self.time.is_light
            && let Some(mut thread) = self.runtime.threads.take(light.tid)
        {
            let worked = slots::Worked {
                sleeping: &sleeping,
                from_ns: slice.gap_start_ns(),
                blocked_ns: slice.gap.blocked_ns,
                is_first,
                on: (light.socket, begun_before > 0),
                begun_ns,
                for_request,
                became,
                at_ns: time_ns,
            };
            let context = &mut self.context();
            slots::worked(context, &mut thread, &worked);
            gil::moved(&mut context.gil_context(), &mut thread, light.tid, moved.as_ref(), time_ns);
            self.put_back(light.tid, thread);
        }
    }

    /// What the thread of a light slice did, as far as it can be true, and whether it is the thread's first.
    /// None of this time belongs to a call.
    fn light_slice(
        &mut self,
        (light, time_ns): (&Light, u64),
        sleeping: &mut Sleeping,
        sink: &mut dyn FnMut(Entry),
    ) -> (Slice, bool) {
        let mut slice = message::slice_of(light, sleeping.asleep_ns(), time_ns);
        let Some(mut thread) = self.take_thread(&slice, sink) else { return (slice, false) };
        let is_first = !thread.row.has_begun;
        if is_first {
            // A sleep for the interpreter lock may have shown it first.
            thread.since_ns = thread.since_ns.min(slice.gap_start_ns());
        }
        // Where a slice is missing before this one, the answer may be in it.
        let follows = light.sequence.wrapping_sub(thread.row.sequence) == 1;
        if self.time.is_light && follows {
            let serving = thread.serving.zip(thread.job.light_socket).map(|((_, id), socket)| (socket, id));
            thread.signs.takes_turns |= self.wire.light.shows_turns(serving, light);
        }
        if let Some(repaired) = self.continuity(&mut thread, &slice) {
            slice = *repaired;
        }
        // A request gets its part from its message.
        let window_start_ns = self.window_start_ns;
        thread.drain(window_start_ns);
        if self.time.is_light {
            let gil_context = &mut self.gil_context();
            if let Some(wait) = gil::moves(gil_context, &mut thread, &slice, window_start_ns) {
                sleeping.has_waited(*wait);
            }
        }
        self.put_back(light.tid, thread);
        (slice, is_first)
    }

    /// A client's bytes were received. They may show that the answer before them is over.
    fn received(&mut self, socket: &mut Socket, message: &Message<'_>, sink: &mut dyn FnMut(Entry)) {
        let steps = socket.receives(message.light.bytes, message.captured);
        if !socket.life.signs.has_read {
            // A handshake asks for nothing.
            socket.life.signs.has_read = steps.iter().any(|step| !step.outside);
            self.product.drops.serves(message.light.tgid);
        }
        if let Some(over) = message::is_followed(socket, &steps) {
            if over.request.seen.lasts {
                let at_ns = over.covered_ns;
                self.light_lasted(over, at_ns, sink);
            } else {
                socket.life.signs.answers(&over.request);
                self.end_light(over, message.time_ns, sink);
            }
        }
        let State { wire, product, world, .. } = self;
        let counts = (wire, &mut product.summary);
        message::received(counts, world.wall_clock_offset_ns, socket, message, steps);
    }

    /// The window ends at `end_ns`, with what the threads were in the middle of.
    pub fn end_light_window(
        &mut self,
        (open, slices): (&[OpenSlice], &[Slice]),
        end_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        if self.time.is_light {
            for open in open {
                let sleeps = &self.time.light.sleeps;
                if let Some(asleep) = slots::under_way(&self.runtime.threads, sleeps, open, end_ns) {
                    self.sleeps(&asleep, (end_ns, true), sink);
                } else if let Some(asleep) = seen_asleep::seen_asleep(&self.world, &self.chain, open, end_ns)
                {
                    if self.hangs_on(open.tid, end_ns) {
                        continue;
                    }
                    let phase = sleep::phase(&asleep);
                    let meant = SleepPurpose::new(phase, idle(&asleep, phase));
                    self.note_sleep(&asleep, &meant, end_ns, true);
                }
            }
            let tids: Vec<Tid> = self.runtime.threads.tids().collect();
            for tid in &tids {
                let sleeping = self.time.light.sleeps.last(*tid);
                self.rests_at_the_end(*tid, &sleeping, end_ns);
            }
            // Waits belong to what their threads serve, while that is still known.
            for tid in tids {
                let Some(mut thread) = self.runtime.threads.take(tid) else { continue };
                gil_attribution::settle(&mut self.gil_context(), &mut thread, tid);
                self.put_back(tid, thread);
            }
        }
        let sockets = std::mem::take(&mut self.wire.light.open);
        self.wire.light.left_open = sockets.values().filter(|socket| !socket.life.is_judged).count() as u64;
        let mut active: Vec<LightRequest> =
            sockets.into_values().filter_map(|socket| socket.active).collect();
        active.sort_by_key(|active| active.request.id);
        for mut active in active {
            if let Some(at_ns) = self.light_left(&active) {
                self.light_lasted(active, at_ns, sink);
                continue;
            }
            if !active.is_responding {
                if let Some(slice) = slices.iter().find(|slice| slice.tid == active.owner) {
                    let mut sleeping = self.time.light.sleeps.take(slice.tid, slice.sequence);
                    let thread = self.runtime.threads.get_mut(slice.tid);
                    let mut slice = *slice;
                    if thread.as_ref().is_some_and(|thread| thread.signs.takes_turns) {
                        (slice, sleeping) = (slice.unknown(), Sleeping::default());
                    }
                    message::cover(&mut active, (&slice, &sleeping), slice.enter_ns.min(end_ns));
                    let became = active.request.lasting();
                    slots::works(thread, self.window_start_ns, active.last.take(), became);
                }
                active.request.seen.open = true;
            }
            self.end_light(active, end_ns, sink);
        }
    }

    /// The connection that a light slice is about; `None`: there is no room for it.
    fn enter(&mut self, light: &Light, time_ns: u64, sink: &mut dyn FnMut(Entry)) -> Option<Box<Socket>> {
        match self.wire.light.open.remove(&light.socket) {
            Some(socket) if socket.generation == light.generation => return Some(socket),
            // The address is another connection's now, though nobody saw the end of the one before.
            Some(before) => self.light_ends(before, How::Closed, time_ns, sink),
            None if self.wire.light.open.len() >= MAX_SOCKETS => {
                self.evict();
                return None;
            }
            None => {}
        }
        let mut socket = Box::new(Socket::new(light.generation, self.wire.connections.count_one()));
        if !light.is_unix {
            let known = self.product.drops.opened_light((light.socket, light.generation), time_ns);
            (socket.life.signs, socket.life.origin) = known;
        }
        self.update_topology();
        let family = if light.is_unix { AF_UNIX } else { 0 };
        (socket.life.is_unix, socket.life.side) =
            (light.is_unix, self.join.topology.side_of(light.tgid, family));
        Some(socket)
    }

    /// A request is over: with its last bytes sent, or without an answer at `at_ns`.
    pub(super) fn end_light(&mut self, mut active: LightRequest, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        if active.is_in_front {
            return;
        }
        if !active.is_responding {
            active.request.phases.add(Phase::Unexplained, at_ns.saturating_sub(active.covered_ns));
            active.request.times.end_ns = at_ns.max(active.covered_ns);
        }
        active.request.gil.holders = gil_attribution::holders(&self.world, &self.gil, &active.held);
        active.request.gil.waits = gil_attribution::listed_waits(&self.world, &self.gil, &active.held);
        self.completion_context().complete(active.request, sink);
    }
}

/// Whether the thread waited for something to do, as its sleep has this phase.
fn idle(slept: &Slept, phase: Phase) -> IdleSleep {
    match phase {
        // Who writes has something to do.
        Phase::LockWait if sleep::writes(slept) => IdleSleep::No,
        Phase::LockWait => IdleSleep::ForLock,
        Phase::Unexplained if sleep::is_for_descriptors(slept) => IdleSleep::ForDescriptors,
        // Processes take their turns to accept in such a lock.
        Phase::Unexplained | Phase::FileWait if lock_of(slept.system_call).is_some() => IdleSleep::ForLock,
        _ => IdleSleep::No,
    }
}

#[cfg(test)]
mod tests;
