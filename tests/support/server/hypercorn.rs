//! hypercorn on trio, or on asyncio's loop: an ASGI application of coroutines.
//!
//! In: the loop. Out: a recipe. The witness sits in the application. (A WSGI application does not come up on
//! trio with hypercorn 0.18.0.)

use std::process::Command;

use super::{Clients, Place, Recipe};

/// hypercorn with one worker.
#[derive(Clone, Copy, Debug)]
pub struct Hypercorn {
    /// As hypercorn's `--worker-class` takes it.
    event_loop: &'static str,
    application: &'static str,
    kinds: &'static str,
}

impl Hypercorn {
    /// On trio it serves `trio_app`.
    pub const ON_TRIO: Self = Self { event_loop: "trio", application: "trio_app:application", kinds: "get" };
    /// On asyncio it serves `asgi_app`.
    pub const ON_ASYNCIO: Self = Self {
        event_loop: "asyncio",
        application: "asgi_app:application",
        kinds: "get=6,head,sized,chunked",
    };
}

impl Recipe for Hypercorn {
    fn name(&self) -> &'static str {
        "hypercorn"
    }

    fn about(&self) -> String {
        format!("hypercorn on {}", self.event_loop)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::trio_program("python"));
        command.args(["-m", "hypercorn", "--worker-class", self.event_loop]);
        command.args(["--bind", &format!("{host}:{port}"), self.application]);
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: self.kinds }
    }

    /// Where coroutines interleave, no descriptor tells which of two runs.
    fn unexplained(&self) -> f64 {
        0.10
    }
}
