//! `make screenshots`: a real gunicorn with problems, watched live and reported on; pages of what is seen.
//!
//! In: root, the `wsgi-trace` beside this program, the virtual environments of `make setup`; a directory.
//! Out: in it, pages of the live screen, of a request on it, of the text report, and the HTML report itself.
//! `shoot.mjs` photographs them.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::{Program, wsgi_trace_binary};
use wsgi_trace_test_support::terminal::Terminal;
use wsgi_trace_test_support::{gate, picture};

/// Ordinary clients and slow ones, for as long as the pictures take.
const LOAD: &[&str] = &[
    "--seconds=60",
    "--clients=10",
    "--keep-alive=8",
    "--think-ms=10",
    "--routes=/fast=8,/cpu=4,/backend=6,/mixed=2,/stream",
    "--kinds=get=12,head,sized,chunked",
    "--slow-bodies=2",
    "--slow-readers=1",
    "--no-requests",
];
/// Columns and rows of the live screen.
const SCREEN: (u16, u16) = (110, 34);
/// Rows of the text report that its picture shows.
const REPORT_ROWS: u16 = 46;

fn main() -> anyhow::Result<()> {
    let directory = PathBuf::from(std::env::args_os().nth(1).context("name a directory for the pages")?);
    std::fs::create_dir_all(&directory)?;
    if !gate::can_bpf() {
        bail!("tracing needs root: run `make screenshots` as root");
    }
    let _alone = gate::exclusive()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 2, 4))?;
    let load = Load::start(server.address(), LOAD)?;
    let target = server.master().to_string();

    let mut top = Terminal::start(&["top", "--pid", &target], SCREEN, &[])?;
    // Long enough to be judged.
    let is_old = |screen: &str| {
        let live = screen.lines().find_map(|line| line.rsplit_once("live, last "));
        let length = live.and_then(|(_, length)| length.trim_end().strip_suffix(" s"));
        let seconds: f64 = length.and_then(|length| length.parse().ok()).unwrap_or(0.0);
        seconds >= 10.0 && screen.contains(" client_wait")
    };
    top.wait_until("ten seconds of it, with slow clients", is_old)?;
    std::fs::write(directory.join("top.html"), top.page())?;
    // The slowest request of the kind that does a little of everything.
    top.type_keys("2/mixed\r")?;
    top.wait_until("requests of one kind", |screen| {
        screen.contains("/mixed") && !screen.contains("GET /fast")
    })?;
    top.type_keys("\r")?;
    top.wait_for(" in all")?;
    std::fs::write(directory.join("top-request.html"), top.page())?;
    top.type_keys("q")?;
    top.finish(Duration::from_secs(10))?;

    let recording = directory.join("run.wtrace").display().to_string();
    let arguments = ["record", "--pid", &target, "--duration", "7s", "-o", &recording];
    let outcome = Program::run(&arguments, Duration::from_secs(60))?;
    anyhow::ensure!(outcome.status.success(), "{}", outcome.stderr);
    load.stop_early();

    let page = directory.join("report.html");
    let mut report = Command::new(wsgi_trace_binary()?);
    let status = report.args(["report", &recording, "--format", "html", "-o"]).arg(&page).status()?;
    anyhow::ensure!(status.success(), "no page: {status}");
    let bytes = page.metadata()?.len();
    anyhow::ensure!(bytes <= 1_000_000, "the page has {bytes} bytes");
    let mut report = Command::new(wsgi_trace_binary()?);
    report.args(["report", &recording, "--color", "always"]).env("LC_ALL", "C.UTF-8");
    let text = report.output()?.stdout;
    let size = |number| NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN);
    let mut parser = vt100::Parser::new(size(REPORT_ROWS), size(100), 0);
    for line in text.split(|byte| *byte == b'\n').take(usize::from(REPORT_ROWS)) {
        if parser.screen().cursor_position() != (0, 0) {
            parser.process(b"\r\n");
        }
        parser.process(line);
    }
    std::fs::write(directory.join("report-text.html"), picture::page(parser.screen()))?;
    Ok(())
}
