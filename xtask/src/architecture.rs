//! What differs from one architecture to another.
//!
//! In: an architecture. Out: what Linux, Debian, Rust and QEMU call it, and the machine that QEMU makes of
//! it.

/// An architecture that the program is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// The one that this is developed on.
    X86_64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// Architectures that packages are built for.
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// The architecture of this machine.
    pub(crate) const fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 }
    }

    /// Linux's name (`uname -m`).
    pub(crate) const fn linux(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Debian's name, which is that of container images too.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's name of the target without shared libraries.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Before the names of boots and files that are not of the usual one.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::X86_64 => "",
            Self::Arm64 => "arm64-",
        }
    }

    /// The emulator, and Debian's package of it.
    pub(crate) const fn emulator(self) -> (&'static str, &'static str) {
        match self {
            Self::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
            Self::Arm64 => ("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// QEMU's name of the machine.
    pub(crate) const fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Arm64 => "virt",
        }
    }

    /// What the kernel's command line says on each boot.
    pub(crate) const fn parameters(self) -> &'static str {
        match self {
            // On a busy machine the timer's first ticks may come too late for the kernel's own test of it.
            Self::X86_64 => "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check",
            Self::Arm64 => "console=ttyAMA0 quiet panic=-1 mitigations=off",
        }
    }
}
