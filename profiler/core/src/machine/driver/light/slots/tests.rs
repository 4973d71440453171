//! Slots of light mode: who is one, when it was busy, and what held it.
//!
//! In: sleeps and messages made by hand. Out: assertions.

use profiler_common::record::{detail, sleep};
use profiler_common::system_call::{CLOCK_NANOSLEEP, EPOLL_WAIT, FUTEX, RECVFROM, SENDTO};
use proptest::prelude::*;

use crate::event::{Head, Light, LightWhat, Slept, SleptOn, Tid};
use crate::fact::{Account, OpenSlice};
use crate::machine::driver::state::State;
use crate::machine::driver::unserved::Unserved;
use crate::model::slot::{Holding, Slot};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 100\r\n\r\n";
/// Processes take turns in it to accept.
const FLOCK: u32 = 73;
/// Its socket.
const SOCKET: u64 = 70;

/// A thread of process 1.
struct Run {
    state: State,
    tid: Tid,
    /// When its light slice began, and up to where its time is told.
    since_ns: u64,
    now_ns: u64,
    cpu_ns: u64,
    blocked_ns: u64,
    sequence: u32,
}

impl Run {
    /// Watched from `window_start_ns` on, awake since 1.
    fn new(window_start_ns: u64) -> Self {
        let mut state = State::new(false);
        (state.window_start_ns, state.watch_start_ns, state.time.is_light) = (window_start_ns, 0, true);
        state.time.busy.start(window_start_ns);
        Self { state, tid: 7, since_ns: 1, now_ns: 1, cpu_ns: 0, blocked_ns: 0, sequence: 0 }
    }

    /// Asleep in `of` from `start_ns` to `end_ns`.
    fn sleeps(&mut self, (start_ns, end_ns): (u64, u64), of: Slept) {
        self.cpu_ns += start_ns - self.now_ns;
        let asleep = Slept {
            tid: self.tid,
            start_ns,
            woken_ns: end_ns,
            cpu_ns: self.cpu_ns,
            sequence: self.sequence,
            ..of
        };
        self.blocked_ns += end_ns - start_ns;
        self.now_ns = end_ns;
        self.state.slept(&asleep, end_ns, &mut |_| {});
    }

    fn idles(&mut self, call: u32, span: (u64, u64)) {
        self.sleeps(span, Slept { system_call: call.cast_signed(), ..Slept::blank() });
    }

    /// Waits for the client to send.
    fn waits_for_client(&mut self, span: (u64, u64), is_shut: bool) {
        let of = Slept { on: SleptOn::Client, client: SOCKET, is_shut, ..Slept::blank() };
        self.sleeps(span, Slept { system_call: RECVFROM.cast_signed(), ..of });
    }

    fn moves(&mut self, what: LightWhat, time_ns: u64, head: &[u8]) {
        self.cpu_ns += time_ns - self.now_ns;
        let account = Account { cpu_ns: self.cpu_ns, run_queue_ns: 0, blocked_ns: self.blocked_ns };
        self.sequence += 1;
        let (tid, sequence) = (self.tid, self.sequence);
        let inbound = what == LightWhat::Received;
        if !head.is_empty() {
            let head =
                Head { tgid: 1, tid, sequence, fd: -1, inbound, offset_bytes: 0, bytes: head.to_vec() };
            self.state.heads.insert(tid, head);
        }
        let light = Light {
            is_unix: false,
            tgid: 1,
            tid,
            what,
            socket: SOCKET,
            generation: 0,
            bytes: head.len().max(100) as u64,
            arrival_ns: if inbound { time_ns - 10 } else { 0 },
            account,
            sequence,
            switches: 1,
            flags: 0,
        };
        let bytes = if head.is_empty() || head == POST { light.bytes } else { head.len() as u64 };
        self.state.light(&Light { bytes, ..light }, time_ns, &mut |_| {});
        (self.since_ns, self.now_ns, self.cpu_ns, self.blocked_ns) = (time_ns, time_ns, 0, 0);
    }

    /// The slots as the window ends. `asleep`: in this call, since when.
    fn end(mut self, end_ns: u64, asleep: Option<(u32, u64)>) -> (Vec<Slot>, u64) {
        let mut open = OpenSlice {
            tgid: 1,
            tid: self.tid,
            sequence: self.sequence,
            gap_start_ns: self.since_ns,
            gap_blocked_call: profiler_common::record::slice::NO_CALL,
            ..OpenSlice::default()
        };
        let awake_until_ns = asleep.map_or(end_ns, |(_, since_ns)| since_ns);
        open.gap.cpu_ns = self.cpu_ns + awake_until_ns - self.now_ns;
        open.gap.blocked_ns = self.blocked_ns + end_ns - awake_until_ns;
        if let Some((call, _)) = asleep {
            open.gap_blocked_call = call.cast_signed();
        }
        let slice = crate::decode::open::slice_of(&open, end_ns);
        let state = &mut self.state;
        state.end_light_window((std::slice::from_ref(&open), &[slice]), end_ns, &mut |_| {});
        state.end_window((&[(slice, false)], &Unserved::default()), end_ns, &mut |_| {});
        state.settle(Some(end_ns), &mut |_| {});
        let busy_ns = state.time.busy.at_least_ns(1);
        (state.time.ended_slots.values().cloned().collect(), busy_ns)
    }
}

