//! Connections that were not served, each by its cause.
//!
//! In: the verdicts of `machine::product::dropped`. Out: [`Dropped`]: how many connections were served, how
//! many were not and why, with examples. The list of causes is closed: `docs/dropped-connections.md` has a
//! section for each.

use crate::model::whereabouts::CutOff;

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The accept queue was full: the handshake was never completed.
    AcceptQueueOverflow,
    /// accept failed: no descriptor or memory was left.
    AcceptFailed,
    /// The listener was closed while the connection waited in its queue.
    ListenerClosed,
    /// The worker was killed by its own server, as it took too long.
    WorkerTimeout,
    /// The worker was killed by the kernel, as memory ran out.
    WorkerOutOfMemory,
    /// The worker crashed.
    WorkerCrashed,
    /// The worker was killed or told to stop by somebody else.
    WorkerKilled,
    /// The worker ended by itself.
    WorkerExited,
    /// The server closed the connection without answering the request.
    ClosedWithoutResponse,
    /// The server closed the connection before it had read all that the client had sent.
    ClosedWithUnreadData,
    /// The server closed a kept connection as the next request arrived.
    KeepAliveRace,
    /// The server answered one request and threw those after it away.
    PipelinedDiscarded,
    /// The client left before the connection was accepted.
    ClientLeftInQueue,
    /// The client left while it waited for the response.
    ClientLeftWaiting,
    /// The client left in the middle of the response.
    ClientLeftReading,
    /// The response was shorter than its `Content-Length`.
    ResponseCutShort,
    /// The request waited too long for a worker, and was answered 503 or 504.
    QueueTimeout,
    /// The server itself answered with an error.
    ServerError,
    /// The front end gave up on the server, or answered in its place.
    FrontEndGaveUp,
    /// None of these.
    Unknown,
}

impl Cause {
    /// All causes, in the order of reports: on the way in, at the server, at the client.
    pub const ALL: [Self; 20] = [
        Self::AcceptQueueOverflow,
        Self::AcceptFailed,
        Self::ListenerClosed,
        Self::WorkerTimeout,
        Self::WorkerOutOfMemory,
        Self::WorkerCrashed,
        Self::WorkerKilled,
        Self::WorkerExited,
        Self::ClosedWithoutResponse,
        Self::ClosedWithUnreadData,
        Self::KeepAliveRace,
        Self::PipelinedDiscarded,
        Self::ResponseCutShort,
        Self::QueueTimeout,
        Self::ServerError,
        Self::FrontEndGaveUp,
        Self::ClientLeftInQueue,
        Self::ClientLeftWaiting,
        Self::ClientLeftReading,
        Self::Unknown,
    ];

