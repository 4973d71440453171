//! A request as a span.
//!
//! In: a finished request, the session that saw it. Out: a server span by the semantic conventions for HTTP
//! (1.23 and later), with the request's phases as attributes. Phases are sums of many short stretches, so
//! they have no place of their own on a time axis. What has one is an event: the head was read, the response
//! began. Where more than one thread worked on it, each one's stretches are child spans.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};
use profiler_core::fact::SessionStarted;
use profiler_core::model::path_shape::path_shape;
use profiler_core::model::request::{Request, Stretch};

use super::{number, text, wall_ns};

/// The spans of a request: its own first, then those of its stretches. None, if its caller does not record
/// the trace.
pub(super) fn spans(session: &SessionStarted, request: &Request) -> Vec<Span> {
    if request.http.trace_context.is_some_and(|context| !context.sampled) {
        return Vec::new();
    }
    let whole = server_span(session, request);
    let parts: Vec<Span> = match request.stretches.as_slice() {
        [] | [_] => Vec::new(),
        several => (1..)
            .zip(several)
            .map(|(place, part)| stretch_span(session, request, &whole, place, part))
            .collect(),
    };
    std::iter::once(whole).chain(parts).collect()
}

fn server_span(session: &SessionStarted, request: &Request) -> Span {
    let span_id = identifier(session, request.id, 0).to_be_bytes().to_vec();
    let (trace_id, parent_span_id, flags) = match request.http.trace_context {
        Some(context) => {
            let is_remote = SpanFlags::ContextHasIsRemoteMask as u32 | SpanFlags::ContextIsRemoteMask as u32;
            (context.trace_id.to_vec(), context.parent_id.to_vec(), is_remote | 1)
        }
        None => {
            let (high, low) =
                (identifier(session, request.id, 1 << 32), identifier(session, request.id, 2 << 32));
            (((u128::from(high) << 64) | u128::from(low)).to_be_bytes().to_vec(), Vec::new(), 1)
        }
    };
    Span {
        trace_id,
        span_id,
        parent_span_id,
        flags,
        name: name(request),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: wall_ns(session, request.times.start_ns),
        end_time_unix_nano: wall_ns(session, request.times.end_ns),
        attributes: attributes(request),
        events: [
            ("head_read", request.times.service_start_ns),
            ("response_started", request.times.first_write_ns),
        ]
        .into_iter()
        .filter_map(|(name, time_ns)| {
            let time_unix_nano = wall_ns(session, time_ns?);
            Some(Event { time_unix_nano, name: name.to_owned(), ..Event::default() })
        })
        .collect(),
        // A server's span is an error from status 500 on; the rest is for the caller to judge.
        status: (request.http.status >= 500)
            .then(|| Status { code: StatusCode::Error as i32, ..Status::default() }),
        ..Span::default()
    }
}

fn stretch_span(
    session: &SessionStarted,
    request: &Request,
    whole: &Span,
    place: u64,
    stretch: &Stretch,
) -> Span {
    Span {
        trace_id: whole.trace_id.clone(),
        span_id: identifier(session, request.id, place).to_be_bytes().to_vec(),
        parent_span_id: whole.span_id.clone(),
        flags: 1,
        name: "thread".to_owned(),
        kind: SpanKind::Internal as i32,
        start_time_unix_nano: wall_ns(session, stretch.start_ns),
        end_time_unix_nano: wall_ns(session, stretch.end_ns),
        attributes: vec![
            number("process.pid", u64::from(stretch.tgid)),
            number("thread.id", u64::from(stretch.tid)),
        ],
        ..Span::default()
    }
}

/// Method and shape of the path: of low cardinality, as names of spans have to be.
fn name(request: &Request) -> String {
    match (request.http.method.as_str(), request.http.path.as_str()) {
        ("", _) => "request".to_owned(),
        (method, "") => method.to_owned(),
        (method, path) => format!("{method} {}", path_shape(path)),
    }
}

fn attributes(request: &Request) -> Vec<KeyValue> {
    let mut list = Vec::with_capacity(16);
    if !request.http.method.is_empty() {
        list.push(text("http.request.method", &request.http.method));
    }
    if !request.http.path.is_empty() {
        list.push(text("url.path", &request.http.path));
    }
    if request.http.status > 0 {
        list.push(number("http.response.status_code", u64::from(request.http.status)));
    }
    if request.http.status >= 500 {
        list.push(text("error.type", &request.http.status.to_string()));
    }
    list.push(number("http.request.size", request.http.bytes_in));
    list.push(number("http.response.size", request.http.bytes_out));
    // Nobody had accepted it, or read it.
    for (key, id) in [("process.pid", request.tgid), ("thread.id", request.tid)] {
        if id > 0 {
            list.push(number(key, u64::from(id)));
        }
    }
    list.push(number("wsgi_trace.request.id", request.id));
    if let Some(slot) = request.slot {
        list.push(number("wsgi_trace.slot", u64::from(slot)));
    }
    if let Some(before_ns) = request.http.request_start.before_ns() {
        list.push(number("wsgi_trace.since_request_start_ns", before_ns));
    }
    for (flag, key) in
        [(request.seen.truncated, "wsgi_trace.truncated"), (request.seen.lossy, "wsgi_trace.lossy")]
    {
        if flag {
            list.push(super::attribute(
                key,
                opentelemetry_proto::tonic::common::v1::any_value::Value::BoolValue(true),
            ));
        }
    }
    for (phase, duration_ns) in request.phases.iter() {
        list.push(number(&format!("wsgi_trace.phase.{}_ns", phase.name()), duration_ns));
    }
    list
}

