//! Chores of the workspace, called by the Makefile.
//!
//! In: a chore's name. Out: its effect.

fn main() {}
