//! Because of whom threads and requests waited for the interpreter lock.
//!
//! In: what threads serve, who had the lock as they waited. Out: assertions on who made whom wait.

use super::*;
use crate::event::LockSeen;
use crate::fact::{InterpreterLock, InterpreterSeen};
use crate::machine::ledger::gil_attribution::{GilContext, continued, held, note, settle, turned};
use crate::machine::lock::gil::Locks;
use crate::machine::lock::gil_holder::HeldBy;
use crate::model::gil::{Contender, Edge};

const LOCK: u64 = 0x10_0000;
const OTHER: Tid = 5;

/// The ledger, and the locks of its process.
struct Gil {
    scene: Scene,
    locks: Locks,
}

impl Gil {
    /// Thread 1 serves `GET /a`, and thread 5 of the same process `GET /b`.
    fn new() -> Self {
        let mut scene = Scene::new(2);
        for (number, id, path) in [(0, 1, "/a"), (1, 2, "/b")] {
            let http = &mut scene.ask(number, id, 60).request.http;
            (http.method, http.path) = ("GET".to_owned(), path.to_owned());
        }
        scene.thread.serving = Some((0, 1));
        let other = Thread { tgid: 1, serving: Some((1, 2)), ..Thread::default() };
        scene.ledger.runtime.threads.put(OTHER, Box::new(other));
        let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
        let mut locks = Locks::default();
        locks.see(InterpreterSeen {
            tgid: 1,
            locks: vec![lock],
            thread_number_at: Some(8),
            ..InterpreterSeen::default()
        });
        Self { scene, locks }
    }

    fn other(&mut self) -> &mut Thread {
        self.scene.ledger.runtime.threads.get_mut(OTHER).unwrap()
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut GilContext<'_>, &mut Thread) -> T) -> T {
        let Self { scene: Scene { ledger, thread }, locks } = self;
        let threads = &mut ledger.runtime.threads;
        act(
            &mut GilContext { world: &ledger.world, wire: &ledger.wire, threads, locks, wants_slices: false },
            thread,
        )
    }

    /// Thread 1 waits from 100 to 150, while the first of these has the lock, and the second at the end.
    fn waits(&mut self, holder_tid: Tid, last_holder_tid: Tid) -> HeldBy {
        let call = Call::FutexWait { address: LOCK + 72, operation: 137, has_timeout: true };
        let lock = LockSeen { holder_tid, last_holder_tid, ..LockSeen::default() };
        let slice = Slice { lock, ..slice(call, (90, 100, 150), 0) };
        self.with(|context, thread| held(context, thread, &slice, 50)).by.first
    }

    /// Who made whom wait, and for how long, once what it waited is settled.
    fn edges(mut self) -> Vec<(String, String, u64)> {
        self.with(|context, thread| settle(context, thread, 1));
        let name = |contender: &Contender| match contender {
            Contender::Endpoint(name) => name.clone(),
            Contender::Thread { tid, .. } => format!("thread {tid}"),
            other => format!("{other:?}"),
        };
        let of = |edge: &Edge| (name(&edge.waiter), name(&edge.holder), edge.total_ns);
        self.locks.finish(|_| String::new()).edges.iter().map(of).collect()
    }
}

type SetUp = fn(&mut Gil);

#[test]
fn a_wait_is_because_of_what_the_holder_served_as_it_began() {
    // What is different, who had the lock, and because of whom what the waiter serves now has waited.
    let cases: &[(&str, SetUp, Tid, (&str, &str))] = &[
        ("it serves a request", |_| {}, OTHER, ("GET /a", "GET /b")),
        ("it serves none", |gil| gil.other().serving = None, OTHER, ("GET /a", "thread 5")),
        ("its request is over", |gil| gil.other().serving = Some((1, 7)), OTHER, ("GET /a", "thread 5")),
        (
            "it has turned to something else in between",
            |gil| {
                let number = gil.locks.edges.number(Contender::Endpoint("GET /b".to_owned()));
                gil.other().serving = None;
                gil.other().gil.party_before = Some((number, 101));
            },
            OTHER,
            ("GET /a", "GET /b"),
        ),
        (
            "it had turned to something else before",
            |gil| {
                let number = gil.locks.edges.number(Contender::Endpoint("GET /c".to_owned()));
                gil.other().gil.party_before = Some((number, 100));
            },
            OTHER,
            ("GET /a", "GET /b"),
        ),
        ("it is of another process", |gil| gil.other().tgid = 2, OTHER, ("GET /a", "Unknown")),
        ("it has made no call yet", |_| {}, 6, ("GET /a", "thread 6")),
        ("nobody is known", |_| {}, 0, ("GET /a", "Unknown")),
        ("the last one was the waiter itself", |_| {}, 1, ("GET /a", "Unknown")),
        ("the waiter serves none", |gil| gil.scene.thread.serving = None, OTHER, ("thread 1", "GET /b")),
        (
            "its request has no head yet",
            |gil| gil.scene.active((0, 1)).request.http.method.clear(),
            OTHER,
            ("", "GET /b"),
        ),
    ];
    for (what, set_up, holder, (waiter, because)) in cases {
        let mut gil = Gil::new();
        set_up(&mut gil);
        gil.waits(*holder, *holder);
        assert_eq!(gil.edges(), [((*waiter).to_owned(), (*because).to_owned(), 50)], "{what}");
    }
}

