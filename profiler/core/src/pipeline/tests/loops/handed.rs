//! Requests that a loop hands to threads that never touch their connection.
//!
//! In: scripts of a loop's thread and of its pool's. Out: assertions. Times are in microseconds in the
//! scripts.

use super::*;
use ProcessSeen;

pub(super) const NOTES: i32 = 30;

/// A loop that threads wake by a descriptor, and that has just looked.
pub(super) fn loop_with_notes() -> Script {
    loop_of_two().call(Call::MakePair { fds: [NOTES, NOTES + 1] }, 0, (0, 0, 0), 0).look(-1, 1, (0, 0, 1000))
}

/// A thread of the loop's process, without a job.
pub(super) fn thread_of(script: &Script) -> Script {
    let mut pool = Script::new(2);
    pool.tgid = script.tgid;
    pool
}

impl Script {
    /// Waits for a job until `handed_ns`, when the loop gives it one.
    pub(super) fn woken_by(self, loop_tid: u32, handed_ns: u64) -> Self {
        let idle_us = (handed_ns - self.now_ns) / US;
        let mut script = self.job_wait((0, 0, idle_us));
        if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
            slice.woken.by_tid = loop_tid;
        }
        script
    }

    /// The thread is woken at a lock of its own, not at that of a queue which several share.
    pub(super) fn woken_at(self, address: u64, loop_tid: u32, handed_ns: u64) -> Self {
        let mut script = self.woken_by(loop_tid, handed_ns);
        if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
            slice.call = Call::FutexWait { address, operation: 393, has_timeout: false };
        }
        script
    }

    /// The loop reads a request and gives it to a thread, which `takes` it over at the given moment; it
    /// answers as that has told.
    fn hands_over(self, fd: i32, takes: impl FnOnce(u32, u64) -> Self) -> (Self, Self) {
        let came = self.now_ns;
        let script = self.read(fd, GET, came, (1, 0, 0)).cpu(50);
        let handed = script.now_ns + 50 * US;
        let pool = takes(script.tid, handed).note();
        let asleep_us = (pool.now_ns - handed) / US;
        let script = script.look(-1, 1, (0, 0, asleep_us)).read_note().look(0, 0, (1, 0, 0)).cpu(20);
        (script.respond(fd).look(-1, 1, (0, 0, 500)), pool)
    }

    pub(super) fn note(self) -> Self {
        self.call(Call::Write { fd: NOTES }, 1, (2, 0, 0), 0)
    }

    pub(super) fn read_note(self) -> Self {
        self.call(Call::Read { fd: NOTES + 1, asked_bytes: 9, arrival_ns: 0 }, 1, (1, 0, 0), 0)
    }
}

/// ```text
/// loop:  read 9, look … (woken) read the note, look, write 9
/// pool:  futex ── woken by the loop, python 200, asleep 300, note
/// ```
#[test]
fn a_thread_that_never_touches_the_connection_works_for_the_request_it_was_woken_for() {
    let script = loop_with_notes();
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(50);
    let handed = script.now_ns + 50 * US;
    let pool = thread_of(&script).woken_by(loop_tid, handed);
    let pool = pool.cpu(200).call(Call::Sleep, 0, (0, 0, 300), 0).note();
    let note = pool.now_ns;
    let pool = pool.job_wait((0, 0, 100));
    let asleep_us = (note - handed) / US;
    let script =
        script.look(-1, 1, (0, 0, asleep_us)).read_note().look(0, 0, (1, 0, 0)).cpu(20).respond(9).look(
            -1,
            0,
            (0, 0, 200),
        );
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, pool], end_us);
    let request = &outcome.requests[2];
    assert_eq!(us(request, Phase::Sleep), 300, "{:?}", request.phases);
    assert_eq!(us(request, Phase::Cpu), 50 + 200 + 2 + 20);
    assert_eq!(us(request, Phase::LoopWait), 1 + 1);
    assert_eq!(us(request, Phase::Unexplained) + us(request, Phase::LockWait), 0);
    assert_eq!(request.stretches.len(), 3, "the loop, the thread, the loop: {:?}", request.stretches);
    assert_eq!(outcome.snapshot.event_loops[0].pooled, 1);
    assert_eq!(outcome.snapshot.event_loops[0].paired_by_order, 0);
}

