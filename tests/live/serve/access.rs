//! Who gets an answer, and how an error of the command line is shown.
//!
//! In: agents without a target. Out: verdicts.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use wsgi_trace_test_support::agent::Agent;
use wsgi_trace_test_support::program::Program;

use super::free_port;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn address_that_others_reach_is_refused_without_a_token_and_a_taken_port_is_named() -> anyhow::Result<()> {
    let port = free_port()?.to_string();
    let refused = Program::run(&["serve", "--port", &port, "--listen", "0.0.0.0:0"], LIMIT)?;
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--token-file"), "{}", refused.stderr);

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let refused = Program::run(&["serve", "--port", &port, "--listen", &address], LIMIT)?;
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains(&address) && refused.stderr.contains("in use"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn target_that_is_not_there_is_waited_for_and_said() -> anyhow::Result<()> {
    let agent = Agent::start(&["--port", &free_port()?.to_string()])?;
    agent.wait_for_state("waiting")?;
    let samples = agent.metrics()?;
    assert_eq!(samples.get("wsgi_trace_target_up"), Some(&0.0));
    assert_eq!(agent.get("/report.json")?.status, 503);
    assert_eq!(agent.get("/report.json?window=current")?.status, 503);
    assert_eq!(agent.get("/report.json?window=x")?.status, 400);
    assert_eq!(agent.get("/")?.status, 503);
    for (path, status) in [("/<script>alert(1)</script>", 400), ("/%3Cscript%3Ealert(1)", 404)] {
        let lost = agent.get(path)?;
        assert_eq!(lost.status, status, "{path}");
        assert!(!lost.body.contains("script") && !lost.head.contains("script"));
    }
    let host = agent.address();
    let post = agent.ask(&format!("POST /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))?;
    assert_eq!(post.status, 405);
    let rebound = agent.ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")?;
    assert_eq!(rebound.status, 421);
    let outcome = agent.end()?;
    assert!(outcome.status.success(), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn token_opens_and_nothing_else_does() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("token");
    std::fs::write(&file, "correct horse battery staple\n")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let file = file.display().to_string();
    let agent = Agent::start(&["--port", &free_port()?.to_string(), "--token-file", &file])?;
    let ask = |header: &str| {
        agent.ask(&format!("GET /healthz HTTP/1.1\r\nHost: any.example\r\n{header}Connection: close\r\n\r\n"))
    };
    let refused = ask("")?;
    assert_eq!(refused.status, 401);
    assert!(refused.head.to_ascii_lowercase().contains("www-authenticate: bearer"));
    assert_eq!(ask("Authorization: Bearer correct horse\r\n")?.status, 401);
    assert_eq!(ask("Authorization: Bearer correct horse battery staple\r\n")?.status, 200);
    Ok(())
}

#[test]
fn process_that_is_not_there_is_no_target() -> anyhow::Result<()> {
    let refused = Program::run(&["serve", "--pid", "4194304", "--listen", "127.0.0.1:0"], LIMIT)?;
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("there is no process 4194304"), "{}", refused.stderr);
    Ok(())
}
