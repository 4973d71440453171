//! cheroot, alone or as CherryPy's server: one process. One thread accepts and waits for kept-alive
//! connections; threads of a pool read, run the application and write.
//!
//! In: facts of its process. Out: its settings, its slots (the pool's threads), advice. Read off and run with
//! cheroot 11.1.2 and CherryPy 18.10.0.

use super::advice::common::keep_idle_longer;
use super::advice::{Advice, Scope, Setting, say};
use super::backlog::Backlog;
use super::command_line::{self, Options, Program, Takes, flag, read, reported, value};
use super::pool::{self, Pool};
use super::program::{self, InProgram};
use super::setting::{resolve, setting};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server};

/// cheroot, started by its command, `python -m cheroot`, or `cheroot.wsgi.Server` in a program of one's own.
#[derive(Debug)]
pub struct Cheroot;

/// CherryPy, started by `cherryd` or by a program of one's own.
#[derive(Debug)]
pub struct CherryPy;

/// `cheroot.cli`.
static OPTIONS: Options = &[
    reported(None, &["threads"], Takes::Value, "threads"),
    reported(None, &["max-threads"], Takes::Value, "max_threads"),
    reported(None, &["timeout"], Takes::Value, "timeout"),
    reported(None, &["request-queue-size"], Takes::Value, "request_queue_size"),
    reported(None, &["accepted-queue-size"], Takes::Value, "accepted_queue_size"),
    value(None, &["accepted-queue-timeout"]),
    value(None, &["bind"]),
    value(None, &["chdir"]),
    value(None, &["server-name"]),
    value(None, &["shutdown-timeout"]),
];

const DEFAULTS: [(&str, &str); 5] = [
    ("threads", "10"),
    ("max_threads", "-1"),
    ("timeout", "10"),
    ("request_queue_size", "5"),
    ("accepted_queue_size", "-1"),
];

/// `cherryd`.
static CHERRYD: Options = &[
    reported(Some('c'), &["config"], Takes::Value, "config"),
    flag(Some('d'), &[]),
    flag(Some('f'), &[]),
    flag(Some('s'), &[]),
    flag(Some('x'), &[]),
    value(Some('e'), &["environment"]),
    value(Some('i'), &["import"]),
    value(Some('p'), &["pidfile"]),
    value(Some('P'), &["Path"]),
];

static IN_PROGRAM: InProgram = InProgram {
    serves: &[("cheroot/server.py", "serve")],
    class: None,
    pool: &[("cheroot/workers/threadpool.py", "run")],
    distribution: Some("cheroot"),
    backlog: Some("request_queue_size= of cheroot.wsgi.Server"),
};

static CHERRYPY_IN_PROGRAM: InProgram = InProgram {
    serves: &[("cherrypy/process/servers.py", "_start_http_thread")],
    class: None,
    pool: IN_PROGRAM.pool,
    distribution: Some("cherrypy"),
    backlog: Some("server.socket_queue_size"),
};

fn is_called<'a>(process: &'a ProcessSeen, script: &str, module: &str) -> Option<Program<'a>> {
    command_line::program(&process.command_line)
        .filter(|found| found.name == if found.is_module { module } else { script })
}

fn cheroot(process: &ProcessSeen) -> Option<Program<'_>> {
    is_called(process, "cheroot", "cheroot")
}

fn cherrypy(process: &ProcessSeen) -> Option<Program<'_>> {
    is_called(process, "cherryd", "cherrypy")
}

fn server(name: &str, process: &ProcessSeen) -> Server {
    Server {
        name: name.to_owned(),
        version: process.server_version.clone(),
        worker_class: "pool".to_owned(),
        python_version: process.python_version.clone(),
        settings: Vec::new(),
    }
}

/// How to keep idle connections longer. One limit is for these and for clients that have begun a request.
fn longer_timeout(setting: &Setting) -> Advice {
    Advice::first(keep_idle_longer(setting))
        .then(say("a client that stops in the middle of a request then holds a thread for as long"))
}

