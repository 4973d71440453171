//! Small cases that played schedules came down to.
//!
//! In: some segments of some threads, one request. Out: its leaves.

mod handed;
mod looked;

use crate::event::{CpuStint, CpuTaken, Tid};
use crate::machine::chain::feed::SleepSeen;
use crate::machine::chain::segment::{Did, SegmentSleep, SleepEnd};
use crate::machine::chain::state::{Chain, Service};
use crate::machine::lock::gil_holder::Holders;
use crate::machine::time::short::Short;
use crate::machine::wire::request::{Active, Beginning};
use crate::model::chain::{Chains, LeafKind, LeafTime, NotFollowed, Object, TakenBy, Unreleased};
use crate::model::request::Stretch;
use crate::phase::{Phase, Phases};
use profiler_common::system_call::WRITE;

const MS: u64 = 1_000_000;
const PROCESS: Tid = 1;
const RAN: Did = Did::Ran(Phase::Cpu);

/// A sleep of a phase, and how it ended.
const fn sleep(phase: Phase, end: SleepEnd) -> SegmentSleep {
    SegmentSleep {
        phase,
        is_idle: false,
        system_call: 0,
        object: Object::Unknown,
        connection: 0,
        is_own_port: false,
        end,
        is_way_out: false,
        since_before: false,
        held: None,
        polls_file_lock: false,
    }
}

const fn asks(port: u16) -> Did {
    Did::Slept(SegmentSleep { object: Object::Peer { port }, ..sleep(Phase::BackendWait, SleepEnd::Outside) })
}

const fn waits(phase: Phase, end: SleepEnd) -> Did {
    Did::Slept(sleep(phase, end))
}

const IDLE: Did = Did::Slept(SegmentSleep { is_idle: true, ..sleep(Phase::LockWait, SleepEnd::Unknown) });

/// A chain stage, and a request from 0 on.
struct Case {
    chain: Chain,
    phases: Phases,
    stretches: Vec<Stretch>,
    back_ends: Vec<(u16, u64)>,
    spans: Vec<(u64, u64)>,
    /// The listener where nobody has accepted it; 0: somebody has.
    inode: u64,
}

/// A leaf: kind, its object, grade, reason; and how long, in milliseconds.
type Found = (LeafKind, Object, Option<Unreleased>, Option<NotFollowed>, u64);

impl Case {
    fn new() -> Self {
        Self {
            chain: Chain::default(),
            phases: Phases::default(),
            stretches: Vec::new(),
            back_ends: Vec::new(),
            spans: Vec::new(),
            inode: 0,
        }
    }

    /// A thread did this from where it was to a moment, in milliseconds.
    fn did(mut self, tid: Tid, until_ms: u64, did: Did) -> Self {
        let from_ns = self.chain.histories.get(tid).map_or(0, |history| history.end_ns());
        let mut entry = self.chain.histories.entry(PROCESS, tid, from_ns).unwrap();
        entry.push_did(0, (from_ns, until_ms * MS), did);
        self
    }

    fn born(mut self, tid: Tid, by: Tid, at_ms: u64) -> Self {
        self.chain.histories.born((PROCESS, tid), by, at_ms * MS);
        self
    }

    fn of_pool(mut self, tid: Tid) -> Self {
        self.chain.histories.get_mut(tid).unwrap().is_slot = true;
        self
    }

    fn phase(mut self, phase: Phase, length_ms: u64) -> Self {
        self.phases.add(phase, length_ms * MS);
        self
    }

    fn on(mut self, tid: Tid, (from_ms, until_ms): (u64, u64)) -> Self {
        let (start_ns, end_ns) = (from_ms * MS, until_ms * MS);
        self.stretches.push(Stretch { tgid: PROCESS, tid, start_ns, end_ns });
        self
    }

