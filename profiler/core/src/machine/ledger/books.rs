//! What the ledger works on, and what it tells.
//!
//! In: the stages before it, lent by the driver. Out: [`Told`], in the order in which it came about, for the stages after it: the ledger itself
//! knows neither the front ends' other halves nor the report.

use crate::event::Tid;
use crate::machine::join::link::Evidence;
use crate::machine::join::state::Join;
use crate::machine::runtime::state::{Hand, Runtime, View};
use crate::machine::time::state::Time;
use crate::machine::wire::ending::Ended;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::Active;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;

/// A request that is over on its connection.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Finished {
    /// What stands at the ends of its connection.
    pub side: Side,
    /// Which connection it is, for a front end's half of the request.
    pub evidence: Evidence,
    /// The request, with all that was known of it.
    pub active: Active,
}

/// Something that the ledger has settled.
#[derive(Clone, Debug)]
pub(in crate::machine) enum Told {
    /// A client's request has begun.
    Began,
    /// A process has read of a client for the first time on a connection.
    Reads(Tid),
    /// A request is over.
    Finished(Box<Finished>),
    /// A connection is gone.
    Ended(Box<Ended>),
    /// Something happened that should not.
    Impossible(&'static str),
}

/// The stages that the ledger joins.
#[derive(Debug)]
pub(in crate::machine) struct Books<'a> {
    /// What there is.
    pub world: &'a mut World,
    /// What goes over connections.
    pub wire: &'a mut Wire,
    /// Who works for whom.
    pub runtime: &'a mut Runtime,
    /// What threads did.
    pub time: &'a mut Time,
    /// Halves of requests: whose a connection of the server's is.
    pub join: &'a mut Join,
    /// What has been settled and not been told on.
    pub told: &'a mut Vec<Told>,
    /// What found no place.
    pub evicted: &'a mut u64,
    /// Start of the window; nothing before it counts.
    pub window_start_ns: u64,
    /// Start of the first window: what was seen before it is only context.
    pub watch_start_ns: u64,
}

impl Books<'_> {
    /// What the stage sees that decides for whom threads work.
    pub(in crate::machine) const fn view(&self) -> View<'_> {
        View { world: self.world, wire: self.wire, runtime: self.runtime }
    }

    /// The same, to be changed.
    pub(in crate::machine) const fn hand(&mut self) -> Hand<'_> {
        let Self { world, wire, runtime, evicted, .. } = self;
        Hand { world, wire, runtime, evicted }
    }

    /// Something found no place.
    pub(super) const fn evict(&mut self) {
        *self.evicted = self.evicted.saturating_add(1);
    }
}
