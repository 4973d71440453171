//! What `--fail-on` makes of a run's findings.
//!
//! In: the findings that were named, the snapshot. Out: success, or a [`Failure`] that names those present.
//! The undecided are said on stderr: who relies on the exit code must know what it does not cover.

use std::io::Write as _;

use profiler_core::finding::threshold::Thresholds;
use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;
use profiler_core::verdict;

use super::Failure;
use crate::cli::exit::ExitCode;
use crate::cli::fail_on::{FailOn, Selector};
use crate::report::escape::{self, Charset};

/// Judges a run whose report is written.
///
/// # Errors
/// [`Failure`] with [`ExitCode::FindingPresent`] if a finding that was named is present.
pub(super) fn check(options: &FailOn, snapshot: &Snapshot) -> Result<(), Failure> {
    if options.fail_on.is_empty() {
        return Ok(());
    }
    let findings = verdict::findings(snapshot, &Thresholds::default());
    let verdict = judge(&options.fail_on, &findings);
    if !verdict.undecided.is_empty() {
        // Nobody may be reading: the exit code still tells.
        let _ = writeln!(std::io::stderr(), "wsgi-trace: {}", verdict.undecided);
    }
    if verdict.present.is_empty() {
        return Ok(());
    }
    Err(Failure { sentence: verdict.present, code: ExitCode::FindingPresent })
}

/// Two sentences, each empty where there is nothing to say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    present: String,
    undecided: String,
}

fn judge(selectors: &[Selector], findings: &[Finding]) -> Verdict {
    let mut present = Vec::new();
    // Findings with the same reason together: too short a window leaves all of them open.
    let mut undecided: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in findings.iter().filter(|finding| selectors.iter().any(|one| one.covers(finding.id))) {
        match &finding.answer {
            Answer::Present => present.push(finding.id),
            Answer::Usual | Answer::Absent => {}
            Answer::Undecided { reason } => match undecided.iter_mut().find(|(other, _)| other == reason) {
                Some((_, ids)) => ids.push(finding.id),
                None => undecided.push((reason, vec![finding.id])),
            },
        }
    }
    let mut verdict = Verdict::default();
    if !present.is_empty() {
        let verb = if present.len() == 1 { "is" } else { "are" };
        verdict.present = format!("--fail-on: {} {verb} present; see the report", present.join(", "));
    }
    if !undecided.is_empty() {
        let groups: Vec<String> =
            undecided.iter().map(|(reason, ids)| format!("{} ({})", ids.join(", "), plain(reason))).collect();
        verdict.undecided = format!("--fail-on: undecided, so no failure: {}", groups.join("; "));
    }
    verdict
}

/// A reason may hold what a process says of itself.
fn plain(reason: &str) -> String {
    escape::line(reason, 200, Charset::Ascii)
}

#[cfg(test)]
mod tests {
    use profiler_core::server::advice::Advice;

    use super::*;

    fn finding(id: &'static str, answer: Answer) -> Finding {
        Finding {
            id,
            answer,
            sentence: String::new(),
            cost_ns: 0,
            evidence: Vec::new(),
            count: 0,
            exemplars: Vec::new(),
            advice: String::new(),
            steps: Advice::default(),
            outlook: None,
        }
    }

    fn undecided(reason: &str) -> Answer {
        Answer::Undecided { reason: reason.to_owned() }
    }

    #[test]
    fn what_is_present_and_named_fails_and_nothing_else_does() {
        let findings = [finding("herd", Answer::Present), finding("cpu-bound", Answer::Absent)];
        assert_eq!(judge(&[Selector::One("cpu-bound")], &findings), Verdict::default());
        let verdict = judge(&[Selector::One("cpu-bound"), Selector::One("herd")], &findings);
        assert_eq!(verdict.present, "--fail-on: herd is present; see the report");
    }

    #[test]
    fn any_is_whatever_is_wrong_so_a_healthy_server_does_not_fail() {
        let healthy = [finding("healthy", Answer::Present), finding("herd", Answer::Absent)];
        assert_eq!(judge(&[Selector::Any], &healthy), Verdict::default());
        let new_workers = [finding("workers-replaced", Answer::Present)];
        assert_eq!(judge(&[Selector::Any], &new_workers), Verdict::default());
        assert!(!judge(&[Selector::One("workers-replaced")], &new_workers).present.is_empty());
        assert!(!judge(&[Selector::Any], &[finding("herd", Answer::Present)]).present.is_empty());
    }

    #[test]
    fn the_undecided_are_no_failure_and_are_said_with_their_reasons() {
        let findings = [
            finding("herd", undecided("too few requests")),
            finding("cpu-bound", undecided("not measured")),
            finding("back-end", undecided("too few requests")),
        ];
        let verdict = judge(&[Selector::Any], &findings);
        assert!(verdict.present.is_empty());
        assert_eq!(
            verdict.undecided,
            "--fail-on: undecided, so no failure: herd, back-end (too few requests); cpu-bound (not measured)"
        );
        assert!(judge(&[Selector::One("slow-clients")], &findings).undecided.is_empty());
    }
}
