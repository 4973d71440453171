//! The walk along a chain: from a wait to who could have ended it, and on from there.
//!
//! In: a thread, an interval of its time, and how much of a request's time stands behind it. Out: leaves, to
//! which all of that time goes.

mod candidates;
mod held;
mod kinds;
mod lasting;
mod looked;
mod queued;
mod sleeps;
mod stops;

use crate::event::Tid;
use crate::fact::asleep::LOOKED_AT_NS;
use crate::machine::chain::blockers::{Blockers, blockers};
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::independence::OutsideWait;
use crate::machine::chain::known::Known;
use crate::machine::chain::leaves::{ChainStep, LeafNote, Leaves};
use crate::machine::chain::looks::AsleepLook;
use crate::machine::chain::segment::{Did, Segment, SegmentSleep, SleepEnd};
use crate::machine::chain::split::split;
use crate::machine::chain::unreleased::LONGEST_IDLE_NS;
use crate::machine::time::short::Short;
use crate::model::chain::{Hops, Leaf, LeafKind, NotFollowed, Object, Unreleased};
use crate::phase::Phase;
pub(super) use kinds::{back_end, by_phase, ran};

/// Threads in one chain. Hops alike are shown as one, so a long queue before a lock has more.
const MAX_DEPTH: usize = 64;
/// Parts of threads' time looked at for one request.
const MAX_PARTS: u32 = 20_000;

/// A walk for one request.
pub(super) struct Follower<'a> {
    known: Known<'a>,
    /// The phase of the request's own time that is followed.
    top: Phase,
    /// The request, plus 1, while its own time is followed; 0: others'.
    own: u64,
    steps: Vec<ChainStep>,
    /// Threads of the chain that were not born yet: their creators are followed.
    unborn: usize,
    /// Hops of the chain that are known only by who ended a wait, each by the number of steps before it.
    by_waker: Vec<usize>,
    parts_left: u32,
    /// Of how many in a row one candidate, or the other, is followed.
    guesses: u32,
    /// Some thread is silent that may tell more later.
    pub is_incomplete: bool,
    pub leaves: Leaves,
    /// The request's own waits for something outside.
    pub outside: Vec<OutsideWait>,
    /// The request's own sleep that is followed: a wait for whatever its leaf is.
    own_sleep: Option<OwnSleep>,
}

/// An interval of time.
type Interval = (u64, u64);

/// A sleep of the request's own: when, and whether it is known from its beginning to its end.
type OwnSleep = (Interval, bool);

impl<'a> Follower<'a> {
    pub(in crate::machine) fn new(known: Known<'a>) -> Self {
        Self {
            known,
            top: Phase::Unexplained,
            own: 0,
            steps: Vec::new(),
            unborn: 0,
            by_waker: Vec::new(),
            parts_left: MAX_PARTS,
            guesses: 0,
            is_incomplete: false,
            leaves: Leaves::default(),
            outside: Vec::new(),
            own_sleep: None,
        }
    }

    /// A request was on this thread: its own waits are followed. What it did itself is known by its phases,
    /// but for the calls in which it computed. `is_handed`: others worked for it, while this thread waited
    /// for the next thing to do.
    pub(in crate::machine) fn own(
        &mut self,
        request: u64,
        tid: Tid,
        (from_ns, until_ns): Interval,
        is_handed: bool,
    ) {
        self.own = request.saturating_add(1);
        let histories = self.known.histories;
        let Some(history) = histories.get(tid) else { return };
        for part in history.within(from_ns, until_ns) {
            match part.segment.did {
                Did::InKernel { .. } if part.segment.request == self.own => self.top = Phase::Cpu,
                Did::Queued(_) => self.top = Phase::RunQueue,
                Did::Slept(sleep) if is_handed && sleep.phase == Phase::Unexplained => continue,
                Did::Slept(sleep) => self.top = sleep.phase,
                _ => continue,
            }
            self.own_part((history.tgid, tid), part);
        }
    }

