//! What is learned outside the kernel programs: processes, sockets, descriptors, cgroups, the host.
//!
//! In: `/proc` and `/sys`. Out: facts of `profiler_core::fact`. Every read has a bound; a process may vanish
//! between any two reads, and is then skipped or a typed error. What a process shows of itself is hostile.

pub mod asleep;
pub mod budget;
pub mod cgroup;
pub mod container;
pub mod descriptor;
pub mod find;
pub mod front_end;
pub mod gather;
pub mod holders;
pub mod last_ran;
pub mod machine;
mod mapping;
pub mod memory;
pub mod network;
pub mod openssl;
pub mod process;
pub mod python;
mod read;
mod same;
pub mod sample;
pub mod schedule;
mod served;
pub mod session;
pub mod socket;
pub mod tree;

use std::io;
use std::path::{Path, PathBuf};

use crate::capability::LOOKING_WANTED;

pub use front_end::{Watched, find_front_end};
pub use gather::{ServerFacts, server_facts};
pub use tree::{Tree, process_tree, server_tree};

/// Where `/proc` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    root: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Self::at("/proc")
    }
}

impl Proc {
    /// A `/proc` at another place, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether it is the kernel's own, of which the kernel can be asked in other ways too.
    fn is_real(&self) -> bool {
        self.root == Path::new("/proc")
    }

    /// `/proc/NAME`.
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `/proc/PID/NAME`.
    fn of(&self, pid: u32, name: &str) -> PathBuf {
        let mut path = self.root.join(pid.to_string());
        path.push(name);
        path
    }
}

/// Why a fact could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// There is no such process (any more).
    #[error("there is no process {pid}; wsgi-trace list shows the WSGI servers that run")]
    NoSuchProcess {
        /// The process.
        pid: u32,
    },
    /// There is no such process here; processes of containers have that number there.
    #[error("there is no process {pid} here; in a container that is process {}: name it by this number, with --pid", pids(.here))]
    NumberedElsewhere {
        /// The process.
        pid: u32,
        /// Numbers here of those that have it in their own PID namespace.
        here: Vec<u32>,
    },
    /// What runs in it has a kernel of its own, of which this one sees nothing.
    #[error(
        "process {pid} is a sandbox of gVisor (runsc), which has a kernel of its own: nothing in it can be seen from here; to trace the server, run it with another runtime"
    )]
    Sandbox {
        /// The process.
        pid: u32,
    },
    /// The kernel does not let us look.
    #[error("process {pid} may not be looked at by this user: run as root, or with {LOOKING_WANTED}")]
    NotPermitted {
        /// The process.
        pid: u32,
    },
    /// Nothing listens on the port, or nothing that may be seen.
    #[error("nothing listens on TCP port {port}{}", if *.hidden { format!(" in a process that this user may look at: run as root, or with {LOOKING_WANTED}") } else { "; wsgi-trace list shows the WSGI servers that run".to_owned() })]
    NothingOnPort {
        /// The port.
        port: u16,
        /// Something listens there, but whose it is cannot be seen.
        hidden: bool,
    },
    /// No server has the name.
    #[error("no running server is called {name:?}; wsgi-trace list shows the WSGI servers that run")]
    NoServerNamed {
        /// The name.
        name: String,
    },
    /// The way in leads to several servers.
    #[error("{what} leads to several servers: choose one with --pid ({})", pids(.roots))]
    Several {
        /// The name or port.
        what: String,
        /// Their topmost processes.
        roots: Vec<u32>,
    },
    /// Nothing stands before the server, as far as can be seen.
    #[error(
        "no nginx, Apache or other known proxy listens on this host; name a process of what is in front of the server: --with-front-end=PID"
    )]
    NoFrontEnd,
    /// More than one proxy may stand before the server.
    #[error("more than one proxy may be in front of the server: choose one with --with-front-end=PID ({})", pids(.roots))]
    SeveralFrontEnds {
        /// Their topmost processes.
        roots: Vec<u32>,
    },
    /// What was named as front end is the server itself.
    #[error("process {pid} belongs to the server itself, not to a proxy in front of it")]
    NotInFront {
        /// The process.
        pid: u32,
    },
    /// A file that should be there cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn pids(roots: &[u32]) -> String {
    roots.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

impl FactError {
    /// An error met while reading a file of a process.
    fn of_process(pid: u32, path: &Path, source: io::Error) -> Self {
        // A process that ends while its file is open gives ESRCH instead of ENOENT.
        const ESRCH: i32 = 3;
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoSuchProcess { pid },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { pid },
            _ if source.raw_os_error() == Some(ESRCH) => Self::NoSuchProcess { pid },
            _ => Self::Unreadable { path: path.to_owned(), source },
        }
    }
}
