//! The report against its published schema, and the rules that both keep.

use std::sync::LazyLock;

use profiler_core::fact::Attached;
use profiler_core::finding::Finding;
use profiler_core::model::dropped::Dropped;
use profiler_core::model::gil::Lock;
use profiler_core::model::queue::Queue;
use profiler_core::model::slot::Holding;
use profiler_core::model::{Listener, Snapshot};
use profiler_core::phase::Phase;
use profiler_core::timeline::Entry;
use serde_json::Value;

use super::schema::SCHEMA;
use super::*;
use crate::report::fixture;
use crate::report::ndjson::NdjsonSink;

/// What is published: passes over keys and words that it does not know.
static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).unwrap());
/// The schema without that leniency: what this version writes is in it.
static STRICT: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let mut schema = SCHEMA.clone();
    make_strict(&mut schema);
    jsonschema::draft202012::new(&schema).unwrap()
});

const TOP_LEVEL: [&str; 23] = [
    "schema_version",
    "tool",
    "host",
    "target",
    "window",
    "losses",
    "not_measured",
    "verdict",
    "findings",
    "requests",
    "phases",
    "chains",
    "endpoints",
    "lasting",
    "slots",
    "capacity",
    "event_loops",
    "front_end",
    "gil",
    "listeners",
    "drops",
    "processes",
    "overhead",
];

fn value(snapshot: &Snapshot, findings: &[Finding]) -> Value {
    serde_json::from_slice(&render(snapshot, findings).unwrap()).unwrap()
}

fn rich() -> Value {
    let (snapshot, findings) = fixture::exhausted();
    value(&snapshot, &findings)
}

/// No key and no word but those that the schema names.
fn make_strict(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.contains_key("properties") {
            map.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        // Not the key of that name, which is described by an object.
        if let Some(Value::Array(words)) = map.get("examples") {
            let words = words.iter().cloned().chain([Value::Null]).collect();
            map.insert("enum".to_owned(), Value::Array(words));
        }
        map.values_mut().for_each(make_strict);
    }
    if let Value::Array(list) = schema {
        list.iter_mut().for_each(make_strict);
    }
}

fn assert_valid(report: &Value) {
    let errors: Vec<String> =
        STRICT.iter_errors(report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Why a part was not measured; empty where the report does not say.
fn why<'a>(report: &'a Value, key: &str) -> &'a str {
    let parts = report["not_measured"].as_array().unwrap();
    parts.iter().find(|part| part["key"] == key).and_then(|part| part["reason"].as_str()).unwrap_or_default()
}

#[test]
fn reports_of_every_kind_of_snapshot_fit_the_schema() {
    assert_valid(&value(&Snapshot::default(), &[]));
    for (snapshot, findings) in
        [fixture::healthy(), fixture::exhausted(), fixture::lossy(), fixture::forecast()]
    {
        assert_valid(&value(&snapshot, &findings));
    }
}

#[test]
fn odd_values_fit_the_schema_too() {
    let (mut snapshot, mut findings) = fixture::exhausted();
    snapshot.processes[1].exit_code = Some(9);
    snapshot.processes[2].exit_code = Some(3 << 8);
    snapshot.by_endpoint.others = Some(snapshot.by_endpoint.list[0].clone());
    snapshot.window.end_reason = None;
    snapshot.session.wall_clock_offset_ns = i64::MIN;
    snapshot.requests.by_status.push((0, 1));
    findings[4].evidence[0].value = f64::NAN;
    findings[4].evidence[1].value = f64::INFINITY;
    let report = value(&snapshot, &findings);
    assert_valid(&report);
    assert_eq!(report["processes"][1]["exit"], serde_json::json!({"status": null, "signal": 9}));
    assert_eq!(report["processes"][2]["exit"], serde_json::json!({"status": 3, "signal": null}));
    assert_eq!(report["endpoints"][5]["is_remainder"], true);
    assert_eq!(report["findings"][0]["evidence"][0]["value"], Value::Null);
}

