//! Findings that are patterns over leaves of chains.
//!
//! In: a [`Basis`] with its leaves, and who is accused by the verdict. Out: one [`Finding`] for each such
//! rule. Each leaf belongs to the first rule that matches it, so no second of request time is told twice; a
//! leaf of no rule is said without a name.

pub(super) mod back_end;
pub(super) mod child_process;
pub(super) mod cpu_bound;
pub(super) mod cpu_taken;
pub(super) mod cpu_throttled;
pub(super) mod file_lock;
pub(super) mod full_pipe;
pub(super) mod gil_contention;
pub(super) mod gil_not_released;
pub(super) mod idle_connections;
pub(super) mod lasting_connections;
pub(super) mod lock_not_released;
pub(super) mod loop_blocked;
pub(super) mod name_lookups;
pub(super) mod nobody_serves;
pub(super) mod sleeping;
pub(super) mod slow_clients;
pub(super) mod slow_file;
pub(super) mod spinning_thread;
pub(super) mod stood_still;

use std::collections::BTreeMap;

use super::basis::{self, Basis, Undecided};
use super::words::{duration, name, percent, ratio};
use super::{Answer, Evidence, Finding, Judge, RULES, Rule};
use crate::model::chain::{LeafKind, LeafTime, TakenBy};
use crate::phase::Phase;
use crate::server::advice::{Advice, act};

/// Requests that are named as examples.
const EXEMPLARS: usize = 5;
/// Characters of an endpoint's method, and of its path.
const METHOD_CHARS: usize = 8;
const PATH_CHARS: usize = 32;

/// The rule whose leaf this is; `None`: nobody's.
pub fn rule_of(time: &LeafTime) -> Option<&'static Rule> {
    RULES.iter().find(|rule| matches!(rule.judge, Judge::Leaves(is_its) if is_its(time)))
}

/// Whether the rule of this id is a pattern over leaves.
pub fn is_of_leaves(id: &str) -> bool {
    RULES.iter().any(|rule| rule.id == id && matches!(rule.judge, Judge::Leaves(_)))
}

/// What a verdict accuses.
#[derive(Clone, Debug)]
pub(crate) struct Accused {
    /// Its rule.
    pub(crate) id: &'static str,
    /// What is measured of its leaves to tell what it costs, in nanoseconds.
    pub(crate) measure: fn(&LeafTime) -> u64,
    /// Endpoint that is at it, by its number; 0: none, or not known.
    pub(crate) endpoint: u32,
    /// What decided: a share of request time, with the limit.
    pub(crate) decided: Evidence,
    /// Request time that would not have been without it; `None`: not replayed.
    pub(crate) prevented_ns: Option<u64>,
    /// What to change.
    pub(crate) advice: Advice,
}

/// What the rules over leaves say.
pub(crate) fn findings(basis: &Basis<'_>, accused: &[Accused]) -> Vec<Finding> {
    let mut leaves: BTreeMap<&str, Vec<&LeafTime>> = BTreeMap::new();
    for row in &basis.snapshot.chains.leaves {
        if let Some(rule) = rule_of(row) {
            leaves.entry(rule.id).or_default().push(row);
        }
    }
    let of = |rule: &Rule| {
        let accused = accused.iter().find(|accused| accused.id == rule.id);
        let its_leaves = leaves.get(rule.id).map_or(&[][..], Vec::as_slice);
        finding(basis, rule, its_leaves, accused)
    };
    RULES.iter().filter(|rule| matches!(rule.judge, Judge::Leaves(_))).map(of).collect()
}

/// What a rule's leaves come to.
struct Sums {
    held_ns: u64,
    inflicted_ns: u64,
    /// By what it is accused of.
    waited_ns: u64,
    /// The most that one request has of it.
    longest_ns: u64,
    exemplars: Vec<u64>,
}

impl Sums {
    fn of(its_leaves: &[&LeafTime], measure: fn(&LeafTime) -> u64) -> Self {
        let rows = || its_leaves.iter().copied();
        let examples = rows().filter_map(|row| row.example.as_ref());
        let mut exemplars: Vec<(u64, u64)> = examples.map(|one| (one.wait_ns, one.request)).collect();
        exemplars.sort_by_key(|(wait_ns, id)| (std::cmp::Reverse(*wait_ns), *id));
        exemplars.dedup_by_key(|(_, id)| *id);
        Self {
            held_ns: rows().fold(0, |sum, row| sum.saturating_add(row.held_ns)),
            inflicted_ns: rows().fold(0, |sum, row| sum.saturating_add(row.inflicted_ns())),
            waited_ns: rows().fold(0, |sum, row| sum.saturating_add(measure(row))),
            longest_ns: rows().filter(|row| measure(row) > 0).map(|row| row.longest_ns).max().unwrap_or(0),
            exemplars: exemplars.into_iter().take(EXEMPLARS).map(|(_, id)| id).collect(),
        }
    }
}

