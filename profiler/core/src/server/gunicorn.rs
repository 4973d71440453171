//! gunicorn: one master that serves nothing, and workers forked from it.
//!
//! In: facts of its processes. Out: its settings and roles, its slots, what its access log measures. Read off
//! and run with 23.0.0 and 27.0.1.

mod advice;
pub mod arguments;
mod option;
mod setting;

use rustc_hash::{FxHashMap, FxHashSet};

use super::advice::Advice;
use super::backlog::Backlog;
use super::setting::{put, setting};
use super::site::Site;
use super::{
    Answer, LogEnd, LogInterval, LogStart, Observed, Recognised, Role, ServerKind, topmost, unknown,
};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::dropped::Cause;
use crate::model::{Origin, Server};
use arguments::Arguments;
use setting::Sources;

/// gunicorn.
#[derive(Debug)]
pub struct Gunicorn;

/// How a process shows that it is gunicorn's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign<'a> {
    /// Its process title, set by setproctitle: what it is (`master`, `worker`), and the name in brackets.
    Title(&'a str, Option<&'a str>),
    /// Its command line; the same in master and workers, which are forks of it.
    CommandLine,
    /// gunicorn inside another program: only the heartbeat file gives it away.
    Heartbeat,
}

fn sign(process: &ProcessSeen) -> Option<Sign<'_>> {
    let first = process.command_line.first().map_or("", |argument| argument.trim_end());
    if let Some(title) = first.strip_prefix("gunicorn: ") {
        let (kind, name) = match title.split_once(" [") {
            Some((kind, name)) => (kind, Some(name.trim_end_matches(']'))),
            None => (title, None),
        };
        return Some(Sign::Title(kind, name));
    }
    if arguments::of_command_line(&process.command_line).is_some() {
        return Some(Sign::CommandLine);
    }
    process.mapped_files.iter().any(|name| name == "wgunicorn").then_some(Sign::Heartbeat)
}

/// The master: the topmost process of gunicorn's.
fn master(processes: &[ProcessSeen]) -> Option<&ProcessSeen> {
    topmost(processes, |process| sign(process).is_some())
}

/// The variable in which a master names itself to the one that it starts at USR2.
const STARTED_BY: &str = "GUNICORN_PID";

/// Who stands how to whom. Each process is judged by it, and there may be many.
struct Family<'a> {
    /// Processes that show to be gunicorn's.
    own: FxHashMap<u32, &'a ProcessSeen>,
    /// Number of the topmost of them.
    top: Option<u32>,
    /// For each value of [`STARTED_BY`] the first process that has it.
    first_started: FxHashMap<&'a str, u32>,
    /// Processes with children whose title says that they are workers.
    with_workers: FxHashSet<u32>,
}

fn is_titled(process: &ProcessSeen, what: &str) -> bool {
    matches!(sign(process), Some(Sign::Title(kind, _)) if kind.starts_with(what))
}

impl<'a> Family<'a> {
    fn of(processes: &'a [ProcessSeen]) -> Self {
        let mut own = FxHashMap::default();
        let mut first_started = FxHashMap::default();
        for process in processes {
            if sign(process).is_some() {
                own.entry(process.tgid).or_insert(process);
            }
            if let Some(by) = variable(process, STARTED_BY) {
                first_started.entry(by).or_insert(process.tgid);
            }
        }
        let workers = processes.iter().filter(|process| is_titled(process, "worker"));
        Self {
            own,
            top: master(processes).map(|process| process.tgid),
            first_started,
            with_workers: workers.map(|process| process.parent_tgid).collect(),
        }
    }

    /// After USR2 a new master stands under the old one, and under none of gunicorn's once that has ended. It
    /// is started with the old one's number; forks of either have what their own master has. Where titles
    /// hide this: it has a title of its own (`.2`), or workers. A worker just born may still bear its
    /// master's title, but has neither.
    fn is_new_master(&self, tgid: u32) -> bool {
        let of = |tgid: u32| self.own.get(&tgid).copied();
        let Some((process, old)) = of(tgid).zip(self.top.and_then(of)) else { return false };
        let parent = of(process.parent_tgid);
        if process.tgid == old.tgid || parent.is_some_and(|parent| parent.tgid != old.tgid) {
            return false;
        }
        let started_by = variable(process, STARTED_BY).filter(|by| variable(old, STARTED_BY) != Some(*by));
        // A worker that has lost the new master has its variable too, and was seen later.
        let is_started = started_by.is_some_and(|by| self.first_started.get(by) == Some(&tgid));
        let has_own_title = is_titled(old, "master") && sign(process) != sign(old);
        is_started || is_titled(process, "master") && (has_own_title || self.with_workers.contains(&tgid))
    }
}

