//! The truth: at each moment of each request, who blocks it now, and what does that one do now?
//!
//! In: what was played. Out: request time by leaf and way. Nothing here looks at histories: who has a lock at
//! a moment is asked of the lock.

use std::collections::{BTreeMap, BTreeSet};

use super::doing::{Doing, Past, SleepEnded};
use super::world::{Actor, Blocked, Lock, PlayedServer, Role};
use crate::event::Tid;
use crate::machine::time::short::LONG_NS;
use crate::model::chain::{Hops, LeafKind, Object, Unreleased};
use crate::phase::Phase;

/// A leaf, and the way there: kind, object, endpoint that was worked for, grade, hops.
pub(super) type Key = (LeafKind, Object, String, Option<Unreleased>, Vec<Phase>);

/// Request time by leaf, in nanoseconds.
pub(super) type Sums = BTreeMap<Key, f64>;

/// A chain at one moment.
struct Chain {
    at_ns: u64,
    weight: f64,
    hops: Hops,
    /// Threads in it.
    path: Vec<usize>,
    /// The request whose own time it is.
    own: Option<usize>,
    /// Of how many in a row one candidate, or the other, is followed.
    guesses: u32,
}

impl Chain {
    /// The same where one of several candidates is followed, at a moment.
    fn guessed(&self, at_ns: u64, weight: f64) -> Self {
        Self {
            at_ns,
            weight,
            hops: self.hops,
            path: self.path.clone(),
            own: self.own,
            guesses: self.guesses + 1,
        }
    }
}

/// Time of what is short, in nanoseconds.
pub(super) struct ShortTime {
    /// On requests' own threads.
    pub own_ns: f64,
    /// On any.
    pub of_others_ns: f64,
}

impl PlayedServer {
    /// Request time by leaf, of some requests.
    pub(super) fn truth(&self, requests: impl Iterator<Item = usize>) -> Sums {
        let moments = self.moments();
        let mut sums = Sums::new();
        for request in requests {
            for &(from_ns, until_ns, on) in &self.requests[request].life {
                let mut at_ns = from_ns;
                for &next_ns in moments.range(from_ns + 1..until_ns).chain([&until_ns]) {
                    let weight = (next_ns - at_ns) as f64;
                    self.request_at(request, on, (at_ns, weight), &mut sums);
                    at_ns = next_ns;
                }
            }
        }
        sums
    }

    /// All moments at which anything changes.
    fn moments(&self) -> BTreeSet<u64> {
        let pasts = self.actors.iter().flat_map(|actor| &actor.past);
        let mut moments: BTreeSet<u64> = pasts.flat_map(|past| [past.from_ns, past.until_ns]).collect();
        let lives = self.requests.iter().flat_map(|asked| &asked.life);
        moments.extend(lives.flat_map(|(from_ns, until_ns, _)| [*from_ns, *until_ns]));
        let locks = self.locks.iter().chain(&self.gils);
        let held = locks.flat_map(|lock| &lock.held);
        moments.extend(held.flat_map(|(from_ns, until_ns, _)| [*from_ns, *until_ns]));
        moments.extend(self.actors.iter().filter_map(|actor| actor.ended_ns));
        moments
    }

    fn request_at(&self, request: usize, on: Blocked, (at_ns, weight): (u64, f64), sums: &mut Sums) {
        let hops = |phase| Hops::NONE.with(phase).unwrap();
        let chain = |hops, own| Chain { at_ns, weight, hops, path: Vec::new(), own, guesses: 0 };
        match on {
            Blocked::Thread(actor) => self.thread_at(actor, chain(Hops::NONE, Some(request)), sums),
            Blocked::Away(outside) => {
                let (kind, object) = outside.leaf();
                let chain = chain(Hops::NONE, None);
                self.leaf((kind, object, Some(request), None), &chain, sums);
            }
            Blocked::Loop(process) => {
                let boss = self.processes[process].boss;
                self.thread_at(boss, chain(hops(Phase::LoopWait), None), sums);
            }
            Blocked::Pool(process) => {
                let of_pool = |actor: &&Actor| {
                    actor.process == process && matches!(actor.role, Role::Pool | Role::Stuck)
                };
                let pool = self.actors.iter().filter(of_pool);
                let boss = self.processes[process].boss;
                self.any_of(pool, Some(boss), &chain(hops(Phase::PoolWait), None), sums);
            }
            Blocked::AcceptQueue => {
                let acceptors = self.actors.iter().filter(|actor| actor.accepts_since_ns.is_some());
                self.any_of(acceptors, None, &chain(hops(Phase::AcceptQueue), None), sums);
            }
        }
    }

