//! Front ends: which connections are clients', and which come from a front end of the same target. How the
//! two halves of a request are paired.
//!
//! In: what the processes are, calls of a front end's threads on sockets to the server behind, requests that
//! end on either side. Out: whole requests. Where no front end is traced, nothing here does anything.

use rustc_hash::FxHashSet;

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::join::link::{CONTINUE_BYTES, Evidence, Half, Peer, Ready};
use crate::machine::join::state::Join;
use crate::machine::join::topology::{AF_UNIX, Topology};
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::kept::Kept;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::{Active, RequestKey};
use crate::machine::wire::state::Wire;
use crate::machine::wire::tail::Tail;
use crate::machine::wire::trail::Trail;
use crate::machine::world::errno::{EAGAIN, ECONNREFUSED, EINPROGRESS, ENOENT};
use crate::machine::world::state::World;
use crate::model::front_end::FrontEnd;
use crate::model::request::{Framing, Request};
use crate::server::{Role, recognise};

/// `AF_INET` and `AF_INET6`.
const INTERNET: [u16; 2] = [2, 10];

/// Whether a connection is a client's to a front end. The process that serves it only passes requests on.
pub(in crate::machine) fn is_in_front(wire: &Wire, number: u32) -> bool {
    wire.connections.get(number).is_some_and(|connection| connection.origin.side == Side::Front)
}

/// Whether a write is an interim answer in a private protocol.
pub(in crate::machine) const fn is_interim(active: &Active, moved: u64) -> bool {
    !active.response.has_begun && active.request.http.bytes_out == 0 && moved == CONTINUE_BYTES
}

/// A call of a thread on a descriptor that is no client's. Returns the requests that it completes.
pub(in crate::machine) fn call(
    world: &World,
    wire: &mut Wire,
    join: &mut Join,
    thread: &Thread,
    slice: &Slice,
) -> Ready {
    let tgid = slice.tgid;
    let times = (slice.enter_ns, slice.exit_ns);
    match slice.call {
        Call::Connect { family, .. } if slice.result < 0 && slice.result != EINPROGRESS => {
            let number = serving(wire, thread).map(|(number, _)| number);
            if let Some(connection) = number.and_then(|number| wire.connections.get_mut(number)) {
                connection.signs.behind_failed = connect_failed(family, slice.result);
            }
        }
        Call::Connect { fd, port, family, identity } if slice.result >= 0 || slice.result == EINPROGRESS => {
            let port = match family {
                AF_UNIX => None,
                _ if INTERNET.contains(&family) => Some(port),
                _ => return Ready::new(),
            };
            let outer = serving(wire, thread);
            passes_on(wire, outer, identity);
            if (outer.is_some() || matches!(join.topology, Topology::FrontEnds(_)))
                && join.links.connect((tgid, fd), Peer { port, identity }, times, outer)
            {
                begin_trail(wire, outer);
            }
        }
        Call::Write { fd } | Call::Transfer { to_fd: fd, .. } if slice.result > 0 => {
            let Some(descriptor) = world.descriptors.get(tgid, fd) else { return Ready::new() };
            let DescriptorClass::Backend { port } = descriptor.class else { return Ready::new() };
            let peer = Peer { port: (port > 0).then_some(port), identity: descriptor.identity };
            let outer = serving(wire, thread);
            passes_on(wire, outer, peer.identity);
            if join.links.wrote((tgid, fd), peer, times, outer) {
                begin_trail(wire, outer);
            }
            if join.links.has_orphans() {
                return join.links.retry();
            }
        }
        Call::Read { fd, .. } if slice.result > 0 => {
            join.links.read((tgid, fd), u64::try_from(slice.result).unwrap_or(0), slice.exit_ns);
        }
        Call::Close { fd } => join.links.close((tgid, fd), slice.exit_ns),
        _ => {}
    }
    Ready::new()
}

