//! A timeline, opened by Perfetto's own trace processor.
//!
//! In: entries as a threaded server makes them, and the SQL of `docs/timeline.md`. Out: assertions on what
//! the trace processor found. Needs `node` and `.tools/perfetto` (`tests/perfetto_engine.sh` fetches it);
//! where they are not there, each test is noted as skipped, or fails where skips are forbidden.

#![allow(clippy::expect_used, reason = "the helpers belong to tests: what fails in them fails the test")]
use profiler_core::model::chain::{ChainExample, ExampleHop, LeafKind};
use profiler_core::model::request::{Http, OnGil, Request, Seen, Stretch, Times};
use profiler_core::phase::{Phase, Phases};
use profiler_core::timeline::{ChainEntry, Entry, ThreadState};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wsgi_trace::report::timeline::PerfettoSink;
use wsgi_trace_test_support::gate;

const WORKER: u32 = 700;
const ACCEPT_THREAD: u32 = 700;
const POOL_THREAD: u32 = 701;
const START_NS: u64 = 5_000_000_000_000;

/// A request accepted by one thread and served by another.
fn request(id: u64, path: &str, start_ns: u64, end_ns: u64) -> Request {
    let mut phases = Phases::default();
    phases.add(Phase::AcceptQueue, 1_000);
    phases.add(Phase::PoolWait, 4_000);
    phases.add(Phase::Sleep, end_ns - start_ns - 5_000);
    Request {
        id,
        connection: id,
        index_on_connection: 0,
        tgid: WORKER,
        tid: POOL_THREAD,
        slot: Some(0),
        phases,
        round_trips: profiler_core::model::round_trips::RoundTrips::default(),
        stretches: vec![
            Stretch {
                tgid: WORKER,
                tid: ACCEPT_THREAD,
                start_ns: start_ns + 1_000,
                end_ns: start_ns + 3_000,
            },
            Stretch { tgid: WORKER, tid: POOL_THREAD, start_ns: start_ns + 5_000, end_ns },
        ],
        times: Times {
            start_ns,
            start_is_arrival: true,
            service_start_ns: Some(start_ns + 5_500),
            first_write_ns: Some(end_ns),
            end_ns,
        },
        http: Http {
            method: "GET".to_owned(),
            path: path.to_owned(),
            status: 200,
            bytes_in: 80,
            bytes_out: 900,
            ..Http::default()
        },
        gil: OnGil::default(),
        seen: Seen::default(),
    }
}

fn slice(tid: u32, start_ns: u64, end_ns: u64, state: ThreadState, label: &'static str) -> Entry {
    Entry::Slice {
        tgid: WORKER,
        tid,
        start_ns,
        end_ns,
        state,
        label,
        fd: Some(9),
        open: false,
        held_by: None,
        sites: None,
    }
}

/// The second request waits for a thread; the one that could serve it has slept since before.
fn chain(start_ns: u64) -> Entry {
    let hop = |tid: u32, phase, start_ns| ExampleHop {
        place: None,
        tgid: if tid > 0 { WORKER } else { 0 },
        tid,
        comm: String::new(),
        endpoint: 0,
        phase,
        start_ns,
        end_ns: start_ns + 30_000,
    };
    let hops = vec![
        hop(0, Phase::PoolWait, start_ns),
        hop(ACCEPT_THREAD, Phase::LockWait, start_ns + 1_000),
        hop(POOL_THREAD, Phase::Sleep, start_ns - 4_000),
    ];
    Entry::Chain(Box::new(ChainEntry {
        kind: LeafKind::Sleep,
        endpoint: "GET /\u{202e}'; drop table slice;--\0\n".to_owned(),
        example: ChainExample {
            request: 1,
            endpoint: 1,
            start_ns,
            wait_ns: 30_000,
            hops,
            candidates: Vec::new(),
        },
    }))
}

