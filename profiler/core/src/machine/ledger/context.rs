//! What the ledger works on, and what it reports.
//!
//! In: the stages before, lent by the driver. Out: [`LedgerEvent`]s, in the order in which they came about,
//! for the stages after it. The ledger itself knows neither the front ends' other halves nor the report.

use crate::event::Tid;
use crate::machine::join::link::Evidence;
use crate::machine::join::state::Join;
use crate::machine::ledger::gil_attribution::GilContext;
use crate::machine::lock::gil::Locks;
use crate::machine::runtime::state::{Runtime, RuntimeContext, RuntimeView};
use crate::machine::time::state::Time;
use crate::machine::wire::ending::Ended;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::Active;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;
use crate::model::request::Request;

/// A request that is over on its connection.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Finished {
    /// What stands at the ends of its connection.
    pub side: Side,
    /// Inode of the listener of its connection; 0: not known.
    pub listener_inode: u64,
    /// What distinguishes its connection at the client's end; 0: not known.
    pub peer: u64,
    /// Which connection it is, for a front end's half of the request.
    pub evidence: Evidence,
    /// The request, with all that was known of it.
    pub active: Box<Active>,
}

/// Something that the ledger has settled.
#[derive(Clone, Debug)]
pub(in crate::machine) enum LedgerEvent {
    /// A client's request has begun.
    Began,
    /// A process has read of a client for the first time on a connection.
    Reads(Tid),
    /// A request is over.
    Finished(Finished),
    /// A connection is gone.
    Ended(Box<Ended>),
    /// A connection has become something else: no request of this number any more.
    Lasts(Box<Request>),
    /// Something happened that should not.
    Impossible(&'static str),
}

/// The stages that the ledger joins.
#[derive(Debug)]
pub(in crate::machine) struct LedgerContext<'a> {
    /// What there is.
    pub world: &'a mut World,
    /// What goes over connections.
    pub wire: &'a mut Wire,
    /// Who works for whom.
    pub runtime: &'a mut Runtime,
    /// What threads did.
    pub time: &'a mut Time,
    /// Interpreter locks, and who waited for them.
    pub locks: &'a mut Locks,
    /// Halves of requests: whose a connection of the server's is.
    pub join: &'a mut Join,
    /// What has been settled and not been passed on.
    pub events: &'a mut Vec<LedgerEvent>,
    /// What found no place.
    pub evicted: &'a mut u64,
    /// Start of the window; nothing before it counts.
    pub window_start_ns: u64,
    /// Start of the first window: what was seen before it is only context.
    pub watch_start_ns: u64,
    /// The timeline wants thread slices.
    pub wants_slices: bool,
}

impl LedgerContext<'_> {
    /// What the stage sees that decides for whom threads work.
    pub(in crate::machine) const fn view(&self) -> RuntimeView<'_> {
        RuntimeView { world: self.world, wire: self.wire, runtime: self.runtime }
    }

    /// What the stage works on that decides for whom threads work.
    pub(in crate::machine) const fn runtime_context(&mut self) -> RuntimeContext<'_> {
        let Self { world, wire, runtime, evicted, .. } = self;
        RuntimeContext { world, wire, runtime, evicted }
    }

    /// Who holds an interpreter lock or waits for it.
    pub(in crate::machine) const fn gil_context(&mut self) -> GilContext<'_> {
        GilContext {
            world: self.world,
            wire: self.wire,
            threads: &mut self.runtime.threads,
            locks: self.locks,
            wants_slices: self.wants_slices,
        }
    }

    /// Something found no place.
    pub(in crate::machine) const fn evict(&mut self) {
        *self.evicted = self.evicted.saturating_add(1);
    }

    /// A loop is about more requests than it remembers. Nothing is lost by that: more time stays unexplained.
    pub(super) const fn crowd(&mut self) {
        self.runtime.crowded = self.runtime.crowded.saturating_add(1);
    }
}

/// A ledger with stages of its own, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(in crate::machine) struct TestLedger {
    pub world: World,
    pub wire: Wire,
    pub runtime: Runtime,
    pub time: Time,
    pub join: Join,
    pub locks: Locks,
    events: Vec<LedgerEvent>,
    pub evicted: u64,
}

#[cfg(test)]
impl TestLedger {
    /// The context of a window that begins at 0.
    pub(super) const fn context(&mut self) -> LedgerContext<'_> {
        let Self { world, wire, runtime, time, join, locks, events, evicted } = self;
        let (window_start_ns, watch_start_ns, wants_slices) = (0, 0, false);
        LedgerContext {
            world,
            wire,
            runtime,
            time,
            locks,
            join,
            events,
            evicted,
            window_start_ns,
            watch_start_ns,
            wants_slices,
        }
    }

    /// What it has reported so far, in words. Each entry comes once.
    pub(super) fn take_events(&mut self) -> Vec<String> {
        let words = |events: LedgerEvent| match events {
            LedgerEvent::Began => "began".to_owned(),
            LedgerEvent::Reads(tgid) => format!("{tgid} reads"),
            LedgerEvent::Impossible(name) => format!("impossible: {name}"),
            LedgerEvent::Lasts(request) => format!("{} lasts", request.id),
            LedgerEvent::Ended(ended) => format!("connection {} ended at {}", ended.id, ended.at_ns),
            LedgerEvent::Finished(finished) => {
                let request = &finished.active.request;
                let phases: Vec<String> =
                    request.phases.iter().map(|(phase, ns)| format!("{} {ns}", phase.name())).collect();
                format!("request {} until {}: {}", request.id, request.times.end_ns, phases.join(", "))
            }
        };
        self.events.drain(..).map(words).collect()
    }
}
