//! A window of the program around a load, with all that others saw meanwhile.
//!
//! In: a recipe, a load. Out: a [`Window`]: requests by our account and by the witness's, what threads did by
//! the kernel's tracer.

use std::collections::BTreeMap;

use wsgi_trace_test_support::intervals::Between;
use wsgi_trace_test_support::load::{Load, Sent};
use wsgi_trace_test_support::server::{Line, Recipe, Server};
use wsgi_trace_test_support::stores::Stores;
use wsgi_trace_test_support::switches::{Switches, Times, Waits};
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};
use wsgi_trace_test_support::witness::Witness;
use wsgi_trace_test_support::yardstick::{Speed, Yardstick};

/// A window around a load.
pub(crate) struct Window {
    pub(crate) traced: Traced,
    pub(crate) sent: Sent,
    pub(crate) log: Vec<Line>,
    /// What each thread did by the kernel's tracer.
    pub(crate) switches: BTreeMap<u32, Times>,
    /// When each waited for a CPU, by the same.
    pub(crate) waits: Waits,
    /// How fast this machine was meanwhile.
    pub(crate) speed: Speed,
    /// What the application's own clocks say of its work.
    pub(crate) witnesses: Vec<Witness>,
    /// Where its PostgreSQL and its Redis listened, if it had any.
    pub(crate) ports: Option<(u16, u16)>,
}

impl Window {
    /// The threads that may keep a request from going on. They are its own and its process's first: a loop's
    /// thread may write what one of its pool has made. Where they share the GIL, they are all of the
    /// process, which may have it and no CPU.
    pub(crate) fn threads_about(
        &self,
        recipe: &dyn Recipe,
        request: &TracedRequest,
    ) -> anyhow::Result<Vec<u32>> {
        let mut threads = vec![request.tid, request.pid];
        if recipe.shares_gil() {
            threads.extend(self.traced.threads_of(request.pid)?);
        }
        Ok(threads)
    }

    /// What may lie between our clocks and another's.
    pub(crate) fn between(&self, recipe: &dyn Recipe) -> anyhow::Result<Between> {
        Ok(Between {
            speed: self.speed,
            // Of several loops each is.
            is_woken_rarely: recipe.loops() > 1,
            resolution_ns: recipe.log_resolution_ns(),
            shares_gil: recipe.shares_gil(),
            stolen_ns: self.traced.number("/losses/conservation/stolen_ns")?,
        })
    }
}

/// Begins a window before the load and ends it when everything that was answered is logged.
pub(crate) fn window_around(recipe: &dyn Recipe, load: &[&str]) -> anyhow::Result<Window> {
    // Before the server, so that a sleep that goes on as the window begins is seen from its beginning.
    let switches = Switches::start()?;
    let server = Server::start(recipe)?;
    let in_front = server.pids().get(1).copied().filter(|_| recipe.traces_front_end());
    let front_end = in_front.map(|pid| format!("--with-front-end={pid}"));
    let options: Vec<&str> = front_end.as_deref().into_iter().collect();
    let trace = Trace::start_with(server.pid(), &options)?;
    let yardstick = Yardstick::start()?;
    let sent = Load::run(server.address(), load)?;
    server.log(sent.answered())?;
    let speed = yardstick.end()?;
    let traced = trace.end()?;
    let shown = switches.stop()?;
    let switches = shown.within(traced.number("/window/start_ns")?..traced.number("/window/end_ns")?);
    // What got no answer may have been logged in the meantime.
    let log = server.log(sent.answered())?;
    let witnesses = server.witness()?;
    let ports = server.stores().map(Stores::ports).ok();
    Ok(Window { traced, sent, log, switches, waits: shown.waits(), speed, witnesses, ports })
}
