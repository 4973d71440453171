//! Finding `cpu-bound`: requests are mostly CPU time, and it presses.
//!
//! In: phases of requests, CPU time of processes. Out: a verdict that tells "Python is the work" from
//! "threads take turns in one interpreter" from "cores are short". Where waiting for the interpreter lock is
//! not measured it hides in `lock_wait`: where the interpreter is full, it is counted; where that cannot be
//! told, the rule is undecided. What a CPU quota stopped is left to `cpu-throttled`, measured waits for the
//! lock to `gil-contention`. Where cores are short, these waits count as wanting the CPU: who has the lock
//! waits for a core. The line for slots is then part of the cost.

use super::basis::{Basis, NextStep, Outcome, Undecided, Verdict, decides, explains, served_ns};
use super::cause::{
    CpuShort, busiest_process, busiest_process_cpu, cpu_short, host_share, interpreter_full, line_ns,
    run_queue_by_quota_ns, serves_in_parallel,
};
use super::computing_line;
use super::words::{duration, percent, ratio, request_seconds};
use super::{Evidence, Judge, Rule, SENTENCE_MAX_CHARS};
use crate::phase::Phase;
use crate::server::advice::{Advice, Part, Sizes, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "cpu-bound",
    title: "requests compute, or wait for a core",
    question: "CPU time is what takes the time",
    page: include_str!("../../../../docs/findings/cpu-bound.md"),
    advice: || {
        Advice::first(act("profile the Python code of the slowest endpoints"))
            .then(say("threads do not speed it up, processes do while cores are free"))
    },
    judge: Judge::Measured(judge),
};

/// The phases that are CPU time or the wait for it.
const WANTING_CPU: [Phase; 3] = [Phase::Cpu, Phase::RunQueue, Phase::LockWait];

/// What requests wanted of the CPU.
struct Wanted {
    cpu_ns: u64,
    /// Ready to run, without what a quota stopped.
    run_queue_ns: u64,
    /// Waits for locks, where they are for a full interpreter; 0 elsewhere.
    turns_ns: u64,
    /// All of it as a share of service time; where the server uses all cores up, with the waits for the GIL.
    share: f64,
    /// Waits for locks as a share of service time, whatever they are for.
    lock_share: f64,
}

impl Wanted {
    const fn cost_ns(&self) -> u64 {
        self.cpu_ns.saturating_add(self.run_queue_ns).saturating_add(self.turns_ns)
    }

    /// The wait for a core as a share of the time in which one was wanted.
    fn waited_share(&self) -> f64 {
        ratio(self.run_queue_ns, self.cpu_ns.saturating_add(self.run_queue_ns))
    }
}

fn wanted(basis: &Basis<'_>) -> Wanted {
    let phases = basis.phases();
    let cpu_ns = phases.get(Phase::Cpu);
    let run_queue_ns = phases.get(Phase::RunQueue).saturating_sub(run_queue_by_quota_ns(basis));
    let lock_ns = phases.get(Phase::LockWait);
    let hidden = basis.not_measured(Phase::GilWait).is_some();
    let turns_ns = if hidden && cpu_ns > 0 && interpreter_full(basis) { lock_ns } else { 0 };
    let served = served_ns(phases);
    let mut wanted =
        Wanted { cpu_ns, run_queue_ns, turns_ns, share: 0.0, lock_share: ratio(lock_ns, served) };
    let limits = basis.thresholds;
    let are_cores_full = host_share(basis) >= limits.full_min_ratio
        && wanted.waited_share() >= limits.run_queue_of_cpu_min_ratio;
    let gil_ns = if are_cores_full { phases.get(Phase::GilWait) } else { 0 };
    wanted.share = ratio(wanted.cost_ns().saturating_add(gil_ns), served);
    wanted
}

/// How much requests press for the CPU: what the busiest process or the host has of it, and how slow slow
/// requests are in seconds.
fn pressure(basis: &Basis<'_>) -> (f64, f64) {
    // What a quota stops does not press: the processes would have run.
    let busiest = if run_queue_by_quota_ns(basis) > 0 { 0.0 } else { busiest_process(basis) };
    (busiest.max(host_share(basis)), basis.snapshot.requests.service.quantile_ns(0.9) as f64 / 1e9)
}

