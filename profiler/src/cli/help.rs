//! What help says beside the options: headings, examples, exit codes.
//!
//! In: nothing. Out: text. `-h` fits on a screen; `--help` has every option and every example.

use super::exit::ExitCode;
use crate::report::screen;

/// Heading of what a report is and where it goes.
pub(super) const REPORT: &str = "Report";
/// Heading of full traces beside light mode.
pub(super) const FULL_TRACES: &str = "Full traces";
/// Heading of rows for other engines.
pub(super) const ROWS: &str = "Rows for other engines";
/// Heading of settings that a forecast is for.
pub(super) const CHANGES: &str = "Changes";
/// Heading of what is seldom needed; `-h` leaves it out.
pub(super) const ADVANCED: &str = "Advanced";

/// End of `wsgi-trace -h`.
pub(super) const ROOT: &str =
    "sudo wsgi-trace --pid 4242 --duration 30   (all options, examples, exit codes: wsgi-trace --help)";

const EXAMPLES: &str = "\
Examples:
  sudo wsgi-trace --pid 4242                     watch until Ctrl-C, then print the report
  sudo wsgi-trace --port 8000 --duration 30      watch whatever serves port 8000 for 30 seconds
  sudo wsgi-trace --name gunicorn -o report.json
  sudo wsgi-trace --pid 4242 --duration 10 -o timeline.pftrace
  sudo wsgi-trace --port 8000 --with-front-end   and the nginx or Apache before it
  sudo wsgi-trace record --pid 4242 --duration 1m -o incident.wtrace
  wsgi-trace report incident.wtrace              the same report, later or elsewhere, without root
  wsgi-trace report load-test.wtrace --fail-on sleeping,herd   exit code 9 if either is there
  sudo wsgi-trace top --pid 4242                 watch it live
  wsgi-trace list                                which WSGI servers run here

The server is not restarted, stopped or signalled, and nothing is loaded into it. The exceptions
are probes, which the kernel puts into the server's code. By default there is one, on musl (Alpine
images), in the interpreter; --gil=syscalls, --gil=off and --light do without it. --gil=uprobes,
--gil=full, --tls=auto and --tls=uprobes ask for probes. At saturation an application of 5 ms kept
97 to 101 % of its throughput, a hello world 77 to 97 %.

--pid takes any of its processes. The report goes to stdout, progress and errors to stderr.
Ctrl-C stops early and still prints the report.";

/// End of `wsgi-trace --help`.
pub(super) fn root() -> String {
    format!("{EXAMPLES}\n\nExit codes:\n{}", ExitCode::table())
}

/// End of the help of `record`.
pub(super) const RECORD: &str = "\
Example:
  sudo wsgi-trace record --pid 4242 --duration 1m -o incident.wtrace

Only its owner can read the file (0600). It holds no cookies, query strings or bodies.
However writing ends, what was written until then can be read.";

/// End of the help of `report`.
pub(super) const REPORT_FILE: &str = "\
Examples:
  wsgi-trace report incident.wtrace
  wsgi-trace report incident.wtrace -o report.html
  wsgi-trace report incident.wtrace -o timeline.pftrace   (open in ui.perfetto.dev)
  wsgi-trace report incident.wtrace -o stacks.speedscope  (open in www.speedscope.app)";

/// End of the help of `now`.
pub(super) const NOW: &str = "\
Examples:
  sudo wsgi-trace now --pid 4242
  sudo wsgi-trace now --port 8000 --format json

For each thread that is at something: its request and for how long, what it does or waits for, and
the line of your code. Threads at the same are one paragraph, the longest first. A server that
answers nobody, and hung before you came, is shown as well: then the heads of its requests are not
known, the lines are. A thread without a line runs no Python, or has slept for less than 50 ms.";

/// End of `wsgi-trace top -h`.
pub(super) const TOP: &str = "\
Examples:
  sudo wsgi-trace top --pid 4242
  sudo wsgi-trace top --all
  sudo wsgi-trace top --port 8000 --report last.json
  wsgi-trace top incident.wtrace";

/// End of `wsgi-trace top --help`.
pub(super) fn top() -> String {
    let (columns, rows) = (screen::MIN_COLUMNS, screen::MIN_ROWS);
    format!(
        "{TOP}\n\n\
         Keys: q quit, ? help, Tab list, Enter look into a row, Esc back, s sort, / filter, p pause, n now, r new window, w write;\n\
         on a recording Space plays and stops, n steps a second, + and - change the pace, End and Home.\n\n\
         Needs a terminal of {columns} columns and {rows} rows. Nothing is left behind but the file of --report. q, Ctrl-C, SIGTERM\n\
         and an internal error all restore the terminal; after SIGKILL, type reset."
    )
}

