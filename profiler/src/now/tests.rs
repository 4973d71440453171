//! What a moment says of threads, from looks, samples and requests.

use profiler_core::fact::Fact;
use profiler_core::fact::asleep::{AsleepSeen, ConnectionState, ObjectSeen};
use profiler_core::fact::place::{PlaceSeen, PythonFrame, Whose};
use profiler_core::fact::sample::SampleSeen;
use profiler_core::model::now::{Now, RequestNow, ThreadNow};
use profiler_core::model::thread_state::ThreadState;
use profiler_core::model::{Process, Server, Snapshot, Window};
use profiler_core::timeline::Entry;

use super::looked::Looked;
use super::moment::{Moment, Work};
use super::{json, text};
use crate::report::escape::Charset;
use crate::report::style::Style;
use crate::session::observer::Observer as _;

const START: u64 = 10_000_000_000;
const END: u64 = 12_000_000_000;

fn frame(file: &str, function: &str, line: u32, whose: Whose) -> PythonFrame {
    PythonFrame { file: file.to_owned(), function: function.to_owned(), line, whose }
}

/// An application called by a server, at a line; the server alone, which waits; an own thread.
fn places() -> [PlaceSeen; 3] {
    let server = frame("/v/site-packages/gunicorn/workers/gthread.py", "handle", 771, Whose::Server);
    let standard = frame("/usr/lib/python3.11/threading.py", "Thread._bootstrap", 1002, Whose::Standard);
    let own = |line| frame("/srv/shop/db.py", "query", line, Whose::Own);
    let place = |number, frames: Vec<PythonFrame>| PlaceSeen { number, frames, is_cut: false };
    [
        place(1, vec![own(12), server.clone(), standard.clone()]),
        place(2, vec![server, standard.clone()]),
        place(3, vec![own(44), standard]),
    ]
}

fn thread(tid: u32, state: ThreadState, call: Option<&'static str>) -> ThreadNow {
    ThreadNow {
        tgid: 7,
        tid,
        comm: "gunicorn".to_owned(),
        slot: None,
        state,
        holding: None,
        since_ns: 0,
        call,
        request: None,
        holder_tid: 0,
    }
}

fn asleep(tid: u32, since_ns: u64, place: u32) -> Fact {
    Fact::AsleepSeen(AsleepSeen { tgid: 7, tid, since_ns, place: Some(place), ..AsleepSeen::default() })
}

fn moment(threads: Vec<ThreadNow>, requests: Vec<RequestNow>, looked: &Looked) -> Moment {
    let worker = Process { tgid: 7, role: "worker".to_owned(), ..Process::default() };
    let master = Process { tgid: 6, role: "master".to_owned(), ..Process::default() };
    let snapshot = Snapshot {
        window: Window { start_ns: START, end_ns: END, end_reason: None },
        server: Server {
            name: "gunicorn".to_owned(),
            worker_class: "gthread".to_owned(),
            ..Server::default()
        },
        processes: vec![master, worker],
        ..Snapshot::default()
    };
    Moment::of(&snapshot, &Now { at_ns: END, threads, requests }, looked, Some(3))
}

fn looked(facts: impl IntoIterator<Item = Fact>) -> Looked {
    let mut looked = Looked::default();
    for fact in places().map(Fact::PlaceSeen).into_iter().chain(facts) {
        looked.note(&fact);
    }
    looked
}

fn request(tid: Option<u32>) -> RequestNow {
    RequestNow {
        id: 4,
        method: "GET".to_owned(),
        path: "/cart".to_owned(),
        start_ns: END - 1_500_000_000,
        tgid: 7,
        tid,
        responding: false,
    }
}

