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

use profiler_common::record::connection::{ConnectionRecord, SEEDED};
use profiler_common::record::{KIND_CONNECTION, RecordHeader};
use profiler_core::fact::asleep::{AsleepSeen, Patrol};
use profiler_core::fact::{Counters, DescriptorClass, EndReason, Fact, FactRecord};
use profiler_core::stream::Item;
use rustc_hash::{FxHashMap, FxHashSet};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::read::Recording;
use super::write::{RecordError, Recorder, Storage};

/// Marks in the time that is kept: what is given back is longer than that by one of them at most.
const MARKS: u32 = 4;
/// Facts of what was learned once that are remembered: names of frames and places, for most.
const MAX_LEARNED: usize = 65_536;
/// Places in Python that are remembered: as many as a replay does.
const MAX_PLACES: u32 = 8_192;
/// Connections that are remembered.
const MAX_CONNECTIONS: usize = 65_536;
/// So far from one another marks are at least: reading what is true then takes some milliseconds.
const LEAST_DISTANCE_NS: u64 = 1_000_000_000;
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

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn copy(&self) -> Vec<u8> {
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
    mark: Mark,
    /// Records of the connections that were open at the mark, as if they had been found then.
    connections: Vec<Vec<u8>>,
    /// Looks at threads that still slept then.
    looks: Vec<Fact>,
    bytes: Memory,
    /// `None`: it has ended, and its bytes are in `ended`.
    recorder: Option<Recorder<Memory>>,
    ended: Arc<Vec<u8>>,
}

impl Segment {
    fn after(mark: Mark) -> Result<Self, RecordError> {
        let bytes = Memory::default();
        let recorder = Recorder::on(bytes.clone(), Path::new(NOWHERE), env!("CARGO_PKG_VERSION"))?;
        let (connections, looks, ended) = <_>::default();
        Ok(Self { mark, connections, looks, bytes, recorder: Some(recorder), ended })
    }

    /// Bytes, those of the frame that is being gathered included.
    fn length(&self) -> usize {
        let pending = self.recorder.as_ref().map_or(0, Recorder::pending_bytes);
        self.bytes.length().saturating_add(pending).saturating_add(self.ended.len())
    }

    fn end(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            // Memory takes everything.
            let _ = recorder.finish();
            self.ended = Arc::new(self.bytes.take());
        }
    }

    /// What it holds so far.
    fn held(&mut self) -> Arc<Vec<u8>> {
        let Some(recorder) = &mut self.recorder else { return Arc::clone(&self.ended) };
        // Memory takes everything.
        let _ = recorder.flush();
        Arc::new(self.bytes.copy())
    }
}

/// The last minute.
#[derive(Debug)]
pub struct Kept {
    keep: Keep,
    segments: VecDeque<Segment>,
    /// What was learned once and is not said again, by what it is about.
    learned: BTreeMap<About, Fact>,
    /// Records of connections, by process and descriptor: of those that are open, and some that were.
    connections: BTreeMap<(u32, i32), ConnectionRecord>,
}

/// What a fact is about.
type About = (u8, u64, u64, u64);

impl Kept {
    /// Nothing yet.
    pub const fn new(keep: Keep) -> Self {
        Self { keep, segments: VecDeque::new(), learned: BTreeMap::new(), connections: BTreeMap::new() }
    }

