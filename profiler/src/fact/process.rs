//! One process: who it is, what it runs, what it maps.
//!
//! In: `/proc/PID`. Out: [`Identity`] (cheap, for all processes), [`ProcessSeen`] (for those of the target).

pub(in crate::fact) mod version;

use std::collections::HashMap;

use procfs::FromRead as _;
use procfs::process::{LimitValue, Limits, Stat};
use profiler_core::fact::ProcessSeen;
use profiler_core::server::gunicorn::arguments;
use profiler_core::server::redact;

use super::{FactError, Proc, cgroup, mapping, read};

/// Processes looked at on one host.
const MAX_PROCESSES: usize = 65_536;
/// Processes named that have a number elsewhere.
const MAX_NUMBERED: usize = 8;
/// Threads named per process.
const MAX_THREADS: usize = 4_096;
/// Bytes of a command line or environment read.
const MAX_ARGUMENT_BYTES: u64 = 256 * 1024;
/// Bytes of `/proc/PID/maps` read.
const MAX_MAPS_BYTES: u64 = 32 * 1024 * 1024;
/// Names of mapped files kept.
const MAX_MAPPED_FILES: usize = 64;

/// Who a process is, from files that every user may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Process.
    pub tgid: u32,
    /// Its parent.
    pub parent_tgid: u32,
    /// Session.
    pub session: i32,
    /// Kernel name.
    pub comm: String,
    /// Arguments as they stand: may hold secrets, not for recordings.
    pub command_line: Vec<String>,
    /// Executable; `None`: not to be seen by this user, or a kernel thread.
    pub executable: Option<String>,
}

/// Who a process is.
///
/// # Errors
/// When there is no such process.
pub fn identity(proc: &Proc, tgid: u32) -> Result<Identity, FactError> {
    let path = proc.of(tgid, "stat");
    let bytes = read::bytes(&path, 4096).map_err(|error| FactError::of_process(tgid, &path, error))?;
    let stat = Stat::from_read(bytes.as_slice())
        .map_err(|error| FactError::of_process(tgid, &path, std::io::Error::other(error)))?;
    // A zombie has ended; its parent has not looked yet. (One whose other threads go on has not.)
    if has_ended(&stat) {
        return Err(FactError::NoSuchProcess { pid: tgid });
    }
    Ok(Identity {
        tgid,
        parent_tgid: u32::try_from(stat.ppid).unwrap_or(0),
        session: stat.session,
        comm: stat.comm,
        command_line: command_line(proc, tgid),
        executable: read::link(&proc.of(tgid, "exe")).ok(),
    })
}

fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1
}

/// When a process was born, in ticks since boot, and how much it has mapped, in bytes: where both are as
/// before, so are its mappings, almost surely. `None`: it is gone.
pub(in crate::fact) fn extent(proc: &Proc, tgid: u32) -> Option<(u64, u64)> {
    let bytes = read::bytes(&proc.of(tgid, "stat"), 4096).ok()?;
    let stat = Stat::from_read(bytes.as_slice()).ok()?;
    Some((stat.starttime, stat.vsize))
}

/// Whether a process is still there and has not ended.
pub fn is_running(proc: &Proc, tgid: u32) -> bool {
    let stat = read::bytes(&proc.of(tgid, "stat"), 4096);
    stat.is_ok_and(|bytes| Stat::from_read(bytes.as_slice()).is_ok_and(|stat| !has_ended(&stat)))
}

/// Who every process is; those that vanish meanwhile are left out.
///
/// # Errors
/// When `/proc` itself cannot be read.
pub fn identities(proc: &Proc) -> Result<HashMap<u32, Identity>, FactError> {
    let path = proc.path("");
    let tgids =
        read::numbers(&path, MAX_PROCESSES).map_err(|source| FactError::Unreadable { path, source })?;
    Ok(tgids.into_iter().filter_map(|tgid| identity(proc, tgid).ok().map(|known| (tgid, known))).collect())
}

