//! How waits for the GIL are seen.
//!
//! In: arguments. Out: [`Gil`].

use clap::{Args, ValueEnum};

use super::help::ADVANCED;

/// How to see waits for the GIL.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Gil {
    /// Also read which line of Python held the GIL, and which waited for it
    ///
    /// File, function and line of the holder whenever a thread begins to wait. The thread that waits samples
    /// the holder's frames, up to eight. That costs 1 to 2 µs each time it goes to sleep for the GIL, nothing
    /// otherwise. Once it has waited for 4 ms, it samples its own frames too, once in a wait. That costs 2
    /// µs, and a quarter of a µs for each thread that it passes on its way to itself. For CPython 3.11 to
    /// 3.15. The report names files and functions of the application.
    #[arg(long)]
    pub stacks: bool,
    /// How to see waits for the GIL (global interpreter lock)
    ///
    /// Costs nothing while no thread waits, except with full.
    #[arg(
        long = "gil",
        value_enum,
        default_value_t,
        value_name = "WAY",
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub way: GilWay,
    /// Also probe where the kernel must single-step: with --gil=full, the exact return
    ///
    /// Each such probe stops the thread for some 10 µs whenever it is hit, which halves the throughput of a
    /// busy server. Use it for a few seconds, and only where nothing less will do.
    #[arg(long, help_heading = ADVANCED, hide_short_help = true)]
    pub gil_single_step: bool,
}

/// The ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GilWay {
    /// syscalls, or uprobes where the C library (musl) hides the GIL from system calls
    #[default]
    Auto,
    /// By system calls alone: a thread that waits sleeps on the lock's own memory
    Syscalls,
    /// Also a probe where a thread is about to wait: 0.7 µs a wait, nothing otherwise
    Uprobes,
    /// Probes where each attempt begins and ends: some 2 µs each time a thread takes the GIL, waiting or not
    Full,
    /// Not at all: nothing is read from the interpreter, so the tasks of event loops are unknown too
    Off,
}
