//! What is kept without a look at each byte is what would be kept with one.
//!
//! In: heads, and what is only like them, in portions. Out: verdicts.

use proptest::prelude::*;

use super::{portions, shown};
use crate::redact::message::Message;

/// Start lines, and what is only like one.
const STARTS: &[&str] = &[
    "GET /a/b HTTP/1.1",
    "POST /a;b=c HTTP/1.1",
    "PUT /a?q=1 HTTP/1.0",
    "HEAD / HTTP/1.1",
    "GETS / HTTP/1.1",
    "GET * HTTP/1.1",
    "GET /é\x7f HTTP/1.1",
    "GET /a#f HTTP/2.1",
    "HTTP/1.1 200 OK",
    "HTTP/1.0 404 Not",
    "HTTP/1.1 20 x",
    "HTTP/1.1200 OK",
    "HTTP/3.1 200 OK",
    "GET /",
];
/// Lines of headers, and what is only like one.
const LINES: &[&str] = &[
    "Content-Length: 3",
    "content-length:",
    "Content-Length",
    "Content-Type: text/event-stream",
    "Content-Type: a; b",
    "Connection: close",
    "Connection : close",
    "CONNECTION:upgrade",
    "Expect: 100-continue",
    "Cookie: a",
    "Con: a",
    ": a",
    " folded",
    "X-Request-Start: t=1",
    "Transfer-Encoding: chunked",
    "traceparent: 00-x",
    "Content-Length-Of-All-Things: 1",
    "",
];
/// Ends of lines.
const ENDS: &[&str] = &["\r\n", "\r\n", "\r\n", "\n", "\r", ""];

proptest! {
    #[test]
    fn what_is_kept_in_one_go_is_what_would_be_kept_byte_by_byte(
        is_request in any::<bool>(),
        start in prop::sample::select(STARTS.to_vec()),
        lines in prop::collection::vec(
            (prop::sample::select(LINES.to_vec()), prop::sample::select(ENDS.to_vec())), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let rest: String = lines.iter().map(|(line, end)| format!("{end}{line}")).collect();
        let whole = format!("{start}{rest}\r\n\r\nabc{start}\r\n");
        let begin = if is_request { Message::request } else { Message::response };
        let (mut at_once, mut bytewise) = (begin(), begin());
        for portion in portions(whole.as_bytes(), &cuts) {
            let mut outputs = [portion.to_vec(), portion.to_vec()];
            let [one, other] = &mut outputs;
            at_once.feed(one);
            bytewise.feed_with(other, |_, _| None);
            prop_assert_eq!(shown(&outputs[0]), shown(&outputs[1]));
        }
    }
}
