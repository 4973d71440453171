//! What a report must say of a problem, and may not say.
//!
//! In: the JSON report. Out: how much request time is at the leaf that must be named, and at those that may
//! not be.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use profiler_core::model::chain::LeafKind;
use serde::Deserialize;
use serde_json::Value;

use crate::named::{self, Mark};

/// Of a whole, a leaf that may not be named may have this share …
const FALSE_SHARE: f64 = 0.1;
/// … and one that is cured this share of what it had: a process that starts again takes a moment, cured or
/// not.
const CURED_SHARE: f64 = 0.2;

/// What a leaf's share is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// All request time but what requests computed, read and wrote themselves.
    Waiting,
    /// All request time.
    Requests,
}

/// What must be said.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Kinds of leaves, any of which it may be called; none: there is no leaf to name.
    pub kinds: &'static [LeafKind],
    /// Hops, one of which leads there; none: by any way.
    pub by: &'static [&'static str],
    /// Words, one of each group of which a leaf must say.
    pub words: &'static [(&'static str, &'static [&'static str])],
    /// It has at least so much …
    pub share: f64,
    /// … of this.
    pub of: Whole,
    /// Kinds that may not have more than a tenth of it.
    pub never: &'static [LeafKind],
    /// Light mode has what it takes to name it.
    pub is_light: bool,
}

/// Kinds of work that every request has.
const WORK: [LeafKind; 4] = [LeafKind::Computing, LeafKind::CpuTaken, LeafKind::Reading, LeafKind::Writing];

/// One leaf.
#[derive(Debug, Deserialize)]
struct SaidLeaf {
    kind: String,
    hops: Vec<String>,
    held_ns: u64,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// What a report says of a problem.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// At leaves of the kind, by the way.
    pub held_ns: f64,
    /// At those of them that say the words.
    pub named_ns: f64,
    /// The whole that it is a part of.
    pub whole_ns: f64,
    /// What is not said of the object.
    pub missing: Vec<String>,
    /// Of what may not be said: more than a tenth of the whole.
    pub lies: Vec<String>,
    /// All kinds, with their shares of request time in percent.
    pub kinds: BTreeMap<String, f64>,
    /// The verdict: the kind that it names, and its sentence.
    pub verdict: Option<(String, String)>,
}

impl Said {
    /// Its share of the whole.
    pub fn share(&self) -> f64 {
        self.held_ns / self.whole_ns.max(1.0)
    }
}

impl Expected {
    /// What light mode must say: a request's way is not known there. Where it cannot name the leaf it may not
    /// name another.
    pub const fn in_light_mode(self) -> Self {
        let kinds: &[LeafKind] = if self.is_light { self.kinds } else { &[] };
        Self { by: &[], kinds, ..self }
    }

    /// Reads a JSON report; `marks` must be named beside [`Self::words`].
    ///
    /// # Errors
    ///
    /// Where it has no chains.
    pub fn read(&self, report: &Value, marks: &[Mark]) -> anyhow::Result<Said> {
        let chains = report.get("chains").context("no chains")?;
        let leaves: Vec<SaidLeaf> =
            serde_json::from_value(chains.get("leaves").context("no leaves")?.clone())?;
        let request_ns = chains.get("request_ns").and_then(Value::as_f64).context("no request time")?;
        let is_one = |kinds: &[LeafKind], leaf: &SaidLeaf| kinds.iter().any(|kind| kind.name() == leaf.kind);
        let sum = |is: &dyn Fn(&SaidLeaf) -> bool| -> f64 {
            leaves.iter().filter(|leaf| is(leaf)).map(|leaf| leaf.held_ns as f64).sum()
        };
        let waits = |leaf: &SaidLeaf| !is_one(&WORK, leaf) || is_one(self.kinds, leaf);
        let whole_ns = if self.of == Whole::Waiting { sum(&waits) } else { request_ns };
        let leads = |leaf: &SaidLeaf| {
            self.by.is_empty() || leaf.hops.iter().any(|hop| self.by.contains(&hop.as_str()))
        };
        let is_it = |leaf: &SaidLeaf| is_one(self.kinds, leaf) && leads(leaf);
        let texts: Vec<(String, f64)> = leaves
            .iter()
            .filter(|leaf| is_it(leaf))
            .map(|leaf| (named::text(&leaf.rest), leaf.held_ns as f64))
            .collect();
        let texts: Vec<(&str, f64)> = texts.iter().map(|(text, held_ns)| (text.as_str(), *held_ns)).collect();
        let words: Vec<Mark> = self.words.iter().map(|(what, words)| Mark::new(what, words)).collect();
        let named = texts.iter().filter(|(text, _)| words.iter().all(|word| word.is_in(text)));
        let named_ns = named.map(|(_, held_ns)| held_ns).sum();
        let marks = [&words, marks].concat();
        let verdict = report.get("verdict");
        let of_verdict =
            |key: &str| verdict.and_then(|verdict| verdict.get(key)?.as_str().map(str::to_owned));
        let mut kinds: BTreeMap<String, f64> = BTreeMap::new();
        for leaf in &leaves {
            *kinds.entry(leaf.kind.clone()).or_default() += leaf.held_ns as f64 / request_ns.max(1.0) * 100.0;
        }
        let never = self.never.iter().map(|kind| (kind.name(), sum(&|leaf| leaf.kind == kind.name())));
        let lies = never.filter(|(_, held_ns)| *held_ns > whole_ns * FALSE_SHARE);
        Ok(Said {
            held_ns: sum(&is_it),
            named_ns,
            whole_ns,
            missing: named::missing(&marks, &texts),
            lies: lies.map(|(kind, held_ns)| format!("{kind} {:.1} s", held_ns / 1e9)).collect(),
            kinds,
            verdict: of_verdict("kind").zip(of_verdict("sentence")),
        })
    }

