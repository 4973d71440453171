//! The end of the page: what was not seen, what was lost, what the profiler cost.
//!
//! In: those parts of a snapshot. Out: a section each, in the words of the text report.

use profiler_core::model::Snapshot;

use super::markup::Html;
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{cost, losses, unit, unseen};

pub(super) fn unseen(html: &mut Html, snapshot: &Snapshot) {
    html.section("unseen", "Not seen", "Silence about these does not mean health.");
    html.entries(&unseen::entries(snapshot));
    html.end_section();
}

pub(super) fn losses(html: &mut Html, snapshot: &Snapshot) {
    let complete = !snapshot.coverage.losses.any();
    html.section("losses", "Losses", if complete { "" } else { "This report is incomplete." });
    html.entries(&losses::lost(&snapshot.coverage.losses));
    if complete {
        html.raw("<p>Nothing was lost.</p>");
    }
    html.entries(&losses::laws(snapshot, Charset::Unicode));
    html.end_section();
}

pub(super) fn cost(html: &mut Html, snapshot: &Snapshot) {
    html.section("cost", "Own cost", "");
    match (&snapshot.coverage.overhead, summary::cost(snapshot)) {
        (Some(overhead), Some(cost)) => {
            let of_one_cpu = summary::ratio(cost.total_ns, snapshot.window.length_ns());
            let shown = unit::duration(cost.total_ns, Charset::Unicode);
            html.raw("<p>").figure("/overhead/total_ns", cost.total_ns, &shown).raw(" in all, ");
            html.text(&unit::percent(of_one_cpu)).raw(" of one CPU.</p>");
            html.entries(&cost::entries(overhead, cost, Charset::Unicode));
        }
        _ => {
            html.raw("<p>Not measured: ").raw(summary::OVERHEAD_NOT_MEASURED).raw(".</p>");
        }
    }
    html.end_section();
}
