//! Listening sockets.
//!
//! In: the listeners of a snapshot. Out: a section: what accept did, what arrivals set in motion, how deep
//! accept queues were, who waits for connections and what became of those that were woken.

use profiler_core::model::{Listener, Snapshot};

use super::block::{Blocks, Section};
use super::cell::{Cell, Part, count, counted, duration, longest, maybe, quantile, words};
use super::table::{On, Rows, Table, listed};
use super::{queues, waiting, woken};
use crate::report::{summary, unit};

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let listeners = &snapshot.sockets.listeners;
    let mut body = Blocks::default();
    if listeners.is_empty() {
        body.say(summary::none_seen(snapshot, "listening socket"));
        return Section::new("listeners", "Listeners", body);
    }
    body.table(sockets(listeners));
    if listeners.iter().any(|listener| listener.accepted > 0) {
        body.gap();
        body.table(arrivals(listeners));
    }
    queues::table(&mut body, snapshot);
    woken::table(&mut body, snapshot);
    waiting::entries(&mut body, snapshot);
    Section::new("listeners", "Listeners", body)
}

/// The live screen's list of them: what it has room for.
pub(crate) fn list(listeners: &[Listener]) -> Table {
    sockets(listeners).beside(arrivals(listeners))
}

fn sockets(listeners: &[Listener]) -> Table {
    Rows::of("Listening sockets", listed("/listeners", listeners))
        .shrinking("address", |listener| words(&listener.seen.address))
        .in_list("address")
        .narrow("family", |listener| words(&listener.seen.family))
        .right("backlog", |listener| maybe(backlog(listener), count).at("backlog"))
        .right("held by", held_by)
        .in_list("held")
        .right("accepted", |listener| of_calls(listener, listener.accepted).at("accepted"))
        .in_list("accepted")
        .right("found nothing", |listener| of_calls(listener, listener.accepts_empty).at("accepts_empty"))
        .right("failed", |listener| of_calls(listener, listener.accepts_failed).at("accepts_failed"))
        .table()
}

/// A number that only calls show; a dash in light mode.
fn of_calls(listener: &Listener, number: u64) -> Cell {
    maybe((!listener.is_queue_alone).then_some(number), count)
}

fn backlog(listener: &Listener) -> Option<u64> {
    Some(u64::from(listener.seen.backlog)).filter(|backlog| *backlog > 0)
}

fn held_by(listener: &Listener) -> Cell {
    match listener.is_closed {
        true => words("closed"),
        false => counted(unit::number(listener.holders.len()), "process"),
    }
}

/// Woken threads (one for each connection is enough) and waiting connections; a dash where it was not
/// measured, or there was nothing to measure.
fn arrivals(listeners: &[Listener]) -> Table {
    let wasted = |listener: &Listener| listener.wakes.map(|_| listener.woken_in_vain());
    let mut table = Rows::of("What connections that arrived set in motion", listed("/listeners", listeners))
        .shrinking("address", |listener| words(&listener.seen.address))
        .right("arrived", |listener| {
            maybe(listener.wakes, |wakes| count(wakes.arrivals)).at("wakes/arrivals")
        })
        .right("woken per connection", |listener| {
            maybe(listener.woken_per_connection(), |woken| words(format!("{woken:.2}")))
        })
        .in_list("woken")
        .right("wasted wakeups", |listener| maybe(wasted(listener), count))
        .in_list("wasted")
        .right("wasted CPU", |listener| maybe(wasted(listener), |_| duration(listener.in_vain_cpu_ns())))
        .only(On::PAGE)
        .in_list("CPU")
        .right("accept wait p50", |listener| quantile(&listener.accept_wait, 0.5).at("accept_wait/p50_ns"))
        .right("p99", |listener| quantile(&listener.accept_wait, 0.99).at("accept_wait/p99_ns"))
        .in_list("wait p99")
        .right("queue", |listener| {
            maybe(listener.queue.as_ref(), |queue| words(format!("{}/{}", queue.depth, queue.limit)))
        })
        .only(On::SCREEN)
        .right("longest", |listener| longest(&listener.accept_wait).at("accept_wait/max_ns"))
        .table();
    for (row, listener) in table.rows.iter_mut().zip(listeners) {
        let Some(wakes) = listener.wakes.filter(|wakes| wakes.woken > 0) else { continue };
        let wasted = listener.woken_in_vain();
        let used = Part { name: "used", length: wakes.woken.saturating_sub(wasted) };
        row.below = Some((vec![used, Part { name: "wasted", length: wasted }], wakes.woken.max(wasted)));
    }
    table
}
