//! The last minute of a stream, in memory, to be written out as a recording when it is asked for.
//!
//! In: items of the stream, and marks at which everything before is counted. Out: a [`Copy`](KeptCopy), of
//! which [`KeptCopy::write`] makes a recording: what was true at its first mark, the window's beginning, the
//! items since, what was open at its end. It is bounded by time and by bytes: what is older goes.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use profiler_core::fact::{Counters, EndReason, Fact, FactRecord};
use profiler_core::stream::Item;

use super::read::Recording;
use super::write::{RecordError, Recorder, Storage};

/// Marks in the time that is kept: what is given back is longer than that by one of them at most.
const MARKS: u32 = 4;
/// Facts of what was learned once that are remembered: names of frames and places, for most.
const MAX_LEARNED: usize = 65_536;
/// What errors name: nobody sees it, as memory takes everything.
const NOWHERE: &str = "memory";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So much time.
    pub length: Duration,
    /// So many bytes at most.
    pub budget_bytes: usize,
}

/// What is kept now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// So much time, in nanoseconds.
    pub length_ns: u64,
    /// So many bytes.
    pub bytes: usize,
}

/// Bytes that are written in one place and read in another.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn length(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Memory {
    fn cut_back(&mut self, length_bytes: u64) {
        let length = usize::try_from(length_bytes).unwrap_or(usize::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).truncate(length);
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is read at a mark.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// When, `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Cumulative counters, when every record that they count had been taken.
    pub counters: Counters,
    /// What was true then, in the order in which a stream begins with it.
    pub facts: Vec<Fact>,
}

/// The stream from one mark to the next.
#[derive(Debug)]
struct Segment {
    mark: Arc<Mark>,
    bytes: Memory,
    /// `None`: it has ended.
    recorder: Option<Recorder<Memory>>,
}

impl Segment {
    fn after(mark: Mark) -> Result<Self, RecordError> {
        let bytes = Memory::default();
        let recorder = Recorder::on(bytes.clone(), Path::new(NOWHERE), env!("CARGO_PKG_VERSION"))?;
        Ok(Self { mark: Arc::new(mark), bytes, recorder: Some(recorder) })
    }

    /// Bytes, those of the frame that is being gathered included.
    fn length(&self) -> usize {
        let pending = self.recorder.as_ref().map_or(0, Recorder::pending_bytes);
        self.bytes.length().saturating_add(pending)
    }
}

/// The last minute.
#[derive(Debug)]
pub struct Kept {
    keep: Keep,
    segments: VecDeque<Segment>,
    /// What was learned once and is not said again, by what it is about.
    learned: BTreeMap<(u8, u64, u64, u64), Fact>,
}

impl Kept {
    /// Nothing yet.
    pub const fn new(keep: Keep) -> Self {
        Self { keep, segments: VecDeque::new(), learned: BTreeMap::new() }
    }

    /// Whether a mark is due at this moment.
    pub fn is_due(&self, now_ns: u64) -> bool {
        let Some(last) = self.segments.back() else { return true };
        let every_ns = u64::try_from(self.keep.length.as_nanos()).unwrap_or(u64::MAX) / u64::from(MARKS);
        let is_full = last.length() >= self.keep.budget_bytes / MARKS as usize;
        is_full || now_ns.saturating_sub(last.mark.time_ns) >= every_ns
    }

    /// What comes from here on is after this mark.
    pub fn mark(&mut self, mark: Mark) {
        let now_ns = mark.time_ns;
        if let Some(recorder) = self.segments.back_mut().and_then(|last| last.recorder.take()) {
            // Memory takes everything.
            let _ = recorder.finish();
        }
        self.segments.extend(Segment::after(mark).ok());
        let length_ns = u64::try_from(self.keep.length.as_nanos()).unwrap_or(u64::MAX);
        while self.segments.get(1).is_some_and(|second| {
            // Without the first there is enough, or there is too much.
            now_ns.saturating_sub(second.mark.time_ns) >= length_ns || self.bytes() > self.keep.budget_bytes
        }) {
            self.segments.pop_front();
        }
    }

    /// One raw kernel record, redacted already.
    pub fn kernel(&mut self, record: &[u8]) {
        if let Some(recorder) = self.segments.back_mut().and_then(|last| last.recorder.as_mut()) {
            // One that is too large alone is left out.
            let _ = recorder.record_kernel(record);
        }
    }

    /// One fact.
    pub fn fact(&mut self, record: &FactRecord) {
        if let Some(key) = learned(&record.fact)
            && (self.learned.len() < MAX_LEARNED || self.learned.contains_key(&key))
        {
            self.learned.insert(key, record.fact.clone());
        }
        if let Some(recorder) = self.segments.back_mut().and_then(|last| last.recorder.as_mut())
            && !is_of_windows(&record.fact)
        {
            let _ = recorder.record_fact(record);
        }
    }

    /// How much is kept now.
    pub fn held(&self, now_ns: u64) -> Held {
        let first_ns = self.segments.front().map_or(now_ns, |first| first.mark.time_ns);
        Held { length_ns: now_ns.saturating_sub(first_ns), bytes: self.bytes() }
    }

