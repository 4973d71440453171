//! Questions to a fleet, on the command line.
//!
//! In: a directory, form of the page. Out: [`Fleet`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Color;

/// `fleet`.
#[derive(Clone, Debug, Args)]
pub struct Fleet {
    /// Directory of the tables, or a place that DuckDB reads: s3://…
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
    /// Form of the page
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: FleetFormat,
    /// From this day on (UTC): 2026-01-31
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<String>,
    /// Of this service alone
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// DuckDB's command
    #[arg(long, value_name = "PATH", default_value = "duckdb")]
    pub duckdb: PathBuf,
    /// Write the questions as SQL files into this directory, and ask nothing; it is made where it does not
    /// exist
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["format", "since", "service"])]
    pub write_queries: Option<PathBuf>,
    /// Colours in the text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Nothing on stderr but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// Forms of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FleetFormat {
    /// For reading in a terminal
    #[default]
    Text,
    /// For programs
    Json,
    /// One self-contained page for a browser
    Html,
}

/// A day as `2026-01-31`.
fn day(text: &str) -> Result<String, String> {
    let is_digit_at = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let has_dashes = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let is_day = has_dashes && [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(is_digit_at);
    let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<u8>().ok());
    let is_day = is_day
        && number(5..7).is_some_and(|month| (1..=12).contains(&month))
        && number(8..10).is_some_and(|day| (1..=31).contains(&day));
    if is_day { Ok(text.to_owned()) } else { Err("a day is written as 2026-01-31".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day() {
        assert!(day("2026-01-31").is_ok());
        for text in ["", "2026-1-31", "31.01.2026", "2026-01-3x", "2026-01-31'", "2026-13-01", "2026-12-32"] {
            assert!(day(text).is_err(), "{text}");
        }
    }
}
