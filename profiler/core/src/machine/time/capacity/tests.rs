//! Waits behind full workers, over made-up busy slots.
//!
//! In: scripts. Out: assertions.

use super::*;

const INODE: u64 = 7;
const MS: u64 = 1_000_000;

/// Processes 1 and 2 with two slots each.
fn two_workers() -> Capacity {
    let mut capacity = Capacity { of_one_worker: Some(2), ..Capacity::default() };
    capacity.accepts(INODE, 1, 0);
    capacity.accepts(INODE, 2, 0);
    capacity
}

fn wait(tgid: Tid, from_ms: u64, to_ms: u64) -> ArrivalWait {
    ArrivalWait { tgid, inode: INODE, spans: vec![(from_ms * MS, to_ms * MS)] }
}

fn busy(capacity: &mut Capacity, tgid: Tid, spans_ms: &[(u64, u64)]) {
    for (from_ms, to_ms) in spans_ms {
        capacity.was_busy(tgid, from_ms * MS, to_ms * MS);
    }
}

fn found(mut capacity: Capacity) -> (u64, u64) {
    let found = capacity.finish(INODE).unwrap();
    (found.waits.count(), found.waits.sum_ns() / MS)
}

/// ```text
///  1:  ################          both slots busy from 0 to 100
///  2:  ######----######----      both busy to 30, from 60 to 90
///  wait   ============           10 to 80
/// ```
#[test]
fn wait_counts_for_as_long_as_its_worker_was_full_and_another_was_not() {
    let mut capacity = two_workers();
    busy(&mut capacity, 1, &[(0, 50), (50, 100), (0, 100)]);
    busy(&mut capacity, 2, &[(0, 30), (0, 40), (60, 90), (55, 90)]);
    capacity.waited(wait(1, 10, 80));
    assert_eq!(found(capacity), (1, 30));
}

#[test]
fn worker_with_a_free_slot_or_alone_at_its_listener_lets_nobody_wait() {
    let mut capacity = two_workers();
    busy(&mut capacity, 1, &[(0, 100)]);
    capacity.waited(wait(1, 10, 80));
    assert_eq!(found(capacity), (0, 0), "a hand-over takes as long as it takes");
    let mut alone = Capacity::default();
    alone.accepts(INODE, 1, 0);
    busy(&mut alone, 1, &[(0, 100)]);
    alone.waited(wait(1, 10, 80));
    assert!(alone.finish(INODE).is_none());
}

#[test]
fn several_workers_that_were_free_in_turn_add_up_and_one_that_came_late_counts_from_then() {
    let mut capacity = Capacity { of_one_worker: Some(1), ..Capacity::default() };
    for (tgid, since_ms) in [(1, 0), (2, 0), (3, 60)] {
        capacity.accepts(INODE, tgid, since_ms * MS);
    }
    busy(&mut capacity, 1, &[(0, 100)]);
    busy(&mut capacity, 2, &[(20, 90)]);
    capacity.waited(wait(1, 10, 70));
    assert_eq!(found(capacity), (1, 20));
}

#[test]
fn wait_is_decided_once_all_is_known_of_those_who_may_have_been_free() {
    let mut capacity = two_workers();
    busy(&mut capacity, 1, &[(0, 100), (0, 100)]);
    capacity.waited(wait(1, 10, 80));
    capacity.decide_all(|_| 70 * MS);
    assert_eq!((capacity.fresh.len(), capacity.undecided.len()), (1, 0));
    capacity.decide_all(|tgid| if tgid == 1 { 80 * MS } else { 70 * MS });
    assert_eq!((capacity.fresh.len(), capacity.undecided.len()), (0, 1));
    // What it was busy with becomes known only now.
    busy(&mut capacity, 2, &[(5, 50), (5, 50)]);
    capacity.decide_all(|_| 80 * MS);
    assert!(capacity.undecided.is_empty());
    assert_eq!(found(capacity), (1, 30));
}

