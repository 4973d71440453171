//! One request: a line of ndjson, an entry of `requests.slowest`.
//!
//! In: a request of the core. Out: a serialisable view of it.

use profiler_core::model::request;

use super::gil_contender::Holder;
use super::gil_place::Waits;
use super::non_empty;
use super::phases::PhaseTimes;
pub(crate) use super::phases::Unmeasured;
use super::round_trips::RoundTrips;

view! {
    pub(crate) struct Request<'a>(request: &'a request::Request, unmeasured: Unmeasured) {
        id: u64 = request.id,
        start_ns: u64 = request.times.start_ns,
        has_arrival: bool = request.times.start_is_arrival,
        total_ns: u64 = request.total_ns(),
        service_ns: Option<u64> = request.service_ns(),
        since_request_start_ns: Option<u64> = request.http.request_start.before_ns(),
        method: Option<&'a str> = non_empty(&request.http.method),
        path: Option<&'a str> = non_empty(&request.http.path),
        status: Option<u16> = (request.http.status > 0).then_some(request.http.status),
        trace_id: Option<String> = request.http.trace_context.map(|context| context.trace_id_text()),
        pid: u32 = request.tgid,
        tid: u32 = request.tid,
        slot: Option<u32> = request.slot,
        connection: u64 = request.connection,
        received_bytes: u64 = request.http.bytes_in,
        sent_bytes: u64 = request.http.bytes_out,
        phases: PhaseTimes<'a> = PhaseTimes::new(&request.phases, unmeasured),
        gil_holders: Vec<Holder<'a>> = request.gil.holders.iter().map(Holder::new).collect(),
        gil_waits: Option<Waits<'a>> = request.gil.waits.as_deref().map(Waits::new),
        back_end_round_trips: Option<RoundTrips> = RoundTrips::new(&request.round_trips),
        framing: &'static str = request.http.framing.name(),
        is_open: bool = request.seen.open,
        is_truncated: bool = request.seen.truncated,
        is_lossy: bool = request.seen.lossy,
    }
}
