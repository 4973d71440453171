//! uvicorn: an asyncio (or uvloop) event loop per process; a WSGI application runs in threads that a2wsgi or
//! `--interface wsgi` adds, an ASGI framework's plain functions in threads of its own.
//!
//! In: facts of its processes. Out: its settings and roles, advice. Read off and run with 0.54.0.

use super::advice::common::keep_idle_longer;
use super::advice::{Advice, Direction, Part, Scope, Setting, Sizes, act, raise, say};
use super::backlog::Backlog;
use super::command_line::{Arguments, Options, Program, Takes, flag, program_of, read, reported, value};
use super::loops::{self, Loops};
use super::program::{self, InProgram};
use super::setting::{given, is_from, put_seen, resolve, setting};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, topmost, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{self, Origin, Server};

/// uvicorn, started by its command, `python -m uvicorn`, or by `uvicorn.run` in a program. Inside gunicorn
/// (`uvicorn.workers`) it is gunicorn's.
#[derive(Debug)]
pub struct Uvicorn;

/// `uvicorn.main`.
static OPTIONS: Options = &[
    reported(None, &["workers"], Takes::Value, "workers"),
    reported(None, &["limit-concurrency"], Takes::Value, "limit_concurrency"),
    reported(None, &["backlog"], Takes::Value, "backlog"),
    reported(None, &["timeout-keep-alive"], Takes::Value, "timeout_keep_alive"),
    reported(None, &["interface"], Takes::Value, "interface"),
    reported(None, &["loop"], Takes::Value, "loop"),
    reported(None, &["http"], Takes::Value, "http"),
    reported(None, &["limit-max-requests"], Takes::Value, "limit_max_requests"),
    value(None, &["host"]),
    value(None, &["port"]),
    value(None, &["uds"]),
    value(None, &["fd"]),
    value(None, &["reload-dir"]),
    value(None, &["reload-include"]),
    value(None, &["reload-exclude"]),
    value(None, &["reload-delay"]),
    value(None, &["limit-max-requests-jitter"]),
    value(None, &["ws"]),
    value(None, &["ws-max-size"]),
    value(None, &["ws-max-queue"]),
    value(None, &["ws-ping-interval"]),
    value(None, &["ws-ping-timeout"]),
    value(None, &["ws-per-message-deflate"]),
    value(None, &["lifespan"]),
    value(None, &["env-file"]),
    value(None, &["log-config"]),
    value(None, &["log-level"]),
    value(None, &["forwarded-allow-ips"]),
    value(None, &["root-path"]),
    value(None, &["timeout-graceful-shutdown"]),
    value(None, &["timeout-worker-healthcheck"]),
    value(None, &["ssl-keyfile"]),
    value(None, &["ssl-certfile"]),
    value(None, &["ssl-keyfile-password"]),
    value(None, &["ssl-version"]),
    value(None, &["ssl-cert-reqs"]),
    value(None, &["ssl-ca-certs"]),
    value(None, &["ssl-ciphers"]),
    value(None, &["header"]),
    value(None, &["app-dir"]),
    value(None, &["h11-max-incomplete-event-size"]),
    flag(None, &["reload"]),
    flag(None, &["factory"]),
];

const DEFAULTS: [(&str, &str); 3] = [("workers", "1"), ("backlog", "2048"), ("timeout_keep_alive", "5")];
/// Settings without a default that is worth a line.
const GIVEN: [&str; 5] = ["limit_concurrency", "interface", "loop", "http", "limit_max_requests"];

fn of_command_line(command_line: &[String]) -> Option<Program<'_>> {
    program_of(command_line, "uvicorn", &["uvicorn"])
}

static IN_PROGRAM: InProgram = InProgram {
    serves: &[
        ("uvicorn/server.py", "run"),
        ("uvicorn/supervisors/multiprocess.py", "run"),
        ("uvicorn/supervisors/basereload.py", "run"),
    ],
    class: None,
    pool: &[],
    distribution: Some("uvicorn"),
    backlog: Some("backlog= of uvicorn.run"),
};

