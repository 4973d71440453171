//! Addresses of servers on this machine, and free ports for them.
//!
//! In: a host of loopback. Out: an [`Address`] that no other server of this program has.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// An address in the server's directory or on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8000` or `[::1]:8000`.
    Tcp(String),
    /// Path of a UNIX socket.
    Unix(PathBuf),
}

impl Address {
    /// Host without brackets, and port; a UNIX socket has its path and none.
    pub fn host_and_port(&self) -> (String, String) {
        match self {
            Self::Tcp(address) => {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
                (host.trim_matches(['[', ']']).to_owned(), port.to_owned())
            }
            Self::Unix(path) => (path.display().to_string(), String::new()),
        }
    }
}

impl std::fmt::Display for Address {
    /// As most servers take it: `host:port`, or the path.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => formatter.write_str(address),
            Self::Unix(path) => path.display().fmt(formatter),
        }
    }
}

/// Ports that were given to servers of this program. Until such a server listens the system may give its port
/// again, and servers that share ports (`SO_REUSEPORT`) would share their clients.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A free port of `host` that no other server of this program has or had.
pub(crate) fn free(host: &str) -> anyhow::Result<Address> {
    for _ in 0..100 {
        let address = TcpListener::bind((host, 0))?.local_addr()?;
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(address.port()) {
            return Ok(Address::Tcp(address.to_string()));
        }
    }
    anyhow::bail!("the system gives the same ports again and again")
}
