//! The machines: from ordered events to requests, slots and totals.
//!
//! In: ordered [`Event`](crate::event::Event)s, passed down by the pipeline. Out: transitions for the
//! machines after them, timeline entries, and the parts of the snapshot. They stand in stages: world, lock,
//! time, wire, runtime, join, ledger, chain, product, driver. Each may import from those before it;
//! `cargo xtask tidy` holds them to that. Time comes only from events. What should be impossible is counted
//! by name, never guessed around.

pub mod chain;
pub mod driver;
pub mod join;
pub mod ledger;
pub mod lock;
pub mod product;
pub mod runtime;
pub mod time;
pub mod wire;
pub mod world;
