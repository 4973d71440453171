//! Windows of a run: a look at one that is open is the report of a run that ends there, and rolling loses
//! nothing.
//!
//! In: random scripts of threads, moments to look and to roll at. Out: assertions.

use super::*;
use crate::fact::OpenSlice;
use crate::fact::queue::NetworkCounters;

/// What a thread was in the middle of at `time_ns`, as a gap: of what its next slice accounts for, as much as
/// fits in front of that moment. Nothing, if no slice comes after.
fn open_at(script: &Script, time_ns: u64) -> Option<OpenSlice> {
    let mut slices = script.events.iter().filter_map(|event| match &event.body {
        Body::Slice(slice) => Some((event.time_ns, slice)),
        _ => None,
    });
    let (_, next) = slices.find(|(exit_ns, _)| *exit_ns > time_ns)?;
    let mut left_ns = time_ns - next.gap_start_ns();
    let mut part = |whole_ns: u64| {
        let part_ns = whole_ns.min(left_ns);
        left_ns -= part_ns;
        part_ns
    };
    let (gap, inside) = (next.gap, next.inside);
    let gap = Account {
        cpu_ns: part(gap.cpu_ns) + part(inside.cpu_ns),
        run_queue_ns: part(gap.run_queue_ns) + part(inside.run_queue_ns),
        blocked_ns: part(gap.blocked_ns) + part(inside.blocked_ns),
    };
    Some(OpenSlice {
        tgid: script.tgid,
        tid: script.tid,
        sequence: next.sequence - 1,
        gap_start_ns: next.gap_start_ns(),
        gap,
        ..OpenSlice::default()
    })
}

fn fact(time_ns: u64, fact: Fact) -> Event {
    Event { time_ns, body: Body::Fact(Box::new(fact)) }
}

/// Everything that happens, in order, without the end of the window.
fn events_of(scripts: &[Script]) -> Vec<Event> {
    let class = DescriptorClass::Listener;
    let listener = DescriptorSeen {
        tgid: 1,
        fd: LISTENER,
        class,
        interest: Vec::new(),
        interest_events: Vec::new(),
        shared: false,
        local_port: 0,
    };
    let mut events = vec![
        fact(START, Fact::Attached(Attached { arrival_measured: true, ..Attached::default() })),
        fact(START, Fact::WindowStarted),
        fact(START, Fact::DescriptorSeen(listener)),
    ];
    events.extend(scripts.iter().flat_map(|script| script.events.iter().cloned()));
    events.sort_by_key(|event| event.time_ns);
    events
}

/// Takes an event as [`Pipeline::push`] does, after decoding.
fn take(pipeline: &mut Pipeline, event: Event, sink: &mut dyn FnMut(Entry)) {
    pipeline.order.push(event);
    let machines = &mut pipeline.machines;
    machines.received = counted::Received { malformed: pipeline.malformed, order: pipeline.order.counts() };
    pipeline.order.release(&mut |event| machines.event(event, sink));
}

/// Requests as they come to their ends, and all windows, the last one ended at `end_ns`.
fn replay(events: Vec<Event>, end_ns: u64) -> (Vec<Request>, Vec<Snapshot>) {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut requests = Vec::new();
    let mut windows = Vec::new();
    let mut sink = |entry| {
        if let Entry::Request(request) = entry {
            requests.push(*request);
        }
    };
    for event in events {
        take(&mut pipeline, event, &mut sink);
        windows.extend(pipeline.take_window());
    }
    take(&mut pipeline, fact(end_ns, Fact::WindowEnded { reason: EndReason::Duration }), &mut sink);
    // What the hold-back kept from the machines may hold rolls too.
    let (rest, last) = pipeline.finish_windows(&mut sink);
    windows.extend(rest.into_iter().chain([last]));
    (requests, windows)
}

type Calls = Vec<((Call, i64), u8, (u64, u64, u64), u64)>;

fn scripts_of(threads: Vec<Calls>) -> Vec<Script> {
    let mut scripts = Vec::new();
    for (index, calls) in threads.into_iter().enumerate() {
        let mut script = Script::new(index as u32 + 1).accept(9 - index as i32, (1, 0, 0));
        for ((call, result), head, inside, gap) in calls {
            script = script.cpu(gap);
            script = match (head, call) {
                (1, Call::Read { fd, arrival_ns, .. }) => script.read(fd, GET, arrival_ns, inside),
                (1, Call::Write { fd }) => script.write_head(fd, OK5, inside),
                (2, Call::Read { .. } | Call::Write { .. }) => script.accept(8, inside),
                _ => script.call(call, result, inside, 0),
            };
        }
        scripts.push(script);
    }
    scripts
}

fn threads() -> impl Strategy<Value = Vec<Calls>> {
    let call = (any_call(), 0..3_u8, (0..50_u64, 0..5_u64, 0..90_u64), 0..40_u64);
    proptest::collection::vec(proptest::collection::vec(call, 0..60), 1..4)
}

