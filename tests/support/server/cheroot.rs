//! cheroot alone, and in CherryPy: one thread accepts, a pool reads, runs and writes.
//!
//! In: the number of threads. Out: recipes.

use std::process::Command;

use super::{Place, Recipe};

/// `python -m cheroot` with so many threads.
#[derive(Clone, Copy, Debug)]
pub struct Cheroot {
    /// Pool threads.
    pub threads: u32,
}

impl Recipe for Cheroot {
    fn name(&self) -> &'static str {
        "cheroot"
    }

    fn about(&self) -> String {
        format!("cheroot, {} threads", self.threads)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut command = Command::new(Place::servers_program("python"));
        command.args(["-m", "cheroot", "--bind", &place.address.to_string()]);
        command.args(["--threads", &self.threads.to_string(), "witnessed:app"]);
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        Some(u64::from(self.threads))
    }
}

/// cheroot with its own TLS, which takes a script: `--certfile` and `--keyfile` are [`super::tls`]'s.
#[derive(Clone, Copy, Debug)]
pub struct EncryptedCheroot {
    /// Without TLS.
    pub server: Cheroot,
    /// For how many seconds it keeps a connection that is idle.
    pub keeps_seconds: u32,
}

impl EncryptedCheroot {
    /// With cheroot's own limit of idle time.
    pub const fn of(server: Cheroot) -> Self {
        Self { server, keeps_seconds: 10 }
    }
}

impl Recipe for EncryptedCheroot {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        self.server.about()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut command = Command::new(Place::servers_program("python"));
        command.arg(Place::apps().join("serve_cheroot.py")).args(["--bind", &place.address.to_string()]);
        command.args(["--threads", &self.server.threads.to_string()]);
        command.args(["--timeout", &self.keeps_seconds.to_string()]);
        Ok(vec![command])
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.server)
    }

    /// No: cheroot closes the connection after an exception, whatever its client has sent on it since.
    fn answers_exceptions(&self) -> bool {
        false
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}

/// `cherryd` with so many threads, said in its configuration file.
#[derive(Clone, Copy, Debug)]
pub struct CherryPy {
    /// Pool threads.
    pub threads: u32,
}

impl Recipe for CherryPy {
    fn name(&self) -> &'static str {
        "cherrypy"
    }

    fn about(&self) -> String {
        format!("CherryPy, {} threads", self.threads)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let threads = self.threads;
        std::fs::write(
            place.file("cherry.conf"),
            format!(
                "[global]\nserver.socket_host: {host:?}\nserver.socket_port: {port}\nserver.thread_pool: {threads}\n\
                 engine.autoreload.on: False\nlog.screen: False\n"
            ),
        )?;
        std::fs::write(
            place.file("grafted.py"),
            "import cherrypy\nimport witnessed\ncherrypy.tree.graft(witnessed.app, '')\n",
        )?;
        let mut command = Command::new(Place::servers_program("cherryd"));
        command.arg("-c").arg(place.file("cherry.conf")).arg("-P").arg(place.directory());
        command.args(["-i", "grafted"]);
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        Some(u64::from(self.threads))
    }
}
