//! The `wsgi-trace` command: parse, run, map the outcome to an exit code.
//!
//! In: arguments. Out: an exit code.

fn main() {}
