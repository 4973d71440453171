//! More slots, where requests wait for one and each more would wait for itself.
//!
//! In: a [`Basis`]. Out: whether they would help; advice, not yet with its number, `None` where more of them
//! would stand in another line.

use super::{Cause, HeldSlots, Verdict};
use crate::finding::basis::{Basis, waited_ns};
use crate::finding::load::is_cpu_full;
use crate::finding::ratio;
use crate::model::chain::LeafTime;
use crate::model::independence::Independence;
use crate::model::slot::HeatRow;
use crate::phase::Phase;
use crate::server::advice::Advice;
use crate::server::{kind_named, site::Site};

closed_list! {
    /// Whether more workers or threads would help requests that wait for one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    pub enum MoreSlotsHelp {
        Yes = "yes": "Requests wait for a free slot, and each more would wait for itself.",
        No = "no": "Hardly any request waits for a slot, or more of them would only wait as well.",
        Unknown = "unknown": "It was not measured whether more slots would help.",
    }
}

/// Fewer slots than this are none.
const LEAST_HELD: f64 = 0.5;

/// Whether more of them would help.
pub(super) fn more_help(basis: &Basis<'_>, verdict: &Verdict) -> MoreSlotsHelp {
    let (slots, chains) = (&basis.snapshot.slots, &basis.snapshot.chains);
    let waited = ratio(waited_ns(basis.phases()), basis.phases().total_ns());
    if !basis.snapshot.shows_accept_queues() {
        return MoreSlotsHelp::Unknown;
    }
    if slots.are_counted() && waited < basis.thresholds.waited_for_others_min_ratio || is_cpu_full(basis) {
        return MoreSlotsHelp::No;
    }
    let cause = verdict.cause().filter(|_| verdict.pattern.is_wrong() && slots.are_counted());
    let Some(cause) = cause.filter(|cause| cause.is_for_slots() || cause.is_serial) else {
        return MoreSlotsHelp::Unknown;
    };
    let more = &chains.more_slots;
    let is_useless = more.slots > 0 && more.most_ns() == 0;
    match cause.independence {
        _ if cause.is_serial || is_useless || would_move_the_wait(basis) => MoreSlotsHelp::No,
        // Somebody who serves no request keeps them.
        _ if cause.endpoint == Some(0) => MoreSlotsHelp::Unknown,
        Independence::Shared => MoreSlotsHelp::No,
        Independence::Independent => MoreSlotsHelp::Yes,
        Independence::Unknown => MoreSlotsHelp::Unknown,
    }
}

/// Whether requests that have a slot mostly wait for one object: with more slots, more of them would.
pub(super) fn would_move_the_wait(basis: &Basis<'_>) -> bool {
    let rows = || basis.snapshot.chains.leaves.iter();
    let has_slot =
        |row: &&LeafTime| !matches!(row.hops.iter().next(), Some(Phase::AcceptQueue | Phase::PoolWait));
    // Another process has a GIL and a loop of its own.
    let is_of_process =
        |row: &&LeafTime| row.hops.iter().any(|hop| matches!(hop, Phase::GilWait | Phase::LoopWait));
    let held_ns = |rows: &mut dyn Iterator<Item = &LeafTime>| {
        rows.fold(0_u64, |sum, row| sum.saturating_add(row.held_ns))
    };
    // One object: a lock on a file, or a lock by the line at which it is waited for.
    let object = |row: &LeafTime| (row.leaf.kind, row.leaf.object, row.waited_at);
    let serial = || rows().filter(has_slot).filter(|row| row.is_serial() && !is_of_process(row));
    let at_one = serial().map(|one| held_ns(&mut serial().filter(|row| object(row) == object(one)))).max();
    ratio(at_one.unwrap_or(0), held_ns(&mut rows().filter(has_slot))) >= basis.thresholds.named_min_ratio
}

/// Advice to have more of them.
pub(super) fn more(basis: &Basis<'_>) -> Option<Advice> {
    let slots = &basis.snapshot.slots;
    // A server that makes threads as connections come has no number of them.
    if slots.come_and_go || is_cpu_full(basis) || would_move_the_wait(basis) {
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
    if !cause.is_for_slots() || !is_of_requests || !slots.are_counted() {
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
