//! Loops of gevent: what shows that they are loops, and what shows that a request slept.
//!
//! In: scripts of a thread whose process has gevent loaded, or not. Out: assertions. Times are in
//! microseconds in the scripts.

use super::*;
use ProcessSeen;

impl Script {
    /// What its process has loaded is known.
    fn with_loaded(mut self, file: &str) -> Self {
        let mapped_files = vec![file.to_owned()];
        let seen = Fact::ProcessSeen(ProcessSeen { tgid: self.tgid, mapped_files, ..ProcessSeen::default() });
        self.events.push(Event { time_ns: START, body: Body::Fact(Box::new(seen)) });
        self
    }
}

pub(super) fn gevent() -> Script {
    on_gevent(loop_of_two())
}

pub(super) fn on_gevent(script: Script) -> Script {
    script.with_loaded("_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so")
}

fn of(requests: &[Request], start_ns: u64) -> &Request {
    requests.iter().find(|request| request.times.start_ns == start_ns).unwrap()
}

/// ```text
/// loop: accept 9, read 9 (there always is more), write 9, close 9, look for the listener alone; the same
/// once more
/// ```
#[test]
fn a_thread_on_gevent_that_reads_requests_and_waits_for_a_listener_runs_a_loop_although_clients_never_keep_it_waiting()
 {
    for (file, loops) in
        [("_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so", 1), ("libpython3.11.so.1.0", 0)]
    {
        let mut script = Script::new(1).with_loaded(file).watch(LISTENER).look(-1, 1, (0, 0, 100));
        for _ in 0..2 {
            let arrival = script.now_ns;
            script = script
                .accept(9, (1, 0, 0))
                .read(9, GET, arrival, (1, 0, 0))
                .cpu(300)
                .respond(9)
                .call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0)
                .look(-1, 1, (0, 0, 1000));
        }
        let (_, snapshot) = requests_of(script);
        assert_eq!(snapshot.event_loops.len(), loops, "{file}");
        assert!(snapshot.slots.observed.iter().all(|slot| slot.is_loop == (loops == 1)), "{file}");
    }
}

/// ```text
/// loop: read 9, python 30, read 10, python 500, write 10, look (others may be ready) …, python 40, write 9
/// ```
#[test]
fn what_a_request_waited_for_that_resumes_without_a_timer_that_was_told_is_not_known() {
    for on_gevent in [true, false] {
        let script = if on_gevent { gevent() } else { loop_of_two() };
        let first = script.now_ns;
        let mut script = script.read(9, GET, first, (1, 0, 0)).cpu(30);
        let left_ns = script.at(30);
        for _ in 0..4 {
            script = script.look(0, 1, (1, 0, 0));
            let second = script.now_ns;
            script = script.read(10, GET, second, (1, 0, 0)).cpu(500).respond(10);
        }
        script = script.look(0, 1, (1, 0, 0));
        let found_ns = script.now_ns;
        let script = script.cpu(40).respond(9).read_nothing(10).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let slept = of(&requests, first);
        assert_eq!(us(slept, Phase::Sleep), 0, "{on_gevent}");
        assert_eq!(us(slept, Phase::Unexplained), (found_ns - left_ns) / US, "{on_gevent}");
    }
}

/// ```text
/// loop: read 9 (it wants what 10 has), look, read 10, socket, connect, look, send, look until a timer comes
/// due 20000, recv, write 10, python 40,
///       write 9
/// ```
#[test]
fn who_resumes_after_another_got_its_answer_may_have_been_let_by_that_one_and_did_not_sleep_for_sure() {
    for on_gevent in [true, false] {
        let script = if on_gevent { gevent() } else { loop_of_two() };
        let first = script.now_ns;
        let script = script.read(9, GET, first, (1, 0, 0)).cpu(5).look(0, 1, (1, 0, 0));
        let second = script.now_ns;
        let script = script
            .read(10, GET, second, (1, 0, 0))
            .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
            .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
            .watch(BACKEND)
            .look(-1, 1, (0, 0, 300))
            .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
            .look(20, 0, (0, 0, 20_000));
        let answered = script.now_ns;
        let script = script
            .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
            .ready(answered)
            .respond(10)
            .cpu(40)
            .respond(9)
            .look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let let_go = of(&requests, first);
        assert_eq!(us(let_go, Phase::Sleep) > 0, !on_gevent, "{let_go:?}");
        if on_gevent {
            assert!(us(let_go, Phase::Unexplained) > 20_000, "{let_go:?}");
        }
    }
}

/// What has a library loaded that switches greenlets, and is in one place whatever it does: looks for the
/// listener alone, accepts 9, reads 9, writes 9, …
fn one_at_a_time(tid: u32, library: &str, task: Option<u64>) -> Script {
    let mut script = Script { tid, ..Script::new(1) }.with_loaded(library).watch(LISTENER);
    for round in 0..6 {
        let told = task.filter(|_| round == 1);
        script = script.look(-1, 1, (0, 0, 1000));
        if let Some(task) = told {
            script = script.task(task);
        }
        let (arrival, fd) = (script.now_ns, 8 + i32::try_from(tid).unwrap());
        script = script.accept(fd, (1, 0, 0)).read(fd, GET, arrival, (1, 0, 0)).cpu(300);
        script = script.respond(fd).call(Call::Close { fd }, 0, (1, 0, 0), 0);
    }
    script
}

/// ```text
/// thread: look for the listener alone, accept 9, read 9, write 9, close 9 …, all in one greenlet
/// ```
#[test]
fn a_thread_whose_process_only_has_greenlets_loaded_is_a_slot() {
    for library in
        ["_greenlet.cpython-311-x86_64-linux-gnu.so", "_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so"]
    {
        let (_, snapshot) = requests_of(one_at_a_time(1, library, Some(0x7f00_1000)));
        assert_eq!(snapshot.event_loops.len(), 0, "{library}");
        assert!(snapshot.slots.observed.iter().all(|slot| !slot.is_loop), "{library}");
    }
}

/// ```text
/// both threads: look for the listener alone, accept, read, write, close …; what greenlet they are in is not
/// told
/// ```
#[test]
fn threads_of_a_pool_are_slots_whatever_their_process_has_loaded() {
    let library = "_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so";
    let (mut first, second) = (one_at_a_time(1, library, None), one_at_a_time(2, library, None));
    first.events.extend(second.events);
    first.events.sort_by_key(|event| event.time_ns);
    let (requests, snapshot) = requests_of(first);
    assert_eq!(requests.len(), 12);
    assert_eq!(snapshot.event_loops.len(), 0);
    assert!(snapshot.slots.observed.iter().all(|slot| !slot.is_loop));
}
