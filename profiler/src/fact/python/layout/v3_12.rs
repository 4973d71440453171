//! CPython 3.12: interpreters may have locks of their own, and nothing describes them yet.
//!
//! In: nothing. Out: its layout, seen in 3.12.1.

use super::{Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::InInterpreters { head: 40, next: 0, lock: 384 };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 208, chunk: Some(232) };
