//! Listeners that are opened, closed and copied during the run.
//!
//! In: calls of traced threads, facts about listeners. Out: each count with the listener that it belongs to,
//! whatever its descriptor means later; processes of which more must be read. A call shows only that there is
//! a listener, not which one.

use rustc_hash::FxHashSet;

use crate::event::{Call, Connection, Slice, Tid};
use crate::fact::holders::ForeignHolders;
use crate::fact::{DescriptorClass, ListenerSeen};
use crate::machine::world::listener::Listeners;
use crate::machine::world::living::Living;
use crate::machine::world::queue::Queues;

use super::{Machines, Pipeline};

/// Descriptors that a source was asked about.
const MAX_ASKED: usize = 4096;
/// Bytes of a listener's family and address: the longest path has 108. Each process that inherits it has a
/// copy.
const MAX_ADDRESS_BYTES: usize = 512;

/// What is known of listeners, beside what processes hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening {
    /// Who accepted there.
    pub counts: Listeners,
    /// Accept queues.
    pub queues: Queues,
    /// Holders outside of the target.
    pub foreign: ForeignHolders,
    /// Processes with a listener of which nothing is known.
    pub unread: FxHashSet<Tid>,
    /// Descriptors that a source was asked about.
    asked: FxHashSet<(Tid, i32)>,
    /// Descriptors that listen again, until it is known whether it is another listener.
    renewed: FxHashSet<(Tid, i32)>,
}

impl Listening {
    /// A thread has ended; a main thread stands for its process.
    pub(super) fn forget(&mut self, tid: Tid) {
        self.counts.forget(tid);
        self.asked.retain(|(tgid, _)| *tgid != tid);
        self.renewed.retain(|(tgid, _)| *tgid != tid);
    }

    /// What found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.counts.evicted() + self.queues.evicted()
    }

    /// The next window begins.
    pub(super) fn roll(&mut self, time_ns: u64, living: &Living) {
        self.counts.roll(living);
        self.queues.roll(time_ns, living);
        self.asked.retain(|(tgid, _)| living.process(*tgid));
        self.renewed.retain(|(tgid, _)| living.process(*tgid));
        self.unread.retain(|tgid| living.process(*tgid));
    }
}

impl Pipeline {
    /// Processes that have a listener of which nothing is known, each named once. A source that can look at
    /// them reports [`Fact::ListenerSeen`](crate::fact::Fact::ListenerSeen).
    pub fn take_unread(&mut self) -> Vec<Tid> {
        let mut unread: Vec<Tid> = self.machines.listening.unread.drain().collect();
        unread.sort_unstable();
        unread
    }
}

impl Machines {
    /// A call may have made a listener, ended one, or copied one to another number. To be called before the
    /// descriptor table follows the call.
    pub(super) fn follow_listeners(&mut self, slice: &Slice) {
        let tgid = slice.tgid;
        let is_listener =
            |fd: i32| self.state.world.descriptors.class(tgid, fd) == Some(DescriptorClass::Listener);
        match slice.call {
            Call::Listen { fd, .. } if slice.result == 0 => {
                // This may be the listener before with another backlog: the counts so far stay with what it
                // was.
                if self.state.world.processes.listener(tgid, fd).is_some() {
                    self.set_aside(tgid, fd, false);
                } else {
                    self.state.world.processes.listen_unknown(tgid, fd);
                }
                self.listening.asked.remove(&(tgid, fd));
                self.ask(tgid, fd);
            }
            Call::Close { fd } if is_listener(fd) => self.set_aside(tgid, fd, true),
            Call::Duplicate { fd } if slice.result >= 0 => {
                let Ok(made) = i32::try_from(slice.result) else { return };
                let copied = is_listener(fd).then(|| self.state.world.processes.listener(tgid, fd)).flatten();
                let copied = copied.map(|seen| ListenerSeen { fd: made, ..seen.clone() });
                if made == fd {
                    return;
                }
                if is_listener(made) {
                    self.set_aside(tgid, made, true);
                }
                if let Some(copied) = copied {
                    self.state.world.processes.listen(&copied);
                }
            }
            _ => {}
        }
    }

    /// A listener was seen in `/proc`. If it is another one than before at this descriptor, it gets what was
    /// counted since the call that made it.
    pub(super) fn listener_seen(&mut self, seen: &ListenerSeen) {
        if seen.address.len().saturating_add(seen.family.len()) > MAX_ADDRESS_BYTES {
            self.state.evict();
            return;
        }
        if self.state.world.processes.identify(seen) {
            return;
        }
        let known = self.state.world.processes.listener(seen.tgid, seen.fd);
        let is_another =
            known.is_some_and(|known| known.inode != seen.inode && known.inode != 0 && seen.inode != 0);
        if is_another {
            if !self.listening.renewed.remove(&(seen.tgid, seen.fd)) {
                self.set_aside(seen.tgid, seen.fd, true);
            }
            self.state.world.processes.no_longer(seen.tgid, seen.fd);
        }
        self.state.world.processes.listen(seen);
    }

