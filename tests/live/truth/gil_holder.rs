//! Who had the interpreter lock, for how long, and whether it gave it up when asked, against the
//! application's own clocks.
//!
//! In: servers whose requests keep the lock for a known time. Out: verdicts.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::{exclusive, shared};
use wsgi_trace_test_support::gil_episodes::waits_of;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::switches::{Switches, Times};
use wsgi_trace_test_support::trace::{Trace, Traced};
use wsgi_trace_test_support::witness::Witness;

const HOLD: &str = "GET /truth/hold/{number}/{number}";

/// Pairs of requests: one keeps the lock for `hold_ms` in C code, the other wants it 20 ms after that began.
fn holds_and_wants(pairs: usize, hold_ms: u32, mode: &[&str]) -> anyhow::Result<(Traced, Vec<Witness>)> {
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let trace = Trace::start_with(server.master(), mode)?;
    let count = pairs.to_string();
    let options = |route: &str| -> Vec<String> {
        ["--requests", &count, "--seconds", "60", "--clients", "1", "--routes", route]
            .map(str::to_owned)
            .to_vec()
    };
    let start = |route: &str| {
        let options = options(route);
        Load::start(server.address(), &options.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let wants = start("/truth/want/20")?;
    let holds = start(&format!("/truth/hold/{hold_ms}"))?;
    let answered = wants.finish()?.answered() + holds.finish()?.answered();
    server.access_log(answered)?;
    let traced = trace.end()?;
    Ok((traced, server.witness()?))
}

#[test]
fn a_request_that_keeps_the_lock_is_named_by_those_that_wait_and_the_time_is_theirs() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    the_one_that_holds_is_named(&[])
}

#[test]
fn light_mode_names_a_request_that_keeps_the_lock_and_the_time_is_that_of_those_that_wait()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    the_one_that_holds_is_named(&["--light"])
}

