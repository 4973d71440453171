//! Light mode beside a full trace of the same server under the same load: the same requests, and of each the
//! same phases.
//!
//! In: recipes of servers where one thread serves a request. Out: verdicts; the figures measured on standard
//! error. What the full trace says is held against other witnesses in `truth`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};
use wsgi_trace_test_support::yardstick::Yardstick;

use crate::work;

/// Routes whose time is of every kind that light mode names.
const ROUTES: &str = "/fast=4,/cpu=2,/backend=2,/stream,/mixed=2,/missing,/sleep/5";
/// What light mode has as one phase is the sum of these in a full trace. It does not see what is done on a
/// CPU within a call. A wait to close a file is unexplained there: no descriptor says any more what it was.
/// It does not see accept return either: a request waits until its thread has a CPU for it, and what
/// the thread does from then on to accept it is not its wait. So `pool_wait` is judged together with what
/// such a thread does.
const SAME: [(&[&str], &[&str]); 7] = [
    (
        &["pool_wait", "cpu", "run_queue", "gil_wait"],
        &[
            "accept_queue",
            "pool_wait",
            "loop_wait",
            "cpu",
            "read_head",
            "read_body",
            "write",
            "run_queue",
            "gil_wait",
        ],
    ),
    (&["lock_wait"], &["lock_wait"]),
    (&["backend_wait"], &["backend_wait"]),
    (&["file_wait", "unexplained"], &["file_wait", "unexplained"]),
    (&["sleep"], &["sleep"]),
    (&["client_read_stall"], &["client_read_stall"]),
    (&["client_write_stall"], &["client_write_stall"]),
];
/// Parts of the first, one by one: said, and not judged.
const PARTS: [(&str, &[&str]); 4] = [
    ("pool_wait", &["accept_queue", "pool_wait", "loop_wait"]),
    ("cpu", &["cpu", "read_head", "read_body", "write"]),
    ("run_queue", &["run_queue"]),
    ("gil_wait", &["gil_wait"]),
];
/// How far the sums of a phase may differ.
const SUM_RATIO: f64 = 0.01;
/// How far a phase of nine of ten requests may differ.
const EACH_RATIO: f64 = 0.05;

/// How much of the requests' time may lie in waits whose end the kernel did not show either of them: one has
/// a wait as unexplained by that, the other not.
const NOT_SHOWN_RATIO: f64 = 0.05;
/// Windows until the kernel shows so much: in some machines it shows no end of a wait for a few hundred
/// milliseconds. A build that leaves more open fails in each.
const WINDOWS: u32 = 3;

/// Findings judge windows of a second and longer: of both runs.
const JUDGED_FROM: Duration = Duration::from_millis(1_100);

/// One phase of all requests, by both.
#[derive(Default)]
struct Pairs(Vec<(u64, u64)>);

impl Pairs {
    /// Sums in ns: light, full.
    fn sums(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |sums, pair| (sums.0 + pair.0, sums.1 + pair.1))
    }

    /// The pair that is furthest apart.
    fn worst(&self) -> Option<usize> {
        (0..self.0.len()).max_by_key(|place| self.0.get(*place).map(|pair| pair.0.abs_diff(pair.1)))
    }

    /// How far the request at the ninth of ten is off beyond its ratio, in ns.
    fn p90_error_ns(&self) -> u64 {
        let beyond = |(light, full): &(u64, u64)| {
            light.abs_diff(*full).saturating_sub((*full as f64 * EACH_RATIO) as u64)
        };
        let mut errors: Vec<u64> = self.0.iter().map(beyond).collect();
        errors.sort_unstable();
        errors.get(errors.len() * 9 / 10).copied().unwrap_or(0)
    }
}

fn by_id(traced: &Traced) -> anyhow::Result<BTreeMap<u64, &TracedRequest>> {
    let mut requests = BTreeMap::new();
    for request in &traced.requests {
        let id = request.id().with_context(|| format!("nobody asked for {request:?}"))?;
        ensure!(requests.insert(id, request).is_none(), "twice: {request:?}");
    }
    Ok(requests)
}

