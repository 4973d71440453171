//! Where request time went: a bar for each phase, longest first.
//!
//! In: the phases of all requests. Out: a section.

use std::cmp::Reverse;

use profiler_core::model::Snapshot;
use profiler_core::phase::{Phase, Phases};

use super::bar::bar;
use super::page::Page;
use super::unit;
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::summary;

const BAR_COLUMNS: usize = 26;
/// Share from which a phase has a row of its own.
const SMALLEST_ROW: f64 = 0.001;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let requests = &snapshot.requests;
    let whole_ns = requests.phases.total_ns();
    let note = format!("{} request-seconds in all", unit::request_seconds(whole_ns));
    page.heading("Where request time went", &note);

    if whole_ns == 0 {
        page.paragraph((Role::Quiet, "  "), (None, "Nowhere: no request was seen."));
        return;
    }
    let mut rows: Vec<(Phase, u64)> = requests.phases.iter().collect();
    rows.sort_by_key(|(phase, duration_ns)| (Reverse(*duration_ns), *phase));
    // What is not known has its own row, however small.
    let worth_a_row = |phase: Phase, duration_ns| {
        phase == Phase::Unexplained || summary::ratio(duration_ns, whole_ns) >= Some(SMALLEST_ROW)
    };
    for (phase, duration_ns) in &rows {
        if worth_a_row(*phase, *duration_ns) {
            row(page, phase.name(), *duration_ns, whole_ns, meaning(*phase));
        }
    }
    let small = rows.iter().filter(|(phase, duration_ns)| !worth_a_row(*phase, *duration_ns));
    let small: Vec<String> = small
        .map(|(phase, duration_ns)| {
            format!("{} {}", phase.name(), unit::duration(*duration_ns, page.style.charset))
        })
        .collect();
    let silent = |measured: bool| -> Vec<String> {
        let empty = Phase::ALL.into_iter().filter(|phase| requests.phases.get(*phase) == 0);
        let wanted = empty.filter(|phase| summary::not_measured(snapshot, *phase).is_none() == measured);
        wanted.map(|phase| phase.name().to_owned()).collect()
    };
    for (label, names) in
        [("below 0.1 %", small), ("no time in", silent(true)), ("not measured", silent(false))]
    {
        if !names.is_empty() {
            page.entry(label, &names.join(", "));
        }
    }
}

/// `  name    duration  share  bar  meaning`.
pub(super) fn row(page: &mut Page, name: &str, duration_ns: u64, whole_ns: u64, meaning: &str) {
    let share = summary::ratio(duration_ns, whole_ns);
    // What means nothing (free slots) has no bar either: bars show what is taken.
    let bar = bar(share.filter(|_| !meaning.is_empty()), BAR_COLUMNS, page.style.charset);
    let padding = " ".repeat(BAR_COLUMNS.saturating_sub(columns(&bar)));
    let line = format!(
        "  {name:<18} {:>9}  {:>7}  {}{padding}  {}",
        unit::duration(duration_ns, page.style.charset),
        unit::percent(share),
        page.paint(Role::Graph, &bar),
        page.paint(Role::Quiet, meaning),
    );
    page.line(&line);
}

/// What a phase means, in a few words.
pub(in crate::report) const fn meaning(phase: Phase) -> &'static str {
    match phase {
        Phase::AcceptQueue => "in the listener's accept queue",
        Phase::PoolWait => "waiting for a free thread",
        Phase::LoopWait => "loop or accepting thread busy",
        Phase::ReadHead => "reading the head",
        Phase::ReadBody => "reading the body",
        Phase::ClientReadStall => "client slow to send",
        Phase::Cpu => "running Python",
        Phase::RunQueue => "runnable, waiting for a CPU",
        Phase::GilWait => "waiting for the GIL",
        Phase::LockWait => "waiting for another lock",
        Phase::BackendWait => "waiting for a back end",
        Phase::FileWait => "waiting for a file",
        Phase::FaultWait => "page faults",
        Phase::Sleep => "sleeping on purpose",
        Phase::Write => "writing the response",
        Phase::ClientWriteStall => "client slow to receive",
        Phase::FrontEnd => "in the front end",
        Phase::Unexplained => "not known",
    }
}

/// The phase that took most of some time, with its share: `backend_wait 86 %`; a dash where there is none.
pub(in crate::report) fn mostly(phases: &Phases) -> String {
    let longest = phases.iter().max_by_key(|(phase, duration_ns)| (*duration_ns, Reverse(*phase)));
    let Some((phase, duration_ns)) = longest else { return "-".to_owned() };
    let share = summary::ratio(duration_ns, phases.total_ns()).unwrap_or(0.0);
    format!("{} {:.0} %", phase.name(), share * 100.0)
}
