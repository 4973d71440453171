//! On which kernels and interpreters this program was run, and how.
//!
//! In: a kernel's release. Out: its row, for `doctor`; all rows, for `docs/install.md`. A row promises no
//! more than what was done.

use std::fmt;

/// How far a row was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// `make test` runs there before a change is taken.
    OnEveryChange,
    /// Some tests were run there, by hand or in emulation.
    Once(&'static str),
    /// Nothing was run: it has what the programs need.
    ByFeatures,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnEveryChange => f.write_str("run on every change"),
            Self::Once(how) => write!(f, "run once: {how}"),
            Self::ByFeatures => f.write_str("reckoned from features"),
        }
    }
}

/// Kernels from one version to another.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// `std::env::consts::ARCH`.
    pub architecture: &'static str,
    /// Major and minor version of the first.
    pub first: (u32, u32),
    /// Of the last; `None`: all that come.
    pub last: Option<(u32, u32)>,
    /// Whether `--light`, and waits in the accept queue, are to be had.
    pub has_light: bool,
    /// How far they were tried.
    pub tried: Tried,
}

const fn kernels(
    architecture: &'static str,
    first: (u32, u32),
    last: Option<(u32, u32)>,
    has_light: bool,
    tried: Tried,
) -> Kernels {
    Kernels { architecture, first, last, has_light, tried }
}

const X86_64: &str = "x86_64";
const ARM64: &str = "aarch64";
const EMULATED: Tried = Tried::Once("Debian's, in emulation, with a real gunicorn");

/// All that can load the programs, in order. `make kernels` has the emulated ones.
pub const KERNELS: [Kernels; 13] = [
    kernels(X86_64, (5, 15), Some((6, 0)), false, Tried::ByFeatures),
    kernels(X86_64, (6, 1), Some((6, 1)), false, EMULATED),
    kernels(X86_64, (6, 2), Some((6, 2)), false, Tried::ByFeatures),
    kernels(X86_64, (6, 3), Some((6, 11)), true, Tried::ByFeatures),
    kernels(X86_64, (6, 12), Some((6, 12)), true, EMULATED),
    kernels(X86_64, (6, 13), Some((6, 17)), true, Tried::ByFeatures),
    kernels(X86_64, (6, 18), Some((6, 18)), true, Tried::OnEveryChange),
    kernels(X86_64, (6, 19), Some((6, 19)), true, Tried::ByFeatures),
    kernels(X86_64, (7, 0), None, true, Tried::Once("one of Debian's, in emulation, with a real gunicorn")),
    kernels(ARM64, (5, 18), Some((6, 2)), false, Tried::ByFeatures),
    kernels(ARM64, (6, 3), Some((6, 11)), true, Tried::ByFeatures),
    kernels(ARM64, (6, 12), Some((6, 12)), true, EMULATED),
    kernels(ARM64, (6, 13), None, true, Tried::ByFeatures),
];

/// Versions of CPython with an interpreter lock.
#[derive(Clone, Copy, Debug)]
pub struct Interpreters {
    /// Versions, as people say them.
    pub versions: &'static str,
    /// C library and architecture.
    pub built_for: &'static str,
    /// How far waits for the lock were tried.
    pub tried: Tried,
}

/// All that are read. `make gil-matrix` has what was run once.
pub const INTERPRETERS: [Interpreters; 5] = [
    Interpreters { versions: "3.11", built_for: "glibc, x86_64", tried: Tried::OnEveryChange },
    Interpreters {
        versions: "3.8 to 3.10, 3.12, 3.13",
        built_for: "glibc, x86_64",
        tried: Tried::Once("with another program's probes as witness"),
    },
    Interpreters {
        versions: "3.13",
        built_for: "musl, x86_64",
        tried: Tried::Once("with another program's probes as witness"),
    },
    Interpreters {
        versions: "3.13",
        built_for: "glibc, arm64",
        tried: Tried::Once("Debian's, in emulation, with a real gunicorn"),
    },
    Interpreters { versions: "3.14, 3.15", built_for: "all", tried: Tried::ByFeatures },
];

/// The row of this kernel; `None`: it is none of those, or its release is no version.
pub fn kernel(architecture: &str, release: &str) -> Option<&'static Kernels> {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit());
    let version: (u32, u32) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    KERNELS.iter().find(|row| {
        row.architecture == architecture
            && row.first <= version
            && row.last.is_none_or(|last| version <= last)
    })
}

impl Kernels {
    fn versions(&self) -> String {
        let (major, minor) = self.first;
        match self.last {
            Some(last) if last == self.first => format!("{major}.{minor}"),
            Some((last_major, last_minor)) => format!("{major}.{minor} to {last_major}.{last_minor}"),
            None => format!("{major}.{minor} and newer"),
        }
    }
}

/// The tables of `docs/install.md`.
pub fn markdown() -> String {
    let kernels: String = KERNELS
        .iter()
        .map(|row| {
            let architecture = if row.architecture == ARM64 { "arm64" } else { row.architecture };
            let mode = if row.has_light { "full, light" } else { "full" };
            format!("| {} | {architecture} | {mode} | {} |\n", row.versions(), row.tried)
        })
        .collect();
    let interpreters: String = INTERPRETERS
        .iter()
        .map(|row| format!("| {} | {} | {} |\n", row.versions, row.built_for, row.tried))
        .collect();
    format!(
        "| Linux | Machine | Modes | How far |\n|---|---|---|---|\n{kernels}\n\
         | CPython | Built for | How far |\n|---|---|---|\n{interpreters}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_shows_the_tables_of_the_program() {
        let page = include_str!("../../../docs/install.md");
        assert!(page.contains(&markdown()), "docs/install.md should hold:\n{}", markdown());
    }

    #[test]
    fn each_kernel_has_one_row_at_most_and_none_is_left_out_in_between() {
        for pair in KERNELS.windows(2) {
            let [one, next] = pair else { continue };
            if one.architecture == next.architecture {
                assert!(one.last.is_some_and(|last| last < next.first), "{one:?} {next:?}");
            }
        }
        let tried = |architecture, release| kernel(architecture, release).map(|row| row.tried);
        assert_eq!(tried(X86_64, "6.18.44-fc-v669"), Some(Tried::OnEveryChange));
        assert_eq!(tried(X86_64, "5.15.0-91-generic"), Some(Tried::ByFeatures));
        assert_eq!(tried(X86_64, "5.10.0"), None);
        assert_eq!(tried(X86_64, "7.1.3+deb14"), tried(X86_64, "7.0"));
        assert_eq!(tried(X86_64, "6.19.2"), Some(Tried::ByFeatures));
        assert_eq!(tried(ARM64, "5.17"), None);
        assert_eq!(tried(X86_64, "unknown"), None);
    }
}
