//! What threads slept for in light mode, until the light slice that their sleeps lie in.
//!
//! In: sleeps with their phase, each before its light slice. Out: the phases of any part of a light slice
//! that reaches to its end, and for which back ends it waited. Phases add up to the part. A sleep that is not
//! known (its record was lost, or it was under way when the thread was first seen) is `unexplained`.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::event::{Slept, SleptOn, Slice, Tid};
use crate::fact::Account;
use crate::machine::lock::gil_held::Held;
use crate::machine::lock::gil_holder::{HeldBy, Holders};
use crate::machine::lock::gil_sleep::Since;
use crate::machine::lock::gil_waits::{EndedAttempt, EndedAttempts};
use crate::machine::time::piece::{Piece, give};
use crate::model::round_trips::RoundTrips;
use crate::phase::{Phase, Phases};

/// Threads whose sleeps are kept.
const MAX_THREADS: usize = 16_384;
/// Sleeps kept one by one between two light slices of a thread; older ones are added up.
const MAX_SLEEPS: usize = 1024;

/// The sleeps of all threads.
#[derive(Clone, Debug, Default)]
pub struct Sleeps {
    threads: FxHashMap<Tid, Sleeping>,
    /// Threads that found no place.
    pub evicted: u64,
}

/// One sleep.
#[derive(Clone, Copy, Debug)]
struct Sleep {
    start_ns: u64,
    woken_ns: u64,
    /// When the thread had a CPU again.
    end_ns: u64,
    /// Time on a CPU in the light slice before it.
    cpu_ns: u64,
    meant: SleepPurpose,
    /// The port of the back end that it waited for (0: of none, or of one that has none).
    port: u16,
    /// The client's socket that it slept on (0: on none), and whether this side had ended that connection.
    client: (u64, bool),
}

impl Sleep {
    fn asleep_ns(&self) -> u64 {
        self.woken_ns.saturating_sub(self.start_ns)
    }
}

/// What a thread did in a stretch beside requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum OffRequest {
    /// It waited for something to do.
    Free,
    /// It waited for the client of this socket to send; `true`: to end the connection, as this side has.
    Client(u64, bool),
    /// It waited for a client to take more of an answer.
    ClientWrite,
    /// Something else.
    Work,
}

/// What a sleep was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepPurpose {
    /// Its phase.
    pub phase: Phase,
    /// Whether it waited for something to do.
    pub idle: IdleSleep,
    /// Who had the interpreter lock, if it is a wait for that.
    pub held_by: Holders,
    /// It is a further sleep of an attempt to take that lock: what the thread did since the sleep before is
    /// part of it.
    pub goes_on: bool,
}

impl SleepPurpose {
    /// No wait for the interpreter lock.
    pub const fn new(phase: Phase, idle: IdleSleep) -> Self {
        Self { phase, idle, held_by: Holders::NONE, goes_on: false }
    }
}

/// What a thread did in a part of a light slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) struct SleepAccount {
    pub(in crate::machine) phases: Phases,
    /// Who had the interpreter lock meanwhile. The same.
    pub(in crate::machine) held: Held,
    /// Its waits for back ends. Where sleeps are missing, they are not known one by one, and left out.
    pub(in crate::machine) back_ends: RoundTrips,
}

/// Whether a thread that sleeps waits for something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleSleep {
    /// Not that is known.
    No,
    /// Until one of several descriptors is ready, or a connection comes. What it does after the last such
    /// sleep is for what it moves next.
    ForDescriptors,
    /// For a lock: whoever gives it a job wakes it so.
    ForLock,
}

/// What a thread did beside requests, stretch by stretch: from when to when, and what.
type Stretches = SmallVec<[(u64, u64, OffRequest); 8]>;

/// The sleeps of a thread since its last light slice.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Sleeping {
    /// Number of its light slices before.
    sequence: u32,
    sleeps: VecDeque<Sleep>,
    /// Sums of those that are not kept.
    folded: Phases,
    /// Its attempts to take the interpreter lock that have ended since, if each one is asked for.
    waits: EndedAttempts,
}

