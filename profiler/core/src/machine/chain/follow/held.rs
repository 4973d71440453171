//! The walk to who has a lock, where a look saw that.
//!
//! In: a wait for a lock. Out: the thread that had taken it and slept meanwhile: who sleeps gives nothing
//! back.

use profiler_common::system_call::FUTEX;

use super::Follower;
use crate::event::Tid;
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::looks::AsleepLook;
use crate::machine::chain::segment::SegmentSleep;
use crate::model::chain::Object;

/// Who slept with a lock for such a part of a wait for it had it all the time: a half.
const PART_MIN: u64 = 2;

impl<'a> Follower<'a> {
    /// The thread of a process that had the lock for which another waited.
    pub(super) fn holder_seen(
        &self,
        (tgid, tid): (Tid, Tid),
        part: SegmentPart<'a>,
        sleep: &SegmentSleep,
        look: Option<&AsleepLook>,
    ) -> Option<Tid> {
        let lock = match sleep.object {
            Object::Futex { address } => address,
            _ => look.filter(|look| look.seen.system_call == Some(FUTEX))?.seen.arguments.first().copied()?,
        };
        let by = self.known.looks.holder(tgid, lock).filter(|by| *by != tid)?;
        let middle_ns = part.from_ns + part.length_ns() / 2;
        let then =
            self.known.histories.get(by)?.within(middle_ns, middle_ns.saturating_add(1)).next()?.segment;
        let together_ns = then.end_ns.min(part.until_ns).saturating_sub(then.start_ns.max(part.from_ns));
        let has_it = self.look(by, then).is_some_and(|look| look.seen.locks.contains(&lock));
        (has_it && together_ns.saturating_mul(PART_MIN) >= part.length_ns()).then_some(by)
    }
}
