//! From a trace to a model, a self-forecast and forecasts.

use profiler_core::event::Tid;
use profiler_core::fact::machine::MachineCpu;
use profiler_core::fact::memory::ProcessMemory;
use profiler_core::fact::{CgroupCpu, Fact};
use profiler_core::model::capacity::Worker;
use profiler_core::model::request::{Http, OnGil, Request, Seen, Times};
use profiler_core::model::round_trips::RoundTrips;
use profiler_core::model::slot::Slot;
use profiler_core::model::{CgroupWindow, Origin, Process, Setting, Snapshot, Thread, Window};
use profiler_core::phase::{Phase, Phases};
use profiler_core::timeline::{Entry, ThreadState};
use profiler_forecast::load::{Arrives, Segment, Work};
use profiler_forecast::setting::{Dispatch, Errands, Wakes};

use profiler_forecast::change::{Change, Class};
use profiler_forecast::search::{Goal, Quantile};

use super::forecast::{Ask, Asked, WhatIf, WhatIfError};
use super::model::{Arrivals, Model};
use super::refusal::{Refusal, refusals};
use super::trace::Trace;
use super::{json, text};
use crate::report::escape::Charset;
use crate::session::observer::Observer as _;

/// What a thread of process 1 did.
pub(super) fn slice(tid: u32, start_ns: u64, end_ns: u64, state: ThreadState, label: &'static str) -> Entry {
    Entry::Slice {
        tgid: 1,
        tid,
        start_ns,
        end_ns,
        state,
        label,
        fd: None,
        open: false,
        held_by: None,
        sites: None,
    }
}

/// A wait for the interpreter lock, which another thread had as it began.
pub(super) fn held_slice(tid: u32, start_ns: u64, end_ns: u64, holder: u32) -> Entry {
    match slice(tid, start_ns, end_ns, ThreadState::GilWait, "futex") {
        Entry::Slice { tgid, tid, start_ns, end_ns, state, label, fd, open, sites, .. } => {
            Entry::Slice { tgid, tid, start_ns, end_ns, state, label, fd, open, held_by: Some(holder), sites }
        }
        other => other,
    }
}

/// A request of thread 1 with these phases.
pub(super) fn request(start_ns: u64, durations_ns: &[(Phase, u64)]) -> Request {
    let mut phases = Phases::default();
    durations_ns.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
    let end_ns = start_ns + phases.total_ns();
    Request {
        id: start_ns,
        connection: start_ns,
        index_on_connection: 0,
        tgid: 1,
        tid: 1,
        slot: Some(0),
        times: Times { start_ns, end_ns, start_is_arrival: true, ..Times::default() },
        http: Http { method: "GET".to_owned(), path: "/a/7".to_owned(), ..Http::default() },
        round_trips: RoundTrips::default(),
        phases,
        stretches: Vec::new(),
        gil: OnGil::default(),
        seen: Seen::default(),
    }
}

/// Two cores that others used for so long in ten seconds.
pub(super) fn machine(others_ns: u64) -> [Fact; 2] {
    let first = MachineCpu { cpus: 2, ..MachineCpu::default() };
    let idle_ns = 20_000_000_000 - others_ns;
    let last = MachineCpu { read_ns: 10_000_000_000, idle_ns, ..first };
    [first, last].map(Fact::MachineCpu)
}

pub(super) fn traced(requests: Vec<Request>, accepting: Tid) -> Trace {
    let mut trace = Trace::default();
    machine(0).iter().for_each(|fact| trace.note(fact));
    trace.entry(&Entry::Slice {
        tgid: 1,
        tid: accepting,
        start_ns: 0,
        end_ns: 1,
        state: ThreadState::Idle,
        label: "accept4",
        fd: Some(3),
        open: false,
        held_by: None,
        sites: None,
    });
    requests.into_iter().for_each(|request| trace.entry(&Entry::Request(Box::new(request))));
    trace
}

