//! One set of attached programs for several sessions: an agent for a whole node attaches once.
//!
//! In: sessions that want programs, records of all their targets. Out: a `Tap` for each session, which
//! shows that session's processes alone. A record goes to the session that has its process; a child belongs
//! to whoever has its parent. With one session nothing is looked up or copied.

mod tap;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::rc::{Rc, Weak};

use profiler_common::loss::{LOSS_NAMES, RING_FULL_SLICE};
use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::evidence::{EvidenceRecord, STAGE_ACCEPTED, STAGE_CLOSED};
use profiler_common::record::lifecycle::{FORK, LifecycleRecord};
use profiler_common::record::{KIND_CONNECTION, KIND_EVIDENCE, KIND_LIFECYCLE, RecordHeader};
use profiler_core::fact::queue::QueueCounts;
use profiler_core::fact::{Attached, Counters, Fact, ListenerCounts, ListenerSeen};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use zerocopy::FromBytes as _;

pub(super) use self::tap::Tap;
use super::patrol::Patrol;
use super::recent::{Readings, Recent};
use crate::attach::{AttachError, Settings, execute};
use crate::fact::Proc;
use crate::source::live::LiveSource;
use crate::source::live::clock::monotonic_ns;

/// Bytes that wait for one session: each takes what is its own ten times a second, or as much waits.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// From so many bytes on a session is woken: with less to do at a time, its caches are cold each time.
const MUCH_BYTES: usize = 64 << 10;
/// Facts of the patrol that wait for one session.
const MAX_WAITING_FACTS: usize = 65_536;
/// Places in Python that are remembered, the newest: as many as have a number at a time.
const MAX_PLACES: usize = 2048;
/// Sockets whose session is remembered: as many as the programs know.
const MAX_SOCKETS: usize = profiler_common::limits::MAX_SOCKETS as usize;

/// Sets of programs, by how they are attached. Each stays for as long as a session uses it.
#[derive(Default)]
pub struct Programs {
    sets: RefCell<Vec<(Settings, Weak<RefCell<Set>>)>>,
    readings: Readings,
}

impl Programs {
    /// All processes that are followed by one of the sets.
    pub fn processes(&self) -> BTreeSet<u32> {
        let sets = self.sets.borrow();
        let sets = sets.iter().filter_map(|(_, set)| set.upgrade());
        sets.flat_map(|set| set.borrow().source.processes()).collect()
    }

    /// What all sessions read of this machine.
    pub(super) fn readings(&self) -> Readings {
        self.readings.clone()
    }

    /// Takes what is in the rings to those whose it is, and wakes who has much. Who has programs to itself
    /// takes it by itself. Returns how many records that were.
    pub fn hand_out(&self) -> u64 {
        let sets = self.sets.borrow();
        let sets = sets.iter().filter_map(|(_, set)| set.upgrade());
        sets.map(|set| set.borrow_mut().hand_out_and_wake()).sum()
    }

    /// Programs for the processes that `find` names: a set that is attached in this way, or a new one.
    /// `own`: what the user names as own code.
    ///
    /// # Errors
    /// As [`execute::attach`].
    pub(super) fn tap(
        &self,
        (settings, own): (&Settings, &[String]),
        proc: &Proc,
        find: &mut dyn FnMut() -> Vec<u32>,
    ) -> Result<(Tap, Attached), AttachError> {
        let mut sets = self.sets.borrow_mut();
        sets.retain(|(_, set)| set.strong_count() > 0);
        let known =
            sets.iter().filter(|(attached, _)| attached == settings).find_map(|(_, set)| set.upgrade());
        if let Some(set) = known.filter(|set| !set.borrow().is_detached) {
            return Tap::join(set, find);
        }
        let (mut source, attached) = execute::attach(settings, find)?;
        let patrol = Patrol::begin(&mut source, proc, settings, own);
        let set = Rc::new(RefCell::new(Set::new(source, attached.clone(), patrol)));
        sets.push((*settings, Rc::downgrade(&set)));
        Ok((Tap::first(set), attached))
    }
}

/// One session's part of a set.
#[derive(Default)]
struct Part {
    /// Told when much waits for it.
    has_come: Rc<Notify>,
    /// Records that wait for it, one after the other.
    waiting: Vec<u8>,
    /// What the patrol saw of its processes.
    facts: Vec<(u64, Fact)>,
    /// What it had told before this session came.
    told: Vec<Fact>,
    /// Records that were its own so far.
    own: u64,
    /// What was lost before it came.
    before: Counters,
    /// Records of its own that found no room, and of processes that were nobody's.
    lost: u64,
}

/// Attached programs, and who reads them.
struct Set {
    source: LiveSource,
    attached: Attached,
    patrol: Option<Patrol>,
    parts: BTreeMap<u32, Part>,
    next_part: u32,
    owners: Owners,
    /// Places in Python that were told: a session that comes later has to know them.
    places: BTreeMap<u32, Fact>,
    /// The same of what decides whose code is whose.
    own_code: Vec<Fact>,
    /// What the kernel side has counted, as it was read a moment ago.
    counted: Recent<(), Counted>,
    is_detached: bool,
}

