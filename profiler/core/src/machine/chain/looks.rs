//! What threads were in, as looks from outside saw them while they slept.
//!
//! In: [`AsleepSeen`], each true at one moment of a sleep. Out: the look that lies in an interval of a
//! thread's time. Memory is bounded: the oldest looks of a thread go first.

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};

use profiler_common::system_call::{CLOCK_NANOSLEEP, NANOSLEEP};
use rustc_hash::FxHashMap;

use crate::bounded::{BoundedMap, push_if_room, push_newest};
use crate::event::Tid;
use crate::fact::asleep::{AsleepSeen, ConnectionState, ObjectSeen, OtherProcess, SleepState};
use crate::fact::place::{OwnCode, PlaceSeen};
use crate::machine::chain::hung::HungThreads;
use crate::machine::chain::segment::opens;
use crate::model::chain::Held;

/// Threads of which looks are kept.
const MAX_THREADS: usize = 16_384;
/// Looks kept of one thread, the newest.
const MAX_OF_THREAD: usize = 128;
/// Objects that are distinguished.
const MAX_OBJECTS: usize = 4096;
/// Places in Python that are kept, the newest: each has the names of all its frames.
const MAX_PLACES: usize = 2048;
/// What is known to be own code.
const MAX_OWN: usize = 64;
/// Looks at one thread that are this close are of the same trouble.
const NEAR_NS: u64 = 5_000_000_000;

/// A look, and when it was taken.
#[derive(Clone, Debug)]
pub(in crate::machine) struct AsleepLook {
    /// The moment at which all of it was true.
    pub at_ns: u64,
    /// What was seen.
    pub seen: AsleepSeen,
    /// Number of its object.
    pub object: Option<u32>,
    /// Inode of the listener of the target's own that it is connected to; 0: none, or not known.
    pub own_listener: u64,
}

impl AsleepLook {
    /// How the thread was held from outside.
    pub(super) const fn held(&self) -> Option<Held> {
        match self.seen.state {
            SleepState::Stopped => Some(Held::Stopped),
            SleepState::Traced => Some(Held::Traced),
            SleepState::Frozen => Some(Held::Frozen),
            SleepState::MemoryHigh => Some(Held::MemoryHigh),
            _ => None,
        }
    }

    /// Processes that have accepted the connection that the thread waits for, or have its other end.
    pub(super) fn accepted_by(&self) -> &[OtherProcess] {
        match &self.seen.object {
            None
            | Some(
                ObjectSeen::Tcp { state: ConnectionState::NotAccepted, .. }
                | ObjectSeen::Unix { waits_at: Some(_), .. },
            ) => &[],
            Some(object) => object.processes(),
        }
    }

    /// Port of its own end of a TCP connection.
    pub(in crate::machine) fn own_port(&self) -> Option<u16> {
        match &self.seen.object {
            Some(ObjectSeen::Tcp { local, .. }) => port_of(local),
            _ => None,
        }
    }
}

/// Whether a call sleeps on purpose.
const fn is_sleep(call: u32) -> bool {
    matches!(call, NANOSLEEP | CLOCK_NANOSLEEP)
}

/// Port of `127.0.0.1:80` or `[::1]:80`.
pub(in crate::machine) fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// Whether a connection between these addresses stays within its host.
pub(in crate::machine) fn are_of_one_host(local: &str, peer: &str) -> bool {
    let host = |address: &str| address.parse().ok().map(|address: SocketAddr| address.ip().to_canonical());
    matches!((host(local), host(peer)), (Some(local), Some(peer)) if local == peer || peer.is_loopback())
}

/// A connection whose addresses were not found, or not yet.
fn is_unresolved(object: &ObjectSeen) -> bool {
    matches!(object, ObjectSeen::Tcp { local, .. } if local.is_empty())
}

/// Inode of a connection. A listener has nobody at its other end, and is several processes' by design.
fn connection_of(object: &ObjectSeen) -> Option<u64> {
    match object {
        ObjectSeen::Tcp { inode, peer, .. } if *inode > 0 && !peer.is_empty() => Some(*inode),
        _ => None,
    }
}

/// Looks at all threads.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct AsleepLooks {
    /// Who hangs in a request since before the trace, as looks say.
    pub hung: HungThreads,
    threads: BoundedMap<Tid, VecDeque<AsleepLook>, MAX_THREADS>,
    /// By process and a lock's word: the thread that was seen to have the lock last.
    holders: BoundedMap<(Tid, u64), Tid, MAX_OBJECTS>,
    numbers: FxHashMap<ObjectSeen, u32>,
    objects: Vec<ObjectSeen>,
    places: BTreeMap<u32, PlaceSeen>,
    /// Places that went because there were newer ones.
    displaced: u64,
    own: Vec<OwnCode>,
    unnamed: u64,
    /// Connections by inode: the process that was seen to wait for it, and whether another was too.
    sockets: BoundedMap<u64, (Tid, bool), MAX_OBJECTS>,
}

