//! Daphne: one process with Twisted's reactor on asyncio's loop. The application's coroutines run on that
//! loop, its plain functions in threads of the loop's executor or of asgiref's.
//!
//! In: facts of its process. Out: its settings and role, advice. Read off and run with 4.2.3.

use super::advice::{Advice, Scope, Setting, Sizes, act};
use super::backlog::Backlog;
use super::command_line::{Options, Program, Takes, flag, program_of, read, reported, value};
use super::loops::{self, Loops};
use super::setting::{given, setting};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server};

/// Daphne, started by its command or `python -m daphne`.
#[derive(Debug)]
pub struct Daphne;

/// `daphne.cli`.
static OPTIONS: Options = &[
    reported(Some('t'), &["http-timeout"], Takes::Value, "http_timeout"),
    reported(Some('e'), &["endpoint"], Takes::Value, "endpoint"),
    value(Some('p'), &["port"]),
    value(Some('b'), &["bind"]),
    value(Some('u'), &["unix-socket"]),
    value(Some('v'), &["verbosity"]),
    value(Some('s'), &["server-name"]),
    value(None, &["fd"]),
    value(None, &["websocket_timeout"]),
    value(None, &["websocket_connect_timeout"]),
    value(None, &["websocket-max-message-size"]),
    value(None, &["websocket-max-frame-size"]),
    value(None, &["access-log"]),
    value(None, &["log-fmt"]),
    value(None, &["ping-interval"]),
    value(None, &["ping-timeout"]),
    value(None, &["application-close-timeout"]),
    value(None, &["root-path"]),
    value(None, &["proxy-headers-host"]),
    value(None, &["proxy-headers-port"]),
    flag(None, &["proxy-headers"]),
    flag(None, &["no-server-name"]),
];

fn of_command_line(command_line: &[String]) -> Option<Program<'_>> {
    program_of(command_line, "daphne", &["daphne"])
}

impl ServerKind for Daphne {
    fn name(&self) -> &'static str {
        "daphne"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["daphne"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let (process, found) =
            processes.iter().find_map(|process| Some((process, of_command_line(&process.command_line)?)))?;
        let arguments = read(OPTIONS, found.arguments);
        let mut settings: Vec<_> = given(&arguments, &["http_timeout", "endpoint"]).collect();
        settings.extend(unknown::bind_setting(listeners));
        if let Some(application) = arguments.positional.first() {
            settings.push(setting("app", application.clone(), Origin::Configured));
        }
        let server = Server {
            name: self.name().to_owned(),
            version: process.server_version.clone(),
            worker_class: "asyncio".to_owned(),
            python_version: process.python_version.clone(),
            settings,
        };
        Some(Recognised { kind: &Daphne, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        loops::roles(processes, |process| of_command_line(&process.command_line).is_some())
    }

    /// No option limits how many requests it serves at once.
    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        of_command_line(command_line).map(|_| "daphne")
    }

    fn refine(&self, server: &Server, _observed: &Observed) -> Server {
        server.clone()
    }

    /// 50 unless the endpoint says another number; `--bind` and `--port` cannot.
    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(
            Backlog::cut("backlog of the endpoint", "backlog")
                .at(Scope::Program)
                .or_as("--endpoint tcp:PORT:backlog=NUMBER"),
        )
    }

    fn advice(&self, finding_id: &str, _server: &Server, _site: &Site) -> Option<Advice> {
        if finding_id == "keep-alive-race" {
            return Some(Advice::first(
                act("let clients, or the proxy before it, keep idle connections for less than 60 s")
                    .because("Daphne closes them after that, and has no option for it"),
            ));
        }
        let pool =
            Setting::named("max_workers of the loop's default executor (ASGI_THREADS in the environment)");
        let loops = Loops {
            server: "Daphne",
            more_processes: act("run a second Daphne beside it, behind a proxy that shares the requests out")
                .more(Sizes::Processes),
            more_threads: vec![loops::more_threads(
                &pool.at(Scope::Program).sizing(Sizes::Threads),
                loops::asyncio::POOL_THREADS_UNSET,
            )],
            unblock: "await it instead: an asynchronous library, asyncio.to_thread, or asgiref's sync_to_async",
            offload: loops::asyncio::OFFLOAD,
            offload_because: loops::THREADS_SHARE_GIL,
        };
        loops.advice(finding_id)
    }

    /// Its access log has no times.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::{advises_on_every_finding, process};
    use super::*;

    #[test]
    fn daphne_is_known_with_its_application_and_is_told_no_option_that_it_does_not_have() {
        for line in [
            "/v/bin/python3 /v/bin/daphne -b 0.0.0.0 -p 8000 --http-timeout 30 site.asgi:application",
            "python -m daphne --proxy-headers -t 30 site.asgi:application",
        ] {
            let found = Daphne.recognise(&[process(7, 1, line)], &[]).expect(line);
            assert_eq!(found.role(7), Role::Worker, "{line}");
            let of = |name: &str| found.server.settings.iter().find(|one| one.name == name);
            let value = |name: &str| of(name).map(|one| one.value.as_str());
            assert_eq!(
                (value("app"), value("http_timeout")),
                (Some("site.asgi:application"), Some("30")),
                "{line}"
            );
            assert_eq!(Daphne.configured_slots(&found.server), None);
            advises_on_every_finding(&Daphne, &found.server);
            let advice = Daphne.advice("cpu-bound", &found.server, &Site::default()).unwrap_or_default();
            assert!(!advice.to_string().contains("--"), "{advice}");
        }
        assert!(Daphne.recognise(&[process(7, 1, "python manage.py daphne")], &[]).is_none());
    }
}
