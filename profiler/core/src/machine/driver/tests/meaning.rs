//! What a call means for its thread at the moment.
//!
//! In: what the thread serves, the connection that the call touches. Out: assertions on whether it waits for
//! work, and on what holds it.

use super::*;
use crate::machine::driver::meaning::{closes_file, holding, is_serving, touched, waits_for_work};
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::wire::origin::Side;
use crate::machine::world::classify::{Idle, Meaning, Touch};
use crate::model::slot::Holding;
use crate::timeline::ThreadState;

fn meaning(idle: Idle, blocked: Phase, touch: Option<(i32, Touch)>) -> Meaning {
    Meaning { cpu: Phase::Cpu, blocked, touch, idle, state: ThreadState::Other }
}

#[test]
fn a_client_holds_a_thread_that_waits_for_it_where_no_request_does() {
    let nothing: SetUp = |_| {};
    let shut: SetUp = |run| run.connection(0).shut = true;
    let served: SetUp = |run| run.connection(0).begun = 1;
    let asked: SetUp = |run| {
        run.ask(0, 1, 100);
    };
    for (what, set_up, touch, expected) in [
        ("no client", nothing, None, Holding::Housekeeping),
        ("its first byte", nothing, Some((CLIENT, Touch::WaitReadable)), Holding::FirstByte),
        ("its first byte, by a read", nothing, Some((CLIENT, Touch::Read)), Holding::FirstByte),
        ("its next request", served, Some((CLIENT, Touch::WaitReadable)), Holding::KeepaliveIdle),
        ("that it closes its side", shut, Some((CLIENT, Touch::Read)), Holding::Linger),
        ("within a request", asked, Some((CLIENT, Touch::Read)), Holding::Housekeeping),
        ("it is closed", nothing, Some((CLIENT, Touch::Close)), Holding::Housekeeping),
        ("it is registered", served, Some((CLIENT, Touch::Register)), Holding::Housekeeping),
        ("one that is not known", nothing, Some((CLIENT + 1, Touch::Read)), Holding::Housekeeping),
    ] {
        let mut run = Run::new(1);
        set_up(&mut run);
        let meaning = meaning(Idle::No, Phase::ClientReadStall, touch);
        let number = touched(run.state.view(), 1, &meaning);
        assert_eq!(holding(run.state.view(), number, &meaning), expected, "{what}");
    }
}

type Serve = fn(&mut Run, &mut Thread);

/// The thread serves the first client's request, whose response has begun or not.
fn serve(run: &mut Run, thread: &mut Thread, response: &[u8]) {
    run.ask(0, 1, 100).response.has_begun = !response.is_empty();
    if !response.is_empty() {
        run.connection(0).outbound.push(response.len() as u64, response, true, false);
    }
    thread.serving = Some((0, 1));
}

#[test]
fn a_wait_is_for_work_unless_the_thread_is_within_a_request() {
    let nothing: Serve = |_, _| {};
    let unanswered: Serve = |run, thread| serve(run, thread, b"");
    let open_end: Serve = |run, thread| serve(run, thread, CHUNKED);
    let sized: Serve = |run, thread| serve(run, thread, &OK5[..OK5.len() - 1]);
    let event_loop: Serve = |run, thread| {
        serve(run, thread, b"");
        let event_loop = thread.event_loop.insert(Box::new(EventLoop::default()));
        event_loop.recognition.confirmed = true;
    };
    // What the thread serves, what the call says by itself, what it sleeps for; whether it serves, and
    // whether it waits for work.
    for (what, set_up, idle, blocked, serves, expected) in [
        ("for its listener", unanswered, Idle::Always, Phase::Unexplained, true, true),
        ("it is none", nothing, Idle::No, Phase::Sleep, false, false),
        ("it serves nobody", nothing, Idle::UnlessServing, Phase::LockWait, false, true),
        ("its request is not answered", unanswered, Idle::UnlessServing, Phase::LockWait, true, false),
        ("its answer may be over", open_end, Idle::UnlessServing, Phase::LockWait, false, true),
        ("its answer is not whole", sized, Idle::UnlessServing, Phase::LockWait, true, false),
        (
            "its request is over",
            |run, thread| {
                serve(run, thread, b"");
                run.connection(0).requests.clear();
            },
            Idle::UnlessServing,
            Phase::LockWait,
            false,
            true,
        ),
        (
            "the answer goes to the front end, which ends it",
            |run, thread| {
                serve(run, thread, CHUNKED);
                run.connection(0).origin.side = Side::Inner { private: true };
            },
            Idle::UnlessServing,
            Phase::LockWait,
            true,
            false,
        ),
        ("a loop's own wait", event_loop, Idle::UnlessServing, Phase::Unexplained, true, true),
        ("a loop's thread waits in a lock", event_loop, Idle::UnlessServing, Phase::LockWait, true, false),
        (
            "who feeds it did not end it",
            |_, thread| thread.job.fed_by = Some(5),
            Idle::UnlessServing,
            Phase::LockWait,
            false,
            false,
        ),
    ] {
        let (mut run, mut thread) = (Run::new(1), Thread { tgid: 1, ..Thread::default() });
        let set_up: Serve = set_up;
        set_up(&mut run, &mut thread);
        let call = Call::FutexWait { address: 16, operation: 9, has_timeout: false };
        let mut slice = slice(call, (100, 120, 130), 0);
        slice.woken.by_tid = 6;
        let meaning = meaning(idle, blocked, None);
        assert_eq!(is_serving(run.state.view(), &thread), serves, "{what}");
        assert_eq!(waits_for_work(run.state.view(), &thread, &slice, &meaning), expected, "{what}");
    }
}

#[test]
fn a_file_is_closed_by_a_close_of_a_file() {
    for (call, state, expected) in [
        (Call::Close { fd: 7 }, ThreadState::File, true),
        (Call::Close { fd: 7 }, ThreadState::Other, false),
        (Call::Make { class: DescriptorClass::File }, ThreadState::File, false),
    ] {
        let meaning = Meaning { state, ..meaning(Idle::No, Phase::FileWait, None) };
        assert_eq!(closes_file(&Slice::blank(call), &meaning), expected, "{call:?} {state:?}");
    }
}
