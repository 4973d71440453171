//! Listeners, processes with their threads, CPU quotas; and who waited for the interpreter lock.
//!
//! In: those parts of a snapshot. Out: a section each.

use profiler_core::model::gil::{KNOWN_ERROR, METHOD};
use profiler_core::model::{Process, Snapshot, Thread};

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary::{self, Exit};
use crate::report::text::page::Page;
use crate::report::text::{gil as words, unit};

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

pub(super) fn gil(html: &mut Html, page: &Page, snapshot: &Snapshot) {
    const COLUMNS: [Column; 7] = [
        Column::Words("thread"),
        Column::Number("pid"),
        Column::Number("tid"),
        Column::Number("waits"),
        Column::Number("waited"),
        Column::Number("of it ready, without a CPU"),
        Column::Number("longest"),
    ];
    let gil = &snapshot.gil;
    html.section("gil", "Interpreter lock (GIL)", "");
    if let Some(reason) = &gil.not_measured {
        html.raw("<p>Not measured: ").text(reason).raw(".</p>");
        html.end_section();
        return;
    }
    html.element("p", &words::interpreters(gil)).element("p", &words::waits(page, gil));
    if !gil.threads.is_empty() {
        table::begin(html, "Threads that waited longest for the lock", &COLUMNS, true);
        for (place, waiter) in gil.threads.iter().enumerate() {
            let at = |key: &str| format!("/gil/threads/{place}/{key}");
            html.row(&waiter.comm).number(&waiter.tgid.to_string()).number(&waiter.tid.to_string());
            html.number_at(&at("waits"), waiter.waits, &unit::count(waiter.waits));
            html.number_at(&at("total_ns"), waiter.total_ns, &shown(waiter.total_ns));
            html.number_at(&at("run_queue_ns"), waiter.run_queue_ns, &shown(waiter.run_queue_ns));
            html.number_at(&at("longest_ns"), waiter.longest_ns, &shown(waiter.longest_ns)).end_row();
        }
        table::end(html);
    }
    let refused = gil.interpreters.iter().filter_map(|interpreter| {
        let reason = interpreter.refused.as_ref()?;
        Some((format!("process {}", interpreter.tgid), format!("not measured: {reason}")))
    });
    let method = ("method".to_owned(), format!("{METHOD}; {KNOWN_ERROR}"));
    html.entries(&std::iter::once(method).chain(refused).collect::<Vec<_>>());
    html.end_section();
}

pub(super) fn listeners(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 7] = [
        Column::Words("address"),
        Column::Words("family"),
        Column::Number("backlog"),
        Column::Number("held by"),
        Column::Number("accepted"),
        Column::Number("found nothing"),
        Column::Number("failed"),
    ];
    html.section("listeners", "Listeners", "");
    if snapshot.listeners.is_empty() {
        html.raw("<p>No listening socket was seen.</p>");
        html.end_section();
        return;
    }
    table::begin(html, "Listening sockets", &COLUMNS, true);
    for (place, listener) in snapshot.listeners.iter().enumerate() {
        let at = |key: &str| format!("/listeners/{place}/{key}");
        let backlog = Some(u64::from(listener.seen.backlog)).filter(|backlog| *backlog > 0);
        let holders = u64::try_from(listener.holders.len()).unwrap_or(u64::MAX);
        html.row(&listener.seen.address).words(&listener.seen.family);
        html.maybe_at(&at("backlog"), backlog, unit::count).number(&unit::counted(holders, "process"));
        html.number_at(&at("accepted"), listener.accepted, &unit::count(listener.accepted));
        html.number_at(&at("accepts_empty"), listener.accepts_empty, &unit::count(listener.accepts_empty));
        html.number_at(&at("accepts_failed"), listener.accepts_failed, &unit::count(listener.accepts_failed));
        html.end_row();
    }
    table::end(html);
    html.end_section();
}

