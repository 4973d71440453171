//! `--max-cost`: the agent takes no more of the machine than it may.
//!
//! In: a server under load, agents with a limit. Out: verdicts, by the kernel's own account of the agent
//! and of its programs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::agent::{Agent, sum};
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::program::kernel_programs;
use wsgi_trace_test_support::require_bpf;

use super::{ask, free_port, gunicorn_on};

/// Long enough for a stretch between pauses, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
const TICKS_PER_SECOND: f64 = 100.0;
/// Clients of a high load, and pauses of each between two requests.
const CLIENTS: usize = 4;
const HIGH: Duration = Duration::from_millis(4);
const LOW: Duration = Duration::from_millis(50);

fn words<'a>(health: &'a Value, key: &str) -> &'a str {
    health.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn left_out(health: &Value) -> Vec<&str> {
    let list = health.get("left_out").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// CPU time of a process so far, in seconds, by the kernel.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything, the state is the first.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks =
        |index: usize| -> anyhow::Result<f64> { Ok(fields.get(index).context("cut short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Asks until told to stop, at the pace of the moment; fails where it is not answered.
fn ask_on(port: u16, stop: &AtomicBool, pace_ms: &AtomicU64) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        ensure!(ask(port, "/")? == 200);
        std::thread::sleep(Duration::from_millis(pace_ms.load(Ordering::Relaxed)));
    }
    Ok(())
}

/// Judges while clients ask at a pace that may be changed.
fn under_load(port: u16, judge: impl FnOnce(&AtomicU64) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (stop, pace_ms) = (AtomicBool::new(false), AtomicU64::new(HIGH.as_millis() as u64));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask_on(port, &stop, &pace_ms))).collect();
        let verdict = judge(&pace_ms);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap_or_else(|_panicked| anyhow::bail!("a client panicked"))?;
        }
        verdict
    })
}

#[test]
fn what_costs_more_than_it_may_is_left_out_until_nothing_is_attached_and_it_is_said() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let agent = Agent::watching(&port.to_string(), &["--full", "--window", "10s", "--max-cost", "0.1%"])?;
    under_load(port, |_| {
        let health = until("a pause", LIMIT, || {
            let health = agent.json("/healthz")?;
            let pauses = words(&health, "reason").contains("nothing is watched for");
            Ok((words(&health, "status") == "paused" && pauses).then_some(health))
        })?;
        ensure!(left_out(&health).contains(&"everything"), "{health}");
        ensure!(words(&health, "reason").contains("--max-cost is 0.1 %"), "{health}");
        ensure!(kernel_programs(agent.pid()).is_empty(), "something is attached in a pause");
        let samples = agent.metrics()?;
        ensure!(sum(&samples, "wsgi_trace_left_out", &["what=\"everything\""]) == 1.0, "{samples:?}");
        ensure!(sum(&samples, "wsgi_trace_target_losses_total", &[]) == 0.0, "{samples:?}");
        let report = agent.json("/report.json")?;
        let told = report.pointer("/tool/left_out").and_then(Value::as_array).context("no list")?;
        ensure!(told.iter().any(|part| part.get("what") == Some(&Value::from("lines"))), "{told:?}");
        Ok(())
    })?;
    let outcome = agent.end()?;
    ensure!(outcome.status.success(), "{}", outcome.stderr);
    for said in ["from here on with pauses", "nothing is watched for"] {
        ensure!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
    Ok(())
}

#[test]
#[ignore = "make live: takes six minutes"]
fn load_that_rises_tenfold_costs_no_more_than_it_may_within_two_windows() -> anyhow::Result<()> {
    const WINDOW: Duration = Duration::from_secs(10);
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let port = free_port()?;
    let _server = gunicorn_on(port)?;
    let port_text = port.to_string();
    under_load(port, |pace_ms| {
        let unlimited = Agent::watching(&port_text, &["--full", "--window", "10s", "--max-cost", "100%"])?;
        std::thread::sleep(2 * WINDOW);
        let ratio = sum(&unlimited.metrics()?, "wsgi_trace_cost_ratio", &[]);
        unlimited.end()?;
        ensure!(ratio > 0.0, "nothing was measured");
        // What takes less than that alone has no room for a server.
        let max = (ratio / 2.0).max(0.003);
        eprintln!("without a limit {:.2} % of all CPUs, with one {:.2} %", ratio * 100.0, max * 100.0);

        pace_ms.store(LOW.as_millis() as u64, Ordering::Relaxed);
        let limit = format!("{:.3}%", max * 100.0);
        let agent = Agent::watching(&port_text, &["--full", "--window", "10s", "--max-cost", &limit])?;
        std::thread::sleep(2 * WINDOW);
        let health = agent.json("/healthz")?;
        ensure!(left_out(&health).is_empty(), "at a low load: {health}");

        pace_ms.store(HIGH.as_millis() as u64, Ordering::Relaxed);
        std::thread::sleep(2 * WINDOW);
        let (cpu_before, began) = (cpu_seconds(agent.pid())?, Instant::now());
        let mut programs_cpus = Vec::new();
        while began.elapsed() < 10 * WINDOW {
            std::thread::sleep(Duration::from_secs(1));
            let samples = agent.metrics()?;
            let is_paused = words(&agent.json("/healthz")?, "status") == "paused";
            programs_cpus.push(if is_paused {
                0.0
            } else {
                sum(&samples, "wsgi_trace_kernel_programs_cpus", &[])
            });
        }
        let own_cpus = (cpu_seconds(agent.pid())? - cpu_before) / began.elapsed().as_secs_f64();
        let programs = programs_cpus.iter().sum::<f64>() / programs_cpus.len() as f64;
        let cpus = std::thread::available_parallelism()?.get() as f64;
        let taken = (own_cpus + programs) / cpus;
        eprintln!("at a high load {:.2} % of all CPUs: {}", taken * 100.0, agent.json("/healthz")?);
        // The stretch that goes on as it ends is made up for later.
        ensure!(taken <= max * 1.2, "{taken} of {max}");
        ensure!(!left_out(&agent.json("/healthz")?).is_empty(), "nothing is left out");

        pace_ms.store(LOW.as_millis() as u64, Ordering::Relaxed);
        let began = Instant::now();
        while !left_out(&agent.json("/healthz")?).is_empty() {
            ensure!(began.elapsed() < Duration::from_mins(8), "it is not watched again");
            // Answering takes CPU of the agent as well.
            std::thread::sleep(Duration::from_secs(2));
        }
        agent.end()?;
        Ok(())
    })
}
