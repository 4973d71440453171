//! The first lines: which server, where, how long, how busy.
//!
//! In: session, server, window and requests of a snapshot. Out: a few lines.

use profiler_core::fact::EndReason;
use profiler_core::fact::container::Container;
use profiler_core::model::lasting::Open;
use profiler_core::model::{Origin, Snapshot};

use super::cell::{Cell, count, longest, quantile, share, words};
use super::{lasting, shown};
use crate::report::{summary, unit};

/// What stands between two parts of a line.
pub(crate) const DOT: &str = " · ";

/// Which server, on which machine. Hostile input.
pub(crate) fn server(snapshot: &Snapshot) -> String {
    let session = &snapshot.session;
    let mut parts = kind(snapshot);
    parts.extend(snapshot.server.python_version.as_ref().map(|version| format!("Python {version}")));
    parts.push(process(snapshot));
    parts.extend(snapshot.container.as_ref().map(container));
    parts.push(unit::counted(u64::from(session.cpu_count), "CPU"));
    parts.push(format!("Linux {}", session.kernel_release));
    parts.join(DOT)
}

/// Which server, where there is room for its name and its process alone. Hostile input.
pub(crate) fn server_in_brief(snapshot: &Snapshot) -> String {
    let mut parts = kind(snapshot);
    parts.push(process(snapshot));
    parts.join(DOT)
}

/// The container, and its pod where that is known. Hostile input.
pub(crate) fn container(container: &Container) -> String {
    let runtime = container.runtime.as_deref().map(|runtime| format!("{runtime} ")).unwrap_or_default();
    let mut text = format!("{runtime}container {}", container.short_id());
    if let Some(name) = &container.k8s_container_name {
        text = format!("{text} ({name})");
    }
    if let Some(pod) = container.k8s_pod_name.as_ref().or(container.k8s_pod_uid.as_ref()) {
        text = format!("{text} of pod {pod}");
    }
    if let Some(namespace) = &container.k8s_namespace_name {
        text = format!("{text} in namespace {namespace}");
    }
    text
}

fn process(snapshot: &Snapshot) -> String {
    format!("pid {} on {}", snapshot.session.target_pid, snapshot.session.host_name)
}

/// Name and version, and what its workers are.
fn kind(snapshot: &Snapshot) -> Vec<String> {
    let server = &snapshot.server;
    let target = snapshot.session.target_pid;
    let version = server.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut parts = if server.is_unknown() {
        let process = snapshot.processes.iter().find(|process| process.tgid == target);
        let comm = process.map(|process| format!(" ({})", process.comm)).unwrap_or_default();
        vec![format!("unknown server{comm}")]
    } else {
        vec![format!("{}{version}", server.name)]
    };
    if !server.worker_class.is_empty() && !server.is_unknown() {
        parts.push(server.worker_class.clone());
    }
    parts
}

/// Settings, those from the same origin together: `workers 2, threads 4 (configured)`.
pub(crate) fn settings(snapshot: &Snapshot) -> String {
    let groups = [Origin::Configured, Origin::Default, Origin::Inferred].map(|origin| {
        let settings = snapshot.server.settings.iter().filter(|setting| setting.origin == origin);
        let settings: Vec<String> =
            settings.map(|setting| format!("{} {}", setting.name, setting.value)).collect();
        if settings.is_empty() {
            String::new()
        } else {
            format!("{} ({})", settings.join(", "), origin.name())
        }
    });
    groups.into_iter().filter(|group| !group.is_empty()).collect::<Vec<_>>().join(DOT)
}

/// When it was watched, and what came and went.
pub(crate) fn watched(snapshot: &Snapshot) -> String {
    let window = snapshot.window;
    let requests = &snapshot.requests;
    let start_ns = i64::try_from(window.start_ns).unwrap_or(i64::MAX);
    let ended = match window.end_reason {
        Some(EndReason::Duration) => "",
        Some(EndReason::Interrupted) => " (interrupted)",
        Some(EndReason::TargetExited) => " (the server exited)",
        Some(EndReason::RecordingFailed) => " (recording failed)",
        Some(EndReason::Cost) => " (by --max-cost)",
        Some(EndReason::NextWindow) => " (the next window began)",
        Some(EndReason::StillOpen) => " (still open)",
        None => " (recording cut off)",
    };
    let length = shown(window.length_ns());
    let moment = unit::moment(start_ns.saturating_add(snapshot.session.wall_clock_offset_ns));
    [
        format!("watched {length} from {moment}{ended}"),
        format!(
            "{}, {} in, {} out",
            unit::counted(requests.connections, "connection"),
            unit::bytes(requests.bytes_in),
            unit::bytes(requests.bytes_out),
        ),
    ]
    .join(DOT)
}

/// Requests, their rate and their times.
pub(crate) fn traffic(snapshot: &Snapshot) -> String {
    let requests = &snapshot.requests;
    let rate = summary::per_second(requests.completed, snapshot.window.length_ns());
    let mut parts = vec![format!("{} ({})", unit::counted(requests.completed, "request"), unit::rate(rate))];
    if requests.open.count > 0 {
        parts.push(still_open(&requests.open));
    }
    for (became, count) in lasting::counts(&requests.lasting) {
        parts.push(format!("{} {}", unit::count(count), lasting::noun(became, count)));
    }
    if requests.total.count() > 0 {
        parts.push(format!("median {}", shown(requests.total.quantile_ns(0.5))));
        parts.push(format!("p99 {}", shown(requests.total.quantile_ns(0.99))));
        parts.push(format!("longest {}", shown(requests.total.max_ns())));
    }
    parts.join(DOT)
}

/// How many had not ended with the window, and for how long.
pub(crate) fn still_open(open: &Open) -> String {
    let longest = shown(open.longest_ns);
    match open.count {
        1 => format!("1 still open, for {longest}"),
        count => format!("{} still open, the longest for {longest}", unit::count(count)),
    }
}

/// The numbers that are the first to look at, each with what it is.
pub(crate) fn tiles(snapshot: &Snapshot) -> Vec<(&'static str, Cell)> {
    let (requests, slots) = (&snapshot.requests, &snapshot.slots);
    let window_ns = snapshot.window.length_ns();
    let total = &requests.total;
    let rate = unit::rate(summary::per_second(requests.completed, window_ns));
    let capacity_ns = summary::capacity_ns(snapshot);
    let mut tiles = vec![
        ("requests", count(requests.completed).at("/requests/completed")),
        ("per second", words(rate)),
        ("median", quantile(total, 0.5).at("/requests/total/p50_ns")),
        ("p99", quantile(total, 0.99).at("/requests/total/p99_ns")),
        ("longest", longest(total).at("/requests/total/max_ns")),
    ];
    if requests.open.count > 0 {
        tiles.push(("still open", count(requests.open.count).at("/requests/open")));
    }
    tiles.push(("of capacity used", share(slots.busy_ns(), capacity_ns).at("/slots/capacity_used_ratio")));
    tiles
}