pub(super) fn processes(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 9] = [
        Column::Words("pid"),
        Column::Words("role"),
        Column::Words("name"),
        Column::Number("threads"),
        Column::Number("requests"),
        Column::Number("CPU"),
        Column::Number("of one CPU"),
        Column::Number("run queue"),
        Column::Words("ended"),
    ];
    html.section("processes", "Processes", "");
    if snapshot.processes.is_empty() {
        html.raw("<p>No process was seen.</p>");
        html.end_section();
        return;
    }
    table::begin(html, "Processes, their threads added up", &COLUMNS, true);
    for (place, process) in snapshot.processes.iter().enumerate() {
        let at = |key: &str| format!("/processes/{place}/{key}");
        let sum = |value: fn(&Thread) -> u64| process.threads.iter().map(value).sum::<u64>();
        let cpu_ns = sum(|thread| thread.cpu_ns);
        let run_queue_ns = sum(|thread| thread.run_queue_ns);
        html.raw("<tr><th scope=\"row\">");
        html.figure(&at("pid"), u64::from(process.tgid), &process.tgid.to_string()).raw("</th>");
        html.words(&process.role).words(&process.comm).number(&process.threads.len().to_string());
        html.number_at(&at("requests"), process.requests, &unit::count(process.requests));
        html.number_at(&at("cpu_ns"), cpu_ns, &shown(cpu_ns));
        html.number(&unit::percent(summary::ratio(cpu_ns, snapshot.window.length_ns())));
        html.number_at(&at("run_queue_ns"), run_queue_ns, &shown(run_queue_ns))
            .words(&ended(process))
            .end_row();
    }
    table::end(html);
    threads(html, snapshot);
    quotas(html, snapshot);
    html.end_section();
}

fn ended(process: &Process) -> String {
    match process.exit_code.map(Exit::from_kernel) {
        None => "-".to_owned(),
        Some(Exit::Status(status)) => format!("status {status}"),
        Some(Exit::Signal(signal)) => format!("signal {signal}"),
    }
}

/// Threads shown; the others are counted.
const THREADS: usize = 500;

fn threads(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 7] = [
        Column::Words("thread"),
        Column::Number("pid"),
        Column::Number("tid"),
        Column::Number("requests"),
        Column::Number("CPU"),
        Column::Number("run queue"),
        Column::Number("asleep"),
    ];
    html.raw("<details><summary>Each thread</summary>");
    table::begin(html, "Threads and where their time went", &COLUMNS, true);
    let processes = snapshot.processes.iter().enumerate();
    let all = processes.flat_map(|(place, process)| {
        process.threads.iter().enumerate().map(move |(index, thread)| (place, process.tgid, index, thread))
    });
    for (place, tgid, index, thread) in all.take(THREADS) {
        let at = |key: &str| format!("/processes/{place}/threads/{index}/{key}");
        html.row(&thread.comm).number(&tgid.to_string()).number(&thread.tid.to_string());
        html.number_at(&at("requests"), thread.requests, &unit::count(thread.requests));
        for (key, value_ns) in [
            ("cpu_ns", thread.cpu_ns),
            ("run_queue_ns", thread.run_queue_ns),
            ("blocked_ns", thread.blocked_ns),
        ] {
            html.number_at(&at(key), value_ns, &shown(value_ns));
        }
        html.end_row();
    }
    table::end(html);
    let count = snapshot.processes.iter().map(|process| process.threads.len()).sum::<usize>();
    if let Some(more) = count.checked_sub(THREADS).filter(|more| *more > 0) {
        html.element("p", &format!("and {more} more (all are in the JSON report)"));
    }
    html.raw("</details>");
}

fn quotas(html: &mut Html, snapshot: &Snapshot) {
    for (place, cgroup) in snapshot.cgroups.iter().enumerate() {
        let Some(quota_us) = cgroup.last.quota_us else { continue };
        let at = |key: &str| format!("/target/cgroups/{place}/{key}");
        let cpus = summary::ratio(quota_us, cgroup.last.period_us).unwrap_or(0.0);
        let throttled_ns = cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns);
        let periods = cgroup.last.throttled_periods.saturating_sub(cgroup.first.throttled_periods);
        html.raw("<p>CPU quota of ").text(&cgroup.last.cgroup).text(&format!(": {cpus:.2} CPUs; throttled "));
        html.figure(&at("throttled_ns"), throttled_ns, &shown(throttled_ns)).raw(" in ");
        html.figure(&at("throttled_periods"), periods, &unit::counted(periods, "period")).raw(".</p>");
    }
}
