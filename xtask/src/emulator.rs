//! Emulated machines: what `kernels` and `unit` boot.
//!
//! In: kernels from Debian, a file system in one file. Out: whether the payload in it said that it passed.

pub(crate) mod archive;
pub(crate) mod boot;
pub(crate) mod fetch;

use crate::architecture::Architecture;

/// One kernel of Debian's.
pub(crate) struct Kernel {
    /// What it runs on.
    pub(crate) architecture: Architecture,
    /// Its line, or `newest`.
    pub(crate) version: &'static str,
    /// The Debian release that has it.
    pub(crate) suite: &'static str,
    /// Names of its packages; the newest one is taken.
    pub(crate) package: &'static str,
    /// What of it is booted.
    pub(crate) role: Role,
    /// QEMU's name of the processor.
    pub(crate) processor: &'static str,
}

/// QEMU 7.2 faults on `cmpxchg16b` in the allocator of Linux up to 6.12: it addresses a CPU's own memory
/// there.
pub(crate) const WITHOUT_CMPXCHG16B: &str = "max,-cx16";
/// A server's processor of 2019 (Graviton 2), with the atomic instructions of ARMv8.1. It has no pointer
/// authentication, which takes most of the time in emulation.
const NEOVERSE: &str = "neoverse-n1";
/// As a machine is. Without `cmpxchg16b`, which every processor since 2006 has, Linux 7.3 refuses what may
/// not sleep memory (`kmalloc_nolock`, mm/slub.c), and so programs the storage of a task.
const WHOLE: &str = "max";

/// What is asked of a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The kernel is too old: the program has to be refused.
    TooOld,
    /// The program runs on it, and on the release that it is of.
    OfRelease,
    /// The newest that Debian builds for a release that has an older one.
    Newest,
}

/// Kernels that are tried.
pub(crate) const KERNELS: [Kernel; 5] = [
    Kernel {
        architecture: Architecture::X86_64,
        version: "5.10",
        suite: "bullseye",
        package: "^linux-image-5\\.10\\.0-[0-9]+-cloud-amd64$",
        role: Role::TooOld,
        processor: WITHOUT_CMPXCHG16B,
    },
    Kernel {
        architecture: Architecture::X86_64,
        version: "6.1",
        suite: "bookworm",
        package: "^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64$",
        role: Role::OfRelease,
        processor: WITHOUT_CMPXCHG16B,
    },
    Kernel {
        architecture: Architecture::X86_64,
        version: "6.12",
        suite: "trixie",
        package: "^linux-image-6\\.12\\.[0-9.]+\\+deb13-cloud-amd64$",
        role: Role::OfRelease,
        processor: WITHOUT_CMPXCHG16B,
    },
    Kernel {
        architecture: Architecture::X86_64,
        version: "newest",
        suite: "trixie-backports",
        // The package of the kernel's file alone, since 7.x.
        package: "^linux-binary-[0-9.]+\\+deb13-cloud-amd64$",
        role: Role::Newest,
        processor: WHOLE,
    },
    Kernel {
        architecture: Architecture::Arm64,
        version: "6.12",
        suite: "trixie",
        package: "^linux-image-6\\.12\\.[0-9.]+\\+deb13-cloud-arm64$",
        role: Role::OfRelease,
        processor: NEOVERSE,
    },
];

/// The directory that keeps what is fetched.
pub(crate) fn store() -> anyhow::Result<std::path::PathBuf> {
    let store = crate::command::root().join(".kernels");
    std::fs::create_dir_all(&store)?;
    Ok(store)
}