fn presses(basis: &Basis<'_>) -> bool {
    let (pressed, slow_seconds) = pressure(basis);
    let limits = basis.thresholds;
    pressed >= limits.cpu_pressure_min_ratio || slow_seconds >= limits.cpu_slow_request_min_seconds
}

/// Whether requests are mostly CPU time, or the wait for it, and it presses.
pub(super) fn is_present(basis: &Basis<'_>) -> bool {
    basis.require_window().is_ok()
        && basis.require_requests().is_ok()
        && wanted(basis).share >= basis.thresholds.cpu_served_min_ratio
        && presses(basis)
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let wanted = wanted(basis);
    let (pressed, slow_seconds) = pressure(basis);
    let mut evidence = evidence(basis, &wanted, pressed, slow_seconds);
    let presses = presses(basis);
    if wanted.share < limits.cpu_served_min_ratio || !presses {
        let lock_may_be_gil = basis.not_measured(Phase::GilWait).is_some() && serves_in_parallel(basis);
        if presses
            && lock_may_be_gil
            && wanted.lock_share > wanted.share
            && wanted.share + wanted.lock_share >= limits.cpu_served_min_ratio
        {
            return Err(Undecided {
                reason: format!(
                    "CPU is {} of service time, and {} are waits for locks, which may be for the GIL",
                    percent(wanted.share),
                    percent(wanted.lock_share)
                ),
                next_step: "Compare with fewer threads per process: if throughput stays, it was the GIL.",
                evidence,
            });
        }
        let sentence = format!(
            "CPU was {} of service time, and the busiest process used {} of one core",
            percent(wanted.share),
            percent(busiest_process_cpu(basis))
        );
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let exemplars = basis.exemplars(&WANTING_CPU);
    let turns_share = ratio(wanted.turns_ns, wanted.cost_ns());
    let in_turns = turns_share >= limits.run_queue_of_cpu_min_ratio && wanted.turns_ns > wanted.run_queue_ns;
    let (mut sentence, next_step) = if in_turns {
        taking_turns(basis, &wanted)
    } else if wanted.waited_share() >= limits.run_queue_of_cpu_min_ratio {
        cores_short(basis, &wanted)
    } else {
        python_is_the_work(basis, &wanted)
    };
    computing_line::add(&mut sentence, basis.snapshot);
    // Without a free core, or an interpreter with time left, more workers would not shorten the line for one.
    let is_used_up = in_turns || cpu_short(basis) == CpuShort::Cores;
    let line_ns = if is_used_up { line_ns(basis) } else { 0 };
    evidence.push(explains("requests_waited_behind_seconds", line_ns as f64 / 1e9));
    let behind = format!("; {} more in line behind them", request_seconds(line_ns));
    // Where there is no room, the evidence says it.
    let fits = sentence.chars().count() + behind.chars().count() < SENTENCE_MAX_CHARS;
    if fits && basis.rate(line_ns) >= limits.cost_min_rate {
        sentence.push_str(&behind);
    }
    let cost_ns = wanted.cost_ns().saturating_add(line_ns);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() })
}

fn evidence(basis: &Basis<'_>, wanted: &Wanted, pressed: f64, slow_seconds: f64) -> Vec<Evidence> {
    let limits = basis.thresholds;
    vec![
        decides("cpu_service_ratio", wanted.share, limits.cpu_served_min_ratio),
        decides("cpu_pressure_ratio", pressed, limits.cpu_pressure_min_ratio),
        decides("service_p90_seconds", slow_seconds, limits.cpu_slow_request_min_seconds),
        decides("run_queue_cpu_ratio", wanted.waited_share(), limits.run_queue_of_cpu_min_ratio),
        decides("busiest_process_ratio", busiest_process(basis), limits.interpreter_full_min_ratio),
        explains("host_cpu_ratio", host_share(basis)),
        explains("lock_wait_service_ratio", wanted.lock_share),
        explains("cpu_seconds", wanted.cpu_ns as f64 / 1e9),
        explains("run_queue_seconds", wanted.run_queue_ns as f64 / 1e9),
        explains("turns_seconds", wanted.turns_ns as f64 / 1e9),
    ]
}

