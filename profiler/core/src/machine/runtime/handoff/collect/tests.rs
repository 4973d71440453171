//! Which job of a pool's threads was that of a request which resumes.
//!
//! In: jobs, a request, the task in which it resumes. Out: assertions on what it gets.

use super::*;
use crate::fact::Account;
use crate::machine::runtime::handed::Handed;
use crate::machine::runtime::tests::{FIRST, SECOND, Stages, TGID};
use crate::machine::time::piece::{Pending, Piece};
use crate::phase::Phases;

const TASK: Option<u64> = Some(5);

/// These jobs of the pool, and a request that was read at 100.
fn stages(jobs: Vec<Job>) -> Stages {
    let mut stages = Stages::new(1).read_at(100);
    stages.pool().jobs = jobs.into();
    stages
}

impl Stages {
    /// The request resumes; what was noted before `recent_ns` is handled.
    fn resume(&mut self, recent_ns: u64, is_helped: bool, task: Option<u64>) -> Collected {
        self.resume_knowing(900, recent_ns, is_helped, task)
    }

    /// The same, and the loop knows what was noted until then.
    fn resume_knowing(
        &mut self,
        knows_until_ns: u64,
        recent_ns: u64,
        is_helped: bool,
        task: Option<u64>,
    ) -> Collected {
        let looks = self.event_loop().looks.clone();
        let resume = Resume {
            looks: &looks,
            tgid: TGID,
            key: FIRST,
            at_ns: 900,
            recent_ns,
            knows_until_ns,
            is_helped,
            task,
            first_run_ns: None,
        };
        collect(&mut self.runtime_context(), resume)
    }
}

/// A thread's job, all of it on a CPU.
fn job(tid: Tid, begin_ns: u64, noted_ns: u64) -> Job {
    let account = Account { cpu_ns: noted_ns - begin_ns, ..Account::default() };
    let mut pieces = Pending::default();
    pieces.push(Piece { account, cpu: Phase::Cpu, ..Piece::unknown(begin_ns, noted_ns) });
    Job {
        tid,
        begin_ns,
        woken_for: None,
        by_order: false,
        key: None,
        ready_ns: None,
        told_ns: noted_ns,
        noted_ns,
        pieces,
        handed: Handed::default(),
    }
}

/// A job given by this task.
fn by_task(task: u64, job: Job) -> Job {
    Job { handed: Handed { task: Some(task), ..Handed::default() }, ..job }
}

fn of(all: &[(Phase, u64)]) -> Phases {
    let mut phases = Phases::default();
    all.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
    phases
}

#[test]
fn a_request_that_resumes_had_the_job_that_was_done_while_it_waited() {
    let first = || job(6, 200, 300);
    let second = || job(7, 310, 360);
    let woken_for = |key, job| Job { woken_for: Some(key), ..job };
    let by_order = |job| Job { by_order: true, ..job };
    let open = |job| Job { ready_ns: Some(0), ..job };
    for (what, jobs, is_helped, expected, cpu_ns) in [
        ("nobody did anything", vec![], false, Collected::Nothing, 0),
        ("one job", vec![first()], false, Collected::Known, 100),
        ("it was noted as the request was read", vec![job(6, 50, 100)], false, Collected::Nothing, 0),
        ("it began before the request was read", vec![job(6, 99, 300)], false, Collected::Nothing, 0),
        ("it began as the request was read", vec![job(6, 100, 300)], false, Collected::Known, 200),
        ("the first of two", vec![first(), second()], false, Collected::ByOrder, 100),
        ("its own of two", vec![first(), woken_for(FIRST, second())], false, Collected::Known, 50),
        (
            "the first of two of its own",
            vec![woken_for(FIRST, first()), woken_for(FIRST, second())],
            false,
            Collected::ByOrder,
            100,
        ),
        ("another's", vec![woken_for(SECOND, first())], false, Collected::Nothing, 0),
        (
            "another's by order alone",
            vec![by_order(woken_for(SECOND, first()))],
            false,
            Collected::Known,
            100,
        ),
        ("its own by order alone", vec![by_order(woken_for(FIRST, first()))], false, Collected::Known, 100),
        (
            "it is known to be another's",
            vec![Job { key: Some(SECOND), ..first() }],
            false,
            Collected::Nothing,
            0,
        ),
        ("of a thread of one request, which is not known", vec![open(first())], false, Collected::Known, 100),
        ("of one of two such threads", vec![open(first()), open(second())], false, Collected::ByOrder, 100),
        ("threads only help", vec![first()], true, Collected::Nothing, 0),
        (
            "threads only help, and it is its own",
            vec![woken_for(FIRST, first())],
            true,
            Collected::Known,
            100,
        ),
    ] {
        let mut stages = stages(jobs);
        assert_eq!(stages.resume(0, is_helped, None), expected, "{what}");
        assert_eq!(stages.active(FIRST).request.phases.get(Phase::Cpu), cpu_ns, "{what}");
        let is_found = expected != Collected::Nothing;
        assert_eq!(stages.active(FIRST).pooled, is_found, "{what}");
        assert!(stages.pool().jobs.iter().all(|job| job.key != Some(FIRST)), "{what}: it is taken once");
    }
}

