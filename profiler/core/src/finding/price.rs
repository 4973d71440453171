//! What advice costs, and how to take it back.
//!
//! In: advice, a snapshot. Out: the same advice within what there is, whose changes say what they cost, with
//! one sentence on that: memory, connections, code that is safe in threads, a restart, what undoes it.

use crate::model::Snapshot;
use crate::model::round_trips::NAME_SERVER_PORT;
use crate::server::advice::{Advice, Change, Direction, Move, Sizes, TakesEffect, act, say};

/// The same within what there is, and with what it costs.
pub(crate) fn priced(advice: Advice, snapshot: &Snapshot) -> Advice {
    with_price(within_cores(advice, snapshot), snapshot)
}

/// The same without what is at its limit already: as many processes as there are cores.
fn within_cores(advice: Advice, snapshot: &Snapshot) -> Advice {
    let cores = u64::from(snapshot.session.cpu_count);
    let faster = || act("make what computes faster").because("there are as many processes as cores").into();
    if cores == 0 { advice } else { advice.within_cores(cores).unwrap_or_else(faster) }
}

fn with_price(advice: Advice, snapshot: &Snapshot) -> Advice {
    let advice = advice.costing(|change| costs(change, snapshot));
    let changes = advice.changes();
    if changes.is_empty() {
        return advice;
    }
    let mut items: Vec<String> = Vec::new();
    for cost in changes.iter().flat_map(|change| &change.costs) {
        if !items.contains(cost) {
            items.push(cost.clone());
        }
    }
    let needs_restart = changes.iter().any(|change| change.takes_effect() != TakesEffect::AtOnce);
    items.extend(needs_restart.then(|| restart(&changes).to_owned()));
    let undone = match *changes {
        [one] => one.undone_by().unwrap_or_else(|| "its present value".to_owned()) + " undoes it",
        _ => "the present values undo it".to_owned(),
    };
    let price = match items.as_slice() {
        [] => undone,
        items => format!("its price: {}; {undone}", items.join(", ")),
    };
    advice.then(say(price))
}

/// A directive is read again without a restart of the whole server.
fn restart(changes: &[&Change]) -> &'static str {
    let is_reload = changes.iter().all(|change| change.takes_effect() != TakesEffect::Restart);
    if is_reload { "a reload" } else { "a restart" }
}

/// What a change takes beside a restart, each as a noun.
fn costs(change: &Change, snapshot: &Snapshot) -> Vec<String> {
    let mut costs = Vec::new();
    let more = |what| change.moves() == Some(Move::up(what));
    if more(Sizes::Processes) {
        let workers = snapshot.capacity.workers.iter();
        let each_bytes = workers.filter_map(|worker| worker.memory?.proportional_bytes).max();
        costs.extend(each_bytes.map(|bytes| {
            format!("some {:.0} MB of memory (PSS) for each further process", bytes as f64 / 1e6)
        }));
    }
    if change.moves().is_some_and(|one| one.is_up) {
        costs.extend(connections(snapshot));
    }
    let is_first_thread =
        more(Sizes::Threads) && change.setting.present.as_deref().is_none_or(|now| now == "1");
    let is_threaded =
        change.direction == Direction::Set && matches!(change.proposed.as_deref(), Some("gthread"));
    if is_first_thread || is_threaded {
        costs.push("code that is safe in threads".to_owned());
    }
    costs
}

/// Each further slot asks back ends as the others do.
fn connections(snapshot: &Snapshot) -> Option<String> {
    let mut ports: Vec<u16> = Vec::new();
    for endpoint in &snapshot.by_endpoint.list {
        ports.extend(endpoint.round_trips.ports().map(|to| to.port).filter(|port| *port != NAME_SERVER_PORT));
    }
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [] => None,
        [0] => Some("more connections to its back end".to_owned()),
        [port] => Some(format!("more connections to port {port}")),
        _ => Some("more connections to its back ends".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::round_trips::ToPort;
    use crate::server::advice::common::{cpu_limit, raise_cpu_limit};
    use crate::server::advice::fixture::{threads, workers};
    use crate::server::advice::{Limit, Scope, Setting, lower, raise, use_option};

    fn scene() -> Scene {
        let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND).endpoint("/orders", 100, &[]);
        scene.0.by_endpoint.list[0].round_trips.add(&ToPort { port: 5432, count: 9, ..ToPort::default() });
        scene
    }

    #[test]
    fn a_change_says_what_it_takes_and_what_undoes_it() {
        let directive = Setting::named("threads=").now(5).sizing(Sizes::Threads).at(Scope::Directive);
        for (advice, price) in [
            (
                raise(&threads()),
                "Its price: more connections to port 5432, a restart; --threads 8 undoes it.",
            ),
            (
                raise(&threads().now(1)),
                "Its price: more connections to port 5432, code that is safe in threads, a restart; --threads 1 undoes it.",
            ),
            (lower(&workers()), "Its price: a restart; --workers 2 undoes it."),
            (raise(&directive), "Its price: more connections to port 5432, a reload; threads=5 undoes it."),
            (
                use_option(&Setting::named("--reuse-port")),
                "Its price: a restart; leaving out --reuse-port undoes it.",
            ),
            (raise_cpu_limit(), "Its present value undoes it."),
        ] {
            let text = priced(advice.into(), &scene().0).to_string();
            assert!(text.ends_with(price), "{text}");
        }
        assert_eq!(priced(act("make it faster").into(), &scene().0).to_string(), "Make it faster.");
        assert_eq!(cpu_limit().scope, Scope::Service);
    }

    #[test]
    fn what_is_at_its_limit_is_not_raised() {
        let mut scene = scene();
        scene.0.session.cpu_count = 2;
        let advice = priced(raise(&workers()).up_to_cores().into(), &scene.0);
        assert_eq!(advice.to_string(), "Make what computes faster: there are as many processes as cores.");
        scene.0.session.cpu_count = 3;
        let advice = priced(raise(&workers()).up_to_cores().into(), &scene.0);
        assert_eq!(advice.changes()[0].limit, Some(Limit::Cores));
    }
}
