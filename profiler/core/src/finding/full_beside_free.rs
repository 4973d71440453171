//! Finding `full-beside-free`: a worker accepts connections that it has no free slot for, and they wait there
//! although another worker has one.
//!
//! In: waits beside a free worker, by listener. Out: a verdict whose cost is that time: a worker that had
//! left such a connection in the queue would have had it served at once.

use super::basis::{self, Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, percent, ratio, request_seconds};
use super::{Judge, Rule};
use crate::model::Listener;
use crate::model::beside_free::BesideFree;
use crate::model::slot::Holding;
use crate::phase::Phase;
use crate::server::advice::{Advice, act, say};
use crate::server::{kind_named, slots_of_one_worker};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "full-beside-free",
    title: "full workers take connections while others are free",
    question: "connections waited in full workers while others were free",
    page: include_str!("../../../../docs/findings/full-beside-free.md"),
    advice: || {
        Advice::first(act("let each worker accept no more connections than it can serve at once"))
            .then(say("what it leaves in the queue goes to the first that is free"))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let measured =
        basis.snapshot.sockets.listeners.iter().filter_map(|seen| Some((seen, seen.beside_free.as_ref()?)));
    let worst: Option<(&Listener, &BesideFree)> = measured.max_by_key(|(_, beside)| beside.waits.sum_ns());
    let Some((listener, beside)) = worst else {
        let sentence =
            "No two processes accept at one listener: there is nobody to leave connections to".to_owned();
        return Ok(Verdict { sentence, ..Verdict::default() });
    };
    if basis.not_measured(Phase::AcceptQueue).is_some() {
        return Err(Undecided {
            reason: "this kernel does not show when requests arrive, so waits in a worker are partly seen"
                .to_owned(),
            next_step: "Compare what clients measure with the service times of this report.",
            evidence: Vec::new(),
        });
    }
    let waited_ns = beside.waits.sum_ns();
    let share = ratio(waited_ns, basis.phases().total_ns());
    let evidence = vec![
        decides("waited_beside_free_ratio", share, limits.waited_request_min_ratio),
        decides("waited_beside_free_seconds_per_second", basis.rate(waited_ns), limits.cost_min_rate),
        explains("connections_waited_count", beside.waits.count() as f64),
        explains("connections_accepted_count", listener.accepted as f64),
        explains("waited_beside_free_seconds", waited_ns as f64 / 1e9),
        explains("connections_undecided_count", beside.undecided as f64),
    ];
    if beside.waits.count() == 0 {
        let sentence = "No connection waited in a full worker while another had a free slot".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let whose = format!(
        "{} of {} connections waited in a worker without a free slot while another had one",
        count(beside.waits.count()),
        count(listener.accepted)
    );
    if let Some(slots) = too_few_for_that(basis) {
        return Err(Undecided {
            reason: format!(
                "{} connections seem to have waited in a full worker, but there were never more requests at once than one worker \
                 has slots ({slots})",
                count(beside.waits.count())
            ),
            next_step: "Please report it with a recording (wsgi-trace record).",
            evidence,
        });
    }
    let is_felt = share >= limits.waited_request_min_ratio && basis.rate(waited_ns) >= limits.cost_min_rate;
    if !is_felt {
        let sentence = format!("{whose}, {} in all: too little to matter", duration(waited_ns));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let sentence = format!(
        "{whose}: {} ({} of all request time), {} at most",
        request_seconds(waited_ns),
        percent(share),
        duration(beside.waits.max_ns())
    );
    let exemplars = basis.exemplars(&[Phase::PoolWait, Phase::LoopWait]);
    // What a loop has accepted waits for that loop.
    let whole_ns = basis::waited_ns(basis.phases()).saturating_add(basis.phases().get(Phase::LoopWait));
    Ok(Verdict {
        present: true,
        sentence,
        cost_ns: waited_ns,
        whole_ns: Some(whole_ns),
        evidence,
        exemplars,
        ..Verdict::default()
    })
}

/// Slots of one worker, where no more requests were there at once and nothing else held slots: then none
/// waited behind a full one.
fn too_few_for_that(basis: &Basis<'_>) -> Option<u32> {
    let server = &basis.snapshot.server;
    let slots = slots_of_one_worker(kind_named(&server.name), server)?;
    let by_connections = [Holding::FirstByte, Holding::KeepaliveIdle, Holding::Linger];
    let is_by_requests = by_connections.iter().all(|kind| basis.held_ns(*kind) == 0);
    let most = basis.snapshot.requests.peak_in_flight;
    (is_by_requests && most > 0 && most <= slots).then_some(slots)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{MILLISECOND, SECOND, Scene};
    use super::*;
    use crate::phase::Phases;

    /// Two gthread workers over 10 s; so many connections waited so long each.
    fn scene(waited: u64, each_ns: u64) -> Scene {
        let mut scene = Scene::gunicorn("gthread", 8, 10 * SECOND)
            .requests(100)
            .phase(Phase::Sleep, 10 * SECOND)
            .phase(Phase::PoolWait, waited * each_ns);
        let mut beside = BesideFree::default();
        (0..waited).for_each(|_| beside.waits.record(each_ns));
        scene.0.sockets.listeners[0].accepted = 100;
        scene.0.sockets.listeners[0].beside_free = Some(beside);
        scene
    }

    #[test]
    fn connections_that_wait_in_a_full_worker_beside_a_free_one_cost_that_time() {
        let finding = scene(20, 200 * MILLISECOND).judge(RULE.id);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 4 * SECOND);
        assert!(finding.sentence.starts_with("20 of 100 connections waited"), "{}", finding.sentence);
        assert!(finding.advice.contains("more threads each"), "{}", finding.advice);
    }

    #[test]
    fn connections_that_a_busy_loop_has_accepted_wait_for_that_loop() {
        let mut scene = scene(20, 200 * MILLISECOND);
        scene.0.requests.phases = Phases::default();
        scene = scene.phase(Phase::Sleep, 10 * SECOND).phase(Phase::LoopWait, 5 * SECOND);
        scene.judge(RULE.id).assert_present();
    }

    #[test]
    fn fewer_requests_than_a_worker_has_slots_never_waited_behind_a_full_one() {
        let with = |most, slots: u32| {
            let mut scene = scene(20, 200 * MILLISECOND);
            scene.0.requests.peak_in_flight = most;
            let setting = |name: &str, value: u32| crate::model::Setting {
                name: name.to_owned(),
                value: value.to_string(),
                origin: crate::model::Origin::Configured,
            };
            scene.0.server.settings = vec![setting("workers", 2), setting("threads", slots)];
            scene.judge(RULE.id)
        };
        with(4, 4).assert_undecided("at once");
        with(5, 4).assert_present();
    }

    #[test]
    fn waits_that_nobody_feels_are_said_and_absent() {
        let finding = scene(2, 5 * MILLISECOND).judge(RULE.id);
        finding.assert_absent();
        assert!(finding.sentence.contains("too little to matter"), "{}", finding.sentence);
        scene(0, 0).judge(RULE.id).assert_absent();
    }

    #[test]
    fn server_with_one_process_at_each_listener_has_nobody_to_leave_connections_to() {
        let mut scene = scene(20, 200 * MILLISECOND);
        scene.0.sockets.listeners[0].beside_free = None;
        scene.judge(RULE.id).assert_absent();
    }

    #[test]
    fn waits_of_unknown_beginning_are_undecided() {
        scene(20, 200 * MILLISECOND)
            .not_measured(Phase::AcceptQueue)
            .judge(RULE.id)
            .assert_undecided("when requests arrive");
    }
}