    /// Causes by which clients left before they were served.
    pub const LEFT: [Self; 3] = [Self::ClientLeftInQueue, Self::ClientLeftWaiting, Self::ClientLeftReading];

    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptQueueOverflow => "accept_queue_overflow",
            Self::AcceptFailed => "accept_failed",
            Self::ListenerClosed => "listener_closed",
            Self::WorkerTimeout => "worker_timeout",
            Self::WorkerOutOfMemory => "worker_out_of_memory",
            Self::WorkerCrashed => "worker_crashed",
            Self::WorkerKilled => "worker_killed",
            Self::WorkerExited => "worker_exited",
            Self::ClosedWithoutResponse => "closed_without_response",
            Self::ClosedWithUnreadData => "closed_with_unread_data",
            Self::KeepAliveRace => "keep_alive_race",
            Self::PipelinedDiscarded => "pipelined_discarded",
            Self::ClientLeftInQueue => "client_left_in_queue",
            Self::ClientLeftWaiting => "client_left_waiting",
            Self::ClientLeftReading => "client_left_reading",
            Self::ResponseCutShort => "response_cut_short",
            Self::QueueTimeout => "queue_timeout",
            Self::ServerError => "server_error",
            Self::FrontEndGaveUp => "front_end_gave_up",
            Self::Unknown => "unknown",
        }
    }

    /// The cause as a clause for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AcceptQueueOverflow => "the accept queue was full",
            Self::AcceptFailed => "accept failed: nothing left to take the connection with",
            Self::ListenerClosed => "the listener was closed while they waited in its queue",
            Self::WorkerTimeout => "the server killed its worker, which took too long",
            Self::WorkerOutOfMemory => "the worker was killed as memory ran out",
            Self::WorkerCrashed => "the worker crashed",
            Self::WorkerKilled => "the worker was killed or told to stop",
            Self::WorkerExited => "the worker ended by itself",
            Self::ClosedWithoutResponse => "the server closed without a response",
            Self::ClosedWithUnreadData => "the server closed with data unread: the client saw a reset",
            Self::KeepAliveRace => "the server closed a kept connection as a request arrived",
            Self::PipelinedDiscarded => "the server threw away requests sent behind the first",
            Self::ClientLeftInQueue => "the client left before it was accepted",
            Self::ClientLeftWaiting => "the client left before it was answered",
            Self::ClientLeftReading => "the client left in the middle of the response",
            Self::ResponseCutShort => "the response ended before its Content-Length",
            Self::QueueTimeout => "it waited too long for a worker (503 or 504)",
            Self::ServerError => "the server itself answered with an error",
            Self::FrontEndGaveUp => "the front end gave up on the server",
            Self::Unknown => "none of the known causes",
        }
    }

    /// Whether a worker's end is the cause.
    pub const fn is_end_of_worker(self) -> bool {
        matches!(
            self,
            Self::WorkerTimeout
                | Self::WorkerOutOfMemory
                | Self::WorkerCrashed
                | Self::WorkerKilled
                | Self::WorkerExited
        )
    }

    /// Whether the server's own answer says it: nothing that was not seen could change it.
    pub const fn is_said_by_the_answer(self) -> bool {
        matches!(self, Self::QueueTimeout | Self::ServerError)
    }

    /// Whether the client left by itself.
    pub const fn is_client_s(self) -> bool {
        matches!(self, Self::ClientLeftInQueue | Self::ClientLeftWaiting | Self::ClientLeftReading)
    }
}

/// The request that a dropped connection was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its number; `None`: the server had not read it.
    pub request: Option<u64>,
    /// Method; empty if no head was read.
    pub method: String,
    /// Path without the query; empty if no head was read. Hostile input.
    pub path: String,
    /// Status of the response, 0: none was seen.
    pub status: u16,
}

/// One dropped connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// When it was over.
    pub time_ns: u64,
    /// Dense number of the connection; `None`: it was never accepted.
    pub connection: Option<u64>,
    /// Process that had it; 0: none had.
    pub tgid: u32,
    /// The request at hand, if one was.
    pub asked: Option<Asked>,
    /// How long the client had waited by then: since the request arrived, or else since the connection was
    /// made; `None`: not known.
    pub waited_ns: Option<u64>,
    /// What shows the cause, as a clause. Names of processes in it are hostile input.
    pub evidence: String,
}

/// What was counted of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The cause.
    pub cause: Cause,
    /// Connections; of `AcceptQueueOverflow` attempts, which clients repeat.
    pub count: u64,
    /// How long their clients had waited in all, where known.
    pub waited_ns: u64,
    /// The first of them (bounded).
    pub examples: Vec<Example>,
}

/// Accept calls of one process that failed in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptFailure {
    /// Process.
    pub tgid: u32,
    /// Name of the error (`EMFILE`).
    pub error: &'static str,
    /// How often.
    pub count: u64,
    /// When first.
    pub first_ns: u64,
    /// When last.
    pub last_ns: u64,
    /// Soft limit of open files of the process, where known.
    pub open_files_limit: Option<u64>,
    /// Most descriptors that the process had open near its limit; `None`: it was never looked at there.
    pub open_files: Option<u64>,
    /// Client connections that the process had open then.
    pub clients: u64,
}

/// How a process of the target ended while it had clients, or by force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerEnd {
    /// When.
    pub time_ns: u64,
    /// Process.
    pub tgid: u32,
    /// Why it ended.
    pub cause: Cause,
    /// What shows that, as a clause. Hostile input.
    pub evidence: String,
    /// Connections that ended with it.
    pub connections: u64,
    /// The request that had run longest; of a process that closed its connections before it ended, by those.
    pub asked: Option<Asked>,
    /// For how long.
    pub ran_ns: u64,
}

