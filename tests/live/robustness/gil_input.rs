//! Interpreters to which something odd happens: forks and ends of threads in the middle of waits, other
//! interpreters beside them, files replaced under them, system calls forbidden, greenlets, none at all.
//!
//! In: nothing. Out: verdicts. What is told adds up, what cannot be told is said, and the server goes on.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_test_support::child::Child;
use wsgi_trace_test_support::gate::{note_skip, shared};
use wsgi_trace_test_support::gunicorn::Version;
use wsgi_trace_test_support::published::why_not_measured;
use wsgi_trace_test_support::require_bpf;

use crate::said::{assert_success, json, number, run};

/// A process of `apps/gil_odd.py`.
struct Odd {
    child: Child,
    port: u16,
}

impl Odd {
    fn start(python: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::run(Command::new(python).arg(app()).args(arguments))
    }

    /// Whatever prints its port.
    fn run(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = Child::start(command.stdout(Stdio::piped()).stdin(Stdio::null()), "the odd server")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("the odd server does not come up")?;
        Ok(Self { child, port })
    }

    /// What it answers.
    fn ask(&self) -> anyhow::Result<String> {
        let limit = Some(Duration::from_secs(60));
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(limit)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    }

    /// Watches it for a moment; it answers afterwards.
    fn watched(&mut self, options: &[&str]) -> anyhow::Result<Value> {
        let pid = self.child.pid().to_string();
        let mut arguments = vec!["--pid", &pid, "-d", "600ms", "--format", "json"];
        arguments.extend(options);
        let outcome = run(&arguments)?;
        assert_success(&outcome);
        assert_eq!(self.child.ended()?, None, "the server has ended");
        assert_eq!(self.ask()?, "ok\n");
        json(&outcome)
    }
}

fn app() -> PathBuf {
    wsgi_trace_test_support::root().join("tests/apps/gil_odd.py")
}

/// There are waits, each is attributed to somebody once, and no time is lost.
#[track_caller]
fn assert_adds_up(report: &Value) {
    let sum_ns = number(report, "/gil/waits/sum_ns");
    assert!(sum_ns > 0, "nobody waited");
    for (edges, other) in [("edges", "other_edges_ns"), ("thread_edges", "other_thread_edges_ns")] {
        let edges = report.pointer(&format!("/gil/{edges}")).and_then(Value::as_array);
        let listed_ns: u64 = edges.into_iter().flatten().map(|edge| number(edge, "/total_ns")).sum();
        assert_eq!(listed_ns + number(report, &format!("/gil/{other}")), sum_ns);
    }
    assert_eq!(number(report, "/losses/conservation/slices_broken"), 0);
}

#[test]
#[ignore = "make live: a server that forks without a pause"]
fn a_process_that_forks_while_its_threads_wait_is_told_whole() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut server = Odd::start(&Version::V27.python(), &["fork"])?;
    for way in ["syscalls", "full"] {
        assert_adds_up(&server.watched(&["--gil", way])?);
    }
    Ok(())
}

#[test]
#[ignore = "make live: threads that end while others wait"]
fn threads_that_end_while_others_wait_leave_nothing_open() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut server = Odd::start(&Version::V27.python(), &["end"])?;
    for way in ["syscalls", "uprobes", "full"] {
        assert_adds_up(&server.watched(&["--gil", way])?);
    }
    Ok(())
}

/// A probe whose kernel side needs a system call of its own (uretprobe, uprobe) would end this server.
#[test]
fn where_system_calls_of_probes_kill_the_server_lives() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut server = Odd::start(&Version::V27.python(), &["filter"])?;
    assert_adds_up(&server.watched(&["--gil", "full", "--gil-single-step"])?);
    Ok(())
}

#[test]
fn a_wait_that_began_before_the_window_counts_from_the_window_on() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut server = Odd::start(&Version::V27.python(), &["keep"])?;
    let report = server.watched(&[])?;
    assert_adds_up(&report);
    let window_ns = number(&report, "/window/length_ns");
    let threads = report.pointer("/gil/threads").and_then(Value::as_array).context("no threads")?;
    for thread in threads {
        assert!(number(thread, "/total_ns") <= window_ns, "{thread} in {window_ns} ns");
    }
    Ok(())
}

#[test]
#[ignore = "make live: two more servers"]
fn greenlets_beside_threads_are_one_thread_that_waits() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let python = wsgi_trace_test_support::root().join(".tools/venv-servers/bin/python");
    let mut server = Odd::start(&python, &["greenlets"])?;
    for way in ["syscalls", "full"] {
        assert_adds_up(&server.watched(&["--gil", way])?);
    }
    Ok(())
}

