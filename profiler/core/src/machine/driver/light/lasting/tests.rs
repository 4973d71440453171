//! Streams whose threads turn to other connections meanwhile.
//!
//! In: messages made by hand. Out: how many streams there were, how many are open, and for how long.

use crate::event::{Head, Light, LightWhat, Tid};
use crate::fact::Account;
use crate::machine::driver::state::State;

const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &[u8] = b"5\r\nevent\r\n";
const SERVER: Tid = 5;

/// Messages of one thread, each on this socket, one in each millisecond from the first on: streams, how many
/// are open, and the time of the longest in milliseconds.
fn told(messages: &[(u64, &'static [u8])]) -> (u64, u64, u64) {
    const MS: u64 = 1_000_000;
    let mut state = State::new(false);
    (state.window_start_ns, state.watch_start_ns, state.time.is_light) = (1, 0, true);
    let mut now_ns = 0;
    for (sequence, (socket, bytes)) in (1_u32..).zip(messages) {
        now_ns += MS;
        let inbound = *bytes == GET;
        let (tgid, tid) = (SERVER, SERVER);
        let head = Head { tgid, tid, sequence, fd: 9, inbound, offset_bytes: 0, bytes: bytes.to_vec() };
        state.heads.insert(tid, head);
        let light = Light {
            tgid,
            tid,
            what: if inbound { LightWhat::Received } else { LightWhat::Sent },
            socket: *socket,
            generation: 0,
            bytes: bytes.len() as u64,
            arrival_ns: 0,
            is_unix: false,
            account: Account { cpu_ns: MS, run_queue_ns: 0, blocked_ns: 0 },
            sequence,
            switches: 0,
            flags: 0,
        };
        state.light(&light, now_ns, &mut |_| {});
    }
    state.end_light_window((&[], &[]), now_ns + MS, &mut |_| {});
    let (requests, _) =
        std::mem::take(&mut state.product.summary).finish(0, <_>::default(), (1, now_ns + MS));
    let streams = requests.lasting.first().map(|row| (row.count, row.open, row.longest_ns / MS));
    streams.unwrap_or_default()
}

#[test]
fn a_stream_is_over_as_its_thread_turns_to_another_connection_unless_it_comes_back() {
    let begins = [(1, GET), (1, EVENTS), (1, EVENT)];
    let page = [(2, GET), (2, OK)];
    assert_eq!(told(&begins), (1, 1, 2));
    assert_eq!(told(&[&begins[..], &page].concat()), (1, 0, 1), "over with its last event");
    let goes_on = [&begins[..], &page, &[(1, EVENT)]].concat();
    assert_eq!(told(&goes_on), (1, 1, 5));
    // Who has come back once may do so again.
    assert_eq!(told(&[&goes_on[..], &page].concat()), (1, 1, 7));
}
