//! Arguments of `whatif`.
//!
//! In: arguments. Out: [`WhatIf`].

use std::time::Duration;

use clap::{Args, ValueEnum};
use profiler_forecast::search::{Goal, Quantile, Slots};

use super::help::CHANGES;
use super::{Server, duration};

/// Factors lie between this and its reciprocal.
const MAX_FACTOR: f64 = 100.0;

/// `whatif`.
#[derive(Clone, Debug, Args)]
pub struct WhatIf {
    /// Which recording, or which server to watch now.
    #[command(flatten)]
    pub server: Server,
    /// How long to watch a server: long enough for 500 requests
    #[arg(long, short, value_name = "TIME", value_parser = duration::parse, default_value = "60s", conflicts_with = "recording")]
    pub duration: Duration,
    /// No progress on stderr while a server is watched
    #[arg(long, short, conflicts_with = "recording")]
    pub quiet: bool,
    /// So many worker processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = CHANGES)]
    pub workers: Option<u32>,
    /// So many threads in each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = CHANGES)]
    pub threads: Option<u32>,
    /// Another class of gunicorn's workers
    #[arg(long, value_enum, value_name = "CLASS", help_heading = CHANGES)]
    pub worker_class: Option<WorkerClass>,
    /// Endpoints that get a server of their own: 'GET /report/*'
    ///
    /// A star stands for anything. They have as many workers and threads as the others, or those that are
    /// named: 'GET /report/*=2x4'.
    #[arg(long, value_name = "ENDPOINT[=2x4]", value_parser = split, help_heading = CHANGES)]
    pub split: Option<(String, Option<Slots>)>,
    /// Look for the smallest setting that keeps this: 'p99<200ms'
    ///
    /// p99, p50 or p90, with all other changes. Fewest workers first, then fewest threads, up to two workers
    /// a core.
    #[arg(long, value_name = "GOAL", value_parser = goal, conflicts_with_all = ["workers", "threads", "split"])]
    pub search: Option<Goal>,
    /// Memory for the workers that --search may have: 512M, 2G
    #[arg(long, value_name = "BYTES", value_parser = bytes, requires = "search")]
    pub memory: Option<u64>,
    /// So many cores for all of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = CHANGES)]
    pub cores: Option<u32>,
    /// So many times the requests: x1.5
    ///
    /// Where clients wait for responses, the time between their requests is divided by it.
    #[arg(long, value_name = "FACTOR", value_parser = factor, help_heading = CHANGES)]
    pub rate: Option<f64>,
    /// A back end takes so many times as long: 5432=x0.5
    ///
    /// By its port; local is a UNIX socket.
    #[arg(long, value_name = "PORT=FACTOR", value_parser = back_end, help_heading = CHANGES)]
    pub backend: Vec<(String, f64)>,
    /// A buffering proxy in front: no client is slow
    #[arg(long, help_heading = CHANGES)]
    pub proxy: bool,
    /// Connections are not kept: a request can go to any process
    #[arg(long, value_name = "0", value_parser = clap::value_parser!(u8).range(0..=0), help_heading = CHANGES)]
    pub keepalive: Option<u8>,
    /// How requests arrive
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub arrivals: ArrivalsKind,
    /// Seed of what is random in the simulation
    #[arg(long, value_name = "NUMBER", default_value_t = 1, hide = true)]
    pub seed: u64,
    /// Forecast also where the self-forecast does not hold: for `make whatif`, which judges whether that is
    /// right
    #[arg(long, hide = true)]
    pub untrusted: bool,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: WhatIfFormat,
}

/// Forms of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WhatIfFormat {
    /// For reading in a terminal
    #[default]
    Text,
    /// For programs
    Json,
    /// One self-contained page for a browser
    Html,
}

/// Classes of gunicorn's workers that are modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkerClass {
    /// One request at once in each process
    Sync,
    /// A pool of threads in each process
    Gthread,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ArrivalsKind {
    /// closed where connections carry five requests and more, else open
    #[default]
    Auto,
    /// When they did, whatever the server does
    Open,
    /// As long after the response before on the same connection as they did
    Closed,
}

