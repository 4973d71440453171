//! Event loops whose application sleeps and asks a back end, whose questions carry the request's id
//! (`apps/asking.py`).
//!
//! In: which loop, the back end's address. Out: a recipe.

use std::process::Command;

use super::{Place, Recipe};

/// Whose loop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// `gevent.pywsgi.WSGIServer`.
    Gevent,
    /// uvicorn.
    Asyncio,
}

/// `asking` on a loop.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Whose loop it is.
    pub on: Loop,
    /// The back end, `host:port`.
    pub back_end: String,
}

impl Recipe for Asking {
    fn name(&self) -> &'static str {
        match self.on {
            Loop::Gevent => "gevent",
            Loop::Asyncio => "uvicorn",
        }
    }

    fn about(&self) -> String {
        format!("{:?}", self.on)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("python"));
        match self.on {
            Loop::Gevent => command
                .arg(Place::apps().join("serve_pywsgi.py"))
                .args([&host, &port])
                .arg(place.file("access.log"))
                .arg("asking"),
            Loop::Asyncio => command
                .args(["-m", "uvicorn", "--host", &host, "--port", &port, "--no-access-log"])
                .arg("asking:application"),
        };
        command.env("BACKEND_ADDRESS", &self.back_end);
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        None
    }
}
