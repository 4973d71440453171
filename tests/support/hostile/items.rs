//! Kernel records and facts of any content through the whole pipeline and every form of report. No panic,
//! what is impossible is cut and counted, and the phases of every request add up.
//!
//! In: items, each as its tag (0: a kernel record, else a fact as JSON), its length in two bytes, low one
//! first, and its bytes. Out: nothing.

use profiler_core::fact::FactRecord;
use profiler_core::finding::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::timeline::Entry;
use profiler_core::verdict;
use wsgi_trace::report::escape::Charset;
use wsgi_trace::report::ndjson::NdjsonSink;
use wsgi_trace::report::style::Style;
use wsgi_trace::report::timeline::PerfettoSink;
use wsgi_trace::report::{html, json, text};

/// Tag of a kernel record.
pub const KERNEL: u8 = 0;
/// Tag of a fact.
pub const FACT: u8 = 1;

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let mut all = All::new();
    for (tag, item) in split(bytes) {
        if tag == KERNEL {
            all.push(Item::Kernel(item));
        } else if let Ok(fact) = serde_json::from_slice::<FactRecord>(item) {
            all.push(Item::Fact(Box::new(fact)));
        }
    }
    all.finish();
}

/// The items of an input.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let ([tag, low, high], after) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (item, after) = after.split_at(length);
        rest = after;
        Some((*tag, item))
    })
}

/// Appends an item, cut to what its length can say.
pub fn put(input: &mut Vec<u8>, tag: u8, item: &[u8]) {
    let length = u16::try_from(item.len()).unwrap_or(u16::MAX);
    input.push(tag);
    input.extend_from_slice(&length.to_le_bytes());
    input.extend_from_slice(item.get(..usize::from(length)).unwrap_or_default());
}

/// A stream on its way through everything that reads it.
pub struct All {
    pipeline: Pipeline,
    perfetto: PerfettoSink<Vec<u8>>,
    ndjson: NdjsonSink<Vec<u8>>,
}

impl Default for All {
    fn default() -> Self {
        Self::new()
    }
}

impl All {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self {
            pipeline: Pipeline::new(Settings { thread_slices: true }),
            perfetto: PerfettoSink::new(Vec::new()),
            ndjson: NdjsonSink::new(Vec::new(), []),
        }
    }

    /// Takes an item.
    pub fn push(&mut self, item: Item<&[u8]>) {
        let Self { pipeline, perfetto, ndjson } = self;
        pipeline.push(item, &mut |entry| take(perfetto, ndjson, &entry));
    }

    /// The end: every form of report on every window.
    pub fn finish(self) {
        let Self { pipeline, mut perfetto, mut ndjson } = self;
        let (windows, last) = pipeline.finish_windows(&mut |entry| take(&mut perfetto, &mut ndjson, &entry));
        assert!(perfetto.finish().is_ok(), "memory takes it");
        for snapshot in windows.iter().chain([&last]) {
            report(snapshot);
        }
    }
}

fn take(perfetto: &mut PerfettoSink<Vec<u8>>, ndjson: &mut NdjsonSink<Vec<u8>>, entry: &Entry) {
    if let Entry::Request(request) = entry {
        assert_eq!(request.phases.total_ns(), request.total_ns(), "{request:?}");
    }
    assert!(perfetto.entry(entry).is_ok() && ndjson.push(entry).is_ok(), "memory takes it");
}

fn report(snapshot: &Snapshot) {
    assert_eq!(snapshot.coverage.conservation.requests_broken, 0);
    for slot in &snapshot.slots.observed {
        assert!(slot.busy_ns() <= slot.length_ns(), "{slot:?}");
    }
    let findings = verdict::findings(snapshot, &Thresholds::default());
    let plain = Style::plain(Charset::Ascii);
    let is_harmless = |c: char| c == '\n' || c == '\u{1b}' || c.is_ascii_graphic() || c == ' ';
    for verbose in [false, true] {
        let said = text::render(snapshot, &findings, Style { colour: true, verbose, ..plain });
        assert!(said.chars().all(is_harmless), "hostile text reached the terminal: {said:?}");
    }
    let document = json::render(snapshot, &findings).unwrap_or_default();
    assert!(serde_json::from_slice::<serde_json::Value>(&document).is_ok(), "no JSON");
    let page = html::render(snapshot, &findings, &snapshot.requests.slowest);
    assert!(page.ends_with("</html>\n"), "the page has no end");
}