/// `x1.5` or `1.5`.
fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.trim_start_matches('x').parse().ok().ok_or("is not a factor such as x1.5")?;
    if (1.0 / MAX_FACTOR..=MAX_FACTOR).contains(&factor) {
        Ok(factor)
    } else {
        Err("must lie between x0.01 and x100".to_owned())
    }
}

/// `GET /report/*`, `GET /report/*=2x4`.
fn split(text: &str) -> Result<(String, Option<Slots>), String> {
    let slots = text.rsplit_once('=').and_then(|(pattern, slots)| {
        let (workers, threads) = slots.split_once('x')?;
        Some((pattern, (workers.parse().ok()?, threads.parse().ok()?)))
    });
    let (pattern, slots) = slots.map_or((text, None), |(pattern, slots)| (pattern, Some(slots)));
    let is_possible =
        |(workers, threads): Slots| (1..=1024).contains(&workers) && (1..=1024).contains(&threads);
    if !slots.is_none_or(is_possible) {
        return Err("workers and threads must lie between 1 and 1024".to_owned());
    }
    if pattern.is_empty() { Err("names no endpoint".to_owned()) } else { Ok((pattern.to_owned(), slots)) }
}

/// `p99<200ms`.
fn goal(text: &str) -> Result<Goal, String> {
    let (name, limit) = text.split_once('<').ok_or("is not a goal such as 'p99<200ms'")?;
    let known = [Quantile::P50, Quantile::P90, Quantile::P99];
    let quantile = known.into_iter().find(|known| known.name() == name.trim());
    let quantile = quantile.ok_or("knows p50, p90 and p99")?;
    let limit = duration::parse_with_unit(limit.trim_start_matches('='))
        .map_err(|error| format!("the limit {error}"))?;
    Ok(Goal { quantile, below_ns: u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX) })
}

/// `512M`, `2G`.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [("K", 10), ("M", 20), ("G", 30)];
    let unit = units.into_iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 0));
    let number: u64 = number.parse().ok().ok_or("is not a number of bytes such as 512M or 2G")?;
    number.checked_mul(1_u64 << bits).ok_or_else(|| "is too much".to_owned())
}

/// `5432=x0.5`.
fn back_end(text: &str) -> Result<(String, f64), String> {
    let (name, times) = text.split_once('=').ok_or("is not a back end and a factor, such as 5432=x0.5")?;
    Ok((name.to_owned(), factor(times)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_read_with_and_without_their_x() {
        assert_eq!(factor("x1.5"), Ok(1.5));
        assert_eq!(factor("0.5"), Ok(0.5));
        for wrong in ["", "x", "fast", "x0", "-1", "x1000", "nan", "inf"] {
            assert!(factor(wrong).is_err(), "{wrong}");
        }
        assert_eq!(back_end("5432=x0.5"), Ok(("5432".to_owned(), 0.5)));
        assert!(back_end("5432").is_err());
    }

    #[test]
    fn goals_splits_and_sizes_are_read() {
        assert_eq!(goal("p99<200ms"), Ok(Goal { quantile: Quantile::P99, below_ns: 200_000_000 }));
        assert_eq!(goal("p50 < 1.5s"), Ok(Goal { quantile: Quantile::P50, below_ns: 1_500_000_000 }));
        for wrong in ["p99", "p98<1s", "p99<200", "p99>1s", "<1s", ""] {
            assert!(goal(wrong).is_err(), "{wrong}");
        }
        assert_eq!(split("GET /a/*"), Ok(("GET /a/*".to_owned(), None)));
        assert_eq!(split("GET /a/*=2x4"), Ok(("GET /a/*".to_owned(), Some((2, 4)))));
        assert_eq!(split("GET /a=b"), Ok(("GET /a=b".to_owned(), None)));
        assert!(split("GET /a=0x4").is_err() && split("").is_err() && split("=1x1").is_err());
        assert_eq!((bytes("512M"), bytes("2G"), bytes("7")), (Ok(512 << 20), Ok(2 << 30), Ok(7)));
        assert!(bytes("2T").is_err() && bytes("99999999999G").is_err() && bytes("-1").is_err());
    }
}
