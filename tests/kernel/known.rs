//! What a kernel is known not to have: everything else that is missing there is a failure.
//!
//! In: this kernel's release, what attaching left out. Out: verdicts. An emulated kernel that lost a hook
//! would else pass every check that needs it.

use std::path::Path;

use anyhow::{bail, ensure};
use profiler_core::fact::Attached;
use wsgi_trace::capability::KERNEL_BTF;
use wsgi_trace::capability::kernel_btf::KernelBtf;

use crate::machine::kernel_release;

/// Who is known to lack what.
struct Known {
    /// Whether it is a kernel of this release.
    is: fn(&str) -> bool,
    /// The programs that it cannot have.
    lacks: &'static [&'static str],
}

/// Hooks of functions.
const FUNCTIONS: &[&str] = &[
    "tcp_conn_request",
    "tcp_v4_syn_recv_sock",
    "tcp_v6_syn_recv_sock",
    "unix_find_other",
    "accept_returns",
    "accept4_returns",
];

const KNOWN: &[Known] = &[
    // `sock:sk_data_ready` came with Linux 6.3.
    Known { is: |release| release.starts_with("6.1."), lacks: &["sk_data_ready"] },
    // Guests of Firecracker (`-fc`) are built without function tracing. `make kernels` has none of these.
    Known { is: |release| release.contains("-fc-"), lacks: FUNCTIONS },
];

/// Whether this kernel may preempt programs at system calls (from Linux 7.2 on): meanwhile it skips them for
/// all other threads of that CPU.
pub(crate) fn preempts_programs_at_calls() -> bool {
    // The function that runs those came with it.
    KernelBtf::load(Path::new(KERNEL_BTF)).is_ok_and(|types| types.has("trace_call_bpf_faultable"))
}

/// Whether a kernel is known to lack a program.
pub(crate) fn is_known_to_lack(program: &str) -> bool {
    let release = kernel_release();
    KNOWN.iter().any(|known| (known.is)(&release) && known.lacks.contains(&program))
}

/// Only what this kernel is known to lack was left out.
pub(crate) fn nothing_else_is_missing(report: &Attached) -> anyhow::Result<()> {
    match report.missing.iter().find(|missing| !is_known_to_lack(&missing.program)) {
        Some(missing) => bail!("Linux {} lacks {}: {}", kernel_release(), missing.program, missing.reason),
        None => Ok(()),
    }
}

/// Whether this program was attached, so that what it counts can be asked for; a failure where it is missing
/// and nobody knows why.
pub(crate) fn has(report: &Attached, program: &str) -> anyhow::Result<bool> {
    if is_known_to_lack(program) {
        println!("Linux {} is known to lack {program}", kernel_release());
        return Ok(false);
    }
    let missing = report.missing.iter().find(|missing| missing.program == program);
    let reason = missing.map_or("nobody knows why", |missing| missing.reason.as_str());
    ensure!(
        report.programs.iter().any(|attached| attached == program),
        "{program} is not attached to Linux {}: {reason}",
        kernel_release()
    );
    Ok(true)
}
