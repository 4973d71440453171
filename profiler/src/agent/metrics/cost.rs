//! What watching takes of the machine, where that has a limit.
//!
//! In: what stands on the board. Out: metrics; none without a limit.

use std::fmt;

use profiler_core::fact::left_out::Part;

use super::Out;
use crate::agent::cost::CostNow;

pub(super) fn encode(cost: Option<&CostNow>, out: &mut Out<'_, '_>) -> fmt::Result {
    let Some(cost) = cost else { return Ok(()) };
    let help = "What may be taken of all CPUs of the machine (--max-cost)";
    out.gauge("max_cost_ratio", help, None, cost.max_ratio)?;
    if let Some(ratio) = cost.ratio {
        let help = "What is taken of all CPUs of the machine: by the programs and by the agent";
        out.gauge("cost_ratio", help, None, ratio)?;
    }
    let is_left_out = |part: Part| cost.left_out.iter().any(|left_out| left_out.what == part);
    let flags = Part::ALL.map(|part| (part.name(), is_left_out(part)));
    out.flags(("left_out", "Left out to take no more than that"), "what", flags)
}
