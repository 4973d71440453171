//! Work of a loop for one of several requests, and what shows whose it is.
//!
//! In: a back end that one of several opens, what the loop does with it, requests that resume. Out:
//! assertions on their time.

use super::*;
use crate::machine::ledger::exchange::advance;
use crate::machine::ledger::foreign::foreign;
use crate::machine::ledger::unattributed::leave;
use crate::machine::runtime::unattributed::Candidate;

/// A loop that has left two requests in the iteration before, at 110, and looked at 120. One of them opens a
/// back end from 130 to 140.
fn scene() -> Scene {
    let mut scene = Scene::of_loop(2);
    for (number, id) in [(0, 1), (1, 2)] {
        scene.ask(number, id, 90).pass(110, Phase::Cpu);
        scene.active((number, id)).left_by = Some(1);
        scene.event_loop().left.leaves((number, id), |_| true);
    }
    scene.look(120);
    scene.back_end(140, None);
    calls(&mut scene, Call::Make { class: DescriptorClass::Socket }, (120, 130, 140), i64::from(BACK_END));
    scene
}

fn calls(scene: &mut Scene, call: Call, times: Times, result: i64) {
    let slice = slice(call, times, result);
    scene.takes(&slice);
    foreign(&mut scene.ledger.context(), &mut scene.thread, &slice);
}

/// A request writes to its client.
fn answers(scene: &mut Scene, key: RequestKey, times: Times) {
    let slice = slice(Call::Write { fd: CLIENT + key.0 as i32 }, times, 5);
    scene.takes(&slice);
    advance(&mut scene.ledger.context(), &mut scene.thread, key.0, &slice);
}

/// What is not attributed yet: what it waits for, the requests that it may be of, and how much time it has.
fn open(scene: &mut Scene) -> Vec<(Wants, Vec<u64>, u64)> {
    let list = &scene.event_loop().unattributed.list;
    let ids = |candidates: &[Candidate]| -> Vec<u64> { candidates.iter().map(|one| one.key.1).collect() };
    let of = list
        .iter()
        .map(|work| (work.account.wants, ids(&work.candidates), work.account.request.phases.total_ns()));
    of.collect()
}

const WRITE: Call = Call::Write { fd: BACK_END };
const READ: Call = read_of(BACK_END);

#[test]
fn what_one_of_several_opens_has_an_account_of_its_own_that_goes_on_with_its_back_end() {
    use Wants::{Backend, Unknown};
    // Calls on the back end one after the other, each ten long with a gap of ten before it; then what it
    // waits for, and its time.
    for (what, then, wants, length_ns) in [
        ("nothing more", vec![], Unknown, 20),
        ("it asks", vec![(WRITE, 30)], Backend, 40),
        ("it asks, and reads the answer", vec![(WRITE, 30), (READ, 30)], Unknown, 60),
        ("it finds no answer", vec![(READ, EAGAIN)], Backend, 40),
        ("it cannot ask now", vec![(WRITE, EAGAIN)], Backend, 40),
    ] {
        let mut scene = scene();
        for (call, from_ns) in then.iter().zip((140..).step_by(20)) {
            calls(&mut scene, call.0, (from_ns, from_ns + 10, from_ns + 20), call.1);
        }
        assert_eq!(open(&mut scene), [(wants, vec![1, 2], length_ns)], "{what}");
        assert_eq!(scene.thread.serving, None, "{what}");
    }
}

#[test]
fn a_loop_that_leaves_it_gives_it_the_time_up_to_there_and_comes_back_with_its_wait_explained() {
    let mut scene = scene();
    calls(&mut scene, WRITE, (140, 150, 160), 30);
    scene.thread.pending.push(Piece::unknown(160, 170));
    leave(&mut scene.thread, 170, 0);
    assert_eq!(open(&mut scene), [(Wants::Backend, vec![1, 2], 50)]);
    assert_eq!(scene.event_loop().unattributed.current, None);
    leave(&mut scene.thread, 190, 0);
    assert_eq!(open(&mut scene), [(Wants::Backend, vec![1, 2], 50)], "it is left already");
    scene.sleep(170, 270);
    calls(&mut scene, READ, (270, 280, 290), 30);
    let phases = scene.event_loop().unattributed.list[0].account.request.phases;
    assert_eq!((phases.get(Phase::BackendWait), phases.get(Phase::LoopWait)), (99, 1), "{phases:?}");
    assert_eq!(phases.total_ns(), 170, "without a hole, from 120 to 290");
}

