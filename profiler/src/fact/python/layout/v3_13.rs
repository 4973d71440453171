//! CPython 3.13: `_PyRuntime` begins with debug offsets.
//!
//! In: nothing. Out: its layout, seen in 3.13.0 and 3.13.5, with and without lock.

use super::{CollectingIndices, Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::Described { lock_index: 14, thread_number_index: Some(25) };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 208, chunk: Some(232) };

pub(super) const COLLECTING: CollectingIndices = CollectingIndices { collector: 10, note: 72 };
