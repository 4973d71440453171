//! Recognition, roles, slots and refinement, by processes as `/proc` shows them.

use super::*;
use crate::server::advice::{Change, Direction};

fn process(tgid: u32, parent_tgid: u32, line: &str) -> ProcessSeen {
    ProcessSeen {
        tgid,
        parent_tgid,
        executable: "/usr/bin/python3.11".to_owned(),
        command_line: line.split(' ').map(str::to_owned).collect(),
        ..ProcessSeen::default()
    }
}

fn titled(tgid: u32, parent_tgid: u32, title: &str) -> ProcessSeen {
    ProcessSeen { command_line: vec![format!("{title}        ")], ..process(tgid, parent_tgid, "") }
}

fn prefork(line: &str, workers: u32) -> Vec<ProcessSeen> {
    let mut all = vec![process(10, 1, line)];
    all.extend((0..workers).map(|number| process(11 + number, 10, line)));
    all
}

fn origin_of(server: &Server, name: &str) -> Option<Origin> {
    server.settings.iter().find(|setting| setting.name == name).map(|setting| setting.origin)
}

#[test]
fn master_and_workers_are_distinguished_without_process_titles() {
    let mut all = prefork("/v/bin/python3 /v/bin/gunicorn -w 2 --threads 4 app:app", 2);
    all.push(process(20, 11, "/v/bin/python3 /v/bin/gunicorn -w 2 --threads 4 app:app"));
    all.push(process(21, 12, "ffmpeg -i x"));
    all.push(process(22, 10, "node helper.js"));
    let found = Gunicorn.recognise(&all, &[]).expect("gunicorn");
    assert_eq!(found.role(10), Role::Master);
    assert_eq!((found.role(11), found.role(12)), (Role::Worker, Role::Worker));
    assert_eq!(
        (found.role(20), found.role(21), found.role(22)),
        (Role::Unknown, Role::Unknown, Role::Unknown)
    );
    assert_eq!(found.server.worker_class, "gthread");
    assert_eq!(Gunicorn.configured_slots(&found.server), Some(8));
}

#[test]
fn many_processes_and_listeners_are_not_each_compared_with_all_others() {
    const COUNT: u32 = 20_000;
    // Each has started the next, and none but the second is a worker: comparing all with all would take days.
    let line = "/v/bin/python3 /v/bin/gunicorn app:app";
    let all: Vec<ProcessSeen> = (10..10 + COUNT).map(|tgid| process(tgid, tgid - 1, line)).collect();
    let listener = |tgid| ListenerSeen { tgid, fd: 3, inode: 7, ..ListenerSeen::default() };
    let listeners: Vec<ListenerSeen> = (12..12 + COUNT).map(listener).collect();
    let found = Gunicorn.recognise(&all, &listeners).expect("gunicorn");
    assert_eq!((found.role(10), found.role(11)), (Role::Master, Role::Worker));
    assert!(found.roles.iter().skip(2).all(|(_, role)| *role == Role::Unknown));
}

#[test]
fn process_titles_name_the_roles_and_leave_unknown_what_they_hide() {
    let all = [
        titled(10, 1, "gunicorn: master [app:app]"),
        titled(11, 10, "gunicorn: worker [app:app]"),
        titled(12, 10, "gunicorn: worker [app:app]"),
        titled(13, 10, "gunicorn: dirty-arbiter"),
        titled(14, 13, "gunicorn: dirty-worker [app:app]"),
    ];
    let found = Gunicorn.recognise(&all, &[]).expect("gunicorn");
    assert_eq!(found.role(10), Role::Master);
    assert_eq!(
        (found.role(11), found.role(13), found.role(14)),
        (Role::Worker, Role::Unknown, Role::Unknown)
    );
    assert_eq!(found.server.number("workers"), Some(2));
    assert_eq!(origin_of(&found.server, "workers"), Some(Origin::Inferred));
    assert_eq!(found.server.worker_class, "unknown");
    assert_eq!(found.server.number("timeout"), None);
    assert_eq!(Gunicorn.configured_slots(&found.server), None);
}

