//! Finding `gil-not-released`: code keeps the interpreter lock although others asked for it.
//!
//! In: requests to give the lock up that were not honoured for more than a switch interval. Out: a verdict
//! whose cost is the time since; Python code honours them within microseconds, so it is a call into C that
//! does not release the lock.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, percent, ratio, request_seconds};
use super::{Judge, Rule, gil};
use crate::phase::Phase;
use crate::server::advice::{Advice, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gil-not-released",
    title: "code keeps the GIL although others ask for it",
    question: "an extension keeps the GIL although others ask for it",
    page: include_str!("../../../../docs/findings/gil-not-released.md"),
    advice: || {
        Advice::first(
            act("find the call into C code that takes so long")
                .because("a regular expression, a parser, a large sort, an extension"),
        )
        .then(act("give it less at once").or(act("run it in another process")))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    if !gil::require(basis)? {
        return Ok(Verdict { sentence: gil::NO_LOCK.to_owned(), ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let seen = &basis.snapshot.gil;
    let waited_ns = gil::sum(seen, |lock| lock.wait_ns);
    let is_read = seen
        .locks
        .iter()
        .map(|lock| &lock.asked)
        .all(|asked| asked.ends_unknown == 0 && (asked.switches_known || asked.timed_out == 0));
    if !is_read && basis.rate(waited_ns) >= limits.cost_min_rate {
        return Err(Undecided {
            reason: "whether holders give the lock up when asked was not read".to_owned(),
            next_step: "Watch another server of the kind: some interpreters do not show it.",
            evidence: Vec::new(),
        });
    }
    let cost_ns = gil::sum(seen, |lock| lock.asked.not_honoured_ns);
    let (share, rate) = (ratio(cost_ns, waited_ns), basis.rate(cost_ns));
    let times = gil::sum(seen, |lock| lock.asked.not_honoured);
    let without_cpu_ns = ready_without_cpu_ns(basis);
    let evidence = vec![
        decides("gil_not_honoured_ratio", share, limits.gil_not_honoured_min_ratio),
        decides("gil_not_honoured_seconds_per_second", rate, limits.cost_min_rate),
        explains("gil_not_honoured_count", times as f64),
        explains("gil_not_honoured_seconds", cost_ns as f64 / 1e9),
        explains("ready_without_cpu_seconds", without_cpu_ns as f64 / 1e9),
    ];
    if share < limits.gil_not_honoured_min_ratio || rate < limits.cost_min_rate {
        let sentence = "Threads that hold the GIL give it up when asked".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    if without_cpu_ns >= cost_ns {
        // A holder that has no CPU cannot hear either.
        return Err(Undecided {
            reason: "threads of these processes were ready without a CPU for as long: a holder without a CPU cannot give the lock up"
                .to_owned(),
            next_step: "Give the server more CPU first (see cpu-bound and cpu-throttled), then watch again.",
            evidence,
        });
    }
    let mut sentence = format!(
        "The GIL was kept {} although asked for ({} of all waits, {} times): code that does not release it",
        request_seconds(cost_ns),
        percent(share),
        count(times),
    );
    if let Some((contender, kept_ns)) = gil::costliest_holder(&seen.edges, |edge| edge.not_honoured_ns) {
        sentence.push_str(&format!(
            ", {} of it in {}",
            percent(ratio(kept_ns, cost_ns)),
            gil::subject(contender)
        ));
    }
    gil::add_place(&mut sentence, seen);
    let exemplars = basis.exemplars(&[Phase::GilWait]);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

/// Time in which threads of processes with a lock were ready without a CPU, but for those that waited for the
/// lock.
fn ready_without_cpu_ns(basis: &Basis<'_>) -> u64 {
    let seen = &basis.snapshot.gil;
    let processes = basis.snapshot.processes.iter();
    let of_lock = |tgid: u32| seen.locks.iter().any(|lock| lock.tgid == tgid);
    let threads = processes.filter(|process| of_lock(process.tgid)).flat_map(|process| &process.threads);
    let all_ns = threads.fold(0u64, |sum, thread| sum.saturating_add(thread.run_queue_ns));
    all_ns.saturating_sub(gil::sum(seen, |lock| lock.run_queue_ns))
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::gil::{Asked, Contender, Edge, Lock};
    use crate::phase::Phase;

    fn scene(not_honoured_ns: u64) -> Scene {
        let mut scene =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 5 * SECOND);
        scene.0.gil.locks.push(Lock {
            waits: 100,
            wait_ns: 5 * SECOND,
            asked: Asked {
                timed_out: 400,
                switches_known: true,
                not_honoured: 40,
                not_honoured_ns,
                ..Asked::default()
            },
            ..Lock::default()
        });
        scene.0.gil.edges.push(Edge {
            waiter: Contender::Endpoint("GET /".to_owned()),
            holder: Contender::Endpoint("GET /match".to_owned()),
            total_ns: 5 * SECOND,
            waits: 100,
            not_honoured_ns,
        });
        scene
    }

    #[test]
    fn a_lock_that_is_kept_when_asked_for_is_attributed_to_code_that_does_not_release_it() {
        let finding = scene(4 * SECOND).judge("gil-not-released");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 4 * SECOND);
        assert_eq!(
            finding.sentence,
            "The GIL was kept 4 request-seconds although asked for (80 % of all waits, 40 times): code that does not release \
             it, 100 % of it in GET /match."
        );
    }

    #[test]
    fn prompt_holders_are_absent() {
        scene(0).judge("gil-not-released").assert_absent();
        scene(600 * MILLISECOND).judge("gil-not-released").assert_absent();
    }

    #[test]
    fn holders_that_had_no_cpu_are_not_accused() {
        scene(4 * SECOND)
            .process(1, SECOND, 6 * SECOND)
            .judge("gil-not-released")
            .assert_undecided("without a CPU");
        let mut old = scene(0);
        old.0.gil.locks[0].asked.switches_known = false;
        old.judge("gil-not-released").assert_undecided("was not read");
        let mut unknown = scene(0);
        unknown.0.gil.locks[0].asked.ends_unknown = 1;
        unknown.judge("gil-not-released").assert_undecided("was not read");
    }
}
