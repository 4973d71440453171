//! Where in Python the interpreter lock was held while others waited, and where those stood that waited long.
//!
//! In: the lock's part of a snapshot. Out: tables, each with a sentence; nothing where nobody asked
//! (`--stacks`).

use profiler_core::model::gil::Gil;
use profiler_core::model::gil_place::{Blocked, Places, Spot};

use super::block::Blocks;
use super::cell::{Cell, count, duration, share, words};
use super::gil_words::{contender, spot};
use super::shown;
use super::table::{On, Rows, listed};
use crate::report::unit;

/// Places in the text report.
const SHOWN: usize = 8;

/// Where the lock was held while others waited, and where those stood that waited long.
pub(super) fn places(body: &mut Blocks<'_>, gil: &Gil) {
    let Some(places) = &gil.places else { return };
    body.gap();
    if !places.places.is_empty() {
        let table = Rows::of(
            "Where the lock was held while others waited",
            listed("/gil/places/listed", &places.places),
        )
        .shrinking("held in", |place| words(spot(&place.at)))
        .shrinking("called from", |place| called_from(place.called_from.as_ref()))
        .right("waited", |place| duration(place.wait_ns).at("wait_ns"))
        .right("of all waits", |place| share(place.wait_ns, gil.waits.sum_ns()))
        .right("samples", |place| count(place.waits).at("waits"))
        .table();
        body.table(table.first(SHOWN));
    }
    body.aside(summary(places));
    blocked(body, &places.blocked);
}

fn called_from(spot_above: Option<&Spot>) -> Cell {
    words(spot_above.map(spot).unwrap_or_default())
}

/// Where those stood that waited long.
fn blocked(body: &mut Blocks<'_>, blocked: &Blocked) {
    let Some(sentence) = blocked_summary(blocked) else { return };
    if !blocked.listed.is_empty() {
        body.gap();
        // The application's line is what there is room for; the page has the line itself, and who called it.
        let table = Rows::of(
            "Where the threads stood that waited long",
            listed("/gil/places/blocked/listed", &blocked.listed),
        )
        .shrinking("waited long", |block| words(contender(&block.waiter)))
        .shrinking("in", |block| words(spot(block.applications())))
        .only(On::TEXT)
        .shrinking("in", |block| words(spot(&block.at)))
        .only(On::PAGE)
        .shrinking("called from", |block| called_from(block.called_from.as_ref()))
        .only(On::PAGE)
        .right("waited", |block| duration(block.wait_ns).at("wait_ns"))
        .right("longest", |block| duration(block.longest_ns).at("longest_ns"))
        .right("waits", |block| count(block.waits).at("waits"))
        .table();
        body.table(table.first(SHOWN));
    }
    body.aside(sentence);
}

/// How far the waiters' own frames reach, in a sentence; `None`: nobody waited long.
fn blocked_summary(blocked: &Blocked) -> Option<String> {
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
fn summary(places: &Places) -> String {
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
        sentence.push_str(&format!("; {} of waiting without a sample", shown(places.unknown_ns)));
    }
    if places.samples == 0 {
        sentence.push_str(" (frames are known of CPython 3.11 to 3.15, not of free-threaded builds)");
    }
    sentence.push('.');
    sentence
}