    fn leaves(self) -> Vec<Found> {
        let found = self.chains().leaves.into_iter().map(|row| {
            let leaf = row.leaf;
            (leaf.kind, leaf.object, leaf.unreleased, leaf.reason, (row.held_ns + MS / 2) / MS)
        });
        found.collect()
    }

    fn chains(mut self) -> Chains {
        let beginning = Beginning { connection: 1, ..Beginning::at(0, 0) };
        let mut request = Active::new(&beginning, PROCESS, 2).request;
        request.tgid = PROCESS;
        request.phases = self.phases;
        request.times.start_ns = 0;
        request.times.end_ns = self.phases.total_ns();
        request.stretches = self.stretches;
        self.back_ends.iter().for_each(|(port, ns)| request.round_trips.waits(*port, *ns));
        let (inode, in_queue) = (self.inode, self.inode > 0);
        self.chain.served(0, Service { spans: self.spans, inode, in_queue, peer: 0 });
        self.chain.complete(&request, None);
        let chains = self.chain.finish(&|_| String::new(), std::iter::empty(), &[]);
        assert_eq!((chains.broken, chains.request_ns), (0, request.total_ns()));
        chains
    }
}

const fn found(kind: LeafKind, ms: u64) -> Found {
    (kind, Object::Unknown, None, None, ms)
}

#[test]
fn who_waits_for_work_at_any_time_of_the_wait_has_not_the_lock_even_if_the_request_is_over_by_then() {
    let case = Case::new()
        .did(2, 100, waits(Phase::LockWait, SleepEnd::Open))
        .did(3, 20, RAN)
        .did(3, 100, IDLE)
        .phase(Phase::PoolWait, 10)
        .of_pool(2);
    let expected = (LeafKind::NotReleased, Object::Unknown, Some(Unreleased::NobodyCould), None, 10);
    assert_eq!(case.leaves(), [expected]);
}

#[test]
fn who_computes_in_a_call_for_long_is_at_that_call() {
    let (write, object) = (WRITE.cast_signed(), Object::Descriptor { fd: 5 });
    let writes = Did::InKernel { system_call: write, object };
    let of = |case: Case| {
        let of_leaf =
            |row: LeafTime| (row.leaf.kind, row.leaf.system_call, row.leaf.object, row.held_ns / MS);
        case.chains().leaves.into_iter().map(of_leaf).collect::<Vec<_>>()
    };
    let computed = |ms| (LeafKind::Computing, -1, Object::Unknown, ms);
    let wrote = |ms| (LeafKind::Computing, write, object, ms);
    // The request itself, which waits for nothing.
    let itself = || Case::new().did(2, 4, RAN).did(2, 16, writes).on(2, (0, 16));
    assert_eq!(of(itself().phase(Phase::Cpu, 16)), [wrote(12), computed(4)]);
    // No more than it computed in all; and not while another's was on its thread.
    assert_eq!(of(itself().phase(Phase::Cpu, 8).phase(Phase::ClientWriteStall, 8))[0], wrote(8));
    assert_eq!(of(Case::new().did(2, 16, writes).phase(Phase::Cpu, 16)), [computed(16)]);
    // A thread for which it waits.
    let behind = Case::new().did(2, 10, waits(Phase::LockWait, SleepEnd::Thread(3))).did(3, 10, writes);
    assert_eq!(of(behind.on(2, (0, 10)).phase(Phase::LockWait, 10)), [wrote(10)]);
}

