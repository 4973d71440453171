//! What the profiler itself costs.
//!
//! In: nothing (`session` adds it up over a window). Out: [`Overhead`].

use serde::{Deserialize, Serialize};

/// What the profiler cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overhead {
    /// CPU of the profiler's own process in the window.
    pub profiler_cpu_ns: u64,
    /// CPU of the target's threads in the window; the pipeline fills it in.
    pub target_cpu_ns: u64,
    /// Run time of the kernel programs while the kernel's statistics were on.
    pub bpf_run_ns: u64,
    /// Runs of the programs in that time.
    pub bpf_runs: u64,
    /// How long the statistics were on (0: never; the cost is then not measured).
    pub bpf_sampled_ns: u64,
    /// CPU time that a hypervisor took from this machine in the window, all CPUs, by `/proc/stat` (in ticks
    /// of 10 ms). The kernel takes it out of its tasks' CPU time. By the clock, and so in our account,
    /// the tasks were on a CPU.
    pub stolen_ns: u64,
    /// CPU time of interrupts in the window, all CPUs, where the kernel takes it out of its tasks' CPU time;
    /// 0 where it does not.
    pub interrupt_ns: u64,
}
