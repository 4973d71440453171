//! Connections that nobody serves as the window ends: each is an open request, whose time adds up.
//!
//! In: scripts of threads, and what the kernel side found unread at the end. Out: assertions.

use super::*;
use profiler_common::system_call::ACCEPT4;

use crate::fact::waiting::{WaitingConnection, WaitingConnections};
use crate::fact::{ListenerSeen, OpenSlice};
use crate::model::chain::LeafKind;

const INODE: u64 = 77;
const END_US: u64 = 1_000;
const END_NS: u64 = START + END_US * US;

/// One that waits in the accept queue since `us`.
fn in_queue(us: u64) -> WaitingConnection {
    WaitingConnection {
        socket: (us, 1),
        inode: INODE,
        established_ns: START + us * US - 10,
        first_data_ns: START + us * US,
        ..WaitingConnection::default()
    }
}

/// The one that scripts accept, with something unread since `us`.
fn accepted(fd: i32, us: u64) -> WaitingConnection {
    WaitingConnection { socket: (1, 1), inode: 0, holder: Some((1, fd)), ..in_queue(us) }
}

/// A run at whose end these connections wait.
fn run_with(attached: Attached, scripts: Vec<Script>, connections: Vec<WaitingConnection>) -> Outcome {
    let fact = |time_ns, fact| Event { time_ns, body: Body::Fact(Box::new(fact)) };
    let waiting = WaitingConnections { looked_ns: END_NS - US, connections, beyond: 0 };
    let listener =
        ListenerSeen { tgid: 1, fd: LISTENER, inode: INODE, port: 8000, ..ListenerSeen::default() };
    let mut facts = Script::new(0);
    facts.events = vec![
        fact(START, Fact::Attached(attached)),
        fact(START, Fact::ListenerSeen(listener)),
        fact(END_NS, Fact::WaitingConnections(waiting)),
    ];
    run(std::iter::once(facts).chain(scripts).collect(), END_US)
}

fn full() -> Attached {
    Attached { arrival_measured: true, ..Attached::default() }
}

