//! What all slots share and is used up: whether more of them would shorten the line.
//!
//! In: a [`Basis`], and what the rules on the CPU say of it. Out: [`Full`], and what to do about the GIL
//! where it is the cores.

use super::basis::{Basis, NextStep};
use super::cause::{CpuShort, cpu_short};
use super::words::ratio;
use super::{cpu_bound, cpu_throttled, gil};
use crate::server::advice::act;

/// What all slots share and is used up, so that with more of them the line would only stand somewhere else:
/// it is waited for, not the slots.
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

/// What to do for threads that wait for one another where the cores are used up: with fewer of them requests
/// wait for a thread instead. With half of sixteen threads as many were answered, and p99 rose from 198 to
/// 245 ms (`make mixes`, seed 18).
pub(super) fn where_cores_are_full(basis: &Basis<'_>) -> Option<NextStep> {
    (full(basis) == Full::Cores).then_some(NextStep::For {
        case: "cores",
        otherwise: || {
            act("first do what cpu-bound advises")
                .because(
                    "all cores are used up, and with fewer threads requests would wait for a thread instead",
                )
                .into()
        },
    })
}
