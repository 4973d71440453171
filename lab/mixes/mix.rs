//! A mix: a server, its settings and a load, all from a seed.
//!
//! In: a seed. Out: [`Mix`], the same for the same seed, on every machine.

use fastrand::Rng;
use wsgi_trace_lab::advised::setup::{Kind, Limits, Setup};

use crate::load::{Application, Load, pick};

/// A kind of server that a mix may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// For `--servers`, and in tables.
    pub(crate) name: &'static str,
    application: Application,
    /// Settings within sane ranges.
    setup: fn(&mut Rng) -> Setup,
}

const fn wsgi(name: &'static str, setup: fn(&mut Rng) -> Setup) -> Subject {
    Subject { name, application: Application::Wsgi, setup }
}

/// All that advice can change settings of.
pub(crate) const SUBJECTS: &[Subject] = &[
    wsgi("gunicorn-sync", |rng| sync(rng, Kind::Gunicorn)),
    wsgi("gunicorn-gthread", |rng| gthread(rng, Kind::Gunicorn)),
    wsgi("gunicorn-gevent", |rng| Setup::new(Kind::Gunicorn, "gevent", rng.u32(1..=3), 1)),
    wsgi("gunicorn-23-sync", |rng| sync(rng, Kind::Gunicorn23)),
    wsgi("gunicorn-23-gthread", |rng| gthread(rng, Kind::Gunicorn23)),
    wsgi("uwsgi", uwsgi),
    wsgi("mod_wsgi", |rng| Setup::new(Kind::ModWsgi, "", rng.u32(1..=3), pick(rng, 2, &[5, 10, 15]))),
    wsgi("waitress", waitress),
    wsgi("cheroot", |rng| Setup::new(Kind::Cheroot, "", 1, pool(rng))),
    Subject {
        application: Application::Asgi,
        ..wsgi("uvicorn", |rng| Setup::new(Kind::Uvicorn, "", rng.u32(1..=3), 1))
    },
];

/// Conditions of advice, in its own words, that hold in every mix: there is no proxy, and the application
/// stays as it is.
const ALWAYS: &[&str] = &["Without one", "Without such a proxy"];

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) seed: u64,
    /// Name of the kind of server.
    pub(crate) server: &'static str,
    pub(crate) setup: Setup,
    pub(crate) load: Load,
}

impl Mix {
    /// That of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let first = SUBJECTS.first().copied().unwrap_or(wsgi("cheroot", waitress));
        let subject = pick(&mut rng, first, SUBJECTS.get(1..).unwrap_or_default());
        let setup = (subject.setup)(&mut rng);
        let load = Load::new(&mut rng, subject.application, setup.closes());
        Self { seed, server: subject.name, setup, load }
    }

    /// Conditions of advice that hold in it.
    pub(crate) fn holds(&self) -> Vec<&'static str> {
        ALWAYS.to_vec()
    }

    /// In words.
    pub(crate) fn about(&self) -> String {
        format!("{}; {}", self.setup.title(), self.load.about())
    }
}

fn sync(rng: &mut Rng, kind: Kind) -> Setup {
    let setup = Setup::new(kind, "sync", rng.u32(1..=8), 1);
    let mut flags = gunicorn_flags(rng);
    if kind == Kind::Gunicorn && rng.u32(0..6) == 0 {
        flags.push("--reuse-port".to_owned());
    }
    with(setup, &flags)
}

fn gthread(rng: &mut Rng, kind: Kind) -> Setup {
    let setup = Setup::new(kind, "gthread", rng.u32(1..=4), pool(rng));
    let mut flags = gunicorn_flags(rng);
    maybe(rng, &mut flags, "--keep-alive", [1, 5, 30]);
    with(setup, &flags)
}

fn gunicorn_flags(rng: &mut Rng) -> Vec<String> {
    let mut flags = Vec::new();
    maybe(rng, &mut flags, "--backlog", [8, 64, 512]);
    maybe(rng, &mut flags, "--timeout", [5, 30, 120]);
    flags
}

