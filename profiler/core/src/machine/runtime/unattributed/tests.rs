//! Whose work for one of several requests is.
//!
//! In: such work, requests that resume. Out: assertions on who may own it.

use super::*;
use crate::machine::runtime::tests as fixture;

const BEGUN_NS: u64 = 100;

const fn key(id: u64) -> RequestKey {
    (1, id)
}

/// Work that began at 100 and may be that of these requests.
fn work(number: u64, wants: Wants, candidates: &[u64]) -> UnattributedWork {
    let candidate = |id: &u64| Candidate {
        key: key(*id),
        before: [(BEGUN_NS, Phase::Unexplained); 3],
        has_passed: false,
    };
    let mut work =
        UnattributedWork { candidates: candidates.iter().map(candidate).collect(), ..fixture::work(number) };
    work.account.wants = wants;
    work
}

fn of(list: Vec<UnattributedWork>) -> Unattributed {
    Unattributed { list, ..Unattributed::default() }
}

/// The candidates of each work that is left, and whether each has passed.
fn candidates(unattributed: &Unattributed) -> Vec<Vec<(u64, bool)>> {
    let of_one = |work: &UnattributedWork| {
        work.candidates.iter().map(|candidate| (candidate.key.1, candidate.has_passed)).collect()
    };
    unattributed.list.iter().map(of_one).collect()
}

#[test]
fn a_request_may_have_done_what_began_later_and_runs_unless_its_task_may_be_anothers() {
    for (what, wants, task, all, from_ns, open, expected) in [
        ("it may", Wants::Unknown, None, &[1, 2][..], 99, 2, true),
        ("it began as the request was left", Wants::Unknown, None, &[1, 2], 100, 2, false),
        ("it waits for its back end", Wants::Backend, None, &[1, 2], 99, 2, false),
        ("it is others'", Wants::Unknown, None, &[2, 3], 99, 2, false),
        ("its task may be another's", Wants::Unknown, Some(7), &[1, 2], 99, 2, false),
        ("the other's task is known", Wants::Unknown, Some(7), &[1, 2], 99, 3, true),
        ("nobody else's", Wants::Unknown, Some(7), &[1], 99, 1, true),
    ] {
        let unattributed = of(vec![UnattributedWork { task, ..work(5, wants, all) }]);
        let told = unattributed.may_have_been(key(1), from_ns, |other| other == key(open));
        assert_eq!(told, expected, "{what}");
    }
}

