//! Laws of the simulation: they hold after every event, for any load and setting.

mod given;

use proptest::prelude::*;

use super::*;
use crate::competition::Competition;
use crate::load::{Front, Request, Row, Segment};
use crate::setting::{Errands, Own, Turns, Wakes};
use given::{load, setting};

/// What must hold between two events.
fn check(engine: &mut Engine<'_>) -> Result<(), TestCaseError> {
    let cores = engine.setting.cores as usize;
    let mut running = Vec::new();
    for core in 0..cores {
        let Some(number) = engine.cores.get_mut(core).unwrap().running else {
            prop_assert!(!engine.cores.has_queue(core), "core {core} is idle while a thread waits for it");
            continue;
        };
        prop_assert!(!running.contains(&number), "thread {number} runs twice");
        running.push(number);
        let thread = engine.threads[number];
        prop_assert_eq!(thread.core, Some(core));
        if engine.setting.switch_interval_ns.is_some() && thread.work == Work::Python {
            let holder = engine.locks[thread.process].holder;
            prop_assert_eq!(holder, Some(number), "it runs Python without the lock");
        }
    }
    for (process, lock) in engine.locks.iter().enumerate() {
        if let Some(holder) = lock.holder {
            prop_assert_eq!(engine.threads[holder].process, process);
            prop_assert_eq!(engine.threads[holder].work, Work::Python);
        }
        prop_assert!(lock.is_live(), "somebody waits for a lock that nobody will give");
    }
    Ok(())
}

fn played(load: &Load, setting: &Setting) -> Result<Outcome, TestCaseError> {
    let mut engine = Engine::new(load, setting).unwrap();
    while engine.step() {
        check(&mut engine)?;
    }
    Ok(engine.outcome())
}

fn on_cpu_ns(segments: &[Segment]) -> u64 {
    let on_cpu = segments.iter().filter(|segment| matches!(segment.work, Work::Python | Work::Free(_)));
    on_cpu.map(|segment| segment.duration_ns).sum()
}

/// What a row asks: of CPUs with the lock and without, of waits.
fn asked_ns(row: &Row, is_it: impl Fn(Work) -> bool) -> u64 {
    row.segments.iter().filter(|segment| is_it(segment.work)).map(|segment| segment.duration_ns).sum()
}

