//! Where a request's time goes: who works on it, and what it waits for.
//!
//! In: beginnings, pieces of threads' time. Out: assertions on phases and cursor.

use super::*;
use crate::fact::Account;
use crate::machine::lock::gil_holder::HeldBy;
use crate::machine::time::piece::Piece;
use crate::machine::wire::trail::Trail;
use crate::model::slot::Holding;

const MS: u64 = 1_000_000;
const OWN: Tid = 7;
const OTHER: Tid = 8;

/// What it is, the request as it stands, where the thread's own work begins, and the phases that follow.
type Case = (&'static str, fn(&mut Active), u64, &'static [(Phase, u64)]);

fn of(all: &[(Phase, u64)]) -> Phases {
    let mut phases = Phases::default();
    all.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
    phases
}

/// A request that came at 100.
fn active() -> Active {
    Active::new(&Beginning::at(1, 100), 1, OWN)
}

fn cpu(start_ns: u64, end_ns: u64) -> Piece {
    let account = Account { cpu_ns: end_ns - start_ns, ..Account::default() };
    Piece { account, cpu: Phase::Cpu, ..Piece::unknown(start_ns, end_ns) }
}

/// A thread known since `since_ns` gives it these stretches of CPU time. Returns what was taken, and the time
/// that the thread keeps for itself.
fn advance(
    active: &mut Active,
    stretches: &[(u64, u64)],
    own_start_ns: u64,
    since_ns: u64,
) -> (TakenTime, u64) {
    let mut pending = Pending::default();
    stretches.iter().for_each(|(start_ns, end_ns)| pending.push(cpu(*start_ns, *end_ns)));
    let mut holding_ns = [0; Holding::COUNT];
    let new_since_ns = Some(since_ns);
    let time = ThreadTime {
        tgid: 1,
        tid: OWN,
        new_since_ns,
        pending: &mut pending,
        holding_ns: &mut holding_ns,
        claimed_until_ns: 0,
    };
    let taken = active.advance(time, own_start_ns, 0);
    (taken, holding_ns[Holding::Housekeeping as usize])
}

#[test]
fn a_request_first_waits_in_the_accept_queue_and_then_for_the_loop_to_hand_it_over() {
    let base = Beginning::at(1, 10 * MS);
    for (what, beginning, phases, cursor_ns, waited) in [
        ("it comes on an open connection", base, &[][..], 10 * MS, &[][..]),
        ("accepted as it comes", Beginning { accepted_ns: Some(10 * MS), ..base }, &[], 10 * MS, &[]),
        ("accepted before", Beginning { accepted_ns: Some(9 * MS), ..base }, &[], 10 * MS, &[]),
        (
            "accepted later",
            Beginning { accepted_ns: Some(13 * MS), ..base },
            &[(Phase::AcceptQueue, 3 * MS)],
            13 * MS,
            &[],
        ),
        (
            "handed over",
            Beginning { dispatched_ns: 12 * MS, ..base },
            &[(Phase::LoopWait, 2 * MS)],
            12 * MS,
            &[(10 * MS, 12 * MS)],
        ),
        (
            "accepted, then handed over",
            Beginning { accepted_ns: Some(11 * MS), dispatched_ns: 13 * MS, ..base },
            &[(Phase::AcceptQueue, MS), (Phase::LoopWait, 2 * MS)],
            13 * MS,
            &[(11 * MS, 13 * MS)],
        ),
        (
            "handed over before it was accepted",
            Beginning { accepted_ns: Some(13 * MS), dispatched_ns: 12 * MS, ..base },
            &[(Phase::AcceptQueue, 3 * MS)],
            13 * MS,
            &[],
        ),
        (
            "first seen, not arrived",
            Beginning { start_is_arrival: false, dispatched_ns: 12 * MS, ..base },
            &[],
            10 * MS,
            &[],
        ),
        (
            "too short to be kept",
            Beginning { dispatched_ns: 11 * MS - 1, ..base },
            &[(Phase::LoopWait, MS - 1)],
            11 * MS - 1,
            &[],
        ),
        (
            "as short as is kept",
            Beginning { dispatched_ns: 11 * MS, ..base },
            &[(Phase::LoopWait, MS)],
            11 * MS,
            &[(10 * MS, 11 * MS)],
        ),
        (
            "the second of its connection",
            Beginning { index: 1, dispatched_ns: 12 * MS, ..base },
            &[(Phase::LoopWait, 2 * MS)],
            12 * MS,
            &[],
        ),
    ] {
        let active = Active::new(&beginning, 1, OWN);
        assert_eq!(active.request.phases, of(phases), "{what}");
        assert_eq!((active.cursor_ns, active.waited.spans.as_slice()), (cursor_ns, waited), "{what}");
    }
}

