//! The state of all machines of one window, and what of it each stage is lent.
//!
//! In: nothing by itself; the machines change it. Out: the tables that they share, each bounded. Only the
//! driver's own files, which know the order, see all of it: `cargo xtask tidy` holds them to that.

use crate::bounded::BoundedMap;
use crate::event::{Connection as Opened, Head, Tid};
use crate::machine::chain::state::Chain;
use crate::machine::driver::topology;
use crate::machine::join::state::Join;
use crate::machine::ledger::context::{LedgerContext, LedgerEvent};
use crate::machine::ledger::gil_attribution::GilContext;
use crate::machine::lock::gil::Locks;
use crate::machine::product::completed::CompletionContext;
use crate::machine::product::state::Product;
use crate::machine::runtime::state::{Runtime, RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::machine::time::state::Time;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;

/// Threads of which a capture, or the call that they were found in, is kept.
pub const MAX_OPEN: usize = 16_384;

/// Everything the machines share.
#[derive(Clone, Debug)]
pub struct State {
    /// What there is.
    pub world: World,
    /// What threads did.
    pub time: Time,
    /// What goes over connections.
    pub wire: Wire,
    /// Who works for whom.
    pub runtime: Runtime,
    /// Halves of requests.
    pub join: Join,
    /// What threads did lately, and what requests waited for in the end.
    pub(in crate::machine) chain: Chain,
    /// What will be reported.
    pub product: Product,
    /// Captures that wait for the slice of their call.
    pub heads: BoundedMap<Tid, Head, MAX_OPEN>,
    /// Interpreter locks, and who waited for them.
    pub gil: Locks,
    /// Start of the window; nothing before it counts (`u64::MAX` until it is known).
    pub window_start_ns: u64,
    /// Start of the first window: what was seen before it is only context (`u64::MAX` until it is known).
    pub watch_start_ns: u64,
    /// The window ends because the next one begins: what would end with it continues.
    pub next_follows: bool,
    /// The timeline wants thread slices.
    pub wants_slices: bool,
    /// What the ledger has settled and nobody has reported yet.
    pub(super) ledger_events: Vec<LedgerEvent>,
    /// What found no place in tables that count nothing themselves.
    pub evicted: u64,
}

impl State {
    /// No state yet.
    pub fn new(wants_slices: bool) -> Self {
        Self {
            world: World::default(),
            time: Time::default(),
            wire: Wire::default(),
            runtime: Runtime::default(),
            join: Join::default(),
            chain: Chain::default(),
            product: Product::default(),
            heads: BoundedMap::default(),
            gil: Locks::default(),
            window_start_ns: u64::MAX,
            watch_start_ns: u64::MAX,
            next_follows: false,
            wants_slices,
            ledger_events: Vec::new(),
            evicted: 0,
        }
    }

    /// What the stage sees that decides for whom threads work.
    pub const fn view(&self) -> RuntimeView<'_> {
        RuntimeView { world: &self.world, wire: &self.wire, runtime: &self.runtime }
    }

    /// What the stage works on that decides for whom threads work.
    pub const fn runtime_context(&mut self) -> RuntimeContext<'_> {
        let Self { world, wire, runtime, evicted, .. } = self;
        RuntimeContext { world, wire, runtime, evicted }
    }

    /// What the ledger works on.
    pub(super) const fn context(&mut self) -> LedgerContext<'_> {
        LedgerContext {
            world: &mut self.world,
            wire: &mut self.wire,
            runtime: &mut self.runtime,
            time: &mut self.time,
            locks: &mut self.gil,
            join: &mut self.join,
            events: &mut self.ledger_events,
            evicted: &mut self.evicted,
            window_start_ns: self.window_start_ns,
            watch_start_ns: self.watch_start_ns,
            wants_slices: self.wants_slices,
        }
    }

    /// Who holds an interpreter lock or waits for it.
    pub(super) const fn gil_context(&mut self) -> GilContext<'_> {
        GilContext {
            world: &self.world,
            wire: &self.wire,
            threads: &mut self.runtime.threads,
            locks: &mut self.gil,
            wants_slices: self.wants_slices,
        }
    }

    /// Where requests that are over count.
    pub(super) const fn completion_context(&mut self) -> CompletionContext<'_> {
        CompletionContext {
            product: &mut self.product,
            chain: &mut self.chain,
            runtime: &mut self.runtime,
            time: &mut self.time,
            window_start_ns: self.window_start_ns,
            watch_start_ns: self.watch_start_ns,
            next_follows: self.next_follows,
        }
    }

    /// AsleepLooks again at who stands before whom, when more is known of the processes.
    pub fn update_topology(&mut self) {
        let Self { join, world, time, product, .. } = self;
        topology::update(join, &world.processes, &mut time.capacity, &mut product.drops);
    }

    /// A connection was accepted, or found open: what stands at its other end.
    pub fn opened(&mut self, number: u32, opened: &Opened) {
        self.update_topology();
        let Self { join, wire, product, .. } = self;
        topology::opened(&join.topology, &mut wire.connections, &mut product.drops, number, opened);
    }

    /// How much found no place in any table so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
            + self.heads.evicted()
            + self.world.evicted()
            + self.gil.evicted()
            + self.time.evicted()
            + self.wire.connections.evicted
            + self.runtime.tasks.evicted()
            + self.join.links.evicted()
            + self.chain.evicted()
            + self.product.evicted()
    }

    /// Something found no place.
    pub const fn evict(&mut self) {
        self.evicted = self.evicted.saturating_add(1);
    }

    /// A thread goes back to the others.
    pub(super) fn put_back(&mut self, tid: Tid, mut thread: Box<Thread>) {
        let impossible = thread.pending.take_impossible();
        if impossible > 0 {
            self.product.summary.impossible("piece_out_of_place", impossible);
        }
        self.runtime.threads.put(tid, thread);
    }
}
