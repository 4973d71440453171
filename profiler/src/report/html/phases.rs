//! Where request time went: one bar, and a table of all phases, the unmeasured ones with their reasons.
//!
//! In: the phases of all requests. Out: a section; the table of one request's or endpoint's phases.

use std::cmp::Reverse;

use profiler_core::model::Snapshot;
use profiler_core::phase::{Phase, Phases};

use super::chart::{self, Part};
use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{phases, unit};

const COLUMNS: [Column; 4] =
    [Column::Words("phase"), Column::Number("time"), Column::Number("share"), Column::Words("what it means")];

pub(super) fn section(html: &mut Html, snapshot: &Snapshot) {
    let phases = &snapshot.requests.phases;
    let whole_ns = phases.total_ns();
    let note = format!("{} request-seconds in all", unit::request_seconds(whole_ns));
    html.section("time", "Where request time went", &note);
    if whole_ns == 0 {
        html.raw("<p>Nowhere: no request was seen.</p>");
        html.end_section();
        return;
    }
    chart::stacked(html, "tall", &chart::parts(phases), whole_ns);
    table::begin(html, "Time of all requests, by phase", &COLUMNS, true);
    for (phase, duration_ns) in longest_first(phases) {
        let at = |key: &str| format!("/phases/{}/{key}", phase.name());
        named(html, phase.name());
        html.number_at(&at("total_ns"), duration_ns, &unit::duration(duration_ns, Charset::Unicode));
        let share = unit::percent(summary::ratio(duration_ns, whole_ns));
        html.share_at(&at("share_ratio"), (duration_ns, whole_ns), &share);
        html.words(phases::meaning(phase)).end_row();
    }
    table::end(html);
    let empty = Phase::ALL.into_iter().filter(|phase| phases.get(*phase) == 0);
    let (unmeasured, silent): (Vec<Phase>, Vec<Phase>) =
        empty.partition(|phase| summary::not_measured(snapshot, *phase).is_some());
    for (label, of) in [("No time in: ", silent), ("Not measured: ", unmeasured)] {
        if !of.is_empty() {
            let names: Vec<&str> = of.into_iter().map(Phase::name).collect();
            html.raw("<p class=\"note\">").raw(label).text(&names.join(", ")).raw("</p>");
        }
    }
    html.end_section();
}

/// The first cell of a row that is about a phase or a holding.
pub(super) fn named(html: &mut Html, name: &'static str) {
    html.raw("<tr><th scope=\"row\">");
    chart::swatch(html, name);
    html.raw("</th>");
}

/// Phases above zero, longest first.
fn longest_first(phases: &Phases) -> Vec<(Phase, u64)> {
    let mut rows: Vec<(Phase, u64)> = phases.iter().collect();
    rows.sort_by_key(|(phase, duration_ns)| (Reverse(*duration_ns), *phase));
    rows
}

/// The phases of one request or endpoint, which stand in the JSON report below `pointer`.
pub(super) fn detail(html: &mut Html, caption: &'static str, phases: &Phases, pointer: &str) {
    let whole_ns = phases.total_ns();
    chart::stacked(html, "tall", &chart::parts(phases), whole_ns);
    table::begin(html, caption, &COLUMNS, false);
    for (phase, duration_ns) in longest_first(phases) {
        named(html, phase.name());
        html.number_at(
            &format!("{pointer}/{}", phase.name()),
            duration_ns,
            &unit::duration(duration_ns, Charset::Unicode),
        );
        html.number(&unit::percent(summary::ratio(duration_ns, whole_ns)));
        html.words(phases::meaning(phase)).end_row();
    }
    table::end(html);
}

/// The bar of one request or endpoint.
pub(super) fn bar(html: &mut Html, phases: &Phases) {
    let parts: Vec<Part> = chart::parts(phases);
    chart::stacked(html, "thin", &parts, phases.total_ns());
}
