//! The page's timeline: requests on the slots that served them, as data that the script draws.
//!
//! In: requests as they come to their end. Out: at most [`MOST`] of them, evenly thinned beyond that (the slowest stay),
//! as compact JSON: [slot's row, id, start, total, wait before its thread, name, status, flags, [phase, duration, …]],
//! times in nanoseconds, starts from the start of the window.

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::model::Snapshot;
use profiler_core::model::request::Request;
use profiler_core::phase::{Phase, Phases};
use serde::Serialize;

use super::chart;
use super::markup::Html;
use crate::report::escape::{self, Charset};
use crate::report::summary;
use crate::report::text::{slowest, unit};

/// Requests kept.
pub(super) const MOST: usize = 20_000;
/// Longest name kept, in columns.
const LONGEST_NAME: usize = 160;

/// What the timeline needs of a request.
struct Kept {
    id: u64,
    slot: Option<u32>,
    place: (u32, u32),
    start_ns: u64,
    total_ns: u64,
    wait_ns: u64,
    name: String,
    status: u16,
    flags: u8,
    phases: Phases,
}

impl Kept {
    fn new(request: &Request) -> Self {
        let on_thread = request.stretches.first().map(|stretch| stretch.start_ns);
        let wait_ns =
            on_thread.or(request.service_start_ns).map_or(0, |ns| ns.saturating_sub(request.start_ns));
        let flags = [request.open, request.truncated, request.lossy];
        Self {
            id: request.id,
            slot: request.slot,
            place: (request.tgid, request.tid),
            start_ns: request.start_ns,
            total_ns: request.total_ns(),
            wait_ns: wait_ns.min(request.total_ns()),
            name: escape::line(&slowest::name(request), LONGEST_NAME, Charset::Unicode),
            status: request.status,
            flags: flags.into_iter().rev().fold(0, |flags, flag| flags << 1 | u8::from(flag)),
            phases: request.phases,
        }
    }
}

/// Requests seen so far, as many as are kept.
pub(super) struct Collected {
    most: usize,
    seen: u64,
    /// One of this many is kept; a power of two.
    every: u64,
    kept: Vec<Kept>,
}

impl Default for Collected {
    fn default() -> Self {
        Self::with_bound(MOST)
    }
}

impl Collected {
    fn with_bound(most: usize) -> Self {
        Self { most, seen: 0, every: 1, kept: Vec::new() }
    }

    /// Takes one request.
    pub(super) fn push(&mut self, request: &Request) {
        let wanted = self.seen.is_multiple_of(self.every);
        self.seen += 1;
        if !wanted {
            return;
        }
        if self.kept.len() >= self.most {
            let mut keep = false;
            self.kept.retain(|_| {
                keep = !keep;
                keep
            });
            self.every = self.every.saturating_mul(2);
            if !(self.seen - 1).is_multiple_of(self.every) {
                return;
            }
        }
        self.kept.push(Kept::new(request));
    }

    /// The section, its data included.
    pub(super) fn section(&self, html: &mut Html, snapshot: &Snapshot) {
        html.section("timeline", "Timeline", "");
        let ids: BTreeSet<u64> = self.kept.iter().map(|kept| kept.id).collect();
        let slowest = summary::slowest(snapshot).into_iter().filter(|request| !ids.contains(&request.id));
        let slowest: Vec<Kept> = slowest.map(Kept::new).collect();
        let shown: Vec<&Kept> = self.kept.iter().chain(&slowest).collect();
        let shown_count = u64::try_from(shown.len()).unwrap_or(u64::MAX);
        if shown.is_empty() {
            html.raw("<p>No request was seen.</p>");
            html.end_section();
            return;
        }
        let note = match self.every {
            1 => format!("All {} of the window.", unit::counted(shown_count, "request")),
            every => format!(
                "{} of {} requests: one of {every}, evenly, and the slowest. All are in the timeline and ndjson formats.",
                unit::count(shown_count),
                unit::count(self.seen)
            ),
        };
        html.raw("<p class=\"note\">").text(&note).raw(
            " A row is a slot. A bar begins where a thread took the request and has the colour of the phase that took \
             most of it; the thin line before it is the wait for that thread.</p>",
        );
        html.raw(
            "<noscript><p>Drawing it needs JavaScript; everything else on this page does not.</p></noscript>",
        );
        legend(html, &shown);
        html.raw(include_str!("timeline.html"))
            .raw("<script type=\"application/json\" id=\"timeline-data\">");
        // Numbers and strings cannot fail to serialise; were they to, the script finds nothing to draw.
        html.json(&serde_json::to_string(&Data::new(&shown, snapshot)).unwrap_or_default());
        html.raw("</script>");
        html.end_section();
    }
}

