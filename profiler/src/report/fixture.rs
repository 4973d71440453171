//! Snapshots for the tests of all report formats: gunicorn gthread 2×4, watched for 30 s, 1 200 requests.
//!
//! In: nothing. Out: a healthy server, an exhausted one, one with losses; each with the findings that fit it.

mod chain;
mod container;
mod findings;
mod gil;
mod server;

pub(super) use self::chain::named as named_chains;
pub(super) use self::container::contained;
pub(super) use self::gil::waits as gil_waits;
use findings::{absent, backend_undecided, healthy_present, outlook_of, sleeping, slow_clients};
use profiler_core::fact::{CgroupCpu, Counters, EndReason, MissingProgram, Overhead, SessionStarted};
use profiler_core::finding::Finding;
use profiler_core::model::dropped::{AcceptFailure, Asked, Cause, Counted, Dropped, Example, WorkerEnd};
use profiler_core::model::gil::{Contender, Gil, Holder};
use profiler_core::model::latency::Latency;
use profiler_core::model::request::{Framing, Http, OnGil, Request, Seen, Times};
use profiler_core::model::request_start::RequestStart;
use profiler_core::model::{
    ByEndpoint, CgroupWindow, Conservation, Coverage, Endpoint, Losses, Requests, Snapshot, Sockets, Window,
};
use profiler_core::phase::{Phase, Phases};
use server::{attached, capacity, listener, processes, server, slots};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const START: u64 = 4_000 * SECOND;
const LENGTH: u64 = 30 * SECOND;

/// A route of the fixture: what one request of it does.
struct Route {
    method: &'static str,
    path: &'static str,
    status: u16,
    count: u64,
    bytes_in: u64,
    bytes_out: u64,
    phases: &'static [(Phase, u64)],
}

const CALM: [Route; 5] = [
    Route {
        method: "GET",
        path: "/fast",
        status: 200,
        count: 800,
        bytes_in: 140,
        bytes_out: 420,
        phases: &[(Phase::ReadHead, 20_000), (Phase::Cpu, 310_000), (Phase::Write, 35_000)],
    },
    Route {
        method: "GET",
        path: "/report/{n}",
        status: 200,
        count: 250,
        bytes_in: 180,
        bytes_out: 9_300,
        phases: &[
            (Phase::PoolWait, 90_000),
            (Phase::ReadHead, 25_000),
            (Phase::Cpu, 4 * MS),
            (Phase::RunQueue, 600_000),
            (Phase::BackendWait, 31 * MS),
            (Phase::LockWait, 70_000),
            (Phase::Write, 80_000),
            (Phase::Unexplained, 12_000),
        ],
    },
    Route {
        method: "GET",
        path: "/cpu",
        status: 200,
        count: 120,
        bytes_in: 140,
        bytes_out: 512,
        phases: &[
            (Phase::ReadHead, 20_000),
            (Phase::Cpu, 45 * MS),
            (Phase::RunQueue, 5 * MS),
            (Phase::Write, 40_000),
        ],
    },
    Route {
        method: "POST",
        path: "/upload",
        status: 201,
        count: 20,
        bytes_in: 262_144,
        bytes_out: 160,
        phases: &[
            (Phase::ReadHead, 30_000),
            (Phase::ReadBody, 2 * MS),
            (Phase::ClientReadStall, 180 * MS),
            (Phase::FileWait, 3 * MS),
            (Phase::Cpu, 6 * MS),
            (Phase::Write, 50_000),
        ],
    },
    Route {
        method: "GET",
        path: "/download/{uuid}",
        status: 200,
        count: 10,
        bytes_in: 190,
        bytes_out: 16_000_000,
        phases: &[(Phase::Cpu, 9 * MS), (Phase::Write, 14 * MS), (Phase::ClientWriteStall, 640 * MS)],
    },
];

/// A server with room to spare.
pub(crate) fn healthy() -> (Snapshot, Vec<Finding>) {
    let mut snapshot = Snapshot { gil: gil::gil(), ..snapshot(&CALM, 0, 0) };
    snapshot.coverage.not_measured.retain(|(phase, _)| *phase != Phase::GilWait);
    for report in snapshot.requests.slowest.iter_mut().filter(|request| request.id == 640) {
        report.phases.add(Phase::GilWait, 38 * MS);
        report.times.end_ns += 38 * MS;
        report.gil.holders = vec![
            Holder { contender: Contender::Endpoint("GET /".to_owned()), tid: 4132, wait_ns: 35 * MS },
            Holder { contender: Contender::Unknown, tid: 0, wait_ns: 3 * MS },
        ];
        report.gil.waits = Some(Box::new(gil_waits()));
    }
    (snapshot, vec![healthy_present(), absent("sleeping"), absent("slow-clients"), backend_undecided()])
}

