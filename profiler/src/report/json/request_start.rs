//! `requests.request_start`: how long requests were on their way before the server, by the stamps of a front
//! end.
//!
//! In: what the requests of a snapshot say. Out: a serialisable view of it; nothing where none has such a
//! header.

use profiler_core::model::request_start::RequestStarts as Model;
use serde::Serialize;

use super::latency::Latency;

#[derive(Serialize)]
pub(super) struct RequestStarts {
    before: Latency,
    unit_ns: Option<u64>,
    not_a_time: u64,
    ahead: u64,
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
