//! What a thread is doing: on the timeline, and at one moment.
//!
//! In: slices, looks at threads. Out: assertions on entries, and on what the live screen shows.

use profiler_common::gap_sleep::{CLONE, VFORK, WAIT4, WAITID};
use profiler_common::record::slice::FLAG_GAP_BLOCKED_MIXED;

use super::*;
use crate::fact::OpenSlice;
use crate::machine::driver::draw::draw;
use crate::machine::driver::now::{ThreadGlance, now};
use crate::machine::ledger::gil_attribution::WaitHolders;
use crate::machine::lock::gil_holder::HeldBy;
use crate::model::now::Scheduled;
use crate::model::slot::Holding;
use crate::timeline::ThreadState;

#[test]
fn a_slice_is_drawn_as_its_gap_and_its_call() {
    use ThreadState::{Other, RunQueue, Running, Sleep};
    // On a CPU, waiting for one, asleep in the gap; how that is drawn, if it is.
    for (what, (cpu_ns, run_queue_ns, blocked_ns), expected) in [
        ("it ran", (10, 0, 0), Some(Running)),
        ("it mostly ran", (10, 4, 10), Some(Running)),
        ("it mostly waited for a CPU", (10, 15, 4), Some(RunQueue)),
        ("it mostly slept", (10, 14, 11), Some(Other)),
        ("there is no gap", (0, 0, 0), None),
    ] {
        let gap = Account { cpu_ns, run_queue_ns, blocked_ns };
        let slice = Slice { enter_ns: 100, exit_ns: 130, gap, system_call: 35, ..Slice::blank(Call::Sleep) };
        let mut told = Vec::new();
        draw(&slice, Sleep, WaitHolders::default(), false, &mut |entry| {
            let Entry::Slice { start_ns, end_ns, state, held_by, open, .. } = entry else {
                panic!("{entry:?}")
            };
            assert_eq!((held_by, open), (None, false));
            told.push((start_ns, end_ns, state));
        });
        let gap = expected.map(|state| (100 - gap.total_ns(), 100, state));
        assert_eq!(told, gap.into_iter().chain([(100, 130, Sleep)]).collect::<Vec<_>>(), "{what}");
    }
    // What it slept for, where that was one thing.
    for (call, flags, expected) in [
        (WAIT4, 0, (ThreadState::ChildWait, "wait4")),
        (WAITID, 0, (ThreadState::ChildWait, "waitid")),
        (VFORK, 0, (ThreadState::ChildWait, "vfork")),
        (WAIT4, FLAG_GAP_BLOCKED_MIXED, (Other, "running")),
        (CLONE, 0, (Other, "running")),
    ] {
        let gap = Account { cpu_ns: 2, run_queue_ns: 1, blocked_ns: 9 };
        let mut slice = Slice { enter_ns: 100, exit_ns: 130, gap, flags, ..Slice::blank(Call::Sleep) };
        slice.in_gap.blocked_call = call;
        let mut told = Vec::new();
        draw(&slice, Sleep, WaitHolders::default(), false, &mut |entry| {
            if let Entry::Slice { state, label, .. } = entry {
                told.push((state, label));
            }
        });
        assert_eq!(told.first(), Some(&expected), "{call}");
    }
    let mut because = WaitHolders::default();
    because.by.first = HeldBy { tid: 7, ..HeldBy::UNKNOWN };
    let mut told = Vec::new();
    draw(&Slice::blank(read_of(9)), Sleep, because, true, &mut |entry| told.push(entry));
    let is_it =
        |entry: &Entry| matches!(entry, Entry::Slice { held_by: Some(7), open: true, fd: Some(9), .. });
    assert!(told.len() == 1 && told.iter().all(is_it), "{told:?}");
}

/// A thread in the middle of a call on the first client since 150, after its first slice.
fn open(system_call: Option<u32>) -> OpenSlice {
    OpenSlice {
        tgid: 1,
        tid: 1,
        sequence: 1,
        system_call,
        gap_start_ns: 130,
        enter_ns: 150,
        detail: [CLIENT as u64, 0, 0, 0],
        call: Account { blocked_ns: 50, ..Account::default() },
        gap: Account { cpu_ns: 20, ..Account::default() },
        gap_fault_ns: 0,
        gap_blocked_call: profiler_common::record::slice::NO_CALL,
        call_undecided_ns: 0,
        gap_undecided_ns: 0,
    }
}

