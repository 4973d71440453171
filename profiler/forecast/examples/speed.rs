//! How long forecasts take: `cargo run --release --package profiler-forecast --example speed -- [REQUESTS
//! SETTINGS]`.
//!
//! In: how many requests and settings; 100,000 and 20 if nothing is said. Out: seconds of one core for all
//! that `wsgi-trace whatif` simulates of them (each setting as it is, with less and with more CPU time, and
//! at saturation), for sync workers and for a pool of threads. The load is made up.

use std::time::Instant;

use profiler_core::phase::Phase;
use profiler_forecast::capacity::capacity;
use profiler_forecast::change::Change;
use profiler_forecast::load::{Arrives, Load, Request, Row, Segment, Work};
use profiler_forecast::play::play;
use profiler_forecast::setting::{Dispatch, Errands, Setting, SettingError, Wakes};

const US: u64 = 1000;

/// A request that computes, asks a back end, computes and writes, every 5 ms: 40 % of a core.
fn load(requests: u64) -> Load {
    let segments = [
        (Work::Free(Phase::ReadHead), 20 * US),
        (Work::Python, 700 * US),
        (Work::Free(Phase::Cpu), 30 * US),
        (Work::BackEnd(0), 4000 * US),
        (Work::Python, 600 * US),
        (Work::Wait(Phase::Sleep), 1000 * US),
        (Work::Python, 500 * US),
        (Work::Free(Phase::Write), 50 * US),
    ];
    let mut random = fastrand::Rng::with_seed(1);
    let mut at_ns = 0;
    let request = |number| {
        at_ns += random.u64(0..10_000 * US);
        let segments = segments.map(|(work, duration_ns)| Segment { work, duration_ns }).to_vec();
        Request {
            endpoint: 0,
            connection: number,
            arrives: Arrives::At(at_ns),
            is_counted: true,
            row: Row { pickup_ns: 50 * US, segments, ..Row::default() },
        }
    };
    Load {
        requests: (0..requests).map(request).collect(),
        after: vec![Segment { work: Work::Python, duration_ns: 80 * US }],
        endpoints: vec!["GET /".to_owned()],
        front: None,
        back_ends: vec!["5432".to_owned()],
    }
}

fn errands() -> Errands {
    let python = |duration_ns| vec![Segment { work: Work::Python, duration_ns }];
    Errands { before: python(60 * US), accept_at: 0, then: python(10 * US), after: python(40 * US) }
}

fn main() -> Result<(), SettingError> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let &[requests, settings] = numbers.as_slice() else {
        return measure(100_000, 20);
    };
    measure(requests, settings)
}

fn measure(requests: u64, settings: u64) -> Result<(), SettingError> {
    let load = load(requests);
    for (name, dispatch) in
        [("sync", Dispatch::Shared(Wakes::Random)), ("pool", Dispatch::ByProcess(errands()))]
    {
        let start = Instant::now();
        let mut p99_ns = 0;
        for number in 0..settings {
            let processes = 1 + u32::try_from(number % 4).unwrap_or(0);
            let setting = Setting { processes, threads: 4, dispatch: dispatch.clone(), ..Setting::default() }
                .on_cores(2);
            for cpu_times in [0.9, 1.0, 1.1] {
                let (mut load, mut setting) = (load.clone(), setting.clone());
                Change::CpuTime(cpu_times).apply(&mut load, &mut setting);
                p99_ns = play(&load, &setting)?.overall.p99_ns;
            }
            capacity(&load, &setting)?;
        }
        let took = start.elapsed().as_secs_f64();
        println!(
            "{name}: {requests} requests at {settings} settings in {took:.1} s (the last p99 is {p99_ns} ns)"
        );
    }
    Ok(())
}