/// A request keeps the lock for a known time while another, timed by its own clock, waits. The edge names its
/// endpoint and thread, and is as long as the wait. `mode`: how it is watched.
fn the_one_that_holds_is_named(mode: &[&str]) -> anyhow::Result<()> {
    const PAIRS: usize = 6;
    const HOLD_MS: u32 = 120;
    let (traced, witnesses) = holds_and_wants(PAIRS, HOLD_MS, mode)?;
    let holders: Vec<&Witness> = witnesses.iter().filter(|witness| witness.kind == "hold").collect();
    let mut checked = 0;
    let (mut all_ours_ns, mut all_theirs_ns) = (0, 0);
    traced.undecided_ns()?;
    let not_seen = traced.number("/losses/undecided_waits")?;
    // Which of the two had the CPU that a hypervisor took, and when, nobody knows: all of them together
    // differ by no more.
    let (mut off_ns, mut short_ns) = (0, 0);
    let stolen_ns = traced.number("/losses/conservation/stolen_ns")?;
    for witness in witnesses.iter().filter(|witness| witness.kind == "want") {
        let ours = traced
            .requests
            .iter()
            .find(|request| request.path() == format!("/truth/want/20/{}", witness.id))
            .context("a request is missing")?;
        let held_ns: u64 = ours.gil_holders.iter().map(|holder| holder.wait_ns).sum();
        assert_eq!(held_ns, ours.phase_ns("gil_wait"), "holders add up to the phase");
        // From the end of its 20 ms to that of the hold, two moments fixed before: after the hold, who waited
        // goes first. It may have been ready without a CPU meanwhile, as the other may have been at
        // its end.
        let wanted_ns = witness.until_ns.context("no moment")?;
        let hold = holders
            .iter()
            .find(|hold| hold.until_ns.is_some_and(|until_ns| (hold.start_ns..until_ns).contains(&wanted_ns)))
            .context("nobody held the lock")?;
        // The thread of the hold before may have it for a moment more, on its way out of the same endpoint.
        let by_hold = ours
            .gil_holders
            .iter()
            .filter(|holder| holder.endpoint.as_deref() == Some(HOLD) && holder.tid == Some(hold.tid));
        let ours_ns: u64 = by_hold.map(|holder| holder.wait_ns).sum();
        let theirs_ns = hold.until_ns.unwrap_or(wanted_ns) - wanted_ns;
        let without_cpu_ns = witness.run_queue_ns + hold.run_queue_ns;
        // A kernel that runs no program while a thread that it protects has the CPU shows no wakeup by what
        // interrupts that. Otherwise only the request's beginning may be unexplained. It may have
        // come while a thread ran and stood in the run queue, in an order that its account does not
        // have. The application was not called yet then.
        let unexplained_ns = ours.phase_ns("unexplained");
        let uncalled_ns = witness.start_ns.saturating_sub(ours.start_ns);
        assert!(
            unexplained_ns <= uncalled_ns || not_seen > 0,
            "{unexplained_ns} ns unexplained, {uncalled_ns} before the application was called, and nothing was missed"
        );
        let unexplained_ns = if not_seen > 0 { unexplained_ns } else { 0 };
        let not_told_ns = without_cpu_ns + unexplained_ns;
        eprintln!(
            "request {}: {:.2} ms because of the one that held; by their own clocks {:.2} ms (and {:.2} ms without a CPU, \
             {:.2} ms unexplained)",
            witness.id,
            ours_ns as f64 / 1e6,
            theirs_ns as f64 / 1e6,
            without_cpu_ns as f64 / 1e6,
            unexplained_ns as f64 / 1e6
        );
        assert!(theirs_ns > 60_000_000, "the load did not contend");
        off_ns += ours_ns.abs_diff(theirs_ns).saturating_sub(theirs_ns / 50 + not_told_ns);
        assert!(
            off_ns <= stolen_ns,
            "{ours_ns} against {theirs_ns}, {not_told_ns} without a CPU or unexplained; so far {off_ns} too much, {stolen_ns} stolen: {:?}, {:?}",
            ours.gil_holders,
            ours.phases
        );
        // Others may have had it after that one: all together it is the time that it slept beyond its 20 ms.
        let asleep_ns = witness.asleep_ns().saturating_sub(20_000_000);
        let told_ns = held_ns + witness.run_queue_ns + unexplained_ns + asleep_ns / 50;
        short_ns += asleep_ns.saturating_sub(told_ns);
        assert!(
            short_ns <= stolen_ns,
            "{held_ns} against {asleep_ns}; so far {short_ns} too little, {stolen_ns} stolen"
        );
        all_ours_ns += ours_ns;
        all_theirs_ns += theirs_ns - without_cpu_ns.min(theirs_ns);
        checked += 1;
    }
    assert_eq!(checked, PAIRS);
    eprintln!("all: {all_ours_ns} ns against {all_theirs_ns} ns surely waited");

    // Who waited asked for the lock after its switch interval, and was not heard: C code does not look.
    let lock = traced.value("/gil/locks")?.get(0).context("no lock")?;
    let number = |key: &str| lock.get(key).and_then(Value::as_u64).with_context(|| format!("no {key}"));
    let not_honoured_ns = number("drop_not_honoured_ns")?;
    let interval_ns = number("switch_interval_ns")?;
    eprintln!(
        "{} requests not honoured, {:.1} ms",
        number("drop_not_honoured")?,
        not_honoured_ns as f64 / 1e6
    );
    assert!(number("drop_not_honoured")? >= PAIRS as u64);
    assert!(not_honoured_ns <= number("wait_ns")?);
    // From the request, one interval after the wait began, to the release.
    let expected_ns = all_theirs_ns.saturating_sub(PAIRS as u64 * interval_ns);
    assert!(not_honoured_ns >= expected_ns - expected_ns / 10, "{not_honoured_ns} against {expected_ns}");
    assert!(number("held_at_most_ns")? >= number("held_at_least_ns")?);
    Ok(())
}

