//! Servers that do the TLS themselves: requests are as many, each as long and at the same time, as their
//! clients say, whatever the handshakes are like. They have their clients' names where the server's OpenSSL
//! is probed; elsewhere nothing is said of what is encrypted.
//!
//! In: recipes, versions of TLS, clients that keep their connections or do not. Out: verdicts; the figures
//! measured on standard error.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::intervals::{Between, Intervals, Pair, kind};
use wsgi_trace_test_support::load::{Load, Sent};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::cheroot::{Cheroot, EncryptedCheroot};
use wsgi_trace_test_support::server::tls::Tls;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::switches::{Switches, Waits};
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};
use wsgi_trace_test_support::yardstick::{Speed, Yardstick};

const REQUESTS: &str = "160";
const ROUTES: &str = "/fast=4,/cpu=2,/backend,/stream,/empty,/missing,/error,/sleep/30=4";

/// A window around clients: several at once, then a single one.
struct Window {
    traced: Traced,
    several: Sent,
    single: Sent,
    waits: Waits,
    speed: Speed,
}

/// How requests get their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Probes are there before clients are.
    FromTheStart,
    /// Probes come when the first client does.
    Soon,
    /// There are no probes.
    Never,
}

impl Names {
    const fn option(self) -> &'static str {
        match self {
            Self::FromTheStart => "--tls=uprobes",
            Self::Soon => "--tls=auto",
            Self::Never => "--tls=off",
        }
    }
}

fn window(recipe: &dyn Recipe, version: &str, keep_alive: &str, names: Names) -> anyhow::Result<Window> {
    let switches = Switches::start()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start_with(server.pid(), &[names.option()])?;
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
    let speed = yardstick.end()?;
    server.log(several.answered() + single.answered())?;
    let traced = trace.end()?;
    Ok(Window { traced, several, single, waits: switches.stop()?.waits(), speed })
}

fn requests_are_those_of_the_clients(
    recipe: &dyn Recipe,
    version: &str,
    keep_alive: &str,
    names: Names,
) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let window = window(recipe, version, keep_alive, names)?;
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
    let count = |pointer: &str| window.traced.number(pointer);
    let hidden = ours.iter().filter(|request| request.method.is_none()).count();
    let framing = (count("/requests/framing/not_http")?, count("/requests/framing/inferred")?);
    ensure!(framing == (hidden as u64, (ours.len() - hidden) as u64), "{hidden} hidden, {framing:?}");
    for request in &ours {
        ensure!(!request.truncated && !request.lossy && !request.open, "{request:?}");
    }
    ensure!(window.traced.value("/losses/impossible")? == &serde_json::json!([]), "impossible");
    ensure!(window.traced.number("/drops/dropped")? == 0, "{}", window.traced.value("/drops")?);
    match names {
        Names::Never => nothing_is_said_of_what_is_encrypted(&window.traced),
        _ => {
            let parts = [(&window.several, beside), (&window.single, alone)];
            names_are_those_of_the_clients(&window.traced, parts, names)
        }
    }
}

/// Requests of a run that may be hidden though their connections came after the probes, where these came amid
/// the load: what a thread reads of two new connections before OpenSSL has decrypted either cannot be joined
/// (docs/tls.md). That was seen on uvicorn in two of 24 runs; this is one request in a hundred.
const MOST_LATE: usize = 3;

