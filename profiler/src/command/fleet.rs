//! `wsgi-trace fleet DIRECTORY`: the standing questions to the tables of many hosts; needs no privileges.
//!
//! In: a directory, DuckDB's command, form of the page. Out: the page.

use std::io::IsTerminal as _;

use super::{Failure, print};
use crate::cli::exit::ExitCode;
use crate::cli::fleet::{Fleet, FleetFormat};
use crate::fleet::engine::{Engine, EngineError, Scope};
use crate::fleet::{Page, html, json, text};
use crate::report::style::Style;
use crate::session::consumer::charset;

/// Asks.
///
/// # Errors
/// [`Failure`], if there are no tables, or DuckDB cannot be run or refuses.
pub fn run(options: &Fleet) -> Result<(), Failure> {
    let scope = Scope { since: options.since.clone(), service: options.service.clone() };
    let engine = Engine::new(&options.duckdb, &options.directory, &scope)?;
    let page = Page::ask(&engine, !options.quiet && std::io::stderr().is_terminal())?;
    match options.format {
        FleetFormat::Text => {
            let colour = options.color.enabled(std::io::stdout().is_terminal());
            print(&text::render(&page, Style { colour, ..Style::plain(charset()) }))
        }
        FleetFormat::Json => print(&json::render(&page)),
        FleetFormat::Html => print(&html::render(&page)),
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Missing(_) => ExitCode::Usage,
            EngineError::NoTables(_) | EngineError::Refused(_) => ExitCode::RecordingUnreadable,
        };
        Self { sentence: error.to_string(), code }
    }
}
