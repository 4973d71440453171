//! The data of the page's timeline, from which the script draws and finds requests.
//!
//! In: requests and lanes of threads, as many as are shown. Out: JSON whose long parts are
//! [packed](super::packed) numbers. Times are in nanoseconds, those of lanes in microseconds.

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::model::Snapshot;
use profiler_core::model::request::Request;
use profiler_core::phase::{Phase, Phases};
use profiler_core::timeline::ThreadState;
use serde::Serialize;

use super::packed::Packed;
use super::threads::{Shown, UNKNOWN};
use crate::report::document::slowest;
use crate::report::escape::{self, Charset};
use crate::report::unit;

/// Rows of threads that served no request.
const MAX_OWN_ROWS: usize = 32;
/// Such a thread was there for this part of the window at least: 1 ÷ 20.
const SHORTEST_OWN_ROW: u64 = 20;

/// Longest name kept, in columns.
const LONGEST_NAME: usize = 160;

/// What the timeline needs of a request.
pub(super) struct Kept {
    pub(super) id: u64,
    pub(super) slot: Option<u32>,
    pub(super) place: (u32, u32),
    pub(super) start_ns: u64,
    pub(super) total_ns: u64,
    pub(super) wait_ns: u64,
    pub(super) name: String,
    pub(super) status: u16,
    /// 1 open, 2 beginning not seen, 4 lossy.
    pub(super) flags: u8,
    pub(super) phases: Phases,
}

impl Kept {
    pub(super) fn new(request: &Request) -> Self {
        let on_thread = request.stretches.first().map(|stretch| stretch.start_ns);
        let wait_ns = on_thread
            .or(request.times.service_start_ns)
            .map_or(0, |ns| ns.saturating_sub(request.times.start_ns));
        let flags = [request.seen.open, request.seen.truncated, request.seen.lossy];
        Self {
            id: request.id,
            slot: request.slot,
            place: (request.tgid, request.tid),
            start_ns: request.times.start_ns,
            total_ns: request.total_ns(),
            wait_ns: wait_ns.min(request.total_ns()),
            name: escape::line(&slowest::name(request), LONGEST_NAME, Charset::Unicode),
            status: request.http.status,
            flags: flags.into_iter().rev().fold(0, |flags, flag| flags << 1 | u8::from(flag)),
            phases: request.phases,
        }
    }

    fn pack(&self, packed: &mut Packed, row: u64, name: u64, first_ns: u64) {
        let start_ns = self.start_ns.saturating_sub(first_ns);
        packed.extend([row, self.id, start_ns, self.total_ns, self.wait_ns]);
        packed.extend([name, u64::from(self.status), u64::from(self.flags)]);
        packed.push(unit::number(self.phases.iter().count()));
        packed.extend(self.phases.iter().flat_map(|(phase, duration_ns)| [phase as u64, duration_ns]));
    }
}

/// State and length of each piece as one number each.
fn lane_of(pieces: &[u64]) -> Packed {
    let mut packed = Packed::default();
    packed.extend(
        pieces
            .as_chunks()
            .0
            .iter()
            .map(|[state, length]| length.saturating_mul(unit::number(STATES)).saturating_add(*state)),
    );
    packed
}