#[test]
fn what_lies_before_a_threads_own_work_is_a_wait_for_a_thread_unless_one_was_at_it() {
    let cases: [Case; 11] = [
        ("nobody was", |_| {}, 150, &[(Phase::PoolWait, 50), (Phase::Cpu, 50)]),
        ("the thread worked on it as it came", |_| {}, 100, &[(Phase::Cpu, 100)]),
        ("the thread worked before it came", |_| {}, 60, &[(Phase::Cpu, 100)]),
        ("the thread is at it", |active| active.owner = Some(OWN), 150, &[(Phase::Cpu, 100)]),
        (
            "another one is at it, and nothing is written",
            |active| active.owner = Some(OTHER),
            150,
            &[(Phase::PoolWait, 50), (Phase::Cpu, 50)],
        ),
        (
            "the loop comes back to it",
            |active| active.left_by = Some(OWN),
            150,
            &[(Phase::Unexplained, 50), (Phase::Cpu, 50)],
        ),
        (
            "another one left it",
            |active| active.left_by = Some(OTHER),
            150,
            &[(Phase::PoolWait, 50), (Phase::Cpu, 50)],
        ),
        (
            "its head is read, its response not begun",
            |active| active.request.times.service_start_ns = Some(100),
            150,
            &[(Phase::PoolWait, 50), (Phase::Cpu, 50)],
        ),
        (
            "its response has begun",
            |active| {
                active.request.times.service_start_ns = Some(100);
                active.response.has_begun = true;
            },
            150,
            &[(Phase::Unexplained, 50), (Phase::Cpu, 50)],
        ),
        (
            "its beginning was not seen",
            |active| active.request.seen.truncated = true,
            150,
            &[(Phase::Unexplained, 50), (Phase::Cpu, 50)],
        ),
        (
            "it stood behind another on its connection",
            |active| active.behind_until_ns = 170,
            150,
            &[(Phase::PoolWait, 70), (Phase::Cpu, 30)],
        ),
    ];
    for (what, set_up, own_start_ns, phases) in cases {
        let mut active = active();
        set_up(&mut active);
        let (taken, _) = advance(&mut active, &[(50, 150), (150, 200)], own_start_ns, 0);
        assert_eq!(active.request.phases, of(phases), "{what}");
        assert_eq!((active.cursor_ns, active.owner), (200, Some(OWN)), "{what}");
        let taken_ns = of(phases).get(Phase::Cpu);
        assert_eq!((taken.from_ns, taken.phases), (200 - taken_ns, of(&[(Phase::Cpu, taken_ns)])), "{what}");
    }
}

#[test]
fn a_thread_keeps_for_itself_what_it_did_before_the_request_that_it_takes() {
    for (what, stretches, own_start_ns, kept_ns) in [
        ("it works from the arrival on", &[(100, 200)][..], 100, 0),
        ("it did something else before", &[(40, 100), (100, 200)], 100, 60),
        ("in the middle of a stretch", &[(40, 200)], 150, 110),
        ("it gives nothing", &[], 100, 0),
    ] {
        let (_, housekeeping_ns) = advance(&mut active(), stretches, own_start_ns, 0);
        assert_eq!(housekeeping_ns, kept_ns, "{what}");
    }
}

#[test]
fn a_thread_that_is_born_for_a_request_keeps_it_waiting_until_its_birth_and_no_longer() {
    for (what, since_ns, waited) in [
        ("it was there before", 0, (10 * MS, 15 * MS)),
        ("it was there as the request came", 10 * MS, (10 * MS, 15 * MS)),
        ("it is born later", 12 * MS, (10 * MS, 12 * MS)),
        ("it is born as it begins", 15 * MS, (10 * MS, 15 * MS)),
    ] {
        let mut active = Active::new(&Beginning::at(1, 10 * MS), 1, OWN);
        advance(&mut active, &[(15 * MS, 16 * MS)], 15 * MS, since_ns);
        assert_eq!(active.waited.spans, [waited], "{what}");
        assert_eq!(active.request.phases.get(Phase::PoolWait), 5 * MS, "{what}");
    }
}