    /// A copy, with what is open at `end_ns`; `None`: there is nothing yet.
    pub fn copy(&mut self, end_ns: u64, closing: Vec<Fact>) -> Option<KeptCopy> {
        let last = self.segments.back_mut()?;
        if let Some(recorder) = &mut last.recorder {
            // Memory takes everything.
            let _ = recorder.flush();
        }
        let mark = Arc::clone(&self.segments.front()?.mark);
        let segments = self.segments.iter().map(|segment| segment.bytes.bytes()).collect();
        Some(KeptCopy { mark, learned: self.learned.values().cloned().collect(), segments, end_ns, closing })
    }

    fn bytes(&self) -> usize {
        self.segments.iter().map(Segment::length).sum()
    }
}

/// Everything of which a recording can be made, apart from the session that goes on.
#[derive(Debug)]
pub struct KeptCopy {
    mark: Arc<Mark>,
    learned: Vec<Fact>,
    segments: Vec<Vec<u8>>,
    end_ns: u64,
    closing: Vec<Fact>,
}

impl KeptCopy {
    /// The recording. It takes as long as reading it does.
    ///
    /// # Errors
    /// None that memory could give; kept so that nothing has to be unwrapped.
    pub fn write(self) -> Result<Vec<u8>, RecordError> {
        let bytes = Memory::default();
        let mut recorder = Recorder::on(bytes.clone(), Path::new(NOWHERE), env!("CARGO_PKG_VERSION"))?;
        let start_ns = self.mark.time_ns;
        let (looks, learned): (Vec<Fact>, Vec<Fact>) =
            self.learned.into_iter().partition(|fact| matches!(fact, Fact::AsleepSeen(_)));
        let mut start: Vec<Fact> = self.mark.facts.iter().cloned().chain(learned).collect();
        start.sort_by_key(place_in_stream);
        let still = looks.into_iter().filter(|look| is_still_asleep(look, &self.mark.facts));
        for fact in start.into_iter().chain([Fact::WindowStarted]).chain(still) {
            recorder.record_fact(&FactRecord { time_ns: start_ns, fact })?;
        }
        for segment in &self.segments {
            // What was written a moment ago can be read.
            let Ok(mut recording) = Recording::from_reader(segment.as_slice(), Path::new(NOWHERE)) else {
                continue;
            };
            while let Some(item) = recording.next_item() {
                match item {
                    Item::Kernel(record) => recorder.record_kernel(record)?,
                    Item::Fact(record) => {
                        let mut record = *record;
                        self.mark.counters.rebase(&mut record.fact);
                        recorder.record_fact(&record)?;
                    }
                }
            }
        }
        for mut fact in self.closing.into_iter().chain([Fact::WindowEnded { reason: EndReason::StillOpen }]) {
            self.mark.counters.rebase(&mut fact);
            recorder.record_fact(&FactRecord { time_ns: self.end_ns, fact })?;
        }
        recorder.finish()?;
        Ok(bytes.bytes())
    }
}

/// The order in which a stream begins: processes are there before what is learned of them, and before what
/// their threads do.
fn place_in_stream(fact: &Fact) -> u8 {
    match fact {
        Fact::SessionStarted(_) => 0,
        Fact::Attached(_) => 1,
        Fact::OpenSlice(_) => 4,
        learned_once if learned(learned_once).is_some() => 3,
        _ => 2,
    }
}

/// Counters that begin at a mark.
trait Rebase {
    fn rebase(&self, fact: &mut Fact);
}

impl Rebase for Counters {
    fn rebase(&self, fact: &mut Fact) {
        if let Fact::Counters(counters) = fact {
            *counters = counters.since(self);
        }
    }
}

/// What a fact is about that is said once and stays true; `None`: it is of a moment, or is read again at each
/// mark.
fn learned(fact: &Fact) -> Option<(u8, u64, u64, u64)> {
    match fact {
        Fact::InterpreterSeen(seen) => Some((0, seen.tgid.into(), 0, 0)),
        Fact::ThreadNumbers(seen) => Some((1, seen.tgid.into(), 0, 0)),
        Fact::FrameSeen(seen) => Some((2, seen.tgid.into(), seen.code, seen.instruction)),
        Fact::GilMethod(_) => Some((3, 0, 0, 0)),
        Fact::OwnCode(own) => {
            let mut hasher = DefaultHasher::new();
            own.hash(&mut hasher);
            Some((4, hasher.finish(), 0, 0))
        }
        Fact::PlaceSeen(seen) => Some((5, seen.number.into(), 0, 0)),
        Fact::Container(_) => Some((6, 0, 0, 0)),
        Fact::ForeignHolders(_) => Some((7, 0, 0, 0)),
        Fact::AsleepSeen(seen) => Some((8, seen.tid.into(), 0, 0)),
        _ => None,
    }
}

/// Whether it belongs to how the session itself divides its time: there is one window here.
const fn is_of_windows(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::WindowStarted
            | Fact::WindowRolled
            | Fact::WindowEnded { .. }
            | Fact::OpenSlice(_)
            | Fact::ThreadTotals(_)
            | Fact::Overhead(_)
            | Fact::ProcessMemory(_)
            | Fact::WaitingConnections(_)
    )
}

/// Whether a thread that was looked at was still in that sleep at a mark.
fn is_still_asleep(look: &Fact, at_mark: &[Fact]) -> bool {
    let Fact::AsleepSeen(seen) = look else { return false };
    at_mark.iter().any(|fact| match fact {
        Fact::OpenSlice(open) if open.tid == seen.tid => {
            let since_ns = if open.system_call.is_some() { open.enter_ns } else { open.gap_start_ns };
            since_ns <= seen.since_ns
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
