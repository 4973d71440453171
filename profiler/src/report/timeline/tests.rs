//! What a written timeline decodes to.
//!
//! In: entries. Out: assertions on the packets, and on the structure that every timeline must have.

use profiler_core::model::request::{Framing, Http, OnGil, Seen, Stretch, Times};
use std::collections::{HashMap, HashSet};

use profiler_core::model::gil_waits::Sites;
use profiler_core::phase::{Phase, Phases};
use profiler_core::timeline::ThreadState;
use proptest::prelude::*;

use super::message::{DebugAnnotation, Trace, TrackDescriptor};
use super::*;
use crate::report::fixture;

const MASTER: u32 = 100;
const ACCEPT_THREAD: u32 = 101;
const POOL_THREAD: u32 = 102;

fn request(id: u64, start_ns: u64, end_ns: u64) -> Request {
    let mut phases = Phases::default();
    phases.add(Phase::AcceptQueue, 10);
    phases.add(Phase::Cpu, (end_ns - start_ns).saturating_sub(10));
    Request {
        id,
        connection: id,
        index_on_connection: 0,
        tgid: MASTER,
        tid: POOL_THREAD,
        slot: Some(3),
        phases,
        round_trips: profiler_core::model::round_trips::RoundTrips::default(),
        stretches: vec![
            Stretch { tgid: MASTER, tid: ACCEPT_THREAD, start_ns: start_ns + 5, end_ns: start_ns + 15 },
            Stretch { tgid: MASTER, tid: POOL_THREAD, start_ns: start_ns + 15, end_ns },
        ],
        times: Times {
            start_ns,
            start_is_arrival: true,
            service_start_ns: Some(start_ns + 20),
            first_write_ns: Some(end_ns),
            end_ns,
        },
        http: Http {
            method: "GET".to_owned(),
            path: "/sleep".to_owned(),
            status: 200,
            bytes_in: 80,
            bytes_out: 1_200,
            ..Http::default()
        },
        gil: OnGil::default(),
        seen: Seen::default(),
    }
}

fn slice(tid: u32, start_ns: u64, end_ns: u64, label: &'static str) -> Entry {
    Entry::Slice {
        tgid: MASTER,
        tid,
        start_ns,
        end_ns,
        state: ThreadState::ClientIo,
        label,
        fd: Some(9),
        open: false,
        held_by: None,
        sites: None,
    }
}

fn written(entries: &[Entry]) -> (Trace, TimelineCounts) {
    let mut sink = PerfettoSink::new(Vec::new()).with_wall_clock_offset(1_000_000);
    for entry in entries {
        sink.entry(entry).expect("a vector takes everything");
    }
    let (bytes, counts) = sink.finish().expect("a vector takes everything");
    assert_eq!(counts.bytes, bytes.len() as u64);
    let trace = Trace::decode(bytes.as_slice()).expect("a valid trace");
    assert_eq!(counts.packets, trace.packet.len() as u64);
    (trace, counts)
}

fn descriptors(trace: &Trace) -> Vec<TrackDescriptor> {
    trace
        .packet
        .iter()
        .filter_map(|packet| match &packet.data {
            Some(Data::TrackDescriptor(descriptor)) => Some(descriptor.clone()),
            _ => None,
        })
        .collect()
}

fn events(trace: &Trace) -> Vec<(u64, TrackEvent)> {
    trace
        .packet
        .iter()
        .filter_map(|packet| match &packet.data {
            Some(Data::TrackEvent(event)) => Some((packet.timestamp.expect("a time"), event.clone())),
            _ => None,
        })
        .collect()
}