impl Sleeps {
    /// A thread slept for this, and had a CPU again at `end_ns`.
    pub fn add(&mut self, slept: &Slept, meant: SleepPurpose, end_ns: u64) {
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&slept.tid) {
            self.evicted = self.evicted.saturating_add(1);
            return;
        }
        let thread = self.threads.entry(slept.tid).or_default();
        if thread.sequence != slept.sequence {
            *thread = Sleeping { sequence: slept.sequence, ..Sleeping::default() };
        }
        if thread.sleeps.len() >= MAX_SLEEPS
            && let Some(oldest) = thread.sleeps.pop_front()
        {
            thread.folded.add(oldest.meant.phase, oldest.woken_ns.saturating_sub(oldest.start_ns));
        }
        let Slept { start_ns, woken_ns, cpu_ns, .. } = *slept;
        let client = (slept.client, slept.is_shut);
        let port = match slept.on {
            SleptOn::Socket { port } => port,
            _ => 0,
        };
        thread.sleeps.push_back(Sleep { start_ns, woken_ns, end_ns, cpu_ns, meant, port, client });
    }

    /// An attempt to take the interpreter lock has ended, whose sleeps lie in the thread's light slice with
    /// so many others before it.
    pub(in crate::machine) fn has_waited(&mut self, tid: Tid, sequence: u32, wait: EndedAttempt) {
        if let Some(thread) = self.threads.get_mut(&tid).filter(|thread| thread.sequence == sequence) {
            thread.has_waited(wait);
        }
    }

    /// How long a thread is known to have slept in its light slice with so many others before it.
    pub(in crate::machine) fn asleep_ns(&self, tid: Tid, sequence: u32) -> u64 {
        let thread = self.threads.get(&tid).filter(|thread| thread.sequence == sequence);
        thread.map_or(0, Sleeping::asleep_ns)
    }

    /// The same, which stay.
    pub(in crate::machine) fn last(&self, tid: Tid) -> Sleeping {
        self.threads.get(&tid).cloned().unwrap_or_default()
    }

    /// The sleeps of a thread that has moved nothing since.
    pub(in crate::machine) fn take_last(&mut self, tid: Tid) -> Sleeping {
        self.threads.remove(&tid).unwrap_or_default()
    }

    /// Where the last sleep of a thread's light slice with so many others before it ended; `None`: there is
    /// none.
    pub(in crate::machine) fn since(&self, tid: Tid, sequence: u32) -> Option<Since> {
        let thread = self.threads.get(&tid).filter(|thread| thread.sequence == sequence)?;
        thread.sleeps.back().map(|sleep| Since { at_ns: sleep.end_ns, cpu_ns: sleep.cpu_ns })
    }

    /// The last sleep of a thread's light slice with so many others before it, if it is a wait for the
    /// interpreter lock: from when to when, and who had the lock.
    pub(in crate::machine) fn last_wait(&self, tid: Tid, sequence: u32) -> Option<((u64, u64), Holders)> {
        let thread = self.threads.get(&tid).filter(|thread| thread.sequence == sequence)?;
        let sleep = thread.sleeps.back().filter(|sleep| sleep.meant.phase == Phase::GilWait)?;
        Some(((sleep.start_ns, sleep.end_ns), sleep.meant.held_by))
    }

    /// In the thread's last sleep these had the lock.
    pub(in crate::machine) fn was_held_by(&mut self, tid: Tid, by: Holders) {
        if let Some(sleep) = self.threads.get_mut(&tid).and_then(|thread| thread.sleeps.back_mut()) {
            sleep.meant.held_by = by;
        }
    }

    /// The sleeps that lie in the light slice with this number; none, if they are of another.
    pub(in crate::machine) fn take(&mut self, tid: Tid, sequence: u32) -> Sleeping {
        let of_slice = |sleeping: &Sleeping| sleeping.sequence.wrapping_add(1) == sequence;
        self.threads.remove(&tid).filter(of_slice).unwrap_or_default()
    }

    /// The thread has ended.
    pub fn forget(&mut self, tid: Tid) {
        self.threads.remove(&tid);
    }
}