/// The process that was started: the supervisor where there are several workers, else the server itself.
fn top(processes: &[ProcessSeen]) -> Option<&ProcessSeen> {
    let started = processes.iter().find(|process| of_command_line(&process.command_line).is_some());
    started.or_else(|| topmost(processes, |process| program::is_run_by(process, &Uvicorn)))
}

/// Its settings by the command line, the environment and documented defaults.
fn settings(process: &ProcessSeen, arguments: &Arguments) -> Vec<model::Setting> {
    let mut settings = resolve(arguments, &DEFAULTS, false);
    let concurrency = process.environment.iter().find(|(name, _)| name == "WEB_CONCURRENCY");
    if arguments.value("workers").is_none() {
        let value = concurrency.map_or("1", |(_, value)| value.as_str());
        let origin = if concurrency.is_some() { Origin::Configured } else { Origin::Default };
        settings.push(setting("workers", value.to_owned(), origin));
    }
    for (name, default) in DEFAULTS.iter().skip(1) {
        if arguments.value(name).is_none() {
            settings.push(setting(name, (*default).to_owned(), Origin::Default));
        }
    }
    settings.extend(given(arguments, &GIVEN));
    settings
}

impl ServerKind for Uvicorn {
    fn name(&self) -> &'static str {
        "uvicorn"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["uvicorn", "uvicorn_worker", "a2wsgi"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let process = top(processes)?;
        let has_uvloop = processes.iter().any(ProcessSeen::maps_uvloop);
        let worker_class = if has_uvloop { "uvloop" } else { "asyncio" };
        let Some(found) = of_command_line(&process.command_line) else {
            return program::recognise(&Uvicorn, worker_class, processes, listeners);
        };
        let arguments = read(OPTIONS, found.arguments);
        let mut settings = settings(process, &arguments);
        settings.extend(unknown::bind_setting(listeners));
        if let Some(application) = arguments.positional.first() {
            settings.push(setting("app", application.clone(), Origin::Configured));
        }
        let server = Server {
            name: self.name().to_owned(),
            version: process.server_version.clone(),
            worker_class: worker_class.to_owned(),
            python_version: processes.iter().find_map(|process| process.python_version.clone()),
            settings,
        };
        Some(Recognised { kind: &Uvicorn, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        loops::roles_below(top(processes).map(|process| process.tgid), processes)
    }

    /// `--limit-concurrency` answers with 503 beyond it, it does not make requests wait.
    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        of_command_line(command_line).map(|_| "uvicorn")
    }

    fn in_program(&self) -> Option<&'static InProgram> {
        Some(&IN_PROGRAM)
    }

    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        let mut server = server.clone();
        let seen = observed.worker_processes;
        put_seen(&mut server, "workers", seen, |known| known != u64::from(seen));
        server
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("--backlog", "backlog"))
    }

    /// a2wsgi hands a request over with its head, and its thread waits for the body.
    fn clients_hold_pool(&self) -> bool {
        true
    }

    fn advice(&self, finding_id: &str, server: &Server, _site: &Site) -> Option<Advice> {
        match finding_id {
            "keep-alive-race" => {
                return Some(keep_idle_longer(&option(server, "timeout_keep_alive")).into());
            }
            "worker-timeouts" => return Some(unanswered_ping(server)),
            _ => {}
        }
        let is_wrapped = server.settings.iter().any(|one| one.name == "interface" && one.value == "wsgi");
        let loops = Loops {
            server: "uvicorn",
            more_processes: more_workers(server),
            more_threads: more_threads(is_wrapped),
            unblock: loops::asyncio::UNBLOCK,
            offload: loops::asyncio::OFFLOAD,
            offload_because: loops::THREADS_SHARE_GIL,
        };
        let advice = loops.advice(finding_id)?;
        if finding_id == "loop-blocked" {
            return Some(advice.then(say("a framework runs a plain def endpoint in a thread by itself")));
        }
        Some(advice)
    }

    /// Its access log has no times.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