impl ServerKind for Cheroot {
    fn name(&self) -> &'static str {
        "cheroot"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["cheroot"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let started = processes.iter().find_map(|process| Some((process, cheroot(process)?)));
        let Some((process, found)) = started else {
            return program::recognise(&Cheroot, "pool", processes, listeners);
        };
        let arguments = read(OPTIONS, found.arguments);
        let mut server = server(self.name(), process);
        server.settings = resolve(&arguments, &DEFAULTS, true);
        server.settings.extend(unknown::bind_setting(listeners));
        if let Some(application) = arguments.positional.first() {
            server.settings.push(setting("wsgi_app", application.clone(), Origin::Configured));
        }
        Some(Recognised { kind: &Cheroot, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        pool::roles(processes, |one| cheroot(one).is_some() || program::is_run_by(one, self))
    }

    fn configured_slots(&self, server: &Server) -> Option<u32> {
        pool::slots(server)
    }

    fn has_thread_per_request(&self, _server: &Server) -> bool {
        true
    }

    fn slot_noun(&self, _server: &Server) -> &'static str {
        "thread"
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        let found = command_line::program(command_line)?;
        (found.name == "cheroot").then_some("cheroot")
    }

    fn in_program(&self) -> Option<&'static InProgram> {
        Some(&IN_PROGRAM)
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        pool::refine(server, observed)
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("--request-queue-size", "request_queue_size"))
    }

    fn advice(&self, finding_id: &str, server: &Server, _site: &Site) -> Option<Advice> {
        let (threads, scope) = match program::has_started(server) {
            true => ("numthreads= of cheroot.wsgi.Server", Scope::Program),
            false => ("--threads", Scope::CommandLine),
        };
        if finding_id == "keep-alive-race" {
            let keyword = "timeout= of cheroot.wsgi.Server";
            return Some(longer_timeout(&program::option(server, "--timeout", keyword, "timeout")));
        }
        Pool { server: "cheroot", threads, scope, clients_hold_threads: true }.advice(finding_id, server)
    }

    /// None: cheroot has no access log.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

impl ServerKind for CherryPy {
    fn name(&self) -> &'static str {
        "cherrypy"
    }

    /// `server.thread_pool` (10 if nobody says otherwise) stands in a configuration file or in the program:
    /// not read.
    fn packages(&self) -> &'static [&'static str] {
        &["cherrypy"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let started = processes.iter().find_map(|process| Some((process, cherrypy(process)?)));
        let Some((process, found)) = started else {
            return program::recognise(&CherryPy, "pool", processes, listeners);
        };
        let arguments = read(CHERRYD, found.arguments);
        let mut server = server(self.name(), process);
        for file in arguments.values("config") {
            server.settings.push(setting("config", format!("{file} (not read)"), Origin::Configured));
        }
        server.settings.extend(unknown::bind_setting(listeners));
        Some(Recognised { kind: &CherryPy, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        pool::roles(processes, |one| cherrypy(one).is_some() || program::is_run_by(one, self))
    }

    fn configured_slots(&self, server: &Server) -> Option<u32> {
        pool::slots(server)
    }

    fn has_thread_per_request(&self, _server: &Server) -> bool {
        true
    }

    fn slot_noun(&self, _server: &Server) -> &'static str {
        "thread"
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        let found = command_line::program(command_line)?;
        matches!(found.name, "cherryd" | "cherrypy").then_some("cherrypy")
    }

    fn in_program(&self) -> Option<&'static InProgram> {
        Some(&CHERRYPY_IN_PROGRAM)
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        pool::refine(server, observed)
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("server.socket_queue_size", "backlog").at(Scope::Program))
    }

    fn advice(&self, finding_id: &str, server: &Server, _site: &Site) -> Option<Advice> {
        let scope = Scope::Program;
        if finding_id == "keep-alive-race" {
            return Some(longer_timeout(&Setting::named("server.socket_timeout").at(scope)));
        }
        Pool { server: "CherryPy", threads: "server.thread_pool", scope, clients_hold_threads: true }
            .advice(finding_id, server)
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
    fn cheroot_is_known_with_its_threads() {
        for (line, threads) in [
            ("/v/bin/python3 /v/bin/cheroot --bind [::1]:80 --threads 6 a:b", 6),
            ("python -m cheroot a:b", 10),
        ] {
            let found = Cheroot.recognise(&[process(7, 1, line)], &[]).expect(line);
            assert_eq!(Cheroot.configured_slots(&found.server), Some(threads), "{line}");
            assert_eq!(found.role(7), Role::Worker);
            advises_on_every_finding(&Cheroot, &found.server);
        }
    }

    #[test]
    fn cherrypy_s_threads_are_those_that_served() {
        let line = "/v/bin/python3 /v/bin/cherryd -c site.conf -i app";
        let found = CherryPy.recognise(&[process(7, 1, line)], &[]).expect("CherryPy");
        assert_eq!(CherryPy.configured_slots(&found.server), None);
        let seen = Observed { serving_threads: 5, ..Observed::default() };
        let refined = CherryPy.refine(&found.server, &seen);
        assert_eq!(CherryPy.configured_slots(&refined), Some(5));
        assert!(refined.settings.iter().any(|setting| setting.value == "site.conf (not read)"));
        advises_on_every_finding(&CherryPy, &refined);
        let advice = CherryPy.advice("more-slots", &refined, &Site::default()).unwrap();
        assert_eq!(advice.imperative(), "Raise server.thread_pool (seen: 5)");
        let changes = advice.changes();
        assert!(changes.iter().all(|change| change.setting.scope == Scope::Program));
        assert!(Cheroot.recognise(&[process(7, 1, line)], &[]).is_none());
    }
}
