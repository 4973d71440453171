//! What each descriptor of each process is.
//!
//! In: the calls that make, copy and end descriptors; what `/proc` showed at attach. Out: a class per
//! (process, descriptor), the interest list of epoll instances, and the connection behind a client
//! descriptor.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::world::begun::Begun;
use crate::machine::world::interest::Interest;
use crate::machine::world::living::Living;

/// Descriptors beyond this number are not followed; each is counted.
const MAX_DESCRIPTOR: usize = 65_536;
/// Interest lists are followed up to this length.
const MAX_INTEREST: usize = 4096;
/// Places and entries of lists in the tables of all processes together: at most some 160 MB.
const MAX_HELD: usize = 1 << 20;
/// `EPOLL_CTL_ADD`, include/uapi/linux/eventpoll.h.
pub(in crate::machine) const EPOLL_CTL_ADD: u32 = 1;
/// `EPOLL_CTL_DEL`, include/uapi/linux/eventpoll.h.
pub(in crate::machine) const EPOLL_CTL_DEL: u32 = 2;
/// The kernel stops waiting for a descriptor once it has reported an event of it.
pub(in crate::machine) const EPOLLONESHOT: u32 = 1 << 30;
/// `EPOLLEXCLUSIVE`, `EPOLLONESHOT` and `EPOLLET`, which change which thread an event wakes. No other bits
/// are kept.
const WAYS: u32 = 1 << 28 | 1 << 30 | 1 << 31;

/// One descriptor.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// What it is.
    pub class: DescriptorClass,
    /// When it was created, as far as known.
    pub opened_ns: u64,
    /// Descriptors in its interest list (epoll only).
    pub interest: Vec<i32>,
    /// `EPOLL…` bits of those descriptors for which they are known.
    pub ways: Vec<(i32, u32)>,
    /// Another process has inherited it (epoll only).
    pub shared: bool,
    /// Number of the connection behind it in the connection table (clients only).
    pub connection: Option<u32>,
    /// The request for which an event loop uses it: connection and request id (back ends only).
    pub owner: Option<(u32, u64)>,
    /// Something was sent to it, and nothing was read since (back ends only).
    pub is_asked: bool,
    /// A back end that was connected and has not given its first answer.
    pub begun: Option<Begun>,
    /// What distinguishes its connection from others, as in `Call::Connect` (back ends only); 0: not known.
    pub identity: u64,
}

impl Descriptor {
    const fn new(class: DescriptorClass, opened_ns: u64) -> Self {
        Self {
            class,
            opened_ns,
            interest: Vec::new(),
            ways: Vec::new(),
            shared: false,
            connection: None,
            owner: None,
            is_asked: false,
            begun: None,
            identity: 0,
        }
    }

    /// Entries of its lists.
    const fn listed(&self) -> usize {
        self.interest.len() + self.ways.len()
    }
}

/// The descriptors of one process.
#[derive(Clone, Debug, Default)]
struct Table {
    slots: Vec<Option<Descriptor>>,
    /// The epoll instance that was looked at last, and what it waits for: until something on its list
    /// changes. A list may hold a thousand clients.
    known: Option<(i32, Interest)>,
}

impl Table {
    /// Its places, and entries of their lists.
    fn held(&self) -> usize {
        self.slots.iter().flatten().map(Descriptor::listed).sum::<usize>() + self.slots.len()
    }

    fn get(&self, fd: i32) -> Option<&Descriptor> {
        self.slots.get(usize::try_from(fd).ok()?)?.as_ref()
    }

    /// What an epoll instance waits for, looked up again.
    fn interest(&self, epoll_fd: i32) -> Interest {
        let mut found = Interest::default();
        let Some(Descriptor { interest, ways, .. }) = self.get(epoll_fd) else { return found };
        // Looked at once: both lists may be long.
        let one_shot = ways.iter().filter(|(_, events)| events & EPOLLONESHOT != 0);
        let one_shot: FxHashSet<i32> = one_shot.map(|(fd, _)| *fd).collect();
        for &fd in interest {
            let class = self.get(fd).map(|descriptor| descriptor.class);
            found.add(fd, class, class == Some(DescriptorClass::Listener) && one_shot.contains(&fd));
        }
        found
    }