/// A server with every thread taken for a third of the window.
pub(crate) fn exhausted() -> (Snapshot, Vec<Finding>) {
    let mut snapshot = snapshot(&CALM, 11 * SECOND + 400 * MS, 480 * MS);
    snapshot.slots.peak_busy = 8;
    snapshot.requests.peak_in_flight = 23;
    snapshot.requests.open = profiler_core::model::lasting::Open {
        count: 3,
        longest_ns: 9 * SECOND,
        in_line: profiler_core::model::lasting::InLine { count: 1, longest_ns: 2 * SECOND, maybe_taken: 0 },
        served_longest_ns: 9 * SECOND,
        in_slots: 2,
        phases: Phases::default(),
    };
    snapshot.dropped = dropped();
    let findings =
        vec![absent("cpu-bound"), absent("healthy"), backend_undecided(), slow_clients(), sleeping()];
    (snapshot, findings)
}

/// Clients that left as they waited, and a worker that took too long.
fn dropped() -> Dropped {
    let asked =
        Asked { request: Some(311), method: "GET".to_owned(), path: "/report/7".to_owned(), status: 0 };
    let left = Asked { request: Some(402), ..asked.clone() };
    let example = |connection, asked: &Asked, waited_ms: u64, evidence: &str| Example {
        time_ns: START + 9 * SECOND,
        connection: Some(connection),
        tgid: 4121,
        asked: Some(asked.clone()),
        waited_ns: Some(waited_ms * MS),
        evidence: evidence.to_owned(),
    };
    let counted = |cause, count: u64, example: Example| Counted {
        cause,
        count,
        waited_ns: count * example.waited_ns.unwrap_or(0),
        examples: vec![example],
    };
    Dropped {
        causes: vec![
            counted(
                Cause::WorkerTimeout,
                2,
                example(120, &asked, 30_400, "SIGABRT from process 4120 (gunicorn)"),
            ),
            counted(
                Cause::ClientLeftWaiting,
                9,
                example(131, &left, 10_000, "it closed the connection (FIN)"),
            ),
        ],
        accept_failures: vec![AcceptFailure {
            tgid: 4122,
            error: "EMFILE",
            count: 40,
            first_ns: START + SECOND,
            last_ns: START + 2 * SECOND,
            open_files_limit: Some(1024),
            open_files: Some(1024),
            clients: 1001,
        }],
        worker_ends: vec![WorkerEnd {
            time_ns: START + 9 * SECOND,
            tgid: 4121,
            cause: Cause::WorkerTimeout,
            evidence: "SIGABRT from process 4120 (gunicorn)".to_owned(),
            connections: 2,
            asked: Some(asked),
            ran_ns: 30_400 * MS,
        }],
        served: 197,
        nothing_asked: 1,
        open: 3,
        ..Dropped::default()
    }
}

/// The exhausted one, with what its advice would bring.
pub(super) fn forecast() -> (Snapshot, Vec<Finding>) {
    let (snapshot, mut findings) = exhausted();
    findings.iter_mut().for_each(|finding| finding.outlook = outlook_of(finding.id));
    (snapshot, findings)
}

/// The exhausted server, seen through a ring buffer that was too small.
pub(super) fn lossy() -> (Snapshot, Vec<Finding>) {
    let (mut snapshot, mut findings) = exhausted();
    snapshot.coverage.losses = Losses {
        undecided_waits: 2,
        kernel: Counters {
            lost: vec![("ring_full_slice".to_owned(), 18_204), ("head_unreadable".to_owned(), 2)],
            emitted: vec![("slice".to_owned(), 411_992), ("head".to_owned(), 2_406)],
            recursion_misses: vec![("sched_switch".to_owned(), 3)],
            received: 414_398,
        },
        late: 17,
        sequence_holes: 18_204,
        impossible: vec![("accept_on_open_descriptor".to_owned(), 4)],
        ..Losses::default()
    };
    snapshot.dropped.undecided = 6;
    snapshot.coverage.conservation.requests_broken = 0;
    snapshot.window.end_reason = Some(EndReason::Interrupted);
    snapshot.attached.arrival_measured = false;
    snapshot.attached.missing.push(MissingProgram {
        program: "sk_data_ready".to_owned(),
        reason: "Linux 6.1 lacks the tracepoint sock:sk_data_ready (6.3 has it)".to_owned(),
        consequence: "requests begin at the read of their first byte, not at its arrival".to_owned(),
    });
    for request in &mut snapshot.requests.slowest {
        request.seen.lossy = true;
    }
    findings.retain(|finding| finding.id == "sleeping");
    (snapshot, findings)
}

