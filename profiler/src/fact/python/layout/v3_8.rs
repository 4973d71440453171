//! CPython 3.8: one lock, deep in `_PyRuntime`.
//!
//! In: nothing. Out: its layout, seen in 3.8.18.

use super::{CollectingWay, Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::InRuntime { lock: 1152 };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 240, chunk: None };

pub(super) const COLLECTING: CollectingWay = CollectingWay::BeforeLock(608);