/// What both say of the same requests, and what a head took this machine meanwhile.
struct Watched {
    light: Traced,
    full: Traced,
    head_ns: u64,
    /// Waits whose end the kernel did not show.
    not_shown_ns: u64,
}

impl Watched {
    /// What may differ, as one of the two does not know it, and how much may.
    fn open_ns(&self) -> (u64, u64) {
        let sum = |of: fn(&TracedRequest) -> u64| self.full.requests.iter().map(of).sum::<u64>();
        let most_ns = (sum(|request| request.total_ns) as f64 * NOT_SHOWN_RATIO) as u64;
        (self.not_shown_ns + sum(|request| request.phase_ns("unexplained")), most_ns)
    }
}

fn agrees(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    for _ in 0..WINDOWS {
        let watched = watch(recipe)?;
        let (open_ns, most_ns) = watched.open_ns();
        if open_ns <= most_ns {
            let Watched { light, full, head_ns, not_shown_ns } = watched;
            compare(recipe, &by_id(&light)?, &by_id(&full)?, (head_ns, not_shown_ns))?;
            return compare_slots(recipe, &light, &full, (head_ns, not_shown_ns));
        }
        eprintln!("{}: {open_ns} ns not shown or not explained, over {most_ns}", recipe.about());
    }
    anyhow::bail!("{}: in none of {WINDOWS} windows was enough shown and explained", recipe.about())
}

/// Both at once.
fn watch(recipe: &dyn Recipe) -> anyhow::Result<Watched> {
    let server = Server::start(recipe)?;
    let full = Trace::start(server.pid())?;
    let light = Trace::start_with(server.pid(), &["--light"])?;
    let begun = Instant::now();
    let yardstick = Yardstick::start()?;
    let routes = format!("{ROUTES},{}", work::ROUTES);
    let options = [
        &["--requests", "400", "--seconds", "30", "--clients", "3", "--routes", &routes][..],
        &["--kinds", "get=6,head,sized", "--keep-alive", recipe.clients().keep_alive],
    ]
    .concat();
    let sent = Load::run(server.address(), &options)?;
    server.log(sent.answered())?;
    let head_ns = yardstick.end()?.head_ns;
    // A fast machine has answered all before a window is long enough to judge.
    std::thread::sleep(JUDGED_FROM.saturating_sub(begun.elapsed()));
    let (light, full) = (light.end()?, full.end()?);
    let not_shown_ns = light.undecided_ns()? + full.undecided_ns()?;
    Ok(Watched { light, full, head_ns, not_shown_ns })
}

/// How long slots were busy, and with what.
const HELD: [&str; 8] = [
    "busy_ns",
    "held/request_ns",
    "held/client_read_stall_ns",
    "held/client_write_stall_ns",
    "held/first_byte_ns",
    "held/keepalive_idle_ns",
    "held/linger_ns",
    "held/housekeeping_ns",
];

/// Both have as many slots, which were busy for as long, and judge them alike.
fn compare_slots(
    recipe: &dyn Recipe,
    light: &Traced,
    full: &Traced,
    (head_ns, not_shown_ns): (u64, u64),
) -> anyhow::Result<()> {
    let about = recipe.about();
    let both = |key: &str| anyhow::Ok((light.number(key)?, full.number(key)?));
    for key in HELD {
        let (ours_ns, theirs_ns) = both(&format!("/slots/{key}"))?;
        let ratio = ours_ns as f64 / theirs_ns.max(1) as f64;
        eprintln!("  slots {key:<26} {ours_ns:>12} {theirs_ns:>12} ns  {ratio:.4}");
    }
    let (counted, observed) = (both("/slots/counted")?, both("/slots/observed")?);
    ensure!(counted.0 == counted.1, "{about}: {counted:?} slots");
    ensure!(observed.0 == observed.1, "{about}: {observed:?} slots seen");
    let (ours_ns, theirs_ns) = both("/slots/busy_ns")?;
    // Each boundary is seen by one program after the other.
    let between_ns = head_ns * light.requests.len() as u64;
    let bound_ns = (theirs_ns as f64 * SUM_RATIO) as u64 + between_ns + not_shown_ns;
    ensure!(ours_ns.abs_diff(theirs_ns) <= bound_ns, "{about}: busy for {ours_ns} ns, {theirs_ns} ns");
    Ok(())
}

