//! A thousand clients that connect at once, at servers of every kind, with few descriptors and with many.
//! Each connection is served or has its cause, and the report counts what the clients saw.
//!
//! In: servers as they come, with four slots where that can be set. Out: a table and a JSON file (`make
//! thousand-clients` keeps them in lab/results), and an error that names each row that does not agree.

mod clients;
mod page;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::dropping::Drops;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::few_files::FewFiles;
use wsgi_trace_test_support::server::gevent::Pywsgi;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

use clients::Seen;

/// Clients of one run.
const CLIENTS: u64 = 1000;
/// What each asks for: with four slots all can be served in five seconds.
const PATH: &str = "/sleep/20";
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long the server may take to be rid of the connections that its clients have left.
const SETTLING: Duration = Duration::from_secs(20);
/// The low limit of open files.
const FEW: u64 = 256;
/// How often a run is repeated in which records were lost and counts differ.
const RETRIES: u32 = 2;
/// No run begins after this.
const ALL: Duration = Duration::from_secs(15 * 60);

/// One server under one limit.
#[derive(Debug, Serialize)]
struct Row {
    /// Name and version, as the report tells them.
    server: String,
    /// How it was set up.
    setup: String,
    /// Limit of open files of each of its processes; `None`: the one that it inherits.
    open_files: Option<u64>,
    /// What the clients saw.
    saw: BTreeMap<String, u64>,
    /// Clients of which the server's side had a connection.
    connected: u64,
    /// Served by the report.
    served: u64,
    /// Ended without a request by the report.
    nothing_asked: u64,
    /// Neither served nor not by the report, as records were lost.
    undecided: u64,
    /// Open at the end by the report.
    open: u64,
    /// Not served, by cause.
    causes: BTreeMap<String, u64>,
    /// Attempts that full accept queues refused, by the kernel's count; `None`: not known.
    refused_attempts: Option<u64>,
    /// Failed accept calls, by error.
    accepts_failed: BTreeMap<String, u64>,
    /// Nothing was lost on the way to the report.
    complete: bool,
    /// Where report and clients differ; empty: nowhere.
    differs: Vec<String>,
}

/// Cause of attempts that made no connection.
const REFUSED: &str = "accept_queue_overflow";

fn measure(recipe: &dyn Recipe, setup: &str, open_files: Option<u64>) -> anyhow::Result<Row> {
    let server = match open_files {
        Some(limit) => Server::start(&FewFiles { server: recipe, limit })?,
        None => Server::start(recipe)?,
    };
    let trace = Trace::start(server.pid())?;
    let seen = clients::run(server.address(), CLIENTS, PATH, PATIENCE)?;
    let port: u16 = server.address().host_and_port().1.parse()?;
    // Whatever is left after that is counted as open.
    let _ =
        until("the end of all connections", SETTLING, || Ok((open_connections(port)? == 0).then_some(())));
    let traced = trace.end()?;
    let drops = Drops::of(&traced)?;
    let text = |pointer: &str| {
        traced.value(pointer).ok().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let mut causes: BTreeMap<String, u64> =
        drops.counts().into_iter().map(|(cause, count)| (cause.to_owned(), count)).collect();
    // Attempts are no connections.
    causes.remove(REFUSED);
    let refused_attempts = traced.number("/listeners/0/queue/refused").ok();
    let mut accepts_failed = BTreeMap::new();
    for failure in &drops.accept_failures {
        *accepts_failed.entry(failure.error.clone()).or_default() += failure.count;
    }
    let mut row = Row {
        server: format!("{} {}", text("/target/server/name"), text("/target/server/version"))
            .trim()
            .to_owned(),
        setup: setup.to_owned(),
        open_files,
        connected: seen.connected,
        served: drops.served,
        nothing_asked: drops.nothing_asked,
        undecided: drops.undecided,
        open: drops.open,
        causes,
        refused_attempts,
        accepts_failed,
        complete: traced.value("/losses/is_complete")?.as_bool() == Some(true),
        differs: Vec::new(),
        saw: seen.clients.clone(),
    };
    row.differs = differences(&row, &seen);
    eprintln!("{row:?}");
    if !row.complete {
        eprintln!("  {}", traced.value("/losses")?);
    }
    for cause in &drops.causes {
        eprintln!("  {}: {:?}", cause.cause, cause.examples.first().map(|example| &example.evidence));
    }
    Ok(row)
}

/// Where the report does not say what the clients saw.
fn differences(row: &Row, seen: &Seen) -> Vec<String> {
    let mut list = Vec::new();
    let mut must = |what: &str, ours: u64, theirs: u64| {
        if ours != theirs {
            list.push(format!("{what}: {ours} by the report, {theirs} by the clients"));
        }
    };
    let known: u64 =
        row.served + row.nothing_asked + row.undecided + row.open + row.causes.values().sum::<u64>();
    must("connections that brought a request", known - row.nothing_asked, seen.connected);
    must("served", row.served, seen.answered());
    must("undecided", row.undecided, 0);
    must("unknown", row.causes.get("unknown").copied().unwrap_or(0), 0);
    let unheard = row.saw.get("unheard").copied().unwrap_or(0);
    if row.nothing_asked > unheard {
        list.push(format!("{} without a request, but {unheard} clients unheard", row.nothing_asked));
    }
    if !row.complete && !list.is_empty() {
        list.push("records were lost".to_owned());
    }
    list
}

/// Connections to the port on the server's side: in `ESTABLISHED` or `CLOSE_WAIT`, whether accepted or not.
fn open_connections(port: u16) -> anyhow::Result<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let local = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let is_ours = fields.next().is_some_and(|address| address.ends_with(&local));
        is_ours && fields.nth(1).is_some_and(|state| matches!(state, "01" | "08"))
    };
    Ok(table.lines().filter(is_open).count())
}

