//! Servers that do the TLS themselves: requests are as many, each as long and at the same time, as their clients say,
//! whatever the handshakes are like. Nothing is said of what is encrypted.
//!
//! In: recipes, versions of TLS, clients that keep their connections or do not. Out: verdicts; the figures measured on standard error.

use anyhow::{Context as _, ensure};
use wsgi_trace_tests::gate::exclusive;
use wsgi_trace_tests::gunicorn::{Settings, Version};
use wsgi_trace_tests::intervals::{Between, Intervals, Pair, kind};
use wsgi_trace_tests::load::{Load, Sent};
use wsgi_trace_tests::require_bpf;
use wsgi_trace_tests::server::cheroot::{Cheroot, EncryptedCheroot};
use wsgi_trace_tests::server::tls::Tls;
use wsgi_trace_tests::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_tests::server::uwsgi::Uwsgi;
use wsgi_trace_tests::server::{Recipe, Server};
use wsgi_trace_tests::switches::{Switches, Waits};
use wsgi_trace_tests::trace::{Trace, Traced, TracedRequest};
use wsgi_trace_tests::yardstick::Yardstick;

const REQUESTS: &str = "160";
const ROUTES: &str = "/fast=4,/cpu=2,/backend,/stream,/empty,/missing,/error,/sleep/30=4";

/// A window around clients: several at once, then a single one.
struct Window {
    traced: Traced,
    several: Sent,
    single: Sent,
    waits: Waits,
    head_ns: u64,
}

fn window(recipe: &dyn Recipe, version: &str, keep_alive: &str) -> anyhow::Result<Window> {
    let switches = Switches::start()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start(server.pid())?;
    let routes = if recipe.answers_exceptions() { ROUTES.to_owned() } else { ROUTES.replace("/error,", "") };
    let load = |clients: &str| {
        let options = [
            ["--tls", version, "--keep-alive", keep_alive],
            ["--requests", REQUESTS, "--clients", clients],
            ["--seconds", "30", "--routes", &routes],
            ["--think-ms", "3", "--kinds", recipe.clients().kinds],
        ];
        Load::run(server.address(), options.as_flattened())
    };
    let several = load("4")?;
    let yardstick = Yardstick::start()?;
    let single = load("1")?;
    let head_ns = yardstick.head_ns()?;
    server.log(several.answered() + single.answered())?;
    let traced = trace.end()?;
    Ok(Window { traced, several, single, waits: switches.stop()?.waits(), head_ns })
}

fn requests_are_those_of_the_clients(
    recipe: &dyn Recipe,
    version: &str,
    keep_alive: &str,
) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let window = window(recipe, version, keep_alive)?;
    let mut ours: Vec<&TracedRequest> = window.traced.requests.iter().collect();
    ours.sort_by_key(|request| request.start_ns);
    eprintln!("{}, TLS {version}, {keep_alive} a connection: {} requests", recipe.about(), ours.len());
    for sent in [&window.several, &window.single] {
        let unanswered: Vec<_> = sent.requests.iter().filter(|request| request.status.is_none()).collect();
        ensure!(unanswered.is_empty(), "without an answer: {unanswered:?}");
    }
    let of_several = ours.partition_point(|request| request.start_ns < window.single.start_ns);
    let (beside, alone) = ours.split_at(of_several);
    let counts = (window.several.requests.len(), window.single.requests.len());
    ensure!((beside.len(), alone.len()) == counts, "{} and {}, not {counts:?}", beside.len(), alone.len());
    intervals_agree(recipe, &window, alone)?;
    nothing_is_said_of_what_is_encrypted(&window.traced)
}

