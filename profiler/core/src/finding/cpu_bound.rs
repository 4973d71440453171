//! Finding `cpu-bound`: requests are mostly CPU time, and it presses.
//!
//! In: phases of requests, CPU time of processes. Out: a verdict that tells "Python is the work" from "cores are
//! short". Waiting for the interpreter lock is not measured yet and may hide in `lock_wait`: then it is undecided.

use super::basis::{Basis, NextStep, Outcome, Undecided, Verdict, decides, explains, served_ns, sum};
use super::words::{duration, percent, ratio, request_seconds};
use super::{Judge, Rule};
use crate::phase::Phase;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "cpu-bound",
    title: "Python's own CPU time, or a lack of cores, is what takes the time",
    question: "CPU time is what takes the time",
    page: include_str!("../../../../docs/findings/cpu-bound.md"),
    advice: "Profile the Python code of the slowest endpoints; threads do not speed it up, processes do while cores are free.",
    judge: Judge::Measured(judge),
};

/// The phases that are CPU time or the wait for it.
const WANTING_CPU: [Phase; 2] = [Phase::Cpu, Phase::RunQueue];

/// What presses on the CPU.
struct Pressure {
    /// CPU and run-queue time of the busiest process, as a share of the window.
    busiest_process: f64,
    /// CPU time of all processes, as a share of all cores.
    host: f64,
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let phases = basis.phases();
    let cost_ns = sum(phases, &WANTING_CPU);
    let waited_ns = phases.get(Phase::RunQueue);
    let served = served_ns(phases);
    let share = ratio(cost_ns, served);
    let waited_share = ratio(waited_ns, cost_ns);
    let lock_share = ratio(phases.get(Phase::LockWait), served);
    let pressure = pressure(basis);
    let pressed = pressure.busiest_process.max(pressure.host);
    let slow_seconds = basis.snapshot.requests.service.quantile_ns(0.9) as f64 / 1e9;
    let evidence = vec![
        decides("cpu_service_ratio", share, limits.cpu_served_min_ratio),
        decides("cpu_pressure_ratio", pressed, limits.cpu_pressure_min_ratio),
        decides("service_p90_seconds", slow_seconds, limits.cpu_slow_request_min_seconds),
        decides("run_queue_cpu_ratio", waited_share, limits.run_queue_of_cpu_min_ratio),
        explains("cpu_seconds", phases.get(Phase::Cpu) as f64 / 1e9),
        explains("run_queue_seconds", waited_ns as f64 / 1e9),
        explains("lock_wait_service_ratio", lock_share),
        explains("busiest_process_ratio", pressure.busiest_process),
        explains("host_cpu_ratio", pressure.host),
    ];
    let presses =
        pressed >= limits.cpu_pressure_min_ratio || slow_seconds >= limits.cpu_slow_request_min_seconds;
    if share < limits.cpu_served_min_ratio || !presses {
        let lock_may_be_gil = basis.not_measured(Phase::GilWait).is_some() && serves_in_parallel(basis);
        if presses
            && lock_may_be_gil
            && lock_share > share
            && share + lock_share >= limits.cpu_served_min_ratio
        {
            return Err(Undecided {
                reason: format!(
                    "CPU is {} of service time, and {} are waits for locks, which may be the interpreter's own",
                    percent(share),
                    percent(lock_share)
                ),
                next_step: "Compare with fewer threads per process: if throughput stays, it was the interpreter lock.",
                evidence,
            });
        }
        let sentence = format!(
            "CPU was {} of service time, and the busiest process used {} of one core",
            percent(share),
            percent(pressure.busiest_process)
        );
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let exemplars = basis.exemplars(&WANTING_CPU);
    let (sentence, next_step) = if waited_share >= limits.run_queue_of_cpu_min_ratio {
        cores_short(basis, cost_ns, waited_ns)
    } else {
        python_is_the_work(basis, cost_ns, share, &pressure)
    };
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step })
}

fn cores_short(basis: &Basis<'_>, cost_ns: u64, waited_ns: u64) -> (String, Option<NextStep>) {
    let cores = basis.snapshot.session.cpu_count;
    let host = match cores {
        0 => "the host has too few free cores".to_owned(),
        1 => "the host's single core is not enough".to_owned(),
        _ => format!("the host's {cores} cores are not enough"),
    };
    let sentence = format!(
        "Requests were ready to run but waited {} for a core, {} of all the time they wanted one: {host}",
        request_seconds(waited_ns),
        percent(ratio(waited_ns, cost_ns)),
    );
    let note = "More workers or threads would make it worse: give the host (or its quota) more cores, or move other work away.";
    (sentence, Some(NextStep::Instead(note.to_owned())))
}

fn python_is_the_work(
    basis: &Basis<'_>,
    cost_ns: u64,
    share: f64,
    pressure: &Pressure,
) -> (String, Option<NextStep>) {
    let sentence = format!(
        "Requests spent {} of service time on CPU ({}, {} each); the busiest process used {} of one core",
        percent(share),
        request_seconds(cost_ns),
        duration(cost_ns.checked_div(basis.request_count()).unwrap_or(0)),
        percent(pressure.busiest_process),
    );
    let lock_ns = basis.phases().get(Phase::LockWait);
    let hidden = basis.not_measured(Phase::GilWait).is_some() && serves_in_parallel(basis) && lock_ns > 0;
    let next_step = hidden.then(|| {
        format!(
            "Waiting for the interpreter lock is not measured; {} of lock waits may contain it.",
            duration(lock_ns)
        )
    });
    (sentence, next_step.map(NextStep::Before))
}

/// How much of a core, and of the host, the server's processes use.
fn pressure(basis: &Basis<'_>) -> Pressure {
    let window_ns = basis.window_ns();
    let (mut busiest, mut all) = (0u64, 0u64);
    for process in &basis.snapshot.processes {
        let mut wanted = 0u64;
        for thread in &process.threads {
            wanted = wanted.saturating_add(thread.cpu_ns).saturating_add(thread.run_queue_ns);
            all = all.saturating_add(thread.cpu_ns);
        }
        busiest = busiest.max(wanted);
    }
    let cores = u64::from(basis.snapshot.session.cpu_count);
    Pressure { busiest_process: ratio(busiest, window_ns), host: ratio(all, window_ns.saturating_mul(cores)) }
}

/// Whether two threads of one process served requests, so that they share an interpreter lock.
fn serves_in_parallel(basis: &Basis<'_>) -> bool {
    let serving =
        |process: &crate::model::Process| process.threads.iter().filter(|thread| thread.requests > 0).count();
    basis.snapshot.processes.iter().any(|process| serving(process) > 1)
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
    fn a_long_run_queue_is_told_apart_as_too_few_cores() {
        let finding = scene()
            .phase(Phase::Cpu, 6 * SECOND)
            .phase(Phase::RunQueue, 4 * SECOND)
            .process(1, 6 * SECOND, 4 * SECOND)
            .judge("cpu-bound");
        finding.assert_present();
        assert!(finding.sentence.contains("the host's 2 cores are not enough"), "{}", finding.sentence);
        assert!(finding.advice.contains("More workers or threads would make it worse"), "{}", finding.advice);
        assert!(!finding.advice.contains("Raise"), "{}", finding.advice);
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
            .process(4, 9 * SECOND, 0);
        threads
            .clone()
            .not_measured(Phase::GilWait)
            .judge("cpu-bound")
            .assert_undecided("may be the interpreter's own");
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
