//! `drops`: what became of connections.
//!
//! In: that part of a snapshot. Out: a serialisable view of it; nothing where it is not known how connections
//! end.

use profiler_core::model::Snapshot;
use profiler_core::model::chain::Chains;
use profiler_core::model::dropped::{self, Dropped};

use super::chain_whereabouts::{self, WasInView};
use super::non_empty;

view! {
    pub(super) struct Drops<'a>(dropped: &'a Dropped, chains: &'a Chains) {
        /// Connections whose requests were all answered, and the answers taken.
        served: u64 = dropped.served,
        /// Connections that ended without a request.
        nothing_asked: u64 = dropped.nothing_asked,
        /// Connections that ended, not seen to be served, while records were lost: whether they were served,
        /// and why not, cannot be told.
        undecided: u64 = dropped.undecided,
        /// Connections that were open at the end of the window.
        open: u64 = dropped.open,
        /// Connections that were not served: the sum over causes.
        dropped: u64 = dropped.total(),
        /// Connections that were not served, by cause; causes that occurred.
        causes: Vec<Counted<'a>> =
            dropped.causes.iter().map(|counted| Counted::new(counted, chains)).collect(),
        /// Accept calls that failed for want of something, by process and error.
        accept_failures: Vec<AcceptFailure> = dropped.accept_failures.iter().map(AcceptFailure::new).collect(),
        /// Processes of the server that ended with clients, or by force.
        worker_ends: Vec<WorkerEnd<'a>> =
            dropped.worker_ends.iter().map(|end| WorkerEnd::new(end, chains)).collect(),
        /// What could not be seen, one sentence each.
        not_seen: &'a [String] = &dropped.not_seen,
    }
}

view! {
    struct Counted<'a>(counted: &'a dropped::Counted, chains: &'a Chains) {
        /// Why: see dropped-connections.md.
        #[cfg_attr(test, schemars(extend("examples" = dropped::Cause::ALL.map(dropped::Cause::name))))]
        cause: &'static str = counted.cause.name(),
        /// Connections.
        count: u64 = counted.count,
        /// How long their clients had waited in all, where known, in ns.
        waited_ns: u64 = counted.waited_ns,
        /// The first of them.
        examples: Vec<Example<'a>> =
            counted.examples.iter().map(|example| Example::new(example, chains)).collect(),
    }
}

view! {
    struct Example<'a>(example: &'a dropped::Example, chains: &'a Chains) {
        /// When it was over, on the clock of the window, in ns.
        time_ns: u64 = example.time_ns,
        /// Its number; null: nobody accepted it.
        connection: Option<u64> = example.connection,
        /// Process that had it; null: none had.
        pid: Option<u32> = (example.tgid > 0).then_some(example.tgid),
        /// The request at hand; null: none was.
        request: Option<RequestAtHand<'a>> =
            example.asked.as_ref().map(|asked| RequestAtHand::new(asked, chains)),
        /// How long its client had waited: since its request arrived, or else since the connection was made,
        /// in ns; null: not known.
        waited_ns: Option<u64> = example.waited_ns,
        /// What shows the cause.
        evidence: &'a str = &example.evidence,
    }
}

view! {
    /// The request at hand as a connection or a worker ended.
    struct RequestAtHand<'a>(asked: &'a dropped::Asked, chains: &'a Chains) {
        /// Its number; null: it was not read.
        id: Option<u64> = asked.request,
        /// Method; null: no head was read.
        method: Option<&'a str> = non_empty(&asked.method),
        /// Path without the query; null: no head was read.
        path: Option<&'a str> = non_empty(&asked.path),
        /// Status of its response; null: none was seen.
        status: Option<u16> = (asked.status > 0).then_some(asked.status),
        /// Where in Python it was as its process ended, or was told to; null: no process ended, or that was
        /// not read.
        was: Option<WasInView<'a>> = chain_whereabouts::was_in(chains, asked.request),
    }
}

view! {
    struct AcceptFailure(failure: &dropped::AcceptFailure) {
        /// Process.
        pid: u32 = failure.tgid,
        /// Name of the error (EMFILE).
        error: &'static str = failure.error,
        /// Calls.
        count: u64 = failure.count,
        /// When first, on the clock of the window, in ns.
        first_ns: u64 = failure.first_ns,
        /// When last, in ns.
        last_ns: u64 = failure.last_ns,
        /// Soft limit of open files of the process; null: not known.
        open_files_limit: Option<u64> = failure.open_files_limit,
        /// Most descriptors that the process had open near its limit; null: it was never looked at there.
        open_files: Option<u64> = failure.open_files,
        /// Client connections that the process had open when it began.
        client_connections: u64 = failure.clients,
    }
}

view! {
    struct WorkerEnd<'a>(end: &'a dropped::WorkerEnd, chains: &'a Chains) {
        /// When, on the clock of the window, in ns.
        time_ns: u64 = end.time_ns,
        /// Process.
        pid: u32 = end.tgid,
        /// Why: see dropped-connections.md.
        #[cfg_attr(test, schemars(extend("examples" = dropped::Cause::ALL.map(dropped::Cause::name))))]
        cause: &'static str = end.cause.name(),
        /// What shows the cause.
        evidence: &'a str = &end.evidence,
        /// Connections with a request under way that ended with it.
        connections: u64 = end.connections,
        /// The request at hand; null: none was.
        request: Option<RequestAtHand<'a>> =
            end.asked.as_ref().map(|asked| RequestAtHand::new(asked, chains)),
        /// How long that request had run, in ns.
        ran_ns: u64 = end.ran_ns,
    }
}

/// Nothing where it is not known how connections end.
pub(super) fn of(snapshot: &Snapshot) -> Option<Drops<'_>> {
    snapshot.dropped.not_measured.is_none().then(|| Drops::new(&snapshot.dropped, &snapshot.chains))
}
