//! Servers in containers that podman made, traced from the machine: the same requests, intervals and accounts
//! as without.
//!
//! In: recipes. Out: verdicts.

use anyhow::ensure;
use serde_json::Value;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_podman;
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::container::Container;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

use crate::truth;
use crate::window::Window;

fn contained<R: Recipe>(server: R) -> anyhow::Result<()> {
    require_podman!(Ok(()));
    truth::requests_agree_with_the_witness(&Container { server, options: &[] })
}

#[test]
#[ignore = "make live-all"]
fn gunicorn_gthread() -> anyhow::Result<()> {
    contained(Settings::gthread(Version::V27, 2, 4))
}

#[test]
#[ignore = "make live-all"]
fn uwsgi() -> anyhow::Result<()> {
    contained(Uwsgi::new(2, 2))
}

#[test]
#[ignore = "make live-all"]
fn waitress() -> anyhow::Result<()> {
    contained(Waitress { threads: 4 })
}

/// The report tells the quota that was set, and that the server was throttled by it: it is so little that the
/// load uses it up beside other work too.
fn quota_is_told(window: &Window) -> anyhow::Result<()> {
    let groups = window.traced.value("/target/cgroups")?;
    let of = |group: &Value, name: &str| group.get(name).and_then(Value::as_u64).unwrap_or(0);
    let is_it = |group: &Value| {
        of(group, "quota_ns") > 0
            && of(group, "quota_ns") * 4 == of(group, "period_ns")
            && of(group, "throttled_ns") > 0
    };
    ensure!(groups.as_array().is_some_and(|groups| groups.iter().any(is_it)), "{groups}");
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn quota_of_a_quarter_of_a_core() -> anyhow::Result<()> {
    require_podman!(Ok(()));
    let server = Settings::sync(Version::V27, 2);
    truth::accounts_agree_under_a_quota(&Container { server, options: &["--cpus=0.25"] }, &[&quota_is_told])
}
