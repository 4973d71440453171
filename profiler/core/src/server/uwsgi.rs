//! uWSGI: a master, workers forked from it, each with one thread or several; with `--http` a router process
//! before them.
//!
//! In: facts of its processes. Out: its settings and roles, its slots, what its log measures. Read off and
//! run with 2.0.31.

mod advice;
pub mod ini;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::advice::Advice;
use super::backlog::Backlog;
use super::command_line::{Arguments, Options, Takes, base_name, flag, program, read, reported, value};
use super::setting::{put_seen, resolve, setting};
use super::site::Site;
use super::{
    AcceptOrder, Ender, Inside, LogEnd, LogInterval, LogStart, Observed, OwnLimit, Recognised, Role,
    ServerKind, topmost, unknown,
};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server};

/// uWSGI.
#[derive(Debug)]
pub struct Uwsgi;

/// Of some nine hundred options those that say how many requests are served at once and how, and common ones
/// with a value.
static OPTIONS: Options = &[
    reported(Some('p'), &["processes", "workers"], Takes::Value, "processes"),
    reported(None, &["threads"], Takes::Value, "threads"),
    reported(None, &["cheaper"], Takes::Value, "cheaper"),
    reported(None, &["thunder-lock"], Takes::Nothing, "thunder_lock"),
    reported(Some('l'), &["listen"], Takes::Value, "listen"),
    reported(Some('t'), &["harakiri"], Takes::Value, "harakiri"),
    reported(None, &["harakiri-graceful-timeout"], Takes::Value, "harakiri_graceful_timeout"),
    reported(None, &["harakiri-graceful-signal"], Takes::Value, "harakiri_graceful_signal"),
    reported(Some('z'), &["socket-timeout"], Takes::Value, "socket_timeout"),
    reported(Some('R'), &["max-requests"], Takes::Value, "max_requests"),
    reported(None, &["http", "httprouter"], Takes::Value, "http"),
    reported(None, &["http-socket"], Takes::Value, "http_socket"),
    reported(None, &["http11-socket"], Takes::Value, "http11_socket"),
    reported(Some('s'), &["socket", "uwsgi-socket"], Takes::Value, "socket"),
    reported(None, &["gevent"], Takes::Value, "gevent"),
    reported(None, &["async"], Takes::Value, "async"),
    reported(None, &["ini"], Takes::Value, "config"),
    reported(Some('y'), &["yaml", "yml"], Takes::Value, "config"),
    reported(Some('x'), &["xml", "xmlconfig"], Takes::Value, "config"),
    reported(Some('j'), &["json", "js"], Takes::Value, "config"),
    reported(Some('w'), &["module", "wsgi"], Takes::Value, "wsgi_app"),
    reported(None, &["wsgi-file", "file"], Takes::Value, "wsgi_app"),
    reported(Some('M'), &["master"], Takes::Nothing, "master"),
    value(None, &["chdir"]),
    value(None, &["callable"]),
    value(None, &["pythonpath"]),
    value(Some('H'), &["home", "virtualenv", "venv", "pyhome"]),
    value(None, &["http-socket-modifier1"]),
    value(None, &["http-timeout"]),
    value(None, &["log-format"]),
    value(None, &["logto"]),
    value(None, &["pidfile"]),
    value(None, &["plugin", "plugins"]),
    value(None, &["uid"]),
    value(None, &["gid"]),
    value(Some('b'), &["buffer-size"]),
    flag(None, &["enable-threads"]),
    flag(None, &["need-app"]),
    flag(None, &["vacuum"]),
];

const DEFAULTS: [(&str, &str); 8] = [
    ("processes", "1"),
    ("threads", "1"),
    ("cheaper", "0"),
    ("thunder_lock", "false"),
    ("listen", "100"),
    ("harakiri", "0"),
    ("socket_timeout", "4"),
    ("max_requests", "0"),
];
/// Settings without a default that is worth a line.
const GIVEN: [&str; 9] = [
    "http",
    "http_socket",
    "http11_socket",
    "socket",
    "gevent",
    "async",
    "wsgi_app",
    "harakiri_graceful_timeout",
    "harakiri_graceful_signal",
];

