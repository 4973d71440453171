//! Finding `healthy`: no other rule found anything, and how much more of the same load would fit.
//!
//! In: the other rules' findings, slots, CPU time. Out: a verdict without cost. Its headroom is an estimate:
//! it takes further requests to look like these, and nothing else to want the slots and cores.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::server_errors::is_error;
use super::words::{count, factor, percent, ratio};
use super::{Answer, Evidence, Finding, Judge, Rule, is_notice, leaf};
use crate::model::dropped::Cause;
use crate::server::advice::{Advice, say};

/// Headroom beyond which the number would only pretend to be known.
const HEADROOM_MAX_TIMES: f64 = 20.0;

/// Why connections are left without an answer by the server, where no other rule asks for it.
const UNSERVED: [Cause; 7] = [
    Cause::WorkerOutOfMemory,
    Cause::WorkerCrashed,
    Cause::WorkerKilled,
    Cause::WorkerExited,
    Cause::ClosedWithoutResponse,
    Cause::ClosedWithUnreadData,
    Cause::ResponseCutShort,
];

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "healthy",
    title: "nothing wrong found, with the headroom left",
    question: "the server is healthy",
    page: include_str!("../../../../docs/findings/healthy.md"),
    advice: || {
        Advice::first(say("nothing to change"))
            .then(say("the headroom is an estimate for more requests of the same mix"))
    },
    judge: Judge::Summary(judge),
};

/// Use of each resource that more requests would need.
struct Use {
    slots: f64,
    /// CPU of all processes, of all cores.
    cores: f64,
    /// CPU of the processes that served requests, of one core each: an interpreter runs on one at a time.
    interpreters: f64,
}

