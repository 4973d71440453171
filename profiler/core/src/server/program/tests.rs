//! What stacks tell, and what advice says in programs.

use super::*;
use crate::server::advice::Advice;
use crate::server::site::Site;
use crate::server::{Role, backlog, pool, recognise as any};

const WAITRESS: &str = include_str!("../catalogue/waitress.txt");
const CHEROOT: &str = include_str!("../catalogue/cheroot.txt");
const CHERRYPY: &str = include_str!("../catalogue/cherrypy.txt");
const UVICORN: &str = include_str!("../catalogue/uvicorn.txt");
const LIBRARIES: [&str; 2] =
    [include_str!("../catalogue/a2wsgi.txt"), include_str!("../catalogue/anyio.txt")];

/// A stack by its frames, the innermost first: `file:function`.
fn stack(frames: &[&str]) -> Vec<Stood> {
    let frame = |frame: &&str| {
        let (file, function) = frame.split_once(':').unwrap();
        Stood { file: file.to_owned(), function: function.to_owned(), classes: Vec::new() }
    };
    frames.iter().map(frame).collect()
}

fn served(server: &str, threads: Option<u32>) -> Option<ServedBy> {
    Some(ServedBy { server: server.to_owned(), threads })
}

#[test]
fn functions_in_which_threads_stand_tell_the_server_and_its_pool() {
    let loops = stack(&[
        "/v/site-packages/waitress/wasyncore.py:poll",
        "/v/site-packages/waitress/server.py:BaseWSGIServer.run",
        "/v/site-packages/waitress/__init__.py:serve",
        "/srv/app.py:<module>",
    ]);
    let works = stack(&["/v/site-packages/waitress/task.py:ThreadedTaskDispatcher.handler_thread"]);
    let all = [loops.clone(), works.clone(), works];
    assert_eq!(told(&all, true), served("waitress", Some(2)));
    assert_eq!(told(&all, false), served("waitress", None), "a thread that was not seen may be one of them");
    let old = stack(&["/v/waitress/server.py:run", "/srv/app.py:<module>"]);
    assert_eq!(told(&[old], true), served("waitress", None), "before 3.11 a method has no class");
}

#[test]
fn what_is_imported_or_called_alike_and_does_not_serve_is_nothing() {
    for frames in [
        &["/srv/app.py:<module>"][..],
        &["/v/site-packages/waitress/task.py:handler_thread"],
        &["/v/site-packages/waitress/server.py:create_server", "/srv/app.py:<module>"],
        &["/srv/my_waitress/server.py:run"],
        &["/usr/lib/python3.11/socketserver.py:BaseServer.serve_forever", "/srv/app.py:<module>"],
    ] {
        assert_eq!(told(&[stack(frames)], true), None, "{frames:?}");
    }
    assert_eq!(told(&[], true), None);
}

#[test]
fn outermost_server_is_the_one_that_was_started() {
    let of = |frames: &[&str]| told(&[stack(frames)], true).map(|served| served.server);
    let cheroot = "/v/cheroot/server.py:HTTPServer.serve";
    assert_eq!(of(&[cheroot, "/srv/app.py:<module>"]).as_deref(), Some("cheroot"));
    let within = [cheroot, "/v/cherrypy/process/servers.py:ServerAdapter._start_http_thread"];
    assert_eq!(of(&within).as_deref(), Some("cherrypy"));
    let django = ["/v/socketserver.py:serve_forever", "/v/django/core/servers/basehttp.py:run"];
    assert_eq!(of(&django).as_deref(), Some("django"));
    assert_eq!(of(&["/v/werkzeug/serving.py:BaseWSGIServer.serve_forever"]).as_deref(), Some("werkzeug"));
}

#[test]
fn function_that_others_use_too_tells_by_its_class_in_the_main_thread_alone() {
    const SERVES: &str = "/usr/lib/python3.11/socketserver.py:BaseServer.serve_forever";
    assert!(wants_classes("/usr/lib/python3.11/socketserver.py", "BaseServer.serve_forever"));
    assert!(!wants_classes("/v/waitress/server.py", "BaseWSGIServer.run"));
    let of = |outer: &str, classes: &[&str]| {
        let mut frames = stack(&[SERVES, outer]);
        frames[0].classes = classes.iter().map(|class| (*class).to_owned()).collect();
        told(&[frames], true).map(|served| served.server)
    };
    let wsgi = ["Threading", "ThreadingMixIn", "WSGIServer", "HTTPServer"];
    assert_eq!(of("/srv/app.py:<module>", &wsgi).as_deref(), Some("wsgiref"));
    assert_eq!(of("/srv/app.py:<module>", &["ThreadingHTTPServer", "HTTPServer"]), None);
    // A page of metrics beside what the program is for.
    assert_eq!(of("/usr/lib/python3.11/threading.py:Thread.run", &wsgi), None);
}

