//! Of a recording's timeline what a forecast needs: requests, and what their threads did, in order.
//!
//! In: the timeline. Out: [`Trace`]. Requests end before all of what their threads did is drawn: both are
//! joined after the replay.

use std::collections::HashMap;

use profiler_core::event::Tid;
use profiler_core::fact::Fact;
use profiler_core::fact::machine::MachineCpu;
use profiler_core::model::request::Request;
use profiler_core::phase::Phase;
use profiler_core::pipeline::Settings;
use profiler_core::timeline::{Entry, ThreadState};

use crate::session::observer::Observer;

/// Requests kept at most.
const MAX_REQUESTS: usize = 1_000_000;
/// Slices kept at most: some 500 MB.
const MAX_SLICES: usize = 20_000_000;

/// Phases of a request in which its thread runs.
pub(super) const ON_CPU: [Phase; 4] = [Phase::Cpu, Phase::ReadHead, Phase::ReadBody, Phase::Write];

/// As calls that send begin.
const SENDS: [&str; 2] = ["write", "send"];

/// Readings of the machine's CPU time kept at most: one a second.
const MAX_READINGS: usize = 100_000;

/// A stretch of a thread's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// What it did.
    pub state: ThreadState,
    /// Where.
    pub place: Place,
    /// In a call that sends.
    pub sends: bool,
    /// A wait for the interpreter lock: the thread that had it when the wait began; 0: that is not known.
    pub held_by: Tid,
}

/// Where a thread was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between two calls: its own code.
    Gap,
    /// In a call that accepts a connection.
    Accept,
    /// In another call.
    Call,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Trace {
    /// In the order in which they ended.
    pub requests: Vec<Request>,
    /// Calls of accept, by thread.
    pub accepts: HashMap<Tid, u64>,
    /// There was more than is kept.
    pub is_cut: bool,
    /// Readings of the machine's CPU time, in order.
    pub machine: Vec<MachineCpu>,
    slices: HashMap<Tid, Vec<Slice>>,
    slices_count: usize,
}

impl Trace {
    /// All that threads did, by thread, each in order.
    pub(super) fn threads(&self) -> impl Iterator<Item = (Tid, &[Slice])> {
        self.slices.iter().map(|(tid, slices)| (*tid, slices.as_slice()))
    }

    /// What a thread did between these moments, in order, cut at them.
    pub(super) fn between(&self, tid: Tid, start_ns: u64, end_ns: u64) -> impl Iterator<Item = Slice> {
        let all = self.slices.get(&tid).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|slice| slice.end_ns <= start_ns);
        let within = all.iter().skip(first).take_while(move |slice| slice.start_ns < end_ns);
        within.map(move |slice| Slice {
            start_ns: slice.start_ns.max(start_ns),
            end_ns: slice.end_ns.min(end_ns),
            ..*slice
        })
    }
}

/// What all threads did between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Activity {
    /// In their own code, or moving data: nearly all of it on a CPU.
    pub(super) running_ns: u64,
    /// How often they went to sleep.
    pub(super) sleeps: u64,
}

impl Trace {
    /// What all threads did between each two of these moments, which are in order.
    pub(super) fn activity(&self, edges_ns: &[u64]) -> Vec<Activity> {
        let mut found = vec![Activity::default(); edges_ns.len().saturating_sub(1)];
        for slice in self.slices.values().flatten() {
            let first = edges_ns.partition_point(|edge_ns| *edge_ns <= slice.start_ns).saturating_sub(1);
            let is_running = matches!(slice.state, ThreadState::Running | ThreadState::ClientIo);
            for (pair, activity) in edges_ns.windows(2).zip(&mut found).skip(first) {
                let &[from_ns, until_ns] = pair else { continue };
                if from_ns >= slice.end_ns {
                    break;
                }
                if is_running {
                    let cut_ns = slice.end_ns.min(until_ns).saturating_sub(slice.start_ns.max(from_ns));
                    activity.running_ns = activity.running_ns.saturating_add(cut_ns);
                } else if (from_ns..until_ns).contains(&slice.start_ns) {
                    activity.sleeps = activity.sleeps.saturating_add(1);
                }
            }
        }
        found
    }
}

impl Observer for Trace {
    fn settings(&self) -> Settings {
        Settings { thread_slices: true }
    }

    fn note(&mut self, fact: &Fact) {
        if let Fact::MachineCpu(reading) = fact
            && self.machine.len() < MAX_READINGS
            && self.machine.last().is_none_or(|last| last.read_ns < reading.read_ns)
        {
            self.machine.push(*reading);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Request(request) if self.requests.len() < MAX_REQUESTS => {
                self.requests.push((**request).clone());
            }
            Entry::Slice { tid, start_ns, end_ns, state, label, held_by, .. }
                if self.slices_count < MAX_SLICES =>
            {
                let place = match *label {
                    "running" => Place::Gap,
                    label if label.starts_with("accept") => Place::Accept,
                    _ => Place::Call,
                };
                if place == Place::Accept {
                    let count = self.accepts.entry(*tid).or_default();
                    *count = count.saturating_add(1);
                }
                self.slices_count += 1;
                self.slices.entry(*tid).or_default().push(Slice {
                    start_ns: *start_ns,
                    end_ns: *end_ns,
                    state: *state,
                    place,
                    sends: SENDS.iter().any(|name| label.starts_with(name)),
                    held_by: held_by.unwrap_or(0),
                });
            }
            Entry::Request(_) | Entry::Slice { .. } => self.is_cut = true,
            _ => {}
        }
    }
}
