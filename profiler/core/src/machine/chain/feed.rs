//! Pieces of threads' time become segments of their histories. Both modes give the same.
//!
//! In: full mode's gaps and calls; light mode's sleeps and messages. Out: segments.

use crate::event::Tid;
use crate::machine::chain::history::{Histories, HistoryEntry};
use crate::machine::chain::segment::{Did, Segment, SegmentSleep, SleepEnd};
use crate::machine::lock::gil_holder::Holders;
use crate::machine::time::piece::Piece;
use crate::machine::time::short::{LONG_NS, Short, ShortRun, short_ns};
use crate::model::chain::{Held, Object};
use crate::phase::Phase;

/// Who did something, and for which request.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Doer {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// The request's number, plus 1; 0: none.
    pub request: u64,
}

/// What is known of the sleep in a piece.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct SleepSeen {
    /// Its system call; −1: not known, or none.
    pub system_call: i32,
    /// It waited for work.
    pub is_idle: bool,
    /// What it waited for.
    pub object: Object,
    /// What distinguishes its connection from all others; 0: not known, or none.
    pub connection: u64,
    /// The other end of the connection may be a listener of the target: its port is one's.
    pub is_own_port: bool,
    /// Who ended it.
    pub end: SleepEnd,
    /// It began before the trace.
    pub since_before: bool,
    /// It was on the way out of an observed call, where hardly anything sleeps but a stop.
    pub is_way_out: bool,
    /// It has not ended.
    pub is_open: bool,
    /// A look saw its thread held from outside, since this moment.
    pub held: Option<(Held, u64)>,
    /// Of a sleep in a gap: a look saw it, since this moment.
    pub since_ns: Option<u64>,
}

impl SleepSeen {
    /// The sleep in a segment, of this phase. `held_by`: who had the interpreter lock, if it is a wait for
    /// that.
    fn asleep(&self, phase: Phase, held_by: Holders) -> Did {
        let end = if phase == Phase::GilWait { SleepEnd::Holders(held_by) } else { self.end };
        Did::Slept(SegmentSleep { end, held: None, ..self.of_segment(phase) })
    }

    /// The sleep in a segment of this phase, which is no wait for the interpreter lock.
    pub(super) fn in_phase(&self, phase: Phase) -> Did {
        self.asleep(phase, Holders::NONE)
    }

    /// The part of a sleep of this phase in which its thread was held from outside: it waited for nothing.
    fn stood_still(&self, phase: Phase) -> Did {
        let (since_before, held) = (self.since_before, self.held);
        let nothing = Self { since_before, held, ..Self::outside(self.system_call) };
        Did::Slept(nothing.of_segment(phase))
    }

    fn of_segment(&self, phase: Phase) -> SegmentSleep {
        let Self {
            system_call,
            is_idle,
            object,
            connection,
            is_own_port,
            end,
            since_before,
            is_way_out,
            held,
            ..
        } = *self;
        let held = held.map(|(held, _)| held);
        SegmentSleep {
            phase,
            is_idle,
            system_call,
            object,
            connection,
            is_own_port,
            end,
            since_before,
            is_way_out,
            held,
            polls_file_lock: false,
        }
    }

    /// How much of a sleep that lasted so long, up to a moment, its thread was held from outside.
    fn held_ns(&self, slept_ns: u64, until_ns: u64) -> u64 {
        self.held.map_or(0, |(_, since_ns)| until_ns.saturating_sub(since_ns).min(slept_ns))
    }

    /// A sleep that nothing of the target ended.
    pub(in crate::machine) const fn outside(system_call: i32) -> Self {
        Self {
            system_call,
            is_idle: false,
            object: Object::Unknown,
            connection: 0,
            is_own_port: false,
            end: SleepEnd::Outside,
            since_before: false,
            is_way_out: false,
            is_open: false,
            held: None,
            since_ns: None,
        }
    }
}

impl Histories {
    /// A stretch of short pieces is over.
    pub(in crate::machine) fn run(&mut self, (tgid, tid): (Tid, Tid), run: &ShortRun) {
        if run.end_ns > run.start_ns
            && let Some(mut entry) = self.entry(tgid, tid, run.start_ns)
        {
            entry.push_short((run.start_ns, run.end_ns), run.request, run.short);
        }
    }

    /// A piece that is long: a gap, or (`is_call`) a call.
    pub(in crate::machine) fn piece(&mut self, doer: Doer, piece: &Piece, is_call: bool, seen: &SleepSeen) {
        if let Some(mut entry) = self.entry(doer.tgid, doer.tid, piece.start_ns) {
            entry.piece(doer.request, piece, is_call, seen);
        }
    }
}

