//! Part `event`: what a single event costs, of a traced process and of one that is not, and how that grows.
//!
//! In: children that do one thing, a server under load. Out: nanoseconds added to an event; run time of each
//! program as the kernel counts it.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::bail;
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use crate::child::{Event, Worker};
use crate::client;
use crate::figure::{Aim, PartResult, Unit};
use crate::part::Bench;
use crate::rounds::{Sample, interleave};
use crate::server::{Kind, Server};
use crate::statistics::Interval;
use crate::subject::{ALONE, Attached, EMPTY, Group, OURS, Subject, Target, choose};

/// Length of one sample.
const SAMPLE_MS: u64 = 200;

const EVENTS: &str = "An event of a traced process";
const GROWTH: &str = "Growth with the number of threads";
const PROGRAMS: &str = "Run time of each program, gunicorn gthread under load";
const PROGRAMS_SYNC: &str =
    "Run time of each program, gunicorn sync under load, a new connection for each request";

/// Key of what the programs do once at either end of a call and beside that is no event to them.
const CLOCK: &str = "clock";

/// Events of [`EVENTS`]: key, column, event.
const SINGLE: &[(&str, &str, Event)] = &[
    (CLOCK, "a look at the clock (no call)", Event::Clock),
    ("observed", "observed call", Event::Observed),
    ("folded", "folded call (futex that does not sleep)", Event::Folded),
    ("unobserved", "call not observed", Event::Unobserved),
    ("seldom", "observed call, every 100 µs", Event::Seldom),
    ("switch", "switch, with a write and a read", Event::Switch),
];

/// Acquisitions of the interpreter lock: key, column, threads.
const LOCK: &[(&str, &str, usize)] =
    &[("free", "GIL taken uncontended", 1), ("contended", "GIL taken from another thread", 2)];

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("event");
    bench.measure(
        &[(EVENTS, single), (GROWTH, growth), (PROGRAMS, programs), (PROGRAMS_SYNC, programs_sync)],
        &mut result,
    );
    bench.finish(result)
}

fn attach_to(subject: &Subject, pid: u32) -> anyhow::Result<Attached> {
    subject.start(&Target { root: pid, worker: pid, cpus: vec![1] })
}

fn python() -> anyhow::Result<Worker> {
    let mut command = Command::new(wsgi_trace_test_support::root().join(".tools/venv27/bin/python"));
    command.arg(wsgi_trace_test_support::root().join("lab/bench/gil_target.py"));
    Worker::of(command, &[0])
}

fn single(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    let mut worker = Worker::start(&[0])?;
    let mut interpreter = python()?;
    let (subjects, missing) = choose(&[Group::Alone, Group::Ours, Group::Light, Group::Tracepoints]);
    for (name, reason) in missing {
        result.miss(EVENTS, name, &reason);
    }
    let samples = interleave(
        &subjects,
        bench.limit(9, 130),
        |subject| {
            let mut sample = Sample::default();
            let attached = attach_to(subject, worker.pid())?;
            for (key, _, event) in SINGLE {
                sample.insert(key, worker.measure(*event, 1, SAMPLE_MS)?);
            }
            attached.finish()?;
            // These hooks take the kernel seconds to let go of, and cost a futex what they cost any observed
            // call.
            if subject.group == Group::Tracepoints {
                return Ok(sample);
            }
            let attached = attach_to(subject, interpreter.pid())?;
            for (key, _, threads) in LOCK {
                sample.insert(key, interpreter.ask(&format!("gil {threads} {SAMPLE_MS}"))?);
            }
            attached.finish()?;
            Ok(sample)
        },
        |subject, error| result.miss(EVENTS, subject.name, &format!("{error:#}")),
    );
    let Some(base) = subjects.iter().position(|subject| subject.name == ALONE) else {
        bail!("nothing to compare with")
    };
    let columns: Vec<(&str, &str)> = SINGLE
        .iter()
        .map(|(key, column, _)| (*key, *column))
        .chain(LOCK.iter().map(|(key, column, _)| (*key, *column)))
        .collect();
    // One row an event: there are more of them than of subjects.
    for (key, event) in columns {
        for (index, subject) in subjects.iter().enumerate() {
            let (column, value) = if index == base {
                (subject.name.to_owned(), samples.value(index, key))
            } else {
                (format!("added by {}", subject.name), samples.difference(index, base, key))
            };
            result.add((EVENTS, event, &column), Unit::Nanoseconds, value, None);
        }
        let index = |name: &str| subjects.iter().position(|subject| subject.name == name);
        if let (true, Some(ours), Some(floor)) = (key != CLOCK, index(OURS), index(EMPTY)) {
            let ratio = samples.added_ratio(ours, floor, base, key);
            let aim = (key == "observed").then_some(Aim::at_most(1.3));
            result.add((EVENTS, event, "wsgi-trace to empty programs"), Unit::Ratio, ratio, aim);
        }
    }
    Ok(())
}

/// Threads in the traced process, and in one beside it.
fn growth(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    let (subjects, _) = choose(&[Group::Alone, Group::Ours]);
    for threads in [1_usize, 10, 100, 1000] {
        let mut traced = Worker::start(&[0])?;
        let mut beside = Worker::start(&[0])?;
        let samples = interleave(
            &subjects,
            bench.limit(9, 20),
            |subject| {
                let attached = attach_to(subject, traced.pid())?;
                let sample = Sample::from([
                    ("calls", traced.measure(Event::Observed, threads, SAMPLE_MS)?),
                    ("switches", traced.measure(Event::Switch, threads, SAMPLE_MS)?),
                    ("beside", beside.measure(Event::Switch, threads, SAMPLE_MS)?),
                ]);
                attached.finish()?;
                Ok(sample)
            },
            |subject, error| result.miss(GROWTH, subject.name, &format!("{error:#}")),
        );
        let index = |name: &str| subjects.iter().position(|subject| subject.name == name);
        let (Some(base), Some(ours)) = (index(ALONE), index(OURS)) else { bail!("nothing to compare with") };
        let row = format!("{threads} {}", if threads == 1 { "thread (switches: 2)" } else { "threads" });
        for (key, column) in [
            ("calls", "added to an observed call"),
            ("switches", "added to a switch of a traced thread"),
            ("beside", "added to a switch of another process's thread"),
        ] {
            let added = samples.difference(ours, base, key);
            result.add((GROWTH, &row, column), Unit::Nanoseconds, added, None);
        }
    }
    Ok(())
}

