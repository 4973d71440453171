//! `tool`, `host`, `target` and `window`: who watched what, where, for how long.
//!
//! In: session, attach report, server, cgroups, window. Out: serialisable views of them.

use profiler_core::fact::EndReason;
use profiler_core::model::Snapshot;
use serde::Serialize;

use super::non_empty;
use super::queue::Network;

#[derive(Serialize)]
pub(super) struct Tool<'a> {
    name: &'static str,
    version: &'a str,
    hooks: &'a str,
    hooks_reason: &'a str,
    programs: &'a [String],
    missing: Vec<Missing<'a>>,
    arrival_measured: bool,
    other_profilers: u32,
    attach_ns: u64,
}

#[derive(Serialize)]
struct Missing<'a> {
    program: &'a str,
    reason: &'a str,
    consequence: &'a str,
}

impl<'a> Tool<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let attached = &snapshot.attached;
        let missing = attached.missing.iter().map(|program| Missing {
            program: &program.program,
            reason: &program.reason,
            consequence: &program.consequence,
        });
        Self {
            name: "wsgi-trace",
            version: &snapshot.session.tool_version,
            hooks: &attached.hooks,
            hooks_reason: &attached.hooks_reason,
            programs: &attached.programs,
            missing: missing.collect(),
            arrival_measured: attached.arrival_measured,
            other_profilers: attached.other_profilers,
            attach_ns: attached.attach_ns,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Host<'a> {
    name: &'a str,
    kernel_release: &'a str,
    cpu_count: u32,
    cpu_time_comparable: bool,
}

impl<'a> Host<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let session = &snapshot.session;
        Self {
            name: &session.host_name,
            kernel_release: &session.kernel_release,
            cpu_count: session.cpu_count,
            cpu_time_comparable: session.cpu_time_comparable,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Target<'a> {
    pid: u32,
    server: Server<'a>,
    cgroups: Vec<Cgroup<'a>>,
    blind_spots: &'a [String],
    networks: Vec<Network>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    version: Option<&'a str>,
    worker_class: &'a str,
    python_version: Option<&'a str>,
    settings: Vec<Setting<'a>>,
}

#[derive(Serialize)]
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
    origin: &'static str,
}

#[derive(Serialize)]
struct Cgroup<'a> {
    path: &'a str,
    quota_ns: Option<u64>,
    period_ns: u64,
    throttled_periods: u64,
    throttled_ns: u64,
}

const NS_PER_US: u64 = 1_000;

impl<'a> Target<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let server = &snapshot.server;
        let settings = server.settings.iter().map(|setting| Setting {
            name: &setting.name,
            value: &setting.value,
            origin: setting.origin.name(),
        });
        let cgroups = snapshot.cgroups.iter().map(|cgroup| Cgroup {
            path: &cgroup.last.cgroup,
            quota_ns: cgroup.last.quota_us.map(|quota_us| quota_us.saturating_mul(NS_PER_US)),
            period_ns: cgroup.last.period_us.saturating_mul(NS_PER_US),
            throttled_periods: cgroup.last.throttled_periods.saturating_sub(cgroup.first.throttled_periods),
            throttled_ns: cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns),
        });
        Self {
            pid: snapshot.session.target_pid,
            server: Server {
                name: non_empty(&server.name).unwrap_or("unknown"),
                version: server.version.as_deref(),
                worker_class: non_empty(&server.worker_class).unwrap_or("unknown"),
                python_version: server.python_version.as_deref(),
                settings: settings.collect(),
            },
            cgroups: cgroups.collect(),
            blind_spots: &snapshot.coverage.blind_spots,
            networks: snapshot.sockets.networks.iter().map(Network::new).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Window {
    start_ns: u64,
    end_ns: u64,
    length_ns: u64,
    wall_clock_start_ns: i64,
    end_reason: Option<EndReason>,
}

impl Window {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let window = snapshot.window;
        let start_ns = i64::try_from(window.start_ns).unwrap_or(i64::MAX);
        Self {
            start_ns: window.start_ns,
            end_ns: window.end_ns,
            length_ns: window.length_ns(),
            wall_clock_start_ns: start_ns.saturating_add(snapshot.session.wall_clock_offset_ns),
            end_reason: window.end_reason,
        }
    }
}
