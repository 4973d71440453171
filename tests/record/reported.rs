//! Recordings of the problems that people reported in public, each as long as it is not cured.
//!
//! In: names of problems (none: all). Out: `tests/recordings/reported/NAME.wtrace`, facts scrubbed.

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::reported::{self, Reported, State};
use wsgi_trace_test_support::trace::Trace;
use wsgi_trace_test_support::verdict::Judged;

use crate::scrub;

/// Largest recording that is worth keeping: these last some ten seconds.
const MAX_BYTES: u64 = 400_000;

/// Takes them. One that is not as it should be stays all the same, to be read.
pub(crate) fn take(names: &[String]) -> anyhow::Result<()> {
    for name in names {
        reported::named(name).with_context(|| format!("there is no problem {name:?}"))?;
    }
    let is_wanted = |one: &&Reported| names.is_empty() || names.iter().any(|name| name == one.name);
    let mut failed = Vec::new();
    for one in reported::all().filter(is_wanted) {
        if let Err(error) = take_one(one) {
            eprintln!("[record] {}: {error:#}", one.name);
            failed.push(one.name);
        }
    }
    if !failed.is_empty() {
        bail!("not as they should be: {}", failed.join(", "));
    }
    Ok(())
}

fn take_one(one: &Reported) -> anyhow::Result<()> {
    eprintln!("[record] {}: {}", one.name, one.about);
    let _alone = exclusive()?;
    let mut scene = (one.begin)(State::Ill)?;
    scene.prepare()?;
    let trace = Trace::start_with(scene.server.pid(), &[])?;
    scene.happen()?;
    let traced = trace.end()?;
    drop(scene);
    let kept = one.recording();
    std::fs::create_dir_all(kept.parent().context("it has a directory")?)?;
    scrub::copy(&traced.recording, &kept)?;
    let bytes = kept.metadata()?.len();
    eprintln!("[record] {}: {bytes} bytes", one.name);
    if bytes > MAX_BYTES {
        bail!("{} has {bytes} bytes, more than {MAX_BYTES}", kept.display());
    }
    one.expected.must_be(&one.expected.read(&Judged::recording(&kept)?.json()?, &[])?)
}