/// How long requests waited for back ends, in ns by port.
fn waits_by_port(requests: &BTreeMap<u64, &TracedRequest>) -> BTreeMap<Option<u16>, u64> {
    let mut waits = BTreeMap::new();
    let trips = requests.values().filter_map(|request| request.back_end_round_trips.as_ref());
    for to in trips.flat_map(|trips| &trips.by_port) {
        *waits.entry(to.port).or_default() += to.waited_ns;
    }
    waits
}

/// Both know for which back ends requests waited, and how long. `open_ns`: what one of them leaves open and
/// the other may name.
fn compare_waits(
    light: &BTreeMap<u64, &TracedRequest>,
    full: &BTreeMap<u64, &TracedRequest>,
    open_ns: u64,
) -> Vec<String> {
    let (light, full) = (waits_by_port(light), waits_by_port(full));
    eprintln!("  waits by port: {light:?} ns, {full:?} ns in a full trace");
    let mut wrong = Vec::new();
    if full.is_empty() || !light.keys().eq(full.keys()) || full.contains_key(&None) {
        wrong.push(format!("waits by port: {light:?} ns, {full:?} ns in a full trace"));
    }
    for ((port, ours_ns), theirs_ns) in light.iter().zip(full.values()) {
        let bound_ns = *theirs_ns as f64 * SUM_RATIO + open_ns as f64;
        if ours_ns.abs_diff(*theirs_ns) as f64 > bound_ns {
            wrong.push(format!("port {port:?}: {ours_ns} ns, {theirs_ns} ns in a full trace"));
        }
    }
    wrong
}

