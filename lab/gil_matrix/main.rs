//! Waits for the interpreter lock, one by one, against probes of another program, on every interpreter that
//! is found.
//!
//! In: interpreters, servers, bpftrace. Out: a table (`make gil-matrix` keeps it in
//! lab/results/gil-truth.md).

mod claims;
mod ending;
mod interpreters;
mod places;
mod server;
mod sub_interpreters;
mod tasks;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use wsgi_trace::fact::python::take_gil;
use wsgi_trace_lab::bpftrace::Cause;
use wsgi_trace_lab::gil_comparison::{Comparison, compare, quantile_us};
use wsgi_trace_lab::gil_witness::{Attempt, HeldUp, Witness};
use wsgi_trace_lab::stops::Stops;
use wsgi_trace_test_support::gate::{exclusive, note_skip};
use wsgi_trace_test_support::gil_episodes::{Wait, waits_of};
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::replayed::Replayed;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::steal::Stretch;

use interpreters::Interpreter;
use server::{Kind, Server};

/// The table's head.
const HEAD: &str = "| interpreter | load | `--gil` | waits | one to one | missed/split/merged/extra | all time: raw / accounted / with ways | \
     each within: raw / accounted / with ways | left: held up + unseen | the machine's: late wakeups / stops a second / longer stops; hit | ways in (timer, other) + out, µs | witness's probes, µs | \
     begins late, µs: median / 99 % | ends early, µs: median / 99 % | release: right of forced/voluntary |\n\
     |---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";
/// How long each is watched.
const FOR: Duration = Duration::from_secs(5);
/// Room for all that is told meanwhile, so that nothing is lost where the profiler gets no core for a while.
const RING: (&str, &str) = ("--ring-bytes", "134217728");
/// Versions that should be in the table.
const WANTED: [&str; 13] = [
    "3.8",
    "3.9",
    "3.10",
    "3.11",
    "3.12",
    "3.13",
    "3.14",
    "3.15",
    "free-threaded",
    "musl",
    "debug",
    "conda",
    "like uv",
];

/// Share of the CPUs from which what a hypervisor took may be what makes a line not as the page has it: the
/// page allows half a percent of the waits.
const DISTURBED_RATIO: f64 = 0.005;
/// How often a line is measured at most.
const MOST_TIMES: u32 = 3;

/// One line of the table, and what of it is not as the page has it. Where a hypervisor took the CPUs
/// meanwhile, that is measured again: nobody tells of its stops, and they come in bursts.
fn judged(interpreter: &Interpreter, kind: Kind, way: &[&str]) -> anyhow::Result<(Comparison, Vec<String>)> {
    let mut times = 1;
    loop {
        let stretch = Stretch::begin();
        let of = measure(interpreter, kind, way)?;
        let broken = claims::broken(&of, kind, interpreter.is_musl());
        let (_, stolen_ratio) = stretch.stolen();
        if broken.is_empty() || stolen_ratio < DISTURBED_RATIO || times >= MOST_TIMES {
            return Ok((of, broken));
        }
        let percent = stolen_ratio * 100.0;
        eprintln!("Measured again, for {percent:.1} % of the CPUs were stolen: {}", broken.join("; "));
        times += 1;
    }
}

/// Measures it once.
fn measure(interpreter: &Interpreter, kind: Kind, way: &[&str]) -> anyhow::Result<Comparison> {
    let server = Server::start(interpreter, kind)?;
    let image = server.image()?;
    let functions = take_gil::find(std::fs::File::open(&image)?)?;
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("run.wtrace");
    let pid = server.pid().to_string();
    let mut options = vec![
        "record",
        "--pid",
        &pid,
        "-o",
        recording.to_str().context("a path in UTF-8")?,
        RING.0,
        RING.1,
        "--gil",
    ];
    options.extend(way);
    let mut program = Program::start(&options)?;
    program.wait_for_stderr("watching process")?;
    let load = server.load();
    let mut stops = Stops::default();
    stops.measure()?;
    let witness = Witness::start(&image, &functions, &server.pids()?)?;
    std::thread::sleep(FOR);
    let seen = witness.finish()?;
    // A host's bursts are shorter than this run: before it and after it.
    stops.measure()?;
    drop(load);
    program.signal(libc::SIGINT);
    program.finish(Duration::from_secs(60))?;
    drop(server);
    let told = waits_of(&recording)?;
    anyhow::ensure!(told.losses.is_empty(), "the profiler lost records: {:?}", told.losses);
    let report = Replayed::of(&recording, &mut |_| {})?.last;
    if let Some(differs) = claims::report_differs(&report, &told) {
        anyhow::bail!(differs);
    }
    let own_ns = seen.unhindered_ns.saturating_sub(interpreter.bare_ns());
    let result = compare(&told.waits, &seen.attempts, own_ns, stops.way());
    if let Some(file) = std::env::var_os("WSGI_TRACE_GIL_PAIRS") {
        keep(Path::new(&file), &recording, &result, own_ns)?;
    }
    Ok(result)
}

