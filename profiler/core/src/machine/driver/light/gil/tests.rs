//! Waits for the interpreter lock in light mode: their holders, by request, by endpoint and by thread.
//!
//! In: sleeps and messages made by hand. Out: assertions.

use profiler_common::system_call::{CLOCK_NANOSLEEP, FUTEX};
use proptest::prelude::*;

use crate::event::{Head, Light, LightWhat, LockThen, Slept, Tid};
use crate::fact::{Account, InterpreterLock, InterpreterSeen};
use crate::machine::driver::state::State;
use crate::machine::driver::unserved::Unserved;
use crate::model::gil::{Contender, Gil};
use crate::model::request::Request;
use crate::phase::Phase;
use crate::timeline::Entry;

const LOCK: u64 = 0x1000;
const INTERVAL_NS: u64 = 5_000_000;
const WAIT_BITSET: u32 = 137;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Threads of process 1, each with a socket of its own.
struct Run {
    state: State,
    requests: Vec<Request>,
    /// By thread: end of its last light slice, of its last sleep, time on a CPU and asleep since the slice,
    /// slices so far.
    threads: std::collections::BTreeMap<Tid, (u64, u64, u64, u64, u32)>,
}

impl Run {
    fn new() -> Self {
        let mut state = State::new(false);
        (state.window_start_ns, state.watch_start_ns, state.time.is_light) = (0, 0, true);
        let lock =
            InterpreterLock { address: LOCK, interval_us: INTERVAL_NS / 1000, ..InterpreterLock::default() };
        let seen = InterpreterSeen { tgid: 1, locks: vec![lock], ..InterpreterSeen::default() };
        state.gil.see(InterpreterSeen { thread_number_at: Some(160), ..seen });
        Self { state, requests: Vec::new(), threads: Default::default() }
    }

    fn sink(requests: &mut Vec<Request>) -> impl FnMut(Entry) + '_ {
        |entry| {
            if let Entry::Request(request) = entry {
                requests.push(*request);
            }
        }
    }

    /// The thread runs for `cpu_ns`, and sleeps up to `woken_ns`; it has a CPU at `end_ns`.
    fn sleep(&mut self, tid: Tid, cpu_ns: u64, (woken_ns, end_ns): (u64, u64), of: Slept) {
        let thread = self.threads.entry(tid).or_default();
        let start_ns = thread.1 + cpu_ns;
        let (woken_ns, end_ns) = (woken_ns.max(start_ns), end_ns.max(woken_ns).max(start_ns));
        thread.2 += cpu_ns;
        let asleep = Slept { tid, start_ns, woken_ns, cpu_ns: thread.2, sequence: thread.4, ..of };
        thread.3 += woken_ns - start_ns;
        thread.1 = end_ns;
        self.state.slept(&asleep, end_ns, &mut Self::sink(&mut self.requests));
    }

    /// The same, for the lock, which this thread had.
    fn wait(&mut self, tid: Tid, cpu_ns: u64, until: (u64, u64), then: LockThen) {
        let of = Slept {
            system_call: FUTEX.cast_signed(),
            argument: LOCK + 72,
            events: WAIT_BITSET,
            lock: Some(then),
            ..Slept::blank()
        };
        self.sleep(tid, cpu_ns, until, of);
    }

    /// The thread runs up to `time_ns` and moves a message with this head.
    fn message(&mut self, tid: Tid, what: LightWhat, time_ns: u64, head: &[u8]) {
        let thread = self.threads.entry(tid).or_default();
        let time_ns = time_ns.max(thread.1);
        let cpu_ns = thread.2 + time_ns - thread.1;
        let run_queue_ns = (time_ns - thread.0) - cpu_ns - thread.3;
        let account = Account { cpu_ns, run_queue_ns, blocked_ns: thread.3 };
        let sequence = thread.4 + 1;
        *thread = (time_ns, time_ns, 0, 0, sequence);
        let inbound = what == LightWhat::Received;
        let head = Head { tgid: 1, tid, sequence, fd: -1, inbound, offset_bytes: 0, bytes: head.to_vec() };
        let light = Light {
            is_unix: false,
            tgid: 1,
            tid,
            what,
            socket: u64::from(tid),
            generation: 0,
            bytes: head.bytes.len() as u64,
            arrival_ns: time_ns,
            account,
            sequence,
            switches: 1,
            flags: 0,
        };
        self.state.heads.insert(tid, head);
        self.state.light(&light, time_ns, &mut Self::sink(&mut self.requests));
    }

    fn receives(&mut self, tid: Tid, time_ns: u64, path: &str) {
        self.message(tid, LightWhat::Received, time_ns, format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
    }

    fn sends(&mut self, tid: Tid, time_ns: u64) {
        self.message(tid, LightWhat::Sent, time_ns, OK);
    }

    fn end(mut self, end_ns: u64) -> (Gil, Vec<Request>) {
        let mut sink = Self::sink(&mut self.requests);
        self.state.end_light_window((&[], &[]), end_ns, &mut sink);
        self.state.end_window((&[], &Unserved::default()), end_ns, &mut sink);
        drop(sink);
        (self.state.gil.finish(|_| String::new()), self.requests)
    }
}

