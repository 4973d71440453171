//! Windows before and after changes, as they come.

use profiler_core::phase::{Phase, Phases};

use super::*;
use crate::report::fixture;

struct Window {
    snapshot: Snapshot,
    findings: Vec<Finding>,
}

fn ends(changes: &mut Changes, window: &Window) -> Option<Change> {
    changes.window(&window.snapshot, &window.findings)
}

/// A whole window, with so many threads by the settings.
fn window(threads: &str) -> Window {
    window_of(threads, 10_000_000)
}

/// The same with requests that take so long and a little more.
fn window_of(threads: &str, cpu_ns: u64) -> Window {
    let (mut snapshot, findings) = fixture::healthy();
    snapshot.window.end_reason = Some(EndReason::NextWindow);
    // How far its mean can be trusted.
    for request in 0..2_000_u64 {
        let mut phases = Phases::default();
        phases.add(Phase::Cpu, cpu_ns + request % 7 * 1_000_000);
        snapshot.requests.spread.add(&phases);
    }
    for endpoint in &mut snapshot.by_endpoint.list {
        endpoint.phases.add(Phase::Cpu, (cpu_ns - 10_000_000) * endpoint.count);
    }
    let setting = snapshot.server.settings.iter_mut().find(|setting| setting.name == "threads");
    threads.clone_into(&mut setting.unwrap().value);
    Window { snapshot, findings }
}

/// The same with this end.
fn ended(view: Window, reason: EndReason) -> Window {
    let mut view = view;
    view.snapshot.window.end_reason = Some(reason);
    view
}

fn replaced() -> Window {
    let mut view = window("4");
    let finding = view.findings.first_mut().unwrap();
    (finding.id, finding.answer) = (REPLACED, Answer::Present);
    view
}

#[test]
fn the_second_window_after_a_restart_is_compared_with_the_last_before() {
    let mut changes = Changes::default();
    assert!(ends(&mut changes, &window("4")).is_none());
    assert!(ends(&mut changes, &ended(window("4"), EndReason::TargetExited)).is_none());
    changes.restarted();
    assert!(ends(&mut changes, &window("8")).is_none(), "caches are empty");
    let change = ends(&mut changes, &window("8")).unwrap();
    assert!(change.sentence.starts_with("threads 4 → 8: "), "{}", change.sentence);
    assert_eq!(change.difference.settings.len(), 1);
    assert!(ends(&mut changes, &window("8")).is_none(), "it is said once");
}

#[test]
fn nothing_is_compared_where_nothing_changed_or_nothing_was_before() {
    let mut changes = Changes::default();
    changes.restarted();
    assert!((0..5).all(|_| ends(&mut changes, &window("4")).is_none()));
}

#[test]
fn a_reload_is_a_change_and_the_window_of_it_is_left_out() {
    let mut changes = Changes::default();
    assert!(ends(&mut changes, &window("4")).is_none());
    assert!(ends(&mut changes, &replaced()).is_none());
    let change = ends(&mut changes, &window("4")).unwrap();
    assert!(change.sentence.starts_with("all workers replaced: "), "{}", change.sentence);
}

#[test]
fn what_cannot_be_compared_is_tried_again_and_said_at_last() {
    let mut changes = Changes::default();
    ends(&mut changes, &window("4"));
    changes.restarted();
    let quiet = || {
        let mut view = window("4");
        view.snapshot.requests.completed = 3;
        view
    };
    assert!((0..TRIES).all(|_| ends(&mut changes, &quiet()).is_none()));
    let change = ends(&mut changes, &quiet()).unwrap();
    assert_eq!(change.outcome, Outcome::NotComparable.name());
    assert!(change.sentence.contains("fewer than 30"), "{}", change.sentence);
}

#[test]
fn a_like_load_that_comes_later_is_compared() {
    let mut changes = Changes::default();
    ends(&mut changes, &window("4"));
    changes.restarted();
    let mut quiet = window("4");
    quiet.snapshot.requests.completed = 3;
    assert!((0..3).all(|_| ends(&mut changes, &quiet).is_none()));
    let change = ends(&mut changes, &window("4")).unwrap();
    assert!(change.sentence.starts_with("restarted: "), "{}", change.sentence);
    assert_ne!(change.outcome, Outcome::NotComparable.name(), "{}", change.sentence);
}

#[test]
fn a_change_by_which_requests_take_longer_is_worse_and_the_way_back_is_better() {
    let mut changes = Changes::default();
    let slower = || window_of("1", 90_000_000);
    ends(&mut changes, &window("4"));
    changes.restarted();
    ends(&mut changes, &slower());
    let change = ends(&mut changes, &slower()).unwrap();
    assert_eq!(change.outcome, Outcome::Worse.name());
    assert!(change.sentence.starts_with("threads 4 → 1: worse: "), "{}", change.sentence);
    changes.restarted();
    ends(&mut changes, &window("4"));
    assert_eq!(ends(&mut changes, &window("4")).unwrap().outcome, Outcome::Better.name());
}