/// Writes each attempt beside our wait, to see where they differ: thread; the witness's beginning and end;
/// ours; whether they agree. For each stretch in which it was held up: whether by an interrupt, whether in a
/// call, from when and until when. Then attempts that are not one wait of ours, each with ours; and waits of
/// ours without an attempt. The recording is beside it.
fn keep(file: &Path, recording: &Path, of: &Comparison, own_ns: u64) -> anyhow::Result<()> {
    let mut text = format!("# own {own_ns}, ways {:?}\n", of.way);
    for (attempt, wait) in &of.pairs {
        let Attempt { tid, start_ns, end_ns, held_up, .. } = attempt;
        let mut numbers = vec![u64::from(*tid), *start_ns, *end_ns, wait.start_ns, wait.end_ns];
        for HeldUp { from_ns, until_ns, is_in_call, by } in held_up {
            numbers.extend([u64::from(*by != Cause::Thread), u64::from(*is_in_call), *from_ns, *until_ns]);
        }
        let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    let ours = |wait: &Wait| format!(" {} {}", wait.start_ns, wait.end_ns);
    for (Attempt { tid, start_ns, end_ns, .. }, waits) in &of.unequal {
        let waits: String = waits.iter().map(ours).collect();
        let _ = writeln!(text, "# unequal {tid} {start_ns} {end_ns}{waits}");
    }
    for wait in &of.alone {
        let _ = writeln!(text, "# alone {}{}", wait.tid, ours(wait));
    }
    std::fs::write(file, text)?;
    std::fs::copy(recording, file.with_extension("wtrace"))?;
    Ok(())
}

fn line(interpreter: &Interpreter, kind: Kind, way: &str, of: &Comparison) -> String {
    format!(
        "| {} | {} | {way} | {} | {:.2} % | {}/{}/{}/{} | {:+.2} / {:+.2} / {:+.2} % | {:.2} / {:.2} / {:.2} % | {} + {} | {:.2} % / {} / {:.1} %; {:.2} % | {:.1}, {:.1} + {:.1} | {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {:.1} % of {}/{} |",
        interpreter.name,
        kind.name(),
        of.attempts,
        of.matched_share() * 100.0,
        of.missed,
        of.split,
        of.merged,
        of.extra,
        of.total_error() * 100.0,
        of.accounted_error() * 100.0,
        of.with_ways_error() * 100.0,
        of.within_share() * 100.0,
        of.accounted_share() * 100.0,
        of.with_ways_share() * 100.0,
        of.unexplained.0,
        of.unexplained.1,
        of.way.late_wakeup_ratio * 100.0,
        of.way.untold_per_s,
        of.way.longer_ratio * 100.0,
        of.untold_share() * 100.0,
        of.way.timer_in_ns as f64 / 1e3,
        of.way.other_in_ns as f64 / 1e3,
        of.way.out_ns as f64 / 1e3,
        of.own_ns as f64 / 1e3,
        quantile_us(&of.late_ns, 0.5),
        quantile_us(&of.late_ns, 0.99),
        quantile_us(&of.early_ns, 0.5),
        quantile_us(&of.early_ns, 0.99),
        of.releases_share() * 100.0,
        of.forced.0,
        of.voluntary.0,
    )
}

/// Every interpreter that is found, under each load. `WSGI_TRACE_GIL` chooses interpreters by a part of their
/// name, `WSGI_TRACE_GIL_LOADS` loads, `WSGI_TRACE_GIL_WAYS` ways.
#[test]
#[ignore = "make gil-matrix: wants a machine that does nothing else"]
fn waits_are_those_of_the_function_that_takes_the_lock() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let chosen = |name: &str, variable: &str| {
        std::env::var(variable).map_or(true, |list| list.split(',').any(|part| name.contains(part)))
    };
    let found = interpreters::found();
    let mut lines = Vec::new();
    let mut wrong = Vec::new();
    for interpreter in found.iter().filter(|interpreter| chosen(&interpreter.name, "WSGI_TRACE_GIL")) {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.runs_on(interpreter)) {
            if !chosen(kind.name(), "WSGI_TRACE_GIL_LOADS") {
                continue;
            }
            let ways = std::env::var("WSGI_TRACE_GIL_WAYS").unwrap_or_else(|_| kind.ways().to_owned());
            for way in ways.split(',') {
                let _alone = exclusive()?;
                let words: Vec<&str> = way.split(' ').collect();
                let text = match judged(interpreter, kind, &words) {
                    Ok((of, broken)) => {
                        if !broken.is_empty() {
                            let line = format!("{}, {}, {way}", interpreter.name, kind.name());
                            wrong.push(format!("{line}: {}", broken.join("; ")));
                        }
                        line(interpreter, kind, way, &of)
                    }
                    Err(error) => {
                        let failed = format!("{}, {}, {way}: {error:#}", interpreter.name, kind.name());
                        eprintln!("{failed}");
                        wrong.push(failed);
                        continue;
                    }
                };
                eprintln!("{text}");
                lines.push(text);
            }
        }
    }
    let missing: Vec<&str> =
        WANTED.into_iter().filter(|wanted| !found.iter().any(|interpreter| interpreter.is(wanted))).collect();
    if !missing.is_empty() {
        note_skip(&format!("no interpreter here is {}", missing.join(", ")));
    }
    if let Some(page) = std::env::var_os("WSGI_TRACE_GIL_PAGE") {
        write(Path::new(&page), &lines, &missing)?;
    }
    assert!(wrong.is_empty(), "not as lab/results/gil-truth.md has it: {wrong:#?}");
    Ok(())
}