#[test]
fn next_window_begins_with_nothing_and_knows_who_is_busy() {
    let mut capacity = two_workers();
    busy(&mut capacity, 1, &[(0, 100), (0, 100)]);
    capacity.waited(wait(1, 10, 80));
    capacity.roll();
    assert_eq!(found(capacity.clone()), (0, 0));
    capacity.waited(wait(1, 70, 90));
    assert_eq!(found(capacity), (1, 20));
}

#[test]
fn process_that_has_ended_is_not_free() {
    let mut capacity = two_workers();
    busy(&mut capacity, 1, &[(0, 100), (0, 100)]);
    busy(&mut capacity, 2, &[(1, 2)]);
    capacity.ended(2, 20 * MS);
    capacity.waited(wait(1, 10, 80));
    assert_eq!(found(capacity), (1, 10));
}

#[test]
fn tables_stay_bounded_and_what_is_given_up_is_counted() {
    let mut capacity = two_workers();
    for tgid in 0..2 * MAX_PROCESSES as u32 {
        capacity.was_busy(tgid, 1, 2);
    }
    for number in 0..2 * MAX_CHANGES as u64 {
        capacity.was_busy(1, number * MS, number * MS + 1);
    }
    busy(&mut capacity, 1, &[(100_000, 200_000), (100_000, 200_000)]);
    for number in 0..2 * MAX_WAITS {
        capacity.waited(wait(1, 100_010, 100_080));
        if number % 4096 == 0 {
            capacity.decide_all(|tgid| if tgid == 1 { u64::MAX } else { 0 });
        }
    }
    capacity.decide_all(|tgid| if tgid == 1 { u64::MAX } else { 0 });
    assert!(capacity.processes.len() <= MAX_PROCESSES);
    assert_eq!(capacity.evicted(), MAX_PROCESSES as u64, "each process once");
    assert!(capacity.processes[&1].changes.len() <= MAX_CHANGES);
    assert!(capacity.undecided.len() <= MAX_WAITS);
    let found = capacity.finish(INODE).unwrap();
    assert_eq!(found.undecided, MAX_WAITS as u64);
    assert_eq!(found.waits.count(), MAX_WAITS as u64, "those that were kept");
}

#[test]
fn wait_that_is_given_up_for_a_newer_one_is_undecided_at_its_own_listener() {
    const OTHER: u64 = INODE + 1;
    let mut capacity = two_workers();
    capacity.accepts(OTHER, 1, 0);
    capacity.accepts(OTHER, 2, 0);
    for _ in 0..MAX_WAITS {
        capacity.waited(wait(1, 10, 80));
    }
    for _ in 0..2 {
        capacity.waited(ArrivalWait { inode: OTHER, ..wait(1, 10, 80) });
    }
    let mut undecided = |inode| capacity.finish(inode).unwrap().undecided;
    assert_eq!((undecided(INODE), undecided(OTHER)), (2, 0));
}

#[test]
fn what_finds_no_place_is_counted_once_each_until_the_next_window() {
    let mut capacity = Capacity::default();
    for inode in 0..=MAX_LISTENERS as u64 {
        capacity.accepts(inode, 1, 0);
        capacity.accepts(inode, 1, 1);
    }
    assert_eq!((capacity.acceptors.len(), capacity.evicted()), (MAX_LISTENERS, 1), "a listener");
    for tgid in 1..=MAX_PROCESSES as u32 + 1 {
        capacity.accepts(0, tgid, 2);
        capacity.accepts(0, tgid, 3);
    }
    assert_eq!((capacity.acceptors[&0].len(), capacity.evicted()), (MAX_PROCESSES, 2), "a process there");
    for tgid in 0..=MAX_PROCESSES as u32 {
        capacity.has_slot(tgid);
        capacity.was_busy(tgid, 4, 5);
    }
    assert_eq!((capacity.processes.len(), capacity.evicted()), (MAX_PROCESSES, 3), "a process's slots");
    capacity.roll();
    assert_eq!(capacity.evicted(), 0);
}
