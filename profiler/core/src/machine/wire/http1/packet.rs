//! A request's head in the uwsgi protocol, as front ends speak it to uWSGI.
//!
//! In: captured bytes, redacted, so hostile. Out: what the packet's variables say of the request, as far as
//! they are there. What is not a packet of a WSGI request is not taken for one.

use super::request_head::{RequestHead, path_of};
use crate::model::request_start::Said;
use crate::model::trace_context::TraceContext;

/// Variables that are looked at.
const MAX_VARIABLES: usize = 512;
/// Modifier, length of the block, modifier.
const HEADER_BYTES: usize = 4;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole packet of so many bytes; the body's length, if one is named.
    Whole(RequestHead, usize, Option<u64>),
    /// The beginning of one; what is known of it, once it says what is asked for.
    Partial(Option<RequestHead>),
    /// No packet.
    Not,
}

/// Reads a packet from its first byte on.
pub fn parse(bytes: &[u8]) -> Parsed {
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return if bytes.first().is_none_or(|modifier| *modifier == 0) {
            Parsed::Partial(None)
        } else {
            Parsed::Not
        };
    };
    let [0, low, high, 0] = header else { return Parsed::Not };
    let block_bytes = usize::from(u16::from_le_bytes([*low, *high]));
    let whole_bytes = HEADER_BYTES + block_bytes;
    let is_whole = bytes.len() >= whole_bytes;
    let mut rest = bytes.get(HEADER_BYTES..whole_bytes.min(bytes.len())).unwrap_or_default();
    let mut found = Found::default();
    for _ in 0..MAX_VARIABLES {
        let Some((name, after_name)) = counted(rest) else { break };
        let Some((value, after)) = counted(after_name) else { break };
        rest = after;
        found.take(name, value);
    }
    // What is left over of a whole block did not fit the lengths in it.
    match found.head() {
        Some(head) if is_whole && rest.is_empty() => Parsed::Whole(head, whole_bytes, found.length),
        None if is_whole => Parsed::Not,
        Some(_) if is_whole => Parsed::Not,
        head => Parsed::Partial(head),
    }
}

/// Reads a length in two bytes, low one first, and so many bytes. Returns them and the rest.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([low, high], after) = bytes.split_first_chunk()?;
    after.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))
}

#[derive(Default)]
struct Found<'a> {
    method: Option<&'a str>,
    path: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    length: Option<u64>,
    trace_context: Option<TraceContext>,
    request_start: Said,
}

impl<'a> Found<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"REQUEST_METHOD" => self.method = std::str::from_utf8(value).ok(),
            b"PATH_INFO" => self.path = Some(value),
            b"REQUEST_URI" => self.target = Some(value),
            b"CONTENT_LENGTH" => {
                self.length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            b"HTTP_TRACEPARENT" => self.trace_context = TraceContext::parse(value),
            b"HTTP_X_REQUEST_START" => self.request_start = self.request_start.and(value),
            _ => {}
        }
    }

    /// The head. Its path is the target as the client sent it, as in HTTP. If the front end does not name
    /// that, it is the path that it made of it.
    fn head(&self) -> Option<RequestHead> {
        let path = [self.target, self.path].into_iter().flatten().find(|path| path.starts_with(b"/"))?;
        let method = self.method?.to_owned();
        Some(RequestHead {
            path: path_of(&String::from_utf8_lossy(path)),
            is_head: method == "HEAD",
            method,
            trace_context: self.trace_context,
            request_start: self.request_start,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for text in variables.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u16::try_from(block.len()).unwrap().to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&block);
        bytes
    }

    #[test]
    fn a_packet_says_what_is_asked_for_and_how_long_its_body_is() {
        let bytes = packet(&[
            ("QUERY_STRING", ""),
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_LENGTH", "12"),
            ("REQUEST_URI", "/a%20b?x=1"),
            ("PATH_INFO", "/a b"),
        ]);
        let Parsed::Whole(head, length_bytes, body) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
        assert_eq!((head.method.as_str(), head.path.as_str(), head.is_head), ("POST", "/a%20b", false));
        assert_eq!((length_bytes, body), (bytes.len(), Some(12)));
    }

    #[test]
    fn without_a_target_the_path_is_taken() {
        let bytes = packet(&[("REQUEST_METHOD", "HEAD"), ("PATH_INFO", "/only"), ("CONTENT_LENGTH", "")]);
        let Parsed::Whole(head, _, body) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
        assert_eq!((head.path.as_str(), head.is_head, body), ("/only", true, None));
    }

    #[test]
    fn a_packet_longer_than_what_is_captured_still_says_what_is_asked_for() {
        let long = "c".repeat(9_000);
        let bytes = packet(&[("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/big"), ("HTTP_COOKIE", &long)]);
        let Parsed::Partial(Some(head)) = parse(bytes.get(..4096).unwrap()) else { panic!() };
        assert_eq!(head.path, "/big");
        assert_eq!(parse(bytes.get(..10).unwrap()), Parsed::Partial(None));
    }

    #[test]
    fn what_is_no_packet_is_not_taken_for_one() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n\r\n"), Parsed::Not);
        // Another modifier, a block whose lengths do not add up, one without a request.
        assert_eq!(parse(&[5, 0, 0, 0]), Parsed::Not);
        assert_eq!(parse(&[0, 3, 0, 0, 9, 0, b'a']), Parsed::Not);
        assert_eq!(parse(&packet(&[("A", "b")])), Parsed::Not);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_whole_packet_ends_where_it_says(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for bytes in [bytes.clone(), [&[0][..], &bytes].concat()] {
                if let Parsed::Whole(_, length_bytes, _) = parse(&bytes) {
                    prop_assert!(length_bytes <= bytes.len());
                }
            }
        }

        #[test]
        fn any_variables_around_it_leave_the_request_readable(
            before in prop::collection::vec(("[A-Z_]{1,20}", "[ -~]{0,30}"), 0..8),
            path in "/[a-z0-9/]{0,20}",
        ) {
            let mut variables: Vec<(&str, &str)> = before
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .filter(|(name, _)| !["REQUEST_URI", "PATH_INFO", "REQUEST_METHOD"].contains(name))
                .collect();
            variables.extend([("REQUEST_METHOD", "GET"), ("REQUEST_URI", path.as_str())]);
            let bytes = packet(&variables);
            let Parsed::Whole(head, _, _) = parse(&bytes) else { panic!("{bytes:?}") };
            prop_assert_eq!(head.path, path);
        }
    }
}
