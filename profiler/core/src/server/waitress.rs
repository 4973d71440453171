//! Waitress: one process. Its main thread accepts, reads whole requests and sends what clients are slow to
//! take; threads of a pool run the application and write.
//!
//! In: facts of its process. Out: its settings, its slots (the pool's threads), advice. Read off and run with
//! 3.0.2.

use super::advice::common::{apart, keep_idle_longer};
use super::advice::{Advice, Scope, Sizes, act, raise};
use super::backlog::Backlog;
use super::command_line::{OptionSpec, Options, Program, Takes, program_of, read, reported, value};
use super::pool::{self, Pool};
use super::program::{self, InProgram};
use super::setting::{resolve, setting};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server};

/// Waitress, started by `waitress-serve`, `python -m waitress`, or by `waitress.serve` in a program.
#[derive(Debug)]
pub struct Waitress;

const POOL: Pool =
    Pool { server: "Waitress", threads: "--threads", scope: Scope::CommandLine, clients_hold_threads: false };

/// The same where a program of one's own calls it.
const CALLED: Pool = Pool { threads: "threads= of waitress.serve", scope: Scope::Program, ..POOL };

static IN_PROGRAM: InProgram = InProgram {
    serves: &[("waitress/server.py", "run")],
    class: None,
    pool: &[("waitress/task.py", "handler_thread")],
    distribution: Some("waitress"),
    backlog: Some("backlog= of waitress.serve"),
};

/// `waitress.adjustments`; every one may be given as `--name` or, where it is a flag, `--no-name`.
static OPTIONS: Options = &[
    reported(None, &["threads"], Takes::Value, "threads"),
    reported(None, &["backlog"], Takes::Value, "backlog"),
    reported(None, &["connection-limit"], Takes::Value, "connection_limit"),
    reported(None, &["channel-timeout"], Takes::Value, "channel_timeout"),
    reported(None, &["outbuf-high-watermark"], Takes::Value, "outbuf_high_watermark"),
    reported(None, &["channel-request-lookahead"], Takes::Value, "channel_request_lookahead"),
    OptionSpec { short: None, long: &["asyncore-loop-timeout"], takes: Takes::Value, setting: None },
    value(None, &["app"]),
    value(None, &["cleanup-interval"]),
    value(None, &["host"]),
    value(None, &["ident"]),
    value(None, &["inbuf-overflow"]),
    value(None, &["listen"]),
    value(None, &["max-request-body-size"]),
    value(None, &["max-request-header-size"]),
    value(None, &["outbuf-overflow"]),
    value(None, &["port"]),
    value(None, &["recv-bytes"]),
    value(None, &["send-bytes"]),
    value(None, &["server-name"]),
    value(None, &["trusted-proxy"]),
    value(None, &["trusted-proxy-count"]),
    value(None, &["trusted-proxy-headers"]),
    value(None, &["unix-socket"]),
    value(None, &["unix-socket-perms"]),
    value(None, &["url-prefix"]),
    value(None, &["url-scheme"]),
];

const DEFAULTS: [(&str, &str); 6] = [
    ("threads", "4"),
    ("backlog", "1024"),
    ("connection_limit", "100"),
    ("channel_timeout", "120"),
    ("outbuf_high_watermark", "16777216"),
    ("channel_request_lookahead", "0"),
];

fn of_command_line(command_line: &[String]) -> Option<Program<'_>> {
    program_of(command_line, "waitress", &["waitress-serve", "waitress"])
}

