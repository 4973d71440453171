//! Emulated machines: what `kernels` and `unit` boot.
//!
//! In: kernels from Debian, a file system in one file. Out: whether the payload in it said that it passed.

pub(crate) mod archive;
pub(crate) mod boot;
pub(crate) mod fetch;

/// One kernel of Debian's.
pub(crate) struct Kernel {
    /// Its line.
    pub(crate) version: &'static str,
    /// The Debian release that has it.
    pub(crate) suite: &'static str,
    /// Names of its packages; the newest one is taken.
    pub(crate) package: &'static str,
    /// The program runs on it; where not, it has to be refused.
    pub(crate) is_supported: bool,
}

/// Those that are tried.
pub(crate) const KERNELS: [Kernel; 3] = [
    Kernel {
        version: "5.10",
        suite: "bullseye",
        package: "^linux-image-5\\.10\\.0-[0-9]+-cloud-amd64$",
        is_supported: false,
    },
    Kernel {
        version: "6.1",
        suite: "bookworm",
        package: "^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64$",
        is_supported: true,
    },
    Kernel {
        version: "6.12",
        suite: "trixie",
        package: "^linux-image-6\\.12\\.[0-9.]+\\+deb13-cloud-amd64$",
        is_supported: true,
    },
];

/// The directory that keeps what is fetched.
pub(crate) fn store() -> anyhow::Result<std::path::PathBuf> {
    let store = crate::command::root().join(".kernels");
    std::fs::create_dir_all(&store)?;
    Ok(store)
}
