//! Twisted Web with a WSGI application: a reactor that reads and writes, threads that run the application.
//!
//! In: nothing. Out: a recipe. Its log has no times. What the application sees of a request ends before the
//! reactor has written, and begins when a thread has the interpreter lock: the witness sits at the reactor's
//! sockets.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// `twist web --wsgi`.
#[derive(Clone, Copy, Debug)]
pub struct Twisted;

/// `twist web --class`: a resource that runs on the reactor itself.
#[derive(Clone, Copy, Debug)]
pub struct Reactor;

fn command(place: &Place, application: [&str; 2]) -> Command {
    let (host, port) = place.address.host_and_port();
    let mut command = Command::new(Place::servers_program("python"));
    command.args(["-m", "twisted", "web", "--listen", &format!("tcp:{port}:interface={host}")]);
    command.args(application);
    command
}

impl Recipe for Twisted {
    fn name(&self) -> &'static str {
        "twisted"
    }

    fn about(&self) -> String {
        "twist web --wsgi".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        Ok(vec![command(place, ["--wsgi", "reactor_pool_app.app"])])
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked" }
    }

    fn unexplained(&self) -> f64 {
        0.10
    }
}

impl Recipe for Reactor {
    fn name(&self) -> &'static str {
        "twisted"
    }

    fn about(&self) -> String {
        "twist web --class".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        Ok(vec![command(place, ["--class", "reactor_app.Application"])])
    }

    fn slots(&self) -> Option<u64> {
        None
    }
}
