//! The situations of chains: requests that wait through hops of their own process for one leaf, one entry
//! each.
//!
//! In: nothing. Out: [`SCENARIOS`].

use std::process::Command;
use std::time::Duration;

use super::Clients::Any;
use super::Verdict::First;
use super::{Clients, Scenario, Verdict, scenario};
use crate::gunicorn::{Settings, Version};
use crate::server::composed::Composed;
use crate::server::{Place, Recipe};

/// gunicorn with composed routes; its notes lie in its directory.
struct Chained {
    server: Settings,
    routes: &'static str,
}

impl Recipe for Chained {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        self.server.about()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let plan = format!(r#"{{"base": {{"back_end_ms": 0, "cpu_ms": 0}}, "routes": {}}}"#, self.routes);
        let notes = place.directory().to_path_buf();
        Composed { server: &self.server, plan, notes }.commands(place)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.server)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}

fn gthread(processes: usize, threads: usize, routes: &'static str) -> Box<dyn Recipe> {
    Box::new(Chained { server: Settings::gthread(Version::V27, processes, threads), routes })
}

fn lock_before_sleep() -> Box<dyn Recipe> {
    gthread(1, 4, r#"{"locked": {"hops": [["lock", null]], "leaf": ["sleep", 30], "every": 1}}"#)
}

fn thread_for_a_child() -> Box<dyn Recipe> {
    gthread(1, 4, r#"{"child": {"hops": [["event", null]], "leaf": ["child", 30], "every": 1}}"#)
}

fn queue_before_sleep() -> Box<dyn Recipe> {
    gthread(1, 4, r#"{"queued": {"hops": [["queue", null]], "leaf": ["sleep", 30], "every": 1}}"#)
}

fn request_to_itself() -> Box<dyn Recipe> {
    gthread(2, 4, r#"{"itself": {"hops": [["itself", null]], "leaf": ["sleep", 30], "every": 1}}"#)
}

fn pipe_to_a_helper() -> Box<dyn Recipe> {
    gthread(1, 4, r#"{"piped": {"hops": [["pipe", null]], "leaf": ["sleep", 30], "every": 1}}"#)
}

/// Behind all but one of them somebody sleeps.
const SLEEPING: Verdict = First("sleeping", &[]);

const fn chained(
    name: &'static str,
    about: &'static str,
    server: fn() -> Box<dyn Recipe>,
    clients: Clients,
    verdict: Verdict,
) -> Scenario {
    Scenario { window: Duration::from_millis(1_300), ..scenario(name, about, server, clients, verdict) }
}

const fn light(of: Scenario, name: &'static str) -> Scenario {
    Scenario { name, options: &["--light"], ..of }
}

const LOCK: Scenario = chained(
    "chain-lock",
    "four threads of gunicorn, three clients whose requests sleep for 30 ms under one lock",
    lock_before_sleep,
    Any(&["--clients=3", "--routes=/locked"]),
    SLEEPING,
);

const PIPE: Scenario = chained(
    "chain-pipe",
    "four threads of gunicorn, three clients whose requests wait for a helper thread that is told by a pipe and sleeps for 30 ms",
    pipe_to_a_helper,
    Any(&["--clients=3", "--routes=/piped"]),
    SLEEPING,
);

/// Every situation.
pub(super) const SCENARIOS: &[Scenario] = &[
    LOCK,
    PIPE,
    chained(
        "chain-child",
        "four threads of gunicorn, three clients, each of whose requests waits for a thread made for it, which runs a child for 30 ms",
        thread_for_a_child,
        Any(&["--clients=3", "--routes=/child"]),
        First("child-process", &[]),
    ),
    chained(
        "chain-queue",
        "four threads of gunicorn, three clients whose requests wait for the one thread that takes from a queue and sleeps for 30 ms",
        queue_before_sleep,
        Any(&["--clients=3", "--routes=/queued"]),
        SLEEPING,
    ),
    chained(
        "chain-itself",
        "two processes of gunicorn with four threads each, three clients whose requests ask the server itself, which sleeps for 30 ms",
        request_to_itself,
        Any(&["--clients=3", "--routes=/itself"]),
        SLEEPING,
    ),
    light(LOCK, "light-chain-lock"),
    light(PIPE, "light-chain-pipe"),
];
