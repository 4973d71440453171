//! The kernel side against a server whose every wait is known: accounts add up, connections, heads and
//! arrivals come.
//!
//! In: root. Out: verdicts; skipped with the reason where BPF programs cannot be loaded.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use profiler_common::gap_sleep::WAIT4;
use profiler_common::record::connection::{ACCEPTED, SEEDED};
use profiler_common::record::detail::Moves;
use profiler_common::record::head::{INBOUND, OUTBOUND};
use profiler_common::record::lifecycle::{Birth, Death, EXIT, FORK};
use profiler_common::record::slice::{
    FLAG_BACK_END, FLAG_CLIENT, FLAG_STATUS_LINE, FLAG_WAKE_MISSED, SliceRecord,
};
use profiler_common::system_call::{ACCEPT4, CLOCK_NANOSLEEP, CLOSE, CONNECT, RECVFROM, SENDTO};
use profiler_core::fact::OpenSlice;
use wsgi_trace::attach::{Hooks, Settings};
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace::source::live::every;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::kernel_trace::KernelTrace;
use wsgi_trace_test_support::raw::until_inside;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::steal::stolen_ns;
use wsgi_trace_test_support::switches::Switches;
use wsgi_trace_test_support::toy::{ToyServer, answer, ask, load, request};

fn inside_ns(slice: &SliceRecord) -> u64 {
    slice.call_cpu_ns + slice.call_run_queue_ns + slice.call_blocked_ns
}

/// Since when a read or a write could go on.
fn ready_ns(slice: &SliceRecord) -> u64 {
    Moves::of(&slice.detail).ready_ns
}

fn gap_start_ns(slice: &SliceRecord) -> u64 {
    slice.enter_ns - slice.gap_cpu_ns - slice.gap_run_queue_ns - slice.gap_blocked_ns
}

/// The identities of all slices of a loaded server; the trace goes on.
fn check_slices(hooks: Hooks) -> anyhow::Result<KernelTrace> {
    let server = ToyServer::tcp(8)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings { hooks, ..Settings::default() })?;
    load(&server, 8, 60, &["/", "/burn/0.002", "/sleep/0.003", "/thread"])?;
    trace.until("the closes of all connections", |records| {
        (records.calls(CLOSE).count() >= 8).then_some(())
    })?;
    let mut last: HashMap<u32, (u32, u64)> = HashMap::new();
    for slice in &trace.records.slices {
        assert_eq!(slice.header.time_ns - slice.enter_ns, inside_ns(slice), "inside of {slice:?}");
        assert!(slice.gap_fault_ns <= slice.gap_blocked_ns, "{slice:?}");
        if let Some((sequence, ended_ns)) =
            last.insert(slice.header.tid, (slice.sequence, slice.header.time_ns))
        {
            assert_eq!(slice.sequence, sequence + 1, "nothing was lost");
            assert_eq!(gap_start_ns(slice), ended_ns, "the gap starts where the last slice ended: {slice:?}");
        }
    }
    assert!(trace.records.slices.len() >= 2 * 480, "a read and a write per request");
    assert!(trace.records.slices.iter().any(|slice| slice.folded_calls > 0), "no futex call was folded");
    let counters = trace.source.counters();
    let emitted: u64 = counters.emitted.iter().map(|(_, count)| count).sum();
    // The server's threads still emit (a finished sleep), so what was generated bounds what was received.
    assert!(counters.received <= emitted);
    Ok(trace)
}

#[test]
fn every_slice_adds_up_and_follows_the_one_before() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    check_slices(Hooks::Btf).map(drop)
}