/// Puts the table between the marks of the page. Lines of it that were not taken now stay, unless the table
/// had other columns.
fn write(page: &Path, lines: &[String], missing: &[&str]) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(page)?;
    let (before, rest) = text.split_once("<!-- table -->\n").context("the page has no table")?;
    let (table, after) = rest.split_once("<!-- end of the table -->").context("the table has no end")?;
    let missing = match missing {
        [] => String::new(),
        missing => format!("\nNot found on the machine that made this table: {}.\n", missing.join(", ")),
    };
    let lines = merged(table, lines).join("\n");
    let table = format!("{HEAD}\n{lines}\n{missing}");
    std::fs::write(page, format!("{before}<!-- table -->\n{table}<!-- end of the table -->{after}"))?;
    Ok(())
}

/// The lines of a table with those in their places that were taken again.
fn merged(table: &str, again: &[String]) -> Vec<String> {
    let mut lines = again.to_vec();
    let old = table.strip_prefix(HEAD).unwrap_or_default().lines().filter(|line| line.starts_with('|'));
    for line in old {
        if !again.iter().any(|other| what(other) == what(line)) {
            lines.push(line.to_owned());
        }
    }
    lines.sort_by_key(|line| {
        let (name, load, way) = what(line);
        let minor = name.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        let place = Kind::ALL.iter().position(|kind| kind.name() == load);
        (minor, name.to_owned(), place, way.to_owned())
    });
    lines
}

/// Interpreter, load and way of a line.
fn what(line: &str) -> (&str, &str, &str) {
    let mut cells = line.split('|').skip(1).map(str::trim);
    let mut next = || cells.next().unwrap_or_default();
    (next(), next(), next())
}

#[test]
fn lines_measured_again_are_put_in_their_places_and_the_others_stay() {
    let of = |cells: &str, waits: u32| format!("| {cells} | {waits} |");
    let (first, second) = (of("3.9.1 (here) | uWSGI | auto", 1), of("3.10.2 (here) | Waitress | auto", 2));
    let table = format!("{HEAD}\n{first}\n{second}\n");
    let again = [of("3.10.2 (here) | Waitress | auto", 3), of("3.10.2 (here) | gunicorn gthread | full", 4)];
    assert_eq!(merged(&table, &again), [first, again[1].clone(), again[0].clone()]);
    // Of a table with other columns none stays.
    assert_eq!(merged("| interpreter |\n|---|\n| 3.9.1 (here) | uWSGI | auto |\n", &again).len(), 2);
}
