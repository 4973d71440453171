//! A window of `wsgi-trace` on a server, and what it says of it.
//!
//! In: a PID. Out: requests as `ndjson` gives them and the `json` report, both of the same window, and its
//! recording.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use profiler_core::model::losses::{LossCount, Lost};
use serde::{Deserialize, Deserializer};
use tempfile::TempDir;

use crate::program::{Outcome, Program};

/// How long it may take to end: reading and writing what was kept, on a busy machine.
const END_LIMIT: Duration = Duration::from_secs(60);

/// One line of `ndjson`.
#[derive(Clone, Debug, Deserialize)]
pub struct TracedRequest {
    /// Arrival, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// From arrival to the last write.
    pub total_ns: u64,
    /// From the whole head to the last write.
    pub service_ns: Option<u64>,
    /// From the stamp of a front end to `start_ns`.
    #[serde(default)]
    pub since_request_start_ns: Option<u64>,
    /// Method.
    pub method: Option<String>,
    /// Path.
    pub path: Option<String>,
    /// Status.
    pub status: Option<u16>,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Slot.
    pub slot: Option<u32>,
    /// Its connection, by number.
    #[serde(default)]
    pub connection: u64,
    /// Bytes received.
    #[serde(rename = "received_bytes")]
    pub bytes_in: u64,
    /// Bytes sent.
    #[serde(rename = "sent_bytes")]
    pub bytes_out: u64,
    /// Phases by name; null where this run cannot measure one.
    #[serde(deserialize_with = "by_name")]
    pub phases: BTreeMap<String, Option<u64>>,
    /// Who had the interpreter lock while it waited for that.
    #[serde(default)]
    pub gil_holders: Vec<GilHolder>,
    /// Its waits for that, the longest first.
    #[serde(default)]
    pub gil_waits: Option<GilWaits>,
    /// How often it asked back ends.
    #[serde(default)]
    pub back_end_round_trips: Option<RoundTrips>,
    /// Still running when the window ended.
    #[serde(rename = "is_open")]
    pub open: bool,
    /// Its beginning was not seen.
    #[serde(rename = "is_truncated")]
    pub truncated: bool,
    /// Records were lost.
    #[serde(rename = "is_lossy")]
    pub lossy: bool,
}

/// How often a request asked back ends.
#[derive(Clone, Debug, Deserialize)]
pub struct RoundTrips {
    /// All of them; light mode does not count them.
    pub total: Option<u64>,
    /// By the peer's port.
    pub by_port: Vec<TripsToPort>,
}

/// How often it asked one.
#[derive(Clone, Debug, Deserialize)]
pub struct TripsToPort {
    /// The port; a UNIX socket has none.
    pub port: Option<u16>,
    /// How often; light mode does not count.
    pub count: Option<u64>,
    /// How long the request waited for it.
    pub waited_ns: u64,
}

/// Who had the interpreter lock while a request waited for it.
#[derive(Clone, Debug, Deserialize)]
pub struct GilHolder {
    /// Endpoint that it served.
    pub endpoint: Option<String>,
    /// Thread.
    pub tid: Option<u32>,
    /// How long the request waited because of it.
    pub wait_ns: u64,
}

/// The waits of a request for the interpreter lock, one by one.
#[derive(Clone, Debug, Deserialize)]
pub struct GilWaits {
    /// The longest, longest first.
    pub listed: Vec<GilWait>,
    /// How many others there were.
    pub others: u64,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
pub struct GilWait {
    /// When it began, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// How long it took.
    pub wait_ns: u64,
    /// Who had the lock for the longest part of it.
    pub holder: GilHolder,
    /// Where that one was.
    pub held_at: Option<HeldAt>,
    /// Where the waiter stood.
    pub stood_at: Option<Site>,
}

/// Where a holder was found.
#[derive(Clone, Debug, Deserialize)]
pub struct HeldAt {
    /// The place.
    #[serde(flatten)]
    pub site: Site,
    /// How long the request waited from there on.
    pub wait_ns: u64,
}

/// A place in Python.
#[derive(Clone, Debug, Deserialize)]
pub struct Site {
    /// What ran, or is to go on.
    pub at: Spot,
    /// From where it was called.
    pub called_from: Option<Spot>,
}

/// A line of a function.
#[derive(Clone, Debug, Deserialize)]
pub struct Spot {
    /// The file, as Python has it.
    pub file: String,
    /// The function.
    pub function: String,
    /// The line.
    pub line: Option<u64>,
}

impl TracedRequest {
    /// Duration of a phase; 0 where it was not measured.
    pub fn phase_ns(&self, name: &str) -> u64 {
        self.phases.get(name).copied().flatten().unwrap_or(0)
    }

