//! Cases in which a look at a sleeping thread tells more than the records.
//!
//! In: some segments, looks within them, one request. Out: its leaves.

use super::{Case, IDLE, MS, PROCESS, RAN, found, sleep, waits};
use crate::event::Tid;
use crate::fact::asleep::{AsleepSeen, ConnectionState, FileSeen, ObjectSeen, OtherProcess, SleepState};
use crate::fact::place::PlaceSeen;
use crate::machine::chain::segment::{Did, SegmentSleep, SleepEnd};
use crate::model::chain::{Held, LeafKind, NotFollowed, Object, Unreleased};
use crate::phase::Phase;

/// Another process of the target.
const OTHER: Tid = 100;
const NAMED: Object = Object::Named { number: 0 };

fn process(tgid: Tid) -> OtherProcess {
    OtherProcess { tgid, comm: "other".to_owned(), ..OtherProcess::default() }
}

fn lock_of(holders: &[Tid]) -> ObjectSeen {
    let file = FileSeen { path: "/app.db".to_owned(), ..FileSeen::default() };
    ObjectSeen::FileLock { file, holders: holders.iter().copied().map(process).collect() }
}

fn pipe_of(others: &[Tid]) -> ObjectSeen {
    let others = others.iter().copied().map(process).collect();
    ObjectSeen::Pipe { inode: 7, path: String::new(), others }
}

impl Case {
    /// Thread 2 waits for 100 ms, all of the request's time, and is looked at in the middle.
    fn looked_at(wait: Did, phase: Phase, object: Option<ObjectSeen>, state: SleepState) -> Self {
        let mut case = Self::new().did(2, 100, wait).on(2, (0, 100)).phase(phase, 100);
        let seen = AsleepSeen { tgid: PROCESS, tid: 2, object, state, ..AsleepSeen::default() };
        case.chain.note_look(seen, 50 * MS, 0, None);
        case
    }

    /// A thread of another process of the target did this.
    fn elsewhere(mut self, tid: Tid, until_ms: u64, did: Did) -> Self {
        let from_ns = self.chain.histories.get(tid).map_or(0, |history| history.end_ns());
        let mut entry = self.chain.histories.entry(OTHER, tid, from_ns).unwrap();
        entry.push_did(0, (from_ns, until_ms * MS), did);
        self
    }
}

#[test]
fn a_leaf_each_hop_to_it_and_the_longest_request_have_the_place_that_was_looked_at() {
    let hangs = |tid, place| AsleepSeen { tgid: PROCESS, tid, place: Some(place), ..AsleepSeen::default() };
    let mut case = Case::new()
        .did(2, 100, waits(Phase::LockWait, SleepEnd::Thread(3)))
        .did(3, 100, waits(Phase::Sleep, SleepEnd::Outside))
        .on(2, (0, 100))
        .phase(Phase::LockWait, 100);
    for number in [4, 7, 9] {
        case.chain.looks.note_place(PlaceSeen { number, ..PlaceSeen::default() });
    }
    case.chain.note_look(hangs(2, 7), 50 * MS, 0, None);
    case.chain.note_look(hangs(3, 4), 60 * MS, 0, None);
    let chains = case.chains();
    let [leaf] = chains.leaves.as_slice() else { panic!("{chains:?}") };
    let hops: Vec<Option<u32>> = leaf.example.iter().flat_map(|one| &one.hops).map(|hop| hop.place).collect();
    assert_eq!((leaf.leaf.kind, leaf.place, hops), (LeafKind::Sleep, Some(4), vec![Some(7), Some(4)]));
    assert_eq!(leaf.waited_at, Some(7));
    assert_eq!(chains.of_request(0).and_then(|time| time.place), Some(4));
    let numbers: Vec<u32> = chains.places.iter().map(|place| place.number).collect();
    assert_eq!(numbers, [4, 7], "those that nobody names are left out");
}

