//! hypercorn: an event loop per process, of asyncio, uvloop or trio; a WSGI application runs in the threads
//! of that loop.
//!
//! In: facts of its processes. Out: its settings and roles, advice. Read off and run with 0.18.0.

use super::advice::common::keep_idle_longer;
use super::advice::{Advice, Scope, Setting, Sizes, raise};
use super::backlog::Backlog;
use super::command_line::{Options, Program, Takes, flag, program_of, read, reported, value};
use super::loops::{self, Loops};
use super::setting::{given, put_seen, resolve, setting};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server};

/// hypercorn, started by its command or `python -m hypercorn`.
#[derive(Debug)]
pub struct Hypercorn;

/// `hypercorn.__main__`.
static OPTIONS: Options = &[
    reported(Some('w'), &["workers"], Takes::Value, "workers"),
    reported(Some('k'), &["worker-class"], Takes::Value, "worker_class"),
    reported(None, &["backlog"], Takes::Value, "backlog"),
    reported(None, &["keep-alive"], Takes::Value, "keep_alive"),
    reported(None, &["read-timeout"], Takes::Value, "read_timeout"),
    reported(None, &["graceful-timeout"], Takes::Value, "graceful_timeout"),
    reported(None, &["max-requests"], Takes::Value, "max_requests"),
    reported(None, &["max-requests-jitter"], Takes::Value, "max_requests_jitter"),
    reported(Some('c'), &["config"], Takes::Value, "config"),
    value(Some('b'), &["bind"]),
    value(None, &["insecure-bind"]),
    value(None, &["quic-bind"]),
    value(None, &["access-log"]),
    value(None, &["access-logfile"]),
    value(None, &["access-logformat"]),
    value(None, &["error-log"]),
    value(None, &["error-logfile", "log-file"]),
    value(None, &["log-config"]),
    value(None, &["log-level"]),
    value(None, &["ca-certs"]),
    value(None, &["certfile"]),
    value(None, &["cert-reqs"]),
    value(None, &["ciphers"]),
    value(None, &["keyfile"]),
    value(None, &["keyfile-password"]),
    value(None, &["verify-mode"]),
    value(Some('g'), &["group"]),
    value(Some('u'), &["user"]),
    value(Some('m'), &["umask"]),
    value(Some('p'), &["pid"]),
    value(None, &["root-path"]),
    value(None, &["server-name"]),
    value(None, &["statsd-host"]),
    value(None, &["statsd-prefix"]),
    value(None, &["websocket-ping-interval"]),
    flag(None, &["reload"]),
    flag(None, &["debug"]),
    flag(Some('D'), &["daemon"]),
];

/// `hypercorn.config.Config`; they hold where no file of settings is named.
const DEFAULTS: [(&str, &str); 4] =
    [("workers", "1"), ("backlog", "100"), ("keep_alive", "5"), ("graceful_timeout", "3")];
/// Settings without a default that is worth a line.
const GIVEN: [&str; 4] = ["read_timeout", "max_requests", "max_requests_jitter", "config"];

fn of_command_line(command_line: &[String]) -> Option<Program<'_>> {
    program_of(command_line, "hypercorn", &["hypercorn"])
}

/// The process that was started: it spawns the workers, and serves itself with `--workers 0`.
fn top(processes: &[ProcessSeen]) -> Option<&ProcessSeen> {
    processes.iter().find(|process| of_command_line(&process.command_line).is_some())
}

impl ServerKind for Hypercorn {
    fn name(&self) -> &'static str {
        "hypercorn"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["hypercorn"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let process = top(processes)?;
        let arguments = read(OPTIONS, of_command_line(&process.command_line)?.arguments);
        let has_file = arguments.value("config").is_some();
        let mut settings = resolve(&arguments, &DEFAULTS, !has_file);
        settings.extend(given(&arguments, &GIVEN));
        settings.extend(unknown::bind_setting(listeners));
        if let Some(application) = arguments.positional.first() {
            settings.push(setting("app", application.clone(), Origin::Configured));
        }
        let has_uvloop = processes.iter().any(ProcessSeen::maps_uvloop);
        let class =
            arguments.value("worker_class").filter(|class| ["asyncio", "uvloop", "trio"].contains(class));
        let unsaid = match (has_uvloop, has_file) {
            (true, _) => "uvloop",
            (false, true) => "unknown",
            (false, false) => "asyncio",
        };
        let server = Server {
            name: self.name().to_owned(),
            version: process.server_version.clone(),
            worker_class: class.unwrap_or(unsaid).to_owned(),
            python_version: processes.iter().find_map(|process| process.python_version.clone()),
            settings,
        };
        Some(Recognised { kind: &Hypercorn, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        loops::roles_below(top(processes).map(|process| process.tgid), processes)
    }

    /// No option limits how many requests it serves at once.
    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        of_command_line(command_line).map(|_| "hypercorn")
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        let mut server = server.clone();
        let seen = observed.worker_processes;
        // With 0 workers the process that is started serves by itself.
        put_seen(&mut server, "workers", seen, |known| known.max(1) != u64::from(seen));
        server
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("--backlog", "backlog"))
    }