    /// Who accepted a connection, and from where.
    pub(super) fn comes_from_listener(&mut self, number: Option<u32>, opened: &Connection, time_ns: u64) {
        if opened.seeded {
            return;
        }
        let Some(inode) = self.state.world.processes.listener_inode(opened.tgid, opened.listener_fd) else {
            self.ask(opened.tgid, opened.listener_fd);
            return;
        };
        self.state.time.capacity.accepts(inode, opened.tgid, time_ns);
        if let Some(connection) = number.and_then(|number| self.state.wire.connections.get_mut(number)) {
            connection.origin.listener_inode = inode;
        }
    }

    fn ask(&mut self, tgid: Tid, fd: i32) {
        let asked = &mut self.listening.asked;
        if asked.len() >= MAX_ASKED && !asked.contains(&(tgid, fd)) {
            self.state.evict();
        } else if asked.insert((tgid, fd)) {
            self.listening.unread.insert(tgid);
        }
    }

    /// Moves a descriptor's counts to the listener that it was. `ends`: it is no listener any more.
    fn set_aside(&mut self, tgid: Tid, fd: i32, ends: bool) {
        let Some(aside) = self.state.world.processes.set_aside(tgid, fd) else { return };
        if let Some(counts) = self.state.world.accepts.remove(&(tgid, fd))
            && let Some(sums) = self.state.world.accepts.get_or_default((tgid, aside))
        {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.saturating_add(count);
            }
        }
        self.listening.counts.set_aside((tgid, fd), (tgid, aside));
        let renewed = &mut self.listening.renewed;
        if ends {
            self.state.world.processes.no_longer(tgid, fd);
        } else if renewed.len() < MAX_ASKED || renewed.contains(&(tgid, fd)) {
            renewed.insert((tgid, fd));
        } else {
            self.state.evict();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Change, Lifecycle};
    use crate::fact::Fact;
    use crate::pipeline::Settings;

    const OLD: u64 = 100;
    const NEW: u64 = 200;

    fn machines() -> Machines {
        let mut machines = Pipeline::new(Settings::default()).machines;
        machines.started = true;
        let seen =
            ListenerSeen { tgid: 1, fd: 3, inode: OLD, family: "tcp".to_owned(), ..ListenerSeen::default() };
        machines.fact(Fact::ListenerSeen(seen), 1, &mut |_| {});
        machines
    }

    fn call(machines: &mut Machines, call: Call, result: i64) {
        let slice = Slice { tgid: 1, tid: 1, result, enter_ns: 10, exit_ns: 20, ..Slice::blank(call) };
        machines.follow_listeners(&slice);
        machines.state.slice(&slice, &mut |_| {});
    }

    fn accepted(machines: &mut Machines, fd: i32, count: u64) {
        (0..count).for_each(|_| machines.state.world.count_accept((1, fd), 0));
    }

    fn seen(machines: &mut Machines, fd: i32, inode: u64) {
        let seen = ListenerSeen { tgid: 1, fd, inode, family: "tcp".to_owned(), ..ListenerSeen::default() };
        machines.fact(Fact::ListenerSeen(seen), 30, &mut |_| {});
    }

    /// Inode, accepted, closed.
    fn told(machines: Machines) -> Vec<(u64, u64, bool)> {
        let snapshot = machines.finish(&mut |_| {});
        snapshot.sockets.listeners.iter().map(|one| (one.seen.inode, one.accepted, one.is_closed)).collect()
    }

    #[test]
    fn address_longer_than_any_is_counted_and_not_kept() {
        let mut machines = machines();
        let seen = ListenerSeen { tgid: 1, fd: 4, address: "x".repeat(1 << 20), ..ListenerSeen::default() };
        machines.fact(Fact::ListenerSeen(seen), 30, &mut |_| {});
        assert_eq!((machines.state.world.processes.listeners.len(), machines.state.evicted), (1, 1));
    }

    #[test]
    fn number_that_another_listener_gets_keeps_both_counts_apart() {
        let mut machines = machines();
        accepted(&mut machines, 3, 4);
        call(&mut machines, Call::Close { fd: 3 }, 0);
        call(&mut machines, Call::Listen { fd: 3, backlog: 9 }, 0);
        // Accepted before anybody could look which it is.
        accepted(&mut machines, 3, 2);
        assert_eq!(machines.listening.unread.iter().copied().collect::<Vec<_>>(), [1]);
        seen(&mut machines, 3, NEW);
        accepted(&mut machines, 3, 1);
        assert_eq!(told(machines), [(OLD, 4, true), (NEW, 3, false)]);
    }

