//! What a report's leaves say of an incident, against the truth.
//!
//! In: the report's `chains`, the incident, the [`Truth`]. Out: a [`Judgement`]. A leaf is named right where
//! it is the greatest of waiting, or the most unusual, with the declared kind and object, held as long as the
//! witness says, by the hops that were waited at.

use std::collections::BTreeMap;

use profiler_core::model::chain::LeafKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wsgi_trace_test_support::named::{self, Mark};

use crate::incident::Incident;
use crate::meeting::When;
use crate::server::ServerKind;
use crate::truth::Truth;

/// A leaf may be held for this share longer or shorter than the witness says …
const OFF: f64 = 0.10;
/// … and for this share of all request time: what the server does before and after the application.
const OFF_OF_ALL: f64 = 0.02;
/// A leaf that does not exist may have this share of all request time.
const FALSE_SHARE: f64 = 0.05;
/// A hop at which there was this share of all request time must be named …
const HOP_SHARE: f64 = 0.10;
/// … with at least this share of it.
const HOP_NAMED: f64 = 0.5;
/// An incident whose leaf holds less is none.
pub(crate) const LEAST_SHARE: f64 = 0.25;

/// The report's `chains`, as far as it is judged.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) request_ns: u64,
    #[serde(default)]
    pub(crate) broken_requests: u64,
    pub(crate) leaves: Vec<SaidLeaf>,
}

/// One of its leaves.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SaidLeaf {
    kind: String,
    port: Option<u16>,
    reason: Option<String>,
    hops: Vec<String>,
    held_ns: u64,
    unusual_ns: u64,
    #[serde(default)]
    is_serial: bool,
    /// What else is said of it, where its object is looked for.
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// How well.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Right,
    /// The kind; another object, length or hop.
    Half,
    /// It says that it was not followed.
    Silent,
    Wrong,
    /// The witness says that there was no such incident, or nobody could look.
    Void,
}

impl Verdict {
    /// In tables.
    pub(crate) const ALL: [Self; 5] = [Self::Right, Self::Half, Self::Silent, Self::Wrong, Self::Void];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Half => "half",
            Self::Silent => "silent",
            Self::Wrong => "WRONG",
            Self::Void => "void",
        }
    }
}

/// What is thought of a report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Why it is not right.
    pub(crate) why: String,
    /// Whether the kind is named, by whatever else; `None`: there is nothing to name.
    pub(crate) is_kind_right: Option<bool>,
    /// What is not said of the object; `None`: none is declared, or the kind is not named.
    pub(crate) missing: Option<Vec<String>>,
    /// Leaves that do not exist, with their share of all request time.
    pub(crate) false_leaves: Vec<String>,
    /// The greatest leaves that it names.
    pub(crate) said: String,
    /// Whether what it says of the declared leaf's being serial is so; `None`: it does not name it.
    pub(crate) is_serial_right: Option<bool>,
}

/// A kind of leaf and the port of a back end.
type Group = (String, Option<u16>);

/// Held and unusual, in ns.
type Groups = BTreeMap<Group, (f64, f64)>;

/// Ports of back ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Ports {
    /// Of the one that is the leaf.
    pub(crate) leaf: Option<u16>,
    /// Of the one that every request asks before.
    pub(crate) base: Option<u16>,
}

/// Judges it.
pub(crate) fn judge(
    said: &Said,
    incident: &Incident,
    (ports, marks): (Ports, &[Mark]),
    truth: &Truth,
) -> Judgement {
    let mut groups = Groups::new();
    for leaf in &said.leaves {
        let group = groups.entry((leaf.kind.clone(), leaf.port)).or_default();
        *group = (group.0 + leaf.held_ns as f64, group.1 + leaf.unusual_ns as f64);
    }
    let declared = Declared { incident, ports };
    let (mut verdict, mut why) = declared.verdict(said, &groups, truth);
    let is_kind_right = match verdict {
        Verdict::Void => None,
        _ if incident.leaf.kinds().is_empty() => None,
        Verdict::Right | Verdict::Half => Some(true),
        Verdict::Silent | Verdict::Wrong => Some(false),
    };
    let of_it: Vec<&SaidLeaf> = said.leaves.iter().filter(|leaf| declared.is_leaf(leaf)).collect();
    let texts: Vec<(String, f64)> =
        of_it.iter().map(|leaf| (named::text(&leaf.rest), leaf.held_ns as f64)).collect();
    let texts: Vec<(&str, f64)> = texts.iter().map(|(text, held_ns)| (text.as_str(), *held_ns)).collect();
    let is_judged = is_kind_right == Some(true) && !marks.is_empty();
    let missing = is_judged.then(|| named::missing(marks, &texts));
    if verdict == Verdict::Right && missing.as_ref().is_some_and(|missing| !missing.is_empty()) {
        (verdict, why) = (Verdict::Half, "the object".to_owned());
    }
    let greatest = of_it.iter().max_by_key(|leaf| leaf.held_ns);
    Judgement {
        verdict,
        why,
        is_kind_right,
        missing,
        false_leaves: declared.false_leaves(said, &groups),
        said: in_words(said, &groups),
        is_serial_right: greatest.map(|leaf| leaf.is_serial == incident.is_serial()),
    }
}

