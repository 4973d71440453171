//! What must hold of a trace of the toy server, on any kernel.
//!
//! In: raw records and counters of one run. Out: one verdict a check. No check measures time: in emulation
//! there is none.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use profiler_core::decode::decode;
use profiler_core::event::{Body, Call, Change, Event, Slice};
use profiler_core::fact::ListenerWakes;
use wsgi_trace::attach::gil::Wanted;
use wsgi_trace::attach::{AttachError, Hooks, Settings, attach};
use wsgi_trace::source::live::LiveSource;
use wsgi_trace_test_support::child::until;

use crate::known::{nothing_else_is_missing, preempts_programs_at_calls};
use crate::program;
use crate::toy::{REQUESTS, REQUESTS_PER_CONNECTION, Toy};

const CONNECTIONS: usize = REQUESTS / REQUESTS_PER_CONNECTION;

/// A name and its verdict.
pub(crate) type Check = (&'static str, anyhow::Result<()>);

/// The kernel is too old: attaching says so, in one sentence, and leaves the server alone.
pub(crate) fn refusal() -> Vec<Check> {
    let refused = Toy::start().and_then(|toy| {
        let outcome = attach(&Settings::default(), &mut || vec![toy.pid()]);
        toy.drive(REQUESTS_PER_CONNECTION)?;
        match outcome {
            Err(error @ AttachError::KernelTooOld { .. }) => {
                println!("it says: {error}");
                Ok(())
            }
            Err(error) => bail!("refused for another reason: {error}"),
            Ok(_) => bail!("attached to a kernel that is too old"),
        }
    });
    vec![
        ("a kernel that is too old is refused", refused),
        ("the program says so, with its exit code", program::refuses()),
    ]
}

/// The whole way: attach, follow a server through some requests, take the records.
pub(crate) fn tracing() -> Vec<Check> {
    let mut checks = match trace(&Settings { hooks: Hooks::Btf, ..Settings::default() }) {
        Ok(run) => vec![
            ("every record of the ring decodes", Ok(())),
            ("slices and the gaps between them add up", run.identities()),
            ("each thread's slices are numbered without a hole", run.sequences()),
            ("each connection is accepted once and known", run.connections()),
            ("each request is read, slept over and answered", run.calls()),
            ("each head is captured, in and out", run.heads()),
            ("each thread's birth and end is seen", run.lifecycles()),
            ("arrivals are seen where the kernel has them", run.arrivals()),
            ("arriving connections and the threads they wake are counted", run.wakes()),
            ("nothing is lost, and what was sent was received", run.losses()),
        ],
        Err(error) => vec![("attach and trace", Err(error))],
    };
    checks.push((
        "tracepoints of single calls give the same",
        trace(&Settings { hooks: Hooks::Tracepoints, ..Settings::default() }).and_then(|run| run.all()),
    ));
    // The toy has no interpreter: that the kernel takes the larger programs is what is asked.
    let gil = Wanted { stacks: true, ..Wanted::default() };
    for hooks in [Hooks::Btf, Hooks::Tracepoints] {
        let settings = Settings { hooks, gil, ..Settings::default() };
        checks.push(("programs that read frames give the same", trace(&settings).and_then(|run| run.all())));
    }
    checks.push(("clients of a full accept queue are counted", crate::overflow::counted()));
    checks.push(("clients of a full UNIX queue are counted", crate::overflow::counted_over_unix()));
    checks.push(("the program reports every request", program::reports()));
    checks
}

/// What one run left.
struct Run {
    events: Vec<Event>,
    arrival_measured: bool,
    lost: Vec<(String, u64)>,
    emitted: u64,
    received: u64,
    listeners: Vec<ListenerWakes>,
    /// Runs of programs that the kernel skipped, where it is known to (docs/limits.md).
    skipped: usize,
}

fn trace(settings: &Settings) -> anyhow::Result<Run> {
    let toy = Toy::start()?;
    let (mut source, report) = attach(settings, &mut || vec![toy.pid()]).map_err(say_all)?;
    println!("attached {} programs", report.programs.len());
    for missing in &report.missing {
        println!("without {}: {}", missing.program, missing.reason);
    }
    nothing_else_is_missing(&report)?;
    toy.drive(REQUESTS)?;
    let mut events = Vec::new();
    let mut unreadable = None;
    until("the end of every thread that served", std::time::Duration::from_secs(30), || {
        take(&mut source, &mut events, &mut unreadable);
        let ends =
            events.iter().filter(|event| is_change(event, |change| matches!(change, Change::Exit { .. })));
        Ok((ends.count() >= CONNECTIONS).then_some(()))
    })
    .with_context(|| format!("{} events came: {}", events.len(), summary(&events)))?;
    let counters = source.counters();
    if !counters.recursion_misses.is_empty() {
        println!("skipped runs: {:?}", counters.recursion_misses);
    }
    let skipped: u64 = counters.recursion_misses.iter().map(|(_, count)| count).sum();
    if let Some(error) = unreadable {
        bail!("a record does not decode: {error}");
    }
    println!("{} events: {}", events.len(), summary(&events));
    Ok(Run {
        events,
        arrival_measured: report.arrival_measured,
        lost: counters.lost,
        emitted: counters.emitted.iter().map(|(_, count)| count).sum(),
        received: counters.received,
        skipped: if preempts_programs_at_calls() { usize::try_from(skipped)? } else { 0 },
        listeners: source.listener_counts().listeners,
    })
}

fn take(source: &mut LiveSource, events: &mut Vec<Event>, unreadable: &mut Option<String>) {
    source.drain(|bytes| match decode(bytes) {
        Ok(event) => events.push(event),
        Err(error) => *unreadable = Some(error.to_string()),
    });
}

/// An attach error with its sources: the verifier's log is among them.
fn say_all(error: AttachError) -> anyhow::Error {
    anyhow::anyhow!("{:#}", anyhow::Error::new(error))
}

fn summary(events: &[Event]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        let kind = match event.body {
            Body::Slice(_) => "slices",
            Body::Head(_) => "heads",
            Body::Plaintext(_) => "plaintexts",
            Body::Connection(_) => "connections",
            Body::Wake(_) => "wakes",
            Body::Frames(_) => "frames",
            Body::Task(_) => "tasks",
            Body::Timer(_) => "timers",
            Body::Lifecycle(_) => "lifecycle events",
            Body::Evidence(_) => "pieces of evidence",
            Body::Light(_) => "light slices",
            Body::LightEnd(_) => "ends of light mode",
            Body::Slept(_) => "sleeps",
            Body::CpuTaken(_) => "waits for a CPU",
            Body::Fact(_) => "facts",
        };
        *counts.entry(kind).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn is_change(event: &Event, wanted: impl Fn(Change) -> bool) -> bool {
    matches!(&event.body, Body::Lifecycle(lifecycle) if wanted(lifecycle.change))
}

impl Run {
    /// Every check of a run.
    fn all(&self) -> anyhow::Result<()> {
        self.identities()?;
        self.sequences()?;
        self.connections()?;
        self.calls()?;
        self.heads()?;
        self.lifecycles()?;
        self.wakes()?;
        self.losses()
    }

    fn slices(&self) -> impl Iterator<Item = (u64, &Slice)> {
        self.events.iter().filter_map(|event| match &event.body {
            Body::Slice(slice) => Some((event.time_ns, slice)),
            _ => None,
        })
    }

    fn count(&self, what: &str, expected: usize, wanted: impl Fn(&Slice) -> bool) -> anyhow::Result<()> {
        self.are(self.slices().filter(|(_, slice)| wanted(slice)).count(), what, expected)
    }

    /// As many as expected. A call whose program was skipped is not there, and of an accept all that came on
    /// its connection.
    fn are(&self, count: usize, what: &str, expected: usize) -> anyhow::Result<()> {
        let least = expected.saturating_sub(self.skipped * REQUESTS_PER_CONNECTION);
        ensure!((least..=expected).contains(&count), "{count} {what}, expected {least} to {expected}");
        Ok(())
    }

    fn identities(&self) -> anyhow::Result<()> {
        let mut ends: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        for (exit_ns, slice) in self.slices() {
            let inside = slice.inside.total_ns();
            let length = exit_ns.checked_sub(slice.enter_ns).context("a call that ends before it begins")?;
            ensure!(inside == length, "a call of {length} ns accounts for {inside} ns: {slice:?}");
            if let Some((sequence, end)) = ends.insert(slice.tid, (slice.sequence, exit_ns))
                && sequence.wrapping_add(1) == slice.sequence
            {
                let start = slice.gap_start_ns();
                ensure!(start == end, "a gap starts at {start}, the slice before ended at {end}: {slice:?}");
            }
        }
        ensure!(!ends.is_empty(), "no slice came");
        Ok(())
    }

    fn sequences(&self) -> anyhow::Result<()> {
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for (_, slice) in self.slices() {
            if let Some(before) = last.insert(slice.tid, slice.sequence) {
                ensure!(
                    slice.sequence == before.wrapping_add(1),
                    "{} after {before}: {slice:?}",
                    slice.sequence
                );
            }
        }
        Ok(())
    }

    fn connections(&self) -> anyhow::Result<()> {
        // The first accept had begun before anybody looked: its start is unknown, and it is no slice.
        let accepts = self.slices().filter(|(_, slice)| is_accept(slice)).count();
        self.are(accepts.max(CONNECTIONS.min(accepts + 1)), "accepts", CONNECTIONS)?;
        let mut sockets = std::collections::BTreeSet::new();
        for event in &self.events {
            if let Body::Connection(connection) = &event.body {
                ensure!(connection.peer_port != 0, "a connection without the client's port: {connection:?}");
                ensure!(
                    connection.established_ns != 0 && connection.established_ns <= event.time_ns,
                    "a connection made at {} and accepted at {}",
                    connection.established_ns,
                    event.time_ns
                );
                sockets.insert(connection.socket);
            }
        }
        self.are(sockets.len(), "connections known", CONNECTIONS)
    }

    fn calls(&self) -> anyhow::Result<()> {
        self.count("reads of a request", REQUESTS, |slice| {
            matches!(slice.call, Call::Read { .. }) && is_client(slice) && slice.result > 0
        })?;
        self.count("answers", REQUESTS, |slice| {
            matches!(slice.call, Call::Write { .. }) && is_client(slice) && slice.result > 0
        })?;
        self.count("sleeps", REQUESTS, |slice| matches!(slice.call, Call::Sleep))?;
        // An emulated CPU can stand still for longer than the sleep; then the thread never leaves it.
        let slept = self
            .slices()
            .filter(|(_, slice)| matches!(slice.call, Call::Sleep) && slice.inside.blocked_ns > 0);
        let slept = slept.count();
        ensure!(slept > REQUESTS / 2, "only {slept} of {REQUESTS} sleeps were blocked");
        Ok(())
    }

    fn heads(&self) -> anyhow::Result<()> {
        let (mut requests, mut answers) = (0, 0);
        for event in &self.events {
            let Body::Head(head) = &event.body else { continue };
            if head.inbound {
                requests += usize::from(head.bytes.starts_with(b"GET /toy/"));
            } else {
                answers += usize::from(head.bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
            }
        }
        self.are(requests, "heads of requests", REQUESTS)?;
        self.are(answers, "heads of answers", REQUESTS)
    }

    fn lifecycles(&self) -> anyhow::Result<()> {
        let count =
            |wanted: fn(Change) -> bool| self.events.iter().filter(|event| is_change(event, wanted)).count();
        let births = count(|change| matches!(change, Change::Fork { .. }));
        let ends = count(|change| matches!(change, Change::Exit { .. }));
        let adopted = count(|change| matches!(change, Change::Adopted));
        ensure!(
            births == CONNECTIONS && ends == CONNECTIONS,
            "{births} births, {ends} ends, expected {CONNECTIONS}"
        );
        ensure!(adopted >= 1, "the thread that was there before was not adopted");
        // There is no other PID namespace here.
        let numbered = count(
            |change| matches!(change, Change::Fork { child_tid, child_number, .. } if child_number == child_tid),
        );
        ensure!(
            numbered == births,
            "{numbered} of {births} births have the number that the child calls itself"
        );
        Ok(())
    }

    fn arrivals(&self) -> anyhow::Result<()> {
        let expected = if self.arrival_measured { REQUESTS } else { 0 };
        self.count("arrivals", expected, |slice| {
            matches!(slice.call, Call::Read { arrival_ns, .. } if arrival_ns != 0)
                && is_client(slice)
                && slice.result > 0
        })?;
        for (exit_ns, slice) in self.slices() {
            if let Call::Read { arrival_ns, .. } = slice.call {
                ensure!(arrival_ns <= exit_ns, "read before it arrived: {slice:?}");
            }
        }
        Ok(())
    }

    fn wakes(&self) -> anyhow::Result<()> {
        let [listener] = self.listeners.as_slice() else { bail!("not one listener: {:?}", self.listeners) };
        ensure!(listener.arrivals == CONNECTIONS as u64, "{listener:?}, expected {CONNECTIONS} arrivals");
        // One thread accepts: it is woken by a connection or, being busy with the one before, is not.
        ensure!((1..=listener.arrivals).contains(&listener.woken), "{listener:?}");
        Ok(())
    }

    fn losses(&self) -> anyhow::Result<()> {
        // Below Linux 6.2 a wakeup can be missed; it is counted, and no record is lost by it.
        let lost: Vec<_> = self.lost.iter().filter(|(cause, _)| cause != "wake_missed").collect();
        ensure!(lost.is_empty(), "{lost:?}");
        ensure!(self.emitted == self.received, "{} sent, {} received", self.emitted, self.received);
        Ok(())
    }
}

fn is_accept(slice: &Slice) -> bool {
    matches!(slice.call, Call::Accept { .. }) && slice.result >= 0
}

/// The slice belongs to a connection that a traced listener accepted.
fn is_client(slice: &Slice) -> bool {
    slice.flags & profiler_common::record::slice::FLAG_CLIENT != 0
}
