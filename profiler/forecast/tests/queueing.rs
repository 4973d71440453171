//! An independent witness: known results of queueing theory.
//!
//! In: arrivals and service times from a seed. Out: mean waits. One is accepted where the interval of 99.9 %
//! of batch means holds it.

use fastrand::Rng;
use profiler_core::phase::Phase;
use profiler_forecast::engine::simulate;
use profiler_forecast::load::{Arrives, Load, Request, Row, Segment, Work};
use profiler_forecast::outcome::Served;
use profiler_forecast::setting::{Dispatch, Setting, Turns, Wakes};

const REQUESTS: usize = 60_000;
const BATCHES: usize = 30;
/// Student's t for 29 degrees of freedom, 99.9 % two-sided.
const T: f64 = 3.659;
const SERVICE_NS: f64 = 1_000_000.0;

fn exponential(mean_ns: f64, random: &mut Rng) -> u64 {
    (-mean_ns * (1.0 - random.f64()).ln()) as u64
}

/// Poisson arrivals at this utilisation of `servers`; service times exponential, or all the same.
fn load(utilisation: f64, servers: u32, is_fixed: bool, work: Work, seed: u64) -> Load {
    let mut random = Rng::with_seed(seed);
    let between_ns = SERVICE_NS / utilisation / f64::from(servers);
    let mut at_ns = 0;
    let requests = (0..REQUESTS).map(|number| {
        at_ns += exponential(between_ns, &mut random);
        let duration_ns = if is_fixed { SERVICE_NS as u64 } else { exponential(SERVICE_NS, &mut random) };
        let row = Row { segments: vec![Segment { work, duration_ns }], ..Row::default() };
        Request { endpoint: 0, connection: number as u64, arrives: Arrives::At(at_ns), is_counted: true, row }
    });
    Load { requests: requests.collect(), ..Load::default() }
}

