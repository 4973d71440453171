//! What survives redaction and what does not: examples, then any split and any planted secret.

mod at_once;

use profiler_common::record::head::{HeadRecord, INBOUND, OUTBOUND};
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::slice::SliceRecord;
use profiler_common::record::{KIND_HEAD, KIND_PLAINTEXT, KIND_SLICE, RecordHeader};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::{RedactCounts, Redactor, holds_captured};

const HEAD_BYTES: usize = size_of::<HeadRecord>();

fn record(direction: u32, fd: i32, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let head = HeadRecord {
        header: RecordHeader {
            kind: KIND_HEAD,
            length_bytes: u16::try_from(HEAD_BYTES + bytes.len()).unwrap(),
            tgid: 1,
            tid: 1,
            ..RecordHeader::default()
        },
        fd,
        direction,
        offset_bytes: u32::try_from(offset).unwrap(),
        captured_bytes: u32::try_from(bytes.len()).unwrap(),
        ..HeadRecord::default()
    };
    let mut record = head.as_bytes().to_vec();
    record.extend_from_slice(bytes);
    record
}

/// What OpenSSL has of a message.
fn plaintext(direction: u32, session: u64, bytes: &[u8]) -> Vec<u8> {
    let length = size_of::<PlaintextRecord>() + bytes.len();
    let header = RecordHeader {
        kind: KIND_PLAINTEXT,
        length_bytes: u16::try_from(length).unwrap(),
        tgid: 1,
        ..RecordHeader::default()
    };
    let captured_bytes = u32::try_from(bytes.len()).unwrap();
    let moved_bytes = bytes.len() as u64;
    let record = PlaintextRecord { header, session, direction, captured_bytes, moved_bytes };
    [record.as_bytes(), bytes].concat()
}

