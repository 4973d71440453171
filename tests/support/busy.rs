//! A machine with nothing to spare: a thread that computes for each CPU.
//!
//! In: nothing. Out: busy CPUs until it is dropped, by a test that fails too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Threads that compute until this is dropped.
#[derive(Debug)]
pub struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Keeps every CPU busy from now on.
    ///
    /// # Errors
    ///
    /// Where the number of CPUs is not known.
    pub fn start() -> anyhow::Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        let stop = Arc::new(AtomicBool::new(false));
        let compute = || {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..cpus).map(|_| compute()).collect();
        Ok(Self { stop, threads })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The thread does not panic, and a panic would change nothing.
            let _ = thread.join();
        }
    }
}
