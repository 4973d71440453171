//! The edges of wsgi-trace: attach, sources, facts, recordings, reports, command line.
//!
//! In: a running server, or a recording of one. Out: reports. Everything between is `profiler_core`.

pub mod agent;
pub mod attach;
pub mod capability;
pub mod cli;
pub mod command;
pub mod compare;
pub mod export;
pub mod fact;
pub mod fleet;
pub mod hook;
pub mod now;
pub mod otlp;
pub mod output_file;
pub mod recording;
pub mod report;
pub mod session;
pub mod source;
pub mod top;
pub mod whatif;
