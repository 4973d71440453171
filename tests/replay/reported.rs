//! Problems that people reported in public, replayed: the leaf that stands behind the waiting is named.
//!
//! In: `tests/recordings/reported`, which `cargo xtask record --reported` takes. Out: verdicts. Live tests
//! of the same problems have their cures, and name processes and paths of their own run as well.

#![allow(clippy::expect_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;

use wsgi_trace::report::text;
use wsgi_trace_test_support::reported;
use wsgi_trace_test_support::verdict::Judged;

/// Bytes of all recordings together.
const MAX_ALL_BYTES: u64 = 3_000_000;

#[test]
fn each_problem_of_which_there_is_a_recording_is_named() {
    let mut failed = Vec::new();
    for one in reported::all().filter(|one| one.recording().exists()) {
        let judged = Judged::recording(&one.recording()).expect(one.name);
        let lines = judged.page_of_text().lines().count();
        assert!(lines <= text::LINES, "{}: a page of {lines} lines", one.name);
        let report = judged.json().expect(one.name);
        let said = one.expected.read(&report, &[]).expect(one.name);
        if let Err(error) = one.expected.must_be(&said) {
            failed.push(format!("{}: {error:#}", one.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_recording_is_of_a_problem_and_together_they_are_small() {
    let known: BTreeSet<String> = reported::all().map(|one| format!("{}.wtrace", one.name)).collect();
    let directory = wsgi_trace_test_support::root().join("tests/recordings/reported");
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).expect("the directory") {
        let entry = entry.expect("an entry");
        assert!(known.contains(&entry.file_name().to_string_lossy().into_owned()), "{entry:?}");
        bytes += entry.metadata().expect("it is there").len();
    }
    assert!((1..=MAX_ALL_BYTES).contains(&bytes), "{bytes} bytes");
}
