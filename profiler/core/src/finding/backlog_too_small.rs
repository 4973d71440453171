//! Finding `backlog-too-small`: the accept queue was full, and attempts to connect were refused without a
//! word.
//!
//! In: accept queues of the listeners, counters of their network namespace. Out: a verdict whose cost is the
//! time that clients waited before they were connected: no request's time shows it, as it ends before the
//! request begins.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, percent, ratio};
use super::{Judge, NextStep, Rule};
use crate::model::Listener;
use crate::model::queue::{Network, Queue};
use crate::server::advice::{Advice, act, say};
use crate::server::{backlog, kind_named, site::Site};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "backlog-too-small",
    title: "the accept queue is full, and clients must try again to connect",
    question: "clients had to try again to connect",
    page: include_str!("../../../../docs/findings/backlog-too-small.md"),
    advice: || {
        Advice::first(act(
            "raise the backlog that the server asks for in listen, and net.core.somaxconn if that is less",
        ))
        .then(say(
            "where requests also wait for a free worker, that comes first: a longer queue only bridges bursts",
        ))
    },
    judge: Judge::Measured(judge),
};

/// After how long a client tries again at the earliest (the kernel's first timeout of a handshake).
const FIRST_RETRY_NS: u64 = 1_000_000_000;

/// One listener with its queue, and how many attempts it refused.
struct Refusing<'a> {
    listener: &'a Listener,
    queue: &'a Queue,
    attempts: u64,
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let limits = basis.thresholds;
    let snapshot = basis.snapshot;
    let read = snapshot.sockets.listeners.iter().filter_map(|listener| {
        let queue = listener.queue.as_ref()?;
        Some(Refusing { listener, queue, attempts: attempts(listener, queue, &snapshot.sockets.networks) })
    });
    let Some(worst) = read.max_by_key(|one| (one.attempts, one.queue.full_ns, one.queue.deepest())) else {
        return Err(Undecided {
            reason: "the accept queues were not read".to_owned(),
            next_step: "Watch again as root; ss -lnt shows each queue (Recv-Q) and its limit (Send-Q).",
            evidence: Vec::new(),
        });
    };
    let Refusing { listener, queue, attempts } = worst;
    let full = ratio(queue.full_ns, queue.observed_ns());
    let mut evidence = vec![
        decides("refused_attempts_count", attempts as f64, limits.refused_min_count),
        explains("queue_limit_count", f64::from(queue.limit)),
        explains("queue_deepest_count", f64::from(queue.deepest())),
    ];
    let is_unix = listener.seen.family == "unix";
    if is_unix {
        evidence.push(decides("queue_full_ratio", full, limits.queue_full_min_ratio));
    } else {
        evidence.push(explains("queue_full_ratio", full));
    }
    let delays = queue.delays.as_ref();
    if let Some(delays) = delays {
        evidence.push(explains("delayed_clients_count", delays.clients as f64));
    }
    let at = match listener.seen.port {
        0 => "a UNIX listener".to_owned(),
        port => format!("port {port}"),
    };
    let limit = count(u64::from(queue.limit));
    if is_unix && (full >= limits.queue_full_min_ratio || attempts as f64 >= limits.refused_min_count) {
        let met = match attempts {
            0 => "clients waited inside connect, or were turned away".to_owned(),
            1 => "1 attempt to connect waited, or was turned away".to_owned(),
            _ => format!("{} attempts to connect waited, or were turned away", count(attempts)),
        };
        let sentence = format!(
            "The accept queue of {at} (limit {limit}) was full for {} of the window: {met}",
            percent(full)
        );
        let next_step = longer(basis, listener);
        return Ok(Verdict {
            present: true,
            sentence,
            cost_ns: queue.full_ns,
            evidence,
            next_step,
            ..Verdict::default()
        });
    }
    if (attempts as f64) < limits.refused_min_count {
        let sentence = match attempts {
            0 => format!(
                "No accept queue was full; the deepest held {} of {limit}",
                count(u64::from(queue.deepest()))
            ),
            _ => format!(
                "The accept queue of {at} refused {} attempts to connect, too few to matter",
                count(attempts)
            ),
        };
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let delayed_ns = delays.map_or(0, |delays| delays.delay.sum_ns());
    let cost_ns = delayed_ns.max(attempts.saturating_mul(FIRST_RETRY_NS));
    let sentence = format!(
        "The accept queue of {at} (limit {limit}) was full for {} of the window and refused {} attempts to connect; clients \
         repeat each a second later or more",
        percent(full),
        count(attempts)
    );
    let next_step = longer(basis, listener);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, next_step, ..Verdict::default() })
}

