//! Finding `slots-exhausted`: all slots, of the server or of one of its workers, were busy at once, and
//! requests waited.
//!
//! In: slots, the waiting phases of requests. Out: a verdict whose cost is the time spent waiting. It does
//! not say why the slots were busy, only what held them; other rules do.

mod behind_loop;

use super::basis::{Basis, NextStep, Outcome, Undecided, Verdict, WAITING, decides, explains, waited_ns};
use super::cause::{Cause, CpuShort, Holder, cpu_short, holder};
use super::full::{Full, full};
use super::words::{count, duration, percent, ratio, request_seconds};
use super::{Evidence, Judge, Rule};
use crate::model::slot::{HeatRow, Holding};
use crate::phase::Phase;
use crate::server::advice::{Sizes, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "slots-exhausted",
    title: "all workers or threads busy while requests wait",
    question: "requests waited for a free worker",
    page: include_str!("../../../../docs/findings/slots-exhausted.md"),
    advice: || act("add workers or threads").or(act("shorten what holds them")).into(),
    judge: Judge::Measured(judge),
};

/// Of several workers, the one whose slots were all busy for longest.
struct FullWorker {
    tgid: u32,
    slots: u64,
    /// Time with all its slots busy, as a share of the window.
    share: f64,
    /// How many workers were full for as long as the limit says.
    like_it: usize,
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_slots()?;
    basis.require_requests()?;
    if basis.snapshot.slots.come_and_go {
        let sentence = "the server makes threads as connections come: it has no number of them to run out of";
        return Ok(Verdict { sentence: sentence.to_owned(), ..Verdict::default() });
    }
    if basis.snapshot.slots.are_loops()
        && let Some(verdict) = behind_loop::judge(basis)
    {
        return Ok(verdict);
    }
    if basis.snapshot.slots.are_loops() {
        let sentence = "The server runs on event loops, which have no slots that could run out";
        return Ok(Verdict { sentence: sentence.to_owned(), ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let exhausted = ratio(basis.snapshot.slots.exhausted_ns, basis.window_ns());
    let full_worker = full_worker(basis);
    let worker_share = full_worker.as_ref().map_or(0.0, |worker| worker.share);
    let waited = waited_ns(basis.phases());
    let pool_waited = basis.phases().get(Phase::PoolWait);
    let waited_share = ratio(waited, basis.phases().total_ns());
    let holder = holder(basis);
    let mut evidence = evidence(basis, (exhausted, worker_share), (waited, waited_share));
    let felt = |waited_ns: u64| {
        ratio(waited_ns, basis.phases().total_ns()) >= limits.waited_request_min_ratio
            && basis.rate(waited_ns) >= limits.cost_min_rate
    };
    // Where one worker is full for far longer than all at once, it is the case to speak of.
    let one_worker = full_worker.filter(|worker| {
        worker.share >= limits.exhausted_window_min_ratio
            && worker.share > 2.0 * exhausted
            && felt(pool_waited)
    });
    if let Some(worker) = one_worker {
        evidence.push(explains("pool_wait_seconds", pool_waited as f64 / 1e9));
        let step = Some(one_worker_step(&holder));
        return Ok(present(
            basis,
            worker_sentence(basis, &worker, pool_waited, &holder),
            pool_waited,
            evidence,
            step,
        ));
    }
    let exhausted_text = format!("{} for {} of the window", all_slots(basis), percent(exhausted));
    if exhausted < limits.exhausted_window_min_ratio {
        let but = if felt(waited) {
            "; requests waited, but not for lack of one"
        } else {
            ", too little to matter"
        };
        let sentence = format!("{exhausted_text}{but}");
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    if felt(waited) {
        let each = waited.checked_div(basis.request_count()).unwrap_or(0);
        let sentence = format!(
            "{exhausted_text}; requests waited {} ({} each); held by {} ({})",
            request_seconds(waited),
            duration(each),
            holder.words,
            percent(holder.share),
        );
        return Ok(present(basis, sentence, waited, evidence, step(basis, &holder)));
    }
    if may_wait_unseen(basis) {
        // Where workers accept for themselves, waiting requests stay in the kernel's queue.
        return Err(Undecided {
            reason: format!(
                "all of them were busy for {} of the window, but waiting in the accept queue is not measured",
                percent(exhausted)
            ),
            next_step: "Look at the listener's queue (ss -ltn, column Recv-Q) while the server is busy.",
            evidence,
        });
    }
    let sentence =
        format!("{exhausted_text}, but requests waited only {} of their time", percent(waited_share));
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

/// Whether requests may have waited in the accept queue, and nobody saw it. In light mode that is part of
/// waiting for a thread.
fn may_wait_unseen(basis: &Basis<'_>) -> bool {
    let attached = &basis.snapshot.attached;
    let is_one_phase = attached.is_light() && attached.arrival_measured;
    basis.not_measured(Phase::AcceptQueue).is_some() && !is_one_phase
}

fn present(
    basis: &Basis<'_>,
    sentence: String,
    cost_ns: u64,
    evidence: Vec<Evidence>,
    next_step: Option<NextStep>,
) -> Verdict {
    let exemplars = basis.exemplars(&WAITING);
    Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() }
}

fn evidence(basis: &Basis<'_>, exhausted: (f64, f64), waited: (u64, f64)) -> Vec<Evidence> {
    let slots = &basis.snapshot.slots;
    let limits = basis.thresholds;
    let mut evidence = vec![
        decides("slots_exhausted_ratio", exhausted.0, limits.exhausted_window_min_ratio),
        decides("fullest_worker_exhausted_ratio", exhausted.1, limits.exhausted_window_min_ratio),
        decides("requests_waited_ratio", waited.1, limits.waited_request_min_ratio),
        decides("requests_waited_seconds_per_second", basis.rate(waited.0), limits.cost_min_rate),
        explains("slots_count", f64::from(slots.count())),
        explains("slots_peak_busy_count", f64::from(slots.peak_busy)),
        explains("requests_waited_seconds", waited.0 as f64 / 1e9),
    ];
    for holding in Holding::ALL {
        let share = ratio(basis.held_ns(holding), basis.busy_ns());
        if share > 0.0 {
            evidence.push(explains(evidence_name(holding), share));
        }
    }
    evidence
}

/// "All 4 gunicorn gthread threads were busy at once".
fn all_slots(basis: &Basis<'_>) -> String {
    let number = u64::from(basis.snapshot.slots.count());
    match number {
        0 | 1 => format!("The only {} was busy", basis.slots_named(1)),
        2 => format!("Both {} were busy at once", basis.slots_named(2)),
        _ => format!("All {} {} were busy at once", count(number), basis.slots_named(number)),
    }
}

/// Only a pool can be full while its neighbour is not: what a worker with one slot has not accepted, others
/// take.
fn full_worker(basis: &Basis<'_>) -> Option<FullWorker> {
    let rows = &basis.snapshot.slots.heat;
    let pools = || rows.iter().filter(|row| rows.len() > 1 && row.slots > 1);
    let share = |row: &HeatRow| ratio(row.exhausted_ns, basis.window_ns());
    let worst = pools().max_by_key(|row| row.exhausted_ns)?;
    let like_it = pools().filter(|row| share(row) >= basis.thresholds.exhausted_window_min_ratio).count();
    Some(FullWorker { tgid: worst.tgid, slots: u64::from(worst.slots), share: share(worst), like_it })
}

fn worker_sentence(basis: &Basis<'_>, worker: &FullWorker, waited_ns: u64, holder: &Holder) -> String {
    let others = match worker.like_it {
        0 | 1 => "while others had free ones".to_owned(),
        2 => "(1 other as well, at other times)".to_owned(),
        number => format!("({} others as well, at other times)", count(number as u64 - 1)),
    };
    format!(
        "All {} {} of worker {} were busy for {} of the window {others}; its requests waited {}; held by {} ({})",
        count(worker.slots),
        basis.slot_noun(worker.slots),
        worker.tgid,
        percent(worker.share),
        request_seconds(waited_ns),
        holder.words,
        percent(holder.share),
    )
}

/// What helps one worker depends on what fills it only where slots are wasted.
fn one_worker_step(holder: &Holder) -> NextStep {
    match holder.cause {
        Cause::Clients => CLIENTS,
        Cause::Connections => CONNECTIONS,
        Cause::Lasting => LASTING,
        _ => NextStep::For {
            case: "one-worker",
            otherwise: || {
                act("give each worker more threads")
                    .more(Sizes::Threads)
                    .or(act("see to it that connections spread evenly over workers"))
                    .into()
            },
        },
    }
}

const CLIENTS: NextStep = NextStep::For {
    case: "clients",
    otherwise: || {
        act("put a proxy that buffers requests and responses in front")
            .because("more slots would only be held as well")
            .into()
    },
};

const CONNECTIONS: NextStep = NextStep::For {
    case: "connections",
    otherwise: || {
        act("put a proxy in front that keeps idle connections away")
            .because("more slots would only be held as well")
            .into()
    },
};

const LASTING: NextStep = NextStep::For {
    case: "lasting",
    otherwise: || {
        act("serve WebSockets and streams of events from a server of their own, on an event loop")
            .because("each keeps a worker or thread for as long as its client stays")
            .into()
    },
};

const COMPUTING: NextStep = NextStep::For {
    case: "computing",
    otherwise: || act("add worker processes while cores are free").into(),
};

fn step(basis: &Basis<'_>, holder: &Holder) -> Option<NextStep> {
    match (holder.cause, cpu_short(basis)) {
        (Cause::Clients, _) => Some(CLIENTS),
        (Cause::Connections, _) => Some(CONNECTIONS),
        (Cause::Lasting, _) => Some(LASTING),
        // Whatever requests wait for: another thread of the same interpreter would wait as well.
        (_, CpuShort::No) if matches!(full(basis), Full::Interpreter(_)) => Some(COMPUTING),
        (Cause::Computing, CpuShort::Quota | CpuShort::Cores) => Some(NextStep::For {
            case: "cpu-short",
            otherwise: || {
                say("more workers or threads would not help: the CPU is what is short")
                    .no_more(Sizes::Processes)
                    .no_more(Sizes::Threads)
                    .into()
            },
        }),
        (Cause::Computing, CpuShort::No) => Some(COMPUTING),
        (Cause::Waiting, _) => Some(NextStep::For {
            case: "waiting",
            otherwise: || act("add threads or workers").or(act("shorten the wait")).into(),
        }),
        (Cause::Housekeeping, _) => None,
    }
}

const fn evidence_name(holding: Holding) -> &'static str {
    match holding {
        Holding::Request => "held_by_request_ratio",
        Holding::ClientReadStall => "held_by_client_read_stall_ratio",
        Holding::ClientWriteStall => "held_by_client_write_stall_ratio",
        Holding::FirstByte => "held_by_first_byte_ratio",
        Holding::KeepaliveIdle => "held_by_keepalive_idle_ratio",
        Holding::Upgraded => "held_by_upgraded_ratio",
        Holding::Stream => "held_by_stream_ratio",
        Holding::Linger => "held_by_linger_ratio",
        Holding::Housekeeping => "held_by_housekeeping_ratio",
    }
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::slot::HeatRow;
    use crate::phase::{Phase, Phases};

    fn exhausted() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, 20 * SECOND)
            .holding_request(20 * SECOND)
            .exhausted(38 * SECOND / 10)
    }

    #[test]
    fn busy_slots_with_waiting_requests_are_present_and_cost_the_wait() {
        let finding = exhausted().phase(Phase::PoolWait, 12 * SECOND).judge("slots-exhausted");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 12 * SECOND);
        assert_eq!(
            finding.sentence,
            "All 4 gunicorn sync workers were busy at once for 38 % of the window; requests waited \
             12 request-seconds (120 ms each); held by requests that compute (100 %)."
        );
    }