impl ServerKind for Waitress {
    fn name(&self) -> &'static str {
        "waitress"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["waitress"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let started =
            processes.iter().find_map(|process| Some((process, of_command_line(&process.command_line)?)));
        let Some((process, found)) = started else {
            return program::recognise(&Waitress, "pool", processes, listeners);
        };
        let arguments = read(OPTIONS, found.arguments);
        let mut settings = resolve(&arguments, &DEFAULTS, true);
        settings.extend(unknown::bind_setting(listeners));
        if let Some(application) = arguments.positional.first() {
            settings.push(setting("wsgi_app", application.clone(), Origin::Configured));
        }
        let server = Server {
            name: self.name().to_owned(),
            version: process.server_version.clone(),
            worker_class: "pool".to_owned(),
            python_version: process.python_version.clone(),
            settings,
        };
        Some(Recognised { kind: &Waitress, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        pool::roles(processes, |one| {
            of_command_line(&one.command_line).is_some() || program::is_run_by(one, self)
        })
    }

    fn configured_slots(&self, server: &Server) -> Option<u32> {
        pool::slots(server)
    }

    fn has_thread_per_request(&self, _server: &Server) -> bool {
        true
    }

    /// The main thread reads them whole.
    fn passes_requests_on(&self) -> bool {
        true
    }

    fn slot_noun(&self, _server: &Server) -> &'static str {
        "thread"
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        of_command_line(command_line).map(|_| "waitress")
    }

    fn in_program(&self) -> Option<&'static InProgram> {
        Some(&IN_PROGRAM)
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        pool::refine(server, observed)
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("--backlog", "backlog"))
    }

    fn advice(&self, finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
        let is_called = program::has_started(server);
        let pool = if is_called { CALLED } else { POOL };
        if finding_id == "keep-alive-race" {
            let keyword = "channel_timeout= of waitress.serve";
            let timeout = program::option(server, "--channel-timeout", keyword, "channel_timeout");
            return Some(keep_idle_longer(&timeout).into());
        }
        // --connection-limit is no way: connections that send nothing count too, and could shut all others
        // out.
        if finding_id == "full-beside-free" {
            let apart = apart("Waitress");
            // In fewer processes requests that compute would wait for one another's GIL.
            if site.computes {
                return Some(apart.into());
            }
            let fewer = act("run fewer processes").no_more(Sizes::Processes);
            let threads = raise(&pool.thread_setting(server)).so("in each");
            return Some(Advice::first(apart.or(fewer).and(threads)));
        }
        pool.advice(finding_id, server)
    }

    /// None: waitress has no access log.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::advice::Move;
    use super::super::pool::tests::{advises_on_every_finding, process};
    use super::*;

    #[test]
    fn its_script_and_its_module_are_known_with_their_threads() {
        for (line, threads) in [
            ("/v/bin/python3 /v/bin/waitress-serve --listen *:8080 --threads=8 a:b", 8),
            ("waitress-serve --threads 8 a:b", 8),
            ("python -m waitress a:b", 4),
        ] {
            let found = Waitress.recognise(&[process(7, 1, line)], &[]).expect(line);
            assert_eq!(Waitress.configured_slots(&found.server), Some(threads), "{line}");
            assert_eq!(found.role(7), Role::Worker);
            advises_on_every_finding(&Waitress, &found.server);
        }
        assert!(Waitress.recognise(&[process(7, 1, "python serve.py waitress")], &[]).is_none());
    }

    #[test]
    fn fewer_processes_with_more_threads_each_are_data_too() {
        let advice = Waitress.advice("full-beside-free", &Server::default(), &Site::default()).unwrap();
        let changes = advice.changes();
        let changes = changes.iter().map(|change| (change.setting.name.as_str(), change.direction));
        assert_eq!(changes.collect::<Vec<_>>(), [("--threads", crate::server::advice::Direction::Raise)]);
        assert!(advice.moves().any(|one| one == Move::down(Sizes::Processes)));
    }

    #[test]
    fn more_threads_that_serve_than_configured_are_believed_fewer_are_not() {
        let found = Waitress.recognise(&[process(7, 1, "waitress-serve a:b")], &[]).expect("waitress");
        let with = |serving_threads| {
            let seen = Observed { serving_threads, ..Observed::default() };
            Waitress.configured_slots(&Waitress.refine(&found.server, &seen))
        };
        assert_eq!((with(2), with(6)), (Some(4), Some(6)));
    }
}
