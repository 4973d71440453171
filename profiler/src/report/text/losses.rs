//! Losses: one line at the very top if there are any, all of them near the end.
//!
//! In: losses and conservation of a snapshot. Out: the warning, and a section.

use profiler_core::model::{Losses, Snapshot};

use super::page::Page;
use super::style::Role;
use super::unit;
use crate::report::summary;

/// The line at the very top of an incomplete report.
pub(super) fn warning(page: &mut Page, snapshot: &Snapshot) {
    if !snapshot.losses.any() {
        return;
    }
    let lost = lost_records(&snapshot.losses);
    let what = if lost > 0 {
        format!("{} lost", unit::counted(lost, "record"))
    } else if snapshot.losses.recording_truncated {
        "the recording breaks off".to_owned()
    } else if snapshot.losses.unreadable_bytes > 0 {
        "parts of the recording cannot be read".to_owned()
    } else {
        "data was lost".to_owned()
    };
    let text = format!("{what}: figures may be too small. See \"Losses\" near the end.");
    page.paragraph((Role::Bad, "INCOMPLETE  "), (Some(Role::Bad), &text));
    page.blank();
}

/// Records known to be lost. Holes in the sequences are the same slices seen from the other side: not added.
fn lost_records(losses: &Losses) -> u64 {
    let kernel: u64 = losses.kernel.lost.iter().map(|(_, count)| *count).sum();
    kernel.max(losses.sequence_holes).saturating_add(losses.late).saturating_add(losses.malformed)
}

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let losses = &snapshot.losses;
    page.heading("Losses", if losses.any() { "this report is incomplete" } else { "" });
    for (groups, what) in [
        (&losses.kernel.lost, "lost in the kernel"),
        (&losses.kernel.recursion_misses, "skipped by the kernel"),
        (&losses.impossible, "impossible"),
    ] {
        let named: Vec<String> = groups
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {}", unit::count(*count)))
            .collect();
        if !named.is_empty() {
            page.entry(what, &named.join(", "));
        }
    }
    for (number, what, text) in [
        (
            losses.undecided_waits,
            "undecided",
            "waits whose end was not seen: their sleep and their run queue cannot be told apart",
        ),
        (losses.malformed, "malformed", "records that could not be decoded"),
        (losses.late, "late", "records that came too late to be put in order"),
        (losses.sequence_holes, "holes", "slices missing by their sequence numbers"),
        (losses.evicted, "evicted", "entities dropped because a table was full"),
        (losses.unreadable_bytes, "unreadable", "bytes of the recording that could not be read"),
    ] {
        if number > 0 {
            page.entry(what, &format!("{} {text}", unit::count(number)));
        }
    }
    if losses.recording_truncated {
        page.entry("recording", "breaks off before the window ended");
    }
    laws(page, snapshot);
}

/// How well the numbers add up.
fn laws(page: &mut Page, snapshot: &Snapshot) {
    let laws = &snapshot.conservation;
    if !snapshot.losses.any() {
        page.paragraph((Role::Quiet, "  "), (None, "Nothing was lost."));
    }
    if laws.emitted > 0 {
        let text = format!(
            "{} of {} that the kernel side wrote",
            unit::count(laws.received),
            unit::count(laws.emitted)
        );
        page.entry("records received", &text);
    }
    if laws.slices > 0 {
        let text = match laws.slices_broken {
            0 => format!("{} checked, all add up", unit::count(laws.slices)),
            broken => format!("{} of {} do not add up", unit::count(broken), unit::count(laws.slices)),
        };
        page.entry("slices", &text);
    }
    if laws.requests_broken > 0 {
        page.entry("requests", &format!("{} do not add up", unit::count(laws.requests_broken)));
    }
    if laws.threads_compared > 0 {
        let cpu = difference(laws.cpu_ns, laws.kernel_cpu_ns);
        let run_queue = difference(laws.run_queue_ns, laws.kernel_run_queue_ns);
        let threads = unit::counted(laws.threads_compared, "thread");
        let mut text = format!("CPU {cpu}, run queue {run_queue}, over {threads}");
        if laws.stolen_ns > 0 {
            let stolen = unit::duration(laws.stolen_ns, page.style.charset);
            text.push_str(&format!("; the hypervisor took {stolen} of CPU, which the kernel does not count"));
        }
        page.entry("against the kernel", &text);
    }
}

/// Our number against the kernel's, as a signed percentage.
fn difference(ours_ns: u64, kernel_ns: u64) -> String {
    summary::ratio(ours_ns, kernel_ns)
        .map_or_else(|| "-".to_owned(), |ratio| format!("{:+.2} %", (ratio - 1.0) * 100.0))
}
