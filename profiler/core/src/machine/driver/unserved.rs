//! Connections that nobody serves as the window ends: on each of them a request waits, and is open.
//!
//! In: what the kernel side found unread at the window's end. Out: requests that wait to be accepted or read,
//! from the arrival of their first byte to the window's end. In light mode both is one phase, the wait for a
//! thread.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use crate::event::Tid;
use crate::fact::waiting::{WaitingConnection, WaitingConnections};
use crate::machine::chain::state::Service;
use crate::machine::driver::state::State;
use crate::machine::join::topology::AF_UNIX;
use crate::machine::ledger::context::LedgerEvent;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::{Active, Beginning};
use crate::phase::Phase;
use crate::server::{Role, recognise};
use crate::timeline::Entry;

/// Connections on which requests wait that nobody serves.
#[derive(Debug, Default)]
pub struct Unserved {
    connections: Vec<Waits>,
    looked_ns: u64,
}

/// One of them.
#[derive(Debug)]
struct Waits {
    on: WaitingConnection,
    /// Light mode: the connection's dense number, and the requests that came on it before.
    known: Option<(u64, u32)>,
}

impl State {
    /// The connections of a look as the window ends on which nobody serves a request. To be asked before what
    /// is open is closed.
    pub fn unserved(&self, found: &WaitingConnections) -> Unserved {
        let mut unserved = Unserved { looked_ns: found.looked_ns, ..Unserved::default() };
        if self.world.arrival_measured {
            let mut seen = FxHashSet::default();
            let is_new =
                |on: &&WaitingConnection| seen.insert(on.socket) && !self.wire.light.is_in_request(on.socket);
            let all = found.connections.iter().filter(is_new);
            unserved.connections =
                all.map(|on| Waits { on: *on, known: self.wire.light.of(on.socket) }).collect();
        }
        unserved
    }

    /// Before what is open is closed, a request begins on each connection that was accepted and has something
    /// unread.
    pub(super) fn begin_unread(&mut self, unserved: &Unserved, end_ns: u64) {
        if !self.time.is_light {
            for waits in &unserved.connections {
                self.begin_unread_on(&waits.on, (unserved.looked_ns, end_ns));
            }
        }
    }

    /// What was open is closed: a request waits on each of the other connections too.
    pub(super) fn end_unserved(&mut self, unserved: &Unserved, end_ns: u64, sink: &mut dyn FnMut(Entry)) {
        for waits in &unserved.connections {
            match waits.on.holder {
                Some((tgid, _)) if self.time.is_light => {
                    self.waits_to_the_end(waits, (tgid, Phase::PoolWait), end_ns, sink);
                }
                Some(_) => {}
                None => self.unaccepted(waits, end_ns, sink),
            }
        }
    }

    /// When a request arrived on such a connection, and whether that was seen. One that was there before the
    /// watch has waited since before.
    fn arrival(&self, waiting: &WaitingConnection, end_ns: u64) -> (u64, bool) {
        let known = [waiting.first_data_ns, waiting.established_ns].into_iter().find(|at_ns| *at_ns > 0);
        (known.unwrap_or(self.watch_start_ns).min(end_ns), known.is_some())
    }