#[test]
fn a_loop_that_spins_does_so_for_no_request_that_it_turns_to_meanwhile() {
    let looks = Short { ran_ns: 7_000_000, calls: 500, looks: 490, ..Short::default() };
    let spins = |is_loop| {
        let mut case = Case::new().did(2, 8, Did::Short(looks)).phase(Phase::LoopWait, 8);
        case.chain.histories.get_mut(2).unwrap().is_loop = is_loop;
        case.chain.histories.claim(2, (0, 8 * MS), 1);
        let found = case.chains().leaves.into_iter().map(|row| (row.leaf.kind, row.leaf.endpoint > 0));
        found.collect::<Vec<_>>()
    };
    assert_eq!(spins(true), [(LeafKind::Spinning, false)]);
    assert_eq!(spins(false), [(LeafKind::Spinning, true)], "it asks again and again for a request");
    // Who waits for the CPU that it has waits for no request either.
    let mut case = Case::new().did(2, 8, Did::Queued((0, 8 * MS))).did(3, 8, Did::Short(looks)).on(2, (0, 8));
    case.chain.histories.get_mut(3).unwrap().is_loop = true;
    case.chain.histories.claim(3, (0, 8 * MS), 9);
    let comm = String::new();
    let stint = CpuStint { from_ns: 0, until_ns: 8 * MS, ran_ns: 8 * MS, tid: 3, is_ours: true, comm };
    let stints = vec![stint];
    let taken = CpuTaken { tid: 2, cpu: 0, since_ns: 0, is_throttled: false, has_moved: false, stints };
    case.chain.cpus.note(&taken, 8 * MS);
    let taken_by: Vec<_> =
        case.phase(Phase::RunQueue, 8).chains().leaves.iter().map(|row| row.leaf.taken_by).collect();
    assert_eq!(taken_by, [Some(TakenBy::Thread)]);
}

#[test]
fn what_was_followed_to_one_back_end_takes_nothing_from_another() {
    // On a loop: 10 ms in a call that blocks it, and 10 ms in which the loop goes on.
    let mut case = Case::new().did(2, 10, asks(53)).on(2, (0, 10)).phase(Phase::BackendWait, 20);
    case.back_ends = vec![(53, 10 * MS), (5432, 10 * MS)];
    let expected = [
        (LeafKind::BackEnd, Object::Peer { port: 5432 }, None, None, 10),
        (LeafKind::NameServer, Object::Peer { port: 53 }, None, None, 10),
    ];
    assert_eq!(case.leaves(), expected);
}

#[test]
fn a_wait_behind_a_wait_has_the_share_of_each_moment() {
    // Thread 2 waits for 4, which is at one thing and then at another; 3 is there in the second half alone.
    let case = Case::new()
        .did(2, 20, waits(Phase::LockWait, SleepEnd::Thread(4)))
        .did(4, 10, asks(1))
        .did(4, 20, asks(2))
        .did(1, 20, IDLE)
        .born(3, 1, 10)
        .did(3, 20, RAN)
        .of_pool(2)
        .of_pool(3)
        .phase(Phase::PoolWait, 20);
    let expected = [
        (LeafKind::BackEnd, Object::Peer { port: 1 }, None, None, 10),
        found(LeafKind::Computing, 5),
        (LeafKind::BackEnd, Object::Peer { port: 2 }, None, None, 5),
    ];
    assert_eq!(case.leaves(), expected);
}

#[test]
fn a_worker_that_has_not_begun_to_accept_keeps_those_waiting_whom_nobody_accepts() {
    const STARTING: Tid = 5;
    const HELPER: Tid = 6;
    let case = |acceptor: Option<Tid>| {
        let mut case = Case::new().did(2, 20, asks(1)).did(HELPER, 20, asks(2));
        case.chain.histories.born((STARTING, STARTING), PROCESS, 10 * MS);
        let mut starting = case.chain.histories.entry(STARTING, STARTING, 10 * MS).unwrap();
        starting.push_did(0, (10 * MS, 20 * MS), RAN);
        case.chain.attendance.note_workers([(7, vec![PROCESS, STARTING])].into());
        acceptor.into_iter().for_each(|tid| case.chain.attendance.accepts(7, tid));
        case.inode = 7;
        case.phase(Phase::AcceptQueue, 20).leaves()
    };
    let back_end = (LeafKind::BackEnd, Object::Peer { port: 1 }, None, None, 15);
    assert_eq!(case(Some(2)), [back_end, found(LeafKind::Computing, 5)]);
    // Nobody is known to accept: of the other worker nothing is known, as its first thread was never seen.
    assert_eq!(case(None), [found(LeafKind::Computing, 10), found(LeafKind::NoThread, 10)]);
}

