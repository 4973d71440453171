//! Comparisons of made-up runs: what is said, how sure, and what is refused.

use std::path::Path;

use profiler_core::model::spread::Spread;
use profiler_core::phase::{Phase, Phases};
use serde_json::json;

use super::statistics::Verdict;
use super::*;

/// A run of one endpoint whose requests took so long, in µs of the phase `sleep`.
fn run(lengths_us: &[u64]) -> serde_json::Value {
    let mut spread = Spread::default();
    for length_us in lengths_us {
        let mut phases = Phases::default();
        phases.add(Phase::Sleep, length_us * 1_000);
        spread.add(&phases);
    }
    let sum_ns: u64 = lengths_us.iter().sum::<u64>() * 1_000;
    let error = json!({
        "batches": spread.batches(),
        "total_ns": spread.total_error_ns().map(f64::round),
        "phases": {"sleep_ns": spread.phase_error_ns(Phase::Sleep).map(f64::round)},
    });
    let text = error.to_string().replace(".0", "");
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    json!({
        "schema_version": "1.0",
        "window": {"length_ns": 10_000_000_000_u64},
        "losses": {"is_complete": true},
        "requests": {"completed": lengths_us.len(), "standard_error": error},
        "phases": {"sleep_ns": sum_ns},
        "endpoints": [{
            "method": "GET", "path_shape": "/a", "status": 200, "count": lengths_us.len(),
            "standard_error": error, "phases": {"sleep_ns": sum_ns},
        }],
        "findings": [{"id": "back-end", "answer": "absent"}],
    })
}

fn side(value: &serde_json::Value) -> Side {
    Side::parse(value.to_string().as_bytes(), Path::new("x.json")).unwrap()
}

fn difference(a: &serde_json::Value, b: &serde_json::Value) -> Difference {
    compare(&side(a), &side(b))
}

/// A deterministic source of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }

    /// Requests that follow one another: each resembles the one before, as behind a queue.
    fn queue(&mut self, count: usize, mean_us: f64) -> Vec<u64> {
        let mut level = 0.0;
        let mut length = || {
            level = 0.9 * level + (self.next() - 0.5);
            (mean_us * (1.0 + 0.3 * level)).max(1.0) as u64
        };
        (0..count).map(|_| length()).collect()
    }
}

#[test]
fn two_runs_of_the_same_are_called_different_as_seldom_as_promised() {
    let mut numbers = Numbers(7);
    let rounds = 300;
    let wrong = (0..rounds)
        .filter(|_| {
            let (a, b) = (run(&numbers.queue(3_000, 10_000.0)), run(&numbers.queue(3_000, 10_000.0)));
            difference(&a, &b).total_ns.verdict != Verdict::NotShown
        })
        .count();
    // 5 % are promised; 300 rounds of a true 5 % stay below 9 % but once in 1000 times.
    assert!(wrong * 100 < rounds * 9, "{wrong} of {rounds}");
    assert!(wrong > 0, "intervals so wide that they are never wrong say nothing");
}

#[test]
fn a_change_of_a_tenth_is_found_with_its_size_phase_and_endpoint() {
    let mut numbers = Numbers(11);
    let (a, b) = (run(&numbers.queue(3_000, 10_000.0)), run(&numbers.queue(3_000, 11_000.0)));
    let found = difference(&a, &b);
    assert!(found.comparable && found.doubts.is_empty(), "{:?}", found.doubts);
    assert_eq!(found.total_ns.verdict, Verdict::More);
    let [low, high] = found.total_ns.interval.unwrap();
    assert!(low < 1e6 && high > 1e6 && low > 0.0, "{low} {high}");
    assert_eq!(
        (found.phases_ns[0].phase.as_str(), found.phases_ns[0].change.verdict),
        ("sleep", Verdict::More)
    );
    assert_eq!(found.endpoints[0].endpoint, "GET /a 200");
    assert_eq!(found.endpoints[0].mostly.as_ref().map(|(phase, _)| phase.as_str()), Some("sleep"));
    assert!(
        found.verdict.starts_with("B is slower") && found.verdict.contains("mostly in sleep"),
        "{}",
        found.verdict
    );
    let back = difference(&b, &a);
    assert_eq!(back.total_ns.verdict, Verdict::Less);
}

#[test]
fn another_mix_rate_or_a_loss_forbids_a_verdict_and_says_why() {
    let base = run(&[10_000; 200]);
    let ids = |found: &Difference| found.doubts.iter().map(|doubt| doubt.id).collect::<Vec<_>>();
    let mut other = base.clone();
    other["endpoints"][0]["path_shape"] = json!("/b");
    let found = difference(&base, &other);
    assert_eq!((found.comparable, ids(&found)), (false, vec!["mix"]));
    assert!(found.verdict.contains("100 % of the requests went elsewhere"), "{}", found.verdict);
    assert_eq!(found.endpoints_of_one.len(), 2);

    let mut slow = base.clone();
    slow["window"]["length_ns"] = json!(20_000_000_000_u64);
    assert_eq!(ids(&difference(&base, &slow)), ["rate"]);

    let mut lossy = base.clone();
    lossy["losses"]["is_complete"] = json!(false);
    assert_eq!(ids(&difference(&base, &lossy)), ["losses"]);

    assert_eq!(ids(&difference(&base, &run(&[10_000; 12]))), ["too-few", "rate"]);
}