#[test]
fn a_worker_just_born_under_its_master_s_title_is_a_worker_and_a_second_master_is_a_master() {
    let all = [
        titled(10, 1, "gunicorn: master [a]"),
        titled(11, 10, "gunicorn: worker [a]"),
        titled(12, 10, "gunicorn: master [a]"),
        titled(13, 11, "gunicorn: worker [a]"),
        titled(20, 10, "gunicorn: master [a]"),
        titled(21, 20, "gunicorn: worker [a]"),
    ];
    let roles: Vec<Role> = Gunicorn.roles(&all).iter().map(|(_, role)| *role).collect();
    let expected = [Role::Master, Role::Worker, Role::Worker, Role::Unknown, Role::Master, Role::Worker];
    assert_eq!(roles, expected);
}

#[test]
fn a_master_that_another_has_started_is_one_before_it_has_workers() {
    let line = "/v/bin/python3 /v/bin/gunicorn -w 1 app:app";
    let started_by = |old: u32, process: ProcessSeen| ProcessSeen {
        environment: vec![(STARTED_BY.to_owned(), old.to_string())],
        ..process
    };
    let roles = |all: &[ProcessSeen]| -> Vec<Role> {
        Gunicorn.roles(all).into_iter().map(|(_, role)| role).collect()
    };
    let (master, worker) = (Role::Master, Role::Worker);
    let old = [process(10, 1, line), process(11, 10, line)];
    let new = started_by(10, process(20, 10, line));
    let alone = [old.as_slice(), std::slice::from_ref(&new)].concat();
    assert_eq!(roles(&alone), [master, worker, master]);
    let both = [alone.as_slice(), &[started_by(10, process(21, 20, line))]].concat();
    assert_eq!(roles(&both), [master, worker, master, worker]);
    // The old one has ended: what was started with its number is the top itself, and its workers are forks of
    // that.
    let promoted = [started_by(10, process(20, 1, line)), started_by(10, process(21, 20, line))];
    assert_eq!(roles(&promoted), [master, worker]);
    let next = [promoted.as_slice(), &[started_by(20, process(30, 20, line))]].concat();
    assert_eq!(roles(&next), [master, worker, master]);
    // The old one has ended, and was seen before: the new one stands under none, and so does a worker that it
    // has left behind.
    let left =
        [old.as_slice(), &[started_by(10, process(20, 1, line)), started_by(10, process(21, 1, line))]];
    assert_eq!(roles(&left.concat()), [master, worker, master, Role::Unknown]);
    for parent in [10, 1] {
        let named = [
            titled(10, 1, "gunicorn: master [a]"),
            titled(11, 10, "gunicorn: master [a]"),
            titled(20, parent, "gunicorn: master [a.2]"),
            titled(21, 20, "gunicorn: worker [a.2]"),
        ];
        assert_eq!(roles(&named), [master, worker, master, worker]);
    }
    // The old one has ended, and the new one has its title now. What started it was seen before the title hid
    // it.
    let (top, worker_of_old) =
        (titled(10, 1, "gunicorn: master [a]"), titled(11, 10, "gunicorn: worker [a]"));
    for (title, expected) in [("gunicorn: worker [a.2]", worker), ("gunicorn: master [a.2]", worker)] {
        let taken_over = [
            top.clone(),
            worker_of_old.clone(),
            started_by(10, titled(20, 1, "gunicorn: master [a]")),
            started_by(10, titled(21, 20, title)),
        ];
        assert_eq!(roles(&taken_over), [master, worker, master, expected], "{title}");
    }
    // The old one's title was not seen.
    let half = [old.as_slice(), &[titled(12, 10, "gunicorn: master [a]")]].concat();
    assert_eq!(roles(&half), [master, worker, worker]);
}

