//! CPython 3.9 and 3.10: one lock in `_PyRuntime`.
//!
//! In: nothing. Out: their layout, seen in 3.9.18 and 3.10.13.

use super::{CollectingWay, Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::InRuntime { lock: 352 };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 240, chunk: None };

pub(super) const COLLECTING: CollectingWay = CollectingWay::InInterpreter(816);