/// The phases that have time, with their colours; the script takes the colours from here.
fn legend(html: &mut Html, shown: &[&Kept]) {
    let mut phases = Phases::default();
    shown.iter().for_each(|kept| phases.add_all(&kept.phases));
    html.raw("<ul class=\"legend\" id=\"timeline-legend\">");
    for (phase, _) in phases.iter() {
        html.raw("<li>");
        chart::swatch(html, phase.name());
        html.raw("</li>");
    }
    html.raw("</ul>");
}

#[derive(Serialize)]
struct Data<'a> {
    length_ns: u64,
    phases: [&'static str; Phase::COUNT],
    rows: Vec<String>,
    names: Vec<&'a str>,
    requests: Vec<Entry>,
}

/// Row, id, start, total, wait, name, status, flags (1 open, 2 beginning not seen, 4 lossy), phases.
#[derive(Serialize)]
struct Entry(usize, u64, i64, u64, u64, usize, u16, u8, Vec<u64>);

impl<'a> Data<'a> {
    fn new(shown: &[&'a Kept], snapshot: &Snapshot) -> Self {
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
        let entry = |kept: &&&Kept| {
            let start_ns = i64::try_from(i128::from(kept.start_ns) - start).unwrap_or(0);
            let row = places.get(&row_of(kept)).copied().unwrap_or(0);
            let name = names.get(kept.name.as_str()).copied().unwrap_or(0);
            let phases = kept.phases.iter();
            let phases = phases.flat_map(|(phase, duration_ns)| [phase as u64, duration_ns]).collect();
            Entry(row, kept.id, start_ns, kept.total_ns, kept.wait_ns, name, kept.status, kept.flags, phases)
        };
        let requests = ordered.iter().map(entry).collect();
        let label = |((_, slot), (tgid, tid)): (&(bool, Option<u32>), &(u32, u32))| match slot {
            Some(slot) => format!("slot {slot}: pid {tgid}, thread {tid}"),
            None => "no slot".to_owned(),
        };
        Self {
            length_ns: snapshot.window.length_ns(),
            phases: Phase::ALL.map(Phase::name),
            rows: rows.iter().map(label).collect(),
            names: names.keys().copied().collect(),
            requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn more_requests_than_are_kept_are_thinned_evenly() {
        let template = fixture::exhausted().0.requests.slowest[0].clone();
        let mut collected = Collected::with_bound(100);
        for id in 0..1_000 {
            collected.push(&Request { id, ..template.clone() });
            assert!(collected.kept.len() <= 100);
        }
        assert_eq!((collected.seen, collected.every), (1_000, 16));
        let ids: Vec<u64> = collected.kept.iter().map(|kept| kept.id).collect();
        assert_eq!(ids, (0..1_000).step_by(16).collect::<Vec<u64>>());
    }

    #[test]
    fn the_slowest_are_there_however_thin_the_rest_is() {
        let snapshot = fixture::exhausted().0;
        let mut html = Html::default();
        Collected::default().section(&mut html, &snapshot);
        let text = html.into_text();
        for request in &snapshot.requests.slowest {
            assert!(text.contains(&format!(",{},", request.id)), "#{} is not there", request.id);
        }
    }
}
