//! One of the two runs that are compared.
//!
//! In: a recording, or a report in JSON. Out: [`Side`]: of the report what a comparison looks at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use profiler_core::finding::threshold::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::verdict;
use serde::{Deserialize, Deserializer};

use crate::output_file::plain;
use crate::report::json;
use crate::session::consumer::Consumer;
use crate::session::{SessionError, replay};

/// Largest report read.
const MAX_REPORT_BYTES: u64 = 256 * 1024 * 1024;

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// The file cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// As the user named it.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Neither a recording nor a report.
    #[error("{} is neither a recording nor a report in JSON ({reason}); make one with wsgi-trace record, or --format json", path.display())]
    Foreign {
        /// As the user named it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A report of another major version.
    #[error("{} is a report of version {version}, which this wsgi-trace does not know; compare it with the one that wrote it", path.display())]
    Version {
        /// As the user named it.
        path: PathBuf,
        /// The report's version.
        version: String,
    },
    /// The recording cannot be replayed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Of a report what a comparison looks at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Side {
    pub(super) schema_version: String,
    pub(super) host: Host,
    pub(super) target: Target,
    pub(super) window: Window,
    pub(super) losses: Losses,
    pub(super) findings: Vec<Finding>,
    pub(super) requests: Requests,
    #[serde(deserialize_with = "phase_times")]
    pub(super) phases: PhaseTimes,
    pub(super) endpoints: Vec<Endpoint>,
    #[serde(deserialize_with = "or_default")]
    pub(super) slots: Slots,
    pub(super) capacity: Capacity,
}

/// The machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) kernel_release: String,
    pub(super) cpu_count: u32,
}

/// The server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Target {
    pub(super) server: Server,
}

/// What it is and how it is set up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) worker_class: String,
    pub(super) python_version: Option<String>,
    pub(super) settings: Vec<Setting>,
}

/// One setting.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
}

/// How long it was watched.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Window {
    pub(super) length_ns: u64,
}

/// Whether anything was lost.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Losses {
    pub(super) is_complete: bool,
}

impl Default for Losses {
    fn default() -> Self {
        Self { is_complete: true }
    }
}

/// One finding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Finding {
    pub(super) id: String,
    pub(super) answer: String,
    pub(super) sentence: String,
    pub(super) cost_request_seconds: Option<f64>,
}

/// All requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Requests {
    pub(super) completed: u64,
    pub(super) truncated: u64,
    pub(super) time_in_requests_ns: u64,
    pub(super) total: Latency,
    pub(super) standard_error: StandardError,
    /// `None`: no request had such a header.
    pub(super) request_start: Option<RequestStart>,
}

/// What `X-Request-Start` headers said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestStart {
    /// From the stamp to the first byte at the server's socket.
    pub(super) before: Latency,
}

/// A distribution.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) sum_ns: u64,
    pub(super) p50_ns: Option<u64>,
    pub(super) p99_ns: Option<u64>,
}

/// How far means can be trusted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StandardError {
    pub(super) batches: u32,
    pub(super) total_ns: Option<u64>,
    #[serde(deserialize_with = "phase_times")]
    pub(super) phases: PhaseTimes,
}

/// Time in each phase in ns, by the phase's name; `None`: not measured.
pub(super) type PhaseTimes = BTreeMap<String, Option<u64>>;

/// The key of a phase is its name with the unit.
fn phase_times<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PhaseTimes, D::Error> {
    let times = PhaseTimes::deserialize(deserializer)?;
    let by_name =
        times.into_iter().map(|(key, time_ns)| (key.strip_suffix("_ns").unwrap_or(&key).to_owned(), time_ns));
    Ok(by_name.collect())
}

/// What is null was not measured.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// One endpoint with one status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Endpoint {
    pub(super) is_remainder: bool,
    pub(super) method: Option<String>,
    pub(super) path_shape: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) count: u64,
    pub(super) total: Latency,
    pub(super) standard_error: StandardError,
    #[serde(deserialize_with = "phase_times")]
    pub(super) phases: PhaseTimes,
}

impl Endpoint {
    /// What it is called: `GET /a 200`.
    pub(super) fn name(&self) -> String {
        if self.is_remainder {
            return "(other)".to_owned();
        }
        let method = self.method.as_deref().unwrap_or("not HTTP");
        let path = self.path_shape.as_deref().unwrap_or_default();
        let status = self.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        [method, path, status.as_str()]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Slots.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Slots {
    pub(super) configured: Option<u64>,
    pub(super) counted: u64,
    pub(super) capacity_used_ratio: Option<f64>,
    pub(super) exhausted_ratio: Option<f64>,
}

/// Worker processes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Capacity {
    pub(super) arrived_full: Option<u64>,
    pub(super) workers: Vec<Worker>,
}

/// One worker process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Worker {
    pub(super) proportional_bytes: Option<u64>,
}

impl Side {
    /// Completed requests, those of all endpoints together.
    pub(super) fn requests_of_endpoints(&self) -> u64 {
        self.endpoints.iter().fold(0_u64, |sum, endpoint| sum.saturating_add(endpoint.count))
    }

    /// Reads a recording or a report.
    ///
    /// # Errors
    /// If the file is neither, or of a version that is not known.
    pub fn read(path: &Path) -> Result<Self, SideError> {
        let unreadable =
            |error: &std::io::Error| SideError::Unreadable { path: path.into(), reason: plain(error) };
        let mut first = Vec::new();
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        file.take(64).read_to_end(&mut first).map_err(|error| unreadable(&error))?;
        let bytes = if first.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            let mut bytes = Vec::new();
            let file = File::open(path).map_err(|error| unreadable(&error))?;
            file.take(MAX_REPORT_BYTES).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
            bytes
        } else {
            let snapshot = replay::run(path, &mut Consumer::nothing())?;
            let findings = verdict::findings(&snapshot, &Thresholds::default());
            json::render(&snapshot, &findings).map_err(|error| unreadable(&error))?
        };
        Self::parse(&bytes, path)
    }

    /// A window that was watched; `None`: it cannot be written as a report.
    pub fn of(snapshot: &Snapshot, findings: &[profiler_core::finding::Finding]) -> Option<Self> {
        let bytes = json::render(snapshot, findings).ok()?;
        Self::parse(&bytes, Path::new("")).ok()
    }

    /// Reads a report in JSON; `path` is what errors name.
    ///
    /// # Errors
    /// If it is none, or of a version that is not known.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, SideError> {
        let foreign = |reason: String| SideError::Foreign { path: path.into(), reason };
        let side: Self = serde_json::from_slice(bytes).map_err(|error| foreign(error.to_string()))?;
        match side.schema_version.split('.').next() {
            Some("1") => Ok(side),
            Some("") | None => Err(foreign("it has no schema_version".to_owned())),
            Some(_) => Err(SideError::Version { path: path.into(), version: side.schema_version }),
        }
    }

    /// Requests a second.
    pub(super) fn rate(&self) -> Option<f64> {
        let seconds = self.window.length_ns as f64 / 1e9;
        (seconds > 0.0).then(|| self.requests.completed as f64 / seconds)
    }
}
