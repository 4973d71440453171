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
