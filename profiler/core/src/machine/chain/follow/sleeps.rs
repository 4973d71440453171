//! The walk through a sleep: on to who ended it, or a leaf.
//!
//! In: a sleep that stands behind a wait, and how much of a request's time. Out: hops and leaves.

use std::rc::Rc;

use super::kinds::slept;
use super::looked::LookedAt;
use super::{Follower, Interval, MAX_DEPTH};
use crate::event::Tid;
use crate::machine::chain::blockers::{Blockers, blockers};
use crate::machine::chain::history::{History, SegmentPart};
use crate::machine::chain::leaves::LeafNote;
use crate::machine::chain::looks::AsleepLook;
use crate::machine::chain::segment::{Did, Segment, SegmentSleep, SleepEnd};
use crate::machine::chain::service::{Stage, handed_to, stages, who_serves};
use crate::machine::chain::settling::Settling;
use crate::machine::chain::split::split;
use crate::machine::chain::unreleased::{CouldRelease, is_silent, who_could_release};
use crate::machine::lock::gil_holder::Holders;
use crate::model::chain::{Hops, Leaf, LeafKind, NotFollowed, Object, Unreleased};
use crate::phase::Phase;
use profiler_common::system_call::{WRITE, WRITEV};

/// A sleep on purpose that is as long may hold a stop.
const LONG_SLEEP_NS: u64 = 50_000_000;

/// Who could have served a request that waited in a phase, and who would have handed it to them.
struct ServedBy {
    phase: Phase,
    tids: Vec<Tid>,
    or_else: Vec<Tid>,
}

