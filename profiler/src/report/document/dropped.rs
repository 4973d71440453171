//! Connections that were not served, each by its cause.
//!
//! In: what became of a snapshot's connections. Out: a section: how many were served, how many not and why,
//! with an example of each cause; failing accepts; workers that were killed.

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::model::chain::{Chains, LeafKind, LeafTime};
use profiler_core::model::dropped::{AcceptFailure, Asked, Cause, Counted, Dropped, Example, WorkerEnd};
use profiler_core::verdict;

use super::block::{Block, Blocks, Section};
use super::cell::{Cell, count, share, words};
use super::shown;
use super::table::{On, Rows, listed};
use crate::report::{chain_words, summary, unit};

/// Ends of workers in the text report.
const WORKER_ENDS: usize = 5;
/// Causes where the text report is one page, and lines on accepts and workers.
const BRIEFLY: usize = 4;
const BRIEF_LINES: usize = 3;

pub(super) fn section<'a>(snapshot: &'a Snapshot, findings: &[Finding]) -> Section<'a> {
    let dropped = &snapshot.dropped;
    let is_empty = dropped.ended() == 0
        && dropped.causes.is_empty()
        && dropped.accept_failures.is_empty()
        && dropped.worker_ends.is_empty();
    let mut body = Blocks::default();
    if is_empty && dropped.not_measured.is_some() {
        body.say(summary::none_seen(snapshot, "connection"));
        return Section::new("dropped", "Dropped connections", body).short("Dropped").only(On::PAGE);
    }
    body.push(On::BOTH, Block::Sentence(account(dropped).into()));
    if !dropped.causes.is_empty() {
        causes(&mut body, dropped, &snapshot.chains, snapshot.window.start_ns);
    }
    for failure in &dropped.accept_failures {
        body.entry("accept failed", accept_failed(failure));
    }
    for (number, end) in dropped.worker_ends.iter().enumerate() {
        let on = if number < WORKER_ENDS { On::ALL } else { On::PAGE };
        body.entry_on(on, format!("process {}", end.tgid), worker_end(end, &snapshot.chains));
    }
    let section = Section::new("dropped", "Dropped connections", body).short("Dropped").note(note(dropped));
    if is_empty {
        return section.only(On::PAGE);
    }
    // Failures that are a finding are not understood without it.
    let has_failed = !verdict::of(snapshot, findings).failed.is_empty();
    if has_failed { section.brief_if_room(BRIEFLY, BRIEF_LINES) } else { section }
}

/// How many of each cause, and the first of them.
fn causes(body: &mut Blocks<'_>, dropped: &Dropped, chains: &Chains, start_ns: u64) {
    body.gap();
    body.table(
        Rows::of("Connections that were not served, by cause", listed("/drops/causes", &dropped.causes))
            .left("cause", |counted| words(counted.cause.name()))
            .right("connections", |counted| count(counted.count).at("count"))
            .right("of ended", |counted| of_ended(counted, dropped))
            .shrinking("what happened", |counted| words(counted.cause.words()))
            .table(),
    );
    body.gap();
    for counted in &dropped.causes {
        if let Some(first) = counted.examples.first() {
            body.entry_on(On::BOTH, counted.cause.name(), example(first, chains, start_ns));
        }
    }
}

/// Part of the connections that ended; attempts are no part of them.
fn of_ended(counted: &Counted, dropped: &Dropped) -> Cell {
    match counted.cause {
        Cause::AcceptQueueOverflow => words("attempts"),
        _ => share(counted.count, dropped.ended()),
    }
}

fn note(dropped: &Dropped) -> String {
    match dropped.total() {
        0 => "none".to_owned(),
        total => format!(
            "{} of {} that ended ({})",
            unit::count(total),
            unit::count(dropped.ended()),
            unit::percent(summary::ratio(total, dropped.ended()))
        ),
    }
}

/// What became of all connections, in one sentence.
fn account(dropped: &Dropped) -> String {
    let mut parts = vec![format!("{} served", unit::counted(dropped.served, "connection"))];
    parts.push(format!("{} not", unit::count(dropped.total())));
    if dropped.nothing_asked > 0 {
        parts.push(format!("{} ended without a request", unit::count(dropped.nothing_asked)));
    }
    if dropped.undecided > 0 {
        parts.push(format!("{} undecided (records were lost)", unit::count(dropped.undecided)));
    }
    if dropped.open > 0 {
        parts.push(format!("{} still open at the end", unit::count(dropped.open)));
    }
    format!("{}.", parts.join(", "))
}

fn asked(asked: &Asked) -> String {
    let name = match asked.method.as_str() {
        "" => "a request whose head was not read".to_owned(),
        method => format!("{method} {}", asked.path),
    };
    match (asked.request, asked.status) {
        (Some(id), 0) => format!("{name} (#{id})"),
        (Some(id), status) => format!("{name} (#{id}, {status})"),
        (None, _) => name,
    }
}

/// One dropped connection in words. Hostile input.
fn example(example: &Example, chains: &Chains, start_ns: u64) -> String {
    if example.time_ns == 0 {
        return example.evidence.clone();
    }
    let mut parts = vec![format!("at {}", shown(example.time_ns.saturating_sub(start_ns)))];
    if let Some(connection) = example.connection {
        parts.push(format!("connection {connection} of process {}", example.tgid));
    }
    parts.extend(example.asked.as_ref().map(asked));
    if let Some(waited_ns) = example.waited_ns {
        parts.push(format!("after {}", shown(waited_ns)));
    }
    let was = example.asked.as_ref().and_then(|asked| was_in(asked, chains));
    format!("{}: {}{}", parts.join(", "), example.evidence, was.unwrap_or_default())
}

/// Where in Python a request was as its process ended, as the end of a sentence. Hostile input.
fn was_in(asked: &Asked, chains: &Chains) -> Option<String> {
    chain_words::was_in(chains, asked.request?).map(|was| format!("; {was}"))
}

/// Calls of accept that failed, in words.
fn accept_failed(failure: &AcceptFailure) -> String {
    let limit = failure
        .open_files_limit
        .filter(|_| failure.error == "EMFILE")
        .map_or_else(String::new, |limit| format!(" of its {limit} file descriptors"));
    let open = failure
        .open_files
        .map_or_else(String::new, |open| format!("; {} were open", unit::counted(open, "file descriptor")));
    format!(
        "process {}: {} with {}; {}{limit} were clients' connections when it began{open}",
        failure.tgid,
        unit::counted(failure.count, "call"),
        failure.error,
        unit::count(failure.clients),
    )
}

/// How a process ended, in words. Hostile input.
fn worker_end(end: &WorkerEnd, chains: &Chains) -> String {
    let mut text = format!("{}: {}", end.cause.words(), end.evidence);
    if end.connections > 0 {
        text.push_str(&format!("; it was serving {}", unit::counted(end.connections, "connection")));
    }
    if let Some(request) = &end.asked {
        let lead = if end.connections > 0 { ", the longest" } else { "; it had served" };
        text.push_str(&format!("{lead} {} for {}", asked(request), shown(end.ran_ns)));
        let was = was_in(request, chains);
        // What is not followed says less than where it was.
        let says_more = |time: &&LeafTime| was.is_none() || time.leaf.kind != LeafKind::NotFollowed;
        text.push_str(was.as_deref().unwrap_or_default());
        if let Some(time) = request.request.and_then(|id| chains.of_request(id)).filter(says_more) {
            text.push_str(&format!("; it waited {}{}", shown(time.held_ns), chain_words::wait(chains, time)));
        }
    }
    text
}
