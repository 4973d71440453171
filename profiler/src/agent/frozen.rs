//! The last minute as it was when something happened.
//!
//! In: conditions, what is seen now, signals. Out: whether to set what is in memory aside; what was set aside
//! last. One at a time, so that memory stays bounded: it takes as much again as is kept.

use std::time::Duration;

use tokio::time::Instant;

use super::trigger::{Cause, Seen, met};
use crate::cli::full::Condition;
use crate::recording::KeptCopy;

/// How long what a condition set aside stays: a trouble that goes on is best seen at its beginning.
const STAYS: Duration = Duration::from_mins(10);

/// What was set aside.
#[derive(Default)]
pub struct Frozen {
    conditions: Vec<Condition>,
    last: Option<(Instant, KeptCopy)>,
}

impl Frozen {
    /// Nothing so far.
    pub const fn new(conditions: Vec<Condition>) -> Self {
        Self { conditions, last: None }
    }

    /// Whether a condition could set something aside now: otherwise nobody need look.
    pub fn is_waiting(&self) -> bool {
        !self.conditions.is_empty() && self.last.as_ref().is_none_or(|(at, _)| at.elapsed() >= STAYS)
    }

    /// Which condition what is seen meets.
    pub fn met(&self, seen: &Seen) -> Option<Cause> {
        met(&self.conditions, seen).filter(|_| self.is_waiting()).cloned().map(Cause::Condition)
    }

    /// This is set aside, in place of what was.
    pub fn set(&mut self, copy: KeptCopy) {
        self.last = Some((Instant::now(), copy));
    }

    /// What was set aside last.
    pub fn copy(&self) -> Option<KeptCopy> {
        self.last.as_ref().map(|(_, copy)| copy.clone())
    }
}
