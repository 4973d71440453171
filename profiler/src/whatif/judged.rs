//! How near forecasts like this one came to real runs.
//!
//! In: a server, what is changed, how much of its capacity is used then. Out: a sentence. The figures are
//! those of `lab/results/whatif-judged.json`; a test holds both together.

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
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Published {
        subject: String,
        recorded: (u32, u32),
        slots: (u32, u32),
        runs: Vec<PublishedRun>,
    }

    #[derive(Deserialize)]
    struct PublishedRun {
        forecast: Option<PublishedFigures>,
        used: Option<f64>,
        why_not: Vec<String>,
        real: PublishedFigures,
    }

    #[derive(Deserialize)]
    struct PublishedFigures {
        p99_ms: f64,
    }

    impl PublishedRun {
        /// By how much p99 was off, where the program gives a forecast of as much use as it speaks of.
        fn p99_error(&self) -> Option<f64> {
            let is_given = self.why_not.is_empty() && self.used? < KNEE;
            let forecast = self.forecast.as_ref().filter(|_| is_given)?;
            Some((forecast.p99_ms / self.real.p99_ms - 1.0).abs())
        }
    }

    /// Server and class of workers, as the program names them.
    fn kind(subject: &str) -> (&str, Option<&str>) {
        match subject {
            "sync" | "gthread" => ("gunicorn", Some(subject)),
            "mod_wsgi" => (subject, Some("daemon")),
            _ => (subject.split('-').next().unwrap_or_default(), None),
        }
    }

    #[test]
    fn what_the_program_says_of_its_forecasts_is_what_the_real_changes_showed() {
        let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../lab/results/whatif-judged.json");
        let cells: Vec<Published> =
            serde_json::from_str(&std::fs::read_to_string(published).unwrap()).unwrap();
        let mut errors: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for cell in cells.iter().filter(|cell| cell.slots != cell.recorded) {
            let of_kind = errors.entry(kind(&cell.subject)).or_default();
            of_kind.extend(cell.runs.iter().filter_map(PublishedRun::p99_error));
        }
        errors.retain(|_, of_kind| of_kind.len() >= 10);
        let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
        let found: BTreeMap<_, _> = errors
            .iter_mut()
            .map(|(kind, of_kind)| {
                of_kind.sort_by(f64::total_cmp);
                let (middle, worst) = (of_kind[of_kind.len() / 2], of_kind[of_kind.len() - 1]);
                (*kind, (of_kind.len(), percent(middle), percent(worst)))
            })
            .collect();
        let said: BTreeMap<_, _> = JUDGED
            .iter()
            .map(|Judged { name, worker_class, runs, p99_percent, worst_p99_percent }| {
                ((*name, *worker_class), (*runs, p99_percent.to_string(), worst_p99_percent.to_string()))
            })
            .collect();
        assert_eq!(said, found);
    }

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
