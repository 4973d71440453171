//! Processes: what each did, its threads added up.
//!
//! In: processes, threads and cgroups of a snapshot. Out: a section: a table, on the page one of each thread, and a line per
//! CPU quota.

use profiler_core::model::{Process, Snapshot, Thread};

use super::block::{Block, Blocks, Folded, Section};
use super::cell::{Cell, Words, count, counted, duration, id, share, words};
use super::table::{Column, On, Table, left, narrow, right, shrinking};
use crate::report::summary::{self, Exit};
use crate::report::unit;

/// Processes in the text report.
const SHOWN: usize = 20;
/// Threads on the page; the others are counted.
const THREADS: usize = 500;

const COLUMNS: [Column; 9] = [
    right("pid"),
    narrow("role"),
    shrinking("name"),
    right("threads"),
    right("requests"),
    right("CPU"),
    right("of one CPU"),
    right("run queue"),
    left("ended"),
];

const THREAD_COLUMNS: [Column; 7] = [
    shrinking("thread"),
    right("pid"),
    right("tid"),
    right("requests"),
    right("CPU"),
    right("run queue"),
    right("asleep"),
];

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let processes = unit::number(snapshot.processes.len());
    let threads = unit::number(snapshot.processes.iter().map(|process| process.threads.len()).sum());
    let note = format!("{}, {}", unit::counted(processes, "process"), unit::counted(threads, "thread"));
    let mut body = Blocks::default();
    if snapshot.processes.is_empty() {
        body.say("No process was seen.");
        return Section::new("processes", "Processes", body).note(note);
    }
    let mut table = Table::new("Processes, their threads added up", &COLUMNS).most(SHOWN);
    for (place, process) in snapshot.processes.iter().enumerate() {
        table.row(&format!("/processes/{place}"), row(process, snapshot.window.length_ns()));
    }
    body.table(table);
    body.push(On::Page, Block::Folded(Folded::new("Each thread", each_thread(snapshot))));
    quotas(&mut body, snapshot);
    Section::new("processes", "Processes", body).note(note)
}

fn row(process: &Process, window_ns: u64) -> [Cell; COLUMNS.len()] {
    let sum = |value: fn(&Thread) -> u64| process.threads.iter().map(value).sum::<u64>();
    let cpu_ns = sum(|thread| thread.cpu_ns);
    let ended = match process.exit_code.map(Exit::from_kernel) {
        None => "-".to_owned(),
        Some(Exit::Status(status)) => format!("status {status}"),
        Some(Exit::Signal(signal)) => format!("signal {signal}"),
    };
    [
        id(process.tgid).at("pid"),
        words(&process.role),
        words(&process.comm),
        id(unit::number(process.threads.len())),
        count(process.requests).at("requests"),
        duration(cpu_ns).at("cpu_ns"),
        share(cpu_ns, window_ns),
        duration(sum(|thread| thread.run_queue_ns)).at("run_queue_ns"),
        words(ended),
    ]
}

fn each_thread(snapshot: &Snapshot) -> Blocks<'_> {
    let mut table = Table::new("Threads and where their time went", &THREAD_COLUMNS);
    let processes = snapshot.processes.iter().enumerate();
    let all = processes.flat_map(|(place, process)| {
        process.threads.iter().enumerate().map(move |(index, thread)| (place, process.tgid, index, thread))
    });
    for (place, tgid, index, thread) in all.take(THREADS) {
        table.row(
            &format!("/processes/{place}/threads/{index}"),
            [
                words(&thread.comm),
                id(tgid),
                id(thread.tid),
                count(thread.requests).at("requests"),
                duration(thread.cpu_ns).at("cpu_ns"),
                duration(thread.run_queue_ns).at("run_queue_ns"),
                duration(thread.blocked_ns).at("blocked_ns"),
            ],
        );
    }
    let mut body = Blocks::default();
    body.table(table);
    let threads = snapshot.processes.iter().map(|process| process.threads.len()).sum::<usize>();
    if let Some(more) = threads.checked_sub(THREADS).filter(|more| *more > 0) {
        body.say(format!("and {more} more (all are in the JSON report)"));
    }
    body
}

fn quotas(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    for (place, cgroup) in snapshot.cgroups.iter().enumerate() {
        let Some(quota_us) = cgroup.last.quota_us else { continue };
        let at = |key: &str| format!("/target/cgroups/{place}/{key}");
        let cpus = summary::ratio(quota_us, cgroup.last.period_us).unwrap_or(0.0);
        let throttled_ns = cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns);
        let periods = cgroup.last.throttled_periods.saturating_sub(cgroup.first.throttled_periods);
        let quota = format!("CPU quota of {}: {cpus:.2} CPUs; throttled ", cgroup.last.cgroup);
        body.say(
            Words::from(quota)
                .figure(duration(throttled_ns).at(at("throttled_ns")))
                .text(" in ")
                .figure(counted(periods, "period").at(at("throttled_periods")))
                .text("."),
        );
    }
}
