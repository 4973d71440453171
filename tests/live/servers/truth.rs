//! The one comparison that every server is put to.
//!
//! In: a recipe. Out: a verdict: the same requests as the witness's, the same interval, slots as configured,
//! nearly nothing unexplained, thread accounts as the kernel's.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::intervals::{Intervals, Pair, kind};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Line, Recipe};
use wsgi_trace_test_support::switches::Times;
use wsgi_trace_test_support::trace::{Traced, TracedRequest};

use crate::window::{Window, window_around};
use crate::work;

const REQUESTS: u32 = 300;
const ROUTES: &str = "/fast=4,/cpu=2,/backend,/stream,/empty,/unchanged,/missing,/mixed=2,/error,/sleep/5";

/// A thread that runs as its `schedstat` is read has run for longer than the kernel has counted, by up to a
/// tick. Of accounts of a few milliseconds that is more than a hundredth. Such accounts are all that is left
/// where the workers that served have ended.
const READING_NS: u64 = 1_000_000;

/// Something more that a window is put to.
pub(crate) type Check<'a> = &'a dyn Fn(&Window) -> anyhow::Result<()>;

/// A window around the load that all servers get.
fn window(recipe: &dyn Recipe, asks_work: bool) -> anyhow::Result<Window> {
    let clients = recipe.clients();
    let mut routes =
        if recipe.answers_exceptions() { ROUTES.to_owned() } else { ROUTES.replace("/error,", "") };
    let mut requests = REQUESTS;
    if asks_work {
        routes = format!("{routes},{}", work::ROUTES);
        requests += work::REQUESTS;
    }
    let requests = requests.to_string();
    // Loops share the connections out among themselves. Each has as many clients as one by itself, so that
    // none is woken rarely: what it does after a pause takes twice as long on some processors.
    let number = (3 * recipe.loops()).to_string();
    let options = [
        &["--requests", &requests, "--seconds", "30", "--clients", &number, "--routes", &routes][..],
        &["--kinds", clients.kinds, "--keep-alive", clients.keep_alive],
    ]
    .concat();
    window_around(recipe, &options)
}

/// Puts one server to the test.
pub(crate) fn requests_agree_with_the_witness(recipe: &dyn Recipe) -> anyhow::Result<()> {
    agrees(recipe, &[])
}

/// Puts one server to the test, but for what the application knows of its own work.
pub(crate) fn requests_agree_but_for_their_work(recipe: &dyn Recipe) -> anyhow::Result<()> {
    put(recipe, false, &[])
}

/// Puts one server to the test by what the application knows of its own work; its witness does not know the
/// length of requests.
pub(crate) fn work_agrees_with_the_witness(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let window = window(recipe, true)?;
    eprintln!("{}: {} requests", recipe.about(), window.traced.requests.len());
    every_request_is_seen_once(&window)?;
    window.traced.lost_nothing()?;
    little_is_unexplained(recipe, &window.traced)?;
    accounts_agree(&window)?;
    work::phases_are_those_of_the_work(recipe, &window)
}

