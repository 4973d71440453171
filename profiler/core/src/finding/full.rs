//! What all slots share and is used up: whether more of them would shorten the line.
//!
//! In: a [`Basis`], and what the rules on the CPU say of it. Out: [`Full`].

use super::basis::Basis;
use super::cause::{CpuShort, cpu_short};
use super::words::ratio;
use super::{cpu_bound, cpu_throttled, gil};

/// What all slots share and is used up, so that with more of them the line would only stand somewhere else: it is waited for,
/// not the slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Full {
    /// Nothing: more slots would shorten the line.
    No,
    /// The CPU quota.
    Quota,
    /// The cores.
    Cores,
    /// The interpreters in which this share of the slots is.
    Interpreter(f64),
}

/// What is used up. The outermost counts: without cores, another interpreter would not help either.
pub(super) fn full(basis: &Basis<'_>) -> Full {
    match cpu_short(basis) {
        CpuShort::Quota if cpu_throttled::is_present(basis) => return Full::Quota,
        CpuShort::Cores if cpu_bound::is_present(basis) => return Full::Cores,
        _ => {}
    }
    let slots = &basis.snapshot.slots.observed;
    let within = slots.iter().filter(|slot| gil::is_used_up(basis, slot.tgid)).count();
    if within == 0 { Full::No } else { Full::Interpreter(ratio(within as u64, slots.len() as u64)) }
}
