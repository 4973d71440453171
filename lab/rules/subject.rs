//! The event loops that rules are measured on.
//!
//! In: nothing. Out: recipes, with routes whose work is known.

use std::process::Command;

use wsgi_trace_test_support::backend::Backend;
use wsgi_trace_test_support::server::daphne::Daphne;
use wsgi_trace_test_support::server::fastapi::FastApi;
use wsgi_trace_test_support::server::gevent::{GunicornGevent, Pywsgi};
use wsgi_trace_test_support::server::granian::Granian;
use wsgi_trace_test_support::server::gunicorn_asgi::GunicornAsgi;
use wsgi_trace_test_support::server::hypercorn::Hypercorn;
use wsgi_trace_test_support::server::own_loop::OwnLoop;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::{Place, Recipe};

/// One of them.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) recipe: Box<dyn Recipe>,
    /// As `clients/load.py --routes` takes them.
    pub(crate) routes: &'static str,
}

/// A server whose application asks its back end by name: a thread resolves that.
#[derive(Debug)]
struct ByName<R> {
    inner: R,
    back_end: Backend,
}

impl<R: Recipe> ByName<R> {
    fn of(inner: R) -> anyhow::Result<Self> {
        Ok(Self { inner, back_end: Backend::start()? })
    }
}

impl<R: Recipe> Recipe for ByName<R> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn about(&self) -> String {
        self.inner.about()
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.inner)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.inner.commands(place)?;
        let by_name = self.back_end.address.replace("127.0.0.1", "localhost");
        for command in &mut commands {
            command.env("BACKEND_ADDRESS", &by_name);
        }
        Ok(commands)
    }

    fn slots(&self) -> Option<u64> {
        self.inner.slots()
    }
}

/// Routes of `demo_app`.
const DEMO: &str = "/fast=3,/cpu=1,/sleep/12=2,/backend=2,/truth/turn/5=1";
/// Routes of `demo_app` without the one that waits for its turn: where one thread runs all, nobody waits.
const SYNCHRONOUS: &str = "/fast=3,/cpu=1,/sleep/12=2,/backend=2";
/// Routes of `asgi_app`.
const ASGI: &str = "/fast=3,/cpu=1,/sleep/12=2,/backend=2,/pooled=1,/turn/5=1,/gather/10=1";
/// Routes of `trio_app`.
const TRIO: &str = "/fast=3,/cpu/3=1,/sleep/12=2,/backend/15=2,/twice/9=1,/turn/5=1";
/// Routes of `fastapi_app`.
const FASTAPI: &str = "/fast=3,/computed=1,/twice/6=1,/truth/sleep/12=1,/truth/backend/15=1,/await/sleep/12=1,/await/backend/15=1";

/// All of them.
pub(crate) fn all() -> anyhow::Result<Vec<Subject>> {
    let uvicorn = |application| Box::new(Uvicorn { application, workers: 1 });
    let fastapi = |event_loop, http| Box::new(FastApi { event_loop, http });
    Ok(vec![
        Subject {
            name: "gunicorn-gevent",
            about: "gunicorn, gevent",
            recipe: Box::new(GunicornGevent { workers: 1 }),
            routes: DEMO,
        },
        Subject { name: "pywsgi", about: "gevent.pywsgi", recipe: Box::new(Pywsgi), routes: DEMO },
        Subject {
            name: "twisted",
            about: "Twisted's WSGI resource",
            recipe: Box::new(Twisted),
            routes: DEMO,
        },
        Subject {
            name: "asgi",
            about: "uvicorn, asyncio, coroutines",
            recipe: uvicorn(Application::Asgi),
            routes: ASGI,
        },
        Subject {
            name: "gunicorn-asgi",
            about: "gunicorn's own worker for asyncio, coroutines",
            recipe: Box::new(GunicornAsgi { worker_class: "asgi" }),
            routes: ASGI,
        },
        Subject {
            name: "hypercorn",
            about: "hypercorn, asyncio, coroutines",
            recipe: Box::new(Hypercorn::ON_ASYNCIO),
            routes: ASGI,
        },
        Subject { name: "daphne", about: "Daphne, coroutines", recipe: Box::new(Daphne), routes: ASGI },
        Subject {
            name: "starlette",
            about: "uvicorn, asyncio, Starlette",
            recipe: uvicorn(Application::Starlette),
            routes: ASGI,
        },
        Subject {
            name: "a2wsgi",
            about: "uvicorn, asyncio, a2wsgi",
            recipe: uvicorn(Application::A2wsgi { threads: 10 }),
            routes: DEMO,
        },
        Subject {
            name: "fastapi",
            about: "uvicorn, asyncio, FastAPI",
            recipe: fastapi("asyncio", "h11"),
            routes: FASTAPI,
        },
        Subject {
            name: "uvloop",
            about: "uvicorn, uvloop, FastAPI",
            recipe: fastapi("uvloop", "httptools"),
            routes: FASTAPI,
        },
        Subject {
            name: "wakes-itself",
            about: "asyncio, tasks that run a synchronous application and wake their loop",
            recipe: Box::new(OwnLoop::TaskThatWakes),
            routes: SYNCHRONOUS,
        },
        Subject {
            name: "granian",
            about: "Granian, four threads",
            recipe: Box::new(Granian { blocking_threads: 4 }),
            routes: SYNCHRONOUS,
        },
        Subject {
            name: "trio",
            about: "hypercorn, trio",
            recipe: Box::new(Hypercorn::ON_TRIO),
            routes: TRIO,
        },
        Subject {
            name: "pywsgi-names",
            about: "gevent.pywsgi, back end by name",
            recipe: Box::new(ByName::of(Pywsgi)?),
            routes: DEMO,
        },
        Subject {
            name: "asgi-names",
            about: "uvicorn, asyncio, coroutines, back end by name",
            recipe: Box::new(ByName::of(Uvicorn { application: Application::Asgi, workers: 1 })?),
            routes: ASGI,
        },
    ])
}