impl<'a> Follower<'a> {
    pub(super) fn sleep(
        &mut self,
        (tgid, tid): (Tid, Tid),
        (part, sleep): (SegmentPart<'a>, SegmentSleep),
        ns: u64,
        hops: Hops,
    ) {
        let interval = (part.from_ns, part.until_ns);
        let look = self.look(tid, part.segment);
        if let Some(held) = sleep.held {
            let leaf = Leaf { held: Some(held), ..Leaf::of(LeafKind::StoodStill) };
            let seen = look.and_then(|look| look.object);
            return self.noted(leaf, ns, hops, &LeafNote { seen, ..LeafNote::default() });
        }
        if let Some(look) = look
            && !sleep.is_idle
            && self.looked(LookedAt { of: (tgid, tid), part, sleep, look }, ns, hops)
        {
            return;
        }
        match (sleep.phase, sleep.end) {
            _ if sleep.is_idle && !self.is_ended_by_stranger(sleep.end) => match sleep.end {
                // It waited for work: whoever gave it that stands behind it.
                SleepEnd::Thread(by) => self.hop(Phase::LockWait, by, interval, ns, hops),
                _ => self.not_followed(NotFollowed::Idle, ns, hops),
            },
            (Phase::GilWait, SleepEnd::Holders(holders)) => self.holders(holders, interval, ns, hops),
            (Phase::LockWait, SleepEnd::Open | SleepEnd::Limit) => {
                self.locked((tgid, tid), part, &sleep, ns, hops);
            }
            (Phase::ChildWait, SleepEnd::Thread(by)) if self.is_own_program(by) => {
                self.hop(sleep.phase, by, interval, ns, hops);
            }
            (Phase::LockWait, SleepEnd::Thread(by)) if self.has_released(tgid, by, part.segment.end_ns) => {
                self.released((tgid, by), (interval, ns), &sleep, hops);
            }
            (Phase::FileWait, SleepEnd::Thread(by)) if self.has_released(tgid, by, part.segment.end_ns) => {
                self.hop(Phase::FileWait, by, interval, ns, hops);
            }
            (Phase::LockWait, _) => self.ended_outside(part.segment, &sleep, ns, hops),
            (Phase::BackendWait, _) if sleep.is_own_port => {
                self.own_server(tgid, part, &sleep, ns, hops);
            }
            // A look would have seen that it was stopped.
            (Phase::Sleep, _) if part.length_ns() >= LONG_SLEEP_NS && look.is_none() => {
                let leaf = self.of(part.segment, slept(sleep.phase, &sleep));
                let (leaf, note) = self.named(leaf, tgid, (part, sleep), look);
                self.slept_or_stopped(tgid, part, (leaf, note), ns, hops);
            }
            (Phase::Unexplained | Phase::FaultWait, _)
                if look.is_none()
                    && self.stood_still(tgid, (part.segment.start_ns, part.segment.end_ns), &sleep) =>
            {
                self.leaf(Leaf::of(LeafKind::StoodStill), ns, hops);
            }
            (phase, _) => {
                let kind = slept(phase, &sleep);
                let reason = (kind == LeafKind::NotFollowed).then_some(NotFollowed::NotSeen);
                let leaf = Leaf { reason, ..self.of(part.segment, kind) };
                let (leaf, note) = self.named(leaf, tgid, (part, sleep), look);
                // Looks nearby say who holds such a lock, not which thread of our own did at this moment.
                let waits_for_lock = leaf.kind == LeafKind::FileLock && phase == Phase::FileWait;
                if waits_for_lock && self.known.is_held_by_target(note.seen) {
                    let hops = hops.with(Phase::FileWait).unwrap_or(hops);
                    return self.not_followed(NotFollowed::Holder, ns, hops);
                }
                self.noted(leaf, ns, hops, &note);
            }
        }
    }

    /// A wait for a back end at a port of the target's own. If it is the target, a request came over the same
    /// connection.
    pub(super) fn own_server(
        &mut self,
        tgid: Tid,
        part: SegmentPart<'a>,
        sleep: &SegmentSleep,
        ns: u64,
        hops: Hops,
    ) {
        let interval = (part.from_ns, part.until_ns);
        let Some(hops) = hops.with(Phase::BackendWait) else {
            return self.not_followed(NotFollowed::TooDeep, ns, hops);
        };
        match self.request_over(sleep.connection, interval) {
            Some(request) => self.request(request, interval, ns, hops),
            // Another host may have a port of the same number: looks at other connections there say.
            None => {
                let there = match sleep.object {
                    Object::Peer { port } => {
                        self.known.serves_itself_about(tgid, port, part.segment.start_ns)
                    }
                    _ => None,
                };
                self.any_there(there.unwrap_or_default(), (interval, ns), hops);
            }
        }
    }

    /// A request that came over a connection of the target to itself, in this interval.
    pub(super) fn request_over(
        &self,
        connection: u64,
        (from_ns, until_ns): Interval,
    ) -> Option<&'a Settling> {
        let over: &'a [Rc<Settling>] = (self.known.over)(connection);
        over.iter().map(Rc::as_ref).find(|request| request.start_ns < until_ns && request.end_ns > from_ns)
    }

    /// Whether a part of a thread's time is a wait for the server itself, whose request waits meanwhile for
    /// one of these threads.
    pub(super) fn asks_in_line(&self, tid: Tid, part: &SegmentPart<'a>, line: &[Tid]) -> bool {
        let Did::Slept(sleep) = part.segment.did else { return false };
        if sleep.is_idle || sleep.phase != Phase::BackendWait {
            return false;
        }
        let look = self.look(tid, part.segment);
        let is_line = |tids: &[Tid]| !tids.is_empty() && tids.iter().all(|tid| line.contains(tid));
        let (from_ns, until_ns) = (part.from_ns, part.until_ns);
        let connection = look.and_then(AsleepLook::own_port).map_or(sleep.connection, u64::from);
        if let Some(request) = self.request_over(connection, (from_ns, until_ns)) {
            let mut meanwhile = self.stages(request).filter(|((stage_from_ns, stage_until_ns), _)| {
                *stage_from_ns < until_ns && *stage_until_ns > from_ns
            });
            let waits = |(interval, stage): (Interval, Stage)| {
                self.served_by(request, stage, interval).is_some_and(|by| is_line(&by.tids))
            };
            let is_first = meanwhile.next().is_some_and(waits);
            return is_first && meanwhile.all(waits);
        }
        look.is_some_and(|look| {
            look.accepted_by().is_empty() && is_line(self.known.attendance.acceptors(look.own_listener))
        })
    }

