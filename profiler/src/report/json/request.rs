//! One request: a line of ndjson, an entry of `requests.slowest`.
//!
//! In: a request of the core. Out: a serialisable view of it.

use profiler_core::model::request;
use serde::Serialize;

use super::gil_party::Holder;
use super::gil_place::Waits;
use super::non_empty;
use super::phases::PhaseTimes;
pub(crate) use super::phases::Unmeasured;
use super::round_trips::RoundTrips;

#[derive(Serialize)]
pub(crate) struct Request<'a> {
    id: u64,
    start_ns: u64,
    start_is_arrival: bool,
    total_ns: u64,
    service_ns: Option<u64>,
    since_request_start_ns: Option<u64>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
    trace_id: Option<String>,
    pid: u32,
    tid: u32,
    slot: Option<u32>,
    connection: u64,
    bytes_in: u64,
    bytes_out: u64,
    phases: PhaseTimes<'a>,
    gil_holders: Vec<Holder<'a>>,
    gil_waits: Option<Waits<'a>>,
    back_end_round_trips: Option<RoundTrips>,
    framing: &'static str,
    open: bool,
    truncated: bool,
    lossy: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn new(request: &'a request::Request, unmeasured: Unmeasured) -> Self {
        Self {
            id: request.id,
            start_ns: request.times.start_ns,
            start_is_arrival: request.times.start_is_arrival,
            total_ns: request.total_ns(),
            service_ns: request.service_ns(),
            since_request_start_ns: request.http.request_start.before_ns(),
            method: non_empty(&request.http.method),
            path: non_empty(&request.http.path),
            status: (request.http.status > 0).then_some(request.http.status),
            trace_id: request.http.trace_context.map(|context| context.trace_id_text()),
            pid: request.tgid,
            tid: request.tid,
            slot: request.slot,
            connection: request.connection,
            bytes_in: request.http.bytes_in,
            bytes_out: request.http.bytes_out,
            phases: PhaseTimes::new(&request.phases, unmeasured),
            gil_holders: request.gil.holders.iter().map(Holder::new).collect(),
            gil_waits: request.gil.waits.as_deref().map(Waits::new),
            back_end_round_trips: RoundTrips::new(&request.round_trips),
            framing: request.http.framing.name(),
            open: request.seen.open,
            truncated: request.seen.truncated,
            lossy: request.seen.lossy,
        }
    }
}