impl Sleeping {
    /// An attempt to take the interpreter lock has ended.
    pub(in crate::machine) fn has_waited(&mut self, wait: EndedAttempt) {
        self.waits.add(wait);
    }

    /// Those of these attempts that a part of the light slice has, from `from_ns` to its end.
    fn waits_from(&self, slice: &Slice, from_ns: u64) -> EndedAttempts {
        // Nearly always there are none.
        if self.waits.is_empty() {
            EndedAttempts::default()
        } else {
            self.waits.clone().take(from_ns, slice.enter_ns)
        }
    }

    /// What the thread did in the part of a light slice from `from_ns` on. `same_thread`: the request was in
    /// this thread's hands before. If it was in another's, it waited until this one had turned to it.
    /// Where that is not known, a sleep that had begun by then was not for the request.
    pub(in crate::machine) fn done_from(
        &self,
        slice: &Slice,
        from_ns: u64,
        same_thread: bool,
    ) -> SleepAccount {
        if !self.is_whole(slice) {
            return self.some_from(slice, from_ns);
        }
        let turned_ns = if same_thread { None } else { self.given_ns(from_ns) };
        let own_ns = turned_ns.unwrap_or(from_ns);
        let mut done = SleepAccount::default();
        done.held.waits = self.waits_from(slice, own_ns);
        done.phases.add(Phase::PoolWait, own_ns - from_ns);
        let is_known = same_thread || turned_ns.is_some();
        self.walk(slice, |mut piece, port| {
            if !is_known && piece.start_ns < from_ns {
                piece.blocked = Phase::Unexplained;
            }
            let before_ns = done.phases.get(Phase::BackendWait);
            give(&piece, own_ns, &mut done.phases, &mut done.held);
            done.back_ends.waits(port, done.phases.get(Phase::BackendWait) - before_ns);
        });
        done
    }

    /// When the first of them began.
    pub(in crate::machine) fn first_ns(&self) -> Option<u64> {
        self.sleeps.front().map(|sleep| sleep.start_ns)
    }

    /// How long all of them were.
    pub(in crate::machine) fn asleep_ns(&self) -> u64 {
        let kept = self.sleeps.iter().map(Sleep::asleep_ns);
        kept.fold(self.folded.total_ns(), u64::saturating_add)
    }

    /// What the thread did between these times, in which it worked for no request: stretches in order,
    /// without a hole. Sleeps that are missing count as work.
    pub(in crate::machine) fn beside(&self, from_ns: u64, until_ns: u64) -> Stretches {
        let mut stretches = Stretches::new();
        let mut at_ns = from_ns;
        let mut push = |until_at_ns: u64, beside: OffRequest| {
            let end_ns = until_at_ns.min(until_ns);
            if end_ns > at_ns {
                stretches.push((at_ns, end_ns, beside));
                at_ns = end_ns;
            }
        };
        for sleep in &self.sleeps {
            push(sleep.start_ns, OffRequest::Work);
            let beside = match (sleep.meant.idle, sleep.meant.phase) {
                (IdleSleep::ForLock | IdleSleep::ForDescriptors, _) => OffRequest::Free,
                (_, Phase::ClientReadStall) => OffRequest::Client(sleep.client.0, sleep.client.1),
                (_, Phase::ClientWriteStall) => OffRequest::ClientWrite,
                _ => OffRequest::Work,
            };
            push(sleep.end_ns, beside);
        }
        push(until_ns, OffRequest::Work);
        stretches
    }

    /// When the thread was given a job after `from_ns`: it had waited for a lock. A loop that waits for
    /// descriptors may only send what another thread has made.
    fn given_ns(&self, from_ns: u64) -> Option<u64> {
        let ended = |sleep: &&Sleep| sleep.meant.idle == IdleSleep::ForLock && sleep.end_ns > from_ns;
        self.sleeps.iter().find(ended).filter(|sleep| sleep.start_ns < from_ns).map(|sleep| sleep.end_ns)
    }