/// The kernel's own statistics, switched on for a second of load; they add two clock reads to each run.
fn programs(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    programs_of(Kind::GunicornGthread, PROGRAMS, bench, result)
}

/// The kernel's own statistics where every request brings a connection: connections cost more than calls do.
fn programs_sync(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    programs_of(Kind::GunicornSync, PROGRAMS_SYNC, bench, result)
}

fn programs_of(kind: Kind, table: &str, bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    let server = Server::start(kind, &[0], 1)?;
    client::closed_loop(&server, "/", &[1], 1.0)?;
    // Beside what the kernel takes to call a program at all, and to measure it: those without bodies.
    for (name, suffix) in [(OURS, ""), (EMPTY, ", empty")] {
        let Some(subject) = Subject::named(name) else { bail!("there is no such subject") };
        match run_times_of(&server, subject, bench) {
            Ok(programs) => add_run_times(table, suffix, &programs, result),
            Err(error) => result.miss(table, name, &format!("{error:#}")),
        }
    }
    Ok(())
}

/// Of one program, round by round: nanoseconds a run, and runs per request.
#[derive(Default)]
struct Runs {
    rounds: Vec<[f64; 2]>,
    code_bytes: u32,
}

fn run_times_of(server: &Server, subject: &Subject, bench: &Bench) -> anyhow::Result<BTreeMap<String, Runs>> {
    let attached = subject.start(&Target { root: server.root(), worker: server.worker(), cpus: vec![1] })?;
    let Some(pid) = attached.pid() else { bail!("nothing is attached") };
    let mut programs: BTreeMap<String, Runs> = BTreeMap::new();
    for _ in 0..bench.rounds(6) {
        let statistics = enable_stats(Stats::RunTime)?;
        let before = run_times(pid);
        let load = client::closed_loop(server, "/", &[1], 1.0)?;
        let after = run_times(pid);
        drop(statistics);
        let seconds = 1.0;
        let requests = load.get("throughput").unwrap_or(0.0) * seconds;
        for (id, end) in after {
            let Some(start) = before.get(&id) else { continue };
            let runs = end.runs.saturating_sub(start.runs) as f64;
            let run_ns = end.run_ns.saturating_sub(start.run_ns) as f64;
            if runs >= 100.0 {
                let program = programs.entry(end.name).or_default();
                program.rounds.push([run_ns / runs, runs / requests]);
                program.code_bytes = end.code_bytes;
            }
        }
    }
    attached.finish()?;
    Ok(programs)
}

fn add_run_times(table: &str, suffix: &str, programs: &BTreeMap<String, Runs>, result: &mut PartResult) {
    let (mut all, mut all_rounds) = (Vec::new(), usize::MAX);
    for (name, Runs { rounds, code_bytes }) in programs {
        let row = format!("{name}{suffix}");
        let place = |column| (table, row.as_str(), column);
        let a_run: Vec<f64> = rounds.iter().map(|[run_ns, _]| *run_ns).collect();
        let runs: Vec<f64> = rounds.iter().map(|[_, runs]| *runs).collect();
        let per_request: Vec<f64> = rounds.iter().map(|[run_ns, runs]| run_ns * runs).collect();
        result.add(place("a run"), Unit::Nanoseconds, Interval::of(&a_run), None);
        result.add(place("runs per request, machine-wide"), Unit::Count, Interval::of(&runs), None);
        result.add(place("per request"), Unit::Nanoseconds, Interval::of(&per_request), None);
        let bytes = Interval::of(&[f64::from(*code_bytes)]);
        result.add(place("machine code"), Unit::Bytes, bytes, None);
        all_rounds = all_rounds.min(per_request.len());
        all.push(per_request);
    }
    let together: Vec<f64> = (0..all_rounds)
        .map_while(|round| all.iter().map(|one| one.get(round)).sum::<Option<f64>>())
        .collect();
    let row = format!("all of them{suffix}");
    if !all.is_empty() {
        result.add((table, &row, "per request"), Unit::Nanoseconds, Interval::of(&together), None);
    }
}

/// Run time of all programs that a process holds, in nanoseconds.
pub(super) fn run_time_ns(pid: u32) -> u64 {
    run_times(pid).values().map(|program| program.run_ns).sum()
}

struct RunTime {
    name: String,
    run_ns: u64,
    runs: u64,
    code_bytes: u32,
}

/// Of the programs that a process holds, by their ids.
fn run_times(pid: u32) -> BTreeMap<u32, RunTime> {
    let mut held = Vec::new();
    if let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) {
        for descriptor in descriptors.flatten() {
            let text = std::fs::read_to_string(descriptor.path()).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
            held.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
        }
    }
    loaded_programs()
        .flatten()
        .filter(|program| held.contains(&program.id()))
        .map(|program| {
            let run_time = RunTime {
                name: program.name_as_str().unwrap_or("?").to_owned(),
                run_ns: u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX),
                runs: program.run_count(),
                code_bytes: program.size_jitted(),
            };
            (program.id(), run_time)
        })
        .collect()
}
