//! What light mode says a thread slept for, against the clocks of the application and of its clients. No
//! system call is hooked.
//!
//! In: gunicorn's threads under work of one kind a request, and slow clients. Out: verdicts: the phase that
//! is that work has its time.

use std::collections::BTreeMap;

use anyhow::Context as _;
use wsgi_trace_test_support::gate::{exclusive, shared, skip};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::intervals::{Between, Intervals, Pair};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Recipe as _;
use wsgi_trace_test_support::switches::Switches;
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest, report_on};
use wsgi_trace_test_support::witness::Witness;
use wsgi_trace_test_support::yardstick::Yardstick;

/// One client: the server's requests are the application's witnesses in the order in which they came.
const LOAD: &[&str] = &[
    "--requests",
    "150",
    "--seconds",
    "30",
    "--clients",
    "1",
    "--routes",
    "/truth/sleep/8,/truth/backend/12,/truth/lock/6,/truth/file",
];
/// The phase that each kind of work is.
const PHASE_OF: [(&str, &str); 4] =
    [("sleep", "sleep"), ("backend", "backend_wait"), ("lock", "lock_wait"), ("file", "file_wait")];

/// The requests, each with what the application noted of it.
fn witnessed<'a>(
    traced: &'a Traced,
    witnesses: &'a [Witness],
) -> anyhow::Result<Vec<(&'a TracedRequest, &'a Witness)>> {
    let mut witnesses: Vec<&Witness> = witnesses.iter().collect();
    witnesses.sort_by_key(|witness| witness.start_ns);
    witnesses
        .into_iter()
        .map(|witness| {
            let is_its = |request: &&TracedRequest| {
                let end_ns = request.start_ns + request.total_ns;
                request.tid == witness.tid && (request.start_ns..end_ns).contains(&witness.start_ns)
            };
            let request = traced.requests.iter().find(is_its);
            Ok((request.with_context(|| format!("no request of {witness:?}"))?, witness))
        })
        .collect()
}

fn phases_add_up(traced: &Traced) -> anyhow::Result<()> {
    for request in &traced.requests {
        let phases_ns: u64 = request.phases.values().flatten().sum();
        assert_eq!(phases_ns, request.total_ns, "{request:?}");
    }
    assert_eq!(traced.value("/tool/hooks")?, "light");
    assert_eq!(traced.number("/losses/conservation/requests_broken")?, 0);
    assert_eq!(traced.number("/losses/conservation/slices_broken")?, 0);
    assert_eq!(traced.number("/losses/malformed")?, 0);
    assert_eq!(report_on(&traced.recording, "ndjson")?.stdout, traced.ndjson, "live and from the recording");
    Ok(())
}

fn sleeps_have_the_phase_of_their_work(settings: &Settings) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let switches = Switches::start()?;
    let server = Gunicorn::start(settings)?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    let yardstick = Yardstick::start()?;
    let sent = Load::run(server.address(), &[LOAD, &["--keep-alive", "5"]].concat())?;
    server.access_log(sent.answered())?;
    let speed = yardstick.end()?;
    let waits = switches.stop()?.waits();
    let witnesses = server.witness()?;
    let traced = trace.end()?;
    phases_add_up(&traced)?;

    let undecided_ns = traced.undecided_ns()?;
    let mut intervals = Intervals::default();
    let mut sums: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for (request, witness) in witnessed(&traced, &witnesses)? {
        let named = PHASE_OF.iter().find(|(kind, _)| *kind == witness.kind);
        let (kind, phase) = *named.with_context(|| format!("no such kind: {witness:?}"))?;
        let ours_ns = request.phase_ns(phase);
        // Who sleeps without the GIL wants it again at the end: that wait is a phase of its own.
        let least_ns = witness.asleep_ns().saturating_sub(request.phase_ns("gil_wait"));
        let most_ns = witness.wall_ns.saturating_sub(witness.cpu_ns);
        // A wait whose end the kernel did not show is unexplained instead, and counted.
        // So is a wait to close a file: no descriptor says any more what it was.
        let closing_ns = witness.until_ns.map_or(0, |until_ns| witness.end_ns.saturating_sub(until_ns));
        let untold_ns = request.phase_ns("unexplained").min(undecided_ns + closing_ns);
        let theirs_ns = ours_ns.clamp(least_ns.saturating_sub(untold_ns), most_ns);
        let within_ns = witness.start_ns..witness.end_ns;
        let without_cpu_ns = waits.of_any(&traced.threads_of(request.pid)?, &within_ns);
        intervals.add(kind, Pair { ours_ns, theirs_ns, without_cpu_ns, waits: 1 });
        let sum = sums.entry(kind).or_default();
        *sum = (sum.0 + ours_ns, sum.1 + theirs_ns, sum.2 + 1);
    }
    for (kind, (ours_ns, theirs_ns, count)) in &sums {
        let error = (*ours_ns as f64 / (*theirs_ns).max(1) as f64 - 1.0) * 100.0;
        eprintln!("{kind}: {count} requests, {ours_ns} ns, by the application {theirs_ns} ns, {error:+.2} %");
    }
    assert!(sums.len() == PHASE_OF.len() && sums.values().all(|(_, _, count)| *count >= 20), "{sums:?}");
    let between = Between {
        speed,
        is_woken_rarely: false,
        resolution_ns: 1,
        shares_gil: settings.shares_gil(),
        stolen_ns: traced.number("/losses/conservation/stolen_ns")?,
    };
    let wrong = intervals.wrong(between);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn light_mode_names_what_threads_sleep_for() -> anyhow::Result<()> {
    sleeps_have_the_phase_of_their_work(&Settings::gthread(Version::V27, 1, 4))
}