/// Redacts one capture that arrives in `portions`, and joins what is left of it.
fn redact(direction: u32, portions: &[&[u8]]) -> Vec<u8> {
    let mut redactor = Redactor::new();
    let mut out = Vec::new();
    for portion in portions {
        let mut raw = record(direction, 9, out.len(), portion);
        let before = raw.clone();
        redactor.redact(&mut raw);
        assert_eq!(raw.len(), before.len());
        assert_eq!(raw[..HEAD_BYTES], before[..HEAD_BYTES], "the record itself is left alone");
        out.extend_from_slice(&raw[HEAD_BYTES..]);
    }
    assert_eq!(redactor.counts(), RedactCounts::default());
    out
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn requests_keep_method_path_version_and_framing_only() {
    let table: &[(&[u8], &[u8])] = &[
        (b"GET /a/b HTTP/1.1\r\n\r\n", b"GET /a/b HTTP/1.1\r\n\r\n"),
        (b"GET /a?token=1&b=2 HTTP/1.0\r\n\r\n", b"GET /a?xxxxxxxxxxx HTTP/1.0\r\n\r\n"),
        (b"GET /a?b?c/d HTTP/1.0\r\n\r\n", b"GET /a?xxxxx HTTP/1.0\r\n\r\n"),
        (b"GET /a#frag HTTP/1.1\r\n\r\n", b"GET /a#xxxx HTTP/1.1\r\n\r\n"),
        (b"GET /caf\xc3\xa9\x01\x7f HTTP/1.1\r\n\r\n", b"GET /caf\xc3\xa9xx HTTP/1.1\r\n\r\n"),
        (b"GET /a;id=7/b;c?d HTTP/1.0\r\n\r\n", b"GET /a;xxxx/b;x?x HTTP/1.0\r\n\r\n"),
        (b"GET /a;s HTTP/1.0\r\n\r\n", b"GET /a;x HTTP/1.0\r\n\r\n"),
        (b"GET http://u:p@host/p?q HTTP/1.1\r\n\r\n", b"GET xxxxxxxxxxxxxxx/p?x HTTP/1.1\r\n\r\n"),
        (b"GET http://u:p@host HTTP/1.1\r\n\r\n", b"GET xxxxxxxxxxxxxxx HTTP/1.1\r\n\r\n"),
        (b"GET http://host?q HTTP/1.1\r\n\r\n", b"GET xxxxxxxxxxx?x HTTP/1.1\r\n\r\n"),
        (b"GET http:/one/two HTTP/1.1\r\n\r\n", b"GET xxxxxxxxxxxxx HTTP/1.1\r\n\r\n"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n"),
        (b"CONNECT host:443 HTTP/1.1\r\n\r\nGET / H", b"CONNECT xxxxxxxx HTTP/1.1\r\n\r\nxxxxxxx"),
        (b"\r\n\nPROPFIND / HTTP/1.1\n\n", b"\r\n\nPROPFIND / HTTP/1.1\n\n"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\n\r\n",
            b"GET / HTTP/1.1\r\nxxxx:xx\r\nxxxxxx:xxxx\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nCONTENT-length: 0 \r\nconnection:Keep-Alive, close\r\n\r\n",
            b"GET / HTTP/1.1\r\nCONTENT-length: 0 \r\nconnection:Keep-Alive, close\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nContent-Type: a\r\nConnect: b\r\nExpectation\r\nExpect\r\n\r\n",
            b"GET / HTTP/1.1\r\nxxxxxxxxxxxx:xx\r\nxxxxxxx:xx\r\nxxxxxxxxxxx\r\nxxxxxx\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nConnection: close, te, upgrade\r\nExpect: 100-cont\r\n\r\n",
            b"GET / HTTP/1.1\r\nConnection: close, xxxxxxxxxxx\r\nExpect: xxxxxxxx\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
            b"GET / HTTP/1.1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\ntraceparent: 00-4bf92f\r\ntraceparent: secret\r\ntracestate: a=b\r\n\r\n",
            b"GET / HTTP/1.1\r\ntraceparent: xxxxxxxxx\r\ntraceparent: xxxxxx\r\nxxxxxxxxxx:xxxx\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nX-Request-Start: t=1700000000.123 \r\nx-request-START:1700000000123\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Start: t=1700000000.123 \r\nx-request-START:1700000000123\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nX-Request-Start: 17\r\nX-Request-Start: t=a\r\nX-Request-Start: 1700000000 1\r\nX-Request: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Start: xx\r\nX-Request-Start: xxx\r\nX-Request-Start: xxxxxxxxxxxx\r\nxxxxxxxxx:xx\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n: c\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nx:xx\r\n xxxxxx\r\n:xx\r\nxxxxxxxx\r\n\r\n",
        ),
    ];
    for (input, expected) in table {
        let output = redact(INBOUND, &[input]);
        assert_eq!(shown(&output), shown(expected));
    }
}

#[test]
fn what_is_not_http_is_overwritten_whole() {
    let table: &[&[u8]] = &[
        b"\x16\x03\x05\x02\x00\x01",
        b"\x19\x03\x01\x02\x00\x01",
        b"\x17\x03\x03\x00\x00secret",
        b"\x16\x03\x01\x48\x01secret",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GETS / HTTP/1.1\r\n\r\n",
        b"GET /secret\r\n",
        b"GET /secret to tell\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET @ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"{\"password\": \"x\"}",
    ];
    for input in table {
        let output = redact(INBOUND, &[input]);
        assert!(output.iter().all(|byte| *byte == b'x'), "{}", shown(&output));
    }
    for input in [&b"HTTP/1.1 20 OK\r\n"[..], b"HTTP/1.1\r\n\r\n", b"<html>", b"HTTP/1.1 2000 OK\r\n"] {
        let output = redact(OUTBOUND, &[input]);
        assert!(output.iter().all(|byte| *byte == b'x'), "{}", shown(&output));
    }
}

#[test]
fn of_tls_the_headers_of_records_survive() {
    let table: &[(&[u8], &[u8])] = &[
        (b"\x16\x03\x01\x00\x04host", b"\x16\x03\x01\x00\x04xxxx"),
        (
            b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x06finish\x17\x03\x03\x01\x00secret",
            b"\x14\x03\x03\x00\x01x\x17\x03\x03\x00\x06xxxxxx\x17\x03\x03\x01\x00xxxxxx",
        ),
        (b"\x17\x03\x03\x00\x02okGET / HTTP/1.1\r\n", b"\x17\x03\x03\x00\x02xxxxxxxxxxxxxxxxxx"),
    ];
    for (input, expected) in table {
        assert_eq!(shown(&redact(INBOUND, &[input])), shown(expected));
        let bytewise: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(shown(&redact(INBOUND, &bytewise)), shown(expected));
    }
    let output = redact(OUTBOUND, &[b"\x16\x03\x01\x00\x04host"]);
    assert!(output.iter().all(|byte| *byte == b'x'), "{}", shown(&output));
}

#[test]
fn bodies_are_overwritten_and_the_next_head_is_found_by_its_length() {
    let table: &[(&[u8], &[u8])] = &[
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyGET /b?q HTTP/1.1\r\n\r\n",
            b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nxxxxGET /b?x HTTP/1.1\r\n\r\n",
        ),
        (
            b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nxxxx:xx\r\n\r\n",
        ),
        (
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\nxxxxxxxxxxxxxx",
        ),
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 3\r\n\r\nbodyGET /",
            b"POST /a HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 3\r\n\r\nxxxxxxxxx",
        ),
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 4,4\r\n\r\nbodyGET /",
            b"POST /a HTTP/1.1\r\nContent-Length: xxx\r\n\r\nxxxxxxxxx",
        ),
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 1234567890123456\r\n\r\nbody",
            b"POST /a HTTP/1.1\r\nContent-Length: xxxxxxxxxxxxxxxx\r\n\r\nxxxx",
        ),
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n 2\r\n\r\nbodyGET /",
            b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n x\r\n\r\nxxxxxxxxx",
        ),
        (
            b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h\r\n\r\nGET /b HTTP/1.1\r\n",
            b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nxxxxxxx:xx\r\n\r\nxxxxxxxxxxxxxxxxx",
        ),
    ];
    for (input, expected) in table {
        assert_eq!(shown(&redact(INBOUND, &[input])), shown(expected));
    }
}

