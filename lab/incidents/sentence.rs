//! What a report's verdict says of an incident, against the truth.
//!
//! In: the report's `verdict`, the incident, the truth. Out: a [`Sentence`]. It is right where it names the
//! declared kind, its object and a hop of the way there. It harms where it advises more of what would only
//! wait as well.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wsgi_trace_test_support::named::{self, Mark};

use crate::incident::Incident;
use crate::judge::{LEAST_SHARE, Ports, Verdict};
use crate::meeting::When;
use crate::truth::Truth;

/// A hop at which there was this share of all request time must be on the way that is named.
const HOP_SHARE: f64 = 0.25;

/// What is thought of a verdict.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Sentence {
    pub(crate) verdict: Verdict,
    /// Why it is not right.
    pub(crate) why: String,
    /// It advises more workers or threads where only one at a time gets on.
    pub(crate) is_harm: bool,
    /// What it says.
    pub(crate) said: String,
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
    settings: Vec<Setting>,
    /// What else is said, where the object is looked for.
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Setting {
    option: String,
    direction: String,
}

/// Judges it.
pub(crate) fn judge(
    verdict: &Value,
    incident: &Incident,
    (ports, marks): (Ports, &[Mark]),
    truth: &Truth,
) -> anyhow::Result<Sentence> {
    let said: Said = serde_json::from_value(verdict.clone())?;
    let (verdict, why) = weigh(&said, incident, (ports, marks), truth);
    let is_more = |setting: &Setting| {
        let name = setting.option.as_str();
        setting.direction == "raise"
            && ["thread", "worker", "process", "greenlet"].iter().any(|size| name.contains(size))
    };
    let is_harm = incident.is_serial() && said.settings.iter().any(is_more);
    Ok(Sentence { verdict, why, is_harm, said: format!("{}: {}", said.pattern, said.sentence) })
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