/// Every server, each under both limits. `WSGI_TRACE_THOUSAND` chooses by a part of the setup's name.
#[test]
#[ignore = "make thousand-clients: a thousand clients at once, some minutes"]
fn each_of_a_thousand_connections_is_served_or_has_its_cause() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let began = Instant::now();
    let servers: [(&str, Box<dyn Recipe>); 8] = [
        ("Waitress, 4 threads", Box::new(Waitress { threads: 4 })),
        ("cheroot, 4 threads", Box::new(Cheroot { threads: 4 })),
        ("Twisted, its own pool", Box::new(Twisted)),
        ("mod_wsgi, a daemon with 4 threads", Box::new(ModWsgi::daemon(1, 4))),
        ("gevent pywsgi", Box::new(Pywsgi)),
        ("gunicorn sync, 4 workers", Box::new(Settings::sync(Version::V27, 4))),
        ("gunicorn gthread, 4 threads", Box::new(Settings::gthread(Version::V27, 1, 4))),
        ("uWSGI, 4 processes", Box::new(Uwsgi::new(4, 1))),
    ];
    let chosen = std::env::var("WSGI_TRACE_THOUSAND").unwrap_or_default();
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (setup, recipe) in servers.iter().filter(|(setup, _)| setup.contains(&chosen)) {
        for open_files in [None, Some(FEW)] {
            ensure!(began.elapsed() < ALL, "{ALL:?} are over before {setup}; so far {rows:#?}");
            let _alone = exclusive()?;
            let mut measured = measure(recipe.as_ref(), setup, open_files);
            // What was lost, and said to be, is nobody's cause.
            for _ in 0..RETRIES {
                if !measured.as_ref().is_ok_and(|row| !row.complete && !row.differs.is_empty()) {
                    break;
                }
                measured = measure(recipe.as_ref(), setup, open_files);
            }
            match measured {
                Ok(row) => {
                    let what = || format!("{setup}, open files {open_files:?}: {:?}", row.differs);
                    wrong.extend((!row.differs.is_empty()).then(what));
                    rows.push(row);
                }
                Err(error) => wrong.push(format!("{setup}, open files {open_files:?}: {error:#}")),
            }
        }
    }
    println!("{}", page::table(&rows));
    if let Some(page) = std::env::var_os("WSGI_TRACE_THOUSAND_PAGE") {
        page::write(std::path::Path::new(&page), &rows)?;
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
