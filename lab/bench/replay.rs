//! Recordings made up of what gunicorn gthread does per request, call by call; and how long one takes to be
//! read.
//!
//! In: a number of requests; always the same recording for the same number. Out: a file; wall time and memory
//! of a `wsgi-trace report` on it, on one core.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use profiler_common::record::connection::{ACCEPTED, ConnectionRecord};
use profiler_common::record::head::{HeadRecord, INBOUND, OUTBOUND};
use profiler_common::record::slice::{FLAG_CLIENT, FLAG_STATUS_LINE, NO_CALL, SliceRecord};
use profiler_common::record::{KIND_CONNECTION, KIND_HEAD, KIND_SLICE, RecordHeader};
use profiler_common::system_call::{ACCEPT4, CLOSE, EPOLL_WAIT, FUTEX, RECVFROM, SENDTO};
use profiler_core::fact::{
    Attached, DescriptorClass, DescriptorSeen, EndReason, Fact, FactRecord, SessionStarted,
};
use wsgi_trace::recording::Recorder;
use zerocopy::IntoBytes as _;

use crate::server::on_cpus;

const TGID: u32 = 1000;
const THREADS: u32 = 8;
/// Requests in the line of the recording of requests that wait.
const IN_LINE: u64 = 16;
/// Time from one of them to the next.
const STEP_NS: u64 = 250_000;
const EPOLL: i32 = 5;
const LISTENER: i32 = 4;
const CONNECTION: i32 = 20;
const SECOND: u64 = 1_000_000_000;
/// `FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME`.
const QUEUE_WAIT: u64 = 393;

/// A recording in the making: one clock for all, so that records come in order.
struct Maker {
    recorder: Recorder,
    now_ns: u64,
    last_exit_ns: Vec<u64>,
    sequence: Vec<u32>,
    slices: u64,
}

impl Maker {
    fn fact(&mut self, fact: Fact) -> anyhow::Result<()> {
        Ok(self.recorder.record_fact(&FactRecord { time_ns: self.now_ns, fact })?)
    }

    fn header(&self, kind: u16, length: usize, thread: u32) -> anyhow::Result<RecordHeader> {
        let length_bytes = u16::try_from(length)?;
        Ok(RecordHeader { kind, length_bytes, cpu: 0, time_ns: self.now_ns, tgid: TGID, tid: TGID + thread })
    }

    /// A call of `call_ns`; what lies between the thread's last call and this one is CPU time, but for waits.
    fn call(
        &mut self,
        thread: u32,
        number: u32,
        [first, second, third]: [u64; 3],
        result: i64,
        wait: bool,
    ) -> anyhow::Result<()> {
        let index = thread as usize;
        let last_exit_ns = self.last_exit_ns.get(index).copied().unwrap_or(self.now_ns);
        let call_ns = 2_000;
        self.now_ns += 5_000;
        let (enter_ns, blocked_ns) = if wait {
            // Asleep since shortly after the last call.
            (last_exit_ns + 1_000, self.now_ns - call_ns - last_exit_ns - 1_000)
        } else {
            (self.now_ns - call_ns, 0)
        };
        let sequence = self.sequence.get_mut(index).context("no such thread")?;
        *sequence += 1;
        let record = SliceRecord {
            enter_ns,
            detail: [first, second, third, if number == RECVFROM { self.now_ns - 40_000 } else { 0 }],
            result,
            call_cpu_ns: call_ns,
            call_blocked_ns: blocked_ns,
            gap_cpu_ns: enter_ns - last_exit_ns,
            sequence: *sequence,
            system_call: u16::try_from(number)?,
            gap_blocked_call: NO_CALL,
            flags: u16::try_from(if number == SENDTO { FLAG_CLIENT | FLAG_STATUS_LINE } else { 0 })?,
            header: self.header(KIND_SLICE, size_of::<SliceRecord>(), thread)?,
            ..SliceRecord::default()
        };
        if let Some(last) = self.last_exit_ns.get_mut(index) {
            *last = self.now_ns;
        }
        self.slices += 1;
        Ok(self.recorder.record_kernel(record.as_bytes())?)
    }

    /// A capture that belongs to the thread's next call.
    fn head(&mut self, thread: u32, fd: i32, direction: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let length = size_of::<HeadRecord>() + bytes.len();
        let mut header = self.header(KIND_HEAD, length, thread)?;
        header.time_ns += 5_000;
        let sequence = self.sequence.get(thread as usize).copied().unwrap_or(0) + 1;
        let captured_bytes = u32::try_from(bytes.len())?;
        let record = HeadRecord { header, fd, direction, sequence, captured_bytes, ..HeadRecord::default() };
        let mut raw = record.as_bytes().to_vec();
        raw.extend_from_slice(bytes);
        Ok(self.recorder.record_kernel(&raw)?)
    }

    /// A request that is served as it comes.
    fn request(&mut self, number: u64) -> anyhow::Result<()> {
        self.comes(number, CONNECTION)?;
        let thread = thread_of(number)?;
        self.begins(thread, number, CONNECTION)?;
        self.ends(thread, CONNECTION)
    }

    /// One comes, the one that came `IN_LINE` before it begins, and the one `THREADS` before that ends.
    fn request_in_line(&mut self, number: u64) -> anyhow::Result<()> {
        let connection = |number: u64| anyhow::Ok(CONNECTION + i32::try_from(number % (4 * IN_LINE))?);
        self.now_ns += STEP_NS;
        self.comes(number, connection(number)?)?;
        if let Some(served) = number.checked_sub(IN_LINE + u64::from(THREADS)) {
            self.ends(thread_of(served)?, connection(served)?)?;
        }
        if let Some(served) = number.checked_sub(IN_LINE) {
            self.begins(thread_of(served)?, served, connection(served)?)?;
        }
        Ok(())
    }

