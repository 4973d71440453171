//! Who is looked at next.
//!
//! In: everyone who is asleep, again and again. Out: those that have slept for long and were not looked at
//! in this sleep, or are worth another look, as many as are wanted. Half of the looks go to the longest
//! sleeps, so that one that hangs is seen soon; half go by turns, so that nobody is left out for good. One
//! element for each place of a thread.

use crate::source::live::sleepers::Sleeper;

/// Looks in one sleep beyond the first. Each comes twice as long after the one before, as what is sent again
/// does.
const MAX_REPEATED: u8 = 5;

/// A thread's sleep.
#[derive(Clone, Copy, Debug, Default)]
struct Sleep {
    generation: u32,
    since_ns: u64,
    /// It was long enough to be looked at.
    is_long: bool,
    is_looked_at: bool,
    /// It is worth another look from then on; 0: it is not.
    again_ns: u64,
    /// Looks in this sleep that came after the first.
    repeated: u8,
    /// When the thread was looked at last, in whichever sleep; 0: never.
    last_ns: u64,
}

/// All sleeps.
#[derive(Debug)]
pub(super) struct Table {
    sleeps: Vec<Sleep>,
    /// Those that wait for a look.
    waiting: Vec<Sleeper>,
    now_ns: u64,
    before_ns: u64,
    left_out: u64,
}

