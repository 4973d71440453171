//! Whether those who wait for one thing wait for one another, against the application's clock.
//!
//! In: two back ends, one that answers each by itself and one that answers one at a time, and a sleep, asked
//! by one client and then by six. Out: verdicts. The report says of each what the lengths of the waits in the
//! application's notes say.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use wsgi_trace_test_support::backend::Backend;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::notes::{self, LEAF, Mark, Note};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::composed::Composed;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// Clients at once, the second time.
const MANY: u32 = 6;
/// Requests of one client, and of many.
const REQUESTS: [u64; 2] = [25, 60];

/// A route, and what is true of it.
struct Asked {
    route: &'static str,
    kind: &'static str,
    independence: &'static str,
}

const ASKED: [Asked; 3] = [
    Asked { route: "each", kind: "back_end", independence: "independent" },
    Asked { route: "turns", kind: "back_end", independence: "shared" },
    Asked { route: "dozes", kind: "sleep", independence: "independent" },
];

/// The mean wait of some requests, as the application noted it.
fn noted_mean_ns(notes: &[Note], ids: std::ops::Range<u64>) -> anyhow::Result<f64> {
    let mark = |id: u64, mark: Mark| {
        let is_it = |note: &&Note| note.request == id && note.step == LEAF && note.mark == mark;
        notes.iter().find(is_it).map(|note| note.at_ns)
    };
    let lengths: Vec<u64> =
        ids.filter_map(|id| Some(mark(id, Mark::Leave)?.saturating_sub(mark(id, Mark::Enter)?))).collect();
    ensure!(lengths.len() >= 20, "{} were noted", lengths.len());
    Ok(lengths.iter().sum::<u64>() as f64 / lengths.len() as f64)
}

/// What the report says of a route's own waits.
fn said<'a>(traced: &'a Traced, asked: &Asked) -> anyhow::Result<&'a str> {
    let leaves = traced.value("/chains/leaves")?.as_array().context("no leaves")?;
    let is_its = |leaf: &&Value| {
        let endpoint = leaf["endpoint"].as_str().unwrap_or_default();
        let is_own = leaf["hops"].as_array().is_some_and(Vec::is_empty);
        leaf["kind"] == asked.kind && is_own && endpoint.contains(&format!("/{}/", asked.route))
    };
    let longest = leaves.iter().filter(is_its).max_by_key(|leaf| leaf["held_ns"].as_u64());
    let said = longest.and_then(|leaf| leaf["independence"].as_str());
    said.with_context(|| format!("{}: no leaf of its own", asked.route))
}

fn is_measured(recipe: &dyn Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let notes = notes::directory()?;
    let (each, turns) = (Backend::start()?, Backend::start()?);
    let plan = json!({
        "routes": {
            "each": {"hops": [], "leaf": ["back_end", each.address, 50]},
            "turns": {"hops": [], "leaf": ["back_end", turns.address, 50, "="]},
            "dozes": {"hops": [], "leaf": ["sleep", 50]},
        },
        "base": {"back_end_ms": 0, "cpu_ms": 0},
    });
    let (server, plan, place) = (recipe, plan.to_string(), notes.path().to_owned());
    let server = Server::start(&Composed { server, plan, notes: place })?;
    let trace = Trace::start_with(server.pid(), options)?;
    let mut ids = Vec::new();
    let mut first = 1;
    for Asked { route, .. } in &ASKED {
        for (clients, requests) in [1, MANY].into_iter().zip(REQUESTS) {
            let load = [
                format!("--clients={clients}"),
                format!("--requests={requests}"),
                "--seconds=30".to_owned(),
                format!("--first-id={first}"),
                format!("--routes=/{route}"),
            ];
            Load::run(server.address(), &load.each_ref().map(String::as_str))?;
            ids.push(first..first + requests);
            first += 1000;
        }
    }
    let traced = trace.end()?;
    let notes = notes::read(notes.path())?;
    for (asked, ids) in ASKED.iter().zip(ids.as_chunks::<2>().0) {
        let [one, many] = ids;
        let times = noted_mean_ns(&notes, many.clone())? / noted_mean_ns(&notes, one.clone())?;
        let said = said(&traced, asked)?;
        eprintln!("{}: {times:.2} times as long with {MANY} clients, said to be {said}", asked.route);
        let is_shared = times > f64::from(MANY) / 2.0;
        ensure!(is_shared == (asked.independence == "shared"), "{}: {times} times", asked.route);
        ensure!(said == asked.independence, "{}: {said}", asked.route);
    }
    Ok(())
}

#[test]
fn the_report_says_whether_waits_of_gthread_grow_with_their_number() -> anyhow::Result<()> {
    is_measured(&Settings::gthread(Version::V27, 1, 8), &[])
}

#[test]
fn a_light_report_says_whether_waits_of_gthread_grow_with_their_number() -> anyhow::Result<()> {
    is_measured(&Settings::gthread(Version::V27, 1, 8), &["--light"])
}

#[test]
#[ignore = "make live: make test has it on gthread"]
fn the_report_says_whether_waits_of_waitress_grow_with_their_number() -> anyhow::Result<()> {
    is_measured(&Waitress { threads: 8 }, &[])
}