    /// A number's descriptor changes.
    fn changes(&mut self, fd: i32) {
        let is_on_list = |epoll_fd: i32| {
            epoll_fd == fd || self.get(epoll_fd).is_some_and(|epoll| epoll.interest.contains(&fd))
        };
        if self.known.is_some_and(|(epoll_fd, _)| is_on_list(epoll_fd)) {
            self.known = None;
        }
    }

    /// A descriptor was put on the list of an epoll instance, changed there or taken off: that had and has so
    /// many entries.
    fn is_listed(&mut self, epoll_fd: i32, fd: i32, (had, has): (usize, usize)) {
        let class = self.get(fd).map(|descriptor| descriptor.class);
        let Some((_, interest)) = self.known.as_mut().filter(|(known_fd, _)| *known_fd == epoll_fd) else {
            return;
        };
        let is_known = match class {
            // Its events count as well.
            Some(DescriptorClass::Listener) => false,
            _ if has == had => true,
            _ if has == had + 1 => {
                interest.add(fd, class, false);
                true
            }
            _ if has + 1 == had => interest.remove(class),
            _ => false,
        };
        if !is_known {
            self.known = None;
        }
    }
}

/// Descriptor tables of all processes.
#[derive(Clone, Debug, Default)]
pub struct Descriptors {
    processes: FxHashMap<Tid, Table>,
    /// What last had a descriptor number that another took over, and from when to when. The close that freed
    /// it may not have returned yet.
    replaced: FxHashMap<Tid, FxHashMap<i32, (DescriptorClass, Range<u64>)>>,
    /// Places and entries of lists in all tables.
    held: usize,
    /// Descriptors that were beyond the bound.
    pub evicted: u64,
}

impl Descriptors {
    /// The descriptor, if it is known.
    pub fn get(&self, tgid: Tid, fd: i32) -> Option<&Descriptor> {
        self.processes.get(&tgid)?.get(fd)
    }

    /// Class of a descriptor; `None` if it is not known.
    pub fn class(&self, tgid: Tid, fd: i32) -> Option<DescriptorClass> {
        self.get(tgid, fd).map(|descriptor| descriptor.class)
    }

    /// No descriptor of the process has a higher number; −1: it has none.
    pub fn highest(&self, tgid: Tid) -> i32 {
        let count = self.processes.get(&tgid).map_or(0, |table| table.slots.len());
        i32::try_from(count).unwrap_or(i32::MAX) - 1
    }

    /// Client connections that the process has open.
    pub fn clients(&self, tgid: Tid) -> u64 {
        let table = self.processes.get(&tgid).map_or(&[][..], |table| table.slots.as_slice());
        table.iter().flatten().filter(|descriptor| descriptor.connection.is_some()).count() as u64
    }

    /// The same with those of which nothing was seen yet.
    pub fn clients_at_all(&self, tgid: Tid) -> u64 {
        let table = self.processes.get(&tgid).map_or(&[][..], |table| table.slots.as_slice());
        table.iter().flatten().filter(|descriptor| descriptor.class == DescriptorClass::Client).count() as u64
    }

    /// The connection behind a descriptor.
    pub fn connection(&self, tgid: Tid, fd: i32) -> Option<u32> {
        self.get(tgid, fd)?.connection
    }

    /// An event loop uses a back end's descriptor for `owner`.
    pub fn own(&mut self, tgid: Tid, fd: i32, owner: Option<(u32, u64)>) {
        if let Some(descriptor) = self.get_mut(tgid, fd) {
            descriptor.owner = owner;
        }
    }

    /// Enters a descriptor, in place of whatever had its number.
    pub fn open(&mut self, tgid: Tid, fd: i32, class: DescriptorClass, opened_ns: u64) {
        self.insert(tgid, fd, Descriptor::new(class, opened_ns));
    }

    /// Enters a client connection.
    pub fn open_client(&mut self, tgid: Tid, fd: i32, opened_ns: u64, connection: u32) {
        let new = Descriptor::new(DescriptorClass::Client, opened_ns);
        self.insert(tgid, fd, Descriptor { connection: Some(connection), ..new });
    }

