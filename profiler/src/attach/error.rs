//! Why the programs could not be attached.
//!
//! In: what went wrong. Out: one sentence per cause that says what to do next.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;

use crate::capability::CAPABILITIES_WANTED;
use crate::capability::kernel_btf::BtfUnreadable;
use crate::source::live::LiveError;

/// Why the programs could not be attached. Nothing stays attached after any of these.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// This process may not load BPF programs.
    #[error(
        "not permitted to trace: {} missing; run as root (sudo), or grant {}",
        missing.join(" and "),
        CAPABILITIES_WANTED
    )]
    Privileges {
        /// Names of the capabilities that are missing.
        missing: Vec<&'static str>,
    },
    /// This process has the capabilities, and the kernel refuses all the same.
    #[error(
        "this machine forbids loading BPF programs, although the capabilities are there. A seccomp filter (containers have \
         one by default) or a security module refuses it. Allow the system call bpf (privileged: true, or --security-opt \
         seccomp=unconfined), or run wsgi-trace on the host"
    )]
    Forbidden,
    /// The kernel keeps its memory from everybody.
    #[error(
        "this kernel is locked down (lockdown=confidentiality), so no program may read its memory, whoever loads it; boot it \
         with lockdown=integrity, which forbids nothing that tracing needs"
    )]
    LockedDown,
    /// This process numbers processes otherwise than the kernel does.
    #[error(
        "this is a container with process numbers of its own; run wsgi-trace on the host, or in a container that shares \
         the host's PID namespace (--pid=host, hostPID)"
    )]
    PidNamespace,
    /// The kernel publishes no type information.
    #[error("{0}; a kernel built with CONFIG_DEBUG_INFO_BTF (every major distribution's) is needed")]
    NoBtf(#[from] BtfUnreadable),
    /// The kernel lacks a feature. Distributions add features to older kernels, so no version is asked for.
    #[error("Linux {release} lacks what tracing needs: {}; the kernel's own releases have it from 5.15 on", lacks.join(", "))]
    KernelTooOld {
        /// `uname -r`.
        release: String,
        /// What it lacks.
        lacks: Vec<String>,
    },
    /// `--light` cannot be had.
    #[error("Linux {release} lacks what light mode needs: {} (in the kernel's own releases from 6.3 on); trace without --light", lacks.join(", "))]
    NoLight {
        /// `uname -r`.
        release: String,
        /// What it lacks.
        lacks: Vec<String>,
    },
    /// Light mode would not see something that alerts rest on.
    #[error("light mode would not see accepts that fail: {reason}")]
    NotAllOfLight {
        /// Why.
        reason: String,
    },
    /// `--hooks tracepoints` cannot be had.
    #[error("the tracepoints of single system calls cannot be used: {reason}; try --hooks btf")]
    NoCallTracepoints {
        /// Why.
        reason: String,
    },
    /// A field that the programs read is not in this kernel.
    #[error(
        "this kernel has no field {field}: this version of wsgi-trace does not know it; please report it"
    )]
    NoField {
        /// `struct.member`.
        field: String,
    },
    /// The object could not be loaded.
    #[error("the kernel did not take the maps of the programs: {0}")]
    Object(EbpfError),
    /// What is loaded cannot be used.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// A required program was refused.
    #[error("the kernel refused the program {program}: {reason}")]
    Program {
        /// Name in the attach table.
        program: &'static str,
        /// Why; with the verifier's log where there is one.
        reason: String,
    },
    /// There is nobody to trace.
    #[error("there is no process to trace: it has ended")]
    NoTarget,
}

impl AttachError {
    /// A required program was refused for this reason.
    pub(super) fn refused(program: &'static str, reason: String) -> Self {
        if is_of_lockdown(&reason) {
            Self::LockedDown
        } else {
            Self::Program { program, reason: short(&reason) }
        }
    }

    /// Whether a full trace may be had all the same.
    pub const fn is_of_light(&self) -> bool {
        matches!(self, Self::NoLight { .. } | Self::NotAllOfLight { .. })
    }
}

/// A reason with the first line and the last ones of the verifier's log, which may have megabytes: it stands
/// in every report and recording.
pub(super) fn short(reason: &str) -> String {
    const LAST_LINES: usize = 6;
    let lines: Vec<&str> = reason.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.len().saturating_sub(LAST_LINES);
    let kept = lines.iter().enumerate().filter(|(index, _)| *index == 0 || *index >= last);
    kept.map(|(_, line)| line.chars().take(300).collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// Whether the verifier has not got the helper that reads the kernel's memory: so it is where that is locked
/// down. Such a kernel need not have said so before, as securityfs may not be mounted.
fn is_of_lockdown(reason: &str) -> bool {
    // As Linux 6.12 says it, and 6.1 (`check_helper_call`, kernel/bpf/verifier.c).
    let said = ["program of this type cannot use helper ", "unknown func "];
    // By its old name where the loader finds none of the new one.
    let helpers = ["bpf_probe_read#", "bpf_probe_read_kernel#"];
    said.iter().any(|said| helpers.iter().any(|helper| reason.contains(&format!("{said}{helper}"))))
}

impl From<EbpfError> for AttachError {
    fn from(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(MapError::CreateError { io_error, .. })
                if io_error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::Forbidden
            }
            other => Self::Object(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_without_the_helper_that_reads_the_kernel_s_memory_is_of_a_kernel_that_is_locked_down() {
        for (reason, expected) in [
            (
                "219: (85) call bpf_probe_read#4\nprogram of this type cannot use helper bpf_probe_read#4\n",
                true,
            ),
            ("unknown func bpf_probe_read_kernel#113\n", true),
            ("219: (85) call bpf_probe_read_kernel#113\ninvalid access to map value\n", false),
            ("unknown func bpf_probe_read_user#112\n", false),
        ] {
            let error = AttachError::refused("sys_enter", reason.to_owned());
            assert_eq!(matches!(error, AttachError::LockedDown), expected, "{error}");
        }
    }

    #[test]
    fn of_a_long_log_of_the_verifier_its_beginning_and_end_are_kept() {
        let log = (0..100_000).map(|line| format!("{line}: (bf) r1 = r2")).collect::<Vec<_>>().join("\n");
        let kept = short(&format!("the program was refused\n{log}\nR1 invalid mem access\n\n"));
        assert!(kept.starts_with("the program was refused\n99995: "), "{kept}");
        assert!(kept.ends_with("99999: (bf) r1 = r2\nR1 invalid mem access"), "{kept}");
        assert!(short(&"x".repeat(1 << 20)).len() <= 300);
        assert_eq!(short("not in the object"), "not in the object");
    }
}
