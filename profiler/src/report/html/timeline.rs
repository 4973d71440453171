//! The page's timeline: requests on the slots that served them, what threads did below them, as data that the
//! script draws.
//!
//! In: requests as they come to their end. Out: at most [`MOST`] of them, evenly thinned beyond that (the
//! slowest stay), with legends and the place where the script draws.

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::model::Snapshot;
use profiler_core::model::request::Request;
use profiler_core::phase::{Phase, Phases};
use profiler_core::timeline::{Entry as TimelineEntry, ThreadState};

use super::chart;
use super::data::{Data, Kept};
use super::markup::Html;
use super::over_time::{self, Span};
use super::threads::{Shown, Threads};
use crate::report::escape::{self, Charset};
use crate::report::{summary, unit};

/// Requests kept.
pub(super) const MOST: usize = 20_000;
/// Names of threads kept.
const MAX_NAMES: usize = 4_096;
/// Longest of them, in columns.
const LONGEST_THREAD_NAME: usize = 40;
/// Pieces of a lane up to this length need no mention.
const COARSE_NS: u64 = 10_000;

/// Requests seen so far, as many as are kept.
pub(super) struct Collected {
    most: usize,
    seen: u64,
    /// One of this many is kept; a power of two.
    every: u64,
    kept: Vec<Kept>,
    threads: Threads,
    /// Names of threads.
    names: BTreeMap<u32, String>,
}

impl Default for Collected {
    fn default() -> Self {
        Self::with_bound(MOST)
    }
}

impl Collected {
    fn with_bound(most: usize) -> Self {
        Self {
            most,
            seen: 0,
            every: 1,
            kept: Vec::new(),
            threads: Threads::default(),
            names: BTreeMap::new(),
        }
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

    /// Takes one entry.
    pub(super) fn entry(&mut self, entry: &TimelineEntry) {
        match entry {
            TimelineEntry::Request(request) => self.push(request),
            TimelineEntry::Slice { tgid, tid, start_ns, end_ns, state, .. } => {
                self.threads.push((*tgid, *tid), (*start_ns, *end_ns), *state);
            }
            TimelineEntry::Thread { tid, name, .. } if self.names.len() < MAX_NAMES => {
                self.names.insert(*tid, escape::line(name, LONGEST_THREAD_NAME, Charset::Unicode));
            }
            _ => {}
        }
    }

    /// The slowest, as far as they are not kept anyway.
    fn slowest(&self, snapshot: &Snapshot) -> Vec<Kept> {
        let ids: BTreeSet<u64> = self.kept.iter().map(|kept| kept.id).collect();
        let slowest = summary::slowest(snapshot).into_iter().filter(|request| !ids.contains(&request.id));
        slowest.map(Kept::new).collect()
    }

    /// Requests that are kept, and the slowest; each stands for this many.
    fn weighed(&self, snapshot: &Snapshot) -> Vec<Span> {
        let slowest = self.slowest(snapshot);
        let kept = self.kept.iter().map(|kept| (kept, self.every));
        let span = |(kept, weight): (&Kept, u64)| Span {
            start_ns: kept.start_ns,
            total_ns: kept.total_ns,
            wait_ns: kept.wait_ns,
            phases: kept.phases,
            has_ended: kept.flags & 1 == 0,
            weight,
        };
        kept.chain(slowest.iter().map(|kept| (kept, 1))).map(span).collect()
    }

    /// Requests in flight and latency over the window.
    pub(super) fn over_time(&self, html: &mut Html, snapshot: &Snapshot) {
        over_time::write(html, &self.weighed(snapshot), snapshot.window);
    }

    /// What it shows, its data included.
    pub(super) fn write(&self, html: &mut Html, snapshot: &Snapshot) {
        let slowest = self.slowest(snapshot);
        let shown: Vec<&Kept> = self.kept.iter().chain(&slowest).collect();
        let shown_count = unit::number(shown.len());
        if shown.is_empty() {
            html.raw("<p>No request was seen.</p>");
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
            " A row is a slot. A bar begins where a thread took the request. Its colour is that of the phase that \
             took most of it; the thin line before it is the wait for that thread.</p>",
        );
        let lanes = self.threads.shown(snapshot.window.start_ns);
        html.raw(
            "<noscript><p>Drawing it needs JavaScript; everything else on this page does not.</p></noscript>",
        );
        // The script takes the colours from the legends.
        chart::legend(html, "timeline-legend", phases_of(&shown));
        if !lanes.is_empty() {
            html.raw("<p class=\"note\">The lane below the bars is what the row's thread did, call by call; an idle thread has \
                 none. Threads without requests have rows of their own if they were there for a twentieth of the window.");
            if self.threads.piece_ns() > COARSE_NS {
                let piece = unit::duration(self.threads.piece_ns(), Charset::Unicode);
                html.text(&format!(
                    " What is shorter than {piece} is merged there, in the colour of its largest part."
                ));
            }
            html.raw("</p>");
            chart::legend(html, "timeline-threads", states_of(&lanes));
        }
        html.raw(include_str!("timeline.html"))
            .raw("<script type=\"application/json\" id=\"timeline-data\">");
        // Numbers and strings cannot fail to serialise; were they to, the script finds nothing to draw.
        html.json(
            &serde_json::to_string(&Data::new(&shown, snapshot, lanes, &self.names)).unwrap_or_default(),
        );
        html.raw("</script>");
    }
}

/// The phases that have time.
fn phases_of(shown: &[&Kept]) -> impl Iterator<Item = &'static str> {
    let mut phases = Phases::default();
    shown.iter().for_each(|kept| phases.add_all(&kept.phases));
    Phase::ALL.into_iter().filter(move |phase| phases.get(*phase) > 0).map(Phase::name)
}

