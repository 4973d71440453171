//! Ten thousand waits for an interpreter lock, replayed from recordings: who made whom wait is what happened,
//! every time.
//!
//! In: threads of a made-up process that pass a lock around, written through the recorder as the kernel side
//! tells such calls, in several orders of arrival. Out: verdicts on what `wsgi-trace report` says of each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use profiler_common::record::detail::{Futex, Words};
use profiler_common::record::slice::{
    FLAG_TAKE_FOLLOWED, FLAG_TAKE_OVER, FLAG_TAKES_LOCK, NO_CALL, SliceRecord,
};
use profiler_common::record::{KIND_SLICE, RecordHeader};
use profiler_common::system_call::{CLOCK_NANOSLEEP, FUTEX};
use profiler_core::fact::{
    Attached, EndReason, Fact, FactRecord, InterpreterLock, InterpreterSeen, SessionStarted,
};
use serde_json::Value;
use wsgi_trace::recording::Recorder;
use wsgi_trace_test_support::trace::report_on;
use zerocopy::IntoBytes as _;

const WAITS: u64 = 10_000;
const THREADS: u32 = 6;
const TGID: u32 = 1000;
const LOCK: u64 = 0x7f00_0000_4000;
const US: u64 = 1000;
const START_NS: u64 = 1_000_000 * US;
/// The interpreter's own: who waited so long asks for the lock.
const INTERVAL_NS: u64 = 5000 * US;
/// `FUTEX_WAIT_BITSET`, private; with `FUTEX_CLOCK_REALTIME` who gave the lock up by force waits for the next
/// holder.
const TAKE: (u64, u16) = (LOCK + 64, 137);
const NEXT_HOLDER: (u64, u16) = (LOCK + 152, 393);
const TIMED_OUT: i64 = -110;

/// What a thread is about, and until when.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// In a call that has nothing to do with taking the lock.
    Away { since_ns: u64, call: (u32, Words) },
    /// On its way to the lock.
    Wants,
    /// Waiting for the lock, which this thread had when that began; the number of times that it had changed
    /// hands.
    Asleep { since_ns: u64, holder: u32, switches: u32 },
    /// Woken from that, or its time is up.
    Ready { since_ns: u64, holder: u32, switches: u32, ready_ns: u64, result: i64 },
    /// Has the lock; gives it up by itself, or because it was asked.
    Holds { is_asked: bool },
}

#[derive(Clone, Debug)]
struct Thread {
    tid: u32,
    doing: Doing,
    until_ns: u64,
    last_exit_ns: u64,
    sequence: u32,
    /// The thread has waited, and has not had the lock since.
    is_waiting: bool,
    had_lock: bool,
}

/// Threads that pass a lock around, what the kernel side would tell of it, and the truth.
struct Scene {
    random: u64,
    threads: Vec<Thread>,
    holder: Option<usize>,
    last_holder: u32,
    switches: u32,
    records: Vec<(u64, u32, SliceRecord)>,
    /// By waiter and holder: time, and stretches.
    truth: BTreeMap<(u32, u32), (u64, u64)>,
    waits: u64,
}

impl Scene {
    fn play() -> anyhow::Result<Self> {
        let thread = |number| Thread {
            tid: TGID + 1 + number,
            doing: Doing::Wants,
            until_ns: START_NS + u64::from(number + 1) * US,
            last_exit_ns: START_NS,
            sequence: 0,
            is_waiting: false,
            had_lock: false,
        };
        let mut scene = Self {
            random: 20_251_120,
            threads: (0..THREADS).map(thread).collect(),
            holder: None,
            last_holder: 0,
            switches: 0,
            records: Vec::new(),
            truth: BTreeMap::new(),
            waits: 0,
        };
        while scene.waits < WAITS {
            let next = scene.threads.iter().enumerate().min_by_key(|(_, thread)| thread.until_ns);
            let (number, _) = next.context("no threads")?;
            scene.step(number)?;
        }
        Ok(scene)
    }