const fn held_by(holder: Tid) -> LockThen {
    LockThen { holder, is_locked: true, switches: 1, until_ns: 0, woken_by: 0 }
}

/// Who had the lock while the only request waited, as a thread and for how long.
fn holders(requests: &[Request]) -> Vec<(Tid, u64)> {
    let [request] = requests else { panic!("{requests:?}") };
    request.gil.holders.iter().map(|one| (one.tid, one.wait_ns)).collect()
}

/// The same, by endpoint and by thread, of all waits of a thread.
fn of_waiter(gil: &Gil, waiter: Tid) -> Vec<(Tid, u64)> {
    let edges = gil.thread_edges.iter().filter(|edge| edge.waiter.0 == waiter);
    edges.map(|edge| (edge.holder.0, edge.total_ns)).collect()
}

fn edges(gil: &Gil) -> Vec<(Contender, Contender, u64)> {
    gil.edges.iter().map(|edge| (edge.waiter.clone(), edge.holder.clone(), edge.total_ns)).collect()
}

fn endpoint(name: &str) -> Contender {
    Contender::Endpoint(name.to_owned())
}

/// ```text
/// thread 2: /slow ………………………………………………………………………………… send, then nothing
/// thread 3:   /a: waits (2 has it), looks, waits (7 has it) … send, waits (2 has it)
/// ```
#[test]
fn a_wait_is_attributed_to_what_its_holder_served_as_it_began_and_to_what_the_waiter_serves() {
    let mut run = Run::new();
    // Before anybody waited nobody is asked what it serves.
    run.wait(4, 10, (20, 20), held_by(9));
    run.receives(2, 100, "/slow");
    run.receives(3, 200, "/a");
    run.sends(2, 900);
    // It began before that, and ended after it.
    run.wait(3, 100, (1_000, 1_050), held_by(2));
    run.wait(3, 30, (2_000, 2_000), held_by(7));
    run.sends(3, 2_100);
    run.wait(3, 50, (2_500, 2_600), held_by(2));
    let (gil, requests) = run.end(3_000);
    let thread = |tid| Contender::Thread { tgid: 1, tid, comm: String::new() };
    assert_eq!(
        edges(&gil),
        [
            (endpoint("GET /a"), thread(7), 950),
            (endpoint("GET /a"), endpoint("GET /slow"), 750),
            (thread(3), thread(2), 450),
            (thread(4), thread(9), 10)
        ]
    );
    let request = requests.iter().find(|request| request.http.path == "/a").expect("a request");
    let holders: Vec<_> =
        request.gil.holders.iter().map(|one| (one.contender.clone(), one.tid, one.wait_ns)).collect();
    // Without the 50 in which it was ready, which are its run queue's; with the look between its sleeps.
    assert_eq!(holders, [(thread(7), 7, 950), (endpoint("GET /slow"), 2, 700)]);
    assert_eq!(request.phases.get(Phase::GilWait), 1_650);
    assert_eq!((gil.waits.count(), gil.sleeps), (3, 4), "two sleeps of one attempt");
}

