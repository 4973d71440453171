//! The first lines: which server, where, how long, how busy.
//!
//! In: session, server, window and requests of a snapshot. Out: a few lines.

use profiler_core::fact::EndReason;
use profiler_core::model::{Origin, Snapshot};

use super::page::Page;
use super::unit;
use crate::report::style::Role;
use crate::report::summary;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let server = server(page, snapshot);
    page.paragraph((Role::Quiet, ""), (Some(Role::Heading), &server));
    for line in [settings(page, snapshot), watched(page, snapshot), traffic(page, snapshot)] {
        page.paragraph((Role::Quiet, ""), (None, &line));
    }
}

/// Which server, on which machine. Hostile input.
pub(in crate::report) fn server(page: &Page, snapshot: &Snapshot) -> String {
    let server = &snapshot.server;
    let session = &snapshot.session;
    let version = server.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut parts = if server.is_unknown() {
        let process = snapshot.processes.iter().find(|process| process.tgid == session.target_pid);
        let comm = process.map(|process| format!(" ({})", process.comm)).unwrap_or_default();
        vec![format!("unknown server{comm}")]
    } else {
        vec![format!("{}{version}", server.name)]
    };
    if !server.worker_class.is_empty() && !server.is_unknown() {
        parts.push(server.worker_class.clone());
    }
    parts.extend(server.python_version.as_ref().map(|version| format!("Python {version}")));
    parts.push(format!("pid {} on {}", session.target_pid, session.host_name));
    parts.push(unit::counted(u64::from(session.cpu_count), "CPU"));
    parts.push(format!("Linux {}", session.kernel_release));
    parts.join(page.dot())
}

/// Settings, those from the same origin together: `workers 2, threads 4 (configured)`.
pub(in crate::report) fn settings(page: &Page, snapshot: &Snapshot) -> String {
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
    groups.into_iter().filter(|group| !group.is_empty()).collect::<Vec<_>>().join(page.dot())
}

/// When it was watched, and what came and went.
pub(in crate::report) fn watched(page: &Page, snapshot: &Snapshot) -> String {
    let window = snapshot.window;
    let requests = &snapshot.requests;
    let start_ns = i64::try_from(window.start_ns).unwrap_or(i64::MAX);
    let ended = match window.end_reason {
        Some(EndReason::Duration) => "",
        Some(EndReason::Interrupted) => " (interrupted)",
        Some(EndReason::TargetExited) => " (the server exited)",
        Some(EndReason::RecordingFailed) => " (recording failed)",
        Some(EndReason::NextWindow) => " (the next window began)",
        Some(EndReason::StillOpen) => " (still open)",
        None => " (recording cut off)",
    };
    let length = unit::duration(window.length_ns(), page.style.charset);
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
    .join(page.dot())
}

/// Requests, their rate and their times.
pub(in crate::report) fn traffic(page: &Page, snapshot: &Snapshot) -> String {
    let requests = &snapshot.requests;
    let rate = summary::per_second(requests.completed, snapshot.window.length_ns());
    let mut parts = vec![format!("{} ({})", unit::counted(requests.completed, "request"), unit::rate(rate))];
    if requests.open > 0 {
        parts.push(format!("{} still open", unit::count(requests.open)));
    }
    if requests.total.count() > 0 {
        let shown = |duration_ns| unit::duration(duration_ns, page.style.charset);
        parts.push(format!("median {}", shown(requests.total.quantile_ns(0.5))));
        parts.push(format!("p99 {}", shown(requests.total.quantile_ns(0.99))));
        parts.push(format!("longest {}", shown(requests.total.max_ns())));
    }
    parts.join(page.dot())
}
