//! Recognition, roles and slots, by processes as `/proc` shows them.

use super::*;

fn apache(tgid: u32, parent_tgid: u32, title: &str) -> ProcessSeen {
    ProcessSeen {
        tgid,
        parent_tgid,
        comm: "apache2".to_owned(),
        executable: "/usr/sbin/apache2".to_owned(),
        command_line: vec![title.to_owned(), "-f".to_owned(), "/r/httpd.conf".to_owned()],
        mapped_files: vec!["mod_wsgi-py311.cpython-311-x86_64-linux-gnu.so".to_owned()],
        ..ProcessSeen::default()
    }
}

fn with(mut process: ProcessSeen, configuration: &[(&str, &str)]) -> ProcessSeen {
    process.configuration =
        configuration.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    process
}

fn listener(tgid: u32, family: &str, address: &str) -> ListenerSeen {
    ListenerSeen { tgid, family: family.to_owned(), address: address.to_owned(), ..ListenerSeen::default() }
}

const EXPRESS: &str = "apache2 (mod_wsgi-express)";

#[test]
fn daemon_mode_is_parent_front_end_and_daemons_distinguished_by_the_title() {
    let all = [
        with(apache(10, 1, EXPRESS), &[("processes", "2"), ("threads", "5"), ("max_request_workers", "20")]),
        apache(11, 10, "(wsgi:h:80:0)  "),
        apache(12, 10, "(wsgi:h:80:0)  "),
        apache(13, 10, EXPRESS),
        ProcessSeen {
            tgid: 14,
            parent_tgid: 11,
            command_line: vec!["ffmpeg".into()],
            ..ProcessSeen::default()
        },
    ];
    let listeners = [listener(13, "tcp", "127.0.0.1:80"), listener(11, "unix", "/r/wsgi.sock")];
    let found = ModWsgi.recognise(&all, &listeners).expect("mod_wsgi");
    let roles = [10, 11, 12, 13, 14].map(|tgid| found.role(tgid));
    assert_eq!(roles, [Role::Master, Role::Worker, Role::Worker, Role::FrontEnd, Role::Unknown]);
    assert_eq!(ModWsgi.configured_slots(&found.server), Some(10));
    assert_eq!(found.server.worker_class, "daemon");
    let bind = found.server.settings.iter().find(|setting| setting.name == "bind").map(|s| s.value.as_str());
    assert_eq!(bind, Some("127.0.0.1:80"), "the socket between Apache and its daemons is no way in");
    assert_eq!(ModWsgi.inside(&found.server), Inside::PrivateOverUnix);
}

#[test]
fn daemon_without_a_title_shows_by_the_unix_listener_that_it_holds() {
    let all = [
        apache(10, 1, "/usr/sbin/apache2"),
        apache(11, 10, "/usr/sbin/apache2"),
        apache(12, 10, "/usr/sbin/apache2"),
    ];
    let listeners = [
        listener(10, "tcp", "[::]:80"),
        listener(10, "unix", "/run/wsgi.sock"),
        listener(11, "unix", "/run/wsgi.sock"),
        listener(12, "tcp", "[::]:80"),
    ];
    let found = ModWsgi.recognise(&all, &listeners).expect("mod_wsgi");
    assert_eq!([10, 11, 12].map(|tgid| found.role(tgid)), [Role::Master, Role::Worker, Role::FrontEnd]);
    assert_eq!(
        ModWsgi.configured_slots(&found.server),
        None,
        "no configuration was read: nothing is guessed"
    );
    let refined = ModWsgi
        .refine(&found.server, &Observed { worker_processes: 1, serving_threads: 4, ..Observed::default() });
    assert_eq!(ModWsgi.configured_slots(&refined), Some(4));
}

#[test]
fn a_child_of_apache_that_has_closed_the_unix_listener_is_no_daemon() {
    let all = [apache(10, 1, "apache2"), apache(11, 10, "(wsgi:site)"), apache(12, 10, "apache2")];
    let closed = ListenerSeen { fd: -2, ..listener(12, "unix", "/run/wsgi.sock") };
    let listeners = [listener(11, "unix", "/run/wsgi.sock"), closed];
    let found = ModWsgi.recognise(&all, &listeners).expect("mod_wsgi");
    assert_eq!([10, 11, 12].map(|tgid| found.role(tgid)), [Role::Master, Role::Worker, Role::FrontEnd]);
}

#[test]
fn embedded_mode_has_as_many_slots_as_apache_may_serve() {
    let all = [
        with(apache(10, 1, EXPRESS), &[("max_request_workers", "20"), ("threads", "5")]),
        apache(11, 10, EXPRESS),
    ];
    let found = ModWsgi.recognise(&all, &[listener(11, "tcp", "127.0.0.1:80")]).expect("mod_wsgi");
    assert_eq!([10, 11].map(|tgid| found.role(tgid)), [Role::Master, Role::Worker]);
    assert_eq!(
        (found.server.worker_class.as_str(), ModWsgi.configured_slots(&found.server)),
        ("embedded", Some(20))
    );
    assert!(
        found.server.settings.iter().all(|setting| setting.name != "threads"),
        "that of a daemon there is none of"
    );
    assert_eq!(ModWsgi.inside(&found.server), Inside::Nothing);
}

#[test]
fn apache_without_mod_wsgi_is_not_mod_wsgi() {
    let plain = ProcessSeen { mapped_files: Vec::new(), ..apache(10, 1, "/usr/sbin/apache2") };
    assert!(ModWsgi.recognise(&[plain], &[]).is_none());
}

#[test]
fn what_to_change_is_named_as_apache_and_as_mod_wsgi_express_have_it() {
    let settings =
        vec![Setting { name: "threads".to_owned(), value: "5".to_owned(), origin: Origin::Configured }];
    let server = Server { worker_class: DAEMON.to_owned(), settings, ..Server::default() };
    let advice = ModWsgi.advice("more-slots", &server, &Site::default()).expect("advice");
    assert_eq!(advice.imperative(), "Raise threads= (now 5; mod_wsgi-express: --threads)");
    let changes: Vec<_> = advice.changes();
    let names: Vec<_> =
        changes.iter().map(|change| (change.setting.name.as_str(), change.setting.scope)).collect();
    assert_eq!(names, [("threads=", Scope::Directive)]);
}

#[test]
fn timeouts_are_directives_with_their_options_of_mod_wsgi_express() {
    let advice = |class: &str, id: &str, setting: &str| {
        let settings =
            vec![Setting { name: setting.to_owned(), value: "5".to_owned(), origin: Origin::Configured }];
        let server = Server { worker_class: class.to_owned(), settings, ..Server::default() };
        ModWsgi.advice(id, &server, &Site::default()).unwrap_or_default()
    };
    for class in [DAEMON, EMBEDDED] {
        let advice = advice(class, "keep-alive-race", "keep_alive_timeout");
        let begins = "Raise KeepAliveTimeout (now 5; mod_wsgi-express: --keep-alive-timeout) above the time";
        assert!(advice.imperative().starts_with(begins), "{advice}");
    }
    let advice = advice(DAEMON, "worker-timeouts", "request_timeout");
    let raise = "raise request-timeout= (now 5; mod_wsgi-express: --request-timeout) only if such long requests are intended";
    assert!(advice.imperative().ends_with(raise), "{advice}");
}