/// Threads that only compute hand the lock over whenever they are asked: no request goes unheard, and each is
/// made to give it up.
#[test]
#[ignore = "make live: 1 of 130 runs lacked one sleep of a switch interval that the tracer shows, and that is not understood"]
fn threads_that_compute_give_the_lock_up_when_asked() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let switches = Switches::start()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 2))?;
    let trace = Trace::start(server.master())?;
    let sent =
        Load::run(server.address(), &["--requests", "1", "--clients", "1", "--routes", "/truth/gil/250"])?;
    server.access_log(sent.answered())?;
    let others = threads_of(&server.worker_pids())?;
    let shown = switches.stop()?;
    let traced = trace.end()?;
    let witnesses: Vec<_> = server.witness()?.into_iter().filter(|witness| witness.kind == "cpu").collect();
    let [one, other] = witnesses.as_slice() else { anyhow::bail!("not two threads") };
    // Their own clocks leave what a hypervisor took to their sleep, and what they slept now and then to the
    // run queue (Linux 6.12). Between the moments that they give, the kernel's tracer is the witness. Who
    // is not one of the two can have the lock only while it has a CPU, or waits for one.
    let of_one = shown.within(one.start_ns..one.end_ns);
    let of_other = shown.within(other.start_ns..other.end_ns);
    let of_both = shown.within(one.start_ns.min(other.start_ns)..one.end_ns.max(other.end_ns));
    let sum = |times: &BTreeMap<u32, Times>, tids: &[u32]| {
        tids.iter().filter_map(|tid| times.get(tid)).fold(Times::default(), |sum, times| sum.plus(*times))
    };
    let third = sum(&of_both, &others);
    let third_ns = third.cpu_ns + third.run_queue_ns;
    let lock = traced.value("/gil/locks")?.get(0).context("no lock")?;
    let number = |key: &str| lock.get(key).and_then(Value::as_u64).with_context(|| format!("no {key}"));
    let (forced, voluntary) = (number("after_forced_release")?, number("after_voluntary_release")?);
    eprintln!("{forced} waits after a forced release, {voluntary} after a voluntary one; {lock}");
    // Who waited a whole interval has asked, once or more, and is heard. Shorter waits are those of threads
    // that begin and end: how many there are is the machine's affair, and which of them follow a forced
    // release.
    let cycles = lock.get("cycles").and_then(Value::as_array).context("no cycles")?;
    let asked: u64 = cycles.iter().skip(1).filter_map(Value::as_u64).sum();
    assert!(asked > 10 && forced * 10 >= asked * 9, "{asked} asked, {forced} forced");
    // A holder that has no CPU cannot hear: only that may go unheard here.
    let both = sum(&of_both, &[one.tid, other.tid]);
    let without_cpu_ns = both.run_queue_ns + both.cpu_ns.saturating_sub(both.counted_cpu_ns) + third_ns;
    assert!(number("drop_not_honoured_ns")? <= without_cpu_ns, "{lock}");
    // Each waits because of the other, for as long as it was neither running nor without a CPU.
    let edges = traced.value("/gil/thread_edges")?.as_array().context("no edges")?;
    let told = waits_of(&traced.recording)?;
    for (waiter, holder, times) in [(one, other, of_one), (other, one, of_other)] {
        let tid = |edge: &Value, side: &str| edge.pointer(&format!("/{side}/tid")).and_then(Value::as_u64);
        let edge = edges
            .iter()
            .find(|edge| {
                tid(edge, "waiter") == Some(waiter.tid.into())
                    && tid(edge, "holder") == Some(holder.tid.into())
            })
            .context("no edge between the two")?;
        let ours_ns = edge.get("total_ns").and_then(Value::as_u64).context("no time")?;
        // The edge is all that the thread waited because of the other. The time before its clocks were read
        // first and after they were read last counts too, when each short call costs it an interval.
        let all_ns: u64 = told
            .stretches
            .iter()
            .filter(|stretch| {
                stretch.tid == waiter.tid && stretch.holder_tid == holder.tid && !stretch.is_handover
            })
            .map(|stretch| stretch.end_ns - stretch.start_ns)
            .sum();
        assert!((all_ns..=all_ns + all_ns / 100).contains(&ours_ns), "{ours_ns} against {all_ns}");
        // Between them it slept for the lock alone, and for another to take it where it had given it up by
        // force.
        let (by_holder, handover_ns) = told.asleep(waiter.tid, waiter.start_ns, waiter.end_ns);
        let because_of_other_ns = by_holder.get(&holder.tid).copied().unwrap_or(0);
        let for_lock_ns: u64 = by_holder.values().sum();
        // A kernel that runs no program while a thread that it protects has the CPU shows no wakeup by what
        // interrupts that.
        let undecided_ns = told.undecided_ns(waiter.tid, waiter.start_ns, waiter.end_ns);
        let theirs_ns = sum(&times, &[waiter.tid]).asleep_ns;
        eprintln!(
            "thread {} waited {:.1} ms because of {}; while its own clocks were read it slept {:.1} ms for the lock, {:.1} ms of it \
             because of that one, and {:.1} ms for the next holder ({:.1} ms undecided); by the tracer {:.1} ms of {:.1} ms, by \
             the clocks {:.1} ms; others could have had the lock for {:.1} ms",
            waiter.tid,
            ours_ns as f64 / 1e6,
            holder.tid,
            for_lock_ns as f64 / 1e6,
            because_of_other_ns as f64 / 1e6,
            handover_ns as f64 / 1e6,
            undecided_ns as f64 / 1e6,
            theirs_ns as f64 / 1e6,
            waiter.wall_ns as f64 / 1e6,
            waiter.asleep_ns() as f64 / 1e6,
            third_ns as f64 / 1e6
        );
        assert!(because_of_other_ns + third_ns >= for_lock_ns - for_lock_ns / 50, "{by_holder:?}");
        // What is undecided may have been sleep or not, and is said to be neither.
        let slept_ns = for_lock_ns + handover_ns;
        assert!(slept_ns + theirs_ns / 50 >= theirs_ns, "{slept_ns} against {theirs_ns}");
        assert!(
            slept_ns - undecided_ns <= theirs_ns + theirs_ns / 50,
            "{slept_ns}, {undecided_ns} of it undecided, against {theirs_ns}"
        );
    }
    // One of the two has the lock while the other waits.
    let computed_ns = one.cpu_ns + other.cpu_ns;
    assert!(number("held_at_most_ns")? + computed_ns / 50 >= computed_ns);
    Ok(())
}

