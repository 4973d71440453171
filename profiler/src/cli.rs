//! The command line: what can be asked for, and the help that teaches it.
//!
//! In: arguments. Out: [`Cli`]. Nothing is done here.

pub mod duration;
pub mod exit;
pub mod export;
pub mod fail_on;
pub mod fleet;
pub mod front_end;
pub mod full;
mod gil;
pub mod mistake;
pub mod otlp;
mod output;
pub mod tls;
pub mod whatif;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::export::Export;
use self::fail_on::FailOn;
use self::front_end::FrontEnd;
use self::full::FullTraces;
pub use self::gil::{Gil, GilWay};
use self::otlp::Otlp;
pub use self::output::{Color, Format, Output, PlainFormat};
use self::tls::Tls;
use crate::report::screen;

const EXAMPLES: &str = "\
Examples:
  sudo wsgi-trace --pid 4242                     watch until Ctrl-C, then print the report
  sudo wsgi-trace --port 8000 --duration 30s     watch whatever serves port 8000 for 30 seconds
  sudo wsgi-trace --name gunicorn -o report.json
  sudo wsgi-trace --pid 4242 --duration 10s -o timeline.pftrace
  sudo wsgi-trace --port 8000 --with-front-end   and the nginx or Apache before it
  sudo wsgi-trace record --pid 4242 --duration 1m -o incident.wtrace
  wsgi-trace report incident.wtrace              the same report, later or elsewhere, without root
  wsgi-trace report load-test.wtrace --fail-on slots-exhausted,herd     exit code 9 if either is present
  sudo wsgi-trace top --pid 4242                 watch it live
  wsgi-trace list                                which WSGI servers run here

The server is never restarted, stopped or changed, and nothing is loaded into it.
--pid takes any of its processes. The report goes to stdout, progress and errors to stderr.
Ctrl-C stops early and still prints the report.";

fn after_help() -> String {
    format!("{EXAMPLES}\n\nExit codes:\n{}", exit::ExitCode::table())
}

fn top_help() -> String {
    let (columns, rows) = (screen::MIN_COLUMNS, screen::MIN_ROWS);
    format!(
        "Examples:\n  sudo wsgi-trace top --pid 4242\n  sudo wsgi-trace top --port 8000 --report last.json\n  \
         wsgi-trace top incident.wtrace\n\n\
         Keys: q quit, ? help, Tab list, Enter look into a row, Esc back, s sort, / filter, p pause, r new window, w write;\n\
         on a recording Space plays and stops, n steps a second, + and - change the pace, End and Home.\n\n\
         Needs a terminal of {columns} columns and {rows} rows. Nothing is left behind but the file of --report. q, Ctrl-C, SIGTERM\n\
         and an internal error all restore the terminal; after SIGKILL, type reset."
    )
}

/// Tells where each request's time went, for a running WSGI server.
///
/// Watches a WSGI server from outside with eBPF and reports which resource ran out, who held up whom and
/// which setting to change.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "wsgi-trace",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = after_help(),
    max_term_width = 110
)]
pub struct Cli {
    /// What to do; without one: trace and report.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Trace and report.
    #[command(flatten)]
    pub trace: Trace,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Record a running server into a file, for `report` later
    #[command(
        after_help = "Example:\n  sudo wsgi-trace record --pid 4242 --duration 1m -o incident.wtrace\n\n\
        Only its owner can read the file (0600). It holds no cookies, query strings or bodies.\n\
        However writing ends, what was written until then can be read."
    )]
    Record(Record),
    /// Report on a recording; needs no privileges
    #[command(after_help = "Examples:\n  wsgi-trace report incident.wtrace\n  \
        wsgi-trace report incident.wtrace -o timeline.pftrace   (open in ui.perfetto.dev)")]
    Report(Report),
    /// Watch a server live on a full screen, or play a recording there
    #[command(after_help = top_help())]
    Top(Top),
    /// Watch a server for as long as it runs: Prometheus metrics, reports and a page over HTTP
    #[command(after_help = "Examples:\n  sudo wsgi-trace serve --name gunicorn\n  \
        sudo wsgi-trace serve --port 8000 --listen 127.0.0.1:9750 --window 5m\n  \
        sudo wsgi-trace serve --name gunicorn --listen 0.0.0.0:9750 --token-file /etc/wsgi-trace/token\n\n\
        /metrics for Prometheus, /report.json for the last window (?window=current for the open one), / for a browser,\n\
        /healthz for its state. With --light, POST /full?seconds=60 traces in full for a minute, and ?window=full has that.\n\
        With --name and --port it waits for the server, and finds it again after a restart.")]
    Serve(Serve),
    /// Say what changed between two runs: recordings, or reports in JSON; needs no privileges
    #[command(after_help = "Examples:\n  wsgi-trace diff before.wtrace after.wtrace\n  \
        wsgi-trace diff monday.json tuesday.json --format json\n\n\
        Each difference of means has an interval. In 95 of 100 comparisons all intervals of a table hold the\n\
        true changes. They are Welch's, from the means of 16 to 32 batches of requests in the order they ended.")]
    Diff(Diff),
    /// Write recordings as tables for other engines (Parquet); needs no privileges
    #[command(after_help = export::HELP)]
    Export(Export),
    /// Say what stands out in the tables of many hosts; needs no privileges, and DuckDB
    #[command(after_help = fleet::HELP)]
    Fleet(fleet::Fleet),
    /// Say what would change at other settings, from one recording; needs no privileges
    #[command(name = "whatif", after_help = whatif::AFTER_HELP)]
    WhatIf(whatif::WhatIf),
    /// List the WSGI servers that run on this machine
    #[command(after_help = "Without root, it shows only what /proc says of other users' processes.")]
    List(List),
    /// Say what this kernel and this target allow, and what each missing part costs the report
    #[command(after_help = "Examples:\n  sudo wsgi-trace doctor\n  sudo wsgi-trace doctor --pid 4242")]
    Doctor(Doctor),
    /// Explain a word: a finding, a phase, a cause of a dropped connection, an alert
    #[command(
        after_help = "Examples:\n  wsgi-trace explain slots-exhausted\n  wsgi-trace explain backend_wait\n  \
        wsgi-trace explain WsgiStuck\n\nWithout a word: all of them."
    )]
    Explain(Explain),
    /// Print the completions of a shell
    #[command(
        after_help = "Examples:\n  wsgi-trace completions bash > /etc/bash_completion.d/wsgi-trace\n  \
        wsgi-trace completions zsh > /usr/local/share/zsh/site-functions/_wsgi-trace\n  \
        wsgi-trace completions fish > ~/.config/fish/completions/wsgi-trace.fish"
    )]
    Completions(Completions),
    /// Print the manual page, or write those of all commands into a directory
    #[command(
        after_help = "Examples:\n  wsgi-trace man | man -l -\n  wsgi-trace man --directory /usr/local/share/man/man1"
    )]
    Man(Man),
}

