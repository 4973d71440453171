//! Verdicts: pure rules over a snapshot, one file each.
//!
//! In: a [`Snapshot`] and the [`Thresholds`]. Out: one [`Finding`] per rule, with one of three answers. A
//! finding without evidence does not exist. To add one: its file with a `RULE`, its page under
//! `docs/findings/`, its limits in the table of [`threshold`], its line in [`RULES`].

mod accept_queue;
mod agree;
mod back_end;
mod back_end_connections;
mod back_end_slower;
mod backlog_too_small;
pub mod basis;
mod cause;
mod clients_leave;
mod computing_line;
mod cpu_bound;
mod cpu_throttled;
mod descriptor_limit;
pub mod follows;
mod free;
mod full;
mod full_beside_free;
mod gil;
mod gil_contention;
mod gil_convoy;
mod gil_not_released;
mod gil_starvation;
mod gil_threads;
mod healthy;
mod herd;
mod idle_connections;
mod ill_worker;
mod imbalance;
mod keep_alive_race;
mod loop_blocked;
mod loop_line;
mod loop_saturated;
mod name_lookups;
pub mod outlook;
mod own_locks;
mod server_errors;
mod short_behind_long;
mod sized;
mod slots_exhausted;
mod slow_clients;
mod sums;
pub mod threshold;
mod words;
mod worker_timeouts;
mod workers_replaced;

#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod property;

use crate::fact::Attached;
use crate::model::Snapshot;
use crate::server::advice::{Advice, Change, Move, Sizes, act, say};
use crate::server::{self, site::Site};
use basis::{Basis, NextStep, Outcome, Undecided};
use follows::Follows;
use outlook::Outlook;
pub use sums::is_request_time;
pub use threshold::Thresholds;

/// A rule's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is so.
    Present,
    /// It is not so.
    Absent,
    /// It cannot be said, and why.
    Undecided {
        /// Why, as a clause that follows "undecided: ".
        reason: String,
    },
}

impl Answer {
    /// Its place in every list: present ones first, then undecided, then absent.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Present => 0,
            Self::Undecided { .. } => 1,
            Self::Absent => 2,
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
    /// Stable id, as in `wsgi-trace explain ID` (`slots-exhausted`).
    pub id: &'static str,
    /// The answer.
    pub answer: Answer,
    /// One sentence for a tired person, with its numbers.
    pub sentence: String,
    /// Request-seconds that it cost, in nanoseconds.
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
    /// The finding that is its cause; `None`: no measured time says that there is one.
    pub follows: Option<Follows>,
    /// The finding whose advice comes first: this one's would change the same setting the other way, or only
    /// points there.
    pub yields_to: Option<&'static str>,
    /// Endpoints that the advice would have apart from the others, by method and route.
    pub apart: Vec<String>,
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
    /// A line for lists.
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

/// Every rule, in the order of the catalogue.
pub const RULES: &[Rule] = &[
    slots_exhausted::RULE,
    slow_clients::RULE,
    idle_connections::RULE,
    loop_blocked::RULE,
    loop_saturated::RULE,
    back_end::RULE,
    back_end_connections::RULE,
    back_end_slower::RULE,
    name_lookups::RULE,
    own_locks::RULE,
    cpu_bound::RULE,
    cpu_throttled::RULE,
    gil_contention::RULE,
    gil_starvation::RULE,
    gil_not_released::RULE,
    gil_convoy::RULE,
    gil_threads::RULE,
    short_behind_long::RULE,
    herd::RULE,
    accept_queue::RULE,
    backlog_too_small::RULE,
    descriptor_limit::RULE,
    server_errors::RULE,
    worker_timeouts::RULE,
    clients_leave::RULE,
    keep_alive_race::RULE,
    imbalance::RULE,
    full_beside_free::RULE,
    ill_worker::RULE,
    workers_replaced::RULE,
    healthy::RULE,
];

/// What every rule says: the present ones first, the costliest of them on top, then the undecided, then the
/// absent.
pub fn evaluate(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let basis = Basis::new(snapshot, thresholds);
    let mut findings = Vec::with_capacity(RULES.len());
    for rule in RULES {
        if let Judge::Measured(judge) = rule.judge {
            findings.push(finding(rule, &basis, measured(rule, &basis, judge)));
        }
    }
    let mut summaries = Vec::new();
    for rule in RULES {
        if let Judge::Summary(judge) = rule.judge {
            summaries.push(finding(rule, &basis, judge(&basis, &findings)));
        }
    }
    agree::reconcile(&mut findings, basis::served_ns(basis.phases()));
    follows::find(&basis, &mut findings);
    findings.append(&mut summaries);
    // The sort is stable: equals stay in the order of the catalogue.
    // What is not present costs nothing.
    findings.sort_by_key(|finding| (finding.answer.rank(), std::cmp::Reverse(finding.cost_ns)));
    findings
}

/// Whether a run in light mode has what a rule rests on.
type Tells = fn(&Snapshot) -> bool;

/// The rules that are judged in light mode, where the run has what they rest on.
const JUDGED_IN_LIGHT: &[(&str, Tells)] = &[
    (cpu_throttled::RULE.id, |_| true),
    (backlog_too_small::RULE.id, |snapshot| snapshot.sockets.listeners.iter().any(|one| one.queue.is_some())),
    (server_errors::RULE.id, |_| true),
    (gil_contention::RULE.id, |_| true),
    (gil_starvation::RULE.id, |_| true),
    (gil_not_released::RULE.id, |_| true),
    (gil_convoy::RULE.id, |_| true),
    (gil_threads::RULE.id, |_| true),
    (slots_exhausted::RULE.id, tells_slots),
    (slow_clients::RULE.id, tells_slots),
    (clients_leave::RULE.id, tells_ends),
    (keep_alive_race::RULE.id, tells_ends),
    (worker_timeouts::RULE.id, tells_ends),
    (descriptor_limit::RULE.id, |snapshot| snapshot.dropped.accepts_not_measured.is_none()),
];

fn tells_ends(snapshot: &Snapshot) -> bool {
    snapshot.dropped.not_measured.is_none()
}

fn tells_slots(snapshot: &Snapshot) -> bool {
    snapshot.slots.not_measured.is_none()
}

/// Why a rule is not judged in light mode.
fn not_judged(rule: &Rule, snapshot: &Snapshot) -> String {
    let dropped = &snapshot.dropped;
    let reason = match rule.id {
        id if [slots_exhausted::RULE.id, slow_clients::RULE.id].contains(&id) => {
            snapshot.slots.not_measured.as_deref()
        }
        id if id == descriptor_limit::RULE.id => dropped.accepts_not_measured.as_deref(),
        id if [clients_leave::RULE.id, keep_alive_race::RULE.id, worker_timeouts::RULE.id].contains(&id) => {
            dropped.not_measured.as_deref()
        }
        _ => None,
    };
    reason.unwrap_or(Attached::LIGHT_SEES_NO_CALLS).to_owned()
}

/// In light mode only what rests on no system call can be judged.
fn measured(rule: &Rule, basis: &Basis<'_>, judge: fn(&Basis<'_>) -> Outcome) -> Outcome {
    let snapshot = basis.snapshot;
    let is_told = || JUDGED_IN_LIGHT.iter().any(|(id, is_told)| *id == rule.id && is_told(snapshot));
    if snapshot.attached.is_light() && !is_told() {
        return Err(Undecided {
            reason: not_judged(rule, snapshot),
            next_step: "Trace for a minute without --light while it is slow.",
            evidence: Vec::new(),
        });
    }
    let outcome = judge(basis).and_then(|verdict| sums::possible(rule.id, basis, verdict));
    if rule.id.starts_with("gil-") {
        outcome.and_then(|verdict| gil::of_all(basis, verdict))
    } else {
        outcome
    }
}

