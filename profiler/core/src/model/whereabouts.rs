//! Where in Python single requests were: those that took longest, and those that ended with their process.
//!
//! In: the chain stage. Out: [`Whereabouts`], a part of the chains. Every name was read while the thread was
//! there.

use crate::model::computed::{Computed, ComputedAt};

/// A line with fewer samples of a request is not told.
pub const LEAST_SAMPLES: u64 = 3;

/// Where one request was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Number of the request.
    pub request: u64,
    /// Where it computed. Of many lines those with few samples are not kept.
    pub computed: Computed,
    /// What it was in as it was cut off; `None`: it was not, or that is not known.
    pub was: Option<WasIn>,
}

/// What a request was in as the end of its process cut it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasIn {
    /// A sleep.
    Asleep {
        /// Number of the place.
        place: u32,
        /// Number of the system call; `None`: none, or not known.
        system_call: Option<u32>,
        /// How long it had slept.
        slept_ns: u64,
    },
    /// It computed, and had done so at this line most.
    Computing(ComputedAt),
}

impl WasIn {
    /// Number of the place.
    pub const fn place(&self) -> u32 {
        match self {
            Self::Asleep { place, .. } | Self::Computing(ComputedAt { place, .. }) => *place,
        }
    }
}

/// A request that ended with its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Number of the request.
    pub request: u64,
    /// When the process was told to end, or ended.
    pub at_ns: u64,
}
