//! `kernels`: the programs on kernels other than this machine's, in emulation.
//!
//! In: versions to try, or none for all. Out: success when the payload passes on each kernel that is supported and is
//! refused clearly on the one that is too old.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::command;
use crate::emulator::boot::Machine;
use crate::emulator::{KERNELS, archive, fetch, store};

const TARGET: &str = "x86_64-unknown-linux-musl";
/// Emulation is 5 to 10 times slower than the machine; a whole run takes about ten seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Fetches what is missing, builds the payload without shared libraries, and boots each kernel with it.
pub(crate) fn run(versions: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) =
        versions.iter().find(|wanted| !KERNELS.iter().any(|kernel| kernel.version == **wanted))
    {
        bail!(
            "no kernel {unknown} in the matrix: {}",
            KERNELS.iter().map(|kernel| kernel.version).collect::<Vec<_>>().join(", ")
        );
    }
    fetch::need_emulator()?;
    let store = store()?;
    command::run(&mut command::cargo(&[
        "build",
        "--locked",
        "--release",
        "--target",
        TARGET,
        "--package",
        "wsgi-trace-tests",
        "--bin",
        "kernel-smoke",
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
    ]))?;
    let built = command::root().join("target").join(TARGET).join("release");
    let image = store.join("payload.cpio");
    let files = [("init", built.join("kernel-smoke")), ("wsgi-trace", built.join("wsgi-trace"))];
    archive::write(&image, &[], &files).context("the payload could not be packed")?;

    let mut failed = Vec::new();
    for kernel in KERNELS {
        if !versions.is_empty() && !versions.iter().any(|wanted| wanted == kernel.version) {
            continue;
        }
        let file = fetch::kernel(&store, kernel.suite, kernel.package)
            .with_context(|| format!("Linux {} could not be fetched", kernel.version))?;
        let expect = if kernel.is_supported { "tracing" } else { "refusal" };
        println!("== Linux {}: expect {expect}", kernel.version);
        // Parameters that the kernel does not know become variables of init's environment.
        let parameters = format!("EXPECT={expect} WSGI_TRACE_BINARY=/wsgi-trace");
        let machine = Machine {
            kernel: &file,
            image: &image,
            parameters: &parameters,
            cpus: 2,
            memory_mib: 1024,
            emulation: &[],
            limit: LIMIT,
        };
        if !machine.passes()? {
            failed.push(kernel.version);
        }
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
    }
    println!("== all kernels as expected");
    Ok(())
}