/// Each request has the method, path and status that its client knows, and no name is given twice. Hidden are
/// those, with few exceptions, whose connection was there before the probes: which of OpenSSL's objects it
/// has can stay open until a thread reads from it alone.
fn names_are_those_of_the_clients(
    traced: &Traced,
    parts: [(&Sent, &[&TracedRequest]); 2],
    names: Names,
) -> anyhow::Result<()> {
    let ours: Vec<&TracedRequest> = parts.iter().flat_map(|(_, ours)| ours.iter().copied()).collect();
    // When the first request of each process ended that has a name: the probes were there by then.
    let mut placed: BTreeMap<u32, u64> = BTreeMap::new();
    for request in ours.iter().filter(|request| request.method.is_some()) {
        let end_ns = request.start_ns + request.total_ns;
        placed.entry(request.pid).and_modify(|first_ns| *first_ns = end_ns.min(*first_ns)).or_insert(end_ns);
    }
    let mut begun: BTreeMap<u64, u64> = BTreeMap::new();
    for request in &ours {
        let first_ns = begun.entry(request.connection).or_insert(request.start_ns);
        *first_ns = request.start_ns.min(*first_ns);
    }
    let (mut hidden, mut late) = (0, 0);
    for request in ours.iter().filter(|request| request.method.is_none()) {
        hidden += 1;
        let begun_ns = begun.get(&request.connection).copied().unwrap_or(request.start_ns);
        let is_early = placed.get(&request.pid).is_none_or(|placed_ns| begun_ns < *placed_ns);
        late += usize::from(!is_early);
        ensure!(names == Names::Soon && request.status.is_none(), "hidden: {request:?}");
    }
    ensure!(late <= MOST_LATE, "{late} requests hidden on connections that came after the probes");
    eprintln!("{names:?}: {hidden} of {} requests hidden", ours.len());
    ensure!(2 * hidden < ours.len(), "{hidden} of {} hidden", ours.len());
    let mut named = 0;
    for (sent, ours) in parts {
        for sent in &sent.requests {
            let mut of = ours.iter().filter(|request| request.path.as_deref() == Some(&sent.path));
            let Some(request) = of.next() else { continue };
            let is_right = request.method.as_deref() == Some(&sent.method) && request.status == sent.status;
            ensure!(is_right && of.next().is_none(), "{request:?}\n{sent:?}");
            named += 1;
        }
    }
    ensure!(named + hidden == ours.len(), "{named} named, {hidden} hidden of {}", ours.len());
    let missing = traced.value("/tool/missing")?;
    ensure!(!missing.to_string().contains("tls_"), "{missing}");
    Ok(())
}

/// Each request is as long by our account as by its client's clock: a single client asks for one after the
/// other.
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
        // The client's clock stands outside: beside what the server does, its client writes a head and reads
        // one, and both encrypt.
        speed: window.speed.times(2),
        is_woken_rarely: false,
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
        ensure!(is_silent, "{request:?}");
    }
    let findings = traced.value("/findings")?.as_array().context("no list of findings")?;
    let says = |id: &str| findings.iter().find(|finding| finding.get("id").is_some_and(|name| name == id));
    let healthy = says("healthy").and_then(|finding| finding.get("answer")?.as_str());
    ensure!(healthy != Some("present"), "{findings:?}");
    Ok(())
}

/// `name: recipe, version, requests of a connection, names;` is a test that `make test` runs, with `all`
/// before it one for `make live-all`.
macro_rules! encrypted {
    () => {};
    (all $name:ident: $recipe:expr, $version:literal, $keep_alive:literal, $names:ident; $($rest:tt)*) => {
        #[test]
        #[ignore = "make live-all"]
        fn $name() -> anyhow::Result<()> {
            requests_are_those_of_the_clients(&$recipe, $version, $keep_alive, Names::$names)
        }
        encrypted! { $($rest)* }
    };
    ($name:ident: $recipe:expr, $version:literal, $keep_alive:literal, $names:ident; $($rest:tt)*) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            requests_are_those_of_the_clients(&$recipe, $version, $keep_alive, Names::$names)
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
    gthread_with_tls: gthread(), "1.3", "5", Soon;
    all gthread_with_tls_that_is_not_read: gthread(), "1.3", "5", Never;
    all gthread_with_tls_and_fresh_connections: gthread(), "1.3", "1", FromTheStart;
    all gthread_with_older_tls: gthread(), "1.2", "5", FromTheStart;
    all gthread_with_older_tls_and_fresh_connections: gthread(), "1.2", "1", Soon;
    all sync_with_tls: sync(), "1.3", "1", FromTheStart;
    all sync_with_older_tls: sync(), "1.2", "1", FromTheStart;
    all uvicorn_with_tls: uvicorn(), "1.3", "5", FromTheStart;
    all uvicorn_with_tls_that_is_not_read: uvicorn(), "1.3", "5", Never;
    all uvicorn_with_tls_and_fresh_connections: uvicorn(), "1.3", "1", FromTheStart;
    all uvicorn_with_older_tls: uvicorn(), "1.2", "5", Soon;
    all cheroot_with_tls: cheroot(), "1.3", "5", FromTheStart;
    all cheroot_with_tls_and_fresh_connections: cheroot(), "1.3", "1", FromTheStart;
    all cheroot_with_older_tls: cheroot(), "1.2", "5", Soon;
    all uwsgi_with_tls: uwsgi(1), "1.3", "1", FromTheStart;
    all uwsgi_threads_with_older_tls: uwsgi(4), "1.2", "1", FromTheStart;
}