/// The front end is about to send a request to the server over a connection on which another request was
/// answered. That other request is over, even if the end of its answer was not seen. Returns the number of
/// its connection.
pub(in crate::machine) fn uses_again(
    wire: &Wire,
    join: &Join,
    thread: &Thread,
    slice: &Slice,
) -> Option<u32> {
    let (Call::Write { fd } | Call::Transfer { to_fd: fd, .. }) = slice.call else { return None };
    let outer = serving(wire, thread)?;
    let before = join.links.answered_on((slice.tgid, fd)).filter(|before| *before != outer)?;
    let asks = wire.connections.active(outer).is_some_and(|active| !active.response.has_begun);
    let is_over = asks && wire.connections.active(before).is_some_and(|active| active.response.has_begun);
    is_over.then_some(before.0)
}

/// The front end uses this connection to the server behind for a client's request.
fn passes_on(wire: &mut Wire, outer: Option<(u32, u64)>, identity: u64) {
    if let Some(connection) = outer.and_then(|(number, _)| wire.connections.get_mut(number)) {
        connection.signs.behind = identity;
    }
}

/// Why a connect to the server behind failed, in words.
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

/// The client's request that a thread of the front end serves: its connection's number and its own. None
/// where another thread has answered it whole meanwhile. A half that is waited for after the request is over
/// would wait for ever.
fn serving(wire: &Wire, thread: &Thread) -> Option<(u32, u64)> {
    let (number, id) = thread.serving?;
    let connection = wire.connections.get(number)?;
    let is_live = connection.requests.iter().any(|active| active.request.id == id);
    (is_live && connection.origin.side == Side::Front).then_some((number, id))
}

/// From here on the front end's account of the request is kept piece by piece.
fn begin_trail(wire: &mut Wire, outer: Option<(u32, u64)>) {
    let Some((number, id)) = outer else { return };
    let connection = wire.connections.get_mut(number);
    let active = connection.and_then(|c| c.requests.iter_mut().find(|active| active.request.id == id));
    if let Some(active) = active
        && !active.kept.is_any()
    {
        active.kept = Kept::Trail(Box::new(Trail::new(active.request.phases, active.cursor_ns)));
    }
}

/// What identifies a connection of the server, as a request on it ends.
pub(in crate::machine) fn evidence(connection: &Connection, active: &Active) -> Evidence {
    let request = &active.request;
    Evidence {
        connection: connection.id,
        seeded: connection.origin.accepted_ns.is_none(),
        is_unix: connection.origin.is_unix,
        port: connection.origin.port,
        identity: connection.origin.identity,
        established_ns: connection.origin.established_ns,
        accepted_ns: connection.origin.accepted_or_zero_ns(),
        arrival_ns: request.times.start_is_arrival.then_some(request.times.start_ns),
        ended: active.response.ends_with_connection,
    }
}

/// The server has read from its newest request. If the request's own head has no name, the front end's
/// request names it.
pub(in crate::machine) fn name(wire: &mut Wire, join: &mut Join, number: u32) {
    let Some(connection) = wire.connections.get(number).filter(|one| one.is_private()) else { return };
    let Some(active) = connection.requests.back().filter(|active| active.request.http.method.is_empty())
    else {
        return;
    };
    let evidence = evidence(connection, active);
    let Some(outer) = join.links.outer_of(&evidence) else { return };
    let Some((method, path)) = wire.connections.named(outer.0, outer.1) else { return };
    if let Some(active) =
        wire.connections.get_mut(number).and_then(|connection| connection.requests.back_mut())
    {
        (active.request.http.method, active.request.http.path) = (method, path);
    }
}

/// What is completed by the end of a request on a connection between a front end and the server.
#[derive(Debug, Default)]
pub(in crate::machine) struct Joined {
    /// Requests that are whole.
    pub ready: Ready,
    /// The request came from a client that bypassed the front end. It still has to get its number.
    pub own: Option<Box<Request>>,
    /// The front end's connection whose response ends with this.
    pub settled: Option<u32>,
}

