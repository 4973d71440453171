//! Connections that became something else: WebSockets, tunnels, streams of events.
//!
//! In: the requests of a snapshot. Out: a section, where there were any.

use profiler_core::model::Snapshot;
use profiler_core::model::lasting::{Became, Lasting};

use super::block::{Blocks, Section};
use super::cell::{bytes, count, counted, duration, share, words};
use super::table::{On, Rows, Table, listed};
use crate::report::summary;

/// Rows in the text report.
const SHOWN: usize = 10;
/// Rows where the text report is one page.
const BRIEFLY: usize = 4;

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let all = &snapshot.requests.lasting;
    if all.is_empty() {
        return None;
    }
    let sum = all.iter().fold(0_u64, |sum, row| sum.saturating_add(row.count));
    let mut body = Blocks::default();
    body.table(table(snapshot).most(SHOWN));
    body.aside(
        "From the head of the answer on they are no requests: they count in no percentile and in no request \
         time, and each keeps the thread that serves it.",
    );
    let note = counted(sum, "connection");
    let section = Section::new("lasting", "WebSockets and streams", body);
    Some(section.note(super::cell::Words::default().figure(note)).brief(BRIEFLY, 1))
}

fn table(snapshot: &Snapshot) -> Table {
    let capacity_ns = summary::capacity_ns(snapshot);
    Rows::of("Connections that became something else", listed("/lasting", &snapshot.requests.lasting))
        .shrinking("endpoint", |row| words(name(row)))
        .narrow("became", |row| words(row.became.name()).at("became"))
        .right("connections", |row| count(row.count).at("count"))
        .right("still open", |row| count(row.open).at("open"))
        .right("longest", |row| duration(row.longest_ns).at("longest_ns"))
        .right("in all", |row| duration(row.lasted_ns).at("lasted_ns"))
        .right("of slots", move |row| share(row.lasted_ns, capacity_ns))
        .right("in", |row| bytes(row.bytes_in).at("received_bytes"))
        .only(On::PAGE)
        .right("out", |row| bytes(row.bytes_out).at("sent_bytes"))
        .only(On::PAGE)
        .table()
}

fn name(row: &Lasting) -> String {
    let method = if row.method.is_empty() { "head not read" } else { row.method.as_str() };
    format!("{method} {}", row.path_shape)
}

/// How many connections became what.
pub(super) fn counts(all: &[Lasting]) -> impl Iterator<Item = (Became, u64)> + '_ {
    let count = |became| {
        let rows = all.iter().filter(move |row| row.became == became);
        (became, rows.fold(0, |sum: u64, row| sum.saturating_add(row.count)))
    };
    Became::ALL.into_iter().map(count).filter(|(_, count)| *count > 0)
}

/// What so many of them are called.
pub(super) const fn noun(became: Became, count: u64) -> &'static str {
    match (became, count) {
        (Became::Upgraded, 1) => "WebSocket or tunnel",
        (Became::Upgraded, _) => "WebSockets or tunnels",
        (Became::Stream, 1) => "stream of events",
        (Became::Stream, _) => "streams of events",
    }
}
