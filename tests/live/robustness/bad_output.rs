//! Outputs that cannot be written: places that are no files, full disks, readers that leave.
//!
//! In: nothing. Out: verdicts.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::{Outcome, Program, wsgi_trace_binary};
use wsgi_trace_test_support::require_bpf;

use crate::said::{assert_failure, assert_success, output, run};

/// As much as fills a small disk within a second or two.
const BUSY: &[&str] = &[
    "--requests",
    "100000",
    "--seconds",
    "60",
    "--clients",
    "4",
    "--keep-alive",
    "50",
    "--routes",
    "/sleep/2",
];

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anybody_has_waited() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("precious"), "precious")?;
    std::os::unix::fs::symlink(path("precious"), path("link"))?;
    let cases = [
        (path("."), "is a directory; name a file in it"),
        (path("missing/file"), "its directory does not exist; create it first"),
        (path("link"), "is a symbolic link"),
    ];
    // Without an end: who waits here has not refused.
    for (place, words) in &cases {
        assert_failure(&run(&["--pid", &pid, "-o", place])?, ExitCode::OutputFailed, &[words]);
        assert_failure(&run(&["--pid", &pid, "--record", place])?, ExitCode::OutputFailed, &[words]);
        assert_failure(&run(&["record", "--pid", &pid, "-o", place])?, ExitCode::OutputFailed, &[words]);
    }
    assert_eq!(std::fs::read_to_string(path("precious"))?, "precious");
    Ok(())
}

#[test]
fn a_full_device_is_a_failure_in_every_form() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    for form in ["text", "json", "timeline"] {
        let outcome = run(&["--pid", &pid, "-d", "100ms", "--format", form, "-o", "/dev/full"])?;
        assert_failure(&outcome, ExitCode::OutputFailed, &["no space left for /dev/full", "free some space"]);
    }
    let outcome = run(&["record", "--pid", &pid, "-d", "100ms", "-o", "/dev/full"])?;
    assert_failure(&outcome, ExitCode::OutputFailed, &["no space left for /dev/full"]);
    for arguments in [&["list"][..], &["doctor"], &["explain"]] {
        let mut command = Command::new(wsgi_trace_binary()?);
        let outcome = output(command.args(arguments).stdout(File::options().write(true).open("/dev/full")?))?;
        assert_failure(&outcome, ExitCode::OutputFailed, &["o space left"]);
    }
    Ok(())
}

#[test]
fn a_file_keeps_its_content_when_the_trace_cannot_begin() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("incident").to_string_lossy().into_owned();
    std::fs::write(&path, "an older incident")?;
    // Leader of a session: below a process that listens, as this one may for a moment, it would count as that
    // server's helper.
    let child = Child::start_as_session(Command::new("sleep").arg("600"), "sleep")?;
    let pid = child.pid().to_string();
    for arguments in [
        &["record", "--pid", &pid, "-o", &path][..],
        &["--pid", &pid, "--format", "timeline", "-o", &path],
        &["--pid", &pid, "--format", "ndjson", "-o", &path],
        &["report", "/dev/null", "--format", "timeline", "-o", &path],
    ] {
        assert_ne!(run(arguments)?.status.code(), Some(0));
        assert_eq!(std::fs::read_to_string(&path)?, "an older incident", "{arguments:?}");
    }
    Ok(())
}

#[test]
fn one_file_cannot_be_report_and_recording_at_once() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("file").to_string_lossy().into_owned();
    let outcome = run(&["--pid", &pid, "-d", "1s", "-o", &path, "--record", &path])?;
    assert_failure(&outcome, ExitCode::Usage, &["at once", "name another file"]);
    assert_success(&run(&["record", "--pid", &pid, "-d", "100ms", "-o", &path])?);
    let before = std::fs::read(&path)?;
    for form in ["text", "timeline"] {
        let outcome = run(&["report", &path, "--format", form, "-o", &path])?;
        assert_failure(&outcome, ExitCode::Usage, &["at once"]);
    }
    assert_eq!(std::fs::read(&path)?, before);
    Ok(())
}

