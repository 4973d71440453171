//! mod_wsgi in Apache: a parent that serves nothing, children that speak HTTP, and in daemon mode processes
//! of their own that run Python.
//!
//! In: facts of its processes and listeners. Out: its mode, roles, settings, slots. Read off and run with
//! mod_wsgi 6.1.1 and mod_wsgi-express on Apache 2.4.

mod advice;
pub mod configuration;

use rustc_hash::FxHashSet;

use super::advice::{Advice, Scope};
use super::backlog::Backlog;
use super::site::Site;
use super::{
    AcceptOrder, Answer, Ender, Inside, LogEnd, LogInterval, LogStart, Observed, OwnLimit, Recognised, Role,
    ServerKind, topmost, unknown,
};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::dropped::Cause;
use crate::model::{Origin, Server, Setting};

/// mod_wsgi.
#[derive(Debug)]
pub struct ModWsgi;

/// Python runs in processes of its own, which Apache's children talk to over a UNIX socket.
const DAEMON: &str = "daemon";
/// Python runs in Apache's children.
const EMBEDDED: &str = "embedded";

/// Apache with mod_wsgi mapped into it: parent, children and daemon processes alike.
fn is_apache(process: &ProcessSeen) -> bool {
    let program = process.executable.rsplit('/').next().unwrap_or_default();
    let is_httpd = ["apache2", "httpd"].iter().any(|name| program.starts_with(name));
    let is_titled = process.command_line.first().is_some_and(|title| title.contains("(mod_wsgi-express)"));
    let maps = process.mapped_files.iter().any(|name| name.starts_with("mod_wsgi"));
    is_daemon(process) || is_titled || is_httpd && maps
}

/// A daemon process says so in its title (`display-name` of `WSGIDaemonProcess`; mod_wsgi-express always sets
/// one).
fn is_daemon(process: &ProcessSeen) -> bool {
    process.command_line.first().is_some_and(|title| title.starts_with("(wsgi:"))
}

fn parent(processes: &[ProcessSeen]) -> Option<&ProcessSeen> {
    topmost(processes, is_apache)
}

/// Children that hold a UNIX listener are daemon processes, whatever their title: Apache's own close it (what
/// is closed has a negative descriptor).
fn holders_of_unix(listeners: &[ListenerSeen]) -> FxHashSet<u32> {
    let unix = listeners.iter().filter(|listener| listener.family == "unix" && listener.fd >= 0);
    unix.map(|listener| listener.tgid).collect()
}

fn role(process: &ProcessSeen, top: u32, daemon_mode: bool, holders: &FxHashSet<u32>) -> Role {
    if !is_apache(process) {
        Role::Unknown
    } else if process.tgid == top {
        Role::Master
    } else if process.parent_tgid != top {
        Role::Unknown
    } else if !daemon_mode || is_daemon(process) || holders.contains(&process.tgid) {
        Role::Worker
    } else {
        Role::FrontEnd
    }
}

