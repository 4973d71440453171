//! `make demo`: a real gunicorn under bounded load, traced for ten seconds.
//!
//! In: the `wsgi-trace` beside this program, the virtual environment that `make setup` made. Out: the report
//! on the terminal, `report.json`, `report.html` and `timeline.pftrace` under `target/demo`; every process
//! that it started is ended, also on Ctrl-C.

mod interrupt;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;

/// Window of the trace.
const SECONDS: &str = "10";

/// Ordinary clients and slow ones; they start before the trace and end soon after it.
const LOAD: &[&str] = &[
    "--seconds=11",
    "--clients=10",
    "--keep-alive=8",
    "--think-ms=10",
    "--routes=/fast=8,/cpu=3,/backend=6,/mixed=2,/download=0.2,/stream",
    "--kinds=get=12,head,sized,chunked,expect",
    "--slow-bodies=1",
    "--slow-readers=1",
    "--slow-heads=1",
    "--idle=1",
];

fn main() -> ExitCode {
    interrupt::install();
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt::received() => {
            eprintln!("[demo] interrupted: the server and its clients are ended");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("[demo] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> anyhow::Result<()> {
    let program = std::env::current_exe()?.with_file_name("wsgi-trace");
    let directory = wsgi_trace_test_support::root().join("target/demo");
    std::fs::create_dir_all(&directory)?;
    let privileged = Privilege::obtain()?;

    say("starting gunicorn 27.0.1: 2 workers of 4 threads, and a back end");
    let mut server = Gunicorn::start(&Settings::gthread(Version::V27, 2, 4))?;
    let load = Load::start(server.address(), LOAD)?;
    go_on()?;

    say(&format!("tracing PID {} for {SECONDS} s under load, slow clients included", server.master()));
    let recording = directory.join("run.wtrace");
    // Made by this user before root writes to it, so that this user can read it afterwards.
    private_file(&recording)?;
    let duration = format!("{SECONDS}s");
    let mut trace = privileged.command(&program);
    trace.args(["--pid", &server.master().to_string(), "--duration", &duration, "--record"]).arg(&recording);
    run(&mut trace, "wsgi-trace")?;
    go_on()?;

    let sent = load.finish()?;
    server.stop();
    let json = write_report(&program, &recording, "json", &directory.join("report.json"))?;
    let page = write_report(&program, &recording, "html", &directory.join("report.html"))?;
    let timeline = write_report(&program, &recording, "timeline", &directory.join("timeline.pftrace"))?;
    println!();
    say(&format!("the clients sent {} requests and got {} answers", sent.requests.len(), sent.answered()));
    say(
        "built fast rather than to be fast: an installed wsgi-trace costs a fraction of what its report says here",
    );
    say(&format!("{}  the same report for programs: docs/report.schema.json describes it", relative(&json)));
    say(&format!("{}  the same report as a page: open it in a browser", relative(&page)));
    say(&format!(
        "{}  every thread and request: open https://ui.perfetto.dev and drop it there",
        relative(&timeline)
    ));
    say(&format!(
        "{}  the recording: wsgi-trace report {} shows it again",
        relative(&recording),
        relative(&recording)
    ));
    Ok(())
}

/// How the tracing, and nothing else, gets its privileges.
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    /// Asks for the password now, not in the middle.
    fn obtain() -> anyhow::Result<Self> {
        if wsgi_trace_test_support::gate::can_bpf() {
            return Ok(Self::Root);
        }
        say("tracing needs root; nothing else here does. sudo may ask for your password");
        let status = Command::new("sudo").arg("--validate").status();
        match status {
            Ok(status) if status.success() => Ok(Self::Sudo),
            Ok(_) => bail!("sudo refused: run `make demo` as a user who may use it, or as root"),
            Err(error) => bail!("sudo is not there ({error}): run `make demo` as root"),
        }
    }

    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg("--").arg(program);
                command
            }
        }
    }
}

/// Runs a command on this terminal and in this process group, so that Ctrl-C reaches it too. After an
/// interrupt it has a few seconds to say what it saw.
fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let mut child =
        command.stdin(Stdio::null()).spawn().with_context(|| format!("{what} could not be started"))?;
    let ended = until(&format!("the end of {what}"), Duration::from_secs(60), || {
        Ok(child.try_wait()?.map(Some).or_else(|| interrupt::received().then_some(None)))
    })?;
    let Some(status) = ended else {
        if until("its end", Duration::from_secs(10), || Ok(child.try_wait()?)).is_err() {
            // Fails where it runs as root and this program does not; then its own time limit ends it.
            let _ = child.kill();
        }
        bail!("interrupted");
    };
    if !status.success() {
        bail!("{what} failed: {status}");
    }
    Ok(())
}

/// A report on the recording, in another form.
fn write_report(program: &Path, recording: &Path, format: &str, file: &Path) -> anyhow::Result<PathBuf> {
    let mut report = Command::new(program);
    report.arg("report").arg(recording).args(["--format", format, "--output"]).arg(file);
    run(&mut report, &format!("wsgi-trace report --format {format}"))?;
    go_on()?;
    if !file.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        bail!("wsgi-trace wrote nothing to {}", file.display());
    }
    Ok(file.to_path_buf())
}

fn private_file(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path).with_context(|| format!("{} cannot be written", path.display()))
}

fn go_on() -> anyhow::Result<()> {
    if interrupt::received() {
        bail!("interrupted");
    }
    Ok(())
}

fn relative(path: &Path) -> String {
    path.strip_prefix(wsgi_trace_test_support::root()).unwrap_or(path).display().to_string()
}

fn say(text: &str) {
    eprintln!("[demo] {text}");
}
