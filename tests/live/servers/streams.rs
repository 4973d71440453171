//! Responses in pieces, of no length that their head says. They last from their arrival to their last byte,
//! on loops as in pools. What is between two pieces is said to be what the application did there.
//!
//! In: servers of each kind under several clients at once, with other requests in between. Out: verdicts
//! against the clients' clocks and the application's.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::gevent::{GunicornGevent, Pywsgi};
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, TracedRequest};
use wsgi_trace_test_support::whole_lines::whole_lines;

/// A response that ends later than this after its client has its last byte, or before its last piece was
/// ready, is not the one that was sent.
const SLACK_NS: u64 = 1_000_000;

/// What the application notes of a response in pieces (`apps/streams.py`).
#[derive(Debug, Deserialize)]
struct Line {
    id: String,
    start_ns: u64,
    end_ns: u64,
    slept_ns: u64,
    asked_ns: u64,
}

/// Sums over responses, in ns.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    total_ns: u64,
    /// What the application noted to have waited, and what of that kind we say.
    waited_ns: u64,
    ours_ns: u64,
    /// Since something was ready, or for a thread, a CPU or the interpreter lock: what the application's own
    /// wait contains as well.
    late_ns: u64,
    unexplained_ns: u64,
}

impl Sums {
    fn add(&mut self, request: &TracedRequest, waited_ns: u64, phase: &str) {
        self.total_ns += request.total_ns;
        self.waited_ns += waited_ns;
        self.ours_ns += request.phase_ns(phase);
        let late = ["loop_wait", "pool_wait", "run_queue", "gil_wait", "cpu"];
        self.late_ns += late.iter().map(|name| request.phase_ns(name)).sum::<u64>();
        self.unexplained_ns += request.phase_ns("unexplained");
    }

    /// What is said to be a wait of that kind is one; and what is not said to be, is said to be something
    /// else that it contains.
    fn check(&self, kind: &str, told: Told) -> anyhow::Result<()> {
        let ms = |ns: u64| ns as f64 / 1e6;
        let share = self.unexplained_ns as f64 / self.total_ns.max(1) as f64;
        eprintln!(
            "  {kind}: {:.1} ms, {:.1} waited, by our account {:.1} and {:.1} late; {:.2} % unexplained",
            ms(self.total_ns),
            ms(self.waited_ns),
            ms(self.ours_ns),
            ms(self.late_ns),
            share * 100.0
        );
        ensure!(self.waited_ns > 1_000_000_000, "{kind}: nobody waited");
        ensure!(
            self.ours_ns <= self.waited_ns + self.waited_ns / 50,
            "{kind}: more than it waited: {self:?}"
        );
        let known_ns = self.ours_ns + self.late_ns + self.unexplained_ns;
        let known = known_ns as f64 / self.waited_ns as f64;
        ensure!(known >= told.known, "{kind}: less than it waited: {self:?}");
        ensure!(share <= told.unexplained, "{kind}: {:.1} % unexplained", share * 100.0);
        Ok(())
    }
}

/// How much is told of what a response waited for between its pieces.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Least share of its waits that is attributed to them, to what they contain, or to nothing.
    known: f64,
    /// Greatest share of its time that is unexplained.
    unexplained: f64,
}

/// Who sends the pieces is the one that waits for them.
const BY_THREADS: Told = Told { known: 0.98, unexplained: 0.02 };
/// Requests interleave on a loop: how often a timer comes due while another request lets somebody go on is
/// chance, and more on a slow machine. Seven runs of Starlette: 2 to 11 % unexplained, of coroutines and
/// gevent less. That nothing false is said is what is asked here; tests/replay holds what is told.
const ON_LOOP: Told = Told { known: 0.98, unexplained: 0.25 };
/// Requests interleave on a loop, and threads of its pool make the pieces that the loop sends: 3 to 30 %
/// unexplained in ten runs of Twisted, see `gaps`. At least half is told.
const FROM_POOL: Told = Told { known: 0.90, unexplained: 0.50 };