fn judge(basis: &Basis<'_>, others: &[Finding]) -> Outcome {
    let is_wrong = |f: &&Finding| f.answer == Answer::Present && !is_notice(f.id);
    let present: Vec<&str> = others.iter().filter(is_wrong).map(|finding| finding.id).collect();
    let number = basis.request_count();
    let needed = basis.thresholds.requests_min_count;
    let mut evidence = vec![
        decides("requests_count", number as f64, needed),
        explains("findings_count", present.len() as f64),
    ];
    if !present.is_empty() {
        let things = if present.len() == 1 { "thing" } else { "things" };
        let sentence = format!("The server is not in order: {} {things} found", present.len());
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let unclear_ns = basis.snapshot.chains.not_followed_ns();
    let unclear = ratio(unclear_ns, basis.snapshot.chains.request_ns);
    evidence.push(decides("unclear_ratio", unclear, limits.unclear_max_ratio));
    if unclear > limits.unclear_max_ratio && basis.rate(unclear_ns) >= limits.cost_min_rate {
        return Err(Undecided {
            reason: format!("{} of request time was not followed to its end", percent(unclear)),
            next_step: "See what was not followed, and why, under what requests waited for.",
            evidence,
        });
    }
    // What was not followed is judged above: of leaves, no check counts by itself.
    let checks = || others.iter().filter(|finding| !leaf::is_of_leaves(finding.id));
    let undecided = checks().filter(|f| matches!(f.answer, Answer::Undecided { .. })).count();
    evidence.push(explains("undecided_count", undecided as f64));
    if undecided * 2 > checks().count() {
        return Err(Undecided {
            reason: format!("{undecided} of {} checks are undecided", checks().count()),
            next_step: "See why below.",
            evidence,
        });
    }
    failures(basis, &mut evidence)?;
    let unknown = statuses_unknown(basis, &mut evidence)?;
    let used = resource_use(basis);
    let most = used.slots.max(used.cores).max(used.interpreters);
    evidence.push(decides("fullest_resource_ratio", most, limits.full_min_ratio));
    if undecided > 0 && most >= limits.full_min_ratio {
        let checks = if undecided == 1 { "check is" } else { "checks are" };
        return Err(Undecided {
            reason: format!("the server is full ({}), and {undecided} {checks} undecided", percent(most)),
            next_step: "See why below.",
            evidence,
        });
    }
    evidence.push(explains("slots_used_ratio", used.slots));
    evidence.push(explains("host_cpu_ratio", used.cores));
    evidence.push(explains("interpreter_ratio", used.interpreters));
    let mut sentence = format!("Nothing wrong found in {} requests", count(number));
    if undecided > 0 {
        let checks = if undecided == 1 { "check" } else { "checks" };
        sentence.push_str(&format!(" ({undecided} {checks} undecided)"));
    }
    if ratio(unknown, number) >= limits.failed_max_ratio {
        sentence.push_str(&format!(" (the status of {} is not known)", count(unknown)));
    }
    if most > 0.0 {
        evidence.push(explains("headroom_ratio", 1.0 / most));
        let fits = fits(1.0 / most);
        sentence.push_str(&format!(
            "; {} of {} and {} of the host's CPU were used{}, so {fits}",
            percent(used.slots),
            basis.slots_named(2),
            percent(used.cores),
            basis.while_loaded(),
        ));
    }
    Ok(Verdict { present: true, sentence, evidence, ..Verdict::default() })
}

/// How many times the present rate would fit, in words.
fn fits(headroom: f64) -> String {
    if headroom > HEADROOM_MAX_TIMES {
        format!("more than {HEADROOM_MAX_TIMES} times the present rate would fit")
    } else if headroom >= 1.05 {
        format!("about {} times the present rate would fit", factor(headroom))
    } else {
        "there is no headroom left".to_owned()
    }
}

/// What fails for no reason that a rule knows: answers that are server errors, connections that the server
/// left without one.
fn failures(basis: &Basis<'_>, evidence: &mut Vec<Evidence>) -> Result<(), Undecided> {
    let (requests, dropped) = (&basis.snapshot.requests, &basis.snapshot.dropped);
    let of_server = requests.by_status.iter().filter(|(status, _)| is_error(*status));
    let errors = of_server.fold(0_u64, |sum, (_, number)| sum.saturating_add(*number));
    let unserved = UNSERVED.iter().fold(0_u64, |sum, cause| sum.saturating_add(dropped.count(*cause)));
    let shares = [ratio(errors, basis.request_count()), ratio(unserved, dropped.ended())];
    let limit = basis.thresholds.failed_max_ratio;
    evidence.push(decides("server_errors_ratio", shares[0], limit));
    evidence.push(decides("connections_unserved_ratio", shares[1], limit));
    let (reason, next_step) = if shares[0] >= limit {
        let reason = format!(
            "{} of the requests ({}) were answered with a server error",
            percent(shares[0]),
            count(errors)
        );
        (reason, "See which endpoints have a status of 5xx, and what the log of the application says.")
    } else if shares[1] >= limit {
        let reason = format!(
            "{} of the connections ({}) were left by the server without a whole answer",
            percent(shares[1]),
            count(unserved)
        );
        (reason, "See why under dropped connections.")
    } else {
        return Ok(());
    };
    Err(Undecided { reason, next_step, evidence: evidence.clone() })
}

/// How many requests have an answer of which no status is known: as many may be errors.
fn statuses_unknown(basis: &Basis<'_>, evidence: &mut Vec<Evidence>) -> Result<u64, Undecided> {
    let by_status = &basis.snapshot.requests.by_status;
    let unknown = by_status.iter().find(|(status, _)| *status == 0).map_or(0, |(_, number)| *number);
    let share = ratio(unknown, basis.request_count());
    let limit = basis.thresholds.unread_max_ratio;
    evidence.push(decides("status_unknown_ratio", share, limit));
    if share < limit {
        return Ok(unknown);
    }
    Err(Undecided {
        reason: format!(
            "the status of {} of the requests ({}) is not known, so errors may be among them",
            percent(share),
            count(unknown)
        ),
        next_step: "Where the server does the TLS itself, its own log has the statuses.",
        evidence: evidence.clone(),
    })
}

fn resource_use(basis: &Basis<'_>) -> Use {
    let load_ns = basis.load_ns();
    let slots = u64::from(basis.snapshot.slots.count());
    let (mut all, mut serving_cpu, mut serving) = (0u64, 0u64, 0u64);
    for process in &basis.snapshot.processes {
        let cpu = process.threads.iter().fold(0u64, |sum, thread| sum.saturating_add(thread.cpu_ns));
        all = all.saturating_add(cpu);
        if process.requests > 0 {
            serving_cpu = serving_cpu.saturating_add(cpu);
            serving += 1;
        }
    }
    let cores = u64::from(basis.snapshot.session.cpu_count);
    Use {
        slots: ratio(basis.busy_ns(), load_ns.saturating_mul(slots)).min(1.0),
        cores: ratio(all, load_ns.saturating_mul(cores)).min(1.0),
        interpreters: ratio(serving_cpu, load_ns.saturating_mul(serving)),
    }
}

#[cfg(test)]
mod tests {
    use crate::finding::Answer;
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::chain::LeafKind;
    use crate::model::dropped::{Cause, Counted};

    fn scene() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(1_240)
            .served_by_one()
            .leaf(LeafKind::Computing, &[], 2 * SECOND)
            .holding_request(4 * SECOND)
            .process(1, 2 * SECOND, 0)
            .throttled(0, 0)
    }

    #[test]
    fn a_server_without_findings_is_healthy_and_its_fullest_resource_sets_the_headroom() {
        let finding = scene().judge("healthy");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 0);
        // Slots 4 of 40 s, cores 2 of 20 s, the one interpreter 2 of 10 s: the last is fullest.
        assert_eq!(
            finding.sentence,
            "Nothing wrong found in 1,240 requests; 10 % of gunicorn sync workers and 10 % of the host's CPU \
             were used, so about 5 times the present rate would fit."
        );
    }

    #[test]
    fn an_almost_idle_server_does_not_pretend_to_know_its_headroom() {
        let finding = Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(20)
            .holding_request(SECOND / 100)
            .throttled(0, 0)
            .judge("healthy");
        assert!(finding.sentence.contains("more than 20 times"), "{}", finding.sentence);
    }

    #[test]
    fn a_server_with_a_finding_is_not_healthy() {
        let mut failing = scene();
        failing.0.requests.by_status = vec![(500, 620), (200, 620)];
        failing.judge("healthy").assert_absent();
        // What requests do themselves accuses nobody.
        let usual = scene().leaf(LeafKind::BackEnd, &[], 20 * SECOND);
        assert_eq!(usual.judge("back-end").answer, Answer::Usual);
        usual.judge("healthy").assert_present();
    }

    #[test]
    fn a_full_server_with_an_undecided_check_is_not_called_healthy() {
        let full = scene().holding_request(35 * SECOND);
        assert!(full.judge("healthy").sentence.ends_with("there is no headroom left."));
        let mut blind = full;
        blind.0.sockets.listeners[0].wakes = None;
        blind.judge("healthy").assert_undecided("the server is full (98 %), and 1 check is undecided");
    }

    #[test]
    fn time_that_was_not_followed_is_undecided() {
        let with = |ns| scene().leaf(LeafKind::NotFollowed, &[], ns).judge("healthy");
        with(2 * SECOND).assert_undecided("50 % of request time");
        with(SECOND / 9).assert_present();
    }

    #[test]
    fn a_server_that_answers_with_errors_is_not_called_healthy() {
        let answered = |status: u16, number: u64| {
            let mut scene = scene();
            scene.0.requests.by_status = vec![(status, number), (200, 1_240 - number)];
            scene.judge("healthy")
        };
        answered(500, 62).assert_absent();
        answered(503, 1_240).assert_absent();
        answered(500, 12).assert_present();
        answered(404, 1_240).assert_present();
    }

    #[test]
    fn errors_that_are_too_few_for_a_finding_and_many_of_few_requests_are_undecided() {
        let answered = |number: u64| {
            let mut scene = scene().requests(40);
            scene.0.requests.by_status = vec![(500, number), (200, 40 - number)];
            scene.judge("healthy")
        };
        answered(4).assert_undecided("10 % of the requests (4) were answered with a server error");
        answered(1).assert_present();
    }

    #[test]
    fn a_server_whose_answers_cannot_be_read_is_not_called_healthy() {
        let unknown = |number: u64| {
            let mut scene = scene();
            scene.0.requests.by_status = vec![(0, number), (200, 1_240 - number)];
            scene.judge("healthy")
        };
        let why = "the status of 100 % of the requests (1,240) is not known, so errors may be among them";
        unknown(1_240).assert_undecided(why);
        unknown(620).assert_undecided("of 50 % of the requests (620)");
        for (number, is_said) in [(619, true), (62, true), (61, false)] {
            let finding = unknown(number);
            finding.assert_present();
            let sentence = format!("in 1,240 requests (the status of {number} is not known); 10 %");
            assert_eq!(finding.sentence.contains(&sentence), is_said, "{}", finding.sentence);
        }
    }

    #[test]
    fn a_server_whose_workers_die_with_their_clients_is_not_called_healthy() {
        let dropped = |cause: Cause, number: u64| {
            let mut scene = scene();
            let counted = Counted { cause, count: number, waited_ns: 0, examples: Vec::new() };
            scene.0.dropped.causes.push(counted);
            scene.0.dropped.served = 100 - number;
            scene.judge("healthy")
        };
        dropped(Cause::WorkerOutOfMemory, 5).assert_undecided("5 % of the connections (5) were left");
        dropped(Cause::WorkerKilled, 4).assert_present();
        dropped(Cause::PipelinedDiscarded, 50).assert_present();
    }

    #[test]
    fn too_few_requests_are_undecided() {
        scene().requests(3).judge("healthy").assert_undecided("only 3 requests");
    }

    #[test]
    fn heavy_losses_are_undecided() {
        scene().lost(300, 700).judge("healthy").assert_undecided("30 % of the records were lost");
    }

    #[test]
    fn what_a_recording_lacks_is_lost_and_counts_once() {
        let with = |unreadable: u64, missing: u64| {
            let mut scene = scene();
            scene.0.coverage.conservation.received = 1000;
            scene.0.coverage.losses.unreadable_items = unreadable;
            scene.0.coverage.losses.missing_items = missing;
            scene.judge("healthy")
        };
        for (unreadable, missing) in [(300, 0), (0, 300), (100, 300)] {
            with(unreadable, missing).assert_undecided("30 % of the records were lost");
        }
    }

    #[test]
    fn tiny_losses_are_in_the_evidence_alone() {
        let finding = scene().lost(1, 1_000_000).judge("healthy");
        assert!(!finding.sentence.contains("lost"), "{}", finding.sentence);
        assert!(finding.evidence.iter().any(|e| e.name == "records_lost_ratio"));
    }

    #[test]
    fn small_losses_are_said_in_the_sentence_and_in_the_evidence() {
        let finding = scene().lost(10, 990).judge("healthy");
        finding.assert_present();
        assert!(finding.sentence.ends_with(" (with 1 % of the records lost)."), "{}", finding.sentence);
        assert!(finding.evidence.iter().any(|e| e.name == "records_lost_ratio"));
    }
}
