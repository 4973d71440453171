//! `serve` without an option for its mode, on the kernel under test: light where nothing that alerts rest on
//! is lacking, else a full trace.
//!
//! In: a gunicorn of threads, which light mode suits. Out: a verdict: the mode that the metrics say, as many
//! requests as the server's log has, and the reason in words where it is not light.

use anyhow::ensure;
use serde_json::Value;
use wsgi_trace_test_support::agent::{Agent, sum};
use wsgi_trace_test_support::child::until;

use crate::known::is_known_to_lack;
use crate::load::Load;
use crate::real::{POOLS, has_light_mode};
use crate::server::{Gunicorn, LIMIT};

const REQUESTS: Load = Load { clients: 2, requests: 6, kept: 3, paths: &["/fast"] };

/// The mode is what this kernel allows, and loses no request.
pub(crate) fn is_light_where_nothing_is_lacking() -> anyhow::Result<()> {
    let server = Gunicorn::start(POOLS)?;
    let agent = Agent::start(&["--port", &server.port().to_string(), "--window", "1s"])?;
    until("the agent to watch", LIMIT, || {
        Ok((agent.json("/healthz")?.get("status").and_then(Value::as_str) == Some("watching")).then_some(()))
    })?;
    REQUESTS.run(server.port())?;
    let answered = server.log(REQUESTS.total())?.len() as f64;
    let samples = until("the requests in the metrics", LIMIT, || {
        let samples = agent.metrics()?;
        Ok((sum(&samples, "wsgi_trace_requests_total", &[]) >= answered).then_some(samples))
    })?;
    let is_on = |mode: &str| sum(&samples, "wsgi_trace_mode", &[&format!("mode=\"{mode}\"")]) > 0.0;
    let modes = (is_on("light"), is_on("full"));
    agent.signal(libc::SIGTERM);
    let outcome = agent.finish()?;
    ensure!(outcome.status.success(), "{}: {}", outcome.status, outcome.stderr);
    ensure!(sum(&samples, "wsgi_trace_requests_total", &[]) == answered, "{answered} in the log");
    let is_light = has_light_mode() && !is_known_to_lack("accept4_returns");
    ensure!(modes == (is_light, !is_light), "light and full are {modes:?}: {}", outcome.stderr);
    let says = if is_light { "light mode; POST /full" } else { "everything is traced" };
    ensure!(outcome.stderr.contains(says), "it does not say {says:?}: {}", outcome.stderr);
    Ok(())
}