/// End of `wsgi-trace serve -h`.
pub(super) const SERVE: &str = "\
Examples:
  sudo wsgi-trace serve --name gunicorn
  sudo wsgi-trace serve --port 8000 --listen 127.0.0.1:9750 --window 5m
  sudo wsgi-trace serve --name gunicorn --listen 0.0.0.0:9750 --token-file /etc/wsgi-trace/token
  sudo wsgi-trace serve --all --match 'pod=web-*'";

/// End of `wsgi-trace serve --help`.
pub(super) fn serve() -> String {
    format!(
        "{SERVE}\n\n\
         /metrics for Prometheus, /report.json for the last window (?window=current for the open one), / for a browser,\n\
         /healthz for its state. With --light, POST /full?seconds=60 traces in full for a minute, and ?window=full has that.\n\
         With --name and --port it waits for the server, and finds it again after a restart. With --all it has every server\n\
         of this machine: all at / and /servers.json, each at /server/PID/."
    )
}

/// End of the help of `diff`.
pub(super) const DIFF: &str = "\
Examples:
  wsgi-trace diff before.wtrace after.wtrace
  wsgi-trace diff monday.json tuesday.json --format json

Each difference of means has an interval. In 95 of 100 comparisons all intervals of a table hold the
true changes. They are Welch's, from the means of 16 to 32 batches of requests in the order they ended.";

/// End of `wsgi-trace export -h`.
pub(super) const EXPORT: &str = "\
Examples:
  wsgi-trace export incident.wtrace -o fleet --service shop
  wsgi-trace export *.wtrace -o fleet --service shop --resource service.version=4.2.0";

/// End of `wsgi-trace export --help`.
pub(super) fn export() -> String {
    format!(
        "{EXPORT}\n  \
         duckdb -c \"select \\\"http.route\\\", count(*), sum(total_ns) / 1e9 from 'fleet/requests/**/*.parquet' group by all\"\n\n\
         Directories of many hosts can be put together: a file lies under its table, service, date and host.\n\
         Exporting a recording again replaces its files. Each file appears when it is whole. --columns prints\n\
         the tables, wsgi-trace fleet asks them."
    )
}

/// End of the help of `fleet`.
pub(super) const FLEET: &str = "\
Examples:
  wsgi-trace fleet /var/lib/fleet
  wsgi-trace fleet s3://bucket/fleet --since 2026-01-24
  wsgi-trace fleet /var/lib/fleet --service shop --format html > shop.html
  wsgi-trace fleet /var/lib/fleet --write-queries queries

The directory is what `wsgi-trace export -o` and `wsgi-trace serve --parquet` write, of any number
of hosts. The engine is DuckDB's command (pip install duckdb-cli). The same questions run
elsewhere: --write-queries writes them as SQL, which DuckDB and Spark read unchanged, with what
makes the tables of DIRECTORY for each of the two. docs/fleet.md shows how.";

/// End of `wsgi-trace whatif -h`.
pub(super) const WHATIF: &str = "\
Examples:
  wsgi-trace whatif incident.wtrace --workers 4 --threads 2
  wsgi-trace whatif incident.wtrace --rate x2 --search 'p99<200ms'
  sudo wsgi-trace whatif --pid 4242 --duration 2m --threads 8";

/// End of `wsgi-trace whatif --help`.
pub(super) fn whatif() -> String {
    format!(
        "{WHATIF}\n  \
         wsgi-trace whatif incident.wtrace\n  \
         wsgi-trace whatif incident.wtrace --rate x1.5 --backend 5432=x0.5 --format json\n  \
         wsgi-trace whatif incident.wtrace --threads 8 --format html > whatif.html\n  \
         wsgi-trace whatif incident.wtrace --worker-class gthread --split 'GET /report/*=1x4'\n\n\
         Bounds are always there: how short response times would be at best. Forecasts come from a simulation, and only where\n\
         the simulation of the recorded setting gives back what was measured. Each change is forecast alone, then all together.\n\
         A forecast needs 500 requests, a window three times as long as the longest, no losses, and slots that are not all busy."
    )
}