/// An option by its setting's name, which is the keyword of `uvicorn.run` too.
fn option(server: &Server, setting: &str) -> Setting {
    let flag = format!("--{}", setting.replace('_', "-"));
    program::option(server, &flag, &format!("{setting}= of uvicorn.run"), setting)
}

/// More processes, on a loop on which they answer as fast as one. uvicorn makes the listener of several
/// itself, without the number of its protocol, so asyncio does not set `TCP_NODELAY`
/// (`uvicorn.config.Config.bind_socket`, `asyncio.base_events._set_nodelay`); head and body of an answer are
/// two writes.
fn more_workers(server: &Server) -> Part {
    let workers = option(server, "workers").sizing(Sizes::Processes);
    if server.worker_class != "asyncio" {
        return raise(&workers);
    }
    let event_loop = option(server, "loop");
    let late = "on asyncio several workers take 40 ms longer for each answer on a kept connection";
    act(format!("use uvloop ({}: {late}) and raise {workers}", event_loop.name))
        .with_value(event_loop, "uvloop")
        .with(workers, Direction::Raise)
}

/// Threads beside the loop: a2wsgi's run a WSGI application, `AnyIO`'s the plain functions of a framework.
fn more_threads(is_wrapped: bool) -> Vec<Part> {
    let in_program = |name: &str| Setting::named(name).at(Scope::Program).sizing(Sizes::Threads);
    let wrapper = in_program("workers= of a2wsgi's WSGIMiddleware");
    if is_wrapped {
        let text = "give the pool more threads: wrap the application in a2wsgi's WSGIMiddleware with more workers=, and leave \
                    out --interface wsgi (which always makes 10)";
        return vec![act(text).with(wrapper, Direction::Raise)];
    }
    let limiter = in_program("total_tokens of anyio.to_thread.current_default_thread_limiter()");
    vec![
        act(format!("give the pool more threads ({}, 10 unless given)", wrapper.name))
            .with(wrapper, Direction::Raise),
        act(format!("raise {} (40 unless set) for plain def endpoints", limiter.name))
            .with(limiter, Direction::Raise),
    ]
}

/// Its master kills a worker that does not answer a ping within so many seconds. A thread of the worker
/// answers: what keeps that one from it keeps the GIL.
fn unanswered_ping(server: &Server) -> Advice {
    let advice = Advice::first(
        act("find the call into C code that keeps the GIL for seconds")
            .and(act("run it in another process"))
            .because("the worker did not answer its master's ping, for which a thread of it needs the GIL"),
    );
    // 5 s before that.
    if !is_from(server, &[0, 37]) {
        return advice;
    }
    let limit = option(server, "timeout_worker_healthcheck");
    advice.then(raise(&limit).so("(5 s unless given)").only("only if such long calls are intended"))
}

#[cfg(test)]
mod tests {
    use super::super::advice::Alternative;
    use super::super::pool::tests::{advises_on_every_finding, process};
    use super::*;

    #[test]
    fn a_single_process_serves_and_its_settings_are_read() {
        for line in [
            "/v/bin/python3 /v/bin/uvicorn --port 8000 --limit-concurrency 50 a:b",
            "python -m uvicorn --port 8000 --limit-concurrency=50 a:b",
        ] {
            let found = Uvicorn.recognise(&[process(7, 1, line)], &[]).expect(line);
            assert_eq!(found.role(7), Role::Worker, "{line}");
            assert_eq!(found.server.number("limit_concurrency"), Some(50), "{line}");
            assert_eq!(found.server.number("workers"), Some(1));
            assert_eq!(Uvicorn.configured_slots(&found.server), None);
            advises_on_every_finding(&Uvicorn, &found.server);
        }
        assert!(Uvicorn.recognise(&[process(7, 1, "python serve.py uvicorn")], &[]).is_none());
    }