impl AsleepLooks {
    /// A thread was looked at. `own_listener`: as in [`AsleepLook`].
    pub(in crate::machine) fn note(&mut self, mut seen: AsleepSeen, at_ns: u64, own_listener: u64) {
        seen.locks.truncate(AsleepSeen::MAX_LOCKS);
        let object = self.object_of(&seen);
        if let Some(inode) = seen.object.as_ref().and_then(connection_of)
            && let Some((first, is_shared)) = self.sockets.get_or_insert_with(inode, || (seen.tgid, false))
        {
            *is_shared |= *first != seen.tgid;
        }
        for lock in &seen.locks {
            if let Some(last) = self.holders.get_or_default((seen.tgid, *lock)) {
                *last = seen.tid;
            }
        }
        if let Some(looks) = self.threads.get_or_default(seen.tid)
            && looks.back().is_none_or(|last| last.at_ns <= at_ns)
        {
            push_newest(looks, MAX_OF_THREAD, AsleepLook { at_ns, seen, object, own_listener });
        }
    }

    /// Where in Python threads are that were looked at. Says whether the place was known by this number.
    pub(in crate::machine) fn note_place(&mut self, place: PlaceSeen) -> bool {
        let is_full = self.places.len() >= MAX_PLACES;
        let first = self.places.first_key_value().map_or(0, |(number, _)| *number);
        if is_full && place.number < first {
            return false;
        }
        let is_known = self.places.insert(place.number, place).is_some();
        // Numbers ascend.
        while self.places.len() > MAX_PLACES {
            self.places.pop_first();
            self.displaced += 1;
        }
        is_known
    }

    /// Threads, with their processes, that were at this place when they were looked at last.
    pub(in crate::machine) fn last_at(&self, place: u32) -> Vec<(Tid, Tid)> {
        let last = self.threads.values().filter_map(VecDeque::back);
        let there = last.filter(|look| look.seen.place == Some(place));
        there.map(|look| (look.seen.tgid, look.seen.tid)).collect()
    }

    /// What is the application's own code.
    pub(in crate::machine) fn note_own(&mut self, own: OwnCode) {
        if !self.own.contains(&own) {
            push_if_room(&mut self.own, MAX_OWN, own, &mut self.unnamed);
        }
    }

    /// What is known to be own code, in order.
    pub(super) fn own(&self) -> Vec<OwnCode> {
        let mut own = self.own.clone();
        own.sort_unstable();
        own
    }

    /// The place that has this number.
    pub(in crate::machine) fn place(&self, number: u32) -> Option<&PlaceSeen> {
        self.places.get(&number)
    }

    /// Number of what a thread waited for, or of who held it.
    fn object_of(&mut self, seen: &AsleepSeen) -> Option<u32> {
        match (&seen.object, &seen.held_by) {
            (Some(object), _) if is_unresolved(object) => None,
            (Some(object), _) if !seen.stands_still() => self.number(object),
            (_, Some(by)) if seen.stands_still() => self.number(&ObjectSeen::By(by.clone())),
            _ => None,
        }
    }

    /// The number of an object. The newest look at it with somebody at its other end says what it is.
    pub(super) fn number(&mut self, object: &ObjectSeen) -> Option<u32> {
        let identity = object.identity();
        if let Some(&number) = self.numbers.get(&identity) {
            if let Some(known) = self.objects.get_mut(number as usize)
                && object.processes().len() >= known.processes().len()
            {
                *known = object.clone();
            }
            return Some(number);
        }
        if self.objects.len() >= MAX_OBJECTS {
            self.unnamed += 1;
            return None;
        }
        let number = u32::try_from(self.objects.len()).ok()?;
        self.numbers.insert(identity, number);
        self.objects.push(object.clone());
        Some(number)
    }

    /// The first look at a thread within an interval that saw what it waits for, or else the first.
    pub(super) fn within(&self, tid: Tid, (from_ns, until_ns): (u64, u64)) -> Option<&AsleepLook> {
        let looks = self.threads.get(&tid)?;
        let first = looks.partition_point(|look| look.at_ns < from_ns);
        let mut inside = looks.range(first..).take_while(|look| look.at_ns <= until_ns);
        let first = inside.clone().next();
        inside.find(|look| !look.seen.object.as_ref().is_some_and(is_unresolved)).or(first)
    }

