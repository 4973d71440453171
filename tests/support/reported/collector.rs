//! A collector of logs: reads a named pipe, and does not when it is told so.
//!
//! In: a path. Out: the pipe, read by a thread of this process as long as the value lives.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{CWD, Mode, mkfifoat};

/// How often it reads.
const PAUSE: Duration = Duration::from_millis(5);

/// What it is to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    stalls: AtomicBool,
    ends: AtomicBool,
}

impl Orders {
    /// It reads nothing from now on, or reads again.
    pub(super) fn stall(&self, stalls: bool) {
        self.stalls.store(stalls, Ordering::Relaxed);
    }
}

/// The collector.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Makes the pipe and reads it.
    pub(super) fn start(path: &Path) -> anyhow::Result<Self> {
        mkfifoat(CWD, path, Mode::from(0o600))?;
        // For both, so that it is never at its end.
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let mut pipe = options.open(path).context("the pipe cannot be opened")?;
        let orders = Arc::new(Orders::default());
        let told = Arc::clone(&orders);
        let thread = std::thread::spawn(move || {
            let mut taken = vec![0; 65536];
            while !told.ends.load(Ordering::Relaxed) {
                if !told.stalls.load(Ordering::Relaxed) {
                    // There may be nothing.
                    let _ = pipe.read(&mut taken);
                }
                std::thread::sleep(PAUSE);
            }
        });
        Ok(Self { orders, thread: Some(thread) })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.orders.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panics nowhere.
            let _ = thread.join();
        }
    }
}