#[test]
fn a_thread_that_is_born_for_a_connection_keeps_its_request_waiting_for_nobody() {
    for (what, accepted_ns, since_ns, waits) in [
        ("it is born before the request comes", Some(8 * MS), 9 * MS, false),
        ("it was there as the connection came", Some(8 * MS), 8 * MS, true),
        ("the connection was there before", None, 9 * MS, true),
    ] {
        let beginning = Beginning { accepted_ns, ..Beginning::at(1, 10 * MS) };
        let mut active = Active::new(&beginning, 1, OWN);
        advance(&mut active, &[(15 * MS, 16 * MS)], 15 * MS, since_ns);
        assert_eq!(active.waited.spans.len(), usize::from(waits), "{what}");
        assert_eq!(active.request.phases.get(Phase::PoolWait), 5 * MS, "{what}");
    }
}

#[test]
fn what_the_thread_that_left_it_did_last_is_its_own_unless_another_takes_it_over() {
    let parted = || {
        let mut active = active();
        (active.left_by, active.parting) = (Some(OWN), Some((130, of(&[(Phase::Cpu, 30)]), Held::default())));
        active.response.may_have_ended = true;
        active
    };
    let mut passed = parted();
    passed.pass(150, Phase::LoopWait);
    assert_eq!(passed.request.phases, of(&[(Phase::Cpu, 30), (Phase::LoopWait, 20)]));
    assert_eq!((passed.cursor_ns, passed.response.has_continued), (150, true));
    let mut back = parted();
    advance(&mut back, &[(130, 200)], 100, 0);
    assert_eq!((back.request.phases, back.cursor_ns), (of(&[(Phase::Cpu, 100)]), 200));
    let mut taken_over = parted();
    taken_over.left_by = Some(OTHER);
    advance(&mut taken_over, &[(140, 200)], 140, 0);
    assert_eq!(taken_over.request.phases, of(&[(Phase::PoolWait, 40), (Phase::Cpu, 60)]));
    assert!(taken_over.parting.is_none() && !taken_over.response.has_continued);
}

#[test]
fn time_that_passes_never_goes_back() {
    for (until_ns, cursor_ns, phases) in
        [(99, 100, &[][..]), (100, 100, &[]), (101, 101, &[(Phase::LoopWait, 1)])]
    {
        let mut active = active();
        active.pass(until_ns, Phase::LoopWait);
        assert_eq!((active.cursor_ns, active.request.phases), (cursor_ns, of(phases)), "{until_ns}");
    }
}

#[test]
fn waits_that_follow_one_another_are_one_and_no_more_are_kept_than_the_bound() {
    let mut active = Active::new(&Beginning::at(1, 0), 1, OWN);
    active.pass(2 * MS, Phase::PoolWait);
    active.pass(3 * MS, Phase::LoopWait);
    active.pass(4 * MS, Phase::BackendWait);
    assert_eq!(active.waited.spans, [(0, 3 * MS)]);
    for at in 2..=2 + MAX_WAITS as u64 {
        active.pass(at * 10 * MS, Phase::Unexplained);
        active.pass((at * 10 + 1) * MS, Phase::PoolWait);
    }
    assert_eq!(active.waited.spans.len(), MAX_WAITS);
    assert_eq!(active.waited.spans.last(), Some(&(40 * MS, 41 * MS)), "those that come first are kept");
    let mut answered = Active::new(&Beginning::at(1, 0), 1, OWN);
    answered.response.has_begun = true;
    answered.pass(2 * MS, Phase::PoolWait);
    assert!(answered.waited.spans.is_empty(), "nobody is kept from serving it any more");
}

