//! How long requests took.
//!
//! In: the durations of a snapshot's requests. Out: a section of the page.

use profiler_core::model::Snapshot;
use profiler_core::model::latency::Latency;

use super::block::{Block, Blocks, Section};
use super::cell::{Cell, count, duration, maybe, words};
use super::table::{Column, On, Table, right, shrinking};

const COLUMNS: [Column; 7] = [
    shrinking("interval"),
    right("requests"),
    right("mean"),
    right("median"),
    right("p90"),
    right("p99"),
    right("longest"),
];

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let requests = &snapshot.requests;
    let mut table = Table::new("Durations of completed requests whose beginning was seen", &COLUMNS);
    table.row("/requests/total", row("total: first byte to last write", &requests.total));
    table.row("/requests/service", row("service: head read to last write", &requests.service));
    let mut body = Blocks::default();
    body.table(table);
    body.push(On::Page, Block::Histogram(&requests.total, "request"));
    Section::new("latency", "Latency", body).note("Percentiles are right within 1 %.").only(On::Page)
}

fn row(name: &str, latency: &Latency) -> [Cell; COLUMNS.len()] {
    let if_any = |value_ns| (latency.count() > 0).then_some(value_ns);
    let at = |quantile| maybe(if_any(latency.quantile_ns(quantile)), duration);
    [
        words(name),
        count(latency.count()).at("count"),
        maybe(latency.sum_ns().checked_div(latency.count()), duration).at("mean_ns"),
        at(0.5).at("p50_ns"),
        at(0.9).at("p90_ns"),
        at(0.99).at("p99_ns"),
        maybe(if_any(latency.max_ns()), duration).at("max_ns"),
    ]
}
