//! Finding `clients-leave`: clients gave up before they were served.
//!
//! In: connections whose clients left, by when they left. Out: a verdict whose cost is how long they had
//! waited.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, percent, ratio};
use super::{Judge, Rule};
use crate::model::dropped::Cause;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "clients-leave",
    title: "clients left before they were served",
    question: "clients give up before they are served",
    page: include_str!("../../../../docs/findings/clients-leave.md"),
    advice: || {
        Advice::first(act("first do what the other findings say about what requests wait for"))
            .then(say("until then a limit in a proxy before the server tells clients sooner"))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let dropped = &basis.snapshot.dropped;
    let [in_queue, waiting, reading] = Cause::LEFT.map(|cause| dropped.count(cause));
    let left = in_queue.saturating_add(waiting).saturating_add(reading);
    let waited_ns = Cause::LEFT
        .iter()
        .filter_map(|cause| dropped.of(*cause))
        .fold(0_u64, |sum, counted| sum.saturating_add(counted.waited_ns));
    let limits = basis.thresholds;
    // A connection that is kept asks many times: what was left is told as a share of all that was asked.
    let requests = &basis.snapshot.requests;
    let asked = dropped.ended().max(requests.completed.saturating_add(left));
    let share = ratio(left, asked);
    let mean_ns = waited_ns.checked_div(left).unwrap_or(0);
    // Who goes sooner than answers come, and after whom nobody comes, may not have given up for the wait: its
    // load has ended.
    let usual_ns = requests.total.quantile_ns(0.5);
    let gave_up = mean_ns >= usual_ns || dropped.came_after_left;
    let mut evidence = vec![
        decides("clients_left_count", left as f64, limits.clients_left_min_count),
        decides("clients_left_ratio", share, limits.clients_left_min_ratio),
        explains("left_in_queue_count", in_queue as f64),
        explains("left_waiting_count", waiting as f64),
        explains("left_reading_count", reading as f64),
        explains("waited_seconds", waited_ns as f64 / 1e9),
    ];
    if left == 0 {
        let sentence = "No client is known to have left before it was served".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    evidence.push(explains("answers_median_seconds", usual_ns as f64 / 1e9));
    let many = left as f64 >= limits.clients_left_min_count && share >= limits.clients_left_min_ratio;
    if many && !gave_up {
        return Err(Undecided {
            reason: format!(
                "clients left {} times before they were served, but sooner ({} on average) than half of the answers take; nobody came \
                 after them, so their load may just have ended",
                count(left),
                duration(mean_ns)
            ),
            next_step: "Watch again in the middle of the load.",
            evidence,
        });
    }
    let sentence = format!(
        "Clients left {} times before they were served ({} of what they asked), after {} on average: {} in the accept queue, {} \
         waiting for the response, {} in the middle of it",
        count(left),
        percent(share),
        duration(mean_ns),
        count(in_queue),
        count(waiting),
        count(reading)
    );
    let of_examples =
        Cause::LEFT.iter().filter_map(|cause| dropped.of(*cause)).flat_map(|counted| &counted.examples);
    let exemplars = of_examples.filter_map(|example| example.asked.as_ref()?.request).collect();
    Ok(Verdict { present: many, sentence, cost_ns: waited_ns, evidence, exemplars, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use crate::model::dropped::{Cause, Counted};

    fn scene(left: u64, served: u64) -> Scene {
        let mut scene = Scene::gunicorn("sync", 2, 60 * SECOND);
        let counted = Counted {
            cause: Cause::ClientLeftWaiting,
            count: left,
            waited_ns: left * 10 * SECOND,
            examples: Vec::new(),
        };
        scene.0.dropped.causes.push(counted);
        scene.0.dropped.served = served;
        scene
    }

    #[test]
    fn clients_that_leave_are_counted_with_how_long_they_had_waited() {
        let finding = scene(10, 90).judge("clients-leave");
        finding.assert_present();
        assert!(
            finding
                .sentence
                .contains("left 10 times before they were served (10 % of what they asked), after 10"),
            "{}",
            finding.sentence
        );
        assert_eq!(finding.cost_ns, 100 * SECOND);
    }

    /// A load that ends: each of its connections had been answered thousands of times.
    #[test]
    fn end_of_a_load_is_nobody_who_gave_up() {
        let mut scene = scene(8, 1);
        scene.0.requests.completed = 18_813;
        scene.clone().judge("clients-leave").assert_absent();
        // Few answers, and all clients gone at once, sooner than an answer comes.
        let mut scene = Scene::gunicorn("sync", 2, 60 * SECOND);
        let waited_ns = 8 * SECOND / 10;
        scene.0.dropped.causes.push(Counted {
            cause: Cause::ClientLeftWaiting,
            count: 8,
            waited_ns,
            examples: Vec::new(),
        });
        (0..50).for_each(|_| scene.0.requests.total.record(SECOND / 2));
        scene.0.requests.completed = 50;
        let finding = scene.clone().judge("clients-leave");
        finding.assert_undecided("may just have ended");
        // The same, and others come after them: patience that is shorter than answers take.
        scene.0.dropped.came_after_left = true;
        scene.judge("clients-leave").assert_present();
    }

    #[test]
    fn a_few_of_many_always_leave() {
        scene(2, 90).judge("clients-leave").assert_absent();
        scene(10, 9_990).judge("clients-leave").assert_absent();
        scene(0, 10).judge("clients-leave").assert_absent();
    }
}
