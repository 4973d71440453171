//! Who waits for which listener, and how, over made-up calls.
//!
//! In: scripts. Out: assertions.

use super::*;
use crate::event::InGap;
use crate::fact::{Account, ListenerSeen};

const INODE: u64 = 77;

/// Processes 1 to 4 hold a listener at 3; each has an epoll instance at 4 with it.
fn state(events: u32) -> World {
    let mut state = World::default();
    for tgid in 1..=4 {
        let listener = ListenerSeen { tgid, fd: 3, inode: INODE, ..ListenerSeen::default() };
        state.processes.listen(&listener);
        state.descriptors.open(tgid, 3, DescriptorClass::Listener, 0);
        state.descriptors.open(tgid, 4, DescriptorClass::Epoll, 0);
        state.descriptors.set_interest(tgid, 4, vec![3], &[events]);
    }
    state
}

fn slice(who: Tid, call: Call, blocked_ns: u64) -> Slice {
    let inside = Account { blocked_ns, ..Account::default() };
    Slice { tgid: who, tid: who, inside, ..Slice::blank(call) }
}

fn rows(waits: &ListenerWaits, state: &World, open: &[Slice]) -> Vec<(String, u32)> {
    let found = waits.finish(state, open);
    found
        .get(&INODE)
        .into_iter()
        .flat_map(|found| &found.rows)
        .map(|row| (row.how.words(), row.threads))
        .collect()
}

const ACCEPT: Call = Call::Accept { listener_fd: 3 };
const EPOLL: Call = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
const LOCK: Call = Call::FutexWait { address: 0x7000, operation: 0, has_timeout: false };
const SELECT: Call =
    Call::Poll { only_fd: None, low_fds: 1 << 3 | 1 << 9, for_write: false, is_sleep: false };
const POLL: Call = Call::Poll { only_fd: None, low_fds: 0, for_write: false, is_sleep: false };

#[test]
fn each_way_to_wait_is_distinguished() {
    let state = state(EPOLLEXCLUSIVE);
    let mut waits = ListenerWaits::default();
    waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
    waits.slice(&slice(2, ACCEPT, 1), &state, |_| false);
    waits.slice(&slice(3, SELECT, 1), &state, |_| false);
    // What it polled was not read: accept shows it. A look that does not sleep is no wait.
    waits.slice(&slice(4, POLL, 1), &state, |_| false);
    waits.slice(&slice(4, ACCEPT, 0), &state, |_| false);
    let expected = [("in accept", 1), ("in poll or select", 2), ("in epoll, exclusive", 1)];
    assert_eq!(rows(&waits, &state, &[]), expected.map(|(how, count)| (how.to_owned(), count)));
}

#[test]
fn accept_that_sleeps_for_the_socket_s_lock_is_no_wait_for_a_connection() {
    let state = state(0);
    let mut waits = ListenerWaits::default();
    waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
    waits.slice(&slice(1, ACCEPT, 1), &state, |_| false);
    assert_eq!(rows(&waits, &state, &[]), [("in epoll".to_owned(), 1)]);
}

#[test]
fn instance_in_an_instance_leads_to_the_listener() {
    let mut state = state(0);
    state.descriptors.open(1, 6, DescriptorClass::Epoll, 0);
    // A circle, which only a hostile server has.
    state.descriptors.set_interest(1, 6, vec![4, 6], &[]);
    let mut waits = ListenerWaits::default();
    waits.slice(&slice(1, Call::EpollWait { epoll_fd: 6, timeout_ms: -1 }, 1), &state, |_| false);
    assert_eq!(rows(&waits, &state, &[]), [("in epoll, instance in instance".to_owned(), 1)]);
}

#[test]
fn instances_that_all_hold_each_other_are_each_looked_into_once() {
    let mut state = state(0);
    let fds: Vec<i32> = (10..74).collect();
    for fd in &fds {
        state.descriptors.open(1, *fd, DescriptorClass::Epoll, 0);
    }
    for fd in &fds {
        state.descriptors.set_interest(1, *fd, [fds.as_slice(), &[3]].concat(), &[]);
    }
    let mut waits = ListenerWaits::default();
    waits.slice(&slice(1, Call::EpollWait { epoll_fd: 10, timeout_ms: -1 }, 1), &state, |_| false);
    let told = [("in epoll".to_owned(), 1), ("in epoll, instance in instance".to_owned(), 1)];
    assert_eq!(rows(&waits, &state, &[]), told);
    assert_eq!((waits.threads[&1].ways.len(), waits.evicted()), (2, 0), "each way counts once");
}