/// What the kernel side has counted, for all sessions together.
#[derive(Clone)]
struct Counted {
    /// Losses alone.
    lost: Counters,
    listeners: Rc<ListenerCounts>,
    queues: Rc<QueueCounts>,
}

/// Whose everything is that a record may name.
#[derive(Default)]
struct Owners {
    processes: FxHashMap<u32, u32>,
    /// By kernel address.
    sockets: FxHashMap<u64, u32>,
    /// Who listens on a port: in several network namespaces it may be more than one.
    ports: BTreeMap<u16, BTreeSet<u32>>,
    /// By inode: several servers may have one listener.
    listeners: BTreeMap<u64, BTreeSet<u32>>,
    /// Processes of sessions that are over: they may live on.
    released: BTreeSet<u32>,
}

/// Whose a record is.
enum Owner {
    Part(u32),
    /// A process that no session has: its birth was lost.
    Lost,
    /// Nobody wants it, or whose it is cannot be known.
    Nobody,
}

impl Set {
    fn new(source: LiveSource, attached: Attached, patrol: Option<Patrol>) -> Self {
        Self {
            source,
            attached,
            patrol,
            parts: BTreeMap::new(),
            next_part: 0,
            owners: Owners::default(),
            places: BTreeMap::new(),
            own_code: Vec::new(),
            counted: Recent::default(),
            is_detached: false,
        }
    }

    /// Once there was a second session, each record is looked at.
    const fn is_shared(&self) -> bool {
        self.next_part > 1
    }

    /// Another session: its number, and what tells it that much waits for it.
    fn add(&mut self) -> (u32, Rc<Notify>) {
        let number = self.next_part;
        if number == 1 {
            // What there was by now is the first one's.
            let all = self.source.processes();
            self.owners.processes.extend(all.into_iter().map(|tgid| (tgid, 0)));
            if let Some(first) = self.parts.get_mut(&0) {
                first.own = self.source.received();
            }
        }
        self.next_part = number.saturating_add(1);
        let mut part = Part { told: self.told(), ..Part::default() };
        if number > 0 {
            self.hand_out(u64::MAX);
            part.before = self.source.counters();
        }
        let has_come = Rc::clone(&part.has_come);
        self.parts.insert(number, part);
        (number, has_come)
    }

    fn told(&self) -> Vec<Fact> {
        self.places.values().chain(&self.own_code).cloned().collect()
    }

    /// These are a session's processes now; one that another session has stays there.
    fn claim(&mut self, number: u32, tgids: &[u32]) {
        let named: BTreeSet<u32> = tgids.iter().copied().collect();
        self.owners.processes.retain(|tgid, part| *part != number || named.contains(tgid));
        for tgid in named {
            self.owners.released.remove(&tgid);
            self.owners.processes.entry(tgid).or_insert(number);
        }
    }

    fn claim_listener(&mut self, number: u32, listener: &ListenerSeen) {
        self.owners.listeners.entry(listener.inode).or_default().insert(number);
        if listener.port > 0 {
            self.owners.ports.entry(listener.port).or_default().insert(number);
        }
    }

    /// A session takes nothing more; its processes are nobody's.
    fn release(&mut self, number: u32) {
        for tgid in self.owners.release(number) {
            self.source.forget_target(tgid);
        }
    }

    /// Puts what is in the rings, and no later than `until_ns`, to those whose it is. Returns how many.
    fn hand_out(&mut self, until_ns: u64) -> u64 {
        let Self { source, parts, owners, .. } = self;
        source.drain_until(until_ns, |record| match owners.of(record) {
            Owner::Nobody => {}
            Owner::Lost => parts.values_mut().for_each(|part| part.lost = part.lost.saturating_add(1)),
            Owner::Part(number) => {
                let Some(part) = parts.get_mut(&number) else { return };
                part.own = part.own.saturating_add(1);
                if part.waiting.len().saturating_add(record.len()) > MAX_WAITING_BYTES {
                    part.lost = part.lost.saturating_add(1);
                } else {
                    part.waiting.extend_from_slice(record);
                }
            }
        })
    }

    fn hand_out_and_wake(&mut self) -> u64 {
        if !self.is_shared() {
            return 0;
        }
        let found = self.hand_out(monotonic_ns());
        self.hand_out_facts();
        self.parts.values().filter(|part| part.has_much()).for_each(|part| part.has_come.notify_one());
        found
    }

    /// What the kernel side has counted by now, or had a moment ago.
    fn counted(&self) -> Counted {
        let read = || {
            Ok::<_, Infallible>(Counted {
                lost: self.source.losses(),
                listeners: Rc::new(self.source.listener_counts()),
                queues: Rc::new(self.source.queue_counts()),
            })
        };
        let Ok(counted) = self.counted.of((), read);
        counted
    }

