//! Findings: what can be wrong with a server, one file each.
//!
//! In: a [`Snapshot`] and the [`Thresholds`]. Out: one [`Finding`] per rule, with one of four answers. Most
//! are patterns over leaves of chains ([`leaf`]): each leaf belongs to the first that matches, or is said
//! without a name. The others are about failures, and about what leaves cannot tell. To add one: its file
//! with a `RULE`, its page under `docs/findings/`, its limits in [`threshold`], its line in [`RULES`].

mod back_end_connections;
mod back_end_slower;
mod backlog_too_small;
pub mod basis;
mod clients_leave;
mod descriptor_limit;
mod full_beside_free;
mod healthy;
mod herd;
mod ill_worker;
mod keep_alive_race;
pub mod leaf;
pub mod load;
pub mod outlook;
mod price;
mod server_errors;
pub mod threshold;
mod words;
mod worker_timeouts;
mod workers_replaced;

#[cfg(test)]
mod catalogue;
#[cfg(test)]
pub(crate) mod fixture;

use crate::fact::Attached;
use crate::model::Snapshot;
use crate::model::chain::LeafTime;
use crate::server::advice::{Advice, act};
use crate::server::{self, site::Site};
use basis::{Basis, NextStep, Outcome, Undecided};
use outlook::Outlook;
pub(crate) use price::priced;
pub use threshold::Thresholds;
pub(crate) use words::{ratio, request_seconds};

/// A rule's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is so.
    Present,
    /// A tenth of request time or more is there, and the verdict does not accuse it.
    Usual,
    /// It is not so.
    Absent,
    /// It cannot be said, and why.
    Undecided {
        /// Why, as a clause that follows "undecided: ".
        reason: String,
    },
}

impl Answer {
    /// Its place in every list: present ones first, then usual, then undecided, then absent.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Present => 0,
            Self::Usual => 1,
            Self::Undecided { .. } => 2,
            Self::Absent => 3,
        }
    }
}

/// One measured value that a verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What was measured, with its unit in the name (`slots_busy_ratio`).
    pub name: &'static str,
    /// The value.
    pub value: f64,
    /// The value from which the rule says "present", where the evidence is what decides.
    pub threshold: Option<f64>,
}

/// What one rule says of this window.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Stable id, as in `wsgi-trace explain ID` (`back-end`).
    pub id: &'static str,
    /// The answer.
    pub answer: Answer,
    /// One sentence for a tired person, with its numbers.
    pub sentence: String,
    /// Request-seconds that would not have been without it, in nanoseconds; where that was not replayed,
    /// those that were spent at it.
    pub cost_ns: u64,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// Requests counted for it.
    pub count: u64,
    /// Ids of exemplar requests.
    pub exemplars: Vec<u64>,
    /// The setting to change for this server, or the next step: the sentences of `steps`; empty where there
    /// is none.
    pub advice: String,
    /// The same as data: what to do, with the settings that it changes.
    pub steps: Advice,
    /// What its advice would bring; `None`: nobody simulated it, or it changes nothing that could be.
    pub outlook: Option<Outlook>,
}

impl Finding {
    /// Gives it this advice.
    pub(crate) fn advise(&mut self, steps: Advice) {
        self.advice = steps.to_string();
        self.steps = steps;
    }
}

/// Longest sentence of a finding, its period included.
pub const SENTENCE_MAX_CHARS: usize = 220;

/// Whether a sentence may be so much longer, its full stop counted.
fn has_room(sentence: &str, more: &str) -> bool {
    sentence.chars().count() + more.chars().count() < SENTENCE_MAX_CHARS
}

/// The same sentence with more words, where it may be so much longer.
fn add_where_room(sentence: &mut String, more: &str) {
    if has_room(sentence, more) {
        sentence.push_str(more);
    }
}

/// Whether a finding says what is worth knowing and is nothing wrong: it costs nothing, and `healthy` may be
/// present beside it.
pub fn is_notice(id: &str) -> bool {
    id == workers_replaced::RULE.id
}