#[test]
fn who_sleeps_since_before_the_trace_was_looked_at_before_the_window_began() {
    for (since_before, place) in [(true, Some(4)), (false, None)] {
        let Did::Slept(sleep) = waits(Phase::Sleep, SleepEnd::Outside) else { panic!("it sleeps") };
        let sleep = Did::Slept(SegmentSleep { since_before, ..sleep });
        let mut case = Case::new().did(3, 10, RAN).did(2, 10, RAN).did(2, 110, sleep).on(2, (0, 110));
        case = case.phase(Phase::Cpu, 10).phase(Phase::Sleep, 100);
        case.chain.looks.note_place(PlaceSeen { number: 4, ..PlaceSeen::default() });
        let seen = AsleepSeen { tgid: PROCESS, tid: 2, place: Some(4), ..AsleepSeen::default() };
        case.chain.note_look(seen, 5 * MS, 0, None);
        let chains = case.chains();
        let sleep = chains.leaves.iter().find(|leaf| leaf.leaf.kind == LeafKind::Sleep);
        assert_eq!(sleep.map(|leaf| leaf.place), Some(place), "{chains:?}");
    }
}

#[test]
fn a_file_lock_that_another_process_of_the_target_holds_is_a_hop_and_one_from_outside_a_leaf() {
    let wait = waits(Phase::FileWait, SleepEnd::Outside);
    let case = |holders: &[Tid]| {
        Case::looked_at(wait, Phase::FileWait, Some(lock_of(holders)), SleepState::Interruptible)
            .elsewhere(OTHER, 100, waits(Phase::Sleep, SleepEnd::Outside))
            .elsewhere(101, 100, IDLE)
    };
    assert_eq!(case(&[OTHER]).leaves(), [found(LeafKind::Sleep, 100)]);
    let leaf = (LeafKind::FileLock, NAMED, None, None, 100);
    assert_eq!(case(&[999]).leaves(), [leaf], "it is none of the target");
    assert_eq!(case(&[]).leaves(), [leaf]);
    let several = case(&[OTHER]).elsewhere(102, 100, RAN);
    let unknown = (LeafKind::NotFollowed, Object::Unknown, None, Some(NotFollowed::Holder), 100);
    assert_eq!(several.leaves(), [unknown]);
}

#[test]
fn a_pipe_whose_other_end_is_outside_is_a_leaf_and_one_of_the_process_itself_is_told_by_records() {
    let pipe = |others: &[Tid]| {
        let wait = waits(Phase::LockWait, SleepEnd::Open);
        Case::looked_at(wait, Phase::LockWait, Some(pipe_of(others)), SleepState::Interruptible).leaves()
    };
    assert_eq!(pipe(&[999]), [(LeafKind::Pipe, NAMED, None, None, 100)]);
    let nobody = (LeafKind::NotReleased, Object::Unknown, Some(Unreleased::NobodyCould), None, 100);
    assert_eq!(pipe(&[PROCESS]), [nobody]);
}

#[test]
fn a_parent_and_a_child_that_wait_for_one_another_are_a_cycle() {
    let wait = waits(Phase::ChildWait, SleepEnd::Open);
    let child = Some(ObjectSeen::Child(process(OTHER)));
    let mut case = Case::looked_at(wait, Phase::ChildWait, child, SleepState::Interruptible).elsewhere(
        OTHER,
        100,
        waits(Phase::LockWait, SleepEnd::Open),
    );
    let object = Some(pipe_of(&[PROCESS]));
    let seen = AsleepSeen { tgid: OTHER, tid: OTHER, object, ..AsleepSeen::default() };
    case.chain.note_look(seen, 50 * MS, 0, None);
    let cycle = (LeafKind::NotReleased, Object::Unknown, Some(Unreleased::Cycle), None, 100);
    assert_eq!(case.leaves(), [cycle]);
}

