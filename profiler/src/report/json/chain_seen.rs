//! `seen` of a leaf: what a look at a sleeping thread saw of what it waited for.
//!
//! In: an object of a snapshot. Out: a serialisable view of it.

use profiler_common::system_call;
use profiler_core::fact::asleep::{ConnectionState, ObjectSeen, OtherProcess};

view! {
    /// What one look from outside saw, as the thread slept.
    pub(super) struct SeenView<'a>(object: &'a ObjectSeen) with {
        let file = file(object);
    } {
        /// What it is: file, file_lock, pipe, unix, tcp, device, anonymous, child, by (who stopped or traces
        /// the process).
        what: &'static str = what(object),
        /// Path of a file, a FIFO, a UNIX socket or a device; parts that look like secrets or numbers are
        /// replaced. null: it has none.
        path: Option<&'a str> = path(object),
        /// The file has been deleted; null: it is no file.
        is_deleted: Option<bool> = file.map(|file| file.is_deleted),
        /// Where the file system is mounted; null: not known, or it is no file.
        mount: Option<&'a str> = file.and_then(|file| super::non_empty(&file.mount)),
        /// Kind of the file system; null: as mount.
        file_system: Option<&'a str> = file.and_then(|file| super::non_empty(&file.file_system)),
        /// Address of the other end; null: it is no TCP connection.
        peer: Option<&'a str> = match object {
            ObjectSeen::Tcp { peer, .. } => Some(peer),
            _ => None,
        },
        /// How the TCP connection stood: connecting, retransmitting, window_zero, acknowledged, in_flight,
        /// not_accepted, closed; null: not known, or it is none.
        connection: Option<&'static str> = match object {
            ObjectSeen::Tcp { state, .. } => connection(*state),
            _ => None,
        },
        /// Processes of this host at the other end, or that hold it.
        processes: Vec<ProcessView<'a>> = object.processes().iter().map(ProcessView::new).collect(),
    }
}

view! {
    struct ProcessView<'a>(process: &'a OtherProcess) {
        /// Process.
        pid: u32 = process.tgid,
        /// Its name.
        name: &'a str = &process.comm,
        /// State of its main thread, as ps has it; null: not read.
        state: Option<char> = process.state,
        /// System call that its main thread was in; null: none, or not read.
        system_call: Option<&'static str> = process.system_call.map(system_call::name),
    }
}

const fn what(object: &ObjectSeen) -> &'static str {
    match object {
        ObjectSeen::File(_) => "file",
        ObjectSeen::FileLock { .. } => "file_lock",
        ObjectSeen::Pipe { .. } => "pipe",
        ObjectSeen::Unix { .. } => "unix",
        ObjectSeen::Tcp { .. } => "tcp",
        ObjectSeen::Device { .. } => "device",
        ObjectSeen::Anonymous { .. } => "anonymous",
        ObjectSeen::Child(_) => "child",
        ObjectSeen::By(_) => "by",
    }
}

const fn file(object: &ObjectSeen) -> Option<&profiler_core::fact::asleep::FileSeen> {
    match object {
        ObjectSeen::File(file) | ObjectSeen::FileLock { file, .. } => Some(file),
        _ => None,
    }
}

fn path(object: &ObjectSeen) -> Option<&str> {
    let path = match object {
        ObjectSeen::File(file) | ObjectSeen::FileLock { file, .. } => &file.path,
        ObjectSeen::Pipe { path, .. } | ObjectSeen::Unix { path, .. } | ObjectSeen::Device { path } => path,
        _ => return None,
    };
    super::non_empty(path)
}

const fn connection(state: ConnectionState) -> Option<&'static str> {
    match state {
        ConnectionState::Unknown => None,
        ConnectionState::Connecting => Some("connecting"),
        ConnectionState::Retransmitting => Some("retransmitting"),
        ConnectionState::WindowZero => Some("window_zero"),
        ConnectionState::Acknowledged => Some("acknowledged"),
        ConnectionState::InFlight => Some("in_flight"),
        ConnectionState::NotAccepted => Some("not_accepted"),
        ConnectionState::Closed => Some("closed"),
    }
}
