//! The machine of a run, as far as a reader must know it to judge the answers.
//!
//! In: `/proc`, `/etc/os-release`. Out: [`Machine`].

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// How long others are watched before the first cell.
const LOOK: Duration = Duration::from_millis(500);

/// `USER_HZ`, the unit of `/proc/stat`.
const TICKS_A_SECOND: f64 = 100.0;

/// What a reader must know.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the CPU calls itself.
    pub cpu: String,
    /// CPUs online.
    pub cpus: usize,
    /// Release of the kernel, without what its builder appended.
    pub kernel: String,
    /// Name of the distribution.
    pub system: String,
    /// CPU time that others used before the run, of one core.
    pub disturbed_ratio: Option<f64>,
    /// Profile that wsgi-trace was built with.
    pub build: &'static str,
    /// Version of wsgi-trace.
    pub wsgi_trace: &'static str,
}

impl Machine {
    /// This one, watched for a moment.
    pub fn describe() -> Self {
        let release = text("/proc/sys/kernel/osrelease");
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: release.trim().split('-').next().unwrap_or_default().to_owned(),
            system: field("/etc/os-release", "PRETTY_NAME"),
            disturbed_ratio: disturbance(),
            build: build(),
            wsgi_trace: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The directory that the program stands in names its profile.
fn build() -> &'static str {
    let program = wsgi_trace_test_support::program::wsgi_trace_binary().ok();
    let is_release = program
        .as_deref()
        .and_then(Path::parent)
        .is_some_and(|directory| directory.file_name().is_some_and(|name| name == "release"));
    if is_release { "release" } else { "debug" }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn field(path: &str, name: &str) -> String {
    let text = text(path);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once([':', '=']).map_or("", |(_, value)| value).trim().trim_matches('"').to_owned()
}

/// CPU time that was used on the whole machine for a moment, as a share of one core, to a hundredth.
fn disturbance() -> Option<f64> {
    let (start, before) = (Instant::now(), busy_seconds()?);
    std::thread::sleep(LOOK);
    let used = busy_seconds()? - before;
    Some((used / start.elapsed().as_secs_f64() * 100.0).round() / 100.0)
}

/// CPU time used since the machine came up: user, nice, system, interrupts.
fn busy_seconds() -> Option<f64> {
    let stat = text("/proc/stat");
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let ticks: f64 = [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum();
    Some(ticks / TICKS_A_SECOND)
}
