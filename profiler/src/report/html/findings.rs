//! Verdicts: worst first, then what is undecided and why, then what is ruled out.
//!
//! In: findings and the snapshot they are about. Out: a section.

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::unit;

pub(super) fn section(html: &mut Html, snapshot: &Snapshot, findings: &[Finding]) {
    let ordered = summary::worst_first(findings);
    let of = |wanted: fn(&Answer) -> bool| {
        let rules = ordered.iter().copied().enumerate().filter(|(_, finding)| finding.id != summary::HEALTHY);
        rules.filter(|(_, finding)| wanted(&finding.answer)).collect::<Vec<(usize, &Finding)>>()
    };
    let present = of(|answer| *answer == Answer::Present);
    let undecided = of(|answer| matches!(answer, Answer::Undecided { .. }));
    let absent = of(|answer| *answer == Answer::Absent);
    let note =
        format!("{} present, {} undecided, {} ruled out", present.len(), undecided.len(), absent.len());
    html.section("findings", "Findings", &note);
    if present.is_empty() {
        let healthy = ordered.iter().find(|finding| finding.id == summary::HEALTHY);
        nothing_found(html, snapshot, healthy.copied());
    }
    for (index, finding) in &present {
        html.raw("<article class=\"finding\">");
        html.raw("<h3>").text(finding.id).raw(" <span class=\"cost\">cost ");
        html.text(&unit::request_seconds(finding.cost_ns)).raw(" request-seconds</span></h3>");
        html.element("p", &finding.sentence);
        if !finding.advice.is_empty() {
            html.raw("<p class=\"advice\"><strong>What to do:</strong> ").text(&finding.advice).raw("</p>");
        }
        exemplars(html, snapshot, finding);
        evidence(html, *index, finding);
        html.raw("</article>");
    }
    for (index, finding) in &undecided {
        let Answer::Undecided { reason } = &finding.answer else { continue };
        html.raw("<article class=\"finding undecided\"><h3>").text(finding.id);
        html.raw(" <span class=\"cost\">undecided</span></h3>").element("p", reason);
        if !finding.advice.is_empty() {
            html.raw("<p class=\"advice\"><strong>What to do:</strong> ").text(&finding.advice).raw("</p>");
        }
        evidence(html, *index, finding);
        html.raw("</article>");
    }
    if !absent.is_empty() {
        let ids: Vec<&str> = absent.iter().map(|(_, finding)| finding.id).collect();
        html.raw("<details><summary>Ruled out: ").text(&ids.join(", ")).raw("</summary>");
        for (index, finding) in &absent {
            html.element("h3", finding.id).element("p", &finding.sentence);
            evidence(html, *index, finding);
        }
        html.raw("</details>");
    }
    html.end_section();
}

fn nothing_found(html: &mut Html, snapshot: &Snapshot, healthy: Option<&Finding>) {
    let requests = &snapshot.requests;
    if requests.completed == 0 && requests.open == 0 {
        html.raw("<p class=\"doubt\">No request was seen in the window: nothing can be said. Is this the right process, ");
        html.raw("and is there traffic? A longer --duration may help.</p>");
        return;
    }
    match healthy.map(|finding| (&finding.answer, finding)) {
        Some((Answer::Present, finding)) => {
            html.raw("<p class=\"good\">").text(&finding.sentence).raw("</p>");
        }
        Some((Answer::Undecided { reason }, _)) => {
            html.raw("<p class=\"doubt\">Nothing wrong found, but that is not certain: ")
                .text(reason)
                .raw(".</p>");
        }
        Some((Answer::Absent, _)) | None => {
            html.raw("<p class=\"doubt\">Nothing wrong found by the rules that were run.</p>");
        }
    }
}

/// Requests to look at; those that are on the page are linked, the script finds the others on the timeline.
fn exemplars(html: &mut Html, snapshot: &Snapshot, finding: &Finding) {
    if finding.exemplars.is_empty() {
        return;
    }
    html.raw("<p>See");
    for id in &finding.exemplars {
        let shown = format!("#{id}");
        html.raw(" ");
        if snapshot.requests.slowest.iter().any(|request| request.id == *id) {
            html.raw("<a").attribute("href", &format!("#request-{id}")).raw(">").text(&shown).raw("</a>");
        } else {
            html.raw("<span class=\"exemplar\"").attribute("data-request", &id.to_string()).raw(">");
            html.text(&shown).raw("</span>");
        }
    }
    html.raw("</p>");
}

fn evidence(html: &mut Html, index: usize, finding: &Finding) {
    const COLUMNS: [Column; 3] =
        [Column::Words("measured"), Column::Number("value"), Column::Number("present from")];
    if finding.evidence.is_empty() {
        return;
    }
    html.raw("<details><summary>Evidence");
    html.raw(" (").text(&unit::counted(finding.count, "request")).raw(")</summary>");
    table::begin(html, "What the verdict rests on", &COLUMNS, false);
    for (place, evidence) in finding.evidence.iter().enumerate() {
        let (name, value) = unit::measured(evidence.name, evidence.value, Charset::Unicode);
        let threshold =
            evidence.threshold.map(|limit| unit::measured(evidence.name, limit, Charset::Unicode).1);
        html.row(&name).raw("<td class=\"number\"><data");
        html.attribute("data-json", &format!("/findings/{index}/evidence/{place}/value"));
        html.attribute("value", &evidence.value.to_string()).raw(">").text(&value).raw("</data></td>");
        html.number(threshold.as_deref().unwrap_or("-")).end_row();
    }
    table::end(html);
    html.raw("</details>");
}
