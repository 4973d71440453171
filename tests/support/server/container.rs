//! A server in a container of its own: any recipe, run by podman on the machine's own root file system, which
//! it cannot change.
//!
//! In: a recipe, podman's options. Out: a recipe. Processes, mounts, control group, capabilities and system
//! calls are the container's; the network is the machine's, so that clients reach the server. What podman
//! keeps of the container is in the server's directory; what it keeps for all containers stays where it is on
//! this machine.

use std::process::Command;

use anyhow::Context as _;

use super::{Place, Recipe, copy_environment};
use crate::podman;

/// The file that names the PID of the container's first process.
const PID_FILE: &str = "container.pid";

/// A server in a container.
#[derive(Debug)]
pub struct Container<R> {
    /// The server.
    pub server: R,
    /// Further options of `podman run`.
    pub options: &'static [&'static str],
}

impl<R: Recipe> Recipe for Container<R> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        format!("{}, in a container {:?}", self.server.about(), self.options)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.server.commands(place)?;
        let server = commands.first_mut().context("no command")?;
        let mut podman = podman::run(place.directory());
        // What the server says and is told it says and is told through files of its directory, and its
        // environment.
        podman.arg("--env-host").arg("--volume").arg(format!("{0}:{0}", place.directory().display()));
        podman.arg("--pidfile").arg(place.file(PID_FILE)).args(self.options);
        podman.args(podman::ROOT).arg(server.get_program()).args(server.get_args());
        copy_environment(server, &mut podman);
        *server = podman;
        Ok(commands)
    }

    /// What is in the container is in no group of ours.
    fn must_be_asked_to_end(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.server)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }

    fn pid_file(&self) -> Option<&'static str> {
        Some(PID_FILE)
    }
}