#[test]
fn tracepoints_of_single_calls_give_the_same_and_detach_at_once() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut trace = check_slices(Hooks::Tracepoints)?;
    assert_eq!(trace.records.connections.len(), 8);
    assert!(trace.records.heads.iter().any(|(head, _)| head.direction == INBOUND));
    let detaching = Instant::now();
    trace.source.detach();
    // The kernel takes 70 ms for each of a hundred links; that is left to a process of its own.
    assert!(detaching.elapsed() < Duration::from_secs(1), "{:?}", detaching.elapsed());
    trace.collect()?;
    let counters = trace.source.counters();
    let emitted: u64 = counters.emitted.iter().map(|(_, count)| count).sum();
    assert_eq!(counters.received, emitted);
    assert_eq!(std::fs::read_to_string("/proc/self/mounts")?, mounts, "no mount is left behind");
    Ok(())
}

#[test]
fn cpu_and_run_queue_agree_with_schedstat() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let switches = Switches::start()?;
    let server = ToyServer::tcp(1)?;
    let stolen_before_ns = stolen_ns()?;
    let start_ns = monotonic_ns();
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let began = trace.source.start_totals(&every);
    // More of them than CPUs, so that there is a run queue to measure; forked, so that no interpreter lock
    // hides it.
    ask(&mut server.connect()?, "/burning-children/6")?;
    until("the children's last sleep", Duration::from_secs(60), || {
        trace.collect()?;
        let now_ns = monotonic_ns();
        let asleep = trace.source.open_slices(&every, now_ns).into_iter();
        Ok((asleep.filter(|open| open.system_call == Some(CLOCK_NANOSLEEP)).count() == 6).then_some(()))
    })?;
    let totals = trace.source.thread_totals(&every, &began);
    // A switch to a thread that no program saw: what it did since its account has as sleep, and says that
    // this may be CPU time.
    let of_open = |open: &OpenSlice| open.call_undecided_ns + open.gap_undecided_ns;
    let in_slices: u64 = trace.records.undecided.iter().map(|one| one.call_ns + one.gap_ns).sum();
    let undecided =
        in_slices + trace.source.open_slices(&every, monotonic_ns()).iter().map(of_open).sum::<u64>();
    let all: u64 = totals.iter().map(|thread| thread.until_ns.saturating_sub(thread.since_ns)).sum();
    assert!(
        undecided < all / 50,
        "{undecided} of {all} ns are undecided: whoever allows for that allows for anything"
    );
    let undecided = undecided as f64;
    let sum =
        |value: fn(&profiler_core::fact::ThreadTotals) -> u64| totals.iter().map(value).sum::<u64>() as f64;
    // The kernel's clock of tasks leaves out what a hypervisor took while they had a CPU; its clock of run
    // queues does not.
    let stolen = stolen_ns()?.saturating_sub(stolen_before_ns) as f64;
    let (cpu, kernel_cpu) = (sum(|thread| thread.ours.cpu_ns), sum(|thread| thread.kernel_cpu_ns));
    let (waited, kernel_waited) =
        (sum(|thread| thread.ours.run_queue_ns), sum(|thread| thread.kernel_run_queue_ns));
    assert!(kernel_waited > 1e9, "there was too little contention to compare");
    // From Linux 6.12 on the kernel adds the rest of a sleep in which it moved the thread to another CPU.
    let shown = switches.end(start_ns..u64::MAX)?;
    let moved = totals.iter().filter_map(|thread| shown.get(&thread.tid));
    let moved_asleep = moved.map(|times| times.moved_asleep_ns).sum::<u64>() as f64;
    assert!(moved_asleep < kernel_waited / 10.0, "{moved_asleep} of {kernel_waited} ns: nothing to compare");
    eprintln!("{undecided} of {all} ns are undecided; CPU {cpu} ns, the kernel's {kernel_cpu} ns");
    assert!(
        (kernel_cpu * 0.99 - undecided..=kernel_cpu * 1.01 + stolen).contains(&cpu),
        "CPU: ours {cpu} ns, the kernel's {kernel_cpu} ns, {stolen} ns stolen, {undecided} ns undecided"
    );
    assert!(
        (kernel_waited * 0.99 - moved_asleep - undecided..=kernel_waited * 1.01).contains(&waited),
        "run queue: ours {waited} ns, the kernel's {kernel_waited} ns, {moved_asleep} ns moved in their sleep, {undecided} undecided"
    );
    Ok(())
}