    #[test]
    fn listener_that_listens_again_with_another_backlog_stays_one() {
        let mut machines = machines();
        accepted(&mut machines, 3, 4);
        call(&mut machines, Call::Listen { fd: 3, backlog: 9 }, 0);
        accepted(&mut machines, 3, 2);
        seen(&mut machines, 3, OLD);
        assert_eq!(told(machines), [(OLD, 6, false)]);
    }

    #[test]
    fn children_that_have_ended_hold_no_listener() {
        let mut machines = machines();
        for (tgid, change) in [
            (1, Change::Fork { child_tgid: 7, child_tid: 7, child_number: 0 }),
            (1, Change::Fork { child_tgid: 8, child_tid: 8, child_number: 0 }),
        ] {
            machines.state.world.processes.change(&Lifecycle {
                tgid,
                tid: tgid,
                comm: "a".to_owned(),
                change,
            });
        }
        let change = Change::Exit { code: 0 };
        machines.state.world.processes.change(&Lifecycle { tgid: 7, tid: 7, comm: String::new(), change });
        let snapshot = machines.finish(&mut |_| {});
        assert_eq!(snapshot.sockets.listeners[0].holders, [1, 8]);
    }

    #[test]
    fn copies_of_a_listener_count_for_it_also_before_it_is_known() {
        let mut machines = machines();
        call(&mut machines, Call::Duplicate { fd: 3 }, 9);
        accepted(&mut machines, 9, 2);
        call(&mut machines, Call::Close { fd: 3 }, 0);
        call(&mut machines, Call::Listen { fd: 5, backlog: 9 }, 0);
        accepted(&mut machines, 5, 1);
        call(&mut machines, Call::Duplicate { fd: 5 }, 6);
        call(&mut machines, Call::Close { fd: 5 }, 0);
        accepted(&mut machines, 6, 1);
        seen(&mut machines, 6, NEW);
        assert_eq!(told(machines), [(OLD, 2, false), (NEW, 2, false)]);
    }

    #[test]
    fn listener_that_was_gone_before_anybody_looked_is_shown_with_what_came_from_it() {
        let mut machines = machines();
        call(&mut machines, Call::Listen { fd: 5, backlog: 9 }, 0);
        accepted(&mut machines, 5, 3);
        call(&mut machines, Call::Close { fd: 5 }, 0);
        call(&mut machines, Call::Listen { fd: 5, backlog: 9 }, 0);
        let snapshot = machines.finish(&mut |_| {});
        let told: Vec<_> =
            snapshot.sockets.listeners.iter().map(|one| (one.seen.address.as_str(), one.accepted)).collect();
        assert_eq!(told, [("", 0), ("(not known)", 3)]);
    }

    #[test]
    fn listeners_that_nobody_is_asked_about_for_want_of_room_are_counted() {
        let mut machines = machines();
        let count = i32::try_from(MAX_ASKED).unwrap();
        for (fd, evicted) in (0..count).map(|fd| (fd, 0)).chain([(7, 0), (count, 1)]) {
            machines.ask(1, fd);
            assert_eq!(machines.state.evicted, evicted, "asked about {fd}");
        }
        let mut machines = self::machines();
        machines.listening.renewed.extend((0..count).map(|fd| (2, fd)));
        for (what, evicted) in [("it listens again", 1), ("once more", 2)] {
            call(&mut machines, Call::Listen { fd: 3, backlog: 9 }, 0);
            assert_eq!(machines.state.evicted, evicted, "{what}");
        }
        machines.listening.renewed.remove(&(2, 0));
        for what in ["there is room", "it has its place"] {
            call(&mut machines, Call::Listen { fd: 3, backlog: 9 }, 0);
            assert_eq!(machines.state.evicted, 2, "{what}");
        }
    }

    #[test]
    fn listener_of_unknown_origin_is_asked_for_once() {
        let mut machines = machines();
        for _ in 0..3 {
            machines.comes_from_listener(
                None,
                &Connection { tgid: 1, listener_fd: 8, ..Connection::accepted(1) },
                5,
            );
        }
        assert_eq!(machines.listening.unread.drain().collect::<Vec<_>>(), [1]);
        machines.comes_from_listener(
            None,
            &Connection { tgid: 1, listener_fd: 8, ..Connection::accepted(1) },
            6,
        );
        assert!(machines.listening.unread.is_empty());
    }
}