impl HistoryEntry<'_> {
    /// A piece that is long: a gap, or (`is_call`) a call.
    fn piece(&mut self, request: u64, piece: &Piece, is_call: bool, seen: &SleepSeen) {
        let (account, start_ns, end_ns) = (piece.account, piece.start_ns, piece.end_ns);
        if piece.length_ns() < LONG_NS {
            let mut short = Short { calls: u32::from(is_call), ..Short::default() };
            short.take(piece, seen.is_idle);
            return self.push_short((start_ns, end_ns), request, short);
        }
        let sleep = |phase, seen: &SleepSeen| seen.asleep(phase, piece.held_by);
        let ran = match piece.cpu {
            Phase::GilWait => sleep(Phase::GilWait, seen),
            Phase::Cpu if is_call && seen.system_call >= 0 => {
                Did::InKernel { system_call: seen.system_call, object: seen.object }
            }
            phase => Did::Ran(phase),
        };
        let unknown_ns = piece.length_ns().saturating_sub(account.total_ns());
        let decided_ns = account.blocked_ns.saturating_sub(piece.fault_ns).saturating_sub(piece.undecided_ns);
        let fault = sleep(Phase::FaultWait, &SleepSeen::outside(-1));
        // Where it was held, that was the last of its sleep.
        let held_ns = seen.held_ns(piece.fault_ns.saturating_add(decided_ns), end_ns);
        let held_phase = if decided_ns > 0 { piece.blocked } else { Phase::FaultWait };
        let of_decided_ns = held_ns.min(decided_ns);
        let fault = (fault, piece.fault_ns.saturating_sub(held_ns - of_decided_ns));
        let asleep = (sleep(piece.blocked, seen), decided_ns - of_decided_ns);
        let held = (seen.stood_still(held_phase), held_ns);
        let undecided_in = if is_call && !seen.is_idle { Did::AsleepOrReady } else { Did::Unseen };
        let undecided = (undecided_in, piece.undecided_ns);
        let queued = Did::Queued((start_ns, end_ns));
        // A call sleeps first, then waits for a CPU, then runs. A thread that is still in one ran before it
        // slept, and in a gap that is most likely, unless a look saw since when it slept.
        let before_ns = match seen.since_ns {
            Some(since_ns) if !is_call => since_ns.saturating_sub(start_ns),
            _ if is_call && !seen.is_open => 0,
            _ => account.cpu_ns,
        };
        let ran_before_ns = before_ns.min(account.cpu_ns);
        let queued_before_ns = (before_ns - ran_before_ns).min(account.run_queue_ns);
        let parts = [
            (ran, ran_before_ns),
            (queued, queued_before_ns),
            fault,
            asleep,
            held,
            undecided,
            (queued, account.run_queue_ns - queued_before_ns),
            (ran, account.cpu_ns - ran_before_ns),
            (Did::Unseen, unknown_ns),
        ];
        let mut at_ns = start_ns;
        for (did, ns) in parts {
            let until_ns = at_ns.saturating_add(ns).min(end_ns);
            self.push_did(request, (at_ns, until_ns), did);
            at_ns = until_ns;
        }
    }

    /// A stretch in which a thread did one thing.
    pub(in crate::machine) fn push_did(&mut self, request: u64, (start_ns, end_ns): (u64, u64), did: Did) {
        let length_ns = end_ns.saturating_sub(start_ns);
        if length_ns == 0 {
            return;
        }
        if length_ns >= LONG_NS {
            if matches!(did, Did::InKernel { .. }) {
                self.history.in_kernel_until_ns = end_ns;
            }
            return self.push(Segment { start_ns, end_ns, request, did });
        }
        let mut short = Short::default();
        let sum = match did {
            Did::Ran(_) | Did::InKernel { .. } => &mut short.ran_ns,
            Did::Queued(_) => &mut short.queued_ns,
            Did::Slept(SegmentSleep { is_idle: true, .. }) => &mut short.idle_ns,
            Did::Slept(SegmentSleep { phase: Phase::GilWait, .. }) => &mut short.gil_ns,
            _ => &mut short.slept_ns,
        };
        *sum = short_ns(length_ns);
        self.push_short((start_ns, end_ns), request, short);
    }

    /// Light mode: a thread was awake up to `until_ns`. It had run for `ran_ns` since its message number
    /// `sequence`.
    pub(in crate::machine) fn awake(&mut self, request: u64, until_ns: u64, (sequence, ran_ns): (u32, u64)) {
        let history = &mut *self.history;
        if self.is_new {
            // How long it had run before is nothing that it ran since.
            history.ran = (sequence, ran_ns);
            return;
        }
        let before_ns = if history.ran.0 == sequence { history.ran.1 } else { 0 };
        history.ran = (sequence, ran_ns);
        let from_ns = history.end_ns();
        let awake_ns = until_ns.saturating_sub(from_ns);
        let run_ns = ran_ns.saturating_sub(before_ns).min(awake_ns);
        // Where in the stretch it had no CPU is not known.
        let queued_until_ns = from_ns.saturating_add(awake_ns - run_ns);
        self.push_did(request, (from_ns, queued_until_ns), Did::Queued((from_ns, until_ns)));
        self.push_did(request, (queued_until_ns, until_ns), Did::Ran(Phase::Cpu));
    }

    /// Light mode: a thread slept, and got a CPU again at `end_ns`.
    pub(in crate::machine) fn slept(
        &mut self,
        request: u64,
        (start_ns, woken_ns, end_ns): (u64, u64, u64),
        (phase, held_by): (Phase, Holders),
        seen: &SleepSeen,
    ) {
        let held_ns = seen.held_ns(woken_ns.saturating_sub(start_ns), woken_ns);
        let held_from_ns = woken_ns.saturating_sub(held_ns);
        self.push_did(request, (start_ns, held_from_ns), seen.asleep(phase, held_by));
        self.push_did(request, (held_from_ns, woken_ns), seen.stood_still(phase));
        self.push_did(request, (woken_ns, end_ns), Did::Queued((woken_ns, end_ns)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Account;

    const MS: u64 = 1_000_000;
    const DOER: Doer = Doer { tgid: 1, tid: 2, request: 0 };

    fn entry(histories: &mut Histories) -> HistoryEntry<'_> {
        histories.entry(DOER.tgid, DOER.tid, 10 * MS).unwrap()
    }

    fn told(piece: &Piece, is_call: bool) -> Vec<(&'static str, u64, u64)> {
        let mut histories = Histories::default();
        histories.piece(DOER, piece, is_call, &SleepSeen::outside(0));
        let history = histories.get(2).unwrap();
        let parts = history.within(0, u64::MAX).map(|part| {
            let what = match part.segment.did {
                Did::Ran(_) => "ran",
                Did::InKernel { .. } => "in a call",
                Did::Queued(_) => "queued",
                Did::Slept(sleep) if sleep.phase == Phase::FaultWait => "fault",
                Did::Slept(_) => "slept",
                Did::Short(_) => "short",
                Did::AsleepOrReady => "asleep or ready",
                Did::Unseen => "unseen",
            };
            (what, part.from_ns / MS, part.until_ns / MS)
        });
        parts.collect()
    }

    fn piece() -> Piece {
        Piece {
            account: Account { cpu_ns: 2 * MS, run_queue_ns: 3 * MS, blocked_ns: 10 * MS },
            fault_ns: 4 * MS,
            undecided_ns: MS,
            cpu: Phase::Cpu,
            blocked: Phase::BackendWait,
            ..Piece::unknown(0, 17 * MS)
        }
    }

    #[test]
    fn a_call_sleeps_then_waits_for_a_cpu_then_runs_and_a_gap_runs_first() {
        let call = [
            ("fault", 0, 4),
            ("slept", 4, 9),
            ("asleep or ready", 9, 10),
            ("queued", 10, 13),
            ("in a call", 13, 15),
            ("unseen", 15, 17),
        ];
        assert_eq!(told(&piece(), true), call);
        let gap = [("ran", 0, 2), ("fault", 2, 6), ("slept", 6, 11), ("unseen", 11, 12), ("queued", 12, 15)];
        assert_eq!(told(&piece(), false)[..5], gap);
    }

    #[test]
    fn an_account_that_is_longer_than_its_piece_ends_with_it() {
        let short = Piece { end_ns: 5 * MS, ..piece() };
        assert_eq!(told(&short, true), [("fault", 0, 4), ("slept", 4, 5)]);
    }

    #[test]
    fn in_light_mode_what_a_thread_had_run_before_it_was_heard_of_does_not_count() {
        let mut histories = Histories::default();
        entry(&mut histories).awake(0, 10 * MS, (1, 6 * MS));
        entry(&mut histories).slept(
            0,
            (10 * MS, 20 * MS, 20 * MS),
            (Phase::Sleep, Holders::NONE),
            &SleepSeen::outside(0),
        );
        entry(&mut histories).awake(0, 30 * MS, (1, 10 * MS));
        let history = histories.get(2).unwrap();
        let queued =
            history.within(0, u64::MAX).find(|part| matches!(part.segment.did, Did::Queued(_))).unwrap();
        assert_eq!((queued.from_ns, queued.until_ns), (20 * MS, 26 * MS));
        assert_eq!(history.since_ns, 10 * MS);
    }

    #[test]
    fn in_light_mode_a_thread_was_awake_since_its_last_sleep_and_ran_as_long_as_it_says() {
        let mut histories = Histories::default();
        let seen = SleepSeen::outside(0);
        entry(&mut histories).slept(0, (0, 10 * MS, 12 * MS), (Phase::Sleep, Holders::NONE), &seen);
        entry(&mut histories).awake(0, 20 * MS, (1, 5 * MS));
        entry(&mut histories).awake(0, 30 * MS, (1, 15 * MS));
        let history = histories.get(2).unwrap();
        let queued = history.within(0, u64::MAX).filter(|part| matches!(part.segment.did, Did::Queued(_)));
        let queued: Vec<_> = queued.map(|part| (part.from_ns / MS, part.until_ns / MS)).collect();
        assert_eq!(queued, [(10, 15)], "woken at 10, and 8 ms awake of which it ran 5");
        assert_eq!(history.end_ns(), 30 * MS);
    }
}