/// Puts one server to the test with these checks, but without lengths: where a quota stops a thread between
/// two clocks, these differ by that.
pub(crate) fn accounts_agree_under_a_quota(recipe: &dyn Recipe, checks: &[Check<'_>]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let window = window(recipe, false)?;
    eprintln!("{}: {} requests", recipe.about(), window.traced.requests.len());
    every_request_is_seen_once(&window)?;
    window.traced.lost_nothing()?;
    slots_are_as_configured(recipe, &window.traced)?;
    little_is_unexplained(recipe, &window.traced)?;
    accounts_agree(&window)?;
    checks.iter().try_for_each(|check| check(&window))
}

/// Puts one server to the test, with these checks as well.
pub(crate) fn agrees(recipe: &dyn Recipe, checks: &[Check<'_>]) -> anyhow::Result<()> {
    put(recipe, recipe.knows_its_work(), checks)
}

fn put(recipe: &dyn Recipe, asks_work: bool, checks: &[Check<'_>]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let window = window(recipe, asks_work)?;
    eprintln!("{}: {} requests", recipe.about(), window.traced.requests.len());
    // All of them before the verdict: one that fails says more beside the others.
    let outcomes = [
        every_request_is_seen_once(&window),
        window.traced.lost_nothing(),
        intervals_agree(recipe, &window),
        slots_are_as_configured(recipe, &window.traced),
        little_is_unexplained(recipe, &window.traced),
        accounts_agree(&window),
    ];
    let work = if asks_work { work::phases_are_those_of_the_work(recipe, &window) } else { Ok(()) };
    let more = checks.iter().map(|check| check(&window));
    let wrong: Vec<String> = outcomes
        .into_iter()
        .chain([work])
        .chain(more)
        .filter_map(Result::err)
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(wrong.is_empty(), "{}: {}", recipe.about(), wrong.join("\n"));
    Ok(())
}

/// Each line of the log is one of ours with the same method, path and status, and so is each request that was
/// answered; and nobody asked for more. What the witness logged and its client never got may have no status.
/// An exception may end the connection, so that neither it nor what came after it on the connection is
/// answered.
pub(crate) fn every_request_is_seen_once(window: &Window) -> anyhow::Result<()> {
    ensure!(window.sent.answered() >= 250, "only {} answers", window.sent.answered());
    each_request_is_seen_once(window)
}

/// Each request is seen once, as in [`every_request_is_seen_once`], however few there are.
pub(crate) fn each_request_is_seen_once(window: &Window) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    let mut ours: BTreeMap<u64, Vec<&TracedRequest>> = BTreeMap::new();
    for request in &window.traced.requests {
        match request.id() {
            Some(id) => ours.entry(id).or_default().push(request),
            None => wrong.push(format!("nobody asked for {request:?}")),
        }
    }
    let mut logged: BTreeMap<u64, Vec<&Line>> = BTreeMap::new();
    for line in &window.log {
        logged.entry(line.id().with_context(|| format!("{line:?}"))?).or_default().push(line);
    }
    for sent in &window.sent.requests {
        let seen = ours.remove(&sent.id).unwrap_or_default();
        let lines = logged.remove(&sent.id).unwrap_or_default();
        let same = |request: &TracedRequest| {
            request.method.as_deref() == Some(&sent.method)
                && request.path() == sent.path
                && request.status == sent.status
                && !(request.open || request.truncated || request.lossy)
        };
        let is_logged = |line: &Line| {
            line.method == sent.method && line.path == sent.path && Some(line.status) == sent.status
        };
        let right = match (seen.as_slice(), lines.as_slice(), sent.status) {
            ([request], [line], Some(_)) => same(request) && is_logged(line),
            ([request], [_], None) => request.status.is_none(),
            ([] | [_], [], None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("sent {sent:?}\n  reported {seen:?}\n  logged {lines:?}"));
        }
    }
    wrong.extend(ours.values().flatten().map(|request| format!("nobody asked for {request:?}")));
    ensure!(
        wrong.is_empty(),
        "{} wrong, the first:\n{}",
        wrong.len(),
        wrong.get(..wrong.len().min(4)).unwrap_or_default().join("\n")
    );
    Ok(())
}

/// Each kind of request is as long by our account as by the witness's, but for what the server does between
/// the two clocks.
fn intervals_agree(recipe: &dyn Recipe, window: &Window) -> anyhow::Result<()> {
    let ours: BTreeMap<u64, &TracedRequest> =
        window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let mut intervals = Intervals::default();
    for line in &window.log {
        let (Some(id), Some(theirs_ns)) = (line.id(), line.duration_ns) else { continue };
        let Some(request) = ours.get(&id) else { continue };
        let Some(ours_ns) = recipe.logged_ns(request) else { continue };
        let threads = window.threads_about(recipe, request)?;
        intervals.add(kind(&line.path), Pair::of(request, (ours_ns, theirs_ns), (&window.waits, &threads)));
    }
    ensure!(intervals.count() >= 250, "only {} requests can be compared", intervals.count());
    let wrong = intervals.wrong(window.between(recipe)?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

pub(crate) fn slots_are_as_configured(recipe: &dyn Recipe, traced: &Traced) -> anyhow::Result<()> {
    let server = traced.value("/target/server")?;
    eprintln!("  {server}");
    ensure!(traced.value("/target/server/name")?.as_str() == Some(recipe.name()), "not recognised: {server}");
    let configured = traced.value("/slots/configured")?.as_u64();
    let observed = traced.value("/slots/observed")?;
    eprintln!("  slots: configured {configured:?}, observed {observed}");
    ensure!(configured == recipe.slots(), "{configured:?} slots, not {:?}", recipe.slots());
    waits_for_work_are_free(traced)
}

/// A slot that waits for its next request is free, however it waits. What it does between requests (its log,
/// accepting, the witness) is work as far as it runs or is ready to. Only what it slept may have been such a
/// wait. Event loops do not wait but for events.
fn waits_for_work_are_free(traced: &Traced) -> anyhow::Result<()> {
    let list =
        |pointer: &str| traced.value(pointer)?.as_array().with_context(|| format!("{pointer} is no list"));
    let number = |value: &serde_json::Value, key: &str| value.get(key).and_then(serde_json::Value::as_u64);
    let is_loop =
        |slot: &serde_json::Value| slot.get("is_event_loop") == Some(&serde_json::Value::Bool(true));
    let slots: Vec<_> = list("/slots/list")?.iter().filter(|slot| !is_loop(slot)).collect();
    let tids: Vec<_> = slots.iter().filter_map(|slot| number(slot, "tid")).collect();
    let threads =
        list("/processes")?.iter().filter_map(|process| process.get("threads")?.as_array()).flatten();
    let of_slots = threads.filter(|thread| number(thread, "tid").is_some_and(|tid| tids.contains(&tid)));
    let awake_ns: u64 = of_slots
        .map(|thread| number(thread, "cpu_ns").unwrap_or(0) + number(thread, "run_queue_ns").unwrap_or(0))
        .sum();
    let awake = ["cpu", "run_queue", "read_head", "read_body", "write"];
    let in_requests_ns: u64 =
        traced.requests.iter().flat_map(|request| awake.map(|phase| request.phase_ns(phase))).sum();
    let held = |slot: &serde_json::Value| number(slot.get("held")?, "housekeeping_ns");
    let chores_ns: u64 = slots.iter().filter_map(|slot| held(slot)).sum();
    let capacity_ns = traced.number("/slots/capacity_ns")?;
    let asleep_ns = chores_ns.saturating_sub(awake_ns.saturating_sub(in_requests_ns));
    eprintln!(
        "  beside requests slots were held for {:.1} of {:.1} ms, asleep for {:.1} of these",
        chores_ns as f64 / 1e6,
        capacity_ns as f64 / 1e6,
        asleep_ns as f64 / 1e6
    );
    ensure!(asleep_ns <= capacity_ns / 10, "slots that wait for work count as busy");
    Ok(())
}

pub(crate) fn little_is_unexplained(recipe: &dyn Recipe, traced: &Traced) -> anyhow::Result<()> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for request in &traced.requests {
        for (phase, duration_ns) in &request.phases {
            *sums.entry(phase).or_default() += duration_ns.unwrap_or(0);
        }
    }
    let total_ns: u64 = sums.values().sum();
    let unexplained_ns = sums.get("unexplained").copied().unwrap_or(0);
    let undecided_ns = traced.undecided_ns()?;
    let share = unexplained_ns.saturating_sub(undecided_ns) as f64 / total_ns.max(1) as f64;
    let phases: Vec<String> = sums
        .iter()
        .filter(|(_, sum_ns)| **sum_ns > 0)
        .map(|(phase, sum_ns)| format!("{phase} {:.1} ms", *sum_ns as f64 / 1e6))
        .collect();
    let undecided_ms = undecided_ns as f64 / 1e6;
    eprintln!("  unexplained {:.3} %, {undecided_ms:.1} ms undecided ({})", share * 100.0, phases.join(", "));
    ensure!(share <= recipe.unexplained(), "too much is unexplained");
    Ok(())
}

/// What the kernel's tracer shows of the threads whose accounts the program compares (those that have not
/// ended), in ns; and how many they are. One that waited for a CPU since before its account began is not
/// compared, and the report does not say which one.
fn shown(window: &Window) -> anyhow::Result<(Times, u64)> {
    let processes = window.traced.value("/processes")?.as_array().context("no list of processes")?;
    let threads = processes.iter().filter_map(|process| process.get("threads")?.as_array()).flatten();
    let tids = threads.filter_map(|thread| u32::try_from(thread.get("tid")?.as_u64()?).ok());
    let times = tids.filter_map(|tid| window.switches.get(&tid)).filter(|times| !times.ended);
    Ok(times.fold((Times::default(), 0), |(sum, count), times| (sum.plus(*times), count + 1)))
}

/// Our accounts are the kernel's, but for what its tracer shows of the clock that the kernel takes.
fn accounts_agree(window: &Window) -> anyhow::Result<()> {
    let law = |name: &str| window.traced.number(&format!("/losses/conservation/{name}"));
    let (shown, threads) = shown(window)?;
    let (cpu_ns, run_queue_ns) = (law("cpu_ns")?, law("run_queue_ns")?);
    let kernel_cpu_ns = shown.kernel_cpu_ns(cpu_ns);
    // What a hypervisor takes the kernel counts as no CPU time, and it is no wait.
    let doubt_ns = law("stolen_ns")? + window.traced.undecided_ns()?;
    eprintln!(
        "  counted {:+.2} ms, by the clock {:+.2} ms; {:.2} ms of wakeups, {:.2} ms of falling asleep, {:.2} ms of switches not shown, {:.1} ms moved asleep, {:.1} ms stolen or undecided",
        (kernel_cpu_ns as f64 - cpu_ns as f64) / 1e6,
        shown.clock_ns as f64 / 1e6,
        shown.waking_ns as f64 / 1e6,
        shown.falling_asleep_ns as f64 / 1e6,
        shown.unseen_ns as f64 / 1e6,
        shown.moved_asleep_ns as f64 / 1e6,
        doubt_ns as f64 / 1e6,
    );
    for (what, ours_ns, theirs_ns, expected_ns) in [
        ("CPU", cpu_ns, law("kernel_cpu_ns")?, (kernel_cpu_ns, kernel_cpu_ns)),
        ("run queue", run_queue_ns, law("kernel_run_queue_ns")?, shown.kernel_run_queue_ns(run_queue_ns)),
    ] {
        let allowed_ns = (theirs_ns / 100).max(READING_NS) + doubt_ns;
        let least_ns = expected_ns.0.saturating_sub(allowed_ns);
        let most_ns = expected_ns.1 + allowed_ns;
        eprintln!(
            "  {what} {:.2} ms, schedstat {:.2} ms: {:+.2} %, of {:.2} to {:.2} ms by its clock",
            ours_ns as f64 / 1e6,
            theirs_ns as f64 / 1e6,
            (ours_ns as f64 / theirs_ns.max(1) as f64 - 1.0) * 100.0,
            expected_ns.0 as f64 / 1e6,
            expected_ns.1 as f64 / 1e6,
        );
        ensure!(
            (least_ns..=most_ns).contains(&theirs_ns),
            "{what}: {ours_ns} against {theirs_ns} ns, not {least_ns} to {most_ns}"
        );
    }
    // Stretches of which the tracer does not show both ends within the window are left out there. The others
    // have within them what a hypervisor took, which the kernel does not count as CPU time.
    let compared = law("threads_compared")?;
    if compared < threads {
        eprintln!("  {compared} of {threads} threads that the tracer shows were compared");
    }
    ensure!(
        compared < threads || shown.cpu_ns <= cpu_ns + cpu_ns / 100 + doubt_ns,
        "the tracer shows {} ns of CPU time, we have {cpu_ns}",
        shown.cpu_ns
    );
    Ok(())
}
