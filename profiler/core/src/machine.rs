//! The machines: from ordered events to requests, slots and totals.
//!
//! In: ordered [`Event`](crate::event::Event)s, passed down by the pipeline. Out: transitions for the machines after
//! them, timeline entries, and the parts of the snapshot. They stand in stages, whose order `cargo xtask tidy` knows
//! and holds them to, but for the imports that it lists. Time comes
//! only from events. What should be impossible is counted by name, never guessed around.

pub mod arrivals;
pub mod asker;
pub mod by_process;
mod candidates;
pub mod capacity;
pub mod classify;
pub mod compose;
pub mod connection;
pub mod descriptor;
pub mod dropped;
pub(crate) mod ending;
pub mod endpoint;
pub mod errno;
pub mod event_loop;
mod exchange;
pub mod exchange_end;
mod finish;
mod foreign;
pub mod front;
pub mod gil;
pub mod gil_block;
pub mod gil_edge;
pub mod gil_held;
pub mod gil_holder;
pub mod gil_measure;
pub mod gil_party;
pub mod gil_place;
pub mod gil_stack;
pub mod gil_waits;
mod gone;
pub mod handed;
pub mod handoff;
pub mod http1;
mod inside;
mod job;
mod judge;
mod killed;
pub mod light;
pub mod link;
pub mod listener;
pub mod living;
pub mod load;
pub mod lost;
pub mod now;
pub mod piece;
pub mod process;
pub mod queue;
pub mod request;
pub mod roll;
pub mod serving;
pub(crate) mod signs;
pub mod slot;
pub mod state;
pub mod strand;
pub mod strands;
pub mod summary;
pub mod task;
pub mod tasks;
pub mod thread;
pub mod threads;
pub mod trail;
mod turn;
pub mod waiter;
pub mod wake;