fn snapshot(routes: &[Route], exhausted_ns: u64, pool_wait_ns: u64) -> Snapshot {
    let mut requests = Requests {
        inferred_framing: 1,
        connections: 212,
        peak_in_flight: 5,
        by_status: vec![(200, 1_180), (201, 20)],
        ..Requests::default()
    };
    let mut endpoints = Vec::new();
    for route in routes {
        let endpoint = endpoint(route, pool_wait_ns);
        requests.completed += endpoint.count;
        requests.phases.add_all(&endpoint.phases);
        requests.total.merge(&endpoint.total);
        requests.service.merge(&endpoint.service);
        requests.bytes_in += endpoint.bytes_in;
        requests.bytes_out += endpoint.bytes_out;
        endpoints.push(endpoint);
    }
    let chains = chain::chains(&requests.phases);
    requests.slowest = slowest(pool_wait_ns);
    for before_ns in [600_000, 700_000, 12_000_000] {
        requests.request_starts.add(RequestStart::Passed { before_ns, unit_ns: MS });
    }
    requests.request_starts.add(RequestStart::NotATime);
    requests.request_starts.add(RequestStart::Ahead);
    Snapshot {
        session: SessionStarted {
            tool_version: "0.1.0".to_owned(),
            host_name: "web-3".to_owned(),
            kernel_release: "6.12.1".to_owned(),
            cpu_count: 2,
            target_pid: 4120,
            wall_clock_offset_ns: 1_700_000_000_000_000_000,
            cpu_time_comparable: true,
        },
        attached: attached(),
        window: Window { start_ns: START, end_ns: START + LENGTH, end_reason: Some(EndReason::Duration) },
        server: server(),
        requests,
        slots: slots(exhausted_ns),
        capacity: capacity(exhausted_ns),
        chains,
        event_loops: Vec::new(),
        front_end: Some(profiler_core::model::front_end::FrontEnd {
            name: "nginx".to_owned(),
            tgids: vec![900, 901],
            joined: 2998,
            ambiguous: 3,
            unpaired: 2,
            crossed: 2997,
            front_end_ns: 600_000_000,
            between_ns: 90_000_000,
            server_ns: 9_000_000_000,
        }),
        dropped: Dropped { served: 208, nothing_asked: 1, open: 3, ..Dropped::default() },
        processes: processes(),
        machine_busy_ratio: Some(0.4),
        cgroups: vec![CgroupWindow {
            first: CgroupCpu {
                cgroup: "/system.slice/shop.service".to_owned(),
                quota_us: Some(200_000),
                period_us: 100_000,
                throttled_periods: 40,
                throttled_ns: 1_000 * MS,
            },
            last: CgroupCpu {
                cgroup: "/system.slice/shop.service".to_owned(),
                quota_us: Some(200_000),
                period_us: 100_000,
                throttled_periods: 43,
                throttled_ns: 1_090 * MS,
            },
        }],
        memory: None,
        container: None,
        gil: Gil {
            not_measured: Some("Python 3.19.0 is not known to this version of wsgi-trace".to_owned()),
            ..Gil::default()
        },
        coverage: Coverage {
            blind_spots: Vec::new(),
            losses: Losses::default(),
            conservation: Conservation {
                slices: 430_196,
                threads_compared: 11,
                cpu_ns: 8_010 * MS,
                kernel_cpu_ns: 8_031 * MS,
                run_queue_ns: 752 * MS,
                kernel_run_queue_ns: 750 * MS,
                undecided_ns: 0,
                stolen_ns: 10 * MS,
                interrupt_ns: 0,
                emitted: 432_602,
                received: 432_602,
                ..Conservation::default()
            },
            not_measured: vec![
                (Phase::AcceptQueue, "this version does not trace the accept queue".to_owned()),
                (Phase::GilWait, "Python 3.19.0 is not known to this version of wsgi-trace".to_owned()),
                (Phase::FrontEnd, "no front end is traced".to_owned()),
            ],
            left_out: Vec::new(),
            overhead: Some(Overhead {
                profiler_cpu_ns: 210 * MS,
                target_cpu_ns: 8_010 * MS,
                bpf_run_ns: 11 * MS,
                bpf_runs: 83_000,
                bpf_sampled_ns: 2 * SECOND,
                stolen_ns: 10 * MS,
                interrupt_ns: 0,
            }),
        },
        by_endpoint: ByEndpoint { list: endpoints, others: None },
        sockets: Sockets { listeners: vec![listener()], networks: Vec::new() },
    }
}