#[test]
fn a_thread_that_sleeps_for_a_child_process_is_shown_so() {
    let mut run = Run::new(1);
    run.reads_request();
    for (call, expected) in
        [(WAIT4, ThreadState::ChildWait), (VFORK, ThreadState::ChildWait), (CLONE, ThreadState::Other)]
    {
        let glance = OpenSlice { gap_blocked_call: call, ..open(None) };
        let shown = now(&run.state, &[ThreadGlance::live(&glance, Scheduled::Asleep, 200)], 200);
        assert_eq!(shown.threads[0].state, expected, "{call}");
    }
}

#[test]
fn a_look_at_a_thread_shows_what_it_does_and_for_which_request() {
    use Scheduled::{Asleep, Runnable, Running};
    use ThreadState as Shown;
    const READ: Option<u32> = Some(0);
    const ACCEPT: Option<u32> = Some(43);
    let asked: SetUp = Run::reads_request;
    // What is known of it, the call that it is in, where the scheduler has it; what is shown, what holds it,
    // and whether a request is.
    for (what, set_up, call, scheduled, expected) in [
        ("it runs", asked, None, Running, (Shown::Running, None, true)),
        ("it has no CPU", asked, None, Runnable, (Shown::RunQueue, None, true)),
        ("it sleeps outside of any call", asked, None, Asleep, (Shown::Other, None, true)),
        ("it reads from its client", asked, READ, Running, (Shown::ClientIo, None, true)),
        ("it waits for its client", asked, READ, Asleep, (Shown::ClientWait, None, true)),
        (
            "it waits for a client that has asked nothing",
            |run| run.call(Call::Sleep, (100, 120, 130), 0),
            READ,
            Asleep,
            (Shown::ClientWait, Some(Holding::FirstByte), false),
        ),
        (
            "it waits for a connection",
            |run| {
                run.state.world.descriptors.open(1, CLIENT, DescriptorClass::Listener, 0);
                run.call(Call::Sleep, (100, 120, 130), 0);
            },
            ACCEPT,
            Asleep,
            (Shown::Idle, None, false),
        ),
        (
            "its last slice has not come yet",
            |run| {
                run.reads_request();
                run.thread().row.sequence = 0;
            },
            READ,
            Asleep,
            (Shown::ClientWait, Some(Holding::Housekeeping), false),
        ),
    ] {
        let mut run = Run::new(1);
        let set_up: SetUp = set_up;
        set_up(&mut run);
        let shown = now(&run.state, &[ThreadGlance::live(&open(call), scheduled, 200)], 200);
        let thread = &shown.threads[0];
        assert_eq!((thread.state, thread.holding, thread.request.is_some()), expected, "{what}");
        assert_eq!(thread.since_ns, if call.is_some() { 150 } else { 130 }, "{what}");
        assert_eq!(thread.call.is_some(), call.is_some(), "{what}");
    }
}

#[test]
fn requests_under_way_are_listed_by_age_without_those_whose_answers_may_be_over() {
    let mut run = Run::new(3);
    run.ask(1, 5, 90);
    run.ask(0, 6, 80).response.has_begun = true;
    run.ask(2, 7, 70).response.has_begun = true;
    run.connection(2).outbound.push(CHUNKED.len() as u64, CHUNKED, true, false);
    let shown = now(&run.state, &[], 200);
    let told: Vec<_> =
        shown.requests.iter().map(|one| (one.id, one.start_ns, one.responding, one.tid)).collect();
    assert_eq!(told, [(6, 80, true, None), (5, 90, false, None)]);
    for number in 0..2 {
        for id in 100..700 {
            run.ask(number, id, 100 + id);
        }
    }
    assert_eq!(now(&run.state, &[], 900).requests.len(), 1024, "no more than the bound");
}
