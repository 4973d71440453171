//! A recording replayed whole, and what is noted of it: a short JSON that a person reads after a change.
//!
//! In: a recording. Out: its report, every entry of its timeline as a line of text, digests of both. A digest
//! says that something changed, and of which kind; `cargo xtask compare` shows what.

use std::collections::BTreeMap;
use std::path::Path;

use profiler_core::finding::{Finding, Thresholds};
use profiler_core::model::Snapshot;
use profiler_core::model::losses::LossCount;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::timeline::Entry;
use profiler_core::verdict;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use wsgi_trace::report::json::render;
use wsgi_trace::source::file::FileSource;

/// Bytes of a digest that are noted: enough that no change goes unseen.
const DIGEST_BYTES: usize = 8;

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

    /// What a person reads after a change, beside the text report: what that does not say, and a digest of
    /// all else.
    ///
    /// # Errors
    ///
    /// Never: memory takes it.
    pub fn noted(&self) -> anyhow::Result<Value> {
        let timeline: BTreeMap<_, _> = self
            .timeline
            .iter()
            .map(|(kind, entries)| (*kind, format!("{} {}", entries.count, short(entries.digest.clone()))))
            .collect();
        let reports = self.reports()?;
        let mut windows = Vec::new();
        for report in &reports {
            windows.push(serde_json::from_str::<Value>(report)?);
        }
        let last = windows.pop().unwrap_or_default();
        let before: Vec<Value> = windows
            .iter()
            .map(|report| json!({ "completed": report.pointer("/requests/completed"), "digest": digest(report) }))
            .collect();
        Ok(json!({ "timeline": timeline, "windows_before": before, "window": noted_of(&last) }))
    }
}

fn judge(window: &Snapshot) -> Vec<Finding> {
    verdict::findings(window, &Thresholds::default())
}

fn noted_of(report: &Value) -> Value {
    let at = |pointer: &str| report.pointer(pointer).cloned().unwrap_or_default();
    let all_of = |pointer: &str, names: &[&str]| -> Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), at(&format!("{pointer}/{name}")))).collect()
    };
    let objects = |pointer: &str| report.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    let is_some = |value: &&Value| value.as_u64().is_some_and(|number| number > 0);
    let phases: Map<String, Value> = objects("/phases")
        .filter(|(_, phase)| is_some(phase))
        .map(|(name, phase)| (name.trim_end_matches("_ns").to_owned(), phase.clone()))
        .collect();
    let digests: Map<String, Value> = report
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, part)| (name.clone(), digest(part).into()))
        .collect();
    // None of them is there in a good recording.
    let laws = ["conservation/slices_broken", "conservation/requests_broken", "conservation/undecided_ns"];
    let wrong: Vec<&str> = LossCount::all().map(|count| count.key).chain(laws).collect();
    let wrong: Map<String, Value> =
        all_of("/losses", &wrong).into_iter().filter(|(_, value)| is_some(&value)).collect();
    json!({
        "length_ns": at("/window/length_ns"),
        "end_reason": at("/window/end_reason"),
        "requests": all_of("/requests", &["completed", "open", "truncated", "connections", "received_bytes", "sent_bytes"]),
        "request_time_ns": at("/requests/time_in_requests_ns"),
        "phases_ns": phases,
        "slices": at("/losses/conservation/slices"),
        "records": at("/losses/conservation/received"),
        "wrong": wrong,
        "impossible": at("/losses/impossible"),
        "digests": digests,
    })
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
fn digest(part: &Value) -> String {
    let mut whole = Sha256::new();
    add(part, &mut whole);
    short(whole)
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
