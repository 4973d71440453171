//! The walk along a chain: from a wait to who could have ended it, and on from there.
//!
//! In: a thread, an interval of its time, and how much of a request's time stands behind it. Out: leaves, to
//! which all of that time goes.

use std::rc::Rc;

use crate::event::Tid;
use crate::machine::chain::blockers::{Blockers, blockers, is_busy};
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::known::Known;
use crate::machine::chain::leaves::{ChainStep, Leaves};
use crate::machine::chain::segment::{Did, Segment, SegmentSleep, SleepEnd};
use crate::machine::chain::service::{Stage, stages, who_serves};
use crate::machine::chain::settling::Settling;
use crate::machine::chain::split::split;
use crate::machine::chain::unreleased::{CouldRelease, is_silent, who_could_release};
use crate::machine::lock::gil_holder::Holders;
use crate::machine::time::short::Short;
use crate::model::chain::{Hops, Leaf, LeafKind, NotFollowed, Object, Unreleased};
use crate::phase::Phase;
use profiler_common::gap_sleep::{self, GapSleep};
use profiler_common::system_call::{FCNTL, WRITE, WRITEV};

/// Threads in one chain. Hops alike are shown as one, so a long queue before a lock has more.
const MAX_DEPTH: usize = 64;
/// Parts of threads' time looked at for one request.
const MAX_PARTS: u32 = 20_000;
/// Who has waited for work for longer, while somebody waited for it, could not take that.
const LONGEST_IDLE_NS: u64 = 10_000_000;
/// A sleep on purpose that is as long may hold a stop.
const LONG_SLEEP_NS: u64 = 50_000_000;
/// Port of name servers (RFC 1035).
const NAME_SERVER: u16 = 53;

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
    parts_left: u32,
    /// Some thread is silent that may tell more later.
    pub is_incomplete: bool,
    pub leaves: Leaves,
}

/// An interval of time.
type Interval = (u64, u64);

impl<'a> Follower<'a> {
    pub(in crate::machine) fn new(known: Known<'a>) -> Self {
        Self {
            known,
            top: Phase::Unexplained,
            own: 0,
            steps: Vec::new(),
            unborn: 0,
            parts_left: MAX_PARTS,
            is_incomplete: false,
            leaves: Leaves::default(),
        }
    }