proptest! {
    #[test]
    fn time_is_conserved(load in load(), setting in setting()) {
        let outcome = played(&load, &setting)?;
        let is_pool = matches!(setting.dispatch, Dispatch::ByProcess(_));
        for (request, served) in load.requests.iter().zip(&outcome.served) {
            prop_assert_eq!(served.phases.total_ns(), served.end_ns - served.start_ns);
            // A front end sends the response when the slot is done with it.
            let slots_end_ns = if load.front.is_some() { served.held_ns.0 } else { served.end_ns };
            prop_assert!(served.held_ns.1 >= slots_end_ns, "every request is served to its end");
            prop_assert!(served.end_ns >= served.held_ns.0 && served.held_ns.0 >= served.start_ns);
            let front_ns: u64 = load.front.iter().flat_map(|front| front.before.iter().chain(&front.after)).map(|segment| segment.duration_ns).sum();
            prop_assert!(served.phases.get(Phase::FrontEnd) >= front_ns, "a front end has had all of it");
            let row = &request.row;
            prop_assert_eq!(served.phases.get(Phase::Cpu), asked_ns(row, |work| work == Work::Python));
            prop_assert_eq!(served.phases.get(Phase::Write), asked_ns(row, |work| matches!(work, Work::Free(_))));
            prop_assert_eq!(served.phases.get(Phase::Sleep), asked_ns(row, |work| matches!(work, Work::Wait(_))));
            let asked_of_back_ends_ns = asked_ns(row, |work| matches!(work, Work::BackEnd(_)));
            prop_assert!(served.phases.get(Phase::BackendWait) >= asked_of_back_ends_ns);
            if setting.back_end_limits.is_empty() {
                prop_assert_eq!(served.phases.get(Phase::BackendWait), asked_of_back_ends_ns);
            }
            if setting.switch_interval_ns.is_none() {
                prop_assert_eq!(served.phases.get(Phase::GilWait), 0);
            }
        }
        let of_front = |front: &Front| on_cpu_ns(&front.before) + on_cpu_ns(&front.after) + on_cpu_ns(&front.then);
        let after_ns: u64 = on_cpu_ns(&load.after) + load.front.as_ref().map_or(0, of_front);
        let of_rows = |row: &Row| {
            after_ns + u64::from(is_pool) + asked_ns(row, |work| matches!(work, Work::Python | Work::Free(_)))
        };
        let errands_ns = match &setting.dispatch {
            Dispatch::ByProcess(Errands { before, then, after, .. }) => {
                on_cpu_ns(before) + on_cpu_ns(then) + on_cpu_ns(after)
            }
            Dispatch::Shared(_) => 0,
        };
        let asked: u64 = load.requests.iter().map(|request| of_rows(&request.row) + errands_ns).sum();
        let busy: u64 = outcome.busy.cores_ns.iter().sum();
        prop_assert!(busy >= asked, "cores do what was asked");
        // Of several processes that try to accept one connection all but one do that for nothing.
        let is_race = is_pool && setting.all_processes() > 1;
        if setting.competition.is_empty() && !is_race {
            prop_assert_eq!(busy, asked, "once");
        }
    }

    #[test]
    fn no_slot_serves_two_at_once(load in load(), setting in setting()) {
        let outcome = played(&load, &setting)?;
        for slot in 0..setting.slots() as usize {
            let mut held: Vec<(u64, u64)> =
                outcome.served.iter().filter(|served| served.slot == slot).map(|served| served.held_ns).collect();
            held.sort_unstable();
            prop_assert!(held.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{held:?}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_again(load in load(), setting in setting()) {
        prop_assert_eq!(simulate(&load, &setting).unwrap(), simulate(&load, &setting).unwrap());
    }

    #[test]
    fn requests_of_a_kept_connection_stay_in_one_process(load in load(), mut setting in setting()) {
        setting.is_sticky = true;
        setting.dispatch = Dispatch::ByProcess(Errands::default());
        let outcome = simulate(&load, &setting).unwrap();
        let mut process_of = std::collections::HashMap::new();
        for (request, served) in load.requests.iter().zip(&outcome.served) {
            let process = process_of_slot(&setting, served.slot);
            prop_assert_eq!(*process_of.entry(request.connection).or_insert(process), process);
        }
    }
}

fn process_of_slot(setting: &Setting, slot: usize) -> usize {
    Slots::new(setting).process(slot)
}

#[test]
fn endpoints_with_a_server_of_their_own_do_not_wait_for_others() {
    const MS: u64 = 1_000_000;
    let mut short = at(MS, &[(Work::Wait(Phase::Sleep), MS)]);
    short.endpoint = 1;
    let load =
        Load { requests: vec![at(0, &[(Work::Wait(Phase::Sleep), 100 * MS)]), short], ..Load::default() };
    for dispatch in [Dispatch::Shared(Wakes::Random), Dispatch::ByProcess(Errands::default())] {
        let setting = Setting { dispatch, ..Setting::default() };
        let total_ns = |setting: &Setting| simulate(&load, setting).unwrap().served[1].total_ns();
        assert!(total_ns(&setting) > 99 * MS, "behind the long one");
        let own = Own { endpoints: vec![1], processes: 1, threads: 2 };
        let split = Setting { own: Some(own), ..setting };
        assert!(total_ns(&split) < 2 * MS, "{split:?}");
        assert!((1..3).contains(&simulate(&load, &split).unwrap().served[1].slot));
        assert_eq!((0..3).map(|slot| process_of_slot(&split, slot)).collect::<Vec<_>>(), [0, 1, 1]);
    }
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let with = |change: fn(&mut Setting)| {
        let mut setting = Setting::default();
        change(&mut setting);
        simulate(&Load::default(), &setting).err()
    };
    assert_eq!(with(|setting| setting.threads = 0), Some(SettingError::Slots));
    assert_eq!(with(|setting| setting.processes = u32::MAX), Some(SettingError::Slots));
    assert_eq!(with(|setting| setting.own = Some(Own::default())), Some(SettingError::Slots));
    assert_eq!(with(|setting| setting.cores = 0), Some(SettingError::Cores));
    assert_eq!(with(|setting| setting.switch_interval_ns = Some(0)), Some(SettingError::Interval));
    assert_eq!(with(|setting| setting.back_end_limits = vec![Some(0)]), Some(SettingError::BackEnd));
    assert_eq!(with(|_| {}), None);
    let itself = Request {
        endpoint: 0,
        connection: 0,
        arrives: Arrives::After { request: 0, think_ns: 1 },
        is_counted: true,
        row: Row::default(),
    };
    let load = Load { requests: vec![itself], ..Load::default() };
    assert_eq!(simulate(&load, &Setting::default()).err(), Some(SettingError::Order { request: 0 }));
}

/// One request of these segments at this moment.
fn at(at_ns: u64, segments: &[(Work, u64)]) -> Request {
    let segments =
        segments.iter().map(|(work, duration_ns)| Segment { work: *work, duration_ns: *duration_ns });
    let row = Row { segments: segments.collect(), ..Row::default() };
    Request { endpoint: 0, connection: at_ns, arrives: Arrives::At(at_ns), is_counted: true, row }
}

#[test]
fn others_that_want_more_than_can_be_end_all_the_same() {
    let load = Load { requests: vec![at(1_000_000, &[(Work::Python, 1_000_000)])], ..Load::default() };
    for (cpu_ns, burst_ns) in [(u64::MAX, 1), (u64::MAX, u64::MAX), (1, 1)] {
        let all = Competition { from_ns: 0, until_ns: 2_000_000, cpu_ns, burst_ns };
        let setting = Setting { competition: vec![all], ..Setting::default() };
        let served = simulate(&load, &setting).unwrap().served;
        assert_eq!(served[0].phases.get(Phase::Cpu), 1_000_000);
    }
}

#[test]
fn a_lock_is_free_until_who_was_woken_for_it_has_a_core() {
    const MS: u64 = 1_000_000;
    // On one core: the first gives the lock up for a call of 2 ms, and keeps its core. The second is woken
    // for the lock and has none.
    let works = [(Work::Python, MS), (Work::Free(Phase::Write), 2 * MS), (Work::Python, MS)];
    let load = Load { requests: vec![at(0, &works), at(1, &[(Work::Python, MS)])], ..Load::default() };
    let setting =
        Setting { threads: 2, turns: Turns { quantum_ns: 9 * MS, slice_ns: 9 * MS }, ..Setting::default() };
    let served = simulate(&load, &setting).unwrap().served;
    assert_eq!(served[0].total_ns(), 4 * MS, "nobody took the lock meanwhile");
    assert_eq!(served[0].phases.get(Phase::GilWait) + served[1].phases.get(Phase::GilWait), 0);
    assert_eq!(served[1].phases.get(Phase::RunQueue), 4 * MS - 1);
}

#[test]
fn who_runs_takes_the_lock_before_one_that_is_woken_for_it() {
    const US: u64 = 1000;
    // The first gives the lock up for a call, the second is woken for it on another core.
    let waits = |call_ns: u64| {
        let works = [(Work::Python, 100 * US), (Work::Free(Phase::Write), call_ns), (Work::Python, 100 * US)];
        let load = Load { requests: vec![at(0, &works), at(1, &[(Work::Python, US)])], ..Load::default() };
        let (handovers_ns, quick_handovers_ns) = (vec![20 * US], vec![20 * US]);
        let setting =
            Setting { threads: 2, cores: 2, handovers_ns, quick_handovers_ns, ..Setting::default() };
        let served = simulate(&load, &setting).unwrap().served;
        let waited_ns = |one: &Served| one.phases.get(Phase::GilWait) + one.phases.get(Phase::RunQueue);
        served.iter().map(waited_ns).collect::<Vec<_>>()
    };
    assert_eq!(waits(10 * US), [0, 230 * US - 1], "it is woken twice, and the lock is taken the first time");
    assert_eq!(waits(19_500), [0, 239_500 - 1]);
    assert_eq!(waits(20_500), [500 + 20 * US, 120 * US - 1], "a longer call loses the lock");
}

#[test]
fn who_has_just_begun_to_wait_wakes_up_sooner() {
    const US: u64 = 1000;
    // The second has waited for so long when the first gives the lock up for a call of 20 us.
    let waited = |waits_ns: u64| {
        let works =
            [(Work::Python, waits_ns + 1), (Work::Free(Phase::Write), 20 * US), (Work::Python, 500 * US)];
        let load = Load { requests: vec![at(0, &works), at(1, &[(Work::Python, US)])], ..Load::default() };
        let (handovers_ns, quick_handovers_ns) = (vec![30 * US], vec![10 * US]);
        let setting =
            Setting { threads: 2, cores: 2, handovers_ns, quick_handovers_ns, ..Setting::default() };
        let served = simulate(&load, &setting).unwrap().served;
        served[1].phases.get(Phase::GilWait) + served[1].phases.get(Phase::RunQueue)
    };
    assert_eq!(waited(99 * US), 99 * US + 10 * US, "it is there before the call is over");
    assert!(waited(100 * US) > 500 * US, "it is not");
}

#[test]
fn each_thread_counts_its_own_switch_interval_and_again_once_the_lock_has_changed_hands() {
    const MS: u64 = 1_000_000;
    let requests = vec![
        at(0, &[(Work::Python, 20 * MS)]),
        at(2 * MS, &[(Work::Python, 20 * MS)]),
        at(4 * MS, &[(Work::Python, MS)]),
    ];
    let setting = Setting { threads: 3, cores: 3, ..Setting::default() };
    let served = simulate(&Load { requests, ..Load::default() }, &setting).unwrap().served;
    // The second asks at 7 ms and has it. At 9 the third has waited for 5, but the lock went to another at 7:
    // it asks at 14.
    assert_eq!(served[2].total_ns(), 11 * MS);
}

#[test]
fn a_wakeup_takes_its_time_and_counts_as_run_queue() {
    const US: u64 = 1000;
    let sleep = (Work::Wait(Phase::Sleep), 100 * US);
    let cpu = (Work::Python, 10 * US);
    for (works, wakeups) in [
        (vec![cpu, sleep, cpu, (Work::BackEnd(0), 5 * US), cpu], 2),
        // Two waits in a row are one wakeup, and a request that ends with a wait has none there.
        (vec![cpu, sleep, (Work::BackEnd(0), 5 * US), cpu, sleep], 1),
        // Its first wakeup is in the time that it takes to pick the request up.
        (vec![sleep, cpu], 1),
        (vec![cpu], 0),
    ] {
        let load = Load { requests: vec![at(0, &works)], back_ends: vec![String::new()], ..Load::default() };
        assert_eq!(load.requests[0].row.wakeups(), wakeups, "{works:?}");
        for dispatch in [Dispatch::Shared(Wakes::Random), Dispatch::ByProcess(Errands::default())] {
            let setting = Setting { wakeup_ns: 40 * US, dispatch, ..Setting::default() };
            let served = simulate(&load, &setting).unwrap().served[0];
            assert_eq!(served.phases.get(Phase::RunQueue), wakeups as u64 * 40 * US, "{works:?}");
            let without = simulate(&load, &Setting { wakeup_ns: 0, ..setting }).unwrap().served[0];
            assert_eq!(served.total_ns(), without.total_ns() + wakeups as u64 * 40 * US, "{works:?}");
        }
    }
}

#[test]
fn who_wakes_up_takes_the_core_of_one_that_has_run_for_its_slice() {
    const MS: u64 = 1_000_000;
    let load = Load {
        requests: vec![at(0, &[(Work::Python, 20 * MS)]), at(10 * MS, &[(Work::Python, MS)])],
        ..Load::default()
    };
    let waited_ns = |slice_ns: u64| {
        let setting =
            Setting { processes: 2, turns: Turns { quantum_ns: 8 * MS, slice_ns }, ..Setting::default() };
        simulate(&load, &setting)
            .unwrap()
            .served
            .iter()
            .map(|served| served.phases.get(Phase::RunQueue))
            .collect::<Vec<_>>()
    };
    // Alone on its core, the first begins its second turn after 8 ms: at 10 ms it has run for 2 ms.
    assert_eq!(waited_ns(2 * MS), [MS, 0]);
    assert_eq!(waited_ns(3 * MS), [MS, 6 * MS], "until the turn is over");
}

#[test]
fn other_programs_take_their_part_of_the_cores() {
    const MS: u64 = 1_000_000;
    // A request of 20 ms every 40 ms on one core: half of it.
    let load = Load {
        requests: (0..2000).map(|number| at(number * 40 * MS, &[(Work::Python, 20 * MS)])).collect(),
        ..Load::default()
    };
    let queued_ms = |cpu_ns: u64| {
        let others = Competition { from_ns: 0, until_ns: 80_000 * MS, cpu_ns: cpu_ns * MS, burst_ns: MS };
        let setting = Setting { competition: vec![others], ..Setting::default() };
        let outcome = simulate(&load, &setting).unwrap();
        let queued_ns: u64 = outcome.served.iter().map(|served| served.phases.get(Phase::RunQueue)).sum();
        (queued_ns as f64 / 2000.0 / MS as f64, outcome.busy.cores_ns[0] / MS)
    };
    assert_eq!(queued_ms(0), (0.0, 40_000));
    let (waited, busy) = queued_ms(16_000);
    // A fifth of the core: what comes during 20 ms and its own waits takes a turn each, 4 ms and more.
    assert!((3.5..8.0).contains(&waited), "{waited}");
    assert!((54_000..58_000).contains(&busy), "{busy}");
    let (waited, _) = queued_ms(400_000);
    assert!(waited < 120.0, "who wants more than there is takes turns: {waited}");
}

#[test]
fn a_thread_that_waits_beside_an_idle_core_goes_there_once_a_turn_is_over() {
    const MS: u64 = 1_000_000;
    // The third finds both cores busy and waits for that of the first, which goes on; the second is soon
    // done.
    let python = |at_ns, ms| at(at_ns, &[(Work::Python, ms * MS)]);
    let load = Load { requests: vec![python(0, 20), python(1, 1), python(2, 1)], ..Load::default() };
    let setting = Setting { processes: 3, cores: 2, ..Setting::default() };
    let served = simulate(&load, &setting).unwrap().served;
    let waited_ns: Vec<u64> = served.iter().map(|one| one.phases.get(Phase::RunQueue)).collect();
    assert!(waited_ns[0] == 0 && waited_ns[1] == 0, "{waited_ns:?}");
    assert!(waited_ns[2] <= setting.turns.quantum_ns, "{waited_ns:?}");
}

#[test]
fn a_long_python_stretch_gives_the_lock_up_after_the_switch_interval() {
    const MS: u64 = 1_000_000;
    let load = Load {
        requests: vec![at(0, &[(Work::Python, 40 * MS)]), at(10 * MS, &[(Work::Python, MS)])],
        ..Load::default()
    };
    let setting = Setting { threads: 2, cores: 2, ..Setting::default() };
    let served = simulate(&load, &setting).unwrap().served;
    assert_eq!(served[1].phases.get(Phase::GilWait), 5 * MS, "the interval, then it is its turn");
    assert_eq!(served[0].phases.get(Phase::GilWait), MS, "what the other took");
    let setting = Setting { processes: 2, threads: 1, ..setting };
    assert_eq!(
        simulate(&load, &setting).unwrap().served[1].total_ns(),
        MS,
        "another process has its own lock"
    );
}

#[test]
fn a_back_end_with_a_limit_makes_the_next_wait() {
    let load = Load {
        requests: vec![at(0, &[(Work::BackEnd(0), 100)]), at(1, &[(Work::BackEnd(0), 100)])],
        back_ends: vec!["db".to_owned()],
        ..Load::default()
    };
    let mut setting = Setting { threads: 2, ..Setting::default() };
    let totals = |setting: &Setting| {
        simulate(&load, setting).unwrap().served.iter().map(Served::total_ns).collect::<Vec<_>>()
    };
    assert_eq!(totals(&setting), [100, 100]);
    setting.back_end_limits = vec![Some(1)];
    assert_eq!(totals(&setting), [100, 199]);
}

#[test]
fn a_slot_that_goes_straight_on_does_not_wake_up_again() {
    let mut load = Load {
        requests: vec![at(0, &[(Work::Python, 100)]), at(1, &[(Work::Python, 100)])],
        ..Load::default()
    };
    load.requests.iter_mut().for_each(|request| request.row.pickup_ns = 50);
    let ends = |setting: &Setting| {
        simulate(&load, setting).unwrap().served.iter().map(|served| served.end_ns).collect::<Vec<_>>()
    };
    assert_eq!(ends(&Setting::default()), [150, 250]);
    // A slot of its own is asleep.
    assert_eq!(ends(&Setting { processes: 2, cores: 2, ..Setting::default() }), [150, 151]);
}

#[test]
fn what_a_slow_client_sends_arrives_while_its_request_waits_for_a_slot() {
    const MS: u64 = 1_000_000;
    let works = [(Work::Python, MS), (Work::ClientSends, 40 * MS), (Work::Python, MS)];
    let load = Load { requests: (0..3).map(|number| at(number, &works)).collect(), ..Load::default() };
    let served = simulate(&load, &Setting::default()).unwrap().served;
    let stalls: Vec<u64> = served.iter().map(|served| served.phases.get(Phase::ClientReadStall)).collect();
    assert_eq!(stalls, [39 * MS, 0, 0]);
    assert_eq!(served.iter().map(|served| served.end_ns).collect::<Vec<_>>(), [41 * MS, 43 * MS, 45 * MS]);
}

#[test]
fn what_a_server_reads_ahead_holds_no_slot() {
    const MS: u64 = 1_000_000;
    let mut load = Load {
        requests: (0..3).map(|number| at(number, &[(Work::Python, MS)])).collect(),
        ..Load::default()
    };
    load.requests[0].row.ahead_ns = 40 * MS;
    let served = simulate(&load, &Setting::default()).unwrap().served;
    let told = |served: &Served| {
        (served.end_ns, served.phases.get(Phase::ClientReadStall), served.phases.get(Phase::AcceptQueue))
    };
    let expected = [(41 * MS, 40 * MS, 0), (MS + 1, 0, 0), (2 * MS + 1, 0, MS - 1)];
    assert_eq!(served.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn a_pool_does_not_take_what_another_process_accepted() {
    let load = Load {
        requests: (0..3).map(|at_ns| at(at_ns, &[(Work::Wait(Phase::Sleep), 1_000_000)])).collect(),
        ..Load::default()
    };
    // All come on one connection: one process has them all, the other has nothing to do.
    let mut load = load;
    load.requests.iter_mut().for_each(|request| request.connection = 1);
    let dispatch = Dispatch::ByProcess(Errands::default());
    let setting = Setting { processes: 2, dispatch, is_sticky: true, ..Setting::default() };
    let slots: Vec<usize> =
        simulate(&load, &setting).unwrap().served.iter().map(|served| served.slot).collect();
    assert!(slots.windows(2).all(|pair| pair[0] == pair[1]), "{slots:?}");
}

#[test]
fn of_processes_that_are_woken_for_a_connection_the_first_with_a_core_and_the_lock_has_it() {
    const MS: u64 = 1_000_000;
    let before = vec![Segment { work: Work::Python, duration_ns: MS }];
    let dispatch = Dispatch::ByProcess(Errands { before, accept_at: 1, ..Errands::default() });
    let stays = |cores: u32, next_ns: u64, works: &[(Work, u64)]| {
        let load = Load { requests: vec![at(0, works), at(next_ns, works)], ..Load::default() };
        let both = (0..50).filter(|seed| {
            let dispatch = dispatch.clone();
            let setting = Setting { processes: 2, cores, dispatch, seed: *seed, ..Setting::default() };
            let served = simulate(&load, &setting).unwrap().served;
            served[0].slot == served[1].slot
        });
        both.count()
    };
    let sleep = [(Work::Wait(Phase::Sleep), 9 * MS)];
    assert_eq!(stays(2, MS / 2, &sleep), 0, "both are at work, and each gets one");
    assert!((10..40).contains(&stays(2, 2 * MS, &sleep)), "both can");
    assert_eq!(stays(2, 2 * MS, &[(Work::Python, 9 * MS)]), 0, "the first waits for the lock");
}

#[test]
fn who_hands_over_and_goes_on_keeps_its_core_and_the_lock() {
    const MS: u64 = 1_000_000;
    let python = |duration_ns| Segment { work: Work::Python, duration_ns };
    let load = Load { requests: vec![at(0, &[(Work::Python, 2 * MS)])], ..Load::default() };
    let errands = |then| Errands { before: vec![python(MS)], accept_at: 1, then, ..Errands::default() };
    for (then, cores, expected_ms) in
        [(vec![python(5 * MS)], 1, 8), (vec![python(5 * MS)], 2, 8), (vec![], 1, 3), (vec![], 2, 3)]
    {
        let dispatch = Dispatch::ByProcess(errands(then));
        let setting = Setting {
            cores,
            dispatch,
            turns: Turns { quantum_ns: 9 * MS, slice_ns: 9 * MS },
            ..Setting::default()
        };
        let served = simulate(&load, &setting).unwrap().served;
        assert_eq!(served[0].end_ns / MS, expected_ms, "{cores} {:?}", served[0]);
    }
}

#[test]
fn a_connection_that_no_process_can_accept_goes_to_the_one_that_is_free_first() {
    const MS: u64 = 1_000_000;
    let python = |duration_ns| Segment { work: Work::Python, duration_ns };
    // Both processes compute when the third comes: the one for 4 ms, the other for 40. Nobody is asked for
    // the lock before 5 ms.
    let row = |at_ns, length_ns| at(at_ns, &[(Work::Python, length_ns)]);
    let load = Load { requests: vec![row(0, 40 * MS), row(MS, 4 * MS), row(2 * MS, MS)], ..Load::default() };
    for accept_at in [1, 2] {
        let errands = Errands { before: vec![python(10), python(10)], accept_at, ..Errands::default() };
        for seed in 0..20 {
            let dispatch = Dispatch::ByProcess(errands.clone());
            let setting = Setting { processes: 2, cores: 2, dispatch, seed, ..Setting::default() };
            let served = simulate(&load, &setting).unwrap().served;
            assert_eq!(served[1].slot, served[2].slot, "{accept_at} {seed}");
            assert!(served[2].total_ns() < 5 * MS, "{accept_at} {seed}: {:?}", served[2]);
        }
    }
}