/// The threads that these processes have now.
fn threads_of(pids: &[u32]) -> anyhow::Result<Vec<u32>> {
    let mut threads = Vec::new();
    for pid in pids {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            threads.push(task?.file_name().to_string_lossy().parse()?);
        }
    }
    Ok(threads)
}

/// In a container threads have other numbers than here: those that wait and those that hold are named by
/// ours.
#[test]
fn holders_in_another_pid_namespace_are_named_by_their_numbers_here() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(Version::V27.python());
    command
        .arg(wsgi_trace_test_support::root().join("tests/apps/gil_pair.py"))
        .arg("600")
        .stdout(Stdio::piped());
    let mut outside = Child::start(&mut command, "unshare")?;
    let mut line = String::new();
    BufReader::new(outside.take_stdout().context("no output")?).read_line(&mut line)?;
    assert_eq!(line, "ready\n");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", outside.pid()))?;
    let pid = children.split_whitespace().next().context("nobody in there")?;
    let arguments = ["--pid", pid, "--duration", "1500ms", "--format", "json"];
    let outcome = Program::run(&arguments, Duration::from_secs(60))?;
    let report: Value = serde_json::from_str(&outcome.stdout)?;
    let main: u64 = pid.parse()?;
    let tasks: Vec<u64> = std::fs::read_dir(format!("/proc/{pid}/task"))?
        .map(|task| Ok(task?.file_name().to_string_lossy().parse()?))
        .collect::<anyhow::Result<_>>()?;
    let [one, other] = tasks.iter().copied().filter(|tid| *tid != main).collect::<Vec<_>>()[..] else {
        anyhow::bail!("not two threads: {tasks:?}")
    };
    let edges = report.pointer("/gil/thread_edges").and_then(Value::as_array).context("no edges")?;
    let (mut all_ns, mut known_ns) = (0, 0);
    for edge in edges {
        let tid = |side: &str| edge.pointer(&format!("/{side}/tid")).and_then(Value::as_u64);
        let total_ns = edge.get("total_ns").and_then(Value::as_u64).context("no time")?;
        eprintln!("{:?} because of {:?}: {:.1} ms", tid("waiter"), tid("holder"), total_ns as f64 / 1e6);
        all_ns += total_ns;
        if [(Some(one), Some(other)), (Some(other), Some(one))].contains(&(tid("waiter"), tid("holder"))) {
            known_ns += total_ns;
        }
    }
    // `unshare` hears no signal that asks while its child lives.
    outside.kill();
    assert!(all_ns > 100_000_000, "the threads did not contend");
    assert!(known_ns >= all_ns - all_ns / 10, "{known_ns} of {all_ns}");
    Ok(())
}