#[test]
fn threads_on_the_command_line_beside_a_configuration_file_mean_gthread() {
    let found =
        Gunicorn.recognise(&prefork("gunicorn -c conf.py --threads 4 a:b", 2), &[]).expect("gunicorn");
    assert_eq!(found.server.worker_class, "gthread");
    assert_eq!(origin_of(&found.server, "worker_class"), Some(Origin::Inferred));
    assert_eq!(Gunicorn.configured_slots(&found.server), Some(8));
}

#[test]
fn gunicorn_inside_another_program_is_known_by_its_heartbeat_file() {
    let mut all = prefork("python serve.py", 2);
    for process in &mut all {
        process.mapped_files.push("wgunicorn".into());
    }
    let found = Gunicorn.recognise(&all, &[]).expect("gunicorn");
    assert_eq!((found.role(10), found.role(12)), (Role::Master, Role::Worker));
}

#[test]
fn the_control_socket_that_only_the_master_holds_is_no_address_for_requests() {
    let all = [titled(10, 1, "gunicorn: master [a]"), titled(11, 10, "gunicorn: worker [a]")];
    let listener = |tgid, inode, address: &str| ListenerSeen {
        tgid,
        inode,
        address: address.to_owned(),
        ..ListenerSeen::default()
    };
    let listeners =
        [listener(10, 1, "127.0.0.1:80"), listener(10, 2, "gunicorn.ctl"), listener(11, 1, "127.0.0.1:80")];
    let found = Gunicorn.recognise(&all, &listeners).expect("gunicorn");
    let bind = found.server.settings.iter().find(|setting| setting.name == "bind").expect("bind");
    assert_eq!((bind.value.as_str(), bind.origin), ("127.0.0.1:80", Origin::Inferred));
    let note = found.server.settings.iter().find(|setting| setting.name == "command_line").expect("note");
    assert!(note.value.contains("title"), "{}", note.value);
}

#[test]
fn slots_follow_the_worker_class() {
    let slots = |line: &str| {
        Gunicorn.recognise(&prefork(line, 4), &[]).and_then(|found| Gunicorn.configured_slots(&found.server))
    };
    assert_eq!(slots("gunicorn -w 4 a:b"), Some(4));
    assert_eq!(slots("gunicorn -w 4 -k gthread --threads 8 a:b"), Some(32));
    assert_eq!(slots("gunicorn -w 4 -k gthread a:b"), Some(4));
    assert_eq!(slots("gunicorn -w 4 -k gevent a:b"), None);
    assert_eq!(slots("gunicorn -w 4 -k gthread --threads 18446744073709551615 a:b"), None);
}

#[test]
fn observed_workers_replace_configured_ones_but_fewer_threads_do_not() {
    let found = Gunicorn.recognise(&prefork("gunicorn -w 2 --threads 4 a:b", 2), &[]).expect("gunicorn");
    let seen = Observed {
        worker_processes: 3,
        serving_threads: 1,
        listener_in_epoll: Some(true),
        ..Observed::default()
    };
    let refined = Gunicorn.refine(&found.server, &seen);
    assert_eq!(refined.number("workers"), Some(3));
    assert_eq!(origin_of(&refined, "workers"), Some(Origin::Inferred));
    assert_eq!(refined.number("threads"), Some(4));
    assert_eq!(origin_of(&refined, "threads"), Some(Origin::Configured));
    let same = Gunicorn.refine(&found.server, &Observed { worker_processes: 2, ..Observed::default() });
    assert_eq!(same, found.server);
}

