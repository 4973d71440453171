//! One entry of `findings`.
//!
//! In: a finding of the core. Out: a serialisable view of it.

use profiler_core::finding::{self, Answer};
use profiler_core::server::advice::{Alternative, Change, Limit};
use serde::Serialize;

use super::{rounded, summary};

#[derive(Serialize)]
pub(super) struct Finding<'a> {
    id: &'static str,
    answer: &'static str,
    reason: Option<&'a str>,
    sentence: &'a str,
    cost_request_seconds: Option<f64>,
    evidence: Vec<Evidence>,
    count: u64,
    exemplars: &'a [u64],
    advice: &'a str,
    settings: Vec<Setting<'a>>,
    yields_to: Option<&'static str>,
    follows: Option<Follows>,
}

#[derive(Serialize)]
struct Setting<'a> {
    alternative: usize,
    option: &'a str,
    scope: &'static str,
    also: Option<&'a str>,
    present: Option<&'a str>,
    direction: &'static str,
    proposed: Option<&'a str>,
    is_seen: bool,
    limit: Option<&'static str>,
    at_most: Option<u64>,
    when: Option<&'static str>,
    needs: Vec<&'a str>,
}

impl<'a> Setting<'a> {
    fn new(number: usize, change: &'a Change, alternative: &Alternative<'a>) -> Self {
        Self {
            alternative: number,
            needs: alternative.needs.clone(),
            when: Some(alternative.when).filter(|when| !when.is_empty()),
            is_seen: change.setting.is_seen,
            at_most: change.at_most,
            option: &change.setting.name,
            scope: change.setting.scope.name(),
            also: change.setting.also.as_deref(),
            present: change.setting.present.as_deref(),
            direction: change.direction.name(),
            proposed: change.proposed.as_deref(),
            limit: change.limit.map(Limit::name),
        }
    }
}

#[derive(Serialize)]
struct Follows {
    from: &'static str,
    share_ratio: Option<f64>,
}

#[derive(Serialize)]
struct Evidence {
    name: &'static str,
    value: Option<f64>,
    threshold: Option<f64>,
}

impl<'a> Finding<'a> {
    pub(super) fn new(finding: &'a finding::Finding) -> Self {
        let (answer, reason) = match &finding.answer {
            Answer::Present => ("present", None),
            Answer::Absent => ("absent", None),
            Answer::Undecided { reason } => ("undecided", Some(reason.as_str())),
        };
        let evidence = finding.evidence.iter().map(|evidence| Evidence {
            name: evidence.name,
            value: rounded(evidence.value),
            threshold: evidence.threshold.and_then(rounded),
        });
        Self {
            id: finding.id,
            answer,
            reason,
            sentence: &finding.sentence,
            cost_request_seconds: rounded(summary::seconds(finding.cost_ns)),
            evidence: evidence.collect(),
            count: finding.count,
            exemplars: &finding.exemplars,
            advice: &finding.advice,
            settings: settings(finding),
            yields_to: finding.yields_to,
            follows: finding
                .follows
                .map(|follows| Follows { from: follows.from, share_ratio: rounded(follows.share) }),
        }
    }
}

/// The changes of its advice, numbered by which of them belong together; 1 is what it says first.
fn settings(finding: &finding::Finding) -> Vec<Setting<'_>> {
    let mut settings = Vec::new();
    for (number, alternative) in (1..).zip(finding.steps.alternatives()) {
        let new = |change| Setting::new(number, change, &alternative);
        settings.extend(alternative.changes.iter().copied().map(new));
    }
    settings
}
