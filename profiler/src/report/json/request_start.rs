//! `requests.request_start`: how long requests were on their way before the server, by the stamps of a front
//! end.
//!
//! In: what the requests of a snapshot say. Out: a serialisable view of it; nothing where none has such a
//! header.

use profiler_core::model::request_start::RequestStarts as Model;
use serde::Serialize;

use super::latency::Latency;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RequestStarts {
    /// From the stamp to the first byte at the server's socket. Stamps are cut off: up to unit_ns of it is
    /// not true.
    before: Latency,
    /// The coarsest unit of the stamps that are believed, in ns; null where none is.
    #[cfg_attr(test, schemars(range(min = 1)))]
    unit_ns: Option<u64>,
    /// Headers that are not one moment.
    not_a_time: u64,
    /// Stamps later than the request's first byte.
    ahead: u64,
    /// Stamps more than 10 minutes before it.
    too_old: u64,
}

impl RequestStarts {
    pub(super) fn new(model: &Model) -> Option<Self> {
        (!model.is_empty()).then(|| Self {
            before: Latency::new(&model.before),
            unit_ns: (model.before.count() > 0).then_some(model.unit_ns),
            not_a_time: model.not_a_time,
            ahead: model.ahead,
            too_old: model.too_old,
        })
    }
}
