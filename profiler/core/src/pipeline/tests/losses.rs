//! What was not seen: lost slices, missed wakeups, and what cannot be observed at all.
//!
//! In: scripts with holes, doubts and calls from nowhere. Out: assertions on losses and blind spots.

use super::*;
use crate::fact::{ListenerSeen, ThreadTotals};
use crate::model::Listener;
use crate::model::queue::Queue;
use crate::pipeline::finish::refused;

#[test]
fn a_lost_slice_leaves_a_hole_that_is_shown_as_unexplained() {
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    let mut script = script.read(9, GET, arrival, (5, 0, 0));
    script = script.call(Call::Sleep, 0, (0, 0, 700), 0);
    script.events.pop();
    let script = script.cpu(10).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let outcome = run(vec![script], 1000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::Unexplained), 700);
    assert!(request.seen.lossy);
    assert_eq!(outcome.snapshot.coverage.losses.sequence_holes, 1);
}

#[test]
fn a_wake_up_that_was_missed_is_a_doubt_and_no_loss() {
    let mut script = Script::new(1).cpu(1).job_wait((1, 0, 0));
    let lost = vec![("wake_missed".to_owned(), 3)];
    let counters = Fact::Counters(Counters { lost, ..Counters::default() });
    script.events.push(Event { time_ns: script.now_ns, body: Body::Fact(Box::new(counters)) });
    let losses = run(vec![script], 10).snapshot.coverage.losses;
    assert_eq!(losses.undecided_waits, 3);
    assert!(!losses.any());
}

#[test]
fn threads_that_are_not_compared_with_the_kernel_for_want_of_room_are_counted() {
    for (what, count, evicted) in [("all have room", MAX_TOTALS, 0), ("two have none", MAX_TOTALS + 2, 2)] {
        let mut script = Script::new(1).cpu(1).job_wait((1, 0, 0));
        let totals = || Fact::ThreadTotals(ThreadTotals { until_ns: 1, ..ThreadTotals::default() });
        let event = |fact| Event { time_ns: START, body: Body::Fact(Box::new(fact)) };
        script.events.extend((0..count).map(|_| event(totals())));
        let coverage = run(vec![script], 10).snapshot.coverage;
        assert_eq!(coverage.losses.evicted, evicted, "{what}");
        assert_eq!(coverage.conservation.threads_compared, MAX_TOTALS as u64, "{what}");
    }
}

#[test]
fn calls_on_descriptors_from_nowhere_are_a_blind_spot() {
    let read = Call::Read { fd: 40, asked_bytes: 10, arrival_ns: 0 };
    let outcome = run(vec![Script::new(1).call(read, 10, (1, 0, 0), 0)], 10);
    assert_eq!(outcome.snapshot.coverage.blind_spots.len(), 1);
    let known = Script::new(1).call(Call::Make { class: DescriptorClass::File }, 40, (1, 0, 0), 0);
    assert!(run(vec![known.call(read, 10, (1, 0, 0), 0)], 10).snapshot.coverage.blind_spots.is_empty());
}

#[test]
fn io_uring_is_reported_as_a_blind_spot() {
    let mut script = Script::new(1).call(Call::Other, 5, (1, 0, 0), 0);
    if let Some(Body::Slice(slice)) = script.events.last_mut().map(|event| &mut event.body) {
        slice.system_call = profiler_common::system_call::IO_URING_SETUP;
    }
    assert_eq!(run(vec![script], 10).snapshot.coverage.blind_spots.len(), 1);
    assert!(
        run(vec![Script::new(1).cpu(1).job_wait((1, 0, 0))], 10).snapshot.coverage.blind_spots.is_empty()
    );
}

#[test]
fn refusals_of_all_listeners_together_are_no_more_than_a_number_holds() {
    let listener = |refused| Listener {
        seen: ListenerSeen { family: "unix".to_owned(), ..ListenerSeen::default() },
        queue: Some(Queue { refused: Some(refused), ..Queue::default() }),
        ..Listener::default()
    };
    for (listeners, count) in [
        (vec![listener(0)], None),
        (vec![listener(2), listener(3)], Some(5)),
        (vec![listener(u64::MAX), listener(3)], Some(u64::MAX)),
    ] {
        assert_eq!(refused(&listeners).map(|counted| counted.count), count);
    }
}
