//! The commands, one file each: what each does between its arguments and its exit code.
//!
//! In: parsed arguments. Out: text on standard output, or an error that says what to do next.

pub mod explain;
pub mod list;
