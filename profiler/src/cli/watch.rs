//! How to watch a server.
//!
//! In: arguments. Out: [`Watch`], for a trace, a recording or the screen.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;
use super::front_end::FrontEnd;
use super::gil::Gil;
use super::help::ADVANCED;
use super::looks::Looks;
use super::tls::Tls;

/// How to watch.
#[derive(Clone, Debug, Default, Args)]
pub struct Watch {
    /// How long to watch: 30 (seconds), 500ms, 5m [default: until Ctrl-C]
    #[arg(long, short, value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// What stands before the server.
    #[command(flatten)]
    pub front_end: FrontEnd,
    /// Hook no system calls: costs less and shows less
    ///
    /// For weeks rather than minutes. Shows each request, what its thread waits for, who held the GIL and, on
    /// most servers, slots. Shows no event loops, and what becomes of connections over TCP alone; the report
    /// says what is missing. Needs Linux 6.3.
    #[arg(long, conflicts_with_all = ["hooks", "way", "gil_single_step", "names"])]
    pub light: bool,
    /// How to see waits for the GIL.
    #[command(flatten)]
    pub gil: Gil,
    /// No progress on stderr
    #[arg(long, short, hide_short_help = true)]
    pub quiet: bool,
    /// How to hook system calls
    ///
    /// btf is cheapest for the server, tracepoints for everything else on a shared host.
    #[arg(long, value_enum, default_value_t, value_name = "KIND", help_heading = ADVANCED, hide_short_help = true)]
    pub hooks: Hooks,
    /// What is asked over TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// What is looked at of sleeping threads.
    #[command(flatten)]
    pub looks: Looks,
    /// Capacity of each ring, to see what a report with losses looks like
    #[arg(long, value_name = "BYTES", value_parser = ring_bytes, hide = true)]
    pub ring_bytes: Option<u32>,
}

/// How system calls are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Hooks {
    /// Whichever costs less, judged by the target's share of the machine's load
    #[default]
    Auto,
    /// Two typed raw tracepoints for all calls
    Btf,
    /// One tracepoint per observed call
    Tracepoints,
}

/// A capacity that a ring can have.
pub(super) fn ring_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().ok().ok_or("is not a number of bytes")?;
    if bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes) {
        Ok(bytes)
    } else {
        Err("must be a power of two from 4096 to 1073741824".to_owned())
    }
}