/// ```text
/// loop:  read 9, look 300, read 10, write 10, look, python 20, write 9
/// pool:  futex ── woken by the loop, python 700 …                      note
/// ```
#[test]
fn a_request_whose_thread_was_interrupted_before_its_note_is_not_said_to_wait_for_a_lock() {
    let script = loop_with_notes();
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(50);
    let handed = script.now_ns + 50 * US;
    let pool = thread_of(&script).woken_by(loop_tid, handed).cpu(700).note().job_wait((0, 0, 100));
    let script = script.look(-1, 1, (0, 0, 300));
    let other_came = script.now_ns;
    let script = script
        .read(10, GET, other_came, (1, 0, 0))
        .cpu(100)
        .respond(10)
        .look(0, 0, (1, 0, 0))
        .cpu(20)
        .respond(9)
        .look(-1, 1, (0, 0, 600))
        .read_note()
        .look(-1, 0, (0, 0, 200));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, pool], end_us);
    let request = &outcome.requests[3];
    assert_eq!(us(request, Phase::LockWait), 0, "{:?}", request.phases);
    assert_eq!(us(request, Phase::Cpu), 50 + 20);
    // No record says yet what its thread does.
    assert_eq!(us(request, Phase::Unexplained), 300 + 1 + 100 + 10 + 1, "{:?}", request.phases);
    assert_eq!(outcome.snapshot.event_loops[0].pooled, 1);
}

/// ```text
/// loop:  read 9, look, read 10, look … read the note, look, write 9, python 20, write 10
/// A:           futex ── woken, asleep 300, note
/// B:                    futex ── woken, asleep 200, futex …
/// ```
#[test]
fn on_uvloop_a_thread_writes_no_note_while_another_one_s_is_not_read() {
    let mut script = loop_with_notes();
    let mapped_files = vec!["uvloop".to_owned()];
    let seen = ProcessSeen { tgid: script.tgid, mapped_files, ..ProcessSeen::default() };
    script.events.push(Event { time_ns: START, body: Body::Fact(Box::new(Fact::ProcessSeen(seen))) });
    let loop_tid = script.tid;
    let first = script.now_ns;
    let script = script.read(9, GET, first, (1, 0, 0)).cpu(50);
    let one = thread_of(&script).woken_by(loop_tid, script.now_ns + 50 * US);
    let one = one.call(Call::Sleep, 0, (0, 0, 300), 0).note().job_wait((0, 0, 900));
    let script = script.look(-1, 1, (0, 0, 100));
    let second = script.now_ns;
    let script = script.read(10, GET, second, (1, 0, 0)).cpu(50);
    let mut other = thread_of(&script);
    other.tid = 3;
    let other = other.woken_by(loop_tid, script.now_ns + 50 * US);
    let other = other.call(Call::Sleep, 0, (0, 0, 200), 0).cpu(2).job_wait((0, 0, 900));
    let script = script.look(-1, 1, (0, 0, 300)).read_note().look(0, 0, (1, 0, 0));
    let script = script.cpu(20).respond(9).cpu(20).respond(10).look(-1, 0, (0, 0, 10));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, one, other], end_us);
    for (came, slept_us) in [(first, 300), (second, 200)] {
        let request = outcome.requests.iter().find(|request| request.times.start_ns == came).unwrap();
        assert_eq!(us(request, Phase::LockWait), 0, "{:?}", request.phases);
        assert_eq!(us(request, Phase::Sleep), slept_us, "{:?}", request.phases);
    }
}

