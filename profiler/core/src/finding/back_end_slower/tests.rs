//! When a back end became slower, and when it did not.
//!
//! In: waits of endpoints for ports over time. Out: verdicts.

use crate::finding::basis::Basis;
use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
use crate::finding::{Finding, SENTENCE_MAX_CHARS, Thresholds};
use crate::model::round_trips::ToPort;
use crate::phase::Phase;

/// What requests of an endpoint did: path, port, from when to when in tenths of a second, how long each of
/// ten in a tenth of a second waited.
type Did = (&'static str, u16, std::ops::Range<u64>, u64);

/// Ten seconds.
fn scene(all: &[Did]) -> Scene {
    let requests = all.iter().map(|(_, _, tenths, _)| tenths.clone().count() as u64 * 10).sum();
    let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND).requests(requests);
    for (path, port, tenths, waited_ms) in all {
        if !scene.0.by_endpoint.list.iter().any(|endpoint| endpoint.path_shape == *path) {
            scene = scene.endpoint(path, 0, &[]);
        }
        let start_ns = scene.0.window.start_ns;
        let endpoints = &mut scene.0.by_endpoint.list;
        let endpoint = endpoints.iter_mut().find(|endpoint| endpoint.path_shape == *path).unwrap();
        for moment in tenths.clone().flat_map(|tenth| (0..10).map(move |part| tenth * 10 + part)) {
            let to =
                ToPort { port: *port, count: 2, waited_ns: waited_ms * MILLISECOND, ..ToPort::default() };
            endpoint.waits.add(start_ns + moment * 10 * MILLISECOND, &to);
            endpoint.count += 1;
            scene.0.requests.phases.add(Phase::BackendWait, to.waited_ns);
        }
    }
    scene
}

fn judge(all: &[Did]) -> Finding {
    scene(all).judge("back-end-slower")
}

#[test]
fn a_back_end_that_becomes_slower_is_present_with_its_port_when_and_by_how_much() {
    let finding = judge(&[("/orders", 5432, 0..60, 20), ("/orders", 5432, 60..100, 80)]);
    finding.assert_present();
    let figure = |name: &str| finding.evidence.iter().find(|one| one.name == name).unwrap().value;
    assert!((figure("since_seconds") - 6.0).abs() < 0.6, "{}", finding.sentence);
    assert!((figure("after_of_before_times") - 4.0).abs() < 0.3, "{}", finding.sentence);
    assert!(finding.cost_ns.abs_diff(400 * 60 * MILLISECOND) < 2 * SECOND, "{}", finding.cost_ns);
    assert!(finding.sentence.starts_with("Waits for port 5432 took "), "{}", finding.sentence);
    assert!(
        finding.sentence.ends_with("before), 100 % of the difference in GET /orders."),
        "{}",
        finding.sentence
    );
    assert!(finding.advice.contains("from that moment on"), "{}", finding.advice);
}

#[test]
fn the_moment_is_told_by_the_wall_clock_where_that_is_known_and_has_room() {
    let long = "/a/long/path/of/an/application/that/has/many";
    for (path, offset_ns, expected) in [
        ("/orders", 0, " of the window on: "),
        // The window begins a second later, and the change is within the sixth and seventh second of it.
        ("/orders", 1_767_189_720_000_000_000, " of the window on (14:02:0"),
        ("/orders", i64::MAX, " of the window on: "),
        (long, 1_767_189_720_000_000_000, " of the difference in GET /a/long/path/"),
    ] {
        let mut scene = scene(&[(path, 5432, 0..60, 20), (path, 5432, 60..100, 80)]);
        scene.0.session.wall_clock_offset_ns = offset_ns;
        let finding = scene.judge("back-end-slower");
        finding.assert_present();
        assert!(finding.sentence.contains(expected), "{}", finding.sentence);
        assert!(finding.sentence.chars().count() <= SENTENCE_MAX_CHARS, "{}", finding.sentence);
    }
}

