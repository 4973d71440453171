//! CPython 3.11: one lock in `_PyRuntime`, one word further than before, and frames on a stack of their own.
//!
//! In: nothing. Out: its layout, seen in 3.11.2 and 3.11.7.

use super::{CollectingWay, Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::InRuntime { lock: 360 };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 224, chunk: Some(296) };

pub(super) const COLLECTING: CollectingWay = CollectingWay::InInterpreter(848);