/// One process with a slot, thread 1, and a thread beside it, 2.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot {
        window: Window { start_ns: 1, end_ns: 10_000_000_001, end_reason: None },
        ..Snapshot::default()
    };
    let thread = |tid, cpu_ns, requests| Thread { tid, cpu_ns, requests, ..Thread::default() };
    let threads = vec![thread(1, 1000, 2), thread(2, 80, 0)];
    snapshot.processes = vec![Process { tgid: 1, requests: 2, threads, ..Process::default() }];
    snapshot.capacity.workers = vec![Worker { tgid: 1, slots: 1, seen: 1, ..Worker::default() }];
    snapshot.slots.configured = Some(1);
    snapshot.slots.observed = vec![Slot::default()];
    snapshot.requests.completed = 500;
    snapshot.session.cpu_count = 2;
    snapshot
}

#[test]
fn without_readings_of_the_machine_there_is_no_forecast_and_with_them_others_are_in_the_model() {
    let mut trace = calm();
    trace.machine.clear();
    let found = refusals(&calm_snapshot(), &trace);
    assert_eq!(found, [Refusal::NoMachine]);
    trace.entry(&Entry::Slice {
        tgid: 1,
        tid: 1,
        start_ns: 1,
        end_ns: 5001,
        state: ThreadState::Running,
        label: "running",
        fd: None,
        open: false,
        held_by: None,
        sites: None,
    });
    machine(4_000_000_000).iter().for_each(|fact| trace.note(fact));
    // A reading that is not later says nothing.
    trace.note(&machine(0)[0]);
    assert_eq!(refusals(&calm_snapshot(), &trace), []);
    let model = Model::of(&calm_snapshot(), &trace, None);
    let [others, then] = model.setting.competition[..] else { panic!("{:?}", model.setting.competition) };
    // What the server's own threads used is not that of others.
    let own_ns: u64 = calm_snapshot().processes[0].threads.iter().map(|thread| thread.cpu_ns).sum();
    assert!((3_999_000_000..=4_000_000_000).contains(&(others.cpu_ns + own_ns)), "{others:?}");
    assert!(
        (model.others_cores.unwrap() * 1e10 - others.cpu_ns as f64).abs() < 1e6,
        "{:?}",
        model.others_cores
    );
    assert_eq!((others.from_ns, others.until_ns, then.from_ns), (0, 10_000_000_000, 10_000_000_000));
    assert!((then.cores() - others.cores()).abs() < 1e-6, "{then:?}");
}

#[test]
fn where_others_took_all_that_there_was_there_is_no_forecast() {
    for (others_ns, expected) in [(19_500_000_000, &[][..]), (19_700_000_000, &[Refusal::TakenByOthers][..])]
    {
        let mut trace = calm();
        trace.machine.clear();
        machine(others_ns).iter().for_each(|fact| trace.note(fact));
        assert_eq!(refusals(&calm_snapshot(), &trace), expected, "{others_ns}");
    }
}

pub(super) const fn python(duration_ns: u64) -> Segment {
    Segment { work: Work::Python, duration_ns }
}

#[test]
fn who_accepts_says_how_requests_come_to_slots() {
    let requests = || vec![request(100, &[(Phase::Cpu, 300)]), request(1000, &[(Phase::Cpu, 400)])];
    let own = Model::of(&snapshot(), &traced(requests(), 1), None);
    assert_eq!(own.setting.dispatch, Dispatch::Shared(Wakes::Random));
    // 1000 ns of the thread that serves, 700 of them within requests, for two requests.
    assert_eq!(own.load.after, [python(150)]);
    let other = Model::of(&snapshot(), &traced(requests(), 2), None);
    assert_eq!(
        other.setting.dispatch,
        Dispatch::ByProcess(Errands {
            before: vec![python(0)],
            accept_at: 1,
            then: Vec::new(),
            after: vec![python(40)]
        })
    );
    assert_eq!((other.setting.processes, other.setting.threads, other.setting.cores), (1, 1, 2));
    assert_eq!(other.load.endpoints, ["GET /a/{number}"]);
}

