//! Finding `workers-replaced`: within the window all workers ended and others took their place, as a deploy
//! does. Figures of the window mix both.
//!
//! In: lives of workers, each with what its requests took. Out: a verdict that says when, and what requests
//! took before and after. It costs nothing by itself.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, ratio};
use super::{Evidence, Judge, Rule, add_where_room, has_room};
use crate::model::dropped::Cause;
use crate::model::lengths::Lengths;
use crate::model::life::Life;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "workers-replaced",
    title: "all workers were replaced within the window, as by a deploy",
    question: "all workers were replaced at once",
    page: include_str!("../../../../docs/findings/workers-replaced.md"),
    advice: || {
        Advice::first(
            act("compare a report from before with one from after (wsgi-trace diff)")
                .because("the figures of this window mix both"),
        )
        .then(say("where requests take longer or fail since then, undo the deploy first"))
    },
    judge: Judge::Measured(judge),
};

/// Why workers end that nobody told to stop.
const BY_FORCE: [Cause; 3] = [Cause::WorkerTimeout, Cause::WorkerOutOfMemory, Cause::WorkerCrashed];

/// Requests of all workers that were there as the window began, or of all that came.
#[derive(Default)]
struct Side {
    workers: u64,
    requests: u64,
    errors: u64,
    total: Lengths,
}

impl Side {
    fn of(lives: &[&Life]) -> Self {
        let mut side = Self::default();
        for life in lives {
            side.workers = side.workers.saturating_add(1);
            side.requests = side.requests.saturating_add(life.requests);
            side.errors = side.errors.saturating_add(life.errors);
            side.total.merge(&life.total);
        }
        side
    }

    fn sentence(&self) -> String {
        format!(
            "{} requests, median {}, p99 {}, {} errors",
            count(self.requests),
            duration(self.total.quantile_ns(0.5)),
            duration(self.total.quantile_ns(0.99)),
            count(self.errors)
        )
    }