#[test]
fn errors_of_an_endpoint_are_its_result_and_no_other_load() {
    let base = run(&[10_000; 200]);
    let mut failing = base.clone();
    failing["endpoints"][0]["status"] = json!(500);
    let found = difference(&base, &failing);
    assert!(found.comparable, "{:?}", found.doubts);
    assert_eq!(found.endpoints_of_one.len(), 2);
}

#[test]
fn findings_and_settings_say_what_came_and_what_went() {
    let mut a = run(&[10_000; 200]);
    let mut b = a.clone();
    b["findings"] = json!([
        {"id": "back-end", "answer": "present", "sentence": "x", "cost_request_seconds": 5.0},
        {"id": "healthy", "answer": "absent"},
    ]);
    a["target"] = json!({"server": {"name": "mod_wsgi", "settings": [{"name": "threads", "value": "5"}]}});
    b["target"] = json!({"server": {"name": "mod_wsgi", "settings": [{"name": "threads", "value": "1"}]}});
    let found = difference(&a, &b);
    assert_eq!(found.findings.len(), 1);
    assert_eq!((found.findings[0].what, found.findings[0].cost_rate), ("new", [0.0, 0.5]));
    assert!(found.verdict.ends_with("new in B: back-end."), "{}", found.verdict);
    let changed: Vec<_> = found.settings.iter().map(|setting| setting.name.as_str()).collect();
    assert_eq!(changed, ["threads"]);
}

#[test]
fn what_is_no_report_is_refused_with_the_reason() {
    for (text, part) in
        [("{}", "schema_version"), ("{\"schema_version\": 3}", "neither a recording"), ("{", "neither")]
    {
        let error = Side::parse(text.as_bytes(), Path::new("x")).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let newer = Side::parse(b"{\"schema_version\": \"2.0\"}", Path::new("x")).unwrap_err();
    assert!(newer.to_string().contains("version 2.0"), "{newer}");
}

#[test]
fn slots_that_were_not_measured_are_none() {
    let mut light = run(&[10_000; 200]);
    light["slots"] = json!(null);
    assert_eq!(side(&light).slots.counted, 0);
}

#[test]
fn numbers_that_no_run_has_add_up_to_no_more_than_a_number_holds() {
    let mut hostile = run(&[10_000; 200]);
    assert_eq!(difference(&hostile, &hostile).capacity.own_bytes, [None; 2], "no workers");
    let mut other = hostile["endpoints"][0].clone();
    (other["path_shape"], other["count"]) = (json!("/b"), json!(u64::MAX));
    hostile["endpoints"].as_array_mut().unwrap().push(other);
    assert_eq!(side(&hostile).requests_of_endpoints(), u64::MAX);
    for (bytes, all) in [(json!(u64::MAX), Some(u64::MAX)), (json!(5), Some(12)), (json!(null), None)] {
        hostile["capacity"] = json!({"workers": [{"proportional_bytes": bytes}, {"proportional_bytes": 7}]});
        let found = difference(&hostile, &hostile);
        assert_eq!(found.capacity.own_bytes, [all; 2], "{bytes}");
        assert!(found.comparable, "{:?}", found.doubts);
    }
}

#[test]
fn a_report_without_standard_errors_decides_nothing_but_is_read() {
    let mut bare = run(&[10_000; 200]);
    bare["requests"]["standard_error"] = json!({});
    bare["endpoints"][0]["standard_error"] = json!({});
    assert_eq!(difference(&bare, &bare).total_ns.verdict, Verdict::TooFew);
}

#[test]
fn hostile_names_reach_the_text_escaped() {
    let mut a = run(&[10_000; 200]);
    a["endpoints"][0]["path_shape"] = json!("/\u{1b}[31m\n");
    let text = text::render(
        &difference(&a, &a),
        ["a", "b"],
        crate::report::style::Style::plain(crate::report::escape::Charset::Unicode),
    );
    assert!(!text.contains('\u{1b}') && text.contains("GET /"), "{text}");
}

#[test]
fn how_long_requests_were_on_their_way_before_is_beside_their_length_where_a_front_end_said_so() {
    let plain = run(&[1_000; 40]);
    let mut stamped = plain.clone();
    stamped["requests"]["request_start"] =
        json!({"before": {"count": 40, "p50_ns": 2_000_000, "p99_ns": 9_000_000}});
    let text = |difference: &Difference| {
        text::render(
            difference,
            ["a", "b"],
            crate::report::style::Style::plain(crate::report::escape::Charset::Unicode),
        )
    };
    let found = difference(&plain, &stamped);
    assert_eq!(found.requests.before_p50_ns, [None, Some(2_000_000)]);
    assert_eq!(found.requests.before_p99_ns, [None, Some(9_000_000)]);
    let said = text(&found);
    let line = said.lines().find(|line| line.contains("before the server, median")).unwrap_or_default();
    assert!(line.contains('-') && line.contains("2.00 ms"), "{said}");
    // All stamps were refused: nothing is known of the time before.
    stamped["requests"]["request_start"] = json!({"before": {"count": 0, "p50_ns": null, "p99_ns": null}});
    assert!(!text(&difference(&plain, &stamped)).contains("before the server"));
}
