//! More slots, where requests wait for one and each more would wait for itself.
//!
//! In: a [`Basis`]. Out: advice, not yet with its number; `None` where more of them would stand in another
//! line.

use super::{Cause, HeldSlots};
use crate::finding::basis::Basis;
use crate::finding::load::is_cpu_full;
use crate::finding::ratio;
use crate::model::slot::HeatRow;
use crate::server::advice::Advice;
use crate::server::{kind_named, site::Site};

/// Fewer slots than this are none.
const LEAST_HELD: f64 = 0.5;

/// Advice to have more of them.
pub(super) fn more(basis: &Basis<'_>) -> Option<Advice> {
    let slots = &basis.snapshot.slots;
    // A server that makes threads as connections come has no number of them.
    if slots.come_and_go || is_cpu_full(basis) {
        return None;
    }
    let case = match () {
        () if slots.are_loops() => "more-slots/pool",
        () if is_one_worker_full(basis) => "more-slots/one-worker",
        () => "more-slots",
    };
    let snapshot = basis.snapshot;
    let (kind, site) = (kind_named(&snapshot.server.name), Site::of(snapshot));
    let of = |case: &str| kind.advice(case, &snapshot.server, &site);
    let advice = of(case).or_else(|| of("more-slots"))?;
    let is_more = advice.moves().any(|one| one.is_up);
    is_more.then_some(advice)
}

/// Slots that requests at a cause keep, where others wait for a free one.
pub(super) fn held(basis: &Basis<'_>, cause: &Cause) -> Option<HeldSlots> {
    let slots = &basis.snapshot.slots;
    let is_of_requests = cause.endpoint.is_some_and(|endpoint| endpoint > 0);
    if !cause.is_for_slots()
        || !is_of_requests
        || slots.are_loops()
        || slots.come_and_go
        || slots.count() == 0
    {
        return None;
    }
    let itself_ns = cause.held_ns.saturating_sub(cause.inflicted_ns);
    let held = ratio(itself_ns, basis.load_ns()).min(f64::from(slots.count()));
    (held >= LEAST_HELD).then_some(HeldSlots { held, of: slots.count() })
}

/// Whether one worker is full for far longer than all are at once. Only a pool, or a worker with a queue of
/// its own, can be full while its neighbour is not: what a worker with one slot leaves, others take.
fn is_one_worker_full(basis: &Basis<'_>) -> bool {
    let rows = &basis.snapshot.slots.heat;
    let has_own_queue = Site::of(basis.snapshot).is_split;
    let share = |duration_ns: u64| ratio(duration_ns, basis.window_ns());
    let pools = rows.iter().filter(|row: &&HeatRow| rows.len() > 1 && (row.slots > 1 || has_own_queue));
    let worst = pools.map(|row| share(row.exhausted_ns)).fold(0.0, f64::max);
    worst >= basis.thresholds.exhausted_window_min_ratio
        && worst > 2.0 * share(basis.snapshot.slots.exhausted_ns)
}