    /// Takes what the patrol has seen since the last time to those whose it is.
    fn hand_out_facts(&mut self) {
        for (time_ns, fact) in self.patrol.as_mut().map(Patrol::take).unwrap_or_default() {
            let tgid = match &fact {
                Fact::AsleepSeen(seen) => Some(seen.tgid),
                Fact::SampleSeen(seen) => Some(seen.tgid),
                Fact::PlaceSeen(place) => {
                    self.places.insert(place.number, fact.clone());
                    // Numbers ascend.
                    if self.places.len() > MAX_PLACES {
                        self.places.pop_first();
                    }
                    None
                }
                Fact::OwnCode(_) => {
                    self.own_code.push(fact.clone());
                    None
                }
                _ => None,
            };
            let only =
                tgid.filter(|_| self.is_shared()).map(|tgid| self.owners.processes.get(&tgid).copied());
            for (number, part) in &mut self.parts {
                let is_for = only.is_none_or(|only| only == Some(*number));
                if is_for && part.facts.len() < MAX_WAITING_FACTS {
                    part.facts.push((time_ns, fact.clone()));
                }
            }
        }
    }

    /// Counters as one session has to see them: records of others are none, losses may have been its own.
    fn counters(&self, number: u32, counters: Counters) -> Counters {
        let Some(part) = self.parts.get(&number).filter(|_| self.is_shared()) else { return counters };
        let foreign = counters.received.saturating_sub(part.own);
        let emitted: u64 = counters.emitted.iter().map(|(_, count)| *count).sum();
        let Counters { mut lost, recursion_misses, .. } = counters.since(&part.before);
        if part.lost > 0 {
            let name = LOSS_NAMES.get(RING_FULL_SLICE as usize).copied().unwrap_or_default();
            lost.push((name.to_owned(), part.lost));
        }
        Counters {
            lost,
            emitted: vec![("record".to_owned(), emitted.saturating_sub(foreign))],
            recursion_misses,
            received: part.own,
        }
    }

    /// Whether a listener is another session's, as far as that is known.
    fn is_foreign_listener(&self, number: u32, inode: u64) -> bool {
        self.owners.listeners.get(&inode).is_some_and(|parts| !parts.contains(&number))
    }
}

impl Part {
    /// Too much to wait for the session's next look, ten times a second.
    const fn has_much(&self) -> bool {
        self.waiting.len() >= MUCH_BYTES
    }
}

impl Owners {
    fn has(&self, number: u32, tgid: u32) -> bool {
        self.processes.get(&tgid) == Some(&number)
    }

    /// Whose a record is. A child is whose its parent is from the record of its birth on.
    fn of(&mut self, record: &[u8]) -> Owner {
        let Ok((header, _)) = RecordHeader::read_from_prefix(record) else { return Owner::Lost };
        if header.kind == KIND_EVIDENCE && header.tgid == 0 {
            return self.of_evidence(record).map_or(Owner::Nobody, Owner::Part);
        }
        let Some(number) = self.processes.get(&header.tgid).copied() else {
            return if self.released.contains(&header.tgid) { Owner::Nobody } else { Owner::Lost };
        };
        if header.kind == KIND_LIFECYCLE
            && let Ok((life, _)) = LifecycleRecord::read_from_prefix(record)
            && life.what == FORK
        {
            self.processes.insert(life.other_tgid, number);
        }
        if header.kind == KIND_CONNECTION
            && let Ok((connection, _)) = ConnectionRecord::read_from_prefix(record)
        {
            if self.sockets.len() >= MAX_SOCKETS && !self.sockets.contains_key(&connection.socket) {
                self.sockets.clear();
            }
            self.sockets.insert(connection.socket, number);
        }
        Owner::Part(number)
    }

    /// Whose connection it is about. One that nobody has accepted is only known by its port.
    fn of_evidence(&self, record: &[u8]) -> Option<u32> {
        let (evidence, _) = EvidenceRecord::read_from_prefix(record).ok()?;
        if matches!(evidence.stage, STAGE_ACCEPTED | STAGE_CLOSED)
            && let Some(number) = self.sockets.get(&evidence.socket)
        {
            return Some(*number);
        }
        let mut parts = self.ports.get(&evidence.local_port)?.iter();
        parts.next().copied().filter(|_| parts.next().is_none())
    }

    /// Listeners of a session are closed.
    fn forget_listeners(&mut self, number: u32, closed: &BTreeSet<u64>) {
        for inode in closed {
            if let Some(parts) = self.listeners.get_mut(inode) {
                parts.remove(&number);
            }
        }
        self.listeners.retain(|_, parts| !parts.is_empty());
    }

    /// What a session had is nobody's; its processes.
    fn release(&mut self, number: u32) -> Vec<u32> {
        let of_it = self.processes.iter().filter(|(_, part)| **part == number);
        let gone: Vec<u32> = of_it.map(|(tgid, _)| *tgid).collect();
        if self.released.len() > MAX_SOCKETS {
            self.released.clear();
        }
        self.released.extend(&gone);
        self.processes.retain(|_, part| *part != number);
        self.sockets.retain(|_, part| *part != number);
        for parts in self.ports.values_mut() {
            parts.remove(&number);
        }
        self.ports.retain(|_, parts| !parts.is_empty());
        for parts in self.listeners.values_mut() {
            parts.remove(&number);
        }
        self.listeners.retain(|_, parts| !parts.is_empty());
        gone
    }
}

#[cfg(test)]
mod tests;