const SIGTERM: u32 = 15;
const SECOND_NS: u64 = 1_000_000_000;

/// By its executable, or its name where that may not be looked at; `--auto-procname` writes over its command
/// line.
fn is_uwsgi(process: &ProcessSeen) -> bool {
    let executable = base_name(&process.executable);
    let first = process.command_line.first().map_or("", String::as_str);
    executable.starts_with("uwsgi")
        || first.starts_with("uWSGI ")
        || executable.is_empty() && program(&process.command_line).is_some_and(|found| found.name == "uwsgi")
}

/// The topmost process.
fn top(processes: &[ProcessSeen]) -> Option<&ProcessSeen> {
    topmost(processes, is_uwsgi)
}

/// A configuration file is as often named without an option.
fn configuration(arguments: &Arguments) -> Option<String> {
    let by_name = |file: &&String| {
        [".ini", ".xml", ".yaml", ".yml", ".json"].iter().any(|extension| file.ends_with(extension))
    };
    arguments
        .value("config")
        .map(str::to_owned)
        .or_else(|| arguments.positional.iter().find(by_name).cloned())
}

fn class_of(server: &Server) -> &'static str {
    let has = |name: &str| server.settings.iter().any(|setting| setting.name == name);
    if has("gevent") {
        "gevent"
    } else if has("async") {
        "async"
    } else if server.number("threads").is_some_and(|threads| threads > 1) {
        "threads"
    } else if server.number("threads").is_some() {
        "sync"
    } else {
        "unknown"
    }
}

/// Children that hold a listener which others do not, and lack the workers' own, which a router closes: they
/// take requests in and pass them on. `ports`: where routers were told to listen, as far as that is known.
fn routers(processes: &[ProcessSeen], listeners: &[ListenerSeen], top: u32, ports: &[u16]) -> Vec<u32> {
    let mut held: FxHashMap<u32, Vec<&ListenerSeen>> = FxHashMap::default();
    // What a process has closed is listed below 0.
    for seen in listeners.iter().filter(|seen| seen.fd >= 0) {
        held.entry(seen.tgid).or_default().push(seen);
    }
    let of = |tgid: u32| held.get(&tgid).into_iter().flatten().copied();
    let holds = |tgid: u32, inode: u64| of(tgid).any(|seen| seen.inode == inode);
    let children: Vec<u32> = processes
        .iter()
        .filter(|process| process.parent_tgid == top && is_uwsgi(process))
        .map(|process| process.tgid)
        .collect();
    let differ = |tgid: u32| {
        let lacks = |other: u32| of(other).any(|seen| !holds(tgid, seen.inode));
        let has_more = |other: u32| of(tgid).any(|seen| !holds(other, seen.inode));
        // Without a master, or with no worker at this moment, all children are routers.
        let alone = of(tgid).next().is_some() && lacks(top) && !children.iter().any(|other| has_more(*other));
        alone || children.iter().any(|other| lacks(*other) && has_more(*other))
    };
    let mut groups: BTreeMap<Vec<u64>, Vec<u32>> = BTreeMap::new();
    for tgid in children.iter().copied().filter(|tgid| differ(*tgid)) {
        let mut inodes: Vec<u64> = of(tgid).map(|seen| seen.inode).collect();
        inodes.sort_unstable();
        groups.entry(inodes).or_default().push(tgid);
    }
    let is_told = |group: &&Vec<u32>| {
        group.first().is_some_and(|tgid| of(*tgid).any(|seen| ports.contains(&seen.port)))
    };
    if let Some(told) = groups.values().find(is_told) {
        return told.clone();
    }
    // Workers outnumber routers; of as many, uWSGI made the workers' listener first.
    let lowest_fd = |group: &Vec<u32>| group.iter().flat_map(|tgid| of(*tgid)).map(|seen| seen.fd).min();
    let fewest = groups.values().min_by_key(|group| (group.len(), Reverse(lowest_fd(group))));
    fewest.cloned().unwrap_or_default()
}

