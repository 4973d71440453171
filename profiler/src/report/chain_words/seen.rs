//! What a look at a sleeping thread saw, in words.
//!
//! In: an object and who is at its other end (hostile). Out: a clause for people.

use profiler_common::system_call;
use profiler_core::fact::asleep::{ConnectionState, FileSeen, ObjectSeen, OtherProcess};
use profiler_core::model::chain::Held;

/// Other processes that are named.
const MAX_NAMED: usize = 3;

/// What it is, and who is at its other end.
pub(super) fn words(object: &ObjectSeen) -> String {
    let (what, role) = parts(object);
    let others = object.processes();
    let mut named: Vec<String> = others.iter().take(MAX_NAMED).map(of_process).collect();
    if others.len() > MAX_NAMED {
        named.push(format!("{} others", others.len() - MAX_NAMED));
    }
    let who = if named.is_empty() { String::new() } else { format!("{role} {}", named.join(", ")) };
    let between = if what.is_empty() || who.is_empty() { "" } else { ", " };
    format!("{what}{between}{}", who.trim_start())
}

/// What it is, and which process is at its other end: `10.0.0.2:5432 (redis-server 4242)`. One that cannot go
/// on is said to be held: whatever it is asked, it is that which has to end.
pub(super) fn in_short(object: &ObjectSeen) -> String {
    let what = match object {
        ObjectSeen::Tcp {
            peer, state: ConnectionState::Acknowledged | ConnectionState::InFlight, ..
        } => peer.clone(),
        _ => parts(object).0,
    };
    match object.processes() {
        [one] if what.is_empty() => format!("{} {}{}", one.comm, one.tgid, held(one).unwrap_or_default()),
        [one] => format!("{what} ({} {}{})", one.comm, one.tgid, held(one).unwrap_or_default()),
        several => match several.iter().map(held).collect::<Option<Vec<_>>>() {
            Some(held) => match held.first() {
                Some(how) => format!("{what} (all {} processes{how})", held.len()),
                None => what,
            },
            None => what,
        },
    }
}

/// How a process is held from outside; `None`: it is not, or that was not read.
fn held(process: &OtherProcess) -> Option<String> {
    let held = match process.state? {
        'T' => Held::Stopped,
        't' => Held::Traced,
        _ => return None,
    };
    Some(format!(", {}", super::of_held(held)))
}

fn parts(object: &ObjectSeen) -> (String, &'static str) {
    match object {
        ObjectSeen::File(file) => (of_file(file), ""),
        ObjectSeen::FileLock { file, .. } => (of_file(file), "held by"),
        ObjectSeen::Pipe { path, .. } if path.is_empty() => ("pipe".to_owned(), "other end:"),
        ObjectSeen::Pipe { path, .. } => (path.clone(), "other end:"),
        ObjectSeen::Unix { path, .. } if path.is_empty() => ("UNIX socket".to_owned(), "other end:"),
        ObjectSeen::Unix { path, .. } => (path.clone(), "other end:"),
        ObjectSeen::Tcp { peer, state, .. } => (of_connection(peer, *state), "served by"),
        ObjectSeen::Device { path } => (path.clone(), ""),
        ObjectSeen::Anonymous { name } => (name.clone(), ""),
        ObjectSeen::Child(_) => (String::new(), ""),
        ObjectSeen::By(_) => (String::new(), "by"),
    }
}

fn of_file(file: &FileSeen) -> String {
    let mut words = file.path.clone();
    if file.is_deleted {
        words.push_str(" (deleted)");
    }
    if !file.file_system.is_empty() && !file.mount.is_empty() {
        words.push_str(&format!(" on {} ({})", file.mount, file.file_system));
    }
    words
}

fn of_connection(peer: &str, state: ConnectionState) -> String {
    let state = match state {
        ConnectionState::Unknown => "",
        ConnectionState::Connecting => ", not connected yet",
        ConnectionState::Retransmitting => ", retransmitting",
        ConnectionState::WindowZero => ", takes no more bytes",
        ConnectionState::Acknowledged => ", has all that was sent",
        ConnectionState::InFlight => ", not all acknowledged yet",
        ConnectionState::NotAccepted => ", not accepted yet",
        ConnectionState::Closed => ", closed by the other end",
    };
    format!("{peer}{state}")
}

/// `redis-server 4242 (S, in epoll_wait)`.
fn of_process(process: &OtherProcess) -> String {
    let mut words = format!("{} {}", process.comm, process.tgid);
    let call = process.system_call.map(|number| format!("in {}", system_call::name(number)));
    let now: Vec<String> = process.state.map(String::from).into_iter().chain(call).collect();
    if !now.is_empty() {
        words.push_str(&format!(" ({})", now.join(", ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_at_the_other_end_is_named_with_what_it_does() {
        let process = |tgid| OtherProcess {
            tgid,
            comm: "cat".to_owned(),
            state: Some('S'),
            system_call: Some(system_call::READ),
        };
        let pipe = |others| ObjectSeen::Pipe { inode: 1, path: String::new(), others };
        assert_eq!(words(&pipe(Vec::new())), "pipe");
        assert_eq!(words(&pipe(vec![process(7)])), "pipe, other end: cat 7 (S, in read)");
        let many = words(&pipe((1..=5).map(process).collect()));
        assert!(many.ends_with(", 2 others"), "{many}");
    }

    #[test]
    fn a_process_that_cannot_go_on_is_said_to_be_held() {
        let process = |tgid, state| OtherProcess {
            tgid,
            comm: "redis".to_owned(),
            state: Some(state),
            ..OtherProcess::default()
        };
        let said = |others| {
            let (local, peer) = ("127.0.0.1:40000".to_owned(), "127.0.0.1:6379".to_owned());
            in_short(&ObjectSeen::Tcp { inode: 1, local, peer, state: ConnectionState::Acknowledged, others })
        };
        assert_eq!(said(vec![process(7, 'S')]), "127.0.0.1:6379 (redis 7)");
        assert_eq!(said(vec![process(7, 'T')]), "127.0.0.1:6379 (redis 7, stopped by a signal)");
        let both = |second| said(vec![process(7, 'T'), process(8, second)]);
        assert_eq!(both('T'), "127.0.0.1:6379 (all 2 processes, stopped by a signal)");
        assert_eq!(both('S'), "127.0.0.1:6379", "the other one may answer");
    }

    #[test]
    fn a_file_says_that_it_is_deleted_and_where_it_lies() {
        let file = FileSeen {
            path: "/data/a".to_owned(),
            is_deleted: true,
            mount: "/data".to_owned(),
            file_system: "nfs4".to_owned(),
        };
        assert_eq!(words(&ObjectSeen::File(file)), "/data/a (deleted) on /data (nfs4)");
        let tcp = ObjectSeen::Tcp {
            inode: 1,
            local: "10.0.0.1:40000".to_owned(),
            peer: "10.0.0.2:5432".to_owned(),
            state: ConnectionState::Connecting,
            others: Vec::new(),
        };
        assert_eq!(words(&tcp), "10.0.0.2:5432, not connected yet");
    }
}
