//! One cause: leaves that have something in common, with what they hold and prevent.
//!
//! In: the leaves of a window and the groups that were replayed. Out: [`Cause`].

use crate::finding::ratio;
use crate::model::chain::{Chains, Group, Hops, LeafKind, LeafTime, Object, TakenBy, Unreleased};
use crate::model::chain_group::Level;
use crate::model::independence::Independence;
use crate::phase::Phase;

/// A level below is named while one value keeps such a part of the level above: a half.
const PART_MIN: u64 = 2;

/// What requests wait for or do, named as far down as one value is most of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Kind of its leaves. A CPU that another request had is computing.
    pub kind: LeafKind,
    /// Who had the CPU; of [`LeafKind::CpuTaken`] alone.
    pub taken_by: Option<TakenBy>,
    /// What is waited for; `None`: no object is most of it.
    pub object: Option<Object>,
    /// The endpoint for which the thread at the end worked, by its number in [`Chains::endpoints`], 0: for
    /// none; `None`: no endpoint is most of it.
    pub endpoint: Option<u32>,
    /// The leaf with most of it, by its place in [`Chains::leaves`].
    pub leaf: usize,
    /// The way there.
    pub path: Hops,
    /// Where in Python, by the number of one of [`Chains::places`]; `None`: not known, or not one place.
    pub place: Option<u32>,
    /// Where in Python those who wait for a lock do, as `place`.
    pub waited_at: Option<u32>,
    /// What looks from outside saw, by its number in [`Chains::objects`]; `None`: none was taken, or they saw
    /// different things.
    pub seen: Option<u32>,
    /// The endpoint whose requests wait, as above; `None`: several, or not known.
    pub victim: Option<u32>,
    /// Requests concerned, at least.
    pub requests: u64,
    /// The most that one of them has at it, in nanoseconds.
    pub longest_ns: u64,
    /// Request time there, in nanoseconds.
    pub held_ns: u64,
    /// The part of it that is waiting through somebody else.
    pub inflicted_ns: u64,
    /// Request time that would not have been without it; `None`: not replayed.
    pub prevented_ns: Option<u64>,
    /// Only one at a time gets on there: more slots, threads or processes would wait as well.
    pub is_serial: bool,
    /// Whether those at it wait for one another.
    pub independence: Independence,
}

/// What is measured of a leaf to find the largest.
pub(super) type Measure = fn(&LeafTime) -> u64;

/// Sum over the leaves of a group, in nanoseconds.
pub(super) fn sum(chains: &Chains, group: &Group, measure: Measure) -> u64 {
    let rows = chains.leaves.iter().filter(|row| group.has(&row.leaf));
    rows.fold(0, |sum, row| sum.saturating_add(measure(row)))
}

