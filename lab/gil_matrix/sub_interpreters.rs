//! Interpreters of one process that have locks of their own, or share one, against the application's own
//! clocks.
//!
//! In: interpreters from 3.13 on, a pair of threads in each interpreter of a process. Out: verdicts.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use profiler_core::decode;
use profiler_core::event::Body;
use profiler_core::fact::Fact;
use serde::Deserialize;
use wsgi_trace::source::file::FileSource;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::gate::{exclusive, note_skip};
use wsgi_trace_test_support::trace::{Trace, Traced};
use wsgi_trace_test_support::{require_bpf, root};

use crate::interpreters::{self, Interpreter};

/// Turns of each pair.
const TURNS: usize = 6;
/// For this long at most a new interpreter may stay unknown, and a command unanswered.
const LIMIT: Duration = Duration::from_secs(20);
/// Versions that the application runs on.
const KNOWN: [&str; 4] = ["3.12", "3.13", "3.14", "3.15"];

/// What a thread says of itself.
#[derive(Debug, Deserialize)]
struct Told {
    /// `hold`, `want`, or `main`: the one that started these two.
    kind: String,
    interpreter: u64,
    tid: u64,
    /// By turn: when it was to give the lock up, or wanted it, `CLOCK_MONOTONIC`.
    moments_ns: Vec<u64>,
    /// By turn: how long it was without a CPU.
    run_queue_ns: Vec<u64>,
}