#[test]
fn responses_keep_status_and_framing_only() {
    let table: &[(&[u8], &[u8])] = &[
        (
            b"HTTP/1.1 200 Top Secret\r\nSet-Cookie: a\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204\r\n\r\n",
            b"HTTP/1.1 200 xxxxxxxxxx\r\nxxxxxxxxxx:xx\r\nContent-Length: 2\r\n\r\nxxHTTP/1.1 204\r\n\r\n",
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody",
            b"HTTP/1.1 100 xxxxxxxx\r\n\r\nHTTP/1.1 200 xx\r\n\r\nxxxx",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 101 xxxxxxxxxxxxxxxxxxx\r\n\r\nxxxxxxxxxxxxxxxxx",
        ),
        (
            b"HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 xx\r\n",
        ),
        (
            b"HTTP/1.0 200 OK\r\nServer: gunicorn\r\nConnection: close\r\n\r\n<html>",
            b"HTTP/1.0 200 xx\r\nxxxxxx:xxxxxxxxx\r\nConnection: close\r\n\r\nxxxxxx",
        ),
    ];
    for (input, expected) in table {
        assert_eq!(shown(&redact(OUTBOUND, &[input])), shown(expected));
    }
}

#[test]
fn a_capture_whose_beginning_was_not_seen_is_overwritten_whole() {
    let mut redactor = Redactor::new();
    let mut first = record(INBOUND, 9, 0, b"GET /pa");
    redactor.redact(&mut first);
    // A record in between was lost: these bytes need not belong to the path.
    let mut later = record(INBOUND, 9, 12, b"/secret");
    redactor.redact(&mut later);
    assert!(later.ends_with(b"xxxxxxx"));
    // And so the rest, though the offsets fit again.
    let mut rest = record(INBOUND, 9, 19, b"/secret");
    redactor.redact(&mut rest);
    assert!(rest.ends_with(b"xxxxxxx"));
    assert_eq!(redactor.counts().unknown_captures, 2);
    // A new capture is a new beginning.
    let mut fresh = record(INBOUND, 9, 0, b"GET /path HTTP/1.1\r\n");
    redactor.redact(&mut fresh);
    assert!(fresh.ends_with(b"GET /path HTTP/1.1\r\n"));
}

#[test]
fn connections_and_directions_do_not_mix() {
    let mut redactor = Redactor::new();
    let mut out = Vec::new();
    for (direction, fd, offset, bytes) in [
        (INBOUND, 9, 0, &b"GET /ni"[..]),
        (INBOUND, 10, 0, b"GET /te?"),
        (OUTBOUND, 9, 0, b"HTTP/1.1 20"),
        (INBOUND, 9, 7, b"ne HTTP/1.1"),
        (INBOUND, 10, 8, b"ne HTTP/1.1"),
        (OUTBOUND, 9, 11, b"0 OK"),
    ] {
        let mut raw = record(direction, fd, offset, bytes);
        redactor.redact(&mut raw);
        out.push(shown(&raw[HEAD_BYTES..]));
    }
    assert_eq!(out, ["GET /ni", "GET /te?", "HTTP/1.1 20", "ne HTTP/1.1", "xx HTTP/1.1", "0 xx"]);
}

