//! Who waits for each listener, and what became of the threads that connections woke.
//!
//! In: the listeners of a snapshot. Out: a list and a table; nothing where nobody waits, or was woken.

use profiler_core::model::Listener;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::text::{unit, waiting};

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

pub(super) fn table(html: &mut Html, listeners: &[Listener]) {
    const COLUMNS: [Column; 9] = [
        Column::Words("address"),
        Column::Number("got a connection"),
        Column::Number("slept again"),
        Column::Number("found nothing"),
        Column::Number("wasted CPU"),
        Column::Number("wasted run queue"),
        Column::Number("wasted switches"),
        Column::Number("until running, median"),
        Column::Number("p99"),
    ];
    let waited_for: Vec<_> = listeners.iter().filter(|listener| !listener.waiters.is_empty()).collect();
    if !waited_for.is_empty() {
        html.raw("<ul>");
        for listener in waited_for {
            html.element("li", &format!("{}: {}", listener.seen.address, waiting::words(listener)));
        }
        html.raw("</ul>");
    }
    if !listeners.iter().any(|listener| listener.woken.is_some()) {
        return;
    }
    table::begin(html, "What became of the threads that connections woke", &COLUMNS, false);
    for (place, listener) in listeners.iter().enumerate() {
        let Some(woken) = &listener.woken else { continue };
        let at = |key: &str| format!("/listeners/{place}/woken/{key}");
        html.row(&listener.seen.address);
        let nothing = woken.found_nothing.saturating_add(woken.did_not_accept);
        html.number_at(&at("accepted"), woken.accepted, &unit::count(woken.accepted));
        html.number_at(&at("slept_again"), woken.slept_again, &unit::count(woken.slept_again));
        html.number(&unit::count(nothing));
        for (key, value_ns) in
            [("in_vain_cpu_ns", woken.losers.cpu_ns), ("in_vain_run_queue_ns", woken.losers.run_queue_ns)]
        {
            html.number_at(&at(key), value_ns, &shown(value_ns));
        }
        html.number_at(&at("in_vain_switches"), woken.losers_switches, &unit::count(woken.losers_switches));
        let until = |value_ns| (woken.until_running.count() > 0).then_some(value_ns);
        html.maybe_at(&at("until_running/p50_ns"), until(woken.until_running.quantile_ns(0.5)), shown);
        html.maybe_at(&at("until_running/p99_ns"), until(woken.until_running.quantile_ns(0.99)), shown)
            .end_row();
    }
    table::end(html);
}