/// How a rule judges.
#[derive(Clone, Copy, Debug)]
pub enum Judge {
    /// By leaves of chains: whether one is of this finding.
    Leaves(fn(&LeafTime) -> bool),
    /// From the snapshot alone.
    Measured(fn(&Basis<'_>) -> Outcome),
    /// From what the other rules said.
    Summary(fn(&Basis<'_>, &[Finding]) -> Outcome),
}

/// One rule: its names, its page, its judgement.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable id, lower case with hyphens.
    pub id: &'static str,
    /// A line for lists; of a leaf's finding also the end of its sentence, after "because" and "where".
    pub title: &'static str,
    /// What cannot be said when it is undecided; follows "Cannot say whether ".
    pub question: &'static str,
    /// Its catalogue page, Markdown.
    pub page: &'static str,
    /// What to do where the server's kind (`server`) has no advice.
    pub advice: fn() -> Advice,
    /// Its judgement.
    pub judge: Judge,
}

/// Every rule, in the order of the catalogue. Of those about leaves the first that matches has a leaf.
pub const RULES: &[Rule] = &[
    leaf::gil_not_released::RULE,
    leaf::gil_contention::RULE,
    leaf::loop_blocked::RULE,
    leaf::cpu_throttled::RULE,
    leaf::cpu_taken::RULE,
    leaf::spinning_thread::RULE,
    leaf::cpu_bound::RULE,
    leaf::back_end::RULE,
    leaf::name_lookups::RULE,
    leaf::child_process::RULE,
    leaf::slow_file::RULE,
    leaf::file_lock::RULE,
    leaf::full_pipe::RULE,
    leaf::sleeping::RULE,
    leaf::stood_still::RULE,
    leaf::lock_not_released::RULE,
    leaf::nobody_serves::RULE,
    leaf::idle_connections::RULE,
    leaf::slow_clients::RULE,
    leaf::lasting_connections::RULE,
    server_errors::RULE,
    worker_timeouts::RULE,
    clients_leave::RULE,
    keep_alive_race::RULE,
    backlog_too_small::RULE,
    descriptor_limit::RULE,
    back_end_connections::RULE,
    back_end_slower::RULE,
    full_beside_free::RULE,
    ill_worker::RULE,
    herd::RULE,
    workers_replaced::RULE,
    healthy::RULE,
];

/// What the rules say that rest on the snapshot alone.
pub fn measured(basis: &Basis<'_>) -> Vec<Finding> {
    let judged = RULES.iter().filter_map(|rule| match rule.judge {
        Judge::Measured(judge) => Some(finding(rule, basis, outcome(rule, basis, judge))),
        _ => None,
    });
    judged.collect()
}

/// What the rules say that rest on what all others, `findings`, said.
pub fn summaries(basis: &Basis<'_>, findings: &[Finding]) -> Vec<Finding> {
    let judged = RULES.iter().filter_map(|rule| match rule.judge {
        Judge::Summary(judge) => Some(finding(rule, basis, judge(basis, findings))),
        _ => None,
    });
    judged.collect()
}

/// Orders findings: present ones first, the costliest on top; equals as in the catalogue.
pub fn order(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| (finding.answer.rank(), std::cmp::Reverse(finding.cost_ns)));
}

/// Whether a run in light mode has what a rule rests on.
type Tells = fn(&Snapshot) -> bool;

/// The measured rules that are judged in light mode, where the run has what they rest on.
const JUDGED_IN_LIGHT: &[(&str, Tells)] = &[
    (backlog_too_small::RULE.id, |snapshot| snapshot.sockets.listeners.iter().any(|one| one.queue.is_some())),
    (server_errors::RULE.id, |_| true),
    (clients_leave::RULE.id, tells_ends),
    (keep_alive_race::RULE.id, tells_ends),
    (worker_timeouts::RULE.id, tells_ends),
    (descriptor_limit::RULE.id, |snapshot| snapshot.dropped.accepts_not_measured.is_none()),
];

fn tells_ends(snapshot: &Snapshot) -> bool {
    snapshot.dropped.not_measured.is_none()
}

/// Why a rule is not judged in light mode.
fn not_judged(rule: &Rule, snapshot: &Snapshot) -> String {
    let dropped = &snapshot.dropped;
    let reason = match rule.id {
        id if id == descriptor_limit::RULE.id => dropped.accepts_not_measured.as_deref(),
        id if [clients_leave::RULE.id, keep_alive_race::RULE.id, worker_timeouts::RULE.id].contains(&id) => {
            dropped.not_measured.as_deref()
        }
        _ => None,
    };
    reason.unwrap_or(Attached::LIGHT_SEES_NO_CALLS).to_owned()
}

/// In light mode only what rests on no system call can be judged.
fn outcome(rule: &Rule, basis: &Basis<'_>, judge: fn(&Basis<'_>) -> Outcome) -> Outcome {
    let snapshot = basis.snapshot;
    let is_told = || JUDGED_IN_LIGHT.iter().any(|(id, is_told)| *id == rule.id && is_told(snapshot));
    if snapshot.attached.is_light() && !is_told() {
        return Err(Undecided {
            reason: not_judged(rule, snapshot),
            next_step: "Trace for a minute without --light while it is slow.",
            evidence: Vec::new(),
        });
    }
    judge(basis).and_then(possible)
}

/// Clocks of several threads are read one after the other, and windows are cut in the middle of waits.
const TOLERANCE: f64 = 1.05;

/// The verdict, where its cost is no more than what it is a part of.
fn possible(verdict: basis::Verdict) -> Outcome {
    let whole_ns = verdict.whole_ns.unwrap_or(u64::MAX);
    if verdict.cost_ns as f64 > whole_ns as f64 * TOLERANCE {
        return Err(Undecided {
            reason: "its numbers contradict one another (its cost is more than the time it is a part of)"
                .to_owned(),
            next_step: "Please report it with a recording (wsgi-trace record).",
            evidence: verdict.evidence,
        });
    }
    Ok(basis::Verdict { cost_ns: verdict.cost_ns.min(whole_ns), ..verdict })
}

/// Turns a rule's outcome into a finding.
fn finding(rule: &Rule, basis: &Basis<'_>, outcome: Outcome) -> Finding {
    let count = basis.request_count();
    let id = rule.id;
    match outcome {
        Ok(verdict) => {
            let (answer, cost_ns, advice) = if verdict.present {
                let advice = advice(rule, basis, verdict.next_step);
                (Answer::Present, verdict.cost_ns, priced(advice, basis.snapshot))
            } else {
                (Answer::Absent, 0, Advice::default())
            };
            let mut finding = Finding {
                id,
                answer,
                sentence: verdict.sentence,
                cost_ns,
                evidence: verdict.evidence,
                count,
                exemplars: verdict.exemplars,
                advice: advice.to_string(),
                steps: advice,
                outlook: None,
            };
            remark_losses(basis, &mut finding);
            finding.sentence.push('.');
            finding
        }
        Err(undecided) => {
            let next_step = match undecided.next_step.trim_end_matches('.') {
                "" => Advice::default(),
                text => act(text).into(),
            };
            Finding {
                id,
                sentence: format!("Cannot say whether {}: {}.", rule.question, undecided.reason),
                answer: Answer::Undecided { reason: undecided.reason },
                cost_ns: 0,
                evidence: undecided.evidence,
                count,
                exemplars: Vec::new(),
                advice: next_step.to_string(),
                steps: next_step,
                outlook: None,
            }
        }
    }
}

/// Says of losses that they were, in the evidence, and in a sentence without its full stop where it has room.
fn remark_losses(basis: &Basis<'_>, finding: &mut Finding) {
    if !basis.snapshot.coverage.losses.any() {
        return;
    }
    let lost = basis.lost_ratio();
    finding.evidence.push(basis::explains("records_lost_ratio", lost));
    // Where there is no room, the evidence and the top of the report say it.
    if lost == 0.0 || lost >= basis.thresholds.lost_said_min_ratio {
        add_where_room(&mut finding.sentence, &loss_remark(lost));
    }
}

/// What a sentence says of losses that were too few to make its rule undecided: it is less certain.
fn loss_remark(lost_ratio: f64) -> String {
    if lost_ratio > 0.0 {
        format!(" (with {} of the records lost)", words::percent(lost_ratio))
    } else {
        " (with an incomplete recording)".to_owned()
    }
}

/// The step that the numbers themselves suggest, and the setting to change for this server.
fn advice(rule: &Rule, basis: &Basis<'_>, next_step: Option<NextStep>) -> Advice {
    let server = &basis.snapshot.server;
    let site = Site::of(basis.snapshot);
    let kind = server::kind_named(&server.name);
    let setting = || kind.advice(rule.id, server, &site).unwrap_or_else(rule.advice);
    match next_step {
        Some(NextStep::After(step)) => setting().followed_by(step),
        Some(NextStep::Instead(step)) => step,
        None => setting(),
    }
}
