//! `wsgi-trace diff A B`: what changed between two runs.
//!
//! In: two recordings or reports in JSON, form of the answer. Out: the differences, with how sure each is.

use std::io::IsTerminal as _;
use std::path::Path;

use super::{Failure, print};
use crate::cli::exit::ExitCode;
use crate::cli::{Diff, PlainFormat};
use crate::compare::{Side, SideError, compare, json, text};
use crate::report::style::Style;
use crate::session::consumer::charset;

/// Compares.
///
/// # Errors
/// [`Failure`], if one of the files is neither a recording nor a report.
pub fn run(options: &Diff) -> Result<(), Failure> {
    let (a, b) = (Side::read(&options.a)?, Side::read(&options.b)?);
    let difference = compare(&a, &b);
    let names = [name(&options.a), name(&options.b)];
    let said = match options.format {
        PlainFormat::Text => {
            let colour = options.color.enabled(std::io::stdout().is_terminal());
            text::render(&difference, [&names[0], &names[1]], Style { colour, ..Style::plain(charset()) })
        }
        PlainFormat::Json => {
            let mut bytes = Vec::new();
            // Memory takes everything.
            let _ = json::write(&mut bytes, &difference);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    print(&said)
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

impl From<SideError> for Failure {
    fn from(error: SideError) -> Self {
        match error {
            SideError::Session(error) => error.into(),
            other => Self { sentence: other.to_string(), code: ExitCode::RecordingUnreadable },
        }
    }
}