fn uwsgi(rng: &mut Rng) -> Setup {
    let setup = Setup::new(Kind::Uwsgi, "", rng.u32(1..=8), pick(rng, 1, &[1, 2, 4, 8]));
    let mut flags = Vec::new();
    maybe(rng, &mut flags, "--listen", [8, 32, 100]);
    if rng.u32(0..4) == 0 {
        flags.push("--thunder-lock".to_owned());
    }
    with(setup, &flags)
}

fn waitress(rng: &mut Rng) -> Setup {
    let setup = Setup::new(Kind::Waitress, "", 1, pool(rng));
    let mut flags = Vec::new();
    maybe(rng, &mut flags, "--connection-limit", [20, 50, 100]);
    maybe(rng, &mut flags, "--channel-timeout", [10, 60, 120]);
    with(setup, &flags)
}

/// Threads of a pool.
fn pool(rng: &mut Rng) -> u32 {
    pick(rng, 1, &[2, 4, 8, 16])
}

/// An option with one of these values in every second mix; the server's own value otherwise.
fn maybe(rng: &mut Rng, flags: &mut Vec<String>, option: &str, [first, second, third]: [u32; 3]) {
    if rng.bool() {
        flags.push(format!("{option}={}", pick(rng, first, &[second, third])));
    }
}

fn with(setup: Setup, flags: &[String]) -> Setup {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    setup.under(&flags, Limits::NONE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use profiler_core::finding::RULES;
    use wsgi_trace_lab::advised::trial::advice_on;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_mix() {
        for seed in 1..=200 {
            let (one, other) = (Mix::new(seed), Mix::new(seed));
            assert_eq!((one.about(), one.load), (other.about(), other.load));
        }
        let all: BTreeSet<String> = (1..=200).map(|seed| Mix::new(seed).about()).collect();
        assert!(all.len() > 190, "{} of 200 seeds differ", all.len());
    }

    /// Where this changes, all recorded seeds name other mixes.
    #[test]
    fn a_seed_names_the_same_mix_in_every_build() {
        assert_eq!(
            Mix::new(1).about(),
            "mod_wsgi daemon, 3 × 2; 5 clients for 20 ms of back end, 5 ms between two, a connection each"
        );
    }

    #[test]
    fn what_is_said_of_connections_is_what_the_watch_does() {
        let mixes: Vec<Mix> = (1..=200).map(Mix::new).collect();
        let closing: Vec<&Mix> = mixes.iter().filter(|mix| mix.setup.closes()).collect();
        let servers: BTreeSet<&str> = closing.iter().map(|mix| mix.server).collect();
        assert!(servers.contains("uwsgi") && !servers.contains("gunicorn-gthread"), "{servers:?}");
        for mix in closing {
            assert!(!mix.about().contains("50 a connection"), "{}", mix.about());
            let options = mix.load.parts.iter().flat_map(|part| &part.options);
            let kept: Vec<&String> = options.filter(|option| option.starts_with("--keep-alive")).collect();
            assert!(kept.iter().all(|option| *option == "--keep-alive=1"), "{kept:?}");
        }
    }

    #[test]
    fn a_night_has_every_server() {
        let servers: BTreeSet<&str> = (1..=200).map(|seed| Mix::new(seed).server).collect();
        assert_eq!(servers, SUBJECTS.iter().map(|subject| subject.name).collect());
    }

    #[test]
    fn conditions_that_hold_are_those_of_some_advice() {
        let all: Vec<_> = RULES.iter().flat_map(|rule| advice_on(rule.id)).collect();
        for condition in ALWAYS {
            let is_said = all.iter().any(|advice| {
                advice.alternatives().iter().any(|one| one.when == *condition && !one.changes.is_empty())
            });
            assert!(is_said, "{condition}");
        }
    }
}