    /// It is all as it must be.
    ///
    /// # Errors
    ///
    /// Where it is not, with what is said.
    pub fn must_be(&self, said: &Said) -> anyhow::Result<()> {
        ensure!(said.lies.is_empty(), "it says {:?}: {:.0?}", said.lies, said.kinds);
        if self.kinds.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let (share, least) = (said.share() * 100.0, self.share * 100.0);
        ensure!(
            said.share() >= self.share,
            "{names:?} by {:?} has {share:.0} %, not {least:.0}: {:.0?}",
            self.by,
            said.kinds
        );
        ensure!(said.missing.is_empty(), "{names:?} lacks {:?}", said.missing);
        let is_first = said.verdict.as_ref().is_some_and(|(kind, _)| names.contains(&kind.as_str()));
        ensure!(is_first, "the first sentence is about something else: {:?}", said.verdict);
        Ok(())
    }

    /// The leaf is gone, or has a fifth of what it had.
    ///
    /// # Errors
    ///
    /// Where it is still there.
    pub fn must_be_gone(&self, ill: &Said, cured: &Said) -> anyhow::Result<()> {
        let of_it = |said: &Said| said.named_ns / 1e9;
        ensure!(
            cured.named_ns <= ill.named_ns * CURED_SHARE,
            "{:.2} s of {:.2} are left: {:.0?}",
            of_it(cured),
            of_it(ill),
            cured.kinds
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXPECTED: Expected = Expected {
        kinds: &[LeafKind::File],
        by: &["accept_queue"],
        words: &[("call", &["utimensat", "futimens"])],
        share: 0.8,
        of: Whole::Waiting,
        never: &[LeafKind::Client],
        is_light: true,
    };

    fn said(leaves: &[(&str, &str, &str, u64)]) -> Said {
        let leaf = |&(kind, hop, call, held_ns): &(&str, &str, &str, u64)| json!({"kind": kind, "hops": [hop], "system_call": call, "held_ns": held_ns});
        let leaves: Vec<Value> = leaves.iter().map(leaf).collect();
        let verdict = json!({"kind": "file", "sentence": "GET / waits."});
        let chains = json!({"request_ns": 1000, "leaves": leaves});
        EXPECTED.read(&json!({"chains": chains, "verdict": verdict}), &[]).unwrap()
    }

    #[test]
    fn the_leaf_must_be_named_by_its_way_and_the_others_not_at_all() {
        let right = said(&[
            ("file", "accept_queue", "utimensat", 85),
            ("file", "own", "utimensat", 15),
            ("computing", "", "", 900),
        ]);
        assert!(EXPECTED.must_be(&right).is_ok(), "{right:?}");
        let (few, other) = (
            said(&[("file", "accept_queue", "utimensat", 75), ("file", "own", "utimensat", 25)]),
            said(&[("file", "accept_queue", "write", 100)]),
        );
        assert!(EXPECTED.must_be(&few).is_err() && EXPECTED.must_be(&other).is_err());
        let lie = said(&[("file", "accept_queue", "utimensat", 85), ("client", "", "", 15)]);
        assert!(EXPECTED.must_be(&lie).unwrap_err().to_string().contains("client"));
    }

    #[test]
    fn what_is_cured_is_gone_or_a_fifth() {
        let of = |held_ns| said(&[("file", "accept_queue", "utimensat", held_ns), ("sleep", "", "", 100)]);
        assert!(EXPECTED.must_be_gone(&of(500), &of(100)).is_ok());
        assert!(EXPECTED.must_be_gone(&of(500), &of(101)).is_err());
    }
}