/// A server of each kind that programs start.
fn all_in_programs() -> Vec<Recognised> {
    let kinds = KINDS.iter().filter(|kind| kind.in_program().is_some());
    let of = |kind: &&&dyn ServerKind| {
        let served_by = served(kind.name(), Some(3));
        let process = ProcessSeen { served_by, ..pool::tests::process(7, 1, "python app.py") };
        any(&[process], &[])
    };
    kinds.map(|kind| of(&kind)).collect()
}

#[test]
fn each_is_recognised_serves_and_has_the_threads_that_were_seen() {
    let all = all_in_programs();
    let names: Vec<&str> = all.iter().map(|found| found.server.name.as_str()).collect();
    assert_eq!(names, ["waitress", "cheroot", "cherrypy", "uvicorn", "werkzeug", "django", "wsgiref"]);
    for found in &all {
        assert_eq!(found.role(7), Role::Worker, "{}", found.server.name);
        assert_eq!(found.kind.name(), found.server.name);
        assert!(has_started(&found.server));
    }
    let slots = |at: usize| all.get(at).and_then(|found| found.kind.configured_slots(&found.server));
    assert_eq!((slots(0), slots(1), slots(2), slots(3)), (Some(3), Some(3), Some(3), None));
}

/// All advice for a server.
fn advice(found: &Recognised) -> Vec<Advice> {
    let ids = [
        "cpu-bound",
        "full-beside-free",
        "gil-contention",
        "idle-connections",
        "idle-connections/acceptor",
        "keep-alive-race",
        "loop-blocked/computing",
        "more-slots",
        "more-slots/pool",
        "slow-clients",
        "worker-timeouts",
    ];
    let site = Site::default();
    let of_findings = ids.iter().filter_map(|id| found.kind.advice(id, &found.server, &site));
    of_findings.chain(backlog::advice(found.kind, &found.server, &site, false)).collect()
}

#[test]
fn advice_names_keywords_that_exist_and_no_option_of_a_command_line() {
    let mut checked = 0;
    for found in all_in_programs() {
        for advice in advice(&found) {
            let text = advice.to_string();
            let of_its_own = text.replace("gunicorn --worker-class gthread --threads 8", "");
            assert!(!of_its_own.contains("--"), "{}: {text}", found.server.name);
            for change in advice.changes() {
                assert_ne!(change.setting.scope, Scope::CommandLine, "{}: {text}", found.server.name);
                let name = change.setting.name.split(['=', ' ']).next().unwrap_or_default();
                let known = match (change.setting.scope, found.server.name.as_str()) {
                    (Scope::Program, "waitress") => has(WAITRESS, name),
                    (Scope::Program, "cheroot") => has(CHEROOT, name),
                    (Scope::Program, "cherrypy") => has(CHERRYPY, name),
                    (Scope::Program, "uvicorn") => {
                        // Its function has its command's options as keywords (`uvicorn.main`).
                        has(UVICORN, &format!("--{}", name.replace('_', "-")))
                            || LIBRARIES.iter().any(|text| has(text, name))
                    }
                    (Scope::Program, _) => false,
                    _ => true,
                };
                assert!(known, "{}: {name}: {text}", found.server.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked} keywords checked");
}

fn has(catalogue: &str, name: &str) -> bool {
    catalogue.lines().any(|line| line.split(' ').next() == Some(name))
}

#[test]
fn keywords_read_as_a_program_has_them() {
    let all = all_in_programs();
    let text = |name: &str, id: &str| {
        let found = all.iter().find(|found| found.server.name == name).unwrap();
        found.kind.advice(id, &found.server, &Site::default()).unwrap_or_default().imperative()
    };
    let waiting = "more-slots";
    assert_eq!(text("waitress", waiting), "Raise threads= of waitress.serve (seen: 3)");
    assert_eq!(text("cheroot", waiting), "Raise numthreads= of cheroot.wsgi.Server (seen: 3)");
    assert_eq!(text("cherrypy", waiting), "Raise server.thread_pool (seen: 3)");
    let more = text("uvicorn", "loop-blocked/computing");
    assert!(more.ends_with("raise workers= of uvicorn.run up to the number of cores"), "{more}");
}