#[test]
fn who_waits_to_be_accepted_waits_for_workers_that_hang_since_before_too() {
    const HANGS: Tid = 5;
    let mut case = Case::new().did(2, 20, asks(1));
    case.chain.attendance.note_workers([(7, vec![PROCESS, HANGS])].into());
    case.chain.attendance.accepts(7, 2);
    let object = Object::Peer { port: 2 };
    let asleep = SleepSeen { object, since_before: true, ..SleepSeen::outside(0) };
    case.chain.looks.hung.note((HANGS, HANGS), 0, (Phase::BackendWait, &asleep));
    case.inode = 7;
    let back_end = |port| (LeafKind::BackEnd, Object::Peer { port }, None, None, 10);
    let mut leaves = case.phase(Phase::AcceptQueue, 20).leaves();
    leaves.sort_unstable_by_key(|leaf| leaf.1);
    assert_eq!(leaves, [back_end(1), back_end(2)]);
}

#[test]
fn where_two_compute_at_once_nobody_has_the_interpreter_lock_by_elimination() {
    let case = Case::new()
        .did(2, 20, waits(Phase::GilWait, SleepEnd::Holders(Holders::NONE)))
        .did(3, 20, RAN)
        .did(4, 10, asks(1))
        .did(4, 20, RAN)
        .on(2, (0, 20))
        .phase(Phase::GilWait, 20);
    let unknown = (LeafKind::NotFollowed, Object::Unknown, None, Some(NotFollowed::Holder), 10);
    let mut leaves = case.leaves();
    leaves.sort_unstable_by_key(|leaf| leaf.0);
    assert_eq!(leaves, [found(LeafKind::Computing, 10), unknown]);
}

#[test]
fn a_thread_that_hangs_in_a_job_since_before_is_of_the_pool_and_one_that_sleeps_is_not() {
    let asked = |port, ms| (LeafKind::BackEnd, Object::Peer { port }, None, None, ms);
    let case = |is_pool_known: bool, phase, until_ms| {
        let object = Object::Peer { port: 2 };
        let hangs = SegmentSleep { since_before: true, object, ..sleep(phase, SleepEnd::Outside) };
        let case = Case::new().did(2, 20, asks(1)).did(3, until_ms, Did::Slept(hangs)).did(3, 20, RAN);
        let case = if is_pool_known { case.of_pool(2) } else { case };
        case.phase(Phase::PoolWait, 20).leaves()
    };
    assert_eq!(case(true, Phase::BackendWait, 2), [asked(1, 20)], "it has done something since");
    assert_eq!(case(true, Phase::BackendWait, 20), [asked(1, 10), asked(2, 10)]);
    assert_eq!(case(true, Phase::Sleep, 20), [asked(1, 20)], "a janitor");
    let sleeps = (LeafKind::Sleep, Object::Peer { port: 2 }, None, None, 20);
    assert_eq!(case(false, Phase::Sleep, 20), [sleeps], "nobody else is known to serve");
}

#[test]
fn threads_that_made_one_another_are_not_followed_for_ever() {
    let case = Case::new()
        .did(2, 20, waits(Phase::LockWait, SleepEnd::Thread(3)))
        .born(3, 4, 30)
        .born(4, 3, 40)
        .on(2, (0, 20))
        .phase(Phase::LockWait, 20);
    let too_deep = (LeafKind::NotFollowed, Object::Unknown, None, Some(NotFollowed::TooDeep), 20);
    assert_eq!(case.leaves(), [too_deep]);
}

