//! `wsgi-trace top`: a live screen of a server, or a recording played on it.
//!
//! In: target or recording, file for a report. Out: a screen until the reader has had enough; the report.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::node::{node, try_out};
use super::{Failure, refuse_same_file, target};
use crate::agent::follow::Say;
use crate::agent::node::directory::Directory;
use crate::cli::exit::ExitCode;
use crate::cli::{PlainFormat, Serve, Target, Top, Watch};
use crate::report::screen::look::Look;
use crate::session::SessionError;
use crate::session::consumer::charset;
use crate::session::signals::Signals;
use crate::top::node::Servers;
use crate::top::play::Player;
use crate::top::terminal;
use crate::top::ui::{Report, Ui};
use crate::top::{self, live, recording};

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
    if options.all {
        return all(options);
    }
    let watch = target::watch(&options.server.target(), &how(options), None)?;
    check(report.as_ref())?;
    let open = || Ui::open(options.color, charset(), look, report);
    Ok(live::run(watch, options.window, open)?)
}

/// All servers of this machine, and each of them.
fn all(options: &Top) -> Result<(), Failure> {
    try_out().map_err(SessionError::from)?;
    let serve = Rc::new(Serve {
        matches: options.matches.clone(),
        window: options.window,
        light: options.light,
        gil: options.gil,
        hooks: options.hooks,
        tls: options.tls,
        looks: options.looks.clone(),
        ..Serve::all().map_err(|error| Failure { sentence: error.to_string(), code: ExitCode::Usage })?
    });
    let (directory, said) = (Arc::new(Directory::default()), Rc::new(RefCell::new(String::new())));
    let heard = Rc::clone(&said);
    let say: Say = Rc::new(move |sentence| sentence.clone_into(&mut heard.borrow_mut()));
    let watch = how(options);
    let servers = Servers {
        directory: Arc::clone(&directory),
        said,
        watch: Box::new(move |pid| {
            let target = Target { pid: Some(pid), ..Target::default() };
            target::watch(&target, &watch, None).map_err(|error| error.to_string())
        }),
        window: options.window,
        color: options.color,
        charset: charset(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(SessionError::from)?.block_on(async {
        let mut signals = Signals::new()?;
        let node = node(&serve, directory, say, None);
        tokio::select! {
            outcome = node.run(&mut signals) => Ok(outcome?),
            outcome = top::node::run(servers) => Ok(outcome?),
        }
    })
}

fn how(options: &Top) -> Watch {
    Watch {
        hooks: options.hooks,
        light: options.light,
        gil: options.gil,
        tls: options.tls,
        looks: options.looks.clone(),
        front_end: options.front_end,
        quiet: true,
        ..Watch::default()
    }
}

/// The target or the recording first: a mistake there must not touch any file.
fn check(report: Option<&Report>) -> Result<(), Failure> {
    Ok(report.map_or(Ok(()), Report::check)?)
}
