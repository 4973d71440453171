//! Of finding `slots-exhausted`: the pool of threads behind an event loop runs out.
//!
//! In: waits for a thread of such a pool, what its threads do for requests, what slow clients take. Out: a
//! verdict, where there is such a pool and requests waited for it.

use super::{COMPUTING, present};
use crate::finding::basis::{Basis, NextStep, Verdict, decides, explains};
use crate::finding::cause::{Cause, MOSTLY, client_stall_share, doing};
use crate::finding::full::{Full, full};
use crate::finding::words::{count, duration, percent, ratio, request_seconds};
use crate::phase::Phase;
use crate::server::advice::{Sizes, act};
use crate::server::kind_named;

const POOL_CLIENTS: NextStep = NextStep::For {
    case: "pool-clients",
    otherwise: || {
        act("put a proxy that buffers requests and responses in front")
            .because("more threads would only be held as well")
            .into()
    },
};

/// A loop has no slots, but the threads that it gives applications to are so many and no more.
pub(super) fn judge(basis: &Basis<'_>) -> Option<Verdict> {
    let limits = basis.thresholds;
    if !basis.snapshot.event_loops.iter().any(|event_loop| event_loop.pooled > 0) {
        return None;
    }
    let waited_ns = basis.phases().get(Phase::PoolWait);
    let share = ratio(waited_ns, basis.phases().total_ns());
    if share < limits.waited_request_min_ratio || basis.rate(waited_ns) < limits.cost_min_rate {
        return None;
    }
    let server = &basis.snapshot.server;
    let threads =
        server.number("threads").map_or_else(String::new, |threads| format!(" (up to {})", count(threads)));
    let doing = doing(basis);
    // Which of them held a thread cannot be seen: that of a request shows by what it does for it.
    let stalled = client_stall_share(basis);
    let by_clients = stalled >= MOSTLY && kind_named(&server.name).clients_hold_pool();
    let why = if by_clients {
        format!("slow clients may hold them ({} of service time)", percent(stalled))
    } else {
        format!("held by {} ({})", doing.words, percent(doing.share))
    };
    let sentence = format!(
        "Requests waited {} ({} each) for one of the threads to which the event loop gives them{threads}; {why}",
        request_seconds(waited_ns),
        duration(waited_ns.checked_div(basis.request_count()).unwrap_or(0)),
    );
    let evidence = vec![
        decides("requests_waited_ratio", share, limits.waited_request_min_ratio),
        decides("requests_waited_seconds_per_second", basis.rate(waited_ns), limits.cost_min_rate),
        explains("pool_wait_seconds", waited_ns as f64 / 1e9),
        explains("client_stall_service_ratio", stalled),
    ];
    let next_step = if by_clients {
        POOL_CLIENTS
    } else if doing.cause == Cause::Computing || matches!(full(basis), Full::Interpreter(_)) {
        COMPUTING
    } else {
        NextStep::For {
            case: "pool",
            otherwise: || {
                act("raise the number of threads of the pool")
                    .more(Sizes::Threads)
                    .or(act("shorten what holds them"))
                    .or(act("run more processes").more(Sizes::Processes))
                    .into()
            },
        }
    };
    Some(present(basis, sentence, waited_ns, evidence, Some(next_step)))
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::event_loop::EventLoop;
    use crate::phase::Phase;

    #[test]
    fn a_pool_of_threads_behind_an_event_loop_runs_out_too() {
        let scene = |pooled: u64, waited_ns: u64| {
            let mut scene = Scene::gunicorn("gevent", 1, 10 * SECOND)
                .requests(100)
                .phase(Phase::BackendWait, 20 * SECOND)
                .phase(Phase::PoolWait, waited_ns);
            scene.0.slots.observed.iter_mut().for_each(|slot| slot.is_loop = true);
            scene.0.event_loops.push(EventLoop { tgid: 700, pooled, ..EventLoop::default() });
            scene.judge("slots-exhausted")
        };
        let finding = scene(90, 12 * SECOND);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 12 * SECOND);
        assert!(
            finding.sentence.contains("held by requests that wait for a back end"),
            "{}",
            finding.sentence
        );
        scene(90, SECOND / 10).assert_absent();
        // Without a pool nobody can have waited for it.
        scene(0, 12 * SECOND).assert_absent();
    }

    #[test]
    fn a_pool_behind_a_loop_whose_threads_slow_clients_may_hold_is_not_blamed_on_what_little_else_is_done() {
        let scene = |server: &str| {
            let mut scene = Scene::gunicorn("asyncio", 1, 10 * SECOND)
                .requests(100)
                .phase(Phase::LockWait, SECOND)
                .phase(Phase::ClientReadStall, 19 * SECOND)
                .phase(Phase::PoolWait, 12 * SECOND);
            scene.0.server.name = server.to_owned();
            scene.0.slots.observed.iter_mut().for_each(|slot| slot.is_loop = true);
            scene.0.event_loops.push(EventLoop { tgid: 700, pooled: 90, ..EventLoop::default() });
            scene.judge("slots-exhausted")
        };
        let finding = scene("uvicorn");
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "Requests waited 12 request-seconds (120 ms each) for one of the threads to which the event loop gives them; \
             slow clients may hold them (95 % of service time)."
        );
        assert!(finding.advice.contains("proxy"), "{}", finding.advice);
        let finding = scene("twisted");
        assert!(finding.sentence.contains("held by requests that wait for locks"), "{}", finding.sentence);
    }
}
