//! Listeners and what arrivals set in motion, processes with their threads, CPU quotas.
//!
//! In: those parts of a snapshot. Out: a section each.

use profiler_core::model::{Listener, Process, Snapshot, Thread};

use super::chart::{self, Part};
use super::markup::Html;
use super::queues;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary::{self, Exit};
use crate::report::text::unit;

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
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
    if snapshot.sockets.listeners.is_empty() {
        html.raw("<p>").text(&summary::none_seen(snapshot, "listening socket")).raw("</p>");
        html.end_section();
        return;
    }
    table::begin(html, "Listening sockets", &COLUMNS, true);
    for (place, listener) in snapshot.sockets.listeners.iter().enumerate() {
        let at = |key: &str| format!("/listeners/{place}/{key}");
        let backlog = Some(u64::from(listener.seen.backlog)).filter(|backlog| *backlog > 0);
        let holders = u64::try_from(listener.holders.len()).unwrap_or(u64::MAX);
        html.row(&listener.seen.address).words(&listener.seen.family);
        let held_by =
            if listener.is_closed { "closed".to_owned() } else { unit::counted(holders, "process") };
        html.maybe_at(&at("backlog"), backlog, unit::count).number(&held_by);
        html.number_at(&at("accepted"), listener.accepted, &unit::count(listener.accepted));
        html.number_at(&at("accepts_empty"), listener.accepts_empty, &unit::count(listener.accepts_empty));
        html.number_at(&at("accepts_failed"), listener.accepts_failed, &unit::count(listener.accepts_failed));
        html.end_row();
    }
    table::end(html);
    if snapshot.sockets.listeners.iter().any(|listener| listener.accepted > 0) {
        arrivals(html, &snapshot.sockets.listeners);
    }
    queues::table(html, snapshot);
    super::woken::table(html, &snapshot.sockets.listeners);
    html.end_section();
}

/// Threads woken for each connection: one is enough.
fn arrivals(html: &mut Html, listeners: &[Listener]) {
    const COLUMNS: [Column; 8] = [
        Column::Words("address"),
        Column::Number("arrived"),
        Column::Number("woken per connection"),
        Column::Number("wasted wakeups"),
        Column::Number("wasted CPU"),
        Column::Number("accept wait, median"),
        Column::Number("p99"),
        Column::Number("longest"),
    ];
    table::begin(html, "What connections that arrived set in motion", &COLUMNS, false);
    for (place, listener) in listeners.iter().enumerate() {
        let at = |key: &str| format!("/listeners/{place}/{key}");
        let wakes = listener.wakes;
        let shown_if = |text: String| if wakes.is_some() { text } else { "-".to_owned() };
        html.row(&listener.seen.address);
        html.maybe_at(&at("wakes/arrivals"), wakes.map(|wakes| wakes.arrivals), unit::count);
        let per_connection = listener.woken_per_connection();
        html.number(&per_connection.map_or_else(|| "-".to_owned(), |woken| format!("{woken:.2}")));
        html.number(&shown_if(unit::count(listener.woken_in_vain())));
        html.number(&shown_if(shown(listener.in_vain_cpu_ns())));
        let wait = &listener.accept_wait;
        let wait_ns = |value_ns| (wait.count() > 0).then_some(value_ns);
        html.maybe_at(&at("accept_wait/p50_ns"), wait_ns(wait.quantile_ns(0.5)), shown);
        html.maybe_at(&at("accept_wait/p99_ns"), wait_ns(wait.quantile_ns(0.99)), shown);
        html.maybe_at(&at("accept_wait/max_ns"), wait_ns(wait.max_ns()), shown).end_row();
        if let Some(wakes) = wakes.filter(|wakes| wakes.woken > 0) {
            let vain = listener.woken_in_vain();
            let used = wakes.woken.saturating_sub(vain);
            let parts = [Part { name: "used", duration_ns: used }, Part { name: "vain", duration_ns: vain }];
            html.raw("<tr class=\"map\"><td colspan=\"8\">");
            chart::counted(html, &parts, wakes.woken.max(vain));
            html.raw("</td></tr>");
        }
    }
    table::end(html);
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
