//! Finding `ill-worker`: one of several workers takes far longer than the others for the same endpoints.
//!
//! In: requests by endpoint and process. Out: a verdict on the worker that is furthest from the others, with
//! the phase in which it differs. Its cost is what its requests took longer.

use std::collections::BTreeSet;

use super::basis::{Basis, NextStep, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, endpoint_name, factor, percent, ratio};
use super::{Evidence, Judge, Rule, add_where_room};
use crate::model::Endpoint;
use crate::model::by_worker::{OfWorker, is_work, work_ns};
use crate::phase::{Phase, Phases};
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "ill-worker",
    title: "one worker takes far longer than the others for the same endpoints",
    question: "one worker is ill",
    page: include_str!("../../../../docs/findings/ill-worker.md"),
    advice: || {
        Advice::first(
            act("compare this one process with another: its threads, its memory, its connections, its lines in the log")
                .because("the same code takes longer there"),
        )
        .then(say("where the server replaces a worker that ends, to end this one helps until the cause comes back"))
    },
    judge: Judge::Measured(judge),
};

/// Waits that requests of one process cause one another: they grow with how many it has at once.
const FOR_ONE_ANOTHER: [Phase; 3] = [Phase::RunQueue, Phase::GilWait, Phase::LockWait];

/// Evidence: requests of processes for which there was no room.
const NO_ROOM: &str = "no_room_requests_count";

/// Exemplars kept.
const EXEMPLARS: usize = 5;

/// One worker beside the others, over the endpoints that both served often enough.
struct Beside<'a> {
    tgid: u32,
    requests: u64,
    /// Where the time of its requests went.
    own: Phases,
    /// Where it would have gone at the others.
    expected: Phases,
    /// The part of `expected` at endpoints where the typical request takes it so much longer.
    far_ns: u64,
    /// The endpoint where it loses most, and how much.
    most: Option<(&'a Endpoint, u64)>,
    /// It has more requests at once than the others: they may wait for one another.
    is_crowded: bool,
    /// It began or ended within the window: it served at other times than the others, first of all with
    /// empty caches, or with other code.
    comes_or_goes: bool,
}

impl<'a> Beside<'a> {
    fn add(&mut self, endpoint: &'a Endpoint, worker: &OfWorker, others: &OfWorker, min_times: f64) {
        let mut expected = Phases::default();
        for (phase, duration_ns) in others.phases.iter() {
            expected.add(phase, scaled(duration_ns, worker.count, others.count));
        }
        let (own_ns, expected_ns) = (work_ns(&worker.phases), work_ns(&expected));
        let is_far = own_ns > 0 && own_ns as f64 >= expected_ns as f64 * min_times;
        if is_far && worker.work.are_longer_than(&others.work, min_times) {
            self.far_ns = self.far_ns.saturating_add(expected_ns);
        }
        let more_ns = own_ns.saturating_sub(expected_ns);
        if self.most.is_none_or(|(_, most_ns)| more_ns > most_ns) {
            self.most = Some((endpoint, more_ns));
        }
        self.requests = self.requests.saturating_add(worker.count);
        self.own.add_all(&worker.phases);
        self.expected.add_all(&expected);
    }

    /// How much longer it takes in the phases that are asked for, less what it takes shorter.
    fn more_ns(&self, of: impl Fn(Phase) -> bool) -> u64 {
        let wanted = |phases: &Phases| {
            let wanted = phases.iter().filter(|(phase, _)| is_work(*phase) && of(*phase));
            wanted.fold(0_u64, |sum, (_, duration_ns)| sum.saturating_add(duration_ns))
        };
        wanted(&self.own).saturating_sub(wanted(&self.expected))
    }

    /// Whether more time in this phase says something of the worker itself.
    fn is_sure(&self, phase: Phase) -> bool {
        phase != Phase::Unexplained && !(self.is_crowded && FOR_ONE_ANOTHER.contains(&phase))
    }

    fn surely_ns(&self) -> u64 {
        self.more_ns(|phase| self.is_sure(phase))
    }

    fn times(&self, more_ns: u64) -> f64 {
        let expected_ns = work_ns(&self.expected);
        ratio(expected_ns.saturating_add(more_ns), expected_ns)
    }

    /// The part of what is compared at endpoints where the typical request takes so much longer.
    fn far_share(&self) -> f64 {
        ratio(self.far_ns, work_ns(&self.expected))
    }

