//! What a report's verdict says of an incident, against the truth.
//!
//! In: the report's `verdict`, the incident, the truth. Out: a [`Sentence`]. It is right where it names the
//! declared kind, its object and a hop of the way there; where the leaf does not prevent half of the waiting
//! for one another, where it names no single cause. It harms where it advises more slots and these do not
//! help, as is tried (`applied.rs`), or where only one at a time gets on.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wsgi_trace_lab::advised::setup::Change;
use wsgi_trace_test_support::named::{self, Mark};

use crate::incident::Incident;
use crate::judge::{LEAST_SHARE, Ports, Verdict};
use crate::meeting::When;
use crate::prevented::Prevented;
use crate::truth::Truth;

/// A hop at which there was this share of all request time must be on the way that is named.
const HOP_SHARE: f64 = 0.25;
/// Waiting for one another is looked at from this share of all request time on.
const CONSIDERABLE: f64 = 0.1;
/// A cause is the single one where it prevents this much of that.
const SINGLE: f64 = 0.5;

/// What is thought of a verdict.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Sentence {
    pub(crate) verdict: Verdict,
    /// Why it is not right.
    pub(crate) why: String,
    /// It advises more workers or threads, and these do not help.
    pub(crate) is_harm: bool,
    /// What became of that, where it was tried.
    #[serde(default)]
    pub(crate) tried: Option<String>,
    /// What it says.
    pub(crate) said: String,
    /// What it says to set.
    #[serde(default)]
    pub(crate) settings: Vec<Value>,
}

/// The report's `verdict`, as far as it is judged.
#[derive(Clone, Debug, Deserialize)]
struct Said {
    pattern: String,
    is_wrong: bool,
    sentence: String,
    kind: Option<String>,
    path: Vec<String>,
    other_kinds: Vec<String>,
    settings: Vec<Value>,
    /// What else is said, where the object is looked for.
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Judges it.
pub(crate) fn judge(
    verdict: &Value,
    incident: &Incident,
    (ports, marks): (Ports, &[Mark]),
    (truth, prevented): (&Truth, Option<Prevented>),
) -> anyhow::Result<Sentence> {
    let said: Said = serde_json::from_value(verdict.clone())?;
    let (verdict, why) = weigh(&said, incident, (ports, marks), truth);
    let (verdict, why) = alone(&said, (verdict, why), (truth, prevented));
    let is_harm = incident.is_serial() && !sizes(&said.settings).is_empty();
    Ok(Sentence {
        verdict,
        why,
        is_harm,
        tried: None,
        said: format!("{}: {}", said.pattern, said.sentence),
        settings: said.settings,
    })
}

/// More workers, threads or their like among the settings of a verdict.
pub(crate) fn sizes(settings: &[Value]) -> Vec<Change> {
    let all = settings.iter().filter_map(|one| serde_json::from_value(one.clone()).ok());
    all.filter(is_more).collect()
}

fn is_more(change: &Change) -> bool {
    let sizes = ["thread", "worker", "process", "greenlet"];
    change.direction == "raise" && sizes.iter().any(|size| change.option.contains(size))
}

/// The same, where it matters whether the leaf alone is most of the waiting for one another.
fn alone(
    said: &Said,
    (verdict, why): (Verdict, String),
    (truth, prevented): (&Truth, Option<Prevented>),
) -> (Verdict, String) {
    let considerable =
        |prevented: &Prevented| prevented.with_leaf_ns as f64 > truth.request_ns * CONSIDERABLE;
    let is_single = prevented.filter(considerable).is_none_or(|prevented| prevented.share() >= SINGLE);
    let is_several = said.pattern == "several_causes";
    match verdict {
        Verdict::Void => (verdict, why),
        _ if !is_single && (is_several || !said.is_wrong) => (Verdict::Right, String::new()),
        Verdict::Right if !is_single && said.pattern != "slowest" => {
            (Verdict::Half, "no single cause is most of it".to_owned())
        }
        Verdict::Right if is_several => (Verdict::Half, "one of several".to_owned()),
        _ => (verdict, why),
    }
}

fn weigh(
    said: &Said,
    incident: &Incident,
    (ports, marks): (Ports, &[Mark]),
    truth: &Truth,
) -> (Verdict, String) {
    let because = |verdict: Verdict, why: &str| (verdict, why.to_owned());
    if incident.leaf.kinds().is_empty() {
        let verdict = if said.is_wrong { Verdict::Wrong } else { Verdict::Right };
        return because(verdict, "");
    }
    if truth.share() < LEAST_SHARE {
        return because(Verdict::Void, "the leaf held too little");
    }
    let is_kind = |kind: &str| incident.leaf.kinds().iter().any(|one| one.name() == kind);
    match &said.kind {
        Some(kind) if is_kind(kind) => {}
        _ if said.other_kinds.iter().any(|kind| is_kind(kind)) => {
            return because(Verdict::Half, "one of several");
        }
        None if !said.is_wrong && said.pattern != "healthy" => return because(Verdict::Silent, ""),
        _ if said.pattern == "takes_as_long" => return because(Verdict::Silent, "it accuses nobody"),
        _ => return because(Verdict::Wrong, ""),
    }
    let text = named::text(&said.rest);
    if incident.leaf.is_back_end() && ports.leaf.is_some_and(|port| !Mark::process(port.into()).is_in(&text))
    {
        return because(Verdict::Half, "another back end, or none");
    }
    let missing = named::missing(marks, &[(text.as_str(), 1.0)]);
    if !missing.is_empty() {
        return because(Verdict::Half, "the object");
    }
    for (hop, hop_ns) in incident.hops.iter().zip(truth.hop_ns) {
        let is_named = hop.phases().iter().any(|phase| said.path.iter().any(|name| name == phase.name()));
        let is_seen = incident.meeting.when != When::SinceBefore;
        if is_seen && hop_ns > truth.request_ns * HOP_SHARE && !is_named {
            return (Verdict::Half, format!("not by way of the {hop}"));
        }
    }
    because(Verdict::Right, "")
}
