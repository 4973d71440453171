//! Finding `worker-timeouts`: the server killed workers that took too long, and the requests with them.
//!
//! In: ends of workers, connections that ended with them. Out: a verdict that names the request that was
//! running.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::words::{count, duration, name};
use super::{Judge, Rule};
use crate::model::dropped::{Asked, Cause};
use crate::server::advice::{Advice, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "worker-timeouts",
    title: "the server killed workers that took too long",
    question: "workers are killed for taking too long",
    page: include_str!("../../../../docs/findings/worker-timeouts.md"),
    advice: || {
        Advice::first(act("make that request faster").or(act("give it a limit of its own at the back end")))
            .then(act("raise the server's timeout only if such long requests are intended"))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let dropped = &basis.snapshot.dropped;
    let ends = || dropped.worker_ends.iter().filter(|end| end.cause == Cause::WorkerTimeout);
    let lost = dropped.of(Cause::WorkerTimeout);
    let of_workers = ends().fold(0_u64, |sum, end| sum.saturating_add(end.connections));
    let connections = lost.map_or(0, |counted| counted.count).max(of_workers);
    // The worker may end after the window, its connections before.
    let killed = (ends().count() as u64).max(u64::from(connections > 0));
    let examples = || lost.into_iter().flat_map(|counted| &counted.examples);
    let of_examples =
        examples().filter_map(|example| Some((example.asked.as_ref()?, example.waited_ns.unwrap_or(0))));
    let of_ends = ends().filter_map(|end| Some((end.asked.as_ref()?, end.ran_ns)));
    let longest = of_ends.chain(of_examples).max_by_key(|(_, ran_ns)| *ran_ns);
    let needed = basis.thresholds.workers_killed_min_count;
    let evidence = vec![
        decides("workers_killed_count", killed as f64, needed),
        explains("connections_lost_count", connections as f64),
        explains("longest_request_seconds", longest.map_or(0, |(_, ran_ns)| ran_ns) as f64 / 1e9),
    ];
    if (killed as f64) < needed {
        let sentence = "The server killed no worker for taking too long".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let workers = if killed == 1 { "a worker".to_owned() } else { format!("{} workers", count(killed)) };
    let lost = match connections {
        1 => "1 connection".to_owned(),
        number => format!("{} connections", count(number)),
    };
    let request = longest.map_or_else(String::new, |(asked, ran_ns)| {
        format!("; the longest request was {} after {}", request(asked), duration(ran_ns))
    });
    let sentence = format!("The server killed {workers} that took too long, and {lost} with it{request}");
    let exemplars = examples().filter_map(|example| example.asked.as_ref()?.request).collect();
    let cost_ns = dropped.of(Cause::WorkerTimeout).map_or(0, |counted| counted.waited_ns);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

fn request(asked: &Asked) -> String {
    match asked.method.as_str() {
        "" => "one whose head was not read".to_owned(),
        method => format!("{} {}", name(method, 12), name(&asked.path, 50)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use crate::model::dropped::{Asked, Cause, WorkerEnd};

    #[test]
    fn killed_worker_is_named_with_the_request_that_ran() {
        let mut scene = Scene::gunicorn("sync", 2, 60 * SECOND);
        let asked = Asked { method: "GET".to_owned(), path: "/report".to_owned(), ..Asked::default() };
        scene.0.dropped.worker_ends.push(WorkerEnd {
            time_ns: SECOND,
            tgid: 7,
            cause: Cause::WorkerTimeout,
            evidence: String::new(),
            connections: 1,
            asked: Some(asked),
            ran_ns: 30 * SECOND,
        });
        let finding = scene.judge("worker-timeouts");
        finding.assert_present();
        assert!(finding.sentence.contains("GET /report after 30"), "{}", finding.sentence);
    }

    #[test]
    fn worker_that_was_told_to_stop_is_no_timeout() {
        let mut scene = Scene::gunicorn("sync", 2, 60 * SECOND);
        scene.0.dropped.worker_ends.push(WorkerEnd {
            time_ns: SECOND,
            tgid: 7,
            cause: Cause::WorkerKilled,
            evidence: String::new(),
            connections: 1,
            asked: None,
            ran_ns: 0,
        });
        scene.judge("worker-timeouts").assert_absent();
    }
}
