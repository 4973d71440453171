//! CPython 3.12: interpreters may have locks of their own, and nothing describes them yet.
//!
//! In: nothing. Out: its layout, seen in 3.12.1.

use super::{CollectingWay, Layout, TaskPlaces};

pub(super) const LAYOUT: Layout = Layout::InInterpreters { head: 40, next: 0, lock: 384 };

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 208, chunk: Some(232) };

pub(super) const COLLECTING: CollectingWay = CollectingWay::InInterpreter(312);