/// ```text
/// loop:  read 9, look, read the note, look, write 9, look, read 10, look, read the note, look, write 10
/// pool:  woken, python 200, note, python 40, note, futex ── woken, python 300, note
/// ```
#[test]
fn what_a_thread_tidies_up_after_its_request_is_not_part_of_its_next_job() {
    let script = loop_with_notes();
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(50);
    let handed = script.now_ns + 50 * US;
    let pool = thread_of(&script).woken_by(loop_tid, handed).cpu(200).note();
    let script = script
        .look(-1, 1, (0, 0, (pool.now_ns - handed) / US))
        .read_note()
        .look(0, 0, (1, 0, 0))
        .cpu(20)
        .respond(9);
    // The answer is sent: what it writes now is for nobody.
    let pool = pool.cpu(40).note();
    let script = script.look(-1, 1, (0, 0, 100)).read_note().look(-1, 1, (0, 0, 500));
    let came = script.now_ns;
    let script = script.read(10, GET, came, (1, 0, 0)).cpu(50);
    let handed = script.now_ns + 50 * US;
    let pool = pool.woken_by(loop_tid, handed).cpu(300).note();
    let script = script
        .look(-1, 1, (0, 0, (pool.now_ns - handed) / US))
        .read_note()
        .look(0, 0, (1, 0, 0))
        .cpu(20)
        .respond(10)
        .look(-1, 0, (0, 0, 200));
    let pool = pool.job_wait((0, 0, 100));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, pool], end_us);
    let second = &outcome.requests[3];
    assert_eq!(us(second, Phase::Cpu), 50 + 300 + 2 + 20, "{:?}", second.phases);
    assert_eq!(us(second, Phase::Unexplained) + us(second, Phase::LockWait), 0);
    assert_eq!(outcome.snapshot.event_loops[0].pooled, 2);
}

/// ```text
/// loop:  read 9, read 10, look, python 50 (9 sleeps, 10 hands over), look 20 ms, write 9, look, read the note, write 10
/// pool:                   futex ── woken, asleep 30 ms …                               note
/// ```
#[test]
fn a_request_that_resumes_before_the_thread_has_told_of_its_job_was_not_the_one_that_handed_it_over() {
    let script = loop_with_notes();
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(10).read(10, GET, came, (1, 0, 0)).cpu(10);
    let script = script.look(0, 0, (1, 0, 0)).cpu(50);
    let handed = script.now_ns + 20 * US;
    let pool = thread_of(&script).woken_by(loop_tid, handed).call(Call::Sleep, 0, (0, 0, 30_000), 0).note();
    let note = pool.now_ns;
    let pool = pool.job_wait((0, 0, 100));
    let script = script.look(20, 0, (0, 0, 20_000)).cpu(20).respond(9);
    let asleep_us = (note - script.now_ns) / US;
    let script = script.look(-1, 1, (0, 0, asleep_us)).read_note().cpu(20).respond(10);
    let script = script.look(-1, 0, (0, 0, 200));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, pool], end_us);
    let [.., slept, pooled] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert_eq!(us(slept, Phase::Sleep), 1 + 10 + 1 + 50 + 20_000, "{:?}", slept.phases);
    assert_eq!(us(slept, Phase::PoolWait) + us(slept, Phase::LockWait), 0, "{:?}", slept.phases);
    // As long as it is not known which of the two waits for the thread, the iteration after the look is
    // nobody's.
    assert_eq!(us(pooled, Phase::Sleep), 30_000, "{:?}", pooled.phases);
    assert_eq!(outcome.snapshot.event_loops[0].pooled, 1);
}