/// Held times that are not 0.
fn held(slots: &[Slot]) -> Vec<(Holding, u64)> {
    let [slot] = slots else { panic!("{slots:?}") };
    Holding::ALL.into_iter().map(|one| (one, slot.held_ns(one))).filter(|(_, ns)| *ns > 0).collect()
}

/// ```text
/// idle ………… 1000 request … 2000 housekeeping … 2100 idle ……………… 5000
/// ```
#[test]
fn a_thread_is_busy_from_when_it_turns_to_a_request_until_it_waits_for_work_again() {
    for call in [FUTEX, EPOLL_WAIT, FLOCK] {
        let mut run = Run::new(1);
        run.idles(call, (50, 1_000));
        run.moves(LightWhat::Received, 1_200, GET);
        run.idles(CLOCK_NANOSLEEP, (1_300, 1_900));
        run.moves(LightWhat::Sent, 2_000, OK);
        let (slots, busy_ns) = run.end(5_000, Some((call, 2_100)));
        // It had arrived at 1190: what the thread did before that was to turn to it.
        assert_eq!(held(&slots), [(Holding::Request, 810), (Holding::Housekeeping, 339)], "{call}");
        assert_eq!(busy_ns, 1_149, "{call}");
        assert_eq!((slots[0].requests, slots[0].length_ns()), (1, 4_999));
    }
}

#[test]
fn waits_for_a_client_hold_the_thread_as_what_they_are() {
    let mut run = Run::new(1);
    run.idles(FUTEX, (1, 100));
    run.waits_for_client((200, 400), false);
    run.moves(LightWhat::Received, 420, POST);
    run.waits_for_client((500, 800), false);
    run.moves(LightWhat::Received, 810, b"");
    run.moves(LightWhat::Sent, 900, OK);
    run.waits_for_client((950, 1_500), false);
    run.moves(LightWhat::Received, 1_510, GET);
    run.moves(LightWhat::Sent, 1_600, OK);
    run.waits_for_client((1_650, 1_700), true);
    run.idles(FUTEX, (1_750, 2_000));
    let (slots, busy_ns) = run.end(2_000, None);
    let of = |holding| held(&slots).into_iter().find(|(one, _)| *one == holding).map_or(0, |(_, ns)| ns);
    assert_eq!(of(Holding::FirstByte), 200);
    assert_eq!(of(Holding::ClientReadStall), 300);
    assert_eq!(of(Holding::KeepaliveIdle), 550);
    assert_eq!(of(Holding::Linger), 50);
    assert_eq!(busy_ns, 1_650, "from its job on, until it waits for the next");
}

#[test]
fn a_thread_that_was_asleep_as_it_was_first_seen_was_not_busy_by_what_is_known() {
    let mut run = Run::new(1);
    // Its record is missing: it was under way.
    (run.blocked_ns, run.now_ns) = (899, 900);
    run.moves(LightWhat::Received, 1_000, GET);
    run.moves(LightWhat::Sent, 1_500, OK);
    let (slots, busy_ns) = run.end(2_000, Some((FUTEX, 1_500)));
    assert_eq!(held(&slots), [(Holding::Request, 500)]);
    assert_eq!(busy_ns, 500);
}

#[test]
fn what_lies_before_the_window_does_not_count() {
    let mut run = Run::new(1_500);
    run.idles(FUTEX, (1, 1_000));
    run.moves(LightWhat::Received, 1_010, GET);
    run.moves(LightWhat::Sent, 2_000, OK);
    let (slots, busy_ns) = run.end(2_500, Some((FUTEX, 2_000)));
    assert_eq!(held(&slots), [(Holding::Request, 500)]);
    assert_eq!(busy_ns, 500);
}

#[test]
fn a_thread_that_ends_was_busy_until_it_waited_for_work() {
    let mut run = Run::new(1);
    run.idles(FUTEX, (1, 100));
    run.moves(LightWhat::Received, 110, GET);
    run.moves(LightWhat::Sent, 200, OK);
    run.idles(FUTEX, (300, 900));
    run.state.end_light_thread(7, 1_000);
    run.state.end_thread(7, 1_000);
    run.state.settle(Some(1_000), &mut |_| {});
    assert_eq!(run.state.time.busy.at_least_ns(1), 200 + 100);
}

#[test]
fn a_thread_that_ends_with_a_request_that_it_has_not_answered_was_held_by_it() {
    let mut run = Run::new(1);
    run.idles(FUTEX, (1, 100));
    run.moves(LightWhat::Received, 110, POST);
    run.moves(LightWhat::Received, 200, b"");
    run.idles(CLOCK_NANOSLEEP, (300, 900));
    run.state.end_light_thread(7, 1_000);
    run.state.end_thread(7, 1_000);
    run.state.settle(Some(1_000), &mut |_| {});
    let slots: Vec<Slot> = run.state.time.ended_slots.values().cloned().collect();
    assert_eq!(held(&slots), [(Holding::Request, 900)]);
    assert_eq!(run.state.time.busy.at_least_ns(1), 900);
}