    /// Path, empty where none was read.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// The unique number that ends the path, where it has one.
    pub fn id(&self) -> Option<u64> {
        self.path().rsplit('/').next()?.parse().ok()
    }
}

/// Phases, whose keys end in their unit.
fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Option<u64>>, D::Error> {
    let keys = BTreeMap::<String, Option<u64>>::deserialize(deserializer)?;
    Ok(keys.into_iter().map(|(key, ns)| (key.trim_end_matches("_ns").to_owned(), ns)).collect())
}

/// Requests from lines of `ndjson`.
///
/// # Errors
///
/// Where a line is not a request.
pub fn parse_requests(text: &str) -> anyhow::Result<Vec<TracedRequest>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a request: {line}")))
        .collect()
}

/// A window that is open.
#[derive(Debug)]
pub struct Trace {
    program: Program,
    directory: TempDir,
}

impl Trace {
    /// Attaches to the server of `pid` and returns when the window has begun.
    ///
    /// # Errors
    ///
    /// Where it does not begin.
    pub fn start(pid: u32) -> anyhow::Result<Self> {
        Self::start_with(pid, &[])
    }

    /// Attaches to the server of `pid` with further options, and returns when the window has begun.
    ///
    /// # Errors
    ///
    /// Where it does not begin.
    pub fn start_with(pid: u32, options: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let recording = directory.path().join("recording");
        let recording = recording.to_str().context("no path")?;
        let pid = pid.to_string();
        let arguments = ["--pid", &pid, "--duration", "100s", "--format", "ndjson", "--record", recording];
        let mut program = Program::start(&[&arguments, options].concat())?;
        program.wait_for_stderr("watching process")?;
        Ok(Self { program, directory })
    }

    /// What is recorded so far: it grows about every second.
    pub fn recording(&self) -> PathBuf {
        self.directory.path().join("recording")
    }

    /// PID of the profiler.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Ends the window, as Ctrl-C does, and reads both reports. `WSGI_TRACE_KEEP=FILE` keeps the recording
    /// there.
    ///
    /// # Errors
    ///
    /// Where it does not end well.
    pub fn end(self) -> anyhow::Result<Traced> {
        let recording = self.recording();
        self.program.signal(libc::SIGINT);
        let live = checked(self.program.finish(END_LIMIT)?)?;
        if let Some(kept) = std::env::var_os("WSGI_TRACE_KEEP") {
            std::fs::copy(&recording, kept)?;
        }
        let report = report_on(&recording, "json")?;
        Ok(Traced {
            requests: parse_requests(&live.stdout)?,
            report: serde_json::from_str(&report.stdout)?,
            ndjson: live.stdout,
            recording,
            _directory: self.directory,
        })
    }
}

/// Runs `wsgi-trace report` on a recording.
///
/// # Errors
///
/// Where it does not succeed.
pub fn report_on(recording: &Path, format: &str) -> anyhow::Result<Outcome> {
    let recording = recording.to_str().context("no path")?;
    checked(Program::run(&["report", recording, "--format", format], END_LIMIT)?)
}

fn checked(outcome: Outcome) -> anyhow::Result<Outcome> {
    if !outcome.status.success() {
        bail!("wsgi-trace: {}: {}", outcome.status, outcome.stderr);
    }
    Ok(outcome)
}

/// A window that is over.
#[derive(Debug)]
pub struct Traced {
    /// What `ndjson` gave.
    pub requests: Vec<TracedRequest>,
    /// What `json` gave.
    pub report: serde_json::Value,
    /// The lines that `requests` were read from.
    pub ndjson: String,
    /// The recording.
    pub recording: PathBuf,
    _directory: TempDir,
}

/// What a report calls undecided.
#[derive(Clone, Copy, Debug)]
struct Undecided {
    waits: u64,
    time_ns: u64,
}

impl Undecided {
    /// So few may be as long as they like.
    const FEW_WAITS: u64 = 3;