#[test]
fn clients_that_wait_for_responses_are_users_who_think() {
    let requests = (0..12).map(|number| {
        let mut request = request(number * 1000, &[(Phase::Cpu, 300)]);
        request.connection = number % 2;
        request
    });
    let trace = traced(requests.collect(), 1);
    let model = Model::of(&snapshot(), &trace, None);
    assert_eq!(model.arrivals, Arrivals::Closed);
    let arrives: Vec<Arrives> = model.load.requests.iter().map(|request| request.arrives).take(3).collect();
    assert_eq!(arrives, [Arrives::At(0), Arrives::At(1000), Arrives::After { request: 0, think_ns: 1700 }]);
    let open = Model::of(&snapshot(), &trace, Some(Arrivals::Open));
    assert_eq!(open.load.requests[2].arrives, Arrives::At(2000));
}

#[test]
fn requests_that_were_cut_are_load_and_do_not_count() {
    let mut open = request(1000, &[(Phase::Cpu, 400)]);
    open.seen.open = true;
    let mut without_slot = request(1500, &[(Phase::AcceptQueue, 400)]);
    without_slot.slot = None;
    let model = Model::of(
        &snapshot(),
        &traced(vec![request(100, &[(Phase::Cpu, 300)]), open, without_slot], 1),
        None,
    );
    assert_eq!((model.load.requests.len(), model.measured.len()), (2, 1));
}

#[test]
fn each_reason_against_a_forecast_is_named() {
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        refusals(&snapshot, &traced(Vec::new(), 1))
    };
    assert_eq!(with(|_| {}), []);
    assert_eq!(with(|snapshot| snapshot.requests.completed = 499), [Refusal::TooFew { completed: 499 }]);
    assert_eq!(with(|snapshot| snapshot.requests.total.record(4_000_000_000)), [Refusal::TooShort]);
    assert_eq!(with(|snapshot| snapshot.coverage.losses.late = 1), [Refusal::Losses]);
    let full = with(|snapshot| snapshot.slots.exhausted_ns = 9_500_000_000);
    assert_eq!(full, [Refusal::Saturated { percent: 95 }]);
    assert_eq!(with(|snapshot| snapshot.slots.observed[0].is_loop = true), [Refusal::EventLoop]);
    assert_eq!(with(|snapshot| snapshot.slots.come_and_go = true), [Refusal::NoSlots]);
    assert_eq!(with(|snapshot| snapshot.capacity.workers.clear()), [Refusal::NoSlots]);
    let unseen = with(|snapshot| snapshot.coverage.not_measured = vec![(Phase::AcceptQueue, String::new())]);
    assert_eq!(unseen, [Refusal::NoArrivals]);
    let silent = with(|snapshot| {
        snapshot.slots.observed[0].holding_ns = [80, 0, 0, 0, 20, 0, 0, 0, 0];
    });
    assert_eq!(silent, [Refusal::Silent { percent: 20 }]);
    let uneven = with(|snapshot| {
        snapshot.slots.configured = Some(3);
        snapshot.capacity.workers[0].slots = 2;
    });
    assert_eq!(uneven, [Refusal::Uneven]);
}

/// Every 10 ms a request of 2 ms to a server that has nothing else to do.
pub(super) fn calm() -> Trace {
    traced((0..600).map(|number| request(number * 10_000_000, &[(Phase::Cpu, 2_000_000)])).collect(), 1)
}

/// The same, half of them to another endpoint.
fn with_two_endpoints() -> Trace {
    let mut trace = calm();
    trace.requests.iter_mut().step_by(2).for_each(|request| "/b".clone_into(&mut request.http.path));
    trace
}

/// The accounts of threads that go with that.
pub(super) fn calm_snapshot() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.processes[0].threads[0].cpu_ns = 600 * 2_000_000;
    snapshot.requests.completed = 600;
    snapshot
}

