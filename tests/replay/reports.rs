//! Reports on recordings of real servers: the whole pipeline against reviewed output.
//!
//! In: `tests/recordings/*.wtrace`, which its README says how to take again. Out: the first page of some of
//! them as snapshots under `tests/snapshots`, digests of all that each gives, the JSON valid by its schema, a
//! timeline that decodes, the verdict that the situation calls for. `kinds` says which recordings there must
//! be.

#![allow(clippy::expect_used, reason = "the helpers belong to tests: what fails in them fails the test")]

mod kinds;

use profiler_core::fact::Fact;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::verdict;
use serde_json::Value;
use wsgi_trace::recording::Recording;
use wsgi_trace::report::{html, json, text, timeline::PerfettoSink};
use wsgi_trace::source::file::FileSource;
use wsgi_trace_test_support::digests::Digests;
use wsgi_trace_test_support::published::{schema, strict};
use wsgi_trace_test_support::replayed::Replayed;
use wsgi_trace_test_support::root;
use wsgi_trace_test_support::scenario::{Scenario, Verdict, all};
use wsgi_trace_test_support::verdict::Judged;

/// Bytes of all recordings together.
const MAX_ALL_BYTES: u64 = 3_000_000;
/// Recordings whose first page was reviewed: one for each way to begin it, for each kind of section, and for
/// each family of servers.
const REVIEWED: [&str; 18] = [
    "chain-child",
    "chain-lock",
    "gevent-rolled",
    "gthread-exhausted",
    "gthread-healthy",
    "gthread-slow-upload",
    "gthread-tls-named",
    "lasting-gthread",
    "light-asyncio",
    "light-gthread-cpu",
    "light-uwsgi",
    "mod-wsgi-daemon",
    "nginx-gthread",
    "stack-each-row",
    "sync-dropped",
    "sync-forecast",
    "sync-throttled",
    "uvicorn-a2wsgi",
];

pub(crate) fn each(mut check: impl FnMut(&Scenario, &Judged)) {
    for scenario in all() {
        let judged = Judged::recording(&scenario.recording()).expect(scenario.name);
        check(scenario, &judged);
    }
}

