//! The words that reports, metrics and alerts use, each with its kind.
//!
//! In: nothing. Out: [`all`]. What a word means is said where it is declared: a finding by its rule, a phase
//! by the vocabulary, a cause by the model, an alert by the guide.

use profiler_core::finding::RULES;
use profiler_core::model::chain::LeafKind;
use profiler_core::model::dropped::Cause;
use profiler_core::model::slot::Holding;
use profiler_core::phase::Phase;
use profiler_core::timeline::ThreadState;
use profiler_core::verdict::Pattern;

use super::alert;
use crate::report::chain_words;
use crate::report::vocabulary::{Term, of_holding, of_phase, of_state};

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A rule's verdict.
    Finding,
    /// Where a request's time went.
    Phase,
    /// What a thread does, where that is no phase.
    State,
    /// What a slot is held by, where that is no phase.
    Holding,
    /// What a request waited for, in the end, where that is no phase.
    Leaf,
    /// What kind of sentence a report begins with.
    Verdict,
    /// Why a connection was not served.
    Cause,
    /// One of `dashboards/alerts.yml`.
    Alert,
}

impl Kind {
    /// All kinds, in the order of the list.
    pub(super) const ALL: [Self; 8] = [
        Self::Finding,
        Self::Phase,
        Self::State,
        Self::Holding,
        Self::Leaf,
        Self::Verdict,
        Self::Cause,
        Self::Alert,
    ];

    /// What a word of this kind is.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Finding => "a finding, which says what is wrong and what to do",
            Self::Phase => "a phase, a part of the time of requests",
            Self::State => "a thread state, what a thread does at a moment",
            Self::Holding => "what holds a slot",
            Self::Leaf => "a leaf, what a request waited for in the end, or its own work",
            Self::Verdict => "a verdict, what kind of sentence a report begins with",
            Self::Cause => "a cause, the reason why a connection was not served",
            Self::Alert => "an alert on the metrics of wsgi-trace serve",
        }
    }

    /// Heading of all words of this kind.
    pub(super) const fn heading(self) -> &'static str {
        match self {
            Self::Finding => "Findings that wsgi-trace looks for:",
            Self::Phase => "Phases of a request:",
            Self::State => "States of a thread that are no phases:",
            Self::Holding => "What holds a slot:",
            Self::Leaf => "What requests waited for, in the end:",
            Self::Verdict => "Verdicts, by which a report begins:",
            Self::Cause => "Causes of dropped connections:",
            Self::Alert => "Alerts:",
        }
    }
}

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What it is.
    pub(super) kind: Kind,
    /// As it is written.
    pub(super) name: String,
    /// What it means, in a few words.
    pub(super) meaning: String,
}

impl Word {
    /// What words have in common that differ by a stroke: `back_end`, `back-end`, `WsgiBackEnd`.
    pub(super) fn key(&self) -> String {
        key(&self.name)
    }
}

/// A name without what people confuse: case, strokes, a plural, the prefix of alerts.
pub(super) fn key(name: &str) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let lower = letters.to_ascii_lowercase();
    let lower = lower.strip_prefix("wsgi").unwrap_or(&lower);
    lower.strip_suffix('s').unwrap_or(lower).to_owned()
}

/// All words; those of a kind stand together.
pub(super) fn all() -> Vec<Word> {
    let word = |kind: Kind, name: &str, meaning: &str| Word {
        kind,
        name: name.to_owned(),
        meaning: meaning.to_owned(),
    };
    let term = |kind: Kind, term: Term| word(kind, term.name, term.meaning);
    let phases: Vec<Term> = Phase::ALL.into_iter().map(of_phase).collect();
    let is_new = |term: &Term| !phases.iter().any(|phase| phase.name == term.name);
    let findings = RULES.iter().map(|rule| word(Kind::Finding, rule.id, rule.title));
    let states = ThreadState::ALL.into_iter().map(of_state).filter(is_new);
    let holdings = Holding::ALL.into_iter().map(of_holding).filter(is_new);
    let is_known = |name| Holding::ALL.iter().any(|holding| holding.name() == name);
    let is_new_leaf =
        |kind: &LeafKind| !phases.iter().any(|phase| phase.name == kind.name()) && !is_known(kind.name());
    let leaves = LeafKind::ALL.into_iter().filter(is_new_leaf);
    let leaves = leaves.map(|kind| word(Kind::Leaf, kind.name(), chain_words::of_kind(kind)));
    let is_leaf = |name| LeafKind::ALL.iter().any(|kind| kind.name() == name);
    let is_rule = |name| RULES.iter().any(|rule| rule.id == name);
    let patterns = Pattern::ALL.into_iter().filter(|one| !is_leaf(one.name()) && !is_rule(one.name()));
    let verdicts = patterns.map(|one| {
        let meaning = one.meaning().trim_end_matches('.');
        word(Kind::Verdict, one.name(), meaning)
    });
    let causes = Cause::ALL.into_iter().map(|cause| word(Kind::Cause, cause.name(), cause.words()));
    let alerts = alert::all().map(|(name, meaning)| Word { kind: Kind::Alert, name, meaning });
    findings
        .chain(phases.iter().map(|phase| term(Kind::Phase, *phase)))
        .chain(states.map(|state| term(Kind::State, state)))
        .chain(holdings.map(|holding| term(Kind::Holding, holding)))
        .chain(leaves)
        .chain(verdicts)
        .chain(causes)
        .chain(alerts)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_words_are_written_alike() {
        let mut names: Vec<String> = all().into_iter().map(|word| word.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_alert_of_the_rules_is_a_word_and_no_other() {
        let rules = include_str!("../../../../dashboards/alerts.yml");
        let mut ruled: Vec<&str> =
            rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
        let words = all();
        let mut known: Vec<&str> =
            words.iter().filter(|word| word.kind == Kind::Alert).map(|word| word.name.as_str()).collect();
        ruled.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, ruled);
    }

    #[test]
    fn words_that_differ_by_a_stroke_have_one_key() {
        for names in [
            ["back_end", "back-end", "WsgiBackEnd"],
            ["worker_timeout", "worker-timeouts", "WsgiWorkerTimeouts"],
        ] {
            let keys = names.map(key);
            assert!(keys.iter().all(|one| *one == keys[0]), "{keys:?}");
        }
    }
}