    fn advice(&self, finding_id: &str, server: &Server, _site: &Site) -> Option<Advice> {
        if finding_id == "keep-alive-race" {
            return Some(keep_idle_longer(&Setting::of(server, "--keep-alive", "keep_alive")).into());
        }
        let is_trio = server.worker_class == "trio";
        let (pool, unset, unblock, offload) = if is_trio {
            (
                "total_tokens of trio.to_thread.current_default_thread_limiter()",
                "40 unless set",
                "await it instead: a library for trio, or trio.to_thread.run_sync",
                "move the computation to another process (trio.run_process) or a task queue",
            )
        } else {
            (
                loops::asyncio::POOL_THREADS,
                loops::asyncio::POOL_THREADS_UNSET,
                loops::asyncio::UNBLOCK,
                loops::asyncio::OFFLOAD,
            )
        };
        let pool = Setting::named(pool).at(Scope::Program).sizing(Sizes::Threads);
        let loops = Loops {
            server: "hypercorn",
            more_processes: raise(&Setting::of(server, "--workers", "workers").sizing(Sizes::Processes)),
            more_threads: vec![loops::more_threads(&pool, unset)],
            unblock,
            offload,
            offload_because: loops::THREADS_SHARE_GIL,
        };
        loops.advice(finding_id)
    }

    /// Its access log has no times unless its format asks for them.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::{advises_on_every_finding, process};
    use super::*;

    #[test]
    fn its_settings_are_read_and_defaults_hold_without_a_file() {
        for (line, class, backlog, workers) in [
            ("/v/bin/python3 /v/bin/hypercorn -k trio -w 2 -b 127.0.0.1:80 a:b", "trio", Some(100), Some(2)),
            ("python -m hypercorn --worker-class trio --backlog 7 a:b", "trio", Some(7), Some(1)),
            ("python -m hypercorn a:b", "asyncio", Some(100), Some(1)),
            ("python -m hypercorn -c settings.toml a:b", "unknown", None, None),
        ] {
            let found = Hypercorn.recognise(&[process(7, 1, line)], &[]).expect(line);
            assert_eq!(found.server.worker_class, class, "{line}");
            assert_eq!(
                (found.server.number("backlog"), found.server.number("workers")),
                (backlog, workers),
                "{line}"
            );
            let app = found.server.settings.iter().find(|setting| setting.name == "app");
            assert_eq!(app.map(|app| app.value.as_str()), Some("a:b"), "{line}");
            assert_eq!(Hypercorn.configured_slots(&found.server), None);
            advises_on_every_finding(&Hypercorn, &found.server);
        }
        assert!(Hypercorn.recognise(&[process(7, 1, "python serve.py hypercorn")], &[]).is_none());
    }

    #[test]
    fn what_it_spawns_serves_and_it_does_so_itself_without_workers() {
        let processes = [
            process(7, 1, "python -m hypercorn -k trio a:b"),
            process(8, 7, "python -B -c from_multiprocessing.resource_tracker_import_main"),
            process(9, 7, "python -B -c from_multiprocessing.spawn_import_spawn_main"),
        ];
        let found = Hypercorn.recognise(&processes, &[]).expect("hypercorn");
        assert_eq!([7, 8, 9].map(|tgid| found.role(tgid)), [Role::Master, Role::Unknown, Role::Worker]);
        let alone = [process(7, 1, "python -m hypercorn -w 0 a:b")];
        assert_eq!(Hypercorn.recognise(&alone, &[]).expect("hypercorn").role(7), Role::Worker);
    }
}
