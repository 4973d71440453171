//! What stands at the ends of a connection as it opens.
//!
//! In: who stands before whom, connections over TCP and UNIX sockets. Out: assertions on their origin.

use super::*;
use crate::machine::join::topology::{AF_UNIX, Topology};
use crate::machine::wire::origin::Side;

/// `AF_INET`, include/linux/socket.h.
const AF_INET: u16 = 2;

#[test]
fn a_connection_is_a_clients_unless_a_front_end_of_the_target_begins_it() {
    let front = || Topology::FrontEnds([5].into_iter().collect());
    let private = Side::Inner { private: true };
    let behind = Side::Inner { private: false };
    // Who stands before whom, by which socket, which process accepts; which side it is.
    for (what, topology, family, tgid, expected) in [
        ("nobody", Topology::Flat, AF_INET, 1, Side::Whole),
        ("nobody, over a UNIX socket", Topology::Flat, AF_UNIX, 1, Side::Whole),
        ("a daemon's front end, over a UNIX socket", Topology::PrivateOverUnix, AF_UNIX, 1, private),
        ("a daemon's front end, over TCP", Topology::PrivateOverUnix, AF_INET, 1, Side::Front),
        ("a front end accepts", front(), AF_INET, 5, Side::Front),
        ("the server behind it does", front(), AF_INET, 1, behind),
    ] {
        let mut run = Run::new(1);
        run.state.join.topology = topology;
        let accepted = Opened { tgid, family, socket: (77, 0), peer_port: 40_000, ..Opened::accepted(5) };
        run.state.opened(0, &accepted);
        let is_unix = family == AF_UNIX;
        let origin = run.connection(0).origin;
        assert_eq!((origin.side, origin.is_unix, origin.established_ns), (expected, is_unix, 5), "{what}");
        assert_eq!(origin.identity, if is_unix { 77 } else { 40_000 }, "{what}: what distinguishes it");
        assert_eq!(origin.accepted_ns, Some(10), "{what}: it keeps what it had");
        let is_inner = matches!(expected, Side::Inner { .. });
        assert_eq!(run.state.wire.connections.inner, u64::from(is_inner), "{what}: no client's");
    }
}

#[test]
fn who_stands_before_whom_is_looked_at_where_more_is_known_of_processes_and_not_otherwise() {
    for (what, is_old, expected) in [("more is known", true, false), ("nothing is", false, true)] {
        let mut run = Run::new(0);
        run.state.join.topology = Topology::PrivateOverUnix;
        run.state.join.topology_is_old = is_old;
        run.state.update_topology();
        assert_eq!(run.state.join.topology.has_front_end(), expected, "{what}");
        assert!(!run.state.join.topology_is_old, "{what}");
    }
}