#[test]
fn what_a_loop_does_not_remember_is_told_and_makes_no_report_incomplete() {
    let mut snapshot = Snapshot::default();
    for (crowded, evicted, complete) in [(0, 0, true), (7, 0, true), (7, 3, false)] {
        snapshot.coverage.losses.crowded = crowded;
        snapshot.coverage.losses.evicted = evicted;
        let report = value(&snapshot, &[]);
        let losses = &report["losses"];
        assert_eq!(losses["crowded"], crowded);
        assert_eq!(losses["evicted"], evicted);
        assert_eq!(losses["is_complete"], complete);
    }
}

#[test]
fn what_a_recording_could_not_give_is_told_and_makes_its_report_incomplete() {
    for (unreadable, missing, complete) in [(0, 0, true), (2, 0, false), (0, 3, false)] {
        let mut snapshot = Snapshot::default();
        snapshot.coverage.losses.unreadable_items = unreadable;
        snapshot.coverage.losses.missing_items = missing;
        let report = value(&snapshot, &[]);
        let losses = &report["losses"];
        assert_eq!(losses["unreadable_items"], unreadable);
        assert_eq!(losses["missing_items"], missing);
        assert_eq!(losses["is_complete"], complete);
    }
}

#[test]
fn sum_that_no_number_can_hold_stays_at_the_largest() {
    let thread = profiler_core::model::Thread { cpu_ns: u64::MAX, ..Default::default() };
    let process = profiler_core::model::Process { threads: vec![thread; 2], ..Default::default() };
    let report = value(&Snapshot { processes: vec![process], ..Snapshot::default() }, &[]);
    assert_eq!(report["processes"][0]["cpu_ns"], u64::MAX);
}

#[test]
fn every_top_level_key_is_there_in_order_even_when_there_is_nothing_to_say() {
    let text = String::from_utf8(render(&Snapshot::default(), &[]).unwrap()).unwrap();
    let keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  \"")?.split_once('"'))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, TOP_LEVEL);
    assert!(text.ends_with("}\n"));
}

#[test]
fn a_report_without_any_one_key_is_rejected() {
    let report = rich();
    for key in TOP_LEVEL {
        let mut mutated = report.clone();
        mutated.as_object_mut().unwrap().remove(key).unwrap();
        assert!(!VALIDATOR.is_valid(&mutated), "{key} is not required");
    }
    for pointer in ["/losses", "/requests/slowest/0", "/phases", "/slots/held", "/endpoints/0/phases"] {
        let mut mutated = report.clone();
        let object = mutated.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        let key = object.keys().next().unwrap().clone();
        object.remove(&key);
        assert!(!VALIDATOR.is_valid(&mutated), "{pointer}/{key} is not required");
    }
}

#[test]
fn a_wrong_type_is_rejected_and_an_unknown_key_is_passed_over() {
    let report = rich();
    for (pointer, wrong) in [
        ("/schema_version", Value::from("2.0")),
        ("/window/length_ns", Value::from("30 s")),
        ("/window/end_reason", Value::from(1)),
        ("/losses/is_complete", Value::from(1)),
        ("/findings/0/answer", Value::from("perhaps")),
        ("/requests/total/p99_ns", Value::from(1.5)),
        ("/phases/cpu_ns", Value::from("12")),
        ("/endpoints/0/phases/cpu_ns", Value::from(-1)),
        ("/slots/heat_map/rows/0/busy_ns", Value::Null),
        ("/requests", Value::Null),
        ("/overhead", serde_json::json!({})),
    ] {
        let mut mutated = report.clone();
        *mutated.pointer_mut(pointer).unwrap() = wrong;
        assert!(!VALIDATOR.is_valid(&mutated), "{pointer}");
    }
    for pointer in ["", "/tool", "/window", "/requests", "/phases", "/slots/list/0", "/processes/0/threads/0"]
    {
        let mut mutated = report.clone();
        mutated.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("extra".into(), Value::from(1));
        assert!(VALIDATOR.is_valid(&mutated), "{pointer}: readers pass over what they do not know");
        assert!(!STRICT.is_valid(&mutated), "{pointer}: but we write nothing that is not in the schema");
    }
    let mut mutated = report;
    mutated["window"]["end_reason"] = Value::from("a word of a later version");
    assert!(VALIDATOR.is_valid(&mutated) && !STRICT.is_valid(&mutated));
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let render_once = || {
        let (snapshot, findings) = fixture::exhausted();
        render(&snapshot, &findings).unwrap()
    };
    assert_eq!(render_once(), render_once());
}

