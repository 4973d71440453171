//! The checks of `make kernels`, on the kernel that runs here.
//!
//! In: the payload. Out: a verdict with the payload's own words.

use std::process::Command;

use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::Version;
use wsgi_trace_test_support::program::wsgi_trace_binary;
use wsgi_trace_test_support::{require_bpf, root};

#[test]
fn a_toy_server_and_a_real_gunicorn_are_traced_on_this_kernel() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let mut payload = Command::new(env!("CARGO_BIN_EXE_kernel-smoke"));
    payload.env("WSGI_TRACE_BINARY", wsgi_trace_binary()?);
    payload.env("PYTHON", Version::V23.python()).env("APP", root().join("tests/kernel"));
    let output = payload.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
