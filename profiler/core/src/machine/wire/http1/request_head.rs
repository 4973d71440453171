//! A request's head: what both protocols, HTTP and uwsgi, say of a request.
//!
//! In: a parsed HTTP head, the target that a head names. Out: a [`RequestHead`].

use super::MAX_HEADERS;
use crate::model::request_start::Said;
use crate::model::trace_context::TraceContext;

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// The method is HEAD: its response has no body.
    pub is_head: bool,
    /// The trace that it belongs to.
    pub trace_context: Option<TraceContext>,
    /// When its front end had it, or passed it on.
    pub request_start: Said,
}

impl RequestHead {
    /// What the first line says, and the trace that the headers name.
    pub(super) fn of(request: &httparse::Request<'_, '_>) -> Self {
        let method = request.method.unwrap_or_default().to_owned();
        let is_head = method == "HEAD";
        let named = |name: &'static str| {
            request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name))
        };
        let trace_parent = named("traceparent").next();
        Self {
            path: path_of(request.path.unwrap_or_default()),
            method,
            is_head,
            trace_context: trace_parent.and_then(|header| TraceContext::parse(header.value)),
            request_start: named("x-request-start")
                .fold(Said::Nothing, |said, header| said.and(header.value)),
        }
    }

    /// What is known of a head that is longer than these bytes; `None`: not even its first line is whole.
    #[cold]
    pub(super) fn of_cut_off(bytes: &[u8]) -> Option<Self> {
        // Headers read before the end was met stay only in places that were there before.
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let _ = request.parse(bytes);
        request.version.is_some().then(|| Self::of(&request))
    }
}

/// The path of a request target (RFC 9112 section 3.2), without the query. In an absolute target the part before the
/// path is redacted already.
pub(super) fn path_of(target: &str) -> String {
    let path = if target.starts_with('/') {
        target
    } else {
        target.find('/').and_then(|at| target.get(at..)).unwrap_or(target)
    };
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}