/// Ports of `--http`, with or without an address before them.
fn http_ports(arguments: &Arguments) -> Vec<u16> {
    let values = arguments.values("http");
    values.into_iter().filter_map(|value| value.rsplit(':').next()?.parse().ok()).collect()
}

impl ServerKind for Uwsgi {
    fn name(&self) -> &'static str {
        "uwsgi"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["uwsgidecorators"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let top = top(processes)?;
        let mut arguments = program(&top.command_line).map_or_else(Arguments::default, |found| {
            // A title that it gave itself says nothing of its options.
            if found.name == "uwsgi" || base_name(found.name).starts_with("uwsgi") {
                read(OPTIONS, found.arguments)
            } else {
                Arguments::default()
            }
        });
        let is_title = top.command_line.first().is_none_or(|first| first.starts_with("uWSGI "));
        let configuration = configuration(&arguments);
        // The file of a master is its workers'; what the command line says is taken first.
        let is_read = !top.configuration.is_empty();
        let said = |(name, value): &(String, String)| {
            let setting =
                OPTIONS.iter().filter_map(|option| option.setting).find(|setting| setting == name)?;
            arguments.value(setting).is_none().then(|| (setting, value.clone()))
        };
        let of_file: Vec<(&'static str, String)> = top.configuration.iter().filter_map(said).collect();
        arguments.settings.extend(of_file);
        let is_known = (configuration.is_none() || is_read) && !is_title;
        let mut settings = resolve(&arguments, &DEFAULTS, is_known);
        for name in GIVEN {
            for value in arguments.values(name) {
                settings.push(setting(name, value.to_owned(), Origin::Configured));
            }
        }
        if let Some(file) = configuration {
            let file = if is_read { file } else { format!("{file} (not read)") };
            settings.push(setting("config", file, Origin::Configured));
        }
        if is_title {
            settings.push(setting(
                "command_line",
                "not read: hidden by the process title".into(),
                Origin::Inferred,
            ));
        }
        settings.extend(unknown::bind_setting(listeners));
        let mut roles = self.roles(processes);
        let routers = routers(processes, listeners, top.tgid, &http_ports(&arguments));
        let routers: FxHashSet<u32> = routers.into_iter().collect();
        for (tgid, role) in &mut roles {
            if routers.contains(tgid) {
                *role = Role::FrontEnd;
            }
        }
        let has_worker = roles.iter().any(|(_, role)| *role == Role::Worker);
        if arguments.value("master").is_none() && (is_known || !has_worker && !routers.is_empty()) {
            // Without a master the first process works itself, and makes the others.
            roles.iter_mut().filter(|(tgid, _)| *tgid == top.tgid).for_each(|(_, role)| *role = Role::Worker);
        }
        let mut server = Server {
            name: self.name().to_owned(),
            version: processes.iter().find_map(|process| process.server_version.clone()),
            worker_class: String::new(),
            python_version: processes.iter().find_map(|process| process.python_version.clone()),
            settings,
        };
        let workers = roles.iter().filter(|(_, role)| *role == Role::Worker).count();
        put_seen(&mut server, "processes", u32::try_from(workers).unwrap_or(u32::MAX), |_| false);
        server.worker_class = class_of(&server).to_owned();
        Some(Recognised { kind: &Uwsgi, server, roles })
    }

    /// Children of the topmost process are workers; one that has none is a worker itself. A router is told by
    /// its listener when the server is recognised.
    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        let top = top(processes).map(|process| process.tgid);
        let has_master =
            processes.iter().any(|process| Some(process.parent_tgid) == top && is_uwsgi(process));
        let role = |process: &ProcessSeen| match is_uwsgi(process) {
            false => Role::Unknown,
            true if Some(process.tgid) == top && has_master => Role::Master,
            true if Some(process.tgid) == top || Some(process.parent_tgid) == top => {
                match process.command_line.first().and_then(|title| title.strip_prefix("uWSGI ")) {
                    Some(title) if title.starts_with("http") => Role::FrontEnd,
                    Some(title) if !title.starts_with("worker") => Role::Unknown,
                    _ => Role::Worker,
                }
            }
            true => Role::Unknown,
        };
        processes.iter().map(|process| (process.tgid, role(process))).collect()
    }

