//! Findings as text: the headline, and what is wrong and what to do.
//!
//! In: a headline, verdicts. Out: the first lines of a report, the lines of a verdict.

use profiler_core::finding::{Evidence, Finding};

use super::page::Page;
use crate::report::document::block::Verdict;
use crate::report::document::header::DOT;
use crate::report::document::outlook;
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::summary::is_wrong;
use crate::report::unit;
use crate::report::verdict_words::Headline;

/// Exemplar requests named per finding.
const EXEMPLARS: usize = 5;

/// What a report begins with: the cause and what to change, or that nothing is wrong.
pub(super) fn headline(page: &mut Page, headline: &Headline) {
    match headline {
        Headline::Wrong { cause, change, .. } => {
            let arrow = page.style.charset.glyph("→", "->");
            let text =
                if change.is_empty() { format!("{cause}.") } else { format!("{cause} {arrow} {change}.") };
            page.paragraph((Role::Bad, ""), (Role::Bad, &text));
        }
        Headline::Healthy(text) => {
            let mark = page.style.charset.glyph("✓ ", "+ ");
            page.paragraph((Role::Good, mark), (Role::Good, text));
        }
        Headline::Usual(text) => page.paragraph((Role::Plain, ""), (Role::Strong, text)),
        Headline::NoTraffic(text) | Headline::Unsure(text) => {
            page.paragraph((Role::Doubt, "! "), (Role::Doubt, text))
        }
    }
    page.blank();
}

/// Lines of a finding's sentence, and of its advice, where the report is one page.
const SENTENCE: usize = 3;
const ADVICE: usize = 4;

pub(super) fn one(page: &mut Page, verdict: &Verdict<'_>) {
    let finding = verdict.finding;
    if page.room.is_some_and(|room| !room.is_named(verdict.number)) {
        return;
    }
    let label = format!("{:>2}  {}", verdict.number, finding.id);
    let gap = page.width.saturating_sub(columns(&label) + columns(&verdict.cost)).max(2);
    let role = if is_wrong(finding.id) { Role::Bad } else { Role::Strong };
    page.line(&[(role, label.as_str()), (Role::Plain, &" ".repeat(gap)), (role, &verdict.cost)]);
    if page.room.is_some_and(|room| !room.is_in_full(verdict.number)) {
        return;
    }
    let indent = "    ";
    page.at_most(SENTENCE);
    page.paragraph((Role::Quiet, indent), (Role::Plain, verdict.sentence));
    if !finding.advice.is_empty() {
        let arrow = format!("{indent}{}", page.style.charset.glyph("→ ", "> "));
        page.at_most(ADVICE);
        page.paragraph((Role::Good, &arrow), (Role::Strong, &finding.advice));
    }
    let outlook = outlook::sentences(finding);
    if !outlook.is_empty() {
        page.at_most(ADVICE);
        page.paragraph((Role::Quiet, indent), (Role::Plain, &outlook));
    }
    let evidence = evidence(page, finding);
    if page.room.is_none() && !evidence.is_empty() {
        page.paragraph((Role::Quiet, indent), (Role::Quiet, &evidence));
    }
}

/// Requests to look at; with `--verbose` first what the verdict was judged by: the limits that were passed,
/// each with its measure. All numbers are in the JSON report.
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
    parts.join(DOT)
}
