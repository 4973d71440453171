//! Whether a live test can run here, and the turn of those that can.
//!
//! In: this process's capabilities, `WSGI_TRACE_REQUIRE_ROOT`, `CI`, `WSGI_TRACE_SKIP_LOG`,
//! `WSGI_TRACE_TURNS_LOG`. Out: a skip with its reason (a failure where skips are forbidden), or a guard that
//! keeps live tests apart and notes how long each had its turn, and what a hypervisor took of the CPUs
//! meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::steal::Stretch;

/// Ends the test here, as skipped, where BPF programs cannot be loaded; `require_bpf!(Ok(()))` for tests that
/// return.
#[macro_export]
macro_rules! require_bpf {
    () => {
        $crate::require_bpf!(())
    };
    ($value:expr) => {
        if !$crate::gate::can_bpf() {
            $crate::gate::skip("needs root, or CAP_BPF and CAP_PERFMON");
            return $value;
        }
    };
}

/// `CAP_SYS_ADMIN`, or `CAP_BPF` and `CAP_PERFMON`.
pub fn can_bpf() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |bit: u32| capabilities >> bit & 1 == 1;
    has(21) || (has(38) && has(39))
}

/// Notes that the current test is skipped.
///
/// # Panics
///
/// Where `WSGI_TRACE_REQUIRE_ROOT` is set: there a skip is a failure.
#[allow(clippy::panic, reason = "failing the test is what this is for")]
pub fn skip(reason: &str) {
    if std::env::var_os("WSGI_TRACE_REQUIRE_ROOT").is_some() {
        panic!("{} must not be skipped here: {reason}", std::thread::current().name().unwrap_or("a test"));
    }
    note_skip(reason);
}

/// Notes that the current test is skipped for want of something that `make setup` installs.
///
/// # Panics
///
/// Where `WSGI_TRACE_REQUIRE_ROOT` or `CI` is set: there a skip is a failure.
#[allow(clippy::panic, reason = "failing the test is what this is for")]
pub fn missing(what: &str) {
    if must_have_all() {
        panic!(
            "{} must not be skipped here: {what} is missing",
            std::thread::current().name().unwrap_or("a test")
        );
    }
    note_skip(&format!("{what} is missing (as root, `make setup` installs it)"));
}

/// Whether a program of Debian's is there; where it is not, notes that the test is skipped, or fails it.
pub(crate) fn is_installed(program: &str, name: &str) -> bool {
    let is_there = std::path::Path::new(program).exists();
    if !is_there {
        missing(name);
    }
    is_there
}

/// Whether what `make setup` installs must be there.
fn must_have_all() -> bool {
    ["WSGI_TRACE_REQUIRE_ROOT", "CI"].iter().any(|name| std::env::var_os(name).is_some())
}

/// Notes that the current test, or a part of it, is skipped for want of something that neither a privilege
/// nor `make setup` gives.
pub fn note_skip(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // The test harness captures `eprintln!` of tests that pass, and a skip passes.
    let _ = writeln!(std::io::stderr(), "{name}: skipped: {reason}");
    append("WSGI_TRACE_SKIP_LOG", &format!("{name}\t{reason}\n"));
}

/// Appends to the log that this variable names, if it is set.
fn append(variable: &str, line: &str) {
    let log = std::env::var_os(variable)
        .and_then(|path| OpenOptions::new().append(true).create(true).open(path).ok());
    if let Some(mut log) = log {
        // One write: other tests append at the same time.
        let _ = log.write_all(line.as_bytes());
    }
}

/// The turn of a live test, until dropped.
#[derive(Debug)]
pub struct Turn {
    lock: File,
    /// Its place among those that share.
    place: Option<File>,
    stretch: Stretch,
}

impl Turn {
    fn begin(lock: File, place: Option<File>) -> Self {
        Self { lock, place, stretch: Stretch::begin() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let kind = if self.place.is_some() { "shared" } else { "alone" };
        let (_, stolen_ratio) = self.stretch.stolen();
        note_turn(self.stretch.length(), kind, stolen_ratio * 100.0);
        // A process that this one has forked meanwhile (to detach slowly) may hold the files for seconds.
        for file in self.place.iter().chain([&self.lock]) {
            let _ = file.unlock();
        }
    }
}

/// Appends a line to the log of turns: the test program, the current test, and its turn.
fn note_turn(length: Duration, kind: &str, stolen_percent: f64) {
    let thread = std::thread::current();
    let program = std::env::current_exe().ok();
    let program =
        program.as_deref().and_then(std::path::Path::file_stem).map(std::ffi::OsStr::to_string_lossy);
    // Cargo adds a hash to the names of test programs.
    let program = program.as_deref().and_then(|stem| stem.rsplit_once('-')).map(|(program, _)| program);
    if let (Some(program), Some(name)) = (program, thread.name()) {
        let milliseconds = length.as_millis();
        let line = format!("{program}\t{name}\t{milliseconds}\t{kind}\t{stolen_percent:.1}\n");
        append("WSGI_TRACE_TURNS_LOG", &line);
    }
}

/// Shared turns at once, for each CPU: such tests mostly wait for servers and clients.
const SHARED_PER_CPU: usize = 2;

/// Keeps this test apart from those that want to be [`exclusive`], not from a few others of its kind: for
/// tests of what happened, not of how long it took. Until dropped. A test takes one turn, and asks for no
/// second one meanwhile.
///
/// # Errors
///
/// Where the lock files under `target/` cannot be made.
pub fn shared() -> anyhow::Result<Turn> {
    // Of all that wait for a place one looks for it: what is judged alone meanwhile is not disturbed by the
    // others.
    let queue = lock_file("live-tests-queue")?;
    queue.lock()?;
    let places = std::thread::available_parallelism()?.get() * SHARED_PER_CPU;
    let mut places: Vec<File> =
        (0..places).map(|number| lock_file(&format!("live-tests-{number}"))).collect::<Result<_, _>>()?;
    let place = loop {
        match first_free(&places)? {
            Some(number) => break places.swap_remove(number),
            None => std::thread::sleep(PAUSE),
        }
    };
    drop(queue);
    let lock = lock_file(ALL)?;
    lock.lock_shared()?;
    Ok(Turn::begin(lock, Some(place)))
}

/// Which of these nobody had locked; it is locked then.
fn first_free(places: &[File]) -> anyhow::Result<Option<usize>> {
    for (number, place) in places.iter().enumerate() {
        match place.try_lock() {
            Ok(()) => return Ok(Some(number)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Keeps this test alone among live tests, those of other test programs of this tree included, until dropped.
///
/// # Errors
///
/// Where the lock file under `target/` cannot be made.
pub fn exclusive() -> anyhow::Result<Turn> {
    let lock = lock_file(ALL)?;
    lock.lock()?;
    Ok(Turn::begin(lock, None))
}

/// As [`exclusive`], for what must not wait long: `None` where others are still at work after `limit`.
///
/// # Errors
///
/// Where the lock file under `target/` cannot be made.
pub fn exclusive_within(limit: Duration) -> anyhow::Result<Option<Turn>> {
    let lock = lock_file(ALL)?;
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(Turn::begin(lock, None))),
            Err(TryLockError::WouldBlock) if start.elapsed() < limit => {
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// The lock that every turn has, shared or for itself.
const ALL: &str = "live-tests";

fn lock_file(name: &str) -> anyhow::Result<File> {
    let path = crate::root().join("target").join(name).with_extension("lock");
    File::create(&path).with_context(|| format!("{} cannot be made", path.display()))
}