impl Table {
    /// Room for so many threads.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            sleeps: vec![Sleep::default(); capacity],
            waiting: Vec::new(),
            now_ns: 0,
            before_ns: 0,
            left_out: 0,
        }
    }

    /// Another pass begins: a sleep of `shortest_ns` is long enough.
    pub(super) fn begin(&mut self, now_ns: u64, shortest_ns: u64) {
        self.waiting.clear();
        self.now_ns = now_ns;
        self.before_ns = now_ns.saturating_sub(shortest_ns);
    }

    /// A thread is asleep.
    pub(super) fn note(&mut self, sleeper: Sleeper) {
        let Some(sleep) = self.sleeps.get_mut(sleeper.index) else { return };
        if (sleep.generation, sleep.since_ns) != (sleeper.generation, sleeper.since_ns) {
            self.left_out += u64::from(sleep.is_long && !sleep.is_looked_at);
            let last_ns = if sleep.generation == sleeper.generation { sleep.last_ns } else { 0 };
            *sleep = Sleep {
                generation: sleeper.generation,
                since_ns: sleeper.since_ns,
                last_ns,
                ..Sleep::default()
            };
        }
        let again = sleep.again_ns != 0 && sleep.again_ns <= self.now_ns;
        if sleeper.since_ns <= self.before_ns && (!sleep.is_looked_at || again) {
            sleep.is_long = true;
            self.waiting.push(sleeper);
        }
    }

    /// Whom to look at, at most so many.
    pub(super) fn choose(&mut self, most: usize) -> Vec<Sleeper> {
        let sleeps = &self.sleeps;
        let last_ns = |sleeper: &Sleeper| sleeps.get(sleeper.index).map_or(0, |sleep| sleep.last_ns);
        self.waiting.sort_unstable_by_key(|sleeper| (sleeper.since_ns, sleeper.index));
        if self.waiting.len() > most
            && let Some(shorter) = self.waiting.get_mut(most / 2..)
        {
            shorter.sort_unstable_by_key(|sleeper| (last_ns(sleeper), sleeper.since_ns, sleeper.index));
        }
        self.waiting.iter().take(most).copied().collect()
    }

    /// A thread is looked at in this sleep.
    pub(super) fn looked_at(&mut self, sleeper: &Sleeper, now_ns: u64) {
        if let Some(sleep) = self.sleeps.get_mut(sleeper.index) {
            sleep.repeated = sleep.repeated.saturating_add(u8::from(sleep.is_looked_at));
            (sleep.is_looked_at, sleep.again_ns, sleep.last_ns) = (true, 0, now_ns);
        }
    }

    /// A thread that was looked at is worth another look in this sleep after `pause_ns`, twice as long after
    /// each look, unless it had enough of them.
    pub(super) fn look_again(&mut self, sleeper: &Sleeper, (at_ns, pause_ns): (u64, u64)) {
        if let Some(sleep) = self.sleeps.get_mut(sleeper.index).filter(|sleep| sleep.repeated < MAX_REPEATED)
        {
            sleep.again_ns = at_ns.saturating_add(pause_ns.saturating_mul(1 << sleep.repeated));
        }
    }

    /// Long sleeps that ended without a look, since this was asked last.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Nobody is looked at any more: long sleeps without a look, those that have not ended too.
    pub(super) fn finish(&mut self) -> u64 {
        let waits = |sleep: &&Sleep| sleep.is_long && !sleep.is_looked_at;
        let waiting = u64::try_from(self.sleeps.iter().filter(waits).count()).unwrap_or(0);
        self.sleeps.clear();
        self.take_left_out().saturating_add(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sleeper(index: usize, since_ns: u64) -> Sleeper {
        Sleeper { index, since_ns, generation: 1, tid: 100, ..Sleeper::default() }
    }

    fn pass(table: &mut Table, now_ns: u64, asleep: &[(usize, u64)], most: usize) -> Vec<usize> {
        table.begin(now_ns, 50 * MS);
        asleep.iter().for_each(|(index, since_ns)| table.note(sleeper(*index, *since_ns)));
        let chosen = table.choose(most);
        chosen.iter().for_each(|sleeper| table.looked_at(sleeper, now_ns));
        chosen.iter().map(|sleeper| sleeper.index).collect()
    }

    #[test]
    fn each_long_sleep_is_looked_at_once() {
        let mut table = Table::new(3);
        let asleep = [(0, 40 * MS), (1, 60 * MS), (9, 1)];
        assert_eq!(pass(&mut table, 100 * MS, &asleep, 20), [0], "one is short, one has no place");
        assert_eq!(pass(&mut table, 200 * MS, &asleep, 20), [1]);
        assert!(pass(&mut table, 300 * MS, &asleep, 20).is_empty());
        assert_eq!(pass(&mut table, 400 * MS, &[(0, 310 * MS)], 20), [0], "it has gone to sleep again");
        assert_eq!(table.finish(), 0);
    }

    #[test]
    fn a_look_that_lacks_something_is_repeated_a_few_times() {
        let mut table = Table::new(1);
        let mut looks = 0;
        for round in 1..100_u64 {
            let chosen = pass(&mut table, round * 100 * MS, &[(0, 10 * MS)], 20);
            looks += chosen.len();
            chosen.iter().for_each(|_| table.look_again(&sleeper(0, 10 * MS), (round * 100 * MS, 150 * MS)));
            // After 200, 300, 600, 1200 and 2400 ms, as rounds come each 100 ms.
            let expected = [1, 3, 6, 12, 24, 48].iter().filter(|at| **at <= round).count();
            assert_eq!(looks, expected, "round {round}");
        }
        assert_eq!(looks, 1 + usize::from(MAX_REPEATED));
        assert_eq!(table.finish(), 0);
    }

    #[test]
    fn what_ends_without_a_look_is_left_out_once() {
        let mut table = Table::new(8);
        let asleep: Vec<(usize, u64)> = (0..8).map(|index| (index, 1 + index as u64)).collect();
        assert_eq!(pass(&mut table, 100 * MS, &asleep, 4), [0, 1, 2, 3]);
        // Two of the others have slept again meanwhile.
        assert!(pass(&mut table, 200 * MS, &[(4, 190 * MS), (5, 190 * MS)], 4).is_empty());
        assert_eq!((table.take_left_out(), table.take_left_out()), (2, 0));
        assert_eq!(table.finish(), 2, "two wait still");
    }

    #[test]
    fn a_thread_that_hangs_is_seen_soon_beside_many_that_sleep_again_and_again() {
        let mut table = Table::new(4001);
        let hangs_since = 5_000 * MS;
        let mut seen_ns = None;
        for round in 0..600_u64 {
            let now_ns = round * 100 * MS;
            // Four thousand threads of a pool, each of which sleeps for up to a second at a time.
            let mut asleep: Vec<(usize, u64)> = (0..4000)
                .map(|index| (index, now_ns.saturating_sub((index as u64 % 10) * 100 * MS)))
                .collect();
            if now_ns > hangs_since {
                asleep.push((4000, hangs_since));
            }
            if pass(&mut table, now_ns, &asleep, 20).contains(&4000) {
                seen_ns.get_or_insert(now_ns);
            }
        }
        assert!(seen_ns.is_some_and(|at_ns| at_ns <= hangs_since + 1_100 * MS), "{seen_ns:?}");
        let never = table.sleeps.iter().filter(|sleep| sleep.last_ns == 0).count();
        assert!(never < 2_400, "turns are taken: {never}");
    }
}
