//! `wsgi-trace fleet DIRECTORY`: the standing questions to the tables of many hosts; needs no privileges.
//!
//! In: a directory, DuckDB's command, form of the page. Out: the page; or the questions as files.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use super::{Failure, print};
use crate::cli::exit::ExitCode;
use crate::cli::fleet::{Fleet, FleetFormat};
use crate::fleet::engine::{Engine, EngineError, Scope};
use crate::fleet::sql_files::{self, SqlFileError};
use crate::fleet::{Page, html, json, none_of, text};
use crate::report::style::Style;
use crate::session::consumer::charset;

/// Asks.
///
/// # Errors
/// [`Failure`], if there are no tables, or DuckDB cannot be run or refuses; or if the files cannot be
/// written.
pub fn run(options: &Fleet) -> Result<(), Failure> {
    if let Some(to) = &options.write_queries {
        return write_queries(options, to);
    }
    let scope = Scope { since: options.since.clone(), service: options.service.clone() };
    let engine = Engine::new(&options.duckdb, &options.directory, &scope)?;
    let page = Page::ask(&engine, !options.quiet && std::io::stderr().is_terminal())?;
    if page.extent.windows == 0 && scope != Scope::default() {
        none_of(&Engine::new(&options.duckdb, &options.directory, &Scope::default())?, &scope)?;
    }
    match options.format {
        FleetFormat::Text => {
            let colour = options.color.enabled(std::io::stdout().is_terminal());
            print(&text::render(&page, Style { colour, ..Style::plain(charset()) }))
        }
        FleetFormat::Json => print(&json::render(&page)),
        FleetFormat::Html => print(&html::render(&page)),
    }
}

fn write_queries(options: &Fleet, to: &Path) -> Result<(), Failure> {
    let files = sql_files::write(&options.directory, to)?;
    if !options.quiet {
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "wsgi-trace: wrote {files} SQL files to {}", to.display());
    }
    Ok(())
}

impl From<SqlFileError> for Failure {
    fn from(error: SqlFileError) -> Self {
        let code = match &error {
            SqlFileError::Name(_) => ExitCode::Usage,
            SqlFileError::Directory { .. } | SqlFileError::Differs(_) | SqlFileError::Output(_) => {
                ExitCode::OutputFailed
            }
        };
        Self { sentence: error.to_string(), code }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Missing(_) => ExitCode::Usage,
            EngineError::NoTables(_) | EngineError::Nothing { .. } | EngineError::Refused(_) => {
                ExitCode::RecordingUnreadable
            }
        };
        Self { sentence: error.to_string(), code }
    }
}
