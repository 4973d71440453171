//! Who stands before whom, as the stages need it.
//!
//! In: processes and listeners that are newly known, connections that open. Out: the topology for halves of
//! requests, what the kind of server limits, what stands at the ends of a connection.

use rustc_hash::FxHashSet;

use crate::event::{Connection as Opened, Tid};
use crate::machine::join::state::Join;
use crate::machine::join::topology::{AF_UNIX, Topology};
use crate::machine::product::dropped::Drops;
use crate::machine::time::capacity::Capacity;
use crate::machine::wire::connection::Connections;
use crate::machine::wire::origin::{Origin, Side};
use crate::machine::world::process::Processes;
use crate::server::{Inside, Role, recognise, slots_of_one_worker};

/// AsleepLooks again at who stands before whom, when more is known of the processes.
pub(super) fn update(join: &mut Join, processes: &Processes, capacity: &mut Capacity, drops: &mut Drops) {
    if !std::mem::take(&mut join.topology_is_old) {
        return;
    }
    let recognised = recognise(&processes.seen, &processes.listeners);
    capacity.of_one_worker = slots_of_one_worker(recognised.kind, &recognised.server);
    let own_limit = recognised.kind.own_limit(&recognised.server);
    drops.is_of(recognised.kind.name(), own_limit);
    let front: FxHashSet<Tid> =
        recognised.roles.iter().filter(|(_, role)| *role == Role::FrontEnd).map(|(tgid, _)| *tgid).collect();
    join.topology = match recognised.kind.inside(&recognised.server) {
        _ if processes.seen.iter().any(|process| process.front_end) => Topology::FrontEnds(front),
        Inside::PrivateOverUnix => Topology::PrivateOverUnix,
        Inside::FrontEnds if !front.is_empty() => Topology::FrontEnds(front),
        Inside::FrontEnds | Inside::Nothing => Topology::Flat,
    };
    if let Topology::FrontEnds(these) = &join.topology {
        let behind = processes.listeners.iter().filter(|listener| !these.contains(&listener.tgid));
        join.links.ports = behind.map(|listener| listener.port).filter(|port| *port > 0).collect();
    }
}

/// A connection was accepted, or found open: what stands at its other end.
pub(super) fn opened(
    topology: &Topology,
    connections: &mut Connections,
    drops: &mut Drops,
    number: u32,
    opened: &Opened,
) {
    let side = topology.side(opened);
    let signs = drops.opened(opened, number);
    if let Some(connection) = connections.get_mut(number) {
        let is_unix = opened.family == AF_UNIX;
        connection.origin = Origin {
            side,
            port: opened.local_port,
            is_unix,
            established_ns: opened.established_ns,
            identity: if is_unix { opened.socket.0 } else { u64::from(opened.peer_port) },
            ..connection.origin
        };
        connection.signs = signs;
    }
    if matches!(side, Side::Inner { .. }) {
        connections.inner = connections.inner.saturating_add(1);
    }
}
