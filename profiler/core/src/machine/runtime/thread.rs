//! A thread: what it is about, and sums of its time.
//!
//! In: slices, in the order of the thread. Out: its state and totals.

use crate::event::{Slice, Tid};
use crate::fact::Account;
use crate::machine::lock::gil::AtLock;
use crate::machine::lock::gil_held::Share;
use crate::machine::lock::gil_holder::HeldBy;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::handed::Handed;
use crate::machine::runtime::helpers::Helpers;
use crate::machine::runtime::report::Report;
use crate::machine::time::piece::{Pending, Piece, ThreadTime, hold};
use crate::machine::time::row::{Continuity, Row};
use crate::machine::time::short::ShortRun;
use crate::machine::time::state::Time;
use crate::machine::wire::request::RequestKey;
use crate::model::lasting::Became;
use crate::model::slot::Holding;
use crate::phase::{Phase, Phases};

/// One thread.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// Process.
    pub tgid: Tid,
    /// Start of what is known of it.
    pub since_ns: u64,
    /// Its slices so far.
    pub row: Row,
    /// What it did since it last finished something.
    pub pending: Pending,
    /// What it did lately in pieces that are too short to be kept one by one.
    pub short: ShortRun,
    /// The request it serves: connection number and request id.
    pub serving: Option<RequestKey>,
    /// Number of its slot, if the thread works on requests.
    pub slot: Option<u32>,
    /// Since when it has been busy (not in a wait for work).
    pub busy_since_ns: Option<u64>,
    /// The event loop that it runs, if it waits for listeners.
    pub event_loop: Option<Box<EventLoop>>,
    /// What its calls have shown of its part.
    pub signs: ThreadSigns,
    /// Its work on the connection that it touched last.
    pub job: ThreadJob,
    /// Its work as a thread of a loop's pool.
    pub pooled: Pooled,
    /// The threads that it has started in its job.
    pub helpers: Helpers,
    /// Its side of the interpreter lock.
    pub gil: ThreadGil,
    /// Sums of the window.
    pub totals: Totals,
}

/// What the calls of a thread have shown of its part in the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadSigns {
    /// The thread accepts connections.
    pub accepts: bool,
    /// The thread reads requests.
    pub reads: bool,
    /// The thread has left a request unanswered for something else: it is a loop that offloads requests, or
    /// that serves many.
    pub hands_over: bool,
    /// In light mode: the thread has several requests at once, and serves them by turns.
    pub takes_turns: bool,
    /// The thread only passes requests on to the server behind, and is no slot.
    pub in_front: bool,
    /// Its last call closed a file. The kernel releases the file on the thread's way out of the call.
    pub has_closed_file: bool,
}

/// The work of a thread on the connection that it touched last.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadJob {
    /// Where its work on the connection that it is engaged with began. This is the end of its last wait for
    /// work, or its first touch of that connection.
    pub work_start_ns: Option<u64>,
    /// The connection that it touched last, since its last wait for work.
    pub engaged: Option<u32>,
    /// When it last surely worked on a connection. This is the exit of its last call on one, or of the call
    /// after it that signalled another thread.
    pub touched_ns: u64,
    /// The thread has signalled another thread since.
    pub has_told: bool,
    /// The thread that hands it jobs.
    pub fed_by: Option<Tid>,
    /// In light mode the socket of the request that it serves: connections have no number there.
    pub light_socket: Option<u64>,
    /// What it last served that was no request any more.
    pub lasted: Option<Lasted>,
    /// Its last waits in a mutex, from when to when. `None`: it has accepted before, or since done something
    /// that leads to no listener.
    pub in_mutex: Option<(u64, u64)>,
}

/// What a thread served that was no request any more, and that is over.
#[derive(Clone, Copy, Debug)]
pub struct Lasted {
    /// What its connection had become.
    pub became: Became,
    /// The number under which it was served.
    pub request: u64,
    /// When it was over.
    pub until_ns: u64,
}

/// The work of a thread as one of a loop's pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pooled {
    /// The thread has worked for a loop, as a thread of its pool.
    pub is_pooled: bool,
    /// The thread waits for its jobs at the queue of its pool. A thread that never did has its own.
    pub at_queue: bool,
    /// Where it waits, and since when, if other threads have ended that wait without a job for it.
    pub waits_since: Option<(u64, u64)>,
    /// The request that a loop had touched last when it woke this thread.
    pub woken_for: Option<RequestKey>,
    /// How it was given its job.
    pub handed: Handed,
    /// Only order showed that: it could have been one of several.
    pub woken_by_order: bool,
    /// When its last wait for a job ended.
    pub begun_ns: u64,
    /// The loop that reads requests has woken it as it looked: it is a loop beside that one. How the two hand
    /// requests to one another is not known.
    pub is_other_loop: bool,
    /// The request that it works for.
    pub works_for: Option<RequestKey>,
    /// What it has reported of its job.
    pub report: Report,
}