    /// Whether none of these waits for work at any moment of an interval.
    pub(super) fn none_is_idle(&self, interval: Interval, tids: &[Tid]) -> bool {
        let is_busy = |_: Tid, part: &SegmentPart<'a>| part.segment.is_busy();
        let of_one = |tid: &Tid| blockers(self.known.histories, std::slice::from_ref(tid), interval, is_busy);
        tids.iter().all(|tid| of_one(tid).free.is_empty())
    }

    /// A request stands behind a wait.
    pub(super) fn request(&mut self, request: &Settling, (from_ns, until_ns): Interval, ns: u64, hops: Hops) {
        let inside =
            |interval: Interval| (interval.0.clamp(from_ns, until_ns), interval.1.clamp(from_ns, until_ns));
        let stages: Vec<(Interval, Stage)> =
            self.stages(request).map(|(interval, stage)| (inside(interval), stage)).collect();
        // What lies before it came, and after its answer, is the way there and back.
        let weights: Vec<u64> = stages.iter().map(|((from_ns, until_ns), _)| until_ns - from_ns).collect();
        for ((interval, stage), ns) in stages.into_iter().zip(split(ns, weights)) {
            match stage {
                Stage::On(tid) => self.thread(tid, interval, ns, hops),
                _ => match self.served_by(request, stage, interval) {
                    Some(by) => match hops.with(by.phase) {
                        Some(hops) => self.any((interval, ns), &by.tids, &by.or_else, hops),
                        None => self.not_followed(NotFollowed::TooDeep, ns, hops),
                    },
                    None => self.not_followed(NotFollowed::NotSeen, ns, hops),
                },
            }
        }
    }

    /// Whether a thread of another program ended a sleep: what that gave was no work.
    fn is_ended_by_stranger(&self, end: SleepEnd) -> bool {
        matches!(end, SleepEnd::Thread(by) if self.known.histories.get(by).is_none())
    }

    /// All of a request's time, in order. What a thread did that only dispatches says nothing of it.
    fn stages(&self, request: &Settling) -> impl Iterator<Item = (Interval, Stage)> {
        let histories = self.known.histories;
        let dispatches = move |tid: Tid| histories.get(tid).is_some_and(History::dispatches);
        stages(request).into_iter().map(move |(interval, stage)| match stage {
            Stage::On(tid) if dispatches(tid) => (interval, Stage::Unknown),
            stage => (interval, stage),
        })
    }

    /// Who could have served a request in a stage in which it waited. `None`: that is not known. Which thread
    /// of a pool has it may not be known; while none of them is free, it waits for one.
    fn served_by(&self, request: &Settling, stage: Stage, interval: Interval) -> Option<ServedBy> {
        match stage {
            Stage::On(_) => None,
            Stage::Waits(phase) => {
                let (tids, or_else) = who_serves(self.known, request, phase);
                Some(ServedBy { phase, tids, or_else })
            }
            Stage::Unknown => {
                let tids = handed_to(self.known, request);
                let by = ServedBy { phase: Phase::PoolWait, tids, or_else: Vec::new() };
                Some(by).filter(|by| !by.tids.is_empty() && self.none_is_idle(interval, &by.tids))
            }
        }
    }

    /// A wait for one of ours that no thread of ours ended.
    pub(super) fn ended_outside(&mut self, segment: &Segment, sleep: &SegmentSleep, ns: u64, hops: Hops) {
        // Whoever writes to a pipe that is full waits for its reader.
        let writes = [WRITE.cast_signed(), WRITEV.cast_signed()].contains(&sleep.system_call);
        let is_pipe = matches!(sleep.object, Object::Descriptor { .. });
        let is_known = matches!(sleep.end, SleepEnd::Thread(_) | SleepEnd::Outside);
        if is_pipe && (writes || is_known) {
            self.leaf(self.of(segment, LeafKind::Pipe), ns, hops);
        } else if let Some(hops) = hops.with(Phase::LockWait) {
            self.not_followed(NotFollowed::Waker, ns, hops);
        } else {
            self.not_followed(NotFollowed::TooDeep, ns, hops);
        }
    }