fn compare(
    recipe: &dyn Recipe,
    light: &BTreeMap<u64, &TracedRequest>,
    full: &BTreeMap<u64, &TracedRequest>,
    (head_ns, not_shown_ns): (u64, u64),
) -> anyhow::Result<()> {
    let about = recipe.about();
    ensure!(full.len() >= 350, "{about}: only {} requests", full.len());
    ensure!(
        light.keys().eq(full.keys()),
        "{about}: {} requests, {} in a full trace",
        light.len(),
        full.len()
    );
    let unexplained_ns: u64 = full.values().map(|request| request.phase_ns("unexplained")).sum();
    let mut wrong = Vec::new();
    let mut pairs: BTreeMap<String, Pairs> = BTreeMap::new();
    for (id, ours) in light {
        let theirs = full.get(id).context("not in the full trace")?;
        let told = |request: &TracedRequest| (request.method.clone(), request.path.clone(), request.status);
        if told(ours) != told(theirs) {
            wrong.push(format!("{ours:?} is not {theirs:?}"));
        }
        let parts = PARTS.iter().map(|(of_light, of_full)| (std::slice::from_ref(of_light), *of_full));
        for (of_light, of_full) in SAME.into_iter().chain(parts) {
            let sum_ns = |request: &TracedRequest, parts: &[&str]| {
                parts.iter().map(|part| request.phase_ns(part)).sum::<u64>()
            };
            let pair = (sum_ns(ours, of_light), sum_ns(theirs, of_full));
            pairs.entry(of_light.join(" + ")).or_default().0.push(pair);
        }
        pairs.entry("total".to_owned()).or_default().0.push((ours.total_ns, theirs.total_ns));
    }
    eprintln!("{about}: {} requests, a head is {head_ns} ns, {not_shown_ns} ns not shown", light.len());
    // What the full trace leaves unexplained light mode may name.
    let open_ns = not_shown_ns + unexplained_ns;
    wrong.extend(compare_waits(light, full, open_ns));
    for (phase, pairs) in &pairs {
        let (ours_ns, theirs_ns) = pairs.sums();
        let error_ns = pairs.p90_error_ns();
        let ratio = ours_ns as f64 / theirs_ns.max(1) as f64;
        eprintln!("  {phase:<24} {ours_ns:>12} {theirs_ns:>12} ns  {ratio:.4}  p90 {error_ns} ns");
        if PARTS.iter().any(|(part, _)| part == phase) {
            continue;
        }
        // Each boundary is seen by one program after the other; what lies between is work, as of a head.
        let between_ns = head_ns as f64 * light.len() as f64 / 10.0;
        let bound_ns = theirs_ns as f64 * SUM_RATIO + between_ns + open_ns as f64;
        if ours_ns.abs_diff(theirs_ns) as f64 > bound_ns {
            wrong.push(format!("{phase}: {ours_ns} ns, {theirs_ns} ns in a full trace"));
            let worst = pairs.worst().and_then(|place| light.values().zip(full.values()).nth(place));
            eprintln!("  furthest apart in {phase}: {worst:?}");
        }
        if error_ns > head_ns {
            wrong.push(format!("{phase}: off by {error_ns} ns at the ninth of ten requests"));
        }
    }
    ensure!(wrong.is_empty(), "{about}: {}", wrong.join("\n"));
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_s_threads() -> anyhow::Result<()> {
    agrees(&Settings::gthread(Version::V27, 2, 4))
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_s_sync_workers() -> anyhow::Result<()> {
    agrees(&Settings::sync(Version::V27, 4))
}

#[test]
#[ignore = "make live-all"]
fn cheroot() -> anyhow::Result<()> {
    agrees(&Cheroot { threads: 4 })
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_s_processes() -> anyhow::Result<()> {
    agrees(&Uwsgi::new(4, 1))
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_s_threads() -> anyhow::Result<()> {
    agrees(&Uwsgi::new(2, 4))
}

#[test]
#[ignore = "make live-all"]
fn mod_wsgi_embedded() -> anyhow::Result<()> {
    agrees(&ModWsgi::embedded(1, 5))
}

/// Behind a front end of the target, each request that was answered counts once, for as long as it slept at
/// least, and for no longer than its client waited.
fn counts_each_once(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Server::start(recipe)?;
    let trace = Trace::start_with(server.pid(), &["--light"])?;
    let begun = Instant::now();
    let options = ["--requests", "60", "--seconds", "30", "--clients", "2", "--routes", "/sleep/20"];
    let sent = Load::run(server.address(), &options)?;
    let waited_ns = 2 * u64::try_from(begun.elapsed().as_nanos())?;
    let traced = trace.end()?;
    let (completed, open) = (traced.number("/requests/completed")?, traced.number("/requests/open")?);
    let request_ns = traced.number("/requests/time_in_requests_ns")?;
    let asked = u64::try_from(sent.answered())?;
    ensure!((completed, open) == (asked, 0), "{completed} and {open} open, of {asked}");
    let bounds = asked * 20_000_000..=waited_ns;
    ensure!(bounds.contains(&request_ns), "{request_ns} ns of {bounds:?}");
    Ok(())
}

#[test]
fn mod_wsgi_s_daemon_behind_apache_has_each_request_once() -> anyhow::Result<()> {
    counts_each_once(&ModWsgi::daemon(2, 2))
}

#[test]
#[ignore = "make live-all"]
fn uwsgi_behind_its_router_has_each_request_once() -> anyhow::Result<()> {
    counts_each_once(&Uwsgi::new(2, 2).routed())
}

mod gaps {
    use super::{Waitress, agrees};

    /// 0.6 to 1.4 % of the time are unexplained that a full trace names: where its loop sends what a thread
    /// has made, nothing shows which thread that was. Nor does a full trace count there what a thread
    /// asks of back ends: light mode alone has its waits by port.
    #[test]
    #[ignore = "make live-all gaps"]
    fn waitress() -> anyhow::Result<()> {
        agrees(&Waitress { threads: 4 })
    }
}
