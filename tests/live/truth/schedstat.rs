//! Thread accounts against the kernel's own.
//!
//! In: servers that are busy for a few seconds. Out: verdicts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::steal::stolen_ns;
use wsgi_trace_test_support::switches::{Switches, Times};
use wsgi_trace_test_support::trace::Trace;

/// CPU time and run queue of each live thread of some processes, as the kernel counts them.
type Accounts = BTreeMap<u32, (u64, u64)>;

/// Of all threads of these processes.
pub(crate) fn schedstat(pids: &[u32]) -> anyhow::Result<Accounts> {
    let mut threads = BTreeMap::new();
    for pid in pids {
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let text = std::fs::read_to_string(entry.path().join("schedstat"))?;
            let mut numbers = text.split(' ').map(str::parse::<u64>);
            let cpu_ns = numbers.next().context("no CPU time")??;
            let run_queue_ns = numbers.next().context("no run queue")??;
            threads.insert(entry.file_name().to_string_lossy().parse()?, (cpu_ns, run_queue_ns));
        }
    }
    Ok(threads)
}

/// What all threads gained between two readings; a thread that was born meanwhile began with nothing.
pub(crate) fn gained(before: &Accounts, after: &Accounts) -> (u64, u64) {
    after.iter().fold((0, 0), |sum, (tid, now)| {
        let then = before.get(tid).copied().unwrap_or_default();
        (sum.0 + now.0.saturating_sub(then.0), sum.1 + now.1.saturating_sub(then.1))
    })
}

/// Our sums are within 1 % of the kernel's over the same time, on a server that computes. The kernel takes
/// the clock of a switch some microseconds before the switch (at a wakeup that preempts). By how much its
/// account differs for that is what its tracer shows. The kernel's are read by the program at both ends of
/// the window. That it read them truly is shown by readings of our own, just outside and just inside of
/// those.
#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn thread_accounts_agree_with_schedstat() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    for settings in [Settings::sync(Version::V27, 4), Settings::gthread(Version::V27, 2, 4)] {
        let switches = Switches::start()?;
        let server = Gunicorn::start(&settings)?;
        let mut pids = server.worker_pids();
        pids.push(server.master());
        let stolen_before_ns = stolen_ns()?;
        let outside = schedstat(&pids)?;
        let trace = Trace::start(server.master())?;
        let inside = schedstat(&pids)?;
        let load = ["--requests", "500", "--seconds", "4", "--clients", "8", "--routes", "/cpu"];
        let sent = Load::run(server.address(), &load)?;
        server.access_log(sent.answered())?;
        let inner = gained(&inside, &schedstat(&pids)?);
        let traced = trace.end()?;
        let outer = gained(&outside, &schedstat(&pids)?);
        let stolen_ns = stolen_ns()? - stolen_before_ns;
        let window_ns = traced.number("/window/start_ns")?..traced.number("/window/end_ns")?;
        let shown = switches.end(window_ns)?;
        let tids = outside.keys().chain(inside.keys()).collect::<BTreeSet<_>>().into_iter();
        let shown =
            tids.filter_map(|tid| shown.get(tid)).fold(Times::default(), |sum, times| sum.plus(*times));

        let undecided_ns = traced.undecided_ns()?;
        let reported = |name: &str| traced.number(&format!("/losses/conservation/{name}"));
        let (cpu_ns, run_queue_ns) = (reported("cpu_ns")?, reported("run_queue_ns")?);
        let kernel_cpu_ns = shown.kernel_cpu_ns(cpu_ns);
        // From Linux 6.12 on the kernel adds the rest of a sleep in which it moved the thread to another CPU.
        assert!(shown.moved_asleep_ns < run_queue_ns / 2, "{shown:?}: nothing to compare");
        for (what, ours_ns, theirs_ns, bounds, expected_ns, allowed_ns) in [
            // On the clock a thread is on a CPU also while the hypervisor has taken it; the kernel does not
            // count that.
            (
                "CPU",
                cpu_ns,
                reported("kernel_cpu_ns")?,
                (inner.0, outer.0),
                (kernel_cpu_ns, kernel_cpu_ns),
                stolen_ns + undecided_ns,
            ),
            (
                "run queue",
                run_queue_ns,
                reported("kernel_run_queue_ns")?,
                (inner.1, outer.1),
                shown.kernel_run_queue_ns(run_queue_ns),
                undecided_ns,
            ),
        ] {
            let class = &settings.worker_class;
            let said = format!(
                "{class}, {what}: {ours_ns} ns, by the kernel's clock {expected_ns:?}, schedstat {theirs_ns} ns, {allowed_ns} ns undecided or stolen"
            );
            eprintln!("{said}");
            assert!(
                bounds.0 <= theirs_ns && theirs_ns <= bounds.1,
                "{what}: {theirs_ns} is not within {bounds:?}"
            );
            let allowed_ns = theirs_ns / 100 + allowed_ns;
            let least_ns = expected_ns.0.saturating_sub(allowed_ns);
            assert!((least_ns..=expected_ns.1 + allowed_ns).contains(&theirs_ns), "{said}");
        }
    }
    Ok(())
}
