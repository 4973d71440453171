//! Stacks of threads that had the interpreter lock, or waited for it: what is kept of them, and how many.
//!
//! In: nothing by itself. Out: their types and bounds.

use std::sync::Arc;

use crate::event::Tid;
use crate::model::gil_place::Spot;

/// Stacks distinguished in a window.
pub(in crate::machine) const MAX_STACKS: usize = 16_384;
/// Threads whose last sample is kept.
pub(in crate::machine) const MAX_PENDING: usize = 16_384;
/// Places that the report lists, of holders and of waiters.
pub(in crate::machine) const MAX_LISTED: usize = 20;

/// A process's stack, innermost first: addresses of code object and instruction, and how many others had the
/// same place before.
pub(in crate::machine) type Stack = (Tid, Arc<[(u64, u64, u32)]>);
/// A stack by its names: the innermost function, and from where it was called.
pub(in crate::machine) type Named<'a> = (&'a Spot, Option<&'a Spot>);

/// Cuts a list to what the report lists, and returns the time of the rest.
pub(in crate::machine) fn cut<T>(
    costliest_first: &mut Vec<T>,
    most: usize,
    wait_ns: impl Fn(&T) -> u64,
) -> u64 {
    let rest = costliest_first.drain(most.min(costliest_first.len())..);
    rest.fold(0u64, |sum, one| sum.saturating_add(wait_ns(&one)))
}
