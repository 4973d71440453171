//! Processes: what each did, its threads added up.
//!
//! In: processes, threads and cgroups of a snapshot. Out: a section: a table, on the page one of each thread,
//! and a line per CPU quota and limit of memory.

use profiler_core::fact::CgroupMemory;
use profiler_core::model::{Process, Snapshot, Thread};

use super::block::{Block, Blocks, Folded, Section};
use super::cell::{Words, bytes, count, counted, duration, id, share, words};
use super::table::{On, Rows, Table, listed};
use crate::report::summary::{self, Exit};
use crate::report::unit;

/// Processes in the text report.
const SHOWN: usize = 20;
/// Threads on the page; the others are counted.
const THREADS: usize = 500;

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let processes = unit::number(snapshot.processes.len());
    let threads = unit::number(snapshot.processes.iter().map(|process| process.threads.len()).sum());
    let note = format!("{}, {}", unit::counted(processes, "process"), unit::counted(threads, "thread"));
    let mut body = Blocks::default();
    if snapshot.processes.is_empty() {
        body.say("No process was seen.");
        return Section::new("processes", "Processes", body).note(note);
    }
    body.table(table(snapshot));
    body.push(On::PAGE, Block::Folded(Folded::new("Each thread", each_thread(snapshot))));
    quotas(&mut body, snapshot);
    memory(&mut body, snapshot);
    Section::new("processes", "Processes", body).note(note)
}

fn table(snapshot: &Snapshot) -> Table {
    let window_ns = snapshot.window.length_ns();
    let sum = |process: &Process, of: fn(&Thread) -> u64| {
        process.threads.iter().map(of).fold(0, u64::saturating_add)
    };
    let cpu_ns = move |process| sum(process, |thread| thread.cpu_ns);
    Rows::of("Processes, their threads added up", listed("/processes", &snapshot.processes))
        .right("pid", |process| id(process.tgid).at("pid"))
        .narrow("role", |process| words(&process.role))
        .shrinking("name", |process| words(&process.comm))
        .right("threads", |process| id(unit::number(process.threads.len())))
        .right("requests", |process| count(process.requests).at("requests"))
        .right("CPU", move |process| duration(cpu_ns(process)).at("cpu_ns"))
        .right("of one CPU", move |process| share(cpu_ns(process), window_ns))
        .right("run queue", move |process| {
            duration(sum(process, |thread| thread.run_queue_ns)).at("run_queue_ns")
        })
        .left("ended", |process| words(ended(process)))
        .table()
        .most(SHOWN)
}

fn ended(process: &Process) -> String {
    match process.exit_code.map(Exit::from_kernel) {
        None => "-".to_owned(),
        Some(Exit::Status(status)) => format!("status {status}"),
        Some(Exit::Signal(signal)) => format!("signal {signal}"),
    }
}

fn each_thread(snapshot: &Snapshot) -> Blocks<'_> {
    let all = listed("/processes", &snapshot.processes).into_iter().flat_map(|(pointer, process)| {
        let threads = listed(&format!("{pointer}/threads"), &process.threads);
        threads.into_iter().map(|(pointer, thread)| (pointer, (process.tgid, thread)))
    });
    let all: Vec<(String, (u32, &Thread))> = all.take(THREADS).collect();
    let table = Rows::of("Threads and where their time went", all)
        .shrinking("thread", |(_, thread)| words(&thread.comm))
        .right("pid", |(tgid, _)| id(tgid))
        .right("tid", |(_, thread)| id(thread.tid))
        .right("requests", |(_, thread)| count(thread.requests).at("requests"))
        .right("CPU", |(_, thread)| duration(thread.cpu_ns).at("cpu_ns"))
        .right("run queue", |(_, thread)| duration(thread.run_queue_ns).at("run_queue_ns"))
        .right("asleep", |(_, thread)| duration(thread.blocked_ns).at("blocked_ns"))
        .table();
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

fn memory(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let Some(CgroupMemory { cgroup, limit_bytes: Some(limit), used_bytes }) = &snapshot.memory else {
        return;
    };
    let at = |key: &str| format!("/target/memory/{key}");
    let mut said =
        Words::from(format!("Memory limit of {cgroup}: ")).figure(bytes(*limit).at(at("limit_bytes")));
    if let Some(used) = used_bytes {
        said =
            said.text("; in use ").figure(bytes(*used).at(at("used_bytes"))).text(", cached files included");
    }
    body.say(said.text("."));
}
