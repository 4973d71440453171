//! Descriptors that are open at attach: what each is.
//!
//! In: `/proc/PID/fd`, `/proc/PID/fdinfo`, the socket tables. Out: [`DescriptorSeen`], [`ListenerSeen`].

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileTypeExt;

use profiler_core::fact::{DescriptorClass, DescriptorSeen, ListenerSeen};

use super::socket::Socket;
use super::{FactError, Proc, read};

/// Descriptors looked at per process.
const MAX_DESCRIPTORS: usize = 65_536;
/// Descriptors kept of one interest list.
const MAX_INTEREST: usize = 65_536;
/// TCP states in which a socket has, or had, a peer.
const CONNECTED: [u8; 8] = [1, 2, 4, 5, 6, 8, 9, 11];

/// Open descriptors of a process and what their links say, ascending.
///
/// # Errors
/// When the process is gone or may not be looked at.
pub fn open_files(proc: &Proc, tgid: u32) -> Result<Vec<(i32, String)>, FactError> {
    let path = proc.of(tgid, "fd");
    let numbers =
        read::numbers(&path, MAX_DESCRIPTORS).map_err(|error| FactError::of_process(tgid, &path, error))?;
    let target = |number: u32| {
        let target = read::link(&path.join(number.to_string())).ok()?;
        Some((i32::try_from(number).ok()?, target))
    };
    Ok(numbers.into_iter().filter_map(target).collect())
}

/// How many descriptors a process has open; `None`: it is gone, or they would have to be counted and may not
/// be.
pub(crate) fn open_count(proc: &Proc, tgid: u32, may_count: bool) -> Option<u64> {
    let path = proc.of(tgid, "fd");
    match std::fs::metadata(&path).ok()?.len() {
        // Before Linux 6.2.
        0 if may_count => Some(read::numbers(&path, MAX_DESCRIPTORS).ok()?.len() as u64),
        0 => None,
        open => Some(open),
    }
}

/// Inode of `socket:[4242]`.
pub fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// What the listeners of a server look like, to tell clients from back ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    ports: HashSet<u16>,
    paths: HashSet<String>,
}

impl Listening {
    /// The listeners among these sockets.
    pub fn among<'a>(sockets: impl Iterator<Item = &'a Socket>) -> Self {
        let mut result = Self::default();
        for socket in sockets.filter(|socket| socket.is_listening()) {
            match socket {
                Socket::Tcp { local, .. } => {
                    result.ports.insert(local.port());
                }
                Socket::Unix { path: Some(path), .. } => {
                    result.paths.insert(path.clone());
                }
                Socket::Unix { path: None, .. } => {}
            }
        }
        result
    }
}

/// What the descriptors of a process are.
pub fn descriptors(
    proc: &Proc,
    tgid: u32,
    open_files: &[(i32, String)],
    sockets: &HashMap<u64, Socket>,
    listening: &Listening,
) -> Vec<DescriptorSeen> {
    let seen = |(fd, target): &(i32, String)| {
        let class = match class(target, sockets, listening) {
            // A pipe with a name has a path like a file.
            DescriptorClass::File if is_fifo(proc, tgid, *fd) => DescriptorClass::Wakeup,
            class => class,
        };
        let is_epoll = class == DescriptorClass::Epoll;
        let (interest, interest_events) = if is_epoll { interest(proc, tgid, *fd) } else { <_>::default() };
        let local_port = if matches!(class, DescriptorClass::Backend { .. }) {
            own_port(target, sockets).unwrap_or(0)
        } else {
            0
        };
        DescriptorSeen { tgid, fd: *fd, class, interest, interest_events, shared: false, local_port }
    };
    open_files.iter().map(seen).collect()
}