    fn evidence(&self, [requests, errors, median, p99]: [&'static str; 4]) -> [Evidence; 4] {
        let seconds = |quantile: f64| self.total.quantile_ns(quantile) as f64 / 1e9;
        [
            explains(requests, self.requests as f64),
            explains(errors, self.errors as f64),
            explains(median, seconds(0.5)),
            explains(p99, seconds(0.99)),
        ]
    }
}

/// The first and the last of some moments.
fn extent(moments_ns: &[u64]) -> (u64, u64) {
    let (first, last) = (moments_ns.iter().min(), moments_ns.iter().max());
    (first.copied().unwrap_or(0), last.copied().unwrap_or(0))
}

fn ended_by_force(basis: &Basis<'_>, tgid: u32) -> bool {
    let mut ends = basis.snapshot.dropped.worker_ends.iter();
    ends.any(|end| end.tgid == tgid && BY_FORCE.contains(&end.cause))
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let limits = basis.thresholds;
    let lives = &basis.snapshot.capacity.lives;
    let (before, born): (Vec<&Life>, Vec<&Life>) = lives.iter().partition(|life| life.born_ns.is_none());
    let after: Vec<&Life> = born.into_iter().filter(|life| life.requests > 0).collect();
    let ends_ns: Vec<u64> = before.iter().filter_map(|life| life.ended_ns).collect();
    let births_ns: Vec<u64> = after.iter().filter_map(|life| life.born_ns).collect();
    let (first_ns, last_ns) = extent(&births_ns);
    let births_for_ns = last_ns.saturating_sub(first_ns);
    let replaced = if after.is_empty() { 0 } else { ends_ns.len() };
    let forced = before.iter().filter(|life| ended_by_force(basis, life.tgid)).count();
    let forced_share = ratio(forced as u64, before.len() as u64);
    // A reload ends none of the workers that it has just begun.
    let ended_again = after.iter().filter(|life| life.ended_ns.is_some()).count();
    let all = (before.len() as f64).max(limits.workers_replaced_min_count);
    let evidence = vec![
        decides("workers_replaced_count", replaced as f64, all),
        explains("workers_before_count", before.len() as f64),
        explains("births_seconds", births_for_ns as f64 / 1e9),
        explains("births_max_seconds", limits.replaced_max_seconds),
        explains("ended_by_force_ratio", forced_share),
        explains("ended_by_force_max_ratio", limits.forced_max_ratio),
        explains("ended_again_count", ended_again as f64),
    ];
    if ends_ns.len() < before.len() || before.is_empty() || after.is_empty() {
        let sentence = match (before.len(), ends_ns.len()) {
            (0, _) => "No worker was there from the beginning of the window".to_owned(),
            (_, 0) => "No worker was replaced within the window".to_owned(),
            (all, ended) if ended < all => {
                format!("{ended} of {all} workers ended within the window, not all")
            }
            _ => "All workers ended, and no other served in their place".to_owned(),
        };
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    if forced_share >= limits.forced_max_ratio {
        return Err(Undecided {
            reason: format!(
                "{} of {} ended by force (a timeout, a crash, or want of memory), and others take the place of such workers without \
                 any deploy",
                count(forced as u64),
                count(before.len() as u64),
            ),
            next_step: "See why these workers ended, and the log of the server for a reload.",
            evidence,
        });
    }
    if ended_again > 0 || births_for_ns as f64 / 1e9 > limits.replaced_max_seconds {
        return Err(Undecided {
            reason: format!(
                "they were replaced one after the other ({} began within {}), by a deploy or after a number of requests each \
                 (max_requests)",
                count(after.len() as u64),
                duration(births_for_ns),
            ),
            next_step: "See the log of the server for a reload.",
            evidence,
        });
    }
    let moments = extent(&[births_ns, ends_ns].concat());
    Ok(present(basis, (&Side::of(&before), &Side::of(&after)), moments, evidence))
}

fn present(
    basis: &Basis<'_>,
    (old, new): (&Side, &Side),
    (began_ns, over_ns): (u64, u64),
    mut evidence: Vec<Evidence>,
) -> Verdict {
    let since_ns = |time_ns: u64| time_ns.saturating_sub(basis.snapshot.window.start_ns);
    let who = match old.workers {
        1 => "The only worker was".to_owned(),
        workers => format!("All {} workers were", count(workers)),
    };
    let said = |clock: &str| {
        format!(
            "{who} replaced between {} and {} of the window{clock}",
            duration(since_ns(began_ns)),
            duration(since_ns(over_ns))
        )
    };
    let compared = if (old.requests.min(new.requests) as f64) < basis.thresholds.compared_min_count {
        "; too few requests on one side to compare them".to_owned()
    } else {
        format!("; before: {}; after: {}", old.sentence(), new.sentence())
    };
    let clock = basis.clock("from ", began_ns);
    let mut sentence = said(if has_room(&said(clock.as_str()), &compared) { clock.as_str() } else { "" });
    add_where_room(&mut sentence, &compared);
    evidence.push(explains("since_seconds", since_ns(began_ns) as f64 / 1e9));
    evidence.push(explains("until_seconds", since_ns(over_ns) as f64 / 1e9));
    evidence.extend(old.evidence([
        "requests_before_count",
        "errors_before_count",
        "median_before_seconds",
        "p99_before_seconds",
    ]));
    evidence.push(explains("workers_after_count", new.workers as f64));
    evidence.extend(new.evidence([
        "requests_after_count",
        "errors_after_count",
        "median_after_seconds",
        "p99_after_seconds",
    ]));
    Verdict { present: true, sentence, evidence, ..Verdict::default() }
}

#[cfg(test)]
mod tests {
    use crate::finding::Finding;
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::dropped::{Cause, WorkerEnd};
    use crate::model::life::Life;

    /// A worker from second to second of the window, with so many requests of so many milliseconds, every
    /// tenth an error from 100 ms on.
    fn life(tgid: u32, born: Option<u64>, ended: Option<u64>, requests: u64, each_ms: u64) -> Life {
        let mut life = Life { tgid, requests, ..Life::default() };
        // The window begins at the first second.
        life.born_ns = born.map(|second| (1 + second) * SECOND);
        life.ended_ns = ended.map(|second| (1 + second) * SECOND);
        life.errors = if each_ms >= 100 { requests / 10 } else { 0 };
        (0..requests).for_each(|_| life.total.record(each_ms * MILLISECOND));
        life
    }

    fn judge(lives: &[Life]) -> Finding {
        let mut scene = Scene::gunicorn("sync", 2, 120 * SECOND);
        scene.0.capacity.lives = lives.to_vec();
        scene.judge("workers-replaced")
    }

    /// How many were replaced, and how many are needed.
    fn replaced(finding: &Finding) -> (f64, f64) {
        let decides = finding.evidence.iter().find(|one| one.name == "workers_replaced_count").unwrap();
        (decides.value, decides.threshold.unwrap())
    }

    #[test]
    fn all_workers_replaced_are_present_with_when_and_what_requests_took_before_and_after() {
        let finding = judge(&[
            life(1, None, Some(41), 300, 20),
            life(2, None, Some(43), 310, 20),
            life(3, Some(40), None, 200, 100),
            life(4, Some(41), None, 220, 100),
        ]);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 0);
        let start =
            "All 2 workers were replaced between 40 s and 43 s of the window; before: 610 requests, median ";
        assert!(finding.sentence.starts_with(start), "{}", finding.sentence);
        assert!(
            finding.sentence.contains(", 0 errors; after: 420 requests, median "),
            "{}",
            finding.sentence
        );
        assert!(finding.sentence.ends_with(", 42 errors."), "{}", finding.sentence);
        let figure = |name: &str| finding.evidence.iter().find(|one| one.name == name).unwrap().value;
        assert!((figure("median_before_seconds") - 0.02).abs() < 0.002);
        assert!((figure("median_after_seconds") - 0.1).abs() < 0.01);
        assert_eq!((figure("since_seconds"), figure("until_seconds")), (40.0, 43.0));
        assert_eq!(replaced(&finding), (2.0, 2.0));
        assert!(figure("births_seconds") <= figure("births_max_seconds"));
        assert!(figure("ended_by_force_ratio") < figure("ended_by_force_max_ratio"));
        assert_eq!(figure("ended_again_count"), 0.0);
    }

    #[test]
    fn the_only_worker_is_enough_and_few_requests_are_not_compared() {
        let finding = judge(&[life(1, None, Some(50), 300, 20), life(2, Some(49), None, 19, 20)]);
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "The only worker was replaced between 49 s and 50 s of the window; too few requests on one side to compare them."
        );
    }

