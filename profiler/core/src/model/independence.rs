//! Whether those who wait for one thing wait for one another.
//!
//! In: the chain stage. Out: [`Independence`], of a leaf and of a cause.

closed_list! {
    /// What becomes of waits for a thing when more wait for it at once.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Independence {
        Independent = "independent": "Each waits for itself: as long, however many others do.",
        Shared = "shared": "All wait for one object, and longer, the more there are.",
        Unknown = "unknown": "It was not seen with few and with many at once, or that shows nothing.",
    }
}

#[expect(clippy::derivable_impls, reason = "the list takes no attribute of one of its names")]
impl Default for Independence {
    fn default() -> Self {
        Self::Unknown
    }
}
