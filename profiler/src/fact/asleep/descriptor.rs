//! What a descriptor of another process is.
//!
//! In: `/proc/PID/fd/N` and `fdinfo/N`. Out: [`ObjectSeen`], and whose ends of it are to be found. Another
//! thread of the process may close the descriptor meanwhile: then nothing is said.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use profiler_core::fact::asleep::{FileSeen, ObjectSeen};

use super::ends::{Ends, Which};
use super::fdinfo::FdInfo;
use super::locks::FileNumber;
use super::mounts::Mount;
use super::path::{redacted, redacted_deleted};
use super::{Found, Reader, Sleep, again};
use crate::fact::descriptor::socket_inode;
use crate::fact::read;

/// A thread in one of these waits for a pipe.
const PIPES: [&str; 8] = [
    "pipe_read",
    "pipe_write",
    "anon_pipe_read",
    "anon_pipe_write",
    "fifo_pipe_read",
    "fifo_pipe_write",
    "pipe_wait_readable",
    "pipe_wait_writable",
];
/// Calls that write: write, pwrite64, writev, sendfile, pwritev, pwritev2.
const WRITES: [u32; 6] = [1, 18, 20, 40, 296, 328];

/// An open file of a process.
pub(super) struct Open {
    pub(super) link: String,
    pub(super) info: FdInfo,
    pub(super) mount: Option<Mount>,
}

impl Open {
    /// What distinguishes the file, where that is known.
    pub(super) fn number(&self) -> Option<FileNumber> {
        let mount = self.mount.as_ref()?;
        (self.info.inode != 0).then_some(FileNumber { device: mount.device, inode: self.info.inode })
    }

    /// As a file.
    pub(super) fn file(&self) -> FileSeen {
        let link = self.link.as_str();
        let (path, is_deleted) = link.strip_suffix(" (deleted)").map_or((link, false), |path| (path, true));
        file(path, is_deleted, self.mount.as_ref())
    }
}

/// A file with a path.
pub(super) fn file(path: &str, is_deleted: bool, mount: Option<&Mount>) -> FileSeen {
    FileSeen {
        path: if is_deleted { redacted_deleted(path) } else { redacted(path) },
        is_deleted,
        mount: mount.map(|mount| redacted(&mount.point)).unwrap_or_default(),
        file_system: mount.map(|mount| mount.kind.clone()).unwrap_or_default(),
    }
}

impl Reader {
    /// What a descriptor is; `None`: it is not open, may not be looked at, or changed meanwhile.
    pub(super) fn descriptor(&mut self, sleep: &Sleep<'_>, fd: i32) -> Option<Found> {
        let fd = u32::try_from(fd).ok()?;
        let path = self.proc.of(sleep.tgid, &format!("fd/{fd}"));
        let link = read::link(&path).ok()?;
        let found = self.of_link(sleep, fd, &link)?;
        (read::link(&path).ok()? == link).then_some(found)
    }

    /// A descriptor that leads to a file with a path, or to a pipe.
    pub(super) fn open(&mut self, tgid: u32, fd: u32) -> Option<Open> {
        let link = read::link(&self.proc.of(tgid, &format!("fd/{fd}"))).ok()?;
        let mut info = FdInfo::read(&self.proc.of(tgid, &format!("fdinfo/{fd}")))?;
        let mount = self.mounts.by_id(&self.proc, tgid, info.mount_id);
        if info.inode == 0 && mount.as_ref().is_some_and(Mount::is_local) {
            // Linux before 5.14 does not say it.
            let path = self.proc.of(tgid, &format!("fd/{fd}"));
            info.inode =
                std::fs::metadata(path).map_or(0, |found| std::os::unix::fs::MetadataExt::ino(&found));
        }
        Some(Open { link, info, mount })
    }