    fn own_part(&mut self, of: (Tid, Tid), part: SegmentPart<'a>) {
        if let Did::Slept(sleep) = part.segment.did {
            let is_all = (part.from_ns, part.until_ns) == (part.segment.start_ns, part.segment.end_ns);
            let is_whole =
                is_all && !sleep.since_before && !matches!(sleep.end, SleepEnd::Open | SleepEnd::Limit);
            self.own_sleep = Some(((part.from_ns, part.until_ns), is_whole));
        }
        self.part(of, part, part.length_ns(), Hops::NONE);
        self.own_sleep = None;
    }

    /// A request was on this thread, as far as is known of one that was not answered: its phases do not have
    /// what the thread did.
    pub(in crate::machine) fn found(&mut self, request: u64, tid: Tid, (from_ns, until_ns): Interval) {
        (self.top, self.own) = (Phase::Unexplained, request.saturating_add(1));
        let Some(history) = self.known.histories.get(tid) else { return };
        for part in history.within(from_ns, until_ns) {
            self.own_part((history.tgid, tid), part);
        }
    }

    /// A request was with one of these, or waited for one, and which is not known. If none of them is free as
    /// it comes, what all of them do stands behind it, until one is.
    pub(in crate::machine) fn handed_to(&mut self, interval: Interval, tids: &[Tid]) {
        self.top = Phase::Unexplained;
        let is_free = |_: Tid, part: &SegmentPart<'a>| !part.segment.is_busy();
        let first = blockers(self.known.histories, tids, interval, is_free).free.first().copied();
        if let Some(stretch) = first.filter(|(from_ns, _)| from_ns - interval.0 <= LONGEST_IDLE_NS) {
            self.as_request(Phase::PoolWait, stretch, tids, &[]);
        }
    }

    /// A request waited for somebody to serve it: any of these could have. `or_else`: who would have handed
    /// it to them.
    pub(in crate::machine) fn any_of(
        &mut self,
        hop: Phase,
        interval: Interval,
        tids: &[Tid],
        or_else: &[Tid],
    ) {
        self.top = hop;
        self.as_request(hop, interval, tids, or_else);
    }

    fn as_request(&mut self, hop: Phase, interval: Interval, tids: &[Tid], or_else: &[Tid]) {
        self.own = 0;
        let Some(hops) = Hops::NONE.with(hop) else { return };
        let ns = interval.1.saturating_sub(interval.0);
        self.steps.push(ChainStep {
            tgid: 0,
            tid: 0,
            request: 0,
            phase: hop,
            start_ns: interval.0,
            end_ns: interval.1,
            place: None,
        });
        self.any((interval, ns), tids, or_else, hops);
        self.steps.pop();
    }