/// ```text
/// thread 5: …waits up to 600, has the lock; wakes thread 3 as it gives it up
/// thread 3:   waits from 200 to 900 (2 has it, 5 wakes it), ready until 1000
/// ```
#[test]
fn who_wakes_a_thread_had_the_lock_since_it_was_awake_itself() {
    for (what, woken_by, until_ns, expected) in [
        ("it had waited for the lock", 5, 0, vec![(2, 400), (5, 300)]),
        ("the lock had not passed on", 2, 0, vec![(2, 700)]),
        ("it had not waited for it", 7, 0, vec![(2, 700)]),
        ("nobody knows who did", 0, 0, vec![(2, 700)]),
        ("a timer did, and it was on that CPU", 5, 900, vec![(2, 700)]),
    ] {
        let mut run = Run::new();
        run.receives(3, 100, "/a");
        run.wait(5, 10, (600, 600), held_by(2));
        run.wait(3, 100, (900, 1_000), LockThen { woken_by, until_ns, ..held_by(2) });
        run.sends(3, 1_100);
        let (gil, requests) = run.end(2_000);
        assert_eq!(holders(&requests), expected, "{what}");
        let with_queue = if expected.len() > 1 { vec![(2, 400), (5, 400)] } else { vec![(2, 800)] };
        assert_eq!(of_waiter(&gil, 3), with_queue, "{what}");
    }
}

/// ```text
/// thread 5: …waits up to 600, has the lock; waits again from 1010 to 1700
/// thread 3:   waits from 200 to 900 (2 has it, a timer ends that), looks, waits on (5 has it)
/// ```
#[test]
fn who_has_the_lock_as_a_thread_sleeps_again_had_it_since_it_was_awake_itself() {
    let timer = |holder| LockThen { until_ns: 900, ..held_by(holder) };
    for (what, first, again, found, expected) in [
        ("the lock had passed on", timer(2), None, 5, vec![(5, 300 + 20 + 980), (2, 400)]),
        ("its new holder waits again by then", timer(2), Some(1_700), 5, vec![(5, 1_300), (2, 400)]),
        ("it had not", timer(2), None, 2, vec![(2, 1_700)]),
        ("to one that had not waited for it", timer(2), None, 7, vec![(7, 1_000), (2, 700)]),
        (
            "it had passed on before, as was known",
            LockThen { woken_by: 5, ..held_by(2) },
            None,
            5,
            vec![(5, 1_300), (2, 400)],
        ),
        (
            "and on to one that waited no more",
            LockThen { woken_by: 5, ..held_by(2) },
            None,
            7,
            vec![(7, 1_000), (2, 700)],
        ),
    ] {
        let mut run = Run::new();
        run.receives(3, 100, "/a");
        run.wait(5, 10, (600, 600), held_by(2));
        run.wait(3, 100, (900, 900), first);
        if let Some(until_ns) = again {
            run.wait(5, 410, (until_ns, until_ns), held_by(3));
        }
        run.wait(3, 20, (1_900, 1_900), held_by(found));
        run.sends(3, 2_000);
        let (gil, requests) = run.end(3_000);
        assert_eq!(holders(&requests), expected, "{what}");
        assert_eq!(of_waiter(&gil, 3), expected, "{what}");
    }
}

#[test]
fn a_thread_that_finds_itself_with_the_lock_does_not_know_who_has_it() {
    let mut run = Run::new();
    run.receives(3, 100, "/a");
    run.wait(3, 10, (500, 500), LockThen { is_locked: false, ..held_by(3) });
    run.sends(3, 600);
    let (gil, requests) = run.end(1_000);
    assert_eq!(edges(&gil), [(endpoint("GET /a"), Contender::Unknown, 390)]);
    assert_eq!(
        requests[0].gil.holders.iter().map(|one| (one.tid, one.wait_ns)).collect::<Vec<_>>(),
        [(0, 390)]
    );
}

/// A wait that lasts as long as it can asks the holder for the lock; that holder keeps it.
#[test]
fn who_keeps_the_lock_although_asked_is_told() {
    let mut run = Run::new();
    run.receives(3, 100, "/a");
    let mut now_ns = 100;
    for _ in 0..3 {
        let until_ns = now_ns + INTERVAL_NS;
        run.wait(3, 0, (until_ns, until_ns), LockThen { until_ns, ..held_by(2) });
        now_ns = until_ns;
    }
    let woken_ns = now_ns + 1_000_000;
    run.wait(3, 0, (woken_ns, woken_ns), LockThen { until_ns: now_ns + INTERVAL_NS, ..held_by(2) });
    run.sends(3, woken_ns + 10);
    let (gil, _) = run.end(woken_ns + 100);
    let asked = gil.locks[0].asked;
    assert_eq!((asked.timed_out, asked.not_honoured, asked.ends_unknown), (3, 1, 0));
    assert_eq!(asked.not_honoured_ns, 2 * INTERVAL_NS + 1_000_000);
}