    /// [`Self::done_from`] where some sleeps are missing: of the others it is known what they were for, and
    /// who had the lock.
    fn some_from(&self, slice: &Slice, from_ns: u64) -> SleepAccount {
        let piece = Piece { blocked: Phase::Unexplained, fault_ns: 0, ..Piece::gap(slice) };
        let (mut phases, known) = (piece.phases_from(from_ns), self.known_from(slice, from_ns));
        phases.explain(&known);
        let mut done = SleepAccount { phases, ..SleepAccount::default() };
        done.held.waits = self.waits_from(slice, from_ns);
        // Where they do not all find room in the account, it is not known which of them do.
        if phases.get(Phase::GilWait) == known.get(Phase::GilWait) {
            for sleep in self.begun_since(from_ns).filter(|sleep| sleep.meant.phase == Phase::GilWait) {
                let Holders { first, then } = sleep.meant.held_by;
                let (since_ns, last) = then.unwrap_or((sleep.woken_ns, HeldBy::UNKNOWN));
                let first_ns =
                    since_ns.clamp(sleep.start_ns, sleep.start_ns + sleep.asleep_ns()) - sleep.start_ns;
                done.held.add(first, first_ns);
                done.held.add(last, sleep.asleep_ns() - first_ns);
            }
        }
        done
    }

    /// Sleeps that began at this time or later.
    fn begun_since(&self, from_ns: u64) -> impl Iterator<Item = &Sleep> {
        self.sleeps.iter().filter(move |sleep| sleep.start_ns >= from_ns)
    }

    /// When the thread turned to the message at the end of the light slice, after `from_ns` or at it: it got
    /// a CPU for something to do, or was waiting for this client by then. `None`: that was not seen.
    pub(in crate::machine) fn turned_ns(&self, slice: &Slice, from_ns: u64) -> Option<u64> {
        if !self.is_whole(slice) {
            return None;
        }
        let mut turned_ns = None;
        for sleep in &self.sleeps {
            match (sleep.meant.idle, sleep.meant.phase) {
                (IdleSleep::ForDescriptors | IdleSleep::ForLock, _) => turned_ns = Some(sleep.end_ns),
                // What it waited for had come by then.
                (_, Phase::ClientReadStall) if sleep.start_ns <= from_ns => turned_ns = Some(sleep.end_ns),
                (_, Phase::ClientReadStall) if turned_ns.is_none() => turned_ns = Some(sleep.start_ns),
                _ => {}
            }
        }
        Some(turned_ns?.max(from_ns))
    }

    /// Sleeps of the part that are known, though not all are.
    fn known_from(&self, slice: &Slice, from_ns: u64) -> Phases {
        let whole = from_ns <= slice.gap_start_ns();
        let mut known = if whole { self.folded } else { Phases::default() };
        for sleep in self.begun_since(from_ns) {
            known.add(sleep.meant.phase, sleep.asleep_ns());
        }
        known
    }

    /// Whether all sleeps of the slice are known: what is missing lies somewhere between the others.
    fn is_whole(&self, slice: &Slice) -> bool {
        let has_sleeps = !self.sleeps.is_empty() && slice.undecided.gap_ns == 0;
        has_sleeps && self.walk(slice, |_, _| {}) == Some(slice.gap)
    }