#[test]
fn where_the_self_forecast_holds_each_change_is_forecast_alone_and_all_together() {
    let changes = vec![
        ("--workers 2".to_owned(), Asked::Plain(Change::Processes(2))),
        ("--rate x2".to_owned(), Asked::Plain(Change::Rate(2.0))),
    ];
    let ask = Ask { changes, ..Ask::default() };
    let answer = WhatIf::of_replay(calm_snapshot(), &calm(), &ask).expect("answers");
    assert_eq!(answer.refusals, []);
    assert!(answer.self_forecast.as_ref().is_some_and(|itself| itself.holds()));
    let found: Vec<(&str, u64, u64)> = answer
        .forecasts
        .iter()
        .map(|one| {
            (one.name.as_str(), one.capacity.per_s.round() as u64, (one.used_ratio * 100.0).round() as u64)
        })
        .collect();
    // 2 ms of one core each: 500 a second by one process, 1000 by two on two cores.
    let expected =
        [("today", 500, 20), ("--workers 2", 1000, 10), ("--rate x2", 500, 40), ("all together", 1000, 20)];
    assert_eq!(found, expected);
    let shown = text::render(&answer, Charset::Ascii);
    assert!(shown.contains(super::judged::UNCHECKED) && shown.contains(text::ASSUMED), "{shown}");
    let document: serde_json::Value = serde_json::from_str(&json::render(&answer)).expect("JSON");
    assert_eq!(document["forecasts"][1]["change"], "--workers 2");
    assert_eq!(document["forecasts"][3]["note"], super::judged::UNCHECKED);
    assert_eq!(document["forecasts"][0]["overall"]["p99_ns"], 2_000_000);
    assert_eq!(document["self_forecast"]["holds"], true);
}

#[test]
fn the_smallest_setting_is_searched_with_all_other_changes() {
    let goal = |below_ns| Goal { quantile: Quantile::P99, below_ns };
    let changes = vec![("--rate x6".to_owned(), Asked::Plain(Change::Rate(6.0)))];
    let found = |below_ns, memory_bytes| {
        let ask =
            Ask { changes: changes.clone(), goal: Some(goal(below_ns)), memory_bytes, ..Ask::default() };
        let mut snapshot = calm_snapshot();
        let memory = ProcessMemory { tgid: 1, resident_bytes: 9 << 20, proportional_bytes: Some(8 << 20) };
        snapshot.capacity.workers[0].memory = Some(memory);
        WhatIf::of_replay(snapshot, &calm(), &ask).expect("answers")
    };
    // 2 ms every 1.67 ms: one process is behind more and more, two are not.
    let answer = found(5_000_000, None);
    let (_, search) = answer.searched.as_ref().expect("searched");
    assert_eq!((search.found, search.tried), (Some((2, 1)), 2));
    assert_eq!(answer.forecasts.last().expect("forecast").name, "--rate x6 --workers 2 --threads 1");
    let shown = text::render(&answer, Charset::Ascii);
    assert!(shown.contains("The smallest that keeps p99 under 5.00 ms"), "{shown}");
    let document: serde_json::Value = serde_json::from_str(&json::render(&answer)).expect("JSON");
    assert_eq!(document["search"]["found"]["processes"], 2);
    // Memory for one worker.
    let answer = found(5_000_000, Some(15 << 20));
    let (_, search) = answer.searched.as_ref().expect("searched");
    assert_eq!((search.found, search.tried, search.best.map(|best| best.0)), (None, 1, Some((1, 1))));
    let shown = text::render(&answer, Charset::Ascii);
    assert!(shown.contains("None of 1 settings keeps p99 under 5.00 ms: the best, --workers 1"), "{shown}");
    assert!(text::render(&found(1, Some(1)), Charset::Ascii).contains("there is memory for none"));
    let unknown = Ask { goal: Some(goal(1)), memory_bytes: Some(1), ..Ask::default() };
    let error = WhatIf::of_replay(calm_snapshot(), &calm(), &unknown).expect_err("memory is not known");
    assert!(matches!(error, WhatIfError::NoMemory));
}