/// An interpreter of another version than this one's.
fn other_than(version: &str) -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let pyenv = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let installed = (8..=15).map(|minor| PathBuf::from(format!("/usr/bin/python3.{minor}")));
    let mut found: Vec<PathBuf> =
        installed.chain(pyenv.map(|version| version.path().join("bin/python3"))).collect();
    found.sort();
    found.into_iter().find(|python| {
        let known = version_of(python).filter(|found| found.starts_with("3.") && found != version);
        known.and_then(|found| found.split('.').nth(1)?.parse::<u32>().ok()) >= Some(8)
    })
}

fn version_of(python: &Path) -> Option<String> {
    let output = Command::new(python).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().strip_prefix("Python ")?.to_owned())
}

#[test]
#[ignore = "make live: two interpreters at once"]
fn two_interpreters_under_one_server_have_a_lock_each() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let version = version_of(&Version::V27.python()).context("no version")?;
    let Some(other) = other_than(&version) else {
        note_skip("there is no second interpreter here");
        return Ok(());
    };
    let _others = shared()?;
    let mut server =
        Odd::start(&Version::V27.python(), &["two", other.to_str().context("a path in UTF-8")?])?;
    let report = server.watched(&[])?;
    assert_adds_up(&report);
    let interpreters = report.pointer("/gil/interpreters").and_then(Value::as_array).context("none")?;
    for version in [Some(version), version_of(&other)] {
        let version = version.context("no version")?;
        // Some tell their patch release, others not.
        let is_it = |seen: &&Value| {
            seen.get("version").and_then(Value::as_str).is_some_and(|told| version.starts_with(told))
        };
        let seen =
            interpreters.iter().find(is_it).with_context(|| format!("no {version} in {interpreters:?}"))?;
        let pid = number(seen, "/pid");
        let locks = report.pointer("/gil/locks").and_then(Value::as_array).context("no locks")?;
        let waited = locks.iter().any(|lock| number(lock, "/pid") == pid && number(lock, "/waits") > 0);
        assert!(waited, "{version}: {locks:?}");
    }
    Ok(())
}

/// An upgrade of the package while the server runs: another file has the interpreter's name.
#[test]
fn an_interpreter_replaced_on_disk_is_found_in_the_file_that_is_still_mapped() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let python = std::fs::canonicalize(Version::V27.python())?;
    let directory = tempfile::tempdir()?;
    let libraries = python.parent().and_then(Path::parent).context("no prefix")?.join("lib");
    let library = std::fs::read_dir(&libraries)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.starts_with("libpython3.") && name.ends_with(".so.1.0"));
    let mut command = Command::new(&python);
    let replaced = if let Some(name) = library {
        std::fs::copy(libraries.join(&name), directory.path().join(&name))?;
        command.env("LD_LIBRARY_PATH", directory.path());
        directory.path().join(name)
    } else {
        // The program is the interpreter.
        let program = directory.path().join("python3");
        std::fs::copy(&python, &program)?;
        let prefix = python.parent().and_then(Path::parent).context("no prefix")?;
        command = Command::new(&program);
        command.env("PYTHONHOME", prefix);
        program
    };
    let mut server = Odd::run(command.arg(app()).arg("plain"))?;
    let new = directory.path().join("new");
    std::fs::write(&new, b"another version, half written")?;
    std::fs::rename(&new, &replaced)?;
    // Probes are found in the file's own code.
    let report = server.watched(&["--gil", "uprobes"])?;
    assert_adds_up(&report);
    assert_eq!(number(&report, "/gil/interpreters/0/locks"), 1);
    assert_eq!(number(&report, "/gil/files/0/probes"), 1);
    Ok(())
}

#[test]
fn a_server_without_python_is_told_in_one_line_and_traced_all_the_same() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let script = "use IO::Socket::INET; $| = 1; my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') \
                  or die; print $l->sockport, \"\\n\"; while (my $c = $l->accept) { print $c \"ok\\n\"; close $c }";
    if !Command::new("perl")
        .args(["-MIO::Socket::INET", "-e", "1"])
        .status()
        .is_ok_and(|status| status.success())
    {
        note_skip("there is no perl here");
        return Ok(());
    }
    let _others = shared()?;
    let mut server = Odd::run(Command::new("perl").args(["-e", script]))?;
    let report = server.watched(&[])?;
    let reason = why_not_measured(&report, "/gil")?;
    assert_eq!(reason, "no process of the target has a Python interpreter");
    let pid = server.child.pid().to_string();
    let text = run(&["--pid", &pid, "-d", "200ms", "--verbose"])?;
    assert_success(&text);
    let lines =
        text.stdout.lines().filter(|line| line.contains("no process of the target has a Python interpreter"));
    assert_eq!(lines.count(), 1, "{}", text.stdout);
    Ok(())
}
