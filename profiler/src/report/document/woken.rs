//! What became of the threads that connections woke.
//!
//! In: the listeners of a snapshot. Out: a table; nothing where nobody was woken.

use profiler_core::model::wake::Woken;
use profiler_core::model::{Listener, Snapshot};

use super::block::Blocks;
use super::cell::{count, duration, quantile, words};
use super::table::{On, Rows, listed};

pub(super) fn table(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let listeners = listed("/listeners", &snapshot.sockets.listeners);
    let woken: Vec<(String, (&Listener, &Woken))> = listeners
        .into_iter()
        .filter_map(|(at, seen)| Some((format!("{at}/woken"), (seen, seen.woken.as_ref()?))))
        .collect();
    if woken.is_empty() {
        return;
    }
    body.gap();
    let nothing = |woken: &Woken| woken.found_nothing.saturating_add(woken.did_not_accept);
    body.table(
        Rows::of("What became of the threads that connections woke", woken)
            .shrinking("address", |(listener, _)| words(&listener.seen.address))
            .right("got one", |(_, woken)| count(woken.accepted).at("accepted"))
            .right("slept again", |(_, woken)| count(woken.slept_again).at("slept_again"))
            .right("found none", |(_, woken)| count(nothing(woken)))
            .right("wasted CPU", |(_, woken)| duration(woken.losers.cpu_ns).at("wasted_cpu_ns"))
            .right("run queue", |(_, woken)| duration(woken.losers.run_queue_ns).at("wasted_run_queue_ns"))
            .only(On::PAGE)
            .right("switches", |(_, woken)| count(woken.losers_switches).at("wasted_switches"))
            .right("to run p50", |(_, woken)| quantile(&woken.until_running, 0.5).at("until_running/p50_ns"))
            .right("p99", |(_, woken)| quantile(&woken.until_running, 0.99).at("until_running/p99_ns"))
            .table(),
    );
}
