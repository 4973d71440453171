//! A recording replayed whole, and digests of all that it gives.
//!
//! In: a recording. Out: its report, every entry of its timeline as a line of text, digests of both, part by
//! part. A digest says that something changed, and where; `cargo xtask compare` shows what.

use std::collections::BTreeMap;
use std::path::Path;

use profiler_core::finding::{Finding, Thresholds};
use profiler_core::model::Snapshot;
use profiler_core::model::losses::LossCount;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::timeline::Entry;
use profiler_core::verdict;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wsgi_trace::report::json::render;
use wsgi_trace::source::file::FileSource;

use crate::digests::Parts;

/// Bytes of a digest that are noted: enough that no change goes unseen.
const DIGEST_BYTES: usize = 4;

/// What a recording gives.
#[derive(Debug)]
pub struct Replayed {
    /// Windows that ended before the last, oldest first.
    pub windows: Vec<Snapshot>,
    /// The last window.
    pub last: Snapshot,
    /// Entries of the timeline, by kind.
    pub timeline: BTreeMap<&'static str, Entries>,
}

/// Entries of one kind.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// How many.
    pub count: u64,
    digest: Sha256,
}

impl Replayed {
    /// Replays a recording with all that the timeline can have; each entry goes to `each` as a line, in
    /// order.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn of(path: &Path, each: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        let mut timeline: BTreeMap<&'static str, Entries> = BTreeMap::new();
        let mut note = |entry: Entry| {
            // What a programmer sees of it has every field, also those that no output shows.
            let line = format!("{entry:?}\n");
            // The place of each among the others counts, too.
            for kind in [kind(&entry), "all"] {
                let entries = timeline.entry(kind).or_default();
                entries.count += 1;
                entries.digest.update(&line);
            }
            each(&line);
        };
        let mut pipeline = Pipeline::new(Settings { thread_slices: true });
        for item in FileSource::open(path)? {
            pipeline.push(item, &mut note);
        }
        let (windows, last) = pipeline.finish_windows(&mut note);
        Ok(Self { windows, last, timeline })
    }

    /// The report on each window in JSON, the last window's last.
    ///
    /// # Errors
    ///
    /// Never: memory takes it.
    pub fn reports(&self) -> anyhow::Result<Vec<String>> {
        let windows = self.windows.iter().chain([&self.last]);
        windows.map(|window| Ok(String::from_utf8(render(window, &judge(window))?)?)).collect()
    }

    /// All that it gives, part by part. `text`: its report in text.
    ///
    /// # Errors
    ///
    /// Never: memory takes it.
    pub fn parts(&self, text: &str) -> anyhow::Result<Parts> {
        let mut windows = Vec::new();
        for report in self.reports()? {
            windows.push(serde_json::from_str::<Value>(&report)?);
        }
        let last = windows.pop().unwrap_or_default();
        let before =
            windows.iter().zip(1..).map(|(report, number): (_, u32)| (number.to_string(), digest(report)));
        let json = last.as_object().into_iter().flatten().map(|(name, part)| (name.clone(), digest(part)));
        let mut timeline = BTreeMap::new();
        for (kind, entries) in &self.timeline {
            timeline.insert((*kind).to_owned(), short(entries.digest.clone()).into());
            timeline.insert(format!("number of {kind}"), entries.count.into());
        }
        let wholes = [
            ("JSON", json.collect()),
            ("text", of_text(text)),
            ("timeline", timeline),
            ("totals", totals(&last)),
            ("windows before", before.collect()),
        ];
        Ok(wholes.into_iter().map(|(name, parts)| (name.to_owned(), parts)).collect())
    }
}

fn judge(window: &Snapshot) -> Vec<Finding> {
    verdict::findings(window, &Thresholds::default())
}

/// Digests of a text report's parts, by their headings.
fn of_text(text: &str) -> BTreeMap<String, Value> {
    let mut parts: BTreeMap<String, Sha256> = BTreeMap::new();
    let mut heading = "first sentence";
    for line in text.lines() {
        heading = match line.split_once(" ──") {
            Some((title, _)) => title,
            None if line.is_empty() && heading == "first sentence" => "head",
            None => heading,
        };
        let part = parts.entry(heading.to_owned()).or_default();
        part.update(line);
        part.update("\n");
    }
    parts.into_iter().map(|(heading, part)| (heading, short(part).into())).collect()
}

/// Totals, whose change says more than that there is one. What was lost is among them only if it was.
fn totals(report: &Value) -> BTreeMap<String, Value> {
    let requests = ["completed", "open", "truncated", "connections", "received_bytes", "sent_bytes"];
    let requests = requests.map(|name| format!("/requests/{name}"));
    let always = ["/window/length_ns", "/requests/time_in_requests_ns", "/losses/conservation/slices"];
    let always = always.into_iter().map(str::to_owned).chain(requests);
    let laws = ["conservation/slices_broken", "conservation/requests_broken", "conservation/undecided_ns"];
    let lost = LossCount::all().map(|count| count.key).chain(laws).map(|key| format!("/losses/{key}"));
    let phases = report.pointer("/phases").and_then(Value::as_object).into_iter().flatten();
    let phases = phases.map(|(name, _)| format!("/phases/{name}"));
    let at = |pointer: &str| report.pointer(pointer).cloned().unwrap_or_default();
    let named = |pointer: String| (pointer.trim_start_matches('/').replace('/', "."), at(&pointer));
    let some =
        lost.chain(phases).map(named).filter(|(_, value)| value.as_u64().is_some_and(|number| number > 0));
    always.map(named).chain(some).collect()
}

/// The kind of an entry.
const fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::Process { .. } => "process",
        Entry::Thread { .. } => "thread",
        Entry::Slice { .. } => "slice",
        Entry::Request(_) => "request",
        Entry::AcceptQueue { .. } => "accept_queue",
        Entry::Dropped { .. } => "dropped",
        Entry::Wake { .. } => "wake",
        Entry::BusySlots { .. } => "busy_slots",
        Entry::Chain(_) => "chain",
    }
}

/// Of a part of a report; whatever order a map is kept in.
fn digest(part: &Value) -> Value {
    let mut whole = Sha256::new();
    add(part, &mut whole);
    short(whole).into()
}

fn add(part: &Value, to: &mut Sha256) {
    match part {
        Value::Object(map) => {
            to.update("{");
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (name, value) in sorted {
                to.update(format!("{name:?}:"));
                add(value, to);
            }
            to.update("}");
        }
        Value::Array(list) => {
            to.update("[");
            list.iter().for_each(|value| add(value, to));
            to.update("]");
        }
        other => to.update(format!("{other},")),
    }
}

fn short(digest: Sha256) -> String {
    digest.finalize().iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