fn cores_short(basis: &Basis<'_>, wanted: &Wanted) -> (String, Option<NextStep>) {
    let own = host_share(basis);
    let cores = match basis.snapshot.session.cpu_count {
        0 | 1 => "the host's single core".to_owned(),
        cores => format!("the host's {cores} cores"),
    };
    let by_others = own < basis.thresholds.cpu_pressure_min_ratio;
    let who = if by_others { "the server got only" } else { "the server used" };
    let sentence = format!(
        "Requests were ready to run but waited {} for a core, {} of the time they wanted one; {who} {} of {cores}{}",
        request_seconds(wanted.run_queue_ns),
        percent(wanted.waited_share()),
        percent(own),
        basis.while_loaded(),
    );
    let step = if by_others {
        NextStep::For {
            case: "others",
            otherwise: || {
                Advice::first(act("find out what else uses the cores (top)").or(act(
                    "what confines the server to few of them (cpuset, the quota of a virtual machine)",
                )))
                .then(no_more("more workers or threads would not help"))
            },
        }
    } else {
        let computing_ns = wanted.cpu_ns.saturating_add(wanted.run_queue_ns);
        let is_all_computing = ratio(computing_ns, basis.busy_ns()) >= COMPUTING_HOLDS_MIN_RATIO;
        NextStep::For {
            case: if is_all_computing { "cores" } else { "cores-beside-waits" },
            otherwise: || {
                Advice::first(act("give the host more cores").or(act("make the code faster")))
                    .then(no_more("more workers or threads would make it worse"))
            },
        }
    };
    (sentence, Some(step))
}

/// Share of busy slot-time that requests compute, or wait for a core, from which fewer workers keep the cores
/// as busy. Where it was 84 % and the rest was sleep, half of six workers answered 182 a second in place of
/// 225 (`make mixes`, seed 109).
const COMPUTING_HOLDS_MIN_RATIO: f64 = 0.9;

/// One interpreter has no time left, and its threads wait for one another.
fn taking_turns(basis: &Basis<'_>, wanted: &Wanted) -> (String, Option<NextStep>) {
    let sentence = format!(
        "Threads take turns in one interpreter: {} of service time went to CPU, {} to waiting for locks, most likely \
         the GIL; the busiest process used {} of a core",
        percent(wanted.share - wanted.lock_share),
        percent(wanted.lock_share),
        percent(busiest_process_cpu(basis)),
    );
    let step = NextStep::For {
        case: "turns",
        otherwise: || {
            Advice::first(act("run more processes while cores are free").more(Sizes::Processes)).then(
                say("more threads do not help: they wait for the same interpreter").no_more(Sizes::Threads),
            )
        },
    };
    (sentence, Some(step))
}

fn python_is_the_work(basis: &Basis<'_>, wanted: &Wanted) -> (String, Option<NextStep>) {
    let cost_ns = wanted.cost_ns();
    let sentence = format!(
        "Requests spent {} of service time on CPU ({}, {} each); the busiest process used {} of one core",
        percent(wanted.share),
        request_seconds(cost_ns),
        duration(cost_ns.checked_div(basis.request_count()).unwrap_or(0)),
        percent(busiest_process_cpu(basis)),
    );
    let lock_ns = basis.phases().get(Phase::LockWait);
    let hidden = basis.not_measured(Phase::GilWait).is_some() && serves_in_parallel(basis) && lock_ns > 0;
    let next_step = (hidden && wanted.turns_ns == 0).then(|| {
        Advice::first(say(format!(
            "waiting for the GIL is not measured; {} of lock waits may contain it",
            duration(lock_ns)
        )))
    });
    (sentence, next_step.map(NextStep::After))
}

