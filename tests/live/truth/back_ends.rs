//! Whose back end it is that one of many interleaved requests asks, against the back end, which is told by
//! whom it is asked.
//!
//! In: gevent's own server and uvicorn; requests that sleep for different times, ask a back end that keeps
//! each for its own time, and answer, some after another sleep. Out: verdicts. How many requests have the
//! wait for their back end that the clocks of the application and of the back end give. How many lack some of
//! it, which is unexplained then. That none has another's.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::asking::{Asking, Loop};
use wsgi_trace_test_support::trace::{Trace, TracedRequest};
use wsgi_trace_test_support::whole_lines::whole_lines;

/// Sleeps for different times, answers of different times; one of the two kinds answers its client right
/// after.
const AT_ONCE: &str = "/ask/3/11/0,/ask/7/31/0,/ask/12/17/0,/ask/19/5/0,/ask/2/47/0";
/// As `AT_ONCE`, but some sleep again before they answer.
const SLEEPING_AGAIN: &str = "/ask/3/11/0,/ask/7/31/4,/ask/12/17/9,/ask/19/5/0,/ask/2/47/13";

/// A question to the back end: its connection's port, and between which moments it had it.
#[derive(Clone, Copy, Debug)]
struct Question {
    port: u16,
    asked_ns: u64,
    answered_ns: u64,
}

/// What the back end was asked, by the id of the request.
type Questions = Arc<Mutex<BTreeMap<String, Question>>>;

/// A back end that answers lines `MS ID` after so many milliseconds, until nobody has its address any longer.
fn back_end() -> anyhow::Result<(String, Questions)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let questions = Questions::default();
    let notes = Arc::clone(&questions);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let notes = Arc::clone(&notes);
            std::thread::spawn(move || answer(&stream, &notes));
        }
    });
    Ok((address, questions))
}

fn answer(mut stream: &TcpStream, notes: &Questions) -> anyhow::Result<()> {
    let port = stream.peer_addr()?.port();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let asked_ns = monotonic_ns();
        let (milliseconds, id) = line.split_once(' ').context("no id")?;
        std::thread::sleep(Duration::from_millis(milliseconds.parse()?));
        // Before the answer is sent: whoever has it finds the note.
        let question = Question { port, asked_ns, answered_ns: monotonic_ns() };
        notes.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), question);
        stream.write_all(b"done\n")?;
    }
    Ok(())
}

/// What the application notes of a request: see `apps/asking.py`.
#[derive(Debug, Deserialize)]
struct Note {
    id: String,
    port: u16,
    asks_ns: u64,
    answered_ns: u64,
}

/// Requests, by what became of their wait for their back end.
#[derive(Debug, Default)]
struct Verdict {
    right: usize,
    /// Too short, by what is unexplained.
    left: usize,
    wrong: Vec<String>,
    /// By the report, how many are only likely.
    likely: u64,
    unexplained_ns: u64,
    total_ns: u64,
}

/// Between which two lengths the wait for the back end lies: what the back end took, less what the request
/// did between its question and its wait; from the application's question to its answer.
fn expected_ns(note: &Note, question: &Question, request: &TracedRequest) -> RangeInclusive<u64> {
    let awake_ns = ["cpu", "run_queue", "write"].map(|phase| request.phase_ns(phase)).iter().sum();
    let at_least_ns = question.answered_ns.saturating_sub(question.asked_ns).saturating_sub(awake_ns);
    at_least_ns..=note.answered_ns.saturating_sub(note.asks_ns)
}

