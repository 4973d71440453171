//! The progress line on stderr: a run that works should look like it.
//!
//! In: how far the pipeline is. Out: one line that is rewritten, on a terminal only; what begins and ends is
//! said elsewhere too.

use std::io::{IsTerminal as _, Write as _};

use profiler_core::pipeline::Progress;

/// Writes the line, or nothing.
pub struct ProgressLine {
    quiet: bool,
    terminal: bool,
    shown: bool,
    last: (u64, u64),
}

impl ProgressLine {
    /// `quiet`: say nothing at all.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), shown: false, last: (0, 0) }
    }

    /// Says one thing, on a line of its own.
    pub fn say(&mut self, text: &str) {
        if !self.quiet {
            self.clear();
            // Nobody may be reading: then there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "wsgi-trace: {text}");
        }
    }

    /// Rewrites the line.
    pub fn show(&mut self, progress: &Progress) {
        if self.quiet || !self.terminal {
            return;
        }
        let (seconds, completed) = self.last;
        let elapsed_ms = progress.elapsed_ns / 1_000_000;
        let since_ms = elapsed_ms.saturating_sub(seconds).max(1);
        let rate = progress.completed.saturating_sub(completed).saturating_mul(1000) / since_ms;
        self.last = (elapsed_ms, progress.completed);
        let lost =
            if progress.lost > 0 { format!(", {} records lost", progress.lost) } else { String::new() };
        let line = format!(
            "{:>4} s  {} requests ({rate}/s), {} in flight{lost}",
            elapsed_ms / 1000,
            progress.completed,
            progress.in_flight
        );
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "\r\x1b[K{line}");
        let _ = stderr.flush();
        self.shown = true;
    }

    /// Removes the line.
    pub fn clear(&mut self) {
        if self.shown {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[K");
            let _ = stderr.flush();
            self.shown = false;
        }
    }
}