fn roles(processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Vec<(u32, Role)> {
    let top = parent(processes).map_or(0, |process| process.tgid);
    let daemon_mode = has_daemons(processes, listeners);
    let holders = holders_of_unix(listeners);
    let of = |process: &ProcessSeen| (process.tgid, role(process, top, daemon_mode, &holders));
    processes.iter().map(of).collect()
}

fn has_daemons(processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> bool {
    let holders = holders_of_unix(listeners);
    processes
        .iter()
        .any(|process| is_daemon(process) || is_apache(process) && holders.contains(&process.tgid))
}

impl ServerKind for ModWsgi {
    fn name(&self) -> &'static str {
        "mod_wsgi"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["mod_wsgi"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let top = parent(processes)?;
        let daemon_mode = has_daemons(processes, listeners);
        let mode = if daemon_mode { DAEMON } else { EMBEDDED };
        let mut settings = vec![inferred("mode", mode.to_owned())];
        settings.extend(top.configuration.iter().filter(|(name, _)| is_relevant(name, daemon_mode)).map(
            |(name, value)| Setting { name: name.clone(), value: value.clone(), origin: Origin::Configured },
        ));
        if !settings.iter().any(|setting| setting.name == "mpm")
            && let Some(mpm) = processes.iter().find_map(mpm)
        {
            settings.push(inferred("mpm", mpm.to_owned()));
        }
        // The UNIX sockets between Apache and its daemon processes are nobody's way in.
        let public: Vec<ListenerSeen> =
            listeners.iter().filter(|listener| listener.family != "unix").cloned().collect();
        settings.extend(unknown::bind_setting(&public));
        let server = Server {
            name: self.name().to_owned(),
            version: processes.iter().find_map(|process| process.server_version.clone()),
            worker_class: mode.to_owned(),
            python_version: processes.iter().find_map(|process| process.python_version.clone()),
            settings,
        };
        let roles = roles(processes, listeners);
        let workers = roles.iter().filter(|(_, role)| *role == Role::Worker).count();
        let worker_processes = u32::try_from(workers).unwrap_or(u32::MAX);
        let server = fill(server, &Observed { worker_processes, ..Observed::default() });
        Some(Recognised { kind: &ModWsgi, server, roles })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        roles(processes, &[])
    }

    /// In daemon mode Apache makes children of its own under load, daemon processes only when one has ended;
    /// which it is shows when its title is read.
    fn role_of_child(&self, _parent: Role) -> Role {
        Role::Unknown
    }

    fn inside(&self, server: &Server) -> Inside {
        if server.worker_class == DAEMON { Inside::PrivateOverUnix } else { Inside::Nothing }
    }

    /// Daemon processes accept one at a time, each by a thread that has their mutex (`wsgi_daemon_worker`).
    /// Measured: of 7,527 connections that found a free thread in each of two processes 75 % went to the
    /// one that had accepted longer ago; of 1,677 with four 82 % to the first of these.
    fn accept_order(&self, server: &Server) -> AcceptOrder {
        if server.worker_class == DAEMON { AcceptOrder::InTurn } else { AcceptOrder::Any }
    }

    fn has_thread_per_request(&self, _server: &Server) -> bool {
        true
    }

    /// Daemon mode: processes × threads of the daemon, whatever Apache's children could take. Embedded: what
    /// Apache may serve at once.
    fn configured_slots(&self, server: &Server) -> Option<u32> {
        let slots = match server.worker_class.as_str() {
            DAEMON => server.number("processes")?.checked_mul(server.number("threads")?)?,
            EMBEDDED => server.number("max_request_workers")?,
            _ => return None,
        };
        u32::try_from(slots).ok().filter(|slots| *slots > 0)
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        fill(server.clone(), observed)
    }

    fn backlog(&self, is_unix: bool) -> Option<Backlog> {
        let backlog = if is_unix {
            Backlog::cut("listen-backlog= of WSGIDaemonProcess", "daemon_backlog")
                .or_as("mod_wsgi-express: --daemon-backlog")
        } else {
            Backlog::cut("ListenBacklog", "listen_backlog").or_as("mod_wsgi-express: --server-backlog")
        };
        Some(backlog.at(Scope::Directive))
    }

    fn advice(&self, finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
        advice::advice(finding_id, server, site)
    }

    fn own_answer(&self, answer: &Answer) -> Option<Cause> {
        // Apache answers so in the place of a daemon that did not take the request in time, or died with it.
        (answer.front && matches!(answer.status, 503 | 504)).then_some(Cause::QueueTimeout)
    }

    /// A daemon process looks every second how long its requests have run, over all of its threads, and sends
    /// itself SIGINT (`wsgi_monitor_thread`).
    fn own_limit(&self, server: &Server) -> Option<OwnLimit> {
        let seconds = server.number("request_timeout").filter(|seconds| *seconds > 0)?;
        let threads = server.number("threads").unwrap_or(1).max(1);
        let limit_ns = seconds.saturating_mul(1_000_000_000);
        Some(OwnLimit { option: "request-timeout", limit_ns, ender: Ender::Itself { threads } })
    }

    /// `%D`: Apache takes the clock when it has read the request line (`read_request_line`), and again when
    /// the request's end-of-request bucket has passed the output filters, which is after its last write
    /// to the client.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        Some(LogInterval { from: LogStart::HeadParsed, to: LogEnd::ResponseWritten })
    }
}

/// Settings of the daemon processes say nothing of a server that has none.
fn is_relevant(name: &str, daemon_mode: bool) -> bool {
    daemon_mode || !configuration::is_of_daemon(name)
}

/// mod_wsgi-express names the module it loads on the command line.
fn mpm(process: &ProcessSeen) -> Option<&'static str> {
    let names = [("event", "EVENT"), ("worker", "WORKER"), ("prefork", "PREFORK")];
    let enabled = |upper: &str| {
        let define = format!("MOD_WSGI_MPM_ENABLE_{upper}_MODULE");
        process.command_line.iter().any(|argument| argument.trim_start_matches("-D") == define)
    };
    names.iter().find(|(_, upper)| enabled(upper)).map(|(name, _)| *name)
}

fn inferred(name: &str, value: String) -> Setting {
    Setting { name: name.to_owned(), value, origin: Origin::Inferred }
}

/// What the configuration did not say, from what was seen.
fn fill(mut server: Server, observed: &Observed) -> Server {
    let mut put = |name: &str, seen: u32| {
        if seen > 0
            && !server
                .settings
                .iter()
                .any(|setting| setting.name == name && setting.origin != Origin::Inferred)
        {
            server.settings.retain(|setting| setting.name != name);
            server.settings.push(inferred(name, seen.to_string()));
        }
    };
    if server.worker_class == DAEMON {
        put("processes", observed.worker_processes);
        put("threads", observed.serving_threads);
    }
    server
}

#[cfg(test)]
#[path = "mod_wsgi/tests.rs"]
mod tests;