/// What it is, what is changed of work that may be that of request 1 alone, and what is asked of it.
type OfMore = (&'static str, fn(&mut UnattributedWork), fn(&mut Unattributed) -> bool);

#[test]
fn work_of_one_of_more_requests_than_have_room_is_nobody_s_alone() {
    let cases: &[OfMore] = &[
        (
            "its only candidate waits",
            |work| work.account.wants = Wants::Backend,
            |all| all.is_waiting(key(1)),
        ),
        ("its only candidate owns it", |_| {}, |all| all.list.iter().all(UnattributedWork::is_ones)),
        (
            "its task may be its candidate's",
            |work| work.task = Some(7),
            |all| all.may_be_guessed(5, Some(8), key(1), |_| false),
        ),
        (
            "its candidate may have been it",
            |work| work.task = Some(7),
            |all| all.may_have_been(key(1), 99, |_| false),
        ),
        (
            "nothing of it is lost without its candidate",
            |work| work.account.wants = Wants::Backend,
            |all| {
                all.passes(key(1), true);
                all.take_unknown(true) == 0
            },
        ),
        (
            "nothing of it is lost where its candidate did something else",
            |work| work.account.wants = Wants::Backend,
            |all| {
                all.excludes(key(1), 50, 300);
                all.take_unknown(true) == 0
            },
        ),
    ];
    for (what, set_up, ask) in cases {
        for has_more in [false, true] {
            let mut one = UnattributedWork { has_more, ..work(5, Wants::Unknown, &[1]) };
            set_up(&mut one);
            assert_eq!(ask(&mut of(vec![one])), !has_more, "{what}, others: {has_more}");
        }
    }
}

#[test]
fn a_request_waits_for_a_back_end_where_it_alone_can_have_asked_it() {
    for (what, wants, all, passed, expected) in [
        ("it alone", Wants::Backend, &[1][..], false, true),
        ("one of two", Wants::Backend, &[1, 2], false, false),
        ("another alone", Wants::Backend, &[2], false, false),
        ("the work runs", Wants::Unknown, &[1], false, false),
        ("it has resumed since", Wants::Backend, &[1], true, false),
    ] {
        let mut one = work(5, wants, all);
        one.candidates[0].has_passed = passed;
        assert_eq!(of(vec![one]).is_waiting(key(1)), expected, "{what}");
    }
}

#[test]
fn a_request_that_resumes_owns_no_work_that_waits_and_can_claim_no_other() {
    for (what, wants, runs, expected) in [
        ("it runs, the work waits", Wants::Backend, true, vec![vec![(2, false)]]),
        ("it runs, the work runs", Wants::Unknown, true, vec![vec![(1, true), (2, false)], vec![(1, true)]]),
        ("it only reads", Wants::Backend, false, vec![vec![(1, true), (2, false)], vec![(1, true)]]),
    ] {
        let mut unattributed = of(vec![work(5, wants, &[1, 2]), work(6, wants, &[1])]);
        unattributed.passes(key(1), runs);
        assert_eq!(candidates(&unattributed), expected, "{what}");
        assert!(unattributed.list.iter().all(|work| work.claimant(key(1)).is_none()), "{what}");
    }
}

#[test]
fn a_request_does_not_do_two_things_at_a_time() {
    for (what, wants, cursor_ns, span, expected) in [
        ("the other work was done meanwhile", Wants::Unknown, 200, (150, 300), false),
        ("it was done before", Wants::Unknown, 150, (150, 300), true),
        ("it waits since before", Wants::Backend, 150, (150, 300), false),
        ("it began afterwards", Wants::Unknown, 200, (50, 100), true),
        ("it began just before the end", Wants::Unknown, 200, (50, 101), false),
    ] {
        let mut one = work(5, wants, &[1, 2]);
        one.account.cursor_ns = cursor_ns;
        let mut unattributed = of(vec![one]);
        unattributed.excludes(key(1), span.0, span.1);
        assert_eq!(unattributed.may_be(1), expected, "{what}");
        assert!(unattributed.may_be(2), "{what}: it says nothing of others");
    }
    let mut alone = of(vec![work(5, Wants::Backend, &[1])]);
    alone.excludes(key(1), 50, 300);
    assert!(alone.list.is_empty(), "nobody's is left out");
}

#[test]
fn what_nobody_can_claim_makes_room_first_and_then_the_oldest() {
    let mut unattributed = of((1..=4).map(|number| work(number, Wants::Unknown, &[number])).collect());
    unattributed.list[1].candidates[0].has_passed = true;
    unattributed.list[2].candidates[0].has_passed = true;
    unattributed.current = Some(3);
    unattributed.make_room(|other| other != key(4));
    let numbers = |unattributed: &Unattributed| -> Vec<u64> {
        unattributed.list.iter().map(|work| work.number).collect()
    };
    assert_eq!(numbers(&unattributed), [1, 3], "what the thread is about stays");
    assert_eq!((unattributed.take_unknown(false), unattributed.take_unknown(false)), (2, 0));
    let count = MAX_UNATTRIBUTED as u64;
    let mut full = of((1..=count).rev().map(|number| work(number, Wants::Unknown, &[1])).collect());
    full.make_room(|_| true);
    assert_eq!((full.list.len(), full.take(1).is_none()), (MAX_UNATTRIBUTED - 1, true));
    assert_eq!(full.take_unknown(true), count, "the one that had no place, and those that are left");
}

#[test]
fn what_is_forgotten_is_counted_and_what_is_taken_is_not() {
    let mut unattributed = of(vec![work(5, Wants::Unknown, &[1]), work(6, Wants::Unknown, &[1])]);
    assert_eq!(unattributed.take(5).map(|work| work.number), Some(5));
    assert!(unattributed.take(5).is_none());
    assert_eq!(unattributed.take_unknown(false), 0);
    unattributed.forget(6);
    assert_eq!((unattributed.take_unknown(false), unattributed.list.len()), (1, 0));
}

#[test]
fn work_that_ran_is_that_of_the_request_which_resumes_right_after_it() {
    let next = |by_timer| Others { let_at_once: false, by_timer };
    let at_once = Others { let_at_once: true, by_timer: None };
    for (what, current, wants, answered_ns, id, others, expected) in [
        ("at once", Some(5), Wants::Unknown, 0, 1, at_once, Some((5, false))),
        (
            "at once, though it did nothing since its answer",
            Some(5),
            Wants::Unknown,
            100,
            1,
            at_once,
            Some((5, false)),
        ),
        ("next, a timer may have resumed it", Some(5), Wants::Unknown, 99, 1, next(None), Some((5, true))),
        ("next, a timer was due", Some(5), Wants::Unknown, 99, 1, next(Some(true)), Some((5, true))),
        ("next, and no timer", Some(5), Wants::Unknown, 99, 1, next(Some(false)), Some((5, false))),
        ("it did nothing since its answer", Some(5), Wants::Unknown, 100, 1, next(Some(false)), None),
        ("it waits", Some(5), Wants::Backend, 99, 1, at_once, None),
        ("it is others'", Some(5), Wants::Unknown, 99, 2, at_once, None),
        ("the thread is about nothing", None, Wants::Unknown, 99, 1, at_once, None),
        ("the thread is about something else", Some(6), Wants::Unknown, 99, 1, at_once, None),
    ] {
        let mut unattributed = of(vec![UnattributedWork { answered_ns, ..work(5, wants, &[1]) }]);
        unattributed.current = current;
        assert_eq!(unattributed.followed_by(key(id), others), expected, "{what}");
    }
}

#[test]
fn what_a_task_did_is_of_the_request_that_it_works_for_now() {
    let mine = UnattributedWork { task: Some(7), ..work(5, Wants::Unknown, &[1, 2]) };
    let unattributed = of(vec![work(4, Wants::Unknown, &[1]), mine]);
    for (what, task, id, expected) in [
        ("its own task", Some(7), 1, Some(5)),
        ("another task", Some(8), 1, None),
        ("no task is known", None, 1, None),
        ("another request", Some(7), 3, None),
    ] {
        let found = unattributed.of_task(task, key(id)).map(|work| work.number);
        assert_eq!(found, expected, "{what}");
    }
    for (what, number, task, open, expected) in [
        ("no task is known", 5, None, 2, true),
        ("another's task is not known", 5, Some(8), 2, false),
        ("all others have known tasks", 5, Some(8), 3, true),
        ("there is no such work", 6, None, 3, false),
    ] {
        let told = unattributed.may_be_guessed(number, task, key(1), |other| other == key(open));
        assert_eq!(told, expected, "{what}");
    }
}

#[test]
fn a_back_end_is_runnable_where_its_work_waits_for_nothing() {
    for (wants, back_end, expected) in [
        (Wants::Unknown, (9, 50), true),
        (Wants::Backend, (9, 50), false),
        (Wants::Unknown, (9, 51), false),
        (Wants::Unknown, (8, 50), false),
    ] {
        assert_eq!(of(vec![work(5, wants, &[1])]).is_runnable(back_end), expected, "{wants:?} {back_end:?}");
    }
}

#[test]
fn what_work_had_of_an_iteration_is_not_that_of_the_one_before() {
    let mut cpu = Phases::default();
    cpu.add(Phase::Cpu, 10);
    let mut one = work(5, Wants::Unknown, &[1]);
    for (start_ns, expected) in [(100, 10), (100, 20), (200, 10)] {
        one.had(start_ns, &cpu);
        assert_eq!(one.of_iteration.1.get(Phase::Cpu), expected, "{start_ns}");
    }
}