#[test]
fn stretches_of_one_thread_that_touch_are_one() {
    for (what, all, expected) in [
        ("an empty one is none", &[(OWN, 5, 5)][..], &[][..]),
        ("one that ends before it begins is none", &[(OWN, 5, 4)], &[]),
        ("they touch", &[(OWN, 0, 5), (OWN, 5, 9)], &[(OWN, 0, 9)]),
        ("they overlap", &[(OWN, 0, 5), (OWN, 3, 9)], &[(OWN, 0, 9)]),
        ("the second lies within the first", &[(OWN, 0, 9), (OWN, 3, 5)], &[(OWN, 0, 9)]),
        ("there is a gap", &[(OWN, 0, 5), (OWN, 6, 9)], &[(OWN, 0, 5), (OWN, 6, 9)]),
        ("two threads", &[(OWN, 0, 5), (OTHER, 5, 9)], &[(OWN, 0, 5), (OTHER, 5, 9)]),
    ] {
        let mut active = active();
        all.iter().for_each(|(tid, start_ns, end_ns)| active.stretch(1, *tid, *start_ns, *end_ns));
        let stretches: Vec<(Tid, u64, u64)> =
            active.request.stretches.iter().map(|one| (one.tid, one.start_ns, one.end_ns)).collect();
        assert_eq!(stretches, expected, "{what}");
    }
    let mut active = active();
    (0..100).for_each(|at| active.stretch(1, at, u64::from(at) * 10, u64::from(at) * 10 + 5));
    let last = active.request.stretches.last().map(|last| (last.start_ns, last.end_ns));
    assert_eq!((active.request.stretches.len(), last), (MAX_STRETCHES, Some((310, 995))));
}

#[test]
fn a_request_waits_for_a_thread_at_the_windows_end_only_where_none_was_at_it() {
    for (what, owner, left_by, truncated, phase) in [
        ("nobody came", None, None, false, Phase::PoolWait),
        ("a thread is at it", Some(OWN), None, false, Phase::Unexplained),
        ("a thread left it", None, Some(OWN), false, Phase::Unexplained),
        ("its beginning was not seen", None, None, true, Phase::Unexplained),
    ] {
        let mut active = active();
        (active.owner, active.left_by, active.request.seen.truncated) = (owner, left_by, truncated);
        assert_eq!(active.unattended(), phase, "{what}");
    }
}

#[test]
fn a_response_may_have_ended_only_where_it_has_begun_and_its_end_is_open() {
    for (has_begun, open_end, expected) in
        [(false, false, false), (false, true, false), (true, false, false), (true, true, true)]
    {
        let mut active = active();
        active.response.has_begun = has_begun;
        active.pauses(open_end, LastChunks::Apart);
        let told = (active.response.may_have_ended, active.response.last_chunks);
        assert_eq!(told, (expected, LastChunks::Apart), "{has_begun} {open_end}");
        active.part();
        let told = (active.response.may_have_ended, active.response.has_continued);
        assert_eq!(told, (false, expected), "{has_begun} {open_end}");
    }
}

#[test]
fn an_account_that_is_joined_adds_its_time_its_threads_and_its_holders() {
    let by = HeldBy { contender: 3, tid: 30 };
    let mut active = active();
    active.pass(150, Phase::BackendWait);
    let mut other = Active::new(&Beginning::at(2, 150), 1, OTHER);
    other.stretch(1, OTHER, 150, 180);
    other.spend(150, 180, &of(&[(Phase::GilWait, 30)]));
    other.held.add(by, 30);
    other.cursor_ns = 180;
    active.join(other);
    assert_eq!(active.request.phases, of(&[(Phase::BackendWait, 50), (Phase::GilWait, 30)]));
    assert_eq!(active.held.iter().collect::<Vec<_>>(), [(by, 30)]);
    assert_eq!((active.cursor_ns, active.request.stretches.len()), (180, 1));
}

#[test]
fn pieces_are_taken_from_the_cursor_on() {
    let mut active = active();
    let mut pieces = Pending::default();
    pieces.push(cpu(60, 130));
    active.take_pieces(&mut pieces, 1, OWN);
    assert_eq!((active.cursor_ns, active.request.phases), (130, of(&[(Phase::Cpu, 30)])));
    let stretch = Stretch { tgid: 1, tid: OWN, start_ns: 100, end_ns: 130 };
    assert_eq!(active.request.stretches, [stretch]);
}

#[test]
fn the_trail_of_a_front_end_follows_the_request_without_a_gap() {
    let mut active = active();
    active.kept = Kept::Trail(Box::new(Trail::new(Phases::default(), 100)));
    advance(&mut active, &[(50, 150), (150, 180), (180, 200)], 150, 0);
    active.pass(230, Phase::Unexplained);
    let Kept::Trail(trail) = active.kept else { panic!("it is kept") };
    let pieces = trail.pieces;
    let spans: Vec<(u64, u64)> = pieces.iter().map(|piece| (piece.start_ns, piece.end_ns)).collect();
    assert_eq!(spans, [(100, 150), (150, 180), (180, 200), (200, 230)]);
    assert_eq!(pieces.iter().map(|piece| piece.unexplained_ns).collect::<Vec<_>>(), [0, 0, 0, 30]);
}