    /// A router, where there is one, passes requests on to the workers' own listener.
    fn inside(&self, _server: &Server) -> Inside {
        Inside::FrontEnds
    }

    /// Processes × threads. Not where `--cheaper` runs as many as it thinks are needed: one that does not run
    /// is not free. Loops of greenlets have no limit that counts.
    fn configured_slots(&self, server: &Server) -> Option<u32> {
        let is_elastic = server.number("cheaper").is_some_and(|fewest| fewest > 0);
        if is_elastic || !self.has_thread_per_request(server) {
            return None;
        }
        let slots = server.number("processes")?.checked_mul(server.number("threads")?)?;
        u32::try_from(slots).ok().filter(|slots| *slots > 0)
    }

    /// As measured in four recordings: one of two processes with threads takes 80 to 94 % of the connections
    /// that find the server empty.
    fn accept_order(&self, _server: &Server) -> AcceptOrder {
        AcceptOrder::FirstOfTwo
    }

    fn has_thread_per_request(&self, server: &Server) -> bool {
        matches!(server.worker_class.as_str(), "sync" | "threads")
    }

    fn slot_noun(&self, server: &Server) -> &'static str {
        match server.worker_class.as_str() {
            "sync" => "worker",
            "threads" => "thread",
            _ => "slot",
        }
    }

    fn distribution(&self, command_line: &[String]) -> Option<&'static str> {
        program(command_line).filter(|found| found.name.starts_with("uwsgi")).map(|_| "uwsgi")
    }

    /// More workers or threads than configured are believed; fewer may be `--cheaper`, or had nothing to do.
    fn refine(&self, server: &Server, observed: &Observed) -> Server {
        let mut server = server.clone();
        let (workers, threads) = (observed.worker_processes, observed.serving_threads);
        put_seen(&mut server, "processes", workers, |known| known < u64::from(workers));
        put_seen(&mut server, "threads", threads, |known| known < u64::from(threads));
        server.worker_class = class_of(&server).to_owned();
        server
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog { refuses_more: true, ..Backlog::cut("--listen", "listen") })
    }

    fn advice(&self, finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
        advice::advice(finding_id, server, site)
    }

    /// With `--harakiri-graceful-timeout` the master sends another signal before SIGKILL
    /// (`trigger_harakiri`): SIGTERM unless told otherwise, at which a worker ends. It counts whole
    /// seconds, of both moments.
    fn own_limit(&self, server: &Server) -> Option<OwnLimit> {
        let given = |name: &str| server.number(name).filter(|number| *number > 0);
        given("harakiri_graceful_timeout")?;
        let seconds = given("harakiri")?;
        let signal = given("harakiri_graceful_signal").and_then(|signal| u32::try_from(signal).ok());
        let ender = Ender::Master { signal: signal.unwrap_or(SIGTERM), early_ns: SECOND_NS };
        Some(OwnLimit { option: "harakiri", limit_ns: seconds.saturating_mul(SECOND_NS), ender })
    }

    /// `%(msecs)`, `%(micros)`, "generated … in N msecs": `start_of_request` is taken when accept has
    /// returned, `end_of_request` when the response is written and the connection closed. As accept is
    /// deferred until data are there (`TCP_DEFER_ACCEPT`), that is the time of service, and a slow head's
    /// time beside it (measured).
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        Some(LogInterval { from: LogStart::Accepted, to: LogEnd::ResponseWritten })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::advises_on_every_finding;
    use super::*;

    fn process(tgid: u32, parent_tgid: u32, line: &str) -> ProcessSeen {
        ProcessSeen {
            tgid,
            parent_tgid,
            executable: "/v/bin/uwsgi".to_owned(),
            command_line: line.split(' ').map(str::to_owned).collect(),
            ..ProcessSeen::default()
        }
    }

    fn prefork(line: &str, workers: u32) -> Vec<ProcessSeen> {
        let mut all = vec![process(10, 1, line)];
        all.extend((0..workers).map(|number| process(11 + number, 10, line)));
        all
    }

    fn listener(tgid: u32, inode: u64) -> ListenerSeen {
        let (address, port) = (format!("127.0.0.1:{inode}"), u16::try_from(inode).unwrap());
        ListenerSeen { tgid, inode, address, port, ..ListenerSeen::default() }
    }

    #[test]
    fn slots_are_processes_times_threads() {
        for (line, children, slots, class) in [
            ("uwsgi --master --http-socket :80 -p 4 -w a:b", 4, Some(4), "sync"),
            ("uwsgi --master -s /run/a.sock --workers 2 --threads=3 -w a:b", 2, Some(6), "threads"),
            ("uwsgi --http-socket :80 -w a:b", 0, Some(1), "sync"),
            ("uwsgi --master -p 2 --gevent 100 -w a:b", 2, None, "gevent"),
            ("uwsgi --master --http-socket :80 -p 4 --cheaper 1 -w a:b", 1, None, "sync"),
            ("uwsgi --ini site.ini", 3, None, "unknown"),
        ] {
            let found = Uwsgi.recognise(&prefork(line, children), &[]).expect(line);
            assert_eq!(Uwsgi.configured_slots(&found.server), slots, "{line}");
            assert_eq!(found.server.worker_class, class, "{line}");
            assert_eq!(found.role(10), if children > 0 { Role::Master } else { Role::Worker });
            advises_on_every_finding(&Uwsgi, &found.server);
        }
    }

    #[test]
    fn a_server_that_keeps_no_connection_is_not_told_to_keep_them_longer() {
        for (line, is_told) in [
            ("uwsgi --master --http-socket :80 -p 2 -w a:b", true),
            ("uwsgi --master --http11-socket :80 -p 2 -w a:b", false),
        ] {
            let processes = prefork(line, 2);
            let recognised = Uwsgi.recognise(&processes, &[listener(11, 80)]).unwrap();
            let said = Uwsgi.advice("keep-alive-race", &recognised.server, &Site::default());
            let names_it = said.is_some_and(|said| said.to_string().contains("--http11-socket"));
            assert_eq!(names_it, is_told, "{line}");
        }
    }

    #[test]
    fn where_workers_are_kept_back_more_of_them_are_kept_running_before_the_limit_is_raised() {
        let line = "uwsgi --master --http-socket :80 -p 4 --cheaper 1 -w a:b";
        let server = Uwsgi.recognise(&prefork(line, 1), &[]).unwrap().server;
        for (workers, expected) in [
            (1, "Raise --cheaper (now 1) to 3 at most, or leave it out"),
            (4, "Raise --processes (now 4) up to the number of cores"),
        ] {
            let site = Site { workers, ..Site::default() };
            let advice = Uwsgi.advice("cpu-bound", &server, &site).unwrap();
            assert_eq!(advice.imperative(), expected);
        }
    }

    #[test]
    fn master_that_asks_a_worker_to_stop_first_has_a_limit_for_it() {
        let limit = |line: &str| {
            let server = Uwsgi.recognise(&prefork(line, 1), &[]).unwrap().server;
            Uwsgi.own_limit(&server).map(|limit| (limit.limit_ns, limit.ender))
        };
        let master = |signal| Ender::Master { signal, early_ns: SECOND_NS };
        let line = "uwsgi --master -w a:b";
        assert_eq!(limit(&format!("{line} --harakiri 30")), None, "it sends SIGKILL alone");
        assert_eq!(limit(&format!("{line} --harakiri-graceful-timeout 5")), None);
        let both = format!("{line} --harakiri 30 --harakiri-graceful-timeout 5");
        assert_eq!(limit(&both), Some((30 * SECOND_NS, master(SIGTERM))));
        let other = limit(&format!("{both} --harakiri-graceful-signal 1"));
        assert_eq!(other, Some((30 * SECOND_NS, master(1))));
    }

    #[test]
    fn a_configuration_file_leaves_slots_to_what_is_seen() {
        let found = Uwsgi.recognise(&prefork("uwsgi site.ini", 3), &[]).expect("uWSGI");
        let seen = Observed { worker_processes: 3, serving_threads: 2, ..Observed::default() };
        let refined = Uwsgi.refine(&found.server, &seen);
        assert_eq!(Uwsgi.configured_slots(&refined), Some(6));
        assert!(refined.settings.iter().any(|setting| setting.value == "site.ini (not read)"));
    }

    #[test]
    fn a_router_is_the_child_that_alone_holds_the_public_listener() {
        let all = prefork("uwsgi --master --http :80 -p 2 -w a:b", 3);
        // The master holds both, the router the public one, the workers their own.
        let listeners =
            [listener(10, 80), listener(10, 9000), listener(11, 9000), listener(12, 9000), listener(13, 80)];
        let found = Uwsgi.recognise(&all, &listeners).expect("uWSGI");
        assert_eq!((found.role(11), found.role(13)), (Role::Worker, Role::FrontEnd));
        assert_eq!(Uwsgi.configured_slots(&found.server), Some(2));
        // One worker, one router: told by what was configured, else by which listener came first.
        for (line, router) in
            [("uwsgi -M --http :80 -w a:b", 12), ("uwsgi -M --http :9000 -w a:b", 11), ("uwsgi a.ini", 12)]
        {
            let mut listeners = [listener(10, 9000), listener(10, 80), listener(11, 9000), listener(12, 80)];
            for seen in &mut listeners {
                seen.fd = if seen.port == 80 { 4 } else { 3 };
            }
            let found = Uwsgi.recognise(&prefork(line, 2), &listeners).expect("uWSGI");
            let worker = 23 - router;
            assert_eq!((found.role(worker), found.role(router)), (Role::Worker, Role::FrontEnd), "{line}");
        }
        // Two routers share the public one.
        let four = prefork("uwsgi -M --http 127.0.0.1:80 --http-processes 2 -p 2 -w a:b", 4);
        let listeners = [10, 11, 12].map(|tgid| listener(tgid, 9000)).into_iter();
        let listeners: Vec<_> = listeners.chain([10, 13, 14].map(|tgid| listener(tgid, 80))).collect();
        let found = Uwsgi.recognise(&four, &listeners).expect("uWSGI");
        let roles = [10, 11, 12, 13, 14].map(|tgid| found.role(tgid));
        assert_eq!(roles[1..], [Role::Worker, Role::Worker, Role::FrontEnd, Role::FrontEnd]);
        // Without a master the first process works itself.
        let two = prefork("uwsgi --http :80 -w a:b", 1);
        let found = Uwsgi.recognise(&two, &[listener(10, 9000), listener(10, 80), listener(11, 80)]);
        let found = found.expect("uWSGI");
        assert_eq!((found.role(10), found.role(11)), (Role::Worker, Role::FrontEnd));
        assert_eq!(Uwsgi.configured_slots(&found.server), Some(1));
        let found = Uwsgi.recognise(&prefork("uwsgi --http-socket :80 -p 2 -w a:b", 1), &[]).expect("uWSGI");
        assert_eq!((found.role(10), found.role(11)), (Role::Worker, Role::Worker));
        // A prefork server whose only worker holds the only listener has no router.
        let plain =
            Uwsgi.recognise(&prefork("uwsgi --master --http-socket :80 -w a:b", 1), &[listener(11, 80)]);
        assert_eq!(plain.expect("uWSGI").role(11), Role::Worker);
    }

    #[test]
    fn titles_of_auto_procname_name_the_roles() {
        let all = [
            process(10, 1, "uWSGI master"),
            process(11, 10, "uWSGI worker 1"),
            process(12, 10, "uWSGI http 1"),
            process(13, 10, "uWSGI mule 1"),
        ]
        .map(|seen| ProcessSeen { command_line: vec![seen.command_line.join(" ")], ..seen });
        let found = Uwsgi.recognise(&all, &[]).expect("uWSGI");
        let roles = [10, 11, 12, 13].map(|tgid| found.role(tgid));
        assert_eq!(roles, [Role::Master, Role::Worker, Role::FrontEnd, Role::Unknown]);
        assert_eq!(found.server.number("threads"), None);
    }
}