    fn any(&mut self, (interval, ns): (Interval, u64), tids: &[Tid], or_else: &[Tid], hops: Hops) {
        // That nobody is known does not show that nobody was there.
        if tids.is_empty() {
            return self.not_followed(NotFollowed::Acceptors, ns, hops);
        }
        // Who waits for this very wait cannot end it: if nobody else can, that is a cycle.
        let in_chain = |tid: &Tid| self.steps.iter().any(|step| step.tid == *tid);
        let mut others = Vec::with_capacity(tids.len());
        others.extend(tids.iter().copied().filter(|tid| !in_chain(tid)));
        if others.is_empty() {
            let first = self.steps.iter().position(|step| tids.contains(&step.tid)).unwrap_or(0);
            return self.circle(first, ns, hops);
        }
        // Back in a line, who waits in the same line for its own part ends nothing: those who do not, do.
        let line = if others.len() < tids.len() { tids } else { &[] };
        let is_free = |tid: Tid, part: &SegmentPart<'a>| {
            !part.segment.is_busy() || !line.is_empty() && self.asks_in_line(tid, part, line)
        };
        let tids = others.as_slice();
        let found = blockers(self.known.histories, tids, interval, |tid, part| !is_free(tid, part));
        self.is_incomplete |= found.is_incomplete;
        let busy = found.busy.iter().map(|busy| busy.weight);
        let free = found.free.iter().map(|stretch| Blockers::weight(*stretch));
        let mut parts = Vec::with_capacity(found.busy.len() + found.free.len() + 2);
        parts.extend(busy.chain(free).chain([found.nobody, found.unseen]));
        let parts = split(ns, parts);
        let (of_busy, rest) = parts.split_at(found.busy.len());
        let (of_free, rest) = rest.split_at(found.free.len());
        for (busy, ns) in found.busy.iter().zip(of_busy) {
            let tgid = self.known.histories.get(busy.tid).map_or(0, |history| history.tgid);
            if !self.lasting((tgid, busy.tid), busy.part, *ns, hops) {
                self.part((tgid, busy.tid), busy.part, *ns, hops);
            }
        }
        for (stretch, ns) in found.free.iter().zip(of_free) {
            if !line.is_empty() && self.none_is_idle(*stretch, tids) {
                let first = self.steps.iter().position(|step| line.contains(&step.tid)).unwrap_or(0);
                self.circle(first, *ns, hops);
                continue;
            }
            self.all_idle((*stretch, *ns), tids, or_else, hops);
        }
        if let [nobody, unseen] = rest {
            self.leaf(Leaf::of(LeafKind::NoThread), *nobody, hops);
            self.not_followed(NotFollowed::NotSeen, *unseen, hops);
        }
    }

    /// All that could have ended a wait waited themselves for work, as it seemed. Whoever woke them stands
    /// behind it, unless that is who hands them work.
    fn all_idle(&mut self, (interval, ns): (Interval, u64), tids: &[Tid], or_else: &[Tid], hops: Hops) {
        let histories = self.known.histories;
        let tgid = tids.iter().find_map(|tid| histories.get(*tid)).map_or(0, |history| history.tgid);
        if let Some(stop) = self.stop_within(tgid, interval) {
            let lengths = [stop.0 - interval.0, stop.1 - stop.0, interval.1 - stop.1];
            let [before_ns, stop_ns, after_ns] = split(ns, lengths);
            self.not_followed(NotFollowed::Idle, before_ns, hops);
            self.leaf(Leaf::of(LeafKind::StoodStill), stop_ns, hops);
            self.not_followed(NotFollowed::Idle, after_ns, hops);
            return;
        }
        let mut wakers = Vec::new();
        for tid in tids {
            let Some(history) = histories.get(*tid) else { continue };
            for part in history.within(interval.0, interval.1) {
                if let Did::Slept(SegmentSleep { is_idle: true, end: SleepEnd::Thread(by), .. }) =
                    part.segment.did
                    && part.length_ns() >= LONGEST_IDLE_NS
                    && !tids.contains(&by)
                    && histories.get(by).is_some_and(|by| !by.accepts && by.tgid == history.tgid)
                {
                    wakers.push((by, (part.from_ns, part.until_ns), part.length_ns()));
                }
            }
        }
        if wakers.is_empty() {
            return match or_else {
                [] => self.not_followed(NotFollowed::Idle, ns, hops),
                _ => self.any((interval, ns), or_else, &[], hops),
            };
        }
        let weights: Vec<u64> = wakers.iter().map(|(_, _, length_ns)| *length_ns).collect();
        for ((by, interval, _), ns) in wakers.into_iter().zip(split(ns, weights)) {
            self.hop(Phase::LockWait, by, interval, ns, hops);
        }
    }

    /// A thread stands behind a wait, for all of an interval.
    fn thread(&mut self, tid: Tid, interval: Interval, ns: u64, hops: Hops) {
        if ns == 0 {
            return;
        }
        let Some(history) = self.known.histories.get(tid) else {
            return self.not_followed(NotFollowed::Waker, ns, hops);
        };
        if let Some(first) = self.steps.iter().position(|step| step.tid == tid) {
            return self.circle(first, ns, hops);
        }
        if self.steps.len() + self.unborn >= MAX_DEPTH {
            return self.not_followed(NotFollowed::TooDeep, ns, hops);
        }
        let (from_ns, until_ns) = interval;
        let parts: Vec<SegmentPart<'a>> =
            history.within(from_ns, until_ns).take(self.parts_left as usize).collect();
        let known_until_ns = parts.last().map_or(from_ns, |part| part.until_ns);
        let known_from_ns = parts.first().map_or(until_ns, |part| part.from_ns);
        let before = (from_ns, known_from_ns);
        let after_ns = until_ns.saturating_sub(known_until_ns.max(from_ns));
        let after_ns = if parts.is_empty() { 0 } else { after_ns };
        self.is_incomplete |= history.ended_ns.is_none() && history.end_ns() < until_ns;
        let lengths = parts.iter().map(SegmentPart::length_ns);
        let weights: Vec<u64> = lengths.chain([before.1.saturating_sub(before.0), after_ns]).collect();
        let amounts = split(ns, weights);
        for (part, ns) in parts.iter().zip(&amounts) {
            self.part((history.tgid, tid), *part, *ns, hops);
        }
        if let [.., before_ns, after_ns] = amounts.as_slice() {
            self.not_followed(NotFollowed::NotSeen, *after_ns, hops);
            match history.born {
                // Before it was born, its creator stands behind the wait.
                Some((born_ns, by)) if born_ns >= before.1 => {
                    self.unborn += 1;
                    self.thread(by, before, *before_ns, hops);
                    self.unborn -= 1;
                }
                _ if history.since_ns >= until_ns => {
                    self.not_followed(NotFollowed::NotSeen, *before_ns, hops)
                }
                _ => self.not_followed(NotFollowed::Forgotten, *before_ns, hops),
            }
        }
    }

    /// The chain leads back to one of its steps. It is a cycle if each hop from there on is known by what was
    /// waited for; who ended a wait says nothing of who waits for whom.
    fn circle(&mut self, first: usize, ns: u64, hops: Hops) {
        if self.by_waker.iter().any(|before| *before > first) {
            return self.not_followed(NotFollowed::Circle, ns, hops);
        }
        let unreleased = Some(Unreleased::Cycle);
        self.leaf(Leaf { unreleased, ..Leaf::of(LeafKind::NotReleased) }, ns, hops);
    }

    /// A part of a thread's time stands behind a wait.
    fn part(&mut self, (tgid, tid): (Tid, Tid), part: SegmentPart<'a>, ns: u64, hops: Hops) {
        if ns == 0 {
            return;
        }
        let Some(left) = self.parts_left.checked_sub(1) else {
            return self.not_followed(NotFollowed::TooDeep, ns, hops);
        };
        self.parts_left = left;
        let segment = part.segment;
        let place = match segment.did {
            Did::Slept(_) => self.look(tid, segment).and_then(|look| look.seen.place),
            _ => None,
        };
        self.steps.push(ChainStep { place, ..ChainStep::of((tgid, tid), segment) });
        match segment.did {
            Did::Ran(phase) => self.leaf(self.of(segment, ran(phase)), ns, hops),
            Did::InKernel { .. } => self.leaf(self.of(segment, LeafKind::Computing), ns, hops),
            Did::Queued(span) => self.queued(tid, (segment, span), ns, hops),
            Did::AsleepOrReady | Did::Unseen => self.not_followed(NotFollowed::NotSeen, ns, hops),
            Did::Short(short) => self.short(segment, &short, ns, hops),
            Did::Slept(sleep) => self.sleep((tgid, tid), (part, sleep), ns, hops),
        }
        self.steps.pop();
    }

    /// The look that was taken within a thread's sleep. Who sleeps since before the trace is looked at before
    /// the window begins.
    fn look(&self, tid: Tid, segment: &Segment) -> Option<&'a AsleepLook> {
        let is_long = segment.length_ns() >= LOOKED_AT_NS;
        let from_ns = match segment.did {
            Did::Slept(sleep) if sleep.since_before => 0,
            _ => segment.start_ns,
        };
        if is_long { self.known.looks.within(tid, (from_ns, segment.end_ns)) } else { None }
    }

    fn short(&mut self, segment: &Segment, short: &Short, ns: u64, hops: Hops) {
        let parts = [short.ran_ns, short.queued_ns, short.gil_ns, short.slept_ns, short.idle_ns];
        let [ran_ns, queued_ns, gil_ns, slept_ns, idle_ns] = split(ns, parts.map(u64::from));
        let kind = if short.spins() { LeafKind::Spinning } else { LeafKind::Computing };
        let ran = self.of(segment, kind);
        let history = self.steps.last().and_then(|step| self.known.histories.get(step.tid));
        let is_for_none = short.spins() && history.is_some_and(|history| history.request_of(segment) == 0);
        self.leaf(Leaf { endpoint: if is_for_none { 0 } else { ran.endpoint }, ..ran }, ran_ns, hops);
        self.leaf(Leaf { kind: LeafKind::CpuTaken, ..ran }, queued_ns, hops);
        match hops.with(Phase::GilWait) {
            Some(by_gil) => self.not_followed(NotFollowed::Short, gil_ns, by_gil),
            None => self.not_followed(NotFollowed::TooDeep, gil_ns, hops),
        }
        self.not_followed(NotFollowed::Short, slept_ns, hops);
        self.not_followed(NotFollowed::Idle, idle_ns, hops);
    }

    /// On to who ended a wait.
    fn hop(&mut self, hop: Phase, by: Tid, interval: Interval, ns: u64, hops: Hops) {
        self.by_who_ended(|walk| walk.known_hop(hop, by, interval, ns, hops));
    }

    /// Goes on in a way that rests on who ended a wait, or could have.
    fn by_who_ended(&mut self, goes_on: impl FnOnce(&mut Self)) {
        self.by_waker.push(self.steps.len());
        goes_on(self);
        self.by_waker.pop();
    }

    /// On to who is known to stand behind a wait, by what is waited for.
    fn known_hop(&mut self, hop: Phase, by: Tid, interval: Interval, ns: u64, hops: Hops) {
        match hops.with(hop) {
            Some(hops) => self.thread(by, interval, ns, hops),
            None => self.not_followed(NotFollowed::TooDeep, ns, hops),
        }
    }

    /// Whether a thread of the target, of this process or another, ended a wait by what it did. A child that
    /// ends wakes its parent by a signal, whatever the parent waits for. That a thread of it ends does not.
    fn has_released(&self, tgid: Tid, by: Tid, at_ns: u64) -> bool {
        /// A thread has ended so soon after it sent the signal.
        const ENDS_NS: u64 = 5_000_000;
        let histories = self.known.histories;
        let has_ended = |tid: Tid| histories.get(tid).is_none_or(|history| history.ended_ns.is_some());
        histories.get(by).is_some_and(|history| {
            let ends = history.ended_ns.is_some_and(|ended_ns| ended_ns.abs_diff(at_ns) <= ENDS_NS);
            history.tgid == tgid || !ends || !has_ended(history.tgid)
        })
    }

    /// A leaf of a segment's thread.
    fn of(&self, segment: &Segment, kind: LeafKind) -> Leaf {
        // Its own time is its own, whatever its thread was about otherwise.
        let request = if self.steps.len() == 1 && self.own > 0 { self.own } else { segment.request };
        let endpoint = if request > 0 { (self.known.endpoint_of)(request) } else { 0 };
        let leaf = Leaf { endpoint, ..Leaf::of(kind) };
        match segment.did {
            Did::Slept(SegmentSleep { object, system_call, since_before, .. }) => {
                // Each wait in a lock that Python makes for it has an address of its own.
                let object = if matches!(object, Object::Futex { .. }) { Object::Unknown } else { object };
                Leaf { object, system_call, since_before, ..leaf }
            }
            Did::InKernel { object, system_call } => Leaf { object, system_call, ..leaf },
            _ => leaf,
        }
    }

    fn leaf(&mut self, leaf: Leaf, ns: u64, hops: Hops) {
        self.noted(leaf, ns, hops, &LeafNote::default());
    }

    fn noted(&mut self, leaf: Leaf, ns: u64, hops: Hops, note: &LeafNote) {
        if let Some(((start_ns, end_ns), is_whole)) = self.own_sleep.filter(|_| hops.is_empty()) {
            let Leaf { kind, object, .. } = leaf;
            self.outside.push(OutsideWait { kind, object, start_ns, end_ns, is_whole });
        }
        self.leaves.add((self.top, leaf, hops), ns, &self.steps, note);
    }

    fn not_followed(&mut self, reason: NotFollowed, ns: u64, hops: Hops) {
        self.leaf(Leaf::not_followed(reason), ns, hops);
    }
}