    #[test]
    fn time_in_the_accept_queue_counts_as_waiting() {
        exhausted().phase(Phase::AcceptQueue, 12 * SECOND).judge("slots-exhausted").assert_present();
    }

    #[test]
    fn a_server_that_makes_threads_as_it_needs_them_has_none_to_run_out_of() {
        let mut scene = exhausted().phase(Phase::PoolWait, 12 * SECOND);
        scene.0.slots.come_and_go = true;
        scene.judge("slots-exhausted").assert_absent();
    }

    #[test]
    fn threads_that_wait_for_the_interpreter_between_requests_are_no_work_of_the_server() {
        let mut scene = exhausted()
            .phase(Phase::PoolWait, 12 * SECOND)
            .holding(crate::model::slot::Holding::Housekeeping, 70 * SECOND);
        let own = scene.clone().judge("slots-exhausted");
        assert!(own.sentence.contains("held by the server's own work"), "{}", own.sentence);
        scene.0.gil.waits.record(60 * SECOND);
        let turns = scene.judge("slots-exhausted");
        assert!(turns.sentence.contains("wait for the GIL between requests"), "{}", turns.sentence);
        assert!(turns.advice.contains("--workers"), "{}", turns.advice);
    }

    #[test]
    fn busy_slots_without_waiting_requests_are_absent() {
        exhausted().judge("slots-exhausted").assert_absent();
    }

