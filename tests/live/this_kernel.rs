//! The checks of `make kernels`, on the kernel that runs here.
//!
//! In: the payload. Out: a verdict with the payload's own words.

use std::process::Command;

use wsgi_trace_tests::gate::exclusive;
use wsgi_trace_tests::program::wsgi_trace_binary;
use wsgi_trace_tests::require_bpf;

#[test]
fn a_toy_server_is_traced_on_this_kernel() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mut payload = Command::new(env!("CARGO_BIN_EXE_kernel-smoke"));
    let output = payload.env("WSGI_TRACE_BINARY", wsgi_trace_binary()?).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
