//! A recording with two windows. `serve` has such windows and keeps no recording, so the session is driven
//! from here.
//!
//! In: a situation going on. Out: its recording, the window rolled half-way; how many requests ended in each
//! window.

use std::path::Path;

use profiler_core::fact::EndReason;
use profiler_core::timeline::Entry;
use tokio::time::{Instant, sleep_until};
use wsgi_trace::attach;
use wsgi_trace::fact::{Proc, Watched, server_tree};
use wsgi_trace::output_file::OutputFile;
use wsgi_trace::session::attached::{Session, Watch};
use wsgi_trace::session::observer::Observer;
use wsgi_trace_test_support::scenario::{Running, Scenario};

/// The recording is all that is wanted.
struct Nobody;

impl Observer for Nobody {
    fn entry(&mut self, _: &Entry) {}
}

/// How the program attaches by the scenario's options.
fn settings(scenario: &Scenario) -> attach::Settings {
    if !scenario.options.contains(&"--light") {
        return attach::Settings::default();
    }
    let gil = attach::gil::Wanted { mode: attach::gil::Mode::Sleeps, ..Default::default() };
    attach::Settings { hooks: attach::Hooks::Light, gil, tls: attach::tls::Mode::Off, ..Default::default() }
}

/// Watches for the scenario's window, as two.
pub(crate) fn watch(scenario: &Scenario, running: &Running, raw: &Path) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let pid = running.server.pid();
        let server = server_tree(&Proc::default(), pid)?;
        let watch = Watch {
            watched: Watched { server, front_end: None },
            named_pid: pid,
            attach: settings(scenario),
            own: Vec::new(),
            record: Some(OutputFile::open(raw)?),
            keep: None,
            left_out: None,
        };
        let mut session = Session::begin(watch, Nobody)?;
        let start = Instant::now();
        for part in [scenario.window / 2, scenario.window] {
            loop {
                tokio::select! {
                    _ = session.tick() => {}
                    () = sleep_until(start + part) => break,
                }
            }
            if part < scenario.window {
                session.roll();
            }
        }
        let outcome = session.finish(EndReason::Duration);
        let windows = outcome.windows.iter().chain([&outcome.snapshot]);
        let counts: Vec<u64> = windows.map(|window| window.requests.completed).collect();
        Ok(format!("requests by window: {counts:?}"))
    })
}