/// A number for a span, never 0: the same run gives the same ones, two runs different ones.
fn identifier(session: &SessionStarted, request: u64, place: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&session.host_name, session.target_pid, session.wall_clock_offset_ns, request, place).hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use profiler_core::model::request_start::RequestStart;
    use profiler_core::model::trace_context::TraceContext;

    use super::*;
    use crate::report::fixture;

    fn requests() -> Vec<Request> {
        fixture::exhausted().0.requests.slowest
    }

    fn session() -> SessionStarted {
        SessionStarted { host_name: "vm".to_owned(), wall_clock_offset_ns: 7, ..SessionStarted::default() }
    }

    #[test]
    fn span_joins_the_trace_that_the_head_names() {
        let mut request = requests().remove(0);
        let value = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        request.http.trace_context = TraceContext::parse(value);
        let [span] = spans(&session(), &request).try_into().unwrap();
        assert_eq!(span.trace_id, request.http.trace_context.unwrap().trace_id);
        assert_eq!(span.parent_span_id, request.http.trace_context.unwrap().parent_id);
        request.http.trace_context =
            request.http.trace_context.map(|context| TraceContext { sampled: false, ..context });
        assert!(spans(&session(), &request).is_empty());
    }

    #[test]
    fn span_without_a_caller_begins_a_trace_of_its_own_the_same_in_each_replay() {
        let [first, second] = [0, 1].map(|at| server_span(&session(), &requests()[at]));
        assert_ne!(first.trace_id, second.trace_id);
        assert_ne!(first.span_id, second.span_id);
        assert!(first.parent_span_id.is_empty());
        assert_eq!(first, server_span(&session(), &requests()[0]));
        let other = SessionStarted { wall_clock_offset_ns: 8, ..session() };
        assert_ne!(first.trace_id, server_span(&other, &requests()[0]).trace_id);
    }

    #[test]
    fn phases_of_a_span_add_up_to_its_length() {
        for request in requests() {
            let span = server_span(&session(), &request);
            let phases: i64 = span
                .attributes
                .iter()
                .filter(|attribute| attribute.key.starts_with("wsgi_trace.phase."))
                .map(|attribute| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
                    Some(opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue(value)) => *value,
                    other => panic!("{other:?}"),
                })
                .sum();
            assert_eq!(phases as u64, span.end_time_unix_nano - span.start_time_unix_nano);
        }
    }

    #[test]
    fn every_thread_of_a_request_that_changed_hands_has_its_span() {
        let mut request = requests().remove(0);
        let stretch = |tid, start_ns, end_ns| Stretch { tgid: 1, tid, start_ns, end_ns };
        request.stretches = vec![stretch(5, 10, 20), stretch(6, 20, 30)];
        let [whole, first, second] = spans(&session(), &request).try_into().unwrap();
        assert_eq!(first.parent_span_id, whole.span_id);
        assert_eq!((second.start_time_unix_nano, second.end_time_unix_nano), (27, 37));
        assert_ne!(first.span_id, second.span_id);
    }

    #[test]
    fn a_span_says_when_a_front_end_had_its_request_only_where_that_can_be_true() {
        const KEY: &str = "wsgi_trace.since_request_start_ns";
        let mut request = requests()[0].clone();
        for (start, expected) in [
            (RequestStart::Passed { before_ns: 1_500, unit_ns: 1 }, Some(number(KEY, 1_500))),
            (RequestStart::Ahead, None),
            (RequestStart::Unknown, None),
        ] {
            request.http.request_start = start;
            let found = attributes(&request).into_iter().find(|attribute| attribute.key == KEY);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn names_of_spans_do_not_grow_with_the_paths() {
        let mut request = requests().remove(0);
        request.http.path = "/user/4711".to_owned();
        assert_eq!(name(&request), format!("GET {}", path_shape("/user/4711")));
        assert!(!name(&request).contains("4711"));
        request.http.method.clear();
        assert_eq!(name(&request), "request");
    }
}
