//! How near forecasts for a kind of server came to real changes.
//!
//! In: a server's name and class of workers. Out: a sentence. The figures are those of `docs/whatif-judged.json`, of changes that ask for less than 70 % of
//! the capacity: `make whatif` checks that.

use profiler_core::model::Server;

/// What is said of a kind of server that `make whatif` has not changed often enough.
pub const UNCHECKED: &str = "not yet checked against real changes on this kind of server";

/// What `make whatif` found for a kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// As the server is named.
    pub name: &'static str,
    /// Its class of workers; `None`: any.
    pub worker_class: Option<&'static str>,
    /// Real changes.
    pub changes: usize,
    /// By how many per cent p99 was off: the median.
    pub p99_percent: u32,
    /// The same at worst.
    pub worst_p99_percent: u32,
}

/// Kinds with ten real changes or more.
pub const JUDGED: [Judged; 3] = [
    Judged {
        name: "gunicorn",
        worker_class: Some("sync"),
        changes: 14,
        p99_percent: 1,
        worst_p99_percent: 14,
    },
    Judged {
        name: "gunicorn",
        worker_class: Some("gthread"),
        changes: 11,
        p99_percent: 4,
        worst_p99_percent: 13,
    },
    Judged { name: "uwsgi", worker_class: None, changes: 16, p99_percent: 3, worst_p99_percent: 9 },
];

/// How near forecasts for this server came to real changes, as a clause.
#[must_use]
pub fn checked(server: &Server) -> String {
    let is_it = |judged: &&Judged| {
        judged.name == server.name && judged.worker_class.is_none_or(|class| class == server.worker_class)
    };
    JUDGED.iter().find(is_it).map_or_else(
        || UNCHECKED.to_owned(),
        |Judged { changes, p99_percent, worst_p99_percent, .. }| {
            format!(
                "in {changes} real changes on this kind of server p99 was {p99_percent} % off in the median, \
                 {worst_p99_percent} % at worst"
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_checked_is_said_of_its_own_kind_alone() {
        for (name, worker_class, begins) in [
            ("gunicorn", "sync", "in 14 real changes"),
            ("gunicorn", "gthread", "in 11 real changes"),
            ("gunicorn", "gevent", "not yet checked"),
            ("uwsgi", "threads", "in 16 real changes"),
            ("waitress", "threads", "not yet checked"),
        ] {
            let server =
                Server { name: name.to_owned(), worker_class: worker_class.to_owned(), ..Server::default() };
            assert!(checked(&server).starts_with(begins), "{name} {worker_class}: {}", checked(&server));
        }
    }
}