/// A thread that lives for less than the second between two looks at `/proc` has its number from its birth.
#[test]
fn holders_in_another_pid_namespace_that_live_for_a_moment_are_named_as_well() -> anyhow::Result<()> {
    const PAIRS: usize = 8;
    require_bpf!(Ok(()));
    let _turn = shared()?;
    // Its /proc is ours: there its threads read the numbers that they have here.
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).arg(Version::V27.python());
    command.arg(wsgi_trace_test_support::root().join("tests/apps/gil_young.py")).arg(PAIRS.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut outside = Child::start(&mut command, "unshare")?;
    let mut lines = BufReader::new(outside.take_stdout().context("no output")?).lines();
    let mut line = || lines.next().context("it ended")?.context("its output");
    assert_eq!(line()?, "ready");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", outside.pid()))?;
    let pid = children.split_whitespace().next().context("nobody in there")?;
    let mut program = Program::start(&["--pid", pid, "--format", "json"])?;
    program.wait_for_stderr("watching")?;
    outside.take_stdin().context("no input")?.write_all(b"\n")?;
    let mut other_of = BTreeMap::new();
    for _ in 0..PAIRS {
        let pair = line()?;
        let (one, other) = pair.split_once(' ').context("not two threads")?;
        let (one, other): (u64, u64) = (one.parse()?, other.parse()?);
        other_of.extend([(one, other), (other, one)]);
    }
    assert_eq!(line()?, "done");
    program.signal(libc::SIGINT);
    let report: Value = serde_json::from_str(&program.finish(Duration::from_secs(60))?.stdout)?;
    // `unshare` hears no signal that asks while its child lives.
    outside.kill();
    let edges = report.pointer("/gil/thread_edges").and_then(Value::as_array).context("no edges")?;
    let (mut all_ns, mut known_ns) = (0, 0);
    for edge in edges {
        let tid = |side: &str| edge.pointer(&format!("/{side}/tid")).and_then(Value::as_u64);
        let total_ns = edge.get("total_ns").and_then(Value::as_u64).context("no time")?;
        let other = tid("waiter").and_then(|waiter| other_of.get(&waiter));
        eprintln!("{:?} because of {:?}: {:.1} ms", tid("waiter"), tid("holder"), total_ns as f64 / 1e6);
        if other.is_some() {
            all_ns += total_ns;
            known_ns += if tid("holder") == other.copied() { total_ns } else { 0 };
        }
    }
    assert!(all_ns > 100_000_000, "the threads did not contend");
    assert!(known_ns >= all_ns - all_ns / 10, "{known_ns} of {all_ns}");
    Ok(())
}