    #[test]
    fn of_several_processes_those_spawned_serve_and_the_resource_tracker_does_not() {
        let processes = [
            process(7, 1, "python -m uvicorn --workers 2 a:b"),
            process(8, 7, "python -c from_multiprocessing.resource_tracker_import_main"),
            process(9, 7, "python -c from_multiprocessing.spawn_import_spawn_main"),
            process(10, 7, "python -c from_multiprocessing.spawn_import_spawn_main"),
        ];
        let found = Uvicorn.recognise(&processes, &[]).expect("uvicorn");
        let roles = [7, 8, 9, 10].map(|tgid| found.role(tgid));
        assert_eq!(roles, [Role::Master, Role::Unknown, Role::Worker, Role::Worker]);
        assert!(
            Uvicorn
                .advice("cpu-bound", &found.server, &Site::default())
                .unwrap()
                .to_string()
                .contains("raise --workers (now 2)")
        );
    }

    #[test]
    fn limit_of_the_masters_ping_is_named_where_it_is_an_option() {
        let mut server =
            Uvicorn.recognise(&[process(7, 1, "uvicorn --workers 2 a:b")], &[]).expect("uvicorn").server;
        for (version, has_option) in [("0.54.0", true), ("0.37.0", true), ("0.36.1", false)] {
            server.version = Some(version.to_owned());
            let text =
                Uvicorn.advice("worker-timeouts", &server, &Site::default()).unwrap_or_default().to_string();
            assert!(text.starts_with("Find the call into C code that keeps the GIL"), "{text}");
            assert_eq!(text.contains("--timeout-worker-healthcheck"), has_option, "{version}: {text}");
        }
    }

    #[test]
    fn either_pool_beside_the_loop_is_data_too() {
        let server = Uvicorn.recognise(&[process(7, 1, "uvicorn a:b")], &[]).expect("uvicorn").server;
        let advice = Uvicorn.advice("more-slots/pool", &server, &Site::default()).unwrap_or_default();
        let of = |one: &Alternative<'_>| {
            one.changes.iter().map(|change| change.setting.name.clone()).collect::<Vec<_>>()
        };
        let names: Vec<Vec<String>> = advice.alternatives().iter().map(of).collect();
        let threads = [
            "workers= of a2wsgi's WSGIMiddleware",
            "total_tokens of anyio.to_thread.current_default_thread_limiter()",
        ];
        assert_eq!(names[..2], threads.map(|name| vec![name.to_owned()]), "{advice}");
        let processes = ["--loop", "--workers"].map(str::to_owned);
        assert_eq!(names.last().map(Vec::as_slice), Some(&processes[..]), "{advice}");
    }

    #[test]
    fn more_workers_are_advised_with_a_loop_on_which_they_answer_at_once() {
        let mut server = Uvicorn.recognise(&[process(7, 1, "uvicorn a:b")], &[]).expect("uvicorn").server;
        let text = |server: &Server| {
            Uvicorn.advice("loop-blocked/computing", server, &Site::default()).unwrap_or_default().to_string()
        };
        let on_asyncio = text(&server);
        for part in
            ["use uvloop (--loop: on asyncio", "and raise --workers (now 1) up to the number of cores"]
        {
            assert!(on_asyncio.contains(part), "{on_asyncio}");
        }
        server.worker_class = "uvloop".to_owned();
        let on_uvloop = text(&server);
        assert!(on_uvloop.contains(", or raise --workers (now 1) up to"), "{on_uvloop}");
        assert!(!on_uvloop.contains("40 ms"), "{on_uvloop}");
    }

    #[test]
    fn pool_that_uvicorn_makes_itself_has_no_option() {
        for (line, is_own) in [("uvicorn --interface wsgi a:b", true), ("uvicorn a:b", false)] {
            let found = Uvicorn.recognise(&[process(7, 1, line)], &[]).expect(line);
            let advice = Uvicorn.advice("more-slots/pool", &found.server, &Site::default());
            let text = advice.unwrap_or_default().to_string();
            assert_eq!(text.contains("leave out --interface wsgi"), is_own, "{line}: {text}");
            assert!(text.contains("workers="), "{line}: {text}");
        }
    }
}
