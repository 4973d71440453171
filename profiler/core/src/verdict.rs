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
mod sized;
mod slots;
mod waiting;

use crate::finding::basis::{Basis, decides};
use crate::finding::leaf::{self, Accused};
use crate::finding::{self, Answer, Evidence, Finding, Thresholds, ratio};
use crate::model::Snapshot;
use crate::model::chain::{LeafKind, LeafTime, NotFollowed};
use crate::server::advice::Advice;

pub use cause::Cause;
use cause::Measure;
pub use failed::Failed;
pub use slots::MoreSlotsHelp;
use waiting::Inflicted;

closed_list! {
    /// What kind of sentence a verdict is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Pattern {
        NobodyServes = "nobody_serves": "Nobody is there who could serve requests.",
        Failures = "failures": "Requests fail.",
        WaitsFor = "waits_for": "Requests wait, through somebody else, for one thing.",
        Computes = "computes": "Requests wait for somebody who computes.",
        CpuTaken = "cpu_taken": "Requests are ready to run, and others have the CPU, or nobody knows who.",
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

/// Slots that a cause keeps: how many of how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldSlots {
    /// On average, while there was something to do.
    pub held: f64,
    /// All of the server's.
    pub of: u32,
}

/// The first thing to say of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What kind of sentence it is.
    pub pattern: Pattern,
    /// What is named: the one cause, or of [`Pattern::Several`] and [`Pattern::TakesAsLong`] two or three;
    /// empty: none is.
    pub causes: Vec<Cause>,
    /// Request time that was waiting through somebody else, in nanoseconds.
    pub inflicted_ns: u64,
    /// No request was answered.
    pub is_nobody_served: bool,
    /// Slots that the first cause keeps, where requests wait for a free one; `None`: they do not, or it is
    /// not known.
    pub held_slots: Option<HeldSlots>,
    /// Whether more slots would help those that wait.
    pub more_slots_help: MoreSlotsHelp,
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
            held_slots: None,
            more_slots_help: MoreSlotsHelp::Unknown,
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

/// What every rule says, worst first: those about leaves as the verdict has it.
pub fn findings(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let basis = Basis::new(snapshot, thresholds);
    let mut findings = finding::measured(&basis);
    let verdict = judged(&basis, &findings);
    findings.extend(leaf::findings(&basis, &accused(&basis, &findings, &verdict)));
    findings.extend(finding::summaries(&basis, &findings));
    agree(&verdict, &mut findings);
    finding::order(&mut findings);
    findings
}

/// What stands behind this window's waiting, as far as its leaves and `findings` say.
pub fn of(snapshot: &Snapshot, findings: &[Finding]) -> Verdict {
    let thresholds = Thresholds::default();
    let basis = Basis::new(snapshot, &thresholds);
    let judged = judged(&basis, findings);
    let mut verdict = match judged.pattern {
        Pattern::Healthy => healthy(findings),
        _ => judged,
    };
    verdict.failed = failed::all(findings);
    verdict.inflicted_ns = waiting::inflicted_ns(&snapshot.chains);
    verdict.is_nobody_served = snapshot.requests.completed == 0 && !verdict.causes.is_empty();
    verdict.held_slots = verdict.cause().and_then(|cause| slots::held(&basis, cause));
    verdict.more_slots_help = slots::more_help(&basis, &verdict);
    let (advice, finding) = advice::of(&basis, findings, &verdict);
    Verdict { advice, finding, ..verdict }
}

/// Pattern and causes, as leaves and the rules about failures say.
fn judged(basis: &Basis<'_>, findings: &[Finding]) -> Verdict {
    let failed = failed::all(findings);
    let has_failed = failed.iter().any(|failed| failed.is_behind_wait);
    let inflicted = Inflicted::of(basis, has_failed).and_then(|inflicted| inflicted.verdict());
    match inflicted {
        Some(verdict) if !failed::outweigh(&failed, &verdict) => verdict,
        _ if !failed.is_empty() => behind(basis, &failed),
        _ => without_inflicted(basis),
    }
}