    /// Any of several could end a wait: who is busy shares it.
    fn any_of<'a>(
        &'a self,
        all: impl Iterator<Item = &'a Actor>,
        or_else: Option<usize>,
        chain: &Chain,
        sums: &mut Sums,
    ) {
        let here: Vec<&Actor> = all.filter(|actor| lives_at(actor, chain.at_ns)).collect();
        let is_busy =
            |actor: &&Actor| past_at(actor, chain.at_ns).is_some_and(|past| past.doing != Doing::Idle);
        let busy: Vec<usize> =
            here.iter().copied().filter(is_busy).map(|actor| self.index_of(actor.tid)).collect();
        let shared = |share: usize| Chain {
            weight: chain.weight / share as f64,
            path: Vec::new(),
            own: None,
            ..*chain
        };
        match (busy.len(), or_else) {
            (0, _) if here.is_empty() => {
                self.leaf((LeafKind::NoThread, Object::Unknown, None, None), chain, sums);
            }
            (0, Some(or_else)) => self.thread_at(or_else, shared(1), sums),
            (0, None) => self.not_followed(chain, sums),
            (count, _) => {
                busy.into_iter().for_each(|index| self.thread_at(index, shared(count), sums));
            }
        }
    }

    /// What a thread does at a moment stands behind a wait.
    fn thread_at(&self, index: usize, mut chain: Chain, sums: &mut Sums) {
        let actor = &self.actors[index];
        if let Some((born_ns, by)) = actor.born
            && born_ns > chain.at_ns
        {
            if chain.path.contains(&by) {
                return self.not_followed(&chain, sums);
            }
            return self.thread_at(by, chain, sums);
        }
        let Some(past) = past_at(actor, chain.at_ns) else { return self.not_followed(&chain, sums) };
        chain.path.push(index);
        let request = if chain.path.len() == 1 && chain.own.is_some() { chain.own } else { past.request };
        let leaf = |kind, object| (kind, object, request, None);
        match past.doing {
            Doing::Runs => self.leaf(leaf(LeafKind::Computing, Object::Unknown), &chain, sums),
            Doing::Queued => self.leaf(leaf(LeafKind::CpuTaken, Object::Unknown), &chain, sums),
            Doing::Outside(outside) => {
                let (kind, object) = outside.leaf();
                self.leaf(leaf(kind, object), &chain, sums);
            }
            // Whoever gave it work stands behind that.
            Doing::Idle => match past.end {
                SleepEnded::By(by) if !chain.path.contains(&self.index_of(by)) => {
                    self.hop(Phase::LockWait, Some(self.index_of(by)), chain, sums);
                }
                _ => self.not_followed(&chain, sums),
            },
            Doing::ForGil => {
                let holder = holder_at(&self.gils[actor.process], chain.at_ns);
                let computes = |other: &&Actor| {
                    let doing = past_at(other, chain.at_ns).map(|past| past.doing);
                    other.process == actor.process && doing == Some(Doing::Runs)
                };
                // By elimination: it computes, and nobody else does.
                let computing: Vec<Tid> = self.actors.iter().filter(computes).map(|one| one.tid).collect();
                let is_known = self.plan.reads_holders || computing == [self.actors[holder].tid];
                self.hop(Phase::GilWait, is_known.then_some(holder), chain, sums);
            }
            _ if past.is_unreleased() => self.unreleased(actor, past, request, chain, sums),
            Doing::ForLock(lock) => {
                let holder = holder_at(&self.locks[lock], chain.at_ns);
                self.hop(Phase::LockWait, Some(holder), chain, sums);
            }
            Doing::ForEvent(occasion) => {
                self.hop(Phase::LockWait, self.occasions[occasion].setter, chain, sums);
            }
            Doing::ForNobody => unreachable!("it does not end"),
        }
    }

    fn hop(&self, phase: Phase, by: Option<usize>, chain: Chain, sums: &mut Sums) {
        match (chain.hops.with(phase), by) {
            (Some(hops), Some(by)) => self.thread_at(by, Chain { hops, ..chain }, sums),
            (hops, _) => self.not_followed(&Chain { hops: hops.unwrap_or(chain.hops), ..chain }, sums),
        }
    }

    /// A lock that was not released while it was waited for: who, as far as all of the window tells, could
    /// have it?
    fn unreleased(&self, waiter: &Actor, wait: &Past, request: Option<usize>, chain: Chain, sums: &mut Sums) {
        let last_ns = wait.until_ns - (wait.until_ns - wait.from_ns) / 16 - 1;
        let could = |other: &&Actor| {
            let during = |past: &&Past| past.until_ns > wait.from_ns && past.from_ns <= last_ns;
            let is_since = lives_at(other, wait.from_ns)
                && other.past.iter().filter(during).all(|past| past.doing != Doing::Idle);
            let may_release = |past: &Past| {
                let is_of_another = past.request.is_some() && past.request != wait.request;
                past.doing != Doing::Idle
                    && !self.waits_in_vain(other.process, past, last_ns)
                    && (is_since || !is_of_another)
            };
            other.process == waiter.process
                && other.tid != waiter.tid
                && lives_at(other, last_ns)
                && past_at(other, last_ns).is_some_and(may_release)
        };
        let mut candidates: Vec<&Actor> = self.actors.iter().filter(could).collect();
        let has_its_work = |actor: &&Actor| {
            let idle = actor
                .past
                .iter()
                .rev()
                .find(|past| past.from_ns < wait.until_ns && past.doing == Doing::Idle);
            let given = match idle {
                Some(Past { until_ns, end: SleepEnded::By(by), .. }) => Some((*until_ns, *by)),
                Some(_) => None,
                None => actor.born.map(|(born_ns, by)| (born_ns, self.actors[by].tid)),
            };
            given.is_some_and(|(at_ns, by)| by == waiter.tid && at_ns + 10_000_000 >= wait.from_ns)
        };
        if candidates.iter().any(has_its_work) {
            candidates.retain(has_its_work);
        }
        let candidates: Vec<usize> = candidates.iter().map(|actor| self.index_of(actor.tid)).collect();
        let hops = chain.hops.with(Phase::LockWait).unwrap_or(chain.hops);
        let chain = Chain { hops, ..chain };
        match candidates.as_slice() {
            [] => {
                let grade = Some(Unreleased::NobodyCould);
                self.leaf((LeafKind::NotReleased, Object::Unknown, request, grade), &chain, sums);
            }
            [one] if !chain.path.contains(one) => self.thread_at(*one, chain, sums),
            several if self.are_alike(several, wait, &chain) => {
                for one in several {
                    let weight = chain.weight / several.len() as f64;
                    self.thread_at(*one, chain.guessed(chain.at_ns, weight), sums);
                }
            }
            _ => {
                let grade = Some(Unreleased::Watched);
                self.leaf((LeafKind::NotFollowed, Object::Unknown, None, grade), &chain, sums);
            }
        }
    }

    /// Whether it waits for a thread of its process that cannot end that.
    fn waits_in_vain(&self, process: usize, past: &Past, at_ns: u64) -> bool {
        let mut past = *past;
        for _ in 0..16 {
            if past.doing == Doing::Idle || past.is_unreleased() {
                return true;
            }
            let ender = match past.end {
                SleepEnded::By(by) if past.doing.is_lock_wait() => &self.actors[self.index_of(by)],
                _ => return false,
            };
            match past_at(ender, at_ns).filter(|_| ender.process == process) {
                Some(then) => past = *then,
                None => return false,
            }
        }
        false
    }

    /// Whether several lead to the same leaf, nearly all the time of a wait.
    fn are_alike(&self, several: &[usize], wait: &Past, chain: &Chain) -> bool {
        if !(2..=8).contains(&several.len())
            || chain.guesses >= 2
            || several.iter().any(|one| chain.path.contains(one))
        {
            return false;
        }
        let moments = self.moments();
        let mut leaves = BTreeSet::new();
        for one in several {
            let mut tried = Sums::new();
            let mut at_ns = wait.from_ns;
            for &next_ns in moments.range(wait.from_ns + 1..wait.until_ns).chain([&wait.until_ns]) {
                self.thread_at(*one, chain.guessed(at_ns, (next_ns - at_ns) as f64), &mut tried);
                at_ns = next_ns;
            }
            let mut by_leaf: BTreeMap<(LeafKind, Object), f64> = BTreeMap::new();
            for ((kind, object, ..), weight) in tried {
                *by_leaf.entry((kind, object)).or_default() += weight;
            }
            let all: f64 = by_leaf.values().sum();
            leaves.insert(
                by_leaf.into_iter().find(|(_, weight)| *weight >= all * 7.0 / 8.0).map(|(leaf, _)| leaf),
            );
        }
        let is_known = |leaf: &Option<(LeafKind, Object)>| {
            leaf.is_some_and(|(kind, _)| !matches!(kind, LeafKind::NotFollowed | LeafKind::NotReleased))
        };
        leaves.len() == 1 && leaves.iter().all(is_known)
    }

    fn not_followed(&self, chain: &Chain, sums: &mut Sums) {
        self.leaf((LeafKind::NotFollowed, Object::Unknown, None, None), chain, sums);
    }

    fn leaf(
        &self,
        (kind, object, request, grade): (LeafKind, Object, Option<usize>, Option<Unreleased>),
        chain: &Chain,
        sums: &mut Sums,
    ) {
        let endpoint = request.map_or(String::new(), |request| self.endpoint(request));
        let key = (kind, object, endpoint, grade, chain.hops.iter().collect());
        *sums.entry(key).or_default() += chain.weight;
    }

    pub(super) fn endpoint(&self, request: usize) -> String {
        format!("GET /{}", ["a", "b", "c"][usize::try_from(self.requests[request].endpoint).unwrap()])
    }

    fn index_of(&self, tid: u32) -> usize {
        usize::try_from(tid).unwrap() - 1000
    }

    /// Time of what is shorter than is kept by itself, while requests were there.
    pub(super) fn short_ns(&self) -> ShortTime {
        let mut short = ShortTime { own_ns: 0.0, of_others_ns: 0.0 };
        for &(from_ns, until_ns, on) in self.requests.iter().flat_map(|asked| &asked.life) {
            for (index, actor) in self.actors.iter().enumerate() {
                let pasts = actor.past.iter().filter(|past| past.until_ns - past.from_ns < LONG_NS);
                let shared = pasts.filter(|past| past.until_ns > from_ns && past.from_ns < until_ns);
                let ns: u64 = shared.map(|past| past.until_ns - past.from_ns).sum();
                short.of_others_ns += ns as f64;
                short.own_ns += if on == Blocked::Thread(index) { ns as f64 } else { 0.0 };
            }
        }
        short
    }

    /// All kinds of leaves that anything of the schedule has.
    pub(super) fn kinds(&self) -> BTreeSet<LeafKind> {
        let mut kinds = BTreeSet::from([LeafKind::NotFollowed]);
        let mut has_gap = false;
        for actor in &self.actors {
            for past in &actor.past {
                kinds.extend(match past.doing {
                    Doing::Runs => Some(LeafKind::Computing),
                    Doing::Queued => Some(LeafKind::CpuTaken),
                    Doing::Outside(outside) => Some(outside.leaf().0),
                    _ if past.doing.is_lock_wait()
                        && matches!(past.end, SleepEnded::Open | SleepEnded::Limit) =>
                    {
                        Some(LeafKind::NotReleased)
                    }
                    _ => None,
                });
            }
            has_gap |= actor.born.is_some() || actor.ended_ns.is_some();
        }
        // Away on a loop.
        for (_, _, on) in self.requests.iter().flat_map(|asked| &asked.life) {
            if let Blocked::Away(outside) = on {
                kinds.insert(outside.leaf().0);
            }
        }
        if has_gap {
            kinds.insert(LeafKind::NoThread);
        }
        kinds
    }
}

fn lives_at(actor: &Actor, at_ns: u64) -> bool {
    actor.born.is_none_or(|(born_ns, _)| born_ns <= at_ns)
        && actor.ended_ns.is_none_or(|end_ns| end_ns > at_ns)
}

fn past_at(actor: &Actor, at_ns: u64) -> Option<&Past> {
    let after = actor.past.partition_point(|past| past.until_ns <= at_ns);
    actor.past.get(after).filter(|past| past.from_ns <= at_ns)
}

fn holder_at(lock: &Lock, at_ns: u64) -> usize {
    let after = lock.held.partition_point(|(_, until_ns, _)| *until_ns <= at_ns);
    let (from_ns, _, holder) = lock.held[after];
    assert!(from_ns <= at_ns, "somebody waits for a lock that nobody has");
    holder
}