/// What became of the window's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Connections whose requests were all answered, and the answers taken.
    pub served: u64,
    /// Connections that ended without anything having been asked.
    pub nothing_asked: u64,
    /// Connections that ended, not seen to be served, while records were lost: whether they were served, and
    /// why not, is not known.
    pub undecided: u64,
    /// Connections that were open at the end of the window.
    pub open: u64,
    /// Other clients came after the first had left that was not served: the load went on.
    pub came_after_left: bool,
    /// Connections that were not served, by cause; those that occurred.
    pub causes: Vec<Counted>,
    /// Failed accept calls.
    pub accept_failures: Vec<AcceptFailure>,
    /// Processes that ended with clients, or by force (bounded).
    pub worker_ends: Vec<WorkerEnd>,
    /// Requests among them that ended with their process, as far as examples name them.
    pub cut_off: Vec<CutOff>,
    /// What could not be seen, one sentence each.
    pub not_seen: Vec<String>,
    /// Why nothing of this is known; `None`: it is.
    pub not_measured: Option<String>,
    /// Why it is not known which accepts failed; `None`: it is.
    pub accepts_not_measured: Option<String>,
}

impl Dropped {
    /// Of a run that could see nothing of it, for this reason.
    pub fn not_seen(reason: &str) -> Self {
        Self {
            not_seen: vec![reason.to_owned()],
            not_measured: Some(reason.to_owned()),
            accepts_not_measured: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    /// Connections that were not served. Attempts that a full accept queue refused made none.
    pub fn total(&self) -> u64 {
        let of_connections = |counted: &&Counted| counted.cause != Cause::AcceptQueueOverflow;
        let counts = self.causes.iter().filter(of_connections).map(|counted| counted.count);
        counts.fold(0_u64, u64::saturating_add)
    }

    /// Applications end helpers of theirs as a server ends workers: these had no client.
    pub(crate) fn forget_helpers(&mut self, helpers: &[u32]) {
        let is_helper = |end: &WorkerEnd| end.connections == 0 && helpers.contains(&end.tgid);
        self.worker_ends.retain(|end| !is_helper(end));
    }

    /// Connections of one cause.
    pub fn count(&self, cause: Cause) -> u64 {
        self.of(cause).map_or(0, |counted| counted.count)
    }

    /// What was counted of one cause.
    pub fn of(&self, cause: Cause) -> Option<&Counted> {
        self.causes.iter().find(|counted| counted.cause == cause)
    }

    /// Connections that came to an end in the window.
    pub fn ended(&self) -> u64 {
        self.served
            .saturating_add(self.nothing_asked)
            .saturating_add(self.undecided)
            .saturating_add(self.total())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_name_of_its_own_and_its_place() {
        let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
        assert_eq!(Cause::ALL.last(), Some(&Cause::Unknown));
    }

    #[test]
    fn connections_of_all_causes_are_no_more_than_a_number_holds() {
        let counted = |cause, count| Counted { cause, count, waited_ns: 0, examples: Vec::new() };
        let causes = |counts: [u64; 3]| {
            let causes = [Cause::AcceptQueueOverflow, Cause::WorkerTimeout, Cause::Unknown];
            let causes = causes.into_iter().zip(counts).map(|(cause, count)| counted(cause, count)).collect();
            Dropped { causes, ..Dropped::default() }
        };
        assert_eq!(causes([7, 2, 3]).total(), 5);
        assert_eq!(causes([0, u64::MAX, 3]).total(), u64::MAX);
    }

    #[test]
    fn a_helper_that_an_application_killed_is_no_worker_unless_it_had_a_client() {
        let end = |tgid, connections| WorkerEnd {
            time_ns: 1,
            tgid,
            cause: Cause::WorkerTimeout,
            evidence: String::new(),
            connections,
            asked: None,
            ran_ns: 0,
        };
        let mut dropped =
            Dropped { worker_ends: vec![end(7, 0), end(8, 0), end(9, 1)], ..Dropped::default() };
        dropped.forget_helpers(&[8, 9]);
        let left: Vec<u32> = dropped.worker_ends.iter().map(|end| end.tgid).collect();
        assert_eq!(left, [7, 9]);
    }
}