pub(crate) fn json_of(judged: &Judged) -> String {
    let bytes = json::render(&judged.snapshot, &judged.findings).expect("memory takes it");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[test]
fn every_recording_gets_the_verdict_that_its_situation_calls_for() {
    each(|scenario, judged| judged.must_be(scenario).expect(scenario.name));
}

#[test]
fn the_first_sentence_accuses_nobody_where_the_situation_is_healthy() {
    let mut checked = 0;
    each(|scenario, judged| {
        if matches!(scenario.verdict, Verdict::Healthy | Verdict::Undecided) {
            let verdict = verdict::of(&judged.snapshot, &judged.findings);
            assert!(!verdict.pattern.is_wrong(), "{}: {verdict:?}", scenario.name);
            checked += 1;
        }
    });
    assert!(checked > 2, "{checked} recordings of healthy servers");
}

#[test]
fn every_recording_can_be_read_whole() {
    for scenario in all() {
        let mut recording = Recording::open(&scenario.recording()).expect(scenario.name);
        assert!(recording.by_ref().count() > 0, "{}", scenario.name);
        let summary = recording.summary();
        assert!(summary.is_complete(), "{}: {summary:?}", scenario.name);
    }
}

#[test]
fn the_first_page_of_some_recordings_is_the_one_that_was_reviewed() {
    for name in REVIEWED {
        let scenario = Scenario::named(name).expect(name);
        let judged = Judged::recording(&scenario.recording()).expect(name);
        settings().bind(|| insta::assert_snapshot!(format!("{name}.page"), judged.page_of_text()));
    }
}

#[test]
fn every_text_has_room_on_a_screen_and_its_first_page_is_one() {
    each(|scenario, judged| {
        let (page, whole) = (judged.page_of_text(), judged.text());
        let widest = page.lines().chain(whole.lines()).map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{}: a line of {widest:?} columns", scenario.name);
        let lines = page.lines().count();
        assert!(lines <= text::LINES, "{}: a page of {lines} lines", scenario.name);
    });
}

#[test]
fn all_that_a_recording_gives_is_what_it_gave_when_that_was_last_looked_at() -> anyhow::Result<()> {
    let mut digests = Digests::committed()?;
    for scenario in all() {
        let text = Judged::recording(&scenario.recording())?.text();
        digests.note(scenario.name, Replayed::of(&scenario.recording(), &mut |_| {})?.parts(&text)?);
    }
    digests.finish()
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn the_json_of_every_recording_is_valid_by_the_published_schema() {
    let schema = strict(schema("report.schema.json").expect("the schema"));
    let validator = jsonschema::draft202012::new(&schema).expect("the schema is one");
    each(|scenario, judged| {
        let report: Value = serde_json::from_str(&json_of(judged)).expect("a report is JSON");
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", scenario.name);
    });
}

#[test]
fn every_figure_on_the_page_of_every_recording_is_that_of_its_json() {
    each(|scenario, judged| {
        let report: Value = serde_json::from_str(&json_of(judged)).expect("a report is JSON");
        let page = html::render(&judged.snapshot, &judged.findings, &judged.snapshot.requests.slowest);
        let mut figures = 0;
        for figure in page.split("<data data-json=\"").skip(1) {
            let (pointer, rest) = figure.split_once("\" value=\"").expect("a figure has a value");
            let value: f64 = rest.split('"').next().and_then(|value| value.parse().ok()).expect(pointer);
            let other = report.pointer(pointer).and_then(Value::as_f64).expect(pointer);
            assert!((value - other).abs() <= 1e-6, "{}: {pointer}: {value}, {other}", scenario.name);
            figures += 1;
        }
        assert!(figures > 20, "{}: {figures} figures", scenario.name);
    });
}

#[test]
fn the_timeline_of_every_recording_is_a_whole_trace_with_a_span_for_each_request() {
    for scenario in all() {
        let mut sink = PerfettoSink::new(Vec::new());
        let mut pipeline = Pipeline::new(Settings { thread_slices: true });
        for item in FileSource::open(&scenario.recording()).expect(scenario.name) {
            pipeline.push(item, &mut |entry| sink.entry(&entry).expect("memory takes it"));
        }
        let (before, last) =
            pipeline.finish_windows(&mut |entry| sink.entry(&entry).expect("memory takes it"));
        let (bytes, counts) = sink.finish().expect("memory takes it");
        let completed: u64 = before.iter().chain([&last]).map(|window| window.requests.completed).sum();
        assert_eq!(counts.requests, completed + last.requests.open.count, "{}", scenario.name);
        assert_eq!(packets(&bytes), Some(counts.packets), "{}", scenario.name);
    }
}

/// Number of packets of a trace that consists of whole packets: field 1, length, bytes.
fn packets(mut bytes: &[u8]) -> Option<u64> {
    const PACKET: u8 = 1 << 3 | 2;
    let mut number = 0;
    while let Some((tag, rest)) = bytes.split_first() {
        let mut length = 0_usize;
        let mut used = 0_usize;
        for (place, byte) in rest.iter().take(5).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
            used = place + 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        bytes = rest.get(used.checked_add(length)?..)?;
        number += u64::from(*tag == PACKET);
        if *tag != PACKET {
            return None;
        }
    }
    Some(number)
}

/// Paths in facts are those of the scrubber, and what the kernel side captured names no place of a
/// developer's machine.
#[test]
fn no_recording_names_the_machine_that_it_was_taken_on() {
    for scenario in all() {
        for item in Recording::open(&scenario.recording()).expect(scenario.name) {
            match item {
                Item::Fact(record) => {
                    if let Fact::SessionStarted(session) = &record.fact {
                        assert_eq!(session.host_name, "server", "{}", scenario.name);
                        let is_plain = session.kernel_release.chars().all(|c| c.is_ascii_digit() || c == '.');
                        assert!(is_plain, "{}: {}", scenario.name, session.kernel_release);
                    }
                    let fact = serde_json::to_value(&record.fact).expect("a fact is JSON");
                    each_text(&fact, &mut |text| {
                        let strange = paths(text).find(|path| !is_neutral(path));
                        assert_eq!(strange, None, "{}: {text}", scenario.name);
                    });
                }
                Item::Kernel(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let own = ["home", "root", "tmp", "work"].map(|place| format!("/{place}/"));
                    let strange = own.iter().find(|place| text.contains(place.as_str()));
                    assert_eq!(strange, None, "{}: {text:?}", scenario.name);
                }
            }
        }
    }
}

fn each_text(value: &Value, check: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => check(text),
        Value::Array(list) => list.iter().for_each(|one| each_text(one, check)),
        Value::Object(map) => map.values().for_each(|one| each_text(one, check)),
        _ => {}
    }
}

/// Absolute paths in a text.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || ":=,;'\"".contains(c));
    words.filter(|word| word.starts_with('/') && word.len() > 1)
}

fn is_neutral(path: &str) -> bool {
    path == "/server"
        || path.starts_with("/srv/")
        || path.starts_with("/usr/bin/")
        || path.starts_with("/proc/")
}

#[test]
fn the_recordings_are_small_and_each_belongs_to_a_scenario() {
    let mut sum_bytes = 0;
    for entry in std::fs::read_dir(root().join("tests/recordings")).expect("the recordings") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "wtrace") {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            assert!(Scenario::named(name).is_some(), "no scenario has the recording {name}");
            sum_bytes += path.metadata().expect("its size").len();
        }
    }
    assert!(sum_bytes <= MAX_ALL_BYTES, "{sum_bytes} bytes");
}