/// The mean of this, and half of its interval, from batch means after a tenth to warm up.
fn mean(served: &[Served], of: impl Fn(&Served) -> u64) -> (f64, f64) {
    let settled = served.get(served.len() / 10..).unwrap_or_default();
    let batches: Vec<f64> = settled
        .chunks(settled.len() / BATCHES)
        .take(BATCHES)
        .map(|batch| batch.iter().map(|served| of(served) as f64).sum::<f64>() / batch.len() as f64)
        .collect();
    let count = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / count;
    let variance = batches.iter().map(|batch| (batch - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, T * (variance / count).sqrt())
}

fn assert_mean(name: &str, (found_ns, half_ns): (f64, f64), expected_ns: f64) {
    assert!(
        (found_ns - expected_ns).abs() <= half_ns,
        "{name}: {found_ns:.0} ± {half_ns:.0} ns, theory {expected_ns:.0} ns"
    );
    // An interval that holds everything shows nothing.
    assert!(half_ns < 0.25 * expected_ns, "{name}: ± {half_ns:.0} of {expected_ns:.0} ns");
}

fn slot_wait(served: &Served) -> u64 {
    served.phases.get(Phase::AcceptQueue)
}

/// Erlang C: the probability that all servers are busy.
fn erlang_c(servers: u32, utilisation: f64) -> f64 {
    let offered = utilisation * f64::from(servers);
    let (mut term, mut sum) = (1.0, 0.0);
    for busy in 0..servers {
        sum += term;
        term *= offered / f64::from(busy + 1);
    }
    let full = term / (1.0 - utilisation);
    full / (sum + full)
}

#[test]
fn waits_for_one_slot_are_those_of_m_m_1() {
    for (utilisation, seed) in [(0.5, 11), (0.7, 12), (0.8, 13)] {
        let load = load(utilisation, 1, false, Work::Python, seed);
        let served = simulate(&load, &Setting::default()).unwrap().served;
        let expected_ns = utilisation / (1.0 - utilisation) * SERVICE_NS;
        assert_mean(&format!("M/M/1 at {utilisation}"), mean(&served, slot_wait), expected_ns);
    }
}

#[test]
fn waits_for_one_slot_with_equal_work_are_those_of_m_d_1() {
    for (utilisation, seed) in [(0.5, 21), (0.7, 22), (0.8, 23)] {
        let load = load(utilisation, 1, true, Work::Python, seed);
        let served = simulate(&load, &Setting::default()).unwrap().served;
        let expected_ns = utilisation / (2.0 * (1.0 - utilisation)) * SERVICE_NS;
        assert_mean(&format!("M/D/1 at {utilisation}"), mean(&served, slot_wait), expected_ns);
    }
}

#[test]
fn waits_for_one_of_several_slots_are_those_of_m_m_c() {
    for wakes in [Wakes::Random, Wakes::LastFirst, Wakes::LongestFree] {
        for (servers, utilisation, seed) in [(2, 0.7, 31), (4, 0.7, 32)] {
            let load = load(utilisation, servers, false, Work::Python, seed);
            let setting = Setting {
                processes: servers,
                cores: servers,
                dispatch: Dispatch::Shared(wakes),
                ..Setting::default()
            };
            let served = simulate(&load, &setting).unwrap().served;
            let expected_ns =
                erlang_c(servers, utilisation) * SERVICE_NS / (f64::from(servers) * (1.0 - utilisation));
            let name = format!("M/M/{servers} at {utilisation}, {wakes:?}");
            assert_mean(&name, mean(&served, slot_wait), expected_ns);
        }
    }
}

/// As many slots as are ever wanted: who waits, waits for a core. Turns are so long that nobody's ends.
fn waits_for_cores(cores: u32, seed: u64) -> (f64, f64) {
    let load = load(0.7, cores, false, Work::Free(Phase::Cpu), seed);
    let setting = Setting {
        threads: 400,
        turns: Turns { quantum_ns: 1 << 40, slice_ns: 1 << 40 },
        ..Setting::default()
    };
    let outcome = simulate(&load, &Setting { cores, ..setting });
    // Nothing served has no mean that passes.
    mean(&outcome.map(|outcome| outcome.served).unwrap_or_default(), |served| {
        served.phases.get(Phase::RunQueue)
    })
}

#[test]
fn waits_for_one_core_are_those_of_m_m_1() {
    assert_mean("M/M/1 of a core", waits_for_cores(1, 41), 0.7 / 0.3 * SERVICE_NS);
}

#[test]
fn waits_for_two_cores_lie_between_one_queue_for_both_and_one_each() {
    // Who wakes up goes to a core that is idle, and stays in its queue where none is.
    let (found_ns, half_ns) = waits_for_cores(2, 42);
    let one_queue_ns = erlang_c(2, 0.7) * SERVICE_NS / (2.0 * 0.3);
    let queue_each_ns = 0.7 / 0.3 * SERVICE_NS;
    assert!(found_ns - half_ns > one_queue_ns, "{found_ns} ± {half_ns}, M/M/2 {one_queue_ns}");
    assert!(found_ns + half_ns < queue_each_ns, "{found_ns} ± {half_ns}, M/M/1 {queue_each_ns}");
}

#[test]
fn a_core_that_is_shared_in_small_turns_is_processor_sharing() {
    // M/D/1-PS has the mean of M/M/1, where taking turns to the end would have half of its wait.
    let load = load(0.7, 1, true, Work::Free(Phase::Cpu), 51);
    let setting = Setting {
        threads: 400,
        turns: Turns { quantum_ns: 20_000, ..Setting::default().turns },
        ..Setting::default()
    };
    let served = simulate(&load, &setting).unwrap().served;
    assert_mean("M/D/1-PS", mean(&served, Served::total_ns), SERVICE_NS / 0.3);
}

#[test]
fn waits_for_the_interpreter_lock_are_those_of_m_m_1() {
    // Cores and slots in plenty, one lock that nobody is asked to give up.
    let load = load(0.7, 1, false, Work::Python, 61);
    let setting = Setting { threads: 400, cores: 8, switch_interval_ns: Some(1 << 40), ..Setting::default() };
    let setting = Setting { turns: Turns { quantum_ns: 1 << 40, slice_ns: 1 << 40 }, ..setting };
    let served = simulate(&load, &setting).unwrap().served;
    let expected_ns = 0.7 / 0.3 * SERVICE_NS;
    assert_mean("M/M/1 of the lock", mean(&served, |served| served.phases.get(Phase::GilWait)), expected_ns);
}

#[test]
fn users_who_think_are_served_as_the_interactive_law_says() {
    // Throughput × (response time + time to think) = users.
    let (users, rounds, think_ns) = (10_usize, 2000_usize, 5_000_000_u64);
    let mut random = Rng::with_seed(71);
    let requests = (0..users * rounds).map(|number| {
        let arrives = match number.checked_sub(users) {
            None => Arrives::At(0),
            Some(request) => Arrives::After { request, think_ns: exponential(think_ns as f64, &mut random) },
        };
        let segment = Segment { work: Work::Python, duration_ns: exponential(SERVICE_NS, &mut random) };
        let row = Row { segments: vec![segment], ..Row::default() };
        Request { endpoint: 0, connection: (number % users) as u64, arrives, is_counted: true, row }
    });
    let load = Load { requests: requests.collect(), ..Load::default() };
    let outcome = simulate(&load, &Setting::default()).unwrap();
    let mean_ns = outcome.served.iter().map(|served| served.total_ns() as f64).sum::<f64>()
        / outcome.served.len() as f64;
    // M/M/1 with a finite population (machine repair).
    let ratio = SERVICE_NS / think_ns as f64;
    let mut weights = vec![1.0];
    for waiting in 0..users {
        weights.push(weights[waiting] * (users - waiting) as f64 * ratio);
    }
    let busy = 1.0 - 1.0 / weights.iter().sum::<f64>();
    let expected_ns = users as f64 * SERVICE_NS / busy - think_ns as f64;
    let half = mean(&outcome.served, Served::total_ns);
    assert!((mean_ns - half.0).abs() < half.1, "the start is a small part");
    assert_mean("users who think", half, expected_ns);
}
