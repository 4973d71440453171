//! What a network namespace says of all its listeners together.
//!
//! In: `/proc/PID/ns/net`, `/proc/PID/net/netstat`, `net.core.somaxconn` as seen from inside the namespace.
//! Out: [`NetworkCounters`].

use std::os::unix::fs::MetadataExt as _;

use profiler_core::fact::queue::NetworkCounters;

use super::socket::namespace::inside;
use super::{Proc, read};

/// Bytes of a table of counters.
const MAX_COUNTERS_BYTES: u64 = 256 * 1024;

/// What identifies a network namespace: its inode.
pub(crate) type Namespace = u64;

/// The network namespace of a process; `None`: it is gone, or may not be looked at.
pub(crate) fn namespace(proc: &Proc, pid: u32) -> Option<Namespace> {
    std::fs::metadata(proc.of(pid, "ns/net")).ok().map(|namespace| namespace.ino())
}

/// `net.core.somaxconn` where the process is; `None` where the namespace cannot be entered.
pub(crate) fn somaxconn(proc: &Proc, pid: u32) -> Option<u32> {
    let path = proc.path("sys/net/core/somaxconn");
    inside(proc, pid, || read::text(&path, 64).ok()).ok()??.trim().parse().ok()
}

/// Cumulative counters of the namespace of a process. The namespace itself and `somaxconn` are left blank.
pub(crate) fn counters(proc: &Proc, pid: u32) -> Option<NetworkCounters> {
    let text = read::text(&proc.of(pid, "net/netstat"), MAX_COUNTERS_BYTES).ok()?;
    let mut counters = NetworkCounters::default();
    for (name, value) in tcp_counters(&text) {
        match name {
            "ListenOverflows" => counters.listen_overflows = value,
            "ListenDrops" => counters.listen_drops = value,
            "TCPReqQFullDrop" => counters.request_queue_full = value,
            "TCPDeferAcceptDrop" => counters.deferred = value,
            _ => {}
        }
    }
    Some(counters)
}

/// A line of names, then one of values, each begun by its group.
fn tcp_counters(text: &str) -> impl Iterator<Item = (&str, u64)> {
    const GROUP: &str = "TcpExt: ";
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(GROUP));
    let names = lines.next().unwrap_or_default().split_ascii_whitespace();
    let values = lines.next().unwrap_or_default().split_ascii_whitespace();
    names.zip(values).filter_map(|(name, value)| Some((name, value.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: A\nIpExt: 7\n";
        let found: Vec<_> = tcp_counters(text).collect();
        assert_eq!(found, [("SyncookiesSent", 1), ("ListenOverflows", 22), ("ListenDrops", 333)]);
        assert_eq!(tcp_counters("TcpExt: A B\nTcpExt: x").count(), 0);
        assert_eq!(tcp_counters("").count(), 0);
    }

    #[test]
    fn our_own_namespace_has_counters_and_a_limit() {
        let (proc, own) = (Proc::default(), std::process::id());
        assert!(counters(&proc, own).is_some() && namespace(&proc, own).is_some());
        assert!(somaxconn(&proc, own).is_some_and(|limit| limit > 0));
        assert!(namespace(&proc, u32::MAX).is_none() && counters(&proc, u32::MAX).is_none());
    }
}
