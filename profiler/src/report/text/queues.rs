//! Accept queues.
//!
//! In: the listeners of a snapshot. Out: a table of how deep their queues were, and what was refused.

use profiler_core::model::queue::Delays;
use profiler_core::model::{Listener, Snapshot};

use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::escape::Charset;
use crate::report::style::Role;
use crate::report::summary;

const COLUMNS: [Column; 7] = [
    Column::Shrinking("address"),
    Column::Right("queue limit"),
    Column::Right("deepest"),
    Column::Right("at arrival p50"),
    Column::Right("p99"),
    Column::Right("full"),
    Column::Right("refused"),
];

/// A row for each listener whose queue was read; nothing where none was.
pub(super) fn table(page: &mut Page, snapshot: &Snapshot) {
    let read: Vec<_> =
        snapshot.sockets.listeners.iter().filter_map(|seen| Some((seen, seen.queue.as_ref()?))).collect();
    if read.is_empty() {
        return;
    }
    page.line("");
    let mut table = Table::new(&COLUMNS);
    for (listener, queue) in &read {
        let found = |share: f64| match queue.at_arrival.weight() {
            0 => "-".to_owned(),
            _ => unit::count(u64::from(queue.at_arrival.quantile(share))),
        };
        table.row([
            listener.seen.address.clone(),
            unit::count(u64::from(queue.limit)),
            unit::count(u64::from(queue.deepest())),
            found(0.5),
            found(0.99),
            unit::percent(summary::ratio(queue.full_ns, queue.observed_ns())),
            queue.refused.map_or_else(|| "-".to_owned(), unit::count),
        ]);
    }
    table.write(page);
    for sentence in sentences(snapshot, page.style.charset) {
        page.paragraph((Role::Quiet, "  "), (None, &sentence));
    }
}

/// Who was behind refusals, and how long it kept them.
fn delayed(delays: &Delays, at: &str, charset: Charset) -> String {
    let clients = unit::counted(delays.clients, "client");
    let attempts = unit::counted(delays.attempts, "attempt");
    let connected = match delays.delay.count() {
        0 => "none was connected so far".to_owned(),
        count => format!(
            "{} connected after {} (p50), {} at most",
            unit::count(count),
            unit::duration(delays.delay.quantile_ns(0.5), charset),
            unit::duration(delays.delay.max_ns(), charset)
        ),
    };
    format!("The full queue{at} delayed {clients} ({attempts}); {connected}.")
}

/// Connections that a full worker kept while another was free.
fn beside_free(listener: &Listener, at: &str, charset: Charset) -> Option<String> {
    let beside = listener.beside_free.as_ref().filter(|beside| beside.waits.count() > 0)?;
    let connections = unit::counted(beside.waits.count(), "connection");
    let mut sentence = format!(
        "{connections}{at} waited in a process without a free slot while another had one: {} in all, p50 {}, {} at most",
        unit::duration(beside.waits.sum_ns(), charset),
        unit::duration(beside.waits.quantile_ns(0.5), charset),
        unit::duration(beside.waits.max_ns(), charset)
    );
    if beside.undecided > 0 {
        sentence.push_str(&format!("; {} more are not decided", unit::count(beside.undecided)));
    }
    sentence.push('.');
    Some(sentence)
}

/// What a number in the table does not say by itself.
pub(in crate::report) fn sentences(snapshot: &Snapshot, charset: Charset) -> Vec<String> {
    let mut list = Vec::new();
    for listener in &snapshot.sockets.listeners {
        // Paths are hostile; a port tells TCP listeners apart.
        let at = match listener.seen.port {
            0 => String::new(),
            port => format!(" of port {port}"),
        };
        if listener.is_deferred {
            list.push(format!(
                "The listener{at} defers accept: a connection arrives there, and waits, from its first data on."
            ));
        }
        list.extend(beside_free(listener, &at, charset));
        let delays = listener.queue.as_ref().and_then(|queue| queue.delays.as_ref());
        if let Some(delays) = delays.filter(|delays| delays.clients > 0 || delays.delay.count() > 0) {
            list.push(delayed(delays, &at, charset));
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
        list.push(
            "Refused, over UNIX sockets: calls of connect that found no room. The client is told so (EAGAIN), or waits inside the \
             call and counts again each time that it looks."
                .to_owned(),
        );
    }
    if !over_tcp.is_empty() {
        list.push(
            "Refused: packets of handshakes that found no room. A client tries again after 1 s, then 2 s, 4 s, …: it is \
             delayed, and counts once for each attempt."
                .to_owned(),
        );
    }
    list
}