/// What a reader relies on: a header, parents before children, described tracks, numbers that were given out,
/// and on each track, in the order of time, one begin and one end in turn.
fn assert_well_formed(trace: &Trace) {
    let first = trace.packet.first().expect("a header");
    assert_eq!(first.sequence_flags, Some(STATE_CLEARED));
    assert_eq!(
        first.trace_packet_defaults,
        Some(TracePacketDefaults { timestamp_clock_id: Some(CLOCK_MONOTONIC) })
    );
    let mut described = HashSet::new();
    let mut categories = HashSet::new();
    let mut names = HashSet::new();
    let mut annotation_names = HashSet::new();
    let mut on_track: HashMap<u64, Vec<(u64, i32)>> = HashMap::new();
    for packet in &trace.packet {
        assert_eq!(packet.trusted_packet_sequence_id, Some(SEQUENCE));
        if let Some(interned) = &packet.interned_data {
            categories.extend(interned.event_categories.iter().map(|name| name.iid));
            names.extend(interned.event_names.iter().map(|name| name.iid));
            annotation_names.extend(interned.debug_annotation_names.iter().map(|name| name.iid));
        }
        match &packet.data {
            Some(Data::TrackDescriptor(descriptor)) => {
                assert!(descriptor.parent_uuid.is_none_or(|parent| described.contains(&parent)));
                described.insert(descriptor.uuid.expect("a number"));
            }
            Some(Data::TrackEvent(event)) => {
                let track = event.track_uuid.expect("a track");
                assert!(described.contains(&track), "an event on a track that was not described");
                assert!(event.category_iids.iter().all(|iid| categories.contains(&Some(*iid))));
                assert!(event.name_iid.is_none_or(|iid| names.contains(&Some(iid))));
                for annotation in event.debug_annotations.iter() {
                    assert!(annotation_names.contains(&annotation.name_iid));
                    assert!(
                        annotation
                            .dict_entries
                            .iter()
                            .all(|entry| annotation_names.contains(&entry.name_iid))
                    );
                }
                on_track
                    .entry(track)
                    .or_default()
                    .push((packet.timestamp.expect("a time"), event.event_type.expect("a type")));
            }
            _ => {}
        }
    }
    for events in on_track.values_mut() {
        events.sort_by_key(|(time_ns, _)| *time_ns);
        let mut open = false;
        for (_, event_type) in events {
            if *event_type == EventType::SliceBegin as i32 {
                assert!(!open, "a slice begins inside another on the same track");
                open = true;
            } else if *event_type == EventType::SliceEnd as i32 {
                assert!(open, "a slice ends that did not begin");
                open = false;
            }
        }
        assert!(!open, "a slice without an end");
    }
}

fn value_of<'a>(trace: &'a Trace, annotations: &'a [DebugAnnotation], name: &str) -> Option<&'a Value> {
    let iid = trace
        .packet
        .iter()
        .filter_map(|packet| packet.interned_data.as_ref())
        .flat_map(|interned| &interned.debug_annotation_names)
        .find(|interned| interned.name.as_deref() == Some(name))?
        .iid;
    annotations.iter().find(|annotation| annotation.name_iid == iid)?.value.as_ref()
}

#[test]
fn an_empty_timeline_still_opens_with_a_header() {
    let (trace, counts) = written(&[]);
    assert_well_formed(&trace);
    assert_eq!(counts.packets, 2);
}

#[test]
fn times_of_a_thread_are_written_unaltered_and_its_track_stands_under_its_process() {
    let (trace, counts) = written(&[
        Entry::Process { tgid: MASTER, name: "gunicorn".to_owned() },
        Entry::Thread { tgid: MASTER, tid: POOL_THREAD, name: "pool-1".to_owned() },
        slice(POOL_THREAD, 1_000, 1_700, "recvfrom"),
        slice(POOL_THREAD, 1_700, 1_700, "close"),
        slice(POOL_THREAD, 1_700, 2_000, "sendto"),
    ]);
    assert_well_formed(&trace);
    assert_eq!(counts.slices, 3);
    assert_eq!(counts.moved_aside, 0);
    let times: Vec<u64> = events(&trace).into_iter().map(|(time_ns, _)| time_ns).collect();
    assert_eq!(times, [1_000, 1_700, 1_700, 1_700, 1_700, 2_000]);
    let tracks = descriptors(&trace);
    assert_eq!(tracks.len(), 2, "no track is described twice");
    assert_eq!(tracks[1].parent_uuid, tracks[0].uuid);
    assert_eq!(tracks[1].thread.as_ref().and_then(|thread| thread.thread_name.as_deref()), Some("pool-1"));
}