/// The data in the page.
#[derive(Serialize)]
pub(super) struct Data<'a> {
    length_ns: u64,
    /// What starts count from: that of the window, or what began before it.
    start_ns: i64,
    phases: [&'static str; Phase::COUNT],
    rows: Vec<String>,
    /// In order; each begins with as many characters of the one before it as its number says.
    names: Vec<(usize, &'a str)>,
    /// One after the other: row, id, start, total, wait, name, status, flags (1 open, 2 beginning not seen,
    /// 4 lossy), phases.
    requests: Packed,
    /// Names of the states of threads, which are also the classes that colour them.
    states: [&'static str; UNKNOWN],
    /// Lanes: row, start in µs, state and length in µs of each piece: [`STATES`] × length + state.
    threads: Vec<(usize, i64, Packed)>,
}

/// More than there are states of threads.
const STATES: usize = 16;
const _: () = assert!(UNKNOWN < STATES, "a state more needs a larger number");

/// Names in order, each as what it has in common with the one before it and its rest. In common are ASCII
/// characters alone.
fn shortened<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(usize, &'a str)> {
    let mut before = "";
    let shorten = |name: &'a str| {
        let same = name.bytes().zip(before.bytes()).take_while(|(one, other)| one == other && one.is_ascii());
        let same = same.count();
        before = name;
        (same, name.get(same..).unwrap_or_default())
    };
    names.map(shorten).collect()
}

impl<'a> Data<'a> {
    pub(super) fn new(
        shown: &[&'a Kept],
        snapshot: &Snapshot,
        lanes: Vec<Shown>,
        thread_names: &BTreeMap<u32, String>,
    ) -> Self {
        // Those without a slot in the last row.
        let row_of = |kept: &Kept| (kept.slot.is_none(), kept.slot);
        let mut rows = BTreeMap::new();
        for kept in shown {
            rows.entry(row_of(kept)).or_insert(kept.place);
        }
        let places: BTreeMap<_, usize> = rows.keys().copied().zip(0..).collect();
        let names: BTreeSet<&str> = shown.iter().map(|kept| kept.name.as_str()).collect();
        let names: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let mut ordered: Vec<&&Kept> = shown.iter().collect();
        ordered.sort_by_key(|kept| (row_of(kept), kept.start_ns, kept.id));
        let start = i128::from(snapshot.window.start_ns);
        let first_ns =
            shown.iter().map(|kept| kept.start_ns).min().unwrap_or(0).min(snapshot.window.start_ns);
        let mut requests = Packed::default();
        for kept in &ordered {
            let row = places.get(&row_of(kept)).copied().unwrap_or(0);
            let name = names.get(kept.name.as_str()).copied().unwrap_or(0);
            kept.pack(&mut requests, unit::number(row), unit::number(name), first_ns);
        }
        let label = |((_, slot), (tgid, tid)): (&(bool, Option<u32>), &(u32, u32))| match slot {
            Some(slot) => format!("slot {slot}: pid {tgid}, thread {tid}"),
            None => "no slot".to_owned(),
        };
        let mut labels: Vec<String> = rows.iter().map(label).collect();
        // A thread has its lane in the row of the slot that it served; one that served none, a row of its
        // own.
        let mut row_of_thread: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for kept in shown.iter().filter(|kept| kept.slot.is_some()) {
            let row = places.get(&row_of(kept)).copied().unwrap_or(0);
            row_of_thread.entry(kept.place).or_insert(row);
        }
        // Of those, the ones that were there for a good part of the window.
        let mut own: Vec<u64> = lanes
            .iter()
            .filter(|lane| !row_of_thread.contains_key(&(lane.0, lane.1)))
            .map(Shown::length)
            .collect();
        own.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
        let least = own.get(MAX_OWN_ROWS - 1).copied().unwrap_or(0);
        let least = least.max(snapshot.window.length_ns() / 1_000 / SHORTEST_OWN_ROW);
        let mut threads = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let length = lane.length();
            let Shown(tgid, tid, start, pieces) = lane;
            if !row_of_thread.contains_key(&(tgid, tid)) && length < least {
                continue;
            }
            let row = row_of_thread.get(&(tgid, tid)).copied().unwrap_or_else(|| {
                let name = thread_names.get(&tid).map_or_else(String::new, |name| format!(" ({name})"));
                labels.push(format!("no slot: pid {tgid}, thread {tid}{name}"));
                labels.len() - 1
            });
            threads.push((row, start, lane_of(&pieces)));
        }
        Self {
            length_ns: snapshot.window.length_ns(),
            start_ns: i64::try_from(i128::from(first_ns) - start).unwrap_or(0),
            phases: Phase::ALL.map(Phase::name),
            rows: labels,
            names: shortened(names.keys().copied()),
            requests,
            states: ThreadState::ALL.map(ThreadState::name),
            threads,
        }
    }
}

/// A request as the script reads it back.
#[cfg(test)]
pub(super) struct Seen {
    pub(super) id: u64,
    /// From the start of the window.
    pub(super) start_ns: i64,
    pub(super) total_ns: u64,
    pub(super) name: String,
    pub(super) phases_ns: u64,
}

/// The requests of the data, as the script reads them back.
#[cfg(test)]
pub(super) fn seen(data: &serde_json::Value) -> Vec<Seen> {
    let mut names: Vec<String> = Vec::new();
    for name in data["names"].as_array().expect("names") {
        let same = usize::try_from(name[0].as_u64().expect("a length")).expect("a short one");
        let before = names.last().map_or("", |name| &name[..same]);
        names.push(format!("{before}{}", name[1].as_str().expect("a rest")));
    }
    let mut numbers = super::packed::unpacked(data["requests"].as_str().expect("numbers")).into_iter();
    let mut seen = Vec::new();
    while let Some(_row) = numbers.next() {
        let mut next = || numbers.next().expect("a number more");
        let (id, start, total_ns, _wait, name) = (next(), next(), next(), next(), next());
        let (_status, _flags, phases) = (next(), next(), next());
        let phases_ns = (0..phases).map(|_| (next(), next()).1).sum();
        let start_ns = i64::try_from(start).expect("a time") + data["start_ns"].as_i64().expect("a start");
        let name = names[usize::try_from(name).expect("a number")].clone();
        seen.push(Seen { id, start_ns, total_ns, name, phases_ns });
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_what_they_have_in_common_with_the_one_before() {
        let names = ["GET /a/1", "GET /a/2", "GET /é1", "GET /é2", "head not read"];
        let short = shortened(names.into_iter());
        assert_eq!(short, [(0, "GET /a/1"), (7, "2"), (5, "é1"), (5, "é2"), (0, "head not read")]);
    }
}