/// Turns a rule's outcome into a finding.
fn finding(rule: &Rule, basis: &Basis<'_>, outcome: Outcome) -> Finding {
    let count = basis.request_count();
    let id = rule.id;
    match outcome {
        Ok(verdict) => {
            let mut evidence = verdict.evidence;
            let mut sentence = verdict.sentence;
            if basis.snapshot.coverage.losses.any() {
                let lost = basis.lost_ratio();
                evidence.push(basis::explains("records_lost_ratio", lost));
                let remark = loss_remark(lost);
                let worth_saying = lost == 0.0 || lost >= basis.thresholds.lost_said_min_ratio;
                // Where there is no room, the evidence and the top of the report say it.
                if worth_saying {
                    add_where_room(&mut sentence, &remark);
                }
            }
            sentence.push('.');
            let (answer, cost_ns, advice) = if verdict.present {
                let advice = free::without_more(id, basis, advice(rule, basis, verdict.next_step));
                let advice = sized::with_numbers(id, basis, advice);
                let advice = within_cores(advice, basis.snapshot);
                (Answer::Present, verdict.cost_ns, with_price(advice, basis.snapshot))
            } else {
                (Answer::Absent, 0, Advice::default())
            };
            let exemplars = verdict.exemplars;
            Finding {
                id,
                answer,
                sentence,
                cost_ns,
                evidence,
                count,
                exemplars,
                advice: advice.to_string(),
                steps: advice,
                follows: None,
                yields_to: None,
                apart: verdict.apart,
                outlook: None,
            }
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
                follows: None,
                yields_to: None,
                apart: Vec::new(),
                outlook: None,
            }
        }
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

/// The same without what is at its limit already: as many processes as there are cores.
fn within_cores(advice: Advice, snapshot: &Snapshot) -> Advice {
    let cores = u64::from(snapshot.session.cpu_count);
    let faster = || act("make what computes faster").because("there are as many processes as cores").into();
    if cores == 0 { advice } else { advice.within_cores(cores).unwrap_or_else(faster) }
}

/// The same with what a further process takes, where it says to have more of them and that was measured.
fn with_price(advice: Advice, snapshot: &Snapshot) -> Advice {
    let more = Move::up(Sizes::Processes);
    let is_raise = |change: &&Change| change.moves() == Some(more);
    let workers = || snapshot.capacity.workers.iter();
    let each_bytes = workers().filter_map(|worker| worker.memory?.proportional_bytes).max();
    let (Some(bytes), true) = (each_bytes, advice.changes().iter().any(is_raise)) else { return advice };
    let price = format!("each further process takes some {:.0} MB of memory (PSS)", bytes as f64 / 1e6);
    // It goes where what it is the price of goes.
    advice.then(say(price).more(Sizes::Processes))
}

/// The step that the numbers themselves suggest, and the setting to change for this server.
fn advice(rule: &Rule, basis: &Basis<'_>, next_step: Option<NextStep>) -> Advice {
    let server = &basis.snapshot.server;
    let site = Site::of(basis.snapshot);
    let kind = server::kind_named(&server.name);
    let setting = || kind.advice(rule.id, server, &site).unwrap_or_else(rule.advice);
    match next_step {
        Some(NextStep::After(step)) => setting().followed_by(step),
        Some(NextStep::For { case, otherwise }) => {
            let case = format!("{}/{case}", rule.id);
            kind.advice(&case, server, &site).unwrap_or_else(otherwise)
        }
        Some(NextStep::Instead(step)) => step,
        None => setting(),
    }
}
