//! Targets and clients that send what nobody should.
//!
//! In: nothing. Out: verdicts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;

use crate::said::{LIMIT, assert_success, json, number, run};

/// What a terminal would obey, a parser stumble over, or a buffer not hold.
fn hostile_messages() -> Vec<Vec<u8>> {
    let get = |path: &[u8], headers: &[u8]| {
        let mut message = b"GET ".to_vec();
        message.extend_from_slice(path);
        message.extend_from_slice(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        message.extend_from_slice(headers);
        message.extend_from_slice(b"\r\n");
        message
    };
    let long = |prefix: &[u8], length: usize| [prefix, &vec![b'a'; length]].concat();
    let headers: Vec<u8> =
        (0..100).flat_map(|number| format!("X-{number}: {}\r\n", "v".repeat(1000)).into_bytes()).collect();
    vec![
        get(b"/\x1b[2J\x1b]0;owned\x07/1", b""),
        get(b"/\x00\x01\x02\x7f\x9b31m", b""),
        get(b"/%1b%5b2J\"<script>\\", b""),
        get(b"/\xff\xfe\xc3\x28", b""),
        get(&long(b"/long/", 5000), b""),
        get(b"/cookie", &[long(b"Cookie: ", 5000), b"\r\n".to_vec()].concat()),
        get(b"/big", &headers),
        b"G\x1bT /method HTTP/1.1\r\n\r\n".to_vec(),
        (0..=255).cycle().take(10_000).collect(),
        // A TLS client hello.
        [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[0x11; 300]].concat(),
        b"\r\n\r\n\r\nGET /lead HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"POST /both HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec(),
        b"POST /huge HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\nabc".to_vec(),
        b"POST /chunk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nabc"
            .to_vec(),
    ]
}

/// Sends each on a connection of its own, reads what comes, and leaves.
fn send_all(address: &Address) -> anyhow::Result<()> {
    let Address::Tcp(address) = address else { anyhow::bail!("not TCP") };
    for message in hostile_messages() {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(Duration::from_millis(200)))?;
        // The server may have refused and closed meanwhile: that is its right.
        let _ = connection.write_all(&message);
        let _ = connection.read_to_end(&mut Vec::new());
    }
    // A head that never ends.
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /never HTTP/1.1\r\n")?;
    for number in 0..100 {
        if connection.write_all(format!("X-{number}: \u{1b}[31m\r\n").as_bytes()).is_err() {
            break;
        }
    }
    Ok(())
}

/// No control characters but line feeds, C1 controls included.
fn assert_clean(text: &str) {
    let foul: Vec<char> = text.chars().filter(|letter| letter.is_control() && *letter != '\n').collect();
    assert!(foul.is_empty(), "{foul:?} in {text}");
}

#[test]
fn hostile_requests_leave_every_form_of_the_report_clean_and_whole() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut settings = Settings::gthread(Version::V27, 1, 4);
    settings.environment.push(("THREAD_NAME".to_owned(), "\u{1b}[31mred\u{7}\n".to_owned()));
    let server = Gunicorn::start(&settings)?;
    let pid = server.master().to_string();
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("recording").to_string_lossy().into_owned();
    let mut program = Program::start(&["--pid", &pid, "--color", "never", "--record", &recording])?;
    program.wait_for_stderr("watching")?;
    send_all(server.address())?;
    let sent = Load::run(server.address(), &["--requests", "20", "--clients", "2", "--routes", "/fast"])?;
    program.signal(libc::SIGINT);
    let outcome = program.finish(LIMIT)?;
    assert_success(&outcome);
    assert_clean(&outcome.stdout);
    assert!(!outcome.stdout.starts_with("INCOMPLETE"), "{}", outcome.stdout);

    let as_json = run(&["report", &recording, "--format", "json"])?;
    let report = json(&as_json)?;
    assert_clean(&as_json.stdout);
    // Well-behaved requests among the others are seen whole.
    let endpoints = report.pointer("/endpoints").and_then(Value::as_array).cloned().unwrap_or_default();
    let fast = endpoints.iter().find(|endpoint| endpoint.to_string().contains("/fast/"));
    assert_eq!(fast.map(|fast| number(fast, "/count")), Some(sent.answered() as u64), "{endpoints:?}");

    let requests = run(&["report", &recording, "--format", "ndjson"])?;
    assert_clean(&requests.stdout);
    for line in requests.stdout.lines() {
        let request: Value = serde_json::from_str(line)?;
        let path = request.get("path").and_then(Value::as_str).unwrap_or_default();
        assert_clean(path);
        assert!(path.len() <= 4096, "{} bytes of path", path.len());
    }
    let timeline = directory.path().join("timeline").to_string_lossy().into_owned();
    assert_success(&run(&["report", &recording, "--format", "timeline", "-o", &timeline])?);
    assert!(std::fs::read(&timeline)?.len() > 1000);
    Ok(())
}

#[test]
fn workers_that_are_replaced_all_the_time_are_followed_from_their_first_request() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::sync(Version::V27, 2).with(&["--max-requests", "20"]))?;
    let pid = server.master().to_string();
    let mut program = Program::start(&["--pid", &pid, "--format", "json"])?;
    program.wait_for_stderr("watching")?;
    let options = ["--requests", "400", "--seconds", "30", "--clients", "3", "--routes", "/fast"];
    let sent = Load::run(server.address(), &options)?;
    let log = server.access_log(sent.answered())?;
    program.signal(libc::SIGINT);
    let outcome = program.finish(LIMIT)?;
    assert_success(&outcome);
    let report = json(&outcome)?;
    let workers: std::collections::BTreeSet<u32> = log.iter().map(|line| line.pid).collect();
    assert!(workers.len() > 10, "only {} workers served", workers.len());
    assert_eq!(number(&report, "/requests/completed"), log.len() as u64);
    let lost = report.pointer("/losses/kernel_lost").map(Value::to_string).unwrap_or_default();
    assert!(!lost.contains("fork_unadopted") && !lost.contains("table_full"), "{lost}");
    Ok(())
}
