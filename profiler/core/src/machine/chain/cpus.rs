//! Who had a CPU while a thread was ready for it.
//!
//! In: long waits in the run queue, and who had the CPU that ended them, when. Out: who had it in the waits
//! of a thread, in nanoseconds each. What was too short to be recorded, or is forgotten, is nobody's, as is a
//! wait in which the thread was moved: when it came to the CPU that it got is not known.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::{CpuStint, CpuTaken, Tid};
use crate::fact::machine::MachineCpu;
use crate::machine::chain::history::{Histories, SegmentPart};
use crate::machine::chain::split::split;
use crate::machine::chain::steal::Steal;
use crate::machine::time::capacity::Span;

/// Threads whose waits are kept.
const MAX_THREADS: usize = 4096;
/// Waits kept of one thread.
const MAX_WAITS: usize = 1024;
/// CPUs whose stints are kept.
const MAX_CPUS: usize = 1024;
/// Stints kept of one CPU.
const MAX_STINTS: usize = 16_384;
/// Programs that have a name of their own.
const MAX_PROGRAMS: usize = 256;

/// Who had a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Occupant {
    /// A thread of ours, for this request (its number, plus 1), or for none.
    Ours { request: u64 },
    /// Another program, by number.
    Program { number: u32 },
    /// Nobody: the quota was used up.
    Quota,
    /// The hypervisor.
    Hypervisor,
}

/// A thread's wait.
#[derive(Clone, Copy, Debug)]
struct CpuWait {
    since_ns: u64,
    until_ns: u64,
    /// `None`: that is not the only one.
    cpu: Option<u32>,
    is_throttled: bool,
}

/// Who had a CPU in one stretch.
#[derive(Clone, Copy, Debug)]
struct Stint {
    from_ns: u64,
    until_ns: u64,
    ran_ns: u64,
    who: Who,
}

impl Stint {
    /// What the scheduler does not count of it: a hypervisor had that, or interrupts.
    const fn uncounted_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.from_ns).saturating_sub(self.ran_ns)
    }
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Nobody,
    Ours(Tid),
    Program(u32),
    /// A program whose name found no place.
    Nameless,
}

/// What is known of CPUs.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Cpus {
    waits: BoundedMap<Tid, VecDeque<CpuWait>, MAX_THREADS>,
    stints: BoundedMap<u32, VecDeque<Stint>, MAX_CPUS>,
    numbers: FxHashMap<String, u32>,
    programs: Vec<String>,
    unnamed: u64,
    steal: Steal,
}

impl Cpus {
    /// A thread has waited, up to `until_ns`.
    pub(in crate::machine) fn note(&mut self, taken: &CpuTaken, until_ns: u64) {
        for stint in &taken.stints {
            let who = self.who(stint);
            let Some(stints) = self.stints.get_or_default(taken.cpu) else { continue };
            // What does not follow on what is known overlaps it: a record that was altered.
            if stints.back().is_none_or(|last| last.until_ns <= stint.from_ns) {
                let CpuStint { from_ns, until_ns, ran_ns, .. } = *stint;
                let stint = Stint { from_ns, until_ns, ran_ns, who };
                self.steal.note(from_ns, stint.uncounted_ns());
                push(stints, stint, MAX_STINTS);
            }
        }
        if let Some(waits) = self.waits.get_or_default(taken.tid)
            && waits.back().is_none_or(|last| last.until_ns <= taken.since_ns)
        {
            let CpuTaken { since_ns, cpu, is_throttled, has_moved, .. } = *taken;
            let cpu = (!has_moved).then_some(cpu);
            push(waits, CpuWait { since_ns, until_ns, cpu, is_throttled }, MAX_WAITS);
        }
    }

    /// The time of all CPUs was read.
    pub(in crate::machine) fn read(&mut self, reading: &MachineCpu) {
        self.steal.read(reading);
    }