/// Which server. Exactly one way in.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "target", required = true, multiple = false)]
pub struct Target {
    /// Any process of the server: master or worker
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The server that listens on this TCP port
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// The only server with this name: of its software, its application or its command
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// A server that runs, or a recording of one. Exactly one way in.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "server", required = true, multiple = false)]
pub struct Server {
    /// A recording, instead of a server that runs; needs no privileges
    #[arg(value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// Any process of the server: master or worker
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The server that listens on this TCP port
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// The only server with this name: of its software, its application or its command
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

impl Server {
    /// The server that runs.
    pub fn target(&self) -> Target {
        Target { pid: self.pid, port: self.port, name: self.name.clone() }
    }
}

/// How to watch.
#[derive(Clone, Debug, Default, Args)]
pub struct Watch {
    /// How long to watch: 30 (seconds), 500ms, 5m [default: until Ctrl-C]
    #[arg(long, short, value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// What stands before the server.
    #[command(flatten)]
    pub front_end: FrontEnd,
    /// How to hook system calls: btf is cheapest for the server, tracepoints for everything else on a shared
    /// host
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub hooks: Hooks,
    /// Hook no system calls: cheap enough to leave on for weeks. Shows each request, what its thread waits
    /// for, who held the GIL and, on most servers, slots. Shows no event loops, and what becomes of
    /// connections over TCP alone; the report says what is missing
    #[arg(long, conflicts_with_all = ["hooks", "way", "gil_single_step", "names"])]
    pub light: bool,
    /// How to see waits for the GIL.
    #[command(flatten)]
    pub gil: Gil,
    /// What is asked over TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// Capacity of each ring, to see what a report with losses looks like
    #[arg(long, value_name = "BYTES", value_parser = ring_bytes, hide = true)]
    pub ring_bytes: Option<u32>,
    /// No progress on stderr
    #[arg(long, short)]
    pub quiet: bool,
}

/// Trace and report.
#[derive(Clone, Debug, Default, Args)]
pub struct Trace {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// How to watch.
    #[command(flatten)]
    pub watch: Watch,
    /// How to report.
    #[command(flatten)]
    pub output: Output,
    /// Which findings fail the run.
    #[command(flatten)]
    pub fail_on: FailOn,
    /// Where spans go.
    #[command(flatten)]
    pub otlp: Otlp,
    /// Also keep a recording, for `wsgi-trace report FILE` later
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// `record`.
#[derive(Clone, Debug, Args)]
pub struct Record {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// How to watch.
    #[command(flatten)]
    pub watch: Watch,
    /// File for the recording
    #[arg(long, short, value_name = "FILE", required = true)]
    pub output: PathBuf,
}

/// `report`.
#[derive(Clone, Debug, Args)]
pub struct Report {
    /// The recording
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,
    /// How to report.
    #[command(flatten)]
    pub output: Output,
    /// Which findings fail the run.
    #[command(flatten)]
    pub fail_on: FailOn,
    /// Where spans go.
    #[command(flatten)]
    pub otlp: Otlp,
}

/// `top`.
#[derive(Clone, Debug, Args)]
pub struct Top {
    /// Which server, or which recording to play at its own pace.
    #[command(flatten)]
    pub server: Server,
    /// How long a window lasts before a new one begins; the numbers are of the current window
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "30s", conflicts_with = "recording")]
    pub window: Duration,
    /// Begin with a recording stopped, to step through it (n, Space)
    #[arg(long, conflicts_with_all = ["pid", "port", "name"])]
    pub stopped: bool,
    /// File for the report of what is shown: written at the end, and when w is pressed
    ///
    /// Its ending chooses the form: .txt or .json.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Form of that report [default: by the ending of FILE, else text]
    #[arg(long, short, value_enum, value_name = "FORM", requires = "report")]
    pub format: Option<PlainFormat>,
    /// Colours; without them the letters say the same
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// How to hook system calls, as for tracing
    #[arg(long, value_enum, default_value_t, value_name = "KIND", conflicts_with = "recording")]
    pub hooks: Hooks,
    /// Hook no system calls: cheap enough to leave on for weeks. Shows each request, what its thread waits
    /// for, who held the GIL and, on most servers, slots. Shows no event loops, and what becomes of
    /// connections over TCP alone; the report says what is missing
    #[arg(long, conflicts_with_all = ["hooks", "way", "gil_single_step", "names", "recording"])]
    pub light: bool,
    /// How to see waits for the GIL.
    #[command(flatten)]
    pub gil: Gil,
    /// What is asked over TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// What stands before the server.
    #[command(flatten)]
    pub front_end: FrontEnd,
}

/// `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// Address to serve on; beyond this machine only with --token-file, or with a socket from systemd
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
    /// How to hook system calls: btf is cheapest for the server, tracepoints for everything else on a shared
    /// host
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub hooks: Hooks,
    /// Hook no system calls: cheap enough to leave on for weeks. Shows each request, what its thread waits
    /// for, who held the GIL and, on most servers, slots. Shows no event loops, and what becomes of
    /// connections over TCP alone; the report says what is missing. POST /full traces in full for a
    /// while; --hooks and --gil are for that then, --stacks for both. This is the default where light mode
    /// lacks nothing of the server that alerts which page rest on
    #[arg(long)]
    pub light: bool,
    /// Hook system calls all the time; shows everything, and costs a server that does nothing else up to
    /// some quarter of its throughput. This is the default where light mode lacks something: event
    /// loops, UNIX sockets, kernels before 6.3; `serve` says so
    #[arg(long, conflicts_with = "light")]
    pub full: bool,
    /// Full traces beside light mode.
    #[command(flatten)]
    pub full_traces: FullTraces,
    /// How to see waits for the GIL.
    #[command(flatten)]
    pub gil: Gil,
    /// What is asked over TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// Size of the ring buffer, to see what a report with losses looks like
    #[arg(long, value_name = "BYTES", value_parser = ring_bytes, hide = true)]
    pub ring_bytes: Option<u32>,
    /// Nothing on stderr but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Where spans go.
    #[command(flatten)]
    pub otlp: Otlp,
    /// Where rows go.
    #[command(flatten)]
    pub parquet: export::Parquet,
}