    /// Whether a thread was seen in the middle of the application that the server had called: what it waits
    /// for then is no work.
    pub(in crate::machine) fn is_in_application(&self, tid: Tid, interval: (u64, u64)) -> bool {
        let look = self.within(tid, interval);
        let place = look.and_then(|look| look.seen.place).and_then(|number| self.place(number));
        place.is_some_and(PlaceSeen::is_in_application)
    }

    /// Whether a place is in a request, by its frames.
    pub(in crate::machine) fn is_in_request(&self, place: Option<u32>) -> bool {
        place.and_then(|number| self.place(number)).is_some_and(PlaceSeen::is_in_request)
    }

    /// Whether the look at a thread in an interval did not find it in Python; without one, whether none did.
    pub(super) fn is_outside_python(&self, tid: Tid, interval: (u64, u64)) -> bool {
        let is_outside = |look: &AsleepLook| look.seen.place.is_none();
        match (self.within(tid, interval), self.threads.get(&tid)) {
            (Some(look), _) => is_outside(look),
            (None, Some(looks)) => !looks.is_empty() && looks.iter().all(is_outside),
            (None, None) => false,
        }
    }

    /// The thread of a process that was seen to have a lock last, by the lock's word.
    pub(super) fn holder(&self, tgid: Tid, lock: u64) -> Option<Tid> {
        self.holders.get(&(tgid, lock)).copied()
    }

    /// Processes and threads of which there are looks, in order.
    pub(in crate::machine) fn threads(&self) -> Vec<(Tid, Tid)> {
        let of = |looks: &VecDeque<AsleepLook>| looks.back().map(|look| (look.seen.tgid, look.seen.tid));
        let mut threads: Vec<(Tid, Tid)> = self.threads.values().filter_map(of).collect();
        threads.sort_unstable();
        threads
    }

    /// The last look at a thread.
    pub(in crate::machine) fn last(&self, tid: Tid) -> Option<&AsleepLook> {
        self.threads.get(&tid)?.back()
    }

    /// Whether several processes were seen to wait for the connection of a look.
    pub(super) fn is_shared(&self, look: &AsleepLook) -> bool {
        let inode = look.seen.object.as_ref().and_then(connection_of);
        inode.and_then(|inode| self.sockets.get(&inode)).is_some_and(|(_, is_shared)| *is_shared)
    }

    /// The file lock for which threads of a process waited about this time in a call, or tried again and
    /// again between sleeps on purpose: all looks that are near agree on it.
    pub(super) fn file_lock_about(&self, tids: &[Tid], call: u32, at_ns: u64) -> Option<u32> {
        let is_alike = |other: u32| other == call || is_sleep(call) && is_sleep(other);
        self.seen_about(tids, at_ns, |look| {
            matches!(look.seen.object, Some(ObjectSeen::FileLock { .. }))
                && look.seen.system_call.is_some_and(is_alike)
        })
    }

    /// The named pipe for whose other end threads of a process waited about this time as they opened it: all
    /// looks that are near at that call agree on it.
    pub(super) fn pipe_opened_about(&self, tids: &[Tid], call: u32, at_ns: u64) -> Option<u32> {
        if !opens(call.cast_signed()) {
            return None;
        }
        let found = self.seen_about(tids, at_ns, |look| look.seen.system_call == Some(call))?;
        let object = self.objects.get(found as usize);
        object.filter(|object| matches!(object, ObjectSeen::Pipe { .. })).map(|_| found)
    }

    /// What looks saw, by its number.
    pub(super) fn object(&self, number: u32) -> Option<&ObjectSeen> {
        self.objects.get(number as usize)
    }

    /// Looks about this time at connections of these threads to a port.
    pub(super) fn connections_about(
        &self,
        tids: &[Tid],
        port: u16,
        at_ns: u64,
    ) -> impl Iterator<Item = &AsleepLook> {
        self.near(tids, at_ns).filter(move |look| {
            matches!(&look.seen.object, Some(ObjectSeen::Tcp { peer, .. }) if port_of(peer) == Some(port))
        })
    }

    /// Looks at these threads about this time.
    fn near(&self, tids: &[Tid], at_ns: u64) -> impl Iterator<Item = &AsleepLook> {
        let looks = tids.iter().filter_map(|tid| self.threads.get(tid)).flatten();
        looks.filter(move |look| look.at_ns.abs_diff(at_ns) <= NEAR_NS)
    }

