//! The causes of dropped connections: what each is, and which test brings it about.
//!
//! In: two pages of the guide, the sources of tests. Out: verdicts: no cause is missing, each has its
//! section, and every test that is named is there.

use std::path::Path;

use anyhow::Context as _;
use profiler_core::model::dropped::Cause;
use wsgi_trace_test_support::root;

/// Has a section for each cause.
const PAGE: &str = "docs/dropped-connections.md";
/// Has the table of tests.
const TABLE: &str = "tests/live/dropped/README.md";
/// Where tests are that a cause may name.
const TESTS: [&str; 3] = ["tests/live", "lab/thousand_clients", "profiler/core/src/pipeline/tests"];

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn sources(directory: &Path, text: &mut String) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, text)?;
        } else {
            text.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[test]
fn every_cause_has_its_section_and_a_test_that_brings_it_about_or_the_reason_why_none_does()
-> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join(PAGE))?;
    let tests = std::fs::read_to_string(root().join(TABLE))?;
    let (_, table) = tests.split_once("|---|---|---|").context("the page has no table")?;
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|line| line.starts_with('|')).map(|line| line.split('|').collect()).collect();
    let mut known = String::new();
    for directory in TESTS {
        sources(&root().join(directory), &mut known)?;
    }
    for cause in Cause::ALL {
        let name = cause.name();
        assert!(
            page.lines().any(|line| line.trim_start_matches('#').trim() == name),
            "{name} has no section"
        );
        let mut of_cause =
            rows.iter().filter(|row| row.get(1).is_some_and(|cell| quoted(cell).any(|it| it == name)));
        assert!(of_cause.next().is_some(), "{name} is not in the table");
    }
    let mut named = 0;
    for row in &rows {
        let cell = row.get(2).copied().unwrap_or_default();
        for test in quoted(cell) {
            assert!(known.contains(&format!("fn {test}(")), "there is no test {test}");
            named += 1;
        }
    }
    assert!(named >= Cause::ALL.len(), "the table has lost its tests: {named}");
    Ok(())
}