/// A thread's side of the interpreter lock.
#[derive(Clone, Debug, Default)]
pub struct ThreadGil {
    /// The wait that it is in, or was in when its last slice ended.
    pub at_lock: AtLock,
    /// What it waited since its last other call, by holder.
    pub held: Vec<Share>,
    /// Who had the lock in the last part of that.
    pub held_by: HeldBy,
    /// Its contender number while it serves this request, once that was asked for.
    pub contender: Option<(RequestKey, u32)>,
    /// The contender that it was before what it does now, and until when.
    pub party_before: Option<(u32, u64)>,
}

/// Sums of a thread in the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Time by its account.
    pub account: Account,
    /// Slices seen.
    pub slices: u64,
    /// Requests served.
    pub requests: u64,
    /// Time by what held it beside requests (for threads that are no slots).
    pub holding_ns: [u64; Holding::COUNT],
    /// End of what was last attributed to something beside requests. If a request claims time from before
    /// it, that time counts there alone.
    pub drained_until_ns: u64,
    /// End of what requests have claimed. What turns up from before it counts there alone.
    pub claimed_until_ns: u64,
}

impl Thread {
    /// The loop that it runs, if the loop is known to serve several connections at once.
    pub fn serving_loop(&mut self) -> Option<&mut EventLoop> {
        self.event_loop.as_deref_mut().filter(|event_loop| event_loop.recognition.confirmed)
    }

    /// The loop that it runs, to be read, if the loop is known to serve several connections at once.
    pub(in crate::machine) fn as_loop(&self) -> Option<&EventLoop> {
        self.event_loop.as_deref().filter(|event_loop| event_loop.recognition.confirmed)
    }

    /// Whether it is the thread of a process's loop.
    pub(in crate::machine) fn is_loop(&self) -> bool {
        self.as_loop().is_some()
    }

    /// Its time between its last call and this one. If the last call closed a file, the kernel released it on
    /// the way out. `closes_file`: this call closes one too.
    #[inline]
    pub fn gap(&mut self, slice: &Slice, closes_file: bool) -> Piece {
        let gap = Piece::gap(slice);
        if std::mem::replace(&mut self.signs.has_closed_file, closes_file) {
            gap.after_close_of_file(slice)
        } else {
            gap
        }
    }

