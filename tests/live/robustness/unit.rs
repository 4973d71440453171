//! What the packaged unit forbids takes nothing from the report, and what another one forbids is said.
//!
//! In: the unit's own list of families of sockets, and a shorter one. Out: verdicts.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use wsgi_trace_test_support::families::{of_unit, restrict};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::{require_bpf, root};

/// The JSON report of half a second, by a program that may make sockets of these families alone.
fn report(families: &[u32]) -> anyhow::Result<Value> {
    let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
    let pid = server.master().to_string();
    let program =
        Program::start_as(&["--pid", &pid, "--duration", "500ms", "--format", "json"], |command| {
            restrict(command, families);
        })?;
    let outcome = program.finish(Duration::from_secs(30))?;
    ensure!(outcome.status.success(), "{outcome:?}");
    Ok(serde_json::from_str(&outcome.stdout)?)
}

/// What the report says of accept queues that could not be read.
fn not_read(report: &Value) -> Vec<String> {
    let spots = report
        .pointer("/target/blind_spots")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    spots.filter(|spot| spot.contains("accept queue")).map(str::to_owned).collect()
}

#[test]
fn accept_queues_are_read_under_the_packaged_unit_and_missed_aloud_without_netlink() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let unit = std::fs::read_to_string(root().join("packaging/wsgi-trace.service"))?;
    let families = of_unit(&unit)?;
    let seen = report(&families)?;
    ensure!(seen["listeners"][0]["queue"].is_object(), "{}", seen["listeners"]);
    ensure!(not_read(&seen).is_empty(), "{:?}", not_read(&seen));

    let without: Vec<u32> =
        families.into_iter().filter(|family| *family != libc::AF_NETLINK.unsigned_abs()).collect();
    let seen = report(&without)?;
    ensure!(seen["listeners"][0]["queue"].is_null(), "{}", seen["listeners"]);
    let said = not_read(&seen);
    ensure!(said.len() == 1 && said[0].contains("Address family not supported"), "{said:?}");
    Ok(())
}
