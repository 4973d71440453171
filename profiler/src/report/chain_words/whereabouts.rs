//! Where in Python single requests were, in words.
//!
//! In: whereabouts of requests (hostile names). Out: clauses that name a line.

use profiler_common::system_call;
use profiler_core::model::chain::Chains;
use profiler_core::model::whereabouts::WasIn;

use super::{line_at, lines};
use crate::report::escape::Charset;
use crate::report::unit;

/// What a request was in as its process ended: `it was in shop/pay.py:31 fetch (recvfrom) for 30.0 s`, or
/// `it was computing in shop/views.py:88 report (2,940 of 3,000 samples)`. `None`: not known.
pub(crate) fn was_in(chains: &Chains, request: u64) -> Option<String> {
    let of = chains.whereabouts_of(request)?;
    let was = of.was?;
    let at = at(chains, was.place())?;
    Some(match was {
        WasIn::Asleep { system_call, slept_ns, .. } => {
            let call = system_call.map_or_else(String::new, |call| format!(" ({})", system_call::name(call)));
            format!("it was in {at}{call} for {}", unit::duration(slept_ns, Charset::Unicode))
        }
        WasIn::Computing(most) => {
            format!("it was computing in {at} ({})", samples(most.samples, of.computed.samples))
        }
    })
}

/// Where a request computed most: `31 of 40 samples at shop/views.py:88 report`. `None`: there are too few
/// samples.
pub(crate) fn computed(chains: &Chains, request: u64) -> Option<String> {
    let (computed, most) = chains.computed_most(request)?;
    Some(format!("{} at {}", samples(most.samples, computed.samples), at(chains, most.place)?))
}

/// The application's own lines at a place, or else the innermost of all.
fn at(chains: &Chains, place: u32) -> Option<String> {
    lines(chains, Some(place)).or_else(|| line_at(chains, place))
}

fn samples(part: u64, all: u64) -> String {
    format!("{} of {}", unit::count(part), unit::counted(all, "sample"))
}
