//! Findings: the headline, then what is wrong, causes first, and what to do.
//!
//! In: findings, a headline. Out: the first lines of a report, a section.

use profiler_core::finding::follows::{Ranked, by_cause};
use profiler_core::finding::{Answer, Evidence, Finding};

use super::page::{Page, WIDTH};
use super::unit;
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::summary::{self, Headline};

/// Exemplar requests named per finding.
const EXEMPLARS: usize = 5;

pub(super) fn section(page: &mut Page, findings: &[Finding]) {
    let present = by_cause(findings);
    let ordered = summary::worst_first(findings);
    let rules: Vec<&Finding> = ordered.into_iter().filter(|finding| finding.id != summary::HEALTHY).collect();
    let absent: Vec<&Finding> = only(&rules, |answer| matches!(answer, Answer::Absent));
    let undecided = rules.len() - present.len() - absent.len();
    let note = [(present.len(), "present"), (undecided, "undecided"), (absent.len(), "ruled out")]
        .map(|(number, what)| format!("{number} {what}"))
        .join(", ");
    page.heading("Findings", &note);

    for (index, ranked) in present.iter().enumerate() {
        if index > 0 {
            page.blank();
        }
        one(page, index + 1, *ranked);
    }
    open_questions(page, &rules, !present.is_empty());
    if !absent.is_empty() {
        let ids: Vec<&str> = absent.iter().map(|finding| finding.id).collect();
        page.blank();
        page.paragraph(
            (Role::Quiet, "    "),
            (Some(Role::Quiet), &format!("Ruled out: {}.", ids.join(", "))),
        );
    }
}

/// What a report begins with: the cause and what to change, or that nothing is wrong.
pub(super) fn headline(page: &mut Page, headline: &Headline) {
    match headline {
        Headline::Wrong { cause, change, .. } => {
            let arrow = page.style.glyph("→", "->");
            let text =
                if change.is_empty() { format!("{cause}.") } else { format!("{cause} {arrow} {change}.") };
            page.paragraph((Role::Bad, ""), (Some(Role::Bad), &text));
        }
        Headline::Healthy(text) => {
            let mark = page.style.glyph("✓ ", "+ ");
            page.paragraph((Role::Good, mark), (Some(Role::Good), text));
        }
        Headline::NoTraffic(text) | Headline::Unsure(text) => {
            page.paragraph((Role::Doubt, "! "), (Some(Role::Doubt), text))
        }
    }
    page.blank();
}

fn only<'a>(findings: &[&'a Finding], wanted: fn(&Answer) -> bool) -> Vec<&'a Finding> {
    findings.iter().copied().filter(|finding| wanted(&finding.answer)).collect()
}

/// What could not be decided, those with the same reason together.
fn open_questions(page: &mut Page, rules: &[&Finding], stands_below: bool) {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in rules {
        let Answer::Undecided { reason } = &finding.answer else { continue };
        match groups.iter_mut().find(|(other, _)| other == reason) {
            Some((_, ids)) => ids.push(finding.id),
            None => groups.push((reason, vec![finding.id])),
        }
    }
    if !groups.is_empty() && stands_below {
        page.blank();
    }
    for (reason, ids) in groups {
        let text = format!("Undecided: {} ({reason}).", ids.join(", "));
        page.paragraph((Role::Doubt, " ?  "), (None, &text));
    }
}

/// Columns by which what follows from a finding stands further right.
const STEP: usize = 4;

fn one(page: &mut Page, number: usize, Ranked { finding, depth }: Ranked<'_>) {
    let before = " ".repeat(STEP * depth);
    let cost = format!("cost {} request-seconds", unit::request_seconds(finding.cost_ns));
    let cause = summary::follows(finding).filter(|_| depth > 0);
    let cause = cause.map_or_else(String::new, |cause| format!(", {cause}"));
    let label = format!("{before}{number:>2}  {}{cause}", finding.id);
    let gap = WIDTH.saturating_sub(columns(&label) + columns(&cost)).max(2);
    let line =
        format!("{}{}{}", page.paint(Role::Bad, &label), " ".repeat(gap), page.paint(Role::Bad, &cost));
    page.line(&line);
    let indent = format!("{before}    ");
    page.paragraph((Role::Quiet, &indent), (None, &finding.sentence));
    if !finding.advice.is_empty() {
        let arrow = format!("{indent}{}", page.style.glyph("→ ", "> "));
        page.paragraph((Role::Good, &arrow), (Some(Role::Heading), &finding.advice));
    }
    let evidence = evidence(page, finding);
    if !evidence.is_empty() {
        page.paragraph((Role::Quiet, &indent), (Some(Role::Quiet), &evidence));
    }
}

/// Requests to look at; with `--verbose` first what the verdict was judged by: the limits that were passed, each with its measure. All numbers are in
/// the JSON report.
fn evidence(page: &Page, finding: &Finding) -> String {
    let charset = page.style.charset;
    let passed =
        |evidence: &&Evidence| evidence.threshold.is_some_and(|threshold| evidence.value >= threshold);
    let judged = |evidence: &Evidence| {
        let (name, value) = unit::measured(evidence.name, evidence.value, charset);
        let limit = evidence.threshold.map(|threshold| unit::measured(evidence.name, threshold, charset).1);
        let limit = limit.map(|limit| format!(" (limit {limit})")).unwrap_or_default();
        format!("{name} {value}{limit}")
    };
    let mut parts = Vec::new();
    if page.style.verbose {
        parts.extend(finding.evidence.iter().filter(passed).map(judged));
    }
    let exemplars: Vec<String> =
        finding.exemplars.iter().take(EXEMPLARS).map(|id| format!("#{id}")).collect();
    if !exemplars.is_empty() {
        parts.push(format!("see {}", exemplars.join(" ")));
    }
    parts.join(page.dot())
}