    fn of_link(&mut self, sleep: &Sleep<'_>, fd: u32, link: &str) -> Option<Found> {
        if let Some(inode) = socket_inode(link) {
            return Some(self.socket(sleep.tgid, fd, inode));
        }
        if let Some(inode) = link.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']')) {
            let info = FdInfo::read(&self.proc.of(sleep.tgid, &format!("fdinfo/{fd}")))?;
            let ends = Ends::of(link, other_end(&info, sleep));
            return Some(pipe(inode.parse().unwrap_or(0), String::new(), Some(ends)));
        }
        if let Some(name) = link.strip_prefix("anon_inode:") {
            let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            return Some(ObjectSeen::Anonymous { name }.into());
        }
        let open = self.open(sleep.tgid, fd)?;
        if sleep.is_in(&PIPES) || self.is_fifo(sleep.tgid, fd, &open) {
            let ends = open
                .number()
                .map(|number| Ends { file: Some(number), ..Ends::of(link, other_end(&open.info, sleep)) });
            return Some(pipe(open.info.inode, open.file().path, ends));
        }
        if link.starts_with("/dev/") && !link.starts_with("/dev/shm/") && !link.starts_with("/dev/mqueue/") {
            return Some(ObjectSeen::Device { path: link.to_owned() }.into());
        }
        Some(ObjectSeen::File(open.file()).into())
    }

    /// Whether it is a pipe with a name, where that can be asked without waiting for anyone.
    fn is_fifo(&self, tgid: u32, fd: u32, open: &Open) -> bool {
        open.mount.as_ref().is_some_and(Mount::is_local)
            && std::fs::metadata(self.proc.of(tgid, &format!("fd/{fd}")))
                .is_ok_and(|found| found.file_type().is_fifo())
    }

    fn socket(&mut self, tgid: u32, fd: u32, inode: u64) -> Found {
        let ends = |inode: Option<u64>| inode.map(|inode| Ends::of(&format!("socket:[{inode}]"), Which::Any));
        let protocol = protocol(&self.proc.of(tgid, &format!("fd/{fd}")));
        if protocol == "TCP" || protocol == "TCPv6" {
            let found = self.sockets.tcp(&self.proc, tgid, inode, protocol == "TCPv6");
            let missing = found.is_none();
            let found = found.unwrap_or_default();
            let is_listener = !missing && found.peer.is_empty();
            return Found {
                ends: ends(found.other_end),
                again: if missing { self.sockets.pause() } else { again(found.state) }
                    .filter(|_| !is_listener),
                object: ObjectSeen::Tcp {
                    inode,
                    local: found.local,
                    peer: found.peer,
                    state: found.state,
                    others: Vec::new(),
                },
            };
        }
        if protocol.starts_with("UNIX") {
            let found = self.sockets.unix(&self.proc, tgid, inode).unwrap_or_default();
            let path = redacted(&found.path);
            // Who is asked could not be looked for now: a list of listeners was taken a moment ago.
            let is_nameless = path.is_empty() && found.other_end.is_none();
            let again = self.sockets.pause().filter(|_| is_nameless);
            let object = ObjectSeen::Unix { inode, path, waits_at: found.waits_at, others: Vec::new() };
            return Found { object, ends: ends(found.other_end), again };
        }
        ObjectSeen::Anonymous { name: format!("{protocol} socket").trim_start().to_owned() }.into()
    }
}

fn pipe(inode: u64, path: String, ends: Option<Ends>) -> Found {
    Found { object: ObjectSeen::Pipe { inode, path, others: Vec::new() }, ends, again: None }
}

/// Which end of a pipe is the other one.
fn other_end(info: &FdInfo, sleep: &Sleep<'_>) -> Which {
    match info.directions() {
        (true, false) => Which::Writers,
        (false, true) => Which::Readers,
        // Opened for both: a FIFO that keeps itself open.
        _ if sleep.call.number.is_some_and(|number| WRITES.contains(&number)) => Which::Readers,
        _ => Which::Writers,
    }
}

/// The name of a socket's protocol; empty: it cannot be had.
fn protocol(path: &Path) -> String {
    let mut name = [0; 32];
    let length = rustix::fs::getxattr(path, c"system.sockprotoname", &mut name).unwrap_or(0);
    let name = name.get(..length).unwrap_or_default();
    String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()
}
