//! What became of a change: windows of a server before it against windows after it.
//!
//! In: whole windows as they end, and that the server went away between two of them. Out: a [`Change`], once
//! two windows can be compared. A change is a restart, or a reload that replaces all workers; which settings
//! differ is read from the server.

use profiler_core::fact::EndReason;
use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;
use serde::Serialize;

use crate::compare::duration::duration;
use crate::compare::statistics::Verdict;
use crate::compare::{Difference, Side, compare};

/// The finding that all workers were replaced.
const REPLACED: &str = "workers-replaced";
/// Windows after a restart that are not compared: caches are empty in the first.
const WARMING_UP: u32 = 1;
/// Windows that are tried, until one was asked the same as the one before the change.
const TRIES: u32 = 5;
/// Workers that are replaced again within so many windows are recycled.
const RECYCLED_WITHIN: u32 = 20;
/// Settings that are named.
const NAMED: usize = 3;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Requests take less time.
    Better,
    /// Requests take more time.
    Worse,
    /// No change of the mean can be shown.
    NoBetter,
    /// Something else was asked, or too little.
    NotComparable,
}

impl Outcome {
    /// All names.
    pub const NAMES: [&str; 4] = ["better", "worse", "no_better", "not_comparable"];

    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        let [better, worse, no_better, not_comparable] = Self::NAMES;
        match self {
            Self::Better => better,
            Self::Worse => worse,
            Self::NoBetter => no_better,
            Self::NotComparable => not_comparable,
        }
    }

    fn of(difference: &Difference) -> Self {
        match difference.total_ns.verdict {
            _ if !difference.comparable => Self::NotComparable,
            Verdict::Less => Self::Better,
            Verdict::More => Self::Worse,
            Verdict::NotShown => Self::NoBetter,
            Verdict::TooFew => Self::NotComparable,
        }
    }
}

/// A change, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// What became of it, by its name.
    pub outcome: &'static str,
    /// The change and what became of it, in a sentence. Hostile input.
    pub sentence: String,
    /// Everything in which the windows differ: A is before, B is after.
    pub difference: Difference,
}

/// What happened between two windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Restarted,
    Replaced,
}

/// A change of which it is not known yet what became of it.
#[derive(Clone, Copy, Debug)]
struct Pending {
    event: Event,
    /// Windows still to be left out.
    left_out: u32,
    /// Windows still to be tried.
    tries: u32,
}

/// The window before a change, until there is one after it.
#[derive(Debug, Default)]
pub struct Changes {
    before: Option<Side>,
    pending: Option<Pending>,
    /// Windows since all workers were replaced; `None`: they were not.
    since_replaced: Option<u32>,
}

impl Changes {
    /// The server went away: what comes next is another one.
    pub fn restarted(&mut self) {
        self.happened(Event::Restarted, WARMING_UP);
    }

    /// A window has ended.
    pub fn window(&mut self, snapshot: &Snapshot, findings: &[Finding]) -> Option<Change> {
        if snapshot.window.end_reason != Some(EndReason::NextWindow) {
            return None;
        }
        let is_replaced = |finding: &Finding| finding.id == REPLACED && finding.answer == Answer::Present;
        if findings.iter().any(is_replaced) {
            // A server that recycles its workers does so again and again: that is no change.
            if self.since_replaced.replace(0).is_none_or(|windows| windows >= RECYCLED_WITHIN) {
                self.happened(Event::Replaced, 0);
            }
            return None;
        }
        self.since_replaced = self.since_replaced.map(|windows| windows.saturating_add(1));
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.left_out > 0) {
            pending.left_out -= 1;
            return None;
        }
        let after = Side::of(snapshot, findings)?;
        let (Some(pending), Some(before)) = (&mut self.pending, &self.before) else {
            self.before = Some(after);
            return None;
        };
        let difference = compare(before, &after);
        pending.tries = pending.tries.saturating_sub(1);
        let outcome = Outcome::of(&difference);
        if outcome == Outcome::NotComparable && pending.tries > 0 {
            return None;
        }
        let sentence = format!("{}: {}", what(pending.event, &difference), became(outcome, &difference));
        (self.before, self.pending) = (Some(after), None);
        Some(Change { outcome: outcome.name(), sentence, difference })
    }

    /// Of several changes in a row, all are compared with what was before the first.
    fn happened(&mut self, event: Event, left_out: u32) {
        if self.before.is_some() {
            self.pending = Some(Pending { event, left_out, tries: TRIES });
        }
    }
}

/// Which settings differ; where none does, what happened.
fn what(event: Event, difference: &Difference) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
    let named = difference.settings.iter().take(NAMED);
    let settings: Vec<String> = named
        .map(|setting| format!("{} {} → {}", setting.name, value(&setting.a), value(&setting.b)))
        .collect();
    let more = difference.settings.len().saturating_sub(NAMED);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match event {
        _ if !settings.is_empty() => settings.join(", ") + &and_more,
        Event::Restarted => "restarted".to_owned(),
        Event::Replaced => "all workers replaced".to_owned(),
    }
}

/// What became of it.
fn became(outcome: Outcome, difference: &Difference) -> String {
    let doubts = difference.doubts.iter().filter(|doubt| doubt.forbids_verdict);
    let doubts: Vec<&str> = doubts.map(|doubt| doubt.sentence.as_str()).collect();
    let head = match outcome {
        Outcome::NotComparable if doubts.is_empty() => {
            return "cannot be compared: too few requests".to_owned();
        }
        Outcome::NotComparable => {
            return format!("cannot be compared (A is before, B is after): {}", doubts.join("; "));
        }
        Outcome::Better => "better",
        Outcome::Worse => "worse",
        Outcome::NoBetter => "no better that could be shown",
    };
    let mean = &difference.total_ns;
    let mut parts = vec![format!("{head}: {} → {} on average", duration(mean.a), duration(mean.b))];
    if let [Some(before), Some(after)] = difference.requests.p99_ns {
        parts.push(format!("p99 {} → {}", duration(before as f64), duration(after as f64)));
    }
    for what in ["gone", "new"] {
        let of_kind = difference.findings.iter().filter(|finding| finding.what == what);
        parts.extend(of_kind.map(|finding| format!("{}: {what}", finding.id)));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests;
