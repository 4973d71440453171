//! What a simulation gives.
//!
//! In: the engine. Out: [`Outcome`]: each request with its phases, and how busy what was.

use profiler_core::phase::Phases;

/// One request as it was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// When it arrived.
    pub start_ns: u64,
    /// The last byte of its response.
    pub end_ns: u64,
    /// Where its time went; adds up to the nanosecond.
    pub phases: Phases,
    /// Number of the slot that served it.
    pub slot: usize,
    /// When the slot took it, and when it was free again.
    pub held_ns: (u64, u64),
}

impl Served {
    /// From arrival to the last byte.
    pub const fn total_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// How long what was busy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// By core: running a thread.
    pub cores_ns: Vec<u64>,
    /// By process: the interpreter lock was held.
    pub locks_ns: Vec<u64>,
    /// By back end: the sum over the requests that it served at once.
    pub back_ends_ns: Vec<u64>,
}

impl Busy {
    /// What was busy since that was counted.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        let lists = [
            (&mut self.cores_ns, &before.cores_ns),
            (&mut self.locks_ns, &before.locks_ns),
            (&mut self.back_ends_ns, &before.back_ends_ns),
        ];
        for (after, before) in lists {
            after.iter_mut().zip(before).for_each(|(after, before)| *after = after.saturating_sub(*before));
        }
        self
    }
}

/// What went on between two responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// When the first of them was sent.
    pub from_ns: u64,
    /// When the last was.
    pub to_ns: u64,
    /// What was busy meanwhile. Of a back end it is what requests asked of it that began then.
    pub busy: Busy,
}

/// A simulation's result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By number of the request.
    pub served: Vec<Served>,
    /// What was busy how long.
    pub busy: Busy,
    /// From the first tenth of all responses to the last.
    pub middle: Stretch,
    /// When the last slot was free again.
    pub end_ns: u64,
}
