//! Twisted Web: one process. The reactor's thread accepts, reads, writes. A WSGI application runs in threads
//! of the reactor's pool, which grows as it is needed, up to 20 (`twisted.python.threadpool`; `twist web` has
//! no option for it).
//!
//! In: facts of its process. Out: its settings and role, advice. Read off and run with 26.10.0.

use super::advice::{Advice, Direction, Part, Scope, Setting, Sizes, act};
use super::backlog::Backlog;
use super::command_line::{Options, Program, Takes, flag, program_of, read, reported, value};
use super::loops::{self, Loops};
use super::setting::{given, setting};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server};

/// Twisted, started by `twist web`, `twistd web` or `python -m twisted web`.
#[derive(Debug)]
pub struct Twisted;

/// `twisted.web.tap`, and of `twist` what comes before `web`.
static OPTIONS: Options = &[
    reported(None, &["wsgi"], Takes::Value, "wsgi_app"),
    reported(None, &["reactor"], Takes::Value, "reactor"),
    value(None, &["class"]),
    value(None, &["path"]),
    value(None, &["listen"]),
    value(Some('p'), &["port"]),
    value(None, &["https"]),
    value(Some('c'), &["certificate"]),
    value(Some('k'), &["privkey"]),
    value(Some('l'), &["logfile"]),
    value(Some('i'), &["index"]),
    value(None, &["log-file"]),
    value(None, &["log-level"]),
    value(None, &["log-format"]),
    value(None, &["add-header"]),
    value(None, &["resource-script"]),
    flag(Some('n'), &["nodaemon"]),
];

/// Threads that the reactor's pool grows to (`ThreadPool.max`).
const POOL_MAX: &str = "20";

fn of_command_line(command_line: &[String]) -> Option<Program<'_>> {
    program_of(command_line, "twisted", &["twist", "twistd"])
}

impl ServerKind for Twisted {
    fn name(&self) -> &'static str {
        "twisted"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["twisted"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let (process, found) =
            processes.iter().find_map(|process| Some((process, of_command_line(&process.command_line)?)))?;
        let arguments = read(OPTIONS, found.arguments);
        let mut settings = Vec::new();
        settings.extend(given(&arguments, &["wsgi_app", "reactor"]));
        if arguments.value("wsgi_app").is_some() {
            settings.push(setting("threads", POOL_MAX.to_owned(), Origin::Default));
        }
        settings.extend(unknown::bind_setting(listeners));
        let server = Server {
            name: self.name().to_owned(),
            version: process.server_version.clone(),
            worker_class: "reactor".to_owned(),
            python_version: process.python_version.clone(),
            settings,
        };
        Some(Recognised { kind: &Twisted, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        loops::roles(processes, |process| of_command_line(&process.command_line).is_some())
    }

    /// The pool's threads run applications, the reactor takes up any number of requests.
    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        of_command_line(command_line).map(|_| "twisted")
    }

    fn refine(&self, server: &Server, _observed: &Observed) -> Server {
        server.clone()
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("backlog of the endpoint", "backlog").at(Scope::Program))
    }

    fn advice(&self, finding_id: &str, server: &Server, _site: &Site) -> Option<Advice> {
        if finding_id == "keep-alive-race" {
            return Some(Advice::first(
                act("let clients, or the proxy before it, keep idle connections for less than 60 s")
                    .because("Twisted closes them after that, and `twist web` has no option for it"),
            ));
        }
        let loops = Loops {
            server: "Twisted",
            more_processes: act(
                "run a second Twisted beside it, behind a proxy that shares the requests out",
            )
            .more(Sizes::Processes),
            more_threads: vec![more_threads(server)],
            unblock: "give it to a thread (deferToThread), or use a client that returns Deferreds",
            offload: "move the computation to another process",
            offload_because: "a thread shares the GIL with the reactor",
        };
        loops.advice(finding_id)
    }

    /// Its access log has no times.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

/// `--wsgi` makes a pool of its own, which nothing resizes (`twisted.web.tap`); other resources use the
/// reactor's.
fn more_threads(server: &Server) -> Part {
    let in_program = |name: &str| Setting::named(name).at(Scope::Program).sizing(Sizes::Threads);
    if server.settings.iter().any(|one| one.name == "wsgi_app") {
        let text = "give the pool more threads: serve a WSGIResource of your own with --resource-script, on a ThreadPool with \
                    more maxthreads (--wsgi always makes 20)";
        let threads = in_program("maxthreads of ThreadPool").now(POOL_MAX);
        return act(text).with(threads, Direction::Raise);
    }
    loops::more_threads(&in_program("suggestThreadPoolSize of the reactor"), "10 unless called")
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::{advises_on_every_finding, process};
    use super::*;

    #[test]
    fn twist_web_is_known_with_its_application() {
        for line in [
            "/v/bin/python3 /v/bin/twist web --listen tcp:8000 --wsgi a.b",
            "/v/bin/python3 /v/bin/twistd -n web --listen=tcp:8000 --wsgi=a.b",
            "python -m twisted web --wsgi a.b",
        ] {
            let found = Twisted.recognise(&[process(7, 1, line)], &[]).expect(line);
            assert_eq!(found.role(7), Role::Worker, "{line}");
            let application = found.server.settings.iter().find(|one| one.name == "wsgi_app");
            assert_eq!(application.map(|one| one.value.as_str()), Some("a.b"), "{line}");
            assert_eq!(found.server.number("threads"), Some(20));
            let advice = Twisted.advice("more-slots/pool", &found.server, &Site::default()).unwrap();
            let changes = advice.changes();
            let names: Vec<&str> = changes.iter().map(|change| change.setting.name.as_str()).collect();
            assert_eq!(names, ["maxthreads of ThreadPool"], "the reactor's pool serves nothing of it");
            advises_on_every_finding(&Twisted, &found.server);
        }
        assert!(Twisted.recognise(&[process(7, 1, "python serve.py twist")], &[]).is_none());
    }
}