fn finding(basis: &Basis<'_>, rule: &Rule, its_leaves: &[&LeafTime], accused: Option<&Accused>) -> Finding {
    let sums = Sums::of(its_leaves, accused.map_or(LeafTime::inflicted_ns, |accused| accused.measure));
    let held = ratio(sums.held_ns, basis.snapshot.chains.request_ns);
    let mut finding = Finding {
        id: rule.id,
        answer: Answer::Absent,
        sentence: format!("Requests were {} of their time where {}.", percent(held), rule.title),
        cost_ns: 0,
        evidence: evidence(basis, &sums),
        count: basis.request_count(),
        exemplars: Vec::new(),
        advice: String::new(),
        steps: Advice::default(),
        outlook: None,
    };
    if let Some(accused) = accused {
        accuse(basis, rule, (accused, &sums), &mut finding);
        finding.exemplars = sums.exemplars;
    } else if let Err(undecided) = is_measured(basis, &sums) {
        finding.sentence = format!("Cannot say whether {}: {}.", rule.question, undecided.reason);
        finding.answer = Answer::Undecided { reason: undecided.reason };
        finding.evidence.extend(undecided.evidence);
        let next_step = undecided.next_step.trim_end_matches('.');
        if !next_step.is_empty() {
            finding.advise(act(next_step).into());
        }
    } else if held >= basis.thresholds.usual_min_ratio {
        finding.answer = Answer::Usual;
        finding.exemplars = sums.exemplars;
    }
    finding
}

fn accuse(basis: &Basis<'_>, rule: &Rule, (accused, sums): (&Accused, &Sums), finding: &mut Finding) {
    let whole_ns = basis.snapshot.chains.request_ns;
    let endpoint = basis.snapshot.chains.endpoint(accused.endpoint);
    finding.answer = Answer::Present;
    // One figure goes with it: what would not have been without it.
    finding.cost_ns = accused.prevented_ns.unwrap_or(sums.waited_ns).min(whole_ns);
    finding.sentence = format!(
        "Requests waited {} of their time (up to {}) because {}{}",
        percent(ratio(sums.waited_ns, whole_ns)),
        duration(sums.longest_ns),
        rule.title,
        endpoint.map_or_else(String::new, |at| format!(", in {}", named(at))),
    );
    super::remark_losses(basis, finding);
    finding.sentence.push('.');
    finding.evidence.push(accused.decided.clone());
    finding.advise(accused.advice.clone());
}

/// Method and path, bounded and harmless.
fn named(endpoint: &str) -> String {
    match endpoint.split_once(' ') {
        Some((method, path)) => format!("{} {}", name(method, METHOD_CHARS), name(path, PATH_CHARS)),
        None => name(endpoint, PATH_CHARS),
    }
}

fn evidence(basis: &Basis<'_>, sums: &Sums) -> Vec<Evidence> {
    let whole_ns = basis.snapshot.chains.request_ns;
    vec![
        basis::explains("held_ratio", ratio(sums.held_ns, whole_ns)),
        basis::explains("held_seconds", sums.held_ns as f64 / 1e9),
        basis::explains("inflicted_seconds", sums.inflicted_ns as f64 / 1e9),
    ]
}

/// Gate before something is called usual or ruled out: chains were followed, but for so little that it would
/// be too little still, were all of it of this kind.
fn is_measured(basis: &Basis<'_>, sums: &Sums) -> Result<(), Undecided> {
    basis.require_window()?;
    basis.require_requests()?;
    let chains = &basis.snapshot.chains;
    let unknown_ns = chains.not_followed_ns();
    let least = basis.thresholds.usual_min_ratio;
    let at_most = ratio(sums.held_ns.saturating_add(unknown_ns), chains.request_ns);
    if chains.request_ns > 0 && (at_most < least || ratio(sums.held_ns, chains.request_ns) >= least) {
        return Ok(());
    }
    let unknown = ratio(unknown_ns, chains.request_ns);
    Err(Undecided {
        reason: if chains.request_ns == 0 {
            "no request's time was followed".to_owned()
        } else {
            format!("{} of request time was not followed to its end", percent(unknown))
        },
        next_step: "See what was not followed, and why, under what requests waited for.",
        evidence: vec![basis::decides("not_followed_ratio", unknown, least)],
    })
}

/// Whether requests wait in such a phase on the way there.
fn by_way_of(time: &LeafTime, phase: Phase) -> bool {
    time.hops.iter().any(|hop| hop == phase)
}

/// Whether it is none of what the thread at the end does.
const fn is_from_outside(time: &LeafTime) -> bool {
    matches!(
        time.leaf.kind,
        LeafKind::CpuTaken
            | LeafKind::StoodStill
            | LeafKind::NotReleased
            | LeafKind::NoThread
            | LeafKind::NotFollowed
    )
}

/// Whether the CPU is taken, by such.
fn taken_by(time: &LeafTime, is_such: impl Fn(TakenBy) -> bool) -> bool {
    time.leaf.kind == LeafKind::CpuTaken && time.leaf.taken_by.is_some_and(is_such)
}
