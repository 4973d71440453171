//! Rows for other engines, on the command line.
//!
//! In: recordings, a directory, what is said of the service. Out: [`Export`], and its labels.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;
use super::help::ROWS;

/// Service of those that nobody named, by OpenTelemetry.
const UNKNOWN_SERVICE: &str = "unknown_service:wsgi";

/// `export`.
#[derive(Clone, Debug, Default, Args)]
pub struct Export {
    /// The recordings
    #[arg(value_name = "RECORDING", required_unless_present = "columns")]
    pub recordings: Vec<PathBuf>,
    /// Directory for the tables; it is made where it does not exist
    #[arg(long, short, value_name = "DIRECTORY", required_unless_present = "columns")]
    pub output: Option<PathBuf>,
    /// Form of the files
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: ExportFormat,
    /// Whose rows they are.
    #[command(flatten)]
    pub service: Service,
    /// Print all tables with their columns, and export nothing
    #[arg(long, conflicts_with_all = ["recordings", "output"])]
    pub columns: bool,
    /// Nothing on stderr but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// What is said of the service in each row.
#[derive(Clone, Debug, Default, Args)]
pub struct Service {
    /// Name of the service [default: service.name of --resource, else unknown_service:wsgi]
    #[arg(
        id = "service",
        long = "service",
        value_name = "NAME",
        env = "OTEL_SERVICE_NAME",
        help_heading = ROWS,
        hide_short_help = true
    )]
    pub given_name: Option<String>,
    /// What else is known of it, by OpenTelemetry's names
    ///
    /// service.version, deployment.environment.name, k8s.namespace.name, k8s.pod.name, k8s.node.name; others
    /// are passed over.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        env = "OTEL_RESOURCE_ATTRIBUTES",
        value_delimiter = ',',
        help_heading = ROWS,
        hide_short_help = true
    )]
    pub resource: Vec<Attribute>,
    /// Also write paths as clients sent them (url.path), which may hold names and numbers of people
    #[arg(long, help_heading = ROWS, hide_short_help = true)]
    pub raw_paths: bool,
}

/// Rows of an agent.
#[derive(Clone, Debug, Args)]
pub struct Parquet {
    /// Also write rows into this directory (Parquet, as `wsgi-trace export`)
    ///
    /// It is made where it does not exist.
    #[arg(id = "parquet", long = "parquet", value_name = "DIRECTORY", help_heading = ROWS)]
    pub to: Option<PathBuf>,
    /// How long the files of --parquet are: they appear with the end of the window in which this is over
    #[arg(
        id = "parquet-every",
        long = "parquet-every",
        value_name = "TIME",
        default_value = "15m",
        value_parser = duration::parse,
        requires = "parquet",
        help_heading = ROWS,
        hide_short_help = true
    )]
    pub every: Duration,
    /// How much the files of --parquet may take, as 500MB or 2GB: the oldest whole windows go first, and are
    /// counted
    #[arg(
        id = "parquet-budget",
        long = "parquet-budget",
        value_name = "SIZE",
        default_value = "2GB",
        value_parser = size,
        requires = "parquet",
        help_heading = ROWS,
        hide_short_help = true
    )]
    pub budget_bytes: u64,
    /// Whose rows they are.
    #[command(flatten)]
    pub service: Service,
}

/// Least budget: some sets of files.
const MIN_BUDGET_BYTES: u64 = 1_000_000;

/// A size in bytes: a number with `kB`, `MB`, `GB` or `TB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err("a size is a number with kB, MB, GB or TB".to_owned()),
    };
    let number: f64 =
        number.parse().map_err(|_no_number| "a size is a number with kB, MB, GB or TB".to_owned())?;
    let bytes = (number * factor) as u64;
    if bytes < MIN_BUDGET_BYTES { Err("a budget is 1MB at least".to_owned()) } else { Ok(bytes) }
}

/// Forms of exported rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Parquet files, for DuckDB, Spark and others
    #[default]
    Parquet,
}

/// One attribute of a resource: `KEY=VALUE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    key: String,
    value: String,
}

impl FromStr for Attribute {
    type Err = Infallible;

    /// As OpenTelemetry reads its variable: what has no `=` says nothing.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (key, value) = text.split_once('=').unwrap_or_default();
        Ok(Self { key: key.trim().to_owned(), value: percent_decoded(value.trim()) })
    }
}

impl Service {
    /// The value of an attribute that was given.
    pub fn attribute(&self, key: &str) -> Option<String> {
        let given = self.resource.iter().rev().find(|attribute| attribute.key == key)?;
        Some(given.value.clone()).filter(|value| !value.is_empty())
    }

    /// Name of the service.
    pub fn name(&self) -> String {
        let said = self.given_name.clone().filter(|service| !service.is_empty());
        said.or_else(|| self.attribute("service.name")).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned())
    }
}

/// Text with every `%` and two hexadecimal digits as the byte they stand for; what is no text then stays as
/// it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_invalid| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> Service {
        let Ok(resource) = texts.iter().map(|text| text.parse()).collect();
        Service { resource, ..Service::default() }
    }

    #[test]
    fn attributes_are_read_as_opentelemetry_writes_them() {
        let export =
            given(&["k8s.pod.name=web-0", " service.version = 4%2C2 ", "", "nonsense", "k8s.node.name="]);
        assert_eq!(export.attribute("k8s.pod.name").as_deref(), Some("web-0"));
        assert_eq!(export.attribute("service.version").as_deref(), Some("4,2"));
        assert_eq!(export.attribute("k8s.node.name"), None);
        assert_eq!(percent_decoded("50%, 100%25 %zz %ff"), "50%, 100%25 %zz %ff");
    }

    #[test]
    fn the_service_is_named_by_the_option_first() {
        assert_eq!(given(&[]).name(), UNKNOWN_SERVICE);
        let named = given(&["service.name=shop"]);
        assert_eq!(named.name(), "shop");
        assert_eq!(Service { given_name: Some("till".to_owned()), ..named }.name(), "till");
    }

    #[test]
    fn a_budget_is_a_size_with_its_unit() {
        for (text, bytes) in [("2GB", 2_000_000_000), ("1.5 mb", 1_500_000), ("1TB", 1_000_000_000_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "5", "GB", "1.2.3GB", "10kB", "-1GB", "2GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
