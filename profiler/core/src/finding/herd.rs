//! Finding `herd`: each new connection wakes several workers or threads, and all but one find nothing.
//!
//! In: what arrivals set in motion, by listener; CPU time of the processes. Out: a verdict whose cost is the
//! CPU time of wasted wakeups. Under saturation a herd disappears (nobody is asleep), so it says at what load
//! it looked.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::load::server_cpu_ns;
use super::words::{count, factor, percent, ratio};
use super::{Judge, Rule};
use crate::model::Listener;
use crate::server::advice::{Sizes, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "herd",
    title: "each connection wakes several workers; all wakeups but one are wasted",
    question: "connections wake more workers than they need",
    page: include_str!("../../../../docs/findings/herd.md"),
    advice: || {
        act("run fewer workers on this listener")
            .no_more(Sizes::Processes)
            .also(act("where the server can, give each a TCP listener of its own (SO_REUSEPORT)"))
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let limits = basis.thresholds;
    let Some(listener) = most_in_vain(&basis.snapshot.sockets.listeners) else {
        return Err(Undecided {
            reason: "what connections wake was not measured".to_owned(),
            next_step: "Watch again; a UNIX listener shows it from Linux 6.3 on.",
            evidence: Vec::new(),
        });
    };
    let arrivals = listener.wakes.map_or(0, |wakes| wakes.arrivals);
    let needed = limits.connections_min_count;
    let woken = listener.woken_per_connection().unwrap_or(0.0);
    let cpu_ns = listener.in_vain_cpu_ns();
    let switches = listener.woken.as_ref().map_or(0, |woken| woken.losers_switches);
    let share = ratio(cpu_ns, server_cpu_ns(basis));
    let of_one_cpu = ratio(cpu_ns, basis.window_ns());
    let rate = per_second(listener.woken_in_vain(), basis.window_ns());
    let busy = ratio(basis.busy_ns(), basis.capacity_ns()).min(1.0);
    let evidence = vec![
        decides("connections_count", arrivals as f64, needed),
        decides("woken_per_connection", woken, limits.woken_min_count),
        decides("in_vain_of_server_cpu_ratio", share, limits.in_vain_server_min_ratio),
        decides("in_vain_of_one_cpu_ratio", of_one_cpu, limits.in_vain_one_cpu_min_ratio),
        decides("woken_in_vain_per_second", rate, limits.in_vain_min_rate),
        explains("woken_in_vain_count", listener.woken_in_vain() as f64),
        explains("in_vain_cpu_seconds", cpu_ns as f64 / 1e9),
        explains("in_vain_switches_count", switches as f64),
        explains("connections_per_second", per_second(arrivals, basis.window_ns())),
        explains("slots_busy_ratio", busy),
    ];
    if (arrivals as f64) < needed {
        let seen = match arrivals {
            0 => "No connection".to_owned(),
            1 => "Only 1 connection".to_owned(),
            _ => format!("Only {} connections", count(arrivals)),
        };
        let sentence = format!("{seen} came to the listener, too few for a thundering herd to matter");
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let load = format!(
        "at {} connections per second, with {} of slots busy",
        factor(per_second(arrivals, basis.window_ns())),
        percent(busy)
    );
    let number = factor(woken);
    let noun = if number == "1" { "thread" } else { "threads" };
    let each = format!("Each of {} connections woke {number} {noun} {load}", count(arrivals));
    if woken < limits.woken_min_count {
        let sentence = format!("{each}: no thundering herd");
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let matters = share >= limits.in_vain_server_min_ratio
        && of_one_cpu >= limits.in_vain_one_cpu_min_ratio
        && rate >= limits.in_vain_min_rate;
    let took = format!("{} of the server's CPU time", percent(share));
    if !matters {
        let sentence = format!("{each}; wasted wakeups took {took}, too little to matter");
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let sentence = format!("{each}; wasted wakeups took {took}");
    let whole_ns = Some(server_cpu_ns(basis));
    Ok(Verdict { present: true, sentence, cost_ns: cpu_ns, whole_ns, evidence, ..Verdict::default() })
}

/// The listener that costs most; among equals the one to which most connections came.
fn most_in_vain(listeners: &[Listener]) -> Option<&Listener> {
    let measured = listeners.iter().filter(|listener| listener.wakes.is_some());
    measured
        .max_by_key(|listener| (listener.in_vain_cpu_ns(), listener.wakes.map_or(0, |wakes| wakes.arrivals)))
}

fn per_second(number: u64, window_ns: u64) -> f64 {
    ratio(number, window_ns) * 1e9
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{MILLISECOND, SECOND, Scene};
    use crate::fact::ListenerWakes;

    /// 10 s of a server with 2 s of CPU time, and one listener.
    fn scene(arrivals: u64, woken: u64, slept_again: u64, in_vain_ns: u64) -> Scene {
        let mut scene = Scene::gunicorn("sync", 8, 10 * SECOND).requests(arrivals).process(1, 2 * SECOND, 0);
        let wakes = ListenerWakes {
            arrivals,
            woken,
            slept_again,
            slept_again_cpu_ns: in_vain_ns,
            ..ListenerWakes::default()
        };
        scene.0.sockets.listeners[0].wakes = Some(wakes);
        scene
    }

    #[test]
    fn eight_woken_for_each_connection_at_a_noticeable_price_are_a_herd() {
        let finding = scene(1_000, 8_000, 7_000, 100 * MILLISECOND).judge("herd");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 100 * MILLISECOND);
        assert!(
            finding.sentence.contains("1,000 connections woke 8 threads at 100 connections per second"),
            "{}",
            finding.sentence
        );
        assert!(finding.advice.contains("--workers"), "{}", finding.advice);
    }

    #[test]
    fn returns_for_nothing_count_as_what_they_cost() {
        let mut scene = scene(1_000, 8_000, 6_000, 0);
        scene.0.sockets.listeners[0].empty_returns = 1_000;
        scene.0.sockets.listeners[0].empty_returns_cpu_ns = 100 * MILLISECOND;
        scene.judge("herd").assert_present();
    }

    #[test]
    fn one_woken_for_each_connection_is_no_herd() {
        let finding = scene(1_000, 1_000, 0, 0).judge("herd");
        finding.assert_absent();
        assert!(finding.sentence.ends_with("no thundering herd."), "{}", finding.sentence);
    }

    /// Two workers, and fourteen connections a second on a machine that takes half a millisecond for each
    /// wasted wakeup.
    #[test]
    fn a_few_wasted_wakeups_that_a_slow_machine_makes_costly_are_no_finding() {
        let finding = scene(140, 280, 140, 70 * MILLISECOND).judge("herd");
        finding.assert_absent();
        assert!(finding.sentence.contains("too little to matter"), "{}", finding.sentence);
    }

    #[test]
    fn herd_that_costs_next_to_nothing_is_said_but_not_a_finding() {
        let finding = scene(1_000, 8_000, 7_000, MILLISECOND).judge("herd");
        finding.assert_absent();
        assert!(finding.sentence.contains("too little to matter"), "{}", finding.sentence);
    }

    #[test]
    fn a_healthy_server_of_two_workers_on_a_slow_machine_has_none() {
        // 14 connections a second, 0.21 % of one CPU and 5.9 % of what the server took of it: more than one
        // is not needed.
        let mut scene = scene(140, 280, 140, 21 * MILLISECOND);
        scene.0.processes[0].threads[0].cpu_ns = 356 * MILLISECOND;
        let finding = scene.judge("herd");
        finding.assert_absent();
        assert!(
            finding.sentence.contains("5.9 % of the server's CPU time, too little"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn saturated_server_wakes_nobody_and_the_load_is_said() {
        let mut saturated = scene(20_000, 14, 0, 0);
        for slot in &mut saturated.0.slots.observed {
            slot.holding_ns[0] = 10 * SECOND;
        }
        let finding = saturated.judge("herd");
        finding.assert_absent();
        assert!(finding.sentence.contains("with 100 % of slots busy"), "{}", finding.sentence);
    }

    #[test]
    fn few_connections_are_no_herd_whatever_they_wake() {
        for (arrivals, said) in [(0, "No connection came"), (1, "Only 1 connection came"), (3, "Only 3 ")] {
            let finding = scene(arrivals, 8 * arrivals, 7 * arrivals, SECOND).judge("herd");
            finding.assert_absent();
            assert!(finding.sentence.starts_with(said), "{}", finding.sentence);
        }
    }

    #[test]
    fn listener_that_was_not_measured_decides_nothing() {
        let mut scene = Scene::gunicorn("sync", 8, 10 * SECOND).requests(100);
        scene.0.sockets.listeners[0].wakes = None;
        scene.judge("herd").assert_undecided("not measured");
    }
}
