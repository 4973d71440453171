//! Servers of an application whose parts compute (`apps/parts.py`), which knows for how long.
//!
//! In: which server. Out: a recipe, and what the application knows.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use anyhow::Context as _;

use super::{Place, Recipe};
use crate::address::Address;
use crate::environment;

/// `parts`, served by one process with four threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// By a worker of gunicorn.
    Gthread,
    /// By uWSGI, whose main thread the interpreter knows by its parent's number.
    Uwsgi,
}

/// Seconds of each function, by path.
pub type Seconds = BTreeMap<String, BTreeMap<String, f64>>;

impl Parts {
    /// What the application knows.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn seconds(address: &Address) -> anyhow::Result<Seconds> {
        let (host, port) = address.host_and_port();
        let mut stream = TcpStream::connect((host.as_str(), port.parse()?))?;
        stream.write_all(b"GET /truth HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        Ok(serde_json::from_str(body)?)
    }
}

impl Recipe for Parts {
    fn name(&self) -> &'static str {
        match self {
            Self::Gthread => "gunicorn",
            Self::Uwsgi => "uwsgi",
        }
    }

    fn about(&self) -> String {
        format!("parts that compute, {self:?}")
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let address = place.address.to_string();
        let command = match self {
            Self::Gthread => {
                let mut command = Command::new(environment::program("venv-reported", "python"));
                command.args(["-m", "gunicorn", "--worker-class", "gthread", "--workers", "1"]);
                command.args(["--bind", &address, "--threads", "4", "--no-control-socket"]);
                command.arg("--chdir").arg(Place::apps()).arg("parts:app");
                command
            }
            Self::Uwsgi => {
                let mut command = Command::new(Place::servers_program("uwsgi"));
                command.args(["--http-socket", &address, "--processes", "1", "--threads", "4"]);
                command.args(["--master", "--die-on-term", "--disable-logging", "--module", "parts:app"]);
                command.arg("--chdir").arg(Place::apps());
                command
            }
        };
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        Some(4)
    }
}