#[test]
fn what_is_looked_at_for_one_wait_is_bounded_over_all_nested_instances() {
    for (long_lists, is_found) in [(1, true), (2, false)] {
        let mut state = state(0);
        let nested: Vec<i32> = (10..10 + long_lists).collect();
        for fd in nested.iter().chain(&[9]) {
            state.descriptors.open(1, *fd, DescriptorClass::Epoll, 0);
        }
        for fd in &nested {
            state.descriptors.set_interest(1, *fd, (1000..).take(MAX_ENTRIES / 2).collect(), &[]);
        }
        // The instance with the listener comes last.
        state.descriptors.set_interest(1, 9, [nested.as_slice(), &[4]].concat(), &[]);
        let found = listeners_at(&state, 1, WaitedIn::Epoll(9));
        assert_eq!(!found.is_empty(), is_found, "{long_lists}");
    }
}

#[test]
fn those_behind_a_lock_are_told_by_who_came_out_of_it() {
    let state = state(0);
    let mut waits = ListenerWaits::default();
    for _ in 0..3 {
        waits.slice(&slice(1, LOCK, 1), &state, |_| false);
        waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
        waits.slice(&slice(1, ACCEPT, 0), &state, |_| false);
    }
    // One sits in the same lock all the time; another in a lock of its own.
    let elsewhere = Call::FutexWait { address: 0x9000, operation: 0, has_timeout: false };
    let open = [slice(2, LOCK, 1), slice(3, elsewhere, 1)];
    assert_eq!(rows(&waits, &state, &open), [("behind a lock (futex)".to_owned(), 2)]);
    let flock =
        Slice { in_gap: InGap { blocked_call: 73, ..slice(4, ACCEPT, 1).in_gap }, ..slice(4, ACCEPT, 1) };
    let mut waits = ListenerWaits::default();
    waits.slice(&flock, &state, |_| false);
    assert_eq!(rows(&waits, &state, &[]), [("behind a lock (flock)".to_owned(), 1)]);
}

#[test]
fn a_lock_that_a_thread_comes_out_of_once_is_not_the_one_that_it_waits_behind() {
    let state = state(0);
    let other = Call::FutexWait { address: 0x9000, operation: 0, has_timeout: false };
    let mut waits = ListenerWaits::default();
    // Two threads take turns behind one lock; in the end each comes out of a lock of its own.
    for lock in [LOCK, LOCK, LOCK, other] {
        for who in [1, 2] {
            waits.slice(&slice(who, lock, 1), &state, |_| false);
            waits.slice(&slice(who, EPOLL, 1), &state, |_| false);
        }
    }
    let behind = |threads: u32| [("behind a lock (futex)".to_owned(), threads)];
    // Those that sit in the lock are behind it, and one that sits in the other is not.
    assert_eq!(rows(&waits, &state, &[slice(3, LOCK, 1), slice(4, LOCK, 1)]), behind(4));
    assert_eq!(rows(&waits, &state, &[slice(3, other, 1)]), behind(2));
}

#[test]
fn instance_that_a_thread_makes_for_each_wait_is_told_by_what_was_in_it_then() {
    let mut state = state(0);
    let mut waits = ListenerWaits::default();
    for events in [0, EPOLLEXCLUSIVE] {
        state.descriptors.open(1, 9, DescriptorClass::Epoll, 0);
        state.descriptors.set_interest(1, 9, vec![3], &[events]);
        let wait = Call::EpollWait { epoll_fd: 9, timeout_ms: -1 };
        waits.slice(&slice(1, wait, 1), &state, |_| false);
        state.descriptors.close(1, 9, u64::MAX);
    }
    let told = [("in epoll".to_owned(), 1), ("in epoll, exclusive".to_owned(), 1)];
    assert_eq!(rows(&waits, &state, &[]), told);
    // One that exists at the end is reported as it is then.
    waits.slice(&slice(2, EPOLL, 1), &state, |_| false);
    state.descriptors.share(2, 4);
    let told = rows(&waits, &state, &[]);
    assert_eq!(told.iter().filter(|(how, _)| how == "in epoll, one instance for all").count(), 1, "{told:?}");
    assert_eq!(told.iter().map(|(_, threads)| threads).sum::<u32>(), 3, "{told:?}");
}

