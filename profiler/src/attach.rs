//! Attaching: what can be attached here ([`plan`]), and doing it ([`execute`]).
//!
//! In: capabilities, settings, the processes to trace. Out: a [`crate::source::live::LiveSource`] and the
//! attach report. Nothing is pinned: whatever ends this process, the kernel drops every program with it.

pub mod error;
pub mod execute;
pub mod gil;
mod load;
mod offsets;
pub mod plan;
mod preemption;
pub mod tls;

pub use error::AttachError;
pub use execute::{attach, try_out};
pub use plan::{Load, Settings};

pub use crate::hook::Hooks;
