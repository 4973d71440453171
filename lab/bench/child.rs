//! What the benchmark traces or leaves alone, besides servers: this program again, as a child that does one
//! thing.
//!
//! In: lines on standard input, `WHAT THREADS MILLISECONDS`. Out: a line each, nanoseconds of CPU time (or of
//! wall time, where it says so) per event. It listens on a port, so that wsgi-trace takes it for a server.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::child::Child;

use crate::account::process_ns;
use crate::server::on_cpus;

/// The argument that makes this program such a child.
pub(crate) const ARGUMENT: &str = "child";

/// What it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call that is observed: `epoll_wait` that does not wait.
    Observed,
    /// An observed call that is folded: a `futex` that wakes nobody.
    Folded,
    /// A call that is not observed: `getppid`.
    Unobserved,
    /// A token handed round through pipes: a context switch, a write and a read each.
    Switch,
    /// One observed call in 100 microseconds; wall time of the call.
    Seldom,
    /// A look at the monotonic clock, which makes no call. Programs look at the same counter.
    Clock,
}

const EVENTS: [(Event, &str); 6] = [
    (Event::Clock, "clock"),
    (Event::Observed, "observed"),
    (Event::Folded, "folded"),
    (Event::Unobserved, "unobserved"),
    (Event::Switch, "switch"),
    (Event::Seldom, "seldom"),
];

/// A running child.
#[derive(Debug)]
pub(crate) struct Worker {
    process: Child,
    input: ChildStdin,
    /// What a thread reads from its standard output.
    lines: Receiver<String>,
}

/// How long a child may take to answer: starting a thousand threads on a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

impl Worker {
    /// Starts one on these CPUs.
    pub(crate) fn start(cpus: &[usize]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT);
        Self::of(command, cpus)
    }

    /// Starts any program that takes and gives the same lines.
    pub(crate) fn of(mut command: Command, cpus: &[usize]) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        on_cpus(&mut command, cpus);
        let mut process = Child::start(&mut command, "a child of the benchmark")?;
        let input = process.take_stdin().context("no input")?;
        let output = BufReader::new(process.take_stdout().context("no output")?);
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let worker = Self { process, input, lines };
        if worker.line(PATIENCE)? != "ready" {
            bail!("the child is not ready");
        }
        Ok(worker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Nanoseconds an event.
    pub(crate) fn measure(&mut self, event: Event, threads: usize, milliseconds: u64) -> anyhow::Result<f64> {
        let name = EVENTS.iter().find(|(one, _)| *one == event).map_or("", |(_, name)| name);
        self.ask(&format!("{name} {threads} {milliseconds}"))
    }

    /// Nanoseconds an event, asked for in the child's own words.
    pub(crate) fn ask(&mut self, line: &str) -> anyhow::Result<f64> {
        writeln!(self.input, "{line}")?;
        let answer = self.line(PATIENCE);
        if answer.is_err() {
            // A late answer would be taken for that to the next question.
            self.process.stop();
        }
        let answer = answer?;
        answer.parse().with_context(|| format!("the child answered {answer:?} to {line:?}"))
    }

    fn line(&self, limit: Duration) -> anyhow::Result<String> {
        let line = self.lines.recv_timeout(limit).context("a child of the benchmark does not answer")?;
        Ok(line.trim().to_owned())
    }
}

/// What the child does until its standard input ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let _listener = TcpListener::bind("127.0.0.1:0")?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (name, threads, milliseconds) = (words.next(), words.next(), words.next());
        let event = EVENTS.iter().find(|(_, known)| Some(*known) == name).context("no such event")?.0;
        let threads: usize = threads.context("how many threads?")?.parse()?;
        let window = Duration::from_millis(milliseconds.context("how long?")?.parse()?);
        println!("{}", measure(event, threads.max(1), window)?);
    }
    Ok(())
}

fn measure(event: Event, threads: usize, window: Duration) -> anyhow::Result<f64> {
    match event {
        Event::Switch => ring(threads.max(2), window),
        Event::Seldom => seldom(window),
        _ => calls(event, threads, window),
    }
}

/// One call; its result does not matter.
fn call(event: Event, epoll: i32) {
    let mut word = 0_u32;
    let mut event_buffer = libc::epoll_event { events: 0, u64: 0 };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the buffers are local values that outlive the calls, and are as long as the calls are told.
    unsafe {
        match event {
            Event::Unobserved => libc::syscall(libc::SYS_getppid),
            Event::Clock => libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time).into(),
            Event::Folded => {
                libc::syscall(libc::SYS_futex, &raw mut word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1)
            }
            _ => libc::syscall(libc::SYS_epoll_wait, epoll, &raw mut event_buffer, 1, 0),
        }
    };
}

