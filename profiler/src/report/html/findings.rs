//! Verdicts: the headline; causes first, with what follows from them; then what is undecided and why, then what is ruled out.
//!
//! In: findings and the snapshot they are about. Out: the first line of the page, a section.

use profiler_core::finding::follows::{Ranked, by_cause};
use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary::{self, Headline};
use crate::report::text::unit;

pub(super) fn section(html: &mut Html, snapshot: &Snapshot, findings: &[Finding]) {
    // Places are those of the JSON report.
    let ordered = summary::worst_first(findings);
    let of = |wanted: fn(&Answer) -> bool| {
        let rules = ordered.iter().copied().enumerate().filter(|(_, finding)| finding.id != summary::HEALTHY);
        rules.filter(|(_, finding)| wanted(&finding.answer)).collect::<Vec<(usize, &Finding)>>()
    };
    let present = by_cause(findings);
    let undecided = of(|answer| matches!(answer, Answer::Undecided { .. }));
    let absent = of(|answer| *answer == Answer::Absent);
    let note =
        format!("{} present, {} undecided, {} ruled out", present.len(), undecided.len(), absent.len());
    html.section("findings", "Findings", &note);
    for Ranked { finding, depth } in present {
        let index = ordered.iter().position(|other| other.id == finding.id).unwrap_or_default();
        html.raw(if depth == 0 {
            "<article class=\"finding\""
        } else {
            "<article class=\"finding follows\""
        });
        html.attribute("id", &format!("finding-{}", finding.id)).raw(">");
        html.raw("<h3>").text(finding.id).raw(" <span class=\"cost\">cost ");
        html.text(&unit::request_seconds(finding.cost_ns)).raw(" request-seconds");
        if let Some(cause) = summary::follows(finding).filter(|_| depth > 0) {
            html.raw(", ").text(&cause);
        }
        html.raw("</span></h3>");
        html.element("p", &finding.sentence);
        if !finding.advice.is_empty() {
            html.raw("<p class=\"advice\"><strong>What to do:</strong> ").text(&finding.advice).raw("</p>");
        }
        exemplars(html, snapshot, finding);
        evidence(html, index, finding);
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

/// The first line of the page: the cause and what to change, or that nothing is wrong.
pub(super) fn headline(html: &mut Html, snapshot: &Snapshot, findings: &[Finding]) {
    match summary::headline(snapshot, findings) {
        Headline::Wrong { id, cause, change } => {
            html.raw("<p class=\"verdict bad\"><a").attribute("href", &format!("#finding-{id}")).raw(">");
            html.text(&cause).raw("</a>");
            if !change.is_empty() {
                html.raw(" → ").text(&change);
            }
            html.raw(".</p>");
        }
        Headline::Healthy(text) => {
            html.raw("<p class=\"verdict good\">").text(&text).raw("</p>");
        }
        Headline::NoTraffic(text) | Headline::Unsure(text) => {
            html.raw("<p class=\"verdict doubt\">").text(&text).raw("</p>");
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