/// What stands behind failures. Where few fail, and it was not seen for what requests waited, that is said
/// first; and where those waited that failed, what requests usually take their time for.
fn behind(basis: &Basis<'_>, failed: &[Failed]) -> Verdict {
    let causes: Vec<Cause> = waiting::behind_failures(basis, failed).into_iter().collect();
    let failures = Verdict { causes, ..Verdict::new(Pattern::Failures) };
    if !failures.causes.is_empty() || waiting::do_most_fail(basis, failed) {
        return failures;
    }
    let is_wait = failed.first().is_some_and(|failed| failed.is_behind_wait);
    let usual = || waiting::usual(basis).filter(|_| is_wait);
    waiting::mostly_not_seen(basis).or_else(usual).unwrap_or(failures)
}

/// Where requests did not wait for one another.
fn without_inflicted(basis: &Basis<'_>) -> Verdict {
    let (requests, chains) = (&basis.snapshot.requests, &basis.snapshot.chains);
    if requests.completed == 0 && requests.open.count == 0 && chains.request_ns == 0 {
        return Verdict::new(Pattern::NoRequests);
    }
    waiting::hung(basis)
        .or_else(|| waiting::slowest(basis))
        .or_else(|| waiting::usual(basis))
        .unwrap_or_else(|| Verdict::new(Pattern::Healthy))
}

/// What is accused: what the verdict names, and other causes that prevent much of the same waiting.
fn accused(basis: &Basis<'_>, findings: &[Finding], verdict: &Verdict) -> Vec<Accused> {
    let is_alone = verdict.pattern == Pattern::Failures && !failed::are_behind_wait(findings);
    if !verdict.pattern.is_wrong() || is_alone {
        return Vec::new();
    }
    let is_of_few = matches!(verdict.pattern, Pattern::Slowest | Pattern::Failures);
    let others = if is_of_few { None } else { Inflicted::of(basis, true) };
    let others = others.map_or_else(Vec::new, |inflicted| inflicted.causes());
    let measure: Measure = match verdict.pattern {
        Pattern::Slowest => |row| row.unusual_ns,
        Pattern::Failures => |row| row.held_ns,
        _ => LeafTime::inflicted_ns,
    };
    let mut all: Vec<Accused> = Vec::new();
    for cause in verdict.causes.iter().chain(&others) {
        let Some(rule) = cause.time(&basis.snapshot.chains).and_then(leaf::rule_of) else { continue };
        // Two things that one rule is about have one finding, with what to do about each.
        if let Some(one) = all.iter_mut().find(|one| one.id == rule.id) {
            let first = std::mem::take(&mut one.advice);
            one.advice = first.joined_by(advice::of_cause(basis, cause));
            continue;
        }
        all.push(Accused {
            id: rule.id,
            measure,
            endpoint: cause.endpoint.unwrap_or(0),
            decided: decided_by(basis, verdict.pattern, cause),
            prevented_ns: cause.prevented_ns,
            advice: advice::of_cause(basis, cause),
        });
    }
    all
}

/// Says of the server's health no other than the verdict does.
fn agree(verdict: &Verdict, findings: &mut [Finding]) {
    let is_healthy = |finding: &&mut Finding| finding.id == "healthy" && finding.answer == Answer::Present;
    let Some(healthy) = findings.iter_mut().find(is_healthy) else { return };
    if verdict.pattern.is_wrong() {
        healthy.answer = Answer::Absent;
        "The server is not in order: the report begins with what is wrong.".clone_into(&mut healthy.sentence);
    } else if verdict.pattern == Pattern::NotSeen {
        let reason = "it was not seen for whom requests waited".to_owned();
        healthy.sentence = format!("Cannot say whether the server is healthy: {reason}.");
        healthy.answer = Answer::Undecided { reason };
    }
}

/// What decided that a cause is accused.
fn decided_by(basis: &Basis<'_>, pattern: Pattern, cause: &Cause) -> Evidence {
    let (limits, whole_ns) = (basis.thresholds, basis.snapshot.chains.request_ns);
    match pattern {
        Pattern::Slowest => waiting::unusual_ratio(basis),
        Pattern::Failures => {
            decides("behind_failures_ratio", ratio(cause.held_ns, whole_ns), limits.usual_min_ratio)
        }
        _ => waiting::inflicted_ratio(basis),
    }
}

/// Nothing is wrong; whether that is certain the rule says.
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
mod property;
#[cfg(test)]
mod tests;