#[test]
fn the_one_who_never_had_to_wait_for_the_lock_around_accept_is_behind_it_too() {
    let state = state(0);
    let mut waits = ListenerWaits::default();
    for tid in 1..=3 {
        if tid != 3 {
            waits.slice(&slice(tid, LOCK, 1), &state, |_| false);
        }
        waits.slice(&slice(tid, EPOLL, 1), &state, |_| false);
    }
    // Most often it got in at once; the others show the lock.
    for _ in 0..10 {
        waits.slice(&slice(2, EPOLL, 1), &state, |_| false);
    }
    assert_eq!(rows(&waits, &state, &[]), [("behind a lock (futex)".to_owned(), 3)]);
    // Two cannot both hold it.
    waits.slice(&slice(4, EPOLL, 1), &state, |_| false);
    let told = [("in epoll".to_owned(), 2), ("behind a lock (futex)".to_owned(), 2)];
    assert_eq!(rows(&waits, &state, &[]), told);
}

#[test]
fn instance_made_after_the_lock_is_part_of_the_wait_and_one_that_is_changed_is_not() {
    let state = state(0);
    let make = Call::Make { class: DescriptorClass::Epoll };
    let control = Call::EpollControl { epoll_fd: 4, operation: 1, fd: 3, events: 1 };
    for (between, told) in [(&[make, control][..], "behind a lock (futex)"), (&[control], "in epoll")] {
        let mut waits = ListenerWaits::default();
        waits.slice(&slice(1, LOCK, 1), &state, |_| false);
        between.iter().for_each(|call| waits.slice(&slice(1, *call, 0), &state, |_| false));
        waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
        assert_eq!(rows(&waits, &state, &[]), [(told.to_owned(), 1)]);
    }
}

#[test]
fn lock_that_is_seldom_before_a_wait_is_not_around_accept() {
    let state = state(0);
    let mut waits = ListenerWaits::default();
    for number in 0..10 {
        if number == 0 {
            waits.slice(&slice(1, LOCK, 1), &state, |_| false);
        }
        waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
    }
    assert_eq!(rows(&waits, &state, &[]), [("in epoll".to_owned(), 1)]);
}

/// The waits of one thread at its bound of listeners, and one more.
fn many_listeners() -> World {
    let mut state = World::default();
    state.descriptors.open(1, 4, DescriptorClass::Epoll, 0);
    let fds: Vec<i32> = (10..).take(MAX_WAYS + 1).collect();
    for (fd, inode) in fds.iter().zip(1..) {
        state.processes.listen(&ListenerSeen { tgid: 1, fd: *fd, inode, ..ListenerSeen::default() });
        state.descriptors.open(1, *fd, DescriptorClass::Listener, 0);
    }
    state.descriptors.set_interest(1, 4, fds, &[]);
    state
}

#[test]
fn what_finds_no_place_is_counted_once_for_each() {
    let state = state(0);
    let mut waits = ListenerWaits::default();
    for tid in 0..=MAX_THREADS as u32 {
        waits.slice(&Slice { tgid: 1, ..slice(tid, ACCEPT, 1) }, &state, |_| false);
    }
    assert_eq!((waits.threads.len(), waits.evicted()), (MAX_THREADS, 1), "a thread");
    // No tick has taken what the first ones found; one of them waits elsewhere too.
    waits.slice(&Slice { tgid: 1, ..slice(0, EPOLL, 1) }, &state, |_| false);
    assert_eq!((waits.fresh.len(), waits.found.len()), (MAX_THREADS, MAX_THREADS));
    assert_eq!(waits.evicted(), 3, "a place, and the listener in it");
    waits.roll();
    waits.acceptors(&state, |_, _, _| {});
    waits.slice(&slice(1, EPOLL, 1), &many_listeners(), |_| false);
    assert_eq!((waits.threads[&1].ways.len(), waits.evicted()), (MAX_WAYS, 4), "a listener");
}
