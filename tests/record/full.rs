//! Everything that a replay gives, to be compared with what another version gives.
//!
//! In: a directory. Out: of each recording the text report, the JSON report of each window, and the timeline,
//! one line an entry.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use wsgi_trace_test_support::replayed::Replayed;
use wsgi_trace_test_support::scenario;
use wsgi_trace_test_support::verdict::Judged;

/// Writes it, recording by recording.
pub(crate) fn write(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for scenario in scenario::all() {
        write_one(&scenario.recording(), &directory.join(scenario.name)).context(scenario.name)?;
    }
    Ok(())
}

fn write_one(recording: &Path, to: &Path) -> anyhow::Result<()> {
    let mut timeline = BufWriter::new(File::create(to.with_extension("timeline"))?);
    let mut failed = None;
    let whole = Replayed::of(recording, &mut |line| {
        if let Err(error) = timeline.write_all(line.as_bytes()) {
            failed = Some(error);
        }
    })?;
    timeline.flush()?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    for (number, report) in whole.reports()?.iter().enumerate() {
        std::fs::write(to.with_extension(format!("window{number}.json")), report)?;
    }
    std::fs::write(to.with_extension("txt"), Judged::recording(recording)?.text())?;
    Ok(())
}
