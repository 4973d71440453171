//! Event loops: how late they looked at what was ready, and who kept them.
//!
//! In: the event loops of a snapshot. Out: a section, where there are any.

use profiler_core::model::Snapshot;
use profiler_core::model::event_loop::EventLoop;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{event_loops as words, unit};

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

pub(super) fn section(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 8] = [
        Column::Words("loop"),
        Column::Number("pid"),
        Column::Number("busy"),
        Column::Number("iterations"),
        Column::Number("arrivals"),
        Column::Number("lag p99"),
        Column::Number("lag longest"),
        Column::Number("longest iteration"),
    ];
    if snapshot.event_loops.is_empty() {
        return;
    }
    html.section("event-loops", "Event loops", "");
    html.element("p", words::WHAT_LAG_IS);
    table::begin(html, "How late each loop looked at what was ready", &COLUMNS, true);
    for (place, event_loop) in snapshot.event_loops.iter().enumerate() {
        let at = |key: &str| format!("/event_loops/{place}/{key}");
        let EventLoop { lag, busy_ns, waiting_ns, .. } = event_loop;
        let whole_ns = busy_ns.saturating_add(*waiting_ns);
        html.row(&format!("thread {}", event_loop.tid)).number(&event_loop.tgid.to_string());
        let share = unit::percent(summary::ratio(*busy_ns, whole_ns));
        html.share_at(&at("busy_ratio"), (*busy_ns, whole_ns), &share);
        html.number_at(&at("turns"), event_loop.turns, &unit::count(event_loop.turns));
        html.number_at(&at("lag/count"), lag.count(), &unit::count(lag.count()));
        let any = |duration_ns: u64| (lag.count() > 0).then_some(duration_ns);
        html.maybe_at(&at("lag/p99_ns"), any(lag.quantile_ns(0.99)), shown);
        html.maybe_at(&at("lag/max_ns"), any(lag.max_ns()), shown);
        html.number_at(
            &at("longest_turn_ns"),
            event_loop.longest_turn_ns,
            &shown(event_loop.longest_turn_ns),
        );
        html.end_row();
    }
    table::end(html);
    holders(html, snapshot);
    html.end_section();
}

fn holders(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 6] = [
        Column::Words("who kept the loop"),
        Column::Number("pid"),
        Column::Number("iterations"),
        Column::Number("longest"),
        Column::Number("arrivals waited"),
        Column::Number("in all"),
    ];
    if snapshot.event_loops.iter().all(|event_loop| event_loop.holders.is_empty()) {
        return;
    }
    table::begin(html, "Who kept the loops, and for whom", &COLUMNS, true);
    for (place, event_loop) in snapshot.event_loops.iter().enumerate() {
        for (index, holder) in event_loop.holders.iter().enumerate() {
            let at = |key: &str| format!("/event_loops/{place}/holders/{index}/{key}");
            html.row(&words::holder_name(holder)).number(&event_loop.tgid.to_string());
            html.number_at(&at("turns"), holder.turns, &unit::count(holder.turns));
            html.number_at(&at("longest_ns"), holder.longest_ns, &shown(holder.longest_ns));
            html.number_at(&at("waited"), holder.waited, &unit::count(holder.waited));
            html.number_at(&at("waited_ns"), holder.waited_ns, &shown(holder.waited_ns)).end_row();
        }
    }
    table::end(html);
}