/// A half of a request is over, or a request of a client that bypassed the front end.
pub(in crate::machine) fn finished(
    wire: &Wire,
    join: &mut Join,
    side: Side,
    evidence: Evidence,
    active: Box<Active>,
) -> Joined {
    let Active { request, kept, .. } = *active;
    let mut joined = Joined::default();
    let (trail, tail) = match kept {
        Kept::Nothing => (None, Tail::default()),
        Kept::Trail(trail) => (Some(*trail), Tail::default()),
        Kept::Tail(tail) => (None, *tail),
    };
    let Side::Inner { private } = side else {
        joined.ready.extend(join.links.outer_done(*request, trail));
        return joined;
    };
    let may_be_own = !private && request.http.framing != Framing::NotHttp;
    match join.links.inner_done(&evidence, (request, tail), may_be_own) {
        Half::Joined(ready) => joined.ready = ready,
        Half::Pending => {}
        Half::Own(request) => joined.own = Some(request),
    }
    let settled = join.links.take_settled();
    joined.settled = settled.filter(|outer| is_settled(wire, join, *outer)).map(|(number, _)| number);
    joined
}

/// The server is done with a request of the front end. A front end whose loop left the request after the last
/// piece is done too.
fn is_settled(wire: &Wire, join: &Join, key: RequestKey) -> bool {
    let active = wire.connections.active(key);
    active.is_some_and(|active| active.response.has_begun && active.owner.is_none())
        && join.links.has_all(key.1)
}

