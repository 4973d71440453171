//! The verdict: what stands behind requests' waiting, as one value from which every output is printed.
//!
//! In: a snapshot with its leaves, and what the rules found. Out: one [`Verdict`]: a pattern, the cause that
//! is named, who waits for it, and what to change.
//!
//! The order: failures that hit more requests than any wait; inflicted waiting (through somebody else), by
//! what its cause prevents; unusual leaves of requests themselves; usual ones, which accuse nobody; healthy.
//! Inflicted waiting and failures are both counted in requests, so there is no exchange rate between them.

mod advice;
mod cause;
mod failed;
mod symptoms;
mod waiting;

use crate::finding::{self, Answer, Finding, Thresholds};
use crate::model::Snapshot;
use crate::model::chain::{LeafKind, NotFollowed};
use crate::server::advice::Advice;

pub use cause::Cause;
pub use failed::Failed;

closed_list! {
    /// What kind of sentence a verdict is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Pattern {
        NobodyServes = "nobody_serves": "Nobody is there who could serve requests.",
        Failures = "failures": "Requests fail.",
        WaitsFor = "waits_for": "Requests wait, through somebody else, for one thing.",
        Computes = "computes": "Requests wait for somebody who computes.",
        CpuTaken = "cpu_taken": "Requests are ready to run, and others have the CPU.",
        NotReleased = "not_released": "Requests wait for a lock that was not released.",
        StoodStill = "stood_still": "The process was stopped from outside.",
        Several = "several_causes": "Requests wait for several things, none of which is most of it.",
        Slowest = "slowest": "Typical requests are well; the slowest are not.",
        TakesAsLong = "takes_as_long": "Requests take as long as something takes that they wait for or do themselves.",
        Healthy = "healthy": "Requests waited for nobody.",
        NotSeen = "not_seen": "Requests waited; for whom was not seen.",
        NoRequests = "no_requests": "There was no request.",
        Undecided = "undecided": "Nothing wrong was found, and that is not certain.",
    }
}

impl Pattern {
    /// Whether it says that something is wrong.
    pub const fn is_wrong(self) -> bool {
        !matches!(
            self,
            Self::TakesAsLong | Self::Healthy | Self::NotSeen | Self::NoRequests | Self::Undecided
        )
    }
}

/// The first thing to say of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What kind of sentence it is.
    pub pattern: Pattern,
    /// What is named: the one cause, or of [`Pattern::Several`] two or three; empty: none is.
    pub causes: Vec<Cause>,
    /// Request time that was waiting through somebody else, in nanoseconds.
    pub inflicted_ns: u64,
    /// No request was answered.
    pub is_nobody_served: bool,
    /// Requests that failed, where these are many.
    pub failed: Vec<Failed>,
    /// Why a chain was not followed; of [`Pattern::NotSeen`] alone.
    pub not_followed: Option<NotFollowed>,
    /// Why nothing is certain, as a clause; of [`Pattern::Undecided`] alone.
    pub reason: Option<String>,
    /// What to change; empty: nothing.
    pub advice: Advice,
    /// The finding with whose advice that is; `None`: no rule's.
    pub finding: Option<&'static str>,
}

impl Verdict {
    fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            causes: Vec::new(),
            inflicted_ns: 0,
            is_nobody_served: false,
            failed: Vec::new(),
            not_followed: None,
            reason: None,
            advice: Advice::default(),
            finding: None,
        }
    }

    /// The cause that is named first.
    pub fn cause(&self) -> Option<&Cause> {
        self.causes.first()
    }
}

/// What every rule says, worst first, without advice that the verdict makes useless.
pub fn findings(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let mut findings = finding::evaluate(snapshot, thresholds);
    symptoms::yield_to(&of(snapshot, &findings), &mut findings);
    // The sort is stable: who is healthy no longer stands behind what is present.
    findings.sort_by_key(|finding| finding.answer.rank());
    findings
}

/// What stands behind this window's waiting, as far as its leaves and `findings` say.
pub fn of(snapshot: &Snapshot, findings: &[Finding]) -> Verdict {
    let failed = failed::all(findings);
    let has_failed = failed.iter().any(|failed| failed.is_behind_wait);
    let inflicted = waiting::inflicted(&snapshot.chains, has_failed);
    let mut verdict = match inflicted {
        Some(verdict) if !failed::outweigh(&failed, &verdict) => verdict,
        _ if !failed.is_empty() => Verdict {
            causes: waiting::behind_failures(&snapshot.chains).into_iter().collect(),
            ..Verdict::new(Pattern::Failures)
        },
        _ => without_inflicted(snapshot, findings),
    };
    verdict.failed = failed;
    verdict.inflicted_ns = waiting::inflicted_ns(&snapshot.chains);
    verdict.is_nobody_served = snapshot.requests.completed == 0 && !verdict.causes.is_empty();
    let (advice, finding) = advice::of(snapshot, findings, &verdict);
    Verdict { advice, finding, ..verdict }
}

/// Where requests did not wait for one another.
fn without_inflicted(snapshot: &Snapshot, findings: &[Finding]) -> Verdict {
    let requests = &snapshot.requests;
    if requests.completed == 0 && requests.open.count == 0 && snapshot.chains.request_ns == 0 {
        return Verdict::new(Pattern::NoRequests);
    }
    waiting::slowest(snapshot)
        .or_else(|| waiting::usual(&snapshot.chains))
        .unwrap_or_else(|| healthy(findings))
}

fn healthy(findings: &[Finding]) -> Verdict {
    let healthy = findings.iter().find(|finding| finding.id == "healthy");
    match healthy.map(|finding| &finding.answer) {
        Some(Answer::Undecided { reason }) => {
            Verdict { reason: Some(reason.clone()), ..Verdict::new(Pattern::Undecided) }
        }
        _ => Verdict::new(Pattern::Healthy),
    }
}

/// What a verdict on such a leaf is called.
pub const fn pattern_of(kind: LeafKind) -> Pattern {
    match kind {
        LeafKind::Computing | LeafKind::Spinning | LeafKind::Reading | LeafKind::Writing => Pattern::Computes,
        LeafKind::CpuTaken => Pattern::CpuTaken,
        LeafKind::NotReleased => Pattern::NotReleased,
        LeafKind::StoodStill => Pattern::StoodStill,
        LeafKind::NoThread => Pattern::NobodyServes,
        _ => Pattern::WaitsFor,
    }
}

#[cfg(test)]
mod tests;