/// All groups of a level within a coarser one.
pub(super) fn within(chains: &Chains, level: Level, parent: Option<&Group>) -> Vec<Group> {
    let rows = chains.leaves.iter().filter(|row| parent.is_none_or(|group| group.has(&row.leaf)));
    let mut groups: Vec<Group> = rows.filter_map(|row| Group::of(&row.leaf, level)).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

impl Cause {
    /// Whether requests wait first for a free worker, thread or slot of a pool.
    pub(super) fn is_for_slots(&self) -> bool {
        matches!(self.path.iter().next(), Some(Phase::AcceptQueue | Phase::PoolWait))
    }

    /// The group as a cause, named as far down as one value has half of the level above, by `weigh`.
    pub(super) fn of(
        chains: &Chains,
        group: Group,
        measure: Measure,
        weigh: &impl Fn(&Group) -> u64,
    ) -> Option<Self> {
        Self::ranked(chains, group, measure, (weigh, weigh))
    }

    /// The same, where the value of a level is the first by `rank`, and has half of it by `weigh`.
    pub(super) fn ranked(
        chains: &Chains,
        group: Group,
        measure: Measure,
        (rank, weigh): (&impl Fn(&Group) -> u64, &impl Fn(&Group) -> u64),
    ) -> Option<Self> {
        // What is named, and what is told of it: a finer group may prevent waiting that is held elsewhere.
        let (mut named, mut group) = (group, group);
        for level in [Level::Object, Level::Endpoint] {
            // Where looks saw what it is, most sleeps that nobody looked at are of nothing else.
            if is_seen_in_part(chains, &named, weigh) {
                break;
            }
            let finer = within(chains, level, Some(&named)).into_iter();
            let Some(best) = finer.max_by_key(|group| (rank(group), std::cmp::Reverse(*group))) else {
                break;
            };
            if weigh(&best).saturating_mul(PART_MIN) < weigh(&named) {
                break;
            }
            named = best;
            let (part_ns, whole_ns) = (sum(chains, &best, measure), sum(chains, &group, measure));
            if part_ns.saturating_mul(PART_MIN) >= whole_ns {
                group = best;
            }
        }
        let rows = || chains.leaves.iter().enumerate().filter(|(_, row)| group.has(&row.leaf));
        let (leaf, first) = rows().max_by_key(|(at, row)| (measure(row), std::cmp::Reverse(*at)))?;
        let measured_ns = sum(chains, &group, measure);
        let of_such = |is_such: &dyn Fn(&LeafTime) -> bool| {
            let such = rows().filter(|(_, row)| is_such(row));
            such.fold(0_u64, |sum, (_, row)| sum.saturating_add(measure(row)))
        };
        let is_most = |part_ns: u64| part_ns.saturating_mul(PART_MIN) >= measured_ns;
        let is_serial = is_most(of_such(&LeafTime::is_serial));
        let [independent_ns, shared_ns] = [Independence::Independent, Independence::Shared]
            .map(|wanted| of_such(&|row| !row.is_serial() && row.independence() == wanted));
        let most = |of: &dyn Fn(&LeafTime) -> Option<u32>| {
            let with = rows().filter_map(|(_, row)| Some((of(row)?, measure(row))));
            most_of(with, measured_ns)
        };
        let endpoint_of =
            |row: &LeafTime| Group::of(&row.leaf, Level::Endpoint).and_then(|group| group.endpoint);
        Some(Self {
            kind: named.kind,
            taken_by: named.taken_by,
            object: named.object.filter(|object| *object != Object::Unknown),
            endpoint: named.endpoint.or_else(|| most(&endpoint_of)),
            leaf,
            path: first.hops,
            // Where a process was as it was stopped did not stop it.
            place: place_of(chains, &named).filter(|_| named.kind != LeafKind::StoodStill),
            waited_at: most_looked_at(chains, &named, |row| row.waited_at),
            seen: most_looked_at(chains, &named, |row| row.seen),
            victim: most(&|row| row.victim),
            requests: rows().map(|(_, row)| row.requests).max().unwrap_or(0),
            // Who waits behind it, and who is at it, wait for different lengths of time.
            longest_ns: rows()
                .filter(|(_, row)| row.is_inflicted() == first.is_inflicted())
                .map(|(_, row)| row.longest_ns)
                .max()
                .unwrap_or(0),
            held_ns: sum(chains, &group, |row| row.held_ns),
            inflicted_ns: sum(chains, &group, LeafTime::inflicted_ns),
            prevented_ns: prevented_ns(chains, &named),
            is_serial,
            independence: match () {
                () if is_serial || shared_ns > 0 && is_most(shared_ns) => Independence::Shared,
                // Where some of them wait for one another, the rest may yet.
                () if shared_ns == 0 && independent_ns > 0 && is_most(independent_ns) => {
                    Independence::Independent
                }
                () => Independence::Unknown,
            },
        })
    }

    /// Whether all that could serve requests wait for the server itself.
    pub fn all_wait_for_themselves(&self, chains: &Chains) -> bool {
        let is_cycle = self.time(chains).is_some_and(|time| time.leaf.unreleased == Some(Unreleased::Cycle));
        let goes_by = |wanted: Phase| self.path.iter().any(|hop| hop == wanted);
        is_cycle
            && goes_by(Phase::BackendWait)
            && [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait].into_iter().any(goes_by)
    }

    /// Its leaf.
    pub fn time<'a>(&self, chains: &'a Chains) -> Option<&'a LeafTime> {
        chains.leaves.get(self.leaf)
    }
}