    #[test]
    fn waiting_while_slots_are_free_is_absent() {
        let finding = exhausted().exhausted(0).phase(Phase::PoolWait, 12 * SECOND).judge("slots-exhausted");
        finding.assert_absent();
        assert!(finding.sentence.contains("not for lack of one"), "{}", finding.sentence);
    }

    #[test]
    fn a_wait_that_costs_next_to_nothing_is_absent() {
        Scene::gunicorn("gthread", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, SECOND)
            .phase(Phase::PoolWait, SECOND / 2)
            .exhausted(2 * SECOND)
            .holding_request(SECOND)
            .judge("slots-exhausted")
            .assert_absent();
    }

    #[test]
    fn busy_slots_with_an_unmeasured_accept_queue_are_undecided() {
        exhausted()
            .not_measured(Phase::AcceptQueue)
            .judge("slots-exhausted")
            .assert_undecided("accept queue is not measured");
    }

    #[test]
    fn a_measured_wait_decides_although_the_accept_queue_is_not_measured() {
        exhausted()
            .not_measured(Phase::AcceptQueue)
            .phase(Phase::PoolWait, 12 * SECOND)
            .judge("slots-exhausted")
            .assert_present();
    }

    #[test]
    fn without_slots_nothing_is_said() {
        Scene::empty(10 * SECOND).judge("slots-exhausted").assert_undecided("no worker or thread");
    }