    fn length_ns(&self) -> u64 {
        u64::try_from(self.keep.length.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether a mark is due at this moment.
    pub fn is_due(&self, now_ns: u64) -> bool {
        let Some(last) = self.segments.back() else { return true };
        let since_ns = now_ns.saturating_sub(last.mark.time_ns);
        // Frames that are not written yet count from the next mark on.
        let is_full = last.bytes.length() >= self.keep.budget_bytes / MARKS as usize;
        since_ns >= self.length_ns() / u64::from(MARKS) || is_full && since_ns >= LEAST_DISTANCE_NS
    }

    /// What comes from here on is after this mark. What else was true then comes with
    /// [`Self::also_at_mark`].
    pub fn mark(&mut self, mark: Mark) {
        let now_ns = mark.time_ns;
        if let Some(last) = self.segments.back_mut() {
            last.end();
        }
        self.segments.extend(Segment::after(mark).ok());
        // A segment more comes before the next mark.
        let budget_bytes = self.keep.budget_bytes / MARKS as usize * (MARKS as usize - 1);
        while self.segments.get(1).is_some_and(|second| {
            // Without the first there is enough, or there is too much.
            now_ns.saturating_sub(second.mark.time_ns) >= self.length_ns() || self.bytes() > budget_bytes
        }) {
            self.segments.pop_front();
        }
    }

    /// What was true at the last mark, read a moment later. What was learned of processes that are gone is
    /// forgotten.
    pub fn also_at_mark(&mut self, facts: Vec<Fact>) {
        let Some(last) = self.segments.back_mut() else { return };
        last.mark.facts.extend(facts);
        let (mut living, mut open, mut since) =
            (FxHashSet::default(), FxHashSet::default(), FxHashMap::default());
        for fact in &last.mark.facts {
            match fact {
                Fact::ProcessSeen(seen) => drop(living.insert(seen.tgid)),
                Fact::DescriptorSeen(seen) if seen.class == DescriptorClass::Client => {
                    open.insert((seen.tgid, seen.fd));
                }
                Fact::OpenSlice(slice) => drop(since.insert((slice.tgid, slice.tid), slice.since_ns())),
                _ => {}
            }
        }
        let lives = |tgid: u32| living.contains(&tgid);
        let is_still_asleep = |look: &AsleepSeen| {
            since.get(&(look.tgid, look.tid)).is_some_and(|since_ns| *since_ns <= look.since_ns)
        };
        let newest_place = self.learned.values().filter_map(place).max().unwrap_or(0);
        self.learned.retain(|_, fact| match fact {
            Fact::InterpreterSeen(seen) => lives(seen.tgid),
            Fact::ThreadNumbers(seen) => lives(seen.tgid),
            Fact::FrameSeen(seen) => lives(seen.tgid),
            Fact::OpenFiles(seen) => lives(seen.tgid),
            Fact::PlaceSeen(seen) => seen.number.saturating_add(MAX_PLACES) > newest_place,
            Fact::AsleepSeen(seen) => is_still_asleep(seen),
            _ => true,
        });
        let at_mark_alone = self.learned.iter().filter(|(about, _)| about.0 >= OF_A_MOMENT);
        let (looks, state): (Vec<Fact>, Vec<Fact>) =
            at_mark_alone.map(|(_, fact)| fact.clone()).partition(|fact| matches!(fact, Fact::AsleepSeen(_)));
        let mark_ns = last.mark.time_ns;
        let is_before = |fact: &Fact| matches!(fact, Fact::AsleepSeen(seen) if seen.since_ns <= mark_ns);
        last.looks = looks.into_iter().filter(is_before).collect();
        self.connections.retain(|of, record| record.header.time_ns >= mark_ns || open.contains(of));
        let before = self.connections.values().filter(|record| record.header.time_ns < mark_ns);
        last.connections = before.map(|record| found_at(*record, mark_ns).as_bytes().to_vec()).collect();
        last.mark.facts.extend(state);
    }

    /// One raw kernel record, redacted already.
    pub fn kernel(&mut self, record: &[u8]) {
        if let Ok((connection, _)) = ConnectionRecord::read_from_prefix(record)
            && connection.header.kind == KIND_CONNECTION
        {
            let of = (connection.header.tgid, connection.fd);
            if self.connections.len() < MAX_CONNECTIONS || self.connections.contains_key(&of) {
                self.connections.insert(of, connection);
            }
        }
        if let Some(recorder) = self.segments.back_mut().and_then(|last| last.recorder.as_mut()) {
            // One that is too large alone is left out.
            let _ = recorder.record_kernel(record);
        }
    }

    /// One fact.
    pub fn fact(&mut self, record: &FactRecord) {
        if let Some(about) = about(&record.fact)
            && (self.learned.len() < MAX_LEARNED || self.learned.contains_key(&about))
        {
            self.learned.insert(about, record.fact.clone());
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
        let first = self.segments.front()?;
        let (mark, connections, looks) = (first.mark.clone(), first.connections.clone(), first.looks.clone());
        let names = self.learned.iter().filter(|(about, _)| about.0 < OF_A_MOMENT);
        Some(KeptCopy {
            mark,
            connections,
            looks,
            learned: names.map(|(_, fact)| fact.clone()).collect(),
            segments: self.segments.iter_mut().map(Segment::held).collect(),
            end_ns,
            closing,
        })
    }

    fn bytes(&self) -> usize {
        self.segments.iter().map(Segment::length).sum()
    }
}

/// Everything of which a recording can be made, apart from the session that goes on.
#[derive(Clone, Debug)]
pub struct KeptCopy {
    mark: Mark,
    connections: Vec<Vec<u8>>,
    looks: Vec<Fact>,
    learned: Vec<Fact>,
    segments: Vec<Arc<Vec<u8>>>,
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
        let (start_ns, end_ns) = (self.mark.time_ns, self.end_ns);
        let base = Base::of(&self.mark);
        let mut start: Vec<Fact> = self.mark.facts.into_iter().chain(self.learned).collect();
        start.sort_by_key(place_in_stream);
        let record = |recorder: &mut Recorder<Memory>, time_ns, mut fact| {
            base.rebase(&mut fact);
            recorder.record_fact(&FactRecord { time_ns, fact })
        };
        for fact in start {
            record(&mut recorder, start_ns, fact)?;
        }
        for connection in &self.connections {
            recorder.record_kernel(connection)?;
        }
        for fact in [Fact::WindowStarted].into_iter().chain(self.looks) {
            record(&mut recorder, start_ns, fact)?;
        }
        for segment in &self.segments {
            // What was written a moment ago can be read.
            let Ok(mut recording) = Recording::from_reader(segment.as_slice(), Path::new(NOWHERE)) else {
                continue;
            };
            while let Some(item) = recording.next_item() {
                match item {
                    // What ended later is no part of it.
                    Item::Kernel(bytes) if ended_at(bytes).is_some_and(|time_ns| time_ns > end_ns) => {}
                    Item::Kernel(bytes) => recorder.record_kernel(bytes)?,
                    Item::Fact(fact) if fact.time_ns > end_ns => {}
                    Item::Fact(fact) => record(&mut recorder, fact.time_ns, fact.fact)?,
                }
            }
        }
        for fact in self.closing.into_iter().chain([Fact::WindowEnded { reason: EndReason::StillOpen }]) {
            record(&mut recorder, end_ns, fact)?;
        }
        recorder.finish()?;
        Ok(bytes.take())
    }
}

/// When what a record tells ended; `None`: it is too short to be one.
fn ended_at(record: &[u8]) -> Option<u64> {
    RecordHeader::read_from_prefix(record).ok().map(|(header, _)| header.time_ns)
}

/// A connection as if it had been found open at this moment.
const fn found_at(record: ConnectionRecord, time_ns: u64) -> ConnectionRecord {
    let header = RecordHeader { time_ns, ..record.header };
    ConnectionRecord { header, listener_fd: -1, origin: SEEDED, ..record }
}

const fn place(fact: &Fact) -> Option<u32> {
    match fact {
        Fact::PlaceSeen(seen) => Some(seen.number),
        _ => None,
    }
}

/// The order in which a stream begins: processes are there before what is learned of them, and before what
/// their threads do.
fn place_in_stream(fact: &Fact) -> u8 {
    match fact {
        Fact::SessionStarted(_) => 0,
        Fact::Attached(_) => 1,
        Fact::OpenSlice(_) => 4,
        learned if about(learned).is_some() => 3,
        _ => 2,
    }
}

/// What counted on before a mark.
struct Base {
    counters: Counters,
    patrol: Patrol,
    gil: (u64, u64),
}

impl Base {
    fn of(mark: &Mark) -> Self {
        let mut base = Self { counters: mark.counters.clone(), patrol: Patrol::default(), gil: (0, 0) };
        for fact in &mark.facts {
            match fact {
                Fact::Patrol(patrol) => base.patrol = *patrol,
                Fact::GilMethod(method) => base.gil = (method.probe_hits, method.attempts),
                _ => {}
            }
        }
        base
    }

    /// The same fact, with counts that begin at the mark.
    fn rebase(&self, fact: &mut Fact) {
        match fact {
            Fact::Counters(counters) => *counters = counters.since(&self.counters),
            Fact::Patrol(patrol) => *patrol = patrol.since(&self.patrol),
            Fact::GilMethod(method) => {
                method.probe_hits = method.probe_hits.saturating_sub(self.gil.0);
                method.attempts = method.attempts.saturating_sub(self.gil.1);
            }
            _ => {}
        }
    }
}

/// From this kind on a fact is of a moment: that at a mark counts, and not the newest.
const OF_A_MOMENT: u8 = 8;

/// What a fact is about that is said once and stays true, or is said again when it changes; `None`: it is
/// read again at each mark, or told of one event.
fn about(fact: &Fact) -> Option<About> {
    match fact {
        Fact::InterpreterSeen(seen) => Some((0, seen.tgid.into(), 0, 0)),
        Fact::ThreadNumbers(seen) => Some((1, seen.tgid.into(), 0, 0)),
        Fact::FrameSeen(seen) => Some((2, seen.tgid.into(), seen.code, seen.instruction)),
        Fact::OwnCode(own) => {
            let mut hasher = DefaultHasher::new();
            own.hash(&mut hasher);
            Some((3, hasher.finish(), 0, 0))
        }
        Fact::PlaceSeen(seen) => Some((4, seen.number.into(), 0, 0)),
        Fact::Container(_) => Some((5, 0, 0, 0)),
        Fact::LeftOut(left_out) => Some((6, left_out.from_ns, left_out.what as u64, 0)),
        Fact::GilMethod(_) => Some((OF_A_MOMENT, 0, 0, 0)),
        Fact::ForeignHolders(_) => Some((OF_A_MOMENT + 1, 0, 0, 0)),
        Fact::AsleepSeen(seen) => Some((OF_A_MOMENT + 2, seen.tid.into(), 0, 0)),
        Fact::Patrol(_) => Some((OF_A_MOMENT + 3, 0, 0, 0)),
        Fact::OpenFiles(seen) => Some((OF_A_MOMENT + 4, seen.tgid.into(), 0, 0)),
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

#[cfg(test)]
mod tests;