#[test]
fn one_that_stays_as_it_is_or_becomes_quicker_or_recovers_is_absent() {
    for all in [
        vec![("/", 5432, 0..100, 20)],
        vec![("/", 5432, 0..50, 80), ("/", 5432, 50..100, 20)],
        vec![("/", 5432, 0..20, 20), ("/", 5432, 20..80, 90), ("/", 5432, 80..100, 20)],
        vec![("/", 5432, 0..50, 20), ("/", 5432, 50..100, 35)],
    ] {
        let finding = judge(&all);
        finding.assert_absent();
        assert_eq!(finding.sentence, "No back end began to take longer within the window (2,000 answers).");
    }
    let none = Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).judge("back-end-slower");
    none.assert_absent();
    assert_eq!(none.sentence, "No request waited for a back end.");
}

#[test]
fn other_endpoints_and_other_ports_are_not_compared_with_one_another() {
    judge(&[("/quick", 5432, 0..50, 10), ("/slow", 5432, 50..100, 90)]).assert_absent();
    judge(&[("/", 6379, 0..50, 10), ("/", 5432, 50..100, 90)]).assert_absent();
    // More of the slow ones come, each as long as before.
    let finding =
        judge(&[("/quick", 5432, 0..100, 10), ("/slow", 5432, 0..10, 90), ("/slow", 5432, 50..100, 90)]);
    finding.assert_absent();
}

#[test]
fn the_port_that_costs_most_is_named_and_another_that_stays_does_not_hide_it() {
    let finding = judge(&[
        ("/", 6379, 0..100, 10),
        ("/", 5432, 0..50, 10),
        ("/", 5432, 50..100, 90),
        ("/", 80, 0..50, 10),
        ("/", 80, 50..100, 40),
    ]);
    finding.assert_present();
    assert!(finding.sentence.starts_with("Waits for port 5432 "), "{}", finding.sentence);
    assert!(finding.evidence.iter().any(|one| one.name == "slower_ports_count" && one.value == 2.0));
}

#[test]
fn a_figure_is_below_what_it_decides_from_where_there_is_no_change() {
    for (all, expected) in [
        (vec![("/", 5432, 0..60, 20), ("/", 5432, 60..100, 80)], None),
        (vec![("/", 5432, 0..50, 20), ("/", 5432, 50..100, 35)], Some("after_of_before_times")),
        (vec![("/", 5432, 0..90, 1), ("/", 5432, 90..100, 8)], Some("longer_seconds_per_second")),
        (vec![("/", 5432, 0..60, 100), ("/", 5432, 60..100, 6_000)], Some("settled_times")),
        (
            vec![("/one", 5432, 0..50, 10), ("/one", 5432, 50..100, 200), ("/two", 5432, 0..100, 200)],
            Some("typically_longer_ratio"),
        ),
    ] {
        let finding = judge(&all);
        let evidence = finding.evidence.iter();
        let short: Vec<&str> = evidence
            .filter(|one| one.threshold.is_some_and(|limit| one.value < limit))
            .map(|one| one.name)
            .collect();
        match expected {
            Some(name) => {
                finding.assert_absent();
                assert!(short.contains(&name), "{name}: {short:?}");
            }
            None => {
                finding.assert_present();
                assert!(short.is_empty(), "{short:?}");
            }
        }
    }
}

#[test]
fn a_few_long_waits_at_the_end_are_no_change() {
    judge(&[("/", 5432, 0..100, 20), ("/", 5432, 97..99, 3_000)]).assert_absent();
}

#[test]
fn a_change_that_costs_next_to_nothing_is_none() {
    judge(&[("/", 5432, 0..90, 1), ("/", 5432, 90..100, 8)]).assert_absent();
}

#[test]
fn the_first_requests_to_end_are_those_that_wait_shortly() {
    // No request that waits for six seconds ends earlier, if its beginning was seen.
    judge(&[("/", 5432, 0..60, 100), ("/", 5432, 60..100, 6_000)]).assert_absent();
    judge(&[("/", 5432, 0..60, 100), ("/", 5432, 60..100, 2_000)]).assert_present();
}