/// Streams of one server: their ends, and how much of their waits is to be `told`.
fn last_to_their_end(recipe: &dyn Recipe, drip: &str, told: Told) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    let routes = format!("{drip}/4/60=2,/relay/4/40=2,/fast=2,/cpu,/sleep/7,/backend");
    let sent = Load::run(
        server.address(),
        &["--clients=6", "--seconds=3", "--requests=400", "--keep-alive=4", "--routes", &routes],
    )?;
    let traced = trace.end()?;
    let text = std::fs::read_to_string(server.file("witness.jsonl"))?;
    let mut noted = BTreeMap::new();
    for line in whole_lines(&text) {
        let line: Line = serde_json::from_str(line)?;
        noted.insert(line.id.parse::<u64>()?, line);
    }
    let mut ours: BTreeMap<u64, Vec<&TracedRequest>> = BTreeMap::new();
    for request in &traced.requests {
        ours.entry(request.id().context("no number")?).or_default().push(request);
    }
    let mut early_or_late = Vec::new();
    let (mut dripped, mut relayed) = (Sums::default(), Sums::default());
    for client in sent.requests.iter().filter(|request| request.status.is_some()) {
        let found = ours.get(&client.id).map(Vec::as_slice).unwrap_or_default();
        let [request] = found else { anyhow::bail!("{} times: {client:?}", found.len()) };
        let Some(line) = noted.get(&client.id) else { continue };
        ensure!(!(request.open || request.truncated || request.lossy), "{request:?}");
        ensure!(request.bytes_out > client.body_bytes, "{request:?} of {client:?}");
        let end_ns = request.start_ns + request.total_ns;
        let is_within = request.start_ns + SLACK_NS >= client.sent_ns && request.start_ns <= line.start_ns;
        // Its last bytes may be there while whoever writes them is kept from its CPU within that call.
        let latest_ns = client.end_ns + SLACK_NS + request.phase_ns("run_queue");
        if !is_within || end_ns < line.end_ns || end_ns > latest_ns {
            early_or_late.push((client.id, request.start_ns, end_ns, line.end_ns, client.end_ns));
        }
        if line.asked_ns > 0 {
            relayed.add(request, line.asked_ns, "backend_wait");
        } else {
            dripped.add(request, line.slept_ns, "sleep");
        }
    }
    eprintln!("  {}: {} responses in pieces", recipe.about(), noted.len());
    ensure!(early_or_late.is_empty(), "not from arrival to last byte: {early_or_late:?}");
    dripped.check("asleep between pieces", told)?;
    relayed.check("asks between pieces", told)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_gunicorn_s_gevent_worker_last_to_their_end() -> anyhow::Result<()> {
    last_to_their_end(&GunicornGevent { workers: 1 }, "/drip", ON_LOOP)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_gevent_pywsgi_last_to_their_end() -> anyhow::Result<()> {
    last_to_their_end(&Pywsgi, "/drip", ON_LOOP)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_coroutines_last_to_their_end() -> anyhow::Result<()> {
    last_to_their_end(&Uvicorn { application: Application::Asgi, workers: 1 }, "/drip", ON_LOOP)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_starlette_s_iterators_last_to_their_end() -> anyhow::Result<()> {
    let recipe = Uvicorn { application: Application::Starlette, workers: 1 };
    last_to_their_end(&recipe, "/drip", ON_LOOP)?;
    last_to_their_end(&recipe, "/plain/drip", FROM_POOL)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_twisted_s_threads_last_to_their_end() -> anyhow::Result<()> {
    last_to_their_end(&Twisted, "/drip", FROM_POOL)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_waitress_s_threads_last_to_their_end() -> anyhow::Result<()> {
    last_to_their_end(&Waitress { threads: 8 }, "/drip", BY_THREADS)
}

#[test]
#[ignore = "make live-all"]
fn responses_in_pieces_of_workers_without_a_loop_last_to_their_end() -> anyhow::Result<()> {
    last_to_their_end(&Settings::gthread(Version::V27, 1, 8), "/drip", BY_THREADS)?;
    last_to_their_end(&Settings::sync(Version::V27, 6), "/drip", BY_THREADS)
}

/// Not told as well as on other loops: where threads of the loop's pool make the pieces and the loop sends
/// them. Twisted: only the order of its calls tells whose they are, 3 to 30 % of the pauses are unexplained
/// (ten runs). Starlette's plain iterators: 1 to 5 %.
mod gaps {
    use super::*;

    #[test]
    #[ignore = "make live-all gaps"]
    fn pauses_of_twisted_s_threads_between_pieces_are_told() -> anyhow::Result<()> {
        last_to_their_end(&Twisted, "/drip", ON_LOOP)
    }

    #[test]
    #[ignore = "make live-all gaps"]
    fn pauses_of_starlette_s_plain_iterators_between_pieces_are_told() -> anyhow::Result<()> {
        let recipe = Uvicorn { application: Application::Starlette, workers: 1 };
        last_to_their_end(&recipe, "/plain/drip", ON_LOOP)
    }
}