/// A warning of both.
fn no_more(text: &str) -> Part {
    say(text).no_more(Sizes::Processes).no_more(Sizes::Threads)
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::phase::Phase;

    fn scene() -> Scene {
        Scene::gunicorn("sync", 2, 10 * SECOND).requests(100)
    }

    #[test]
    fn python_that_fills_a_worker_is_present() {
        let finding = scene()
            .phase(Phase::Cpu, 9 * SECOND)
            .phase(Phase::Write, SECOND)
            .process(1, 9 * SECOND, 0)
            .judge("cpu-bound");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 9 * SECOND);
        assert_eq!(
            finding.sentence,
            "Requests spent 90 % of service time on CPU (9 request-seconds, 90 ms each); \
             the busiest process used 90 % of one core."
        );
    }

    #[test]
    fn the_function_that_computes_most_ends_the_sentence_where_samples_are_enough() {
        use crate::fact::place::{PlaceSeen, PythonFrame, Whose};
        use crate::model::computed::{Computed, ComputedAt};
        let judged = |samples: u64| {
            let mut scene =
                scene().phase(Phase::Cpu, 9 * SECOND).phase(Phase::Write, SECOND).process(1, 9 * SECOND, 0);
            let chains = &mut scene.0.chains;
            chains.endpoints = vec![String::new(), "GET /report".to_owned()];
            let frame = PythonFrame {
                file: "/srv/shop/views.py".to_owned(),
                function: "render".to_owned(),
                line: 88,
                whose: Whose::Own,
            };
            chains.places = vec![PlaceSeen { number: 4, frames: vec![frame], is_cut: false }];
            let places = vec![ComputedAt { place: 4, samples: samples * 3 / 4, collecting: 0 }];
            chains.computed = vec![
                Computed { samples: samples * 2, ..Computed::default() },
                Computed { endpoint: 1, samples, places, ..Computed::default() },
            ];
            scene.judge("cpu-bound").sentence
        };
        let enough = judged(800);
        assert!(enough.ends_with("; GET /report computes 75 % in render (shop/views.py:88)."), "{enough}");
        assert!(!judged(20).contains("render"), "a share of few samples is a guess");
    }

    #[test]
    fn a_long_run_queue_is_distinguished_as_too_few_cores() {
        let finding = scene()
            .phase(Phase::Cpu, 6 * SECOND)
            .phase(Phase::RunQueue, 4 * SECOND)
            .process(1, 6 * SECOND, 4 * SECOND)
            .judge("cpu-bound");
        finding.assert_present();
        assert!(
            finding.sentence.contains("the server got only 30 % of the host's 2 cores"),
            "{}",
            finding.sentence
        );
        assert!(!finding.advice.contains("Raise"), "{}", finding.advice);
        let own = |held_ns: u64| {
            scene()
                .phase(Phase::Cpu, 14 * SECOND)
                .phase(Phase::RunQueue, 14 * SECOND)
                .process(1, 14 * SECOND, 14 * SECOND)
                .holding_request(held_ns)
                .judge("cpu-bound")
        };
        let computing = own(30 * SECOND);
        let used = "the server used 70 % of the host's 2 cores";
        assert!(computing.sentence.contains(used), "{}", computing.sentence);
        let advice = computing.advice;
        assert!(advice.contains("ower --workers") && !advice.contains("Raise"), "{advice}");
        let beside_waits = own(34 * SECOND);
        assert!(!beside_waits.advice.contains("--workers"), "{}", beside_waits.advice);
    }

    /// Two processes of which each keeps a core, and threads that wait for one another.
    fn in_two_interpreters(cpu_ns: u64) -> Scene {
        let mut scene = Scene::gunicorn("gthread", 8, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, cpu_ns)
            .phase(Phase::RunQueue, 12 * SECOND)
            .phase(Phase::GilWait, 34 * SECOND)
            .process(1, cpu_ns / 2, 6 * SECOND)
            .process(2, cpu_ns / 2, 6 * SECOND);
        scene.0.gil.waits.record(34 * SECOND);
        scene
    }

    #[test]
    fn threads_that_wait_for_the_gil_of_processes_that_use_up_all_cores_want_the_cpu() {
        let full = in_two_interpreters(19 * SECOND);
        let finding = full.clone().judge("cpu-bound");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 31 * SECOND, "waits for the GIL are in gil-contention");
        assert!(
            finding.sentence.contains("the server used 95 % of the host's 2 cores"),
            "{}",
            finding.sentence
        );
        let gil = full.judge("gil-contention");
        gil.assert_present();
        assert!(!gil.advice.contains("--threads") && gil.advice.contains("cpu-bound"), "{}", gil.advice);
        let free = in_two_interpreters(15 * SECOND);
        free.clone().judge("cpu-bound").assert_absent();
        assert!(free.judge("gil-contention").advice.contains("--threads"));
    }

    #[test]
    fn a_line_for_workers_that_are_short_of_cores_is_one_for_cores() {
        let short = scene()
            .phase(Phase::Cpu, 6 * SECOND)
            .phase(Phase::RunQueue, 14 * SECOND)
            .phase(Phase::AcceptQueue, 90 * SECOND)
            .holding_request(20 * SECOND)
            .exhausted(9 * SECOND)
            .process(1, 6 * SECOND, 14 * SECOND);
        let finding = short.clone().judge("cpu-bound");
        assert_eq!(finding.cost_ns, 110 * SECOND, "its own, and the line");
        assert!(
            finding.sentence.ends_with("; 90 request-seconds more in line behind them."),
            "{}",
            finding.sentence
        );
        assert!(
            short.judge("slots-exhausted").cost_ns < finding.cost_ns,
            "first comes what more workers would not change"
        );
    }

    #[test]
    fn a_line_for_workers_that_compute_while_cores_are_free_is_one_for_workers() {
        let free = scene()
            .phase(Phase::Cpu, 9 * SECOND)
            .phase(Phase::AcceptQueue, 90 * SECOND)
            .holding_request(9 * SECOND)
            .exhausted(9 * SECOND)
            .process(1, 9 * SECOND, 0);
        assert_eq!(free.clone().judge("cpu-bound").cost_ns, 9 * SECOND);
        assert_eq!(free.judge("slots-exhausted").cost_ns, 90 * SECOND);
    }

    #[test]
    fn waiting_for_a_core_that_a_quota_caused_is_not_blamed_on_the_cores() {
        scene()
            .phase(Phase::Cpu, SECOND)
            .phase(Phase::RunQueue, 9 * SECOND)
            .process(1, SECOND, 9 * SECOND)
            .throttled(9 * SECOND, 90)
            .judge("cpu-bound")
            .assert_absent();
    }

    #[test]
    fn lock_waits_of_threads_whose_interpreter_is_full_are_waits_for_their_turn() {
        let finding = Scene::gunicorn("gthread", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, 9 * SECOND)
            .phase(Phase::LockWait, 27 * SECOND)
            .process(4, 9 * SECOND, 0)
            .not_measured(Phase::GilWait);
        let in_line = finding.clone().phase(Phase::PoolWait, 50 * SECOND).exhausted(9 * SECOND);
        assert_eq!(in_line.judge("cpu-bound").cost_ns, 86 * SECOND, "the line for a thread too");
        let finding = finding.judge("cpu-bound");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 36 * SECOND);
        assert_eq!(
            finding.sentence,
            "Threads take turns in one interpreter: 25 % of service time went to CPU, 75 % to waiting for locks, most \
             likely the GIL; the busiest process used 90 % of a core."
        );
        assert!(finding.advice.contains("--workers"), "{}", finding.advice);
    }

    #[test]
    fn requests_made_of_cpu_time_on_an_idle_server_are_absent() {
        scene().phase(Phase::Cpu, SECOND).process(1, SECOND, 0).judge("cpu-bound").assert_absent();
    }

    #[test]
    fn slow_requests_made_of_cpu_time_are_present_even_on_an_idle_server() {
        scene()
            .phase(Phase::Cpu, 4 * SECOND)
            .service(2 * SECOND)
            .process(1, 4 * SECOND, 0)
            .judge("cpu-bound")
            .assert_present();
    }

    #[test]
    fn a_busy_process_whose_requests_wait_for_something_else_is_absent() {
        scene()
            .phase(Phase::Cpu, 2 * SECOND)
            .phase(Phase::BackendWait, 20 * SECOND)
            .process(1, 9 * SECOND, 0)
            .judge("cpu-bound")
            .assert_absent();
    }

    #[test]
    fn lock_waits_that_may_be_the_interpreter_lock_are_undecided() {
        let threads = Scene::gunicorn("gthread", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, 8 * SECOND)
            .phase(Phase::LockWait, 20 * SECOND)
            .process(4, 6 * SECOND, 0);
        threads
            .clone()
            .not_measured(Phase::GilWait)
            .judge("cpu-bound")
            .assert_undecided("may be for the GIL");
        threads.judge("cpu-bound").assert_absent();
    }

    #[test]
    fn too_few_requests_are_undecided() {
        scene()
            .requests(1)
            .phase(Phase::Cpu, 9 * SECOND)
            .judge("cpu-bound")
            .assert_undecided("only 1 request");
    }
}
