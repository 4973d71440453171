//! Part `attach`: how long attaching and detaching take, and what a server's clients notice of them.
//!
//! In: a gunicorn with one client that asks without a pause. Out: nanoseconds, and the longest answer of each
//! stage.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::client::Client;
use crate::figure::{Aim, PartResult, Unit};
use crate::part::Bench;
use crate::server::{Kind, Server};
use crate::statistics::Interval;
use crate::subject::{Group, SUBJECTS, Subject, Target};

/// The window that is asked for.
const WINDOW: Duration = Duration::from_millis(500);
/// Before and after, for comparison.
const QUIET: Duration = Duration::from_millis(500);

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    watching_ns: f64,
    prompt_ns: f64,
    attach_ns: f64,
    programs: f64,
    longest_before_ns: f64,
    longest_at_attach_ns: f64,
    longest_at_detach_ns: f64,
}

/// A column, what it shows of a run, and its aim.
type Column = (&'static str, fn(&Run) -> f64, Option<Aim>);

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("attach");
    let title = "One run of half a second, a client asking without a pause";
    bench.say(title);
    let server = Server::start(Kind::GunicornGthread, &[0], 1)?;
    let subjects = SUBJECTS
        .iter()
        .filter(|subject| matches!(subject.group, Group::Ours | Group::Light | Group::Tracepoints))
        .filter(|subject| subject.name.starts_with("wsgi-trace"));
    for subject in subjects {
        let mut runs = Vec::new();
        for _ in 0..bench.rounds(6) {
            match once(&server, subject) {
                Ok(run) => runs.push(run),
                Err(error) => {
                    result.miss(title, subject.name, &format!("{error:#}"));
                    break;
                }
            }
        }
        let columns: [Column; 6] = [
            ("start to watching", |run| run.watching_ns, Some(Aim::at_most(150e6))),
            ("of that, hooks attached in", |run| run.attach_ns, None),
            ("end of window to prompt", |run| run.prompt_ns, Some(Aim::at_most(300e6))),
            ("longest answer before", |run| run.longest_before_ns, None),
            ("longest while attaching", |run| run.longest_at_attach_ns, None),
            ("longest while detaching", |run| run.longest_at_detach_ns, None),
        ];
        for (column, value, aim) in columns {
            let values: Vec<f64> = runs.iter().map(value).collect();
            let value = Interval::of(&values);
            result.add((title, subject.name, column), Unit::Nanoseconds, value, aim);
        }
        let programs: Vec<f64> = runs.iter().map(|run| run.programs).collect();
        let programs = Interval::of(&programs);
        result.add((title, subject.name, "programs"), Unit::Count, programs, None);
    }
    bench.finish(result)
}

fn once(server: &Server, subject: &Subject) -> anyhow::Result<Run> {
    let answers: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let address = server.address();
    let (run, stages) = std::thread::scope(|scope| {
        let client = scope.spawn(|| -> anyhow::Result<()> {
            let mut client = Client::new(&address, "/");
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.ask()?;
                if let Ok(mut answers) = answers.lock() {
                    answers.push((start, start.elapsed()));
                }
            }
            Ok(())
        });
        std::thread::sleep(QUIET);
        let outcome = trace(server, subject);
        std::thread::sleep(QUIET);
        stop.store(true, Ordering::Relaxed);
        let client = client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the client failed")));
        client.and(outcome)
    })?;
    let answers = answers.into_inner().unwrap_or_default();
    let longest = |from: Instant, to: Instant| {
        let within = answers.iter().filter(|(start, length)| *start + *length >= from && *start <= to);
        within.map(|(_, length)| length.as_nanos() as f64).fold(0.0, f64::max)
    };
    let [started, watching, window_end, ended] = stages;
    Ok(Run {
        longest_before_ns: longest(started - QUIET, started),
        longest_at_attach_ns: longest(started, watching),
        longest_at_detach_ns: longest(window_end, ended + QUIET),
        ..run
    })
}

/// Runs the program for [`WINDOW`]; when it started, watched, should have stopped and was gone.
fn trace(server: &Server, subject: &Subject) -> anyhow::Result<(Run, [Instant; 4])> {
    let target = Target { root: server.root(), worker: server.worker(), cpus: vec![1] };
    let started = Instant::now();
    let attached = subject.start_with(&target, &["--duration", &format!("{}ms", WINDOW.as_millis())])?;
    let watching = Instant::now();
    let window_end = watching + WINDOW;
    let (output, ended) = attached.wait()?;
    let json = output.find('{').and_then(|start| output.get(start..)).context("no report")?;
    let report: serde_json::Value = serde_json::from_str(json).context("the report cannot be read")?;
    let attach = |name: &str| report.pointer(&format!("/tool/{name}"));
    let run = Run {
        watching_ns: (watching - started).as_nanos() as f64,
        prompt_ns: ended.saturating_duration_since(window_end).as_nanos() as f64,
        attach_ns: attach("attach_ns").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN),
        programs: attach("programs")
            .and_then(|value| value.as_array())
            .map_or(f64::NAN, |names| names.len() as f64),
        ..Run::default()
    };
    Ok((run, [started, watching, window_end, ended]))
}
