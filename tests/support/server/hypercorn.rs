//! hypercorn on trio, or on asyncio's loop: an ASGI application of coroutines.
//!
//! In: nothing. Out: a recipe. The witness sits in the application. (A WSGI application does not come up on trio with hypercorn 0.18.0.)

use std::process::Command;

use super::{Clients, Place, Recipe};

/// hypercorn with one worker on trio, which serves `trio_app`.
#[derive(Clone, Copy, Debug)]
pub struct Hypercorn;

impl Recipe for Hypercorn {
    fn name(&self) -> &'static str {
        "hypercorn"
    }

    fn about(&self) -> String {
        "hypercorn on trio".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::trio_program("python"));
        command.args(["-m", "hypercorn", "--worker-class", "trio", "--bind", &format!("{host}:{port}")]);
        command.arg("trio_app:application");
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get" }
    }
}

/// hypercorn with one worker on asyncio, which serves `asgi_app`.
#[derive(Clone, Copy, Debug)]
pub struct OnAsyncio;

impl Recipe for OnAsyncio {
    fn name(&self) -> &'static str {
        "hypercorn"
    }

    fn about(&self) -> String {
        "hypercorn on asyncio".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::trio_program("python"));
        command.args(["-m", "hypercorn", "--worker-class", "asyncio", "--bind", &format!("{host}:{port}")]);
        command.arg("asgi_app:application");
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked" }
    }

    /// Where coroutines interleave, no descriptor tells which of two runs.
    fn unexplained(&self) -> f64 {
        0.10
    }
}