#[test]
fn a_hidden_worker_class_is_inferred_from_how_the_listener_is_waited_for() {
    let all = [titled(10, 1, "gunicorn: master [a]"), titled(11, 10, "gunicorn: worker [a]")];
    let found = Gunicorn.recognise(&all, &[]).expect("gunicorn");
    let with = |listener_in_epoll, serving_threads| {
        let seen =
            Observed { worker_processes: 1, serving_threads, listener_in_epoll, ..Observed::default() };
        Gunicorn.refine(&found.server, &seen)
    };
    assert_eq!(with(Some(false), 1).worker_class, "sync");
    let threaded = with(Some(true), 3);
    assert_eq!(threaded.worker_class, "gthread");
    assert_eq!(Gunicorn.configured_slots(&threaded), Some(3));
    assert_eq!(with(None, 0).worker_class, "unknown");
    // Under load a sync worker accepts without waiting, and its main thread serves; gthread's never does.
    let busy = Observed { serving_threads: 1, main_threads_serve: true, ..Observed::default() };
    assert_eq!(Gunicorn.refine(&found.server, &busy).worker_class, "sync");
    assert_eq!(with(None, 1).worker_class, "unknown");
    // uvicorn's worker and other event loops serve by their main thread. How many requests they serve at once
    // no setting says.
    let on_loop = Observed { listener_in_epoll: Some(true), ..busy };
    let on_loop = Gunicorn.refine(&found.server, &on_loop);
    assert_eq!((on_loop.worker_class.as_str(), Gunicorn.configured_slots(&on_loop)), ("unknown", None));
}

#[test]
fn gevent_is_known_by_its_mapped_extension_when_the_command_line_is_hidden() {
    let mut all = [titled(10, 1, "gunicorn: master [a]"), titled(11, 10, "gunicorn: worker [a]")];
    all[1].mapped_files.push("_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so".into());
    let found = Gunicorn.recognise(&all, &[]).expect("gunicorn");
    assert_eq!(found.server.worker_class, "gevent");
    let seen = Observed {
        worker_processes: 1,
        serving_threads: 1,
        listener_in_epoll: Some(true),
        ..Observed::default()
    };
    assert_eq!(Gunicorn.refine(&found.server, &seen).worker_class, "gevent");
    assert_eq!(Gunicorn.configured_slots(&found.server), None);
}

#[test]
fn a_sync_server_whose_application_uses_gevent_stays_sync() {
    let mut all = prefork("gunicorn -w 1 a:b", 1);
    all[1].mapped_files.push("_gevent_c_hub_local.so".into());
    let found = Gunicorn.recognise(&all, &[]).expect("gunicorn");
    assert_eq!(found.server.worker_class, "sync");
}

#[test]
fn every_finding_has_advice_for_every_worker_class_and_none_is_made_up_for_health() {
    for line in
        ["gunicorn a:b", "gunicorn --threads 4 a:b", "gunicorn -k gevent a:b", "gunicorn -c conf.py a:b"]
    {
        let server = Gunicorn.recognise(&prefork(line, 1), &[]).expect("gunicorn").server;
        for id in ["more-slots", "slow-clients", "idle-connections", "cpu-bound", "cpu-throttled"] {
            let advice = Gunicorn.advice(id, &server, &Site::default()).unwrap_or_default();
            let (text, imperative) = (advice.to_string(), advice.imperative());
            assert!(text.ends_with('.'), "{line}: {id}: {text}");
            assert!(!imperative.is_empty() && text.starts_with(&imperative), "{line}: {id}: {text}");
        }
        assert_eq!(Gunicorn.advice("healthy", &server, &Site::default()), None);
        assert_eq!(Gunicorn.advice("no-such-finding", &server, &Site::default()), None);
    }
}

#[test]
fn advice_has_what_it_changes_as_data_and_says_of_counted_threads_alone_that_they_were_seen() {
    let mut server =
        Gunicorn.recognise(&prefork("gunicorn --threads 4 a:b", 1), &[]).expect("gunicorn").server;
    put(&mut server.settings, setting("workers", "2".to_owned(), Origin::Inferred));
    put(&mut server.settings, setting("threads", "6".to_owned(), Origin::Inferred));
    let advice = Gunicorn.advice("more-slots/one-worker", &server, &Site::default()).expect("advice");
    let changes: Vec<_> = advice
        .changes()
        .into_iter()
        .map(|change| (change.setting.to_string(), change.direction.name()))
        .collect();
    let expected = [("--threads (seen: 6)", "raise"), ("--workers (now 2)", "lower")];
    let expected = expected.map(|(setting, direction)| (setting.to_owned(), direction));
    assert_eq!(changes.get(..2), Some(&expected[..]));
}

