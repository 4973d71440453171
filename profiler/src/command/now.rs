//! `wsgi-trace now`: where each thread of a server is at this moment.
//!
//! In: target, form. Out: the moment on standard output.

use std::io::{IsTerminal as _, stdout};

use super::{Failure, print, target};
use crate::cli::exit::ExitCode;
use crate::cli::{Now, PlainFormat, Watch};
use crate::now::{json, text, watch};
use crate::report::style::Style;
use crate::session::consumer::charset;

/// Watches for a moment, and says what it saw.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Now) -> Result<(), Failure> {
    let watching = Watch { looks: options.looks.clone(), quiet: true, ..Watch::default() };
    let watching = target::watch(&options.target, &watching, None)?;
    let moment = watch::run(watching, options.duration)?;
    let said = match options.format {
        PlainFormat::Json => json::text(&moment)
            .map_err(|error| Failure { sentence: error.to_string(), code: ExitCode::Internal })?,
        PlainFormat::Text => {
            let colour = options.color.enabled(stdout().is_terminal());
            text::text(&moment, Style { colour, ..Style::plain(charset()) })
        }
    };
    print(&said)
}