/// Whether some of a group was looked at, and the largest of its objects was not.
fn is_seen_in_part(chains: &Chains, group: &Group, weigh: &impl Fn(&Group) -> u64) -> bool {
    if group.level() != Level::Kind {
        return false;
    }
    let largest = within(chains, Level::Object, Some(group)).into_iter().max_by_key(weigh);
    let is_looked_at =
        |group: &Group| chains.leaves.iter().any(|row| group.has(&row.leaf) && row.seen.is_some());
    largest.is_some_and(|object| !is_looked_at(&object)) && is_looked_at(group)
}

/// The place in Python with at least half of what a group holds.
fn place_of(chains: &Chains, group: &Group) -> Option<u32> {
    let rows = chains.leaves.iter().filter(|row| group.has(&row.leaf));
    let with_place = rows.filter_map(|row| Some((row.place?, row.held_ns)));
    most_of(with_place, sum(chains, group, |row| row.held_ns))
}

/// What was seen in at least half of the looks at a group, by how long it is held.
fn most_looked_at(chains: &Chains, group: &Group, of: fn(&LeafTime) -> Option<u32>) -> Option<u32> {
    let rows = chains.leaves.iter().filter(|row| group.has(&row.leaf));
    let with_look: Vec<(u32, u64)> = rows.filter_map(|row| Some((of(row)?, row.held_ns))).collect();
    let looked_at_ns = with_look.iter().fold(0, |sum: u64, (_, held_ns)| sum.saturating_add(*held_ns));
    most_of(with_look.into_iter(), looked_at_ns)
}

/// The value that has at least half of `whole`.
fn most_of(values: impl Iterator<Item = (u32, u64)>, whole: u64) -> Option<u32> {
    let mut sums: Vec<(u32, u64)> = Vec::new();
    for (value, part) in values {
        match sums.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum = sum.saturating_add(part),
            None => sums.push((value, part)),
        }
    }
    let (value, sum) = sums.into_iter().max_by_key(|(value, sum)| (*sum, std::cmp::Reverse(*value)))?;
    (sum.saturating_mul(PART_MIN) >= whole).then_some(value)
}

/// What a group prevents; `None`: it was not replayed.
fn prevented_ns(chains: &Chains, group: &Group) -> Option<u64> {
    chains.groups.iter().find(|one| one.group == *group).map(|one| one.prevented_ns)
}

/// Waiting through somebody else that would not have been without a group, in nanoseconds: what it prevents
/// beside the time that requests are at it themselves.
pub(super) fn relieved_ns(chains: &Chains, group: &Group) -> u64 {
    let itself_ns = sum(chains, group, |row| if row.is_inflicted() { 0 } else { row.held_ns });
    let prevented_ns = prevented_ns(chains, group).unwrap_or(0).saturating_sub(itself_ns);
    prevented_ns.max(sum(chains, group, LeafTime::inflicted_ns))
}

/// How a group ranks among the causes of waiting through somebody else, of which there is `whole_ns`: by what
/// it relieves. Where little is missing to serve all, each of several alone would end most of the waiting;
/// then it is the one without which most request time would not have been.
pub(super) fn rank_ns(chains: &Chains, group: &Group, (whole_ns, named_min_ratio): (u64, f64)) -> u64 {
    let relieved_ns = relieved_ns(chains, group);
    if ratio(relieved_ns, whole_ns) < named_min_ratio {
        return relieved_ns;
    }
    whole_ns.max(relieved_ns).saturating_add(prevented_ns(chains, group).unwrap_or(relieved_ns))
}
