//! CPython 3.14 and 3.15: one more debug offset before that of the lock.
//!
//! In: nothing. Out: their layout, seen in 3.14.10 and 3.15.2, and what only 3.14 has.

use super::{Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::Described { lock_index: 15, thread_number_index: None };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 208, chunk: Some(232) };