#[test]
fn thread_that_hung_before_is_at_a_request_and_a_lock_and_has_its_line() {
    let looked = looked([asleep(9, START - 1, 1), asleep(10, START - 1, 2), asleep(11, START - 1, 3)]);
    let idle = |tid| thread(tid, ThreadState::Idle, Some("futex"));
    let moment = moment(vec![idle(9), idle(10), idle(11)], Vec::new(), &looked);
    let works: Vec<(u32, &Work)> = moment.threads.iter().map(|busy| (busy.tid, &busy.work)).collect();
    assert_eq!(works, [(9, &Work::Before), (11, &Work::Beside)], "the server's own wait is none");
    let text = text::text(&moment, Style::plain(Charset::Ascii));
    for said in [
        "1 thread: a request from before, its head not seen\n    waiting for another lock (futex)",
        "at shop/db.py:12 query",
        "1 thread: no request\n",
        "3 connections wait to be accepted",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn look_at_a_sleep_that_is_over_says_nothing() {
    let mut looked = looked([asleep(9, START + 5, 1)]);
    let over = |end_ns| Entry::Slice {
        tgid: 7,
        tid: 9,
        start_ns: START,
        end_ns,
        state: ThreadState::Other,
        label: "futex",
        fd: None,
        open: false,
        held_by: None,
        sites: None,
    };
    let of = |looked: &Looked| {
        let moment =
            moment(vec![thread(9, ThreadState::LockWait, Some("futex"))], vec![request(Some(9))], looked);
        moment.threads.first().map(|busy| (busy.place.is_some(), busy.slept_ns.is_some()))
    };
    looked.entry(&over(START + 5));
    assert_eq!(of(&looked), Some((true, true)), "what was before it");
    looked.entry(&over(START + 6));
    assert_eq!(of(&looked), Some((false, false)));
}

#[test]
fn thread_that_computes_has_the_line_of_its_last_sample_if_that_is_fresh() {
    let sample =
        |at_ns| Fact::SampleSeen(SampleSeen { tgid: 7, tid: 9, at_ns, place: Some(1), ..<_>::default() });
    let of = |at_ns| {
        let running = thread(9, ThreadState::Running, None);
        let moment = moment(vec![running], vec![request(Some(9))], &looked([sample(at_ns)]));
        moment.threads.first().is_some_and(|busy| busy.place.is_some())
    };
    assert!(of(END - 100_000_000));
    assert!(!of(END - 300_000_000));
}

#[test]
fn threads_at_the_same_are_said_once_and_requests_without_a_thread_are_counted() {
    let back_end = |tid| {
        Fact::AsleepSeen(AsleepSeen {
            tgid: 7,
            tid,
            since_ns: END - 1_000_000_000,
            place: Some(1),
            object: Some(ObjectSeen::Tcp {
                inode: 0,
                local: "10.0.0.1:4000".to_owned(),
                peer: "10.0.0.2:5432".to_owned(),
                state: ConnectionState::Acknowledged,
                others: Vec::new(),
            }),
            ..AsleepSeen::default()
        })
    };
    let looked = looked([back_end(9), back_end(10)]);
    let waits =
        |tid, id| ThreadNow { request: Some(id), ..thread(tid, ThreadState::BackendWait, Some("recvfrom")) };
    let requests = vec![
        request(Some(9)),
        RequestNow { id: 5, ..request(Some(10)) },
        RequestNow { id: 6, ..request(None) },
    ];
    let moment = moment(vec![waits(9, 4), waits(10, 5)], requests, &looked);
    let text = text::text(&moment, Style::plain(Charset::Ascii));
    for said in [
        "2 threads: GET /cart, for 1.50 s\n    waiting for a back end: 10.0.0.2:5432, has all that was sent (recvfrom), for 1.00 s\n",
        "process/thread 7/9 7/10\n",
        "Requests that no thread is at\n    1 GET /cart, the oldest for 1.50 s",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&json::text(&moment).unwrap()).unwrap();
    assert_eq!(json["threads"][1]["line"]["line"], 12);
    assert_eq!(json["threads"][0]["request"]["path"], "/cart");
    assert_eq!(json["requests_without_thread"][0]["age_ns"], 1_500_000_000);
}

#[test]
fn hostile_names_reach_no_terminal() {
    let mut places = places();
    places[0].frames[0].function = "\u{1b}[2J\nq".to_owned();
    let mut looked = looked([asleep(9, START - 1, 4)]);
    looked.note(&Fact::PlaceSeen(PlaceSeen { number: 4, ..places[0].clone() }));
    let asked = RequestNow { path: "/\u{1b}[2J".to_owned(), ..request(Some(9)) };
    let moment = moment(vec![thread(9, ThreadState::LockWait, Some("futex"))], vec![asked], &looked);
    for text in [text::text(&moment, Style::plain(Charset::Unicode)), json::text(&moment).unwrap()] {
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