/// A process of `apps/gil_interpreters.py`.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(interpreter: &Interpreter) -> anyhow::Result<Self> {
        let mut command = interpreter.command();
        command.arg(root().join("tests/apps/gil_interpreters.py")).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the server of several interpreters")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse().context("it does not come up")? })
    }

    fn ask(&self, what: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("{what}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The pairs of all interpreters take their turns.
    fn run(&self) -> anyhow::Result<Vec<Told>> {
        self.ask(&format!("run {TURNS}"))?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// How many locks of the process are known to a run that goes on.
fn locks_known(trace: &Trace, pid: u32) -> anyhow::Result<usize> {
    let mut known = 0;
    for item in FileSource::open(&trace.recording())? {
        if let Body::Fact(fact) = decode::item(item)?.body
            && let Fact::InterpreterSeen(seen) = *fact
            && seen.tgid == pid
        {
            known = seen.locks.len();
        }
    }
    Ok(known)
}

/// Waiting by waiter and holder.
fn edges(traced: &Traced) -> anyhow::Result<BTreeMap<(u64, u64), u64>> {
    let edges = traced.value("/gil/thread_edges")?.as_array().context("no edges")?;
    let number = |edge: &serde_json::Value, at: &str| {
        edge.pointer(at).and_then(serde_json::Value::as_u64).unwrap_or_default()
    };
    let edge = |edge| ((number(edge, "/waiter/tid"), number(edge, "/holder/tid")), number(edge, "/total_ns"));
    Ok(edges.iter().map(edge).collect())
}

fn thread<'a>(told: &'a [Told], interpreter: u64, kind: &str) -> anyhow::Result<&'a Told> {
    told.iter()
        .find(|told| told.interpreter == interpreter && told.kind == kind)
        .with_context(|| format!("interpreter {interpreter} has no thread that is to {kind}"))
}

/// One interpreter is there before the window, one comes in the middle of it.
fn own_locks(interpreter: &Interpreter) -> anyhow::Result<()> {
    let _alone = exclusive()?;
    let server = Server::start(interpreter)?;
    let before = server.ask("make")?.trim().parse::<u64>()?;
    let trace = Trace::start(server.child.pid())?;
    let later = server.ask("make")?.trim().parse::<u64>()?;
    until("the new interpreter is not found", LIMIT, || {
        Ok((locks_known(&trace, server.child.pid())? == 3).then_some(()))
    })?;
    let told = server.run()?;
    let traced = trace.end()?;
    let edges = edges(&traced)?;
    let undecided_ns = traced.undecided_ns()?;
    for of in [0, before, later] {
        let (want, hold) = (thread(&told, of, "want")?, thread(&told, of, "hold")?);
        // Matching turns of both, from the moment that one wanted the lock to that at which the other gave it
        // up.
        let theirs_ns: u64 =
            want.moments_ns.iter().zip(&hold.moments_ns).map(|(want, hold)| hold.saturating_sub(*want)).sum();
        let without_cpu_ns: u64 = want.run_queue_ns.iter().chain(&hold.run_queue_ns).sum();
        let ours_ns = edges.get(&(want.tid, hold.tid)).copied().unwrap_or(0);
        eprintln!(
            "{}: interpreter {of}: {:.2} ms because of the one that held, by their clocks {:.2} ms (and {:.2} ms without a CPU)",
            interpreter.name,
            ours_ns as f64 / 1e6,
            theirs_ns as f64 / 1e6,
            without_cpu_ns as f64 / 1e6
        );
        assert!(theirs_ns > TURNS as u64 * 30_000_000, "they did not contend: {told:?}");
        // The main interpreter's lock is wanted by those that start the others too, and the first to ask has
        // it next.
        let limit_ns = theirs_ns / 50 + without_cpu_ns;
        // A wait whose end the kernel did not show is nobody's.
        let least_ns = theirs_ns.saturating_sub(limit_ns + undecided_ns);
        assert!(
            (least_ns..=theirs_ns + limit_ns).contains(&ours_ns),
            "{ours_ns} against {theirs_ns}, {undecided_ns} undecided: {edges:?}, {told:?}"
        );
    }
    // Who started an interpreter's pair was in the main interpreter before.
    for ((waiter, holder), wait_ns) in &edges {
        let of = |tid: &u64| told.iter().find(|told| told.tid == *tid);
        if let (Some(waiter), Some(holder)) = (of(waiter), of(holder)) {
            let one_of_main = |one: &Told, other: &Told| {
                one.kind == "main" && (other.interpreter == 0 || other.kind == "main")
            };
            // CPython 3.12 runs a script in a thread state that says to be of the thread which made the
            // interpreter.
            let by_maker = interpreter.is("3.12") && holder.kind == "main" && holder.interpreter == 0;
            assert!(
                by_maker
                    || waiter.interpreter == holder.interpreter
                    || one_of_main(waiter, holder)
                    || one_of_main(holder, waiter),
                "{wait_ns} ns: {waiter:?} because of {holder:?}"
            );
        }
    }
    Ok(())
}

fn usable() -> Vec<Interpreter> {
    // On musl only the main interpreter's lock is told (docs/how-the-gil-is-measured.md).
    let known =
        |of: &Interpreter| !of.is("free-threaded") && !of.is_musl() && KNOWN.iter().any(|known| of.is(known));
    interpreters::found().into_iter().filter(known).collect()
}

#[test]
fn each_interpreters_waits_are_attributed_to_the_holder_of_its_own_lock_also_where_it_came_later()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let Some(newest) = usable().pop() else {
        note_skip("no interpreter here is 3.12 or newer");
        return Ok(());
    };
    own_locks(&newest)
}

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn on_every_interpreter_waits_are_attributed_to_the_holder_of_its_own_lock() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    usable().iter().try_for_each(own_locks)
}

/// As under uWSGI and mod_wsgi.
#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn interpreters_that_share_a_lock_are_one() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    for interpreter in usable() {
        let _alone = exclusive()?;
        let server = Server::start(&interpreter)?;
        let sub = server.ask("share")?.trim().parse::<u64>()?;
        let trace = Trace::start(server.child.pid())?;
        let told = server.run()?;
        let traced = trace.end()?;
        assert_eq!(traced.number("/gil/interpreters/0/locks")?, 1);
        let edges = edges(&traced)?;
        let by =
            |tid: u64| edges.iter().filter(|((_, holder), _)| *holder == tid).map(|(_, ns)| ns).sum::<u64>();
        for of in [0, sub] {
            let by_hold_ns = by(thread(&told, of, "hold")?.tid);
            eprintln!(
                "{}: {:.1} ms because of the one that held in interpreter {of}",
                interpreter.name,
                by_hold_ns as f64 / 1e6
            );
            assert!(by_hold_ns > TURNS as u64 * 30_000_000, "{edges:?}, {told:?}");
        }
    }
    Ok(())
}
