//! `serve` on the command line.
//!
//! In: arguments. Out: [`Serve`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};

use super::front_end::FrontEnd;
use super::full::FullTraces;
use super::gil::Gil;
use super::help::ADVANCED;
use super::kept::Kept;
use super::looks::Looks;
use super::matches::Match;
use super::max_cost::MaxCost;
use super::otlp::Otlp;
use super::target::Target;
use super::tls::Tls;
use super::watch::{Hooks, ring_bytes};
use super::{duration, export};

/// `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// Every WSGI and ASGI server of this machine, as it comes and goes
    ///
    /// Each has its own windows, verdict and mode, at /server/PID/; / has all of them, the worst first. They
    /// share one set of programs for each mode.
    #[arg(long, group = "target", conflicts_with_all = ["with_front_end", "otlp", "parquet", "max-cost"])]
    pub all: bool,
    /// With --all, only servers that fit: pod=web-*, port=8000, user=www-data
    ///
    /// Keys: name, user, cgroup, container, pod, namespace, port. Each key that is given has to fit, of
    /// several patterns for one key any; * stands for any text, ? for one character.
    #[arg(long = "match", value_name = "KEY=PATTERN", requires = "all", hide_short_help = true)]
    pub matches: Vec<Match>,
    /// Address to serve on; beyond this machine only with --token-file
    ///
    /// Or with a socket from systemd.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9750")]
    pub listen: SocketAddr,
    /// File whose first line clients must send as bearer token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Length of a window: reports and findings speak of one
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = window)]
    pub window: Duration,
    /// What stands before the server.
    #[command(flatten)]
    pub front_end: FrontEnd,
    /// Hook no system calls: costs less and shows less
    ///
    /// Shows each request, what its thread waits for, who held the GIL and, on most servers, slots. Shows no
    /// event loops, and what becomes of connections over TCP alone; the report says what is missing. POST
    /// /full traces in full for a while; --hooks and --gil are for that then, --stacks for both. This is the
    /// default where light mode lacks nothing of the server that alerts which page rest on.
    #[arg(long)]
    pub light: bool,
    /// Hook system calls all the time: shows everything and costs more
    ///
    /// A server that does nothing else kept 77 to 97 % of its throughput at saturation. This is the default
    /// where light mode lacks something: event loops, UNIX sockets, kernels before 6.3; `serve` says so.
    #[arg(long, conflicts_with = "light")]
    pub full: bool,
    /// Nothing on stderr but errors
    #[arg(long, short, hide_short_help = true)]
    pub quiet: bool,
    /// What is kept in memory.
    #[command(flatten)]
    pub kept: Kept,
    /// Full traces beside light mode.
    #[command(flatten)]
    pub full_traces: FullTraces,
    /// Where rows go.
    #[command(flatten)]
    pub parquet: export::Parquet,
    /// How to see waits for the GIL.
    #[command(flatten)]
    pub gil: Gil,
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
    /// How much all that may take.
    #[command(flatten)]
    pub max_cost: MaxCost,
    /// Where spans go.
    #[command(flatten)]
    pub otlp: Otlp,
    /// Size of the ring buffer, to see what a report with losses looks like
    #[arg(long, value_name = "BYTES", value_parser = ring_bytes, hide = true)]
    pub ring_bytes: Option<u32>,
}

impl Serve {
    /// What `serve --all` is where nothing else is given.
    ///
    /// # Errors
    /// None, as long as its options have defaults.
    pub fn all() -> Result<Self, clap::Error> {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            serve: Serve,
        }
        Alone::try_parse_from(["serve", "--all"]).map(|alone| alone.serve)
    }
}

/// A length for windows that follow one another.
fn window(text: &str) -> Result<Duration, String> {
    let window = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&window) {
        Ok(window)
    } else {
        Err("must lie between 1s and 24h".to_owned())
    }
}