#[test]
fn a_wait_belongs_to_what_its_thread_serves_as_it_is_settled() {
    let mut gil = Gil::new();
    gil.waits(OTHER, OTHER);
    gil.with(|_, thread| continued(thread, 7));
    gil.with(|_, thread| continued(thread, 0));
    gil.scene.thread.serving = Some((1, 2));
    assert_eq!(gil.edges(), [("GET /b".to_owned(), "GET /b".to_owned(), 57)]);
    assert_eq!(Gil::new().edges(), [], "nobody has waited");
}

#[test]
fn what_a_thread_was_until_its_slice_ended_is_kept_for_those_that_wait_for_it() {
    // What it served before and serves after its slice, whether that was asked for, and until when it was
    // that.
    for (what, before, after, is_asked, expected) in [
        ("its request is over", Some((0, 1)), None, true, Some(150)),
        ("it turned to another", Some((0, 1)), Some((1, 2)), true, Some(150)),
        ("it serves the same", Some((0, 1)), Some((0, 1)), true, None),
        ("it served none", None, Some((0, 1)), true, None),
        ("nobody waited for it", Some((0, 1)), None, false, None),
    ] {
        let mut gil = Gil::new();
        gil.scene.thread.serving = before;
        if is_asked {
            // Another thread waits for the lock of its process.
            let call = Call::FutexWait { address: LOCK + 72, operation: 137, has_timeout: true };
            gil.locks.follow(&mut Default::default(), &slice(call, (90, 100, 150), 0), 0);
        }
        gil.with(|context, thread| note(context, thread, 1));
        assert_eq!(gil.scene.thread.gil.contender.is_some(), is_asked && before.is_some(), "{what}");
        gil.scene.thread.serving = after;
        turned(&mut gil.scene.thread, before, 150);
        assert_eq!(gil.scene.thread.gil.party_before.map(|(_, until_ns)| until_ns), expected, "{what}");
    }
}

#[test]
fn a_wait_in_which_the_lock_passed_to_a_thread_that_slept_for_it_too_is_of_both() {
    // Until when the other thread slept for the lock, who had it at the beginning and at the end; because of
    // whom, for how long.
    for (what, awake_ns, first, last, expected) in [
        ("it passed to the other", Some(120), 6, OTHER, vec![("GET /b", 30), ("thread 6", 20)]),
        ("it had passed before", Some(100), 6, OTHER, vec![("thread 6", 50)]),
        ("it has never slept for it", None, 6, OTHER, vec![("thread 6", 50)]),
        ("it woke after that", Some(150), 6, OTHER, vec![("thread 6", 50)]),
        ("the same had it all the time", Some(120), OTHER, OTHER, vec![("GET /b", 50)]),
        ("the waiter had it last", Some(120), 6, 1, vec![("thread 6", 50)]),
    ] {
        let mut gil = Gil::new();
        if let Some(awake_ns) = awake_ns {
            let call = Call::FutexWait { address: LOCK + 72, operation: 137, has_timeout: true };
            let slept = Slice { tid: OTHER, ..slice(call, (90, 95, awake_ns), 0) };
            gil.locks.follow(&mut Default::default(), &slept, 0);
        }
        gil.waits(first, last);
        let told: Vec<(String, u64)> =
            gil.edges().into_iter().map(|(_, by, wait_ns)| (by, wait_ns)).collect();
        let expected: Vec<(String, u64)> = expected.iter().map(|(by, ns)| ((*by).to_owned(), *ns)).collect();
        assert_eq!(told, expected, "{what}");
    }
}