#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn light_mode_names_what_sync_workers_sleep_for() -> anyhow::Result<()> {
    sleeps_have_the_phase_of_their_work(&Settings::sync(Version::V23, 1))
}

/// One slow client; the phase is its time by another clock.
fn a_stall_is_its_clients(options: &[&str], phase: &str, by_log: bool) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    let sent = Load::run(server.address(), &[options, &["--clients", "0", "--requests", "1"]].concat())?;
    let sent = sent.requests.first().context("nothing was sent")?;
    let log = server.access_log(1)?;
    let traced = trace.end()?;
    phases_add_up(&traced)?;
    let request = traced.requests.first().context("the request is missing")?;
    // The client cannot see when the server's last bytes went into the socket's buffer; the server's log
    // does.
    let logged_ns = log.first().context("no line")?.duration_us * 1000;
    let theirs_ns = if by_log { logged_ns } else { sent.end_ns - sent.sent_ns };
    let unshown_ns = request.phase_ns("unexplained").min(traced.undecided_ns()?);
    let ours_ns = request.phase_ns(phase) + unshown_ns;
    let error = (ours_ns as f64 / theirs_ns as f64 - 1.0).abs();
    eprintln!("{phase}: {ours_ns} ns, by the other clock {theirs_ns} ns: {:.2} % apart", error * 100.0);
    assert!(error <= 0.05, "{ours_ns} ns against {theirs_ns} ns: {request:?}");
    Ok(())
}

#[test]
fn light_mode_charges_a_slow_body_to_its_client() -> anyhow::Result<()> {
    a_stall_is_its_clients(&["--slow-bodies", "1", "--slow-body-bytes", "2000"], "client_read_stall", false)
}

#[test]
fn light_mode_charges_a_slow_reader() -> anyhow::Result<()> {
    a_stall_is_its_clients(&["--slow-readers", "1", "--slow-read-seconds", "2.5"], "client_write_stall", true)
}

/// One thread keeps the GIL for 60 ms in C code; the other wants it 20 ms after that began.
#[test]
#[ignore = "make live: wants a machine that does nothing else"]
fn light_mode_names_a_wait_for_the_gil() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    let load = |route: &str| {
        let options = ["--requests", "10", "--seconds", "20", "--clients", "1", "--routes", route];
        Load::start(server.address(), &options)
    };
    let (wants, holds) = (load("/truth/want/20")?, load("/truth/hold/60")?);
    let answered = wants.finish()?.answered() + holds.finish()?.answered();
    server.access_log(answered)?;
    let witnesses = server.witness()?;
    let traced = trace.end()?;
    phases_add_up(&traced)?;
    let (mut ours_ns, mut theirs_ns) = (0, 0);
    for (request, witness) in witnessed(&traced, &witnesses)? {
        if witness.kind != "want" {
            continue;
        }
        // Awake at a moment fixed before, and back in Python at the end: the GIL is what it had to wait for.
        let waited_ns = witness.end_ns.saturating_sub(witness.until_ns.context("no moment")?);
        let gil_ns = request.phase_ns("gil_wait");
        eprintln!("gil_wait {gil_ns} ns, by the application {waited_ns} ns; {:?}", request.phases);
        assert!(waited_ns > 30_000_000, "nobody kept the GIL from it: {witness:?}");
        // Who got the GIL may still want for a CPU, and then runs to the end.
        let surely_ns = waited_ns.saturating_sub(witness.run_queue_ns + witness.cpu_ns);
        (ours_ns, theirs_ns) = (ours_ns + gil_ns, theirs_ns + gil_ns.clamp(surely_ns, waited_ns));
    }
    let error = (ours_ns as f64 / theirs_ns.max(1) as f64 - 1.0).abs();
    assert!(error <= 0.03, "{ours_ns} ns against {theirs_ns} ns: {:.2} %", error * 100.0);
    Ok(())
}

/// A call of the 32-bit table has a number that means something else in ours: here nanosleep's is that of
/// sync.
#[test]
fn light_mode_does_not_misread_32_bit_calls() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    // A kernel without that table has no such setting, and would kill the server.
    if !std::path::Path::new("/proc/sys/abi/vsyscall32").exists() {
        skip("this kernel has no 32-bit system calls");
        return Ok(());
    }
    let _turn = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let trace = Trace::start_with(server.master(), &["--light"])?;
    let options = ["--requests", "10", "--seconds", "20", "--clients", "1", "--routes", "/truth/sleep32/20"];
    let sent = Load::run(server.address(), &options)?;
    server.access_log(sent.answered())?;
    let witnesses = server.witness()?;
    let traced = trace.end()?;
    phases_add_up(&traced)?;
    for (request, witness) in witnessed(&traced, &witnesses)? {
        // The call lasts that long at least, and its thread computes until it sleeps: the timer runs by then.
        // The scheduler's own account of the sleep is no witness: Linux has counted one as a wait for
        // a CPU.
        assert!(witness.wall_ns >= 20_000_000, "{witness:?}");
        let asleep_ns = 20_000_000_u64.saturating_sub(witness.cpu_ns);
        assert!(request.phase_ns("unexplained") >= asleep_ns, "{asleep_ns}: {request:?}");
        assert!(request.phase_ns("sleep") + request.phase_ns("file_wait") < 1_000_000, "{request:?}");
    }
    Ok(())
}