    /// At most one wait in a hundred slices (in light mode: records) may be undecided, and a twentieth of the
    /// threads' time.
    fn check(self, slices: u64, thread_ns: u64) -> anyhow::Result<()> {
        let Self { waits, time_ns } = self;
        if waits > Self::FEW_WAITS && (waits > slices / 100 || time_ns > thread_ns / 20) {
            bail!(
                "{waits} waits of {slices} slices are undecided, {time_ns} of {thread_ns} ns: too much to allow for"
            );
        }
        Ok(())
    }
}

impl Traced {
    /// A part of the report, by JSON pointer.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn value(&self, pointer: &str) -> anyhow::Result<&serde_json::Value> {
        self.report.pointer(pointer).with_context(|| format!("nothing at {pointer}"))
    }

    /// A number in the report, by JSON pointer.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn number(&self, pointer: &str) -> anyhow::Result<u64> {
        self.value(pointer)?.as_u64().with_context(|| format!("no number at {pointer}"))
    }

    /// Nothing was lost, and what was kept adds up.
    ///
    /// # Errors
    ///
    /// Where the report says otherwise, or does not say.
    pub fn lost_nothing(&self) -> anyhow::Result<()> {
        let losses = self.value("/losses")?;
        let number = |name: &str| self.number(&format!("/losses/{name}"));
        let lost = LossCount::all().filter(|count| count.lost != Lost::Nothing).map(|count| count.key);
        for name in lost.chain(["conservation/slices_broken", "conservation/requests_broken"]) {
            ensure!(number(name)? == 0, "{name}: {losses}");
        }
        ensure!(number("conservation/emitted")? == number("conservation/received")?, "{losses}");
        ensure!(self.value("/losses/impossible")? == &serde_json::json!([]), "{losses}");
        Ok(())
    }

    /// Waits around switches that the kernel did not show: nobody could explain them, and they are counted
    /// apart.
    ///
    /// # Errors
    ///
    /// Where the report does not say, or where so much is undecided that whoever allows for it allows for
    /// anything.
    pub fn undecided_ns(&self) -> anyhow::Result<u64> {
        let undecided = Undecided {
            waits: self.number("/losses/undecided_waits")?,
            time_ns: self.number("/losses/conservation/undecided_ns")?,
        };
        let processes = self.value("/processes")?.as_array().context("no list of processes")?;
        let threads: usize =
            processes.iter().filter_map(|of| Some(of.get("threads")?.as_array()?.len())).sum();
        let window_ns = self.number("/window/end_ns")?.saturating_sub(self.number("/window/start_ns")?);
        let thread_ns = window_ns.saturating_mul(u64::try_from(threads)?);
        // In light mode a slice has many sleeps. Each has a record of its own.
        let is_light = self.value("/tool/hooks")?.as_str() == Some("light");
        let sleeps_are_in = if is_light { "received" } else { "slices" };
        undecided.check(self.number(&format!("/losses/conservation/{sleeps_are_in}"))?, thread_ns)?;
        Ok(undecided.time_ns)
    }

    /// The threads of a process that the report tells of.
    ///
    /// # Errors
    ///
    /// Where it does not tell of processes.
    pub fn threads_of(&self, pid: u32) -> anyhow::Result<Vec<u32>> {
        let processes = self.value("/processes")?.as_array().context("no list of processes")?;
        let number = |of: &serde_json::Value, key: &str| u32::try_from(of.get(key)?.as_u64()?).ok();
        let of_it = processes.iter().filter(|process| number(process, "pid") == Some(pid));
        let threads = of_it.filter_map(|process| process.get("threads")?.as_array()).flatten();
        Ok(threads.filter_map(|thread| number(thread, "tid")).collect())
    }

    /// The finding with this id.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn finding(&self, id: &str) -> anyhow::Result<&serde_json::Value> {
        let list = self.report.get("findings").and_then(serde_json::Value::as_array);
        list.and_then(|list| list.iter().find(|finding| finding.get("id").is_some_and(|name| name == id)))
            .with_context(|| format!("no finding {id}"))
    }

    /// Requests whose path begins so.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a TracedRequest> {
        self.requests.iter().filter(move |request| request.path().starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_calls_everything_undecided_is_refused() {
        let check = |waits, time_ns| Undecided { waits, time_ns }.check(10_000, 1_000_000).is_ok();
        assert!(check(0, 0) && check(3, 900_000) && check(100, 50_000));
        assert!(!check(101, 1_000) && !check(100, 50_001) && !check(4_000, 900_000));
    }
}