#[test]
fn what_the_access_log_measures_is_known_for_the_workers_it_was_read_off() {
    let interval = |line: &str| {
        let found = Gunicorn.recognise(&prefork(line, 1), &[]).expect("gunicorn");
        Gunicorn.log_interval(&found.server)
    };
    let expected = Some(LogInterval { from: LogStart::HeadParsed, to: LogEnd::ResponseWritten });
    for class in ["sync", "gthread", "gevent", "eventlet"] {
        assert_eq!(interval(&format!("gunicorn -k {class} a:b")), expected, "{class}");
    }
    for class in ["gevent_pywsgi", "asgi", "tornado", "uvicorn.workers.UvicornWorker"] {
        assert_eq!(interval(&format!("gunicorn -k {class} a:b")), None, "{class}");
    }
}

#[test]
fn gevent_that_is_only_loaded_makes_no_gevent_worker_of_one_whose_threads_serve() {
    let mut processes = prefork("[gunicorn] a:b", 1);
    for process in &mut processes {
        process.command_line = vec!["gunicorn: master [a:b]".to_owned()];
        process.mapped_files = vec!["_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so".to_owned()];
    }
    let found = Gunicorn.recognise(&processes, &[]).expect("gunicorn");
    assert_eq!(found.server.worker_class, "gevent");
    let class = |observed| Gunicorn.refine(&found.server, &observed).worker_class;
    let serving = |serving_threads, listener_in_epoll| Observed {
        serving_threads,
        listener_in_epoll,
        ..Observed::default()
    };
    assert_eq!(class(serving(4, Some(true))), "gthread");
    assert_eq!(class(serving(1, Some(false))), "sync");
    assert_eq!(class(serving(1, Some(true))), "gevent");
}

#[test]
fn advice_on_a_blocked_loop_is_of_the_loop_that_there_is() {
    for (class, has, lacks) in [
        ("gevent", "gevent.get_hub().threadpool", "eventlet"),
        ("eventlet", "eventlet.tpool.execute", "gevent"),
        ("uvicorn.workers.UvicornWorker", "asyncio.to_thread", "gevent"),
    ] {
        let line = format!("gunicorn -k {class} a:b");
        let found = Gunicorn.recognise(&prefork(&line, 1), &[]).expect("gunicorn");
        let advice = |id: &str| Gunicorn.advice(id, &found.server, &Site::default()).unwrap_or_default();
        let both = format!("{} {}", advice("loop-blocked"), advice("loop-blocked/computing"));
        assert!(both.contains(has) && !both.contains(lacks), "{class}: {both}");
    }
}

#[test]
fn listeners_are_split_where_the_version_does_and_the_server_opens_them() {
    let own = Site { own_tcp: true, ..Site::default() };
    let herd = |line: &str, version: Option<&str>, site: &Site| {
        let mut server = Gunicorn.recognise(&prefork(line, 2), &[]).expect("gunicorn").server;
        server.version = version.map(str::to_owned);
        Gunicorn.advice("herd", &server, site).unwrap_or_default().to_string()
    };
    for (version, begins) in [
        (Some("27.0.1"), "Use --reuse-port and restart gunicorn:"),
        (Some("24.0.0"), "Use --reuse-port and restart gunicorn:"),
        (Some("23.0.0"), "Try to lower --workers"),
        (None, "Try to lower --workers"),
    ] {
        let text = herd("gunicorn a:b", version, &own);
        assert!(text.starts_with(begins), "{version:?}: {text}");
    }
    for (line, site) in [("gunicorn -b fd://3 a:b", own), ("gunicorn a:b", Site::default())] {
        let text = herd(line, Some("27.0.1"), &site);
        assert!(text.starts_with("Lower --workers") && !text.contains("--reuse-port"), "{line}: {text}");
    }
    // What requests would wait is more than what wakeups take.
    let split = Site { waits_if_split: true, ..own };
    let both = Site { waits_if_fewer: true, ..split };
    for (line, site, begins) in [
        ("gunicorn a:b", split, "Lower --workers"),
        ("gunicorn a:b", both, "Leave it as it is"),
        ("gunicorn a:b", Site { waits_if_fewer: true, ..own }, "Use --reuse-port"),
        ("gunicorn -k gthread --threads 4 a:b", both, "Lower --workers"),
        ("gunicorn -k gthread --threads 4 a:b", Site { computes: true, ..split }, "Leave it as it is"),
    ] {
        let text = herd(line, Some("27.0.1"), &site);
        assert!(text.starts_with(begins), "{line}: {text}");
    }
    let computes = Site { computes: true, ..own };
    let text = herd("gunicorn -k gthread --threads 4 a:b", Some("27.0.1"), &computes);
    assert!(text.starts_with("Use --reuse-port") && !text.contains("--workers"), "{text}");
}

