//! Who had the CPU while requests were ready for it, against the kernel's own accounts of who ran.
//!
//! In: servers on one CPU, alone, beside a program that computes, and with a quota. Out: verdicts. What the
//! machine does besides takes its share of that CPU: bounds rest on what these processes ran, not on time.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;
use serde::Deserialize;
use wsgi_trace_test_support::cgroup::CpuQuota;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

use crate::schedstat::{gained, schedstat};

/// Each request computes for 20 ms by its thread's clock.
const ROUTE: &str = "/steps/c20";
/// Name of the program beside the server.
const BESIDE: &str = "busy-beside";
/// By so much what is measured in two places may differ.
const OFF: f64 = 0.03;

/// A leaf of the report.
#[derive(Debug, Deserialize)]
struct Leaf {
    kind: String,
    taken_by: Option<String>,
    taken_by_name: Option<String>,
    held_ns: u64,
}

/// What the report says of a run, and what the kernel does.
struct Ran {
    leaves: Vec<Leaf>,
    /// Request time.
    request_ns: u64,
    /// From before the clients came to after they left.
    elapsed_ns: u64,
    /// CPU time of the server's processes, and time for which they waited for one.
    server_ns: (u64, u64),
    /// CPU time of the program beside them.
    beside_ns: u64,
    /// How long the quota stopped them.
    throttled_ns: u64,
}

impl Ran {
    /// Request time for which somebody had the CPU; `None`: not known who.
    fn taken_ns(&self, by: Option<&str>, name: Option<&str>) -> u64 {
        let is_one = |leaf: &&Leaf| {
            leaf.kind == "cpu_taken"
                && leaf.taken_by.as_deref() == by
                && (name.is_none() || leaf.taken_by_name.as_deref() == name)
        };
        self.leaves.iter().filter(is_one).map(|leaf| leaf.held_ns).sum()
    }

    fn unknown_ns(&self) -> u64 {
        let of_chain = self.leaves.iter().filter(|leaf| leaf.kind == "not_followed").map(|leaf| leaf.held_ns);
        self.taken_ns(None, None) + of_chain.sum::<u64>()
    }

    fn off_ns(&self) -> u64 {
        (self.elapsed_ns as f64 * OFF) as u64
    }

    fn told(&self) -> String {
        let taken = |by, name| self.taken_ns(by, name) / 1_000_000;
        format!(
            "request {}, thread {}, program {} (beside {}), quota {}, hypervisor {}, unknown {} ms; of {} ms of \
             requests in {} ms; the kernel: server {} and {}, beside {}, throttled {} ms",
            taken(Some("request"), None),
            taken(Some("thread"), None),
            taken(Some("program"), None),
            taken(Some("program"), Some(BESIDE)),
            taken(Some("quota"), None),
            taken(Some("hypervisor"), None),
            taken(None, None),
            self.request_ns / 1_000_000,
            self.elapsed_ns / 1_000_000,
            self.server_ns.0 / 1_000_000,
            self.server_ns.1 / 1_000_000,
            self.beside_ns / 1_000_000,
            self.throttled_ns / 1_000_000,
        )
    }
}

/// Keeps a process, or one thread, on one CPU.
fn pin(tid: u32) -> anyhow::Result<()> {
    // SAFETY: a set of CPUs is plain memory, and the call reads it alone.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(tid.cast_signed(), size_of::<libc::cpu_set_t>(), &raw const set)
    };
    ensure!(result == 0, "{tid} cannot be kept on a CPU");
    Ok(())
}

/// Runs a server on one CPU under so many clients.
fn run(
    recipe: &dyn Recipe,
    options: &[&str],
    (clients, is_beside, quota_cores): (u32, bool, Option<f64>),
) -> anyhow::Result<Ran> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(recipe)?;
    let mut pids = server.worker_pids();
    pids.push(server.pid());
    for tid in schedstat(&pids)?.into_keys() {
        pin(tid)?;
    }
    let quota = quota_cores.map(|cores| CpuQuota::around(&server, cores)).transpose()?;
    let throttled = || quota.as_ref().map_or(Ok(0.0), CpuQuota::throttled_seconds);
    let beside = if is_beside {
        let script = directory.path().join(BESIDE);
        std::fs::write(&script, "#!/bin/sh\nwhile :; do :; done\n")?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let child = Child::start(&mut Command::new(&script), BESIDE)?;
        pin(child.pid())?;
        Some(child)
    } else {
        None
    };
    let of_beside = || beside.as_ref().map_or(Ok(Default::default()), |child| schedstat(&[child.pid()]));
    let trace = Trace::start_with(server.pid(), options)?;
    let (begun, before, throttled_before) = (Instant::now(), of_beside()?, throttled()?);
    let server_before = schedstat(&pids)?;
    let clients = clients.to_string();
    Load::run(server.address(), &["--seconds", "6", "--clients", &clients, "--routes", ROUTE])?;
    let server_ns = gained(&server_before, &schedstat(&pids)?);
    let (beside_ns, _) = gained(&before, &of_beside()?);
    let throttled_ns = ((throttled()? - throttled_before) * 1e9) as u64;
    let elapsed_ns = u64::try_from(begun.elapsed().as_nanos())?;
    let traced = trace.end()?;
    let ran = Ran {
        leaves: serde_json::from_value(traced.value("/chains/leaves")?.clone())?,
        request_ns: traced.number("/chains/request_ns")?,
        elapsed_ns,
        server_ns,
        beside_ns,
        throttled_ns,
    };
    eprintln!("{}", ran.told());
    Ok(ran)
}

