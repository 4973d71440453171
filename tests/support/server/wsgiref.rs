//! wsgiref, the reference server of the standard library: one thread does everything.
//!
//! In: nothing. Out: a recipe.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// `wsgiref.simple_server` in a script of a few lines.
#[derive(Clone, Copy, Debug)]
pub struct Wsgiref;

impl Recipe for Wsgiref {
    fn name(&self) -> &'static str {
        "wsgiref"
    }

    fn about(&self) -> String {
        "wsgiref".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("python"));
        command.arg(Place::apps().join("serve_wsgiref.py")).args([&host, &port]);
        Ok(vec![command])
    }

    fn shares_gil(&self) -> bool {
        false
    }

    /// It has no setting: its slot is the one that is seen.
    fn slots(&self) -> Option<u64> {
        None
    }

    /// HTTP/1.0, and no end of a body: an application that reads on waits for its client for ever.
    fn clients(&self) -> Clients {
        Clients { keep_alive: "1", kinds: "get=6,head" }
    }
}
