//! Dropped connections: each cause is produced on a real server, and the report must name it as often as
//! clients saw it.
//!
//! In: servers, and clients that write down what they saw. Out: verdicts. No connection may be without a
//! cause.

mod behind_front_ends;
mod by_the_client;
mod by_the_server;
mod on_the_way_in;
mod worker_ends;

use std::collections::BTreeMap;

use wsgi_trace_test_support::dropping::{Clients, Drops, Seen};
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

/// What became of a plan: by the clients, by the report.
struct Outcome {
    seen: Seen,
    drops: Drops,
}

/// Options of both modes: in full, and light.
const BOTH_MODES: [&[&str]; 2] = [&[], &["--light"]];

/// Traces a server in full while clients carry out a plan.
fn carry_out(recipe: &dyn Recipe, arguments: &[&str]) -> anyhow::Result<Outcome> {
    carry_out_in(&[], recipe, arguments)
}

/// Traces a server in a mode, by its options, while clients carry out a plan.
fn carry_out_in(mode: &[&str], recipe: &dyn Recipe, arguments: &[&str]) -> anyhow::Result<Outcome> {
    let server = Server::start(recipe)?;
    let trace = Trace::start_with(server.pid(), mode)?;
    let seen = Clients::run(server.address(), arguments)?;
    Ok(Outcome { seen, drops: Drops::of(&trace.end()?)? })
}

impl Outcome {
    /// What the clients saw, in the order of the plan; and the causes by name.
    fn must_be(&self, saw: &[&str], served: u64, causes: &[(&str, u64)]) {
        let Self { seen, drops } = self;
        let clients: Vec<&str> = seen.clients.iter().map(|client| client.saw.as_str()).collect();
        assert_eq!(clients, saw, "{:?}", seen.clients);
        assert_eq!(drops.counts(), BTreeMap::from_iter(causes.iter().copied()), "{drops:?}");
        assert_eq!(drops.served, served, "{drops:?}");
    }
}
