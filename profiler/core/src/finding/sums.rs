//! What is impossible by counting cannot be said.
//!
//! In: a rule's verdict. Out: the same with its cost no more than the sum it is a part of. Or "undecided",
//! where its own numbers contradict one another: a share above all there is, a part above its whole.

use super::basis::{Basis, Undecided, Verdict, waited_ns};
use super::cause;
use super::words::percent;
use crate::phase::Phase;

/// Ratios that are no shares: of time that several CPUs or threads spend at once, or of two things of the
/// same kind.
const NO_SHARES: [&str; 14] = [
    "throttled_window_ratio",
    "quota_used_ratio",
    "busiest_process_ratio",
    "cpu_pressure_ratio",
    "headroom_ratio",
    "wait_of_service_ratio",
    "long_of_short_ratio",
    "in_vain_of_one_cpu_ratio",
    "interpreter_ratio",
    "fullest_resource_ratio",
    "gil_held_at_most_ratio",
    "host_cpu_ratio",
    "acceptor_linger_window_ratio",
    "slots_used_ratio",
];

/// Clocks of several threads are read one after the other, and windows are cut in the middle of waits.
const TOLERANCE: f64 = 1.05;

/// Whether an evidence is a part of all there is of something.
pub(super) fn is_share(name: &str) -> bool {
    name.ends_with("_ratio") && !NO_SHARES.contains(&name)
}

/// The sum that a rule's cost is a part of; `None`: it is of something that this snapshot has no sum of.
pub(super) fn whole_ns(id: &str, basis: &Basis<'_>) -> Option<u64> {
    let phases = basis.phases();
    let gil_ns = basis.snapshot.gil.waits.sum_ns();
    Some(match id {
        "slots-exhausted" | "imbalance" => waited_ns(phases),
        // What a loop has accepted waits for that loop.
        "full-beside-free" => waited_ns(phases).saturating_add(phases.get(Phase::LoopWait)),
        "back-end" | "back-end-connections" | "back-end-slower" | "name-lookups" => {
            phases.get(Phase::BackendWait)
        }
        "own-locks" => phases.get(Phase::LockWait).saturating_add(waited_ns(phases)),
        "gil-contention" => phases.get(Phase::GilWait),
        "gil-convoy" => gil_ns,
        "cpu-bound" | "cpu-throttled" | "loop-saturated" | "short-behind-long" | "server-errors"
        | "ill-worker" => phases.total_ns(),
        "herd" => cause::server_cpu_ns(basis),
        _ => return None,
    })
}

/// Whether what a finding costs is a part of the time of requests. Other costs are not: slot-time without a
/// request, CPU time of the herd, waits of clients who were never served.
pub fn is_request_time(id: &str) -> bool {
    const PARTS: [&str; 18] = [
        "slots-exhausted",
        "imbalance",
        "full-beside-free",
        "back-end",
        "back-end-connections",
        "back-end-slower",
        "name-lookups",
        "own-locks",
        "gil-contention",
        "cpu-bound",
        "cpu-throttled",
        "loop-saturated",
        "loop-blocked",
        "short-behind-long",
        "slow-clients",
        "accept-queue",
        "server-errors",
        "ill-worker",
    ];
    PARTS.contains(&id)
}

/// The verdict, if its numbers can be true together.
pub(super) fn possible(id: &str, basis: &Basis<'_>, mut verdict: Verdict) -> Result<Verdict, Undecided> {
    let beyond = verdict.evidence.iter().find(|one| is_share(one.name) && one.value > TOLERANCE);
    if let Some(beyond) = beyond {
        return Err(contradiction(
            format!("its numbers contradict one another ({} is {})", beyond.name, percent(beyond.value)),
            verdict,
        ));
    }
    if let Some(whole_ns) = whole_ns(id, basis).filter(|_| verdict.present) {
        if verdict.cost_ns as f64 > whole_ns as f64 * TOLERANCE {
            let reason =
                "its numbers contradict one another (its cost is more than the time it is a part of)"
                    .to_owned();
            return Err(contradiction(reason, verdict));
        }
        verdict.cost_ns = verdict.cost_ns.min(whole_ns);
    }
    Ok(verdict)
}

fn contradiction(reason: String, verdict: Verdict) -> Undecided {
    Undecided {
        reason,
        next_step: "Please report it with a recording (wsgi-trace record).",
        evidence: verdict.evidence,
    }
}