    #[test]
    fn what_held_the_slots_is_named() {
        let finding = exhausted()
            .phase(Phase::PoolWait, 12 * SECOND)
            .holding(crate::model::slot::Holding::Linger, 70 * SECOND)
            .judge("slots-exhausted");
        assert!(finding.sentence.contains("clients that do not close"), "{}", finding.sentence);
    }

    #[test]
    fn what_lasts_holds_slots_and_belongs_elsewhere() {
        let full = exhausted().phase(Phase::PoolWait, 12 * SECOND);
        for (holding, words) in [
            (crate::model::slot::Holding::Upgraded, "held by WebSockets or tunnels (78 %)"),
            (crate::model::slot::Holding::Stream, "held by streams of events (78 %)"),
        ] {
            let finding = full.clone().holding(holding, 70 * SECOND).judge("slots-exhausted");
            assert!(finding.sentence.contains(words), "{}", finding.sentence);
            assert!(finding.advice.contains("event loop"), "{}", finding.advice);
        }
    }

    /// Two workers of four threads: the first has all of them busy for 8 of 10 s, the second has free ones.
    fn one_full_worker() -> Scene {
        let mut scene = Scene::gunicorn("gthread", 8, 10 * SECOND)
            .requests(100)
            .phase(Phase::Sleep, 30 * SECOND)
            .phase(Phase::PoolWait, 20 * SECOND)
            .holding_request(30 * SECOND)
            .exhausted(SECOND / 10);
        for (tgid, exhausted_ns) in [(700, 8 * SECOND), (701, SECOND / 10)] {
            scene.0.slots.heat.push(HeatRow { tgid, slots: 4, exhausted_ns, busy_ns: Vec::new() });
        }
        scene
    }

    #[test]
    fn a_full_worker_beside_an_idle_one_is_present_and_named() {
        let finding = one_full_worker().judge("slots-exhausted");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 20 * SECOND);
        assert_eq!(
            finding.sentence,
            "All 4 threads of worker 700 were busy for 80 % of the window while others had free ones; its requests waited \
             20 request-seconds; held by requests that sleep (100 %)."
        );
        assert!(finding.advice.contains("more threads each"), "{}", finding.advice);
    }

    #[test]
    fn a_full_worker_without_waiting_requests_is_absent() {
        let mut scene = one_full_worker();
        scene.0.requests.phases = Phases::default();
        scene.phase(Phase::Sleep, 30 * SECOND).judge("slots-exhausted").assert_absent();
    }

    #[test]
    fn a_server_full_as_a_whole_is_not_blamed_on_one_worker() {
        let finding = one_full_worker().exhausted(7 * SECOND).judge("slots-exhausted");
        assert!(finding.sentence.starts_with("All 8 gunicorn gthread threads"), "{}", finding.sentence);
    }

    #[test]
    fn more_slots_are_not_advised_where_the_cpu_is_short() {
        let busy = exhausted().phase(Phase::PoolWait, 12 * SECOND);
        assert!(busy.clone().judge("slots-exhausted").advice.contains("Raise --workers"));
        let short = busy.phase(Phase::RunQueue, 15 * SECOND).judge("slots-exhausted");
        assert!(!short.advice.contains("Raise"), "{}", short.advice);
        let waiting = exhausted().phase(Phase::PoolWait, 12 * SECOND).phase(Phase::BackendWait, 90 * SECOND);
        let waiting = waiting.judge("slots-exhausted");
        assert!(waiting.sentence.contains("wait for a back end"), "{}", waiting.sentence);
    }
}