    /// The slice, piece by piece, with the port of a sleep: between sleeps the thread ran, or wanted to. The
    /// sum of the pieces; `None`: a sleep does not fit in.
    fn walk(&self, slice: &Slice, mut take: impl FnMut(Piece, u16)) -> Option<Account> {
        let (mut at_ns, mut cpu_ns) = (slice.gap_start_ns(), 0);
        let mut total = Account::default();
        let mut push = |start_ns: u64, end_ns: u64, account: Account, (cpu, blocked, port, held_by)| {
            let piece = Piece { account, blocked, ..Piece::unknown(start_ns, end_ns) };
            take(Piece { cpu, held_by, ..piece }, port);
            total = total.plus(account);
        };
        let no_sleep = (Phase::Cpu, Phase::Unexplained, 0, Holders::NONE);
        for sleep in &self.sleeps {
            let awake_ns = sleep.start_ns.checked_sub(at_ns)?;
            let run_ns = sleep.cpu_ns.checked_sub(cpu_ns)?;
            let awake =
                Account { cpu_ns: run_ns, run_queue_ns: awake_ns.checked_sub(run_ns)?, blocked_ns: 0 };
            let SleepPurpose { phase, held_by, goes_on, .. } = sleep.meant;
            let looks = (Phase::GilWait, Phase::Unexplained, 0, Holders { then: None, ..held_by });
            push(at_ns, sleep.start_ns, awake, if goes_on { looks } else { no_sleep });
            let blocked_ns = sleep.woken_ns.checked_sub(sleep.start_ns)?;
            let asleep = Account { blocked_ns, ..Account::default() };
            push(sleep.start_ns, sleep.woken_ns, asleep, (Phase::Cpu, phase, sleep.port, held_by));
            let run_queue_ns = sleep.end_ns.checked_sub(sleep.woken_ns)?;
            let queued = Account { run_queue_ns, ..Account::default() };
            push(sleep.woken_ns, sleep.end_ns, queued, no_sleep);
            (at_ns, cpu_ns) = (sleep.end_ns, sleep.cpu_ns);
        }
        let awake_ns = slice.enter_ns.checked_sub(at_ns)?;
        let run_ns = slice.gap.cpu_ns.checked_sub(cpu_ns)?;
        let awake = Account { cpu_ns: run_ns, run_queue_ns: awake_ns.checked_sub(run_ns)?, blocked_ns: 0 };
        push(at_ns, slice.enter_ns, awake, no_sleep);
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Call;
    use crate::machine::lock::gil_waits::Parts;

    /// A light slice from 1,000 on, number 1 of thread 7.
    fn slice(cpu_ns: u64, run_queue_ns: u64, blocked_ns: u64) -> Slice {
        let gap = Account { cpu_ns, run_queue_ns, blocked_ns };
        Slice { tid: 7, sequence: 1, enter_ns: 1_000 + gap.total_ns(), gap, ..Slice::blank(Call::Other) }
    }

    /// Two sleeps: 1,100 to 1,400 of a sleep with 50 in the run queue, then after 30 on a CPU and 20
    /// preempted 1,500 to 1,700 for a back end.
    fn two() -> Sleeps {
        let mut sleeps = Sleeps::default();
        let first = Slept { tid: 7, start_ns: 1_100, woken_ns: 1_400, cpu_ns: 100, ..Slept::blank() };
        sleeps.add(&first, SleepPurpose::new(Phase::Sleep, IdleSleep::No), 1_450);
        let second = Slept { start_ns: 1_500, woken_ns: 1_700, cpu_ns: 130, ..first };
        sleeps.add(&second, SleepPurpose::new(Phase::BackendWait, IdleSleep::No), 1_700);
        sleeps
    }

    fn of(phases: &Phases) -> Vec<(Phase, u64)> {
        phases.iter().collect()
    }

    #[test]
    fn sleeps_are_named_and_what_is_between_them_is_where_it_was() {
        let slice = slice(160, 70, 500);
        let sleeping = two().take(7, 1);
        assert_eq!(
            of(&sleeping.done_from(&slice, 0, true).phases),
            [(Phase::Cpu, 160), (Phase::RunQueue, 70), (Phase::BackendWait, 200), (Phase::Sleep, 300)]
        );
        assert_eq!(
            of(&sleeping.done_from(&slice, 1_300, true).phases),
            [(Phase::Cpu, 60), (Phase::RunQueue, 70), (Phase::BackendWait, 200), (Phase::Sleep, 100)]
        );
        assert_eq!(
            of(&sleeping.done_from(&slice, 1_600, true).phases),
            [(Phase::Cpu, 30), (Phase::BackendWait, 100)]
        );
    }

    #[test]
    fn waits_for_back_ends_are_known_by_port_as_far_as_they_lie_in_the_part() {
        let slice = slice(160, 70, 500);
        let mut sleeps = Sleeps::default();
        let on = |port: u16| SleptOn::Socket { port };
        let first =
            Slept { tid: 7, start_ns: 1_100, woken_ns: 1_400, cpu_ns: 100, on: on(5432), ..Slept::blank() };
        sleeps.add(&first, SleepPurpose::new(Phase::BackendWait, IdleSleep::No), 1_450);
        let second = Slept { start_ns: 1_500, woken_ns: 1_700, cpu_ns: 130, on: on(6379), ..first };
        sleeps.add(&second, SleepPurpose::new(Phase::BackendWait, IdleSleep::No), 1_700);
        let sleeping = sleeps.take(7, 1);
        for (what, from_ns, same_thread, expected) in [
            ("all of it", 0, true, [300, 200]),
            ("from the middle of the first on", 1_300, true, [100, 200]),
            ("the first was for another request", 1_300, false, [0, 200]),
            ("the second alone", 1_450, true, [0, 200]),
        ] {
            let done = sleeping.done_from(&slice, from_ns, same_thread);
            let waited = [5432, 6379].map(|port| done.back_ends.to(port).waited_ns);
            assert_eq!(waited, expected, "{what}");
            assert_eq!(done.phases.get(Phase::BackendWait), expected.iter().sum::<u64>(), "{what}");
        }
        // One is missing.
        let slice =
            Slice { gap: Account { blocked_ns: 600, ..slice.gap }, enter_ns: slice.enter_ns + 100, ..slice };
        assert_eq!(sleeping.done_from(&slice, 0, true).back_ends, RoundTrips::default());
    }

    #[test]
    fn a_sleep_that_another_thread_was_in_before_is_not_for_the_request() {
        let (slice, sleeping) = (slice(160, 70, 500), two().take(7, 1));
        assert_eq!(
            of(&sleeping.done_from(&slice, 1_300, false).phases),
            [(Phase::Cpu, 60), (Phase::RunQueue, 70), (Phase::BackendWait, 200), (Phase::Unexplained, 100)]
        );
    }

    #[test]
    fn a_sleep_whose_record_is_missing_is_unexplained_and_the_others_keep_their_name() {
        let (slice, sleeping) = (slice(160, 70, 600), two().take(7, 1));
        assert_eq!(
            of(&sleeping.done_from(&slice, 0, true).phases),
            [
                (Phase::Cpu, 160),
                (Phase::RunQueue, 70),
                (Phase::BackendWait, 200),
                (Phase::Sleep, 300),
                (Phase::Unexplained, 100)
            ]
        );
    }

    #[test]
    fn attempts_to_take_the_lock_are_those_of_the_part_also_where_a_sleep_is_missing() {
        let attempt = |start_ns, end_ns| Parts::default().end((start_ns, end_ns), None);
        let mut sleeps = two();
        sleeps.has_waited(7, 0, attempt(1_100, 1_450));
        // Of another light slice, of a thread that is not known.
        sleeps.has_waited(7, 3, attempt(1_460, 1_470));
        sleeps.has_waited(8, 0, attempt(1_460, 1_470));
        let mut sleeping = sleeps.take(7, 1);
        sleeping.has_waited(attempt(1_500, 1_700));
        for (what, blocked_ns) in [("all are known", 500), ("one is missing", 600)] {
            for (from_ns, expected) in
                [(0, &[350, 200][..]), (1_300, &[150, 200]), (1_450, &[200]), (1_700, &[])]
            {
                let done = sleeping.done_from(&slice(160, 70, blocked_ns), from_ns, true);
                let mut lengths: Vec<u64> = done.held.waits.longest().map(EndedAttempt::length_ns).collect();
                lengths.sort_unstable();
                let mut expected = expected.to_vec();
                expected.sort_unstable();
                assert_eq!(lengths, expected, "{what}, from {from_ns}");
            }
        }
    }

    #[test]
    fn who_had_the_lock_in_a_sleep_that_is_known_is_known_beside_one_that_is_missing() {
        let by = HeldBy { contender: 9, tid: 9 };
        let later = HeldBy { contender: 8, tid: 8 };
        let held_by = Holders { first: by, then: None };
        let for_lock = SleepPurpose { held_by, ..SleepPurpose::new(Phase::GilWait, IdleSleep::No) };
        let mut sleeps = Sleeps::default();
        let first = Slept { tid: 7, start_ns: 1_100, woken_ns: 1_400, cpu_ns: 100, ..Slept::blank() };
        sleeps.add(&first, for_lock, 1_400);
        let second = Slept { start_ns: 1_500, woken_ns: 1_700, cpu_ns: 200, ..first };
        sleeps.add(&second, for_lock, 1_700);
        sleeps.was_held_by(7, Holders { first: by, then: Some((1_650, later)) });
        let sleeping = sleeps.take(7, 1);
        for (what, blocked_ns, from_ns, expected) in [
            ("one is missing", 900, 0, vec![(by, 450), (later, 50)]),
            ("of the first a part alone lies within", 900, 1_200, vec![(by, 150), (later, 50)]),
            ("there is no room for both", 400, 0, vec![]),
        ] {
            let done = sleeping.done_from(&slice(200, 0, blocked_ns), from_ns, true);
            assert_eq!(done.held.iter().collect::<Vec<_>>(), expected, "{what}");
            let told_ns: u64 = done.held.iter().map(|(_, wait_ns)| wait_ns).sum();
            assert!(told_ns <= done.phases.get(Phase::GilWait), "{what}");
        }
    }

    #[test]
    fn sleeps_of_another_light_slice_are_none_of_this_one() {
        let slice = slice(160, 70, 500);
        let other = two().take(7, 2).done_from(&slice, 0, true).phases;
        assert_eq!(of(&other), [(Phase::Cpu, 160), (Phase::RunQueue, 70), (Phase::Unexplained, 500)]);
        let mut sleeps = two();
        let later = Slept { tid: 7, sequence: 1, start_ns: 1_760, woken_ns: 1_770, ..Slept::blank() };
        sleeps.add(&later, SleepPurpose::new(Phase::LockWait, IdleSleep::No), 1_770);
        assert_eq!(of(&sleeps.take(7, 1).done_from(&slice, 0, true).phases), of(&other));
    }

    #[test]
    fn more_sleeps_than_are_kept_are_added_up() {
        let mut sleeps = Sleeps::default();
        for number in 0..2_000_u64 {
            let start_ns = 1_000 + 10 * number;
            let slept = Slept { tid: 7, start_ns, woken_ns: start_ns + 10, cpu_ns: 0, ..Slept::blank() };
            sleeps.add(&slept, SleepPurpose::new(Phase::LockWait, IdleSleep::No), start_ns + 10);
        }
        let slice = slice(0, 0, 20_000);
        assert_eq!(of(&sleeps.take(7, 1).done_from(&slice, 0, true).phases), [(Phase::LockWait, 20_000)]);
    }

    proptest! {
        #[test]
        fn phases_add_up_whatever_is_told_of_sleeps(
            told in prop::collection::vec((0..3_000_u64, 0..3_000_u64, 0..3_000_u64, 0..300_u64), 0..8),
            account in (0..500_u64, 0..500_u64, 0..500_u64),
            from_ns in 0..3_000_u64,
            same_thread in any::<bool>(),
        ) {
            let mut sleeps = Sleeps::default();
            for (start_ns, woken_ns, end_ns, cpu_ns) in told {
                let slept = Slept { tid: 7, start_ns, woken_ns, cpu_ns, ..Slept::blank() };
                sleeps.add(&slept, SleepPurpose::new(Phase::LockWait, IdleSleep::No), end_ns);
            }
            let slice = slice(account.0, account.1, account.2);
            let phases = sleeps.take(7, 1).done_from(&slice, from_ns, same_thread).phases;
            let expected_ns = slice.enter_ns.saturating_sub(from_ns.max(1_000));
            prop_assert_eq!(phases.total_ns(), expected_ns);
        }
    }
}
