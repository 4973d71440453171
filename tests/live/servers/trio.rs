//! trio: what tasks on one loop wait for, and what their threads do, by the tasks' own clocks.
//!
//! In: hypercorn on trio with one, three and eight clients. Out: verdicts: per kind of work the phase that it
//! is has its time, and no other phase has it.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::phase_sums::PhaseSums;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::hypercorn::Hypercorn;
use wsgi_trace_test_support::trace::{Trace, TracedRequest};
use wsgi_trace_test_support::whole_lines::whole_lines;

/// What the application notes of a request (`apps/trio_app.py`).
#[derive(Debug, Deserialize)]
struct Line {
    id: String,
    kind: String,
    steps: Vec<(u64, u64)>,
    waits: Vec<(String, u64, u64)>,
}

impl Line {
    /// How long it waited for this, by its own clock: up to its turn.
    fn waited_ns(&self, kinds: &[&str]) -> u64 {
        let is_one = |wait: &&(String, u64, u64)| kinds.contains(&wait.0.as_str());
        self.waits.iter().filter(is_one).map(|(_, from_ns, to_ns)| to_ns - from_ns).sum()
    }

    fn ran_ns(&self) -> u64 {
        self.steps.iter().map(|(from_ns, to_ns)| to_ns - from_ns).sum()
    }
}

/// Sums over the requests of one kind, in ns.
#[derive(Debug, Default)]
struct Sums {
    all: PhaseSums,
    ran_ns: u64,
    slept_ns: u64,
    asked_ns: u64,
    /// By how much more a request is said to have slept, or to have waited for its back end, than it did.
    over_ns: u64,
}

impl Sums {
    fn add(&mut self, request: &TracedRequest, line: &Line) {
        self.all.add(request);
        self.ran_ns += line.ran_ns();
        let (slept_ns, asked_ns) = (line.waited_ns(&["sleep", "thread"]), line.waited_ns(&["backend"]));
        self.slept_ns += slept_ns;
        self.asked_ns += asked_ns;
        self.over_ns += request.phase_ns("sleep").saturating_sub(slept_ns);
        self.over_ns += request.phase_ns("backend_wait").saturating_sub(asked_ns);
    }

    fn show(&self, kind: &str) {
        let [total, ran, slept, asked, over] =
            [self.all.total_ns, self.ran_ns, self.slept_ns, self.asked_ns, self.over_ns]
                .map(|ns| self.all.mean_ms(ns));
        eprintln!(
            "    {kind:<8} {:>4} × {total:>6.1} ms, witness ran {ran:.1}, slept {slept:.1}, asked {asked:.1}, over {over:.2}: {}",
            self.all.requests,
            self.all.means()
        );
    }
}

const ROUTES: &str = "--routes=/fast=2,/cpu/3=2,/sleep/12=2,/backend/15=2,/twice/9=2,/thread/14=2,/turn/3=1";

/// Sums by kind of work, of a load of so many clients.
fn by_kind(clients: u32) -> anyhow::Result<BTreeMap<String, Sums>> {
    let server = Server::start(&Hypercorn::ON_TRIO)?;
    let trace = Trace::start(server.pid())?;
    let (clients, seconds) = (format!("--clients={clients}"), "--seconds=4");
    Load::run(server.address(), &[&clients, seconds, "--requests=1200", "--keep-alive=5", ROUTES])?;
    let traced = trace.end()?;
    let text = std::fs::read_to_string(server.file("witness.jsonl"))?;
    let mut noted = BTreeMap::new();
    for line in whole_lines(&text) {
        let line: Line = serde_json::from_str(line)?;
        noted.insert(line.id.parse::<u64>()?, line);
    }
    let mut kinds: BTreeMap<String, Sums> = BTreeMap::new();
    for request in traced.requests.iter().filter(|request| !(request.open || request.truncated)) {
        let line = noted.get(&request.id().context("no number")?).context("no line")?;
        kinds.entry(line.kind.clone()).or_default().add(request, line);
    }
    Ok(kinds)
}

/// What is told with so many clients. Where tasks interleave in one iteration of the loop, what nobody can
/// attribute is unexplained. In six runs it was 7 to 21 % with one client, 34 to 52 with three, 62 to 71 with
/// eight.
struct Told {
    clients: u32,
    /// Greatest share of all time that is unexplained.
    unexplained: f64,
    /// Least share of what a coroutine asked its back end for, or was to sleep, that has its name. In the
    /// same runs it was all of it with one client, 40 % and 27 % with three, 28 % and 6 % with eight.
    asked: f64,
    slept: f64,
}

const TOLD: [Told; 3] = [
    Told { clients: 1, unexplained: 0.40, asked: 0.70, slept: 0.60 },
    Told { clients: 3, unexplained: 0.65, asked: 0.20, slept: 0.12 },
    Told { clients: 8, unexplained: 0.85, asked: 0.10, slept: 0.0 },
];

/// Greatest share of all time by which requests are said to have slept, or to have waited for back ends, more
/// than they did: 0 to 5 % in six runs.
const OVER: f64 = 0.08;
/// Greatest share of a kind's time in a phase that it cannot have had.
const WRONG: f64 = 0.03;

/// What of this load is not as it must be.
fn wrong(kinds: &BTreeMap<String, Sums>, told: &Told) -> Vec<String> {
    let mut wrong = Vec::new();
    let sum = |of: &dyn Fn(&Sums) -> u64| kinds.values().map(of).sum::<u64>() as f64;
    let total_ns = sum(&|sums| sums.all.total_ns);
    let unexplained = sum(&|sums| sums.all.phase_ns("unexplained")) / total_ns;
    let over = sum(&|sums| sums.over_ns) / total_ns;
    eprintln!(
        "  {} clients: {:.2} % unexplained, {:.2} % over",
        told.clients,
        unexplained * 100.0,
        over * 100.0
    );
    if unexplained > told.unexplained || over > OVER {
        wrong.push(format!("{} clients: {unexplained} unexplained, {over} over", told.clients));
    }
    for (kind, sums) in kinds {
        sums.show(kind);
        for phase in ["lock_wait", "file_wait", "client_read_stall"] {
            if sums.all.share(phase) > WRONG {
                wrong.push(format!("{kind}: {:.1} % {phase}", sums.all.share(phase) * 100.0));
            }
        }
        // By its own clock it waited for its turn, too.
        let (phase, waited_ns, least) = match kind.as_str() {
            "backend" => ("backend_wait", sums.asked_ns, 15_000_000.0 * told.asked),
            "sleep" => ("sleep", sums.slept_ns, 12_000_000.0 * told.slept),
            _ => continue,
        };
        let (ours, theirs) = (sums.all.phase_ns(phase) as f64, waited_ns as f64);
        if ours < least * sums.all.requests as f64 || ours > theirs * 1.02 {
            wrong.push(format!("{} clients, {kind}: {phase} {ours} ns of {theirs}", told.clients));
        }
    }
    wrong
}

#[test]
#[ignore = "make live-all"]
fn work_of_tasks_on_trio_is_what_their_clocks_say() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mut all = Vec::new();
    for told in &TOLD {
        let kinds = by_kind(told.clients)?;
        ensure!(kinds.len() == 7, "{kinds:?}");
        all.extend(wrong(&kinds, told));
    }
    ensure!(all.is_empty(), "{}", all.join("\n"));
    Ok(())
}