#[test]
fn waits_are_where_they_were_spent() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(1)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let mut stream = server.connect()?;
    ask(&mut stream, "/sleep/0.05")?;
    ask(&mut stream, "/child/0.05")?;
    let sleep = trace.until("the sleep", |records| records.calls(CLOCK_NANOSLEEP).next().copied())?;
    let certain = |slice: &SliceRecord| !slice.has(FLAG_WAKE_MISSED);
    assert!(sleep.call_blocked_ns >= 49_000_000 || !certain(&sleep), "{sleep:?}");
    let answer = trace.until("the second answer", |records| records.calls(SENDTO).nth(1).copied())?;
    // That call is not observed: a wait in it belongs to the gap.
    assert_eq!(answer.gap_blocked_call, WAIT4, "{answer:?}");
    assert!(answer.gap_blocked_ns >= 45_000_000 || !certain(&answer), "{answer:?}");
    Ok(())
}

#[test]
fn connection_head_and_arrival_come_with_a_request() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(1)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let mut stream = server.connect()?;
    let peer_port = stream.local_addr()?.port();
    let mut sent_ns = [0_u64; 3];
    for (number, sent) in sent_ns.iter_mut().enumerate() {
        let bytes = request(&format!("/{number}"));
        let (first, rest) = bytes.split_at(10);
        *sent = monotonic_ns();
        stream.write_all(first)?;
        // The first part is read before the second is sent: the head comes in two reads.
        trace.until("the first read", |records| {
            (records.calls(RECVFROM).count() > 2 * number).then_some(())
        })?;
        stream.write_all(rest)?;
        answer(&mut stream)?;
    }
    drop(stream);
    trace.until("the close", |records| {
        records.calls(CLOSE).any(|slice| slice.has(FLAG_CLIENT)).then_some(())
    })?;
    let records = &trace.records;

    let connection = records.connections.first().context("no connection record")?;
    assert_eq!(records.connections.len(), 1);
    assert_eq!(
        (connection.origin, connection.local_port, connection.peer_port),
        (ACCEPTED, server.port(), peer_port)
    );
    assert!(connection.established_ns > 0 && connection.established_ns < connection.header.time_ns);
    // The accept began before the attach: its slice is not invented, its connection known all the same.
    assert_eq!(records.calls(ACCEPT4).filter(|slice| slice.result >= 0).count(), 0);

    let reads: Vec<_> = records.calls(RECVFROM).filter(|slice| slice.result > 0).collect();
    assert_eq!(reads.len(), 6);
    for (number, read) in reads.iter().step_by(2).enumerate() {
        assert!(read.has(FLAG_CLIENT));
        assert!(
            ready_ns(read) >= sent_ns[number] && ready_ns(read) <= read.header.time_ns,
            "arrival of {number}: {read:?}"
        );
    }
    for (number, pair) in reads.chunks(2).enumerate() {
        let captured: Vec<_> = records
            .heads
            .iter()
            .filter(|(head, _)| {
                head.direction == INBOUND && pair.iter().any(|read| read.sequence == head.sequence)
            })
            .collect();
        assert_eq!(captured.iter().map(|(head, _)| head.offset_bytes).collect::<Vec<_>>(), [0, 10]);
        let bytes: Vec<u8> = captured.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(bytes, request(&format!("/{number}")), "request {number}");
    }
    let writes: Vec<_> = records.calls(SENDTO).collect();
    assert_eq!(writes.len(), 3);
    assert!(writes.iter().all(|slice| slice.has(FLAG_CLIENT | FLAG_STATUS_LINE)));
    let answers: Vec<_> = records.heads.iter().filter(|(head, _)| head.direction == OUTBOUND).collect();
    assert!(
        answers.iter().all(|(head, bytes)| head.offset_bytes == 0 && bytes.starts_with(b"HTTP/1.1 200 OK"))
    );
    assert_eq!(answers.len(), 3);
    Ok(())
}

