//! Accept queues.
//!
//! In: the listeners of a snapshot. Out: a table of how deep their queues were, and what was refused.

use profiler_core::model::Snapshot;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{queues, unit};

/// A row for each listener whose queue was read; nothing where none was.
pub(super) fn table(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 7] = [
        Column::Words("address"),
        Column::Number("limit"),
        Column::Number("deepest"),
        Column::Number("at arrival, median"),
        Column::Number("p99"),
        Column::Number("full"),
        Column::Number("refused"),
    ];
    if snapshot.sockets.listeners.iter().all(|listener| listener.queue.is_none()) {
        return;
    }
    table::begin(html, "Accept queues: connections that wait for accept", &COLUMNS, false);
    for (place, listener) in snapshot.sockets.listeners.iter().enumerate() {
        let Some(queue) = &listener.queue else { continue };
        let at = |key: &str| format!("/listeners/{place}/queue/{key}");
        let number = |html: &mut Html, key: &str, value: u32| {
            html.number_at(&at(key), u64::from(value), &unit::count(u64::from(value)));
        };
        html.row(&listener.seen.address);
        number(html, "limit", queue.limit);
        number(html, "deepest", queue.deepest());
        let found = &queue.at_arrival;
        let if_any = |share: f64| (found.weight() > 0).then(|| u64::from(found.quantile(share)));
        html.maybe_at(&at("at_arrival/p50"), if_any(0.5), unit::count);
        html.maybe_at(&at("at_arrival/p99"), if_any(0.99), unit::count);
        html.number_at(
            &at("full_ns"),
            queue.full_ns,
            &unit::percent(summary::ratio(queue.full_ns, queue.observed_ns())),
        );
        html.maybe_at(&at("refused"), queue.refused, unit::count).end_row();
    }
    table::end(html);
    for sentence in queues::sentences(snapshot, Charset::Unicode) {
        html.element("p", &sentence);
    }
}
