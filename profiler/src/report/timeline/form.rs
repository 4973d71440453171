//! The timeline as one of the forms of a report.
//!
//! In: what a [`Form`] gets. Out: the same, given to a [`PerfettoSink`].

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::timeline::Entry;

use super::{PerfettoSink, TimelineError};
use crate::report::form::{Beginning, Form, FormKind};
use crate::report::output::Lazy;

/// The timeline.
pub const FORM: FormKind = FormKind {
    name: "timeline",
    help: "Perfetto's protobuf: open it in ui.perfetto.dev",
    endings: &["pftrace", "perfetto-trace", "perfetto"],
    open: |writer, _| Box::new(TimelineForm(Some(PerfettoSink::new(writer)))),
};

/// The sink is taken out at the end, and where it gains the wall clock.
struct TimelineForm(Option<PerfettoSink<Lazy>>);

impl Form for TimelineForm {
    fn wants_thread_slices(&self) -> bool {
        true
    }

    fn begin(&mut self, beginning: &Beginning) {
        if let Some(offset_ns) = beginning.wall_clock_offset_ns {
            self.0 = self.0.take().map(|sink| sink.with_wall_clock_offset(offset_ns));
        }
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |sink| sink.entry(entry)).map_err(of_writer)
    }

    fn finish(&mut self, _: &Snapshot, _: &[Finding]) -> io::Result<()> {
        let Some(sink) = self.0.take() else { return Ok(()) };
        let (mut writer, _) = sink.finish().map_err(of_writer)?;
        writer.flush()
    }
}

fn of_writer(error: TimelineError) -> io::Error {
    match error {
        TimelineError::Write(error) => error,
        TimelineError::Encode(_) => io::Error::other(error),
    }
}
