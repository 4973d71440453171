//! One attempt to take a lock: where it begins, what belongs to it, where it ends.
//!
//! In: slices, with what the kernel side reports of the time around them. Out: [`Episode`]s that never
//! overlap.

use profiler_common::record::slice::{FLAG_TAKE_FOLLOWED, FLAG_TAKE_OVER, NO_CALL, PAGE_FAULT};

use crate::event::{Slice, Tid};
use crate::fact::InterpreterLock;
use crate::machine::lock::gil_measure::Attempt;

/// Most CPU time between two sleeps of one attempt, where not every call in between is seen. It allows for a
/// few µs of looking at the flag, and for interrupts. A thread that ran for longer had the lock meanwhile.
const LOOP_MAX_CPU_NS: u64 = 50_000;
/// Most CPU time between two sleeps of one attempt, where every call is seen: a thread that had the lock and
/// gave it up to a waiter made a call.
const FOLLOWED_LOOP_MAX_CPU_NS: u64 = 1_000_000;

/// The part of a lock's memory that a call waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Only a thread that wants the lock waits here.
    Take,
    /// The inside of the condition variable. Takers wait here now and then, and so do threads that give the
    /// lock up.
    Inner,
    /// The mutex, or the inside of the condition variable, to give the lock up.
    GivesUp,
    /// The mutex of a forced switch. A thread that takes the lock needs it for a moment. A thread that gave
    /// the lock up holds it until it sleeps.
    Switch,
    /// Only a thread that was forced to give the lock up waits here.
    Handover,
}

/// One attempt to take a lock: all its sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    pub(super) tgid: Tid,
    pub(super) lock: InterpreterLock,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) run_queue_ns: u64,
    pub(super) sleeps: u64,
    pub(super) attempt: Attempt,
    /// By how much its last sleep extended a request for the lock that was not honoured.
    pub(super) not_honoured_ns: u64,
    /// Every call after its last sleep is looked at.
    is_followed: bool,
    /// Its thread had been forced to give the lock up before.
    pub(super) is_after_forced: bool,
    /// Who else had the lock as the thread's last sleep began, and how often the lock had changed hands by
    /// then.
    held_then: Option<(Tid, u32)>,
}

impl Episode {
    /// The first sleep.
    pub(super) fn begin(slice: &Slice, lock: InterpreterLock) -> Self {
        Self {
            tgid: slice.tgid,
            lock,
            start_ns: begin_ns(slice),
            end_ns: slice.exit_ns,
            run_queue_ns: slice.inside.run_queue_ns,
            sleeps: 1,
            attempt: Attempt::default(),
            not_honoured_ns: 0,
            is_followed: slice.flags & FLAG_TAKE_FOLLOWED != 0,
            is_after_forced: false,
            held_then: held_by_another(slice),
        }
    }

    /// A further sleep.
    pub(super) fn sleep_again(&mut self, slice: &Slice) {
        self.end_ns = slice.exit_ns;
        self.run_queue_ns = self
            .run_queue_ns
            .saturating_add(slice.gap.run_queue_ns)
            .saturating_add(slice.inside.run_queue_ns);
        self.sleeps = self.sleeps.saturating_add(1);
        self.is_followed = slice.flags & FLAG_TAKE_FOLLOWED != 0;
        self.held_then = held_by_another(slice);
    }

    /// Whether a wait for `lock` is a further sleep of this attempt. Only a look at the flag may have
    /// happened in between.
    pub(super) fn continues_with(&self, slice: &Slice, lock: InterpreterLock, on: On) -> bool {
        let max_cpu_ns = match on {
            On::Take if self.is_followed => FOLLOWED_LOOP_MAX_CPU_NS,
            On::Take | On::Inner | On::Switch => LOOP_MAX_CPU_NS,
            On::GivesUp | On::Handover => return false,
        };
        self.lock.address == lock.address
            && self.tgid == slice.tgid
            && self.end_ns == slice.gap_start_ns()
            && matches!(slice.in_gap.blocked_call, NO_CALL | PAGE_FAULT)
            && slice.flags & FLAG_TAKE_OVER == 0
            && (slice.gap.cpu_ns <= max_cpu_ns || self.has_not_changed_hands(slice))
    }

    /// Whether the lock has not changed hands since the last sleep began, and another thread has it. So the
    /// thread of the slice has not had it, however long it ran: CPython counts each time that another
    /// thread takes it (`switch_number`, Python/ceval_gil.c).
    fn has_not_changed_hands(&self, slice: &Slice) -> bool {
        self.held_then.is_some() && self.held_then == held_by_another(slice)
    }

    /// The slice after its last sleep shows how long the attempt continued. Returns the part of that time in
    /// the window.
    pub(super) fn continued(&mut self, slice: &Slice, window_start_ns: u64) -> u64 {
        let tail_ns = u64::from(slice.lock.take_tail_ns).min(slice.gap.total_ns());
        if tail_ns == 0 || self.end_ns != slice.gap_start_ns() {
            return 0;
        }
        let counts_from_ns = self.end_ns.max(window_start_ns);
        self.end_ns = self.end_ns.saturating_add(tail_ns);
        self.run_queue_ns = self.run_queue_ns.saturating_add(slice.gap.run_queue_ns.min(tail_ns));
        self.end_ns.saturating_sub(counts_from_ns)
    }