    /// What it has of time, for a request to take.
    pub const fn time(&mut self, tid: Tid) -> ThreadTime<'_> {
        let Self { tgid, since_ns, pending, totals, .. } = self;
        let new_since_ns = if totals.requests == 0 { Some(*since_ns) } else { None };
        let Totals { holding_ns, claimed_until_ns, .. } = totals;
        ThreadTime {
            tgid: *tgid,
            tid,
            new_since_ns,
            pending,
            holding_ns,
            claimed_until_ns: *claimed_until_ns,
        }
    }

    /// The thread becomes a slot: it reads requests. Where a server makes a thread for each connection, a
    /// thread that comes after another has ended is the same unit of concurrency.
    pub fn make_slot(&mut self, time: &mut Time) {
        if self.slot.is_none() && !self.signs.in_front {
            self.slot = Some(time.take_slot(self.tgid, self.since_ns));
        }
    }

    /// The thread ended, or the window did, in the middle of its first request. A thread that offloads
    /// requests may only have read one.
    pub fn make_slot_in_flight(&mut self, time: &mut Time) {
        if self.serving.is_some() && !self.signs.hands_over {
            self.make_slot(time);
        }
    }

    /// A busy stretch of it is over.
    pub fn was_busy(&self, time: &mut Time, until_ns: u64, window_start_ns: u64) {
        if self.slot.is_some()
            && let Some(since_ns) = self.busy_since_ns
        {
            time.was_busy(self.tgid, (since_ns, until_ns), window_start_ns);
        }
    }

    /// A request held the thread from `start_ns` on, for these phases. `became`: what its connection has
    /// become; that holds the thread as one thing, whatever it does.
    pub fn hold_for(
        &mut self,
        window_start_ns: u64,
        (start_ns, phases): (u64, &Phases),
        became: Option<Became>,
    ) {
        let Some(became) = became else { return self.hold_for_request(window_start_ns, start_ns, phases) };
        let until_ns = start_ns.saturating_add(phases.total_ns());
        let from_ns = start_ns.max(window_start_ns).max(self.totals.drained_until_ns);
        hold(&mut self.totals.holding_ns, became.holding(), from_ns, until_ns);
        self.totals.claimed_until_ns = self.totals.claimed_until_ns.max(until_ns);
    }

    /// What it served, which was no request any more, is over at `at_ns`: what it did up to then was for
    /// that.
    pub(in crate::machine) fn has_lasted(&mut self, lasted: Lasted) {
        self.pending.hold_by(Some(lasted.became.holding()), (0, lasted.until_ns));
        self.job.lasted = Some(lasted);
    }

    /// What it served at a moment, which was no request any more and is over by now.
    pub(in crate::machine) fn lasted_at(&self, at_ns: u64) -> Option<Lasted> {
        self.job.lasted.filter(|lasted| at_ns < lasted.until_ns)
    }

    /// A request held the thread from `start_ns` on, for these phases.
    pub fn hold_for_request(&mut self, window_start_ns: u64, start_ns: u64, phases: &Phases) {
        let read_ns = phases.get(Phase::ClientReadStall);
        let write_ns = phases.get(Phase::ClientWriteStall);
        let counts_from_ns = window_start_ns.max(self.totals.drained_until_ns);
        let before_ns = counts_from_ns.saturating_sub(start_ns).min(phases.total_ns());
        let own_ns = phases.total_ns().saturating_sub(read_ns).saturating_sub(write_ns);
        // The request began before the window, or claims what the thread was known to do beside requests. On
        // a loop, it claims everything since it was last seen. What lies before is first taken off
        // its own part.
        let own_before_ns = before_ns.min(own_ns);
        let stall_before_ns = before_ns - own_before_ns;
        let read_before_ns = stall_before_ns.min(read_ns);
        for (holding, sum_ns) in [
            (Holding::Request, own_ns - own_before_ns),
            (Holding::ClientReadStall, read_ns - read_before_ns),
            (Holding::ClientWriteStall, write_ns.saturating_sub(stall_before_ns - read_before_ns)),
        ] {
            if let Some(held_ns) = self.totals.holding_ns.get_mut(holding as usize) {
                *held_ns = held_ns.saturating_add(sum_ns);
            }
        }
        let until_ns = start_ns.saturating_add(phases.total_ns());
        self.totals.claimed_until_ns = self.totals.claimed_until_ns.max(until_ns);
    }

    /// Everything pending on it belongs to no request.
    pub fn drain(&mut self, window_start_ns: u64) {
        let Self { pending, totals, .. } = self;
        let Totals { holding_ns, drained_until_ns, claimed_until_ns, .. } = totals;
        let counts_from_ns = window_start_ns.max(*claimed_until_ns);
        pending.drain(|piece| {
            if let Some(holding) = piece.holding {
                hold(holding_ns, holding, piece.start_ns.max(counts_from_ns), piece.end_ns);
                *drained_until_ns = piece.end_ns.max(*drained_until_ns);
            }
        });
    }

    /// Notes a slice: what it lacks, if it does not follow the one before.
    #[inline]
    pub fn continue_with(&mut self, slice: &Slice) -> Option<Continuity> {
        self.totals.slices = self.totals.slices.saturating_add(1);
        self.row.take(slice)
    }

    /// Adds a slice's accounts to the totals, without the part that lies before the window.
    #[inline]
    pub fn add_up(&mut self, slice: &Slice, before: Account) {
        let account = slice.gap.plus(slice.inside).minus(before);
        self.totals.account = self.totals.account.plus(account);
    }

    /// The next window begins: sums start at zero, what the thread is about stays.
    pub fn roll(&mut self) {
        self.totals.account = Account::default();
        (self.totals.slices, self.totals.requests) = (0, 0);
        self.totals.holding_ns = [0; Holding::COUNT];
        self.gil.held.clear();
        if let Some(event_loop) = &mut self.event_loop {
            event_loop.roll();
        }
        if let Some(episode) = &mut self.gil.at_lock.episode {
            episode.roll();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_attributed_to_something_beside_requests_is_not_held_by_a_request_that_claims_it_later() {
        let mut thread = Thread::default();
        thread.pending.push(Piece { holding: Some(Holding::Housekeeping), ..Piece::unknown(100, 400) });
        thread.drain(0);
        // What a request of a loop claims from where it was last seen is unexplained.
        let mut phases = Phases::default();
        phases.add(Phase::Unexplained, 700);
        thread.hold_for_request(0, 100, &phases);
        let held = |holding: Holding| thread.totals.holding_ns[holding as usize];
        assert_eq!((held(Holding::Housekeeping), held(Holding::Request)), (300, 400));
    }

    #[test]
    fn time_that_a_request_has_claimed_is_not_held_by_something_else_that_turns_up_later() {
        let mut thread = Thread::default();
        let mut phases = Phases::default();
        phases.add(Phase::Unexplained, 700);
        thread.hold_for_request(0, 100, &phases);
        // Its records came late, or out of order.
        for (start_ns, end_ns) in [(200, 400), (750, 900)] {
            thread
                .pending
                .push(Piece { holding: Some(Holding::Housekeeping), ..Piece::unknown(start_ns, end_ns) });
        }
        thread.drain(0);
        let held = |holding: Holding| thread.totals.holding_ns[holding as usize];
        assert_eq!((held(Holding::Request), held(Holding::Housekeeping)), (700, 100));
    }
}