    /// A number below `bound`, the same in every run.
    fn below(&mut self, bound: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    /// What a thread is about ends now.
    fn step(&mut self, number: usize) -> anyhow::Result<()> {
        let thread = self.threads.get(number).context("no such thread")?.clone();
        let now_ns = thread.until_ns;
        let (doing, until_ns) = match thread.doing {
            Doing::Away { since_ns, call } => {
                self.tell(number, (since_ns, now_ns), call, (0, 0), US)?;
                (Doing::Wants, now_ns + 3 * US)
            }
            Doing::Wants => {
                match self.holder.and_then(|holder| self.threads.get(holder)).map(|holder| holder.tid) {
                    None => self.takes(number, thread.tid, now_ns)?,
                    Some(holder) => {
                        let switches = self.switches;
                        (Doing::Asleep { since_ns: now_ns, holder, switches }, now_ns + INTERVAL_NS)
                    }
                }
            }
            Doing::Asleep { since_ns, holder, switches } => {
                // Its time is up: it asks whoever has the lock by now.
                let asked = self.holder.and_then(|holder| self.threads.get_mut(holder));
                if let Some(asked) = asked
                    && let Doing::Holds { is_asked } = &mut asked.doing
                    && asked.tid % 3 != 0
                {
                    *is_asked = true;
                    asked.until_ns = asked.until_ns.min(now_ns + 20 * US);
                }
                let ready_ns = now_ns;
                let ready = Doing::Ready { since_ns, holder, switches, ready_ns, result: TIMED_OUT };
                (ready, now_ns + 1 + self.below(40 * US))
            }
            Doing::Ready { since_ns, holder, switches, ready_ns, result } => {
                let wait = Futex {
                    address: TAKE.0,
                    operation: TAKE.1,
                    has_timeout: true,
                    holder_tid: holder,
                    switches,
                    ..Futex::default()
                };
                let over = if thread.had_lock && !thread.is_waiting { FLAG_TAKE_OVER } else { 0 };
                let flags = FLAG_TAKES_LOCK | FLAG_TAKE_FOLLOWED | over;
                let call = (FUTEX, wait.words());
                self.tell(number, (since_ns, now_ns), call, (flags, result), now_ns - ready_ns)?;
                let from_ns = if thread.is_waiting { thread.last_exit_ns } else { since_ns };
                let (sum_ns, stretches) = self.truth.entry((thread.tid, holder)).or_default();
                *sum_ns += now_ns - from_ns;
                *stretches += 1;
                self.waits += u64::from(!thread.is_waiting);
                self.threads.get_mut(number).context("no such thread")?.is_waiting = true;
                (Doing::Wants, now_ns + US + self.below(3 * US))
            }
            Doing::Holds { is_asked } => self.gives_up(thread.tid, now_ns, is_asked),
        };
        let thread = self.threads.get_mut(number).context("no such thread")?;
        (thread.doing, thread.until_ns) = (doing, until_ns);
        Ok(())
    }

    fn takes(&mut self, number: usize, tid: u32, now_ns: u64) -> anyhow::Result<(Doing, u64)> {
        self.holder = Some(number);
        if self.last_holder != tid {
            (self.last_holder, self.switches) = (tid, self.switches + 1);
        }
        let thread = self.threads.get_mut(number).context("no such thread")?;
        (thread.is_waiting, thread.had_lock) = (false, true);
        // Now and then for longer than two intervals.
        let bound = if self.below(20) == 0 { 12_000 } else { 400 };
        Ok((Doing::Holds { is_asked: false }, now_ns + US + self.below(bound * US)))
    }

    /// One of those that sleep is woken. Who was asked wants the lock again: it sleeps until another has it,
    /// or goes on at once.
    fn gives_up(&mut self, tid: u32, now_ns: u64, is_asked: bool) -> (Doing, u64) {
        self.holder = None;
        let asleep: Vec<usize> = (0..self.threads.len())
            .filter(|other| {
                matches!(self.threads.get(*other), Some(Thread { doing: Doing::Asleep { .. }, .. }))
            })
            .collect();
        let chosen = self.below(asleep.len().max(1) as u64) as usize;
        let wakes_ns = now_ns + 1 + self.below(60 * US);
        if let Some(woken) = asleep.get(chosen).and_then(|number| self.threads.get_mut(*number))
            && let Doing::Asleep { since_ns, holder, switches } = woken.doing
        {
            woken.doing = Doing::Ready { since_ns, holder, switches, ready_ns: now_ns, result: 0 };
            woken.until_ns = wakes_ns;
        }
        let next_holder = Futex { address: NEXT_HOLDER.0, operation: NEXT_HOLDER.1, ..Futex::default() };
        match (is_asked, tid % 2) {
            (true, 0) => {
                (Doing::Away { since_ns: now_ns + US, call: (FUTEX, next_holder.words()) }, wakes_ns + 5 * US)
            }
            (true, _) => (Doing::Wants, now_ns + 2 * US),
            _ => (
                Doing::Away { since_ns: now_ns + US, call: (CLOCK_NANOSLEEP, [0; 4]) },
                now_ns + 50 * US + self.below(2000 * US),
            ),
        }
    }

    /// The slice of a call from `enter_ns` to `exit_ns`, ready without a CPU at its end for so long.
    fn tell(
        &mut self,
        number: usize,
        (enter_ns, exit_ns): (u64, u64),
        (system_call, detail): (u32, Words),
        (flags, result): (u32, i64),
        run_queue_ns: u64,
    ) -> anyhow::Result<()> {
        let thread = self.threads.get_mut(number).context("no such thread")?;
        thread.sequence += 1;
        let cpu_ns = US.min(exit_ns - enter_ns - run_queue_ns);
        let record = SliceRecord {
            header: RecordHeader {
                kind: KIND_SLICE,
                length_bytes: u16::try_from(size_of::<SliceRecord>())?,
                cpu: 0,
                time_ns: exit_ns,
                tgid: TGID,
                tid: thread.tid,
            },
            enter_ns,
            detail,
            result,
            call_cpu_ns: cpu_ns,
            call_run_queue_ns: run_queue_ns,
            call_blocked_ns: exit_ns - enter_ns - run_queue_ns - cpu_ns,
            gap_cpu_ns: enter_ns - thread.last_exit_ns,
            sequence: thread.sequence,
            system_call: u16::try_from(system_call)?,
            call_switches: 1,
            gap_blocked_call: NO_CALL,
            flags: u16::try_from(flags)?,
            ..SliceRecord::default()
        };
        thread.last_exit_ns = exit_ns;
        self.records.push((exit_ns, thread.tid, record));
        Ok(())
    }

    /// Writes what was told as it reaches the profiler: in batches of so many milliseconds, and of each batch
    /// one CPU's ring after the other's. `cpus`: in this order.
    fn record(&self, to: &Path, batch_ms: u64, cpus: &[u32]) -> anyhow::Result<()> {
        let mut recorder = Recorder::create(to, env!("CARGO_PKG_VERSION"))?;
        let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: INTERVAL_NS / US };
        let seen = InterpreterSeen {
            tgid: TGID,
            version: Some("3.13.5".to_owned()),
            locks: vec![lock],
            thread_number_at: Some(160),
            ..InterpreterSeen::default()
        };
        let session = SessionStarted { cpu_count: 2, target_pid: TGID, ..SessionStarted::default() };
        for fact in [
            Fact::SessionStarted(session),
            Fact::Attached(Attached { arrival_measured: true, ..Attached::default() }),
            Fact::InterpreterSeen(seen),
            Fact::WindowStarted,
        ] {
            recorder.record_fact(&FactRecord { time_ns: START_NS, fact })?;
        }
        let batch_of = |time_ns: u64| time_ns / (batch_ms * 1000 * US);
        let mut from = 0;
        while let Some((first_ns, ..)) = self.records.get(from) {
            let rest = self.records.get(from..).unwrap_or_default();
            let length =
                rest.iter().take_while(|(time_ns, ..)| batch_of(*time_ns) == batch_of(*first_ns)).count();
            for cpu in cpus {
                for (.., record) in
                    rest.iter().take(length).filter(|(_, tid, _)| tid % cpus.len() as u32 == *cpu)
                {
                    recorder.record_kernel(record.as_bytes())?;
                }
            }
            recorder.flush()?;
            from += length;
        }
        let time_ns = self.records.last().map_or(START_NS, |(time_ns, ..)| *time_ns);
        let fact = Fact::WindowEnded { reason: EndReason::Duration };
        recorder.record_fact(&FactRecord { time_ns, fact })?;
        recorder.finish()?;
        Ok(())
    }
}