/// A program that computes on the server's CPU is named, for as long as it ran while a request was there.
fn a_program_is_named(recipe: &dyn Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let ran = run(recipe, options, (1, true, None))?;
    let held_ns = ran.taken_ns(Some("program"), Some(BESIDE));
    let without_request_ns = ran.elapsed_ns.saturating_sub(ran.request_ns);
    let least_ns = ran.beside_ns.saturating_sub(without_request_ns + ran.unknown_ns() + ran.off_ns());
    ensure!(least_ns > 50_000_000, "it hardly ran: {}", ran.told());
    ensure!((least_ns..=ran.beside_ns + ran.off_ns()).contains(&held_ns), "{held_ns}: {}", ran.told());
    ensure!(ran.taken_ns(Some("quota"), None) == 0, "there is no quota: {}", ran.told());
    Ok(())
}

/// Two workers on one CPU: each request waits for the other's.
fn requests_are_named(recipe: &dyn Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let ran = run(recipe, options, (2, false, None))?;
    let held_ns = ran.taken_ns(Some("request"), None);
    let is_other =
        |leaf: &&Leaf| !leaf.taken_by_name.as_deref().unwrap_or("GET /steps/").starts_with("GET /steps/");
    let is_request = |leaf: &&Leaf| leaf.taken_by.as_deref() == Some("request");
    ensure!(
        !ran.leaves.iter().filter(is_request).any(|leaf| is_other(&leaf)),
        "no such request: {}",
        ran.told()
    );
    let others = [Some("program"), Some("hypervisor"), Some("thread"), Some("quota")];
    let others_ns: u64 = others.iter().map(|by| ran.taken_ns(*by, None)).sum();
    let (cpu_ns, run_queue_ns) = ran.server_ns;
    let without_request_ns = (2 * ran.elapsed_ns).saturating_sub(ran.request_ns);
    let apart_ns = others_ns + ran.unknown_ns() + without_request_ns + ran.off_ns();
    let least_ns = run_queue_ns.saturating_sub(apart_ns);
    ensure!(least_ns > 50_000_000, "they hardly waited: {}", ran.told());
    ensure!((least_ns..=cpu_ns + ran.off_ns()).contains(&held_ns), "{held_ns}: {}", ran.told());
    ensure!(ran.taken_ns(Some("program"), Some(BESIDE)) == 0, "there is no such program: {}", ran.told());
    Ok(())
}

/// What the quota stopped is the quota's, at least for as long as the kernel says.
fn the_quota_is_named(recipe: &dyn Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let ran = run(recipe, options, (1, false, Some(0.1)))?;
    let held_ns = ran.taken_ns(Some("quota"), None);
    let without_request_ns = ran.elapsed_ns.saturating_sub(ran.request_ns);
    let least_ns = ran.throttled_ns.saturating_sub(without_request_ns + ran.unknown_ns() + ran.off_ns());
    ensure!(least_ns > 50_000_000, "it hardly stopped them: {}", ran.told());
    let most_ns = ran.elapsed_ns.saturating_sub(ran.server_ns.0) + ran.off_ns();
    ensure!((least_ns..=most_ns).contains(&held_ns), "{held_ns}: {}", ran.told());
    Ok(())
}

const LIGHT: &[&str] = &["--light"];

fn gunicorn(workers: usize) -> Settings {
    Settings::sync(Version::V27, workers)
}

#[test]
fn a_program_on_the_cpu_of_gunicorn_is_named() -> anyhow::Result<()> {
    a_program_is_named(&gunicorn(1), &[])?;
    a_program_is_named(&gunicorn(1), LIGHT)
}

#[test]
#[ignore = "make live: make test has it on gunicorn"]
fn a_program_on_the_cpu_of_uwsgi_is_named() -> anyhow::Result<()> {
    a_program_is_named(&Uwsgi::new(1, 1), &[])?;
    a_program_is_named(&Uwsgi::new(1, 1), LIGHT)
}

#[test]
fn requests_of_gunicorn_that_share_a_cpu_wait_for_one_another() -> anyhow::Result<()> {
    requests_are_named(&gunicorn(2), &[])?;
    requests_are_named(&gunicorn(2), LIGHT)
}

#[test]
#[ignore = "make live: make test has it on gunicorn"]
fn requests_of_uwsgi_that_share_a_cpu_wait_for_one_another() -> anyhow::Result<()> {
    requests_are_named(&Uwsgi::new(2, 1), &[])?;
    requests_are_named(&Uwsgi::new(2, 1), LIGHT)
}

#[test]
#[ignore = "make live: make test has who had the CPU of a program and of requests"]
fn the_quota_of_gunicorn_and_of_uwsgi_is_named() -> anyhow::Result<()> {
    the_quota_is_named(&gunicorn(1), &[])?;
    the_quota_is_named(&gunicorn(1), LIGHT)?;
    the_quota_is_named(&Uwsgi::new(1, 1), &[])
}
