//! Finding `gil-contention`: requests wait for the interpreter lock.
//!
//! In: phases of requests and of endpoints, waits for the lock. Out: a verdict whose cost is the time waited;
//! absent, it is the answer "the GIL is not the problem".

use super::back_end::of_it_in;
use super::basis::{Basis, Outcome, Verdict, WAITING, decides, explains, served_ns};
use super::computing_line;
use super::full::where_cores_are_full;
use super::words::{duration, percent, ratio, request_seconds};
use super::{Judge, Rule, gil};
use crate::phase::Phase;
use crate::server::advice::{Sizes, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gil-contention",
    title: "requests wait for the GIL",
    question: "requests wait for the GIL",
    page: include_str!("../../../../docs/findings/gil-contention.md"),
    advice: || {
        act("serve with more processes and fewer threads in each")
            .more(Sizes::Processes)
            .no_more(Sizes::Threads)
            .because("threads of one process share one GIL")
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    if !gil::require(basis)? {
        let sentence = format!("{}{}", gil::NO_LOCK, instead(basis));
        return Ok(Verdict { sentence, ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let cost_ns = basis.phases().get(Phase::GilWait);
    let share = ratio(cost_ns, served_ns(basis.phases()));
    let rate = basis.rate(cost_ns);
    let seen = &basis.snapshot.gil;
    let evidence = vec![
        decides("gil_wait_service_ratio", share, limits.gil_served_min_ratio),
        decides("gil_wait_seconds_per_second", rate, limits.cost_min_rate),
        explains("gil_wait_seconds", cost_ns as f64 / 1e9),
        explains("gil_waits_count", seen.waits.count() as f64),
        explains("gil_past_interval_ratio", ratio(seen.past_interval, seen.waits.count())),
    ];
    if share < limits.gil_served_min_ratio || rate < limits.cost_min_rate {
        let mut sentence = if seen.waits.count() == 0 {
            "The GIL is not your problem: no thread waited for it".to_owned()
        } else {
            format!(
                "The GIL is not your problem: requests waited for it {} of service time, {} each",
                percent(share),
                duration(cost_ns.checked_div(basis.request_count()).unwrap_or(0)),
            )
        };
        sentence.push_str(&instead(basis));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let mut sentence = format!(
        "Requests waited for the GIL {} of service time ({}, {} each)",
        percent(share),
        request_seconds(cost_ns),
        duration(cost_ns.checked_div(basis.request_count()).unwrap_or(0)),
    );
    let endpoints = &basis.snapshot.by_endpoint.list;
    if let Some(worst) = endpoints.iter().max_by_key(|endpoint| endpoint.phases.get(Phase::GilWait)) {
        let of_it = ratio(worst.phases.get(Phase::GilWait), cost_ns);
        if of_it > 0.0 {
            sentence.push_str(&of_it_in(of_it, worst));
        }
    }
    gil::add_place(&mut sentence, seen);
    gil::add_block(&mut sentence, seen);
    if seen.places.is_none() {
        computing_line::add(&mut sentence, basis.snapshot);
    }
    let exemplars = basis.exemplars(&[Phase::GilWait]);
    let next_step = where_cores_are_full(basis);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() })
}

/// Where the service time goes instead, if most of it is one phase.
fn instead(basis: &Basis<'_>) -> String {
    let served = basis.phases().iter().filter(|(phase, _)| {
        !WAITING.contains(phase) && !matches!(phase, Phase::LoopWait | Phase::ReadHead | Phase::FrontEnd)
    });
    let largest = served.max_by_key(|(_, duration_ns)| *duration_ns);
    match largest.map(|(phase, duration_ns)| (phase, ratio(duration_ns, served_ns(basis.phases())))) {
        Some((phase, share)) if share >= MOST => {
            format!("; {} of service time is {}", percent(share), phase.name())
        }
        _ => String::new(),
    }
}

/// Share of service time from which a phase is most of it.
const MOST: f64 = 0.5;

#[cfg(test)]
mod tests {
    use crate::finding::SENTENCE_MAX_CHARS;
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::gil::Contender;
    use crate::model::gil_place::{Block, Blocked, Place, Places, Spot};
    use crate::phase::Phase;

    fn scene() -> Scene {
        Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::Cpu, 8 * SECOND)
    }

    #[test]
    fn threads_that_keep_each_other_waiting_are_present_and_the_endpoint_named() {
        let mut scene = scene()
            .phase(Phase::GilWait, 8 * SECOND)
            .endpoint("/report/:n", 50, &[(Phase::GilWait, 6 * SECOND)])
            .endpoint("/", 50, &[(Phase::GilWait, 2 * SECOND)]);
        scene.0.gil.waits.record(8 * SECOND);
        let finding = scene.judge("gil-contention");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 8 * SECOND);
        assert_eq!(
            finding.sentence,
            "Requests waited for the GIL 50 % of service time (8 request-seconds, 80 ms each), 75 % of it in GET /report/:n."
        );
        assert!(
            finding.advice.contains("--workers") && finding.advice.contains("--threads"),
            "{}",
            finding.advice
        );
    }

    #[test]
    fn line_that_others_waited_for_most_ends_the_sentence_where_it_is_known() {
        let spot =
            |file: &str, function: &str, line| Spot { file: file.into(), function: function.into(), line };
        let mut scene = scene().phase(Phase::GilWait, 8 * SECOND);
        scene.0.gil.waits.record(8 * SECOND);
        let place = Place {
            at: spot("/usr/lib/python3.11/json/encoder.py", "JSONEncoder.iterencode", 258),
            called_from: Some(spot("/srv/shop/views.py", "report", 88)),
            wait_ns: 6 * SECOND,
            waits: 100,
        };
        scene.0.gil.places = Some(Places { places: vec![place], ..Places::default() });
        let finding = scene.judge("gil-contention");
        assert!(
            finding.sentence.ends_with(
                "; 75 % of the waiting while it was held in JSONEncoder.iterencode (json/encoder.py:258), called from report \
                 (shop/views.py:88)."
            ),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn line_in_which_an_endpoint_waited_long_ends_the_sentence() {
        let spot =
            |file: &str, function: &str, line| Spot { file: file.into(), function: function.into(), line };
        let mut scene = scene().phase(Phase::GilWait, 8 * SECOND);
        scene.0.gil.waits.record(8 * SECOND);
        let block = |waiter, at, wait_ns| Block {
            waiter,
            at,
            called_from: Some(spot("/srv/shop/views.py", "render", 41)),
            wait_ns,
            waits: 30,
            longest_ns: 212 * MILLISECOND,
        };
        let thread = Contender::Thread { tgid: 1, tid: 7, comm: "flush".into() };
        let library = spot("/usr/lib/python3.11/json/encoder.py", "JSONEncoder.iterencode", 258);
        let listed = vec![
            block(thread, spot("/srv/shop/flush.py", "flush", 3), 3 * SECOND),
            block(Contender::Endpoint("GET /slow".into()), library, 2 * SECOND),
        ];
        let blocked = Blocked { listed, ..Blocked::default() };
        scene.0.gil.places = Some(Places { blocked, ..Places::default() });
        let places = scene.0.gil.places.clone();
        let sentence = scene.judge("gil-contention").sentence;
        assert!(
            sentence.ends_with("; GET /slow waited in render (shop/views.py:41), up to 212 ms."),
            "{sentence}"
        );
        let mut scene = self::scene().phase(Phase::GilWait, 8 * SECOND);
        scene.0.gil.waits.record(16 * SECOND);
        scene.0.gil.places = places;
        let sentence = scene.judge("gil-contention").sentence;
        assert!(!sentence.contains("render"), "an eighth of all waiting does not stand out: {sentence}");
    }

    #[test]
    fn place_with_long_names_never_makes_the_sentence_longer_than_one_may_be() {
        let spot = |line| Spot { file: "f".repeat(90), function: "g".repeat(90), line };
        let mut scene = scene().phase(Phase::GilWait, 8 * SECOND).endpoint(
            &format!("/{}", "e".repeat(90)),
            100,
            &[(Phase::GilWait, 8 * SECOND)],
        );
        scene.0.gil.waits.record(8 * SECOND);
        let place =
            Place { at: spot(u32::MAX), called_from: Some(spot(u32::MAX)), wait_ns: 8 * SECOND, waits: 100 };
        scene.0.gil.places = Some(Places { places: vec![place], ..Places::default() });
        let finding = scene.judge("gil-contention");
        assert!(finding.sentence.chars().count() <= SENTENCE_MAX_CHARS, "{}", finding.sentence);
    }

    #[test]
    fn the_answer_that_the_lock_is_not_the_problem_is_given_in_words() {
        let finding = scene().judge("gil-contention");
        finding.assert_absent();
        assert_eq!(
            finding.sentence,
            "The GIL is not your problem: no thread waited for it; 100 % of service time is cpu."
        );
        let mut scene = scene().phase(Phase::GilWait, 200 * MILLISECOND);
        scene.0.gil.waits.record(200 * MILLISECOND);
        let finding = scene.judge("gil-contention");
        finding.assert_absent();
        assert!(
            finding.sentence.contains("requests waited for it 2.4 % of service time, 2 ms each"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn a_large_share_of_next_to_nothing_is_absent() {
        Scene::gunicorn("gthread", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::GilWait, 500 * MILLISECOND)
            .judge("gil-contention")
            .assert_absent();
    }

    #[test]
    fn an_interpreter_that_is_not_known_makes_it_undecided() {
        scene()
            .phase(Phase::LockWait, 8 * SECOND)
            .not_measured(Phase::GilWait)
            .judge("gil-contention")
            .assert_undecided("not yet");
    }
}
