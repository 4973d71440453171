//! Two profilers on one server at once.
//!
//! In: nothing. Out: verdicts.

use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;

use crate::said::{LIMIT, assert_success, json, number};

#[test]
fn two_profilers_on_one_server_are_both_right_and_both_say_so() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    let start = || -> anyhow::Result<Program> {
        let mut program = Program::start(&["--pid", &pid, "--format", "json"])?;
        program.wait_for_stderr("watching")?;
        Ok(program)
    };
    let programs = [start()?, start()?];
    let options = ["--requests", "100", "--seconds", "20", "--clients", "3", "--routes", "/fast,/sleep/3"];
    let sent = Load::run(server.address(), &options)?;
    // The first ends first: it is not the one that found another at its start.
    for program in programs {
        program.signal(libc::SIGINT);
        let outcome = program.finish(LIMIT)?;
        assert_success(&outcome);
        let report = json(&outcome)?;
        assert_eq!(number(&report, "/requests/completed"), sent.answered() as u64);
        assert_eq!(number(&report, "/tool/other_profilers"), 1);
    }
    Ok(())
}