#[test]
fn another_question_before_the_answer_shows_that_several_share_the_back_end() {
    let mut scene = scene();
    calls(&mut scene, WRITE, (140, 150, 160), 30);
    leave(&mut scene.thread, 160, 0);
    calls(&mut scene, WRITE, (160, 170, 180), 30);
    let left: Vec<_> = open(&mut scene).into_iter().map(|(_, ids, length_ns)| (ids, length_ns)).collect();
    assert!(left.iter().all(|(_, length_ns)| *length_ns < 40), "the first is forgotten: {left:?}");
    assert_eq!(scene.event_loop().unattributed.take_unknown(false), 1, "and counted");
}

#[test]
fn a_request_that_resumes_claims_what_it_alone_can_have_done() {
    type Then = fn(&mut Scene);
    // What happened since the work asked its back end at 160. Who resumes at 300, whether the work was its,
    // and what may still own it.
    let others_resumes: Then = |scene| answers(scene, (1, 2), (180, 190, 200));
    let cases: &[(&str, Then, RequestKey, bool, &[u64])] = &[
        ("the other one has resumed meanwhile", others_resumes, (0, 1), true, &[]),
        ("nobody has", |_| {}, (0, 1), false, &[1, 2]),
        ("the other one resumes again", others_resumes, (1, 2), false, &[1]),
        (
            "the other one has, and there were more than had room",
            |scene| {
                scene.event_loop().unattributed.list[0].has_more = true;
                answers(scene, (1, 2), (180, 190, 200));
            },
            (0, 1),
            false,
            &[1],
        ),
    ];
    for (what, then, key, is_its, left) in cases {
        let mut scene = scene();
        calls(&mut scene, WRITE, (140, 150, 160), 30);
        scene.sleep(160, 180);
        leave(&mut scene.thread, 160, 0);
        then(&mut scene);
        calls(&mut scene, READ, (290, 292, 294), 30);
        leave(&mut scene.thread, 294, 0);
        answers(&mut scene, *key, (294, 300, 310));
        let found = open(&mut scene);
        let ids: Vec<u64> = found.iter().flat_map(|(_, ids, _)| ids.iter().copied()).collect();
        assert_eq!(ids, *left, "{what}");
        let active = scene.active(*key);
        assert_eq!(
            active.request.phases.get(Phase::BackendWait) > 0,
            *is_its,
            "{what}: {:?}",
            active.request.phases
        );
        assert_eq!(active.request.phases.total_ns(), active.cursor_ns - 90, "{what}: it adds up");
        let owner = scene.ledger.world.descriptors.get(1, BACK_END).and_then(|known| known.owner);
        assert_eq!(owner, is_its.then_some(*key), "{what}: its back end is its own");
    }
}

#[test]
fn a_request_follows_what_was_done_after_an_answer_and_not_what_has_just_read_one() {
    let connect = Call::Connect { fd: BACK_END, port: 5432, family: 2, identity: 0 };
    for (what, more, is_its) in
        [("it has just read its answer", None, false), ("it has gone on since", Some(connect), true)]
    {
        let mut scene = scene();
        calls(&mut scene, WRITE, (140, 150, 160), 30);
        leave(&mut scene.thread, 160, 0);
        scene.sleep(160, 280);
        calls(&mut scene, READ, (280, 282, 284), 30);
        if let Some(call) = more {
            calls(&mut scene, call, (284, 286, 288), 0);
        }
        answers(&mut scene, (0, 1), (288, 300, 310));
        assert_eq!(open(&mut scene).is_empty(), is_its, "{what}");
        assert_eq!(scene.active((0, 1)).request.phases.get(Phase::BackendWait) > 0, is_its, "{what}");
    }
}
