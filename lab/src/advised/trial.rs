//! The trials: a server, a load that provokes a finding on it, and what is known of advice that does not help
//! here.
//!
//! In: nothing. Out: [`TRIALS`], and [`UNTRIED`]: findings without one; all advice on a finding. The loads
//! are in `work.rs`.

use profiler_core::finding::RULES;
use profiler_core::model::Server;
use profiler_core::server::KINDS;
use profiler_core::server::advice::Advice;
use profiler_core::server::site::Site;

use super::setup::{Kind, Limits, Setup};
use super::work::{self, Work};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// On the command line.
    pub name: &'static str,
    /// The finding whose advice is applied.
    pub finding: &'static str,
    /// Server, kind of worker, processes, threads.
    server: (Kind, &'static str, u32, u32),
    /// Further options of the server.
    pub flags: &'static [&'static str],
    limits: Limits,
    /// What clients do.
    pub work: Work,
    /// Conditions of its advice, in the advice's words, that hold under this load: what it says for these is
    /// tried first.
    pub holds: &'static [&'static str],
    /// How often advice is followed: raised, looked at, raised again.
    pub rounds: usize,
    /// Why the finding may stay all the same.
    pub known: Option<&'static str>,
}

impl Trial {
    /// Its server.
    pub fn setup(&self) -> Setup {
        let (kind, class, processes, threads) = self.server;
        Setup::new(kind, class, processes, threads).under(self.flags, self.limits)
    }
}

/// Why the advice of servers with one process cannot be followed by settings.
const SECOND: &str = "a second server and a proxy are not started here";
/// Why a full loop stays full under clients that do not wait.
const ASK_AGAIN: &str = "the clients ask again at once, and keep both loops full";
/// Why those that hold threads go on to do so.
const STILL_HELD: &str =
    "more threads do not shorten what clients hold: these hold as many as before, and nobody waits for one";