/// Two requests, the second of which overlaps the first on its slot, with a hostile path and still open.
fn entries() -> Vec<Entry> {
    let first = START_NS + 10_000;
    let second = START_NS + 60_000;
    let mut open = request(1, "/\u{202e}'; drop table slice;--\0\n", second, second + 80_000);
    open.seen.open = true;
    vec![
        Entry::Process { tgid: WORKER, name: "gunicorn: worker".to_owned() },
        Entry::Thread { tgid: WORKER, tid: ACCEPT_THREAD, name: "gunicorn".to_owned() },
        Entry::Thread { tgid: WORKER, tid: POOL_THREAD, name: "pool\0-0".to_owned() },
        Entry::BusySlots { time_ns: START_NS, tgid: 0, busy: 0 },
        Entry::BusySlots { time_ns: START_NS, tgid: WORKER, busy: 0 },
        slice(ACCEPT_THREAD, START_NS, first + 1_000, ThreadState::Idle, "epoll_wait"),
        slice(ACCEPT_THREAD, first + 1_000, first + 2_000, ThreadState::ClientIo, "accept4"),
        slice(ACCEPT_THREAD, first + 2_000, first + 3_000, ThreadState::Running, "running"),
        Entry::BusySlots { time_ns: first + 5_000, tgid: 0, busy: 1 },
        Entry::BusySlots { time_ns: first + 5_000, tgid: WORKER, busy: 1 },
        slice(POOL_THREAD, START_NS, first + 5_000, ThreadState::LockWait, "futex"),
        slice(POOL_THREAD, first + 5_000, first + 5_500, ThreadState::ClientIo, "recvfrom"),
        slice(POOL_THREAD, first + 5_500, first + 99_000, ThreadState::Sleep, "clock_nanosleep"),
        slice(POOL_THREAD, first + 99_000, first + 100_000, ThreadState::ClientIo, "sendto"),
        Entry::Request(Box::new(request(0, "/sleep", first, first + 100_000))),
        Entry::BusySlots { time_ns: first + 100_000, tgid: 0, busy: 0 },
        Entry::BusySlots { time_ns: first + 100_000, tgid: WORKER, busy: 0 },
        Entry::Request(Box::new(open)),
        chain(second),
    ]
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the project").to_owned()
}

/// The engine's directory, or `None` with a word about what was not checked.
fn engine() -> Option<PathBuf> {
    let directory = project().join(".tools/perfetto");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if directory.join("trace_processor.wasm").exists() && node.is_ok_and(|status| status.success()) {
        return Some(directory);
    }
    gate::missing("node or .tools/perfetto");
    None
}

