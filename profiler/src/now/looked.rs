//! What was seen of each thread that is still true.
//!
//! In: facts and timeline entries of a run. Out: [`Looked`]: the last look at each thread's sleep, and where
//! it computed last. Bounded.

use std::collections::{BTreeMap, HashMap};

use profiler_core::event::Tid;
use profiler_core::fact::Fact;
use profiler_core::fact::asleep::AsleepSeen;
use profiler_core::fact::place::PlaceSeen;
use profiler_core::fact::sample::SampleSeen;
use profiler_core::pipeline::Settings;
use profiler_core::timeline::Entry;

use crate::fact::Proc;
use crate::fact::last_ran::not_run_ns;
use crate::session::observer::Observer;

/// Threads, and places, that are remembered.
const MAX_KEPT: usize = 16_384;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    asleep: HashMap<Tid, AsleepSeen>,
    computed: HashMap<Tid, SampleSeen>,
    places: HashMap<u32, PlaceSeen>,
    not_run_ns: BTreeMap<Tid, u64>,
}

impl Looked {
    /// Takes a fact.
    pub fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::AsleepSeen(seen) => {
                make_room(&mut self.asleep, seen.tid);
                self.asleep.insert(seen.tid, seen.clone());
            }
            Fact::SampleSeen(sample) if sample.slept.is_none() => {
                make_room(&mut self.computed, sample.tid);
                self.computed.insert(sample.tid, *sample);
            }
            Fact::PlaceSeen(place)
                if self.places.len() < MAX_KEPT || self.places.contains_key(&place.number) =>
            {
                self.places.insert(place.number, place.clone());
            }
            _ => {}
        }
    }

    /// A stretch of a thread's time is over: if it slept in it, it sleeps no longer.
    fn over(&mut self, tid: Tid, end_ns: u64) {
        if self.asleep.get(&tid).is_some_and(|seen| seen.since_ns < end_ns) {
            self.asleep.remove(&tid);
        }
    }

    /// The last look at a thread in the sleep that it is in.
    pub fn asleep(&self, tid: Tid) -> Option<&AsleepSeen> {
        self.asleep.get(&tid)
    }

    /// Where a thread computed last, not before `from_ns`.
    pub fn computed(&self, tid: Tid, from_ns: u64) -> Option<&PlaceSeen> {
        let sample = self.computed.get(&tid).filter(|sample| sample.at_ns >= from_ns)?;
        self.place(sample.place)
    }

    /// For how long a thread has not run, at least; `None`: not known.
    pub fn not_run_ns(&self, tid: Tid) -> Option<u64> {
        self.not_run_ns.get(&tid).copied()
    }

    /// Reads for how long the threads that were looked at have not run.
    pub fn read_not_run(&mut self, proc: &Proc) {
        let threads: Vec<(Tid, Tid)> = self.asleep.values().map(|seen| (seen.tgid, seen.tid)).collect();
        self.not_run_ns = not_run_ns(proc, &threads);
    }

    /// A place by its number.
    pub fn place(&self, number: Option<u32>) -> Option<&PlaceSeen> {
        self.places.get(&number?)
    }
}

/// Threads come and go; those that live are back in a moment.
fn make_room<V>(known: &mut HashMap<Tid, V>, tid: Tid) {
    if known.len() >= MAX_KEPT && !known.contains_key(&tid) {
        known.clear();
    }
}

impl Observer for Looked {
    /// Stretches of threads say whose sleep is over.
    fn settings(&self) -> Settings {
        Settings { thread_slices: true }
    }

    fn note(&mut self, fact: &Fact) {
        self.fact(fact);
    }

    fn entry(&mut self, entry: &Entry) {
        if let Entry::Slice { tid, end_ns, open: false, .. } = entry {
            self.over(*tid, *end_ns);
        }
    }
}