fn endpoint(route: &Route, pool_wait_ns: u64) -> Endpoint {
    let mut endpoint = Endpoint {
        method: route.method.to_owned(),
        path_shape: route.path.to_owned(),
        status: route.status,
        count: route.count,
        bytes_in: route.bytes_in * route.count,
        bytes_out: route.bytes_out * route.count,
        total: Latency::default(),
        service: Latency::default(),
        phases: Phases::default(),
        ..Endpoint::default()
    };
    for index in 0..route.count {
        // From 80 % to 120 % of the route's template, evenly: percentiles that differ, without chance.
        let percent = 80 + index * 40 / route.count;
        let mut phases = Phases::default();
        for (phase, duration_ns) in route.phases {
            phases.add(*phase, duration_ns * percent / 100);
        }
        let service_ns = phases.total_ns();
        phases.add(Phase::PoolWait, pool_wait_ns * percent / 100);
        endpoint.total.record(phases.total_ns());
        endpoint.service.record(service_ns);
        endpoint.phases.add_all(&phases);
        endpoint.spread.add(&phases);
    }
    endpoint
}

fn slowest(pool_wait_ns: u64) -> Vec<Request> {
    let make = |id: u64, path: &str, stall: (Phase, u64), cpu_ns: u64| {
        let mut phases = Phases::default();
        phases.add(Phase::PoolWait, pool_wait_ns);
        phases.add(Phase::Cpu, cpu_ns);
        phases.add(stall.0, stall.1);
        let start_ns = START + id * 20 * MS;
        Request {
            id,
            connection: id / 3,
            index_on_connection: 0,
            tgid: 4121,
            tid: 4131,
            slot: Some(1),
            phases,
            stretches: Vec::new(),
            round_trips: profiler_core::model::round_trips::RoundTrips::default(),
            times: Times {
                start_ns,
                start_is_arrival: true,
                service_start_ns: Some(start_ns + pool_wait_ns),
                first_write_ns: Some(start_ns + pool_wait_ns + cpu_ns),
                end_ns: start_ns + phases.total_ns(),
            },
            http: Http {
                method: "GET".to_owned(),
                path: path.to_owned(),
                status: 200,
                bytes_in: 190,
                bytes_out: 16_000_000,
                ..Http::default()
            },
            gil: OnGil::default(),
            seen: Seen::default(),
        }
    };
    let mut upload = make(211, "/upload", (Phase::ClientReadStall, 215 * MS), 7 * MS);
    upload.http.method = "POST".to_owned();
    upload.http.status = 201;
    upload.http.bytes_in = 262_144;
    let mut unknown = make(1_190, "", (Phase::Sleep, 40 * MS), MS);
    unknown.http.method = String::new();
    unknown.http.status = 0;
    unknown.slot = None;
    unknown.times.service_start_ns = None;
    unknown.http.framing = Framing::NotHttp;
    unknown.seen.open = true;
    unknown.seen.truncated = true;
    vec![
        make(
            873,
            "/download/0d4be9a0-5b1c-4a3b-9c55-6f1f6d0e3f11",
            (Phase::ClientWriteStall, 760 * MS),
            10 * MS,
        ),
        make(
            412,
            "/download/77cd1f5e-90f5-4f0e-8a0a-2f6a1b7d9a02",
            (Phase::ClientWriteStall, 701 * MS),
            10 * MS,
        ),
        upload,
        make(640, "/report/1984", (Phase::BackendWait, 37 * MS), 5 * MS),
        unknown,
    ]
}
