//! CPython 3.15: a `PyThreadState` with more before what shows tasks.
//!
//! In: nothing. Out: where that is, seen in 3.15.2.

use super::TaskPlaces;

pub(super) const TASKS: TaskPlaces = TaskPlaces { context: 232, chunk: Some(256) };
