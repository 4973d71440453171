//! `wsgi-trace serve` against real servers.
//!
//! In: gunicorn, clients, the agent. Out: verdicts.

mod access;
mod alerts;
mod all;
mod change;
mod cost;
mod dashboards;
mod fleet_rules;
mod follow;
mod full;
mod in_line;
mod kept;
mod numbers;
mod prometheus;
mod recycle;
mod rows;
mod unfriendly;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::gunicorn::Version;

/// The port of an address.
fn port(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.rsplit(':').next().unwrap_or_default().to_owned(),
        Address::Unix(_) => String::new(),
    }
}

/// A port that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A gunicorn on a given port, ready.
fn gunicorn_on(port: u16) -> anyhow::Result<Child> {
    gunicorn_with(port, "1")
}

/// The same with so many workers.
fn gunicorn_with(port: u16, workers: &str) -> anyhow::Result<Child> {
    let child = start_gunicorn_with(port, workers)?;
    until("gunicorn to answer", Duration::from_secs(20), || Ok(ask(port, "/").ok()))?;
    Ok(child)
}

/// A gunicorn on a given port, still starting: one that comes back there after a restart.
fn start_gunicorn_on(port: u16) -> anyhow::Result<Child> {
    start_gunicorn_with(port, "1")
}

/// The same with so many workers.
fn start_gunicorn_with(port: u16, workers: &str) -> anyhow::Result<Child> {
    let mut command = Command::new(Version::V27.python());
    command
        .args(["-m", "gunicorn", "--workers", workers, "--no-control-socket", "--log-level", "error"])
        .arg(format!("--bind=127.0.0.1:{port}"))
        .arg("--chdir")
        .arg(wsgi_trace_test_support::root().join("tests/apps"))
        .arg("demo_app:app")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Child::start(&mut command, "gunicorn")
}

/// One request; its status.
fn ask(port: u16, path: &str) -> anyhow::Result<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().parse()?)
}
