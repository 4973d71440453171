//! For which request a loop made a thread, and how long the thread works for it.
//!
//! In: what the loop has left and touched, threads made, their waits, the loop's resuming of requests. Out:
//! assertions on who works for whom.

use super::*;
use crate::event::{Call, Woken};
use crate::fact::{Account, ProcessSeen};
use crate::machine::runtime::tests::{FIRST, LOOP, SECOND, Stages, TGID};
use crate::machine::time::piece::Piece;

const CHILD: Tid = 6;

/// A loop that slept from 100 to 200, and two requests that it has read at 210.
fn stages() -> Stages {
    let mut stages = Stages::new(2).read_at(210);
    stages.sleep(100, 200);
    stages
}

impl Stages {
    /// The loop makes the thread at 250.
    fn make(&mut self) {
        made(&mut self.runtime_context(), TGID, (LOOP, CHILD), 250);
    }

    fn key_of_child(&mut self) -> Option<Option<RequestKey>> {
        self.pool().own.made.get(&CHILD).map(|made| made.key)
    }

    fn park(mut self, keys: &[RequestKey]) -> Self {
        self.event_loop().left.parked.extend(keys);
        self
    }
}

type SetUp = fn(Stages) -> Stages;
type Then = fn(&mut Stages);

#[test]
fn a_loop_makes_a_thread_for_the_only_request_that_it_may_be_resuming() {
    // What the loop may be resuming, and whose the thread then is; `None`: it is none of its own.
    let cases: &[(&str, SetUp, Option<Option<RequestKey>>)] = &[
        ("nothing", |stages| stages, Some(None)),
        ("one that was read since it slept", |stages| stages.park(&[FIRST]), Some(Some(FIRST))),
        ("one of two", |stages| stages.park(&[FIRST, SECOND]), Some(None)),
        (
            "one was read before it slept",
            |mut stages| {
                stages.active(SECOND).request.times.service_start_ns = Some(99);
                stages.park(&[FIRST, SECOND])
            },
            Some(Some(FIRST)),
        ),
        (
            "a thread was woken for the other",
            |mut stages| {
                stages.active(SECOND).handed_to = Some(HandedTo { tid: 7, begin_ns: 220, by_order: false });
                stages.park(&[FIRST, SECOND])
            },
            Some(Some(FIRST)),
        ),
        (
            "a thread works for the other",
            |mut stages| {
                stages.pool().working.push((7, SECOND));
                stages.park(&[FIRST, SECOND])
            },
            Some(Some(FIRST)),
        ),
        ("the other is over", |stages| stages.park(&[FIRST, (1, 21)]), Some(Some(FIRST))),
        (
            "the one that it touched",
            |mut stages| {
                stages.event_loop().left.turns_to(SECOND, 240);
                stages
            },
            Some(Some(SECOND)),
        ),
        (
            "it touched one after that",
            |mut stages| {
                stages.event_loop().left.turns_to(SECOND, 260);
                stages
            },
            Some(None),
        ),
        (
            "one whose thread has reported",
            |mut stages| {
                stages.pool().own.told.push_back((Some(SECOND), 240));
                stages
            },
            Some(Some(SECOND)),
        ),
        (
            "that was before it slept",
            |mut stages| {
                stages.pool().own.told.push_back((Some(SECOND), 99));
                stages.park(&[FIRST])
            },
            Some(Some(FIRST)),
        ),
        (
            "a thread of one of several has reported",
            |mut stages| {
                stages.pool().own.told.push_back((None, 240));
                stages.park(&[FIRST])
            },
            Some(None),
        ),
        (
            "there are more than are remembered",
            |mut stages| {
                assert!(!stages.event_loop().left.park_all((0..300).map(|_| FIRST)));
                stages
            },
            Some(None),
        ),
        (
            "it has turned to too many since",
            |mut stages| {
                (260..330).for_each(|at_ns| stages.event_loop().left.turns_to(SECOND, at_ns));
                stages.park(&[FIRST])
            },
            Some(None),
        ),
        (
            "its threads are kept for later requests",
            |mut stages| {
                stages.pool().own.kept = 1;
                stages.park(&[FIRST])
            },
            None,
        ),
        (
            "its threads only help (gevent)",
            |mut stages| {
                let mapped_files = vec!["_gevent_c_hub_local.so".to_owned()];
                let seen = ProcessSeen { tgid: TGID, mapped_files, ..ProcessSeen::default() };
                stages.world.processes.see(&seen);
                stages.park(&[FIRST])
            },
            None,
        ),
        (
            "another thread makes it",
            |mut stages| {
                stages.pool().loop_tid = 9;
                stages.park(&[FIRST])
            },
            None,
        ),
    ];
    for (what, set_up, expected) in cases {
        let mut stages = set_up(stages());
        stages.make();
        assert_eq!(stages.key_of_child(), *expected, "{what}");
        let works = expected.flatten().map(|key| (CHILD, key));
        let working: Vec<_> =
            stages.pool().working.iter().filter(|(tid, _)| *tid == CHILD).copied().collect();
        assert_eq!(working, works.into_iter().collect::<Vec<_>>(), "{what}");
    }
}

