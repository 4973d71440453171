//! Numbers that every report derives in the same way, so that two formats never disagree.
//!
//! In: a [`Snapshot`] and findings. Out: ratios, orders, the cost of the profiler, what was not measured.

use std::cmp::Reverse;

use profiler_core::fact::Attached;
use profiler_core::finding::{Answer, Finding, is_notice};
use profiler_core::model::capacity::Doing;
use profiler_core::model::request::Request;
use profiler_core::model::{Endpoint, Snapshot};
use profiler_core::phase::{Phase, Phases};

/// Why there is no account of the profiler's cost.
pub(crate) const OVERHEAD_NOT_MEASURED: &str = "the stream holds no account of the profiler's own cost";

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;

/// `part ÷ whole`; `None` when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "53 bits are more than six digits need")]
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// `count` per second of `length_ns`; `None` when no time passed.
pub(crate) fn per_second(count: u64, length_ns: u64) -> Option<f64> {
    ratio(count, length_ns).map(|per_ns| per_ns * SECOND_NS)
}

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are a hundred days")]
pub(crate) fn seconds(duration_ns: u64) -> f64 {
    duration_ns as f64 / SECOND_NS
}

/// `part × whole ÷ of`, without overflow on the way; 0 when `of` is 0.
pub(crate) fn scaled(part: u64, whole: u64, of: u64) -> u64 {
    let product = u128::from(part) * u128::from(whole);
    u64::try_from(product.checked_div(u128::from(of)).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// Time of all slots over the window: what they could have been busy.
pub(crate) fn capacity_ns(snapshot: &Snapshot) -> u64 {
    snapshot.window.length_ns().saturating_mul(u64::from(snapshot.slots.count()))
}

/// Whether it is known who waits for a slot: which thread takes a request, and the accept queue.
pub(crate) fn is_line_measured(snapshot: &Snapshot) -> bool {
    snapshot.slots.not_measured.is_none() && snapshot.shows_accept_queues()
}

/// Requests that wait for a slot as the window ends.
pub(crate) fn in_line(snapshot: &Snapshot) -> u64 {
    snapshot.requests.open.in_line_beside(snapshot.slots.busy_at_end)
}

/// Slots that are wanted as the window ends, by those that there are: those busy, and one for each request in
/// line; `None`: there is no number of slots.
pub(crate) fn demand_ratio(snapshot: &Snapshot) -> Option<f64> {
    let slots = &snapshot.slots;
    let wanted = u64::from(slots.busy_at_end).saturating_add(in_line(snapshot));
    let is_known = is_line_measured(snapshot) && slots.are_counted();
    ratio(wanted, u64::from(slots.count())).filter(|_| is_known)
}

/// The finding that says that nothing is wrong.
pub(crate) const HEALTHY: &str = "healthy";

/// Whether a finding that is present says that something is wrong.
pub(crate) fn is_wrong(id: &str) -> bool {
    id != HEALTHY && !is_notice(id)
}

/// Findings in the order of every report: present ones by cost, then usual, undecided, absent; equals as they
/// came.
pub(crate) fn worst_first(findings: &[Finding]) -> Vec<&Finding> {
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    ordered.sort_by_key(|finding| (finding.answer.rank(), Reverse(finding.cost_ns)));
    ordered
}

/// The first thing to do about a finding, without its reason.
pub(crate) fn change(finding: &Finding) -> String {
    match finding.steps.imperative() {
        text if text.is_empty() => first_sentence(&finding.advice).to_owned(),
        text => text,
    }
}

/// Without its end.
fn first_sentence(text: &str) -> &str {
    text.split(". ").next().unwrap_or_default().trim_end_matches('.')
}

/// Those that are present, the costliest first; that nothing is wrong is none of them.
pub(crate) fn present(findings: &[Finding]) -> Vec<&Finding> {
    let is_meant = |finding: &&Finding| finding.answer == Answer::Present && finding.id != HEALTHY;
    worst_first(findings).into_iter().filter(is_meant).collect()
}

/// Endpoints by the time spent in them, longest first.
pub(crate) fn endpoints_by_time(snapshot: &Snapshot) -> Vec<&Endpoint> {
    let mut ordered: Vec<&Endpoint> = snapshot.by_endpoint.list.iter().collect();
    ordered.sort_by_key(|e| (Reverse(e.phases.total_ns()), &e.method, &e.path_shape, e.status));
    ordered
}

/// The slowest requests, slowest first.
pub(crate) fn slowest(snapshot: &Snapshot) -> Vec<&Request> {
    let mut ordered: Vec<&Request> = snapshot.requests.slowest.iter().collect();
    ordered.sort_by_key(|request| (Reverse(request.total_ns()), request.id));
    ordered
}

/// What stands where a list is empty: in light mode that does not mean that there is none.
pub(crate) fn none_seen(snapshot: &Snapshot, noun: &str) -> String {
    if snapshot.attached.is_light() {
        return format!("Not known: {}.", Attached::LIGHT_SEES_NO_CALLS);
    }
    format!("No {noun} was seen.")
}

/// Why a phase was not measured. A phase that has time was measured, whatever else is said.
pub(crate) fn not_measured(snapshot: &Snapshot, phase: Phase) -> Option<&str> {
    if snapshot.requests.phases.get(phase) > 0 {
        return None;
    }
    snapshot
        .coverage
        .not_measured
        .iter()
        .find(|(other, _)| *other == phase)
        .map(|(_, reason)| reason.as_str())
}

/// From this share of service time on, what is unexplained can make a small number a large one. Less changes
/// it by less than advice asks about (`COMPUTING_MIN_RATIO` in `finding/sized.rs`).
const UNEXPLAINED_MIN_RATIO: f64 = 0.1;

/// What of service time requests did, by phase. Each is `None` where no such time is measured, and where what
/// is unexplained may be most of it: neither is the same as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MeasuredDoing {
    pub(crate) computing_ns: Option<u64>,
    pub(crate) gil_ns: Option<u64>,
    pub(crate) backend_ns: Option<u64>,
    pub(crate) waiting_ns: Option<u64>,
    pub(crate) client_ns: Option<u64>,
    /// All service time, with what is not measured on its own.
    pub(crate) served_ns: u64,
    /// So much is unexplained that smaller parts are not known.
    pub(crate) is_much_unexplained: bool,
}

impl MeasuredDoing {
    /// Of requests with these phases.
    pub(crate) fn of(snapshot: &Snapshot, phases: &Phases) -> Self {
        let doing = Doing::of(phases);
        let unexplained_ns = phases.get(Phase::Unexplained);
        let is_much = ratio(unexplained_ns, doing.served_ns()) >= Some(UNEXPLAINED_MIN_RATIO);
        let measured = |phases: &[Phase], part_ns: u64| {
            let is_measured =
                part_ns > 0 || phases.iter().any(|phase| not_measured(snapshot, *phase).is_none());
            let is_known = !is_much || part_ns >= unexplained_ns;
            (is_measured && is_known).then_some(part_ns)
        };
        Self {
            computing_ns: measured(&[Phase::Cpu, Phase::RunQueue], doing.computing_ns),
            gil_ns: measured(&[Phase::GilWait], doing.gil_ns),
            backend_ns: measured(&[Phase::BackendWait], doing.backend_ns),
            waiting_ns: measured(
                &[Phase::LockWait, Phase::ChildWait, Phase::FileWait, Phase::FaultWait, Phase::Sleep],
                doing.waiting_ns,
            ),
            client_ns: measured(&[Phase::ClientReadStall, Phase::ClientWriteStall], doing.client_ns),
            served_ns: doing.served_ns(),
            is_much_unexplained: is_much,
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Status(i64),
    /// By this signal.
    Signal(i64),
}

impl Exit {
    /// From the kernel's exit code: the signal in the low 7 bits, the status above the eighth.
    pub(crate) const fn from_kernel(code: i64) -> Self {
        match code & 0x7f {
            0 => Self::Status((code >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

/// What the profiler cost over the whole window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Run time of the kernel programs, scaled from the sampled part to the window; `None`: not sampled.
    pub(crate) bpf_window_ns: Option<u64>,
    /// CPU of the profiler and of its kernel programs.
    pub(crate) total_ns: u64,
    /// CPU of the profiler and its kernel programs per completed request; `None`: there was none.
    pub(crate) per_request_ns: Option<u64>,
    /// CPU of the profiler and its kernel programs as a share of the target's; `None`: the target used none.
    pub(crate) share_of_target: Option<f64>,
}

/// The profiler's cost; `None` where the stream does not have it.
pub(crate) fn cost(snapshot: &Snapshot) -> Option<Cost> {
    let overhead = snapshot.coverage.overhead.as_ref()?;
    let window_ns = snapshot.window.length_ns();
    let sampled_ns = overhead.bpf_sampled_ns;
    let bpf_window_ns = (sampled_ns > 0).then(|| scaled(overhead.bpf_run_ns, window_ns, sampled_ns));
    let total_ns = overhead.profiler_cpu_ns.saturating_add(bpf_window_ns.unwrap_or(0));
    Some(Cost {
        bpf_window_ns,
        total_ns,
        per_request_ns: total_ns.checked_div(snapshot.requests.completed),
        share_of_target: ratio(total_ns, overhead.target_cpu_ns),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_core::fact::Overhead;

    #[test]
    fn a_part_of_service_time_is_not_known_where_as_much_may_be_unexplained() {
        let computing_ns = |cpu_ns, unexplained_ns| {
            let mut phases = Phases::default();
            phases.add(Phase::Cpu, cpu_ns);
            phases.add(Phase::Unexplained, unexplained_ns);
            phases.add(Phase::Sleep, 1_000 - cpu_ns - unexplained_ns);
            MeasuredDoing::of(&Snapshot::default(), &phases).computing_ns
        };
        assert_eq!(computing_ns(0, 1_000), None, "nothing is known of it");
        assert_eq!(computing_ns(0, 0), Some(0), "it is known that there was none");
        assert_eq!(computing_ns(199, 200), None, "it may be twice as much");
        assert_eq!(computing_ns(200, 200), Some(200));
        assert_eq!(computing_ns(0, 100), None);
        assert_eq!(computing_ns(0, 99), Some(0), "too little to matter");
    }

    #[test]
    fn kernel_exit_codes_are_taken_apart() {
        assert_eq!(Exit::from_kernel(0), Exit::Status(0));
        assert_eq!(Exit::from_kernel(3 << 8), Exit::Status(3));
        assert_eq!(Exit::from_kernel(9), Exit::Signal(9));
        assert_eq!(Exit::from_kernel(0x80 | 11), Exit::Signal(11), "with a core dump");
    }

    #[test]
    fn the_finding_that_says_healthy_is_one_of_the_rules() {
        assert!(profiler_core::finding::RULES.iter().any(|rule| rule.id == HEALTHY));
    }

    #[test]
    fn the_cost_of_the_sampled_part_is_scaled_to_the_window() {
        let mut snapshot = Snapshot::default();
        snapshot.window.end_ns = 30_000;
        snapshot.requests.completed = 10;
        snapshot.coverage.overhead = Some(Overhead {
            profiler_cpu_ns: 400,
            target_cpu_ns: 20_000,
            bpf_run_ns: 20,
            bpf_runs: 2,
            bpf_sampled_ns: 1_000,
            ..Overhead::default()
        });
        let cost = cost(&snapshot).unwrap();
        assert_eq!(cost.bpf_window_ns, Some(600));
        assert_eq!(cost.total_ns, 1_000);
        assert_eq!(cost.per_request_ns, Some(100));
        assert_eq!(cost.share_of_target, Some(0.05));
    }

    #[test]
    fn a_product_beyond_64_bits_does_not_overflow() {
        assert_eq!(scaled(u64::MAX, 4, 8), u64::MAX / 2);
        assert_eq!(scaled(u64::MAX, 2, 1), u64::MAX);
        assert_eq!(scaled(1, 1, 0), 0);
    }
}
