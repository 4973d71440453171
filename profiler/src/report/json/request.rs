//! One request: a line of ndjson, an entry of `requests.slowest`.
//!
//! In: a request of the core. Out: a serialisable view of it.

use profiler_core::model::request;

use super::gil_contender::GilHolder;
use super::gil_place::Waits;
use super::non_empty;
use super::phases::PhaseTimes;
pub(crate) use super::phases::Unmeasured;
use super::round_trips::RoundTrips;

view! {
    /// One request; also a line of the ndjson format.
    pub(crate) struct Request<'a>(request: &'a request::Request, unmeasured: Unmeasured) {
        /// Number of the request, in the order in which requests were first seen.
        id: u64 = request.id,
        /// Arrival of its first byte, CLOCK_MONOTONIC, in ns.
        start_ns: u64 = request.times.start_ns,
        /// start_ns is the arrival at the socket; otherwise the first sight of the request.
        has_arrival: bool = request.times.start_is_arrival,
        /// From start_ns to the exit of the last write of the response (or the end of the window while it is
        /// open), in ns.
        total_ns: u64 = request.total_ns(),
        /// From the exit of the read that completed the head to the same end, in ns; null if the head was not
        /// completed.
        service_ns: Option<u64> = request.service_ns(),
        /// From the stamp in its X-Request-Start to start_ns, in ns; null where it has none that is believed.
        since_request_start_ns: Option<u64> = request.http.request_start.before_ns(),
        /// Method; null if no head was read.
        method: Option<&'a str> = non_empty(&request.http.method),
        /// Path without the query; null if no head was read.
        path: Option<&'a str> = non_empty(&request.http.path),
        /// Status code; null if none was seen.
        status: Option<u16> = (request.http.status > 0).then_some(request.http.status),
        /// The trace that the request belongs to, in hexadecimal, from its traceparent header; null if it
        /// named none.
        #[cfg_attr(test, schemars(extend("pattern" = "^[0-9a-f]{32}$")))]
        trace_id: Option<String> = request.http.trace_context.map(|context| context.trace_id_text()),
        /// Process that served it; 0: nobody had accepted its connection as the window ended.
        pid: u32 = request.tgid,
        /// Thread that served it; 0: none had read it as the window ended.
        tid: u32 = request.tid,
        /// Number of the slot it held; null if no thread took it.
        slot: Option<u32> = request.slot,
        /// Number of its connection.
        connection: u64 = request.connection,
        /// Bytes received, head and body.
        received_bytes: u64 = request.http.bytes_in,
        /// Bytes sent, head and body.
        sent_bytes: u64 = request.http.bytes_out,
        /// Where its time went; adds up to total_ns.
        phases: PhaseTimes<'a> = PhaseTimes::new(&request.phases, unmeasured),
        /// Who had the interpreter lock while it waited for that, longest first; adds up to its phase
        /// gil_wait.
        gil_holders: Vec<GilHolder<'a>> = request.gil.holders.iter().map(GilHolder::new).collect(),
        /// Its waits for the interpreter lock one by one; null: there were none, or --stacks was not given.
        gil_waits: Option<Waits<'a>> = request.gil.waits.as_deref().map(Waits::new),
        /// Its round trips to back ends.
        back_end_round_trips: Option<RoundTrips> = RoundTrips::new(&request.round_trips),
        /// How its limits were found: by RFC 9112, from the turns of traffic, or not at all because it is not
        /// HTTP.
        #[cfg_attr(test, schemars(extend("enum" = ["exact", "inferred", "not_http"])))]
        framing: &'static str = request.http.framing.name(),
        /// Still running when the window ended.
        is_open: bool = request.seen.open,
        /// Its beginning was not seen.
        is_truncated: bool = request.seen.truncated,
        /// Records of its thread were lost while it ran.
        is_lossy: bool = request.seen.lossy,
    }
}
