//! Connections that become something else: WebSockets, tunnels, streams of events.
//!
//! In: scripts. Out: assertions on requests, on what lasts, and on whose slot that keeps.

use super::*;
use crate::model::lasting::Became;
use crate::model::slot::Holding;

const SWITCHES: &[u8] = b"HTTP/1.1 101 xxx\r\nConnection: Upgrade\r\n\r\n";
const EVENTS: &[u8] =
    b"HTTP/1.1 200 xx\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const LAST_CHUNK: i64 = 5;

/// What lasts: what it is, how many are open of how many, how long the longest lasted.
fn lasting(outcome: &Outcome) -> Vec<(Became, u64, u64, u64)> {
    let rows = outcome.snapshot.requests.lasting.iter();
    rows.map(|row| (row.became, row.open, row.count, row.longest_ns / US)).collect()
}

fn held(outcome: &Outcome, holding: Holding) -> u64 {
    outcome.snapshot.slots.held_ns(holding) / US
}

fn asked() -> Script {
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    script.read(9, GET, arrival, (5, 0, 0)).cpu(20)
}

/// A wait of the kind that thread pools wait for work in.
fn waits(script: Script, blocked_us: u64) -> Script {
    script.call(Call::FutexWait { address: 9, operation: 393, has_timeout: false }, 0, (0, 0, blocked_us), 0)
}

/// ```text
/// slot:   accept, recv, send 101 ─ futex ──────────────────────── close, select
/// helper:                          recv 8 bytes, recv 8 bytes …
/// ```
#[test]
fn a_websocket_is_one_request_up_to_its_head_and_keeps_its_thread_until_it_is_closed() {
    let slot = waits(asked().write_head(9, SWITCHES, (6, 0, 0)), 500)
        .call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0)
        .select((0, 0, 100));
    let helper = Script::new(2).call(Call::Sleep, 0, (0, 0, 50), 0);
    let helper = (0..4).fold(helper, |helper, _| {
        let arrival = helper.now_ns;
        helper.read(9, &[0x81, 0x82, 1, 2, 3, 4, 5, 6], arrival, (2, 0, 90)).write(9, 12, (3, 0, 0))
    });
    let outcome = run(vec![slot, helper], 1000);
    let [request] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert_eq!((request.http.status, request.total_ns() / US, request.seen.open), (101, 31, false));
    let all = &outcome.snapshot.requests;
    assert_eq!((all.completed, all.open.count, all.total.count(), all.not_http), (1, 0, 0, 0));
    assert_eq!(lasting(&outcome), [(Became::Upgraded, 0, 1, 502)]);
    let row = &all.lasting[0];
    assert_eq!((row.bytes_in, row.bytes_out), (32, 48));
    assert_eq!((held(&outcome, Holding::Request), held(&outcome, Holding::Upgraded)), (31, 502));
    assert_eq!(outcome.snapshot.slots.observed.len(), 1, "who only helps is no slot");
}

#[test]
fn a_thread_whose_websocket_another_one_closes_was_kept_by_it_until_then() {
    let slot = waits(asked().write_head(9, SWITCHES, (6, 0, 0)), 500).select((0, 0, 100));
    let closes = Script::new(2).call(Call::Sleep, 0, (0, 0, 400), 0);
    let closes = closes.call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0);
    let outcome = run(vec![slot, closes], 1000);
    assert_eq!(lasting(&outcome), [(Became::Upgraded, 0, 1, 402 - 41)]);
    assert_eq!(held(&outcome, Holding::Upgraded), 500, "its call began before that");
}

#[test]
fn a_stream_ends_with_its_last_chunk_and_its_connection_goes_on() {
    let script = asked().write_head(9, EVENTS, (6, 0, 0)).call(Call::Sleep, 0, (0, 0, 100), 0);
    let script = waits(script.write(9, 20, (2, 0, 0)), 200).write(9, LAST_CHUNK, (2, 0, 0)).cpu(3);
    let script = waits(script, 300);
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (6, 0, 0)).write(9, 5, (4, 0, 0));
    let outcome = run(vec![script], 1000);
    let statuses: Vec<u16> = outcome.requests.iter().map(|request| request.http.status).collect();
    assert_eq!(statuses, [200, 200]);
    assert_eq!(outcome.snapshot.requests.total.count(), 1, "of the other request alone");
    assert_eq!(lasting(&outcome), [(Became::Stream, 0, 1, 100 + 2 + 200 + 2)]);
    assert_eq!(held(&outcome, Holding::Stream), 304);
}

#[test]
fn what_lasts_as_the_window_ends_is_open() {
    for (head, became) in [(SWITCHES, Became::Upgraded), (EVENTS, Became::Stream)] {
        let mut script = asked().write_head(9, head, (6, 0, 0));
        let open = OpenSlice {
            tgid: 1,
            tid: 1,
            sequence: script.sequence,
            system_call: Some(profiler_common::system_call::FUTEX),
            gap_start_ns: script.now_ns,
            enter_ns: script.now_ns + 4 * US,
            gap: Account { cpu_ns: 4 * US, ..Account::default() },
            call: Account { blocked_ns: START + 996 * US - script.now_ns, ..Account::default() },
            gap_blocked_call: -2,
            ..OpenSlice::default()
        };
        let lasted_us = 1000 - (script.now_ns - START) / US;
        script
            .events
            .push(Event { time_ns: START + 1000 * US, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
        let outcome = run(vec![script], 1000);
        assert_eq!(lasting(&outcome), [(became, 1, 1, lasted_us)]);
        assert_eq!(held(&outcome, became.holding()), lasted_us);
        assert_eq!(outcome.snapshot.requests.open.count, 0);
    }
}

#[test]
fn a_tunnel_is_what_answers_connect_alone() {
    for (method, lasts) in [("CONNECT", 1), ("GET", 0)] {
        let head = format!("{method} /a HTTP/1.1\r\n\r\n");
        let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
        let arrival = script.now_ns;
        let script = script
            .read(9, head.as_bytes(), arrival, (5, 0, 0))
            .write_head(9, b"HTTP/1.1 200 xx\r\n\r\n", (6, 0, 0))
            .call(Call::Sleep, 0, (0, 0, 100), 0)
            .call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0);
        let outcome = run(vec![script], 1000);
        assert_eq!(outcome.snapshot.requests.lasting.len(), lasts, "{method}");
        assert_eq!(outcome.snapshot.requests.completed, 1);
    }
}