impl Verdict {
    fn add(&mut self, note: &Note, question: &Question, request: &TracedRequest) {
        let expected_ns = expected_ns(note, question, request);
        let [ours_ns, unexplained_ns] = ["backend_wait", "unexplained"].map(|phase| request.phase_ns(phase));
        self.unexplained_ns += unexplained_ns;
        self.total_ns += request.total_ns;
        if expected_ns.contains(&ours_ns) {
            self.right += 1;
        } else if ours_ns < *expected_ns.start() && ours_ns + unexplained_ns >= *expected_ns.start() {
            self.left += 1;
        } else {
            let phases: Vec<_> =
                request.phases.iter().filter(|(_, ns)| ns.is_some_and(|ns| ns > 0)).collect();
            self.wrong.push(format!("{}: {ours_ns} ns, not {expected_ns:?}: {phases:?}", request.path()));
        }
    }

    fn sum(&self) -> usize {
        self.right + self.left + self.wrong.len()
    }
}

/// So many clients at once.
fn verdict(on: Loop, clients: usize, routes: &str) -> anyhow::Result<Verdict> {
    let (address, questions) = back_end()?;
    let server = Server::start(&Asking { on, back_end: address })?;
    let trace = Trace::start(server.pid())?;
    let (requests, clients_text) = ((clients * 8).to_string(), clients.to_string());
    let options = ["--seconds=20", "--keep-alive=4", "--requests", &requests, "--clients", &clients_text];
    let sent = Load::run(server.address(), &[&options[..], &["--routes", routes]].concat())?;
    let traced = trace.end()?;
    let questions = questions.lock().unwrap_or_else(PoisonError::into_inner);
    let mut verdict = Verdict::default();
    for line in whole_lines(&std::fs::read_to_string(server.file("witness.jsonl"))?) {
        let note: Note = serde_json::from_str(line)?;
        let question = questions.get(&note.id).with_context(|| format!("nobody asked for {note:?}"))?;
        ensure!(question.port == note.port, "{note:?} is not {question:?}");
        let of_it = |request: &&TracedRequest| request.path().ends_with(&format!("/{}", note.id));
        let request = traced.requests.iter().find(of_it).with_context(|| format!("no request {note:?}"))?;
        verdict.add(&note, question, request);
    }
    ensure!(verdict.sum() == sent.answered(), "{} of {}", verdict.sum(), sent.answered());
    verdict.likely = traced.number("/event_loops/0/paired_by_order")?;
    let unknown = traced.number("/event_loops/0/back_ends_unknown")?;
    eprintln!(
        "{on:?}, {clients} clients, {}: {} right, {} left unexplained, {} wrong; {:.2} % unexplained; by the report {} likely, {unknown} unknown",
        if routes == AT_ONCE { "answering at once" } else { "some sleeping again" },
        verdict.right,
        verdict.left,
        verdict.wrong.len(),
        verdict.unexplained_ns as f64 / verdict.total_ns.max(1) as f64 * 100.0,
        verdict.likely,
    );
    for wrong in verdict.wrong.iter().take(3) {
        eprintln!("  {wrong}");
    }
    Ok(verdict)
}

/// Whichever way they interleave, each has its own wait: the greenlet or task that asks is known.
fn each_back_end_is_its_own_request_s(on: Loop) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mut failed = Vec::new();
    for routes in [AT_ONCE, SLEEPING_AGAIN] {
        for clients in [4, 16, 50] {
            let verdict = verdict(on, clients, routes)?;
            if !verdict.wrong.is_empty() || verdict.left > 0 {
                failed.push(format!(
                    "{clients} clients: {} lack their wait, {} have another's",
                    verdict.left,
                    verdict.wrong.len()
                ));
            }
        }
    }
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}

#[test]
#[ignore = "make live: several seconds"]
fn a_back_end_that_a_greenlet_asks_after_a_sleep_is_its_request_s() -> anyhow::Result<()> {
    each_back_end_is_its_own_request_s(Loop::Gevent)
}

#[test]
#[ignore = "make live: several seconds"]
fn a_back_end_that_a_task_asks_after_a_sleep_is_its_request_s() -> anyhow::Result<()> {
    each_back_end_is_its_own_request_s(Loop::Asyncio)
}
