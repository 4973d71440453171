//! Findings about one worker among others.
//!
//! In: servers of which one worker takes longer than the others, and servers of which none does. Out: cases.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;

use crate::case::{Case, Seen, between, load, same};

/// More clients than workers: whichever is free gets one. Two workers take 10 ms, one 40.
const ONE_ASKS: &[&[&str]] = &[&["--clients=4", "--routes=/truth/oneasks/40"]];
/// All of them take as long as that one did.
const ALL_ASK: &[&[&str]] = &[&["--clients=4", "--routes=/truth/backend/40"]];
const ONE_SLEEPS: &[&[&str]] = &[&["--clients=4", "--routes=/truth/onesleeps/40"]];
/// Some requests of the endpoint take as long as all of that one's did, whoever serves them.
const SOME_SLEEP: &[&[&str]] = &[&["--clients=4", "--routes=/truth/sleep/10=3,/truth/sleep/40=1"]];

/// Workers that serve one request each at a time.
const WORKERS: u32 = 3;

fn gunicorn() -> Settings {
    Settings::sync(Version::V27, WORKERS as usize)
}

fn uwsgi() -> Uwsgi {
    Uwsgi::new(WORKERS, 1)
}

/// The worker that took longest by the application's clocks is the one that is named, with what its requests
/// took longer than the others'.
fn one_of_three(seen: &Seen, phase: &str) -> anyhow::Result<()> {
    let mut took: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (_, line) in seen.witnessed()? {
        took.entry(line.pid).or_default().push(line.wall_ns as f64 / 1e9);
    }
    ensure!(took.len() == WORKERS as usize, "these workers served: {:?}", took.keys());
    for (pid, all) in &took {
        ensure!(all.len() >= 20, "worker {pid} served {} requests", all.len());
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let (ill, own) = took.iter().max_by(|a, b| mean(a.1).total_cmp(&mean(b.1))).context("no worker")?;
    let others: Vec<f64> =
        took.iter().filter(|(pid, _)| *pid != ill).flat_map(|(_, all)| all).copied().collect();
    ensure!(mean(own) > mean(&others) * 2.5, "it took {} s, the others {} s", mean(own), mean(&others));

    let sentence = seen.sentence()?;
    ensure!(sentence.starts_with(&format!("Process {ill}, one of {WORKERS} workers,")), "{sentence}");
    ensure!(sentence.contains(&format!("of the difference {phase}")), "{sentence}");
    same("requests of it", seen.figure("own_requests_count")?, own.len() as f64)?;
    same("ill workers", seen.figure("ill_workers_count")?, 1.0)?;
    let longer = (mean(own) - mean(&others)) * own.len() as f64;
    between("request-seconds longer", seen.cost()?, (longer * 0.9, longer * 1.1))
}

crate::cases! {
    #[ignore = "make live"]
    one_worker_of_gunicorn_that_waits_longer => Case {
        finding: "ill-worker",
        sick: load(gunicorn(), ONE_ASKS),
        well: load(gunicorn(), ALL_ASK),
        witness: |seen| one_of_three(seen, "backend_wait"),
    };
    #[ignore = "make live"]
    one_worker_of_uwsgi_that_sleeps_longer => Case {
        finding: "ill-worker",
        sick: load(uwsgi(), ONE_SLEEPS),
        well: load(uwsgi(), SOME_SLEEP),
        witness: |seen| one_of_three(seen, "sleep"),
    };
}