#[test]
fn slots_that_all_wait_for_a_free_slot_are_a_cycle_unless_one_of_them_does_something_else() {
    // Each waits at the target's own listener, whose connections these slots serve.
    let asks = Did::Slept(SegmentSleep {
        object: Object::Peer { port: 80 },
        ..sleep(Phase::BackendWait, SleepEnd::Open)
    });
    let case = |third: Did| {
        let mut case = Case::new()
            .did(2, 100, asks)
            .did(3, 100, third)
            .of_pool(2)
            .of_pool(3)
            .on(2, (0, 100))
            .phase(Phase::BackendWait, 100);
        for tid in [2, 3] {
            let object = Some(ObjectSeen::Tcp {
                inode: 1,
                local: format!("127.0.0.1:4000{tid}"),
                peer: "127.0.0.1:80".to_owned(),
                state: <_>::default(),
                others: vec![process(PROCESS)],
            });
            let seen = AsleepSeen { tgid: PROCESS, tid, object, ..AsleepSeen::default() };
            if tid == 2 || third == asks {
                case.chain.note_look(seen, 50 * MS, 9, None);
            }
        }
        case.leaves()
    };
    let cycle = (LeafKind::NotReleased, Object::Unknown, Some(Unreleased::Cycle), None, 100);
    assert_eq!(case(asks), [cycle]);
    assert_eq!(case(waits(Phase::Sleep, SleepEnd::Outside)), [found(LeafKind::Sleep, 100)]);
}

#[test]
fn a_page_fault_for_a_mapped_file_is_none_that_waits_for_a_call() {
    let file = FileSeen { path: "/data/store".to_owned(), ..FileSeen::default() };
    let wait = waits(Phase::FaultWait, SleepEnd::Outside);
    let case = Case::looked_at(wait, Phase::FaultWait, Some(ObjectSeen::File(file)), SleepState::PageFault);
    assert_eq!(case.leaves(), [(LeafKind::PageFault, NAMED, None, None, 100)]);
}

#[test]
fn who_has_a_file_lock_may_be_in_a_file_and_one_that_waits_for_the_lock_too_has_it_not() {
    let lock = SegmentSleep { system_call: 72, ..sleep(Phase::FileWait, SleepEnd::Open) };
    let case = Case::looked_at(
        Did::Slept(lock),
        Phase::FileWait,
        Some(lock_of(&[PROCESS])),
        SleepState::Interruptible,
    );
    let in_file = SegmentSleep { system_call: 75, ..sleep(Phase::FileWait, SleepEnd::Outside) };
    let case = case.did(3, 100, Did::Slept(lock)).did(4, 100, Did::Slept(in_file));
    assert_eq!(case.leaves(), [found(LeafKind::File, 100)]);
}

#[test]
fn two_locks_on_files_that_are_taken_in_both_orders_are_a_cycle() {
    let lock = Did::Slept(SegmentSleep { system_call: 73, ..sleep(Phase::FileWait, SleepEnd::Open) });
    let one = lock_of(&[PROCESS]);
    let mut case =
        Case::looked_at(lock, Phase::FileWait, Some(one), SleepState::Interruptible).did(3, 100, lock);
    let file = FileSeen { path: "/other.db".to_owned(), ..FileSeen::default() };
    let object = Some(ObjectSeen::FileLock { file, holders: vec![process(PROCESS)] });
    case.chain.note_look(
        AsleepSeen { tgid: PROCESS, tid: 3, object, ..AsleepSeen::default() },
        50 * MS,
        0,
        None,
    );
    let cycle = (LeafKind::NotReleased, Object::Unknown, Some(Unreleased::Cycle), None, 100);
    assert_eq!(case.leaves(), [cycle]);
}

#[test]
fn who_waits_for_a_file_lock_of_its_own_process_cannot_release_another_lock() {
    // Thread 2 waits for one whose lock on a file 3 waits for; 4 is what keeps that one.
    let mut case = Case::new()
        .did(2, 100, waits(Phase::LockWait, SleepEnd::Open))
        .did(3, 100, Did::Slept(SegmentSleep { system_call: 73, ..sleep(Phase::FileWait, SleepEnd::Open) }))
        .did(4, 100, waits(Phase::Sleep, SleepEnd::Outside))
        .on(2, (0, 100))
        .phase(Phase::LockWait, 100);
    let object = Some(lock_of(&[PROCESS]));
    case.chain.note_look(
        AsleepSeen { tgid: PROCESS, tid: 3, object, ..AsleepSeen::default() },
        50 * MS,
        0,
        None,
    );
    assert_eq!(case.leaves(), [found(LeafKind::Sleep, 100)]);
}