/// ```text
/// loop: read 9, look, (socket, connect), look, send, look, recv, look, take off the list, python 30, write 9
/// pool:               futex ── woken by the loop, python 200, note
/// ```
#[test]
fn a_request_on_asyncio_that_resumes_by_its_back_end_s_answer_was_let_go_by_no_thread() {
    let script = loop_that_defers().call(Call::MakePair { fds: [NOTES, NOTES + 1] }, 0, (0, 0, 0), 0).look(
        -1,
        1,
        (0, 0, 1000),
    );
    let loop_tid = script.tid;
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(4).look(0, 0, (1, 0, 0));
    let script = script
        .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
        .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
        .watch(BACKEND)
        .look(-1, 1, (0, 0, 300))
        .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0);
    let handed = script.now_ns + 5000 * US;
    // The thread works for nobody that is known: the loop woke it while it waited.
    let pool = thread_of(&script).woken_by(loop_tid, handed).cpu(200).note();
    let note = pool.now_ns;
    let pool = pool.job_wait((0, 0, 20_000));
    let asleep_us = (note - script.now_ns) / US;
    let script = script
        .look(-1, 2, (0, 0, asleep_us))
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
        .read_note()
        .look(0, 0, (1, 0, 0))
        .call(Call::EpollControl { epoll_fd: EPOLL, operation: 2, fd: BACKEND, events: 0 }, 0, (0, 0, 0), 0)
        .cpu(30)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, pool], end_us);
    let request = outcome.requests.iter().find(|request| request.times.start_ns == came).unwrap();
    // With what the loop did until its next look.
    assert_eq!(us(request, Phase::Cpu), 4 + 2 + 2 + 3 + 1 + 1 + 30, "{:?}", request.phases);
    assert_eq!(us(request, Phase::PoolWait) + us(request, Phase::LockWait), 0, "{:?}", request.phases);
    assert_eq!(outcome.snapshot.event_loops[0].pooled, 0);
}

/// ```text
/// loop:     read 9, look, write 9 │ read 10, look, write 10 │ read 9, look, write 9 │ read 10, look, write 10
/// pool 2:   futex A ── python, note ─ futex A …
/// pool 3:   futex A ─────────────────────────── python, note ─ futex A …
/// thread 4: futex B ────────────────────────────────────────────────── python, note ─ futex B ─ python, note
/// ```
#[test]
fn a_thread_beside_a_pool_waits_for_its_jobs_at_a_lock_of_its_own() {
    const OWN: u64 = 40;
    let script = loop_with_notes();
    let [first, second, beside] = [2, 3, 4].map(|tid| Script { tid, ..thread_of(&script) });
    let (script, first) = script.hands_over(9, |tid, at_ns| first.woken_by(tid, at_ns).cpu(100));
    let (script, second) = script.hands_over(10, |tid, at_ns| second.woken_by(tid, at_ns).cpu(100));
    let (script, beside) = script.hands_over(9, |tid, at_ns| beside.woken_at(OWN, tid, at_ns).cpu(200));
    let (script, beside) = script.hands_over(10, |tid, at_ns| beside.woken_at(OWN, tid, at_ns).cpu(300));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, first, second, beside], end_us);
    for (request, job_us) in [(2, 100), (3, 100), (4, 200), (5, 300)] {
        let request = &outcome.requests[request];
        assert_eq!(us(request, Phase::Cpu), 50 + job_us + 2 + 20, "{:?}", request.phases);
        assert_eq!(us(request, Phase::Unexplained) + us(request, Phase::LockWait), 0, "{:?}", request.phases);
    }
}

/// ```text
/// loop: read 9, look, (woken) read the note, look, socket, connect, look 300, send, look 5 000, recv, look,
/// write 9 pool: futex ── woken by the loop, python 200 (resolves a name), note
/// ```
#[test]
fn a_back_end_is_that_of_the_one_request_for_which_a_thread_has_resolved_its_name() {
    let script = loop_with_notes();
    let (loop_tid, came) = (script.tid, script.now_ns);
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(50);
    let handed = script.now_ns + 50 * US;
    let pool = thread_of(&script).woken_by(loop_tid, handed).cpu(200).note();
    let script = script.look(-1, 1, (0, 0, (pool.now_ns - handed) / US)).read_note().look(0, 0, (1, 0, 0));
    let script = script.connect(BACKEND).look(-1, 1, (0, 0, 300)).send(BACKEND).look(-1, 1, (0, 0, 5000));
    let script = script.receive(BACKEND).look(0, 0, (1, 0, 0)).respond(9).look(-1, 0, (0, 0, 200));
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script, pool], end_us);
    let request = &outcome.requests[2];
    assert_eq!(us(request, Phase::BackendWait), 300 + 5000, "{:?}", request.phases);
    assert_eq!(us(request, Phase::Sleep), 0, "{:?}", request.phases);
}
