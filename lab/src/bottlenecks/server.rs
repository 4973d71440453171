//! The servers of the lab, each with about four requests at once where it has such a number.
//!
//! In: nothing. Out: [`SUBJECTS`].

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

/// What kind of application it runs: each kind has its own way to do the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `demo_app`.
    Wsgi,
    /// `asgi_app`.
    Asgi,
}

/// One server as it is set up here.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// For `--servers`.
    pub name: &'static str,
    /// In the table.
    pub title: &'static str,
    /// Its application.
    pub kind: Kind,
    /// How it is started.
    pub recipe: fn() -> Box<dyn Recipe>,
}

const fn subject(name: &'static str, title: &'static str, recipe: fn() -> Box<dyn Recipe>) -> Subject {
    Subject { name, title, kind: Kind::Wsgi, recipe }
}

/// All of them, in the order of the table.
pub const SUBJECTS: &[Subject] = &[
    subject("gunicorn-sync", "gunicorn sync, 4 workers", || Box::new(Settings::sync(Version::V27, 4))),
    subject("gunicorn-gthread", "gunicorn gthread, 1 worker, 4 threads", || {
        Box::new(Settings::gthread(Version::V27, 1, 4))
    }),
    subject("gunicorn-gevent", "gunicorn gevent, 1 worker", || Box::new(GunicornGevent { workers: 1 })),
    subject("uwsgi-processes", "uWSGI, 4 processes", || Box::new(Uwsgi::new(4, 1))),
    subject("uwsgi-threads", "uWSGI, 1 process, 4 threads", || Box::new(Uwsgi::new(1, 4))),
    subject("mod_wsgi", "mod_wsgi daemon, 1 process, 5 threads", || Box::new(ModWsgi::daemon(1, 5))),
    subject("waitress", "Waitress, 4 threads", || Box::new(Waitress { threads: 4 })),
    subject("cheroot", "cheroot, 4 threads", || Box::new(Cheroot { threads: 4 })),
    subject("twisted", "Twisted Web, pool of up to 20 threads", || Box::new(Twisted)),
    subject("uvicorn-a2wsgi", "uvicorn with a2wsgi, 4 threads", || {
        Box::new(Uvicorn { application: Application::A2wsgi { threads: 4 }, workers: 1 })
    }),
    Subject {
        kind: Kind::Asgi,
        ..subject("uvicorn-asgi", "uvicorn with an ASGI application", || {
            Box::new(Uvicorn { application: Application::Asgi, workers: 1 })
        })
    },
];