    /// What threads of a process waited for about this time, as far as all looks of a kind that are near
    /// agree.
    fn seen_about(&self, tids: &[Tid], at_ns: u64, is_one: impl Fn(&AsleepLook) -> bool) -> Option<u32> {
        let mut near = self.near(tids, at_ns).filter(|look| is_one(look));
        let first = near.next()?.object;
        first.filter(|_| near.all(|look| look.object == first))
    }

    /// Who stands at the other end of what a thread waited for. Of a pipe, whose ends do not change hands,
    /// any look at it counts.
    pub(super) fn others<'a>(&'a self, look: &'a AsleepLook) -> &'a [OtherProcess] {
        let seen = look.seen.object.as_ref();
        let known = look.object.and_then(|number| self.objects.get(number as usize));
        let is_pipe = matches!(seen, Some(ObjectSeen::Pipe { .. }));
        known.filter(|_| is_pipe).or(seen).map_or(&[], ObjectSeen::processes)
    }

    /// Since when a thread was asleep in a call, as the look within an interval saw it; it began there.
    pub(in crate::machine) fn asleep_since(
        &self,
        tid: Tid,
        interval: (u64, u64),
        system_call: u32,
    ) -> Option<u64> {
        let seen = &self.within(tid, interval)?.seen;
        (seen.system_call == Some(system_call) && seen.since_ns >= interval.0).then_some(seen.since_ns)
    }

    /// How a thread was held from outside in an interval, and since when.
    pub(in crate::machine) fn held_in(
        &self,
        tid: Tid,
        (from_ns, until_ns): (u64, u64),
    ) -> Option<(Held, u64)> {
        let looks = self.threads.get(&tid)?;
        let first = looks.partition_point(|look| look.at_ns < from_ns);
        let inside = looks.range(first.min(looks.len())..).take_while(|look| look.at_ns <= until_ns);
        inside.filter_map(|look| Some((look.held()?, look.seen.since_ns.max(from_ns)))).next()
    }

    /// What was seen, by number.
    pub(super) fn objects(&self) -> Vec<ObjectSeen> {
        self.objects.clone()
    }

    /// The next window begins: a thread in one long sleep keeps its last look. Says whether objects have new
    /// numbers: the old ones were running out.
    pub(super) fn roll(&mut self, before_ns: u64) -> bool {
        self.threads.retain(|_, looks| {
            while looks.len() > 1 && looks.front().is_some_and(|look| look.at_ns < before_ns) {
                looks.pop_front();
            }
            !looks.is_empty()
        });
        self.sockets.clear();
        let threads = &self.threads;
        let has = |tid: &Tid, lock: u64| {
            threads.get(tid).and_then(VecDeque::back).is_some_and(|look| look.seen.locks.contains(&lock))
        };
        self.holders.retain(|(_, lock), tid| has(tid, *lock));
        if self.objects.len() <= MAX_OBJECTS / 2 {
            return false;
        }
        (self.numbers, self.objects) = <_>::default();
        let mut threads = std::mem::take(&mut self.threads);
        for look in threads.values_mut().flatten() {
            look.object = self.object_of(&look.seen);
        }
        self.threads = threads;
        true
    }

    /// Threads and objects that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.threads.evicted()
            + self.holders.evicted()
            + self.displaced
            + self.sockets.evicted()
            + self.unnamed
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::system_call::OPENAT;

    use super::*;
    use crate::fact::asleep::FileSeen;

    #[test]
    fn the_newest_places_are_kept_and_what_went_is_counted() {
        let mut looks = AsleepLooks::default();
        for number in 0..2056 {
            looks.note_place(PlaceSeen { number, ..PlaceSeen::default() });
        }
        assert!(looks.place(7).is_none() && looks.place(8).is_some() && looks.place(2055).is_some());
        assert_eq!(looks.evicted(), 8);
        // One that is told once more is no new one; one that went stays away.
        assert!(looks.note_place(PlaceSeen { number: 8, is_cut: true, ..PlaceSeen::default() }));
        assert!(looks.place(8).is_some_and(|place| place.is_cut));
        assert!(!looks.note_place(PlaceSeen { number: 7, ..PlaceSeen::default() }));
        assert!(looks.place(7).is_none() && looks.evicted() == 8);
    }

    #[test]
    fn who_was_at_a_place_at_the_last_look_is_found_by_it() {
        let mut looks = AsleepLooks::default();
        for (tid, place, at_ns) in [(7, 3, 100), (8, 3, 100), (8, 4, 200), (9, 3, 300)] {
            let seen = AsleepSeen { tgid: 5, tid, place: Some(place), ..AsleepSeen::default() };
            looks.note(seen, at_ns, 0);
        }
        let mut there = looks.last_at(3);
        there.sort_unstable();
        assert_eq!(there, [(5, 7), (5, 9)]);
    }

