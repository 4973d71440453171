//! How a request shows: its name, its values, and the arrows to the threads that served it.
//!
//! In: a [`Request`]. Out: a name, debug annotations, and for each of its events the flow that it begins,
//! continues or ends.

use profiler_core::event::Tid;
use profiler_core::model::request::{Framing, Request};

use super::intern::Interner;
use super::message::{DebugAnnotation, Value};
use super::text::bounded;

/// Name of the span: `METHOD /path` where a head was read.
pub(super) fn name(request: &Request) -> String {
    match (request.http.method.is_empty() && request.http.path.is_empty(), request.http.framing) {
        (true, Framing::NotHttp) => "exchange, not HTTP".to_owned(),
        (true, _) => "request, head not read".to_owned(),
        (false, _) => bounded(&format!("{} {}", request.http.method, request.http.path)),
    }
}

/// An annotation with one value.
pub(super) fn annotation(interner: &mut Interner, name: &'static str, value: Value) -> DebugAnnotation {
    DebugAnnotation {
        name_iid: Some(interner.annotation(name)),
        value: Some(value),
        ..DebugAnnotation::default()
    }
}

/// Everything that is known of the request. A value that is not known is left out; so is a phase of 0 ns.
pub(super) fn annotations(interner: &mut Interner, request: &Request) -> Vec<DebugAnnotation> {
    let uint = |number: u64| Some(Value::Uint(number));
    let after_start = |time_ns: u64| Value::Uint(time_ns.saturating_sub(request.times.start_ns));
    let values = [
        ("id", uint(request.id)),
        ("connection", uint(request.connection)),
        ("index_on_connection", uint(u64::from(request.index_on_connection))),
        ("slot", request.slot.and_then(|slot| uint(u64::from(slot)))),
        ("tid", uint(u64::from(request.tid))),
        ("status", (request.http.status != 0).then_some(Value::Uint(u64::from(request.http.status)))),
        ("bytes_in", uint(request.http.bytes_in)),
        ("bytes_out", uint(request.http.bytes_out)),
        ("total_ns", uint(request.total_ns())),
        ("service_ns", request.service_ns().and_then(uint)),
        ("until_first_write_ns", request.times.first_write_ns.map(after_start)),
        ("start_is_arrival", Some(Value::Bool(request.times.start_is_arrival))),
        ("framing", Some(Value::Text(request.http.framing.name().to_owned()))),
        ("open", Some(Value::Bool(request.seen.open))),
        ("truncated", Some(Value::Bool(request.seen.truncated))),
        ("lossy", Some(Value::Bool(request.seen.lossy))),
    ];
    let mut annotations: Vec<DebugAnnotation> = values
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| annotation(interner, name, value)))
        .collect();
    let dict_entries: Vec<DebugAnnotation> = request
        .phases
        .iter()
        .map(|(phase, duration_ns)| annotation(interner, phase.name(), Value::Uint(duration_ns)))
        .collect();
    if !dict_entries.is_empty() {
        let name_iid = Some(interner.annotation("phases_ns"));
        annotations.push(DebugAnnotation { name_iid, value: None, dict_entries });
    }
    annotations
}

/// Number of the arrow that leads from the holder of the interpreter lock to a thread that begins to wait at
/// this time: the same in every file.
pub(super) fn arrow(waiter: Tid, since_ns: u64) -> u64 {
    // FNV-1a over 64 bits. The top bit keeps it apart from the numbers of requests, and it is never 0.
    let bytes = waiter.to_le_bytes().into_iter().chain(since_ns.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }) | 1 << 63
}

/// The part that an event plays in its request's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// No thread served it: there is nothing to connect.
    None,
    /// Begins or continues the flow.
    Through(u64),
    /// Is the latest event of the flow.
    Last(u64),
}

/// The flow of a request's events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flows {
    id: u64,
    /// Index of the stretch that begins last, if it begins no earlier than the span.
    last_stretch: Option<usize>,
    any: bool,
}

impl Flows {
    /// Perfetto orders a flow's events by their start and ignores what comes after its end, so the end must
    /// be where the last one begins.
    pub(super) fn of(request: &Request) -> Self {
        let last =
            request.stretches.iter().enumerate().max_by_key(|(index, stretch)| (stretch.start_ns, *index));
        Self {
            // 0 is not a flow in every reader of the format.
            id: request.id.wrapping_add(1).max(1),
            last_stretch: last
                .filter(|(_, stretch)| stretch.start_ns >= request.times.start_ns)
                .map(|(index, _)| index),
            any: last.is_some(),
        }
    }

    /// Number that the events of the request share.
    pub(super) const fn id(self) -> u64 {
        self.id
    }

    /// The span's part.
    pub(super) const fn span(self) -> Flow {
        match (self.any, self.last_stretch) {
            (false, _) => Flow::None,
            (true, Some(_)) => Flow::Through(self.id),
            (true, None) => Flow::Last(self.id),
        }
    }

    /// The part of the stretch at `index`.
    pub(super) fn stretch(self, index: usize) -> Flow {
        if self.last_stretch == Some(index) { Flow::Last(self.id) } else { Flow::Through(self.id) }
    }
}
