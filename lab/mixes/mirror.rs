//! The mirror: the healthy twin of each trial of `lab/advice`, and the cells of the lab in which nothing is
//! wrong. Nothing may be advised.
//!
//! In: nothing. Out: [`twins`], and what became of one. A trial's twin has the same application under
//! settings or a load with which nothing is short: its advice applied generously, or clients that want
//! little.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use profiler_core::finding::is_notice;
use wsgi_trace_lab::advised::judge::DISTURBED;
use wsgi_trace_lab::advised::setup::{Kind, Limits, Setup};
use wsgi_trace_lab::advised::watched::{self, Watched};
use wsgi_trace_lab::bottlenecks::expected::EXPECTED;
use wsgi_trace_lab::bottlenecks::server::SUBJECTS;
use wsgi_trace_lab::bottlenecks::workload::WORKLOADS;
use wsgi_trace_test_support::server::Recipe;

use crate::load::RUN_UP;
use crate::record::Reflection;

/// Watches of a twin at most: one on which nothing is advised is enough.
const MOST_WATCHES: usize = 3;

/// What stands before the name of a cell of the lab.
pub(crate) const LAB: &str = "lab-";

/// Options of clients, one program each.
type Clients = &'static [&'static [&'static str]];

/// One twin of a trial.
struct Healthy {
    /// The trial.
    name: &'static str,
    /// Server, kind of worker, processes, threads.
    server: (Kind, &'static str, u32, u32),
    flags: &'static [&'static str],
    limits: Limits,
    clients: Clients,
}

const fn healthy(
    name: &'static str,
    server: (Kind, &'static str, u32, u32),
    flags: &'static [&'static str],
    clients: Clients,
) -> Healthy {
    Healthy { name, server, flags, limits: Limits::NONE, clients }
}

/// The load of the trial, where the server is what differs.
const LONG: Clients = &[&["--clients=8", "--keep-alive=20", "--routes=/sleep/300"]];
const SHORT_LONG: Clients = &[&["--clients=8", "--routes=/fast=4,/sleep/400"]];
const FEW: Clients = &[&["--clients=4", "--routes=/sleep/100"]];
const FIVE: Clients = &[&["--clients=5", "--routes=/sleep/300"]];
/// Bodies whose bytes come at once.
const QUICK_BODIES: Clients = &[&["--clients=2", "--think-ms=50", "--kinds=sized", "--upload-bytes=1000"]];
/// Nobody connects ahead.
const TALKING: Clients = &[&["--clients=2", "--think-ms=50"]];
/// A twentieth of a core.
const LITTLE_CPU: Clients = &[&["--clients=1", "--think-ms=100", "--routes=/cpu"]];
/// Nobody wants the GIL meanwhile.
const ONE_AT_A_TIME: Clients = &[&["--clients=1", "--think-ms=200", "--routes=/truth/cpu/20"]];
const ONE_CALLS: Clients = &[&["--clients=1", "--think-ms=200", "--routes=/truth/calls/20"]];
/// Now and then a short request.
const TRICKLE: Clients = &[&["--clients=1", "--think-ms=50"]];
const SLEEPS_LITTLE: Clients = &[&["--clients=1", "--think-ms=60", "--routes=/sleep/5"]];
const PATIENT: Clients = &[&["--clients=1", "--think-ms=60", "--timeout=0.9", "--routes=/sleep/100"]];
const LATE: Clients = &[&["--clients=24", "--keep-alive=20", "--think-ms=1700", "--spread-seconds=1.7"]];

/// All of them, in the order of the trials.
const HEALTHY: &[Healthy] = &[
    healthy("slots-gthread", (Kind::Gunicorn, "gthread", 1, 12), &[], LONG),
    healthy("slots-sync", (Kind::Gunicorn, "gthread", 4, 4), &[], LONG),
    healthy("slots-uwsgi-processes", (Kind::Uwsgi, "", 4, 3), &[], LONG),
    healthy("slots-uwsgi-threads", (Kind::Uwsgi, "", 1, 12), &[], LONG),
    healthy("slots-mod_wsgi", (Kind::ModWsgi, "", 1, 15), &[], LONG),
    healthy("slots-waitress", (Kind::Waitress, "", 1, 12), &[], LONG),
    healthy("slots-cheroot", (Kind::Cheroot, "", 1, 12), &[], LONG),
    healthy("slow-clients-gthread", (Kind::Gunicorn, "gthread", 1, 4), &[], QUICK_BODIES),
    healthy("idle-sync-23", (Kind::Gunicorn23, "sync", 4, 1), &[], TALKING),
    healthy("idle-cheroot", (Kind::Cheroot, "", 1, 4), &[], TALKING),
    healthy("loop-blocked-uvicorn", (Kind::Uvicorn, "", 1, 1), &[], TRICKLE),
    healthy("loop-gevent", (Kind::Gunicorn, "gevent", 1, 1), &[], LITTLE_CPU),
    healthy("cores-sync", (Kind::Gunicorn, "sync", 6, 1), &[], LITTLE_CPU),
    Healthy {
        limits: Limits { cpu_hundredths: Some(60), ..Limits::NONE },
        ..healthy("quota-sync", (Kind::Gunicorn, "sync", 2, 1), &[], LITTLE_CPU)
    },
    Healthy {
        limits: Limits { cpu_hundredths: Some(100), ..Limits::NONE },
        ..healthy("quota-kept-sync", (Kind::Gunicorn, "sync", 2, 1), &[], LITTLE_CPU)
    },
    healthy("gil-contention-gthread", (Kind::Gunicorn, "gthread", 1, 3), &[], ONE_AT_A_TIME),
    healthy("gil-starvation-gthread", (Kind::Gunicorn, "gthread", 1, 4), &[], ONE_AT_A_TIME),
    healthy("gil-convoy-gthread", (Kind::Gunicorn, "gthread", 1, 3), &[], ONE_CALLS),
    healthy("gil-threads-gthread", (Kind::Gunicorn, "gthread", 1, 4), &[], LITTLE_CPU),
    healthy("gil-threads-uwsgi", (Kind::Uwsgi, "", 1, 4), &[], LITTLE_CPU),
    healthy("gil-threads-mod_wsgi", (Kind::ModWsgi, "", 1, 5), &[], LITTLE_CPU),
    healthy("gil-threads-waitress", (Kind::Waitress, "", 1, 4), &[], LITTLE_CPU),
    healthy("gil-threads-cheroot", (Kind::Cheroot, "", 1, 4), &[], LITTLE_CPU),
    // A thread for each of the eight clients: of four all were taken while other workers had one.
    healthy("short-long-sync", (Kind::Gunicorn, "gthread", 4, 8), &[], SHORT_LONG),
    healthy("short-long-uwsgi", (Kind::Uwsgi, "", 1, 12), &[], SHORT_LONG),
    healthy("short-long-waitress", (Kind::Waitress, "", 1, 12), &[], SHORT_LONG),
    healthy("herd-sync", (Kind::Gunicorn, "sync", 2, 1), &[], TRICKLE),
    healthy("herd-gthread", (Kind::Gunicorn, "gthread", 2, 2), &[], TRICKLE),
    healthy("herd-uwsgi", (Kind::Uwsgi, "", 8, 1), &["--thunder-lock"], TRICKLE),
    healthy("accept-queue-sync", (Kind::Gunicorn, "sync", 12, 1), &[], FIVE),
    healthy("backlog-sync", (Kind::Gunicorn, "sync", 1, 1), &["--backlog=24"], SLEEPS_LITTLE),
    healthy("backlog-uwsgi", (Kind::Uwsgi, "", 1, 1), &["--listen=24"], SLEEPS_LITTLE),
    Healthy {
        limits: Limits { open_files: Some(400), ..Limits::NONE },
        ..healthy("files-waitress", (Kind::Waitress, "", 1, 4), &[], TALKING)
    },
    healthy("timeouts-sync", (Kind::Gunicorn, "sync", 4, 1), &["--timeout=30"], SLEEPS_LITTLE),
    healthy("timeouts-uwsgi", (Kind::Uwsgi, "", 4, 1), &["--harakiri=30"], SLEEPS_LITTLE),
    healthy("clients-leave-gthread", (Kind::Gunicorn, "gthread", 1, 2), &[], PATIENT),
    healthy("keep-alive-gthread-23", (Kind::Gunicorn23, "gthread", 1, 4), &["--keep-alive=30"], LATE),
    healthy("keep-alive-mod_wsgi", (Kind::ModWsgi, "", 1, 5), &["--keep-alive-timeout=30"], LATE),
    healthy(
        "keep-alive-waitress",
        (Kind::Waitress, "", 1, 4),
        &["--channel-timeout=30", "--cleanup-interval=1"],
        LATE,
    ),
    healthy("imbalance-sync", (Kind::Gunicorn, "sync", 12, 1), &[], FIVE),
    healthy("full-beside-free-gthread", (Kind::Gunicorn, "gthread", 1, 8), &[], FEW),
];

/// A server and a load under which nothing may be advised.
pub(crate) struct Twin {
    /// The trial's name, or `lab-SERVER-WORKLOAD`.
    pub(crate) name: String,
    /// Server and load in words.
    pub(crate) about: String,
    recipe: Box<dyn Recipe>,
    quota_cores: Option<f64>,
    clients: Vec<Vec<String>>,
    run_up: Duration,
}

/// All of them: those of the trials, and the lab's own healthy cells.
pub(crate) fn twins() -> Vec<Twin> {
    HEALTHY.iter().map(of_trial).chain(of_lab()).collect()
}

fn of_trial(one: &Healthy) -> Twin {
    let (kind, class, processes, threads) = one.server;
    let setup = Setup::new(kind, class, processes, threads).under(one.flags, one.limits);
    let clients: Vec<Vec<String>> =
        one.clients.iter().map(|options| options.iter().map(|&option| option.to_owned()).collect()).collect();
    Twin {
        name: one.name.to_owned(),
        about: format!("{}; {}", setup.title(), clients.concat().join(" ")),
        recipe: setup.recipe(),
        quota_cores: setup.quota_cores(),
        clients,
        run_up: RUN_UP,
    }
}

/// Where the lab expects that nothing is wrong, or that this cannot be said.
fn of_lab() -> impl Iterator<Item = Twin> {
    EXPECTED.iter().filter(|expected| expected.is_none()).filter_map(|expected| {
        let subject = SUBJECTS.iter().find(|subject| subject.name == expected.server)?;
        let workload = WORKLOADS.iter().find(|workload| workload.name == expected.workload)?;
        let mut options = vec![format!("--routes={}", workload.routes_for(subject.kind))];
        options.extend(workload.clients.iter().map(|&option| option.to_owned()));
        Some(Twin {
            name: format!("{LAB}{}-{}", subject.name, workload.name),
            about: format!("{}; {}", subject.title, workload.about),
            recipe: (subject.recipe)(),
            quota_cores: None,
            clients: vec![options],
            run_up: workload.run_up,
        })
    })
}

impl Twin {
    /// Watches it, again where something is advised.
    pub(crate) fn reflect(&self, machine: &str, reports: &Path) -> Reflection {
        let mut watches = Vec::new();
        let outcome = judged(&mut watches, |number| self.watch(number, reports));
        let (advised, failed) = match outcome {
            Ok(advised) => (advised, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Reflection {
            name: self.name.clone(),
            about: self.about.clone(),
            machine: machine.to_owned(),
            build: String::new(),
            watches,
            advised,
            failed,
        }
    }

    /// What is advised on in one watch, or why that cannot be said.
    fn watch(&self, number: usize, reports: &Path) -> Result<Vec<String>, String> {
        let file = reports.join(format!("mirror-{}-{number}.json", self.name));
        let options: Vec<Vec<&str>> =
            self.clients.iter().map(|options| options.iter().map(String::as_str).collect()).collect();
        let clients: Vec<&[&str]> = options.iter().map(Vec::as_slice).collect();
        let subject = (self.recipe.as_ref(), self.quota_cores);
        let watched =
            watched::watch(&file, subject, &clients, self.run_up).map_err(|error| format!("{error:#}"))?;
        let advised = advised(&watched);
        // What is quiet even so is healthy.
        if watched.stolen_ratio > DISTURBED && !advised.is_empty() {
            return Err("a hypervisor took the CPUs meanwhile".to_owned());
        }
        Ok(advised)
    }
}

/// What a twin is advised on: what each of three watches advises something on. The first on which nothing is
/// advised ends them: it is healthy.
fn judged(
    watches: &mut Vec<Vec<String>>,
    mut watch: impl FnMut(usize) -> Result<Vec<String>, String>,
) -> Result<Vec<String>, String> {
    for number in 1..=MOST_WATCHES {
        let advised = watch(number)?;
        let is_quiet = advised.is_empty();
        watches.push(advised);
        if is_quiet {
            return Ok(Vec::new());
        }
    }
    let all: BTreeSet<&String> = watches.iter().flatten().collect();
    Ok(all.into_iter().cloned().collect())
}

/// Findings that say what to do, or cost something. That nothing is wrong is none, nor is what is worth
/// knowing alone.
fn advised(watched: &Watched) -> Vec<String> {
    let found = watched.findings().filter(|found| found.is_present());
    let wrong = found.filter(|found| found.id != "healthy" && !is_notice(&found.id));
    let advised = wrong.filter(|found| {
        !found.advice.is_empty() || !found.settings.is_empty() || watched.cost_rate(&found.id) > 0.0
    });
    advised.map(|found| found.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wsgi_trace_lab::advised::trial::TRIALS;

    use super::*;

    #[test]
    fn each_trial_has_a_healthy_twin_that_is_not_the_trial() {
        let names: Vec<&str> = HEALTHY.iter().map(|one| one.name).collect();
        assert_eq!(names, TRIALS.iter().map(|trial| trial.name).collect::<Vec<_>>());
        for (one, trial) in HEALTHY.iter().zip(TRIALS) {
            let twin = of_trial(one);
            let load = trial.work.clients.concat().join(" ");
            assert_ne!(twin.about, format!("{}; {load}", trial.setup().title()), "{}", one.name);
        }
    }

    /// What becomes of a twin whose watches advise on these.
    fn outcome(each: &[Result<&[&str], &str>]) -> (Vec<Vec<String>>, Result<Vec<String>, String>) {
        let mut watches = Vec::new();
        let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        let outcome = judged(&mut watches, |number| each[number - 1].map(owned).map_err(str::to_owned));
        (watches, outcome)
    }

    #[test]
    fn a_twin_is_advised_on_where_each_of_three_watches_shows_it() {
        let (watches, advised) = outcome(&[Ok(&["herd"]), Ok(&["herd", "gil-convoy"]), Ok(&["herd"])]);
        assert_eq!((watches.len(), advised), (3, Ok(vec!["gil-convoy".to_owned(), "herd".to_owned()])));
        let (watches, advised) = outcome(&[Ok(&["herd"]), Ok(&[])]);
        assert_eq!((watches, advised), (vec![vec!["herd".to_owned()], Vec::new()], Ok(Vec::new())));
        assert_eq!(outcome(&[Ok(&[])]), (vec![Vec::new()], Ok(Vec::new())));
        assert_eq!(outcome(&[Ok(&["herd"]), Err("no server")]).1, Err("no server".to_owned()));
    }

    #[test]
    fn whatever_says_what_to_do_is_advice_but_for_what_is_worth_knowing() {
        let found = |id: &str, answer: &str, advice: &str, cost: Option<f64>| {
            json!({
                "id": id, "answer": answer, "advice": advice, "cost_request_seconds": cost, "settings": [],
            })
        };
        let report = json!({
            "findings": [
                found("words-alone", "present", "Look there.", None),
                found("cost-alone", "present", "", Some(0.5)),
                found("nothing-to-do", "present", "", Some(0.0)),
                found("herd", "absent", "Do that.", None),
                found("slots-exhausted", "undecided", "Do that.", None),
                found("healthy", "present", "Look at the tail.", None),
                found("workers-replaced", "present", "Compare.", None),
            ],
            "window": {"start_ns": 0, "length_ns": 4_000_000_000_u64},
            "capacity": {"workers": []},
        });
        let report = Watched::new(serde_json::from_value(report).unwrap(), &[], 0.0);
        assert_eq!(advised(&report), ["words-alone", "cost-alone"]);
    }

    #[test]
    fn cells_of_the_lab_in_which_nothing_is_wrong_are_looked_at() {
        let twins = twins();
        let expected = EXPECTED.iter().filter(|expected| expected.is_none()).count();
        assert!(expected > 0);
        assert_eq!(twins.iter().filter(|twin| twin.name.starts_with(LAB)).count(), expected);
        let names: BTreeSet<&str> = twins.iter().map(|twin| twin.name.as_str()).collect();
        assert_eq!(names.len(), twins.len());
    }
}
