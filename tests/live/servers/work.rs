//! What the application knows of its own work: each request of the `/truth` routes does one thing, timed by the thread that does it.
//!
//! In: a window. Out: verdicts: the phase that is that thing has its time, from both sides, at the median, p90 and p99 of each kind.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_tests::intervals::{Between, Intervals, Pair};
use wsgi_trace_tests::server::Recipe;
use wsgi_trace_tests::trace::TracedRequest;
use wsgi_trace_tests::witness::Witness;

use crate::truth::Window;

/// What clients ask for beside the other routes, where the application is `demo_app` and one thread serves a request.
pub(crate) const ROUTES: &str =
    "/truth/sleep/8=2,/truth/backend/12=2,/truth/lock/6=2,/truth/cpu/4=2,/truth/file=2";
/// What is shown one by one.
const FAR_NS: u64 = 2_000_000;
/// How many requests that makes more.
pub(crate) const REQUESTS: u32 = 200;

/// The phase of each kind of work has the time that the application's clocks say.
pub(crate) fn phases_are_those_of_the_work(recipe: &dyn Recipe, window: &Window) -> anyhow::Result<()> {
    let between = window.between(recipe)?;
    let ours: BTreeMap<u64, &TracedRequest> =
        window.traced.requests.iter().filter_map(|request| Some((request.id()?, request))).collect();
    let undecided_ns = window.traced.undecided_ns()?;
    let mut intervals = Intervals::default();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for witness in &window.witnesses {
        let request = ours.get(&witness.id.parse()?).context("a request of the application is missing")?;
        let (kind, ours_ns, (least_ns, most_ns)) = claim(witness, request, between)?;
        // A wait whose end the kernel did not show is unexplained instead, and counted.
        let untold_ns = request.phase_ns("unexplained").min(undecided_ns);
        let nearest_ns = ours_ns.clamp(least_ns.saturating_sub(untold_ns), most_ns);
        // Its own waits for a CPU its clocks have apart; while another has the GIL and no CPU it sleeps.
        let others: Vec<u32> =
            window.threads_about(recipe, request)?.into_iter().filter(|tid| *tid != witness.tid).collect();
        let within_ns = witness.start_ns..witness.end_ns;
        let without_cpu_ns = if recipe.shares_gil() { window.waits.of_any(&others, &within_ns) } else { 0 };
        let pair = Pair { ours_ns, theirs_ns: nearest_ns, without_cpu_ns };
        // One that is far off says more than its kind's figures.
        if pair.error_ns() > FAR_NS {
            eprintln!("  {kind}: {ours_ns} ns, not {least_ns} to {most_ns}: {witness:?} {request:?}");
        }
        intervals.add(kind, pair);
        *kinds.entry(kind).or_default() += 1;
    }
    ensure!(kinds.len() == 5 && kinds.values().all(|count| *count >= 10), "too few of a kind: {kinds:?}");
    let wrong = intervals.wrong(between);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The kind of work, the phase that is it, and how long that was at least and at most, in ns.
fn claim(
    witness: &Witness,
    request: &TracedRequest,
    between: Between,
) -> anyhow::Result<(&'static str, u64, (u64, u64))> {
    let asleep_ns = witness.asleep_ns();
    // Who sleeps without the GIL wants it again at the end: that wait is a phase of its own, and it slept for the rest.
    let slept = |phase: &str| {
        let least_ns = asleep_ns.saturating_sub(request.phase_ns("gil_wait"));
        // The kernel counts some sleep as a wait for a CPU, where it moves the thread meanwhile (Linux 6.12 on).
        (request.phase_ns(phase), (least_ns, witness.wall_ns.saturating_sub(witness.cpu_ns)))
    };
    let of = |kind, (ours_ns, limits)| Ok((kind, ours_ns, limits));
    match witness.kind.as_str() {
        "sleep" => of("sleep", slept("sleep")),
        "backend" => of("backend", slept("backend_wait")),
        "lock" => of("lock", slept("lock_wait")),
        "file" => of("file", slept("file_wait")),
        // The server's own code is part of it, and what a hypervisor took is on our clock alone.
        "cpu" => {
            let most_ns = witness.cpu_ns + 36 * between.head_ns + between.stolen_ns;
            of("cpu", (request.phase_ns("cpu"), (witness.cpu_ns, most_ns)))
        }
        other => anyhow::bail!("no such kind of work: {other}"),
    }
}
