//! Front ends: which connections are clients' and which come from a front end of the same target, and how the two
//! halves of a request find one another.
//!
//! In: what the processes are, calls of a front end's threads on sockets to the server behind, requests that end on either
//! side. Out: whole requests. Where no front end is traced, nothing here does anything.

use rustc_hash::FxHashSet;

use crate::event::{Call, Connection as Opened, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::driver::state::State;
use crate::machine::join::link::{CONTINUE_BYTES, Evidence, Half, Peer, Ready};
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::connection::{Connection, Side};
use crate::machine::wire::request::Active;
use crate::machine::wire::trail::Trail;
use crate::machine::world::errno::{EAGAIN, ECONNREFUSED, EINPROGRESS, ENOENT};
use crate::machine::world::living::Living;
use crate::model::front_end::FrontEnd;
use crate::model::request::{Framing, Request};
use crate::server::{Inside, Role, recognise, slots_of_one_worker};
use crate::timeline::Entry;

/// `AF_UNIX`.
const AF_UNIX: u16 = 1;
/// `AF_INET` and `AF_INET6`.
const INTERNET: [u16; 2] = [2, 10];
/// Requests of the server's are numbered apart: those that reports show are dense.
const INNER: u64 = 1 << 63;

/// Who stands before whom in the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Nobody: each connection is a client's.
    #[default]
    Flat,
    /// Connections over UNIX sockets come from the target's own front end, in a protocol of its own.
    PrivateOverUnix,
    /// Connections that other processes than these accept may come from them.
    FrontEnds(FxHashSet<Tid>),
}

impl Topology {
    fn side(&self, opened: &Opened) -> Side {
        match self {
            Self::Flat => Side::Whole,
            Self::PrivateOverUnix if opened.family == AF_UNIX => Side::Inner { private: true },
            Self::FrontEnds(these) if !these.contains(&opened.tgid) => Side::Inner { private: false },
            Self::PrivateOverUnix | Self::FrontEnds(_) => Side::Front,
        }
    }

    /// A front end is traced.
    #[must_use]
    pub fn has_front_end(&self) -> bool {
        *self != Self::Flat
    }

    /// Forgets processes that have ended.
    pub(in crate::machine) fn retain(&mut self, living: &Living) {
        if let Self::FrontEnds(these) = self {
            these.retain(|tgid| living.process(*tgid));
        }
    }

    /// A process was born: a front end's children are front ends.
    pub fn fork(&mut self, parent: Tid, child: Tid) {
        if let Self::FrontEnds(these) = self
            && these.contains(&parent)
        {
            these.insert(child);
        }
    }
}

/// Looks again at who stands before whom, when more is known of the processes.
pub fn look(state: &mut State) {
    if !std::mem::take(&mut state.join.topology_is_old) {
        return;
    }
    let recognised = recognise(&state.world.processes.seen, &state.world.processes.listeners);
    state.product.drops.kind = recognised.kind.name();
    state.time.capacity.of_one_worker = slots_of_one_worker(recognised.kind, &recognised.server);
    state.product.drops.own_limit = recognised.kind.own_limit(&recognised.server);
    let front: FxHashSet<Tid> =
        recognised.roles.iter().filter(|(_, role)| *role == Role::FrontEnd).map(|(tgid, _)| *tgid).collect();
    state.join.topology = match recognised.kind.inside(&recognised.server) {
        _ if state.world.processes.seen.iter().any(|process| process.front_end) => Topology::FrontEnds(front),
        Inside::PrivateOverUnix => Topology::PrivateOverUnix,
        Inside::FrontEnds if !front.is_empty() => Topology::FrontEnds(front),
        Inside::FrontEnds | Inside::Nothing => Topology::Flat,
    };
    if let Topology::FrontEnds(these) = &state.join.topology {
        let behind =
            state.world.processes.listeners.iter().filter(|listener| !these.contains(&listener.tgid));
        state.join.links.ports = behind.map(|listener| listener.port).filter(|port| *port > 0).collect();
    }
}

/// A connection was accepted, or found open: what stands at its other end.
pub fn opened(state: &mut State, number: u32, opened: &Opened) {
    look(state);
    let side = state.join.topology.side(opened);
    let signs = state.product.drops.opened(opened, number);
    if let Some(connection) = state.wire.connections.get_mut(number) {
        connection.side = side;
        connection.port = opened.local_port;
        connection.is_unix = opened.family == AF_UNIX;
        connection.established_ns = opened.established_ns;
        connection.signs = signs;
        connection.identity = if connection.is_unix { opened.socket.0 } else { u64::from(opened.peer_port) };
    }
    if matches!(side, Side::Inner { .. }) {
        state.wire.connections.inner = state.wire.connections.inner.saturating_add(1);
    }
}

/// Whether a connection is a client's to a front end: who serves it only passes requests on.
pub(in crate::machine) fn is_in_front(state: &State, number: u32) -> bool {
    state.wire.connections.get(number).is_some_and(|connection| connection.side == Side::Front)
}

