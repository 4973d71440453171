//! The commands, one file each: what each does between its arguments and its exit code.
//!
//! In: parsed arguments. Out: text on standard output, or a [`Failure`] with its exit code.

pub mod completions;
pub mod diff;
pub mod doctor;
pub mod export;
mod fail_on;
pub mod fleet;
mod follow;
pub mod list;
pub mod man;
mod mode;
mod node;
pub mod now;
pub mod record;
pub mod report;
pub mod serve;
pub mod target;
pub mod top;
pub mod trace;
pub mod whatif;

use std::io::Write as _;
use std::path::Path;

use crate::attach::AttachError;
use crate::cli::exit::ExitCode;
use crate::cli::{Cli, Command, GilWay};
use crate::fact::FactError;
use crate::output_file::{OutputFile, plain, same_file};
use crate::recording::RecordError;
use crate::report::explain::{COLUMNS, explain};
use crate::report::output::OutputError;
use crate::session::SessionError;
use crate::top::TopError;
use list::ListError;

/// Why a command did not do what it was asked for: one sentence and an exit code.
#[derive(Debug)]
pub struct Failure {
    /// The sentence.
    pub sentence: String,
    /// The exit code.
    pub code: ExitCode,
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let code = match &error {
            SessionError::Fact(fact) => code_of_fact(fact),
            SessionError::NoListener { .. } => ExitCode::TargetNotFound,
            SessionError::TargetGone { .. } | SessionError::Attach(AttachError::NoTarget) => {
                ExitCode::TargetGone
            }
            SessionError::Attach(AttachError::Privileges { .. } | AttachError::Forbidden) => {
                ExitCode::NotPermitted
            }
            SessionError::Attach(
                AttachError::NoBtf(_)
                | AttachError::LockedDown
                | AttachError::KernelTooOld { .. }
                | AttachError::NoField { .. }
                | AttachError::NoLight { .. }
                | AttachError::NotAllOfLight { .. }
                | AttachError::NoCallTracepoints { .. }
                | AttachError::PidNamespace,
            ) => ExitCode::KernelUnsuitable,
            SessionError::Attach(_) | SessionError::Runtime(_) => ExitCode::Internal,
            SessionError::Recording(_) | SessionError::NothingRecorded { .. } => {
                ExitCode::RecordingUnreadable
            }
            SessionError::RecordingWrite(_) | SessionError::Output(_) => ExitCode::OutputFailed,
        };
        Self { sentence: error.to_string(), code }
    }
}

impl From<TopError> for Failure {
    fn from(error: TopError) -> Self {
        let code = match error {
            TopError::Session(error) => return error.into(),
            TopError::Output(error) => return error.into(),
            TopError::NoTerminal { .. } => ExitCode::Usage,
            TopError::Terminal(_) => ExitCode::OutputFailed,
        };
        Self { sentence: error.to_string(), code }
    }
}

impl From<FactError> for Failure {
    fn from(error: FactError) -> Self {
        SessionError::from(error).into()
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        SessionError::from(error).into()
    }
}

const fn code_of_fact(error: &FactError) -> ExitCode {
    match error {
        FactError::NoSuchProcess { .. }
        | FactError::NumberedElsewhere { .. }
        | FactError::NothingOnPort { .. }
        | FactError::NoServerNamed { .. }
        | FactError::Several { .. }
        | FactError::NoFrontEnd
        | FactError::SeveralFrontEnds { .. }
        | FactError::NotInFront { .. } => ExitCode::TargetNotFound,
        FactError::Sandbox { .. } => ExitCode::KernelUnsuitable,
        FactError::NotPermitted { .. } => ExitCode::NotPermitted,
        FactError::Unreadable { .. } => ExitCode::Internal,
    }
}

/// Carries out what the command line asks for.
///
/// # Errors
/// [`Failure`], with the exit code to end with.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    refuse_frames_without_lock(cli)?;
    match &cli.command {
        None => trace::run(&cli.trace),
        Some(Command::Record(options)) => record::run(options),
        Some(Command::Report(options)) => report::run(options),
        Some(Command::Serve(options)) => serve::run(options),
        Some(Command::Diff(options)) => diff::run(options),
        Some(Command::Export(options)) => export::run(options),
        Some(Command::Fleet(options)) => fleet::run(options),
        Some(Command::WhatIf(options)) => whatif::run(options),
        Some(Command::List(options)) => {
            list::run(options, &mut std::io::stdout()).or_else(|error| list_failure(&error))
        }
        Some(Command::Now(options)) => now::run(options),
        Some(Command::Top(options)) => top::run(options),
        Some(Command::Doctor(options)) => doctor::run(options),
        Some(Command::Explain(options)) => match explain(options.word.as_deref(), COLUMNS) {
            Ok(text) => print(&text),
            Err(error) => Err(Failure { sentence: error.to_string(), code: ExitCode::Usage }),
        },
        Some(Command::Completions(options)) => print(&completions::script(options.shell)),
        Some(Command::Man(options)) => man::run(options),
    }
}

/// Frames are read as waits for the lock begin: without these there is no moment for it.
fn refuse_frames_without_lock(cli: &Cli) -> Result<(), Failure> {
    let gil = match &cli.command {
        None => cli.trace.watch.gil,
        Some(Command::Record(options)) => options.watch.gil,
        Some(Command::Serve(options)) => options.gil,
        Some(Command::Top(options)) => options.gil,
        Some(_) => return Ok(()),
    };
    if !gil.stacks || gil.way != GilWay::Off {
        return Ok(());
    }
    let sentence = "--stacks reads frames when a wait for the GIL begins, and --gil=off leaves these waits out: drop one of them";
    Err(Failure { sentence: sentence.to_owned(), code: ExitCode::Usage })
}

/// Why the list could not be shown; a reader that went away is no error.
fn list_failure(error: &ListError) -> Result<(), Failure> {
    let code = match &error {
        ListError::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        ListError::Output(_) => ExitCode::OutputFailed,
        ListError::Fact(fact) => code_of_fact(fact),
    };
    Err(Failure { sentence: error.to_string(), code })
}

/// Opens the file of a recording; what it holds stays until the recording begins.
fn open_recording(path: &Path) -> Result<OutputFile, Failure> {
    OutputFile::open(path).map_err(|error| SessionError::from(RecordError::from(error)).into())
}

/// Two outputs, or an output and the input, must not be one file: each would destroy the other.
fn refuse_same_file(one: &Path, other: &Path, what: &str) -> Result<(), Failure> {
    if !same_file(one, other) {
        return Ok(());
    }
    let sentence = format!("{} would be {what} at once: name another file for the report", one.display());
    Err(Failure { sentence, code: ExitCode::Usage })
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure {
            sentence: format!("standard output cannot be written: {}; send it elsewhere", plain(&error)),
            code: ExitCode::OutputFailed,
        }),
        _ => Ok(()),
    }
}
