//! Waits behind a full worker. A process accepted a connection while all of its slots were busy. The
//! connection stayed there although another process at the same listener had a free slot.
//!
//! In: busy stretches of slots, who accepts from which listener, waits of connections' first requests. Out:
//! [`BesideFree`] by listener. Whether a slot was busy is certain only when its thread's next call has ended:
//! a wait is kept until then.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::bounded::{BoundedMap, push_newest};
use crate::event::Tid;
use crate::machine::world::living::Living;
use crate::model::beside_free::BesideFree;

/// A shorter wait is the hand-over from one thread to another.
pub const SHORTEST_NS: u64 = 1_000_000;
/// Processes whose busy slots are kept.
const MAX_PROCESSES: usize = 256;
/// Changes of the number of busy slots that are kept of each; beyond it the oldest are forgotten. A wait is
/// looked at with the next tick: what is forgotten by then came long before it.
const MAX_CHANGES: usize = 4096;
/// Waits that are not decided yet. Beyond it the oldest counts as undecided, some with what is known.
const MAX_WAITS: usize = 16_384;
/// Listeners that are kept.
const MAX_LISTENERS: usize = 1024;
/// Processes and listeners without a place of which each counts once. One process takes part in thousands of
/// waits.
const MAX_LEFT_OUT: usize = 4096;

/// From, to.
pub type Span = (u64, u64);

/// A connection's first request has waited.
#[derive(Clone, Debug)]
pub struct ArrivalWait {
    /// Process that accepted the connection.
    pub tgid: Tid,
    /// Its listener.
    pub inode: u64,
    /// When it waited, ascending.
    pub spans: Vec<Span>,
}

/// A wait behind a full worker of which it is not certain yet who was free meanwhile.
#[derive(Clone, Debug)]
struct Undecided {
    inode: u64,
    until_ns: u64,
    full_ns: u64,
    /// When no process is known to have been free.
    rest: Vec<Span>,
    /// Processes that may have been free.
    others: Vec<Tid>,
}

/// What is known of processes at listeners.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    processes: BoundedMap<Tid, Slots, MAX_PROCESSES>,
    /// Processes at each listener, and since when.
    acceptors: BoundedMap<u64, BTreeMap<Tid, u64>, MAX_LISTENERS>,
    /// Some listener has several.
    shared: bool,
    /// Slots of a worker by its settings.
    pub of_one_worker: Option<u32>,
    /// Waits in processes whose own slots are not certain yet.
    fresh: VecDeque<ArrivalWait>,
    undecided: VecDeque<Undecided>,
    found: BoundedMap<u64, BesideFree, MAX_LISTENERS>,
    left_out: FxHashSet<LeftOut>,
}

/// What found no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LeftOut {
    Listener(u64),
    /// A process at a listener.
    Acceptor(u64, Tid),
    /// The slots of a process.
    Slots(Tid),
}

/// Busy slots of one process.
#[derive(Clone, Debug, Default)]
struct Slots {
    /// Slots that were seen.
    seen: u32,
    /// Changes of the number that is busy, in the order of time, each time once.
    changes: VecDeque<(u64, i32)>,
    /// Busy before the first of them, from this moment on.
    before: i32,
    known_since_ns: u64,
    ended_ns: Option<u64>,
}

impl Slots {
    fn add(&mut self, time_ns: u64, change: i32) {
        let time_ns = time_ns.max(self.known_since_ns);
        // Stretches come nearly in the order of their ends.
        let is_last = self.changes.back().is_none_or(|(last_ns, _)| *last_ns < time_ns);
        let place = match is_last {
            true => self.changes.len(),
            false => self.changes.partition_point(|(known_ns, _)| *known_ns < time_ns),
        };
        match self.changes.get_mut(place).filter(|(known_ns, _)| *known_ns == time_ns) {
            Some((_, sum)) if *sum + change == 0 => drop(self.changes.remove(place)),
            Some((_, sum)) => *sum += change,
            None => self.changes.insert(place, (time_ns, change)),
        }
        while self.changes.len() > MAX_CHANGES
            && let Some((time_ns, change)) = self.changes.pop_front()
        {
            self.before += change;
            self.known_since_ns = time_ns;
        }
    }
}

/// The number of busy slots over time, as far as it is known.
#[derive(Clone, Debug, Default)]
struct Curve {
    steps: Vec<(u64, i32)>,
    before: i32,
    known: (u64, u64),
    slots: i32,
}