    /// Sets the interest list that `/proc/PID/fdinfo` showed, with the events of each where they are known.
    pub fn set_interest(&mut self, tgid: Tid, epoll_fd: i32, mut interest: Vec<i32>, events: &[u32]) {
        let had = self.get(tgid, epoll_fd).map_or(0, Descriptor::listed);
        let others = self.held.saturating_sub(had);
        // Each entry may have its events beside it.
        let most = MAX_INTEREST.min(MAX_HELD.saturating_sub(others) / 2);
        self.evicted += interest.len().saturating_sub(most) as u64;
        interest.truncate(most);
        self.changes(tgid, epoll_fd);
        if let Some(descriptor) = self.get_mut(tgid, epoll_fd) {
            let ways = interest.iter().zip(events).filter(|(_, events)| **events & WAYS != 0);
            descriptor.ways = ways.map(|(fd, events)| (*fd, *events)).collect();
            descriptor.interest = interest;
            self.held = others + descriptor.listed();
        }
    }

    /// Several processes share this instance.
    pub fn share(&mut self, tgid: Tid, epoll_fd: i32) {
        if let Some(descriptor) = self.get_mut(tgid, epoll_fd) {
            descriptor.shared = true;
        }
    }

    /// Sets what distinguishes the connection behind a descriptor from others.
    pub fn identify(&mut self, tgid: Tid, fd: i32, identity: u64) {
        if let Some(descriptor) = self.get_mut(tgid, fd) {
            descriptor.identity = identity;
        }
    }

    /// Changes the class of a descriptor, or enters it.
    pub fn reclass(&mut self, tgid: Tid, fd: i32, class: DescriptorClass) {
        self.changes(tgid, fd);
        if let Some(descriptor) = self.get_mut(tgid, fd) {
            descriptor.class = class;
        } else {
            self.open(tgid, fd, class, 0);
        }
    }

    /// Whether this number's descriptor existed at that moment.
    pub fn had(&self, tgid: Tid, fd: i32, at_ns: u64) -> bool {
        self.get(tgid, fd).is_some_and(|descriptor| descriptor.opened_ns <= at_ns)
    }

    /// Class of the descriptor that had this number at that moment; `None`: not known, or no longer.
    pub fn class_at(&self, tgid: Tid, fd: i32, at_ns: u64) -> Option<DescriptorClass> {
        let now = self.get(tgid, fd).filter(|descriptor| descriptor.opened_ns <= at_ns);
        let before = || {
            let (class, held_ns) = self.replaced.get(&tgid)?.get(&fd)?;
            held_ns.contains(&at_ns).then_some(*class)
        };
        now.map(|descriptor| descriptor.class).or_else(before)
    }

    /// Removes a descriptor that existed when the close was entered. One opened later only reuses the number:
    /// close frees the number before it returns.
    pub fn close(&mut self, tgid: Tid, fd: i32, close_enter_ns: u64) -> Option<Descriptor> {
        let table = self.processes.get_mut(&tgid)?;
        if table.get(fd)?.opened_ns > close_enter_ns {
            return None;
        }
        table.changes(fd);
        let closed = table.slots.get_mut(usize::try_from(fd).ok()?)?.take()?;
        self.held = self.held.saturating_sub(closed.listed());
        Some(closed)
    }

    /// A child process starts with a copy of its parent's table; its copies of client connections are not
    /// followed.
    pub fn fork(&mut self, parent: Tid, child: Tid) {
        if parent == child {
            return;
        }
        let before = self.processes.get(&child).map_or(0, Table::held);
        let others = self.held.saturating_sub(before);
        let Some(table) = self.processes.get_mut(&parent) else { return };
        for descriptor in table.slots.iter_mut().flatten() {
            descriptor.shared |= descriptor.class == DescriptorClass::Epoll;
        }
        let copied = table.held();
        if others + copied > MAX_HELD {
            self.processes.remove(&child);
            self.held = others;
            self.evicted += 1;
            return;
        }
        let mut copy = Table { slots: table.slots.clone(), known: None };
        for descriptor in copy.slots.iter_mut().flatten() {
            if descriptor.connection.take().is_some() {
                descriptor.class = DescriptorClass::Other;
            }
        }
        self.processes.insert(child, copy);
        self.held = others + copied;
    }

    /// A process is gone; returns the connections that it still had.
    pub fn exit(&mut self, tgid: Tid) -> Vec<u32> {
        self.replaced.remove(&tgid);
        let table = self.processes.remove(&tgid).unwrap_or_default();
        self.held = self.held.saturating_sub(table.held());
        table.slots.into_iter().flatten().filter_map(|descriptor| descriptor.connection).collect()
    }