/// All of a thread's account in a window.
fn account_of(snapshot: &Snapshot, tid: u32) -> u64 {
    let threads = snapshot.processes.iter().flat_map(|process| &process.threads);
    threads.filter(|thread| thread.tid == tid).map(|t| t.cpu_ns + t.run_queue_ns + t.blocked_ns).sum()
}

/// The process of the scripts, so that threads are listed.
fn process(threads: usize) -> Event {
    let threads = (1..=threads as u32).map(|tid| (tid, "worker".to_owned())).collect();
    fact(START, Fact::ProcessSeen(ProcessSeen { tgid: 1, threads, ..Default::default() }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The stream with rolls anywhere finishes the same requests, each counted in one window. Every law holds
    /// in each window. Threads' time is cut at the edges, and nothing of it is lost or counted twice.
    #[test]
    fn rolls_anywhere_lose_nothing_and_count_nothing_twice(
        threads in threads(),
        rolls in proptest::collection::vec(0..9_000_u64, 0..6),
    ) {
        let scripts = scripts_of(threads);
        let end_ns = START + 20_000 * US;
        let mut events = events_of(&scripts);
        events.insert(0, process(scripts.len()));
        let (requests, whole) = replay(events.clone(), end_ns);
        let whole = &whole[0];

        for roll in &rolls {
            let time_ns = START + roll * US;
            let place = events.partition_point(|event| event.time_ns <= time_ns);
            let open = scripts.iter().filter_map(|script| open_at(script, time_ns));
            let mut closing: Vec<Event> = open.map(|open| fact(time_ns, Fact::OpenSlice(open))).collect();
            closing.push(fact(time_ns, Fact::WindowRolled));
            events.splice(place..place, closing);
        }
        let (rolled_requests, windows) = replay(events, end_ns);
        prop_assert_eq!(windows.len(), rolls.len() + 1);

        let same = |requests: &[Request]| format!("{requests:?}");
        let done = |requests: &[Request]| requests.iter().filter(|request| !request.seen.open).count() as u64;
        prop_assert_eq!(same(&rolled_requests), same(&requests));
        let sum = |of: fn(&Snapshot) -> u64| windows.iter().map(of).sum::<u64>();
        prop_assert_eq!(sum(|window| window.requests.completed), done(&requests));
        prop_assert_eq!(whole.requests.completed, done(&requests));
        prop_assert_eq!(sum(|window| window.coverage.conservation.slices), whole.coverage.conservation.slices);
        prop_assert_eq!(sum(|window| window.requests.total.count()), whole.requests.total.count());
        prop_assert_eq!(sum(|window| window.by_endpoint.list.iter().map(|e| e.count).sum()), done(&requests));
        for tid in 1..=scripts.len() as u32 {
            let accounts: u64 = windows.iter().map(|window| account_of(window, tid)).sum();
            prop_assert_eq!(accounts, account_of(whole, tid), "thread {}", tid);
        }
        for window in &windows {
            let length_ns = window.window.length_ns();
            prop_assert_eq!(window.coverage.conservation.slices_broken, 0);
            prop_assert_eq!(window.coverage.conservation.requests_broken, 0);
            prop_assert!(window.slots.exhausted_ns <= length_ns);
            prop_assert!(window.slots.observed.len() <= scripts.len());
            for slot in &window.slots.observed {
                prop_assert!(slot.busy_ns() <= slot.length_ns(), "{:?}", slot);
                prop_assert!(slot.length_ns() <= length_ns, "{:?}", slot);
            }
            for tid in 1..=scripts.len() as u32 {
                prop_assert!(account_of(window, tid) <= length_ns);
            }
        }
    }

    /// A look at the open window is the report of a run that ended at that moment, and leaves no trace.
    #[test]
    fn look_at_a_window_is_the_report_of_a_run_that_ended_there(threads in threads(), at_us in 0..9_000_u64) {
        let scripts = scripts_of(threads);
        let (at_ns, end_ns) = (START + at_us * US, START + 20_000 * US);
        let mut events = events_of(&scripts);
        events.insert(0, process(scripts.len()));
        let (_, untouched) = replay(events.clone(), end_ns);
        let closing: Vec<Fact> =
            scripts.iter().filter_map(|script| open_at(script, at_ns)).map(Fact::OpenSlice).collect();

        // Everything is there already: what is later than the moment must be left out.
        let mut pipeline = Pipeline::new(Settings::default());
        let mut nobody = |_| {};
        for event in events.clone() {
            take(&mut pipeline, event, &mut nobody);
        }
        let seen = pipeline.peek(at_ns, closing.clone(), EndReason::Duration);

        events.retain(|event| event.time_ns <= at_ns);
        events.extend(closing.into_iter().map(|closing| fact(at_ns, closing)));
        let (_, cut) = replay(events, at_ns);
        prop_assert_eq!(format!("{seen:?}"), format!("{:?}", cut[0]));

        take(&mut pipeline, fact(end_ns, Fact::WindowEnded { reason: EndReason::Duration }), &mut nobody);
        let after = pipeline.finish(&mut nobody);
        prop_assert_eq!(format!("{after:?}"), format!("{:?}", untouched[0]));
    }
}

#[test]
fn request_in_flight_at_a_roll_is_open_there_and_whole_in_the_next_window() {
    let script = Script::new(1)
        .select((0, 0, 90))
        .accept(9, (10, 0, 0))
        .read(9, GET, START + 100 * US, (10, 0, 0))
        .cpu(890)
        .write_head(9, OK5, (10, 0, 0))
        .write(9, 5, (10, 0, 0))
        .select((0, 0, 80));
    let roll_ns = START + 500 * US;
    let open = fact(roll_ns, Fact::OpenSlice(open_at(&script, roll_ns).unwrap()));
    let mut events = events_of(&[script]);
    let (_, whole) = replay(events.clone(), START + 1_100 * US);
    let place = events.partition_point(|event| event.time_ns <= roll_ns);
    events.splice(place..place, [open, fact(roll_ns, Fact::WindowRolled)]);
    let (requests, windows) = replay(events, START + 1_100 * US);
    let [first, second] = windows.as_slice() else { panic!("{} windows", windows.len()) };
    assert_eq!((first.requests.open.count, first.requests.completed), (1, 0));
    assert_eq!((second.requests.open.count, second.requests.completed), (0, 1));
    assert_eq!(second.requests.phases.total_ns(), requests[0].total_ns());
    assert_eq!(first.window.end_reason, Some(EndReason::NextWindow));
    // The slot's time is cut where the windows meet.
    let held = |window: &Snapshot| window.slots.observed.iter().map(|slot| slot.busy_ns()).sum::<u64>();
    assert_eq!(held(first), 400 * US);
    assert_eq!(held(first) + held(second), held(&whole[0]));
}

#[test]
fn cumulative_counts_are_those_of_the_window() {
    let counters = |lost, received| {
        Fact::Counters(Counters {
            lost: vec![("ring_full".to_owned(), lost)],
            emitted: vec![("slice".to_owned(), received)],
            received,
            ..Counters::default()
        })
    };
    let mut events = events_of(&[]);
    events.push(fact(START + 10, counters(5, 100)));
    events.push(fact(START + 10, Fact::WindowRolled));
    events.push(fact(START + 20, counters(7, 160)));
    events.push(fact(START + 20, Fact::WindowRolled));
    events.push(fact(START + 30, counters(7, 180)));
    let (_, windows) = replay(events, START + 30);
    let seen: Vec<_> = windows
        .iter()
        .map(|window| {
            let lost = window.coverage.losses.kernel.lost.iter().map(|(_, count)| *count).sum::<u64>();
            (lost, window.coverage.conservation.emitted, window.coverage.conservation.received)
        })
        .collect();
    assert_eq!(seen, [(5, 100, 100), (2, 60, 60), (0, 20, 20)]);
    assert!(!windows[2].coverage.losses.any());
}

#[test]
fn windows_that_nobody_takes_are_not_made_without_end_and_the_next_one_says_so() {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut nobody = |_| {};
    for event in events_of(&[]) {
        take(&mut pipeline, event, &mut nobody);
    }
    for number in 1..=40 {
        take(&mut pipeline, fact(START + number * US, Fact::WindowRolled), &mut nobody);
    }
    let (windows, last) = pipeline.finish_windows(&mut nobody);
    let starts_ns: Vec<u64> = windows.iter().map(|window| window.window.start_ns).collect();
    assert_eq!(starts_ns, (0..16).map(|number| START + number * US).collect::<Vec<_>>());
    assert!(windows.iter().all(|window| !window.coverage.losses.any()));
    assert_eq!(last.window.start_ns, START + 40 * US);
    assert_eq!(last.coverage.losses.evicted, 1, "the one before it");
}

#[test]
fn what_found_no_place_counts_in_its_own_window() {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut nobody = |_| {};
    for event in events_of(&[]) {
        take(&mut pipeline, event, &mut nobody);
    }
    // The table of these counters stays from one window to the next, and has room for 16.
    for (time_ns, namespaces) in [(START, 0..18), (START + 2 * US, 20..21), (START + 4 * US, 0..1)] {
        for namespace in namespaces {
            let counters = NetworkCounters { namespace, ..NetworkCounters::default() };
            take(&mut pipeline, fact(time_ns, Fact::NetworkCounters(counters)), &mut nobody);
        }
        take(&mut pipeline, fact(time_ns + US, Fact::WindowRolled), &mut nobody);
    }
    let (windows, last) = pipeline.finish_windows(&mut nobody);
    let evicted = windows.iter().chain([&last]).map(|window| window.coverage.losses.evicted);
    assert_eq!(evicted.collect::<Vec<_>>(), [2, 1, 0, 0]);
}
