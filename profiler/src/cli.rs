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
mod help;
pub mod kept;
pub mod looks;
pub mod matches;
pub mod max_cost;
pub mod mistake;
mod now;
pub mod otlp;
mod output;
mod serve;
mod target;
pub mod tls;
mod watch;
pub mod whatif;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::export::Export;
use self::fail_on::FailOn;
use self::front_end::FrontEnd;
pub use self::gil::{Gil, GilWay};
use self::help::{ADVANCED, REPORT};
use self::looks::Looks;
use self::matches::Match;
use self::max_cost::MaxCost;
pub use self::now::Now;
use self::otlp::Otlp;
pub use self::output::{Color, Format, Output, PlainFormat};
pub use self::serve::Serve;
pub use self::target::{Server, Target};
use self::tls::Tls;
pub use self::watch::{Hooks, Watch};

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
    after_help = help::ROOT,
    after_long_help = help::root(),
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
    #[command(after_help = help::RECORD)]
    Record(Record),
    /// Report on a recording; needs no privileges
    #[command(after_help = help::REPORT_FILE)]
    Report(Report),
    /// Say where each thread of a server is now: its request, its wait, its line of code
    #[command(after_help = help::NOW)]
    Now(Now),
    /// Watch a server live on a full screen, or play a recording there
    #[command(after_help = help::TOP, after_long_help = help::top())]
    Top(Top),
    /// Watch a server for as long as it runs: metrics, reports and a page over HTTP
    #[command(after_help = help::SERVE, after_long_help = help::serve())]
    Serve(Box<Serve>),
    /// Say what changed between two recordings or JSON reports; needs no privileges
    #[command(after_help = help::DIFF)]
    Diff(Diff),
    /// Write recordings as tables for other engines (Parquet); needs no privileges
    #[command(after_help = help::EXPORT, after_long_help = help::export())]
    Export(Export),
    /// Say what stands out in the tables of many hosts; needs DuckDB, no privileges
    #[command(after_help = help::FLEET)]
    Fleet(fleet::Fleet),
    /// Say what would change at other settings, from one recording; needs no privileges
    #[command(name = "whatif", after_help = help::WHATIF, after_long_help = help::whatif())]
    WhatIf(whatif::WhatIf),
    /// List the WSGI servers that run on this machine
    #[command(after_help = "Without root, it shows only what /proc says of other users' processes.")]
    List(List),
    /// Say what this kernel and this server allow, and what reports lack without the rest
    #[command(after_help = "Examples:\n  sudo wsgi-trace doctor\n  sudo wsgi-trace doctor --pid 4242")]
    Doctor(Doctor),
    /// Explain a word: a finding, a phase, a leaf, a cause of a dropped connection, an alert
    #[command(after_help = "Examples:\n  wsgi-trace explain sleeping\n  wsgi-trace explain backend_wait\n  \
        wsgi-trace explain WsgiStuck\n\nWithout a word: all of them.")]
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

/// Trace and report.
#[derive(Clone, Debug, Default, Args)]
pub struct Trace {
    /// Which server.
    #[command(flatten)]
    pub target: Target,
    /// How to report.
    #[command(flatten)]
    pub output: Output,
    /// Which findings fail the run.
    #[command(flatten)]
    pub fail_on: FailOn,
    /// Also keep a recording, for `wsgi-trace report FILE` later
    #[arg(long, value_name = "FILE", help_heading = REPORT, hide_short_help = true)]
    pub record: Option<PathBuf>,
    /// How to watch.
    #[command(flatten)]
    pub watch: Watch,
    /// How much that may take.
    #[command(flatten)]
    pub max_cost: MaxCost,
    /// Where spans go.
    #[command(flatten)]
    pub otlp: Otlp,
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
    /// Every WSGI and ASGI server of this machine in a row each, the worst first
    ///
    /// Enter looks into one, q comes back. Each is watched in the mode in which `serve` would watch it.
    #[arg(long, group = "server", conflicts_with_all = ["report", "with_front_end"])]
    pub all: bool,
    /// With --all, only servers that fit: pod=web-*, port=8000, user=www-data
    ///
    /// As for `serve`.
    #[arg(long = "match", value_name = "KEY=PATTERN", requires = "all", hide_short_help = true)]
    pub matches: Vec<Match>,
    /// How long a window lasts; the numbers are of the current one
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
    /// What stands before the server.
    #[command(flatten)]
    pub front_end: FrontEnd,
    /// Hook no system calls: costs less and shows less
    ///
    /// For weeks rather than minutes. Shows each request, what its thread waits for, who held the GIL and, on
    /// most servers, slots. Shows no event loops, and what becomes of connections over TCP alone; the report
    /// says what is missing. Needs Linux 6.3.
    #[arg(long, conflicts_with_all = ["hooks", "way", "gil_single_step", "names", "recording"])]
    pub light: bool,
    /// How to see waits for the GIL.
    #[command(flatten)]
    pub gil: Gil,
    /// How to hook system calls, as for tracing
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "KIND",
        conflicts_with = "recording",
        help_heading = ADVANCED,
        hide_short_help = true
    )]
    pub hooks: Hooks,
    /// What is asked over TLS.
    #[command(flatten)]
    pub tls: Tls,
    /// What is looked at of sleeping threads.
    #[command(flatten)]
    pub looks: Looks,
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

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
