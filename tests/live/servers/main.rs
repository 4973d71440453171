//! Every server that the project names, one line each: traced under mixed load and compared with its own log,
//! or with the application's clock where its log has no times.
//!
//! In: recipes (`support/server`). Out: verdicts; the figures measured on standard error. Lines marked
//! `make live-all` are left out by `make test`, which keeps one server with workers and one with a loop.

mod asyncio;
mod child_tasks;
mod children;
mod containers;
mod contended;
mod emperor;
mod front_end_tls;
mod front_ends;
mod gevent;
mod in_scripts;
mod light;
mod light_holders;
mod metrics;
mod pools;
mod reload;
mod slow;
mod stacks;
mod streams;
mod tls;
mod trio;
mod truth;
mod uvloop;
mod window;
mod work;
mod wrk;

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::cheroot::{Cheroot, CherryPy};
use wsgi_trace_test_support::server::daphne::Daphne;
use wsgi_trace_test_support::server::gevent::{GunicornGevent, Pywsgi};
use wsgi_trace_test_support::server::granian::Granian;
use wsgi_trace_test_support::server::gunicorn_asgi::GunicornAsgi;
use wsgi_trace_test_support::server::hypercorn::Hypercorn;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::own_loop::OwnLoop;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::wsgiref::Wsgiref;

/// `name: recipe;` is a test that `make test` runs, `all name: recipe;` one for `make live-all`.
macro_rules! servers {
    () => {};
    (all $name:ident: $recipe:expr; $($rest:tt)*) => {
        #[test]
        #[ignore = "make live-all"]
        fn $name() -> anyhow::Result<()> {
            truth::requests_agree_with_the_witness(&$recipe)
        }
        servers! { $($rest)* }
    };
    ($name:ident: $recipe:expr; $($rest:tt)*) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            truth::requests_agree_with_the_witness(&$recipe)
        }
        servers! { $($rest)* }
    };
}

servers! {
    gunicorn_sync: Settings::sync(Version::V27, 4);
    all gunicorn_gthread: Settings::gthread(Version::V27, 2, 4);
    all cheroot: Cheroot { threads: 4 };
    all cherrypy: CherryPy { threads: 4 };
    all waitress: Waitress { threads: 4 };
    all uwsgi_processes: Uwsgi::new(4, 1);
    all uwsgi_threads: Uwsgi::new(2, 4);
    all uwsgi_thunder_lock: Uwsgi::new(4, 1).with(&["--thunder-lock"]);
    all uwsgi_cheaper: Uwsgi::new(4, 1).with(&["--cheaper", "1", "--cheaper-initial", "1"]).beginning_with(1);
    all wsgiref: Wsgiref;
    all mod_wsgi_daemon: ModWsgi::daemon(1, 5);
    all mod_wsgi_daemon_of_one_thread: ModWsgi::daemon(1, 1);
    all mod_wsgi_daemon_without_reloading: ModWsgi::daemon(1, 5).with(&["--disable-reloading", "--queue-timeout=0"]);
    all mod_wsgi_daemons: ModWsgi::daemon(2, 2).with(&["--disable-reloading", "--queue-timeout=0"]);
    all mod_wsgi_embedded: ModWsgi::embedded(1, 5);
    all mod_wsgi_prefork: ModWsgi::embedded(1, 5).with(&["--server-mpm=prefork"]);
    gevent_pywsgi: Pywsgi;
    all gunicorn_eventlet: Settings::eventlet(1);
    all gunicorn_gevent: GunicornGevent { workers: 1 };
    all gunicorn_gevent_with_several_workers: GunicornGevent { workers: 2 };
    all uvicorn_asgi: Uvicorn { application: Application::Asgi, workers: 1 };
    all uvicorn_asgi_with_several_workers: Uvicorn { application: Application::Asgi, workers: 2 };
    all uvicorn_starlette: Uvicorn { application: Application::Starlette, workers: 1 };
    all gunicorn_with_uvicorn_s_worker: GunicornAsgi { worker_class: "uvicorn.workers.UvicornWorker" };
}

/// Its witness ends with the application, and the response is written a wait later. What is compared is not
/// how long requests were, but what the application knows of its work.
#[test]
#[ignore = "make live-all"]
fn loop_that_runs_by_readiness() -> anyhow::Result<()> {
    truth::work_agrees_with_the_witness(&OwnLoop::ByReadiness)
}

const A2WSGI: Uvicorn = Uvicorn { application: Application::A2wsgi { threads: 4 }, workers: 1 };

/// Which job a thread behind a reactor works for is not always told right: [`gaps`].
#[test]
#[ignore = "make live-all"]
fn twisted() -> anyhow::Result<()> {
    truth::requests_agree_but_for_their_work(&Twisted)
}

#[test]
#[ignore = "make live-all"]
fn uvicorn_a2wsgi() -> anyhow::Result<()> {
    truth::requests_agree_but_for_their_work(&A2WSGI)
}

/// What does not pass every time, and why: `docs/limits.md`.
mod gaps {
    use super::{A2WSGI, Daphne, Granian, GunicornAsgi, Hypercorn, OwnLoop, Twisted, Uwsgi, truth};

    /// 6 of 140 requests have their work in another phase, or 13 of 163.
    #[test]
    #[ignore = "make live-all gaps"]
    fn twisted_knows_its_work() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&Twisted)
    }

    /// 5 of 140.
    #[test]
    #[ignore = "make live-all gaps"]
    fn a2wsgi_knows_its_work() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&A2WSGI)
    }

    /// 38 % are unexplained; which thread works for which request is not known for a third of the time that
    /// they sleep or ask.
    #[test]
    #[ignore = "make live-all gaps"]
    fn granian() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&Granian { blocking_threads: 4 })
    }

    /// 6 to 12 % are unexplained, so that it passes in some runs; requests, their lengths and their threads'
    /// accounts are right.
    #[test]
    #[ignore = "make live-all gaps"]
    fn gunicorn_s_own_asgi_worker() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&GunicornAsgi { worker_class: "asgi" })
    }

    /// 13 to 17 %, and all else is right.
    #[test]
    #[ignore = "make live-all gaps"]
    fn hypercorn_on_asyncio() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&Hypercorn::ON_ASYNCIO)
    }

    /// 9 to 18 %: a task may go on once it has asked to write. And its witness ends as the application hands
    /// over what the reactor writes an iteration later, after whatever runs until then. All requests are
    /// seen once, and their threads' accounts are right.
    #[test]
    #[ignore = "make live-all gaps"]
    fn daphne() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&Daphne)
    }

    /// 41 % are unexplained: of several tasks in one turn it is not known whose is which.
    #[test]
    #[ignore = "make live-all gaps"]
    fn loop_whose_tasks_wake_it() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&OwnLoop::TaskThatWakes)
    }

    #[test]
    #[ignore = "make live-all"]
    fn uwsgi_router() -> anyhow::Result<()> {
        truth::requests_agree_with_the_witness(&Uwsgi::new(2, 1).routed())
    }
}
