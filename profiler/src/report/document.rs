//! What a report says to people, said once: sections in one vocabulary, which the text report and the page
//! draw each in its way.
//!
//! In: a [`Snapshot`] and its findings. Out: [`Section`]s in the order of every report. A signal is one file
//! here, which builds its section; how a table, a bar or a sentence looks is the business of those who draw
//! it.

pub(super) mod block;
mod capacity;
pub(super) mod cell;
pub(super) mod chain_picture;
mod chains;
mod computed;
mod cost;
mod dropped;
pub(super) mod endpoints;
mod event_loops;
mod findings;
mod front_end;
mod gil;
pub(super) mod gil_matrix;
mod gil_place;
pub(super) mod gil_words;
pub(crate) mod header;
pub(super) mod heat;
mod lasting;
mod latency;
pub(super) mod listeners;
pub(super) mod losses;
pub(super) mod outlook;
pub(super) mod phases;
mod processes;
mod queues;
mod slots;
pub(super) mod slowest;
pub(super) mod table;
mod unseen;
mod waited_lines;
mod waiting;
mod woken;

#[cfg(test)]
mod tests;

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use super::escape::Charset;
use super::unit;
use block::{Block, Blocks, Section};
use table::On;

/// All sections.
pub(super) fn sections<'a>(snapshot: &'a Snapshot, findings: &'a [Finding]) -> Vec<Section<'a>> {
    let sections = [
        Some(findings::section(snapshot, findings)),
        chains::section(snapshot),
        waited_lines::section(snapshot),
        computed::section(snapshot),
        flames(snapshot),
        Some(endpoints::section(snapshot)),
        lasting::section(snapshot),
        Some(slowest::section(snapshot)),
        Some(phases::section(snapshot)),
        Some(over_time()),
        Some(slots::section(snapshot)),
        capacity::section(snapshot),
        front_end::section(snapshot),
        event_loops::section(snapshot),
        Some(timeline()),
        Some(latency::section(snapshot)),
        Some(gil::section(snapshot)),
        Some(listeners::section(snapshot)),
        Some(dropped::section(snapshot, findings)),
        Some(processes::section(snapshot)),
        Some(unseen::section(snapshot)),
        Some(losses::section(snapshot)),
        Some(cost::section(snapshot)),
    ];
    sections.into_iter().flatten().collect()
}

/// What endpoints computed and waited for, as a picture: where lines of it are known.
fn flames(snapshot: &Snapshot) -> Option<Section<'_>> {
    let chains = &snapshot.chains;
    let has_lines = chains.computed.iter().any(|of| of.endpoint > 0 && !of.places.is_empty())
        || chains.waited.iter().any(|of| of.endpoint > 0 && !of.places.is_empty());
    let mut body = Blocks::default();
    body.push(On::PAGE, Block::Flames);
    has_lines.then(|| Section::new("flames", "Flame graphs", body).only(On::PAGE))
}

/// Requests in flight and their latency, stretch by stretch: data of the stream, which the page has
/// collected.
fn over_time<'a>() -> Section<'a> {
    let mut body = Blocks::default();
    body.push(On::PAGE, Block::OverTime);
    Section::new("over-time", "Over time", body).only(On::PAGE)
}

/// Requests on the slots that served them: data of the stream, which the page has collected.
fn timeline<'a>() -> Section<'a> {
    let mut body = Blocks::default();
    body.push(On::PAGE, Block::Timeline);
    Section::new("timeline", "Timeline", body).only(On::PAGE)
}

/// A duration in a sentence. Drawers whose characters are few spell its unit otherwise.
fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}
