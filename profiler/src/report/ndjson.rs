//! The report for pipelines: one request a line, as requests come to their end.
//!
//! In: [`Entry`]s of the timeline. Out: one JSON object per request, in the order of the entries; everything
//! else in the timeline is passed over. Nothing is kept: memory does not grow with the length of the run.

use std::io::{self, Write};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use profiler_core::timeline::Entry;
use serde::Serialize;

use super::form::{Beginning, Form, FormKind};
use super::json::request::{Request, Unmeasured};
use super::json::safe::Safe;
use super::output::Lazy;

/// Requests for pipelines.
pub const FORM: FormKind = FormKind {
    name: "ndjson",
    help: "One JSON object per request and line",
    endings: &["ndjson", "jsonl"],
    open: |writer, _| Box::new(NdjsonSink::new(writer, [])),
};

impl Form for NdjsonSink<Lazy> {
    fn begin(&mut self, beginning: &Beginning) {
        self.unmeasured = Unmeasured::of(beginning.not_measured.iter().copied());
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.push(entry)
    }

    fn finish(&mut self, _: &Snapshot, _: &[Finding]) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes requests as lines of JSON.
#[derive(Debug)]
pub struct NdjsonSink<W: Write> {
    writer: W,
    unmeasured: Unmeasured,
}

impl<W: Write> NdjsonSink<W> {
    /// A sink to `writer` (buffered by the caller). The phases in `not_measured` are null in every line,
    /// unless a request has time in them all the same.
    pub fn new(writer: W, not_measured: impl IntoIterator<Item = Phase>) -> Self {
        Self { writer, unmeasured: Unmeasured::of(not_measured) }
    }

    /// Takes one entry of the timeline; writes a line if it is a request.
    ///
    /// # Errors
    /// What the writer says.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let Entry::Request(request) = entry else { return Ok(()) };
        let mut serializer = serde_json::Serializer::with_formatter(&mut self.writer, Safe::compact());
        Request::new(request, self.unmeasured).serialize(&mut serializer)?;
        self.writer.write_all(b"\n")
    }

    /// Gives the writer back, with everything written to it.
    pub fn into_inner(self) -> W {
        self.writer
    }
}