#[test]
fn a_task_resumes_with_what_it_handed_over_and_with_nothing_of_another_task() {
    for (what, jobs, task, expected, cpu_ns) in [
        ("its own", vec![job(6, 200, 300), by_task(5, job(7, 310, 360))], TASK, Collected::Known, 50),
        (
            "its own, one after the other",
            vec![by_task(5, job(6, 200, 300)), by_task(5, job(7, 310, 360))],
            TASK,
            Collected::Known,
            150,
        ),
        ("another task's", vec![by_task(6, job(6, 200, 300))], TASK, Collected::Nothing, 0),
        ("nobody known gave it", vec![job(6, 200, 300)], TASK, Collected::Known, 100),
        ("no task resumes it", vec![by_task(6, job(6, 200, 300))], None, Collected::Known, 100),
    ] {
        let mut stages = stages(jobs);
        // Tasks were seen to resume with their own results.
        for other in 100..110 {
            stages.pool().givers.has_result(Some(other), 50);
            stages.pool().givers.resumed(Some(other), 0);
        }
        assert_eq!(stages.resume(0, false, task), expected, "{what}");
        assert_eq!(stages.active(FIRST).request.phases.get(Phase::Cpu), cpu_ns, "{what}");
    }
}

#[test]
fn what_the_loop_has_handled_since_was_for_no_request_unless_it_is_known_to_be() {
    for (what, key, recent_ns, expected) in [
        ("noted since", None, 300, Collected::Known),
        ("noted before", None, 301, Collected::Nothing),
        ("noted before, and its own", Some(FIRST), 301, Collected::Known),
    ] {
        let mut stages = stages(vec![Job { key, ..job(6, 200, 300) }]);
        assert_eq!(stages.resume(recent_ns, false, None), expected, "{what}");
        assert!(stages.pool().jobs.is_empty(), "{what}");
    }
}

#[test]
fn before_a_job_its_request_waited_for_a_thread_or_for_the_loop_that_gives_it_to_its_own_one() {
    for (what, ready_ns, pooled, expected) in [
        ("for a thread", None, false, &[(Phase::PoolWait, 110), (Phase::Cpu, 100)][..]),
        ("that is not known of a later job", None, true, &[(Phase::Unexplained, 110), (Phase::Cpu, 100)]),
        (
            "for the loop",
            Some(150),
            false,
            &[(Phase::Unexplained, 60), (Phase::LoopWait, 50), (Phase::Cpu, 100)],
        ),
        (
            "its thread began before it was ready",
            Some(250),
            false,
            &[(Phase::Unexplained, 110), (Phase::Cpu, 100)],
        ),
    ] {
        let mut stages = stages(vec![Job { key: Some(FIRST), ready_ns, ..job(6, 200, 300) }]);
        stages.active(FIRST).pooled = pooled;
        assert_eq!(stages.resume(0, false, None), Collected::Known, "{what}");
        assert_eq!(
            (stages.active(FIRST).request.phases, stages.active(FIRST).cursor_ns),
            (of(expected), 300),
            "{what}"
        );
    }
}

#[test]
fn a_thread_goes_on_for_its_request_unless_it_is_at_another_tasks_job_by_now() {
    for (what, begun_ns, task, expected) in [
        ("it is still at it", 300, Some(8), Some(FIRST)),
        ("it has begun another task's job since", 301, Some(8), None),
        ("who gave it that is not known", 301, None, Some(FIRST)),
    ] {
        let mut stages = stages(vec![job(6, 200, 300)]);
        let mut thread = Thread::default();
        thread.pooled.begun_ns = begun_ns;
        thread.pooled.handed.task = task;
        stages.runtime.threads.put(6, Box::new(thread));
        stages.pool().working.push((6, SECOND));
        assert_eq!(stages.resume(0, false, None), Collected::Known, "{what}");
        let works_for = stages.runtime.threads.get(6).and_then(|thread| thread.pooled.works_for);
        assert_eq!(works_for, expected, "{what}");
        assert_eq!(stages.pool().working, [(6, expected.unwrap_or(SECOND))], "{what}");
    }
}

#[test]
fn a_job_of_which_the_loop_cannot_know_yet_is_not_that_of_a_request_that_resumes() {
    let own = || Job { woken_for: Some(FIRST), ..job(6, 200, 300) };
    for (what, job, knows_until_ns, expected) in [
        ("it was told of before", job(6, 200, 300), 300, Collected::Known),
        ("it was told of since", job(6, 200, 300), 299, Collected::Nothing),
        ("first before, then since", Job { told_ns: 250, ..job(6, 200, 300) }, 299, Collected::Known),
        ("since, and its thread was woken for the request", own(), 299, Collected::Known),
    ] {
        let mut stages = stages(vec![job]);
        assert_eq!(stages.resume_knowing(knows_until_ns, 0, false, None), expected, "{what}");
    }
}

#[test]
fn until_its_thread_was_woken_a_request_waited_for_a_loop_that_did_not_sleep() {
    for (what, slept, woken_ns, expected) in [
        // The iteration in which it woke the thread began at 210: the request may have run in it.
        ("it did not sleep", false, 250, &[(Phase::LoopWait, 120), (Phase::Unexplained, 40)][..]),
        ("it slept", true, 250, &[(Phase::Unexplained, 160)]),
        ("nobody knows when the thread was woken", false, 0, &[(Phase::PoolWait, 160)]),
    ] {
        let mut stages =
            stages(vec![Job { handed: Handed { woken_ns, ..Handed::default() }, ..job(6, 260, 300) }]);
        stages.look(90, true);
        stages.look(200, slept);
        assert_eq!(stages.resume(0, false, None), Collected::Known, "{what}");
        let mut phases = of(expected);
        phases.add(Phase::PoolWait, 10);
        phases.add(Phase::Cpu, 40);
        assert_eq!(stages.active(FIRST).request.phases, phases, "{what}");
    }
}
