//! `drops`: what became of connections.
//!
//! In: that part of a snapshot. Out: a serialisable view of it; nothing where it is not known how connections
//! end.

use profiler_core::model::Snapshot;
use profiler_core::model::dropped::{self, Dropped};

use super::non_empty;

view! {
    pub(super) struct Drops<'a>(dropped: &'a Dropped) {
        served: u64 = dropped.served,
        nothing_asked: u64 = dropped.nothing_asked,
        undecided: u64 = dropped.undecided,
        open: u64 = dropped.open,
        dropped: u64 = dropped.total(),
        causes: Vec<Counted<'a>> = dropped.causes.iter().map(Counted::new).collect(),
        accept_failures: Vec<AcceptFailure> = dropped.accept_failures.iter().map(AcceptFailure::new).collect(),
        worker_ends: Vec<WorkerEnd<'a>> = dropped.worker_ends.iter().map(WorkerEnd::new).collect(),
        not_seen: &'a [String] = &dropped.not_seen,
    }
}

view! {
    struct Counted<'a>(counted: &'a dropped::Counted) {
        cause: &'static str = counted.cause.name(),
        count: u64 = counted.count,
        waited_ns: u64 = counted.waited_ns,
        examples: Vec<Example<'a>> = counted.examples.iter().map(Example::new).collect(),
    }
}

view! {
    struct Example<'a>(example: &'a dropped::Example) {
        time_ns: u64 = example.time_ns,
        connection: Option<u64> = example.connection,
        pid: Option<u32> = (example.tgid > 0).then_some(example.tgid),
        request: Option<Asked<'a>> = example.asked.as_ref().map(Asked::new),
        waited_ns: Option<u64> = example.waited_ns,
        evidence: &'a str = &example.evidence,
    }
}

view! {
    struct Asked<'a>(asked: &'a dropped::Asked) {
        id: Option<u64> = asked.request,
        method: Option<&'a str> = non_empty(&asked.method),
        path: Option<&'a str> = non_empty(&asked.path),
        status: Option<u16> = (asked.status > 0).then_some(asked.status),
    }
}

view! {
    struct AcceptFailure(failure: &dropped::AcceptFailure) {
        pid: u32 = failure.tgid,
        error: &'static str = failure.error,
        count: u64 = failure.count,
        first_ns: u64 = failure.first_ns,
        last_ns: u64 = failure.last_ns,
        open_files_limit: Option<u64> = failure.open_files_limit,
        open_files: Option<u64> = failure.open_files,
        client_connections: u64 = failure.clients,
    }
}

view! {
    struct WorkerEnd<'a>(end: &'a dropped::WorkerEnd) {
        time_ns: u64 = end.time_ns,
        pid: u32 = end.tgid,
        cause: &'static str = end.cause.name(),
        evidence: &'a str = &end.evidence,
        connections: u64 = end.connections,
        request: Option<Asked<'a>> = end.asked.as_ref().map(Asked::new),
        ran_ns: u64 = end.ran_ns,
    }
}

/// Nothing where it is not known how connections end.
pub(super) fn of(snapshot: &Snapshot) -> Option<Drops<'_>> {
    snapshot.dropped.not_measured.is_none().then(|| Drops::new(&snapshot.dropped))
}