/// Room for a recording that ends while there still are clients.
const ROOM_BYTES: u64 = 400 << 10;
/// For a run that ends when its disk is full, in 20 s at the latest.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A run under a load that begins with its window: what comes before that is recorded too, and a window that
/// never began is no recording.
fn recorded_under_load(server: &Gunicorn, command: Command) -> anyhow::Result<Outcome> {
    let mut program = Program::start_by(command)?;
    program.wait_for_stderr("watching process")?;
    let load = Load::start(server.address(), BUSY)?;
    let outcome = program.finish(END_LIMIT)?;
    load.stop_early();
    load.finish()?;
    Ok(outcome)
}

#[test]
fn a_recording_that_meets_a_full_disk_or_a_limit_stays_readable_and_the_report_still_comes()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (disk, kept, limited) = (path("disk"), path("kept"), path("limited"));
    std::fs::create_dir(&disk)?;
    let program = wsgi_trace_binary()?;

    // A small disk of its own, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=$5 none \"$1\" && \"$2\" --pid \"$3\" -d 20s --record \"$1/recording\"; \
                  code=$?; cp \"$1/recording\" \"$4\"; exit $code";
    let mut on_disk = Command::new("unshare");
    on_disk.args(["--mount", "sh", "-c", script, "sh", &disk]).arg(&program).args([
        &pid,
        &kept,
        &ROOM_BYTES.to_string(),
    ]);
    let full = recorded_under_load(&server, on_disk)?;
    let mut under_limit = Command::new(&program);
    under_limit.args(["--pid", &pid, "-d", "20s", "--record", &limited]);
    // SAFETY: between fork and exec only `setrlimit` runs, which is async-signal-safe.
    unsafe {
        under_limit.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: ROOM_BYTES, rlim_max: ROOM_BYTES };
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
            Ok(())
        });
    }
    let over = recorded_under_load(&server, under_limit)?;

    for (outcome, recording) in [(full, kept), (over, limited)] {
        assert_failure(&outcome, ExitCode::OutputFailed, &["no space left", "name another place"]);
        assert!(outcome.stdout.contains("(recording failed)"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("GET /sleep"), "{}", outcome.stdout);
        let report = run(&["report", &recording])?;
        assert_success(&report);
        assert!(report.stdout.starts_with("INCOMPLETE"), "{}", report.stdout);
        assert!(report.stdout.contains("GET /sleep"), "{}", report.stdout);
    }
    Ok(())
}

#[test]
fn a_reader_that_leaves_and_closed_streams_are_no_failures() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let program = wsgi_trace_binary()?;
    // The code of the program, not of what reads it.
    let script = "{ \"$1\" --pid \"$2\" -d 100ms; echo $? >\"$3\"; } | true; \
                  { \"$1\" list; echo $? >>\"$3\"; } | true; \
                  { \"$1\" --pid \"$2\" -d 100ms --format timeline; echo $? >>\"$3\"; } | true; \
                  \"$1\" --pid \"$2\" -d 100ms 2>&- >/dev/null; echo $? >>\"$3\"; \
                  \"$1\" --pid \"$2\" -d 100ms >&- ; echo $? >>\"$3\"";
    let codes = tempfile::NamedTempFile::new()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(program).arg(pid).arg(codes.path()).stdin(Stdio::null());
    let outcome = output(&mut shell)?;
    assert_eq!(std::fs::read_to_string(codes.path())?, "0\n".repeat(5), "{}", outcome.stderr);
    let noise: Vec<&str> =
        outcome.stderr.lines().filter(|line| !line.starts_with("wsgi-trace: watching ")).collect();
    assert!(noise.is_empty(), "{noise:?}");
    Ok(())
}