/// The rows of each query, or the engine's refusal.
fn ask(engine: &Path, entries: &[Entry], queries: &[&str]) -> Result<Vec<Vec<Value>>, String> {
    let mut sink = PerfettoSink::new(tempfile::NamedTempFile::new().expect("a file"))
        .with_wall_clock_offset(1_700_000_000_000_000_000);
    for entry in entries {
        sink.entry(entry).expect("an entry is written");
    }
    let (file, _) = sink.finish().expect("the timeline is written");
    let mut child = Command::new("node")
        .arg(project().join("tests/replay/perfetto_query.mjs"))
        .args([engine, file.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node starts");
    let question = json!(queries).to_string();
    child.stdin.take().expect("a pipe").write_all(question.as_bytes()).expect("the question is read");
    let output = child.wait_with_output().expect("node ends");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("rows as JSON"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn rows(query: &str) -> Option<Vec<Value>> {
    let answers = ask(&engine()?, &entries(), &[query]).expect("an answer");
    answers.into_iter().next()
}

#[test]
fn perfetto_reads_every_packet_without_complaint() {
    let Some(complaints) =
        rows("select name, value from stats where severity in ('error', 'data_loss') and value != 0")
    else {
        return;
    };
    assert_eq!(complaints, Vec::<Value>::new());
}

#[test]
fn perfetto_refuses_what_is_not_sql_so_that_the_other_tests_mean_something() {
    let Some(engine) = engine() else { return };
    assert!(ask(&engine, &entries(), &["select nothing from nowhere"]).is_err());
}

#[test]
fn perfetto_shows_each_thread_with_its_slices_at_the_times_that_were_measured() {
    let Some(slices) = rows(
        "select thread.tid, thread.name as thread, pid, slice.ts, slice.dur, slice.name, slice.category
         from slice join thread_track on slice.track_id = thread_track.id
         join thread using (utid) join process using (upid)
         where slice.category not in ('request', 'stretch', 'hop') and tid = 701 order by slice.ts",
    ) else {
        return;
    };
    let first = START_NS + 10_000;
    let expected = [
        (START_NS, 15_000, "futex", "lock_wait"),
        (first + 5_000, 500, "recvfrom", "client_io"),
        (first + 5_500, 93_500, "clock_nanosleep", "sleep"),
        (first + 99_000, 1_000, "sendto", "client_io"),
    ]
    .map(|(ts, dur, name, category)| {
        json!({"tid": POOL_THREAD, "thread": "pool\u{fffd}-0", "pid": WORKER, "ts": ts, "dur": dur, "name": name,
            "category": category})
    });
    assert_eq!(slices, expected);
}

#[test]
fn arrows_go_from_the_request_to_the_accepting_thread_to_the_pool_thread() {
    let Some(arrows) = rows(
        "select source.category as source, source_thread.tid as source_tid, target.category as target,
                target_thread.tid as target_tid, target.name, target.ts - source.ts as later_ns
         from flow
         join slice source on flow.slice_out = source.id join slice target on flow.slice_in = target.id
         left join thread_track source_track on source.track_id = source_track.id
         left join thread source_thread on source_track.utid = source_thread.utid
         left join thread_track target_track on target.track_id = target_track.id
         left join thread target_thread on target_track.utid = target_thread.utid
         where target.name = 'GET /sleep' order by target.ts",
    ) else {
        return;
    };
    let expected = [
        json!({"source": "request", "source_tid": null, "target": "stretch", "target_tid": ACCEPT_THREAD,
            "name": "GET /sleep", "later_ns": 1_000}),
        json!({"source": "stretch", "source_tid": ACCEPT_THREAD, "target": "stretch", "target_tid": POOL_THREAD,
            "name": "GET /sleep", "later_ns": 4_000}),
    ];
    assert_eq!(arrows, expected);
}

#[test]
fn arrows_go_from_who_waited_to_who_was_waited_for_however_long_that_one_was_in_it() {
    let Some(arrows) = rows(
        "select source.category as source, target.name, target_thread.tid as target_tid,
                target.ts - source.ts as later_ns, target.dur,
                extract_arg(target.arg_set_id, 'debug.in_it_for_ns') as in_it_for_ns
         from flow
         join slice source on flow.slice_out = source.id join slice target on flow.slice_in = target.id
         left join thread_track target_track on target.track_id = target_track.id
         left join thread target_thread on target_track.utid = target_thread.utid
         where target.category = 'hop' order by source.category, target.ts",
    ) else {
        return;
    };
    let expected = [
        json!({"source": "chain", "name": "lock_wait", "target_tid": ACCEPT_THREAD, "later_ns": 1_000,
            "dur": 30_000, "in_it_for_ns": 30_000}),
        json!({"source": "hop", "name": "sleep", "target_tid": POOL_THREAD, "later_ns": 0,
            "dur": 25_000, "in_it_for_ns": 30_000}),
    ];
    assert_eq!(arrows, expected);
}

#[test]
fn requests_that_overlap_on_a_slot_keep_their_own_lengths_and_their_process() {
    let Some(spans) = rows(
        "select slice.dur, slice.depth, track.name as slot, pid,
                extract_arg(slice.arg_set_id, 'debug.open') as open
         from slice join process_track track on slice.track_id = track.id join process using (upid)
         where slice.category = 'request' order by slice.ts",
    ) else {
        return;
    };
    let expected = [(100_000, 0), (80_000, 1)]
        .map(|(dur, open)| json!({"dur": dur, "depth": 0, "slot": "slot 0", "pid": WORKER, "open": open}));
    assert_eq!(spans, expected);
}

#[test]
fn the_phases_of_a_request_add_up_to_its_length_in_perfetto_too() {
    let Some(sums) = rows(
        "select dur, extract_arg(arg_set_id, 'debug.total_ns') as total_ns,
                (select sum(int_value) from args
                 where args.arg_set_id = slice.arg_set_id and args.key glob 'debug.phases_ns.*') as phases_ns
         from slice where category = 'request' order by ts",
    ) else {
        return;
    };
    let expected = [100_000, 80_000].map(|ns| json!({"dur": ns, "total_ns": ns, "phases_ns": ns}));
    assert_eq!(sums, expected);
}

#[test]
fn the_viewer_can_tell_the_wall_clock_time() {
    let Some(clocks) =
        rows("select clock_name, clock_value - ts as offset_ns from clock_snapshot order by clock_id desc")
    else {
        return;
    };
    let expected = [
        json!({"clock_name": "MONOTONIC", "offset_ns": 0}),
        json!({"clock_name": "REALTIME", "offset_ns": "1700000000000000000"}),
    ];
    assert_eq!(clocks, expected);
}

#[test]
fn every_query_of_the_guide_gives_rows() {
    let Some(engine) = engine() else { return };
    let guide = std::fs::read_to_string(project().join("docs/timeline.md")).expect("the guide");
    let queries: Vec<&str> =
        guide.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(queries.len() >= 4, "the guide has lost its examples");
    let answers = ask(&engine, &entries(), &queries).expect("the guide's SQL is valid");
    for (query, answer) in queries.iter().zip(answers) {
        assert!(!answer.is_empty(), "no rows for:\n{query}");
    }
}
