//! Losses: one line at the very top if there are any, all of them near the end.
//!
//! In: losses and conservation of a snapshot. Out: what the warning says, and a section.

use profiler_core::model::losses::LossCount;
use profiler_core::model::{Losses, Snapshot};

use super::block::{Blocks, Section};
use super::shown;
use crate::report::{summary, unit};

/// Lines where the text report is one page.
const BRIEFLY: usize = 4;

/// What an incomplete report lacks, and what that means; nothing for a complete one.
pub(in crate::report) fn what_is_missing(losses: &Losses) -> Option<String> {
    if !losses.any() {
        return None;
    }
    let what = match lost_records(losses) {
        0 if losses.recording_truncated => "the recording breaks off".to_owned(),
        0 if losses.unreadable_bytes > 0 || losses.unreadable_items > 0 => {
            "parts of the recording cannot be read".to_owned()
        }
        0 if losses.missing_items > 0 => "parts of the recording are missing".to_owned(),
        0 if losses.evicted > 0 => "a table was full".to_owned(),
        0 => "data was lost".to_owned(),
        lost => format!("{} lost", unit::counted(lost, "record")),
    };
    Some(format!("{what}: figures may be too small"))
}

/// Records known to be lost. Holes in the sequences are the same slices seen from the other side: not added.
pub(in crate::report) fn lost_records(losses: &Losses) -> u64 {
    let kernel = losses.kernel.lost.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    kernel.max(losses.sequence_holes).saturating_add(losses.late).saturating_add(losses.malformed)
}

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let losses = &snapshot.coverage.losses;
    let mut body = Blocks::default();
    lost(&mut body, losses);
    if !losses.any() {
        body.say("Nothing was lost.");
    }
    laws(&mut body, snapshot);
    let section = Section::new("losses", "Losses", body);
    if losses.any() { section.note("this report is incomplete").brief(0, BRIEFLY) } else { section }
}

/// All that did not reach the numbers.
fn lost(body: &mut Blocks<'_>, losses: &Losses) {
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
            body.entry(what, named.join(", "));
        }
    }
    for count in LossCount::all() {
        let number = (count.of)(losses);
        if number > 0 {
            body.entry(count.word, format!("{} {}", unit::count(number), count.what));
        }
    }
    if losses.recording_truncated {
        body.entry("recording", "breaks off before the window ended");
    }
}

/// How well the numbers add up.
fn laws(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let laws = &snapshot.coverage.conservation;
    if laws.emitted > 0 {
        let text = format!(
            "{} of {} that the kernel side wrote",
            unit::count(laws.received),
            unit::count(laws.emitted)
        );
        body.entry("records received", text);
    }
    if laws.slices > 0 {
        let text = match laws.slices_broken {
            0 => format!("{} checked, all add up", unit::count(laws.slices)),
            broken => format!("{} of {} do not add up", unit::count(broken), unit::count(laws.slices)),
        };
        body.entry("events", text);
    }
    if laws.requests_broken > 0 {
        body.entry("requests", format!("{} do not add up", unit::count(laws.requests_broken)));
    }
    if laws.threads_compared > 0 {
        let cpu = difference(laws.cpu_ns, laws.kernel_cpu_ns);
        let run_queue = difference(laws.run_queue_ns, laws.kernel_run_queue_ns);
        let threads = unit::counted(laws.threads_compared, "thread");
        let mut text = format!("CPU {cpu}, run queue {run_queue}, over {threads}");
        for (who, taken_ns) in [("the hypervisor", laws.stolen_ns), ("interrupts", laws.interrupt_ns)] {
            if taken_ns > 0 {
                let taken = shown(taken_ns);
                text.push_str(&format!("; {who} took {taken} of CPU, which the kernel does not count"));
            }
        }
        body.entry("against the kernel", text);
    }
}

/// Our number against the kernel's: a signed percentage, and of what, as much of next to nothing is nothing.
fn difference(ours_ns: u64, kernel_ns: u64) -> String {
    let whole = shown(kernel_ns);
    summary::ratio(ours_ns, kernel_ns)
        .map_or_else(|| "-".to_owned(), |ratio| format!("{:+.2} % of {whole}", (ratio - 1.0) * 100.0))
}