/// What ought to be said.
struct Declared<'a> {
    incident: &'a Incident,
    ports: Ports,
}

impl Declared<'_> {
    fn is_kind(&self, kind: &str) -> bool {
        self.incident.leaf.kinds().iter().any(|one| one.name() == kind)
    }

    fn is_group(&self, (kind, port): &Group) -> bool {
        self.is_kind(kind) && (!self.incident.leaf.is_back_end() || *port == self.ports.leaf)
    }

    fn is_leaf(&self, leaf: &SaidLeaf) -> bool {
        self.is_group(&(leaf.kind.clone(), leaf.port))
    }

    fn verdict(&self, said: &Said, groups: &Groups, truth: &Truth) -> (Verdict, String) {
        if self.incident.leaf.kinds().is_empty() {
            let is_accused = !self.false_leaves(said, groups).is_empty();
            return (if is_accused { Verdict::Wrong } else { Verdict::Right }, String::new());
        }
        if truth.share() < LEAST_SHARE {
            let why = format!("the leaf held {:.0} % alone", truth.share() * 100.0);
            return (Verdict::Void, why);
        }
        let waits = |kind: &str| {
            self.incident.leaf.computes() || !WORK.iter().any(|one| one.name() == kind) || self.is_kind(kind)
        };
        let waiting = || groups.iter().filter(|((kind, _), _)| waits(kind));
        let by = |of: fn(&(f64, f64)) -> f64| {
            let greatest = waiting().max_by(|one, other| of(one.1).total_cmp(&of(other.1)));
            greatest.filter(|(_, sums)| of(sums) > 0.0).map(|(group, _)| group)
        };
        let (greatest, unusual) = (by(|sums| sums.0), by(|sums| sums.1));
        if [greatest, unusual].into_iter().flatten().any(|group| self.is_group(group)) {
            return self.weigh(said, truth);
        }
        // Of unusual time there may be next to nothing.
        if greatest.is_some_and(|(kind, _)| self.is_kind(kind)) {
            return (Verdict::Half, "another object".to_owned());
        }
        let is_silent = greatest.is_none_or(|(kind, _)| kind == LeafKind::NotFollowed.name());
        (if is_silent { Verdict::Silent } else { Verdict::Wrong }, String::new())
    }

    /// It is named: for as long, and by these hops?
    fn weigh(&self, said: &Said, truth: &Truth) -> (Verdict, String) {
        // Of requests that hang since before anybody watched nothing is seen but their threads.
        if self.incident.meeting.when == When::SinceBefore || self.incident.leaf.is_unwitnessed() {
            return (Verdict::Right, String::new());
        }
        let of_it = || said.leaves.iter().filter(|leaf| self.is_leaf(leaf));
        let slack_ns = truth.leaf_ns * OFF + truth.request_ns * OFF_OF_ALL;
        // Who got no CPU is at the leaf by the witness, which has no clock for that.
        let is_ready = |leaf: &&SaidLeaf| leaf.kind == LeafKind::CpuTaken.name();
        let sum_ns = |leaves: &mut dyn Iterator<Item = &SaidLeaf>| {
            leaves.fold(0.0, |sum_ns, leaf| sum_ns + leaf.held_ns as f64)
        };
        let ready_ns = sum_ns(&mut said.leaves.iter().filter(is_ready));
        let held_ns = sum_ns(&mut of_it().filter(|leaf| !is_ready(leaf)));
        if held_ns > truth.leaf_ns + slack_ns || held_ns + ready_ns < truth.leaf_ns - slack_ns {
            let why = format!("held {:.2} s, not {:.2}", held_ns / 1e9, truth.leaf_ns / 1e9);
            return (Verdict::Half, why);
        }
        for (hop, hop_ns) in self.incident.hops.iter().zip(truth.hop_ns) {
            let is_named = |leaf: &&SaidLeaf| {
                hop.phases().iter().any(|phase| leaf.hops.iter().any(|name| name == phase.name()))
            };
            let named_ns = sum_ns(&mut of_it().filter(is_named));
            if hop_ns > truth.request_ns * HOP_SHARE && named_ns < hop_ns * HOP_NAMED {
                let why = format!("{:.2} s by way of the {hop}, not {:.2}", named_ns / 1e9, hop_ns / 1e9);
                return (Verdict::Half, why);
            }
        }
        (Verdict::Right, String::new())
    }

    /// Kinds that do not exist in the incident, and back ends that nobody asks.
    fn false_leaves(&self, said: &Said, groups: &Groups) -> Vec<String> {
        let is_asked = |port: Option<u16>| match port {
            None => self.incident.base_back_end_ms > 0 || self.incident.leaf.is_back_end(),
            Some(_) => {
                (port == self.ports.base && self.incident.base_back_end_ms > 0) || port == self.ports.leaf
            }
        };
        let is_always =
            |kind: &str| WORK.iter().chain(&[LeafKind::NotFollowed]).any(|one| one.name() == kind);
        let of_decoy = self.incident.decoy.kind(self.incident.leaf);
        let exists = |(kind, port): &Group| {
            let is_behind_apache = kind == LeafKind::FrontEnd.name();
            if is_behind_apache && self.incident.server.kind == ServerKind::ModWsgi
                || of_decoy.is_some_and(|one| one.name() == kind)
            {
                return true;
            }
            let is_back_end = kind == LeafKind::BackEnd.name();
            if is_back_end { is_asked(*port) } else { is_always(kind) || self.is_kind(kind) }
        };
        let share = |held_ns: f64| held_ns / said.request_ns.max(1) as f64;
        let lies = groups.iter().filter(|(group, sums)| !exists(group) && share(sums.0) > FALSE_SHARE);
        lies.map(|(group, sums)| format!("{} {:.0} %", in_a_word(group), share(sums.0) * 100.0)).collect()
    }
}

