//! Requests that failed, as the rules about failures found them.
//!
//! In: findings. Out: [`Failed`], and whether failures hit more requests than waiting does.

use super::Verdict;
use crate::finding::{Answer, Finding};

/// Requests that failed in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failed {
    /// Id of the finding that says how.
    pub finding: &'static str,
    /// How many.
    pub count: u64,
    /// A wait lies behind it: its cause is that of the waiting.
    pub is_behind_wait: bool,
}

/// The rules about failures: the number of them in the evidence, and whether a wait lies behind them.
const RULES: [(&str, &str, bool); 6] = [
    ("server-errors", "server_errors_count", false),
    ("keep-alive-race", "connections_raced_count", false),
    ("descriptor-limit", "accepts_failed_count", false),
    ("worker-timeouts", "connections_lost_count", true),
    ("clients-leave", "clients_left_count", true),
    ("backlog-too-small", "refused_attempts_count", true),
];

/// Failures that are many enough for their rules, those without a wait behind them first, the most first.
pub(super) fn all(findings: &[Finding]) -> Vec<Failed> {
    let present = findings.iter().filter(|finding| finding.answer == Answer::Present);
    let mut all: Vec<Failed> = present.filter_map(of).collect();
    all.sort_by_key(|failed| (failed.is_behind_wait, std::cmp::Reverse(failed.count)));
    all
}

/// Whether the failures to speak of first have a wait behind them.
pub(super) fn are_behind_wait(findings: &[Finding]) -> bool {
    all(findings).first().is_some_and(|failed| failed.is_behind_wait)
}

fn of(finding: &Finding) -> Option<Failed> {
    let (id, name, is_behind_wait) = RULES.into_iter().find(|(id, ..)| *id == finding.id)?;
    let counted = finding.evidence.iter().find(|evidence| evidence.name == name)?;
    // Counts are whole numbers far below 2^53.
    Some(Failed { finding: id, count: counted.value.max(0.0) as u64, is_behind_wait })
}

/// Whether failures without a wait behind them hit more requests than the waiting of a verdict does.
pub(super) fn outweigh(failed: &[Failed], verdict: &Verdict) -> bool {
    let alone = failed.iter().filter(|failed| !failed.is_behind_wait).map(|failed| failed.count).max();
    let waited = verdict.causes.iter().map(|cause| cause.requests).max().unwrap_or(0);
    alone.is_some_and(|count| count > waited)
}