/// A wait of the thread that ends at this moment.
fn woken(enter_ns: u64, exit_ns: u64) -> Slice {
    let call = Call::FutexWait { address: 16, operation: 9, has_timeout: false };
    let inside = Account { blocked_ns: exit_ns - enter_ns, ..Account::default() };
    let woken = Woken { by_tid: LOOP, at_ns: exit_ns };
    Slice { tid: CHILD, enter_ns, exit_ns, inside, woken, ..Slice::blank(call) }
}

#[test]
fn a_thread_made_for_a_request_goes_on_for_it_until_it_is_kept_for_others() {
    // Whose the thread is, what happened since it was made, whether it resumes work for its request, and how
    // long that waited for nothing but the loop.
    let cases: &[(&str, Option<RequestKey>, Then, bool, u64)] = &[
        ("its request is not over", Some(FIRST), |_| {}, true, 0),
        ("the loop has slept since", Some(FIRST), |stages| stages.sleep(300, 380), true, 380),
        ("it is one of several", None, |_| {}, true, 0),
        ("and the loop has slept since", None, |stages| stages.sleep(300, 380), false, 0),
        ("its request is over", Some((0, 9)), |_| {}, true, 0),
        ("it is over, and the loop has slept since", Some((0, 9)), |stages| stages.sleep(300, 380), false, 0),
        (
            "it has tidied up often",
            Some((0, 9)),
            |stages| stages.pool().own.made.get_mut(&CHILD).unwrap().tidied = TIDYING_JOBS,
            false,
            0,
        ),
        (
            "it has tidied up",
            Some((0, 9)),
            |stages| stages.pool().own.made.get_mut(&CHILD).unwrap().tidied = TIDYING_JOBS - 1,
            true,
            0,
        ),
        ("it was not made by the loop", None, |stages| stages.pool().own.made.clear(), false, 0),
    ];
    for (what, key, then, expected, ready_ns) in cases {
        let mut stages = stages();
        let made = Made { key: *key, known_ns: 250, begun_ns: 250, ready_ns: 0, tidied: 0 };
        stages.pool().own.made.insert(CHILD, made);
        then(&mut stages);
        let mut thread = Thread { tgid: TGID, ..Thread::default() };
        let slice = woken(350, 400);
        assert_eq!(begin(&mut stages.runtime_context(), &mut thread, &slice), *expected, "{what}");
        let works_for = key.filter(|_| *expected);
        assert_eq!((thread.pooled.works_for, thread.pooled.woken_for), (works_for, works_for), "{what}");
        if *expected {
            assert_eq!(stages.pool().own.made[&CHILD].ready_ns, *ready_ns, "{what}");
        } else {
            assert_eq!(stages.key_of_child(), None, "{what}");
        }
        let handed_to = (*key == Some(FIRST)).then_some(CHILD);
        assert_eq!(stages.active(FIRST).handed_to.map(|to| to.tid), handed_to, "{what}");
    }
}

