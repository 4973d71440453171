//! One request, finished or cut off by the window.
//!
//! In: the request machine. Out: [`Request`]; a line of `ndjson`, a span of the timeline, a count in an
//! endpoint.

use crate::event::Tid;
use crate::model::gil::Holder;
use crate::model::gil_waits::GilWaits;
use crate::model::lasting::{Became, Standing};
use crate::model::request_start::RequestStart;
use crate::model::round_trips::RoundTrips;
use crate::model::trace_context::TraceContext;
use crate::phase::{Phase, Phases};

/// How the limits of a message were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By RFC 9112, from heads and byte counts.
    #[default]
    Exact,
    /// From the turns of traffic, because a head could not be read.
    Inferred,
    /// What is exchanged cannot be read: it is encrypted (TLS in the server), or not HTTP.
    NotHttp,
    /// From the turns of traffic; what is exchanged is encrypted (TLS in the server or in its front end), and
    /// was read in the server's OpenSSL, or where the front end passed it on.
    Encrypted,
}

impl Framing {
    /// Part of the message cannot be read, or its limits are inferred.
    pub(crate) fn note(&mut self, not_http: bool, inferred: bool) {
        if *self == Self::Encrypted {
            // Why nothing can be read of what goes over the connection is known already.
        } else if not_http {
            *self = Self::NotHttp;
        } else if inferred && *self == Self::Exact {
            *self = Self::Inferred;
        }
    }

    /// The limits are inferred, and what is exchanged is known.
    pub const fn is_inferred(self) -> bool {
        matches!(self, Self::Inferred | Self::Encrypted)
    }

    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Inferred | Self::Encrypted => "inferred",
            Self::NotHttp => "not_http",
        }
    }
}

/// A stretch of a request on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
}

/// The moments of a request, `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Arrival of its first byte.
    pub start_ns: u64,
    /// `start_ns` is the arrival at the socket; otherwise the first sight of the request.
    pub start_is_arrival: bool,
    /// Exit of the read that completed its head; `None` if the head was not completed.
    pub service_start_ns: Option<u64>,
    /// Exit of the first write of its response.
    pub first_write_ns: Option<u64>,
    /// Exit of the last write of its response, or the end of the window while it is open.
    pub end_ns: u64,
}

/// What a request asked, and how it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Method; empty if no head was read.
    pub method: String,
    /// Path without the query; empty if no head was read. Hostile input.
    pub path: String,
    /// The trace it belongs to, if its head says so.
    pub trace_context: Option<TraceContext>,
    /// How long it was on its way before `start_ns`, by its head.
    pub request_start: RequestStart,
    /// Status code; 0 if none was seen.
    pub status: u16,
    /// Bytes received, head and body.
    pub bytes_in: u64,
    /// Bytes sent, head and body.
    pub bytes_out: u64,
    /// How its limits were found.
    pub framing: Framing,
    /// What its connection became by the answer.
    pub became: Option<Became>,
}

/// A request's waits for the interpreter lock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnGil {
    /// Who had the interpreter lock while it waited for that, longest first; adds up to its phase
    /// `gil_wait`.
    pub holders: Vec<Holder>,
    /// Its waits for that one by one; `None`: there were none, or nobody asked (`--stacks`).
    pub waits: Option<Box<GilWaits>>,
}

/// How much of a request was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Still running when the window ended.
    pub open: bool,
    /// Its beginning was not seen.
    pub truncated: bool,
    /// It is what its connection became, and no request: from the head of the answer on.
    pub lasts: bool,
    /// Records of its thread were lost while it ran: its phases hold a part `unexplained`.
    pub lossy: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Dense number, in the order in which requests were first seen.
    pub id: u64,
    /// Dense number of its connection.
    pub connection: u64,
    /// Position on its connection, from 0.
    pub index_on_connection: u32,
    /// Process that served it (wrote its last byte); 0: nobody has accepted its connection.
    pub tgid: Tid,
    /// Thread that served it; 0: none has read it.
    pub tid: Tid,
    /// Dense number of the slot it held (`None`: no thread took it).
    pub slot: Option<u32>,
    /// When what happened.
    pub times: Times,
    /// What was asked and answered.
    pub http: Http,
    /// What it had to do with back ends; on an event loop nothing is counted.
    pub round_trips: RoundTrips,
    /// Where its time went; adds up to `total_ns`.
    pub phases: Phases,
    /// Its stretches on threads, in order (bounded; more than that are joined into the last).
    pub stretches: Vec<Stretch>,
    /// Its waits for the interpreter lock.
    pub gil: OnGil,
    /// How much of it was seen.
    pub seen: Seen,
}

impl Request {
    /// From arrival to the exit of the last write.
    pub const fn total_ns(&self) -> u64 {
        self.times.end_ns.saturating_sub(self.times.start_ns)
    }

    /// What its connection became, where it is that.
    pub fn lasting(&self) -> Option<Became> {
        self.http.became.filter(|_| self.seen.lasts)
    }

    /// Whether somebody serves it. Nobody does if none has read it, if who has read it did nothing else for
    /// it, or if it waits for a thread of a pool, and none is known to have taken it.
    pub fn standing(&self) -> Standing {
        let is_waiting = || self.phases.served_ns() == 0 || self.phases.get(Phase::PoolWait) > 0;
        match self.slot {
            Some(_) => Standing::Served { in_slot: true },
            None if self.tid == 0 => Standing::InLine { is_read: false },
            None if is_waiting() => Standing::InLine { is_read: true },
            None => Standing::Served { in_slot: false },
        }
    }

    /// From the exit of the read that completed the head to the exit of the last write.
    pub fn service_ns(&self) -> Option<u64> {
        self.times.service_start_ns.map(|start| self.times.end_ns.saturating_sub(start))
    }
}
