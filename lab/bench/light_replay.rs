//! Recordings of light mode, made up of what gunicorn gthread does per request.
//!
//! In: a number of requests; always the same recording for the same number. Out: a file.

use std::path::Path;

use anyhow::Context as _;
use profiler_common::record::detail::{FutexSleep, Sleep, Words};
use profiler_common::record::head::{HeadRecord, INBOUND, OUTBOUND};
use profiler_common::record::light::{LightEndRecord, LightRecord, RECEIVED, SENT};
use profiler_common::record::sleep::{SOCKET, SleepRecord};
use profiler_common::record::{KIND_HEAD, KIND_LIGHT, KIND_LIGHT_END, KIND_SLEEP, RecordHeader};
use profiler_common::system_call::{FUTEX, RECVFROM};
use profiler_core::fact::{
    Attached, EndReason, Fact, FactRecord, InterpreterLock, InterpreterSeen, SessionStarted,
};
use wsgi_trace::recording::Recorder;
use zerocopy::IntoBytes as _;

const TGID: u32 = 1000;
const THREADS: u32 = 8;
const CONNECTION: i32 = 20;
const SECOND: u64 = 1_000_000_000;
/// `AF_INET`.
const INET: u16 = 2;
const LOCAL_PORT: u16 = 8000;
/// From a wakeup until the thread has a CPU.
const RUN_QUEUE_NS: u64 = 2_000;
/// `FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME`, as threads wait for a job.
const JOB_WAIT: u16 = 393;
/// `FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG`, as threads wait for the interpreter lock.
const LOCK_WAIT: u16 = 137;
/// How long they wait for it at most.
const LOCK_WAIT_NS: u64 = 5_000_000;
/// The interpreter lock, and the futex where threads wait for it.
const LOCK: u64 = 0x1000;
const LOCK_COND: u64 = LOCK + 72;

/// What a thread did since its light slice before.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    since_ns: u64,
    last_ns: u64,
    cpu_ns: u64,
    run_queue_ns: u64,
    blocked_ns: u64,
    sequence: u32,
}

/// A recording in the making: one clock for all, so that records come in order.
struct Maker {
    recorder: Recorder,
    now_ns: u64,
    threads: Vec<Thread>,
}

impl Maker {
    fn fact(&mut self, fact: Fact) -> anyhow::Result<()> {
        Ok(self.recorder.record_fact(&FactRecord { time_ns: self.now_ns, fact })?)
    }

    fn header(&self, kind: u16, length: usize, tid: u32) -> anyhow::Result<RecordHeader> {
        let length_bytes = u16::try_from(length)?;
        Ok(RecordHeader { kind, length_bytes, cpu: 0, time_ns: self.now_ns, tgid: TGID, tid })
    }

    fn thread(&mut self, thread: u32) -> anyhow::Result<&mut Thread> {
        self.threads.get_mut(thread as usize).context("no such thread")
    }

    fn compute(&mut self, thread: u32, ns: u64) -> anyhow::Result<()> {
        self.now_ns += ns;
        let now_ns = self.now_ns;
        let this = self.thread(thread)?;
        this.cpu_ns += ns;
        this.last_ns = now_ns;
        Ok(())
    }

    /// Asleep in this call since it last ran.
    fn sleep(&mut self, thread: u32, system_call: u32, detail: Words) -> anyhow::Result<()> {
        let woken_ns = self.now_ns;
        self.now_ns += RUN_QUEUE_NS;
        let header = self.header(KIND_SLEEP, size_of::<SleepRecord>(), TGID + thread)?;
        let now_ns = self.now_ns;
        let this = self.thread(thread)?;
        let start_ns = this.last_ns;
        this.blocked_ns += woken_ns - start_ns;
        this.run_queue_ns += RUN_QUEUE_NS;
        this.last_ns = now_ns;
        let record = SleepRecord {
            header,
            start_ns,
            woken_ns,
            cpu_ns: this.cpu_ns,
            detail,
            system_call: system_call.cast_signed(),
            sequence: this.sequence,
        };
        Ok(self.recorder.record_kernel(record.as_bytes())?)
    }