#[test]
fn a_response_is_captured_to_the_end_of_its_head_and_no_further() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(1)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let mut stream = server.connect()?;
    for path in ["/parts", "/parts", "/"] {
        stream.write_all(&request(path))?;
        answer(&mut stream)?;
    }
    drop(stream);
    trace.until("the close", |records| {
        records.calls(CLOSE).any(|slice| slice.has(FLAG_CLIENT)).then_some(())
    })?;
    let records = &trace.records;
    assert_eq!(records.calls(SENDTO).count(), 4 + 4 + 1);
    let parts: [(u32, &[u8]); 2] = [(0, b"HTTP/1.1 200 OK\r\nContent-"), (25, b"Length: 6\r\n\r\n")];
    let whole: (u32, &[u8]) = (0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let captured = records.heads.iter().filter(|(head, _)| head.direction == OUTBOUND);
    let captured: Vec<(u32, &[u8])> =
        captured.map(|(head, bytes)| (head.offset_bytes, bytes.as_slice())).collect();
    assert_eq!(captured, [parts[0], parts[1], parts[0], parts[1], whole]);
    Ok(())
}

#[test]
fn connection_from_before_the_attach_is_seeded() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(2)?;
    let mut stream = server.connect()?;
    ask(&mut stream, "/before")?;
    until_inside(&[server.pid()], RECVFROM)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let peer_port = stream.local_addr()?.port();
    trace.until("the seeded connection", |records| {
        let seeded = records.connections.iter().find(|connection| connection.origin == SEEDED)?;
        assert_eq!((seeded.peer_port, seeded.listener_fd), (peer_port, -1));
        Some(())
    })?;
    assert_eq!(trace.records.connections.len(), 1, "seeded once");
    // The read that was open at the attach leaves no slice; the next one is whole.
    ask(&mut stream, "/open-read")?;
    ask(&mut stream, "/after")?;
    let (head, bytes) = trace.until("the head", |records| {
        records.heads.iter().find(|(head, _)| head.direction == INBOUND).cloned()
    })?;
    assert_eq!((head.offset_bytes, bytes), (0, request("/after")));
    Ok(())
}

#[test]
fn unix_connections_are_followed_like_others() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let directory = tempfile::tempdir()?;
    let server = ToyServer::unix(&directory.path().join("toy.sock"), 1)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let arrival = |trace: &mut KernelTrace, number: usize| {
        trace.until("the read", |records| {
            let mut reads = records.calls(RECVFROM).filter(|slice| slice.result > 0);
            reads.nth(number).map(|read| (read.has(FLAG_CLIENT), ready_ns(read)))
        })
    };
    let mut first = server.connect_unix()?;
    until("a server that waits for bytes", Duration::from_secs(10), || {
        let open = trace.source.open_slices(&every, monotonic_ns());
        Ok(open
            .iter()
            .any(|open| open.system_call == Some(RECVFROM) && open.call.blocked_ns > 0)
            .then_some(()))
    })?;
    let sent_ns = monotonic_ns();
    ask(&mut first, "/unix")?;
    let (is_client, arrived_ns) = arrival(&mut trace, 0)?;
    assert!(is_client && (sent_ns..monotonic_ns()).contains(&arrived_ns), "{arrived_ns}");
    // The only thread is busy with the first connection: these bytes come before their connection is
    // accepted.
    let mut second = server.connect_unix()?;
    let sent_ns = monotonic_ns();
    second.write_all(&request("/early"))?;
    let until_ns = monotonic_ns();
    drop(first);
    answer(&mut second)?;
    let (is_client, arrived_ns) = arrival(&mut trace, 1)?;
    assert!(is_client && (sent_ns..until_ns).contains(&arrived_ns), "{arrived_ns}");
    let families: Vec<_> = trace.records.connections.iter().map(|connection| connection.family).collect();
    assert_eq!(families, [1, 1]);
    Ok(())
}

/// A back end that answers once; between which two moments it did.
fn answer_as_back_end(mut stream: impl Read + Write) -> anyhow::Result<RangeInclusive<u64>> {
    let mut question = [0_u8; 3];
    stream.read_exact(&mut question)?;
    let before_ns = monotonic_ns();
    stream.write_all(b"told")?;
    Ok(before_ns..=monotonic_ns())
}

