//! How much of the CPU the server used, and what keeps it from more.
//!
//! In: a [`Basis`]. Out: shares of cores, and whether the CPU is what is short.

use super::basis::Basis;
use super::words::ratio;
use crate::model::CgroupWindow;
use crate::phase::Phase;

/// What keeps Python from the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuShort {
    /// Nothing.
    No,
    /// A quota.
    Quota,
    /// The number of cores.
    Cores,
}

/// Whether, and why, more processes could not compute more.
pub(crate) fn cpu_short(basis: &Basis<'_>) -> CpuShort {
    let limits = basis.thresholds;
    let (cpu_ns, waited_ns) = (basis.phases().get(Phase::Cpu), basis.phases().get(Phase::RunQueue));
    let by_quota_ns = run_queue_by_quota_ns(basis);
    let wanted_ns = cpu_ns.saturating_add(waited_ns);
    if ratio(by_quota_ns, wanted_ns) >= limits.run_queue_of_cpu_min_ratio {
        CpuShort::Quota
    } else if ratio(waited_ns, wanted_ns) >= limits.run_queue_of_cpu_min_ratio
        || host_share(basis) >= limits.full_min_ratio
        || is_machine_full(basis)
    {
        CpuShort::Cores
    } else {
        CpuShort::No
    }
}

/// Whether all of the machine's CPUs are used, by whomever: more processes would take them from others.
pub(crate) fn is_machine_full(basis: &Basis<'_>) -> bool {
    basis.snapshot.machine_busy_ratio.is_some_and(|busy| busy >= basis.thresholds.full_min_ratio)
}

/// Whether what computes is used up: the cores, an interpreter, or the quota.
pub(crate) fn is_cpu_full(basis: &Basis<'_>) -> bool {
    let limits = basis.thresholds;
    let by_quota = worst_cgroup(basis).map_or(0.0, |cgroup| quota_used(basis, cgroup));
    host_share(basis).max(by_quota) >= limits.full_min_ratio
        || busiest_process_cpu(basis) >= limits.interpreter_full_min_ratio
}

/// CPU time of all processes of the server, in nanoseconds.
pub(crate) fn server_cpu_ns(basis: &Basis<'_>) -> u64 {
    let threads = basis.snapshot.processes.iter().flat_map(|process| &process.threads);
    threads.fold(0, |total, thread| total.saturating_add(thread.cpu_ns))
}

/// CPU time of all processes as a share of all cores, while there was something to do.
pub(crate) fn host_share(basis: &Basis<'_>) -> f64 {
    let cores = u64::from(basis.snapshot.session.cpu_count);
    ratio(server_cpu_ns(basis), basis.load_ns().saturating_mul(cores)).min(1.0)
}

/// CPU time of the busiest process, as a share of the time with something to do.
pub(crate) fn busiest_process_cpu(basis: &Basis<'_>) -> f64 {
    let used = |process: &crate::model::Process| {
        process.threads.iter().fold(0u64, |total, thread| total.saturating_add(thread.cpu_ns))
    };
    ratio(basis.snapshot.processes.iter().map(used).max().unwrap_or(0), basis.load_ns())
}

/// The cgroup that was throttled most. Groups may be nested, and a parent counts its children's throttling
/// again.
fn worst_cgroup<'a>(basis: &Basis<'a>) -> Option<&'a CgroupWindow> {
    basis.snapshot.cgroups.iter().max_by_key(|cgroup| throttled_ns(cgroup))
}

/// Time throttled within the window, in nanoseconds.
const fn throttled_ns(cgroup: &CgroupWindow) -> u64 {
    cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns)
}

/// CPU time of the server as a share of what the quota allows; 0 without one.
fn quota_used(basis: &Basis<'_>, cgroup: &CgroupWindow) -> f64 {
    let Some(quota_us) = cgroup.last.quota_us else { return 0.0 };
    let used = u128::from(server_cpu_ns(basis)) * u128::from(cgroup.last.period_us);
    let allowed = u128::from(basis.load_ns()) * u128::from(quota_us);
    if allowed == 0 { 0.0 } else { used as f64 / allowed as f64 }
}

/// Run-queue time of requests that the quota caused. It is all of it where the server used its whole quota
/// (it would have waited on an idle host too), else as much as it was throttled.
fn run_queue_by_quota_ns(basis: &Basis<'_>) -> u64 {
    let waited_ns = basis.phases().get(Phase::RunQueue);
    let Some(cgroup) = worst_cgroup(basis) else { return 0 };
    let stopped_ns = throttled_ns(cgroup);
    if stopped_ns > 0 && quota_used(basis, cgroup) >= basis.thresholds.full_min_ratio {
        waited_ns
    } else {
        stopped_ns.min(waited_ns)
    }
}
