//! One agent for all servers of a machine: each has its own numbers, and no other's.
//!
//! In: servers of several kinds at once, clients. Out: verdicts, against the clients' own counts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::agent::{Agent, Samples, sum};
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::raw::RawClient;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::gevent::Pywsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

use super::{ask, free_port, gunicorn_on, port};

/// How long a server that has come is looked for, and one that has gone is remembered.
const FOUND_WITHIN: Duration = Duration::from_secs(75);

/// An agent for the servers on these ports alone, with windows of this length: other tests have servers, too.
fn agent_for(ports: &[String], window: &str) -> anyhow::Result<Agent> {
    let matches: Vec<String> = ports.iter().map(|port| format!("--match=port={port}")).collect();
    let matches: Vec<&str> = matches.iter().map(String::as_str).collect();
    Agent::start(&[&["--all", "--window", window], &matches[..]].concat())
}

fn rows(agent: &Agent) -> anyhow::Result<Vec<Value>> {
    agent.json("/servers.json")?.as_array().cloned().context("no list")
}

/// Waits until these servers, and no others, are watched.
fn wait_for(agent: &Agent, ports: &[String]) -> anyhow::Result<Vec<Value>> {
    until(&format!("servers on {ports:?} to be watched"), FOUND_WITHIN, || {
        let rows = rows(agent)?;
        let watched = rows.iter().filter(|row| row.get("status").and_then(Value::as_str) == Some("watching"));
        let all = rows.len() == ports.len() && watched.count() == rows.len();
        Ok((all && ports.iter().all(|port| row_of(&rows, port).is_some())).then_some(rows))
    })
}

fn row_of<'a>(rows: &'a [Value], port: &str) -> Option<&'a Value> {
    rows.iter().find(|row| name(row).ends_with(&format!(":{port}")))
}

fn name(row: &Value) -> &str {
    row.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn completed(samples: &Samples, port: &str) -> f64 {
    sum(samples, "wsgi_trace_requests_total", &[&format!(":{port}\"")])
}

/// Two threads-only servers in light mode, a loop in full mode, one of each asked so often.
fn asked() -> anyhow::Result<()> {
    let sync = Gunicorn::start(&Settings::sync(Version::V27, 2))?;
    let threads = Gunicorn::start(&Settings::gthread(Version::V27, 2, 2))?;
    let waitress = Server::start(&Waitress { threads: 2 })?;
    let gevent = Server::start(&Pywsgi)?;
    let addresses: [&Address; 4] = [sync.address(), threads.address(), waitress.address(), gevent.address()];
    let ports = addresses.map(port);
    let agent = agent_for(&ports, "1h")?;
    wait_for(&agent, &ports)?;

    let loads: Vec<Load> = addresses
        .iter()
        .zip(["40", "60", "80", "100"])
        .map(|(address, requests)| {
            let options =
                ["--requests", requests, "--clients", "3", "--keep-alive", "4", "--routes", "/,/cpu/2"];
            Load::start(address, &options)
        })
        .collect::<anyhow::Result<_>>()?;
    let sent: Vec<f64> =
        loads.into_iter().map(|load| Ok(load.finish()?.answered() as f64)).collect::<anyhow::Result<_>>()?;
    let samples = agent.wait_for_metrics("all requests", |samples| {
        ports.iter().zip(&sent).all(|(port, sent)| completed(samples, port) >= *sent)
    })?;
    for (port, sent) in ports.iter().zip(&sent) {
        ensure!(completed(&samples, port) == *sent, "port {port}: {sent} sent, {samples:?}");
        let broken = sum(&samples, "wsgi_trace_conservation_broken_total", &[&format!(":{port}\"")]);
        ensure!(broken == 0.0, "port {port}: {broken} accounts do not add up");
    }
    let all = sum(&samples, "wsgi_trace_requests_total", &[]);
    ensure!(all == sent.iter().sum::<f64>(), "{all} requests, sent {sent:?}");
    for row in rows(&agent)? {
        let path = row.get("path").and_then(Value::as_str).context("no path")?;
        let report = agent.json(&format!("{path}report.json?window=current"))?;
        let complete = report.pointer("/losses/is_complete") == Some(&Value::Bool(true));
        ensure!(complete, "{}: {:?}", name(&row), report.get("losses"));
        let count = report.pointer("/requests/completed").and_then(Value::as_f64).context("no count")?;
        let port = name(&row).rsplit(':').next().unwrap_or_default().to_owned();
        ensure!(count == completed(&samples, &port), "{}: {count}", name(&row));
    }
    agent.end()?;
    Ok(())
}

#[test]
fn each_server_of_a_machine_has_its_own_numbers_and_no_others() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    asked()
}