#[test]
fn a_thread_of_which_nothing_is_heard_has_slept_since_before_as_a_look_saw_it() {
    let held = |since_ns: u64| {
        let mut case = Case::new().did(2, 100, IDLE);
        let object = Some(ObjectSeen::Tcp {
            inode: 7,
            local: "127.0.0.1:40000".to_owned(),
            peer: "127.0.0.1:5432".to_owned(),
            state: <_>::default(),
            others: Vec::new(),
        });
        let seen = AsleepSeen { tgid: PROCESS, tid: 3, object, since_ns, ..AsleepSeen::default() };
        case.chain.note_look(seen, 20 * MS, 0, None);
        case.chain.slept_since_before(3, (10 * MS, 100 * MS));
        case.chain.histories.get(3).map(|history| (history.since_ns, history.end_ns()))
    };
    assert_eq!(held(5 * MS), Some((10 * MS, 100 * MS)));
    assert_eq!(held(15 * MS), None, "what it did before is not known");
}

#[test]
fn a_connection_that_threads_of_two_processes_wait_for_is_shared() {
    let shared = |waiters: &[(Tid, Tid)]| {
        let wait = waits(Phase::BackendWait, SleepEnd::Outside);
        let mut case = Case::new().did(2, 100, wait).on(2, (0, 100)).phase(Phase::BackendWait, 100);
        for (tgid, tid) in waiters {
            let object = Some(ObjectSeen::Tcp {
                inode: 7,
                local: "127.0.0.1:40000".to_owned(),
                peer: "127.0.0.1:5432".to_owned(),
                state: <_>::default(),
                others: Vec::new(),
            });
            let seen = AsleepSeen { tgid: *tgid, tid: *tid, object, ..AsleepSeen::default() };
            case.chain.note_look(seen, 50 * MS, 0, None);
        }
        case.chains().leaves.iter().any(|time| time.is_shared_connection)
    };
    assert!(shared(&[(PROCESS, 2), (OTHER, OTHER)]));
    assert!(!shared(&[(PROCESS, 2), (PROCESS, 3)]));
}

#[test]
fn what_a_file_s_descriptor_is_called_is_part_of_the_leaf() {
    let file = FileSeen { path: "/data/a".to_owned(), ..FileSeen::default() };
    let wait = waits(Phase::FileWait, SleepEnd::Outside);
    let case =
        Case::looked_at(wait, Phase::FileWait, Some(ObjectSeen::File(file)), SleepState::Uninterruptible);
    assert_eq!(case.leaves(), [(LeafKind::File, NAMED, None, None, 100)]);
}

#[test]
fn a_wait_for_the_map_of_memory_is_no_page_fault() {
    let wait = waits(Phase::FaultWait, SleepEnd::Outside);
    let case = Case::looked_at(wait, Phase::FaultWait, None, SleepState::MemoryMap);
    assert_eq!(case.leaves(), [found(LeafKind::KernelLock, 100)]);
}

#[test]
fn a_thread_that_is_held_from_outside_stands_still_whatever_it_seems_to_wait_for() {
    for (phase, is_idle) in [(Phase::BackendWait, false), (Phase::LockWait, true), (Phase::Sleep, false)] {
        let held = SegmentSleep { held: Some(Held::Stopped), is_idle, ..sleep(phase, SleepEnd::Outside) };
        let case = Case::looked_at(Did::Slept(held), phase, None, SleepState::Stopped);
        assert_eq!(case.leaves(), [found(LeafKind::StoodStill, 100)], "{phase:?}");
    }
}