#[test]
fn the_order_in_which_findings_and_endpoints_come_does_not_matter() {
    let (mut snapshot, mut findings) = fixture::exhausted();
    let before = render(&snapshot, &findings).unwrap();
    // Equals keep the order of the catalogue: only what differs is moved.
    findings.rotate_left(2);
    snapshot.by_endpoint.list.reverse();
    snapshot.requests.slowest.reverse();
    snapshot.requests.by_status.reverse();
    assert_eq!(render(&snapshot, &findings).unwrap(), before);
}

#[test]
fn findings_come_present_first_and_worst_first() {
    let report = rich();
    let order: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["id"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["sleeping", "slow-clients", "backend-dominates", "cpu-bound", "healthy"]);
    assert_eq!(report["findings"][0]["cost_request_seconds"], 530.123_457);
    assert_eq!(report["findings"][0]["evidence"][1]["value"], 0.333_333);
    assert_eq!(report["findings"][2]["answer"], "undecided");
    assert!(report["findings"][2]["reason"].as_str().unwrap().contains("50 are needed"));
}

#[test]
fn every_phase_is_named_and_the_measured_ones_add_up() {
    let report = rich();
    let phases = report["phases"].as_object().unwrap();
    assert_eq!(phases.len(), Phase::COUNT);
    let mut sum_ns = 0;
    for phase in Phase::ALL {
        let key = format!("{}_ns", phase.name());
        match phases[&key].as_u64() {
            Some(total_ns) => sum_ns += total_ns,
            None => assert!(!why(&report, &format!("/phases/{key}")).is_empty()),
        }
    }
    assert_eq!(Value::from(sum_ns), report["requests"]["time_in_requests_ns"]);
    assert!(phases["gil_wait_ns"].is_null());
    assert_eq!(phases["sleep_ns"], 0, "measured and nothing is not the same as not measured");
}

