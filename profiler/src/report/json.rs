//! The report for programs: one versioned JSON document.
//!
//! In: a [`Snapshot`] and its findings. Out: bytes that `docs/report.schema.json` describes; the same input
//! gives the same bytes. Its rules are in docs/json.md; `rules` holds every key of the schema to them.

/// A view of something: its keys in order, each with its description (from which the schema is made), its
/// type and what it shows. `new` takes what stands in the parentheses; what several keys need is reckoned
/// `with` it. What may come out as nothing, or is made in two ways, is a plain struct.
macro_rules! view {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? ($($arg:ident: $given:ty),* $(,)?)
        $(with { $($setup:stmt;)* })? { $($(#[$note:meta])* $key:ident: $type:ty = $value:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(serde::Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        $vis struct $name $(<$life>)? { $($(#[$note])* $key: $type),* }

        impl $(<$life>)? $name $(<$life>)? {
            $vis fn new($($arg: $given),*) -> Self {
                $($($setup)*)?
                Self { $($key: $value),* }
            }
        }
    };
}

mod by_worker;
mod capacity;
mod chain_computed;
mod chain_place;
mod chain_seen;
mod chain_waited;
mod chain_whereabouts;
mod chains;
mod context;
mod dropped;
mod endpoint;
mod event_loop;
mod finding;
mod front_end;
mod gil;
mod gil_contender;
mod gil_place;
mod lasting;
mod latency;
mod losses;
mod not_measured;
mod overhead;
mod phases;
mod process;
mod queue;
pub(crate) mod request;
mod request_start;
mod requests;
mod round_trips;
pub(crate) mod safe;
mod slots;
mod spread;
mod verdict;
mod waiting;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use serde::Serialize;

use super::form::{Form, FormKind};
use super::output::Lazy;
use super::summary;

/// Version of the document: major for breaking changes, minor for additions.
pub const SCHEMA_VERSION: &str = "1.0";

/// Reports for programs.
pub const FORM: FormKind = FormKind {
    name: "json",
    help: "One JSON document, by docs/report.schema.json",
    endings: &["json"],
    open: |writer, _| Box::new(JsonForm(writer)),
};

struct JsonForm(Lazy);

impl Form for JsonForm {
    fn finish(&mut self, snapshot: &Snapshot, findings: &[Finding]) -> io::Result<()> {
        write(&mut self.0, snapshot, findings)?;
        self.0.flush()
    }
}

view! {
    /// What one window of a WSGI server showed. The rules are in json.md. The key of a number ends in its
    /// unit (_ns nanoseconds, _bytes, _ratio a part of 1, _per_second, _per_connection, _request_seconds),
    /// or x-unit says what it is. Booleans begin with is_ or has_. What was not measured is null. Moments
    /// are CLOCK_MONOTONIC unless a key says otherwise. Within a major version keys are added, never
    /// changed or removed; a reader passes over keys and words that it does not know.
    struct Report<'a>(
        snapshot: &'a Snapshot,
        findings: &'a [Finding],
        verdict: &'a profiler_core::verdict::Verdict,
    ) {
        /// Version of this document: major for breaking changes, minor for additions.
        #[cfg_attr(test, schemars(extend("pattern" = r"^1\.[0-9]+$")))]
        schema_version: &'static str = SCHEMA_VERSION,
        /// What watched, and what it could attach.
        tool: context::Tool<'a> = context::Tool::new(snapshot),
        /// Where it was measured.
        host: context::Host<'a> = context::Host::new(snapshot),
        /// What was watched.
        target: context::Target<'a> = context::Target::new(snapshot),
        /// The stretch of time that the report speaks of.
        window: context::Window = context::Window::new(snapshot),
        /// Everything that did not reach the numbers, and how well the conservation laws held.
        losses: losses::Losses<'a> = losses::Losses::new(snapshot),
        /// What was not measured and why, in the order of the keys. What is named here is null, or an empty
        /// list.
        not_measured: Vec<not_measured::NotMeasured<'a>> = not_measured::list(snapshot),
        /// The first thing to say: what stands behind requests' waiting, and what to change.
        verdict: verdict::Verdict<'a> = verdict::Verdict::new(snapshot, findings, verdict),
        /// What each rule found, present ones first, worst first.
        findings: Vec<finding::Finding<'a>> =
            summary::worst_first(findings).into_iter().map(finding::Finding::new).collect(),
        /// All requests of the window.
        requests: requests::Requests<'a> = requests::Requests::new(snapshot),
        /// Where the time of all requests went, open requests included. Adds up to
        /// requests.time_in_requests_ns.
        phases: phases::PhaseTimes<'a> =
            phases::PhaseTimes::new(&snapshot.requests.phases, phases::Unmeasured::of_snapshot(snapshot)),
        /// What requests waited for, in the end: each wait followed to its leaf.
        chains: chains::Chains<'a> = chains::Chains::new(&snapshot.chains),
        /// Endpoints by the time spent in them, longest first; the remainder beyond their bound, if any,
        /// last.
        endpoints: Vec<endpoint::Endpoint<'a>> = endpoint::list(snapshot),
        /// Connections that became something else by the head of an answer: WebSockets, tunnels, streams of
        /// events. From there on they count in nothing of requests; what lasted longest in all comes first.
        lasting: Vec<lasting::Lasting<'a>> =
            snapshot.requests.lasting.iter().map(lasting::Lasting::new).collect(),
        /// Units of concurrency (a sync worker, a pool thread), and what held them; null: not measured, and
        /// not_measured says why.
        slots: Option<slots::Slots<'a>> = slots::of(snapshot),
        /// More threads or more processes: what each worker process had, used and did.
        capacity: capacity::Capacity = capacity::Capacity::new(snapshot),
        /// Threads that serve many requests at once, and what made what was ready wait; empty too where
        /// not_measured names it.
        event_loops: Vec<event_loop::EventLoop<'a>> = event_loop::list(snapshot),
        /// What stands before the server, where that is traced (`--with-front-end`) or part of the server;
        /// null: nothing is.
        front_end: Option<front_end::FrontEnd<'a>> =
            snapshot.front_end.as_ref().map(front_end::FrontEnd::new),
        /// The interpreter lock: who waited for it. By endpoint the waits are in the phases of requests
        /// (gil_wait); null: not measured, and not_measured says why.
        gil: Option<Box<gil::Gil<'a>>> = gil::of(snapshot),
        /// Listening sockets of the server. In light mode their queues alone: not_measured names the rest.
        listeners: Vec<process::Listener<'a>> =
            snapshot.sockets.listeners.iter().map(process::Listener::new).collect(),
        /// What became of the connections that ended in the window; null: not measured, and not_measured says
        /// why.
        drops: Option<dropped::Drops<'a>> = dropped::of(snapshot),
        /// Processes of the server.
        processes: Vec<process::Process<'a>> = snapshot.processes.iter().map(process::Process::new).collect(),
        /// What the profiler itself cost; null: not measured, and not_measured says why.
        overhead: Option<overhead::Overhead> = overhead::of(snapshot),
    }
}

/// Writes the report as indented JSON with a newline at its end.
///
/// # Errors
/// What the writer says.
pub fn write<W: Write>(mut writer: W, snapshot: &Snapshot, findings: &[Finding]) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut writer, safe::Safe::pretty());
    let verdict = profiler_core::verdict::of(snapshot, findings);
    Report::new(snapshot, findings, &verdict).serialize(&mut serializer)?;
    writer.write_all(b"\n")
}

/// The report as indented JSON, in memory.
///
/// # Errors
/// None that memory could give; kept so that nothing has to be unwrapped.
pub fn render(snapshot: &Snapshot, findings: &[Finding]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(&mut bytes, snapshot, findings)?;
    Ok(bytes)
}

/// Rounds to six digits after the point, so that equal measurements print equally; `None` for what is no
/// number.
fn rounded(value: f64) -> Option<f64> {
    const SIX_DIGITS: f64 = 1e6;
    const NOTHING_LEFT_TO_ROUND: f64 = 1e9;
    if !value.is_finite() {
        return None;
    }
    if value.abs() >= NOTHING_LEFT_TO_ROUND {
        return Some(value.round());
    }
    // Adding zero turns −0 into 0.
    Some((value * SIX_DIGITS).round() / SIX_DIGITS + 0.0)
}

/// `part ÷ whole`, rounded.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    summary::ratio(part, whole).and_then(rounded)
}

/// Text that is empty when there is none.
fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
