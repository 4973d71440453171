//! What a recording holds, as it stands there.
//!
//! In: a recording. Out: its facts, and signals that were sent.

use std::path::Path;

use profiler_core::decode;
use profiler_core::event::{Body, Event, Evidence, Signal};
use profiler_core::fact::{Fact, FactRecord};
use profiler_core::stream::Item;
use wsgi_trace::source::file::FileSource;

/// All facts, in the order in which they were recorded.
///
/// # Errors
///
/// Where it cannot be read.
pub fn facts_of(recording: &Path) -> anyhow::Result<Vec<FactRecord>> {
    let facts = FileSource::open(recording)?.filter_map(|item| match item {
        Item::Fact(record) => Some(*record),
        _ => None,
    });
    Ok(facts.collect())
}

/// All looks at sleeping threads, and the moment of each.
///
/// # Errors
///
/// Where it cannot be read.
pub fn looks_of(recording: &Path) -> anyhow::Result<Vec<(u64, profiler_core::fact::asleep::AsleepSeen)>> {
    let looks = facts_of(recording)?.into_iter().filter_map(|record| match record.fact {
        Fact::AsleepSeen(seen) => Some((record.time_ns, seen)),
        _ => None,
    });
    Ok(looks.collect())
}

/// All signals.
///
/// # Errors
///
/// Where it cannot be read.
pub fn signals_of(recording: &Path) -> anyhow::Result<Vec<(u64, Signal)>> {
    let mut signals = Vec::new();
    for item in FileSource::open(recording)? {
        if let Event { time_ns, body: Body::Evidence(evidence) } = decode::item(item)?
            && let Evidence::Signal(signal) = *evidence
        {
            signals.push((time_ns, signal));
        }
    }
    Ok(signals)
}
