//! Light mode: how connections end, and what the kernel says of it meanwhile.
//!
//! In: ends of connections and of processes, evidence of the kernel. Out: each connection with what its
//! verdict needs. No close is seen as a call. The socket's change of state tells of one that sends a FIN, the
//! reset of one that throws away what the client sent. A reset of the client's shows in the next call on the
//! connection. UNIX sockets show no end: they get no verdict.

use crate::event::{ConnectionEvidence, Evidence, LightEnd, Sign, Tid};
use crate::machine::driver::state::State;
use crate::machine::wire::ending::How;
use crate::machine::wire::light_socket::{LightRequest, Socket};
use crate::timeline::Entry;

impl State {
    /// A connection is closed, or a call met that its client had gone.
    pub fn light_closed(&mut self, end: &LightEnd, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let (address, generation) = end.socket;
        let mut socket = match self.wire.light.open.remove(&address) {
            Some(socket) if socket.generation == generation => socket,
            before => {
                if let Some(before) = before {
                    self.light_ends(before, How::Closed, time_ns, sink);
                }
                if end.is_unix || !end.is_unused {
                    return;
                }
                self.unused(end.socket, end.tgid, time_ns)
            }
        };
        let life = &mut socket.life;
        life.signs.called(end.error, end.by_send, time_ns);
        if end.ports.0 > 0 {
            life.signs.ports = end.ports;
        }
        if end.established_ns > 0 {
            life.origin.established_ns = end.established_ns;
        }
        if life.signs.has_read {
            self.product.drops.accepted_since(life.tgid, life.origin.established_ns);
        }
        let how = self.how(end.tgid, socket.life.tgid);
        self.light_ends(socket, how, time_ns, sink);
    }

    /// A connection of which nothing was read, closed by this process.
    fn unused(&mut self, (address, generation): (u64, u32), tgid: Tid, at_ns: u64) -> Box<Socket> {
        let mut unused = Box::new(Socket::new(generation, self.wire.connections.count_one()));
        let known = self.product.drops.opened_light((address, generation), at_ns);
        (unused.life.signs, unused.life.origin) = known;
        unused.life.tgid = tgid;
        unused
    }

    /// A process that has ended closes nothing by itself any more.
    fn how(&self, closed_by: Tid, used_by: Tid) -> How {
        let is_gone = closed_by > 0 && closed_by == used_by && self.product.drops.has_ended(closed_by);
        if is_gone { How::ProcessGone } else { How::Closed }
    }

    /// The connection has ended: so does its request, and it waits for its verdict.
    pub(super) fn light_ends(
        &mut self,
        mut socket: Box<Socket>,
        how: How,
        at_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        let is_followed = self.wire.light.is_followed(&socket);
        let ended = is_followed.then(|| Box::new(socket.ends(how, at_ns)));
        if let Some(active) = socket.active {
            if active.request.seen.lasts {
                self.light_lasted(active, at_ns, sink);
            } else {
                self.end_light(active, at_ns, sink);
            }
        }
        if let Some(ended) = ended {
            self.product.drops.ended(ended, sink);
        }
    }

    /// A process has ended, and with it its connections.
    pub(in crate::machine::driver) fn light_process_ends(
        &mut self,
        tgid: Tid,
        at_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        for socket in self.wire.light.take_of(tgid) {
            self.light_ends(socket, How::ProcessGone, at_ns, sink);
        }
    }

    /// The kernel reports something of a connection or a process. Returns it where it is about no connection
    /// that is open here.
    pub(in crate::machine::driver) fn light_evidence<'a>(
        &mut self,
        evidence: &'a Evidence,
        at_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) -> Option<&'a Evidence> {
        match evidence {
            Evidence::AcceptFailed { tgid, listener_fd, result } => {
                let clients = || self.wire.light.count_of(*tgid);
                self.product.drops.accept_failed((*tgid, *listener_fd), *result, at_ns, clients);
                None
            }
            Evidence::Connection(of) if self.time.is_light && !of.only_ports => {
                (!self.is_of_connection(of, at_ns, sink)).then_some(evidence)
            }
            _ => Some(evidence),
        }
    }

    /// Whether the evidence is about a connection that is open here, or that ends by it.
    fn is_of_connection(
        &mut self,
        evidence: &ConnectionEvidence,
        at_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) -> bool {
        let (address, generation) = evidence.socket;
        let open = self.wire.light.open.get(&address).filter(|socket| socket.generation == generation);
        let is_known = open.is_some();
        let is_told = open.is_some_and(|socket| !self.wire.light.is_followed(socket));
        if is_told || !is_known && !(evidence.is_taken && evidence.closed_by > 0) {
            return false;
        }
        let mut socket = match self.wire.light.open.remove(&address) {
            Some(socket) if is_known => socket,
            before => {
                if let Some(before) = before {
                    self.light_ends(before, How::Closed, at_ns, sink);
                }
                self.unused(evidence.socket, evidence.closed_by, at_ns)
            }
        };
        let life = &mut socket.life;
        life.signs.take(evidence, at_ns);
        if evidence.established_ns > 0 {
            life.origin.established_ns = evidence.established_ns;
        }
        if evidence.peer_port > 0 && evidence.local_port > 0 {
            life.signs.ports = (evidence.local_port, evidence.peer_port);
        }
        if evidence.closed_by > 0 {
            let how = self.how(evidence.closed_by, socket.life.tgid);
            self.light_ends(socket, how, at_ns, sink);
            return true;
        }
        let is_on_its_way = evidence.unacknowledged_bytes > 0;
        let is_over = |active: &LightRequest| active.is_answered || active.is_responding && is_on_its_way;
        if evidence.sign == Sign::ResetReceived && socket.active.as_ref().is_none_or(is_over) {
            // No call need follow that would meet it. If one does, its bytes are still those of the request.
            let ended = Box::new(socket.ends(How::Closed, at_ns));
            self.product.drops.ended(ended, sink);
        }
        self.wire.light.open.insert(address, socket);
        true
    }
}

#[cfg(test)]
mod tests;