#[test]
fn each_moment_parts_all_waits_of_the_endpoints_that_have_enough_on_both_sides() {
    let scene = scene(&[
        ("/orders", 5432, 0..60, 20),
        ("/orders", 5432, 60..100, 80),
        ("/late", 5432, 90..100, 30),
        ("/seldom", 5432, 50..51, 500),
    ]);
    let limits = Thresholds::default();
    let basis = Basis::new(&scene.0, &limits);
    let endpoints = scene.0.by_endpoint.list.iter();
    let series: Vec<_> = endpoints.map(|endpoint| (endpoint, &endpoint.waits.list[0])).collect();
    let changes = super::changes(&basis, 5432, &series).unwrap();
    assert!((16..=64).contains(&changes.len()), "{}", changes.len());
    let of_orders = 1_000;
    for (number, change) in &changes {
        // What every moment is to say, added up for it alone.
        let (mut before, mut after) = ((0, 0), (0, 0));
        for (_, waits) in &series {
            let shift = waits.shift();
            let (mut own_before, mut own_after) = ((0, 0), (0, 0));
            for (of, stretch) in waits.numbered(shift) {
                let side = if (of << shift) < change.at_ns { &mut own_before } else { &mut own_after };
                *side = (side.0 + stretch.requests, side.1 + stretch.waited_ns);
            }
            if own_before.0.min(own_after.0) >= 20 {
                before = (before.0 + own_before.0, before.1 + own_before.1);
                after = (after.0 + own_after.0, after.1 + own_after.1);
            }
        }
        assert_eq!((change.before.requests, change.before.waited_ns), before, "{number}");
        assert_eq!((change.after.requests, change.after.waited_ns), after, "{number}");
        assert!(change.before.requests + change.after.requests <= of_orders + 100, "{number}");
    }
}

#[test]
fn enough_requests_are_needed_on_both_sides() {
    judge(&[("/", 5432, 0..2, 200), ("/", 5432, 90..92, 900)]).assert_present();
    judge(&[("/", 5432, 0..1, 200), ("/", 5432, 90..94, 900)])
        .assert_undecided("only 0 % of the waits for back ends");
}

#[test]
fn answers_that_found_no_room_are_said_where_they_may_be_what_is_slower() {
    let with_others = |waited_ms: u64, others: u64, others_ns: u64| {
        let mut scene = scene(&[("/", 5432, 0..50, 10), ("/", 5432, 50..100, waited_ms)]);
        let waits = &mut scene.0.by_endpoint.list[0].waits;
        (waits.others, waits.others_ns) = (others, others_ns);
        scene.0.requests.phases.add(Phase::BackendWait, others_ns);
        let finding = scene.judge("back-end-slower");
        let figure = |name: &str| finding.evidence.iter().find(|one| one.name == name).unwrap().value;
        assert_eq!(figure("no_room_answers_count"), others as f64);
        assert_eq!(figure("no_room_wait_seconds"), others_ns as f64 / 1e9);
        assert!(finding.sentence.chars().count() <= SENTENCE_MAX_CHARS, "{}", finding.sentence);
        finding
    };
    with_others(90, 0, 0).assert_present();
    with_others(90, 300, SECOND).assert_present();
    let little = with_others(10, 300, SECOND);
    little.assert_absent();
    assert_eq!(
        little.sentence,
        "No back end began to take longer within the window (2,000 answers; 300 more found no room)."
    );
    with_others(10, 12_345, 30 * SECOND).assert_undecided("; 12,345 answers found no room");
}

#[test]
fn waits_that_nobody_knows_of_may_have_become_longer() {
    let unexplained = |ns| scene(&[("/", 5432, 0..100, 10)]).phase(Phase::Unexplained, ns);
    unexplained(11 * SECOND).judge("back-end-slower").assert_undecided("known or possible");
    unexplained(9 * SECOND).judge("back-end-slower").assert_absent();
    let on_a_loop =
        Scene::gunicorn("gevent", 4, 10 * SECOND).requests(100).phase(Phase::BackendWait, 5 * SECOND);
    on_a_loop.judge("back-end-slower").assert_undecided("only 0 % of the waits");
}

#[test]
fn too_few_requests_are_undecided() {
    let few = scene(&[("/", 5432, 0..50, 20)]).requests(9);
    few.judge("back-end-slower").assert_undecided("only 9 requests were seen");
}
