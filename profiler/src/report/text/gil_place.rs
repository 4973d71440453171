//! Where in Python the interpreter lock was held while others waited, and where those stood that waited long.
//!
//! In: the lock's part of a snapshot. Out: tables, each with a sentence; nothing where nobody asked (`--stacks`).

use profiler_core::model::gil::Gil;
use profiler_core::model::gil_place::{Blocked, Places};

use super::gil_words::{party, spot};
use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::style::Role;
use crate::report::summary;

/// Places shown.
const SHOWN: usize = 8;

const PLACES: [Column; 5] = [
    Column::Shrinking("held in"),
    Column::Shrinking("called from"),
    Column::Right("waited"),
    Column::Right("of all waits"),
    Column::Right("samples"),
];

const BLOCKED: [Column; 5] = [
    Column::Shrinking("waited long"),
    Column::Shrinking("in"),
    Column::Right("waited"),
    Column::Right("longest"),
    Column::Right("waits"),
];

pub(super) fn section(page: &mut Page, gil: &Gil) {
    let Some(places) = &gil.places else { return };
    page.blank();
    if !places.places.is_empty() {
        let mut table = Table::new(&PLACES);
        for place in places.places.iter().take(SHOWN) {
            table.row([
                spot(&place.at),
                place.called_from.as_ref().map(spot).unwrap_or_default(),
                unit::duration(place.wait_ns, page.style.charset),
                unit::percent(summary::ratio(place.wait_ns, gil.waits.sum_ns())),
                unit::count(place.waits),
            ]);
        }
        table.write(page);
    }
    page.paragraph((Role::Quiet, "  "), (Some(Role::Quiet), &summary(page, places)));
    blocked(page, &places.blocked);
}

/// Where those stood that waited long.
fn blocked(page: &mut Page, blocked: &Blocked) {
    let Some(sentence) = blocked_summary(blocked) else { return };
    if !blocked.listed.is_empty() {
        page.blank();
        let mut table = Table::new(&BLOCKED);
        for block in blocked.listed.iter().take(SHOWN) {
            table.row([
                party(&block.waiter),
                spot(block.applications()),
                unit::duration(block.wait_ns, page.style.charset),
                unit::duration(block.longest_ns, page.style.charset),
                unit::count(block.waits),
            ]);
        }
        table.write(page);
    }
    page.paragraph((Role::Quiet, "  "), (Some(Role::Quiet), &sentence));
}

/// How far the waiters' own frames reach, in a sentence; `None`: nobody waited long.
pub(in crate::report) fn blocked_summary(blocked: &Blocked) -> Option<String> {
    if blocked.samples == 0 && blocked.without_sample == 0 {
        return None;
    }
    let mut sentence = format!(
        "Where the threads stood that waited 4 ms and more: their own frames in {}",
        unit::counted(blocked.samples, "wait")
    );
    if blocked.elsewhere > 0 {
        sentence.push_str(&format!(
            "; {} left out, of threads without a readable function in the interpreter that had the lock (they run another one \
             that shares it, as in mod_wsgi, or no Python)",
            unit::count(blocked.elsewhere)
        ));
    }
    if blocked.unreadable > 0 {
        sentence
            .push_str(&format!("; {} in no function that could be read", unit::count(blocked.unreadable)));
    }
    if blocked.without_sample > 0 {
        sentence.push_str(&format!("; {} not looked at", unit::counted(blocked.without_sample, "wait")));
    }
    sentence.push('.');
    Some(sentence)
}

/// How far the samples reach, in a sentence.
pub(in crate::report) fn summary(page: &Page, places: &Places) -> String {
    let mut sentence = format!(
        "Where the holder was: {}, each weighted by the wait in which it was taken",
        unit::counted(places.samples, "sample")
    );
    if places.unstable > 0 {
        sentence.push_str(&format!("; {} unstable, not used", unit::count(places.unstable)));
    }
    if places.unreadable > 0 {
        sentence.push_str(&format!("; {} in no function that could be read", unit::count(places.unreadable)));
    }
    if places.unknown_ns > 0 {
        let shown = unit::duration(places.unknown_ns, page.style.charset);
        sentence.push_str(&format!("; {shown} of waiting without a sample"));
    }
    if places.samples == 0 {
        sentence.push_str(" (frames are known of CPython 3.11 to 3.15, not of free-threaded builds)");
    }
    sentence.push('.');
    sentence
}
