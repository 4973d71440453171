//! Servers that wait for nobody but their clients: no report accuses anything.
//!
//! In: clients that think, send or read slowly, before servers with slots to spare. Out: verdicts. That
//! clients were what took long is what they say themselves.

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::server::nginx::{Link, Nginx};
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;
use wsgi_trace_test_support::{require_bpf, require_nginx};

/// One connection that is kept, and 40 ms from an answer to the next request.
const THINKS: &[&str] = &["--clients=1", "--keep-alive=1000", "--think-ms=40", "--seconds=5"];
/// Bodies of 1 kB that take a second, beside two quick clients.
const UPLOADS: &[&str] =
    &["--clients=2", "--think-ms=40", "--slow-bodies=3", "--slow-body-bytes=1000", "--seconds=5"];
/// Responses that take a second.
const READS: &[&str] =
    &["--clients=2", "--think-ms=40", "--slow-readers=2", "--slow-read-seconds=1", "--seconds=5"];

/// What other programs do to a busy machine accuses no server.
const OF_OTHERS: &str = "cpu-taken";

fn accuses_nobody(recipe: &dyn Recipe, clients: &[&str], options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start_with(server.pid(), options)?;
    let sent = Load::run(server.address(), clients)?;
    let traced = trace.end()?;
    let is_served = sent.requests.iter().filter(|request| request.status.is_some()).count();
    ensure!(is_served >= 20, "{is_served} requests were answered");
    let findings = traced.value("/findings")?.as_array().context("no findings")?;
    let present = findings.iter().filter(|finding| finding["answer"] == "present");
    let accused: Vec<&str> = present
        .filter_map(|finding| finding["id"].as_str())
        .filter(|id| !["healthy", OF_OTHERS].contains(id))
        .collect();
    let sentence = traced.value("/verdict/sentence")?;
    eprintln!("{} under {clients:?} {options:?}: {sentence}", recipe.about());
    ensure!(accused.is_empty(), "{accused:?}: {sentence}");
    let is_wrong = traced.value("/verdict/is_wrong")?.as_bool().context("no verdict")?;
    ensure!(!is_wrong || traced.value("/verdict/finding")? == OF_OTHERS, "{sentence}");
    let settings = traced.value("/verdict/settings")?.as_array().context("no settings")?;
    ensure!(settings.is_empty() || is_wrong, "{settings:?}");
    Ok(())
}

#[test]
fn a_kept_connection_of_a_client_that_thinks_accuses_nothing() -> anyhow::Result<()> {
    accuses_nobody(&Settings::gthread(Version::V27, 1, 4), THINKS, &[])
}

#[test]
#[ignore = "make live"]
fn a_kept_connection_of_a_client_that_thinks_accuses_nothing_in_light_mode() -> anyhow::Result<()> {
    accuses_nobody(&Settings::gthread(Version::V27, 1, 4), THINKS, &["--light"])
}

#[test]
#[ignore = "make live"]
fn a_kept_connection_of_a_client_that_thinks_accuses_nothing_on_waitress() -> anyhow::Result<()> {
    accuses_nobody(&Waitress { threads: 4 }, THINKS, &[])
}

#[test]
fn slow_uploads_that_waitress_buffers_accuse_nothing() -> anyhow::Result<()> {
    accuses_nobody(&Waitress { threads: 2 }, UPLOADS, &[])
}

#[test]
#[ignore = "make live"]
fn slow_uploads_that_waitress_buffers_accuse_nothing_in_light_mode() -> anyhow::Result<()> {
    accuses_nobody(&Waitress { threads: 2 }, UPLOADS, &["--light"])
}

#[test]
#[ignore = "make live"]
fn slow_readers_that_waitress_buffers_for_accuse_nothing() -> anyhow::Result<()> {
    accuses_nobody(&Waitress { threads: 2 }, READS, &[])
}

#[test]
#[ignore = "make live"]
fn slow_uploads_that_nginx_buffers_accuse_nothing() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    let server = || Settings::gthread(Version::V27, 1, 2);
    accuses_nobody(&Nginx::before(server(), Link::Tcp), UPLOADS, &[])?;
    accuses_nobody(&Nginx::before(server(), Link::Tcp).untraced(), UPLOADS, &[])
}

#[test]
#[ignore = "make live"]
fn slow_uploads_before_a_sync_worker_behind_nginx_accuse_nothing() -> anyhow::Result<()> {
    require_nginx!(Ok(()));
    accuses_nobody(&Nginx::before(Settings::sync(Version::V27, 2), Link::Unix), UPLOADS, &[])
}