#[test]
fn another_class_of_worker_is_for_gunicorn_and_its_threads_need_it() {
    let of = |name: &str, class: &str, changes: &[Asked]| {
        let mut snapshot = calm_snapshot();
        (snapshot.server.name, snapshot.server.worker_class) = (name.to_owned(), class.to_owned());
        let changes = changes.iter().map(|asked| ("it".to_owned(), asked.clone())).collect();
        WhatIf::of_replay(snapshot, &with_two_endpoints(), &Ask { changes, ..Ask::default() })
    };
    let threads = || Asked::Plain(Change::Threads(4));
    let split = |threads| Asked::Split("GET /a/*".to_owned(), Some((1, threads)));
    for (name, class, changes, expected) in [
        ("gunicorn", "sync", &[threads()][..], "slots"),
        ("gunicorn", "sync", &[Asked::Class(Class::Pool), threads()], "slots"),
        ("uWSGI", "", &[Asked::Class(Class::Pool)], "--worker-class is for gunicorn"),
        ("gunicorn", "sync", &[threads(), Asked::Class(Class::Sync)], "a sync worker serves one"),
        ("gunicorn", "sync", &[split(4)], "a sync worker serves one"),
        ("gunicorn", "gthread", &[Asked::Class(Class::Sync), split(4)], "a sync worker serves one"),
        ("gunicorn", "sync", &[split(1)], "slots"),
        ("gunicorn", "sync", &[Asked::Class(Class::Pool), split(4)], "slots"),
    ] {
        match of(name, class, changes) {
            Ok(answer) => assert!(expected == "slots" && answer.forecasts.len() > 1, "{name} {changes:?}"),
            Err(error) => assert!(error.to_string().starts_with(expected), "{name} {changes:?}: {error}"),
        }
    }
}

#[test]
fn a_split_names_some_of_the_endpoints() {
    let of = |pattern: &str| {
        let changes = vec![("--split".to_owned(), Asked::Split(pattern.to_owned(), None))];
        WhatIf::of_replay(calm_snapshot(), &with_two_endpoints(), &Ask { changes, ..Ask::default() })
    };
    assert_eq!(of("GET /a/*").expect("a split").forecasts.len(), 2);
    for (pattern, says) in [("POST *", "is none of"), ("GET *", "is all of")] {
        let error = of(pattern).expect_err("no split").to_string();
        assert!(error.contains(says) && error.contains("GET /b, GET /a/{number}"), "{error}");
    }
}

#[test]
fn threads_that_were_only_seen_give_no_forecast() {
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = calm_snapshot();
        change(&mut snapshot);
        refusals(&snapshot, &calm())
    };
    let inferred =
        |name: &str| Setting { name: name.to_owned(), value: "1".to_owned(), origin: Origin::Inferred };
    assert_eq!(with(|snapshot| snapshot.slots.configured = None), [Refusal::InferredSlots { count: 1 }]);
    let mut snapshot = calm_snapshot();
    // Every process is seen, and threads are made when they are needed.
    snapshot.server.settings = vec![inferred("workers")];
    assert_eq!(refusals(&snapshot, &calm()), []);
    snapshot.server.settings.push(inferred("threads"));
    let found = refusals(&snapshot, &calm());
    assert_eq!(found, [Refusal::InferredSlots { count: 1 }]);
    assert!(found[0].to_string().starts_with("its settings do not say how many slots"), "{}", found[0]);
    // All are busy for a tenth of the time, and nobody comes then: it may be that no more were needed.
    snapshot.slots.exhausted_ns = 1_000_000_000;
    assert_eq!(refusals(&snapshot, &calm()), found);
    // Five requests came and waited, and no further thread was made.
    snapshot.capacity.arrived_full = Some(5);
    assert_eq!(refusals(&snapshot, &calm()), []);
}

