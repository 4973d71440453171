//! Findings: what is wrong, worst first, and what to do.
//!
//! In: findings, and the headroom of a snapshot for when nothing is wrong. Out: a section.

use profiler_core::finding::{Answer, Evidence, Finding};
use profiler_core::model::Snapshot;

use super::page::{Page, WIDTH};
use super::unit;
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::summary;

/// Exemplar requests named per finding.
const EXEMPLARS: usize = 5;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot, findings: &[Finding]) {
    let ordered = summary::worst_first(findings);
    let (healthy, rules): (Vec<&Finding>, Vec<&Finding>) =
        ordered.into_iter().partition(|finding| finding.id == summary::HEALTHY);
    let present: Vec<&Finding> = only(&rules, |answer| matches!(answer, Answer::Present));
    let absent: Vec<&Finding> = only(&rules, |answer| matches!(answer, Answer::Absent));
    let undecided = rules.len() - present.len() - absent.len();
    let note = [(present.len(), "present"), (undecided, "undecided"), (absent.len(), "ruled out")]
        .map(|(number, what)| format!("{number} {what}"))
        .join(", ");
    page.heading("Findings", &note);

    if present.is_empty() {
        nothing_found(page, snapshot, healthy.first().copied());
    }
    for (index, finding) in present.iter().enumerate() {
        if index > 0 {
            page.blank();
        }
        one(page, index + 1, finding);
    }
    open_questions(page, &rules);
    if !absent.is_empty() {
        let ids: Vec<&str> = absent.iter().map(|finding| finding.id).collect();
        page.blank();
        page.paragraph(
            (Role::Quiet, "    "),
            (Some(Role::Quiet), &format!("Ruled out: {}.", ids.join(", "))),
        );
    }
}

fn only<'a>(findings: &[&'a Finding], wanted: fn(&Answer) -> bool) -> Vec<&'a Finding> {
    findings.iter().copied().filter(|finding| wanted(&finding.answer)).collect()
}

/// What could not be decided, those with the same reason together.
fn open_questions(page: &mut Page, rules: &[&Finding]) {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in rules {
        let Answer::Undecided { reason } = &finding.answer else { continue };
        match groups.iter_mut().find(|(other, _)| other == reason) {
            Some((_, ids)) => ids.push(finding.id),
            None => groups.push((reason, vec![finding.id])),
        }
    }
    if !groups.is_empty() {
        page.blank();
    }
    for (reason, ids) in groups {
        let text = format!("Undecided: {} ({reason}).", ids.join(", "));
        page.paragraph((Role::Doubt, " ?  "), (None, &text));
    }
}

/// What there is to say when no rule found anything.
fn nothing_found(page: &mut Page, snapshot: &Snapshot, healthy: Option<&Finding>) {
    let requests = &snapshot.requests;
    if requests.completed == 0 && requests.open == 0 {
        let text = "No request was seen in the window: nothing can be said. Is this the right process, and is \
                    there traffic? A longer --duration may help.";
        page.paragraph((Role::Doubt, " !  "), (None, text));
        return;
    }
    match healthy.map(|finding| (&finding.answer, finding)) {
        Some((Answer::Present, finding)) => {
            let mark = page.style.glyph(" ✓  ", " +  ");
            page.paragraph((Role::Good, mark), (Some(Role::Good), &finding.sentence));
        }
        Some((Answer::Undecided { reason }, _)) => {
            let text = format!("Nothing wrong found, but that is not certain: {reason}.");
            page.paragraph((Role::Doubt, " !  "), (None, &text));
        }
        Some((Answer::Absent, _)) | None => {
            page.paragraph((Role::Doubt, " !  "), (None, "Nothing wrong found by the rules that were run."));
        }
    }
}

fn one(page: &mut Page, number: usize, finding: &Finding) {
    let cost = format!("cost {} request-seconds", unit::request_seconds(finding.cost_ns));
    let label = format!("{number:>2}  {}", finding.id);
    let gap = WIDTH.saturating_sub(columns(&label) + columns(&cost)).max(2);
    let line =
        format!("{}{}{}", page.paint(Role::Bad, &label), " ".repeat(gap), page.paint(Role::Bad, &cost));
    page.line(&line);
    page.paragraph((Role::Quiet, "    "), (None, &finding.sentence));
    if !finding.advice.is_empty() {
        let arrow = page.style.glyph("    → ", "    > ");
        page.paragraph((Role::Good, arrow), (Some(Role::Heading), &finding.advice));
    }
    let evidence = evidence(page, finding);
    page.paragraph((Role::Quiet, "    "), (Some(Role::Quiet), &evidence));
}

/// What the verdict rests on: the limits that were passed, each with its measure; all numbers are in the JSON report.
fn evidence(page: &Page, finding: &Finding) -> String {
    let charset = page.style.charset;
    let passed =
        |evidence: &&Evidence| evidence.threshold.is_some_and(|threshold| evidence.value >= threshold);
    let mut parts: Vec<String> = finding
        .evidence
        .iter()
        .filter(passed)
        .map(|evidence| {
            let (name, value) = unit::measured(evidence.name, evidence.value, charset);
            let limit =
                evidence.threshold.map(|threshold| unit::measured(evidence.name, threshold, charset).1);
            let limit = limit.map(|limit| format!(" (limit {limit})")).unwrap_or_default();
            format!("{name} {value}{limit}")
        })
        .collect();
    let exemplars: Vec<String> =
        finding.exemplars.iter().take(EXEMPLARS).map(|id| format!("#{id}")).collect();
    if !exemplars.is_empty() {
        parts.push(format!("see {}", exemplars.join(" ")));
    }
    parts.join(page.dot())
}