    #[test]
    fn the_moment_is_told_by_the_wall_clock_where_that_is_known() {
        let mut scene = Scene::gunicorn("sync", 2, 120 * SECOND);
        scene.0.capacity.lives = vec![life(1, None, Some(50), 300, 20), life(2, Some(49), None, 19, 20)];
        // The window begins a second later.
        scene.0.session.wall_clock_offset_ns = 1_767_189_722_000_000_000;
        let finding = scene.judge("workers-replaced");
        finding.assert_present();
        let start =
            "The only worker was replaced between 49 s and 50 s of the window (from 14:02:52 UTC); too few ";
        assert!(finding.sentence.starts_with(start), "{}", finding.sentence);
    }

    #[test]
    fn whoever_stays_or_has_no_successor_was_not_replaced() {
        for (lives, expected) in [
            (vec![], "No worker was there from the beginning of the window."),
            (vec![life(2, Some(3), None, 9, 20)], "No worker was there from the beginning of the window."),
            (vec![life(1, None, None, 300, 20)], "No worker was replaced within the window."),
            (
                vec![
                    life(1, None, Some(5), 30, 20),
                    life(2, None, None, 30, 20),
                    life(3, Some(6), None, 9, 20),
                ],
                "1 of 2 workers ended within the window, not all.",
            ),
            (
                vec![life(1, None, Some(5), 30, 20), life(2, Some(6), None, 0, 20)],
                "All workers ended, and no other served in their place.",
            ),
        ] {
            let finding = judge(&lives);
            finding.assert_absent();
            assert_eq!(finding.sentence, expected);
            let (replaced, of) = replaced(&finding);
            assert!(replaced < of, "{expected} {replaced} of {of}");
        }
    }

    #[test]
    fn workers_that_are_replaced_one_after_the_other_may_be_so_for_another_reason() {
        let of = |second: u64| {
            judge(&[
                life(1, None, Some(20), 30, 20),
                life(2, None, Some(second), 30, 20),
                life(3, Some(20), None, 30, 20),
                life(4, Some(second), None, 30, 20),
            ])
        };
        of(50).assert_present();
        of(51).assert_undecided("one after the other (2 began within 31 s)");
        let again = [
            life(1, None, Some(5), 30, 20),
            life(2, Some(5), Some(9), 30, 20),
            life(3, Some(9), None, 30, 20),
        ];
        let finding = judge(&again);
        finding.assert_undecided("one after the other (2 began within 4 s)");
        assert!(finding.evidence.iter().any(|one| one.name == "ended_again_count" && one.value == 1.0));
    }

    #[test]
    fn workers_that_ended_by_force_have_successors_without_a_deploy() {
        let of = |cause: Cause, tgids: &[u32]| {
            let mut scene = Scene::gunicorn("sync", 3, 120 * SECOND);
            let old = (1..=3).map(|tgid| life(tgid, None, Some(50), 100, 20));
            scene.0.capacity.lives =
                old.chain((4..=6).map(|tgid| life(tgid, Some(51), None, 100, 20))).collect();
            let ends = tgids.iter().map(|tgid| WorkerEnd {
                time_ns: 51 * SECOND,
                tgid: *tgid,
                cause,
                evidence: String::new(),
                connections: 1,
                asked: None,
                ran_ns: 0,
            });
            scene.0.dropped.worker_ends = ends.collect();
            scene.judge("workers-replaced")
        };
        for cause in super::BY_FORCE {
            of(cause, &[1, 2, 3])
                .assert_undecided("3 of 3 ended by force (a timeout, a crash, or want of memory)");
            of(cause, &[1, 2]).assert_undecided("2 of 3 ended by force");
            of(cause, &[3]).assert_present();
        }
        of(Cause::WorkerKilled, &[1, 2, 3]).assert_present();
        of(Cause::WorkerTimeout, &[4, 5, 6]).assert_present();
    }

    #[test]
    fn a_server_with_new_workers_is_as_healthy_as_before() {
        let mut scene = Scene::gunicorn("sync", 2, 120 * SECOND).requests(600).served_by_one();
        scene.0.capacity.lives = vec![life(1, None, Some(50), 300, 20), life(2, Some(49), None, 300, 20)];
        scene.clone().judge("workers-replaced").assert_present();
        scene.judge("healthy").assert_present();
    }
}
