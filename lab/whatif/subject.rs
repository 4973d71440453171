//! The servers: one setting that is recorded, and those that are forecast from it and really run.
//!
//! In: nothing. Out: [`SUBJECTS`].

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

/// Processes and threads of each.
pub(crate) type Slots = (u32, u32);

/// A kind of server at several settings.
pub(crate) struct Subject {
    /// Name in tables.
    pub(crate) name: &'static str,
    /// How it is started with so many processes and threads.
    pub(crate) recipe: fn(Slots) -> Box<dyn Recipe>,
    /// The setting that is recorded.
    pub(crate) recorded: Slots,
    /// Those that are forecast.
    pub(crate) others: &'static [Slots],
    /// At these loads, in percent of a core, its runs have changed the model, whatever the mix.
    pub(crate) fixing_loads: &'static [u32],
}

fn gthread((workers, threads): Slots) -> Box<dyn Recipe> {
    Box::new(Settings::gthread(Version::V27, workers as usize, threads as usize))
}

fn sync((workers, _): Slots) -> Box<dyn Recipe> {
    Box::new(Settings::sync(Version::V27, workers as usize))
}

fn uwsgi((processes, threads): Slots) -> Box<dyn Recipe> {
    Box::new(Uwsgi::new(processes, threads))
}

fn waitress((_, threads): Slots) -> Box<dyn Recipe> {
    Box::new(Waitress { threads })
}

fn mod_wsgi((processes, threads): Slots) -> Box<dyn Recipe> {
    Box::new(ModWsgi::daemon(processes, threads))
}

/// All.
pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "gthread",
        recipe: gthread,
        recorded: (1, 4),
        others: &[(1, 2), (1, 8), (2, 2), (2, 4), (4, 1)],
        fixing_loads: &[60],
    },
    Subject {
        name: "sync",
        recipe: sync,
        recorded: (2, 1),
        others: &[(1, 1), (3, 1), (4, 1)],
        fixing_loads: &[],
    },
    Subject {
        name: "uwsgi-processes",
        recipe: uwsgi,
        recorded: (2, 1),
        others: &[(1, 1), (3, 1), (4, 1)],
        fixing_loads: &[],
    },
    Subject {
        name: "uwsgi-threads",
        recipe: uwsgi,
        recorded: (1, 4),
        others: &[(1, 2), (1, 8), (2, 2), (4, 1)],
        fixing_loads: &[],
    },
    Subject {
        name: "waitress",
        recipe: waitress,
        recorded: (1, 4),
        others: &[(1, 2), (1, 8)],
        fixing_loads: &[],
    },
    Subject {
        name: "mod_wsgi",
        recipe: mod_wsgi,
        recorded: (1, 4),
        others: &[(1, 2), (1, 8), (2, 2), (2, 4), (4, 1)],
        fixing_loads: &[],
    },
];
