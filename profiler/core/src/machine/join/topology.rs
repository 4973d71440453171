//! Who stands in front of whom in the target.
//!
//! In: which processes are front ends, births. Out: what stands at the ends of a connection.

use rustc_hash::FxHashSet;

use crate::event::{Connection as Opened, Tid};
use crate::machine::wire::origin::Side;
use crate::machine::world::living::Living;

/// `AF_UNIX`, include/linux/socket.h.
pub const AF_UNIX: u16 = 1;

/// Who stands in front of whom in the target.
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
    /// What stands at the ends of a connection.
    pub(in crate::machine) fn side(&self, opened: &Opened) -> Side {
        self.side_of(opened.tgid, opened.family)
    }

    /// What stands at the ends of a connection that this process accepts, or would accept.
    pub(in crate::machine) fn side_of(&self, tgid: Tid, family: u16) -> Side {
        match self {
            Self::Flat => Side::Whole,
            Self::PrivateOverUnix if family == AF_UNIX => Side::Inner { private: true },
            Self::FrontEnds(these) if !these.contains(&tgid) => Side::Inner { private: false },
            Self::PrivateOverUnix | Self::FrontEnds(_) => Side::Front,
        }
    }

    /// A front end is traced.
    pub fn has_front_end(&self) -> bool {
        *self != Self::Flat
    }

    /// Whether a process is a front end by itself, and not the server.
    pub fn is_front_end(&self, tgid: Tid) -> bool {
        matches!(self, Self::FrontEnds(these) if these.contains(&tgid))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::world::process::Processes;

    fn front_ends(tgids: &[Tid]) -> Topology {
        Topology::FrontEnds(tgids.iter().copied().collect())
    }

    #[test]
    fn what_stands_at_the_ends_of_a_connection_is_told_by_who_accepts_it_or_by_its_family() {
        let (private, inner) = (Side::Inner { private: true }, Side::Inner { private: false });
        for (what, topology, tgid, family, expected) in [
            ("nobody stands in front", Topology::Flat, 7, AF_UNIX, Side::Whole),
            ("Apache accepts", Topology::PrivateOverUnix, 7, 2, Side::Front),
            ("a daemon accepts", Topology::PrivateOverUnix, 7, AF_UNIX, private),
            ("a front end accepts", front_ends(&[6, 7]), 7, 2, Side::Front),
            ("a front end accepts at a UNIX socket", front_ends(&[7]), 7, AF_UNIX, Side::Front),
            ("the server behind accepts", front_ends(&[6]), 7, 2, inner),
        ] {
            let opened = Opened { tgid, family, ..Opened::accepted(5) };
            assert_eq!(topology.side(&opened), expected, "{what}");
            assert_eq!(topology.has_front_end(), expected != Side::Whole, "{what}");
        }
    }

    #[test]
    fn children_of_front_ends_are_front_ends_until_they_end() {
        let mut topology = front_ends(&[6]);
        topology.fork(6, 7);
        topology.fork(8, 9);
        assert_eq!(topology, front_ends(&[6, 7]));
        assert_eq!([6, 7, 8].map(|tgid| topology.is_front_end(tgid)), [true, true, false]);
        let living = Living::of(&Processes::default(), std::iter::once(6).collect(), std::iter::once(7));
        topology.retain(&living);
        assert_eq!(topology, front_ends(&[7]));
        let mut private = Topology::PrivateOverUnix;
        private.fork(6, 7);
        private.retain(&living);
        assert_eq!(private, Topology::PrivateOverUnix);
    }
}
