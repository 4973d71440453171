//! Questions to a fleet, on the command line.
//!
//! In: a directory, form of the page. Out: [`Fleet`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Color;

/// Examples.
pub(super) const HELP: &str = "Examples:\n  wsgi-trace fleet /var/lib/fleet\n  wsgi-trace fleet s3://bucket/fleet --since 2026-01-24\n  \
    wsgi-trace fleet /var/lib/fleet --service shop --format html > shop.html\n  \
    wsgi-trace fleet /var/lib/fleet --write-queries queries\n\n\
    The directory is what `wsgi-trace export -o` and `wsgi-trace serve --parquet` write, of any number\n\
    of hosts. The engine is DuckDB's command (pip install duckdb-cli). The same questions run\n\
    elsewhere: --write-queries writes them as SQL, which DuckDB and Spark read unchanged, with what\n\
    makes the tables of DIRECTORY for each of the two. docs/fleet.md shows how.";

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
