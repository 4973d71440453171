//! The screen with its state: what is shown, what is looked at, the terminal it is drawn on.
//!
//! In: moments, keys. Out: frames, commands, the report of what is shown.

use std::path::PathBuf;

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use ratatui::crossterm::event::Event;
use ratatui::crossterm::style::force_color_output;

use super::TopError;
use super::key::{Command, press};
use super::terminal::Taken;
use crate::cli::{Color, PlainFormat};
use crate::report::escape::Charset;
use crate::report::form::Form;
use crate::report::output::{Destination, Lazy, OutputError, failure};
use crate::report::screen;
use crate::report::screen::look::Look;
use crate::report::screen::model::Shown;
use crate::report::screen::paint::Paint;
use crate::report::style::Style;
use crate::report::{json, text};

/// Where the report of what is shown goes.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its file.
    pub path: PathBuf,
    /// Its form.
    pub format: PlainFormat,
}

impl Report {
    /// Looks whether the file can be written, so that a mistake in its name is told before anything is
    /// watched.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check(&self) -> Result<(), OutputError> {
        Destination::open(Some(&self.path)).map(drop)
    }

    fn write(&self, snapshot: &Snapshot, findings: &[Finding]) -> Result<(), OutputError> {
        let writer = Lazy::new(Destination::open(Some(&self.path))?);
        let style = Style { verbose: true, ..Style::plain(Charset::Unicode) };
        let mut form: Box<dyn Form> = match self.format {
            PlainFormat::Text => (text::FORM.open)(writer, style),
            PlainFormat::Json => (json::FORM.open)(writer, style),
        };
        match form.finish(snapshot, findings) {
            Ok(()) => Ok(()),
            Err(error) => failure(error, Some(&self.path)).map_or(Ok(()), Err),
        }
    }
}

/// The screen.
pub struct Ui {
    taken: Taken,
    look: Look,
    paint: Paint,
    shown: Shown,
    report: Option<Report>,
    /// Something changed since it was drawn.
    stale: bool,
}

impl Ui {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// As [`Taken::take`].
    pub fn open(
        color: Color,
        charset: Charset,
        mut look: Look,
        report: Option<Report>,
    ) -> Result<Self, TopError> {
        let taken = Taken::take()?;
        let paint = Paint { colour: color.enabled(true), charset };
        // The terminal library looks at NO_COLOR too; --color has the last word.
        force_color_output(paint.colour);
        look.can_write = report.is_some();
        Ok(Self { taken, look, paint, shown: Shown::default(), report, stale: true })
    }

    /// Shows another moment, unless the screen is paused.
    pub fn show(&mut self, shown: Shown) {
        if !self.look.paused {
            self.shown = shown;
            self.stale = true;
        }
    }

    /// Whether the reader has stopped the screen.
    pub const fn is_paused(&self) -> bool {
        self.look.paused
    }

    /// Takes a key or a change of size.
    pub fn event(&mut self, event: &Event) -> Option<Command> {
        self.stale = true;
        let Event::Key(key) = event else { return None };
        press(*key, &mut self.look, &self.shown, self.paint)
    }

    /// Draws what has changed, unless the terminal has not taken the frame before.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn draw(&mut self) -> Result<(), TopError> {
        if !self.stale || !self.taken.is_ready() {
            return Ok(());
        }
        let (shown, look, paint) = (&self.shown, &self.look, self.paint);
        self.taken
            .terminal
            .draw(|frame| screen::draw(shown, look, paint, frame.area(), frame.buffer_mut()))
            .map_err(TopError::Terminal)?;
        self.stale = false;
        Ok(())
    }

    /// Says something in the last row, until the next key.
    pub fn say(&mut self, text: String) {
        self.look.notice = Some(text);
        self.stale = true;
    }

    /// Writes the report of what is shown, and says so.
    pub fn write(&mut self) {
        let Some(report) = &self.report else { return };
        let text = match report.write(&self.shown.snapshot, &self.shown.findings) {
            Ok(()) => format!("written: {}", report.path.display()),
            Err(error) => error.to_string(),
        };
        self.say(text);
    }

    /// Gives the terminal back, then writes the report of what was shown last.
    ///
    /// # Errors
    /// If the report cannot be written.
    pub fn close(self) -> Result<(), TopError> {
        let Self { taken, shown, report, .. } = self;
        drop(taken);
        match report {
            Some(report) => Ok(report.write(&shown.snapshot, &shown.findings)?),
            None => Ok(()),
        }
    }
}
