//! What a look at a thread in its sleep adds: who stands at the other end, and what it waits for by name.
//!
//! In: a sleep that stands behind a wait, and a look that was taken within it. Out: hops to threads of the
//! target that no record names; leaves with names.

use super::candidates::MAX_CANDIDATES;
use super::{Follower, Interval};
use crate::event::Tid;
use crate::fact::asleep::{ObjectSeen, SleepState};
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::leaves::LeafNote;
use crate::machine::chain::looks::{AsleepLook, port_of};
use crate::machine::chain::segment::{Did, Segment, SegmentSleep, SleepEnd, is_file_lock};
use crate::model::chain::{Hops, Leaf, LeafKind, NotFollowed, Object};
use crate::phase::Phase;

/// A sleep that stands behind a wait, with a look that was taken within it.
#[derive(Clone, Copy)]
pub(super) struct LookedAt<'a> {
    /// Process and thread.
    pub of: (Tid, Tid),
    pub part: SegmentPart<'a>,
    pub sleep: SegmentSleep,
    pub look: &'a AsleepLook,
}

impl<'a> Follower<'a> {
    /// Goes on by what a look saw. `false`: it adds nothing to who ended the sleep.
    pub(super) fn looked(&mut self, at: LookedAt<'a>, ns: u64, hops: Hops) -> bool {
        let end_ns = at.part.segment.end_ns;
        if matches!(at.sleep.end, SleepEnd::Thread(by) if self.has_released(at.of.0, by, end_ns)) {
            return false;
        }
        let phase = at.sleep.phase;
        // A lock on a file, a pipe and a child are waited for in calls that have no phase of their own, too.
        let is_hidden = phase == Phase::Unexplained;
        let (kind, hop) = match &at.look.seen.object {
            _ if at.look.seen.state == SleepState::MemoryMap => (LeafKind::KernelLock, None),
            Some(ObjectSeen::Tcp { .. } | ObjectSeen::Unix { .. }) => {
                return self.own_connection(at, ns, hops);
            }
            Some(ObjectSeen::FileLock { .. }) if phase == Phase::FileWait || is_hidden => {
                (LeafKind::FileLock, Some(Phase::FileWait))
            }
            Some(ObjectSeen::FileLock { .. }) if phase == Phase::Sleep => (LeafKind::FileLock, None),
            Some(ObjectSeen::Pipe { .. })
                if matches!(phase, Phase::LockWait | Phase::FileWait) || is_hidden =>
            {
                // Which thread of its own process did not write, or read, is told by the records.
                if self.known.ends_inside(at.of.0, at.look) {
                    return false;
                }
                (LeafKind::Pipe, Some(Phase::LockWait))
            }
            Some(ObjectSeen::Child(child)) if phase == Phase::ChildWait => {
                (LeafKind::Child, self.is_own_program(child.tgid).then_some(Phase::ChildWait))
            }
            Some(ObjectSeen::File(_)) if at.look.seen.state == SleepState::PageFault => {
                (LeafKind::PageFault, None)
            }
            Some(ObjectSeen::File(_)) if phase == Phase::FileWait || is_hidden => (LeafKind::File, None),
            _ => return false,
        };
        if let Some(hop) = hop
            && self.other_process(at, hop, ns, hops)
        {
            return true;
        }
        let leaf = self.of(at.part.segment, kind);
        let (leaf, note) = self.named(leaf, at.of.0, (at.part, at.sleep), Some(at.look));
        self.noted(leaf, ns, hops, &note);
        true
    }

    /// Whether a child is one of the server's own processes, and no other program.
    pub(super) fn is_own_program(&self, tid: Tid) -> bool {
        self.known.histories.get(tid).is_some_and(|history| !history.is_other_program)
    }

