//! The kernel side at its bounds: a full ring, a full table, another profiler, a killed one.
//!
//! In: root. Out: verdicts; skipped with the reason where BPF programs cannot be loaded.

use std::time::Duration;

use profiler_common::loss::{RING_FULL_SLICE, THREAD_TABLE_FULL};
use profiler_common::system_call::ACCEPT4;
use wsgi_trace::attach::Settings;
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace::source::live::every;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::kernel_trace::KernelTrace;
use wsgi_trace_test_support::program::{Program, kernel_programs};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::toy::{ToyServer, ask, load};

#[test]
fn overfull_ring_is_counted_to_the_record() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(2)?;
    let settings = Settings { ring_bytes: Some(4096), ..Settings::default() };
    let mut trace = KernelTrace::start(server.pid(), &settings)?;
    load(&server, 2, 100, &["/"])?;
    // Nobody writes any more once all threads are back in accept.
    let everyone = trace.source.followed_threads();
    let open = until("the server's rest", Duration::from_secs(10), || {
        let open = trace.source.open_slices(&every, monotonic_ns());
        let resting = open.iter().filter(|open| open.system_call.is_some_and(|call| call == ACCEPT4)).count();
        Ok((resting + 1 == everyone).then_some(open))
    })?;
    let sequences: u64 = open.iter().map(|open| u64::from(open.sequence)).sum();
    trace.collect()?;
    let counters = trace.source.counters();
    let emitted: u64 = counters.emitted.iter().map(|(_, count)| count).sum();
    assert_eq!(counters.received, emitted, "what was handed over arrived");
    let lost = trace.source.lost(RING_FULL_SLICE);
    assert!(lost > 100, "the ring was never full: {counters:?}");
    let received = trace.records.slices.len() as u64;
    assert_eq!(sequences, received + lost, "generated = received + lost; {everyone} threads: {open:?}");
    Ok(())
}

#[test]
fn full_thread_table_is_counted_and_leaves_the_others_alone() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(4)?;
    let settings = Settings { max_threads: Some(3), ..Settings::default() };
    let trace = KernelTrace::start(server.pid(), &settings)?;
    assert_eq!(trace.source.followed_threads(), 3);
    assert!(trace.source.lost(THREAD_TABLE_FULL) >= 2);
    Ok(())
}

#[test]
fn second_profiler_on_the_same_process_is_noticed() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(1)?;
    let find = &mut || vec![server.pid()];
    let (_first, report) = wsgi_trace::attach::attach(&Settings::default(), find)?;
    assert_eq!(report.other_profilers, 0);
    // A full trace beside light mode is of the same process, and no other profiler.
    let (second, report) = wsgi_trace::attach::attach(&Settings::default(), find)?;
    assert_eq!(report.other_profilers, 0);
    drop(second);
    let other = Program::start(&["--hooks", "btf", "--pid", &server.pid().to_string()])?;
    until("the attach", Duration::from_secs(30), || {
        Ok((kernel_programs(other.pid()).len() >= BTF_PROGRAMS).then_some(()))
    })?;
    let (_third, report) = wsgi_trace::attach::attach(&Settings::default(), find)?;
    assert_eq!(report.other_profilers, 1);
    Ok(())
}

/// Programs of the form that hooks all system calls at once.
const BTF_PROGRAMS: usize = 12;

#[test]
fn killed_profiler_leaves_nothing_in_the_kernel() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = ToyServer::tcp(2)?;
    let mut stream = server.connect()?;
    for _ in 0..5 {
        let program = Program::start(&["--hooks", "btf", "--pid", &server.pid().to_string()])?;
        let ours = until("the attach", Duration::from_secs(30), || {
            let programs = kernel_programs(program.pid());
            Ok((programs.len() >= BTF_PROGRAMS).then_some(programs))
        })?;
        ask(&mut stream, "/while-traced")?;
        program.signal(libc::SIGKILL);
        until("the programs' end", Duration::from_secs(30), || {
            let left =
                aya::programs::loaded_programs().filter_map(Result::ok).any(|info| ours.contains(&info.id()));
            Ok((!left).then_some(()))
        })?;
        ask(&mut stream, "/after-the-kill")?;
    }
    Ok(())
}
