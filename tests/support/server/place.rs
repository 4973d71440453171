//! Where a server stands: its directory, its addresses, what its environment says.
//!
//! In: what kind of address it wants. Out: a [`Place`], gone when dropped.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::address::{Address, free};
use crate::environment;

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1, a free port.
    Ipv4,
    /// `::1`, a free port.
    Ipv6,
    /// A UNIX socket.
    Unix,
}

/// A server's directory and addresses.
#[derive(Debug)]
pub struct Place {
    /// Where clients reach it.
    pub address: Address,
    /// `host:port` of the back end.
    pub backend: String,
    directory: Arc<TempDir>,
}

impl Place {
    pub(super) fn new(listen: Listen, backend: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("wsgi-trace-test-").tempdir()?;
        let address = match listen {
            Listen::Ipv4 => free("127.0.0.1")?,
            Listen::Ipv6 => free("::1")?,
            Listen::Unix => Address::Unix(directory.path().join("server.sock")),
        };
        Ok(Self { address, backend: backend.to_owned(), directory: Arc::new(directory) })
    }

    /// This place with another address: for what stands behind a front end.
    pub fn at(&self, address: Address) -> Self {
        Self { address, backend: self.backend.clone(), directory: Arc::clone(&self.directory) }
    }

    /// The server's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in the server's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A further address on loopback, for what stands behind a front end.
    ///
    /// # Errors
    ///
    /// Where there is no free port.
    pub fn another_address(&self) -> anyhow::Result<Address> {
        free("127.0.0.1")
    }

    /// Directory of the demo applications.
    pub fn apps() -> PathBuf {
        crate::root().join("tests/apps")
    }

    /// A program of the environment that holds the other servers (`make setup`).
    pub fn servers_program(name: &str) -> PathBuf {
        environment::program("venv-servers", name)
    }

    /// A program of the environment with uvloop and FastAPI (`make setup`).
    pub fn asgi_program(name: &str) -> PathBuf {
        environment::program("venv-asgi", name)
    }

    /// A program of the environment with trio and hypercorn (`make setup`).
    pub fn trio_program(name: &str) -> PathBuf {
        environment::program("venv-trio", name)
    }

    /// A program of the environment with Daphne (`make setup`).
    pub fn daphne_program(name: &str) -> PathBuf {
        environment::program("venv-daphne", name)
    }

    /// The environment, directory and outputs that every server gets. Standard output goes to `output.log`,
    /// standard error to `error.log`.
    pub(super) fn prepare(&self, command: &mut Command) -> anyhow::Result<()> {
        let append = |name: &str| -> std::io::Result<File> {
            OpenOptions::new().append(true).create(true).open(self.file(name))
        };
        // What a recipe has set itself stands.
        let own: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        for (name, value) in [
            ("BACKEND_ADDRESS", self.backend.clone().into()),
            ("WITNESS_FILE", self.file("witness.jsonl")),
            ("REQUEST_LOG", self.file("requests.jsonl")),
            ("READY_FILE", self.file("ready")),
            ("PYTHONPATH", Self::apps()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ] {
            if !own.iter().any(|known| known == name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).stdout(append("output.log")?).stderr(append("error.log")?);
        Ok(())
    }
}