#[test]
fn a_state_that_was_pushed_out_means_overwriting() {
    let mut redactor = Redactor::with_bound(2);
    for fd in 0..5 {
        redactor.redact(&mut record(INBOUND, fd, 0, b"GET /pa"));
    }
    let mut oldest = record(INBOUND, 0, 7, b"th");
    redactor.redact(&mut oldest);
    assert!(oldest.ends_with(b"xx"));
    let mut youngest = record(INBOUND, 4, 7, b"th");
    redactor.redact(&mut youngest);
    assert!(youngest.ends_with(b"th"));
}

#[test]
fn records_that_are_no_heads_are_left_alone_and_broken_heads_are_emptied() {
    let mut redactor = Redactor::new();
    let slice = SliceRecord {
        header: RecordHeader { kind: KIND_SLICE, length_bytes: 168, ..RecordHeader::default() },
        enter_ns: u64::MAX,
        ..SliceRecord::default()
    };
    let mut raw = slice.as_bytes().to_vec();
    redactor.redact(&mut raw);
    assert_eq!(raw, slice.as_bytes());

    let mut claims_more = record(INBOUND, 9, 0, b"GET /secret HTTP/1.1");
    claims_more[40] += 1;
    redactor.redact(&mut claims_more);
    assert!(claims_more[HEAD_BYTES..].iter().all(|byte| *byte == b'x'));

    let mut slack = record(INBOUND, 9, 0, b"GET / secret");
    slack[40] = 6;
    redactor.redact(&mut slack);
    assert!(slack.ends_with(b"GET / \0\0\0\0\0\0"));

    let mut stub = *b"\x02\x00secret";
    redactor.redact(&mut stub);
    assert_eq!(stub, *b"\x02\x00\0\0\0\0\0\0");
    assert_eq!(redactor.counts().malformed_heads, 2);
}

/// Cuts `bytes` at the given fractions of its length.
fn portions<'bytes>(bytes: &'bytes [u8], cuts: &[prop::sample::Index]) -> Vec<&'bytes [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let portion = &bytes[start..end];
            start = end;
            portion
        })
        .collect()
}

fn survives(secret: &[u8], output: &[u8]) -> bool {
    secret.windows(4).any(|window| output.windows(4).any(|other| other == window))
}

prop_compose! {
    /// No window of it occurs in a method, a kept header or the generated paths.
    fn secret()(text in "[QZJ0-9:;=/?&%@_\"]{0,6}[QZJ]{4}[QZJ0-9:;=/?&%@ _\"]{0,12}") -> String { text }
}