/// What threads did. Who is idle has no colour.
fn states_of(lanes: &[Shown]) -> impl Iterator<Item = &'static str> {
    let states: BTreeSet<u64> = lanes.iter().flat_map(|lane| lane.3.iter().step_by(2)).copied().collect();
    let drawn =
        move |(place, state): &(u64, ThreadState)| states.contains(place) && *state != ThreadState::Idle;
    (0..).zip(ThreadState::ALL).filter(drawn).map(|(_, state)| state.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::html::data::seen;

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
    fn a_thread_has_its_lane_in_the_row_of_its_slot_and_one_without_a_slot_has_its_own() {
        let snapshot = fixture::exhausted().0;
        let request = snapshot.requests.slowest.iter().find(|request| request.slot.is_some()).unwrap();
        let start_ns = snapshot.window.start_ns;
        let slice = |tid| TimelineEntry::Slice {
            tgid: request.tgid,
            tid,
            start_ns,
            end_ns: start_ns + 5_000_000_000,
            state: ThreadState::Running,
            label: "read",
            fd: None,
            open: false,
            held_by: None,
            sites: None,
        };
        let mut collected = Collected::default();
        let name = "</script><b>\u{202e}".to_owned();
        for entry in [
            TimelineEntry::Thread { tgid: request.tgid, tid: 99, name },
            TimelineEntry::Request(Box::new(request.clone())),
            slice(request.tid),
            slice(99),
        ] {
            collected.entry(&entry);
        }
        let mut html = Html::default();
        collected.write(&mut html, &snapshot);
        let text = html.into_text();
        let island = text.split("id=\"timeline-data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: serde_json::Value = serde_json::from_str(island).unwrap();
        let row = |thread: usize| {
            let row = data["threads"][thread][0].as_u64().unwrap();
            data["rows"][usize::try_from(row).unwrap()].as_str().unwrap().to_owned()
        };
        let lanes = data["threads"].as_array().unwrap();
        assert_eq!(lanes.len(), 2);
        let rows = [row(0), row(1)];
        let of_slot = format!("thread {}", request.tid);
        assert!(rows.iter().any(|row| row.starts_with("slot ") && row.ends_with(&of_slot)), "{rows:?}");
        let own = rows.iter().find(|row| row.starts_with("no slot")).unwrap();
        assert!(own.contains("</script><b>") && !own.contains('\u{202e}'), "{own}");
        assert!(!island.contains('<'), "nothing in the island ends it");
    }

    #[test]
    fn the_slowest_are_there_however_thin_the_rest_is() {
        let snapshot = fixture::exhausted().0;
        let mut html = Html::default();
        Collected::default().write(&mut html, &snapshot);
        let text = html.into_text();
        let island = text.split("id=\"timeline-data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let seen = seen(&serde_json::from_str(island).unwrap());
        for request in &snapshot.requests.slowest {
            assert!(seen.iter().any(|seen| seen.id == request.id), "#{} is not there", request.id);
        }
    }
}