impl ServerKind for Gunicorn {
    fn name(&self) -> &'static str {
        "gunicorn"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["gunicorn"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let master = master(processes)?;
        let roles = self.roles(processes);
        let sources = Sources {
            command_line: arguments::of_command_line(&master.command_line).map(arguments::read),
            environment: variable(master, "GUNICORN_CMD_ARGS")
                .map_or_else(Arguments::default, arguments::read_environment),
            web_concurrency: variable(master, "WEB_CONCURRENCY").map(str::to_owned),
            // Where a user may not see the executable, the environment and the working directory are hidden
            // as well.
            environment_seen: !master.executable.is_empty(),
            default_configuration: master.configuration_file.clone(),
        };
        let mut settings = setting::resolve(&sources);
        if sources.command_line.is_none() {
            let note = match sign(master) {
                Some(Sign::Title(..)) => "hidden by the process title",
                _ => "gunicorn runs inside another program",
            };
            settings.push(setting("command_line", format!("not read: {note}"), Origin::Inferred));
        }
        if !settings.iter().any(|setting| setting.name == "bind") {
            // What no worker holds is not for requests: the control socket of 27 is the master's alone.
            let workers = roles.iter().filter(|(_, role)| *role == Role::Worker);
            let workers: FxHashSet<u32> = workers.map(|(tgid, _)| *tgid).collect();
            let held = listeners.iter().filter(|seen| workers.contains(&seen.tgid));
            let held: FxHashSet<u64> = held.map(|seen| seen.inode).collect();
            let public = listeners.iter().filter(|seen| held.contains(&seen.inode));
            let public: Vec<ListenerSeen> = public.cloned().collect();
            settings.extend(unknown::bind_setting(if public.is_empty() { listeners } else { &public }));
        }
        if let Some(count) = variable(master, "LISTEN_FDS") {
            settings.push(setting("listen_fds", count.to_owned(), Origin::Configured));
        }
        if let Some(Sign::Title(_, Some(name))) = sign(master) {
            put(&mut settings, setting("proc_name", name.to_owned(), Origin::Inferred));
        }
        let worker_class = settings
            .iter()
            .find(|setting| setting.name == "worker_class")
            .map_or_else(|| "unknown".to_owned(), |setting| setting.value.clone());
        let server = Server {
            name: self.name().to_owned(),
            version: processes.iter().find_map(|process| process.server_version.clone()),
            worker_class,
            python_version: processes.iter().find_map(|process| process.python_version.clone()),
            settings,
        };
        let mut server = server;
        // The master maps what its worker class imports, and the workers inherit it.
        if server.worker_class == "unknown" && processes.iter().any(ProcessSeen::maps_gevent) {
            put_class(&mut server, "gevent");
        } else if server.worker_class == "unknown" && server.number("threads").is_some_and(|count| count > 1)
        {
            // What could say otherwise is a configuration file or an environment that was not seen.
            put_class(&mut server, "gthread");
        }
        let workers = roles.iter().filter(|(_, role)| *role == Role::Worker).count();
        let worker_processes = u32::try_from(workers).unwrap_or(u32::MAX);
        let server = fill(server, &Observed { worker_processes, ..Observed::default() }, false);
        Some(Recognised { kind: &Gunicorn, server, roles })
    }