proptest! {
    #[test]
    fn no_secret_survives_in_a_request_however_it_is_split(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PROPFIND"]),
        path in "/[a-z]{0,10}(/[a-z]{1,5}){0,3}",
        absolute in any::<bool>(),
        secret in secret(),
        name in "[QZJ]{4,12}",
        near_name in prop::sample::select(vec!["", "Co", "Content-", "Connection", "Expect", "T", "Tracepar"]),
        body_first in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        bytewise in any::<bool>(),
    ) {
        let query = secret.replace(' ', "+");
        let user_info = query.replace(['/', '?', '@'], "=");
        let prefix = if absolute { format!("http://{user_info}@host:80") } else { String::new() };
        let length = secret.len();
        let framing = format!("Content-Length: {length}\r\n");
        let (before, after) = if body_first { (framing.as_str(), "") } else { ("", framing.as_str()) };
        let request = format!(
            "{method} {prefix}{path}?{query} HTTP/1.1\r\nHost: {secret}\r\n{before}{near_name}{name}: 1\r\n\
             {near_name}{name}{name}\r\nExpect: {secret}\r\nTraceparent: {secret}\r\nConnection: close, {secret}\r\nCookie: {secret}\r\n\
             {after}X: a\r\n {secret}\r\n\r\n{secret}"
        );
        let bytes = request.as_bytes();
        let ones: Vec<&[u8]> = bytes.chunks(1).collect();
        let output = redact(INBOUND, &if bytewise { ones } else { portions(bytes, &cuts) });
        prop_assert_eq!(output.len(), bytes.len());
        prop_assert!(!survives(secret.as_bytes(), &output), "{}", shown(&output));
        prop_assert!(!survives(name.as_bytes(), &output), "{}", shown(&output));
        let filler = "x".repeat(prefix.len());
        let hidden = "x".repeat(query.len());
        let start = format!("{method} {filler}{path}?{hidden} HTTP/1.1\r\n");
        prop_assert!(output.starts_with(start.as_bytes()), "{}", shown(&output));
        let text = String::from_utf8(output).unwrap();
        prop_assert!(text.contains(&framing));
        prop_assert!(text.contains("\r\nConnection: close, x"));
        let lines = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
        prop_assert_eq!(lines(&text), lines(&request));
    }

    #[test]
    fn no_secret_survives_in_a_response_however_it_is_split(
        status in 200_u16..600,
        secret in secret(),
        sized in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let framing = if sized { format!("Content-Length: {}", secret.len()) } else { "Connection: close".into() };
        let response = format!("HTTP/1.1 {status} {secret}\r\nSet-Cookie: {secret}\r\n{framing}\r\n\r\n{secret}");
        let output = redact(OUTBOUND, &portions(response.as_bytes(), &cuts));
        prop_assert_eq!(output.len(), response.len());
        prop_assert!(!survives(secret.as_bytes(), &output), "{}", shown(&output));
        let text = String::from_utf8(output).unwrap();
        let start = format!("HTTP/1.1 {status} x");
        prop_assert!(text.starts_with(&start));
        prop_assert!(text.contains(&framing));
    }

    #[test]
    fn pipelined_heads_after_sized_bodies_survive(
        bodies in prop::collection::vec("[QZJ]{4,9}", 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let input: String = bodies
            .iter()
            .map(|body| format!("POST /p HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .collect();
        let output = redact(INBOUND, &portions(input.as_bytes(), &cuts));
        let expected = input.replace(['Q', 'Z', 'J'], "x");
        prop_assert_eq!(String::from_utf8(output).unwrap(), expected);
    }

    #[test]
    fn garbage_never_panics(
        records in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..120), any::<bool>(), any::<bool>()), 0..20),
    ) {
        let mut redactor = Redactor::new();
        for (bytes, make_head, make_consistent) in records {
            let mut raw = bytes;
            if make_head {
                raw.splice(0..raw.len().min(2), KIND_HEAD.to_ne_bytes());
            }
            if make_consistent && raw.len() >= HEAD_BYTES {
                let captured = u32::try_from(raw.len() - HEAD_BYTES).unwrap();
                raw.splice(36..40, [0; 4]);
                raw.splice(40..44, captured.to_ne_bytes());
            }
            redactor.redact(&mut raw);
        }
    }

    #[test]
    fn almost_http_never_panics(
        text in "(GET|POST|HTTP/1\\.1 200)? ?/?[a-z?#:/]{0,9}( HTTP/1\\.1)?(\r?\n)?((Content-Length|Transfer-Encoding|Connection|Expect|A):?[ ,0-9a-z]{0,9}(\r?\n){0,2}){0,5}",
        inbound in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let output = redact(if inbound { INBOUND } else { OUTBOUND }, &portions(text.as_bytes(), &cuts));
        prop_assert_eq!(output.len(), text.len());
        for (before, after) in text.bytes().zip(output) {
            prop_assert!(after == before || after == super::FILLER);
        }
    }
}

fn packet(variables: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for part in variables.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&u16::try_from(part.len()).unwrap().to_le_bytes());
        block.extend_from_slice(part);
    }
    let length = u16::try_from(block.len()).unwrap().to_le_bytes();
    [&[0, length[0], length[1], 0][..], &block].concat()
}

#[test]
fn packets_keep_method_path_and_framing_only() {
    let trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let before = packet(&[
        (b"QUERY_STRING", b"token=1"),
        (b"REQUEST_METHOD", b"POST"),
        (b"REQUEST_URI", b"/a;s=1/b?token=1"),
        (b"PATH_INFO", b"/a/b"),
        (b"PATH_INFOS", b"/secret"),
        (b"REQUEST_METHOD", b"SECRET"),
        (b"CONTENT_LENGTH", b"12"),
        (b"CONTENT_LENGTH", b"12s"),
        (b"HTTP_TRACEPARENT", trace),
        (b"HTTP_COOKIE", b"session=secret"),
        (b"HTTP_AUTHORIZATION", b"Basic c2VjcmV0"),
        (b"REMOTE_USER", b"secret"),
        (b"REQUEST_URI", b"http://u:p@host/p"),
    ]);
    let after = packet(&[
        (b"xxxxxxxxxxxx", b"xxxxxxx"),
        (b"REQUEST_METHOD", b"POST"),
        (b"REQUEST_URI", b"/a;xxx/b?xxxxxxx"),
        (b"PATH_INFO", b"/a/b"),
        (b"xxxxxxxxxx", b"xxxxxxx"),
        (b"REQUEST_METHOD", b"xxxxxx"),
        (b"CONTENT_LENGTH", b"12"),
        (b"CONTENT_LENGTH", b"xxx"),
        (b"HTTP_TRACEPARENT", trace),
        (b"xxxxxxxxxxx", b"xxxxxxxxxxxxxx"),
        (b"xxxxxxxxxxxxxxxxxx", b"xxxxxxxxxxxxxx"),
        (b"xxxxxxxxxxx", b"xxxxxx"),
        (b"REQUEST_URI", b"xxxxxxxxxxxxxxxxx"),
    ]);
    // The body after it, too.
    let sent = [&before[..], b"body secret"].concat();
    let kept = redact(INBOUND, &[&sent]);
    assert_eq!(shown(&kept), shown(&[&after[..], b"xxxxxxxxxxx"].concat()));
    // What a server sends is no request, and what only begins like a packet is nothing.
    assert!(redact(OUTBOUND, &[&before]).iter().all(|byte| *byte == b'x'));
    assert_eq!(redact(INBOUND, &[b"\0\x05\0\x07secret"]), b"xxxxxxxxxx");
}