/// What the report says of the front end.
pub fn report(world: &World, join: &Join) -> FrontEnd {
    let mut tgids: Vec<Tid> = match &join.topology {
        Topology::FrontEnds(these) => these.iter().copied().collect(),
        // Apache's children in front of mod_wsgi's daemons.
        Topology::PrivateOverUnix => {
            let roles = recognise(&world.processes.seen, &world.processes.listeners).roles;
            roles.into_iter().filter(|(_, role)| *role == Role::FrontEnd).map(|(tgid, _)| tgid).collect()
        }
        Topology::Flat => Vec::new(),
    };
    tgids.retain(|tgid| !world.processes.ended.contains_key(tgid));
    tgids.sort_unstable();
    let name = tgids.first().and_then(|tgid| world.processes.names.get(tgid)).cloned().unwrap_or_default();
    let (counts, crossed) = (join.links.counts, join.links.crossed);
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

/// Time has advanced, or (`None`) the window has ended. Halves that waited too long wait no more, unless the
/// server is still at it for a front end that has given up. Returns the requests that this completes.
pub fn expire(wire: &Wire, join: &mut Join, now_ns: Option<u64>) -> Ready {
    if !join.topology.has_front_end() {
        return Ready::new();
    }
    let mut ready = join.links.retry();
    let in_hand = match now_ns {
        Some(now_ns) if join.links.is_late(now_ns) => in_hand(wire, join),
        _ => FxHashSet::default(),
    };
    ready.extend(join.links.expire(now_ns.unwrap_or(u64::MAX), &in_hand));
    ready
}

/// The front end's ends of connections on which the server has a request under way.
fn in_hand(wire: &Wire, join: &mut Join) -> FxHashSet<u64> {
    let asked = wire.connections.asked_by_front_end();
    asked.filter_map(|(connection, active)| join.links.end_of(&evidence(connection, active))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Connection as Opened;
    use crate::machine::wire::request::Beginning;

    #[test]
    fn an_interim_answer_comes_before_all_others_and_has_its_length() {
        for (what, has_begun, bytes_out, moved, expected) in [
            ("it is one", false, 0, CONTINUE_BYTES, true),
            ("it is longer", false, 0, CONTINUE_BYTES + 1, false),
            ("something was written before", false, 1, CONTINUE_BYTES, false),
            ("the response has begun", true, 0, CONTINUE_BYTES, false),
        ] {
            let mut active = Active::new(&Beginning::at(1, 100), 1, 1);
            (active.response.has_begun, active.request.http.bytes_out) = (has_begun, bytes_out);
            assert_eq!(is_interim(&active, moved), expected, "{what}");
        }
    }

    #[test]
    fn what_a_front_end_met_is_said_where_the_error_tells_it() {
        for (family, error, expected) in [
            (AF_UNIX, EAGAIN, Some("EAGAIN")),
            (2, EAGAIN, None),
            (AF_UNIX, ECONNREFUSED, Some("ECONNREFUSED")),
            (2, ECONNREFUSED, Some("ECONNREFUSED")),
            (10, ECONNREFUSED, Some("ECONNREFUSED")),
            (AF_UNIX, ENOENT, Some("ENOENT")),
            (2, ENOENT, None),
            (2, -110, None),
        ] {
            let told = connect_failed(family, error);
            assert_eq!(told.is_some(), expected.is_some(), "{family} {error}");
            assert!(told.zip(expected).is_none_or(|(told, name)| told.contains(name)), "{family} {error}");
        }
    }

    /// A thread that serves the request of connection 0, which is of this side. The server behind listens at
    /// port 9000.
    fn serves(side: Side) -> (World, Wire, Join, Thread) {
        let mut wire = Wire::default();
        let number = wire.connections.open(&Opened::accepted(5), 10).unwrap();
        let connection = wire.connections.get_mut(number).unwrap();
        connection.origin.side = side;
        connection.requests.push_back(Box::new(Active::new(&Beginning::at(1, 100), 1, 1)));
        let thread = Thread { tgid: 1, serving: Some((number, 1)), ..Thread::default() };
        let mut join = Join::default();
        join.links.ports.insert(9000);
        (World::default(), wire, join, thread)
    }

    #[test]
    fn a_front_end_keeps_its_account_piece_by_piece_from_where_it_turns_to_the_server() {
        let connect = |family| Call::Connect { fd: 12, port: 9000, family, identity: 77 };
        for (what, side, call_made, result, is_kept, behind, has_failed) in [
            ("it connects", Side::Front, connect(2), 0, true, 77, false),
            ("its connect goes on", Side::Front, connect(10), EINPROGRESS, true, 77, false),
            ("by a UNIX socket", Side::Front, connect(AF_UNIX), 0, true, 77, false),
            ("to something else", Side::Front, connect(16), 0, false, 0, false),
            ("its connect failed", Side::Front, connect(2), ECONNREFUSED, false, 0, true),
            ("there is no front end", Side::Whole, connect(2), 0, false, 0, false),
        ] {
            let (world, mut wire, mut join, thread) = serves(side);
            let slice = Slice { result, enter_ns: 120, exit_ns: 130, ..Slice::blank(call_made) };
            assert!(call(&world, &mut wire, &mut join, &thread, &slice).is_empty(), "{what}");
            let connection = wire.connections.get(0).unwrap();
            assert_eq!(connection.requests[0].kept.is_any(), is_kept, "{what}");
            let told = (connection.signs.behind, connection.signs.behind_failed.is_some());
            assert_eq!(told, (behind, has_failed), "{what}");
        }
    }

    #[test]
    fn a_thread_whose_request_another_one_has_answered_asks_the_server_for_none() {
        for (what, is_over) in [("it is served", false), ("it is over", true)] {
            let (mut world, mut wire, mut join, thread) = serves(Side::Front);
            world.descriptors.open(1, 12, DescriptorClass::Backend { port: 9000 }, 110);
            if is_over {
                wire.connections.get_mut(0).unwrap().requests.clear();
            }
            let slice =
                Slice { result: 40, enter_ns: 120, exit_ns: 130, ..Slice::blank(Call::Write { fd: 12 }) };
            assert!(call(&world, &mut wire, &mut join, &thread, &slice).is_empty(), "{what}");
            assert_eq!(join.links.has_all(1), is_over, "{what}: what it asked for is waited for");
            // What the server does for that is no half of it.
            let inner = Active::new(&Beginning::at(9, 125), 20, 21);
            let server = Evidence {
                connection: 7,
                seeded: true,
                is_unix: false,
                port: 9000,
                identity: 0,
                established_ns: 0,
                accepted_ns: 0,
                arrival_ns: Some(125),
                ended: false,
            };
            join.links.inner_done(&server, (inner.request, Tail::default()), false);
            assert_eq!(join.links.counts.unpaired, u64::from(is_over), "{what}");
        }
    }
}