impl Curve {
    /// The parts of `spans` in which all slots were busy (or not), by what is known for certain.
    fn parts(&self, spans: &[Span], full: bool) -> Vec<Span> {
        let mut parts: Vec<Span> = Vec::new();
        let mut put = |from_ns: u64, to_ns: u64, busy: i32| {
            let (from_ns, to_ns) = (from_ns.max(self.known.0), to_ns.min(self.known.1));
            if to_ns <= from_ns || (busy >= self.slots) != full {
                return;
            }
            match parts.last_mut() {
                Some(last) if last.1 == from_ns => last.1 = to_ns,
                _ => parts.push((from_ns, to_ns)),
            }
        };
        for &(from_ns, to_ns) in spans {
            let next = self.steps.partition_point(|(time_ns, _)| *time_ns <= from_ns);
            let mut busy =
                next.checked_sub(1).and_then(|at| self.steps.get(at)).map_or(self.before, |step| step.1);
            let mut at_ns = from_ns;
            for &(time_ns, level) in self.steps.get(next..).unwrap_or_default() {
                if time_ns >= to_ns {
                    break;
                }
                put(at_ns, time_ns, busy);
                (at_ns, busy) = (time_ns, level);
            }
            put(at_ns, to_ns, busy);
        }
        parts
    }
}

/// The rest of `spans` without `parts`, which lie in them. Both ascend.
fn without(spans: &[Span], parts: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    for &(from_ns, to_ns) in spans {
        let mut at_ns = from_ns;
        for &(start_ns, end_ns) in parts.iter().filter(|part| part.0 < to_ns && part.1 > from_ns) {
            if start_ns > at_ns {
                left.push((at_ns, start_ns));
            }
            at_ns = at_ns.max(end_ns);
        }
        if to_ns > at_ns {
            left.push((at_ns, to_ns));
        }
    }
    left
}

fn length_ns(spans: &[Span]) -> u64 {
    spans.iter().fold(0, |sum, (from_ns, to_ns)| sum.saturating_add(to_ns.saturating_sub(*from_ns)))
}

impl Capacity {
    /// A process waits for a listener, or accepts from it, since `since_ns` at least.
    pub fn accepts(&mut self, inode: u64, tgid: Tid, since_ns: u64) {
        let Some(known) = self.acceptors.get_or_default(inode) else {
            return self.leave_out(LeftOut::Listener(inode));
        };
        if known.contains_key(&tgid) {
            return;
        }
        if known.len() >= MAX_PROCESSES {
            return self.leave_out(LeftOut::Acceptor(inode, tgid));
        }
        known.insert(tgid, since_ns);
        self.shared |= known.len() > 1;
        // The number was another process's.
        if self.processes.get(&tgid).is_some_and(|slots| slots.ended_ns.is_some()) {
            self.processes.insert(tgid, Slots { known_since_ns: since_ns, ..Slots::default() });
        }
    }

    /// A thread of the process has become a slot beside those that it had.
    pub fn has_slot(&mut self, tgid: Tid) {
        if let Some(slots) = self.slots(tgid) {
            slots.seen = slots.seen.saturating_add(1);
        }
    }

    /// A slot of the process was busy.
    pub fn was_busy(&mut self, tgid: Tid, from_ns: u64, to_ns: u64) {
        if self.shared
            && to_ns > from_ns
            && let Some(slots) = self.slots(tgid)
        {
            slots.add(from_ns, 1);
            slots.add(to_ns, -1);
        }
    }

    fn slots(&mut self, tgid: Tid) -> Option<&mut Slots> {
        let slots = self.processes.get_or_default(tgid);
        // Where no listener has several processes, nobody asks for their slots.
        if slots.is_none() && self.shared && self.left_out.len() < MAX_LEFT_OUT {
            self.left_out.insert(LeftOut::Slots(tgid));
        }
        slots
    }

    fn leave_out(&mut self, what: LeftOut) {
        if self.left_out.len() < MAX_LEFT_OUT {
            self.left_out.insert(what);
        }
    }

    /// What found no place in this window, each once.
    pub fn evicted(&self) -> u64 {
        self.left_out.len() as u64
    }

    /// The process has ended.
    pub fn ended(&mut self, tgid: Tid, time_ns: u64) {
        if let Some(slots) = self.processes.get_mut(&tgid) {
            slots.ended_ns = Some(time_ns);
        } else {
            for known in self.acceptors.values_mut() {
                known.remove(&tgid);
            }
        }
    }

    /// A connection's first request, which has ended, had waited for somebody to serve it.
    pub fn waited(&mut self, wait: ArrivalWait) {
        let has_company = self.acceptors.get(&wait.inode).is_some_and(|known| known.len() > 1);
        if !has_company || length_ns(&wait.spans) < SHORTEST_NS {
            return;
        }
        if let Some(oldest) = push_newest(&mut self.fresh, MAX_WAITS, wait) {
            self.give_up(oldest.inode);
        }
    }