#[test]
fn processes_with_other_numbers_of_slots_have_no_model() {
    let with = |slots: &[u32]| {
        let mut snapshot = calm_snapshot();
        let workers =
            slots.iter().zip(1..).map(|(slots, tgid)| Worker { tgid, slots: *slots, ..Worker::default() });
        snapshot.capacity.workers = workers.collect();
        snapshot.slots.configured = Some(8);
        refusals(&snapshot, &calm())
    };
    assert_eq!(with(&[4, 4]), []);
    assert_eq!(with(&[4, 2, 2]), [Refusal::Uneven]);
    // One was replaced.
    assert_eq!(with(&[4, 3, 4]), []);
}

#[test]
fn a_damaged_recording_with_years_of_cpu_time_is_not_simulated() {
    let mut trace = calm();
    trace.requests[0].phases.add(Phase::Cpu, u64::MAX / 2);
    let found = refusals(&calm_snapshot(), &trace);
    assert!(found.contains(&Refusal::TooLong), "{found:?}");
}

#[test]
fn the_smallest_quota_of_a_cgroup_bounds_what_the_server_serves() {
    let quota = |quota_us| {
        let cpu = CgroupCpu { quota_us, period_us: 100_000, ..CgroupCpu::default() };
        CgroupWindow { first: cpu.clone(), last: cpu }
    };
    let mut snapshot = calm_snapshot();
    snapshot.cgroups = vec![quota(None), quota(Some(150_000)), quota(Some(300_000))];
    let answer = WhatIf::of_replay(snapshot, &calm(), &Ask::default()).expect("answers");
    assert_eq!(answer.model.setting.quota_ns, Some(1_500_000_000));
    let shown = text::render(&answer, Charset::Ascii);
    assert!(shown.contains("A cgroup lets the server use 1.50 CPUs."), "{shown}");
    assert!(json::render(&answer).contains("\"cpu_quota_cores\": 1.5"));
}

#[test]
fn where_the_self_forecast_does_not_hold_nothing_is_forecast_and_bounds_stay() {
    // Somebody else had the CPU for longer than a request computes: nothing in the model does that.
    let phases = [(Phase::Cpu, 2_000_000), (Phase::RunQueue, 3_000_000)];
    let trace = traced((0..600).map(|number| request(number * 10_000_000, &phases)).collect(), 1);
    let answer = WhatIf::of_replay(calm_snapshot(), &trace, &Ask::default()).expect("answers");
    assert!(answer.refusals.is_empty() && answer.forecasts.is_empty());
    let shown = text::render(&answer, Charset::Ascii);
    assert!(shown.contains("No forecast: simulated as it was"), "{shown}");
    assert!(!shown.contains(super::judged::UNCHECKED), "{shown}");
    assert_eq!(answer.bounds.overall.without[3].p50_ns, 2_000_000);
}

#[test]
fn a_refusal_gives_no_forecast_though_the_self_forecast_holds() {
    let mut snapshot = calm_snapshot();
    snapshot.coverage.losses.late = 1;
    let answer = WhatIf::of_replay(snapshot, &calm(), &Ask::default()).expect("answers");
    assert!(
        answer.self_forecast.as_ref().is_some_and(|itself| itself.holds()) && answer.forecasts.is_empty()
    );
    let shown = text::render(&answer, Charset::Ascii);
    assert!(shown.contains("No forecast: records were lost"), "{shown}");
}

#[test]
fn a_back_end_that_nobody_asked_is_named_with_those_that_there_are() {
    let changes = vec![("--backend db=x2".to_owned(), Asked::BackEnd("db".to_owned(), 2.0))];
    let ask = Ask { changes, ..Ask::default() };
    let error = WhatIf::of_replay(calm_snapshot(), &calm(), &ask).expect_err("no such back end");
    assert_eq!(error.to_string(), "the recording has no back end db: it has none");
}
