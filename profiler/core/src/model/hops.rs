//! The way from a request to what it waited for in the end.
//!
//! In: the phases of the waits on it, one after the other. Out: [`Hops`], small enough to be a key.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::phase::Phase;

/// The hops from a request to a leaf, each by the phase of its wait. Neighbours alike are one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hops {
    /// A byte each, the first in the highest: 0 for none, or the phase's place among all, plus 1. So numbers
    /// are ordered as ways are.
    hops: u64,
}

impl Hops {
    /// None: the request waited, or worked, itself.
    pub const NONE: Self = Self { hops: 0 };
    /// As many as are kept; neighbours that are alike count as one.
    pub const MAX: usize = size_of::<u64>();

    /// One hop more. `None`: there are as many as are kept.
    pub const fn with(self, hop: Phase) -> Option<Self> {
        let hop = hop as u64 + 1;
        let free = self.hops.trailing_zeros() / u8::BITS;
        if free < Self::MAX as u32 && self.hops >> (free * u8::BITS) & 0xff == hop {
            return Some(self);
        }
        match free.checked_sub(1) {
            Some(place) => Some(Self { hops: self.hops | hop << (place * u8::BITS) }),
            None => None,
        }
    }

    /// All of them, the request's own wait first.
    pub fn iter(&self) -> impl Iterator<Item = Phase> + '_ {
        let bytes = self.hops.to_be_bytes().into_iter();
        bytes.map_while(|byte| {
            usize::from(byte).checked_sub(1).and_then(|place| Phase::ALL.get(place)).copied()
        })
    }

    /// There are none: the request waited, or worked, itself.
    pub const fn is_empty(&self) -> bool {
        self.hops == 0
    }
}

impl Hash for Hops {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Ways that are short differ in the highest bytes alone, and those hardly change a product.
        state.write_u64(self.hops.swap_bytes());
    }
}

impl fmt::Debug for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_alike_beside_one_another_are_one_and_no_more_are_kept_than_there_is_room_for() {
        let mut hops = Hops::NONE;
        assert!(hops.is_empty());
        for hop in [Phase::AcceptQueue, Phase::LockWait, Phase::LockWait, Phase::GilWait] {
            hops = hops.with(hop).unwrap_or_default();
        }
        let expected = [Phase::AcceptQueue, Phase::LockWait, Phase::GilWait];
        assert!(hops.iter().eq(expected));
        for hop in [Phase::LockWait, Phase::GilWait, Phase::LockWait, Phase::GilWait, Phase::LockWait] {
            hops = hops.with(hop).unwrap_or_default();
        }
        assert_eq!(hops.iter().count(), Hops::MAX);
        assert_eq!(hops.with(Phase::LockWait), Some(hops));
        assert_eq!(hops.with(Phase::GilWait), None);
    }
}
