//! CPython 3.11: one lock in `_PyRuntime`, one word further than before.
//!
//! In: nothing. Out: its layout, seen in 3.11.2 and 3.11.7.

use super::Layout;

pub(super) const LAYOUT: Layout = Layout::InRuntime { lock: 360 };
