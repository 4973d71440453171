//! Daphne: an ASGI application of coroutines on asyncio's loop, whose connections are those of Twisted's
//! reactor.
//!
//! In: nothing. Out: a recipe. Its log has no times: the witness sits in the application, and ends as that
//! hands its response over, which the reactor writes one iteration of the loop later.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// Daphne, which has one process.
#[derive(Clone, Copy, Debug)]
pub struct Daphne;

impl Recipe for Daphne {
    fn name(&self) -> &'static str {
        "daphne"
    }

    fn about(&self) -> String {
        "Daphne".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::daphne_program("daphne"));
        command.args(["--bind", &host, "--port", &port, "asgi_app:application"]);
        Ok(vec![command])
    }

    /// No: daphne looks once a second for applications that have ended with an exception, and answers only
    /// then.
    fn answers_exceptions(&self) -> bool {
        false
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked" }
    }

    /// Where coroutines interleave, no descriptor tells which of two runs.
    fn unexplained(&self) -> f64 {
        0.10
    }
}