    /// Decides what can be decided. Of each process all is known up to its `certain_ns`.
    pub fn decide_all(&mut self, certain_ns: impl Fn(Tid) -> u64) {
        if self.fresh.is_empty() && self.undecided.is_empty() {
            return;
        }
        let mut curves = FxHashMap::default();
        for wait in std::mem::take(&mut self.fresh) {
            let until_ns = wait.spans.last().map_or(0, |span| span.1);
            if certain_ns(wait.tgid) < until_ns {
                self.fresh.push_back(wait);
                continue;
            }
            let rest = self.curve(&mut curves, wait.tgid, 0).parts(&wait.spans, true);
            let full_ns = length_ns(&rest);
            let others = self.acceptors.get(&wait.inode).into_iter().flatten();
            let others = others.map(|(tgid, _)| *tgid).filter(|tgid| *tgid != wait.tgid).collect();
            let mut one = Undecided { inode: wait.inode, until_ns, full_ns, rest, others };
            self.ask(&mut curves, &mut one, &certain_ns);
            if one.others.is_empty() || one.rest.is_empty() {
                self.decide(&one);
            } else {
                self.undecided.push_back(one);
            }
        }
        while let Some(mut one) = self.undecided.pop_front() {
            self.ask(&mut curves, &mut one, &certain_ns);
            if !one.others.is_empty() && !one.rest.is_empty() {
                // What came later waits for the same process, most likely.
                self.undecided.push_front(one);
                break;
            }
            self.decide(&one);
        }
        while self.undecided.len() > MAX_WAITS
            && let Some(one) = self.undecided.pop_front()
        {
            self.decide(&one);
            self.give_up(one.inode);
        }
    }

    /// Takes off the time in which a process was free, of those of which all is known.
    fn ask(&self, curves: &mut FxHashMap<Tid, Curve>, one: &mut Undecided, certain_ns: &impl Fn(Tid) -> u64) {
        let (known, unknown) = one.others.iter().partition(|tgid| certain_ns(**tgid) >= one.until_ns);
        let known: Vec<Tid> = known;
        one.others = unknown;
        for tgid in known {
            let since_ns = self.acceptors.get(&one.inode).and_then(|of| of.get(&tgid)).copied();
            let Some(since_ns) = since_ns else { continue };
            let free = self.curve(curves, tgid, since_ns).parts(&one.rest, false);
            one.rest = without(&one.rest, &free);
        }
    }

    fn curve<'a>(&self, curves: &'a mut FxHashMap<Tid, Curve>, tgid: Tid, since_ns: u64) -> &'a Curve {
        let curve = curves.entry(tgid).or_insert_with(|| {
            let nothing = Slots::default();
            let slots = self.processes.get(&tgid).unwrap_or(&nothing);
            let mut busy = slots.before;
            let mut step = |&(time_ns, change): &(u64, i32)| {
                busy += change;
                (time_ns, busy)
            };
            let count = self.of_one_worker.unwrap_or(0).max(slots.seen).max(1);
            Curve {
                steps: slots.changes.iter().map(&mut step).collect(),
                before: slots.before,
                known: (slots.known_since_ns, slots.ended_ns.unwrap_or(u64::MAX)),
                slots: i32::try_from(count).unwrap_or(i32::MAX),
            }
        });
        curve.known.0 = curve.known.0.max(since_ns);
        curve
    }

    fn decide(&mut self, one: &Undecided) {
        let beside_ns = one.full_ns.saturating_sub(length_ns(&one.rest));
        if beside_ns >= SHORTEST_NS
            && let Some(found) = self.found(one.inode)
        {
            found.waits.record(beside_ns);
        }
    }

    fn give_up(&mut self, inode: u64) {
        if let Some(found) = self.found(inode) {
            found.undecided = found.undecided.saturating_add(1);
        }
    }

    fn found(&mut self, inode: u64) -> Option<&mut BesideFree> {
        // Waits come only from listeners that `acceptors` has, and it has no more.
        self.found.get_or_default(inode)
    }

    /// The next window begins. What was not decided yet has been in the account of the one before.
    pub fn roll(&mut self) {
        self.found.clear();
        self.fresh.clear();
        self.undecided.clear();
        self.left_out.clear();
        let processes = &mut self.processes;
        let is_gone = |tgid: &Tid| processes.get(tgid).is_some_and(|slots| slots.ended_ns.is_some());
        self.acceptors.retain(|_, known| {
            known.retain(|tgid, _| !is_gone(tgid));
            !known.is_empty()
        });
        processes.retain(|_, slots| slots.ended_ns.is_none());
        self.shared = self.acceptors.values().any(|known| known.len() > 1);
    }

    /// Forgets processes and listeners that are no more.
    pub(in crate::machine) fn retain(&mut self, living: &Living) {
        self.acceptors.retain(|inode, known| {
            known.retain(|tgid, _| living.process(*tgid));
            living.listener(*inode) && !known.is_empty()
        });
        self.processes.retain(|tgid, _| living.process(*tgid));
    }

    /// The window has ended, and all of it is certain: what was found of a listener; `None`: no two processes
    /// accept there.
    pub fn finish(&mut self, inode: u64) -> Option<BesideFree> {
        self.decide_all(|_| u64::MAX);
        let found = self.found.get(&inode).cloned();
        let is_shared = self.acceptors.get(&inode).is_some_and(|known| known.len() > 1);
        found.or_else(|| is_shared.then(BesideFree::default))
    }
}

#[cfg(test)]
mod tests;