#[test]
fn the_flow_of_a_request_goes_from_its_span_through_its_stretches_in_order() {
    let (trace, _) = written(&[Entry::Request(Box::new(request(0, 1_000, 2_000)))]);
    assert_well_formed(&trace);
    let flows: Vec<(u64, Vec<u64>, Vec<u64>)> = events(&trace)
        .into_iter()
        .filter(|(_, event)| event.event_type == Some(EventType::SliceBegin as i32))
        .map(|(time_ns, event)| (time_ns, event.flow_ids, event.terminating_flow_ids))
        .collect();
    assert_eq!(flows, [(1_000, vec![1], vec![]), (1_005, vec![1], vec![]), (1_015, vec![], vec![1])]);
}

#[test]
fn the_flow_ends_at_the_span_when_all_stretches_begin_before_it() {
    let mut early = request(4, 1_000, 2_000);
    early.stretches.truncate(1);
    early.stretches[0].start_ns = 900;
    let (trace, _) = written(&[Entry::Request(Box::new(early))]);
    let ending: Vec<u64> = events(&trace)
        .into_iter()
        .filter(|(_, event)| !event.terminating_flow_ids.is_empty())
        .map(|(time_ns, _)| time_ns)
        .collect();
    assert_eq!(ending, [1_000]);
}

#[test]
fn a_request_without_stretches_has_no_flow() {
    let mut waiting = request(4, 1_000, 2_000);
    waiting.stretches.clear();
    waiting.slot = None;
    waiting.tgid = 0;
    let (trace, _) = written(&[Entry::Request(Box::new(waiting))]);
    assert_well_formed(&trace);
    assert!(events(&trace).iter().all(|(_, event)| event.flow_ids.is_empty()));
    assert!(events(&trace).iter().all(|(_, event)| event.terminating_flow_ids.is_empty()));
    assert_eq!(descriptors(&trace)[0].name.as_deref(), Some("requests"));
}

#[test]
fn requests_that_overlap_on_a_slot_get_tracks_of_the_same_name_side_by_side() {
    let (trace, counts) = written(&[
        Entry::Request(Box::new(request(0, 1_000, 2_000))),
        Entry::Request(Box::new(request(1, 1_500, 2_500))),
        Entry::Request(Box::new(request(2, 2_000, 3_000))),
    ]);
    assert_well_formed(&trace);
    let slots: Vec<TrackDescriptor> =
        descriptors(&trace).into_iter().filter(|track| track.name.as_deref() == Some("slot 3")).collect();
    assert_eq!(slots.len(), 2);
    assert_eq!(slots[0].parent_uuid, slots[1].parent_uuid);
    assert!(counts.moved_aside >= 1);
}

#[test]
fn where_no_lane_is_left_a_request_becomes_a_point_with_all_its_values() {
    let entries: Vec<Entry> = (0..=u64::from(track::MAX_LANES))
        .map(|id| Entry::Request(Box::new(request(id, 1_000, 2_000))))
        .collect();
    let (trace, counts) = written(&entries);
    assert_well_formed(&trace);
    let points: Vec<TrackEvent> = events(&trace)
        .into_iter()
        .map(|(_, event)| event)
        .filter(|event| event.event_type == Some(EventType::Instant as i32))
        .collect();
    assert_eq!(points.len() as u64, counts.without_length);
    let last = Some(&Value::Uint(u64::from(track::MAX_LANES)));
    assert!(points.iter().any(|point| value_of(&trace, &point.debug_annotations, "id") == last));
}

