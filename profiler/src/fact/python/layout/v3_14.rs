//! CPython 3.14 and 3.15: one more debug offset before that of the lock.
//!
//! In: nothing. Out: their layout, seen in 3.14.10 and 3.15.2.

use super::Layout;

pub(super) const LAYOUT: Layout = Layout::Described { lock_index: 15, thread_number_index: None };