#[test]
fn a_server_is_found_as_it_comes_and_its_series_end_with_it() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let stays = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let (stays, comes) = ([port(stays.address())].to_vec(), free_port()?);
    let both = [stays.clone(), vec![comes.to_string()]].concat();
    let agent = agent_for(&both, "1h")?;
    wait_for(&agent, &stays)?;
    let server = gunicorn_on(comes)?;
    wait_for(&agent, &both)?;
    let of_it = format!(":{comes}\"");
    let has_series = |samples: &Samples| samples.keys().any(|sample| sample.contains(&of_it));
    agent.wait_for_metrics("its series", has_series)?;
    drop(server);
    wait_for(&agent, &stays)?;
    agent.wait_for_metrics("the end of its series", |samples| !has_series(samples))?;
    agent.end()?;
    Ok(())
}

#[test]
fn the_server_whose_requests_wait_is_the_first_on_the_page() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let stuck = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let quiet = Gunicorn::start(&Settings::gthread(Version::V27, 2, 2))?;
    let ports = [port(quiet.address()), port(stuck.address())].to_vec();
    let agent = agent_for(&ports, "1h")?;
    wait_for(&agent, &ports)?;
    let ask = |_| {
        let mut client = RawClient::connect(stuck.address())?;
        client.send("GET /sleep/9000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        Ok(client)
    };
    let clients = (0..3).map(ask).collect::<anyhow::Result<Vec<RawClient>>>()?;
    let first = until("the stuck server to be the first", Duration::from_secs(8), || {
        let rows = rows(&agent)?;
        let first = rows.first().filter(|row| name(row).ends_with(&format!(":{}", port(stuck.address()))));
        let waiting = first.and_then(|row| row.get("waiting")).and_then(Value::as_f64);
        Ok(first.filter(|_| waiting.is_some_and(|waiting| waiting > 0.0)).cloned())
    })?;
    let count = |key: &str| first.get(key).and_then(Value::as_u64);
    ensure!(
        [count("slots"), count("slots_busy"), count("requests_in_line")] == [Some(1), Some(1), Some(2)],
        "{first}"
    );
    let page = agent.get("/")?.body;
    let at = |port: String| page.find(&format!(":{port}</a>"));
    ensure!(at(port(stuck.address())) < at(port(quiet.address())), "{page}");
    drop(clients);
    agent.end()?;
    Ok(())
}

/// How long servers come and go, and after what part of it memory has to be flat.
const CHURN: Duration = Duration::from_secs(120);
/// What the agent's memory may grow by meanwhile, in bytes: some series of servers that have just ended.
const GROWTH_BYTES: f64 = 16e6;

/// A server that is up twice as long as it takes to come up, again and again on the same ports.
fn churns(agent: &Agent, ports: &[u16; 2], until: Instant) -> anyhow::Result<(u64, Vec<f64>)> {
    let (mut came, mut resident) = (0, Vec::new());
    while Instant::now() < until {
        let pair = [gunicorn_on(ports[0])?, gunicorn_on(ports[1])?];
        for port in ports {
            ensure!(ask(*port, "/")? == 200);
        }
        came += 2;
        drop(pair);
        resident.push(sum(&agent.metrics()?, "wsgi_trace_agent_resident_bytes", &[]));
    }
    Ok((came, resident))
}

#[test]
#[ignore = "make live: servers come and go for two minutes"]
fn servers_that_come_and_go_leave_nothing_behind_and_take_nothing_from_one_that_stays() -> anyhow::Result<()>
{
    require_bpf!(Ok(()));
    let _others = shared()?;
    let stays = Gunicorn::start(&Settings::gthread(Version::V27, 2, 2))?;
    let come = [free_port()?, free_port()?];
    let ports = [vec![port(stays.address())], come.map(|port| port.to_string()).to_vec()].concat();
    let agent = agent_for(&ports, "10s")?;
    wait_for(&agent, &ports[..1])?;
    let seconds = (CHURN.as_secs() - 10).to_string();
    let options = ["--seconds", &seconds, "--clients", "2", "--keep-alive", "4", "--think-ms", "20"];
    let load = Load::start(stays.address(), &options)?;
    let (came, resident) = churns(&agent, &come, Instant::now() + CHURN)?;
    let sent = load.finish()?.answered() as f64;
    wait_for(&agent, &ports[..1])?;
    let samples = agent.wait_for_metrics("all requests", |samples| completed(samples, &ports[0]) >= sent)?;
    ensure!(completed(&samples, &ports[0]) == sent, "{sent} sent, {samples:?}");
    let broken = sum(&samples, "wsgi_trace_conservation_broken_total", &[]);
    ensure!(broken == 0.0, "{broken} accounts do not add up");
    let foreign =
        samples.keys().find(|sample| ports[1..].iter().any(|port| sample.contains(&format!(":{port}\""))));
    ensure!(foreign.is_none(), "{foreign:?} is still there");
    let half = resident.get(resident.len() / 2).copied().unwrap_or_default();
    let last = resident.last().copied().unwrap_or_default();
    ensure!(last - half <= GROWTH_BYTES, "{came} servers, resident bytes {resident:?}");
    agent.end()?;
    Ok(())
}