/// The listening sockets among the descriptors of a process.
pub fn listeners(
    tgid: u32,
    open_files: &[(i32, String)],
    sockets: &HashMap<u64, Socket>,
) -> Vec<ListenerSeen> {
    let seen = |(fd, target): &(i32, String)| {
        let inode = socket_inode(target)?;
        let socket = sockets.get(&inode).filter(|socket| socket.is_listening())?;
        let (family, address, port) = match socket {
            Socket::Tcp { v6, local, .. } => {
                (if *v6 { "tcp6" } else { "tcp" }, local.to_string(), local.port())
            }
            Socket::Unix { path, .. } => ("unix", path.clone().unwrap_or_default(), 0),
        };
        let backlog = socket.queue().map_or(0, |queue| queue.limit);
        Some(ListenerSeen { tgid, fd: *fd, inode, family: family.to_owned(), address, port, backlog })
    };
    open_files.iter().filter_map(seen).collect()
}

/// Whether a descriptor is a pipe. What cannot be looked at is none.
fn is_fifo(proc: &Proc, tgid: u32, fd: i32) -> bool {
    let path = proc.of(tgid, "fd").join(fd.to_string());
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

fn own_port(target: &str, sockets: &HashMap<u64, Socket>) -> Option<u16> {
    match sockets.get(&socket_inode(target)?)? {
        Socket::Tcp { local, .. } => Some(local.port()),
        Socket::Unix { .. } => None,
    }
}

fn class(target: &str, sockets: &HashMap<u64, Socket>, listening: &Listening) -> DescriptorClass {
    if let Some(inode) = socket_inode(target) {
        return socket_class(inode, sockets, listening);
    }
    if target.starts_with("pipe:[") {
        return DescriptorClass::Wakeup;
    }
    match target {
        "anon_inode:[eventfd]" => DescriptorClass::Wakeup,
        "anon_inode:[eventpoll]" => DescriptorClass::Epoll,
        // Devices are terminals and /dev/null far more often than disks.
        path if path.starts_with("/dev/") && !path.starts_with("/dev/shm/") => DescriptorClass::Other,
        path if path.starts_with('/') => DescriptorClass::File,
        _ => DescriptorClass::Other,
    }
}

fn socket_class(inode: u64, sockets: &HashMap<u64, Socket>, listening: &Listening) -> DescriptorClass {
    match sockets.get(&inode) {
        Some(socket) if socket.is_listening() => DescriptorClass::Listener,
        Some(Socket::Tcp { local, remote, state, .. }) if CONNECTED.contains(state) => {
            if listening.ports.contains(&local.port()) {
                DescriptorClass::Client
            } else {
                DescriptorClass::Backend { port: remote.port() }
            }
        }
        Some(Socket::Unix { path: Some(path), connected: true, .. }) if listening.paths.contains(path) => {
            DescriptorClass::Client
        }
        Some(Socket::Unix { path: None, connected: true, peer, .. }) => {
            // The peer of a connect is the other server's accepted socket, which shows that server's path.
            // Where the kernel does not say who the peer is: the two ends of a socketpair are
            // made together and have neighbouring inodes.
            let nameless = |neighbour: u64| {
                matches!(sockets.get(&neighbour), Some(Socket::Unix { path: None, connected: true, .. }))
            };
            let is_pair = match peer {
                Some(peer) => nameless(*peer),
                None => nameless(inode.wrapping_add(1)) || nameless(inode.wrapping_sub(1)),
            };
            if is_pair { DescriptorClass::Wakeup } else { DescriptorClass::Backend { port: 0 } }
        }
        _ => DescriptorClass::Socket,
    }
}

/// Interest list of an epoll instance, and the events of each descriptor in it: the `tfd:` lines of its
/// fdinfo.
fn interest(proc: &Proc, tgid: u32, epoll_fd: i32) -> (Vec<i32>, Vec<u32>) {
    let (mut list, mut asked) = (Vec::new(), Vec::new());
    // An instance that was closed meanwhile has no list.
    let _ = read::lines(&proc.of(tgid, &format!("fdinfo/{epoll_fd}")), 16 * 1024 * 1024, |line| {
        let mut words = line.split_whitespace();
        let is_entry = words.next() == Some("tfd:");
        if let Some(fd) = words.next().filter(|_| is_entry).and_then(|number| number.parse().ok()) {
            let events = words.skip_while(|word| *word != "events:").nth(1);
            list.push(fd);
            asked.push(events.and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0));
        }
        list.len() < MAX_INTEREST
    });
    (list, asked)
}

#[cfg(test)]
#[path = "descriptor/tests.rs"]
mod tests;
