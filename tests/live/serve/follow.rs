//! The target is followed across restarts; nothing grows and no counter goes back.
//!
//! In: a gunicorn that ends and comes back on its port. Out: verdicts.

use std::collections::BTreeSet;

use anyhow::ensure;
use wsgi_trace_test_support::agent::{Agent, Samples, sum};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port, gunicorn_on, start_gunicorn_on};

/// Requests to each deploy.
const REQUESTS: u32 = 5;
/// Deploys until memory has reached its level: allocators keep what attaching took.
const WARM: u32 = 3;
/// How far memory may move after that, in bytes: one more mapping of the allocator.
const MEMORY_STEP: f64 = 4e6;

/// Names and labels of everything that is there while the target is; without phases, of which each comes with
/// the first request that has it.
fn series(samples: &Samples) -> BTreeSet<String> {
    samples.keys().filter(|name| !name.contains("phase=")).cloned().collect()
}

fn follow(deploys: u32) -> anyhow::Result<()> {
    let port = free_port()?;
    let agent = Agent::start(&["--port", &port.to_string(), "--window", "1s"])?;
    agent.wait_for_state("waiting")?;
    let mut before = Samples::new();
    let (mut first_series, mut level_bytes) = (BTreeSet::new(), 0.0_f64);
    for deploy in 1..=deploys {
        let mut server = start_gunicorn_on(port)?;
        agent.wait_for_state("watching")?;
        for _ in 0..REQUESTS {
            ensure!(ask(port, "/")? == 200);
        }
        let all = f64::from(REQUESTS * deploy);
        let up = agent.wait_for_metrics("the requests of this deploy, and a window", |samples| {
            let is = |name, value| samples.get(name) == Some(&value);
            sum(samples, "wsgi_trace_requests_total", &[]) >= all
                && is("wsgi_trace_target_up", 1.0)
                && samples.contains_key("wsgi_trace_kernel_programs_cpus")
                && samples.contains_key("wsgi_trace_finding_present{finding=\"herd\"}")
        })?;
        ensure!(sum(&up, "wsgi_trace_requests_total", &[]) == all, "{up:?}");
        ensure!(sum(&up, "wsgi_trace_target_attaches_total", &[]) == f64::from(deploy));
        for (name, value) in before.iter().filter(|(name, _)| {
            let family = name.split('{').next().unwrap_or_default();
            ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| family.ends_with(suffix))
        }) {
            ensure!(up.get(name) >= Some(value), "{name} went from {value} to {:?}", up.get(name));
        }
        if deploy == 2 {
            first_series = series(&up);
        } else if deploy > 2 {
            let differ: Vec<_> = series(&up).symmetric_difference(&first_series).cloned().collect();
            ensure!(differ.is_empty(), "series came or went at deploy {deploy}: {differ:?}");
        }
        let resident_bytes = sum(&up, "wsgi_trace_agent_resident_bytes", &[]);
        eprintln!("deploy {deploy}: {:.1} MB resident, {} series", resident_bytes / 1e6, up.len());
        // Memory goes up and down with what an attach needs for a moment: the most of the first deploys is
        // the level.
        if deploy <= WARM {
            level_bytes = resident_bytes.max(level_bytes);
        } else {
            ensure!(resident_bytes <= level_bytes + MEMORY_STEP, "{resident_bytes} after {level_bytes}");
        }
        before = up;
        server.stop();
        agent.wait_for_state("waiting")?;
        let down = agent.wait_for_metrics("the target to be down", |samples| {
            samples.get("wsgi_trace_target_up") == Some(&0.0)
        })?;
        ensure!(sum(&down, "wsgi_trace_requests_total", &[]) == all);
    }
    let outcome = agent.end()?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    Ok(())
}

/// Deploys in a row; `make deploys` makes as many as an hour of them.
#[test]
#[ignore = "make live: takes four seconds a deploy"]
fn deploys_leave_counters_going_up_and_memory_and_series_flat() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let deploys = std::env::var("WSGI_TRACE_DEPLOYS").ok().and_then(|text| text.parse().ok());
    follow(deploys.unwrap_or(WARM + 2))
}

#[test]
fn target_named_by_its_number_is_not_replaced_by_another() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let mut server = gunicorn_on(port)?;
    let agent = Agent::start(&["--pid", &server.pid().to_string()])?;
    agent.wait_for_state("watching")?;
    server.stop();
    let outcome = agent.finish()?;
    ensure!(outcome.status.code() == Some(6), "{outcome:?}");
    ensure!(outcome.stderr.contains("--name and --port follow a server across restarts"), "{outcome:?}");
    Ok(())
}