    /// A thread ended a wait, at the end of an interval. Of a lock others may have had it before.
    pub(super) fn released(
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
        for ((interval, by), ns) in holders.into_iter().zip(split(ns, weights)) {
            self.hop(sleep.phase, by, interval, ns, hops);
        }
    }

    /// Somebody had the interpreter lock, and then perhaps another.
    pub(super) fn holders(
        &mut self,
        Holders { first, then }: Holders,
        (from_ns, until_ns): Interval,
        ns: u64,
        hops: Hops,
    ) {
        let since_ns = then.map_or(until_ns, |(since_ns, _)| since_ns.clamp(from_ns, until_ns));
        let amounts = split(ns, [since_ns - from_ns, until_ns - since_ns]);
        let stretches =
            [(first.tid, (from_ns, since_ns)), (then.map_or(0, |(_, by)| by.tid), (since_ns, until_ns))];
        for ((by, interval), ns) in stretches.into_iter().zip(amounts) {
            if by > 0 {
                self.known_hop(Phase::GilWait, by, interval, ns, hops);
            } else {
                self.holder_by_elimination(interval, ns, hops);
            }
        }
    }

    /// Who had the interpreter lock was not read. Whoever of the process computed had it, as far as that is
    /// one thread at a time.
    pub(super) fn holder_by_elimination(&mut self, interval: Interval, ns: u64, hops: Hops) {
        let hops = hops.with(Phase::GilWait).unwrap_or(hops);
        let Some(waiter) = self.steps.last().copied() else { return };
        let others = self.known.histories.of_process(waiter.tgid).iter().copied();
        let others: Vec<Tid> = others.filter(|tid| *tid != waiter.tid).take(MAX_DEPTH).collect();
        let computed = |_: Tid, part: &SegmentPart<'a>| match part.segment.did {
            Did::Ran(phase) => phase == Phase::Cpu,
            Did::Short(short) => short.ran_ns > short.gil_ns,
            // It may have computed; in the kernel hardly with the lock, but that is not known.
            Did::Unseen | Did::InKernel { .. } => true,
            Did::Queued(_) | Did::Slept(_) | Did::AsleepOrReady => false,
        };
        let found = blockers(self.known.histories, &others, interval, computed);
        self.is_incomplete |= found.is_incomplete;
        // Where two compute at once, one of them does so without the lock.
        let alone: Vec<u64> = found.busy.iter().map(|busy| busy.alone).collect();
        let rest = alone.iter().fold(Blockers::weight(interval), |rest, alone| rest.saturating_sub(*alone));
        let weights: Vec<u64> = alone.into_iter().chain([rest]).collect();
        let amounts = split(ns, weights);
        for (busy, ns) in found.busy.iter().zip(&amounts) {
            self.part((waiter.tgid, busy.tid), busy.part, *ns, hops);
        }
        self.not_followed(NotFollowed::Holder, amounts.last().copied().unwrap_or(0), hops);
    }

    /// A lock was not released in an interval.
    pub(super) fn unreleased(
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
        let since_before = sleep.since_before;
        match who_could_release(self.known, (tgid, tid), part.segment, &in_chain) {
            // By elimination.
            CouldRelease::One(by) => {
                let interval = (part.from_ns, part.until_ns);
                self.by_who_ended(|walk| walk.thread(by, interval, ns, hops));
            }
            CouldRelease::Nobody => {
                let unreleased = Some(Unreleased::NobodyCould);
                let leaf = self.of(part.segment, LeafKind::NotReleased);
                self.leaf(Leaf { unreleased, since_before, ..leaf }, ns, hops);
            }
            CouldRelease::Several(candidates) => {
                let unreleased = Some(Unreleased::Watched);
                let unknown = Leaf { unreleased, since_before, ..Leaf::not_followed(NotFollowed::Holder) };
                self.one_of(&candidates, (part, unknown), ns, hops);
            }
        }
    }
}