#[test]
fn phases_and_values_travel_with_the_request_and_add_up() {
    let (trace, _) = written(&[Entry::Request(Box::new(request(7, 1_000, 2_000)))]);
    let (_, span) = events(&trace).into_iter().next().expect("a span");
    assert_eq!(span.name.as_deref(), Some("GET /sleep"));
    let value = |name| value_of(&trace, &span.debug_annotations, name);
    assert_eq!(value("id"), Some(&Value::Uint(7)));
    assert_eq!(value("status"), Some(&Value::Uint(200)));
    assert_eq!(value("service_ns"), Some(&Value::Uint(980)));
    assert_eq!(value("framing"), Some(&Value::Text("exact".to_owned())));
    let phases = span.debug_annotations.iter().find(|one| !one.dict_entries.is_empty()).expect("phases");
    let sum: u64 = phases
        .dict_entries
        .iter()
        .map(|phase| if let Some(Value::Uint(duration_ns)) = phase.value { duration_ns } else { 0 })
        .sum();
    assert_eq!(sum, 1_000);
}

#[test]
fn a_status_that_was_not_seen_is_left_out() {
    let mut unanswered = request(0, 1_000, 2_000);
    unanswered.http.status = 0;
    let (trace, _) =
        written(&[Entry::Request(Box::new(request(1, 100, 900))), Entry::Request(Box::new(unanswered))]);
    let spans: Vec<TrackEvent> = events(&trace)
        .into_iter()
        .map(|(_, event)| event)
        .filter(|event| event.debug_annotations.len() > 1)
        .collect();
    assert!(value_of(&trace, &spans[0].debug_annotations, "status").is_some());
    assert!(value_of(&trace, &spans[1].debug_annotations, "status").is_none());
}

#[test]
fn hostile_names_are_bounded_and_stay_on_one_line() {
    let mut hostile = request(0, 1_000, 2_000);
    hostile.http.path = format!("/\0\n\u{202e}{}", "x".repeat(100_000));
    let (trace, counts) = written(&[
        Entry::Process { tgid: MASTER, name: "\u{1b}]0;owned\u{7}".repeat(1_000) },
        Entry::Request(Box::new(hostile)),
    ]);
    assert_well_formed(&trace);
    assert!(counts.bytes < 8_000, "{} bytes", counts.bytes);
    for (_, event) in events(&trace) {
        assert!(event.name.is_none_or(|name| !name.contains(['\0', '\n', '\u{202e}'])));
    }
}

#[test]
fn a_request_whose_head_was_not_read_still_has_a_name() {
    let mut unread = request(0, 1_000, 2_000);
    unread.http.method.clear();
    unread.http.path.clear();
    assert_eq!(request::name(&unread), "request, head not read");
    unread.http.framing = Framing::NotHttp;
    assert_eq!(request::name(&unread), "exchange, not HTTP");
}

#[test]
fn busy_slots_count_for_each_process_and_for_the_whole_server() {
    let (trace, _) = written(&[
        Entry::BusySlots { time_ns: 10, tgid: MASTER, busy: 2 },
        Entry::BusySlots { time_ns: 10, tgid: 0, busy: 5 },
    ]);
    assert_well_formed(&trace);
    let values: Vec<Option<i64>> = events(&trace).into_iter().map(|(_, event)| event.counter_value).collect();
    assert_eq!(values, [Some(2), Some(5)]);
    let counters: Vec<TrackDescriptor> =
        descriptors(&trace).into_iter().filter(|track| track.counter.is_some()).collect();
    assert!(counters[0].parent_uuid.is_some());
    assert!(counters[1].parent_uuid.is_none());
}

#[test]
fn a_slice_that_comes_late_moves_aside_instead_of_breaking_the_nesting() {
    let (trace, counts) =
        written(&[slice(POOL_THREAD, 1_000, 2_000, "poll"), slice(POOL_THREAD, 500, 1_000, "running")]);
    assert_well_formed(&trace);
    assert_eq!(counts.moved_aside, 1);
}