    /// Forgets processes that have ended. Facts about one may have arrived after its end.
    pub fn retain(&mut self, living: &Living) {
        let held = &mut self.held;
        self.processes.retain(|tgid, table| {
            let is_living = living.process(*tgid);
            *held = held.saturating_sub(if is_living { 0 } else { table.held() });
            is_living
        });
        self.replaced.retain(|tgid, _| living.process(*tgid));
    }

    /// What an epoll instance waits for now.
    pub fn interest(&self, tgid: Tid, epoll_fd: i32) -> Interest {
        let Some(table) = self.processes.get(&tgid) else { return Interest::default() };
        let known = table.known.filter(|(known_fd, _)| *known_fd == epoll_fd);
        known.map_or_else(|| table.interest(epoll_fd), |(_, interest)| interest)
    }

    /// A thread waits in an epoll instance: what that waits for is remembered.
    pub fn waits_in(&mut self, tgid: Tid, epoll_fd: i32) {
        if let Some(table) = self.processes.get_mut(&tgid)
            && table.known.is_none_or(|(known_fd, _)| known_fd != epoll_fd)
        {
            table.known = Some((epoll_fd, table.interest(epoll_fd)));
        }
    }

    /// Follows the calls that make, copy and change descriptors (not accept and close: connections follow
    /// those).
    pub fn follow(&mut self, slice: &Slice) {
        let tgid = slice.tgid;
        if slice.result < 0 && !matches!(slice.call, Call::Connect { .. }) {
            return;
        }
        let made = i32::try_from(slice.result).unwrap_or(-1);
        match slice.call {
            Call::Make { class } => self.open(tgid, made, class, slice.exit_ns),
            Call::MakePair { fds } => {
                for fd in fds {
                    self.open(tgid, fd, DescriptorClass::Wakeup, slice.exit_ns);
                }
            }
            Call::Duplicate { fd } => {
                if let Some(mut copy) = self.get(tgid, fd).cloned() {
                    copy.opened_ns = slice.exit_ns;
                    // One connection is counted once.
                    copy.begun = None;
                    self.insert(tgid, made, copy);
                }
            }
            Call::Connect { fd, port, identity, .. } => {
                self.reclass(tgid, fd, DescriptorClass::Backend { port });
                self.identify(tgid, fd, identity);
            }
            Call::Listen { fd, .. } => self.reclass(tgid, fd, DescriptorClass::Listener),
            Call::EpollControl { epoll_fd, operation, fd, events } => {
                self.control(tgid, epoll_fd, operation, (fd, events));
            }
            _ => {}
        }
    }

    fn control(&mut self, tgid: Tid, epoll_fd: i32, operation: u32, (fd, events): (i32, u32)) {
        if self.get(tgid, epoll_fd).is_none() {
            self.open(tgid, epoll_fd, DescriptorClass::Epoll, 0);
        }
        let has_room = self.held < MAX_HELD;
        let Some(descriptor) = self.get_mut(tgid, epoll_fd) else { return };
        let (had, listed) = (descriptor.interest.len(), descriptor.listed());
        let is_new = operation != EPOLL_CTL_DEL && !descriptor.interest.contains(&fd);
        if !descriptor.ways.is_empty() || events & WAYS != 0 {
            descriptor.ways.retain(|(entry, _)| *entry != fd);
            // There are no more of them than entries of the list, where what finds no place is counted.
            let has_place = descriptor.ways.len() < MAX_INTEREST && (has_room || !is_new);
            if operation != EPOLL_CTL_DEL && events & WAYS != 0 && has_place {
                descriptor.ways.push((fd, events));
            }
        }
        if operation == EPOLL_CTL_DEL {
            descriptor.interest.retain(|entry| *entry != fd);
        } else if is_new && had < MAX_INTEREST && has_room {
            descriptor.interest.push(fd);
        }
        let (has, now_listed) = (descriptor.interest.len(), descriptor.listed());
        self.held = (self.held + now_listed).saturating_sub(listed);
        self.evicted += u64::from(is_new && has == had);
        if let Some(table) = self.processes.get_mut(&tgid) {
            table.is_listed(epoll_fd, fd, (had, has));
        }
    }