    fn comes(&mut self, number: u64, connection: i32) -> anyhow::Result<()> {
        self.call(0, EPOLL_WAIT, [u64::try_from(EPOLL)?, 0, 64], 1, true)?;
        let mut header = self.header(KIND_CONNECTION, size_of::<ConnectionRecord>(), 0)?;
        header.time_ns += 5_000;
        let opened = ConnectionRecord {
            header,
            socket: number,
            fd: connection,
            listener_fd: LISTENER,
            origin: ACCEPTED,
            family: 2,
            ..ConnectionRecord::default()
        };
        self.recorder.record_kernel(opened.as_bytes())?;
        self.call(0, ACCEPT4, [u64::try_from(LISTENER)?, 0, 0], i64::from(connection), false)
    }

    fn begins(&mut self, thread: u32, number: u64, connection: i32) -> anyhow::Result<()> {
        let fd = u64::try_from(connection)?;
        self.call(thread, FUTEX, [0x7000, QUEUE_WAIT, 0], 0, true)?;
        let head = format!("GET /item/{number} HTTP/1.1\r\nxxxx: xxxxxxxxx\r\n\r\n");
        self.head(thread, connection, INBOUND, head.as_bytes())?;
        self.call(thread, RECVFROM, [fd, 0, 8192], i64::try_from(head.len())?, false)
    }

    fn ends(&mut self, thread: u32, connection: i32) -> anyhow::Result<()> {
        let fd = u64::try_from(connection)?;
        let response = b"HTTP/1.1 200 xx\r\nContent-Length: 0\r\n\r\n";
        self.call(thread, FUTEX, [0x7100, 137, 0], 0, true)?;
        self.head(thread, connection, OUTBOUND, response)?;
        self.call(thread, SENDTO, [fd, 0, 0], i64::try_from(response.len())?, false)?;
        self.call(thread, CLOSE, [fd, 0, 0], 0, false)?;
        self.call(thread, FUTEX, [0x7200, 129, 1], 0, false)
    }
}

/// The thread that serves a request.
fn thread_of(number: u64) -> anyhow::Result<u32> {
    Ok(1 + u32::try_from(number % u64::from(THREADS))?)
}

/// Makes a recording of requests that are served as they come; returns the number of its slices.
pub(crate) fn make(path: &Path, requests: u64) -> anyhow::Result<u64> {
    make_of(path, requests, Maker::request)
}

/// Makes a recording of requests that wait for milliseconds, each of which is followed to its leaves; returns
/// the number of its slices.
pub(crate) fn make_in_line(path: &Path, requests: u64) -> anyhow::Result<u64> {
    make_of(path, requests, Maker::request_in_line)
}

fn make_of(
    path: &Path,
    requests: u64,
    request: impl Fn(&mut Maker, u64) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let start_ns = SECOND;
    let threads = THREADS as usize + 1;
    let mut maker = Maker {
        recorder: Recorder::create(path, env!("CARGO_PKG_VERSION"))?,
        now_ns: start_ns,
        last_exit_ns: vec![start_ns; threads],
        sequence: vec![0; threads],
        slices: 0,
    };
    maker.fact(Fact::SessionStarted(SessionStarted { cpu_count: 2, ..SessionStarted::default() }))?;
    maker.fact(Fact::Attached(Attached { arrival_measured: true, ..Attached::default() }))?;
    for (fd, class) in [(LISTENER, DescriptorClass::Listener), (EPOLL, DescriptorClass::Epoll)] {
        let interest = if fd == EPOLL { vec![LISTENER] } else { Vec::new() };
        maker.fact(Fact::DescriptorSeen(DescriptorSeen {
            tgid: TGID,
            fd,
            class,
            interest,
            interest_events: Vec::new(),
            shared: false,
            local_port: 0,
        }))?;
    }
    maker.fact(Fact::WindowStarted)?;
    let mut ticked_ns = start_ns;
    for number in 0..requests {
        request(&mut maker, number)?;
        if maker.now_ns - ticked_ns > SECOND {
            ticked_ns = maker.now_ns;
            maker.fact(Fact::Tick)?;
        }
    }
    maker.fact(Fact::WindowEnded { reason: EndReason::Duration })?;
    maker.recorder.finish()?;
    Ok(maker.slices)
}

/// One run of `wsgi-trace report`, pinned to one core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) wall_seconds: f64,
    pub(crate) peak_kilobytes: i64,
}

/// Reads a recording on CPU 0.
pub(crate) fn measure(program: &Path, recording: &Path) -> anyhow::Result<Run> {
    let mut command = Command::new(program);
    command.arg("report").arg(recording).args(["--format", "json"]).stdout(Stdio::null());
    on_cpus(&mut command, &[0]);
    let started = Instant::now();
    let child = command.spawn()?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: both pointers are to local values of the right types; the child is ours and not yet waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    let wall_seconds = started.elapsed().as_secs_f64();
    if waited != pid || status != 0 {
        bail!("wsgi-trace report ended with {status}");
    }
    // SAFETY: wait4 has filled it in.
    let usage = unsafe { usage.assume_init() };
    Ok(Run { wall_seconds, peak_kilobytes: usage.ru_maxrss })
}
