//! The next slice of a thread: the thread itself, and whether the slice can follow the one before.
//!
//! In: slices in the order of time. Out: a new thread; what can be true of a slice that breaks the laws.

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::{Head, Slice, Tid};
use crate::machine::driver::meaning;
use crate::machine::driver::state::MAX_OPEN;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::exchange;
use crate::machine::runtime::job;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::time::row::Continuity;
use crate::machine::time::state::Time;
use crate::machine::world::classify::{Idle, Touch, classify};

/// Threads followed at once.
const MAX_THREADS: usize = 16_384;

/// The capture that came with a slice.
#[inline]
pub(super) fn take_head(
    heads: &mut BoundedMap<Tid, Head, MAX_OPEN>,
    tid: Tid,
    sequence: u32,
) -> Option<Head> {
    // Most slices have none.
    let head = if heads.is_empty() { None } else { heads.remove(&tid) };
    head.filter(|head| head.sequence == sequence)
}

/// The first slice of a thread. `initial`: what it was in the middle of when it was first seen. `None`: there
/// is no room for the thread.
#[cold]
pub(super) fn begin_thread(
    context: &mut LedgerContext<'_>,
    initial: &mut FxHashMap<Tid, Slice>,
    slice: &Slice,
) -> Option<Box<Thread>> {
    if context.runtime.threads.len() >= MAX_THREADS {
        context.evict();
        return None;
    }
    context.runtime.threads.enter(slice.tid);
    // Its first slice may claim to begin after its end.
    let since_ns = slice.within(0).gap_start_ns();
    let mut thread =
        Box::new(Thread { tgid: slice.tgid, busy_since_ns: Some(since_ns), since_ns, ..Thread::default() });
    if let Some(initial) = initial.remove(&slice.tid) {
        begin_within(context, &mut thread, &initial, slice);
    }
    Some(thread)
}

/// A thread that was inside a call when it was first seen: the call ended where its first slice's gap starts.
fn begin_within(context: &mut LedgerContext<'_>, thread: &mut Thread, initial: &Slice, next: &Slice) {
    if initial.system_call == u32::MAX {
        return;
    }
    let meaning = classify(initial, &context.world.descriptors, |_| false);
    let until_ns = thread.since_ns;
    thread.since_ns = context.watch_start_ns.min(until_ns);
    if meaning.idle == Idle::No && !job::was_for_its_turn(initial.system_call, next) {
        let mut piece = Piece::unknown(thread.since_ns, until_ns);
        let number = meaning::touched(context.view(), thread.tgid, &meaning);
        piece.holding = Some(meaning::holding(context.view(), number, &meaning));
        thread.pending.push(piece);
        thread.busy_since_ns = Some(thread.since_ns);
        thread.job.work_start_ns = Some(thread.since_ns);
        if let (Some((_, Touch::Write)), Some(number)) = (meaning.touch, number) {
            exchange::write_within(context, thread, number, &Slice { exit_ns: until_ns, ..*initial });
        }
    } else {
        thread.job.work_start_ns = Some(until_ns);
    }
}

/// A slice that does not simply follow the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Break {
    /// What it lacks.
    continuity: Continuity,
    /// End of the slice before.
    before_ns: u64,
}

/// Checks a slice against those before it, and adds it up. `None`: nearly always it follows them, and adds up
/// itself.
#[inline]
pub(super) fn follows(time: &mut Time, thread: &mut Thread, slice: &Slice) -> Option<Break> {
    let before_ns = thread.row.last_exit_ns;
    let continuity = thread.continue_with(slice);
    time.conservation.slices = time.conservation.slices.saturating_add(1);
    if continuity.is_none() {
        add_up(time, thread, slice);
    }
    continuity.map(|continuity| Break { continuity, before_ns })
}

/// Adds a slice to its thread's account, without the part that lies before the window.
#[inline]
pub(super) fn add_up(time: &mut Time, thread: &mut Thread, slice: &Slice) {
    thread.add_up(slice, time.carried_of(slice.tid, slice.sequence));
}

/// What can be true of a slice.
#[derive(Debug)]
pub(super) struct Repaired {
    /// Of one that breaks the laws, the part that keeps them.
    pub slice: Option<Box<Slice>>,
    /// Slices were lost in this stretch.
    pub lost: Option<(u64, u64)>,
}

/// A slice that does not simply follow the one before.
#[cold]
pub(super) fn repair(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    Break { continuity, before_ns }: Break,
) -> Repaired {
    let repaired = continuity.broken.then(|| Box::new(slice.within(before_ns)));
    let sound = repaired.as_deref().unwrap_or(slice);
    add_up(context.time, thread, sound);
    let laws = &mut context.time.conservation;
    laws.slices_broken = laws.slices_broken.saturating_add(u64::from(continuity.broken));
    laws.undecided_ns = laws.undecided_ns.saturating_add(continuity.undecided_ns);
    context.time.sequence_holes = context.time.sequence_holes.saturating_add(u64::from(continuity.missing));
    let mut lost = None;
    if let Some((from_ns, to_ns)) = continuity.hole {
        let to_ns = to_ns.min(sound.gap_start_ns());
        thread.pending.push(Piece::unknown(from_ns, to_ns));
        if continuity.missing > 0 {
            context.runtime.tasks.forget(slice.tid);
            lost = Some((from_ns, to_ns));
        }
        if let Some((number, _)) = thread.serving
            && let Some(active) = context.wire.connections.front_mut(number)
        {
            active.request.seen.lossy = true;
        }
    }
    Repaired { slice: repaired, lost }
}