proptest! {
    /// Whatever the portions, whatever stands around it.
    #[test]
    fn secrets_in_a_packet_never_survive(
        names in prop::collection::vec("(HTTP_[A-Z]{1,12}|QUERY_STRING|REMOTE_USER|PATH_INFOX|REQUEST_METHO)", 1..8),
        portion in 1_usize..40,
    ) {
        let secret = b"S3CR3T-S3CR3T";
        let mut variables: Vec<(&[u8], &[u8])> = vec![(b"REQUEST_METHOD", b"GET"), (b"REQUEST_URI", b"/p?S3CR3T-S3CR3T")];
        variables.extend(names.iter().map(|name| (name.as_bytes(), &secret[..])));
        let bytes = [&packet(&variables)[..], secret].concat();
        let portions: Vec<&[u8]> = bytes.chunks(portion).collect();
        let kept = redact(INBOUND, &portions);
        prop_assert!(!kept.windows(6).any(|window| window == b"S3CR3T"), "{}", shown(&kept));
        prop_assert!(kept.windows(3).any(|window| window == b"/p?"), "{}", shown(&kept));
    }
}

#[test]
fn of_a_message_that_is_encrypted_the_same_survives_as_of_a_plain_one_and_of_what_goes_on_nothing() {
    let mut redactor = Redactor::new();
    let mut left = |direction, session, bytes: &[u8]| {
        let mut raw = plaintext(direction, session, bytes);
        // The reserved place is larger, and has what was there before.
        raw.extend_from_slice(b"secret");
        redactor.redact(&mut raw);
        let (record, slack) = raw.split_at(raw.len() - 6);
        assert_eq!(slack, [0; 6]);
        shown(&record[size_of::<PlaintextRecord>()..])
    };
    let request = b"GET /a?token=1 HTTP/1.1\r\nCookie: c\r\n\r\n";
    let kept = shown(b"GET /a?xxxxxxx HTTP/1.1\r\nxxxxxx:xx\r\n\r\n");
    assert_eq!(left(INBOUND, 7, request), kept);
    // A body, which may look like a head; another connection's is none.
    assert_eq!(left(INBOUND, 7, request), "x".repeat(request.len()));
    assert_eq!(left(INBOUND, 8, request), kept);
    let answer = left(OUTBOUND, 7, b"HTTP/1.1 200 OK\r\nSet-Cookie: s\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("s\\r"), "{answer}");
    assert_eq!(left(INBOUND, 7, request), kept, "the next request");
    assert_eq!(left(9, 7, request), "x".repeat(request.len()), "no direction");
    // Not HTTP/1, and what claims to be longer than it is.
    assert!(!left(INBOUND, 9, b"PRI * HTTP/2.0\r\n\r\nSM").contains("PRI"));
    let mut raw = plaintext(INBOUND, 10, b"secret");
    raw.truncate(raw.len() - 1);
    redactor.redact(&mut raw);
    assert_eq!(raw[size_of::<PlaintextRecord>()..], *b"xxxxx");
    assert!(holds_captured(KIND_PLAINTEXT) && holds_captured(KIND_HEAD) && !holds_captured(KIND_SLICE));
    redactor.forget(1);
    let mut raw = plaintext(INBOUND, 8, request);
    redactor.redact(&mut raw);
    assert_eq!(shown(&raw[size_of::<PlaintextRecord>()..]), kept, "another process");
}