/// Number of the next request on a connection; those of clients alone count.
pub(in crate::machine) fn next_request(state: &mut State, side: Side) -> u64 {
    if matches!(side, Side::Inner { .. }) {
        state.join.inner_count = state.join.inner_count.saturating_add(1);
        return INNER | state.join.inner_count;
    }
    let id = state.wire.request_count;
    state.wire.request_count = state.wire.request_count.saturating_add(1);
    state.product.summary.begin();
    id
}

/// Whether a write is an interim answer in a private protocol.
pub(in crate::machine) const fn is_interim(active: &Active, moved: u64) -> bool {
    !active.responding && active.request.bytes_out == 0 && moved == CONTINUE_BYTES
}

/// A call of a thread on a descriptor that is no client's.
pub fn call(state: &mut State, thread: &Thread, slice: &Slice, exit_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let tgid = slice.tgid;
    let times = (slice.enter_ns, exit_ns);
    match slice.call {
        Call::Connect { family, .. } if slice.result < 0 && slice.result != EINPROGRESS => {
            let number = serving(state, thread).map(|(number, _)| number);
            if let Some(connection) = number.and_then(|number| state.wire.connections.get_mut(number)) {
                connection.signs.behind_failed = connect_failed(family, slice.result);
            }
        }
        Call::Connect { fd, port, family, identity } if slice.result >= 0 || slice.result == EINPROGRESS => {
            let port = match family {
                AF_UNIX => None,
                _ if INTERNET.contains(&family) => Some(port),
                _ => return,
            };
            let outer = serving(state, thread);
            passes_on(state, outer, identity);
            if (outer.is_some() || matches!(state.join.topology, Topology::FrontEnds(_)))
                && state.join.links.connect((tgid, fd), Peer { port, identity }, times, outer)
            {
                begin_trail(state, outer);
            }
        }
        Call::Write { fd } | Call::Transfer { to_fd: fd, .. } if slice.result > 0 => {
            let Some(descriptor) = state.world.descriptors.get(tgid, fd) else { return };
            let DescriptorClass::Backend { port } = descriptor.class else { return };
            let peer = Peer { port: (port > 0).then_some(port), identity: descriptor.identity };
            let outer = serving(state, thread);
            passes_on(state, outer, peer.identity);
            if state.join.links.wrote((tgid, fd), peer, times, outer) {
                begin_trail(state, outer);
            }
            if state.join.links.has_orphans() {
                let ready = state.join.links.retry();
                complete(state, ready, sink);
            }
        }
        Call::Read { fd, .. } if slice.result > 0 => {
            state.join.links.read((tgid, fd), u64::try_from(slice.result).unwrap_or(0), exit_ns);
        }
        Call::Close { fd } => state.join.links.close((tgid, fd), exit_ns),
        _ => {}
    }
}

/// The front end is about to send a request to the server over a connection on which another was answered: that one is over,
/// also where its answer's end was not seen. Returns the number of its connection.
pub(in crate::machine) fn uses_again(state: &State, thread: &Thread, slice: &Slice) -> Option<u32> {
    let (Call::Write { fd } | Call::Transfer { to_fd: fd, .. }) = slice.call else { return None };
    let outer = serving(state, thread)?;
    let before = state.join.links.answered_on((slice.tgid, fd)).filter(|before| *before != outer)?;
    let is_front = |(number, id): (u32, u64)| {
        let front = state.wire.connections.get(number).and_then(|connection| connection.requests.front());
        front.filter(|active| active.request.id == id)
    };
    let asks = is_front(outer).is_some_and(|active| !active.responding);
    let is_over = asks && is_front(before).is_some_and(|active| active.responding);
    is_over.then_some(before.0)
}

/// The front end uses this connection to the server behind for a client's request.
fn passes_on(state: &mut State, outer: Option<(u32, u64)>, identity: u64) {
    if let Some(connection) = outer.and_then(|(number, _)| state.wire.connections.get_mut(number)) {
        connection.signs.behind = identity;
    }
}

/// What a connect to the server behind met, in words.
const fn connect_failed(family: u16, error: i64) -> Option<&'static str> {
    Some(match (family, error) {
        (AF_UNIX, EAGAIN) => {
            "connect to the server met EAGAIN, as the accept queue of its UNIX socket was full"
        }
        (_, ECONNREFUSED) => "connect to the server met ECONNREFUSED: nobody listened there",
        (AF_UNIX, ENOENT) => "connect to the server met ENOENT: its UNIX socket was not there",
        _ => return None,
    })
}

/// The client's request that a thread of the front end serves: its connection's number and its own.
fn serving(state: &State, thread: &Thread) -> Option<(u32, u64)> {
    let (number, id) = thread.serving?;
    let connection = state.wire.connections.get(number)?;
    (connection.side == Side::Front).then_some((number, id))
}

/// From here on the front end's account of the request is kept piece by piece.
fn begin_trail(state: &mut State, outer: Option<(u32, u64)>) {
    let Some((number, id)) = outer else { return };
    let connection = state.wire.connections.get_mut(number);
    let active = connection.and_then(|c| c.requests.iter_mut().find(|active| active.request.id == id));
    if let Some(active) = active
        && active.trail.is_none()
    {
        active.trail = Some(Trail::new(active.request.phases, active.cursor_ns));
    }
}

