//! Work inside the network namespace of a process.
//!
//! In: a process, a piece of work. Out: what the work gave. A thread that exists for this alone changes its
//! namespace, and only where it differs from ours: nothing else of this program ever leaves its own.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::fact::{Proc, read};

/// Why a namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The process is gone, or may not be looked at.
    #[error("the network namespace of process {pid} cannot be opened: {source}")]
    Closed {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// The kernel refuses (it takes `CAP_SYS_ADMIN`).
    #[error("the network namespace of process {pid} may not be entered: {source}")]
    Refused {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// No thread could be started, or it failed.
    #[error("no thread could be started for another network namespace")]
    NoThread,
}

/// Does `work` inside the network namespace of `pid`, and waits for it.
pub(crate) fn inside<T: Send>(
    proc: &Proc,
    pid: u32,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NamespaceError> {
    let path = proc.of(pid, "ns/net");
    let there = read::link(&path).map_err(|source| NamespaceError::Closed { pid, source })?;
    if read::link(&proc.path("thread-self/ns/net")).is_ok_and(|here| here == there) {
        return Ok(work());
    }
    let namespace = File::open(&path).map_err(|source| NamespaceError::Closed { pid, source })?;
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| NamespaceError::Refused { pid, source: error.into() })?;
                Ok(work())
            });
        let thread = thread.ok().ok_or(NamespaceError::NoThread)?;
        thread.join().unwrap_or(Err(NamespaceError::NoThread))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_for_a_process_of_our_own_namespace_stays_on_this_thread() {
        let here = std::thread::current().id();
        let there = inside(&Proc::default(), std::process::id(), || std::thread::current().id());
        assert_eq!(there.expect("own namespace"), here);
    }

    #[test]
    fn process_that_is_gone_has_no_namespace() {
        let answer = inside(&Proc::default(), u32::MAX, || ());
        assert!(matches!(answer, Err(NamespaceError::Closed { pid: u32::MAX, .. })), "{answer:?}");
    }
}