    /// A message and its head; it ends the thread's light slice.
    fn message(&mut self, thread: u32, moved: LightRecord, head: &[u8]) -> anyhow::Result<()> {
        let length = size_of::<HeadRecord>() + head.len();
        let of_head = self.header(KIND_HEAD, length, TGID + thread)?;
        let header = self.header(KIND_LIGHT, size_of::<LightRecord>(), TGID + thread)?;
        let now_ns = self.now_ns;
        let this = self.thread(thread)?;
        let sequence = this.sequence + 1;
        let done = *this;
        *this = Thread { since_ns: now_ns, last_ns: now_ns, sequence, ..Thread::default() };
        let captured = HeadRecord {
            header: of_head,
            fd: CONNECTION,
            direction: if moved.what == RECEIVED { INBOUND } else { OUTBOUND },
            sequence,
            captured_bytes: u32::try_from(head.len())?,
            ..HeadRecord::default()
        };
        let mut raw = captured.as_bytes().to_vec();
        raw.extend_from_slice(head);
        self.recorder.record_kernel(&raw)?;
        let record = LightRecord {
            header,
            bytes: u64::try_from(head.len())?,
            since_ns: done.since_ns,
            cpu_ns: done.cpu_ns,
            run_queue_ns: done.run_queue_ns,
            blocked_ns: done.blocked_ns,
            sequence,
            switches: 1,
            family: INET,
            local_port: LOCAL_PORT,
            ..moved
        };
        Ok(self.recorder.record_kernel(record.as_bytes())?)
    }

    fn request(&mut self, number: u64) -> anyhow::Result<()> {
        let thread = 1 + u32::try_from(number % u64::from(THREADS))?;
        let arrival_ns = self.now_ns;
        self.compute(0, 10_000)?;
        let job =
            FutexSleep { address: 0x7000, operation: JOB_WAIT, waker_tid: TGID, ..FutexSleep::default() };
        self.sleep(thread, FUTEX, job.words())?;
        self.now_ns += 20_000;
        let lock = FutexSleep {
            address: LOCK_COND,
            operation: LOCK_WAIT,
            is_locked: true,
            waker_tid: TGID,
            holder_tid: TGID,
            switches: u32::try_from(number)?,
            until_ns: self.now_ns + LOCK_WAIT_NS,
        };
        self.sleep(thread, FUTEX, lock.words())?;
        self.compute(thread, 10_000)?;
        let head = format!("GET /item/{number} HTTP/1.1\r\nxxxx: xxxxxxxxx\r\n\r\n");
        let received = LightRecord { socket: number, arrival_ns, what: RECEIVED, ..LightRecord::default() };
        self.message(thread, received, head.as_bytes())?;
        self.compute(thread, 30_000)?;
        self.now_ns += 200_000;
        let back_end = Sleep {
            argument: u64::try_from(CONNECTION + 1)?,
            object: SOCKET,
            socket: 0xffff_0000,
            family: INET,
            port: 5432,
            address: 0x0100_007f,
            ..Sleep::default()
        };
        self.sleep(thread, RECVFROM, back_end.words())?;
        self.compute(thread, 30_000)?;
        let sent = LightRecord { socket: number, what: SENT, ..LightRecord::default() };
        self.message(thread, sent, b"HTTP/1.1 200 xx\r\nContent-Length: 0\r\n\r\n")?;
        self.compute(thread, 5_000)?;
        let header = self.header(KIND_LIGHT_END, size_of::<LightEndRecord>(), 0)?;
        let end = LightEndRecord {
            header,
            socket: number,
            established_ns: arrival_ns,
            family: INET,
            local_port: LOCAL_PORT,
            peer_port: 40_000,
            ..LightEndRecord::default()
        };
        Ok(self.recorder.record_kernel(end.as_bytes())?)
    }
}

/// Makes a recording; returns the number of its messages.
pub(crate) fn make(path: &Path, requests: u64) -> anyhow::Result<u64> {
    let start_ns = SECOND;
    let idle = Thread { since_ns: start_ns, last_ns: start_ns, ..Thread::default() };
    let mut maker = Maker {
        recorder: Recorder::create(path, env!("CARGO_PKG_VERSION"))?,
        now_ns: start_ns,
        threads: vec![idle; THREADS as usize + 1],
    };
    maker.fact(Fact::SessionStarted(SessionStarted { cpu_count: 2, ..SessionStarted::default() }))?;
    maker.fact(Fact::Attached(Attached {
        hooks: Attached::LIGHT.to_owned(),
        arrival_measured: true,
        ..Attached::default()
    }))?;
    let lock = InterpreterLock { address: LOCK, ..InterpreterLock::default() };
    maker.fact(Fact::InterpreterSeen(InterpreterSeen {
        tgid: TGID,
        locks: vec![lock],
        ..InterpreterSeen::default()
    }))?;
    maker.fact(Fact::WindowStarted)?;
    let mut ticked_ns = start_ns;
    for number in 0..requests {
        maker.request(number)?;
        if maker.now_ns - ticked_ns > SECOND {
            ticked_ns = maker.now_ns;
            maker.fact(Fact::Tick)?;
        }
    }
    maker.fact(Fact::WindowEnded { reason: EndReason::Duration })?;
    maker.recorder.finish()?;
    Ok(2 * requests)
}