fn evidence(connection: &Connection, request: &Request) -> Evidence {
    Evidence {
        connection: connection.id,
        seeded: connection.accepted_ns.is_none(),
        is_unix: connection.is_unix,
        port: connection.port,
        identity: connection.identity,
        established_ns: connection.established_ns,
        accepted_ns: connection.accepted_ns.unwrap_or(0),
        arrival_ns: request.start_is_arrival.then_some(request.start_ns),
        ended: false,
    }
}

/// The server has read of its newest request: who asked for it gives it its name, where its own head has none.
pub(in crate::machine) fn name(state: &mut State, number: u32) {
    let Some(connection) = state.wire.connections.get(number) else { return };
    let Side::Inner { private: true } = connection.side else { return };
    let Some(active) = connection.requests.back().filter(|active| active.request.method.is_empty()) else {
        return;
    };
    let evidence = evidence(connection, &active.request);
    let Some(outer) = state.join.links.outer_of(&evidence) else { return };
    let Some((method, path)) = state.wire.connections.named(outer.0, outer.1) else { return };
    if let Some(active) =
        state.wire.connections.get_mut(number).and_then(|connection| connection.requests.back_mut())
    {
        (active.request.method, active.request.path) = (method, path);
    }
}

/// A request is over on its connection. Returns the front end's connection whose response is over by that.
pub(in crate::machine) fn finished(
    state: &mut State,
    number: u32,
    active: Active,
    sink: &mut dyn FnMut(Entry),
) -> Option<u32> {
    let Active { request, trail, ends_with_connection, .. } = active;
    let connection = state.wire.connections.get(number)?;
    match connection.side {
        Side::Whole => state.complete(request, sink),
        Side::Front => {
            let ready = state.join.links.outer_done(*request, trail);
            complete(state, ready.into_iter().collect(), sink);
        }
        Side::Inner { private } => {
            let evidence = Evidence { ended: ends_with_connection, ..evidence(connection, &request) };
            let may_be_own = !private && request.framing != Framing::NotHttp;
            match state.join.links.inner_done(&evidence, request, may_be_own) {
                Half::Joined(ready) => complete(state, ready, sink),
                Half::Waits => {}
                Half::Own(mut request) => {
                    // A client that went round the front end.
                    request.id = next_request(state, Side::Whole);
                    complete(state, vec![*request], sink);
                }
            }
            let outer = state.join.links.take_settled()?;
            return is_settled(state, outer).then_some(outer.0);
        }
    }
    None
}

/// The server is done with a request of the front end's: so is a front end whose loop has left it after the last piece.
fn is_settled(state: &State, (number, id): (u32, u64)) -> bool {
    let front = state.wire.connections.get(number).and_then(|connection| connection.requests.front());
    let is_left =
        front.is_some_and(|active| active.request.id == id && active.responding && active.owner.is_none());
    is_left && state.join.links.has_all(id)
}

fn complete(state: &mut State, ready: Ready, sink: &mut dyn FnMut(Entry)) {
    state.product.drops.errors_of_server(state.join.links.take_errors());
    for request in ready {
        state.complete(Box::new(request), sink);
    }
}

/// What the report says of the front end.
#[must_use]
pub fn report(state: &State) -> FrontEnd {
    let mut tgids: Vec<Tid> = match &state.join.topology {
        Topology::FrontEnds(these) => these.iter().copied().collect(),
        // Apache's children before mod_wsgi's daemons.
        Topology::PrivateOverUnix => {
            let roles = recognise(&state.world.processes.seen, &state.world.processes.listeners).roles;
            roles.into_iter().filter(|(_, role)| *role == Role::FrontEnd).map(|(tgid, _)| tgid).collect()
        }
        Topology::Flat => Vec::new(),
    };
    tgids.retain(|tgid| !state.world.processes.ended.contains_key(tgid));
    tgids.sort_unstable();
    let name =
        tgids.first().and_then(|tgid| state.world.processes.names.get(tgid)).cloned().unwrap_or_default();
    let (counts, crossed) = (state.join.links.counts, state.join.links.crossed);
    FrontEnd {
        name,
        tgids,
        joined: counts.joined,
        ambiguous: counts.ambiguous,
        unpaired: counts.unpaired,
        crossed: crossed.requests,
        front_end_ns: crossed.front_end_ns,
        between_ns: crossed.between_ns,
        server_ns: crossed.server_ns,
    }
}

/// Time goes on, or (`None`) the window has ended: halves that wait too long are let go.
pub fn expire(state: &mut State, now_ns: Option<u64>, sink: &mut dyn FnMut(Entry)) {
    if state.join.topology.has_front_end() {
        let ready = state.join.links.retry();
        complete(state, ready, sink);
        let ready = state.join.links.expire(now_ns.unwrap_or(u64::MAX));
        complete(state, ready, sink);
    }
}