    /// A request was on this thread: its own waits are followed. What it did itself is known by its phases.
    pub(in crate::machine) fn own(&mut self, request: u64, tid: Tid, (from_ns, until_ns): Interval) {
        self.own = request.saturating_add(1);
        let histories = self.known.histories;
        let Some(history) = histories.get(tid) else { return };
        for part in history.within(from_ns, until_ns) {
            match part.segment.did {
                Did::Queued => self.top = Phase::RunQueue,
                Did::Slept(sleep) => self.top = sleep.phase,
                _ => continue,
            }
            self.part((history.tgid, tid), part, part.length_ns(), Hops::default());
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
        (self.top, self.own) = (hop, 0);
        let Some(hops) = Hops::default().with(hop) else { return };
        let ns = interval.1.saturating_sub(interval.0);
        self.steps.push(ChainStep {
            tgid: 0,
            tid: 0,
            request: 0,
            phase: hop,
            start_ns: interval.0,
            end_ns: interval.1,
        });
        if tids.is_empty() && or_else.is_empty() {
            self.not_followed(NotFollowed::Acceptors, ns, hops);
        } else {
            self.any((interval, ns), tids, or_else, hops);
        }
        self.steps.pop();
    }

    fn any(&mut self, (interval, ns): (Interval, u64), tids: &[Tid], or_else: &[Tid], hops: Hops) {
        let found = blockers(self.known.histories, tids, interval, is_busy);
        self.is_incomplete |= found.is_incomplete;
        let busy = found.busy.iter().map(|busy| busy.weight);
        let free = found.free.iter().map(|stretch| Blockers::weight(*stretch));
        let weights: Vec<u64> = busy.chain(free).chain([found.nobody, found.unseen]).collect();
        let parts = split(ns, &weights);
        let (of_busy, rest) = parts.split_at(found.busy.len());
        let (of_free, rest) = rest.split_at(found.free.len());
        for (busy, ns) in found.busy.iter().zip(of_busy) {
            let tgid = self.known.histories.get(busy.tid).map_or(0, |history| history.tgid);
            self.part((tgid, busy.tid), busy.part, *ns, hops);
        }
        for (stretch, ns) in found.free.iter().zip(of_free) {
            self.all_idle((*stretch, *ns), tids, or_else, hops);
        }
        if let [nobody, unseen] = rest {
            self.leaf(Leaf::of(LeafKind::NoThread), *nobody, hops, false);
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
            if let [before_ns, stop_ns, after_ns] = *split(ns, &lengths) {
                self.not_followed(NotFollowed::Idle, before_ns, hops);
                self.leaf(Leaf::of(LeafKind::StoodStill), stop_ns, hops, false);
                self.not_followed(NotFollowed::Idle, after_ns, hops);
            }
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
        for ((by, interval, _), ns) in wakers.into_iter().zip(split(ns, &weights)) {
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
        if self.steps.iter().any(|step| step.tid == tid) {
            return self.not_followed(NotFollowed::Circle, ns, hops);
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
        let amounts = split(ns, &weights);
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
        let phase = match segment.did {
            Did::Ran(phase) => phase,
            Did::Slept(sleep) => sleep.phase,
            Did::Queued => Phase::RunQueue,
            Did::Short(_) => Phase::Cpu,
            Did::Unseen => Phase::Unexplained,
        };
        let (start_ns, end_ns) = (segment.start_ns, segment.end_ns);
        self.steps.push(ChainStep { tgid, tid, request: segment.request, phase, start_ns, end_ns });
        match segment.did {
            Did::Ran(phase) => self.leaf(self.of(segment, ran(phase)), ns, hops, false),
            Did::Queued => self.leaf(self.of(segment, LeafKind::CpuTaken), ns, hops, false),
            Did::Unseen => self.not_followed(NotFollowed::NotSeen, ns, hops),
            Did::Short(short) => self.short(segment, &short, ns, hops),
            Did::Slept(sleep) => self.sleep((tgid, tid), (part, sleep), ns, hops),
        }
        self.steps.pop();
    }

    fn short(&mut self, segment: &Segment, short: &Short, ns: u64, hops: Hops) {
        let parts = [short.ran_ns, short.queued_ns, short.gil_ns, short.slept_ns, short.idle_ns];
        let amounts = split(ns, &parts.map(u64::from));
        let &[ran_ns, queued_ns, gil_ns, slept_ns, idle_ns] = amounts.as_slice() else { return };
        let kind = if short.spins() { LeafKind::Spinning } else { LeafKind::Computing };
        self.leaf(self.of(segment, kind), ran_ns, hops, false);
        self.leaf(self.of(segment, LeafKind::CpuTaken), queued_ns, hops, false);
        match hops.with(Phase::GilWait) {
            Some(by_gil) => self.not_followed(NotFollowed::Short, gil_ns, by_gil),
            None => self.not_followed(NotFollowed::TooDeep, gil_ns, hops),
        }
        self.not_followed(NotFollowed::Short, slept_ns, hops);
        self.not_followed(NotFollowed::Idle, idle_ns, hops);
    }

    fn sleep(
        &mut self,
        (tgid, tid): (Tid, Tid),
        (part, sleep): (SegmentPart<'a>, SegmentSleep),
        ns: u64,
        hops: Hops,
    ) {
        let interval = (part.from_ns, part.until_ns);
        match (sleep.phase, sleep.end) {
            _ if sleep.is_idle => match sleep.end {
                // It waited for work: whoever gave it that stands behind it.
                SleepEnd::Thread(by) => self.hop(Phase::LockWait, by, interval, ns, hops),
                _ => self.not_followed(NotFollowed::Idle, ns, hops),
            },
            (Phase::GilWait, SleepEnd::Holders(holders)) => self.holders(holders, interval, ns, hops),
            (Phase::LockWait, SleepEnd::Open | SleepEnd::Limit) => {
                self.unreleased((tgid, tid), part, &sleep, ns, hops);
            }
            (Phase::LockWait | Phase::ChildWait, SleepEnd::Thread(by)) if self.is_ours(by) => {
                self.released((tgid, by), (interval, ns), &sleep, hops);
            }
            (Phase::FileWait, SleepEnd::Thread(by)) if self.is_ours(by) => {
                self.hop(Phase::FileWait, by, interval, ns, hops);
            }
            (Phase::LockWait, _) => self.ended_outside(part.segment, &sleep, ns, hops),
            (Phase::BackendWait, _) if sleep.is_own_port => {
                self.own_server(part, &sleep, ns, hops);
            }
            (Phase::Sleep, _) if part.length_ns() >= LONG_SLEEP_NS => {
                let leaf = self.of(part.segment, slept(sleep.phase, &sleep));
                self.slept_or_stopped(tgid, part, leaf, ns, hops);
            }
            (Phase::Unexplained | Phase::FaultWait, _)
                if self.stood_still(tgid, (part.segment.start_ns, part.segment.end_ns), &sleep) =>
            {
                self.leaf(Leaf::of(LeafKind::StoodStill), ns, hops, false);
            }
            (phase, _) => {
                let is_shared = sleep.connection > 0 && (self.known.is_shared)(sleep.connection);
                let kind = slept(phase, &sleep);
                let reason = (kind == LeafKind::NotFollowed).then_some(NotFollowed::NotSeen);
                let leaf = Leaf { reason, ..self.of(part.segment, kind) };
                self.leaf(leaf, ns, hops, is_shared);
            }
        }
    }

    /// A wait for a back end at a port of the target's own. If it is the target, a request came over the same
    /// connection.
    fn own_server(&mut self, part: SegmentPart<'a>, sleep: &SegmentSleep, ns: u64, hops: Hops) {
        let overlaps =
            |request: &&Rc<Settling>| request.start_ns < part.until_ns && request.end_ns > part.from_ns;
        let over: &'a [Rc<Settling>] = (self.known.over)(sleep.connection);
        let Some(hops) = hops.with(Phase::BackendWait) else {
            return self.not_followed(NotFollowed::TooDeep, ns, hops);
        };
        let Some(request) = over.iter().find(overlaps) else {
            // Another host may have a port of the same number.
            return self.not_followed(NotFollowed::Acceptors, ns, hops);
        };
        self.request(request, (part.from_ns, part.until_ns), ns, hops);
    }

    /// A request stands behind a wait.
    fn request(&mut self, request: &Settling, (from_ns, until_ns): Interval, ns: u64, hops: Hops) {
        let inside =
            |interval: Interval| (interval.0.clamp(from_ns, until_ns), interval.1.clamp(from_ns, until_ns));
        let stages: Vec<(Interval, Stage)> =
            stages(request).into_iter().map(|(interval, stage)| (inside(interval), stage)).collect();
        // What lies before it came, and after its answer, is the way there and back.
        let weights: Vec<u64> = stages.iter().map(|((from_ns, until_ns), _)| until_ns - from_ns).collect();
        for ((interval, stage), ns) in stages.into_iter().zip(split(ns, &weights)) {
            match stage {
                Stage::On(tid) => self.thread(tid, interval, ns, hops),
                Stage::Unknown => self.not_followed(NotFollowed::NotSeen, ns, hops),
                Stage::Waits(phase) => match hops.with(phase) {
                    Some(hops) => {
                        let (tids, or_else) = who_serves(self.known, request, phase);
                        self.any((interval, ns), &tids, &or_else, hops);
                    }
                    None => self.not_followed(NotFollowed::TooDeep, ns, hops),
                },
            }
        }
    }

    /// A wait for one of ours that no thread of ours ended.
    fn ended_outside(&mut self, segment: &Segment, sleep: &SegmentSleep, ns: u64, hops: Hops) {
        // Whoever writes to a pipe that is full waits for its reader.
        let writes = [WRITE.cast_signed(), WRITEV.cast_signed()].contains(&sleep.system_call);
        let is_pipe = matches!(sleep.object, Object::Descriptor { .. });
        let is_known = matches!(sleep.end, SleepEnd::Thread(_) | SleepEnd::Outside);
        if is_pipe && (writes || is_known) {
            self.leaf(self.of(segment, LeafKind::Pipe), ns, hops, false);
        } else if let Some(hops) = hops.with(Phase::LockWait) {
            self.not_followed(NotFollowed::Waker, ns, hops);
        } else {
            self.not_followed(NotFollowed::TooDeep, ns, hops);
        }
    }

    /// A thread ended a wait, at the end of an interval. Of a lock others may have had it before.
    fn released(
        &mut self,
        (tgid, by): (Tid, Tid),
        (interval, ns): (Interval, u64),
        sleep: &SegmentSleep,
        hops: Hops,
    ) {
        let Object::Futex { address } = sleep.object else {
            return self.hop(sleep.phase, by, interval, ns, hops);
        };
        let holders = self.known.releases.holders((tgid, address), interval, by);
        let weights: Vec<u64> = holders.iter().map(|((from_ns, until_ns), _)| until_ns - from_ns).collect();
        for ((interval, by), ns) in holders.into_iter().zip(split(ns, &weights)) {
            self.hop(sleep.phase, by, interval, ns, hops);
        }
    }

    fn hop(&mut self, hop: Phase, by: Tid, interval: Interval, ns: u64, hops: Hops) {
        match hops.with(hop) {
            Some(hops) => self.thread(by, interval, ns, hops),
            None => self.not_followed(NotFollowed::TooDeep, ns, hops),
        }
    }

    /// Somebody had the interpreter lock, and then perhaps another.
    fn holders(
        &mut self,
        Holders { first, then }: Holders,
        (from_ns, until_ns): Interval,
        ns: u64,
        hops: Hops,
    ) {
        let since_ns = then.map_or(until_ns, |(since_ns, _)| since_ns.clamp(from_ns, until_ns));
        let amounts = split(ns, &[since_ns - from_ns, until_ns - since_ns]);
        let stretches =
            [(first.tid, (from_ns, since_ns)), (then.map_or(0, |(_, by)| by.tid), (since_ns, until_ns))];
        for ((by, interval), ns) in stretches.into_iter().zip(amounts) {
            if by > 0 {
                self.hop(Phase::GilWait, by, interval, ns, hops);
            } else {
                self.holder_by_elimination(interval, ns, hops);
            }
        }
    }

    /// Who had the interpreter lock was not read. Whoever of the process computed had it, as far as that is
    /// one thread at a time.
    fn holder_by_elimination(&mut self, interval: Interval, ns: u64, hops: Hops) {
        let hops = hops.with(Phase::GilWait).unwrap_or(hops);
        let Some(waiter) = self.steps.last().copied() else { return };
        let others = self.known.histories.of_process(waiter.tgid).iter().copied();
        let others: Vec<Tid> = others.filter(|tid| *tid != waiter.tid).take(MAX_DEPTH).collect();
        let computed = |segment: &Segment| match segment.did {
            Did::Ran(phase) => phase == Phase::Cpu,
            Did::Short(short) => short.ran_ns > short.gil_ns,
            // It may have computed.
            Did::Unseen => true,
            Did::Queued | Did::Slept(_) => false,
        };
        let found = blockers(self.known.histories, &others, interval, computed);
        self.is_incomplete |= found.is_incomplete;
        // Where two compute at once, one of them does so without the lock.
        let alone: Vec<u64> = found.busy.iter().map(|busy| busy.alone).collect();
        let rest = alone.iter().fold(Blockers::weight(interval), |rest, alone| rest.saturating_sub(*alone));
        let weights: Vec<u64> = alone.into_iter().chain([rest]).collect();
        let amounts = split(ns, &weights);
        for (busy, ns) in found.busy.iter().zip(&amounts) {
            self.part((waiter.tgid, busy.tid), busy.part, *ns, hops);
        }
        self.not_followed(NotFollowed::Holder, amounts.last().copied().unwrap_or(0), hops);
    }

    /// A lock was not released in an interval.
    fn unreleased(
        &mut self,
        (tgid, tid): (Tid, Tid),
        part: SegmentPart<'a>,
        sleep: &SegmentSleep,
        ns: u64,
        hops: Hops,
    ) {
        // All of it counts: who waited for work later had nothing to release either.
        let interval = (part.segment.start_ns, part.segment.end_ns);
        let histories = self.known.histories;
        let others = histories.of_process(tgid).iter().filter_map(|other| histories.get(*other));
        self.is_incomplete |= others.into_iter().any(|other| is_silent(other, interval.1));
        let in_chain: Vec<Tid> = self.steps.iter().map(|step| step.tid).collect();
        let hops = hops.with(Phase::LockWait).unwrap_or(hops);
        let grade = match who_could_release(self.known.histories, (tgid, tid), interval, &in_chain) {
            // By elimination.
            CouldRelease::One(by) => return self.thread(by, (part.from_ns, part.until_ns), ns, hops),
            CouldRelease::Nobody => Unreleased::NobodyCould,
            CouldRelease::Several => Unreleased::Watched,
        };
        let leaf = self.of(part.segment, LeafKind::NotReleased);
        let leaf = Leaf { unreleased: Some(grade), since_before: sleep.since_before, ..leaf };
        self.leaf(leaf, ns, hops, false);
    }

    /// A sleep outside any call, in which no thread of the process ran: it was stopped from outside.
    fn stood_still(&self, tgid: Tid, (from_ns, until_ns): Interval, sleep: &SegmentSleep) -> bool {
        let threads = || {
            let tids = self.known.histories.of_process(tgid).iter();
            tids.filter_map(|tid| self.known.histories.get(*tid))
        };
        // A moment at each end is the stop itself.
        let most_ns = (until_ns - from_ns) / 16;
        let ran = |part: SegmentPart<'_>| match part.segment.did {
            Did::Ran(_) => part.length_ns() > most_ns,
            Did::Short(short) => u64::from(short.ran_ns).min(part.length_ns()) > most_ns,
            _ => false,
        };
        let may_be = match sleep.phase {
            Phase::Unexplained => sleep.is_way_out,
            // A page fault looks the same, but that several threads begin and end one at once.
            _ => threads().filter(|history| history.stops_about((from_ns, until_ns))).count() > 1,
        };
        may_be && !threads().any(|history| history.within(from_ns, until_ns).any(ran))
    }

    /// A sleep on purpose. What of it the process was stopped for was none.
    fn slept_or_stopped(&mut self, tgid: Tid, part: SegmentPart<'a>, leaf: Leaf, ns: u64, hops: Hops) {
        let interval = (part.from_ns, part.until_ns);
        let Some(stop) = self.stop_within(tgid, interval) else { return self.leaf(leaf, ns, hops, false) };
        let lengths = [part.length_ns() - (stop.1 - stop.0), stop.1 - stop.0];
        if let [slept_ns, stop_ns] = *split(ns, &lengths) {
            self.leaf(leaf, slept_ns, hops, false);
            self.leaf(Leaf::of(LeafKind::StoodStill), stop_ns, hops, false);
        }
    }

    /// A stretch of an interval in which a process was stopped, by what one of its threads shows.
    fn stop_within(&self, tgid: Tid, interval: Interval) -> Option<Interval> {
        let tids = self.known.histories.of_process(tgid).iter();
        let parts = tids
            .filter_map(|tid| self.known.histories.get(*tid))
            .flat_map(|history| history.within(interval.0, interval.1));
        let stops = parts.filter_map(|part| {
            let Did::Slept(sleep) = part.segment.did else { return None };
            let (from_ns, until_ns) = (part.from_ns, part.until_ns);
            let is_long = until_ns.saturating_sub(from_ns) >= LONGEST_IDLE_NS;
            let is_stop = is_long
                && matches!(sleep.phase, Phase::Unexplained | Phase::FaultWait)
                && self.stood_still(tgid, (part.segment.start_ns, part.segment.end_ns), &sleep);
            is_stop.then_some((from_ns, until_ns))
        });
        stops.max_by_key(|(from_ns, until_ns)| until_ns - from_ns)
    }

    fn is_ours(&self, tid: Tid) -> bool {
        self.known.histories.get(tid).is_some()
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
            _ => leaf,
        }
    }

    fn leaf(&mut self, leaf: Leaf, ns: u64, hops: Hops, is_shared: bool) {
        self.leaves.add((self.top, leaf, hops), ns, &self.steps, is_shared);
    }

    fn not_followed(&mut self, reason: NotFollowed, ns: u64, hops: Hops) {
        self.leaf(Leaf::not_followed(reason), ns, hops, false);
    }
}

/// The leaf of time on a CPU.
pub(super) const fn ran(phase: Phase) -> LeafKind {
    match phase {
        Phase::ReadHead | Phase::ReadBody => LeafKind::Reading,
        Phase::Write => LeafKind::Writing,
        Phase::Unexplained => LeafKind::NotFollowed,
        _ => LeafKind::Computing,
    }
}

/// The leaf of a sleep that no thread of the target ends.
fn slept(phase: Phase, sleep: &SegmentSleep) -> LeafKind {
    match phase {
        Phase::BackendWait if sleep.object == (Object::Peer { port: NAME_SERVER }) => LeafKind::NameServer,
        Phase::FileWait if is_file_lock(sleep.system_call) => LeafKind::FileLock,
        Phase::Sleep if sleep.polls_file_lock => LeafKind::FileLock,
        _ => by_phase(phase),
    }
}

/// Whether a call waits for a lock on a file.
pub(in crate::machine) fn is_file_lock(system_call: i32) -> bool {
    gap_sleep::of(system_call) == GapSleep::FileLock || system_call == FCNTL.cast_signed()
}

/// The leaf of a phase of which nothing more is known.
pub(super) const fn by_phase(phase: Phase) -> LeafKind {
    match phase {
        Phase::BackendWait => LeafKind::BackEnd,
        Phase::ClientReadStall | Phase::ClientWriteStall => LeafKind::Client,
        Phase::ChildWait => LeafKind::Child,
        Phase::FileWait => LeafKind::File,
        Phase::FaultWait => LeafKind::PageFault,
        Phase::Sleep => LeafKind::Sleep,
        Phase::RunQueue => LeafKind::CpuTaken,
        Phase::FrontEnd => LeafKind::FrontEnd,
        Phase::Cpu => LeafKind::Computing,
        Phase::ReadHead | Phase::ReadBody => LeafKind::Reading,
        Phase::Write => LeafKind::Writing,
        Phase::AcceptQueue
        | Phase::PoolWait
        | Phase::LoopWait
        | Phase::GilWait
        | Phase::LockWait
        | Phase::Unexplained => LeafKind::NotFollowed,
    }
}