#[test]
fn what_a_thread_did_when_it_waits_again_is_a_job_of_its_request() {
    for (what, key, is_made, is_idle, expected) in [
        ("for its request", Some(FIRST), true, false, Some((Some(FIRST), Some(77)))),
        ("for one of several", None, true, false, Some((None, Some(77)))),
        ("its request is over", Some((0, 9)), true, false, None),
        ("it did nothing", Some(FIRST), true, true, None),
        ("it was not made by the loop", None, false, false, None),
    ] {
        let mut stages = stages();
        if is_made {
            let made = Made { key, known_ns: 250, begun_ns: 250, ready_ns: 77, tidied: 0 };
            stages.pool().own.made.insert(CHILD, made);
        }
        let mut thread = Thread { tgid: TGID, ..Thread::default() };
        if !is_idle {
            thread.pending.push(Piece::unknown(260, 300));
        }
        done(&mut stages.runtime_context(), &mut thread, &woken(300, 400));
        let jobs: Vec<_> = stages.pool().jobs.iter().map(|job| (job.key, job.ready_ns)).collect();
        assert_eq!(jobs, expected.into_iter().collect::<Vec<_>>(), "{what}");
        if expected.is_some() {
            let job = &stages.pool().jobs[0];
            assert_eq!((job.begin_ns, job.noted_ns, job.pieces.start_ns()), (260, 300, Some(260)), "{what}");
            assert_eq!(stages.pool().own.made[&CHILD].known_ns, 300, "{what}: it has reported");
        }
        assert_eq!(thread.pooled.is_pooled, expected.is_some(), "{what}");
    }
}

fn job(tid: Tid, noted_ns: u64, key: Option<RequestKey>) -> Job {
    Job {
        tid,
        begin_ns: noted_ns - 10,
        woken_for: None,
        by_order: false,
        key,
        ready_ns: Some(0),
        told_ns: noted_ns,
        noted_ns,
        pieces: Default::default(),
        handed: Handed::default(),
    }
}

#[test]
fn an_answered_request_is_that_of_the_open_thread_that_reported_first() {
    let of_pool = |job| Job { ready_ns: None, ..job };
    // The jobs, and which thread worked for the request, and whether it was the only one.
    for (what, jobs, expected) in [
        ("nobody has reported", vec![], None),
        ("one has", vec![job(6, 310, None)], Some((6, true))),
        ("two have", vec![job(7, 310, None), job(6, 320, None)], Some((7, false))),
        ("one has twice", vec![job(6, 310, None), job(6, 320, None)], Some((6, true))),
        ("it has before the request was read", vec![job(6, 299, None)], None),
        ("it has before it began", vec![job(8, 310, None)], None),
        ("a thread of the pool has", vec![of_pool(job(6, 310, None))], None),
        ("another's has", vec![job(6, 310, Some(SECOND))], None),
        ("one is known to work for it", vec![job(6, 310, None), job(7, 320, Some(FIRST))], None),
        (
            "one was known to, and reported before",
            vec![job(7, 290, Some(FIRST)), job(6, 310, None)],
            Some((6, true)),
        ),
    ] {
        let mut stages = stages();
        for (tid, begun_ns) in [(6, 250), (7, 250), (8, 311)] {
            let made = Made { key: None, known_ns: 250, begun_ns, ready_ns: 0, tidied: 0 };
            stages.pool().own.made.insert(tid, made);
        }
        stages.pool().working.push((6, SECOND));
        let pool = stages.pool();
        pool.jobs = jobs.into();
        assert_eq!(claim(pool, FIRST, 300), expected, "{what}");
        if let Some((tid, _)) = expected {
            let of_thread = pool.jobs.iter().filter(|job| job.tid == tid && job.noted_ns >= 300);
            assert!(
                of_thread.clone().count() > 0 && of_thread.clone().all(|job| job.key == Some(FIRST)),
                "{what}"
            );
            assert_eq!((pool.own.request_of(tid), pool.working.last()), (Some(FIRST), Some(&(tid, FIRST))));
            assert_eq!(pool.working.iter().filter(|(worker, _)| *worker == tid).count(), 1, "{what}");
        }
    }
}