/// Kinds of work that every request has, and what the machine's other programs take.
const WORK: [LeafKind; 4] = [LeafKind::Computing, LeafKind::CpuTaken, LeafKind::Reading, LeafKind::Writing];

fn in_a_word((kind, port): &Group) -> String {
    port.map_or_else(|| kind.clone(), |port| format!("{kind} {port}"))
}

/// The greatest groups; of what was not followed the reasons.
fn in_words(said: &Said, groups: &Groups) -> String {
    let mut all: Vec<(&Group, f64)> = groups.iter().map(|(group, sums)| (group, sums.0)).collect();
    all.sort_by(|one, other| other.1.total_cmp(&one.1));
    let percent = |held_ns: f64| held_ns / said.request_ns.max(1) as f64 * 100.0;
    let shown = all.iter().take(4).filter(|(_, held_ns)| percent(*held_ns) >= 1.0).map(|(group, held_ns)| {
        let mut reasons: BTreeMap<&str, f64> = BTreeMap::new();
        for leaf in said.leaves.iter().filter(|leaf| leaf.kind == group.0) {
            if let Some(reason) = &leaf.reason {
                *reasons.entry(reason).or_default() += percent(leaf.held_ns as f64);
            }
        }
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, share)| format!("{reason} {share:.0}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        format!("{} {:.0} %{reasons}", in_a_word(group), percent(*held_ns))
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::leaf::Leaf;
    use crate::path::Hop;

    const PORT: Option<u16> = Some(5000);
    const PORTS: Ports = Ports { leaf: PORT, base: Some(5002) };

    /// A back end behind a lock, that holds 8 of 10 s, 5 of them by way of the lock.
    fn incident() -> (Incident, Truth) {
        let incident = Incident { leaf: Leaf::BackEndSlow, hops: vec![Hop::Lock], ..Incident::new(1) };
        let incident = Incident { base_back_end_ms: 0, ..incident };
        (incident, Truth { request_ns: 1e10, leaf_ns: 8e9, hop_ns: [5e9, 0.0, 0.0], requests: 9 })
    }

    fn leaf(kind: &str, port: Option<u16>, hops: &[&str], held_s: f64) -> Value {
        let held_ns = (held_s * 1e9) as u64;
        json!({"kind": kind, "port": port, "reason": null, "hops": hops, "held_ns": held_ns, "unusual_ns": 0})
    }

    fn judged(leaves: &[Value]) -> Judgement {
        let said = json!({"request_ns": 10_000_000_000_u64, "broken_requests": 0, "leaves": leaves});
        let (incident, truth) = incident();
        judge(&serde_json::from_value(said).unwrap(), &incident, (PORTS, &[]), &truth)
    }

    fn both(first: f64, second: f64) -> [Value; 3] {
        let by_lock = leaf("back_end", PORT, &["pool_wait", "lock_wait"], first);
        [by_lock, leaf("back_end", PORT, &[], second), leaf("computing", None, &[], 9.0)]
    }

    #[test]
    fn right_is_the_kind_the_object_the_length_and_the_hop() {
        let right = judged(&both(5.0, 3.0));
        assert_eq!((right.verdict, right.false_leaves.len()), (Verdict::Right, 0));
        assert_eq!(judged(&both(5.0, 3.9)).verdict, Verdict::Right);
        assert_eq!(judged(&both(5.0, 4.1)).verdict, Verdict::Half);
        assert_eq!(judged(&both(3.9, 3.2)).verdict, Verdict::Right);
        assert_eq!(judged(&both(3.9, 3.0)).verdict, Verdict::Half);
        // By another way.
        assert_eq!(judged(&both(2.4, 5.6)).verdict, Verdict::Half);
    }

    #[test]
    fn the_kind_and_the_object_are_judged_apart() {
        let (incident, truth) = incident();
        let of = |kind: &str, object: &str| {
            let mut leaves = both(5.0, 3.0);
            for leaf in &mut leaves[..2] {
                leaf["kind"] = json!(kind);
                leaf["object"] = json!(object);
            }
            let said = json!({"request_ns": 10_000_000_000_u64, "broken_requests": 0, "leaves": leaves});
            let judged = judge(
                &serde_json::from_value(said).unwrap(),
                &incident,
                (PORTS, &[Mark::process(7)]),
                &truth,
            );
            (judged.verdict, judged.is_kind_right, judged.missing)
        };
        assert_eq!(of("back_end", "of process 7"), (Verdict::Right, Some(true), Some(Vec::new())));
        let other = (Verdict::Half, Some(true), Some(vec!["process 7".to_owned()]));
        assert_eq!(of("back_end", "of process 77"), other);
        assert_eq!(of("sleep", "of process 7"), (Verdict::Wrong, Some(false), None));
    }

    #[test]
    fn who_was_ready_for_a_cpu_may_lack_and_may_not_be_too_much() {
        let with = |held_s: f64| {
            let mut leaves = both(4.0, held_s).to_vec();
            leaves.push(leaf("cpu_taken", None, &[], 2.0));
            judged(&leaves).verdict
        };
        assert_eq!((with(1.1), with(0.9), with(5.1)), (Verdict::Right, Verdict::Half, Verdict::Half));
    }

    #[test]
    fn another_object_is_half_another_kind_wrong_and_what_is_not_followed_silent() {
        let other = judged(&[leaf("back_end", Some(5001), &["lock_wait"], 8.0)]);
        // Nobody asks that one.
        assert_eq!((other.verdict, other.false_leaves.len()), (Verdict::Half, 1));
        let wrong = judged(&[leaf("sleep", None, &["lock_wait"], 8.0)]);
        assert_eq!((wrong.verdict, wrong.false_leaves), (Verdict::Wrong, vec!["sleep 80 %".to_owned()]));
        let silent =
            judged(&[leaf("not_followed", None, &["lock_wait"], 8.0), leaf("sleep", None, &[], 0.4)]);
        assert_eq!((silent.verdict, silent.false_leaves.len()), (Verdict::Silent, 0));
        assert_eq!(judged(&[]).verdict, Verdict::Silent);
        let mut base = leaf("back_end", PORTS.base, &[], 0.1);
        base["unusual_ns"] = json!(1);
        assert_eq!(judged(&[leaf("not_followed", None, &[], 8.0), base]).verdict, Verdict::Silent);
    }

    #[test]
    fn the_most_unusual_leaf_may_be_the_right_one() {
        let mut greater = leaf("pipe", None, &[], 9.0);
        let mut unusual = both(5.0, 3.0).to_vec();
        unusual[0]["unusual_ns"] = json!(1);
        greater["unusual_ns"] = json!(0);
        unusual.push(greater);
        let judged = judged(&unusual);
        assert_eq!((judged.verdict, judged.false_leaves.len()), (Verdict::Right, 1));
    }

    #[test]
    fn an_incident_without_its_leaf_is_none() {
        let (incident, truth) = incident();
        let said: Said = serde_json::from_value(json!({"request_ns": 1, "leaves": []})).unwrap();
        let void = judge(&said, &incident, (PORTS, &[]), &Truth { leaf_ns: 2.4e9, ..truth });
        assert_eq!(void.verdict, Verdict::Void);
        let healthy = Incident { leaf: Leaf::Nothing, hops: Vec::new(), ..incident };
        assert_eq!(judge(&said, &healthy, (Ports::default(), &[]), &truth).verdict, Verdict::Right);
    }
}