const fn trial(
    name: &'static str,
    finding: &'static str,
    server: (Kind, &'static str, u32, u32),
    work: Work,
) -> Trial {
    Trial {
        name,
        finding,
        server,
        flags: &[],
        limits: Limits::NONE,
        work,
        holds: &[],
        rounds: 3,
        known: None,
    }
}

/// All of them, in the order of the table.
pub const TRIALS: &[Trial] = &[
    trial("slots-gthread", "sleeping", (Kind::Gunicorn, "gthread", 1, 4), work::LONG),
    trial("slots-sync", "sleeping", (Kind::Gunicorn, "sync", 4, 1), work::LONG),
    trial("slots-uwsgi-processes", "sleeping", (Kind::Uwsgi, "", 4, 1), work::LONG),
    trial("slots-uwsgi-threads", "sleeping", (Kind::Uwsgi, "", 1, 4), work::LONG),
    trial("slots-mod_wsgi", "sleeping", (Kind::ModWsgi, "", 1, 5), work::LONG),
    trial("slots-waitress", "sleeping", (Kind::Waitress, "", 1, 4), work::LONG),
    trial("slots-cheroot", "sleeping", (Kind::Cheroot, "", 1, 4), work::LONG),
    Trial {
        holds: &["Without one"],
        rounds: 1,
        known: Some(STILL_HELD),
        ..trial("slow-clients-gthread", "slow-clients", (Kind::Gunicorn, "gthread", 1, 4), work::SLOW)
    },
    Trial {
        holds: &["For load balancers that open connections ahead"],
        ..trial("idle-sync-23", "idle-connections", (Kind::Gunicorn23, "sync", 4, 1), work::SILENT)
    },
    Trial {
        holds: &["Without such a proxy"],
        rounds: 1,
        known: Some(STILL_HELD),
        ..trial("idle-cheroot", "idle-connections", (Kind::Cheroot, "", 1, 4), work::SILENT)
    },
    trial("loop-blocked-uvicorn", "loop-blocked", (Kind::Uvicorn, "", 1, 1), work::ONE_BLOCKS),
    Trial {
        known: Some(ASK_AGAIN),
        ..trial("loop-gevent", "loop-blocked", (Kind::Gunicorn, "gevent", 1, 1), work::CPU)
    },
    trial("cores-sync", "cpu-bound", (Kind::Gunicorn, "sync", 6, 1), work::CPU),
    Trial {
        limits: Limits { cpu_hundredths: Some(60), ..Limits::NONE },
        ..trial("quota-sync", "cpu-throttled", (Kind::Gunicorn, "sync", 2, 1), work::STEADY)
    },
    // As many workers as cores stop for half of each period; one computes as much without a stop.
    Trial {
        limits: Limits { cpu_hundredths: Some(100), ..Limits::NONE },
        holds: &["If that cannot be"],
        ..trial("quota-kept-sync", "cpu-throttled", (Kind::Gunicorn, "sync", 2, 1), work::CPU)
    },
    trial("gil-contention-gthread", "gil-contention", (Kind::Gunicorn, "gthread", 1, 3), work::COMPUTING),
    Trial {
        ..trial(
            "gil-starvation-gthread",
            "gil-contention",
            (Kind::Gunicorn, "gthread", 1, 4),
            work::ONE_COMPUTES,
        )
    },
    trial("gil-convoy-gthread", "gil-contention", (Kind::Gunicorn, "gthread", 1, 3), work::CALLING),
    trial("gil-threads-gthread", "gil-contention", (Kind::Gunicorn, "gthread", 1, 4), work::CPU),
    trial("gil-threads-uwsgi", "gil-contention", (Kind::Uwsgi, "", 1, 4), work::CPU),
    trial("gil-threads-mod_wsgi", "gil-contention", (Kind::ModWsgi, "", 1, 5), work::CPU),
    Trial {
        known: Some(SECOND),
        ..trial("gil-threads-waitress", "gil-contention", (Kind::Waitress, "", 1, 4), work::CPU)
    },
    Trial {
        known: Some(SECOND),
        ..trial("gil-threads-cheroot", "gil-contention", (Kind::Cheroot, "", 1, 4), work::CPU)
    },
    Trial { ..trial("short-long-sync", "sleeping", (Kind::Gunicorn, "sync", 4, 1), work::SHORT_LONG) },
    Trial { ..trial("short-long-uwsgi", "sleeping", (Kind::Uwsgi, "", 1, 4), work::SHORT_LONG) },
    Trial { ..trial("short-long-waitress", "sleeping", (Kind::Waitress, "", 1, 4), work::SHORT_LONG) },
    trial("herd-sync", "herd", (Kind::Gunicorn, "sync", 8, 1), work::SHORT),
    trial("herd-gthread", "herd", (Kind::Gunicorn, "gthread", 8, 2), work::SHORT),
    trial("herd-uwsgi", "herd", (Kind::Uwsgi, "", 8, 1), work::SHORT),
    Trial {
        flags: &["--reuse-port"],
        ..trial("accept-queue-sync", "sleeping", (Kind::Gunicorn, "sync", 12, 1), work::FIVE)
    },
    Trial {
        flags: &["--backlog=24"],
        ..trial("backlog-sync", "backlog-too-small", (Kind::Gunicorn, "sync", 1, 1), work::CROWD)
    },
    Trial {
        flags: &["--listen=24"],
        ..trial("backlog-uwsgi", "backlog-too-small", (Kind::Uwsgi, "", 1, 1), work::CROWD)
    },
    Trial {
        limits: Limits { open_files: Some(40), ..Limits::NONE },
        ..trial("files-waitress", "descriptor-limit", (Kind::Waitress, "", 1, 4), work::FIFTY)
    },
    Trial {
        flags: &["--timeout=2"],
        holds: &["only if such long requests are intended"],
        ..trial("timeouts-sync", "worker-timeouts", (Kind::Gunicorn, "sync", 4, 1), work::VERY_LONG)
    },
    Trial {
        flags: &["--harakiri=2"],
        holds: &["only if such long requests are intended"],
        ..trial("timeouts-uwsgi", "worker-timeouts", (Kind::Uwsgi, "", 4, 1), work::VERY_LONG)
    },
    // mod_wsgi's `--request-timeout=2` ended no process under this load, with one thread or four: not tried
    // here.
    trial("clients-leave-gthread", "clients-leave", (Kind::Gunicorn, "gthread", 1, 2), work::IMPATIENT),
    // 27 reads on for a while where 23 closes at once.
    Trial {
        flags: &["--keep-alive=1"],
        ..trial("keep-alive-gthread-23", "keep-alive-race", (Kind::Gunicorn23, "gthread", 1, 4), work::LATE)
    },
    Trial {
        flags: &["--keep-alive-timeout=1"],
        ..trial("keep-alive-mod_wsgi", "keep-alive-race", (Kind::ModWsgi, "", 1, 5), work::LATE)
    },
    // waitress looks for idle connections only now and then.
    Trial {
        flags: &["--channel-timeout=1", "--cleanup-interval=1"],
        ..trial("keep-alive-waitress", "keep-alive-race", (Kind::Waitress, "", 1, 4), work::LATE)
    },
    Trial {
        flags: &["--reuse-port"],
        ..trial("imbalance-sync", "sleeping", (Kind::Gunicorn, "sync", 12, 1), work::FIVE)
    },
    trial("full-beside-free-gthread", "full-beside-free", (Kind::Gunicorn, "gthread", 2, 2), work::FEW),
];

/// Findings without a trial, and why.
pub const UNTRIED: &[(&str, &str)] = &[
    ("back-end", "a faster back end is no setting of a server, and it is not known whether more slots help"),
    (
        "back-end-connections",
        "what its advice changes is how the application connects; the finding's live test has the same application with \
         connections that it keeps, and finds nothing",
    ),
    (
        "back-end-slower",
        "its advice is where to look: what changed is at the back end; the finding's live test has one that takes as long \
         from the beginning, and finds nothing",
    ),
    (
        "name-lookups",
        "what its advice changes is how the application connects, or the host's resolver; the \
         finding's live test has the same waits for a back end that needs no name, and finds nothing",
    ),
    ("gil-not-released", "what its advice changes is the application's driver"),
    ("cpu-taken", "what its advice changes is what else runs on the machine"),
    ("spinning-thread", "what its advice changes is the application"),
    ("child-process", "what its advice changes is the application"),
    (
        "slow-file",
        "the reported problem of the heartbeat has its cure applied; other files are the application's or the machine's",
    ),
    ("file-lock", "what its advice changes is the application"),
    ("full-pipe", "what its advice changes is who reads the pipe"),
    ("stood-still", "what its advice changes is who stops the process"),
    ("lock-not-released", "what its advice changes is the application"),
    ("nobody-serves", "its advice is where to look: why workers end or start slowly"),
    ("lasting-connections", "what its advice changes is where such connections are served"),
    ("server-errors", "its advice is where to look: what these requests raise is the application's"),
    ("ill-worker", "its advice is where to look: no setting makes one worker differ from the others"),
    (
        "workers-replaced",
        "it says what happened, and its advice is to compare before and after: there is nothing to set",
    ),
];

/// Findings that have neither a trial nor a reason why not.
pub fn forgotten() -> Vec<&'static str> {
    let is_named = |id: &str| {
        TRIALS.iter().any(|trial| trial.finding == id) || UNTRIED.iter().any(|(finding, _)| *finding == id)
    };
    // That nothing is wrong asks for nothing.
    RULES.iter().map(|rule| rule.id).filter(|id| *id != "healthy" && !is_named(id)).collect()
}

