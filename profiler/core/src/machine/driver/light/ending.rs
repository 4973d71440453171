//! Light mode: how connections end, and what the kernel says of it meanwhile.
//!
//! In: ends of connections and of processes, evidence of the kernel. Out: each connection with what its verdict needs. No close is seen as a call. The
//! socket's change of state tells of one that sends a FIN, the reset of one that throws away what the client sent. A reset of the client's shows in the next
//! call on the connection. UNIX sockets show no end: they get no verdict.

use crate::event::{ConnectionEvidence, Evidence, Light, Sign, Tid};
use crate::machine::driver::light::end;
use crate::machine::driver::state::State;
use crate::machine::wire::ending::{How, asked};
use crate::machine::wire::light_socket::{LightRequest, Socket};
use crate::model::dropped::Asked;
use crate::timeline::Entry;

/// A connection is closed, or a call met that its client had gone.
pub(super) fn closed(state: &mut State, light: &Light, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let told = light.end();
    let known = state.wire.light.open.remove(&light.socket);
    let mut socket = match known {
        // An older version does not tell which connection of this address it was.
        Some(socket) if told.is_none() || socket.generation == light.generation => socket,
        before => {
            if let Some(before) = before {
                ends(state, before, How::Closed, time_ns, sink);
            }
            if light.is_unix || !state.wire.light.tells_ends || !told.is_some_and(|told| told.is_unused) {
                return;
            }
            let mut unused = Socket::new(light.generation, state.wire.connections.count_one());
            let known = state.product.drops.opened_light((light.socket, light.generation), time_ns);
            (unused.life.signs, unused.life.origin) = known;
            unused.life.tgid = light.tgid;
            unused
        }
    };
    let life = &mut socket.life;
    if let Some(told) = told {
        life.signs.called(told.error, told.by_send, time_ns);
        if told.ports.0 > 0 {
            life.signs.ports = told.ports;
        }
        if light.arrival_ns > 0 {
            life.origin.established_ns = light.arrival_ns;
        }
        if life.signs.has_read {
            state.product.drops.accepted_since(life.tgid, life.origin.established_ns);
        }
    }
    let how = how(state, light.tgid, socket.life.tgid);
    ends(state, socket, how, time_ns, sink);
}

/// A process that has ended closes nothing by itself any more.
fn how(state: &State, closed_by: Tid, used_by: Tid) -> How {
    let is_gone = closed_by > 0 && closed_by == used_by && state.product.drops.has_ended(closed_by);
    if is_gone { How::ProcessGone } else { How::Closed }
}

/// The connection has ended: so does its request, and it waits for its verdict.
pub(super) fn ends(state: &mut State, mut socket: Socket, how: How, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let ended = is_followed(state, &socket).then(|| Box::new(socket.ends(how, at_ns)));
    if let Some(active) = socket.active {
        end(state, active, at_ns, sink);
    }
    if let Some(ended) = ended {
        state.product.drops.ended(ended, sink);
    }
}

/// Whether the connection gets a verdict, and has none yet.
const fn is_followed(state: &State, socket: &Socket) -> bool {
    state.wire.light.tells_ends && !socket.life.is_unix && !socket.life.is_judged
}

/// What the process has at hand on its connections, and for how long.
pub(in crate::machine) fn held(state: &State, tgid: Tid, at_ns: u64) -> Vec<(Asked, u64)> {
    if !state.wire.light.tells_ends {
        return Vec::new();
    }
    let own = state.wire.light.open.values().filter(|socket| socket.life.tgid == tgid);
    let at_hand = own.filter_map(|socket| socket.active.as_ref()).filter(|active| !active.is_answered);
    let mut held: Vec<_> = at_hand.map(|active| &active.request).collect();
    // The order must not depend on a hash.
    held.sort_unstable_by_key(|request| request.id);
    let ran_ns = |start_ns| at_ns.saturating_sub(start_ns);
    held.into_iter().map(|request| (asked(request), ran_ns(request.times.start_ns))).collect()
}

/// A process has ended, and with it its connections.
pub(in crate::machine) fn process_ends(
    state: &mut State,
    tgid: Tid,
    at_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    if !state.wire.light.tells_ends {
        return;
    }
    let open = &mut state.wire.light.open;
    let own = |socket: &&Socket| socket.life.tgid == tgid && !socket.life.is_unix;
    let mut numbers: Vec<(u64, u64)> = open
        .iter()
        .filter(|(_, socket)| own(socket))
        .map(|(address, socket)| (socket.connection, *address))
        .collect();
    numbers.sort_unstable();
    let sockets: Vec<Socket> = numbers.iter().filter_map(|(_, address)| open.remove(address)).collect();
    for socket in sockets {
        ends(state, socket, How::ProcessGone, at_ns, sink);
    }
}

/// The kernel reports something. Returns it where it is about no connection that is open here.
pub(in crate::machine) fn evidence<'a>(
    state: &mut State,
    evidence: &'a Evidence,
    at_ns: u64,
    sink: &mut dyn FnMut(Entry),
) -> Option<&'a Evidence> {
    match evidence {
        Evidence::AcceptFailed { tgid, listener_fd, result } => {
            let own = state.wire.light.open.values().filter(|socket| socket.life.tgid == *tgid);
            let clients = || own.count() as u64;
            state.product.drops.accept_failed((*tgid, *listener_fd), *result, at_ns, clients);
            None
        }
        Evidence::Connection(of) if state.wire.light.tells_ends && !of.only_ports => {
            (!of_connection(state, of, at_ns, sink)).then_some(evidence)
        }
        _ => Some(evidence),
    }
}

/// Whether the evidence is about a connection that is open here, or that ends by it.
fn of_connection(
    state: &mut State,
    evidence: &ConnectionEvidence,
    at_ns: u64,
    sink: &mut dyn FnMut(Entry),
) -> bool {
    let (address, generation) = evidence.socket;
    let open = state.wire.light.open.get(&address).filter(|socket| socket.generation == generation);
    let is_known = open.is_some();
    let is_told = open.is_some_and(|socket| !is_followed(state, socket));
    if is_told || !is_known && !(evidence.is_taken && evidence.closed_by > 0) {
        return false;
    }
    let mut socket = match state.wire.light.open.remove(&address) {
        Some(socket) if is_known => socket,
        before => {
            if let Some(before) = before {
                ends(state, before, How::Closed, at_ns, sink);
            }
            // Closed before anything of it was read.
            let mut unused = Socket::new(generation, state.wire.connections.count_one());
            (unused.life.signs, unused.life.origin) =
                state.product.drops.opened_light(evidence.socket, at_ns);
            unused.life.tgid = evidence.closed_by;
            unused
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
        let how = how(state, evidence.closed_by, socket.life.tgid);
        ends(state, socket, how, at_ns, sink);
        return true;
    }
    let is_on_its_way = evidence.unacknowledged_bytes > 0;
    let is_over = |active: &LightRequest| active.is_answered || active.is_responding && is_on_its_way;
    if evidence.sign == Sign::ResetReceived && socket.active.as_ref().is_none_or(is_over) {
        // No call need follow that would meet it. If one does, its bytes are still those of the request.
        let ended = Box::new(socket.ends(How::Closed, at_ns));
        state.product.drops.ended(ended, sink);
    }
    state.wire.light.open.insert(address, socket);
    true
}

#[cfg(test)]
mod tests;
