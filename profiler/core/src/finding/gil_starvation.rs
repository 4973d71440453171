//! Finding `gil-starvation`: one endpoint or background thread makes the others wait for the interpreter
//! lock.
//!
//! In: who made whom wait. Out: a verdict that names the one; its cost is what requests waited because of it.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{percent, ratio, request_seconds};
use super::{Judge, Rule, gil};
use crate::model::gil::{Contender, Edge};
use crate::phase::Phase;
use crate::server::advice::act;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gil-starvation",
    title: "one endpoint or thread keeps the others from the GIL",
    question: "one endpoint or thread keeps the others from the GIL",
    page: include_str!("../../../../docs/findings/gil-starvation.md"),
    advice: || {
        act("move the work that is named to another process")
            .because("a task queue, or a server of its own")
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    if !gil::require(basis)? {
        return Ok(Verdict { sentence: gil::NO_LOCK.to_owned(), ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let seen = &basis.snapshot.gil;
    let all_rate = basis.rate(seen.waits.sum_ns());
    if !seen.holders_known && all_rate >= limits.cost_min_rate {
        return Err(Undecided {
            reason: "who held the lock is not read from this interpreter".to_owned(),
            next_step: "Look at the endpoints that use most CPU time: they hold the lock.",
            evidence: vec![explains("gil_wait_seconds", seen.waits.sum_ns() as f64 / 1e9)],
        });
    }
    // Requests that wait because of somebody else; who waits because of its own kind is not starved by it.
    let starved = |edge: &Edge| match &edge.waiter {
        Contender::Endpoint(_) if edge.waiter != edge.holder => edge.total_ns,
        _ => 0,
    };
    let starved_ns = seen.edges.iter().fold(0u64, |sum, edge| sum.saturating_add(starved(edge)));
    let worst = gil::costliest_holder(&seen.edges, starved);
    let cost_ns = worst.map_or(0, |(_, sum_ns)| sum_ns);
    let (share, rate) = (ratio(cost_ns, starved_ns), basis.rate(cost_ns));
    let evidence = vec![
        decides("gil_starver_ratio", share, limits.gil_starver_min_ratio),
        decides("gil_starved_seconds_per_second", rate, limits.cost_min_rate),
        explains("gil_starved_seconds", cost_ns as f64 / 1e9),
    ];
    let Some((contender, _)) =
        worst.filter(|_| share >= limits.gil_starver_min_ratio && rate >= limits.cost_min_rate)
    else {
        let sentence = "No single endpoint or thread keeps the others from the GIL".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    };
    let victim = seen.edges.iter().filter(|edge| edge.holder == *contender).max_by_key(|edge| starved(edge));
    let mut sentence = format!(
        "{} keeps the others from the GIL: {} of what they waited for it ({})",
        gil::subject(contender),
        percent(share),
        request_seconds(cost_ns),
    );
    if let Some(victim) = victim.filter(|edge| starved(edge) > 0) {
        sentence.push_str(&format!(
            ", {} of it in {}",
            percent(ratio(starved(victim), cost_ns)),
            gil::subject(&victim.waiter)
        ));
    }
    gil::add_block(&mut sentence, seen);
    let exemplars = basis.exemplars(&[Phase::GilWait]);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::gil::{Contender, Edge};
    use crate::phase::Phase;

    fn scene(edges: &[(&str, &str, u64)]) -> Scene {
        let mut scene =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 5 * SECOND);
        scene.0.gil.holders_known = true;
        let contender = |name: &str| match name.strip_prefix("thread ") {
            Some(comm) => Contender::Thread { tgid: 1, tid: 77, comm: comm.to_owned() },
            None => Contender::Endpoint(name.to_owned()),
        };
        for (waiter, holder, wait_ns) in edges {
            scene.0.gil.waits.record(*wait_ns);
            scene.0.gil.edges.push(Edge {
                waiter: contender(waiter),
                holder: contender(holder),
                total_ns: *wait_ns,
                waits: 10,
                not_honoured_ns: 0,
            });
        }
        scene
    }

    #[test]
    fn the_endpoint_that_most_others_wait_for_is_named_with_its_worst_victim() {
        let finding = scene(&[
            ("GET /", "GET /report", 3 * SECOND),
            ("GET /a", "GET /report", SECOND),
            ("GET /report", "GET /report", 9 * SECOND),
            ("GET /report", "GET /", SECOND),
        ])
        .judge("gil-starvation");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 4 * SECOND);
        assert_eq!(
            finding.sentence,
            "GET /report keeps the others from the GIL: 80 % of what they waited for it (4 request-seconds), 75 % of it in GET /."
        );
        assert!(finding.advice.contains("--workers"), "{}", finding.advice);
    }

    #[test]
    fn a_background_thread_is_named_as_what_it_is() {
        let finding = scene(&[("GET /", "thread metrics", 3 * SECOND)]).judge("gil-starvation");
        finding.assert_present();
        assert!(
            finding.sentence.starts_with("A thread that serves no request (metrics, thread 77) keeps"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn equals_that_take_turns_and_small_times_are_absent() {
        scene(&[("GET /", "GET /a", SECOND), ("GET /a", "GET /b", SECOND), ("GET /b", "GET /", SECOND)])
            .judge("gil-starvation")
            .assert_absent();
        scene(&[("GET /", "GET /", 9 * SECOND)]).judge("gil-starvation").assert_absent();
        scene(&[("GET /", "GET /a", 500 * MILLISECOND)]).judge("gil-starvation").assert_absent();
    }

    #[test]
    fn without_holders_it_is_undecided_where_there_is_something_to_blame() {
        let mut scene = scene(&[("GET /", "GET /a", 5 * SECOND)]);
        scene.0.gil.holders_known = false;
        scene.judge("gil-starvation").assert_undecided("who held the lock");
    }
}
