//! Accept queues.
//!
//! In: the listeners of a snapshot. Out: a table of how deep their queues were, and what was refused.

use profiler_core::model::queue::{Delays, Queue};
use profiler_core::model::{Listener, Snapshot};

use super::block::Blocks;
use super::cell::{count, maybe, share, words};
use super::shown;
use super::table::{Rows, listed};
use crate::report::unit;

/// A row for each listener whose queue was read; nothing where none was.
pub(super) fn table(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let listeners = listed("/listeners", &snapshot.sockets.listeners);
    let read: Vec<(String, (&Listener, &Queue))> =
        listeners.into_iter().filter_map(|(at, seen)| Some((at, (seen, seen.queue.as_ref()?)))).collect();
    if read.is_empty() {
        return;
    }
    body.gap();
    let found = |queue: &Queue, share: f64| {
        let is_any = queue.at_arrival.weight() > 0;
        maybe(is_any.then(|| queue.at_arrival.quantile(share)), |depth| count(u64::from(depth)))
    };
    body.table(
        Rows::of("Accept queues: connections that wait for accept", read)
            .shrinking("address", |(listener, _)| words(&listener.seen.address))
            .right("queue limit", |(_, queue)| count(u64::from(queue.limit)).at("queue/limit"))
            .right("deepest", |(_, queue)| count(u64::from(queue.deepest())).at("queue/deepest"))
            .right("at arrival p50", |(_, queue)| found(queue, 0.5).at("queue/at_arrival/p50"))
            .right("p99", |(_, queue)| found(queue, 0.99).at("queue/at_arrival/p99"))
            .right("full", |(_, queue)| {
                share(queue.full_ns, queue.observed_ns()).at("queue/full_ns").exactly(queue.full_ns)
            })
            .right("refused", |(_, queue)| maybe(queue.refused, count).at("queue/refused"))
            .table(),
    );
    sentences(body, snapshot);
}

/// Who was behind refusals, and how long it kept them.
fn delayed(delays: &Delays, at: &str) -> String {
    let clients = unit::counted(delays.clients, "client");
    let attempts = unit::counted(delays.attempts, "attempt");
    let connected = match delays.delay.count() {
        0 => "none was connected so far".to_owned(),
        count => format!(
            "{} connected after {} (p50), {} at most",
            unit::count(count),
            shown(delays.delay.quantile_ns(0.5)),
            shown(delays.delay.max_ns())
        ),
    };
    format!("The full queue{at} delayed {clients} ({attempts}); {connected}.")
}

/// Connections that a full worker kept while another was free.
fn beside_free(listener: &Listener, at: &str) -> Option<String> {
    let beside = listener.beside_free.as_ref().filter(|beside| beside.waits.count() > 0)?;
    let connections = unit::counted(beside.waits.count(), "connection");
    let mut sentence = format!(
        "{connections}{at} waited in a process without a free slot while another had one: {} in all, p50 {}, {} at most",
        shown(beside.waits.sum_ns()),
        shown(beside.waits.quantile_ns(0.5)),
        shown(beside.waits.max_ns())
    );
    if beside.undecided > 0 {
        sentence.push_str(&format!("; {} more are not decided", unit::count(beside.undecided)));
    }
    sentence.push('.');
    Some(sentence)
}

/// What a number in the table does not say by itself.
fn sentences(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    for listener in &snapshot.sockets.listeners {
        // Paths are hostile; a port distinguishes TCP listeners.
        let at = match listener.seen.port {
            0 => String::new(),
            port => format!(" of port {port}"),
        };
        if listener.is_deferred {
            body.say(format!(
                "The listener{at} defers accept: a connection arrives there, and waits, from its first data on."
            ));
        }
        beside_free(listener, &at).into_iter().for_each(|sentence| body.say(sentence));
        let delays = listener.queue.as_ref().and_then(|queue| queue.delays.as_ref());
        if let Some(delays) = delays.filter(|delays| delays.clients > 0 || delays.delay.count() > 0) {
            body.say(delayed(delays, &at));
        }
    }
    let refused = |listener: &Listener| listener.queue.as_ref().and_then(|queue| queue.refused).unwrap_or(0);
    let (over_unix, over_tcp): (Vec<_>, Vec<_>) = snapshot
        .sockets
        .listeners
        .iter()
        .filter(|listener| refused(listener) > 0)
        .partition(|listener| listener.seen.family == "unix");
    if !over_unix.is_empty() {
        body.say(
            "Refused, over UNIX sockets: calls of connect that found no room. The client is told so (EAGAIN), or waits inside the \
             call and counts again each time that it looks.",
        );
    }
    if !over_tcp.is_empty() {
        body.say(
            "Refused: packets of handshakes that found no room. A client tries again after 1 s, then 2 s, 4 s, …: it is \
             delayed, and counts once for each attempt.",
        );
    }
}
