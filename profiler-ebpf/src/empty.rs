//! Hooks without bodies, for the benchmark (feature `empty`): what the hooks themselves cost, whatever we do
//! in them.
//!
//! In: the feature. Out: [`bodies_left_out`], false in every other build. The bodies stay in the object, with
//! all maps, so that user space attaches it like any other; the verifier sees a constant and removes them.

/// Not 0 in this build. Frozen before the verifier looks, so that what it guards is dead code.
#[cfg(feature = "empty")]
#[unsafe(no_mangle)]
static EMPTY: aya_ebpf::Global<u32> = aya_ebpf::Global::new(1);

/// Whether every hook returns at once.
#[inline(always)]
pub fn bodies_left_out() -> bool {
    #[cfg(feature = "empty")]
    {
        EMPTY.load() != 0
    }
    #[cfg(not(feature = "empty"))]
    {
        false
    }
}
