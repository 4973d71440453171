//! `wsgi-trace top`: a live screen of a server, or a recording played on it.
//!
//! In: target or recording, file for a report. Out: a screen until the reader has had enough; the report.

use super::{Failure, refuse_same_file, target};
use crate::cli::{PlainFormat, Top, Watch};
use crate::report::screen::look::Look;
use crate::session::consumer::charset;
use crate::top::play::Player;
use crate::top::terminal;
use crate::top::ui::{Report, Ui};
use crate::top::{live, recording};

/// Shows the screen.
///
/// # Errors
/// [`Failure`]. The terminal is as it was.
pub fn run(options: &Top) -> Result<(), Failure> {
    let report = options.report.clone().map(|path| {
        let format = options.format.unwrap_or_else(|| PlainFormat::of_file(&path));
        Report { path, format }
    });
    if let (Some(report), Some(recording)) = (&report, &options.server.recording) {
        refuse_same_file(&report.path, recording, "the report and the recording")?;
    }
    terminal::check()?;
    let look = Look { can_step: options.server.recording.is_some(), ..Look::default() };
    if let Some(path) = &options.server.recording {
        let player = Player::open(path)?;
        check(report.as_ref())?;
        let ui = Ui::open(options.color, charset(), look, report)?;
        return Ok(recording::run(player, ui, options.stopped)?);
    }
    let watch = Watch {
        hooks: options.hooks,
        light: options.light,
        gil: options.gil,
        tls: options.tls,
        looks: options.looks.clone(),
        front_end: options.front_end,
        quiet: true,
        ..Watch::default()
    };
    let watch = target::watch(&options.server.target(), &watch, None)?;
    check(report.as_ref())?;
    let open = || Ui::open(options.color, charset(), look, report);
    Ok(live::run(watch, options.window, open)?)
}

/// The target or the recording first: a mistake there must not touch any file.
fn check(report: Option<&Report>) -> Result<(), Failure> {
    Ok(report.map_or(Ok(()), Report::check)?)
}
