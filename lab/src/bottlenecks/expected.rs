//! What each cell of the lab is to answer.
//!
//! In: nothing. Out: [`EXPECTED`], a line for each server and workload. A line that no longer holds is
//! changed with the reason in its commit.

/// What stands in place of a finding where nothing is wrong.
pub const HEALTHY: &str = "healthy";
/// What stands in place of a finding where it cannot be said whether anything is wrong.
pub const UNDECIDED: &str = "undecided";

/// What one cell is to answer.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The workload.
    pub workload: &'static str,
    /// The server.
    pub server: &'static str,
    /// This finding must be present; `healthy` or `undecided`: none may be.
    pub must: &'static str,
    /// Or this one: which of them is a matter of how fast this machine's server is beside its clients.
    pub or: Option<&'static str>,
    /// These may cost more than it does, and come first.
    pub first: &'static [&'static str],
}

const fn cell(
    workload: &'static str,
    server: &'static str,
    must: &'static str,
    first: &'static [&'static str],
) -> Expected {
    Expected { workload, server, must, or: None, first }
}

/// A cell where another finding is accepted too.
const fn either(
    workload: &'static str,
    server: &'static str,
    [must, or]: [&'static str; 2],
    first: &'static [&'static str],
) -> Expected {
    Expected { workload, server, must, or: Some(or), first }
}

impl Expected {
    /// Whether no finding may be present.
    pub fn is_none(&self) -> bool {
        [HEALTHY, UNDECIDED].contains(&self.must)
    }
}