#[test]
fn the_leaves_of_chains_add_up_to_the_time_of_requests_and_an_example_stands_with_its_leaf() {
    let report = rich();
    let chains = &report["chains"];
    let leaves = chains["leaves"].as_array().unwrap();
    let held_ns = leaves.iter().map(|leaf| leaf["held_ns"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(Value::from(held_ns + chains["other_ns"].as_u64().unwrap()), chains["request_ns"]);
    assert_eq!(chains["request_ns"], report["requests"]["time_in_requests_ns"]);
    let of_kind = |kind: &str| leaves.iter().find(|leaf| leaf["kind"] == kind).unwrap();
    let back_end = of_kind("back_end");
    assert_eq!(back_end["object"], "port 5432");
    assert_eq!((&back_end["port"], &back_end["descriptor"]), (&5432.into(), &Value::Null));
    assert_eq!(
        (&back_end["system_call"], &back_end["endpoint"]),
        (&"recvfrom".into(), &"GET /report/{n}".into())
    );
    let lock = of_kind("not_released");
    assert_eq!(lock["hops"], serde_json::json!(["pool_wait", "lock_wait"]));
    assert_eq!((&lock["unreleased"], &lock["is_since_before"]), (&"nobody_could".into(), &true.into()));
    assert_eq!((&lock["is_serial"], &lock["endpoint"]), (&true.into(), &Value::Null));
    let hops = lock["example"]["hops"].as_array().unwrap();
    assert_eq!((&hops[0]["tid"], &hops[0]["phase"]), (&Value::Null, &"pool_wait".into()));
    assert_eq!((&hops[2]["tid"], &hops[2]["thread"]), (&4135.into(), &"logger".into()));
    let short = leaves.iter().find(|leaf| leaf["reason"] == "short").unwrap();
    assert_eq!((&short["kind"], &short["prevented_ns"]), (&"not_followed".into(), &Value::Null));
}

#[test]
fn light_mode_says_what_it_does_not_know_of_slots_and_locks_that_it_measured() {
    let (mut light, findings) = fixture::healthy();
    light.attached.hooks = Attached::LIGHT.to_owned();
    light.gil.locks = vec![Lock { is_between_unseen: true, waits: 3, ..Lock::default() }];
    light.gil.not_measured = None;
    let light = value(&light, &findings);
    assert_valid(&light);
    assert!(light["slots"]["counted"].is_u64() && light["slots"]["acceptor_linger_ns"].is_null());
    assert!(!why(&light, "/slots/acceptor_linger_ns").is_empty());
    let lock = &light["gil"]["locks"][0];
    assert_eq!(lock["waits"], 3);
    for key in ["after_forced_release", "missed", "missed_ns", "missed_in_a_row", "missed_in_a_row_max"] {
        assert!(lock[key].is_null(), "{key}: {lock}");
    }
}

#[test]
fn what_was_not_measured_is_null_or_an_empty_list_and_says_why() {
    let (mut light, findings) = fixture::healthy();
    light.attached.hooks = Attached::LIGHT.to_owned();
    light.slots.not_measured = Some(Attached::LIGHT_SEES_NO_CALLS.to_owned());
    light.capacity.arrived_full = None;
    light.event_loops.clear();
    for listener in &mut light.sockets.listeners {
        let queue = listener.queue.take().map(|queue| Queue { delays: None, ..queue });
        let seen = listener.seen.clone();
        *listener = Listener { seen, queue, is_queue_alone: true, ..Listener::default() };
    }
    light.coverage.overhead = None;
    let mut without_accepts = light.clone();
    without_accepts.dropped =
        Dropped { accepts_not_measured: Some("no hooks".to_owned()), ..Dropped::default() };
    light.dropped = Dropped::not_seen(Attached::LIGHT_SEES_NO_CALLS);
    let light = value(&light, &findings);
    let without_accepts = value(&without_accepts, &findings);
    [&light, &without_accepts].into_iter().for_each(assert_valid);
    assert_eq!(why(&without_accepts, "/drops/accept_failures"), "no hooks");
    let listener = &light["listeners"][0];
    assert!(
        listener["queue"]["limit"].is_u64() && !why(&light, "/listeners/0/accepted").is_empty(),
        "{listener}"
    );
    let worker = &light["capacity"]["workers"][0];
    assert!(worker["slots"].is_null() && worker["busy_ns"].is_null() && worker["pid"].is_u64(), "{worker}");
    for report in [light, without_accepts, rich(), value(&Snapshot::default(), &[])] {
        for part in report["not_measured"].as_array().unwrap() {
            let key = part["key"].as_str().unwrap();
            let part = report.pointer(key).expect("it points into the report");
            let is_interpreter =
                key.starts_with("/gil/interpreters/") && part["switch_interval_ns"].is_null();
            assert!(part.is_null() || part.as_array().is_some_and(Vec::is_empty) || is_interpreter, "{key}");
        }
        for key in ["/slots", "/capacity/arrived_full", "/gil", "/drops", "/overhead"] {
            assert_eq!(report.pointer(key).unwrap().is_null(), !why(&report, key).is_empty(), "{key}");
        }
    }
}

#[test]
fn a_phase_with_time_is_shown_whatever_was_said_of_it() {
    let (mut snapshot, findings) = fixture::healthy();
    snapshot.requests.phases.add(Phase::GilWait, 5);
    assert_eq!(value(&snapshot, &findings)["phases"]["gil_wait_ns"], 5);
}

#[test]
fn the_interpreter_lock_has_numbers_or_the_reason_why_not() {
    let (snapshot, findings) = fixture::healthy();
    let report = value(&snapshot, &findings);
    let gil = &report["gil"];
    assert_eq!((&gil["waits"]["count"], &gil["past_interval"]), (&300.into(), &12.into()));
    assert_eq!(gil["interpreters"][0]["switch_interval_ns"], 5_000_000);
    assert!(why(&report, "/gil/interpreters/2").contains("3.19.0"));
    let rich = rich();
    assert!(rich["gil"].is_null() && why(&rich, "/gil").contains("3.19.0"));
}

#[test]
fn losses_make_the_report_incomplete() {
    let (snapshot, findings) = fixture::lossy();
    let report = value(&snapshot, &findings);
    assert_eq!(report["losses"]["is_complete"], false);
    assert_eq!(report["losses"]["kernel_lost"][0]["count"], 18_204);
    assert_eq!(rich()["losses"]["is_complete"], true);
}

#[test]
fn busy_and_idle_add_up_for_every_slot_and_for_all_kinds_of_holding() {
    let report = rich();
    for slot in report["slots"]["list"].as_array().unwrap() {
        let number = |key: &str| slot[key].as_u64().unwrap();
        assert_eq!(number("busy_ns") + number("idle_ns"), number("until_ns") - number("since_ns"));
    }
    let held = report["slots"]["held"].as_object().unwrap();
    assert_eq!(held.len(), Holding::COUNT);
    let sum: u64 = held.values().map(|held_ns| held_ns.as_u64().unwrap()).sum();
    assert_eq!(Value::from(sum), report["slots"]["busy_ns"]);
}

#[test]
fn ratios_are_rounded_and_never_minus_zero() {
    assert_eq!(rounded(1.0 / 3.0), Some(0.333_333));
    assert_eq!(rounded(2e12 + 0.4), Some(2e12));
    assert_eq!(rounded(f64::NAN), None);
    assert!(rounded(-1e-9).unwrap().is_sign_positive());
    assert_eq!(ratio(1, 0), None);
}

#[test]
fn a_line_of_ndjson_is_a_request_of_the_schema() {
    let (snapshot, _) = fixture::exhausted();
    let unmeasured = snapshot.coverage.not_measured.iter().map(|(phase, _)| *phase);
    let mut sink = NdjsonSink::new(Vec::new(), unmeasured);
    sink.push(&Entry::Process { tgid: 1, name: "passed over".to_owned() }).unwrap();
    for request in &snapshot.requests.slowest {
        sink.push(&Entry::Request(Box::new(request.clone()))).unwrap();
    }
    let text = String::from_utf8(sink.into_inner()).unwrap();
    assert_eq!(text.lines().count(), snapshot.requests.slowest.len());

    let mut schema = SCHEMA["$defs"]["request"].clone();
    schema["$defs"] = SCHEMA["$defs"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (line, request) in text.lines().zip(&snapshot.requests.slowest) {
        let value: Value = serde_json::from_str(line).unwrap();
        assert!(validator.is_valid(&value), "{line}");
        let phases = value["phases"].as_object().unwrap();
        let sum_ns: u64 = phases.values().filter_map(Value::as_u64).sum();
        assert_eq!(sum_ns, request.total_ns());
        assert_eq!(phases["gil_wait_ns"], Value::Null);
        assert_eq!(phases["file_wait_ns"], 0);
    }
}

#[test]
fn a_request_s_waits_for_the_lock_stand_with_it_one_by_one() {
    let (snapshot, findings) = fixture::healthy();
    let value = value(&snapshot, &findings);
    let waits = &value["requests"]["slowest"]
        .as_array()
        .unwrap()
        .iter()
        .find(|request| request["id"] == 640)
        .unwrap()["gil_waits"];
    assert_eq!((&waits["others"], &waits["others_ns"]), (&7.into(), &3_000_000.into()));
    let [long, short] = waits["listed"].as_array().unwrap().as_slice() else { panic!("{waits}") };
    assert_eq!(long["wait_ns"], 31_000_000);
    assert_eq!(long["holder"]["endpoint"], "GET /");
    assert_eq!(
        (&long["held_at"]["at"]["line"], &long["held_at"]["wait_ns"]),
        (&258.into(), &25_000_000.into())
    );
    assert_eq!(long["held_at"]["called_from"]["function"], "report");
    assert_eq!(long["stood_at"]["called_from"]["line"], 41);
    assert_eq!((&short["stood_at"], &short["held_at"]["at"]["line"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_hostile_path_stays_on_its_line_and_keeps_its_value() {
    let (mut snapshot, _) = fixture::exhausted();
    let hostile = "/a\n{\"id\":1}\u{1b}[2J\u{9b}1m\u{202e}\u{2028}\"";
    let mut request = snapshot.requests.slowest.remove(0);
    request.http.path = hostile.to_owned();
    let mut sink = NdjsonSink::new(Vec::new(), []);
    sink.push(&Entry::Request(Box::new(request))).unwrap();
    let text = String::from_utf8(sink.into_inner()).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.trim_end().chars().all(crate::report::escape::is_plain));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["path"], hostile);
}