    /// The next window begins in the middle of it. Its sums so far have been counted.
    pub fn roll(&mut self) {
        (self.run_queue_ns, self.sleeps) = (0, 0);
        self.attempt = Attempt::default();
    }

    /// By how much its last sleep extended a request for the lock that was not honoured.
    pub const fn not_honoured_ns(&self) -> u64 {
        self.not_honoured_ns
    }

    /// Whether its thread had been forced to give the lock up before it.
    pub const fn is_after_forced(&self) -> bool {
        self.is_after_forced
    }

    /// Start and end, in nanoseconds.
    pub const fn span(&self) -> (u64, u64) {
        (self.start_ns, self.end_ns)
    }
}

/// Who else had the lock as the call of this slice began, or had it last, and how often the lock had changed
/// hands; `None`: that was not read, or it is the thread itself.
fn held_by_another(slice: &Slice) -> Option<(Tid, u32)> {
    let holder = slice.lock.holder_tid;
    (holder != 0 && holder != slice.tid).then_some((holder, slice.lock.switches))
}

/// When an attempt began, by the slice that is its first sleep.
pub(super) const fn begin_ns(slice: &Slice) -> u64 {
    let Some(lead_ns) = slice.lock.take_lead_ns else { return slice.enter_ns };
    // The tail of the attempt before belongs to that attempt.
    let earliest_ns = slice.gap_start_ns().saturating_add(slice.lock.take_tail_ns as u64);
    let begin_ns = slice.enter_ns.saturating_sub(lead_ns as u64);
    if begin_ns > earliest_ns {
        begin_ns
    } else if earliest_ns < slice.enter_ns {
        earliest_ns
    } else {
        slice.enter_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Call, LockSeen};
    use crate::fact::Account;

    const LOCK: InterpreterLock = InterpreterLock { address: 0x1000, interpreter: 0, interval_us: 5000 };

    /// A sleep for the lock that is entered at `enter_ns`, after a gap with this account. The attempt before
    /// it had this tail.
    fn sleep(enter_ns: u64, gap: Account, take_tail_ns: u32) -> Slice {
        let inside = Account { run_queue_ns: 20, blocked_ns: 80, ..Account::default() };
        let lock = LockSeen { take_tail_ns, ..LockSeen::default() };
        Slice { enter_ns, exit_ns: enter_ns + 100, gap, inside, lock, ..Slice::blank(Call::Other) }
    }

    fn cpu(cpu_ns: u64) -> Account {
        Account { cpu_ns, ..Account::default() }
    }

    /// An attempt whose first sleep ends at 1000.
    fn episode(flags: u32) -> Episode {
        Episode::begin(&Slice { flags, ..sleep(900, cpu(100), 0) }, LOCK)
    }

    #[test]
    fn an_attempt_begins_where_the_probe_saw_it_but_not_before_the_gap_and_the_attempt_before() {
        for (what, lead_ns, tail_ns, expected) in [
            ("nothing saw it", None, 0, 1_000),
            ("it began with the call", Some(0), 0, 1_000),
            ("it began in the gap", Some(300), 0, 700),
            ("it began with the gap", Some(400), 0, 600),
            ("it cannot have begun before the gap", Some(500), 0, 600),
            ("nor before all time", Some(5_000), 0, 600),
            ("it began after the tail of the attempt before", Some(239), 160, 761),
            ("it began with the end of that tail", Some(240), 160, 760),
            ("it cannot have begun in that tail", Some(300), 160, 760),
            ("that tail fills the gap", Some(300), 400, 1_000),
            ("that tail is longer than the gap", Some(300), 416, 1_000),
        ] {
            let mut slice = sleep(1_000, cpu(400), tail_ns);
            slice.lock.take_lead_ns = lead_ns;
            assert_eq!(begin_ns(&slice), expected, "{what}");
            assert_eq!(Episode::begin(&slice, LOCK).span(), (expected, 1_100), "{what}");
        }
    }

    #[test]
    fn a_sleep_goes_on_with_an_attempt_only_after_a_look_at_the_flag() {
        const FOLLOWED: u32 = FLAG_TAKE_FOLLOWED;
        let (short, long) = (LOOP_MAX_CPU_NS, FOLLOWED_LOOP_MAX_CPU_NS);
        for (what, flags, on, gap_cpu_ns, expected) in [
            ("at once", 0, On::Take, 0, true),
            ("after a look", 0, On::Take, short, true),
            ("after more than a look", 0, On::Take, short + 1, false),
            ("where each call is seen", FOLLOWED, On::Take, long, true),
            ("it had the lock for so long", FOLLOWED, On::Take, long + 1, false),
            ("inside the condition variable", FOLLOWED, On::Inner, short, true),
            ("the same after more than a look", FOLLOWED, On::Inner, short + 1, false),
            ("on the mutex of a switch", FOLLOWED, On::Switch, short, true),
            ("the same after more than that", FOLLOWED, On::Switch, short + 1, false),
            ("to give the lock up", FOLLOWED, On::GivesUp, 0, false),
            ("until another has taken it", FOLLOWED, On::Handover, 0, false),
        ] {
            let next = sleep(1_000 + gap_cpu_ns, cpu(gap_cpu_ns), 0);
            assert_eq!(episode(flags).continues_with(&next, LOCK, on), expected, "{what}");
        }
    }

    #[test]
    fn however_long_it_ran_an_attempt_goes_on_while_the_lock_does_not_change_hands() {
        let asleep = |holder_tid, switches| {
            let mut slice = sleep(1_000 + 2 * LOOP_MAX_CPU_NS, cpu(2 * LOOP_MAX_CPU_NS), 0);
            (slice.lock.holder_tid, slice.lock.switches) = (holder_tid, switches);
            slice
        };
        for (what, first, next, expected) in [
            ("another had it all the time", (9, 5), (9, 5), true),
            ("it has passed on and come back", (9, 5), (9, 7), false),
            ("another one has it", (9, 5), (8, 6), false),
            ("who had it was not read", (0, 5), (0, 5), false),
            ("it had it itself, or had had it last", (1, 5), (1, 5), false),
        ] {
            let first = Slice { exit_ns: 1_000, ..asleep(first.0, first.1) };
            let first = Episode::begin(&first, LOCK);
            let next = asleep(next.0, next.1);
            assert_eq!(next.tid, 1);
            assert_eq!(first.continues_with(&next, LOCK, On::Take), expected, "{what}");
        }
    }

    #[test]
    fn a_sleep_of_another_lock_or_process_or_after_something_else_is_another_attempt() {
        let base = sleep(1_010, cpu(10), 0);
        let other = InterpreterLock { address: 0x2000, ..LOCK };
        let blocked = |call| {
            let mut slice = base;
            slice.in_gap.blocked_call = call;
            slice
        };
        for (what, next, lock, expected) in [
            ("the next sleep", base, LOCK, true),
            ("another lock", base, other, false),
            ("another process", Slice { tgid: 2, ..base }, LOCK, false),
            ("a slice is missing between them", Slice { enter_ns: 1_011, ..base }, LOCK, false),
            ("a page of memory was missing", blocked(PAGE_FAULT), LOCK, true),
            ("it slept in a call", blocked(35), LOCK, false),
            ("it had the lock", Slice { flags: FLAG_TAKE_OVER, ..base }, LOCK, false),
        ] {
            assert_eq!(episode(0).continues_with(&next, lock, On::Take), expected, "{what}");
        }
    }

    #[test]
    fn a_further_sleep_adds_its_gap() {
        let mut episode = episode(FLAG_TAKE_FOLLOWED);
        assert_eq!((episode.span(), episode.sleeps, episode.run_queue_ns), ((900, 1_000), 1, 20));
        let gap = Account { run_queue_ns: 7, ..cpu(3) };
        episode.sleep_again(&sleep(1_010, gap, 0));
        assert_eq!((episode.span(), episode.sleeps, episode.run_queue_ns), ((900, 1_110), 2, 47));
        assert!(!episode.is_followed, "calls after this sleep are not looked at");
        episode.roll();
        assert_eq!((episode.span(), episode.sleeps, episode.run_queue_ns), ((900, 1_110), 0, 0));
    }

    #[test]
    fn an_attempt_goes_on_after_its_last_sleep_for_as_long_as_the_next_slice_says() {
        let gap = Account { run_queue_ns: 300, ..cpu(100) };
        let tail_ns = 160;
        for (what, told_ns, gap_start_ns, window_start_ns, (added_ns, end_ns, run_queue_ns)) in [
            ("not at all", 0, 1_000, 0, (0, 1_000, 20)),
            ("for a part of the gap", 160, 1_000, 0, (tail_ns, 1_000 + tail_ns, 20 + tail_ns)),
            ("no longer than the gap", 800, 1_000, 0, (400, 1_400, 320)),
            ("a slice is missing between them", 160, 1_001, 0, (0, 1_000, 20)),
            ("the window begins with its end", 160, 1_000, 1_000, (tail_ns, 1_000 + tail_ns, 20 + tail_ns)),
            (
                "the window begins within it",
                160,
                1_000,
                1_100,
                (tail_ns - 100, 1_000 + tail_ns, 20 + tail_ns),
            ),
            ("the window begins after it", 160, 1_000, 2_000, (0, 1_000 + tail_ns, 20 + tail_ns)),
        ] {
            let mut episode = episode(0);
            let next = sleep(gap_start_ns + gap.total_ns(), gap, told_ns);
            assert_eq!(episode.continued(&next, window_start_ns), added_ns, "{what}");
            assert_eq!((episode.end_ns, episode.run_queue_ns), (end_ns, run_queue_ns), "{what}");
        }
    }
}