/// Length, phases, and whether its beginning was seen.
type Told = (u64, Vec<(&'static str, u64)>, bool);

/// The requests that are open.
fn told(outcome: &Outcome) -> Vec<Told> {
    let requests = outcome.requests.iter().filter(|request| request.seen.open);
    requests
        .map(|request| {
            let phases = request.phases.iter().map(|(phase, ns)| (phase.name(), ns / US)).collect();
            (request.total_ns() / US, phases, !request.seen.truncated)
        })
        .collect()
}

#[test]
fn who_is_not_accepted_by_the_end_has_waited_since_its_first_byte() {
    let outcome = run_with(full(), Vec::new(), vec![in_queue(300), in_queue(600)]);
    let waits = |us| (us, vec![("accept_queue", us)], true);
    assert_eq!(told(&outcome), [waits(700), waits(400)]);
    let requests = &outcome.snapshot.requests;
    assert_eq!((requests.open.count, requests.completed, requests.total.count()), (2, 0, 0));
    assert_eq!(outcome.snapshot.chains.request_ns, 1_100 * US);
}

#[test]
fn who_waits_since_before_the_watch_has_waited_since_its_beginning() {
    let before = WaitingConnection { established_ns: 0, first_data_ns: 0, ..in_queue(300) };
    let outcome = run_with(full(), Vec::new(), vec![before]);
    assert_eq!(told(&outcome), [(END_US, vec![("accept_queue", END_US)], false)]);
}

#[test]
fn what_was_accepted_and_not_read_waits_for_a_thread_once_it_is_accepted() {
    let acceptor = Script::new(1).accept(9, (10, 0, 490)).select((0, 0, 100));
    let outcome = run_with(full(), vec![acceptor], vec![accepted(9, 300)]);
    assert_eq!(told(&outcome), [(700, vec![("accept_queue", 200), ("pool_wait", 500)], true)]);
}

#[test]
fn what_belongs_to_a_request_that_is_known_is_no_other() {
    let read = |head: &[u8]| Script::new(1).accept(9, (10, 0, 0)).read(9, head, START + 20 * US, (10, 0, 0));
    for (what, script, connection, open) in [
        ("more of its body", read(b"POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\n"), accepted(9, 300), 1),
        (
            "the body of one that was answered",
            read(b"POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\n").write_head(
                9,
                b"HTTP/1.1 200 xx\r\nContent-Length: 0\r\n\r\n",
                (10, 0, 0),
            ),
            accepted(9, 300),
            0,
        ),
        ("another connection's descriptor", read(GET), accepted(8, 300), 1),
        ("another socket's", read(GET), WaitingConnection { socket: (2, 1), ..accepted(9, 300) }, 1),
        ("one that was accepted since", read(GET), WaitingConnection { socket: (1, 1), ..in_queue(300) }, 1),
    ] {
        let outcome = run_with(full(), vec![script], vec![connection]);
        assert_eq!(told(&outcome).len(), open, "{what}");
    }
}

#[test]
fn the_next_request_of_a_connection_waits_unread() {
    let served = Script::new(1).accept(9, (10, 0, 0)).read(9, GET, START + 5 * US, (10, 0, 0)).write_head(
        9,
        b"HTTP/1.1 200 xx\r\nContent-Length: 0\r\n\r\n",
        (10, 0, 0),
    );
    let outcome = run_with(full(), vec![served], vec![accepted(9, 300)]);
    assert_eq!(told(&outcome), [(700, vec![("pool_wait", 700)], true)]);
    assert_eq!(outcome.snapshot.requests.completed, 1);
    assert_eq!(outcome.requests.last().map(|request| request.index_on_connection), Some(1));
}

#[test]
fn a_kernel_that_does_not_show_arrivals_says_nothing() {
    let outcome = run_with(Attached::default(), Vec::new(), vec![in_queue(300)]);
    assert_eq!(told(&outcome), []);
}

/// Who waits from 0.1 s to the end, at 1 s, is told that this thread slept; `inside`: what it was in before.
fn leads_to_the_sleep_of(thread: Script, inside: Option<OpenSlice>) {
    let end_us = 1_000_000;
    let fact = |time_ns, fact| Event { time_ns, body: Body::Fact(Box::new(fact)) };
    let mut facts = Script::new(0);
    let listener =
        ListenerSeen { tgid: 1, fd: LISTENER, inode: INODE, port: 8000, ..ListenerSeen::default() };
    let connections = vec![in_queue(100_000)];
    let waiting = WaitingConnections { looked_ns: START, connections, beyond: 0 };
    facts.events = inside.map(|open| fact(START - 1, Fact::OpenSlice(open))).into_iter().collect();
    facts.events.extend([
        fact(START, Fact::ListenerSeen(listener)),
        fact(START + end_us * US, Fact::WaitingConnections(waiting)),
    ]);
    let outcome = run(vec![facts, thread], end_us);
    let chains = &outcome.snapshot.chains;
    assert_eq!((chains.request_ns, chains.broken), (900_000 * US, 0));
    let of = |kind| -> u64 {
        chains.leaves.iter().filter(|leaf| leaf.leaf.kind == kind).map(|leaf| leaf.held_ns).sum()
    };
    assert!(of(LeafKind::Sleep) >= 800_000 * US, "{:?}", chains.leaves);
}

#[test]
fn the_wait_leads_to_who_accepts_there() {
    let sleeps = |script: Script| script.call(Call::Sleep, 0, (0, 0, 900_000), 0);
    leads_to_the_sleep_of(sleeps(Script::new(1).accept(9, (10, 0, 0))), None);
    // Its one accept had begun before the watch did.
    let accepts = OpenSlice {
        tgid: 1,
        tid: 1,
        system_call: Some(ACCEPT4),
        detail: [LISTENER as u64, 0, 0, 0],
        ..OpenSlice::default()
    };
    let mut script = Script::new(1);
    script.now_ns += 10 * US;
    leads_to_the_sleep_of(sleeps(script), Some(accepts));
}