    /// Names what a leaf waited for, as a look saw it.
    pub(super) fn named(
        &self,
        mut leaf: Leaf,
        tgid: Tid,
        (part, sleep): (SegmentPart<'a>, SegmentSleep),
        look: Option<&AsleepLook>,
    ) -> (Leaf, LeafNote) {
        let is_shared = sleep.connection > 0 && (self.known.is_shared)(sleep.connection)
            || look.is_some_and(|look| self.known.looks.is_shared(look));
        let mut seen = look.and_then(|look| look.object);
        match look.and_then(|look| look.seen.object.as_ref()) {
            // Connections are distinguished by their port, looked at or not.
            Some(ObjectSeen::Tcp { peer, .. }) if leaf.object == Object::Unknown => {
                leaf.object = port_of(peer).map_or(Object::Unknown, |port| Object::Peer { port });
            }
            None | Some(ObjectSeen::Tcp { .. } | ObjectSeen::Anonymous { .. }) => {}
            Some(_) => leaf.object = seen.map_or(leaf.object, |number| Object::Named { number }),
        }
        let (tids, call) = (self.known.histories.of_process(tgid), sleep.system_call.cast_unsigned());
        if seen.is_none() && (sleep.polls_file_lock || leaf.kind == LeafKind::FileLock) {
            seen = self.known.looks.file_lock_about(tids, call, part.segment.start_ns);
            leaf.object = seen.map_or(leaf.object, |number| Object::Named { number });
        }
        if seen.is_none() && (leaf.kind == LeafKind::File || leaf.kind == LeafKind::Pipe) {
            seen = self.known.looks.pipe_opened_about(tids, call, part.segment.start_ns);
            if let Some(number) = seen {
                (leaf.kind, leaf.object) = (LeafKind::Pipe, Object::Named { number });
            }
        }
        if seen.is_none()
            && leaf.kind == LeafKind::Child
            && let SleepEnd::Thread(by) = sleep.end
        {
            seen = self.known.histories.get(by).and_then(|history| history.program);
            leaf.object = seen.map_or(leaf.object, |number| Object::Named { number });
        }
        (leaf, LeafNote { is_shared, seen, ..LeafNote::default() })
    }

    /// The other end of a connection is the target itself, or a listener of its own. `false`: it is not.
    fn own_connection(&mut self, at: LookedAt<'a>, ns: u64, hops: Hops) -> bool {
        let Some(there) = self.known.served_by_itself(at.look) else { return false };
        let Some(hops) = hops.with(Phase::BackendWait) else {
            self.not_followed(NotFollowed::TooDeep, ns, hops);
            return true;
        };
        let interval = (at.part.from_ns, at.part.until_ns);
        let connection = at.look.own_port().map_or(at.sleep.connection, u64::from);
        if let Some(request) = self.request_over(connection, interval) {
            self.request(request, interval, ns, hops);
            return true;
        }
        // No request came over it: who has accepted it stands behind it, or who accepts there.
        self.any_there(there, (interval, ns), hops);
        true
    }

    /// A request of the target to itself, of which is known only who could serve it.
    pub(super) fn any_there(&mut self, there: &[Tid], (interval, ns): (Interval, u64), hops: Hops) {
        let is_slot = |tid: &Tid| self.known.histories.get(*tid).is_some_and(|history| history.is_slot);
        let slots: Vec<Tid> = there.iter().copied().filter(is_slot).collect();
        match (slots.as_slice(), there) {
            ([], []) => self.not_followed(NotFollowed::Acceptors, ns, hops),
            ([], there) => self.any((interval, ns), there, &[], hops),
            (slots, _) => self.any((interval, ns), slots, &[], hops),
        }
    }

    /// A process of the target stands at the other end: on to the one thread of it that was busy at the
    /// moment of the look, or to any of several. `false`: the process is none of ours.
    fn other_process(&mut self, at: LookedAt<'a>, hop: Phase, ns: u64, hops: Hops) -> bool {
        let [other] = self.known.looks.others(at.look) else { return false };
        if !self.known.has_process(other.tgid) {
            return false;
        }
        let at_ns = at.look.at_ns;
        // What was so as the trace began is so in all of a wait since before.
        let moments = if at_ns < at.part.from_ns {
            (at.part.from_ns, at.part.until_ns)
        } else {
            (at_ns, at_ns.saturating_add(1))
        };
        // Who waits for the same lock does not have it.
        let waits_too = |tid: Tid, segment: &Segment| match segment.did {
            Did::Slept(sleep) if hop == Phase::FileWait && is_file_lock(sleep.system_call) => {
                let look = self.known.looks.within(tid, (segment.start_ns, segment.end_ns));
                look.is_none_or(|look| look.object.is_none() || look.object == at.look.object)
            }
            _ => false,
        };
        let could = |tid: &Tid| {
            let busy = |part: SegmentPart<'_>| !part.segment.is_idle() && !waits_too(*tid, part.segment);
            let history = self.known.histories.get(*tid).filter(|_| *tid != at.of.1);
            history.is_some_and(|history| {
                history.lives_at(at_ns) && history.within(moments.0, moments.1).all(busy)
            })
        };
        let tids = self.known.histories.of_process(other.tgid).iter().copied();
        let candidates: Vec<Tid> = tids.filter(could).take(MAX_CANDIDATES + 1).collect();
        let unknown = Leaf::not_followed(NotFollowed::Holder);
        if let [by] = *candidates {
            self.known_hop(hop, by, (at.part.from_ns, at.part.until_ns), ns, hops);
        } else if let Some(hops) = hops.with(hop) {
            self.one_of(&candidates, (at.part, unknown), ns, hops);
        } else {
            self.not_followed(NotFollowed::TooDeep, ns, hops);
        }
        true
    }
}