    /// Whether it takes so much longer, counting this much more, at most of what it does.
    fn is_ill(&self, basis: &Basis<'_>, more_ns: u64) -> bool {
        let limits = basis.thresholds;
        self.times(more_ns) >= limits.ill_worker_min_times
            && self.far_share() >= limits.typically_longer_min_ratio
            && basis.rate(more_ns) >= limits.cost_min_rate
    }

    /// The phase in which it takes most longer, and how much.
    fn phase(&self) -> (Phase, u64) {
        let more_ns = |phase: Phase| self.own.get(phase).saturating_sub(self.expected.get(phase));
        let work = Phase::ALL.into_iter().filter(|phase| is_work(*phase));
        let longest = work.max_by_key(|phase| more_ns(*phase)).unwrap_or(Phase::Unexplained);
        (longest, more_ns(longest))
    }

    fn sentence(&self, workers: usize) -> String {
        let more_ns = self.more_ns(|_| true);
        let each = |all_ns: u64| duration(all_ns.checked_div(self.requests).unwrap_or(0));
        format!(
            "Process {}, one of {} workers, took {} times as long as the others for the same endpoints ({} instead of {} each, \
             {} requests)",
            self.tgid,
            count(workers as u64),
            factor(self.times(more_ns)),
            each(work_ns(&self.own)),
            each(work_ns(&self.expected)),
            count(self.requests),
        )
    }

    fn evidence(&self, basis: &Basis<'_>) -> Vec<Evidence> {
        let limits = basis.thresholds;
        let more_ns = self.surely_ns();
        let each = |all_ns: u64| ratio(all_ns, self.requests) / 1e9;
        vec![
            decides("surely_of_others_times", self.times(more_ns), limits.ill_worker_min_times),
            decides("typically_longer_ratio", self.far_share(), limits.typically_longer_min_ratio),
            decides("longer_seconds_per_second", basis.rate(more_ns), limits.cost_min_rate),
            explains("of_others_times", self.times(self.more_ns(|_| true))),
            explains("own_mean_seconds", each(work_ns(&self.own))),
            explains("others_mean_seconds", each(work_ns(&self.expected))),
            explains("own_requests_count", self.requests as f64),
        ]
    }
}

/// What `count` requests take if `of` take this long.
fn scaled(duration_ns: u64, count: u64, of: u64) -> u64 {
    let all = u128::from(duration_ns).saturating_mul(u128::from(count));
    all.checked_div(u128::from(of)).map_or(0, |each| u64::try_from(each).unwrap_or(u64::MAX))
}

/// Whether a worker has more requests at once than the others: with one slot it cannot.
fn is_crowded(basis: &Basis<'_>, tgid: u32) -> bool {
    let workers = &basis.snapshot.capacity.workers;
    let Some(own) = workers.iter().find(|worker| worker.tgid == tgid) else { return true };
    if own.slots.max(own.seen) <= 1 && !own.is_loop {
        return false;
    }
    let others = || workers.iter().filter(|worker| worker.tgid != tgid && worker.requests > 0);
    let of_others = others().fold(0_u64, |sum, worker| sum.saturating_add(worker.phases.served_ns()));
    let times = ratio(own.phases.served_ns(), of_others) * others().count() as f64;
    of_others == 0 || times >= basis.thresholds.uneven_min_times
}

/// Whether a worker was not there for the whole window.
fn comes_or_goes(basis: &Basis<'_>, tgid: u32) -> bool {
    let mut lives = basis.snapshot.capacity.lives.iter().filter(|life| life.tgid == tgid);
    lives.any(|life| life.born_ns.is_some() || life.ended_ns.is_some())
}

/// All workers, each beside the others.
struct Compared<'a> {
    workers: usize,
    all: Vec<Beside<'a>>,
    /// Time that requests took which were compared.
    compared_ns: u64,
    /// Requests of processes for which there was no room.
    others: u64,
}

