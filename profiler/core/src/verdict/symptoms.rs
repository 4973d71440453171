//! Findings that are on the way to the verdict's cause: what they advise would not help.
//!
//! In: a verdict, findings. Out: the same findings, where those that only see a hop point to the verdict.

use super::{Pattern, Verdict};
use crate::finding::{Answer, Finding};
use crate::phase::Phase;
use crate::server::advice::act;

/// Findings about waiting at a hop, whoever stands behind it.
const SYMPTOMS: [(&str, &[Phase]); 14] = [
    ("slots-exhausted", &[Phase::AcceptQueue, Phase::PoolWait]),
    ("accept-queue", &[Phase::AcceptQueue]),
    ("short-behind-long", &[Phase::AcceptQueue, Phase::PoolWait]),
    ("full-beside-free", &[Phase::AcceptQueue, Phase::PoolWait]),
    ("imbalance", &[Phase::AcceptQueue, Phase::PoolWait]),
    ("own-locks", &[Phase::LockWait]),
    ("loop-saturated", &[Phase::LoopWait]),
    ("loop-blocked", &[Phase::LoopWait]),
    ("gil-contention", &[Phase::GilWait]),
    ("gil-convoy", &[Phase::GilWait]),
    ("gil-starvation", &[Phase::GilWait]),
    ("gil-threads", &[Phase::GilWait]),
    ("gil-not-released", &[Phase::GilWait]),
    ("cpu-bound", &[Phase::RunQueue]),
];

/// Nothing is healthy where the verdict says that something is wrong.
fn is_not_healthy(verdict: &Verdict, findings: &mut [Finding]) {
    let is_healthy = |finding: &&mut Finding| finding.id == "healthy" && finding.answer == Answer::Present;
    for finding in findings.iter_mut().filter(is_healthy).filter(|_| verdict.pattern.is_wrong()) {
        finding.answer = Answer::Absent;
        "The server is not in order: the report begins with what is wrong.".clone_into(&mut finding.sentence);
    }
}

/// Lets findings on the way to the cause point to the verdict, where its advice is not theirs.
pub(super) fn yield_to(verdict: &Verdict, findings: &mut [Finding]) {
    is_not_healthy(verdict, findings);
    // Without one cause, a hop is as far as anybody sees.
    let is_named = verdict.pattern.is_wrong() && verdict.pattern != Pattern::Several;
    let Some(cause) = verdict.cause().filter(|_| is_named && !verdict.advice.is_empty()) else { return };
    let is_on_the_way = |finding: &Finding| {
        let symptom = SYMPTOMS.iter().find(|(id, _)| *id == finding.id);
        symptom.is_some_and(|(_, phases)| cause.path.iter().any(|hop| phases.contains(&hop)))
    };
    for finding in findings.iter_mut().filter(|finding| finding.answer == Answer::Present) {
        if verdict.finding != Some(finding.id) && is_on_the_way(finding) {
            finding.advise(act("first do what the report begins with").into());
            finding.yields_to = None;
        }
    }
}