fn epoll() -> anyhow::Result<File> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: the call takes no pointers; a descriptor that it gives belongs to nobody else.
    unsafe {
        let descriptor = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        if descriptor < 0 {
            bail!("no epoll");
        }
        Ok(File::from_raw_fd(descriptor))
    }
}

/// Every thread makes calls as fast as it can; CPU time of the process per call.
fn calls(event: Event, threads: usize, window: Duration) -> anyhow::Result<f64> {
    let epoll = epoll()?;
    let descriptor = epoll.as_raw_fd();
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    // The threads start at a byte each from a pipe: on a lock in user space a thousand would queue for
    // seconds.
    let (starter, start_all) = std::io::pipe()?;
    let mut cpu_ns = 0;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        // Closed where this ends early: then those that wait for it end too.
        let mut start_all = start_all;
        for _ in 0..threads {
            std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, || {
                let mut byte = [0];
                if (&starter).read_exact(&mut byte).is_err() {
                    return;
                }
                let (start, mut mine) = (Instant::now(), 0_u64);
                // The second condition ends it where the machine is too busy to let the first thread say
                // stop.
                while !stop.load(Ordering::Relaxed) && start.elapsed() < 2 * window {
                    for _ in 0..64 {
                        call(event, descriptor);
                    }
                    mine += 64;
                }
                count.fetch_add(mine, Ordering::Relaxed);
            })?;
        }
        // Each is asleep by then: what starting them costs stays outside the window.
        while !threads_asleep(threads) {
            std::thread::sleep(Duration::from_millis(1));
        }
        cpu_ns = process_ns(std::process::id());
        start_all.write_all(&vec![1; threads])?;
        std::thread::sleep(window);
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    cpu_ns = process_ns(std::process::id()).saturating_sub(cpu_ns);
    Ok(cpu_ns as f64 / count.load(Ordering::Relaxed).max(1) as f64)
}

/// Whether so many threads of this process, besides the one that asks, are asleep.
fn threads_asleep(count: usize) -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return true };
    let asleep = tasks.flatten().filter(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
    });
    asleep.count() >= count
}

/// Calls with a pause of computing between them; median wall time of one.
fn seldom(window: Duration) -> anyhow::Result<f64> {
    let epoll = epoll()?;
    let descriptor = epoll.as_raw_fd();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < window {
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_micros(100) {}
        let before = Instant::now();
        call(Event::Observed, descriptor);
        times.push(before.elapsed().as_nanos() as f64);
    }
    times.sort_by(f64::total_cmp);
    crate::statistics::quantile(&times, 0.5).context("no call was made")
}

/// A token goes round a ring of threads; CPU time of the process per hand-over.
fn ring(threads: usize, window: Duration) -> anyhow::Result<f64> {
    let pipes: Vec<(PipeReader, PipeWriter)> =
        (0..threads).map(|_| std::io::pipe()).collect::<Result<_, _>>()?;
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut cpu_ns = 0;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for index in 0..threads {
            let (Some((reader, _)), Some((_, writer))) = (pipes.get(index), pipes.get((index + 1) % threads))
            else {
                continue;
            };
            let (stop, count) = (&stop, &count);
            std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, move || {
                let (mut reader, mut writer) = (reader, writer);
                let mut token = [0];
                while reader.read_exact(&mut token).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                    // The token goes on once more, so that the next one ends too.
                    let last = stop.load(Ordering::Relaxed);
                    if writer.write_all(&token).is_err() || last {
                        return;
                    }
                }
            })?;
        }
        if let Some((_, writer)) = pipes.first() {
            let mut writer = writer;
            writer.write_all(&[1])?;
        }
        // Every thread has had its turn once.
        while count.load(Ordering::Relaxed) < 2 * threads as u64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (before, turns) = (process_ns(std::process::id()), count.load(Ordering::Relaxed));
        std::thread::sleep(window);
        cpu_ns = process_ns(std::process::id()).saturating_sub(before);
        count.fetch_sub(turns, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    // The threads that end make one turn more each, long after the clock was read: few against the window's.
    let turns = count.load(Ordering::Relaxed).saturating_sub(threads as u64).max(1);
    Ok(cpu_ns as f64 / turns as f64)
}