    fn who(&mut self, stint: &CpuStint) -> Who {
        match (stint.tid, stint.is_ours) {
            (0, _) => return Who::Nobody,
            (tid, true) => return Who::Ours(tid),
            _ => {}
        }
        if let Some(number) = self.numbers.get(&stint.comm) {
            return Who::Program(*number);
        }
        if self.programs.len() >= MAX_PROGRAMS {
            self.unnamed += 1;
            return Who::Nameless;
        }
        let number = u32::try_from(self.programs.len()).unwrap_or(u32::MAX);
        self.programs.push(stint.comm.clone());
        self.numbers.insert(stint.comm.clone(), number);
        Who::Program(number)
    }

    /// Who had the CPUs for which a thread waited within an interval, and for how long.
    pub(super) fn occupants(
        &self,
        histories: &Histories,
        tid: Tid,
        (from_ns, until_ns): Span,
    ) -> Vec<(Occupant, u64)> {
        let mut found = Vec::new();
        let Some(waits) = self.waits.get(&tid) else { return Vec::new() };
        let first = waits.partition_point(|wait| wait.until_ns <= from_ns);
        for wait in waits.range(first..).take_while(|wait| wait.since_ns < until_ns) {
            let inside = (wait.since_ns.max(from_ns), wait.until_ns.min(until_ns));
            if wait.is_throttled {
                found.push((Occupant::Quota, inside.1.saturating_sub(inside.0)));
            } else if let Some(stints) = wait.cpu.and_then(|cpu| self.stints.get(&cpu)) {
                within((stints, &self.steal), inside, histories, &mut found);
            }
        }
        found.retain(|(_, ns)| *ns > 0);
        found.sort_unstable();
        found.dedup_by(|(who, ns), (before, sum_ns)| {
            let is_same = who == before;
            *sum_ns += if is_same { *ns } else { 0 };
            is_same
        });
        found
    }

    /// Names of programs, by number. Hostile input.
    pub(super) fn programs(&self) -> Vec<String> {
        self.programs.clone()
    }

    /// The next window begins: what ended before `before_ns` is forgotten.
    pub(super) fn roll(&mut self, before_ns: u64) {
        self.waits.retain(|_, waits| {
            forget(waits, |wait| wait.until_ns < before_ns);
            !waits.is_empty()
        });
        self.steal.roll(before_ns);
        self.stints.retain(|_, stints| {
            forget(stints, |stint| stint.until_ns < before_ns);
            !stints.is_empty()
        });
        if self.programs.len() > MAX_PROGRAMS / 2 {
            self.renew_programs();
        }
    }

    /// Numbers run out: those that no stint has any more go.
    fn renew_programs(&mut self) {
        let mut before: Vec<Option<String>> =
            std::mem::take(&mut self.programs).into_iter().map(Some).collect();
        let mut numbers: FxHashMap<u32, u32> = FxHashMap::default();
        self.numbers.clear();
        for stint in self.stints.values_mut().flatten() {
            let Who::Program(number) = stint.who else { continue };
            if let Some(name) = before.get_mut(number as usize).and_then(Option::take) {
                let new = u32::try_from(self.programs.len()).unwrap_or(u32::MAX);
                self.programs.push(name.clone());
                self.numbers.insert(name, new);
                numbers.insert(number, new);
            }
            stint.who = numbers.get(&number).map_or(Who::Nameless, |new| Who::Program(*new));
        }
    }

    /// What found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.waits.evicted() + self.stints.evicted() + self.unnamed
    }
}

fn push<T>(list: &mut VecDeque<T>, one: T, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(one);
}

fn forget<T>(list: &mut VecDeque<T>, is_over: impl Fn(&T) -> bool) {
    while list.front().is_some_and(&is_over) {
        list.pop_front();
    }
}

/// Adds who had a CPU in an interval.
fn within(
    (stints, steal): (&VecDeque<Stint>, &Steal),
    (from_ns, until_ns): Span,
    histories: &Histories,
    found: &mut Vec<(Occupant, u64)>,
) {
    let first = stints.partition_point(|stint| stint.until_ns <= from_ns);
    for stint in stints.range(first..).take_while(|stint| stint.from_ns < until_ns) {
        let inside = (stint.from_ns.max(from_ns), stint.until_ns.min(until_ns));
        let inside_ns = inside.1.saturating_sub(inside.0);
        let length_ns = stint.until_ns.saturating_sub(stint.from_ns);
        let uncounted_ns = stint.uncounted_ns();
        let stolen_ns = steal.of((stint.from_ns, stint.until_ns), uncounted_ns);
        // The rest of what is not counted interrupts had, most likely: it has no name.
        let weights = [stolen_ns, uncounted_ns - stolen_ns, length_ns - uncounted_ns];
        let [stolen_ns, _, ran_ns] = split(inside_ns, weights);
        found.push((Occupant::Hypervisor, stolen_ns));
        match stint.who {
            Who::Nobody | Who::Nameless => {}
            Who::Program(number) => found.push((Occupant::Program { number }, ran_ns)),
            Who::Ours(tid) => of_ours(histories, tid, (inside, ran_ns), found),
        }
    }
}

