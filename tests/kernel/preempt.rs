//! A kernel that preempts itself wherever it can, and real-time threads that make it do so.
//!
//! In: `PREEMPT` (`full`: the kernel was told so), a gunicorn with many threads. Out: verdicts: the same as
//! without.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::attached;
use crate::known::preempts_programs_at_calls;
use crate::load::Load;
use crate::real;
use crate::server::{Gunicorn, Workers};

/// Where the kernel says how it preempts, the present way in parentheses.
const MODES: &str = "/sys/kernel/debug/sched/preempt";
/// One worker, so that its threads meet each other on each CPU.
const THREADS: Workers = Workers { class: "gthread", processes: 1, threads: 16 };
const LOAD: Load = Load { clients: 16, requests: 12, kept: 4, paths: &["/fast", "/sleep/20", "/cpu/5"] };

/// Whether this machine was started to preempt.
pub(crate) fn is_wanted() -> bool {
    std::env::var("PREEMPT").is_ok_and(|mode| mode == "full")
}

/// The kernel preempts, as it was started to.
pub(crate) fn is_on() -> anyhow::Result<()> {
    let modes = std::fs::read_to_string(MODES).with_context(|| format!("{MODES} cannot be read"))?;
    ensure!(modes.contains("(full)"), "{modes}");
    Ok(())
}

/// Sixteen threads under load, interrupted by real-time threads wherever they are: nothing is lost, and all
/// is as the log has it.
pub(crate) fn under_load(arguments: &[&str]) -> anyhow::Result<()> {
    let server = Gunicorn::start(THREADS)?;
    let is_over = AtomicBool::new(false);
    let (told, bursts) = std::thread::scope(|scope| {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stop = &is_over;
        let preemptors: Vec<_> = (0..count).map(|cpu| scope.spawn(move || interrupt(cpu, stop))).collect();
        let told = real::trace(&server, arguments, LOAD);
        is_over.store(true, Ordering::Relaxed);
        let bursts: anyhow::Result<u64> = preemptors
            .into_iter()
            .map(|thread| thread.join().map_err(|_panic| anyhow::anyhow!("a preemptor panicked"))?)
            .sum();
        anyhow::Ok((told?, bursts?))
    })?;
    println!("{bursts} bursts of real-time threads");
    ensure!(bursts > 100, "only {bursts} bursts of real-time threads");
    told.note(&arguments.join(" "));
    let may_skip = preempts_programs_at_calls() || arguments.contains(&"tracepoints");
    if told.is_whole_but_for_skips(may_skip)? {
        told.has_the_paths_of_the_log()?;
    }
    if arguments.contains(&"btf") {
        attached::doctor(&server)?;
    }
    Ok(())
}

/// Takes this CPU from whatever runs there, for a moment at a time and most of the time not, until it is told
/// to stop; how often it did.
fn interrupt(cpu: usize, stop: &AtomicBool) -> anyhow::Result<u64> {
    const BURST: Duration = Duration::from_micros(50);
    // In emulation each of them takes some times as long.
    const PAUSE: Duration = Duration::from_millis(2);
    // SAFETY: a mask of CPUs is plain data, for which zero is valid, and the number is one of this machine's
    // CPUs.
    let pinned = unsafe {
        let mut mask: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut mask);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const mask)
    };
    ensure!(pinned == 0, "CPU {cpu}: {}", std::io::Error::last_os_error());
    // musl's own function does not ask the kernel, whose `struct sched_param` is this number alone.
    let priority: libc::c_int = 50;
    // SAFETY: the number outlives the call.
    let outcome =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const priority) };
    ensure!(outcome == 0, "a real-time thread: {}", std::io::Error::last_os_error());
    let mut bursts = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        while begun.elapsed() < BURST {
            std::hint::spin_loop();
        }
        bursts += 1;
        std::thread::sleep(PAUSE);
    }
    Ok(bursts)
}
