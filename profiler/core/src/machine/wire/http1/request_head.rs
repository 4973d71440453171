//! A request's head: what both protocols, HTTP and uwsgi, say of a request.
//!
//! In: a parsed HTTP head, the target that a head names. Out: a [`RequestHead`].

use super::MAX_HEADERS;
use crate::model::request_start::Said;
use crate::model::trace_context::TraceContext;
use crate::redact::FILLER;

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

    /// What is known of a head that begins with these bytes; `None`: they begin with none, or not even its
    /// first line is whole.
    pub(in crate::machine) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        // Redaction keeps a known method: what begins without one is another protocol.
        match request.parse(bytes) {
            _ if bytes.first() == Some(&FILLER) => None,
            Ok(httparse::Status::Complete(_)) => Some(Self::of(&request)),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Self::of_cut_off(bytes),
            Err(_) => None,
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

/// The path of a request target (RFC 9112 section 3.2), without the query. In an absolute target the part
/// before the path is redacted already.
pub(super) fn path_of(target: &str) -> String {
    let path = if target.starts_with('/') {
        target
    } else {
        target.find('/').and_then(|at| target.get(at..)).unwrap_or(target)
    };
    let end = path.bytes().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    path.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request_start::Stamp;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn head(first_line: &str, headers: &[&str]) -> RequestHead {
        let text = format!("{first_line} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n"));
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        assert!(request.parse(text.as_bytes()).is_ok(), "{text}");
        RequestHead::of(&request)
    }

    #[test]
    fn bytes_name_a_request_as_soon_as_its_first_line_is_whole() {
        let named = |text: &str| {
            RequestHead::of_bytes(text.as_bytes()).map(|head| (head.method, head.path, head.is_head))
        };
        let of = |method: &str, path: &str| Some((method.to_owned(), path.to_owned(), method == "HEAD"));
        assert_eq!(named("GET /a?x HTTP/1.1\r\nxxxx: x\r\n\r\nx"), of("GET", "/a"));
        assert_eq!(named("HEAD /a HTTP/1.1\r\nxx"), of("HEAD", "/a"));
        for none in
            ["", "GET /a", "GET /a HTTP/1.", "xxx x xxxxxxxx\r\n\r\n", "GET /a\r\n\r\n", "\u{17}\u{3}"]
        {
            assert_eq!(named(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_path_of_a_target_has_neither_query_nor_host() {
        for (target, path) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a?b", "/a"),
            ("/a?b#c", "/a"),
            ("/a#b?c", "/a"),
            ("/?/x", "/"),
            ("//a", "//a"),
            ("xxxxxxxxxxxxxx/a/b?c", "/a/b"),
            ("xxxxxxxx:443", "xxxxxxxx:443"),
            ("*", "*"),
            ("?a", ""),
            ("", ""),
        ] {
            assert_eq!(path_of(target), path, "{target}");
        }
    }

    #[test]
    fn only_a_request_by_the_method_head_is_answered_without_a_body() {
        for (first_line, method, path, is_head) in [
            ("HEAD /a", "HEAD", "/a", true),
            ("GET /head", "GET", "/head", false),
            ("head /a", "head", "/a", false),
            ("HEADER /a", "HEADER", "/a", false),
        ] {
            let head = head(first_line, &["Host: a"]);
            assert_eq!((head.method.as_str(), head.path.as_str(), head.is_head), (method, path, is_head));
        }
    }

    #[test]
    fn a_stamp_is_believed_where_there_is_one_and_it_is_a_moment() {
        let stamp = Said::At(Stamp { wall_ns: 1_700_000_000_123_000_000, unit_ns: 1_000_000 });
        let (one, other) = ("X-Request-Start: t=1700000000.123", "x-request-start: 1700000001.123");
        for (what, headers, expected) in [
            ("none", &["Host: a"][..], Said::Nothing),
            ("one", &["Host: a", one], stamp),
            ("another header", &["X-Request-Started: t=1700000000.123"], Said::Nothing),
            ("no moment", &["X-Request-Start: now"], Said::NotATime),
            ("two", &[one, other], Said::NotATime),
            ("the same twice", &[one, one], Said::NotATime),
        ] {
            assert_eq!(head("GET /", headers).request_start, expected, "{what}");
        }
    }

    #[test]
    fn a_request_belongs_to_the_trace_that_its_first_such_header_names() {
        let named = format!("TraceParent: {TRACE}");
        let (named, none) = (named.as_str(), "traceparent: 00-1-2-3");
        for (what, headers, is_known) in [
            ("none", &["Host: a"][..], false),
            ("one", &["Host: a", named], true),
            ("no trace", &[none], false),
            ("the second is none", &[named, none], true),
            ("the first is none", &[none, named], false),
        ] {
            let expected = TraceContext::parse(TRACE.as_bytes()).filter(|_| is_known);
            assert_eq!(head("GET /", headers).trace_context, expected, "{what}");
        }
    }

    #[test]
    fn of_a_head_that_is_cut_off_its_first_line_is_known_once_that_is_whole() {
        for (bytes, path) in [
            ("", None),
            ("GET /a", None),
            ("GET /a HTTP/1", None),
            ("GET /a?b HTTP/1.1\r\n", Some("/a")),
            ("GET /a HTTP/1.1\r\nHost: a\r\nCoo", Some("/a")),
            ("no head at all", None),
        ] {
            let head = RequestHead::of_cut_off(bytes.as_bytes());
            assert_eq!(head.as_ref().map(|head| head.path.as_str()), path, "{bytes}");
        }
    }
}
