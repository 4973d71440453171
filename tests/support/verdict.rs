//! What the program says of a recording, beside what a scenario calls for.
//!
//! In: a recording. Out: its snapshot and findings, made by the same pipeline as any report; a comparison.

use std::path::Path;

use anyhow::bail;
use profiler_core::finding::{Answer, Finding, Thresholds};
use profiler_core::model::Snapshot;
use profiler_core::verdict;
use wsgi_trace::report::escape::Charset;
use wsgi_trace::report::json;
use wsgi_trace::report::style::Style;
use wsgi_trace::report::text::render;
use wsgi_trace::session::consumer::Consumer;
use wsgi_trace::session::replay;

use crate::scenario::{Scenario, Verdict};

/// Id of the finding that says that nothing is wrong.
const HEALTHY: &str = "healthy";
/// Id of the finding about others that have the CPU.
const CPU_TAKEN: &str = "cpu-taken";

/// A recording, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The numbers.
    pub snapshot: Snapshot,
    /// What the rules say of them, in the order of reports.
    pub findings: Vec<Finding>,
}

impl Judged {
    /// Replays a recording and judges it.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn recording(path: &Path) -> anyhow::Result<Self> {
        let snapshot = replay::run(path, &mut Consumer::nothing())?;
        let findings = verdict::findings(&snapshot, &Thresholds::default());
        Ok(Self { snapshot, findings })
    }

    /// The JSON report.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&json::render(&self.snapshot, &self.findings)?)?)
    }

    /// All of the report in plain text, 100 columns wide.
    pub fn text(&self) -> String {
        let style = Style { verbose: true, ..Style::plain(Charset::Unicode) };
        render(&self.snapshot, &self.findings, style)
    }

    /// One page of it.
    pub fn page_of_text(&self) -> String {
        render(&self.snapshot, &self.findings, Style::plain(Charset::Unicode))
    }

    /// Compares with what the scenario calls for.
    ///
    /// # Errors
    ///
    /// Where the first finding is another one, or one is present that has no place there; with the report.
    pub fn must_be(&self, scenario: &Scenario) -> anyhow::Result<()> {
        // What other programs do to a live server is nothing that a scenario can call for.
        let is_of_others = |id: &str| id == CPU_TAKEN && !scenario.verdict.names(CPU_TAKEN);
        let present: Vec<&str> = self
            .findings
            .iter()
            .filter(|finding| finding.answer == Answer::Present && !is_of_others(finding.id))
            .map(|finding| finding.id)
            .collect();
        let is_usual = |id: &str| self.findings.iter().any(|one| one.id == id && one.answer == Answer::Usual);
        let said = verdict::of(&self.snapshot, &self.findings);
        let is_calm = !said.pattern.is_wrong() || said.finding == Some(CPU_TAKEN);
        let right = match scenario.verdict {
            Verdict::First(first, others) => present
                .split_first()
                .is_some_and(|(found, rest)| *found == first && rest.iter().all(|id| others.contains(id))),
            Verdict::OneOf(firsts, others) => {
                present.first().is_some_and(|found| firsts.contains(found))
                    && present.iter().all(|id| firsts.contains(id) || others.contains(id))
            }
            Verdict::Usual(id) => is_usual(id) && is_calm && present.iter().all(|other| *other == HEALTHY),
            Verdict::Healthy => is_calm && present == [HEALTHY],
            Verdict::Undecided | Verdict::Unsaid => present.is_empty(),
        };
        if !right {
            let wanted = scenario.verdict;
            bail!("{}: {wanted:?} was called for, {present:?} is present\n{}", scenario.name, self.text());
        }
        Ok(())
    }
}
