//! Who waits for a slot at this moment, as Prometheus metrics.
//!
//! In: a view of the open window. Out: gauges. What has not ended is in them: with every slot stuck they say
//! so at once.

use std::fmt;

use profiler_core::verdict::MoreSlotsHelp;
use prometheus_client::registry::Unit as Suffix;

use super::Out;
use crate::agent::board::View;
use crate::report::summary;

/// Who waits for a slot now, who is served, and whether more slots would help.
pub(super) fn encode(out: &mut Out<'_, '_>, view: &View) -> fmt::Result {
    let (open, slots) = (&view.snapshot.requests.open, &view.snapshot.slots);
    if !summary::is_line_measured(&view.snapshot) {
        return Ok(());
    }
    out.gauge("slots_busy", "Slots that are busy now", None, f64::from(slots.busy_at_end))?;
    let help = "Requests that nobody serves yet, those in accept queues included";
    let in_line = summary::in_line(&view.snapshot);
    out.gauge("requests_in_line", help, None, in_line as f64)?;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let unit = || Some(Suffix::Seconds);
    let help = "For how long the first request in line has waited; 0: there is none";
    out.gauge("request_in_line_longest", help, unit(), seconds(open.in_line.longest_ns))?;
    let help = "For how long the longest of the requests that are served has been there; 0: there is none";
    out.gauge("request_served_longest", help, unit(), seconds(open.served_longest_ns))?;
    if let Some(demand) = summary::demand_ratio(&view.snapshot) {
        let help = "Slots that are wanted now, by those that there are: busy ones, and one for each in line";
        out.gauge("slot_demand_ratio", help, None, demand)?;
    }
    let help = "Whether more workers or threads would help those that wait, by the open window";
    let is = |answer: MoreSlotsHelp| (answer.name(), view.verdict.more_slots_help == answer);
    out.flags(("more_slots_help", help), "answer", MoreSlotsHelp::ALL.map(is))
}