/// All of them, by workload.
pub const EXPECTED: &[Expected] = &[
    cell("multithreading", "gunicorn-sync", "gil-contention", &[]),
    cell("multithreading", "gunicorn-gthread", "gil-contention", &[]),
    cell("multithreading", "gunicorn-gevent", "loop-blocked", &[]),
    cell("multithreading", "uwsgi-processes", "gil-contention", &[]),
    cell("multithreading", "uwsgi-threads", "gil-contention", &[]),
    cell("multithreading", "mod_wsgi", "gil-contention", &[]),
    cell("multithreading", "waitress", "gil-contention", &[]),
    cell("multithreading", "cheroot", "gil-contention", &[]),
    cell("multithreading", "twisted", "gil-contention", &["cpu-bound"]),
    cell("multithreading", "uvicorn-a2wsgi", "gil-contention", &["cpu-bound"]),
    cell("multithreading", "uvicorn-asgi", "gil-contention", &["cpu-bound"]),
    cell("cpu", "gunicorn-sync", "cpu-bound", &["cpu-taken"]),
    cell("cpu", "gunicorn-gthread", "gil-contention", &["cpu-bound"]),
    cell("cpu", "gunicorn-gevent", "loop-blocked", &["cpu-bound"]),
    cell("cpu", "uwsgi-processes", "cpu-bound", &[]),
    cell("cpu", "uwsgi-threads", "gil-contention", &["cpu-bound"]),
    cell("cpu", "mod_wsgi", "gil-contention", &["cpu-bound"]),
    cell("cpu", "waitress", "gil-contention", &["loop-blocked", "cpu-bound"]),
    cell("cpu", "cheroot", "gil-contention", &["cpu-bound"]),
    cell("cpu", "twisted", "loop-blocked", &["gil-contention"]),
    cell("cpu", "uvicorn-a2wsgi", "gil-contention", &["cpu-bound", "loop-blocked"]),
    cell("cpu", "uvicorn-asgi", "loop-blocked", &["cpu-bound"]),
    cell("long", "gunicorn-sync", "sleeping", &[]),
    cell("long", "gunicorn-gthread", "sleeping", &[]),
    cell("long", "gunicorn-gevent", "healthy", &[]),
    cell("long", "uwsgi-processes", "sleeping", &[]),
    cell("long", "uwsgi-threads", "sleeping", &[]),
    cell("long", "mod_wsgi", "sleeping", &[]),
    cell("long", "waitress", "sleeping", &[]),
    cell("long", "cheroot", "sleeping", &[]),
    // Eight requests, and a pool of up to twenty threads.
    cell("long", "twisted", "healthy", &[]),
    cell("long", "uvicorn-a2wsgi", "sleeping", &[]),
    // Where sleeps end while the loop serves others, no timeout of a wait tells of them
    // (lab/results/bottlenecks.md).
    cell("long", "uvicorn-asgi", "undecided", &[]),
    cell("short-long", "gunicorn-sync", "sleeping", &[]),
    cell("short-long", "gunicorn-gthread", "sleeping", &[]),
    cell("short-long", "gunicorn-gevent", "healthy", &[]),
    cell("short-long", "uwsgi-processes", "sleeping", &[]),
    cell("short-long", "uwsgi-threads", "sleeping", &[]),
    cell("short-long", "mod_wsgi", "sleeping", &[]),
    cell("short-long", "waitress", "sleeping", &[]),
    cell("short-long", "cheroot", "sleeping", &[]),
    cell("short-long", "twisted", "healthy", &[]),
    cell("short-long", "uvicorn-a2wsgi", "sleeping", &[]),
    cell("short-long", "uvicorn-asgi", "undecided", &[]),
    // Clients use the same cores: they are as slow as these are short.
    either("uploads", "gunicorn-sync", ["cpu-bound", "slow-clients"], &[]),
    cell("uploads", "gunicorn-gthread", "gil-contention", &["cpu-bound"]),
    cell("uploads", "gunicorn-gevent", "loop-blocked", &["cpu-bound"]),
    either("uploads", "uwsgi-processes", ["slow-clients", "cpu-bound"], &[]),
    either("uploads", "uwsgi-threads", ["cpu-bound", "slow-clients"], &[]),
    cell("uploads", "mod_wsgi", "cpu-bound", &["slow-clients"]),
    cell("uploads", "waitress", "loop-blocked", &["cpu-bound"]),
    cell("uploads", "cheroot", "cpu-bound", &["gil-contention"]),
    cell("uploads", "twisted", "loop-blocked", &["cpu-bound"]),
    cell("uploads", "uvicorn-a2wsgi", "loop-blocked", &["cpu-bound"]),
    cell("uploads", "uvicorn-asgi", "loop-blocked", &["cpu-bound"]),
    either("downloads", "gunicorn-sync", ["slow-clients", "cpu-bound"], &["idle-connections"]),
    cell("downloads", "gunicorn-gthread", "slow-clients", &["idle-connections"]),
    cell("downloads", "gunicorn-gevent", "loop-blocked", &[]),
    cell("downloads", "uwsgi-processes", "slow-clients", &[]),
    cell("downloads", "uwsgi-threads", "slow-clients", &[]),
    cell("downloads", "mod_wsgi", "slow-clients", &["cpu-bound"]),
    cell("downloads", "waitress", "cpu-bound", &["gil-contention", "slow-clients"]),
    // Where its threads wait longer for the GIL than they run, that is what service time consists of.
    either("downloads", "cheroot", ["cpu-bound", "gil-contention"], &["slow-clients"]),
    cell("downloads", "twisted", "loop-blocked", &[]),
    cell("downloads", "uvicorn-a2wsgi", "loop-blocked", &[]),
    cell("downloads", "uvicorn-asgi", "loop-blocked", &[]),
    cell("back-end", "gunicorn-sync", "back-end", &[]),
    cell("back-end", "gunicorn-gthread", "back-end", &[]),
    cell("back-end", "gunicorn-gevent", "back-end", &[]),
    cell("back-end", "uwsgi-processes", "back-end", &[]),
    cell("back-end", "uwsgi-threads", "back-end", &[]),
    cell("back-end", "mod_wsgi", "back-end", &["keep-alive-race"]),
    cell("back-end", "waitress", "back-end", &[]),
    cell("back-end", "cheroot", "back-end", &[]),
    cell("back-end", "twisted", "back-end", &["gil-contention"]),
    cell("back-end", "uvicorn-a2wsgi", "back-end", &[]),
    cell("back-end", "uvicorn-asgi", "back-end", &[]),
    cell("slow-clients", "gunicorn-sync", "slow-clients", &["sleeping"]),
    cell("slow-clients", "gunicorn-gthread", "slow-clients", &["sleeping", "idle-connections"]),
    cell("slow-clients", "gunicorn-gevent", "healthy", &[]),
    cell("slow-clients", "uwsgi-processes", "slow-clients", &["sleeping"]),
    cell("slow-clients", "uwsgi-threads", "slow-clients", &["sleeping"]),
    cell("slow-clients", "mod_wsgi", "slow-clients", &[]),
    cell("slow-clients", "waitress", "healthy", &[]),
    cell("slow-clients", "cheroot", "slow-clients", &["sleeping"]),
    cell("slow-clients", "twisted", "healthy", &[]),
    cell("slow-clients", "uvicorn-a2wsgi", "slow-clients", &[]),
    cell("slow-clients", "uvicorn-asgi", "healthy", &[]),
    cell("users", "gunicorn-sync", "back-end", &["herd"]),
    cell("users", "gunicorn-gthread", "back-end", &[]),
    cell("users", "gunicorn-gevent", "back-end", &[]),
    cell("users", "uwsgi-processes", "back-end", &["herd"]),
    cell("users", "uwsgi-threads", "back-end", &[]),
    cell("users", "mod_wsgi", "back-end", &["backlog-too-small"]),
    cell("users", "waitress", "back-end", &[]),
    cell("users", "cheroot", "back-end", &[]),
    cell("users", "twisted", "back-end", &[]),
    cell("users", "uvicorn-a2wsgi", "back-end", &[]),
    cell("users", "uvicorn-asgi", "back-end", &[]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use profiler_core::finding::RULES;

    use super::super::server::SUBJECTS;
    use super::super::workload::WORKLOADS;
    use super::*;

    #[test]
    fn every_cell_has_one_line_and_every_finding_of_it_exists() {
        let lines: BTreeSet<_> = EXPECTED.iter().map(|one| (one.workload, one.server)).collect();
        let cells = WORKLOADS.iter().flat_map(|work| SUBJECTS.iter().map(|one| (work.name, one.name)));
        assert_eq!(lines, cells.collect());
        assert_eq!(lines.len(), EXPECTED.len());
        let known = |id: &str| id == UNDECIDED || RULES.iter().any(|rule| rule.id == id);
        for one in EXPECTED {
            assert!(known(one.must) && one.first.iter().all(|id| known(id)), "{one:?}");
        }
    }
}