#[test]
fn what_a_thread_did_that_has_not_reported_counts_as_its_request_resumes() {
    // Of which request the thread is, what it did so far, and from when on that becomes a job.
    for (what, key, begun_ns, expected) in [
        ("its request resumes", Some(FIRST), Some(260), Some(260)),
        ("it has done nothing since", Some(FIRST), None, None),
        ("another request resumes", Some(SECOND), Some(260), None),
        ("it is one of several", None, Some(260), None),
    ] {
        let mut stages = stages();
        let older = Made { key, known_ns: 100, begun_ns: 100, ready_ns: 0, tidied: 0 };
        stages.pool().own.made.insert(CHILD + 1, older);
        stages.pool().own.made.insert(CHILD, Made { begun_ns: 250, ready_ns: 77, ..older });
        let mut thread = Thread { tgid: TGID, ..Thread::default() };
        thread.pooled.woken_for = Some(FIRST);
        if let Some(begun_ns) = begun_ns {
            thread.pending.push(Piece::unknown(begun_ns, 300));
        }
        stages.runtime.threads.put(CHILD, Box::new(thread));
        let Stages { runtime, .. } = &mut stages;
        let pool = runtime.pools.get_mut(TGID).unwrap();
        assert!(in_flight(pool, &mut runtime.threads, FIRST, 320), "{what}");
        let jobs: Vec<_> = pool.jobs.iter().map(|job| (job.tid, job.begin_ns, job.ready_ns)).collect();
        let expected: Vec<_> = expected.map(|begin_ns| (CHILD, begin_ns, Some(77))).into_iter().collect();
        assert_eq!(jobs, expected, "{what}");
    }
}

#[test]
fn a_thread_that_ends_leaves_what_it_did_for_its_request_and_nothing_else() {
    let mut stages = stages();
    let made = Made { key: None, known_ns: 100, begun_ns: 100, ready_ns: 0, tidied: 0 };
    stages.pool().own.made.insert(CHILD, made);
    stages.pool().jobs.extend([job(CHILD, 310, None), job(CHILD, 320, Some(FIRST)), job(7, 330, None)]);
    stages.pool().working.extend([(CHILD, FIRST), (7, SECOND)]);
    stages.pool().open.extend([CHILD, 7]);
    for (what, tid, left, ended_count) in
        [("one of the pool", 7, 3, 0), ("one of its own", CHILD, 2, 1), ("it has ended", CHILD, 2, 1)]
    {
        ended(&mut stages.runtime_context(), TGID, tid);
        let pool = stages.pool();
        assert_eq!((pool.jobs.len(), pool.own.ended), (left, ended_count), "{what}");
        assert!(!pool.open.contains(&tid) && pool.working.iter().all(|(worker, _)| *worker != tid), "{what}");
    }
    assert!(stages.pool().jobs.iter().all(|job| job.tid == 7 || job.key.is_some()));
}

#[test]
fn a_thread_that_the_loop_made_and_for_which_there_is_no_room_is_counted() {
    let mut stages = stages();
    for child in (2..).take(MAX_MADE + 1) {
        made(&mut stages.runtime_context(), TGID, (LOOP, child), 5);
    }
    assert_eq!((stages.pool().own.made.len(), stages.evicted), (MAX_MADE, 1));
}

#[test]
fn what_it_did_is_counted_where_there_is_no_room_for_it() {
    let mut stages = stages();
    made(&mut stages.runtime_context(), TGID, (LOOP, 2), 5);
    let mut thread = Thread { tgid: TGID, ..Thread::default() };
    let slice = Slice { tid: 2, enter_ns: 20, ..Slice::blank(Call::Other) };
    for _ in 0..=MAX_JOBS {
        thread.pending.push(Piece::unknown(10, 20));
        done(&mut stages.runtime_context(), &mut thread, &slice);
        thread.pending.drain(|_| {});
    }
    assert_eq!((stages.pool().jobs.len(), stages.evicted), (MAX_JOBS, 1));
    let Stages { runtime, .. } = &mut stages;
    let pool = runtime.pools.get_mut(TGID).unwrap();
    let key = (0, 7);
    if let Some(made) = pool.own.made.get_mut(&2) {
        made.key = Some(key);
    }
    thread.pending.push(Piece::unknown(20, 30));
    runtime.threads.put(2, Box::new(thread));
    assert!(!in_flight(pool, &mut runtime.threads, key, 40));
    pool.jobs.pop_front();
    assert!(in_flight(pool, &mut runtime.threads, key, 40));
}
