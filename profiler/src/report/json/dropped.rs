//! `drops`: what became of connections.
//!
//! In: that part of a snapshot. Out: a serialisable view of it.

use profiler_core::fact::Attached;
use profiler_core::model::dropped::{self, Dropped};
use serde::Serialize;

use super::non_empty;

#[derive(Serialize)]
pub(super) struct Drops<'a> {
    not_measured: Option<&'a str>,
    served: u64,
    nothing_asked: u64,
    undecided: u64,
    open: u64,
    dropped: u64,
    causes: Vec<Counted<'a>>,
    accept_failures: Vec<AcceptFailure>,
    worker_ends: Vec<WorkerEnd<'a>>,
    not_seen: &'a [String],
}

#[derive(Serialize)]
struct Counted<'a> {
    cause: &'static str,
    count: u64,
    waited_ns: u64,
    examples: Vec<Example<'a>>,
}

#[derive(Serialize)]
struct Example<'a> {
    time_ns: u64,
    connection: Option<u64>,
    pid: Option<u32>,
    request: Option<Asked<'a>>,
    waited_ns: Option<u64>,
    evidence: &'a str,
}

#[derive(Serialize)]
struct Asked<'a> {
    id: Option<u64>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
}

#[derive(Serialize)]
struct AcceptFailure {
    pid: u32,
    error: &'static str,
    count: u64,
    first_ns: u64,
    last_ns: u64,
    open_files_limit: Option<u64>,
    open_files: Option<u64>,
    client_connections: u64,
}

#[derive(Serialize)]
struct WorkerEnd<'a> {
    time_ns: u64,
    pid: u32,
    cause: &'static str,
    evidence: &'a str,
    connections: u64,
    request: Option<Asked<'a>>,
    ran_ns: u64,
}

fn asked(asked: &dropped::Asked) -> Asked<'_> {
    Asked {
        id: asked.request,
        method: non_empty(&asked.method),
        path: non_empty(&asked.path),
        status: (asked.status > 0).then_some(asked.status),
    }
}

impl<'a> Drops<'a> {
    pub(super) fn new(dropped: &'a Dropped, is_light: bool) -> Self {
        let example = |example: &'a dropped::Example| Example {
            time_ns: example.time_ns,
            connection: example.connection,
            pid: (example.tgid > 0).then_some(example.tgid),
            request: example.asked.as_ref().map(asked),
            waited_ns: example.waited_ns,
            evidence: &example.evidence,
        };
        Self {
            not_measured: is_light.then_some(Attached::LIGHT_SEES_NO_CALLS),
            served: dropped.served,
            nothing_asked: dropped.nothing_asked,
            undecided: dropped.undecided,
            open: dropped.open,
            dropped: dropped.total(),
            causes: dropped
                .causes
                .iter()
                .map(|counted| Counted {
                    cause: counted.cause.name(),
                    count: counted.count,
                    waited_ns: counted.waited_ns,
                    examples: counted.examples.iter().map(example).collect(),
                })
                .collect(),
            accept_failures: dropped
                .accept_failures
                .iter()
                .map(|failure| AcceptFailure {
                    pid: failure.tgid,
                    error: failure.error,
                    count: failure.count,
                    first_ns: failure.first_ns,
                    last_ns: failure.last_ns,
                    open_files_limit: failure.open_files_limit,
                    open_files: failure.open_files,
                    client_connections: failure.clients,
                })
                .collect(),
            worker_ends: dropped
                .worker_ends
                .iter()
                .map(|end| WorkerEnd {
                    time_ns: end.time_ns,
                    pid: end.tgid,
                    cause: end.cause.name(),
                    evidence: &end.evidence,
                    connections: end.connections,
                    request: end.asked.as_ref().map(asked),
                    ran_ns: end.ran_ns,
                })
                .collect(),
            not_seen: &dropped.not_seen,
        }
    }
}