/// Adds for which requests a thread of ours had a CPU: by what it was at then, as far as that is known.
fn of_ours(
    histories: &Histories,
    tid: Tid,
    ((from_ns, until_ns), ran_ns): (Span, u64),
    found: &mut Vec<(Occupant, u64)>,
) {
    let Some(history) = histories.get(tid) else { return };
    let known = history.within(from_ns, until_ns).filter(|part| !part.segment.did.is_unseen());
    let request_of = |part: SegmentPart<'_>| (history.request_of(part.segment), part.length_ns());
    let parts: Vec<(u64, u64)> = known.map(request_of).collect();
    let known_ns: u64 = parts.iter().map(|(_, ns)| ns).sum();
    let unknown_ns = until_ns.saturating_sub(from_ns).saturating_sub(known_ns);
    let weights: Vec<u64> = parts.iter().map(|(_, ns)| *ns).chain([unknown_ns]).collect();
    for ((request, _), ns) in parts.into_iter().zip(split(ran_ns, weights)) {
        found.push((Occupant::Ours { request }, ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::chain::segment::{Did, Segment};
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;

    fn stint(tid: Tid, (from_ms, until_ms): (u64, u64), comm: &str) -> CpuStint {
        CpuStint {
            from_ns: from_ms * MS,
            until_ns: until_ms * MS,
            ran_ns: (until_ms - from_ms) * MS,
            tid,
            is_ours: comm.is_empty(),
            comm: comm.to_owned(),
        }
    }

    fn taken(tid: Tid, since_ms: u64, stints: Vec<CpuStint>) -> CpuTaken {
        CpuTaken { tid, cpu: 1, since_ns: since_ms * MS, is_throttled: false, has_moved: false, stints }
    }

    fn ran(histories: &mut Histories, tid: Tid, (from_ms, until_ms): (u64, u64), request: u64) {
        let (start_ns, end_ns) = (from_ms * MS, until_ms * MS);
        histories.push((1, tid), Segment { start_ns, end_ns, request, did: Did::Ran(Phase::Cpu) });
    }

    fn found(cpus: &Cpus, histories: &Histories, tid: Tid) -> Vec<(Occupant, u64)> {
        let found = cpus.occupants(histories, tid, (0, 100 * MS));
        found.into_iter().map(|(who, ns)| (who, ns / MS)).collect()
    }

    #[test]
    fn a_wait_is_shared_by_who_had_the_cpu_and_what_is_not_known_is_nobodys() {
        let (mut cpus, mut histories) = (Cpus::default(), Histories::default());
        ran(&mut histories, 3, (0, 4), 7);
        ran(&mut histories, 3, (4, 6), 0);
        // Told with the wait before, as each stint is told once.
        cpus.note(&taken(9, 0, vec![stint(3, (0, 6), "")]), 6 * MS);
        cpus.note(&taken(2, 2, vec![stint(50, (8, 11), "cc1"), stint(0, (11, 12), "swapper/1")]), 12 * MS);
        let expected = [
            (Occupant::Ours { request: 0 }, 2),
            (Occupant::Ours { request: 7 }, 2),
            (Occupant::Program { number: 0 }, 3),
        ];
        assert_eq!(found(&cpus, &histories, 2), expected);
        assert_eq!(cpus.programs(), ["cc1"]);
        assert!(found(&cpus, &histories, 3).is_empty());
    }

    #[test]
    fn names_that_are_needed_no_more_make_room_with_the_next_window() {
        let mut cpus = Cpus::default();
        for at_ms in 0..300 {
            let stints = vec![stint(50, (at_ms, at_ms + 1), &format!("program {at_ms}"))];
            cpus.note(&taken(2, at_ms, stints), (at_ms + 1) * MS);
        }
        assert_eq!((cpus.programs().len(), cpus.evicted()), (256, 44));
        cpus.roll(250 * MS);
        let names: Vec<String> = (249..256).map(|at_ms| format!("program {at_ms}")).collect();
        assert_eq!(cpus.programs(), names);
        let occupants = cpus.occupants(&Histories::default(), 2, (250 * MS, 251 * MS));
        assert_eq!(occupants, [(Occupant::Program { number: 1 }, MS)]);
        cpus.note(&taken(2, 300, vec![stint(50, (300, 301), "another")]), 301 * MS);
        assert_eq!((cpus.programs().len(), cpus.evicted()), (8, 44));
    }

    #[test]
    fn of_what_the_scheduler_does_not_count_of_a_stint_the_hypervisor_took_what_it_took_and_no_more() {
        let told = |stolen_ms| {
            let mut cpus = Cpus::default();
            let half = CpuStint { ran_ns: 4 * MS, ..stint(50, (0, 8), "cc1") };
            for (read_ns, stolen_ns) in [(0, 0), (9 * MS, stolen_ms * MS)] {
                cpus.read(&MachineCpu { read_ns, stolen_ns, ..MachineCpu::default() });
                if read_ns == 0 {
                    cpus.note(&taken(2, 4, vec![half.clone()]), 8 * MS);
                }
            }
            found(&cpus, &Histories::default(), 2)
        };
        let program = (Occupant::Program { number: 0 }, 2);
        assert_eq!(told(9), [program, (Occupant::Hypervisor, 2)]);
        assert_eq!(told(2), [program, (Occupant::Hypervisor, 1)]);
        assert_eq!(told(0), [program]);
    }

    #[test]
    fn whose_cgroup_is_throttled_waits_for_its_quota_whoever_has_the_cpu() {
        let mut cpus = Cpus::default();
        let throttled = CpuTaken { is_throttled: true, ..taken(2, 4, vec![stint(50, (0, 8), "cc1")]) };
        cpus.note(&throttled, 8 * MS);
        assert_eq!(found(&cpus, &Histories::default(), 2), [(Occupant::Quota, 4)]);
    }

    #[test]
    fn who_is_moved_while_it_waits_waited_for_nobody_that_is_known_but_for_its_quota() {
        let mut cpus = Cpus::default();
        let moved = CpuTaken { has_moved: true, ..taken(2, 0, vec![stint(50, (0, 8), "cc1")]) };
        cpus.note(&moved, 8 * MS);
        // Another thread waited for that CPU for all of its own wait.
        cpus.note(&taken(3, 2, Vec::new()), 8 * MS);
        let throttled = CpuTaken { is_throttled: true, has_moved: true, ..taken(4, 3, Vec::new()) };
        cpus.note(&throttled, 8 * MS);
        let found = |tid| found(&cpus, &Histories::default(), tid);
        assert_eq!(found(2), []);
        assert_eq!(found(3), [(Occupant::Program { number: 0 }, 6)]);
        assert_eq!(found(4), [(Occupant::Quota, 5)]);
    }

    #[test]
    fn records_that_go_back_in_time_and_programs_beyond_the_bound_count_for_nobody() {
        let mut cpus = Cpus::default();
        for number in 0..MAX_PROGRAMS as u64 + 5 {
            cpus.note(
                &taken(2, number, vec![stint(50, (number, number + 1), &number.to_string())]),
                (number + 1) * MS,
            );
        }
        cpus.note(&taken(2, 0, vec![stint(50, (0, 90), "late")]), 90 * MS);
        assert_eq!((cpus.programs().len(), cpus.evicted()), (MAX_PROGRAMS, 6));
        let sum: u64 = found(&cpus, &Histories::default(), 2).iter().map(|(_, ms)| ms).sum();
        assert_eq!(sum, 100);
        cpus.roll(200 * MS);
        assert!(found(&cpus, &Histories::default(), 2).is_empty());
    }
}