#[test]
fn the_snapshot_of_clocks_gives_the_wall_clock_of_the_first_entry() {
    let (trace, _) = written(&[slice(POOL_THREAD, 5_000, 6_000, "read")]);
    let snapshot = trace.packet.iter().find_map(|packet| match &packet.data {
        Some(Data::ClockSnapshot(snapshot)) => Some(snapshot.clone()),
        _ => None,
    });
    let snapshot = snapshot.expect("a snapshot");
    assert_eq!(snapshot.primary_trace_clock, Some(CLOCK_MONOTONIC));
    let readings: Vec<Option<u64>> = snapshot.clocks.iter().map(|clock| clock.timestamp).collect();
    assert_eq!(readings, [Some(5_000), Some(1_005_000)]);
}

#[test]
fn a_writer_that_fails_ends_the_timeline_with_its_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = PerfettoSink::new(Full).finish().map(|_| ()).expect_err("nothing can be written");
    assert!(matches!(error, TimelineError::Write(error) if error.kind() == io::ErrorKind::StorageFull));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let interval = (0_u64..500, 0_u64..80);
    prop_oneof![
        (0_u32..3, any::<String>()).prop_map(|(tgid, name)| Entry::Process { tgid, name }),
        (0_u32..3, 0_u32..3, any::<String>()).prop_map(|(tgid, tid, name)| Entry::Thread { tgid, tid, name }),
        (0_u32..3, interval.clone()).prop_map(|(tid, (start, length))| slice(
            tid,
            start,
            start + length,
            "read"
        )),
        (0_u64..99, 0_u32..3, interval.clone(), any::<String>()).prop_map(
            |(id, slot, (start, length), path)| {
                let mut one = request(id, start, start + length);
                one.http.path = path;
                one.slot = (slot > 0).then_some(slot);
                Entry::Request(Box::new(one))
            }
        ),
        (0_u64..500, 0_u32..3, any::<u32>()).prop_map(|(time_ns, tgid, busy)| Entry::BusySlots {
            time_ns,
            tgid,
            busy
        }),
    ]
}

proptest! {
    #[test]
    fn entries_in_any_order_make_a_well_formed_timeline(entries in prop::collection::vec(any_entry(), 0..60)) {
        let (trace, counts) = written(&entries);
        assert_well_formed(&trace);
        prop_assert_eq!(counts.without_length, 0);
    }
}

#[test]
fn an_arrow_leads_from_the_holder_of_the_lock_to_the_thread_that_waits_for_it() {
    let mut wait = slice(12, 100, 200, "futex");
    if let Entry::Slice { state, held_by, .. } = &mut wait {
        (*state, *held_by) = (ThreadState::GilWait, Some(11));
    }
    let found = fixture::gil_waits().listed.remove(0);
    let (held_at, stood_at) = (found.held_at.map(|held_at| held_at.site), found.stood_at);
    if let Entry::Slice { sites, .. } = &mut wait {
        *sites = Some(Box::new(Sites { held_at, stood_at }));
    }
    let (trace, _) = written(&[slice(11, 0, 90, "read"), wait]);
    assert_well_formed(&trace);
    let events = events(&trace);
    let from = events.iter().find(|(_, event)| !event.flow_ids.is_empty()).expect("a beginning");
    let to = events.iter().find(|(_, event)| !event.terminating_flow_ids.is_empty()).expect("an end");
    assert_eq!((from.0, to.0), (100, 100));
    assert_eq!(from.1.flow_ids, to.1.terminating_flow_ids);
    let track = |tid| Track::Thread { tgid: MASTER, tid, lane: 0 }.uuid();
    assert_eq!((from.1.track_uuid, to.1.track_uuid), (Some(track(11)), Some(track(12))));
    let said = |name| value_of(&trace, &to.1.debug_annotations, name).cloned();
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    assert_eq!(
        said("held_at"),
        text("json/encoder.py:258 JSONEncoder.iterencode, called from shop/views.py:88 report")
    );
    assert_eq!(
        said("stood_at"),
        text("template/base.py:904 Node.render, called from shop/views.py:41 render")
    );
}