/// `diff`.
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// The run before: a recording, or a report in JSON
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The run after
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: PlainFormat,
    /// Colours in the text
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

/// `list`.
#[derive(Clone, Debug, Default, Args)]
pub struct List {
    /// Form of the list
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: PlainFormat,
}

/// `doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct Doctor {
    /// A process of the server that is to be traced
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The server that listens on this TCP port
    #[arg(long, value_name = "PORT", conflicts_with_all = ["pid", "name"])]
    pub port: Option<NonZeroU16>,
    /// The only server with this name: of its software, its application or its command
    #[arg(long, value_name = "NAME", conflicts_with = "pid")]
    pub name: Option<String>,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub format: PlainFormat,
}

/// `explain`.
#[derive(Clone, Debug, Default, Args)]
pub struct Explain {
    /// The word, as a report or an alert shows it
    #[arg(value_name = "WORD")]
    pub word: Option<String>,
}

/// `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Clone, Debug, Default, Args)]
pub struct Man {
    /// An existing directory for the pages of all commands, instead of stdout
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
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

/// A length for windows that follow one another.
fn window(text: &str) -> Result<Duration, String> {
    let window = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&window) {
        Ok(window)
    } else {
        Err("must lie between 1s and 24h".to_owned())
    }
}

/// A capacity that a ring can have.
fn ring_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().ok().ok_or("is not a number of bytes")?;
    if bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes) {
        Ok(bytes)
    } else {
        Err("must be a power of two from 4096 to 1073741824".to_owned())
    }
}

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
