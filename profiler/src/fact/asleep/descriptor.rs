//! What a descriptor of another process is.
//!
//! In: `/proc/PID/fd/N` and `fdinfo/N`. Out: [`ObjectSeen`]. Another thread of the process may close the
//! descriptor meanwhile: then nothing is said.

use std::path::Path;

use profiler_core::fact::asleep::{ConnectionState, FileSeen, ObjectSeen};

use crate::fact::descriptor::socket_inode;
use crate::fact::{Proc, read};

/// What a descriptor is; `None`: it is not open, may not be looked at, or changed meanwhile.
pub(super) fn object(proc: &Proc, tgid: u32, fd: i32) -> Option<ObjectSeen> {
    let fd = u32::try_from(fd).ok()?;
    let path = proc.of(tgid, &format!("fd/{fd}"));
    let link = read::link(&path).ok()?;
    let object = of_link(&path, &link);
    (read::link(&path).ok()? == link).then_some(object)
}

fn of_link(path: &Path, link: &str) -> ObjectSeen {
    if let Some(inode) = socket_inode(link) {
        return socket(path, inode);
    }
    if let Some(inode) = link.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']')) {
        return ObjectSeen::Pipe {
            inode: inode.parse().unwrap_or(0),
            path: String::new(),
            others: Vec::new(),
        };
    }
    if let Some(name) = link.strip_prefix("anon_inode:") {
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        return ObjectSeen::Anonymous { name };
    }
    if link.starts_with("/dev/") && !link.starts_with("/dev/shm/") && !link.starts_with("/dev/mqueue/") {
        return ObjectSeen::Device { path: link.to_owned() };
    }
    let (path, is_deleted) = link.strip_suffix(" (deleted)").map_or((link, false), |path| (path, true));
    ObjectSeen::File(FileSeen { path: path.to_owned(), is_deleted, ..FileSeen::default() })
}

/// A socket, by its protocol's name.
fn socket(path: &Path, inode: u64) -> ObjectSeen {
    let mut name = [0; 32];
    let length = rustix::fs::getxattr(path, c"system.sockprotoname", &mut name).unwrap_or(0);
    let name = name.get(..length).unwrap_or_default();
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    match name.as_str() {
        "TCP" | "TCPv6" => ObjectSeen::Tcp {
            inode,
            local: String::new(),
            peer: String::new(),
            state: ConnectionState::Unknown,
            others: Vec::new(),
        },
        name if name.starts_with("UNIX") => {
            ObjectSeen::Unix { inode, path: String::new(), others: Vec::new() }
        }
        _ => ObjectSeen::Anonymous { name: format!("socket {name}") },
    }
}
