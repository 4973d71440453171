//! Problems that people reported in public, against what a report must say of each; each is cured, and gone.
//!
//! In: `wsgi_trace_test_support::reported`. Out: verdicts. The leaf that stands behind the waiting is named,
//! with its object; what it might be taken for is not. With the cure applied, and all else the same, the same
//! clients do not wait for it any more. `make live` runs them.

mod files;
mod interpreter;
mod others;
mod slots;

use anyhow::Context as _;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Sent;
use wsgi_trace_test_support::reported::{self, Expected, Said, State};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::trace::{Trace, Traced};

/// What the report says of it, and what clients saw.
fn watch(name: &str, state: State, options: &[&str]) -> anyhow::Result<(Expected, Said, Vec<Option<Sent>>)> {
    let reported = reported::named(name).context("there is no such problem")?;
    let mut scene = (reported.begin)(state)?;
    scene.prepare()?;
    let trace = Trace::start_with(scene.server.pid(), options)?;
    let sent = scene.happen()?;
    let traced = trace.end()?;
    keep(name, state, options, &traced)?;
    let is_light = options.contains(&"--light");
    let expected = if is_light { reported.expected.in_light_mode() } else { reported.expected };
    let said = expected.read(&traced.report, &scene.marks)?;
    eprintln!(
        "{name} {state:?} {options:?}: {:.0} % of {:.1} s, lacks {:?}, {:?}; {:.0?}",
        said.share() * 100.0,
        said.whole_ns / 1e9,
        said.missing,
        said.lies,
        said.kinds
    );
    Ok((expected, said, sent))
}

/// Report and recording stay under `target/reported`.
fn keep(name: &str, state: State, options: &[&str], traced: &Traced) -> anyhow::Result<()> {
    let directory = wsgi_trace_test_support::root().join("target/reported");
    std::fs::create_dir_all(&directory)?;
    let kept = directory.join(format!("{name}-{state:?}{}", options.concat()));
    std::fs::write(kept.with_extension("json"), traced.report.to_string())?;
    std::fs::copy(&traced.recording, kept.with_extension("wtrace"))?;
    Ok(())
}

/// It is named, and gone when it is cured.
fn is_named_and_cured(name: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let (expected, ill, _) = watch(name, State::Ill, &[])?;
    let (_, cured, _) = watch(name, State::Cured, &[])?;
    // Both are there to be read, whichever is wrong.
    expected.must_be(&ill)?;
    expected.must_be_gone(&ill, &cured)
}

/// It is named in light mode as well.
fn is_named_in_light_mode(name: &str) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let (expected, ill, _) = watch(name, State::Ill, &["--light"])?;
    expected.must_be(&ill)
}