    /// A connection was accepted, and nobody reads what came. It may be a request that its client sends on.
    fn begin_unread_on(&mut self, waiting: &WaitingConnection, (looked_ns, end_ns): (u64, u64)) {
        let Some((tgid, fd)) = waiting.holder else { return };
        let Some(number) = self.world.descriptors.connection(tgid, fd) else { return };
        // What lies behind the beginning of a request is more of it, or waits until it is answered.
        let is_unread = self.wire.connections.get(number).is_some_and(|connection| {
            connection.signs.socket.0 == waiting.socket.0
                && !connection.shut
                && connection.requests.is_empty()
                && !connection.inbound.in_message()
                && connection.last_read_ns < looked_ns
        });
        if !is_unread {
            return;
        }
        let (start_ns, is_seen) = self.arrival(waiting, end_ns);
        let by_loop = self.loop_of(tgid);
        let Some(connection) = self.wire.connections.get(number) else { return };
        let side = connection.origin.side;
        let (id, index) = (connection.id, connection.begun);
        let (accepted_ns, dispatched_ns) = (connection.origin.accepted_ns, connection.dispatched_ns);
        let beginning = Beginning {
            id: self.wire.next_request(side),
            connection: id,
            index,
            start_ns,
            start_is_arrival: is_seen,
            accepted_ns: accepted_ns.filter(|accepted_ns| is_seen && *accepted_ns <= end_ns),
            truncated: !is_seen,
            dispatched_ns,
        };
        if !matches!(side, Side::Inner { .. }) {
            self.ledger_events.push(LedgerEvent::Began);
        }
        let mut active = Active::new(&beginning, tgid, by_loop.unwrap_or(0));
        let phase = if by_loop.is_some() { Phase::LoopWait } else { Phase::PoolWait };
        active.pass(end_ns, phase);
        if let Some(connection) = self.wire.connections.get_mut(number) {
            connection.requests.push_back(Box::new(active));
            connection.begun = connection.begun.saturating_add(1);
        }
    }

    /// The thread that reads all connections of a process, if one does.
    fn loop_of(&self, tgid: Tid) -> Option<Tid> {
        let threads = &self.runtime.threads;
        let is_loop = |tid: &Tid| threads.get(*tid).is_some_and(|thread| thread.is_loop());
        threads.of_process(tgid).into_iter().filter(is_loop).min()
    }

    /// Nobody has accepted a connection.
    fn unaccepted(&mut self, waits: &Waits, end_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let waiting = &waits.on;
        if self.product.drops.knows(waiting.socket) {
            // It was accepted after the look.
            return;
        }
        let listeners = &self.world.processes.listeners;
        let holder = listeners.iter().filter(|seen| seen.inode == waiting.inode).map(|seen| seen.tgid).min();
        let family = if waiting.is_unix { AF_UNIX } else { 0 };
        if holder.is_some_and(|tgid| matches!(self.join.topology.side_of(tgid, family), Side::Inner { .. })) {
            // It is a part of a request that the front end has.
            return;
        }
        let phase = if self.time.is_light { Phase::PoolWait } else { Phase::AcceptQueue };
        self.waits_to_the_end(waits, (0, phase), end_ns, sink);
    }

    /// A request has waited in this phase for all of its time. Nobody serves it, whichever process it waits
    /// for (0: several may).
    fn waits_to_the_end(
        &mut self,
        Waits { on: waiting, known }: &Waits,
        (tgid, phase): (Tid, Phase),
        end_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        let (start_ns, is_seen) = self.arrival(waiting, end_ns);
        let (connection, index) = known.unwrap_or_else(|| (self.wire.connections.count_one(), 0));
        let beginning = Beginning {
            id: self.wire.next_request(Side::Whole),
            connection,
            index,
            start_ns,
            start_is_arrival: is_seen,
            accepted_ns: None,
            truncated: !is_seen,
            dispatched_ns: 0,
        };
        let mut request = Active::new(&beginning, tgid, 0).request;
        request.phases.add(phase, end_ns.saturating_sub(start_ns));
        request.times.end_ns = end_ns;
        request.seen.open = true;
        let peer = if waiting.is_unix { waiting.socket.0 } else { u64::from(waiting.peer_port) };
        let in_queue = waiting.holder.is_none();
        self.chain.served(request.id, Service { inode: waiting.inode, peer, in_queue, ..Service::default() });
        self.product.summary.begin();
        self.completion_context().complete(request, sink);
    }

    /// Which processes are there to accept at each listener, whether they have begun to or not.
    pub fn note_workers(&mut self) {
        let processes = &self.world.processes;
        let recognised = recognise(&processes.seen, &processes.listeners);
        let is_worker =
            |tgid: Tid| recognised.role(tgid) == Role::Worker && !processes.ended.contains_key(&tgid);
        let mut workers: BTreeMap<u64, Vec<Tid>> = BTreeMap::new();
        for seen in processes.listeners.iter().filter(|seen| seen.fd >= 0 && is_worker(seen.tgid)) {
            workers.entry(seen.inode).or_default().push(seen.tgid);
        }
        self.chain.attendance.note_workers(workers);
    }
}
