//! `kernels`: the programs on kernels other than this machine's, in emulation.
//!
//! In: versions to try, or none for all. Out: success when the payload passes on each kernel that is supported and is
//! refused clearly on the one that is too old.

mod archive;
mod boot;
mod fetch;

use anyhow::{Context as _, bail};

use crate::command;

const TARGET: &str = "x86_64-unknown-linux-musl";

/// One kernel of the matrix.
struct Kernel {
    /// Its line.
    version: &'static str,
    /// The Debian release that has it.
    suite: &'static str,
    /// Names of its packages; the newest one is taken.
    package: &'static str,
    /// What the payload has to see.
    expect: &'static str,
}

const MATRIX: &[Kernel] = &[
    Kernel {
        version: "5.10",
        suite: "bullseye",
        package: "^linux-image-5\\.10\\.0-[0-9]+-cloud-amd64$",
        expect: "refusal",
    },
    Kernel {
        version: "6.1",
        suite: "bookworm",
        package: "^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64$",
        expect: "tracing",
    },
    Kernel {
        version: "6.12",
        suite: "trixie",
        package: "^linux-image-6\\.12\\.[0-9.]+\\+deb13-cloud-amd64$",
        expect: "tracing",
    },
];

/// Fetches what is missing, builds the payload without shared libraries, and boots each kernel with it.
pub(crate) fn run(versions: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) =
        versions.iter().find(|wanted| !MATRIX.iter().any(|kernel| kernel.version == **wanted))
    {
        bail!(
            "no kernel {unknown} in the matrix: {}",
            MATRIX.iter().map(|kernel| kernel.version).collect::<Vec<_>>().join(", ")
        );
    }
    fetch::need_emulator()?;
    let root = command::root();
    let store = root.join(".kernels");
    std::fs::create_dir_all(&store)?;
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
    let built = root.join("target").join(TARGET).join("release");
    let image = store.join("payload.cpio");
    let files = [("init", built.join("kernel-smoke")), ("wsgi-trace", built.join("wsgi-trace"))];
    archive::write(&image, &files).context("the payload could not be packed")?;

    let mut failed = Vec::new();
    for kernel in MATRIX {
        if !versions.is_empty() && !versions.iter().any(|wanted| wanted == kernel.version) {
            continue;
        }
        let file = fetch::kernel(&store, kernel.suite, kernel.package)
            .with_context(|| format!("Linux {} could not be fetched", kernel.version))?;
        println!("== Linux {}: expect {}", kernel.version, kernel.expect);
        if !boot::passes(&file, &image, kernel.expect)? {
            failed.push(kernel.version);
        }
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
    }
    println!("== all kernels as expected");
    Ok(())
}