impl<'a> Compared<'a> {
    fn of(basis: &Basis<'a>) -> Self {
        let limits = basis.thresholds;
        let processes = basis.snapshot.processes.iter();
        let in_front: BTreeSet<u32> =
            processes.filter(|process| process.role == "front_end").map(|process| process.tgid).collect();
        let (mut served, mut all, mut compared_ns) = (BTreeSet::new(), Vec::<Beside<'a>>::new(), 0_u64);
        for endpoint in &basis.snapshot.by_endpoint.list {
            let mut by_worker = endpoint.by_worker.clone();
            by_worker.list.retain(|worker| !in_front.contains(&worker.tgid));
            let together = by_worker.together();
            for worker in &by_worker.list {
                served.insert(worker.tgid);
                let others = without(&together, worker);
                if worker.count.min(others.count) < least(limits.compared_min_count) {
                    continue;
                }
                compared_ns = compared_ns.saturating_add(work_ns(&worker.phases));
                let place = all.iter().position(|one| one.tgid == worker.tgid);
                let place = place.unwrap_or_else(|| {
                    all.push(Beside {
                        tgid: worker.tgid,
                        requests: 0,
                        own: Phases::default(),
                        expected: Phases::default(),
                        far_ns: 0,
                        most: None,
                        is_crowded: is_crowded(basis, worker.tgid),
                        comes_or_goes: comes_or_goes(basis, worker.tgid),
                    });
                    all.len().saturating_sub(1)
                });
                if let Some(beside) = all.get_mut(place) {
                    beside.add(endpoint, worker, &others, limits.ill_worker_min_times);
                }
            }
        }
        let endpoints = basis.snapshot.by_endpoint.list.iter();
        let others = endpoints.fold(0_u64, |sum, endpoint| sum.saturating_add(endpoint.by_worker.others));
        Self { workers: served.len(), all, compared_ns, others }
    }
}

/// All but one of them.
fn without(together: &OfWorker, worker: &OfWorker) -> OfWorker {
    let mut phases = Phases::default();
    for (phase, duration_ns) in together.phases.iter() {
        phases.add(phase, duration_ns.saturating_sub(worker.phases.get(phase)));
    }
    OfWorker {
        tgid: 0,
        count: together.count.saturating_sub(worker.count),
        phases,
        work: together.work.without(&worker.work),
    }
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let Compared { workers, all, compared_ns, others } = Compared::of(basis);
    if workers == 1 && others == 0 {
        let sentence = "One process served all requests: there is no other to compare it with".to_owned();
        return Ok(Verdict { sentence, ..Verdict::default() });
    }
    let ill = || all.iter().filter(|one| !one.comes_or_goes && one.is_ill(basis, one.surely_ns()));
    if let Some(worst) = ill().max_by_key(|one| one.surely_ns()) {
        let mut verdict = present(basis, worst, (workers, ill().count()));
        verdict.evidence.push(explains(NO_ROOM, others as f64));
        return Ok(verdict);
    }
    let may_be = all.iter().filter(|one| one.is_ill(basis, one.more_ns(|_| true)));
    if let Some(worst) = may_be.max_by_key(|one| one.more_ns(|_| true)) {
        let mut unsure = unsure(basis, worst);
        unsure.evidence.push(explains(NO_ROOM, others as f64));
        return Err(unsure);
    }
    let all_ns = work_ns(basis.phases());
    let share = ratio(compared_ns, all_ns);
    let not_compared_ns = all_ns.saturating_sub(compared_ns);
    let mut evidence = vec![
        decides("compared_service_ratio", share, limits.compared_min_ratio),
        explains("workers_count", workers as f64),
        explains(NO_ROOM, others as f64),
    ];
    if share < limits.compared_min_ratio && basis.rate(not_compared_ns) >= limits.cost_min_rate {
        let mut reason = format!(
            "only {} of service time can be compared: endpoints that two workers served {} times or more",
            percent(share),
            limits.compared_min_count
        );
        if others > 0 {
            reason
                .push_str(&format!("; there was no room for {} requests of further workers", count(others)));
        }
        return Err(Undecided { reason, next_step: "Watch for longer.", evidence });
    }
    let furthest = all.iter().max_by(|a, b| a.times(a.surely_ns()).total_cmp(&b.times(b.surely_ns())));
    let sentence = match furthest {
        Some(furthest) => {
            evidence.extend(furthest.evidence(basis));
            let (workers, times) = (count(workers as u64), furthest.times(furthest.more_ns(|_| true)));
            let longer = factor(times);
            if times < limits.ill_worker_min_times {
                format!(
                    "No worker differed from the others at the same endpoints: the slowest of {workers} took {longer} times as long \
                     as they"
                )
            } else {
                format!(
                    "One of {workers} workers took {longer} times as long as the others for the same endpoints, but for few requests \
                     only, or at little cost"
                )
            }
        }
        None => "Workers served too little for one to cost much".to_owned(),
    };
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

fn present(basis: &Basis<'_>, worst: &Beside<'_>, (workers, ill): (usize, usize)) -> Verdict {
    let (phase, more_ns) = worst.phase();
    let mut sentence = worst.sentence(workers);
    let of_it = ratio(more_ns, worst.more_ns(|_| true)).min(1.0);
    add_where_room(&mut sentence, &format!(", {} of the difference {}", percent(of_it), phase.name()));
    if let Some((endpoint, _)) = worst.most {
        add_where_room(&mut sentence, &format!(", most of it in {}", endpoint_name(endpoint)));
    }
    let mut evidence = worst.evidence(basis);
    evidence.push(explains("workers_count", workers as f64));
    evidence.push(explains("ill_workers_count", ill as f64));
    evidence.push(explains("largest_phase_of_difference_ratio", of_it));
    let own = basis.snapshot.requests.slowest.iter().filter(|request| request.tgid == worst.tgid);
    let exemplars = own.map(|request| request.id).take(EXEMPLARS).collect();
    let next_step = look_at(phase).map(|step| NextStep::After(Advice::first(say(step))));
    Verdict {
        present: true,
        sentence,
        cost_ns: worst.surely_ns(),
        whole_ns: Some(basis.phases().total_ns()),
        evidence,
        exemplars,
        next_step,
    }
}

/// It takes longer, but not surely for a reason of its own.
fn unsure(basis: &Basis<'_>, worst: &Beside<'_>) -> Undecided {
    let more_ns = worst.more_ns(|_| true);
    let unexplained_ns = worst.more_ns(|phase| phase == Phase::Unexplained);
    let for_one_another_ns = worst.more_ns(|phase| FOR_ONE_ANOTHER.contains(&phase));
    let times = factor(worst.times(more_ns));
    let tgid = worst.tgid;
    let (reason, next_step) = if worst.comes_or_goes {
        let reason = format!(
            "process {tgid} took {times} times as long as the others for the same endpoints, but it began or ended within the window"
        );
        (reason, "Watch again when all workers have been there for a while.")
    } else if worst.is_crowded && for_one_another_ns > unexplained_ns {
        let reason = format!(
            "process {tgid} took {times} times as long as the others, but also had more requests at once; {} of the difference is their \
             waiting for one another",
            percent(ratio(for_one_another_ns, more_ns).min(1.0))
        );
        (reason, "Compare its threads and its connections with those of another worker.")
    } else {
        let reason = format!(
            "process {tgid} took {times} times as long as the others for the same endpoints, but {} of the difference is unexplained",
            percent(ratio(unexplained_ns, more_ns).min(1.0))
        );
        (reason, "Compare with what the application's own log or tracing says of this process.")
    };
    Undecided { reason, next_step, evidence: worst.evidence(basis) }
}

/// Where to look, by what takes longer.
const fn look_at(phase: Phase) -> Option<&'static str> {
    Some(match phase {
        Phase::Cpu => {
            "it computes more for the same answer: look for a cache that is cold, debugging or tracing that is on, a list that grew"
        }
        Phase::RunQueue => {
            "it waits for a CPU: look at its nice value, its CPU affinity and its cgroup, and for other threads of its own"
        }
        Phase::GilWait => "it waits for the GIL: look for a background thread that only this process has",
        Phase::LockWait => {
            "it waits for a lock: look for a pool of this process that has lost connections, or a lock that nobody gives back"
        }
        Phase::BackendWait => {
            "it waits for a back end: look where its connections go, such as to one replica of several, and whether it logs in each time"
        }
        Phase::ChildWait => "it waits for child processes: compare what they are and how long they run",
        Phase::FaultWait => {
            "its memory is not there when it is needed: look whether it was swapped out, and how much it grew"
        }
        Phase::FileWait => "it waits for files: look for a file or directory that only this process uses",
        Phase::Sleep => "it sleeps: look for retries with pauses, and for a limit of its own",
        _ => return None,
    })
}

/// A count of requests as a threshold has it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small limit, never negative")]
const fn least(limit: f64) -> u64 {
    limit as u64
}

#[cfg(test)]
mod tests;