    /// A number's descriptor changes.
    fn changes(&mut self, tgid: Tid, fd: i32) {
        if let Some(table) = self.processes.get_mut(&tgid) {
            table.changes(fd);
        }
    }

    /// The descriptor, to be changed.
    pub(super) fn get_mut(&mut self, tgid: Tid, fd: i32) -> Option<&mut Descriptor> {
        self.processes.get_mut(&tgid)?.slots.get_mut(usize::try_from(fd).ok()?)?.as_mut()
    }

    fn insert(&mut self, tgid: Tid, fd: i32, mut descriptor: Descriptor) {
        let Ok(index) = usize::try_from(fd) else { return };
        let places = self.processes.get(&tgid).map_or(0, |table| table.slots.len());
        let more = (index + 1).saturating_sub(places);
        let held = self.held + more;
        // Where it has a place already, what was there before is no longer true.
        if index >= MAX_DESCRIPTOR || more > 0 && held > MAX_HELD {
            self.evicted += 1;
            return;
        }
        let listed = descriptor.listed();
        if listed > 0 && held + listed > MAX_HELD {
            (descriptor.interest, descriptor.ways) = (Vec::new(), Vec::new());
            self.evicted += 1;
        }
        let table = self.processes.entry(tgid).or_default();
        table.changes(fd);
        if table.slots.len() <= index {
            table.slots.resize(index + 1, None);
        }
        if let Some(slot) = table.slots.get_mut(index) {
            self.held = held + descriptor.listed();
            if let Some(before) = slot {
                self.held = self.held.saturating_sub(before.listed());
                let held_ns = before.opened_ns..descriptor.opened_ns;
                self.replaced.entry(tgid).or_default().insert(fd, (before.class, held_ns));
            }
            *slot = Some(descriptor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_that_returns_late_does_not_remove_the_number_s_next_owner() {
        let mut table = Descriptors::default();
        table.open(1, 7, DescriptorClass::File, 100);
        // Thread A enters close(7) at 200; thread B opens 7 again at 210; A's close returns at 220.
        table.open(1, 7, DescriptorClass::Epoll, 210);
        assert!(table.close(1, 7, 200).is_none());
        assert_eq!(table.class(1, 7), Some(DescriptorClass::Epoll));
        assert_eq!(table.class_at(1, 7, 200), Some(DescriptorClass::File));
        assert_eq!(table.class_at(1, 7, 210), Some(DescriptorClass::Epoll));
        assert_eq!(table.class_at(1, 7, 99), None, "what was there before is forgotten");
        assert!(table.close(1, 7, 300).is_some());
        assert_eq!(table.class_at(1, 7, 200), Some(DescriptorClass::File), "the next owner has gone as well");
    }

    #[test]
    fn an_epoll_instance_with_one_client_is_a_wait_for_that_client() {
        let mut table = Descriptors::default();
        table.open(1, 5, DescriptorClass::Epoll, 1);
        table.open_client(1, 9, 1, 0);
        table.control(1, 5, 1, (9, 0));
        assert_eq!(table.interest(1, 5).only_client, Some(9));
        table.open(1, 3, DescriptorClass::Listener, 1);
        table.control(1, 5, 1, (3, 0));
        assert_eq!(table.interest(1, 5).only_client, None);
        assert!(table.interest(1, 5).listener);
        table.control(1, 5, EPOLL_CTL_DEL, (3, 0));
        assert!(!table.interest(1, 5).listener);
    }

    #[test]
    fn what_is_remembered_of_an_epoll_instance_is_what_is_found_there_whatever_changes() {
        let mut seed = 1_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let classes = [
            DescriptorClass::Listener,
            DescriptorClass::Client,
            DescriptorClass::Backend { port: 1 },
            DescriptorClass::Wakeup,
            DescriptorClass::Epoll,
        ];
        let mut table = Descriptors::default();
        table.open(1, 0, DescriptorClass::Epoll, 0);
        for time_ns in 0..20_000 {
            let (fd, epoll_fd) = (next(12) as i32, next(2) as i32);
            match next(9) {
                0 => table.open_client(1, fd, time_ns, 0),
                1 => table.reclass(1, fd, classes[next(5) as usize]),
                2 => drop(table.close(1, fd, time_ns)),
                3 => table.fork(1, 2),
                4 => table.set_interest(1, epoll_fd, vec![fd, next(12) as i32], &[EPOLLONESHOT, 0]),
                5 => table.control(1, epoll_fd, EPOLL_CTL_DEL, (fd, 0)),
                _ => table.control(1, epoll_fd, EPOLL_CTL_ADD, (fd, [0, EPOLLONESHOT][next(2) as usize])),
            }
            for epoll_fd in [0, 1] {
                assert_eq!(table.interest(1, epoll_fd), table.processes[&1].interest(epoll_fd), "{time_ns}");
            }
            assert_eq!(table.held, table.processes.values().map(Table::held).sum::<usize>(), "{time_ns}");
            table.waits_in(1, next(2) as i32);
        }
    }

    #[test]
    fn a_forked_child_inherits_descriptors_but_no_connections() {
        let mut table = Descriptors::default();
        table.open(1, 3, DescriptorClass::Listener, 1);
        table.open_client(1, 9, 1, 4);
        table.fork(1, 2);
        assert_eq!(table.class(2, 3), Some(DescriptorClass::Listener));
        assert_eq!(table.connection(2, 9), None);
        assert_eq!(table.exit(1), vec![4]);
        assert_eq!(table.class(1, 3), None);
    }

    #[test]
    fn hostile_descriptor_numbers_are_counted_not_stored() {
        let mut table = Descriptors::default();
        table.open(1, i32::MAX, DescriptorClass::File, 1);
        table.open(1, -5, DescriptorClass::File, 1);
        assert_eq!(table.evicted, 1);
        assert_eq!(table.class(1, i32::MAX), None);
    }

    #[test]
    fn tables_of_all_processes_together_are_bounded_and_what_finds_no_place_is_counted() {
        let mut table = Descriptors::default();
        let (last, tables) = (MAX_DESCRIPTOR as i32 - 1, (MAX_HELD / MAX_DESCRIPTOR) as u32);
        for tgid in 1..=tables + 24 {
            table.open(tgid, last, DescriptorClass::File, 1);
        }
        assert_eq!((table.processes.len(), table.evicted), (tables as usize, 24));
        table.fork(1, 100);
        assert_eq!((table.class(100, last), table.evicted), (None, 25), "a copy finds no place either");
        table.exit(1);
        table.fork(2, 100);
        assert_eq!((table.class(100, last), table.evicted), (Some(DescriptorClass::File), 25));
    }

    #[test]
    fn lists_that_are_copied_again_and_again_are_bounded() {
        let mut table = Descriptors::default();
        table.open(1, 0, DescriptorClass::Epoll, 1);
        table.set_interest(1, 0, (0..MAX_INTEREST as i32).collect(), &[]);
        let copies = (MAX_HELD / MAX_INTEREST) as i64 + 44;
        for made in 1..=copies {
            let copies =
                Slice { tgid: 1, result: made, exit_ns: 2, ..Slice::blank(Call::Duplicate { fd: 0 }) };
            table.follow(&copies);
        }
        let table_1 = &table.processes[&1];
        assert!(table_1.held() <= MAX_HELD && table.evicted >= 44, "{} {}", table_1.held(), table.evicted);
        assert_eq!(table.class(1, copies as i32), Some(DescriptorClass::Epoll), "it is known all the same");
        for fd in 0..MAX_INTEREST as i32 {
            table.control(1, copies as i32, EPOLL_CTL_ADD, (fd, 0));
        }
        assert_eq!(table.held, MAX_HELD);
        table.control(1, 0, EPOLL_CTL_ADD, (5, EPOLLONESHOT));
        let evicted = table.evicted;
        table.open(1, 0, DescriptorClass::File, 3);
        let told = (table.class(1, 0), table.evicted);
        assert_eq!(told, (Some(DescriptorClass::File), evicted), "it takes a place that was another's");
    }

    #[test]
    fn entry_of_an_interest_list_for_which_there_is_no_room_is_counted() {
        let mut table = Descriptors::default();
        table.open(1, 5, DescriptorClass::Epoll, 1);
        table.set_interest(1, 5, (0..=MAX_INTEREST as i32).collect(), &[]);
        assert_eq!(table.evicted, 1);
        table.control(1, 5, EPOLL_CTL_ADD, (MAX_INTEREST as i32, 0));
        assert_eq!(table.evicted, 2);
    }
}