/// All advice on a finding, of servers of every kind.
pub fn advice_on(id: &str) -> Vec<Advice> {
    let mut all: Vec<Advice> =
        RULES.iter().filter(|rule| rule.id == id).map(|rule| (rule.advice)()).collect();
    for (class, version) in ["sync", "gthread", "threads", "pool"]
        .into_iter()
        .flat_map(|class| [(class, "23.0.0"), (class, "27.0.1")])
    {
        let (worker_class, version) = (class.to_owned(), Some(version.to_owned()));
        let server = Server { worker_class, version, ..Server::default() };
        all.extend(KINDS.iter().filter_map(|kind| kind.advice(id, &server, &Site::default())));
    }
    all
}

#[cfg(test)]
mod tests {
    use profiler_core::server::advice::Alternative;

    use super::*;

    #[test]
    fn names_of_trials_are_unique() {
        for (index, trial) in TRIALS.iter().enumerate() {
            assert!(TRIALS.iter().skip(index + 1).all(|other| other.name != trial.name), "{}", trial.name);
        }
    }

    #[test]
    fn every_finding_has_a_trial_or_a_reason_why_it_has_none() {
        assert!(forgotten().is_empty(), "{:?}", forgotten());
        let named = TRIALS.iter().map(|trial| trial.finding).chain(UNTRIED.iter().map(|(id, _)| *id));
        for id in named {
            assert!(RULES.iter().any(|rule| rule.id == id), "no rule is called {id}");
        }
        for (id, _) in UNTRIED {
            assert!(
                TRIALS.iter().all(|trial| trial.finding != *id),
                "{id} has a trial and a reason for none"
            );
        }
    }

    #[test]
    fn conditions_that_hold_are_those_of_the_advice() {
        for trial in TRIALS {
            let all = advice_on(trial.finding);
            for condition in trial.holds {
                let says = |one: &Alternative<'_>| one.when == *condition && !one.changes.is_empty();
                let known = all.iter().any(|advice| advice.alternatives().iter().any(says));
                assert!(known, "{}: {condition}", trial.name);
            }
        }
    }

    #[test]
    fn finding_without_a_trial_names_no_setting_that_always_helps() {
        for (id, _) in UNTRIED {
            for advice in advice_on(id) {
                let always = |one: &Alternative<'_>| one.when.is_empty() && !one.changes.is_empty();
                assert!(!advice.alternatives().iter().any(always), "{id}: {advice}");
            }
        }
    }
}
