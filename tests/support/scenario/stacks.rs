//! The situations of whole stacks: Django and Flask with pools of connections to PostgreSQL and Redis, one
//! entry each.
//!
//! In: nothing. Out: [`SCENARIOS`]. Frameworks and their clients make many calls for a request: rates are
//! low, so that recordings stay small.

use std::time::Duration;

use super::Clients::Any;
use super::Verdict::{First, Usual};
use super::{Scenario, scenario};
use crate::server::Recipe;
use crate::server::stack::{Application, On, Stack};

fn flask_on_uwsgi() -> Box<dyn Recipe> {
    Box::new(Stack::new(Application::Flask, On::Uwsgi(1, 4), 4))
}

fn django_on_gthread() -> Box<dyn Recipe> {
    Box::new(Stack::new(Application::Django, On::Gthread(8), 2))
}

fn flask_on_cheroot() -> Box<dyn Recipe> {
    Box::new(Stack::new(Application::Flask, On::Cheroot(4), 4))
}

/// Every situation.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        window: Duration::from_millis(1_300),
        ..scenario(
            "stack-slots-exhausted",
            "Flask with greenlet loaded, on four threads of uWSGI; eight clients whose requests ask PostgreSQL and Redis for 40 ms each",
            flask_on_uwsgi,
            Any(&["--clients=8", "--routes=/postgres/40,/redis/40,/both/20"]),
            First("back-end", &["cpu-bound"]),
        )
    },
    Scenario {
        window: Duration::from_millis(1_500),
        ..scenario(
            "stack-dry-pool",
            "Django with a pool of two connections to PostgreSQL, on eight threads of gunicorn; eight clients that want a query of 40 ms each",
            django_on_gthread,
            Any(&["--clients=8", "--keep-alive=5", "--routes=/postgres/40"]),
            First("back-end", &["cpu-bound"]),
        )
    },
    Scenario {
        window: Duration::from_millis(1_300),
        ..scenario(
            "stack-each-row",
            "Flask that asks Redis 31 times in a request, on cheroot",
            flask_on_cheroot,
            Any(&["--clients=1", "--keep-alive=5", "--think-ms=30", "--routes=/keys/1,/fast"]),
            Usual("back-end"),
        )
    },
];
