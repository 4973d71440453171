//! Findings: what is wrong, worst first, and what to do.
//!
//! In: findings, and the headroom of a snapshot for when nothing is wrong. Out: a section.

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;

use super::page::{Page, WIDTH};
use super::style::Role;
use super::unit;
use crate::report::escape::columns;
use crate::report::summary;

/// Exemplar requests named per finding.
const EXEMPLARS: usize = 5;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot, findings: &[Finding]) {
    let ordered = summary::worst_first(findings);
    let present: Vec<&Finding> = only(&ordered, |answer| matches!(answer, Answer::Present));
    let absent: Vec<&Finding> = only(&ordered, |answer| matches!(answer, Answer::Absent));
    let undecided = ordered.len() - present.len() - absent.len();
    let note = [(present.len(), "present"), (undecided, "undecided"), (absent.len(), "ruled out")]
        .map(|(number, what)| format!("{number} {what}"))
        .join(", ");
    page.heading("Findings", &note);

    if present.is_empty() {
        nothing_wrong(page, snapshot, undecided);
    }
    for (index, finding) in present.iter().enumerate() {
        if index > 0 {
            page.blank();
        }
        one(page, index + 1, finding);
    }
    if undecided > 0 {
        page.blank();
    }
    for finding in &ordered {
        if let Answer::Undecided { reason } = &finding.answer {
            let first = format!(" ?  {}  ", finding.id);
            page.paragraph((Role::Doubt, &first), (None, &format!("undecided: {reason}")));
        }
    }
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

fn evidence(page: &Page, finding: &Finding) -> String {
    let charset = page.style.charset;
    let mut parts: Vec<String> = finding
        .evidence
        .iter()
        .map(|evidence| {
            let (name, value) = unit::measured(evidence.name, evidence.value, charset);
            match evidence.threshold {
                Some(threshold) => {
                    let (_, threshold) = unit::measured(evidence.name, threshold, charset);
                    format!("{name} {value} (threshold {threshold})")
                }
                None => format!("{name} {value}"),
            }
        })
        .collect();
    if finding.count > 0 {
        let exemplars: Vec<String> =
            finding.exemplars.iter().take(EXEMPLARS).map(|id| format!("#{id}")).collect();
        let such_as =
            if exemplars.is_empty() { String::new() } else { format!(", such as {}", exemplars.join(" ")) };
        parts.push(format!("{}{such_as}", unit::counted(finding.count, "request")));
    }
    parts.join(page.dot())
}

/// What there is to say of a server without findings: how far it is from its limits.
fn nothing_wrong(page: &mut Page, snapshot: &Snapshot, undecided: usize) {
    let requests = &snapshot.requests;
    if requests.completed == 0 && requests.open == 0 {
        let text = "No request was seen in the window: nothing can be said. Is this the right process, and is \
                    there traffic? A longer --duration may help.";
        page.paragraph((Role::Doubt, " !  "), (None, text));
        return;
    }
    let but = if undecided > 0 { " in what could be decided" } else { "" };
    let mark = page.style.glyph(" ✓  ", " +  ");
    page.paragraph((Role::Good, mark), (Some(Role::Good), &format!("Nothing wrong found{but}.")));
    if let Some(headroom) = headroom(page, snapshot) {
        page.paragraph((Role::Quiet, "    "), (None, &headroom));
    }
}

fn headroom(page: &Page, snapshot: &Snapshot) -> Option<String> {
    let slots = &snapshot.slots;
    let count = slots.count();
    let window_ns = snapshot.window.length_ns();
    let capacity_ns = window_ns.saturating_mul(u64::from(count));
    let used = summary::ratio(slots.busy_ns(), capacity_ns)?;
    let exhausted = match slots.exhausted_ns {
        0 => "never all at once".to_owned(),
        exhausted_ns => format!("all at once for {}", unit::duration(exhausted_ns, page.style.charset)),
    };
    Some(format!(
        "Headroom: {} of slot-time was free; at most {} of {count} slots were busy at one moment, {exhausted}.",
        unit::percent(Some((1.0 - used).max(0.0))),
        slots.peak_busy,
    ))
}
