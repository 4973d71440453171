//! What the profiler itself cost.
//!
//! In: the account of it, if the stream holds one. Out: the last section.

use profiler_core::model::Snapshot;

use super::page::Page;
use super::style::Role;
use super::unit;
use crate::report::summary;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let (Some(overhead), Some(cost)) = (&snapshot.overhead, summary::cost(snapshot)) else {
        page.heading("Own cost", "not measured");
        page.paragraph(
            (Role::Quiet, "  "),
            (None, &format!("Not measured: {}.", summary::OVERHEAD_NOT_MEASURED)),
        );
        return;
    };
    let charset = page.style.charset;
    let shown = |duration_ns| unit::duration(duration_ns, charset);
    page.heading("Own cost", &format!("{} of the server's CPU", unit::percent(cost.share_of_target)));
    page.entry("wsgi-trace", &format!("{} of CPU", shown(overhead.profiler_cpu_ns)));
    let programs = match cost.bpf_window_ns {
        Some(window_ns) => format!(
            "{} (from {} in a sample of {}: {} of {})",
            shown(window_ns),
            shown(overhead.bpf_run_ns),
            shown(overhead.bpf_sampled_ns),
            unit::counted(overhead.bpf_runs, "run"),
            shown(overhead.bpf_run_ns.checked_div(overhead.bpf_runs).unwrap_or(0)),
        ),
        None => "not sampled in this run".to_owned(),
    };
    page.entry("kernel programs", &programs);
    if let Some(per_request_ns) = cost.per_request_ns {
        page.entry("per request", &shown(per_request_ns));
    }
}