#[test]
fn options_and_workers_that_cannot_serve_this_class_are_not_named() {
    for (class, id, never) in [
        ("sync", "keep-alive-race", "--keep-alive"),
        ("asgi", "full-beside-free", "gthread"),
        ("uvicorn.workers.UvicornWorker", "full-beside-free", "gthread"),
        ("asgi", "full-beside-free", "--worker-connections"),
    ] {
        let line = format!("gunicorn -k {class} a:b");
        let server = Gunicorn.recognise(&prefork(&line, 2), &[]).expect("gunicorn").server;
        let text = Gunicorn.advice(id, &server, &Site::default()).unwrap_or_default().to_string();
        assert!(!text.contains(never), "{class}: {id}: {text}");
        assert!(id == "keep-alive-race" || text.ends_with('.'), "{class}: {id}: {text}");
    }
}

#[test]
fn one_queue_for_all_workers_is_advised_where_each_has_its_own() {
    let split = Site { is_split: true, ..Site::default() };
    for (line, version, site, is_split) in [
        ("gunicorn --reuse-port a:b", "27.0.1", Site::default(), true),
        // No version before 24 splits listeners.
        ("gunicorn --reuse-port a:b", "23.0.0", Site::default(), false),
        ("gunicorn a:b", "27.0.1", Site::default(), false),
        // Said in a file of settings.
        ("gunicorn -c conf.py a:b", "27.0.1", split, true),
        ("gunicorn -k gthread --threads 4 --reuse-port a:b", "27.0.1", Site::default(), true),
        ("gunicorn -k gthread --threads 4 a:b", "27.0.1", Site::default(), false),
    ] {
        let mut server = Gunicorn.recognise(&prefork(line, 2), &[]).expect("gunicorn").server;
        server.version = Some(version.to_owned());
        let advice = Gunicorn.advice("more-slots/one-worker", &server, &site).unwrap_or_default();
        let changes = advice.changes();
        let leaves_out =
            |change: &&Change| change.setting.name == "--reuse-port" && change.direction == Direction::Remove;
        assert_eq!(changes.iter().any(leaves_out), is_split, "{line}: {advice}");
        if is_split {
            assert_eq!(advice.imperative(), "Leave --reuse-port out and restart gunicorn", "{line}");
        }
    }
}

#[test]
fn no_dearer_worker_is_advised_to_slow_clients_where_requests_compute() {
    for (line, is_setting) in [("gunicorn a:b", false), ("gunicorn -k gthread --threads 4 a:b", true)] {
        let server = Gunicorn.recognise(&prefork(line, 2), &[]).expect("gunicorn").server;
        let advice = |computes| {
            let site = Site { computes, ..Site::default() };
            Gunicorn.advice("slow-clients", &server, &site).unwrap_or_default()
        };
        let changes_class =
            |advice: &Advice| advice.changes().iter().any(|change| change.setting.name == "--worker-class");
        assert!(changes_class(&advice(false)), "{line}");
        let computing = advice(true);
        assert!(!changes_class(&computing) && computing.to_string().contains("reverse proxy"), "{computing}");
        assert_eq!(!computing.changes().is_empty(), is_setting, "{computing}");
    }
}