#[test]
fn a_connection_that_was_not_looked_at_leads_to_the_target_itself_where_all_near_it_do() {
    const OWN_PORT: u16 = 80;
    let asks = SegmentSleep {
        object: Object::Peer { port: OWN_PORT },
        is_own_port: true,
        ..sleep(Phase::BackendWait, SleepEnd::Outside)
    };
    let asked = |looks: &[(&str, Tid)]| {
        let case =
            Case::new().did(2, 100, Did::Slept(asks)).did(3, 100, waits(Phase::Sleep, SleepEnd::Outside));
        let mut case = case.of_pool(3).on(2, (0, 100)).phase(Phase::BackendWait, 100);
        for (peer, by) in looks {
            let object = ObjectSeen::Tcp {
                inode: 9,
                local: "127.0.0.1:4000".to_owned(),
                peer: (*peer).to_owned(),
                state: ConnectionState::Acknowledged,
                others: vec![process(*by)],
            };
            let seen = AsleepSeen { tgid: PROCESS, tid: 3, object: Some(object), ..AsleepSeen::default() };
            case.chain.note_look(seen, 200 * MS, 0, None);
        }
        case.leaves()
    };
    let unknown = |reason| vec![(LeafKind::NotFollowed, Object::Unknown, None, Some(reason), 100)];
    assert_eq!(asked(&[("127.0.0.1:80", PROCESS)]), [found(LeafKind::Sleep, 100)]);
    assert_eq!(asked(&[("127.0.0.1:81", PROCESS)]), unknown(NotFollowed::Acceptors), "another port");
    let both = [("127.0.0.1:80", PROCESS), ("10.0.0.9:80", 777)];
    assert_eq!(asked(&both), unknown(NotFollowed::Acceptors), "another host's port");
    assert_eq!(asked(&[]), unknown(NotFollowed::Acceptors));
}

/// Thread 2 waits for 100 ms for the lock of word 8. 3 slept in such a way meanwhile, and had these locks
/// then.
fn behind_one_that_has(locks: &[u64], third: Did) -> Case {
    let at = |address| match waits(Phase::LockWait, SleepEnd::Open) {
        Did::Slept(sleep) => Did::Slept(SegmentSleep { object: Object::Futex { address }, ..sleep }),
        did => did,
    };
    let mut case = Case::new()
        .did(2, 100, at(8))
        .did(3, 100, third)
        .did(4, 100, waits(Phase::Sleep, SleepEnd::Outside))
        .on(2, (0, 100))
        .phase(Phase::LockWait, 100);
    for (tid, locks) in [(2, &[16][..]), (3, locks)] {
        let seen = AsleepSeen { tgid: PROCESS, tid, locks: locks.to_vec(), ..AsleepSeen::default() };
        case.chain.note_look(seen, 50 * MS, 0, None);
    }
    case
}

#[test]
fn who_was_seen_to_have_a_lock_stands_behind_a_wait_for_it_whoever_else_could_have_it() {
    let asks = Did::Slept(SegmentSleep {
        object: Object::Peer { port: 5 },
        ..sleep(Phase::BackendWait, SleepEnd::Open)
    });
    let leaves = |locks: &[u64]| behind_one_that_has(locks, asks).leaves();
    assert_eq!(leaves(&[24, 8]), [(LeafKind::BackEnd, Object::Peer { port: 5 }, None, None, 100)]);
    let watched = Some(Unreleased::Watched);
    let unknown = (LeafKind::NotFollowed, Object::Unknown, watched, Some(NotFollowed::Holder), 100);
    assert_eq!(leaves(&[24]), [unknown], "another lock");
}

#[test]
fn whom_a_lock_itself_names_has_it_while_he_sleeps() {
    let asks = Did::Slept(SegmentSleep {
        object: Object::Peer { port: 5 },
        ..sleep(Phase::BackendWait, SleepEnd::Open)
    });
    let mut case = behind_one_that_has(&[], asks);
    let seen = AsleepSeen { tgid: PROCESS, tid: 2, lock_taken_by: Some(3), ..AsleepSeen::default() };
    case.chain.looks = <_>::default();
    case.chain.note_look(seen, 50 * MS, 0, None);
    assert_eq!(case.leaves(), [(LeafKind::BackEnd, Object::Peer { port: 5 }, None, None, 100)]);
}

#[test]
fn two_locks_that_are_taken_in_both_orders_are_a_cycle() {
    let waits_for = |address| {
        let wait =
            SegmentSleep { object: Object::Futex { address }, ..sleep(Phase::LockWait, SleepEnd::Open) };
        behind_one_that_has(&[8], Did::Slept(wait)).leaves()
    };
    let cycle = (LeafKind::NotReleased, Object::Unknown, Some(Unreleased::Cycle), None, 100);
    assert_eq!(waits_for(16), [cycle]);
    let one_of_them = waits_for(24);
    assert_ne!(one_of_them, [cycle], "nobody was seen to have what the other waits for");
}
