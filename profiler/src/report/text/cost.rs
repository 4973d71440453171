//! What the profiler itself cost.
//!
//! In: the account of it, if the stream holds one. Out: the last section.

use profiler_core::fact::Overhead;
use profiler_core::model::Snapshot;

use super::page::Page;
use super::unit;
use crate::report::escape::Charset;
use crate::report::style::Role;
use crate::report::summary::{self, Cost};

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let (Some(overhead), Some(cost)) = (&snapshot.coverage.overhead, summary::cost(snapshot)) else {
        page.heading("Own cost", "not measured");
        page.paragraph(
            (Role::Quiet, "  "),
            (None, &format!("Not measured: {}.", summary::OVERHEAD_NOT_MEASURED)),
        );
        return;
    };
    let of_one_core = summary::ratio(cost.total_ns, snapshot.window.length_ns());
    page.heading("Own cost", &format!("{} of one CPU", unit::percent(of_one_core)));
    for (label, text) in entries(overhead, cost, page.style.charset) {
        page.entry(label, &text);
    }
}

/// What the profiler cost, in sentences.
pub(in crate::report) fn entries(
    overhead: &Overhead,
    cost: Cost,
    charset: Charset,
) -> Vec<(&'static str, String)> {
    let mut entries = Vec::new();
    let shown = |duration_ns| unit::duration(duration_ns, charset);
    entries.push((
        "wsgi-trace",
        format!("{} of CPU, the work of this process in the window", shown(overhead.profiler_cpu_ns)),
    ));
    let programs = match cost.bpf_window_ns {
        Some(window_ns) => format!(
            "{} on all CPUs (a sample of {}: {}, {} of {})",
            shown(window_ns),
            shown(overhead.bpf_sampled_ns),
            shown(overhead.bpf_run_ns),
            unit::counted(overhead.bpf_runs, "run"),
            shown(overhead.bpf_run_ns.checked_div(overhead.bpf_runs).unwrap_or(0)),
        ),
        None => "not sampled in this run".to_owned(),
    };
    entries.push(("kernel programs", programs));
    if let Some(share) = cost.share_of_target {
        let text = format!(
            "both are {} the {} of CPU that the server used itself",
            if share > 2.0 {
                format!("{share:.1} times")
            } else {
                format!("{} of", unit::percent(Some(share)))
            },
            shown(overhead.target_cpu_ns),
        );
        entries.push(("beside the server", text));
    }
    if let Some(per_request_ns) = cost.per_request_ns {
        entries.push(("per request", shown(per_request_ns)));
    }
    entries
}
