//! What is said of each server in one line: the worst first.
//!
//! In: servers with their boards. Out: [`Row`]s.

use std::sync::Arc;

use profiler_core::verdict::MoreSlotsHelp;
use serde::Serialize;

use super::directory::Entry;
use crate::agent::board::{Known, Status, View};
use crate::agent::trigger::p99_ns;
use crate::report::{summary, verdict_words};
use crate::source::live::clock::monotonic_ns;

/// From this length on the open window speaks for itself; before that, the last whole one does.
const LONG_ENOUGH_NS: u64 = 10_000_000_000;
/// Over which requests the percentile is taken.
const PERCENTILE_OF_NS: u64 = 60_000_000_000;

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The topmost process.
    pub pid: u32,
    /// What it is called on this node.
    pub name: String,
    /// `watching`, `attaching` or `waiting`.
    pub status: &'static str,
    /// Why it is not watched.
    pub reason: Option<String>,
    /// `light` or `full`; null: neither now.
    pub mode: Option<&'static str>,
    /// The verdict, as a sentence.
    pub verdict: Option<String>,
    /// Its pattern.
    pub pattern: Option<&'static str>,
    /// Requests that wait through somebody else at a time, on average; 0 where nothing is wrong.
    pub waiting: f64,
    /// 99th percentile of the requests of the last minute; null: of fewer than 20.
    pub p99_seconds: Option<f64>,
    /// Slots that there are.
    pub slots: Option<u32>,
    /// Slots that are busy now.
    pub slots_busy: Option<u32>,
    /// Requests that nobody serves yet.
    pub requests_in_line: Option<u64>,
    /// Whether more slots would help those in line: `yes`, `no`, `unknown`.
    pub more_slots_help: Option<&'static str>,
    /// Where the answers about this server are.
    pub path: String,
    /// As `list` has it.
    pub about: serde_json::Value,
}

/// All servers, the worst first.
pub fn rows(entries: &[Arc<Entry>]) -> Vec<Row> {
    let mut rows: Vec<Row> = entries.iter().map(|entry| row(entry)).collect();
    let p99 = |row: &Row| row.p99_seconds.unwrap_or(0.0);
    rows.sort_by(|a, b| b.waiting.total_cmp(&a.waiting).then(p99(b).total_cmp(&p99(a))));
    rows
}

fn row(entry: &Entry) -> Row {
    let board = entry.answers.board();
    let known = board.known();
    let (status, reason) = match &known.state.status {
        Status::Watching => ("watching", None),
        Status::Attaching => ("attaching", None),
        Status::Waiting(reason) => ("waiting", Some(reason.clone())),
        Status::Paused(reason) => ("paused", Some(reason.clone())),
    };
    let view = telling(&known);
    let now = known.current.as_ref().map(|(_, view)| &**view);
    let slots = now
        .map(|view| &view.snapshot.slots)
        .filter(|slots| slots.not_measured.is_none() && slots.count() > 0);
    let line = now.filter(|view| summary::is_line_measured(&view.snapshot));
    let since_ns = monotonic_ns().saturating_sub(PERCENTILE_OF_NS);
    Row {
        pid: entry.pid,
        name: entry.name.clone(),
        status,
        reason,
        mode: match known.state.modes {
            modes if modes.full => Some("full"),
            modes if modes.light => Some("light"),
            _ => None,
        },
        verdict: view.map(|view| verdict_words::sentence(&view.snapshot, &view.findings, &view.verdict)),
        pattern: view.map(|view| view.verdict.pattern.name()),
        waiting: view.map_or(0.0, waiting),
        p99_seconds: p99_ns(board.durations_ns(since_ns)).map(|p99_ns| p99_ns as f64 / 1e9),
        slots: slots.map(|slots| slots.count()),
        slots_busy: line.map(|view| view.snapshot.slots.busy_at_end),
        requests_in_line: line.map(|view| summary::in_line(&view.snapshot)),
        more_slots_help: line.map(|view| view.verdict.more_slots_help).map(MoreSlotsHelp::name),
        path: format!("/server/{}/", entry.pid),
        about: entry.about(),
    }
}

/// The window that the verdict is of.
fn telling(known: &Known) -> Option<&View> {
    let open = known.current.as_ref().map(|(_, view)| &**view);
    let is_long = |view: &&View| view.snapshot.window.length_ns() >= LONG_ENOUGH_NS;
    open.filter(is_long).or(known.last.as_deref()).or(open)
}

/// Requests that waited through somebody else at a time, on average.
fn waiting(view: &View) -> f64 {
    if !view.verdict.pattern.is_wrong() {
        return 0.0;
    }
    let window_ns = view.snapshot.window.length_ns().max(1);
    view.verdict.inflicted_ns as f64 / window_ns as f64
}