#[test]
fn an_answer_of_a_back_end_is_known_since_it_came() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(1)?;
    let back_end = TcpListener::bind(("127.0.0.1", 0))?;
    let path = format!("/ask/{}", back_end.local_addr()?.port());
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    let mut stream = server.connect()?;
    stream.write_all(&request(&path))?;
    let (asking, _) = back_end.accept()?;
    let first = answer_as_back_end(&asking)?;
    answer(&mut stream)?;
    // The connection is kept.
    stream.write_all(&request(&path))?;
    let second = answer_as_back_end(&asking)?;
    answer(&mut stream)?;
    trace
        .until("both answers to the client", |records| (records.calls(SENDTO).count() == 4).then_some(()))?;
    let is_back_end = |slice: &&SliceRecord| slice.has(FLAG_BACK_END);
    let reads: Vec<_> = trace.records.calls(RECVFROM).filter(is_back_end).collect();
    assert_eq!(reads.len(), 2);
    for (read, answered_ns) in reads.iter().zip([first, second]) {
        assert!(answered_ns.contains(&ready_ns(read)), "{answered_ns:?}: {read:?}");
    }
    // On loopback the connection is made before connect returns; the process is told once.
    let connect = trace.records.calls(CONNECT).next().context("no connect")?;
    let writes: Vec<_> = trace.records.calls(SENDTO).filter(is_back_end).map(ready_ns).collect();
    assert_eq!(writes, [connect.header.time_ns, 0]);
    Ok(())
}

#[test]
fn a_back_end_from_before_the_attach_is_known_and_one_behind_a_unix_socket() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("back-end.sock");
    let back_end = UnixListener::bind(&socket)?;
    let path = format!("/ask/{}", socket.display().to_string().replace('/', "+"));
    let server = ToyServer::tcp(1)?;
    let mut stream = server.connect()?;
    stream.write_all(&request(&path))?;
    let (asking, _) = back_end.accept()?;
    answer_as_back_end(&asking)?;
    answer(&mut stream)?;
    until_inside(&[server.pid()], RECVFROM)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    // The read of the client that is open at the attach leaves no slice.
    stream.write_all(&request(&path))?;
    let answered_ns = answer_as_back_end(&asking)?;
    answer(&mut stream)?;
    let read = trace.until("the read of the answer", |records| {
        records.calls(RECVFROM).find(|slice| slice.has(FLAG_BACK_END)).copied()
    })?;
    assert!(answered_ns.contains(&ready_ns(&read)), "{answered_ns:?}: {read:?}");
    Ok(())
}

#[test]
fn children_are_followed_from_their_first_instruction_to_their_end() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(1)?;
    let mut trace = KernelTrace::start(server.pid(), &Settings::default())?;
    ask(&mut server.connect()?, "/child/0.02")?;
    let exit = trace.until("the child's end", |records| {
        records.lifecycles.iter().find(|event| event.what == EXIT).copied()
    })?;
    assert_eq!(Death::of(exit.detail).exit_code >> 8, 3, "exit status");
    let fork = trace.records.lifecycles.iter().find(|event| event.what == FORK).context("no fork")?;
    assert_eq!((fork.header.tgid, fork.other_tid), (server.pid(), exit.header.tid));
    // In our own PID namespace a thread calls itself as we do.
    assert_eq!(Birth::of(fork.detail).own_number, fork.other_tid);
    let child: Vec<_> =
        trace.records.slices.iter().filter(|slice| slice.header.tid == exit.header.tid).collect();
    let first = child.first().context("no slice of the child")?;
    assert_eq!(
        (first.sequence, gap_start_ns(first)),
        (1, fork.header.time_ns),
        "its first gap starts at its birth"
    );
    assert!(child.iter().any(|slice| u32::from(slice.system_call) == CLOCK_NANOSLEEP));
    Ok(())
}