/// Thread 2 has waited for a lock since 0; others did this.
fn waits_for_a_lock(others: &[(Tid, Did)]) -> Vec<Found> {
    let first = Case::new().did(2, 100, waits(Phase::LockWait, SleepEnd::Open));
    let case = others.iter().fold(first, |case, (tid, did)| case.did(*tid, 100, *did));
    case.on(2, (0, 100)).phase(Phase::LockWait, 100).leaves()
}

#[test]
fn of_several_that_could_have_a_lock_it_does_not_matter_who_it_is_where_all_are_at_the_same() {
    let back_end = (LeafKind::BackEnd, Object::Peer { port: 5 }, None, None, 100);
    assert_eq!(waits_for_a_lock(&[(3, asks(5)), (4, asks(5))]), [back_end]);
    let unknown =
        (LeafKind::NotFollowed, Object::Unknown, Some(Unreleased::Watched), Some(NotFollowed::Holder), 100);
    assert_eq!(waits_for_a_lock(&[(3, asks(5)), (4, asks(6))]), [unknown]);
    assert_eq!(waits_for_a_lock(&[(3, asks(5)), (4, RAN)]), [unknown]);
}

#[test]
fn who_hangs_in_a_call_that_has_not_ended_has_run_before_it() {
    use crate::fact::Account;
    use crate::machine::chain::feed::{Doer, SleepSeen};
    use crate::machine::time::piece::Piece;
    // A consumer waits for a helper, which hangs in a back end. Each ran as its call began.
    let mut case = Case::new().did(2, 100, waits(Phase::LockWait, SleepEnd::Open));
    for (tid, phase) in [(3, Phase::LockWait), (4, Phase::BackendWait)] {
        let account = Account { cpu_ns: MS / 2, run_queue_ns: 0, blocked_ns: 100 * MS - MS / 2 };
        let call = Piece { blocked: phase, account, ..Piece::unknown(0, 100 * MS) };
        let end = if phase == Phase::LockWait { SleepEnd::Open } else { SleepEnd::Outside };
        let seen = SleepSeen { is_open: true, end, ..SleepSeen::outside(202) };
        case.chain.histories.piece(Doer { tgid: PROCESS, tid, request: 0 }, &call, true, &seen);
    }
    let leaves = case.on(2, (0, 100)).phase(Phase::LockWait, 100).leaves();
    let kinds: Vec<LeafKind> = leaves.iter().map(|leaf| leaf.0).collect();
    assert_eq!(kinds[0], LeafKind::BackEnd, "{leaves:?}");
    assert!(!kinds.contains(&LeafKind::NotReleased));
}

#[test]
fn a_wait_for_a_cpu_is_by_who_had_it_and_the_rest_of_it_by_nobody_that_is_known() {
    let mut case = Case::new().did(2, 10, Did::Queued((0, 10 * MS))).did(3, 4, RAN).on(2, (0, 10));
    let stint = |tid, (from_ms, until_ms): (u64, u64), comm: &str| CpuStint {
        from_ns: from_ms * MS,
        until_ns: until_ms * MS,
        ran_ns: (until_ms - from_ms) * MS,
        tid,
        is_ours: comm.is_empty(),
        comm: comm.to_owned(),
    };
    let stints = vec![stint(3, (0, 4), ""), stint(9, (4, 7), "cc1")];
    let taken = CpuTaken { tid: 2, cpu: 0, since_ns: 2 * MS, is_throttled: false, has_moved: false, stints };
    case.chain.cpus.note(&taken, 8 * MS);
    case = case.phase(Phase::RunQueue, 10);
    let chains = case.chains();
    let told: Vec<_> = chains.leaves.iter().map(|row| (row.leaf.taken_by, row.held_ns / MS)).collect();
    let expected = [(None, 5), (Some(TakenBy::Program { number: 0 }), 3), (Some(TakenBy::Thread), 2)];
    assert_eq!(told, expected);
    assert_eq!(chains.programs, ["cc1"]);
}