fn report(recording: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&report_on(recording, "json")?.stdout)?)
}

#[test]
fn ten_thousand_waits_give_the_same_edges_however_often_and_in_whatever_order_they_are_read()
-> anyhow::Result<()> {
    let scene = Scene::play()?;
    let directory = tempfile::tempdir()?;
    let mut first: Option<Value> = None;
    // The second of these is read twice.
    for (name, batch_ms, cpus) in
        [("one", 1, &[0][..]), ("few", 7, &[1, 0]), ("few", 7, &[1, 0]), ("many", 60, &[3, 0, 2, 1])]
    {
        let file = directory.path().join(name);
        if !file.exists() {
            scene.record(&file, batch_ms, cpus)?;
        }
        let report = report(&file)?;
        assert_eq!(report.pointer("/losses/late").and_then(Value::as_u64), Some(0), "{name}");
        let gil = report.get("gil").context("nothing of the lock")?;
        let first = first.get_or_insert_with(|| gil.clone());
        assert_eq!(first, gil, "{name}");
    }
    let gil = first.context("no report")?;
    assert_eq!(gil.pointer("/waits/count").and_then(Value::as_u64), Some(scene.waits));
    let edges = gil.get("thread_edges").and_then(Value::as_array).context("no edges")?;
    let mut found = BTreeMap::new();
    for edge in edges {
        let number =
            |at: &str| edge.pointer(at).and_then(Value::as_u64).with_context(|| format!("no {at}: {edge}"));
        let pair = (u32::try_from(number("/waiter/tid")?)?, u32::try_from(number("/holder/tid")?)?);
        found.insert(pair, (number("/total_ns")?, number("/waits")?));
    }
    assert_eq!(found, scene.truth);
    Ok(())
}
