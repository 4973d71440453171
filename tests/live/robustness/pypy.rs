//! Another interpreter than CPython: PyPy is named, its lock is not guessed, and its requests are seen as any
//! other's.
//!
//! In: Debian's PyPy, gunicorn's files. Out: verdicts.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::gate::{self, shared};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::published::why_not_measured;
use wsgi_trace_test_support::{environment, require_bpf};

use crate::said::{LIMIT, assert_success, json, number};

const PYPY: &str = "/usr/bin/pypy3";
const APPLICATION: &str = "
def app(environ, start_response):
    sum(range(20000))
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

#[test]
fn pypy_is_named_its_lock_is_not_guessed_and_its_requests_are_counted() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    if !std::path::Path::new(PYPY).exists() {
        gate::missing("pypy3");
        return Ok(());
    }
    let _others = shared()?;
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("shop.py"), APPLICATION)?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(PYPY);
    command.current_dir(directory.path()).env("PYTHONPATH", environment::packages("venv27")?);
    command.args(["-m", "gunicorn", "--worker-class=gthread", "--threads=2", "--no-control-socket"]);
    command.arg(format!("--bind={address}")).arg("shop:app").stdin(Stdio::null()).stderr(Stdio::null());
    let server = Child::start(&mut command, "PyPy")?;
    let address = Address::Tcp(address.to_string());
    until("PyPy to answer", Duration::from_secs(60), || {
        let sent = Load::run(&address, &["--requests=4", "--seconds=5", "--clients=2", "--routes=/fast"])?;
        Ok((sent.answered() == 4).then_some(()))
    })?;

    let pid = server.pid().to_string();
    let mut program = Program::start(&["--pid", &pid, "--format", "json", "--stacks"])?;
    program.wait_for_stderr("watching")?;
    let sent = Load::run(&address, &["--requests=60", "--seconds=30", "--clients=3", "--routes=/fast"])?;
    program.signal(libc::SIGINT);
    let outcome = program.finish(LIMIT)?;
    assert_success(&outcome);
    let report = json(&outcome)?;
    assert_eq!(number(&report, "/requests/completed"), sent.answered() as u64);
    assert_eq!(report.pointer("/gil"), Some(&Value::Null));
    assert_eq!(report.pointer("/phases/gil_wait_ns"), Some(&Value::Null));
    let why = why_not_measured(&report, "/phases/gil_wait_ns")?;
    assert!(why.starts_with("PyPy") && why.contains("lock_wait"), "{why}");
    assert!(number(&report, "/phases/cpu_ns") > 0);
    Ok(())
}