/// Attempts that found this queue full. The kernel's count for a listener has other refusals in it; there are
/// no more overflows than its namespace counts. Of a listener that defers accept the count is without what it
/// drops on purpose (`machine::world::queue`).
fn attempts(listener: &Listener, queue: &Queue, networks: &[Network]) -> u64 {
    if listener.seen.family == "unix" {
        return queue.refused.unwrap_or(0);
    }
    let overflows = networks.iter().fold(0_u64, |sum, network| sum.saturating_add(network.listen_overflows));
    match (&queue.delays, queue.refused) {
        (Some(delays), _) => delays.attempts,
        (None, Some(refused)) => refused.min(overflows),
        (None, None) => 0,
    }
}

/// The option of this kind of socket, and what bounds it.
fn longer(basis: &Basis<'_>, listener: &Listener) -> Option<NextStep> {
    let server = &basis.snapshot.server;
    let is_unix = listener.seen.family == "unix";
    backlog::advice(kind_named(&server.name), server, &Site::of(basis.snapshot), is_unix)
        .map(NextStep::Instead)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use super::*;
    use crate::fact::ListenerSeen;
    use crate::model::queue::{Delays, Depths};
    use crate::model::{Origin, Setting};

    fn scene(family: &str, refused: Option<u64>, overflows: u64, full_ns: u64) -> Scene {
        let mut scene = Scene::gunicorn("sync", 2, 10 * SECOND);
        let mut over_time = Depths::default();
        over_time.add(0, 10 * SECOND - full_ns);
        over_time.add(3, full_ns);
        let port = if family == "unix" { 0 } else { 8000 };
        let queue = Queue { limit: 2, over_time, full_ns, refused, ..Queue::default() };
        scene.0.sockets.listeners = vec![Listener {
            seen: ListenerSeen { family: family.to_owned(), port, ..ListenerSeen::default() },
            queue: Some(queue),
            ..Listener::default()
        }];
        scene.0.sockets.networks =
            vec![Network { somaxconn: Some(2), listen_overflows: overflows, ..Network::default() }];
        scene
    }

    #[test]
    fn refused_attempts_are_present_and_cost_a_second_each() {
        let finding = scene("tcp", Some(83), 80, 4 * SECOND).judge(RULE.id);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 80 * SECOND, "{finding:?}");
        assert!(
            finding.sentence.contains("port 8000") && finding.sentence.contains("80 attempts"),
            "{finding:?}"
        );
        assert!(finding.advice.contains("--backlog"), "{finding:?}");
    }

    #[test]
    fn delays_that_were_measured_are_the_cost_where_they_are_longer() {
        let mut scene = scene("tcp", Some(12), 12, SECOND);
        let mut delays = Delays { attempts: 12, clients: 4, ..Delays::default() };
        (0..4).for_each(|_| delays.delay.record(7 * SECOND));
        scene.0.sockets.listeners[0].queue.as_mut().unwrap().delays = Some(delays);
        let finding = scene.judge(RULE.id);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 28 * SECOND);
    }

    #[test]
    fn other_refusals_of_a_listener_whose_namespace_saw_no_overflow_are_no_full_queue() {
        scene("tcp", Some(500), 0, 0).judge(RULE.id).assert_absent();
        scene("tcp", Some(5), 5, 0).judge(RULE.id).assert_absent();
        scene("tcp", Some(0), 700, 0).judge(RULE.id).assert_absent();
    }

    #[test]
    fn unix_queue_that_was_full_is_present_although_nothing_is_counted_as_refused() {
        scene("unix", None, 0, 2 * SECOND).judge(RULE.id).assert_present();
        scene("unix", None, 0, SECOND / 100).judge(RULE.id).assert_absent();
    }

    #[test]
    fn bursts_that_found_a_unix_queue_full_between_two_readings_are_present_by_their_number() {
        let finding = scene("unix", Some(40), 0, 0).judge(RULE.id);
        finding.assert_present();
        assert!(
            finding.sentence.contains("40 attempts to connect waited, or were turned away"),
            "{finding:?}"
        );
        scene("unix", Some(9), 0, 0).judge(RULE.id).assert_absent();
    }

    #[test]
    fn backlog_that_the_kernel_cuts_off_is_said_and_raised_first() {
        let mut scene = scene("tcp", Some(100), 100, SECOND);
        let setting = |value: &str| Setting {
            name: "backlog".to_owned(),
            value: value.to_owned(),
            origin: Origin::Configured,
        };
        scene.0.server.settings = vec![setting("2048")];
        let advice = scene.clone().judge(RULE.id).advice;
        let both = "Raise net.core.somaxconn (now 2) first and raise --backlog (now 2048) after that and restart the server: ";
        assert!(advice.starts_with(both), "{advice}");
        scene.0.server.settings = vec![setting("1")];
        assert!(scene.judge(RULE.id).advice.starts_with("Raise --backlog (now 1) and restart the server;"));
    }

    #[test]
    fn queues_that_were_not_read_are_undecided() {
        let mut scene = scene("tcp", Some(100), 100, SECOND);
        scene.0.sockets.listeners[0].queue = None;
        scene.judge(RULE.id).assert_undecided("not read");
    }
}