#[test]
fn a_sleep_to_give_the_lock_up_is_no_wait_for_it() {
    let mut run = Run::new();
    run.receives(3, 100, "/a");
    let mutex = Slept {
        system_call: FUTEX.cast_signed(),
        argument: LOCK + 80,
        events: 128,
        lock: Some(held_by(3)),
        ..Slept::blank()
    };
    run.sleep(3, 10, (300, 300), mutex);
    run.wait(3, 10, (400, 400), held_by(2));
    run.sends(3, 600);
    let (gil, requests) = run.end(1_000);
    assert_eq!(edges(&gil).iter().map(|edge| edge.2).sum::<u64>(), 90);
    let phases = &requests[0].phases;
    assert_eq!((phases.get(Phase::LockWait), phases.get(Phase::GilWait)), (190, 90));
}

proptest! {
    /// Whoever waits for whomever, whatever it does in between: who had the lock adds up to the waits, by
    /// endpoint, by thread and by request.
    #[test]
    fn who_had_the_lock_adds_up_to_the_waits(
        steps in prop::collection::vec((2_u32..6, 0_u8..8, 0_u64..90_000, 0_u64..9_000, 0_u64..99, 0_u32..8), 1..80),
        starts in prop::sample::select(vec![0_u64, 30_000]),
    ) {
        let mut run = Run::new();
        run.state.window_start_ns = starts;
        for (tid, what, cpu_ns, asleep_ns, ready_ns, holder) in steps {
            let at_ns = run.threads.get(&tid).map_or(0, |thread| thread.1) + cpu_ns;
            let until = (at_ns + asleep_ns, at_ns + asleep_ns + ready_ns);
            match what {
                0 | 1 => run.receives(tid, at_ns, "/a"),
                2 => run.sends(tid, at_ns),
                3 => {
                    let of = Slept { system_call: CLOCK_NANOSLEEP.cast_signed(), ..Slept::blank() };
                    run.sleep(tid, cpu_ns, until, of);
                }
                _ => {
                    let is_locked = asleep_ns % 2 == 0;
                    let woken_by = holder / 2 + u32::try_from(ready_ns % 5).unwrap_or(0);
                    let then =
                        LockThen { holder, is_locked, switches: holder / 3, until_ns: at_ns + 5_000, woken_by };
                    let place = [72, 80, 48, 160][(ready_ns % 4) as usize];
                    let events = if place == 72 { WAIT_BITSET } else { 128 };
                    let of = Slept {
                        system_call: FUTEX.cast_signed(),
                        argument: LOCK + place,
                        events,
                        lock: Some(then),
                        ..Slept::blank()
                    };
                    run.sleep(tid, cpu_ns, until, of);
                }
            }
        }
        let end_ns = run.threads.values().map(|thread| thread.1).max().unwrap_or(0);
        let (gil, requests) = run.end(end_ns.max(starts));
        let waits_ns = gil.waits.sum_ns();
        prop_assert_eq!(gil.edges.iter().map(|edge| edge.total_ns).sum::<u64>() + gil.other_edges_ns, waits_ns);
        let threads_ns = gil.thread_edges.iter().map(|edge| edge.total_ns).sum::<u64>();
        prop_assert_eq!(threads_ns + gil.other_thread_edges_ns, waits_ns);
        prop_assert_eq!(gil.locks.iter().map(|lock| lock.wait_ns).sum::<u64>(), waits_ns);
        for request in &requests {
            let held_ns: u64 = request.gil.holders.iter().map(|holder| holder.wait_ns).sum();
            prop_assert_eq!(held_ns, request.phases.get(Phase::GilWait));
            prop_assert_eq!(request.phases.total_ns(), request.total_ns());
        }
    }
}
