//! What the application knows of its own work: each request of the `/truth` routes does one thing, timed by
//! the thread that does it.
//!
//! In: a window. Out: verdicts: the phase that is that thing has its time, from both sides, at the median,
//! p90 and p99 of each kind.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::intervals::{Between, Intervals, Pair};
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::trace::TracedRequest;
use wsgi_trace_test_support::witness::Witness;

use crate::window::Window;

/// What clients ask for beside the other routes, where the application is `demo_app` and one thread serves a
/// request.
pub(crate) const ROUTES: &str =
    "/truth/sleep/8=2,/truth/backend/12=2,/truth/lock/6=2,/truth/cpu/4=2,/truth/file=2";
/// What is shown one by one.
const FAR_NS: u64 = 2_000_000;
/// How many requests that makes more.
pub(crate) const REQUESTS: u32 = 200;

/// The phase of each kind of work has the time that the application's clocks say.
pub(crate) fn phases_are_those_of_the_work(recipe: &dyn Recipe, window: &Window) -> anyhow::Result<()> {
    let between = window.between(recipe)?;
    let compared = compared(recipe, window, |witness, _| witness.kind.clone())?;
    ensure!(
        compared.kinds.len() == 5 && compared.kinds.values().all(|count| *count >= 10),
        "too few of a kind: {:?}",
        compared.kinds
    );
    let wrong = compared.intervals.wrong(between);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Each piece of work by both clocks.
#[derive(Default)]
pub(crate) struct Compared {
    /// By kind, at least and at most.
    pub(crate) intervals: Intervals,
    /// By kind, where other threads' waits for a CPU excuse nothing.
    pub(crate) strict: Intervals,
    /// By kind, as if nobody had waited for the interpreter lock at the end of a sleep, but where who had it
    /// had no CPU.
    pub(crate) asleep: Intervals,
    /// How many of each.
    pub(crate) kinds: BTreeMap<String, usize>,
}

/// Each piece of work that the application noted beside the phase that it is, by kinds of the caller's
/// choice.
pub(crate) fn compared(
    recipe: &dyn Recipe,
    window: &Window,
    kind_of: impl Fn(&Witness, &TracedRequest) -> String,
) -> anyhow::Result<Compared> {
    let between = window.between(recipe)?;
    let ours: BTreeMap<u64, &TracedRequest> =
        window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let undecided_ns = window.traced.undecided_ns()?;
    let beside_ns = beside_work_ns(window, &ours)?;
    let mut compared = Compared::default();
    for witness in &window.witnesses {
        let request = ours.get(&witness.id.parse()?).context("a request of the application is missing")?;
        let kind = kind_of(witness, request);
        let (ours_ns, (least_ns, most_ns)) = claim(witness, request, between, beside_ns)?;
        // A wait whose end the kernel did not show is unexplained instead, and counted.
        let untold_ns = request.phase_ns("unexplained").min(undecided_ns);
        let nearest_ns = ours_ns.clamp(least_ns.saturating_sub(untold_ns), most_ns);
        // Its own waits for a CPU its clocks have apart; while another has the GIL and no CPU it sleeps.
        let others: Vec<u32> =
            window.threads_about(recipe, request)?.into_iter().filter(|tid| *tid != witness.tid).collect();
        let within_ns = witness.start_ns..witness.end_ns;
        let without_cpu_ns = if recipe.shares_gil() { window.waits.of_any(&others, &within_ns) } else { 0 };
        let waits = witness.calls.max(1);
        let pair = Pair { ours_ns, theirs_ns: nearest_ns, without_cpu_ns, waits };
        // One that is far off says more than its kind's figures.
        if pair.error_ns() > FAR_NS {
            eprintln!("  {kind}: {ours_ns} ns, not {least_ns} to {most_ns}: {witness:?} {request:?}");
        }
        compared.intervals.add(&kind, pair);
        compared.strict.add(&kind, Pair { without_cpu_ns: 0, ..pair });
        let without_cpu_ns = without_cpu_ns.min(request.phase_ns("gil_wait"));
        compared.asleep.add(&kind, Pair { theirs_ns: witness.asleep_ns(), without_cpu_ns, ..pair });
        *compared.kinds.entry(kind).or_default() += 1;
    }
    Ok(compared)
}

/// CPU time of a request's server beside the application's work, in ns, at the ninth of ten: of requests
/// whose work is to wait, in the same run. Parsing, answering and logging cost those that compute as much.
/// How many heads that is differs between CPUs (30 to 60).
fn beside_work_ns(window: &Window, ours: &BTreeMap<u64, &TracedRequest>) -> anyhow::Result<u64> {
    let mut beside_ns = Vec::new();
    for witness in window.witnesses.iter().filter(|witness| witness.kind != "cpu") {
        let request = ours.get(&witness.id.parse()?).context("a request of the application is missing")?;
        beside_ns.push(request.phase_ns("cpu").saturating_sub(witness.cpu_ns));
    }
    beside_ns.sort_unstable();
    let count = beside_ns.len();
    beside_ns.get(count * 9 / 10).copied().context("no request waited")
}

/// The phase that is it, and how long that was at least and at most, in ns.
fn claim(
    witness: &Witness,
    request: &TracedRequest,
    between: Between,
    beside_ns: u64,
) -> anyhow::Result<(u64, (u64, u64))> {
    let asleep_ns = witness.asleep_ns();
    // Who sleeps without the GIL wants it again at the end: that wait is a phase of its own, and it slept for
    // the rest.
    let slept = |phase: &str| {
        let least_ns = asleep_ns.saturating_sub(request.phase_ns("gil_wait"));
        // The kernel counts some sleep as a wait for a CPU, where it moves the thread meanwhile (Linux 6.12
        // on).
        (request.phase_ns(phase), (least_ns, witness.wall_ns.saturating_sub(witness.cpu_ns)))
    };
    match witness.kind.as_str() {
        "sleep" => Ok(slept("sleep")),
        "backend" => Ok(slept("backend_wait")),
        "lock" => Ok(slept("lock_wait")),
        "file" => Ok(slept("file_wait")),
        // The server's own code is part of it, and what a hypervisor took is on our clock alone.
        "cpu" => {
            let most_ns = witness.cpu_ns + beside_ns + between.stolen_ns;
            Ok((request.phase_ns("cpu"), (witness.cpu_ns, most_ns)))
        }
        other => anyhow::bail!("no such kind of work: {other}"),
    }
}