/// Each request is as long by our account as by its client's clock: a single client asks for one after the other.
fn intervals_agree(recipe: &dyn Recipe, window: &Window, ours: &[&TracedRequest]) -> anyhow::Result<()> {
    let mut intervals = Intervals::default();
    for (sent, request) in window.single.requests.iter().zip(ours) {
        ensure!((sent.sent_ns..=sent.end_ns).contains(&request.start_ns), "{request:?}\n{sent:?}");
        let mut threads = vec![request.tid, request.pid, sent.tid];
        if recipe.shares_gil() {
            threads.extend(window.traced.threads_of(request.pid)?);
        }
        let both_ns = (request.total_ns, sent.end_ns - sent.sent_ns);
        intervals.add(kind(&sent.path), Pair::of(request, both_ns, (&window.waits, &threads)));
    }
    let wrong = intervals.wrong(Between {
        // The client's clock stands outside: beside what the server does, its client writes a head and reads one, and both encrypt.
        head_ns: 2 * window.head_ns,
        wake_ns: 0,
        resolution_ns: 0,
        shares_gil: recipe.shares_gil(),
        stolen_ns: window.traced.number("/losses/conservation/stolen_ns")?,
    });
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Neither a request nor a verdict says more than is known.
fn nothing_is_said_of_what_is_encrypted(traced: &Traced) -> anyhow::Result<()> {
    for request in &traced.requests {
        let is_silent = request.method.is_none() && request.path.is_none() && request.status.is_none();
        ensure!(is_silent && !request.truncated && !request.lossy && !request.open, "{request:?}");
    }
    let count = traced.requests.len() as u64;
    ensure!(traced.number("/requests/framing/not_http")? == count, "{:?}", traced.value("/requests"));
    ensure!(traced.value("/losses/impossible")? == &serde_json::json!([]), "{:?}", traced.value("/losses"));
    let findings = traced.value("/findings")?.as_array().context("no list of findings")?;
    let says = |id: &str| findings.iter().find(|finding| finding.get("id").is_some_and(|name| name == id));
    let healthy = says("healthy").and_then(|finding| finding.get("answer")?.as_str());
    ensure!(healthy != Some("present"), "{findings:?}");
    let dropped = traced.value("/drops")?;
    ensure!(traced.number("/drops/dropped")? == 0, "{dropped}");
    Ok(())
}

/// `name: recipe, version, requests of a connection;` is a test that `make test` runs, with `all` before it one for `make live-all`.
macro_rules! encrypted {
    () => {};
    (all $name:ident: $recipe:expr, $version:literal, $keep_alive:literal; $($rest:tt)*) => {
        #[test]
        #[ignore = "make live-all"]
        fn $name() -> anyhow::Result<()> {
            requests_are_those_of_the_clients(&$recipe, $version, $keep_alive)
        }
        encrypted! { $($rest)* }
    };
    ($name:ident: $recipe:expr, $version:literal, $keep_alive:literal; $($rest:tt)*) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            requests_are_those_of_the_clients(&$recipe, $version, $keep_alive)
        }
        encrypted! { $($rest)* }
    };
}

fn gthread() -> Tls<Settings> {
    Tls::of(Settings::gthread(Version::V27, 2, 4).witnessed())
}

fn sync() -> Tls<Settings> {
    Tls::of(Settings::sync(Version::V27, 4).witnessed())
}

fn uvicorn() -> Tls<Uvicorn> {
    Tls::of_uvicorn(Uvicorn { application: Application::Asgi, workers: 1 })
}

fn cheroot() -> Tls<EncryptedCheroot> {
    Tls::of(EncryptedCheroot::of(Cheroot { threads: 4 }))
}

fn uwsgi(threads: u32) -> Tls<Uwsgi> {
    Tls::with_files(Uwsgi::new(2, threads).encrypted())
}

encrypted! {
    gthread_with_tls: gthread(), "1.3", "5";
    all gthread_with_tls_and_fresh_connections: gthread(), "1.3", "1";
    all gthread_with_older_tls: gthread(), "1.2", "5";
    all gthread_with_older_tls_and_fresh_connections: gthread(), "1.2", "1";
    all sync_with_tls: sync(), "1.3", "1";
    all sync_with_older_tls: sync(), "1.2", "1";
    all uvicorn_with_tls: uvicorn(), "1.3", "5";
    all uvicorn_with_tls_and_fresh_connections: uvicorn(), "1.3", "1";
    all uvicorn_with_older_tls: uvicorn(), "1.2", "5";
    all cheroot_with_tls: cheroot(), "1.3", "5";
    all cheroot_with_tls_and_fresh_connections: cheroot(), "1.3", "1";
    all cheroot_with_older_tls: cheroot(), "1.2", "5";
    all uwsgi_with_tls: uwsgi(1), "1.3", "1";
    all uwsgi_threads_with_older_tls: uwsgi(4), "1.2", "1";
}