#[test]
fn a_thread_that_waits_for_a_client_to_take_the_rest_as_the_window_ends_is_held_by_it() {
    let mut run = Run::new(1);
    run.idles(FUTEX, (1, 100));
    run.moves(LightWhat::Received, 110, GET);
    run.moves(LightWhat::Sent, 200, b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n");
    let of = Slept { on: SleptOn::Client, client: SOCKET, ..Slept::blank() };
    run.sleeps((300, 900), Slept { system_call: SENDTO.cast_signed(), ..of });
    let (slots, busy_ns) = run.end(1_000, None);
    assert_eq!(held(&slots).into_iter().find(|(one, _)| *one == Holding::ClientWriteStall).unwrap().1, 600);
    assert_eq!(busy_ns, 900);
}

#[test]
fn a_sleep_under_way_as_the_window_ends_is_what_its_call_says() {
    let mut run = Run::new(1);
    run.idles(FUTEX, (1, 100));
    run.moves(LightWhat::Received, 110, GET);
    let state = {
        let under_way = |open: &OpenSlice, end_ns| {
            let State { runtime, time, .. } = &run.state;
            super::under_way(&runtime.threads, &time.light.sleeps, open, end_ns)
        };
        let mut open = OpenSlice { tgid: 1, tid: 7, sequence: 1, gap_start_ns: 110, ..OpenSlice::default() };
        open.gap = Account { cpu_ns: 40, run_queue_ns: 0, blocked_ns: 350 };
        open.gap_blocked_call = RECVFROM.cast_signed();
        open.detail = detail::Sleep {
            argument: 5,
            object: sleep::SOCKET,
            socket: 9,
            port: 5432,
            ..detail::Sleep::default()
        }
        .words();
        let asleep = under_way(&open, 500).expect("asleep");
        assert_eq!((asleep.start_ns, asleep.woken_ns, asleep.cpu_ns), (150, 500, 40));
        assert_eq!(asleep.on, SleptOn::Socket { port: 5432 });
        for (what, other) in [
            ("awake", OpenSlice { gap: Account { blocked_ns: 0, ..open.gap }, ..open.clone() }),
            ("another light slice", OpenSlice { sequence: 2, ..open.clone() }),
            ("a thread that moved nothing", OpenSlice { tid: 8, ..open.clone() }),
        ] {
            assert_eq!(under_way(&other, 500), None, "{what}");
        }
        run.state
    };
    assert_eq!(state.time.light.passed_on, 0);
}

#[test]
fn a_request_that_another_thread_answers_is_counted() {
    let mut run = Run::new(1);
    run.moves(LightWhat::Received, 110, GET);
    (run.tid, run.sequence) = (8, 0);
    run.moves(LightWhat::Sent, 200, OK);
    assert_eq!(run.state.time.light.passed_on, 1);
}

proptest! {
    /// Whatever a thread does: it is never busier than it is long, and what held it is its busy time.
    #[test]
    fn what_held_a_slot_is_its_busy_time(
        steps in prop::collection::vec((0_u8..7, 0_u64..500, 0_u64..900), 1..60),
        starts in prop::sample::select(vec![1_u64, 3_000]),
        rest in 0_u64..2_000,
    ) {
        let mut run = Run::new(starts);
        run.idles(FUTEX, (1, 10));
        for (what, cpu_ns, asleep_ns) in steps {
            let at_ns = run.now_ns + cpu_ns + 10;
            match what {
                0 => run.moves(LightWhat::Received, at_ns, GET),
                1 => run.moves(LightWhat::Sent, at_ns, OK),
                2 => run.idles(FUTEX, (at_ns, at_ns + asleep_ns)),
                3 => run.idles(EPOLL_WAIT, (at_ns, at_ns + asleep_ns)),
                4 => run.idles(CLOCK_NANOSLEEP, (at_ns, at_ns + asleep_ns)),
                _ => run.waits_for_client((at_ns, at_ns + asleep_ns), what == 5),
            }
        }
        let end_ns = (run.now_ns + rest).max(starts);
        let asleep = (rest > 500 && run.sequence > 0).then_some((FUTEX, run.now_ns.max(starts) + 100));
        let asleep = asleep.filter(|(_, since_ns)| *since_ns < end_ns);
        let (slots, busy_ns) = run.end(end_ns, asleep);
        for slot in &slots {
            prop_assert!(slot.busy_ns() <= slot.length_ns(), "{:?}", slot);
        }
        let held_ns: u64 = slots.iter().map(Slot::busy_ns).sum();
        prop_assert!(held_ns <= busy_ns, "{} held, {} busy: {:?}", held_ns, busy_ns, slots);
    }
}
