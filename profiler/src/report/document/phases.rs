//! Where request time went: a bar for each phase, longest first.
//!
//! In: the phases of all requests, of an endpoint, of a request. Out: a section; the bars alone; phases in
//! words.

use std::cmp::Reverse;

use profiler_core::model::Snapshot;
use profiler_core::phase::{Phase, Phases};

use super::block::{Bar, Bars, Block, Blocks, Section};
use super::cell::{duration, share};
use super::shown;
use super::table::On;
use crate::report::{summary, unit, vocabulary};

/// What a request may wait for before a thread takes it, in the order in which they follow one another.
pub(crate) const BEFORE_THREAD: [Phase; 3] = [Phase::AcceptQueue, Phase::LoopWait, Phase::PoolWait];

/// Share from which a phase has a row of its own in the text report.
const SMALLEST_ROW: f64 = 0.001;

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let phases = &snapshot.requests.phases;
    let whole_ns = phases.total_ns();
    let mut body = Blocks::default();
    let section = |body| {
        Section::new("time", "Where request time went", body)
            .short("Time")
            .note(format!("{} request-seconds in all", unit::request_seconds(whole_ns)))
    };
    if whole_ns == 0 {
        body.say("Nowhere: no request was seen.");
        return section(body);
    }
    // What is not known has its own row, however small.
    let is_small = |phase: Phase, duration_ns| {
        phase != Phase::Unexplained && summary::ratio(duration_ns, whole_ns) < Some(SMALLEST_ROW)
    };
    let row = |(phase, duration_ns): (Phase, u64)| Bar {
        on: if is_small(phase, duration_ns) { On::PAGE } else { On::BOTH },
        duration: duration(duration_ns).at(format!("/phases/{}_ns", phase.name())),
        ..bar(phase, duration_ns, whole_ns)
    };
    let list = longest_first(phases).into_iter().map(row).collect();
    body.push(On::BOTH, Block::Bars(bars("Time of all requests, by phase", whole_ns, list)));
    let small =
        longest_first(phases).into_iter().filter(|(phase, duration_ns)| is_small(*phase, *duration_ns));
    let small: Vec<String> =
        small.map(|(phase, duration_ns)| format!("{} {}", phase.name(), shown(duration_ns))).collect();
    let silent = |measured: bool| -> Vec<String> {
        let empty = Phase::ALL.into_iter().filter(|phase| phases.get(*phase) == 0);
        let wanted = empty.filter(|phase| summary::not_measured(snapshot, *phase).is_none() == measured);
        wanted.map(|phase| phase.name().to_owned()).collect()
    };
    let below = ("below 0.1 %", small, On::TEXT);
    let others = [("no time in", silent(true), On::BOTH), ("not measured", silent(false), On::BOTH)];
    for (label, names, on) in [below].into_iter().chain(others) {
        if !names.is_empty() {
            body.entry_on(on, label, names.join(", "));
        }
    }
    section(body)
}

/// The phases of one request or endpoint, which stand in the JSON report below `pointer`.
pub(crate) fn detail<'a>(caption: &'static str, phases: &Phases, pointer: &str) -> Block<'a> {
    let whole_ns = phases.total_ns();
    let row = |(phase, duration_ns): (Phase, u64)| Bar {
        duration: duration(duration_ns).at(format!("{pointer}/{}_ns", phase.name())),
        ..bar(phase, duration_ns, whole_ns)
    };
    let list = longest_first(phases).into_iter().map(row).collect();
    Block::Bars(bars(caption, whole_ns, list))
}

const fn bars(caption: &'static str, whole_ns: u64, list: Vec<Bar>) -> Bars {
    Bars { caption, headings: ["phase", "time", "share"], whole_ns, list }
}

fn bar(phase: Phase, duration_ns: u64, whole_ns: u64) -> Bar {
    Bar {
        term: vocabulary::of_phase(phase),
        duration_ns,
        duration: duration(duration_ns),
        share: share(duration_ns, whole_ns),
        on: On::BOTH,
    }
}

/// Phases above zero, longest first.
pub(crate) fn longest_first(phases: &Phases) -> Vec<(Phase, u64)> {
    let mut rows: Vec<(Phase, u64)> = phases.iter().collect();
    rows.sort_by_key(|(phase, duration_ns)| (Reverse(*duration_ns), *phase));
    rows
}