    #[test]
    fn a_look_is_found_in_the_sleep_that_it_was_taken_in_alone() {
        let mut looks = AsleepLooks::default();
        for at_ns in [100, 200, 150] {
            looks.note(AsleepSeen { tid: 7, since_ns: at_ns - 50, ..AsleepSeen::default() }, at_ns, 0);
        }
        let at = |interval| looks.within(7, interval).map(|look| look.at_ns);
        assert_eq!(at((50, 120)), Some(100));
        assert_eq!(at((101, 199)), None, "what comes late is not known to be of that moment");
        assert_eq!(at((101, 200)), Some(200));
        assert!(looks.within(8, (0, 999)).is_none());
    }

    #[test]
    fn a_port_of_ones_own_number_on_another_host_is_another_host_s() {
        let peers = [
            ("127.0.0.1:80", true),
            ("127.0.0.2:80", true),
            ("10.0.0.1:80", true),
            ("10.0.0.2:80", false),
            ("[::1]:80", true),
            ("[::ffff:10.0.0.1]:80", true),
            ("/run/app.sock", false),
        ];
        for (peer, is_own) in peers {
            assert_eq!(are_of_one_host("10.0.0.1:40000", peer), is_own, "{peer}");
        }
    }

    #[test]
    fn a_thread_that_sleeps_on_keeps_its_last_look_over_the_end_of_a_window() {
        let mut looks = AsleepLooks::default();
        let file = FileSeen { path: "/data/a".to_owned(), ..FileSeen::default() };
        let object = ObjectSeen::File(file);
        for at_ns in [100, 200] {
            looks.note(
                AsleepSeen { tid: 7, object: Some(object.clone()), ..AsleepSeen::default() },
                at_ns,
                0,
            );
        }
        looks.roll(500);
        let look = looks.within(7, (0, 999)).unwrap();
        assert_eq!((look.at_ns, look.object), (200, Some(0)));
        assert_eq!(looks.objects(), [object]);
    }

    #[test]
    fn a_lock_that_is_polled_is_named_only_where_all_looks_agree() {
        let mut looks = AsleepLooks::default();
        let lock = |path: &str| {
            let file = FileSeen { path: path.to_owned(), ..FileSeen::default() };
            Some(ObjectSeen::FileLock { file, holders: Vec::new() })
        };
        let sleeps = AsleepSeen { tid: 7, system_call: Some(CLOCK_NANOSLEEP), ..AsleepSeen::default() };
        looks.note(AsleepSeen { object: lock("/a"), ..sleeps.clone() }, 100, 0);
        looks.note(sleeps.clone(), 200, 0);
        let waits = AsleepSeen { tid: 8, system_call: Some(72), object: lock("/other"), ..<_>::default() };
        looks.note(waits, 200, 0);
        assert_eq!(
            looks.file_lock_about(&[7, 8], CLOCK_NANOSLEEP, 150),
            Some(0),
            "who waits in a call waits for that"
        );
        looks.note(AsleepSeen { object: lock("/b"), ..sleeps }, 300, 0);
        assert_eq!(looks.file_lock_about(&[7], CLOCK_NANOSLEEP, 150), None);
        assert_eq!(looks.file_lock_about(&[7], CLOCK_NANOSLEEP, 100 + 2 * NEAR_NS), None);
    }

    #[test]
    fn a_pipe_that_is_opened_is_named_only_where_all_looks_at_that_call_agree() {
        let mut looks = AsleepLooks::default();
        let pipe = |inode| Some(ObjectSeen::Pipe { inode, path: "/fifo".to_owned(), others: Vec::new() });
        let opens = AsleepSeen { tid: 7, system_call: Some(OPENAT), ..AsleepSeen::default() };
        looks.note(AsleepSeen { object: pipe(1), ..opens.clone() }, 100, 0);
        looks.note(AsleepSeen { tid: 7, system_call: Some(0), ..AsleepSeen::default() }, 200, 0);
        assert_eq!(looks.pipe_opened_about(&[7], OPENAT, 150), Some(0));
        assert_eq!(looks.pipe_opened_about(&[7], 0, 150), None, "a read has a descriptor");
        assert_eq!(looks.pipe_opened_about(&[7], OPENAT, 100 + 2 * NEAR_NS), None);
        let file = FileSeen { path: "/data/a".to_owned(), ..FileSeen::default() };
        looks.note(AsleepSeen { object: Some(ObjectSeen::File(file)), ..opens }, 300, 0);
        assert_eq!(looks.pipe_opened_about(&[7], OPENAT, 150), None, "it opens files, too");
    }
}
