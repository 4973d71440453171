//! How long requests took.
//!
//! In: the durations of a snapshot's requests. Out: a section of the page.

use profiler_core::model::Snapshot;
use profiler_core::model::latency::Latency;

use super::block::{Block, Blocks, Section};
use super::cell::{count, duration, longest, maybe, quantile, words};
use super::table::{On, Rows};

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let requests = &snapshot.requests;
    let mean_ns = |latency: &Latency| latency.sum_ns().checked_div(latency.count());
    let mut body = Blocks::default();
    body.table(
        Rows::of(
            "Durations of completed requests whose beginning was seen",
            vec![
                ("/requests/total".to_owned(), ("total: first byte to last write", &requests.total)),
                ("/requests/service".to_owned(), ("service: head read to last write", &requests.service)),
            ],
        )
        .shrinking("interval", |(name, _)| words(name))
        .right("requests", |(_, latency)| count(latency.count()).at("count"))
        .right("mean", |(_, latency)| maybe(mean_ns(latency), duration).at("mean_ns"))
        .right("median", |(_, latency)| quantile(latency, 0.5).at("p50_ns"))
        .right("p90", |(_, latency)| quantile(latency, 0.9).at("p90_ns"))
        .right("p99", |(_, latency)| quantile(latency, 0.99).at("p99_ns"))
        .right("longest", |(_, latency)| longest(latency).at("max_ns"))
        .table(),
    );
    body.push(On::PAGE, Block::Histogram(&requests.total, "request"));
    Section::new("latency", "Latency", body).note("Percentiles are right within 1 %.").only(On::PAGE)
}
