//! Processes: what each did, its threads added up.
//!
//! In: processes, threads and cgroups of a snapshot. Out: a table, and a line per CPU quota.

use profiler_core::model::{Process, Snapshot, Thread};

use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::style::Role;
use crate::report::summary::{self, Exit};

/// Processes shown.
const SHOWN: usize = 20;

const COLUMNS: [Column; 9] = [
    Column::Right("pid"),
    Column::Narrow("role"),
    Column::Shrinking("name"),
    Column::Right("threads"),
    Column::Right("requests"),
    Column::Right("CPU"),
    Column::Right("of one CPU"),
    Column::Right("run queue"),
    Column::Left("ended"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let processes = u64::try_from(snapshot.processes.len()).unwrap_or(u64::MAX);
    let threads = snapshot.processes.iter().map(|process| process.threads.len()).sum::<usize>();
    let threads = u64::try_from(threads).unwrap_or(u64::MAX);
    let note = format!("{}, {}", unit::counted(processes, "process"), unit::counted(threads, "thread"));
    page.heading("Processes", &note);
    if snapshot.processes.is_empty() {
        page.paragraph((Role::Quiet, "  "), (None, "No process was seen."));
        return;
    }
    let mut table = Table::new(&COLUMNS);
    for process in snapshot.processes.iter().take(SHOWN) {
        table.row(row(page, process, snapshot.window.length_ns()));
    }
    table.write(page);
    if let Some(more) = snapshot.processes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        page.line(&format!("  and {more} more (all are in the JSON report)"));
    }
    quotas(page, snapshot);
}

fn row(page: &Page, process: &Process, window_ns: u64) -> [String; COLUMNS.len()] {
    let sum = |value: fn(&Thread) -> u64| process.threads.iter().map(value).sum::<u64>();
    let cpu_ns = sum(|thread| thread.cpu_ns);
    let ended = match process.exit_code.map(Exit::from_kernel) {
        None => "-".to_owned(),
        Some(Exit::Status(status)) => format!("status {status}"),
        Some(Exit::Signal(signal)) => format!("signal {signal}"),
    };
    [
        process.tgid.to_string(),
        process.role.clone(),
        process.comm.clone(),
        process.threads.len().to_string(),
        unit::count(process.requests),
        unit::duration(cpu_ns, page.style.charset),
        unit::percent(summary::ratio(cpu_ns, window_ns)),
        unit::duration(sum(|thread| thread.run_queue_ns), page.style.charset),
        ended,
    ]
}

fn quotas(page: &mut Page, snapshot: &Snapshot) {
    for cgroup in &snapshot.cgroups {
        let Some(quota_us) = cgroup.last.quota_us else { continue };
        let cpus = summary::ratio(quota_us, cgroup.last.period_us).unwrap_or(0.0);
        let throttled_ns = cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns);
        let periods = cgroup.last.throttled_periods.saturating_sub(cgroup.first.throttled_periods);
        let text = format!(
            "CPU quota of {}: {cpus:.2} CPUs; throttled {} in {}.",
            cgroup.last.cgroup,
            unit::duration(throttled_ns, page.style.charset),
            unit::counted(periods, "period"),
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
}