/// The number that a process or thread was given last, in this PID namespace (proc(5), `/proc/loadavg`).
pub fn last_number(proc: &Proc) -> Option<u32> {
    let text = read::text(&proc.path("loadavg"), 4096).ok()?;
    text.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// Whether the number is a process's: `/proc` answers for threads too.
pub fn is_process(proc: &Proc, number: u32) -> bool {
    process_of_thread(proc, number).is_ok_and(|tgid| tgid == number)
}

/// The user that a process runs as.
pub fn user(proc: &Proc, tgid: u32) -> Option<u32> {
    let text = read::text(&proc.of(tgid, "status"), 16 * 1024).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The process that a thread belongs to; `/proc` answers for threads too.
pub(super) fn process_of_thread(proc: &Proc, tid: u32) -> Result<u32, FactError> {
    let path = proc.of(tid, "status");
    let text = read::text(&path, 16 * 1024).map_err(|error| FactError::of_process(tid, &path, error))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
        .ok_or(FactError::NoSuchProcess { pid: tid })
}

/// Processes that have this number in a PID namespace of their own; the first few.
pub(super) fn numbered_elsewhere(proc: &Proc, number: u32) -> Vec<u32> {
    let has_it = |tgid: &u32| {
        let text = read::text(&proc.of(*tgid, "status"), 16 * 1024).unwrap_or_default();
        let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.and_then(|all| all.split_whitespace().skip(1).last()?.parse().ok()) == Some(number)
    };
    let tgids = read::numbers(&proc.path(""), MAX_PROCESSES).unwrap_or_default();
    tgids.into_iter().filter(has_it).take(MAX_NUMBERED).collect()
}

fn command_line(proc: &Proc, tgid: u32) -> Vec<String> {
    let bytes = read::bytes(&proc.of(tgid, "cmdline"), MAX_ARGUMENT_BYTES).unwrap_or_default();
    let mut arguments: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    // The last argument ends in a zero byte; a process title is padded with more.
    while arguments.last().is_some_and(String::is_empty) {
        arguments.pop();
    }
    arguments
}

/// A process of the target as a fact; secrets are left out or overwritten.
///
/// # Errors
/// When the process is gone.
pub fn process_seen(proc: &Proc, tgid: u32, open_files: &[(i32, String)]) -> Result<ProcessSeen, FactError> {
    let identity = identity(proc, tgid)?;
    let mapped = mapped_files(proc, tgid);
    let mut names = mapped.names.clone();
    if open_files.iter().any(|(_, target)| is_heartbeat(target)) {
        names.push("wgunicorn".to_owned());
    }
    Ok(ProcessSeen {
        tgid,
        parent_tgid: identity.parent_tgid,
        python_version: version::python(&identity, &mapped),
        server_version: version::server(proc, &identity, &mapped),
        configuration_file: version::default_configuration(proc, &identity),
        configuration: if mapped.names.iter().any(|name| name.starts_with("mod_wsgi")) {
            version::apache_configuration(proc, &identity)
        } else {
            version::uwsgi_configuration(proc, &identity)
        },
        front_end: false,
        comm: identity.comm,
        executable: identity.executable.unwrap_or_default(),
        command_line: redact::command_line(&identity.command_line),
        environment: environment(proc, tgid),
        threads: threads(proc, tgid),
        open_files_limit: open_files_limit(proc, tgid),
        mapped_files: names,
        cgroup: cgroup::of_process(proc, tgid),
        uses_io_uring: open_files.iter().any(|(_, target)| target == "anon_inode:[io_uring]"),
        served_by: None,
    })
}

/// Version of a Python distribution, if it is installed where this process finds its packages.
pub(super) fn distribution_version(proc: &Proc, tgid: u32, distribution: &str) -> Option<String> {
    version::installed(proc, &identity(proc, tgid).ok()?, &mapped_files(proc, tgid), distribution)
}

/// gunicorn's heartbeat: a deleted temporary file that its master and workers keep open.
fn is_heartbeat(target: &str) -> bool {
    target.ends_with(" (deleted)")
        && target.rsplit('/').next().is_some_and(|name| name.starts_with("wgunicorn-"))
}

/// The variables that configure a server (`LISTEN_FDS`: systemd passes it its sockets), and the one in which
/// gunicorn's master names itself to the next, with nothing in them but what is understood.
fn environment(proc: &Proc, tgid: u32) -> Vec<(String, String)> {
    let bytes = read::bytes(&proc.of(tgid, "environ"), MAX_ARGUMENT_BYTES).unwrap_or_default();
    let mut result = Vec::new();
    for entry in bytes.split(|byte| *byte == 0) {
        let Some((name, value)) = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('='))
        else {
            continue;
        };
        match name {
            "GUNICORN_CMD_ARGS" => result.push((name.to_owned(), arguments::only_reported(value))),
            "WEB_CONCURRENCY" | "LISTEN_FDS" | "GUNICORN_PID" if value.parse::<u32>().is_ok() => {
                result.push((name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }
    result
}

/// Threads of a process: id and name.
pub fn threads(proc: &Proc, tgid: u32) -> Vec<(u32, String)> {
    let tids = read::numbers(&proc.of(tgid, "task"), MAX_THREADS).unwrap_or_default();
    tids.into_iter()
        .filter_map(|tid| {
            let name = read::text(&proc.of(tgid, &format!("task/{tid}/comm")), 64).ok()?;
            Some((tid, name.trim_end_matches('\n').to_owned()))
        })
        .collect()
}

/// Soft limit of open files; `None`: there is none, or the process is gone.
pub(crate) fn open_files_limit(proc: &Proc, tgid: u32) -> Option<u64> {
    let bytes = read::bytes(&proc.of(tgid, "limits"), 16 * 1024).ok()?;
    match Limits::from_read(bytes.as_slice()).ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    }
}

/// What the mapped files show.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapped {
    /// Base names that identify an interpreter or a server.
    pub(super) names: Vec<String>,
    /// `site-packages` and `dist-packages` directories that something is mapped from.
    pub(super) package_directories: Vec<String>,
    /// Version in the path of a module of the standard library (`…/lib/python3.11/…`).
    pub(super) python_in_path: Option<String>,
}

fn mapped_files(proc: &Proc, tgid: u32) -> Mapped {
    let mut result = Mapped::default();
    let mut last = String::new();
    // Reading stops early at an error: a process that ends meanwhile has shown what it had.
    let _ = read::lines(&proc.of(tgid, "maps"), MAX_MAPS_BYTES, |line| {
        if let Some(file) = mapping::parse(line).filter(|file| file.path != last) {
            note_mapped(&mut result, &file.path);
            last = file.path;
        }
        true
    });
    result
}

fn note_mapped(result: &mut Mapped, path: &str) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let identifies = ["python", "pypy", "libpython", "libpypy", "_gevent", "_greenlet", "greenlet", "uwsgi"]
        .iter()
        .chain(&["mod_wsgi", "_setproctitle", "wgunicorn"])
        .any(|prefix| name.starts_with(prefix));
    let package = ["gevent", "uvloop"].into_iter().find(|package| path.contains(&format!("/{package}/")));
    let kept = if identifies { Some(name) } else { package };
    if let Some(kept) = kept
        && result.names.len() < MAX_MAPPED_FILES
        && !result.names.iter().any(|known| known == kept)
    {
        result.names.push(kept.to_owned());
    }
    for packages in ["/site-packages/", "/dist-packages/"] {
        if let Some(start) = path.find(packages) {
            let directory = path.get(..start + packages.len() - 1).unwrap_or_default();
            if result.package_directories.len() < 16
                && !result.package_directories.iter().any(|known| known == directory)
            {
                result.package_directories.push(directory.to_owned());
            }
        }
    }
    if result.python_in_path.is_none() {
        result.python_in_path = version::in_path(path);
    }
}

#[cfg(test)]
#[path = "process/tests.rs"]
mod tests;
