//! Finding `healthy`: no other rule found anything, and how much more of the same load would fit.
//!
//! In: the other rules' findings, slots, CPU time. Out: a verdict without cost. Its headroom is an estimate: it
//! takes further requests to look like these, and nothing else to want the slots and cores.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains, sum, waited_ns};
use super::words::{count, factor, percent, ratio};
use super::{Answer, Finding, Judge, Rule};
use crate::phase::Phase;

/// Headroom beyond which the number would only pretend to be known.
const HEADROOM_MAX_TIMES: f64 = 20.0;

/// Phases that say that a request did not run, but not why; beside waiting to be taken.
const UNCLEAR: [Phase; 2] = [Phase::LoopWait, Phase::Unexplained];

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "healthy",
    title: "nothing wrong found, with the headroom left",
    question: "the server is healthy",
    page: include_str!("../../../../docs/findings/healthy.md"),
    advice: "Nothing to turn. The headroom is an estimate for more requests of the same mix.",
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
    let present: Vec<&str> =
        others.iter().filter(|f| f.answer == Answer::Present).map(|finding| finding.id).collect();
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
    let undecided = others.iter().filter(|f| matches!(f.answer, Answer::Undecided { .. })).count();
    evidence.push(explains("undecided_count", undecided as f64));
    if undecided > 0 && undecided * 2 >= others.len() {
        return Err(Undecided {
            reason: format!("{undecided} of {} checks are undecided", others.len()),
            next_step: "See why below.",
            evidence,
        });
    }
    let unclear_ns = waited_ns(basis.phases()).saturating_add(sum(basis.phases(), &UNCLEAR));
    let unclear = ratio(unclear_ns, basis.phases().total_ns());
    let limits = basis.thresholds;
    evidence.push(decides("unclear_ratio", unclear, limits.unclear_max_ratio));
    if unclear > limits.unclear_max_ratio && basis.rate(unclear_ns) >= limits.cost_min_rate {
        return Err(Undecided {
            reason: format!(
                "no finding explains where {} of request time went (waiting, or not known)",
                percent(unclear)
            ),
            next_step: "See where request time went, and the slowest requests on the timeline.",
            evidence,
        });
    }
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
    if most > 0.0 {
        let headroom = 1.0 / most;
        evidence.push(explains("headroom_ratio", headroom));
        let fits = if headroom > HEADROOM_MAX_TIMES {
            format!("more than {HEADROOM_MAX_TIMES} times the present rate would fit")
        } else if headroom >= 1.05 {
            format!("about {} times the present rate would fit", factor(headroom))
        } else {
            "there is no headroom left".to_owned()
        };
        sentence.push_str(&format!(
            "; {} of {} and {} of the host's CPU were used, so {fits}",
            percent(used.slots),
            basis.slots_named(2),
            percent(used.cores),
        ));
    }
    Ok(Verdict { present: true, sentence, evidence, ..Verdict::default() })
}

fn resource_use(basis: &Basis<'_>) -> Use {
    let window_ns = basis.window_ns();
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
        slots: ratio(basis.busy_ns(), basis.capacity_ns()),
        cores: ratio(all, window_ns.saturating_mul(cores)),
        interpreters: ratio(serving_cpu, window_ns.saturating_mul(serving)),
    }
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::phase::Phase;

    fn scene() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(1_240)
            .phase(Phase::Cpu, 2 * SECOND)
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
        scene().phase(Phase::BackendWait, 20 * SECOND).judge("healthy").assert_absent();
    }

    #[test]
    fn a_full_server_with_an_undecided_check_is_not_called_healthy() {
        let full = scene().holding_request(35 * SECOND);
        assert!(full.clone().judge("healthy").sentence.ends_with("there is no headroom left."));
        let mut blind = full;
        blind.0.cgroups.clear();
        blind.judge("healthy").assert_undecided("the server is full (98 %), and 1 check is undecided");
    }

    #[test]
    fn waits_that_no_finding_explains_are_undecided() {
        for phase in [Phase::PoolWait, Phase::Unexplained] {
            scene().phase(phase, 2 * SECOND).judge("healthy").assert_undecided("50 % of request time");
            scene().phase(phase, SECOND / 2).judge("healthy").assert_present();
        }
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
