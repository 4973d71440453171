//! How near forecasts like this one came to real runs.
//!
//! In: a server, what is changed, how much of its capacity is used then. Out: a sentence. The figures are
//! those of `docs/whatif-judged.json`; a test of `tests/whatif/published.rs` holds both together.

use profiler_core::model::Server;
use profiler_forecast::change::Change;

/// What is said of forecasts that `make whatif` has not held against real runs often enough.
pub const UNCHECKED: &str = "not yet checked against real changes of this kind";
/// Below this use of capacity a forecast is to be near the real run, and the figures hold; above it, its
/// range is to hold the real run.
pub const KNEE: f64 = 0.7;

/// What `make whatif` found for a kind of server, where it changed the number of workers or threads alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// As the server is named.
    pub name: &'static str,
    /// Its class of workers; `None`: any.
    pub worker_class: Option<&'static str>,
    /// Real runs of settings for which there was a forecast.
    pub runs: usize,
    /// By how many percent p99 was off: the median.
    pub p99_percent: u32,
    /// The same at worst.
    pub worst_p99_percent: u32,
}

/// Kinds with ten real runs or more.
pub const JUDGED: [Judged; 4] = [
    Judged { name: "gunicorn", worker_class: Some("sync"), runs: 24, p99_percent: 2, worst_p99_percent: 14 },
    Judged {
        name: "gunicorn",
        worker_class: Some("gthread"),
        runs: 45,
        p99_percent: 5,
        worst_p99_percent: 34,
    },
    Judged { name: "uwsgi", worker_class: None, runs: 26, p99_percent: 2, worst_p99_percent: 7 },
    Judged {
        name: "mod_wsgi",
        worker_class: Some("daemon"),
        runs: 31,
        p99_percent: 3,
        worst_p99_percent: 14,
    },
];

/// How near forecasts like this one came to real runs, as a clause.
pub fn checked(server: &Server, changes: &[Change], used_ratio: f64) -> String {
    let is_it = |judged: &&Judged| {
        judged.name == server.name && judged.worker_class.is_none_or(|class| class == server.worker_class)
    };
    let is_like_it = !changes.is_empty()
        && changes.iter().all(|change| matches!(change, Change::Processes(_) | Change::Threads(_)));
    JUDGED.iter().find(is_it).filter(|_| is_like_it && used_ratio < KNEE).map_or_else(
        || UNCHECKED.to_owned(),
        |Judged { runs, p99_percent, worst_p99_percent, .. }| {
            format!(
                "in {runs} real runs like this p99 was {p99_percent} % off in the median, {worst_p99_percent} % at worst"
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_checked_is_said_of_its_own_kind_alone() {
        let more = [Change::Processes(4), Change::Threads(2)];
        let twice = [Change::Processes(4), Change::Rate(2.0)];
        for (name, worker_class, changes, used_ratio, is_checked) in [
            ("gunicorn", "sync", &more, 0.5, true),
            ("gunicorn", "sync", &more, 0.7, false),
            ("gunicorn", "sync", &twice, 0.5, false),
            ("gunicorn", "gevent", &more, 0.5, false),
            ("uwsgi", "threads", &more, 0.5, true),
            ("mod_wsgi", "daemon", &more, 0.5, true),
            ("mod_wsgi", "embedded", &more, 0.5, false),
            ("cheroot", "threads", &more, 0.5, false),
        ] {
            let server =
                Server { name: name.to_owned(), worker_class: worker_class.to_owned(), ..Server::default() };
            let said = checked(&server, changes, used_ratio);
            assert_eq!(
                said != UNCHECKED,
                is_checked,
                "{name} {worker_class} {changes:?} {used_ratio}: {said}"
            );
        }
    }
}
