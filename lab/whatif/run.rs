//! One run: a server started, its clients at work, recorded; what `wsgi-trace whatif` says of the recording.
//!
//! In: a recipe, clients. Out: what the run showed, and what was going on beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use wsgi_trace_lab::open_load::Answer;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::steal::Stretch;

/// Clients are at work before the window begins, and until it has ended.
pub(crate) const RUN_UP: Duration = Duration::from_secs(2);
/// From the end of the window to the report.
const AFTER: Duration = Duration::from_secs(60);

/// What went on beside a run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Beside {
    /// Load average of the machine over a minute, at the end.
    pub(crate) load_average: f64,
    /// Share of all CPUs' time that a hypervisor took.
    pub(crate) stolen: f64,
    /// How long a fixed piece of computing takes, in ms of CPU time: the machine's speed.
    pub(crate) speed_ms: f64,
    /// Greatest delay of nine of ten requests, before they were sent: the clients' own.
    pub(crate) late_ms: f64,
}

/// Starts a server, and records it for so many seconds while clients ask at its address, until they are told
/// to stop.
pub(crate) fn record(
    recipe: &dyn Recipe,
    ask: impl FnOnce(&str, &AtomicBool) -> anyhow::Result<Vec<Answer>> + Send,
    seconds: u64,
    file: &Path,
) -> anyhow::Result<Beside> {
    let server = Server::start(recipe)?;
    let (address, pid) = (server.address().to_string(), server.pid().to_string());
    let stop = AtomicBool::new(false);
    let stretch = Stretch::begin();
    let answers = std::thread::scope(|scope| {
        let clients = scope.spawn(|| ask(&address, &stop));
        std::thread::sleep(RUN_UP);
        let (duration, path) = (format!("{seconds}s"), file.display().to_string());
        let arguments = ["--pid", &pid, "--duration", &duration, "--record", &path, "--format", "json"];
        let outcome = Program::run(&arguments, Duration::from_secs(seconds) + AFTER);
        stop.store(true, Ordering::Relaxed);
        let answers = clients.join().ok().context("the clients failed")??;
        let outcome = outcome?;
        if !outcome.status.success() {
            bail!("wsgi-trace: {}", outcome.stderr.lines().last().unwrap_or_default());
        }
        Ok(answers)
    })?;
    let unanswered = answers.iter().filter(|answer| answer.took.is_none()).count();
    if unanswered > 0 {
        bail!("{unanswered} requests of {} were not answered", answers.len());
    }
    let mut late: Vec<f64> = answers.iter().map(|answer| answer.late.as_secs_f64() * 1e3).collect();
    late.sort_by(f64::total_cmp);
    Ok(Beside {
        load_average: load_average(),
        stolen: stretch.stolen().1,
        speed_ms: speed_ms(),
        late_ms: late.get(late.len() * 9 / 10).copied().unwrap_or(0.0),
    })
}

fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

/// CPU time of a fixed piece of computing, the least of five.
fn speed_ms() -> f64 {
    let once = || {
        let begun = cpu_ms();
        let value = (0..20_000_000_u64).fold(1_u64, |value, step| value.wrapping_mul(1_103_515_245) ^ step);
        std::hint::black_box(value);
        cpu_ms() - begun
    };
    (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// What is read of the answer of `wsgi-trace whatif`.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) bounds: Bounds,
    pub(crate) refusals: Vec<String>,
    pub(crate) self_forecast: Option<SelfForecast>,
    pub(crate) forecasts: Vec<Forecast>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) overall: Overall,
    pub(crate) endpoints: Vec<OfEndpoint>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfEndpoint {
    pub(crate) endpoint: String,
    pub(crate) at_best: Overall,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Overall {
    pub(crate) today: Times,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50_ns: f64,
    pub(crate) p90_ns: f64,
    pub(crate) p99_ns: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SelfForecast {
    pub(crate) figures: Vec<Compared>,
}

impl SelfForecast {
    /// What does not hold, and by how much.
    pub(crate) fn misses(&self) -> Vec<String> {
        let misses = self.figures.iter().filter(|compared| !compared.holds).map(|compared| {
            let error = compared.simulated / compared.measured - 1.0;
            format!("{} {:+.0} %", compared.figure, error * 100.0)
        });
        misses.collect()
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Compared {
    pub(crate) figure: String,
    pub(crate) measured: f64,
    pub(crate) simulated: f64,
    pub(crate) holds: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Forecast {
    pub(crate) overall: Times,
    pub(crate) endpoints: BTreeMap<String, Times>,
    pub(crate) p99_range_ns: (f64, f64),
    pub(crate) throughput_per_s: f64,
    pub(crate) capacity_used_ratio: f64,
}

/// What `wsgi-trace whatif` says of a recording, with these changes.
pub(crate) fn whatif(file: &Path, changes: &[&str]) -> anyhow::Result<Said> {
    let path = file.display().to_string();
    let mut arguments = vec!["whatif", &path, "--format", "json"];
    arguments.extend(changes);
    let said = Program::run(&arguments, Duration::from_secs(120))?;
    if !said.status.success() {
        bail!("whatif: {}", said.stderr.lines().last().unwrap_or_default());
    }
    serde_json::from_str(&said.stdout).context("no JSON")
}