    /// Children of the master that still are gunicorn are workers; what a worker or the application started
    /// is not.
    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        let family = Family::of(processes);
        let (top, is_new_master) = (family.top, |tgid: u32| family.is_new_master(tgid));
        let role = |process: &ProcessSeen| match sign(process) {
            None => Role::Unknown,
            Some(_) if Some(process.tgid) == top || is_new_master(process.tgid) => Role::Master,
            Some(Sign::Title(kind, _)) if kind.starts_with("dirty") => Role::Unknown,
            Some(_) if Some(process.parent_tgid) == top || is_new_master(process.parent_tgid) => Role::Worker,
            Some(_) => Role::Unknown,
        };
        processes.iter().map(|process| (process.tgid, role(process))).collect()
    }

    /// Workers × threads; classes built on an event loop have no limit that counts.
    fn configured_slots(&self, server: &Server) -> Option<u32> {
        let workers = server.number("workers")?;
        let slots = match server.worker_class.as_str() {
            "sync" => workers,
            "gthread" => workers.checked_mul(server.number("threads")?)?,
            _ => return None,
        };
        u32::try_from(slots).ok().filter(|slots| *slots > 0)
    }

    fn has_thread_per_request(&self, server: &Server) -> bool {
        matches!(server.worker_class.as_str(), "sync" | "gthread")
    }

    fn slot_noun(&self, server: &Server) -> &'static str {
        match server.worker_class.as_str() {
            "sync" => "worker",
            "gthread" => "thread",
            _ => "slot",
        }
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        arguments::of_command_line(command_line).map(|_| "gunicorn")
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        fill(server.clone(), observed, true)
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("--backlog", "backlog"))
    }

    fn advice(&self, finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
        advice::advice(finding_id, server, site)
    }

    fn own_answer(&self, answer: &Answer) -> Option<Cause> {
        // gunicorn/util.py, write_error: its own pages begin with `Connection: close`, the application's with
        // `Server`.
        (answer.status >= 400 && answer.connection_first).then_some(Cause::ServerError)
    }

    /// `%(D)s`, `%(M)s`, `%(T)s`, `%(L)s`: `handle_request` takes the clock after `next(parser)`, and again
    /// after `resp.close()`, which writes the last chunk. The log line, the iterable's `close()`, the
    /// `post_request` hook and closing the connection (from 26 with up to 2 s of lingering) come after. So it
    /// is in 23.0.0 and 27.0.1 for sync and gthread (measured) and for gevent and eventlet (read), which only
    /// include the `pre_request` hook as well. Where the application raises before its first byte,
    /// `handle_error` writes the line, without a path and with the time that logging the traceback took. So
    /// lines with `%(U)s` None are not comparable, nor are errors of parsing. gevent's own pywsgi adds the
    /// iterable's `close()`; asgi may log before its event loop has written: neither counts.
    fn log_interval(&self, server: &Server) -> Option<LogInterval> {
        match server.worker_class.as_str() {
            "sync" | "gthread" | "gevent" | "eventlet" => {
                Some(LogInterval { from: LogStart::HeadParsed, to: LogEnd::ResponseWritten })
            }
            _ => None,
        }
    }
}

fn variable<'a>(process: &'a ProcessSeen, name: &str) -> Option<&'a str> {
    process.environment.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.as_str())
}

fn class_is_known(server: &Server) -> bool {
    server.settings.iter().any(|setting| setting.name == "worker_class" && setting.origin != Origin::Inferred)
}

fn put_class(server: &mut Server, class: &str) {
    server.worker_class = class.to_owned();
    put(&mut server.settings, setting("worker_class", class.to_owned(), Origin::Inferred));
}

/// `contradict`: what was observed also replaces what was configured (TTIN, TTOU, a failing worker).
fn fill(mut server: Server, observed: &Observed, contradict: bool) -> Server {
    let differs = |server: &Server, name: &str, seen: u32| match server.number(name) {
        None => true,
        Some(value) => contradict && value != u64::from(seen),
    };
    if observed.worker_processes > 0 && differs(&server, "workers", observed.worker_processes) {
        let value = observed.worker_processes.to_string();
        put(&mut server.settings, setting("workers", value, Origin::Inferred));
    }
    if !class_is_known(&server) {
        // A sync worker selects on its listeners; only gthread and the event loops put them into epoll.
        // That gevent is loaded is a guess: several threads of a process that serve, or a select, are none of
        // its workers'.
        let is_unknown = server.worker_class == "unknown";
        let is_guess = is_unknown || server.worker_class == "gevent";
        match (observed.listener_in_epoll, observed.serving_threads) {
            (_, 2..) if is_guess => put_class(&mut server, "gthread"),
            // gthread's main thread serves nothing: this is an event loop, and which one its title does not
            // say.
            (Some(true), _) if is_unknown && observed.main_threads_serve => {}
            (Some(true), _) if is_unknown => put_class(&mut server, "gthread"),
            (Some(false), _) if is_guess => put_class(&mut server, "sync"),
            // A busy sync worker never waits for its listener at all.
            (None, 1) if is_unknown && observed.main_threads_serve => {
                put_class(&mut server, "sync");
            }
            _ => {}
        }
    }
    // Pool threads are born when they are needed: fewer than configured says nothing, more does.
    let threads = u64::from(observed.serving_threads);
    if server.worker_class == "gthread"
        && threads > 0
        && server.number("threads").is_none_or(|known| threads > known && contradict)
    {
        put(&mut server.settings, setting("threads", threads.to_string(), Origin::Inferred));
    }
    server
}

#[cfg(test)]
#[path = "gunicorn/tests.rs"]
mod tests;
