//! Counts of windows: what is counted where, never twice, never back.
//!
//! In: made snapshots. Out: verdicts.

use super::*;
use profiler_core::fact::Attached;
use profiler_core::model::dropped::Dropped;
use profiler_core::model::event_loop::EventLoop;

#[test]
fn every_family_stands_at_its_own_number_and_says_what_it_counts() {
    let snapshot = Snapshot::default();
    let counts = Counts::of(&snapshot);
    for (family, values) in counts.families(false) {
        assert!(!family.help.is_empty());
        assert!(values.iter().all(|(label, _)| label.is_empty() == family.label.is_none()), "{family:?}");
    }
    let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len());
    for name in names {
        let parts: Vec<&str> = name.split('_').collect();
        // The unit and `_total` come from the kind of the family, in base units.
        let added =
            ["ns", "ms", "us", "seconds", "bytes", "ratio", "percent", "total", "count", "sum", "bucket"];
        assert!(parts.iter().all(|part| !part.is_empty() && !added.contains(part)), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

#[test]
fn what_a_loop_does_not_remember_is_counted_where_there_is_one_and_is_no_loss() {
    let mut snapshot = Snapshot::default();
    for (loops, crowded, expected) in [(0, 0, None), (1, 0, Some(0)), (2, 7, Some(7))] {
        snapshot.event_loops = vec![EventLoop::default(); loops];
        snapshot.coverage.losses.crowded = crowded;
        let counts = Counts::of(&snapshot);
        let of = |name: &str| counts.families(false).find(|(family, _)| family.name == name).unwrap().1;
        assert_eq!(of("loop_crowded").first().map(|(_, value)| *value), expected, "{loops}");
        assert!(of("records_lost").iter().all(|(_, value)| *value == 0), "{loops}");
    }
}

#[test]
fn sum_that_no_number_can_hold_stays_at_the_largest() {
    let thread = profiler_core::model::Thread { run_queue_ns: u64::MAX, ..Default::default() };
    let process = profiler_core::model::Process { threads: vec![thread; 2], ..Default::default() };
    let counts = Counts::of(&Snapshot { processes: vec![process], ..Snapshot::default() });
    let (_, values) = counts.families(false).find(|(family, _)| family.name == "target_run_queue").unwrap();
    assert_eq!(values, [("", u64::MAX)]);
}

#[test]
fn a_full_trace_beside_light_mode_adds_what_that_cannot_know_and_counts_nothing_twice() {
    let mut full = Snapshot::default();
    full.window.end_ns = 5;
    full.coverage.conservation.received = 7;
    full.sockets.listeners = vec![Listener { accepted: 3, ..Listener::default() }];
    let mut light = full.clone();
    light.attached.hooks = Attached::LIGHT.to_owned();
    light.dropped = Dropped::not_seen(Attached::LIGHT_SEES_NO_CALLS);
    light.sockets.listeners = vec![Listener { is_queue_alone: true, ..Listener::default() }];
    let mut both = Counts::of(&light);
    let beside = Counts::beside(&full, &both);
    both.add(&beside);
    let of = |is_light: bool, name: &str| -> Vec<u64> {
        let (_, values) = both.families(is_light).find(|(family, _)| family.name == name).unwrap();
        values.into_iter().map(|(_, value)| value).collect()
    };
    for (name, expected) in [
        ("watched", &[5][..]),
        ("mode", &[5, 5]),
        ("records_received", &[14]),
        ("connections_accepted", &[3]),
    ] {
        assert_eq!(of(false, name), expected, "{name}");
    }
    // What light mode cannot know stands still once light mode is alone again.
    assert!(of(true, "connections_accepted").is_empty() && of(true, "watched") == [5]);
}

#[test]
fn what_light_mode_knows_of_dropped_connections_is_counted_by_it_alone() {
    let mut full = Snapshot::default();
    full.dropped.served = 3;
    for (accepts_not_measured, accepts) in [(None, true), (Some("no hooks".to_owned()), false)] {
        let mut light = full.clone();
        light.attached.hooks = Attached::LIGHT.to_owned();
        light.dropped.accepts_not_measured = accepts_not_measured;
        let mut both = Counts::of(&light);
        let beside = Counts::beside(&full, &both);
        both.add(&beside);
        let of = |is_light: bool, name: &str| {
            let (_, values) = both.families(is_light).find(|(family, _)| family.name == name).unwrap();
            values.iter().map(|(_, value)| value).sum::<u64>()
        };
        let names = |name: &str| {
            let (_, values) = both.families(true).find(|(family, _)| family.name == name).unwrap();
            values.len()
        };
        assert_eq!((of(true, "connections_served"), of(false, "connections_served")), (3, 3));
        assert_eq!(names("connections_dropped"), Cause::ALL.len());
        // A zero would say that no accept failed.
        assert_eq!(names("accepts_failed") > 0, accepts);
    }
}

#[test]
fn counts_never_go_back_and_their_labels_are_bounded() {
    let mut counts = Counts::default();
    for cause in 0..1000 {
        counts.set(Id::Lost, &cause.to_string(), 1);
    }
    let lost = |counts: &Counts| {
        let (_, values) = counts.families(false).find(|(family, _)| family.name == "records_lost").unwrap();
        (values.len(), values.iter().map(|(_, value)| value).sum::<u64>())
    };
    assert_eq!(lost(&counts), (MAX_LABELS + 1, 1000));
    let mut lower = Counts::default();
    lower.raise_to(&counts);
    assert_eq!(lower, counts);
}
