//! Arguments of `whatif`.
//!
//! In: arguments. Out: [`WhatIf`].

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{PlainFormat, duration};

/// Factors lie between this and its reciprocal.
const MAX_FACTOR: f64 = 100.0;

/// Help by example.
pub(super) const AFTER_HELP: &str = "Examples:\n  wsgi-trace whatif incident.wtrace\n  \
    wsgi-trace whatif incident.wtrace --workers 4 --threads 2\n  \
    wsgi-trace whatif incident.wtrace --rate x1.5 --backend 5432=x0.5 --format json\n  \
    sudo wsgi-trace whatif --pid 4242 --duration 2m --threads 8\n\n\
    Bounds are always there: how short response times would be at best. Forecasts come from a simulation, and only where\n\
    the simulation of the recorded setting gives back what was measured. Each change is forecast alone, then all together.\n\
    A forecast needs 500 requests, a window three times as long as the longest, no losses, and slots that are not all busy.";

/// `whatif`.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("of").required(true).args(["recording", "pid", "port", "name"])))]
pub struct WhatIf {
    /// The recording; needs no privileges
    #[arg(value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// Any process of the server, to watch it now: master or worker
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The server that listens on this TCP port
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// The one server of this name: its kind, its application or its command
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How long to watch a server: long enough for 500 requests
    #[arg(long, short, value_name = "TIME", value_parser = duration::parse, default_value = "60s", conflicts_with = "recording")]
    pub duration: Duration,
    /// No progress on stderr while a server is watched
    #[arg(long, short, conflicts_with = "recording")]
    pub quiet: bool,
    /// So many worker processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// So many threads in each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// So many cores for all of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub cores: Option<u32>,
    /// So many times the requests: x1.5. Where clients wait for responses, the time between their requests is divided by it
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub rate: Option<f64>,
    /// A back end takes so many times as long: 5432=x0.5, by its port (local: a UNIX socket)
    #[arg(long, value_name = "PORT=FACTOR", value_parser = back_end)]
    pub backend: Vec<(String, f64)>,
    /// A buffering proxy in front: no client is slow to send or to read
    #[arg(long)]
    pub proxy: bool,
    /// Connections are not kept: each request can go to any process
    #[arg(long, value_name = "0", value_parser = clap::value_parser!(u8).range(0..=0))]
    pub keepalive: Option<u8>,
    /// How requests arrive
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub arrivals: ArrivalsKind,
    /// Seed of what is random in the simulation
    #[arg(long, value_name = "NUMBER", default_value_t = 1, hide = true)]
    pub seed: u64,
    /// Forecast also where the self-forecast does not hold: for `make whatif`, which judges whether that is right
    #[arg(long, hide = true)]
    pub untrusted: bool,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: PlainFormat,
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
}
