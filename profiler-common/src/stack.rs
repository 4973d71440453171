//! Where in Python a thread was as the clock ticked on its CPU.
//!
//! In: nothing. Out: [`StackSample`], the element of the ring `SAMPLES`, with the frames behind it where they
//! were not told before. It goes from the kernel programs to what names frames, and into no recording.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Ticks a second on each CPU. A prime to the hundreds that timers and applications keep to.
pub const TICKS_PER_SECOND: u64 = 99;
/// Frames of one sample at most, the innermost first.
pub const MAX_STACK: usize = 48;
/// Bytes of the ring, a power of two: some hundred samples with all their frames, thousands without.
pub const SAMPLE_RING_BYTES: u32 = 512 * 1024;
/// Stacks that are remembered as told.
pub const MAX_TOLD: u32 = 8192;
/// A stack is told again after so long: what was lost, or named by nobody, has another chance.
pub const TOLD_AGAIN_NS: u64 = 10_000_000_000;

/// [`StackSample::flags`]: the walk did not end where walks end, or a frame could not be read: the outermost
/// are missing.
pub const CUT: u32 = 1;
/// [`StackSample::flags`]: the interpreter's state of the thread was not found.
pub const NO_STATE: u32 = 2;

/// One frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct StackFrame {
    /// Address of its code object.
    pub code: u64,
    /// Its instruction: its address, or before 3.11 what `f_lasti` says.
    pub instruction: u64,
    /// What [`code_identity`] makes of the code object.
    pub identity: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What stands before the frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct StackSample {
    /// `CLOCK_MONOTONIC` of the tick.
    pub time_ns: u64,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// What distinguishes these frames of this process from others; 0: there are none.
    pub stack: u64,
    /// [`CUT`], [`NO_STATE`].
    pub flags: u32,
    /// Frames that follow; 0: they were told before, or there are none.
    pub count: u32,
}

/// What distinguishes a code object from another that is at its address once it is gone: a mix of the
/// addresses of its file's name, its qualified name and its table of lines, and of its first line.
#[inline(always)]
pub const fn code_identity(file: u64, function: u64, lines: u64, first_line: u32) -> u32 {
    let mixed = file ^ function.rotate_left(16) ^ lines.rotate_left(32) ^ (first_line as u64).rotate_left(48);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_layout_is_pinned() {
        assert_eq!((size_of::<StackSample>(), size_of::<StackFrame>()), (32, 24));
    }

    #[test]
    fn code_objects_that_differ_in_one_thing_have_different_identities() {
        let of = |file, function, lines, first| code_identity(file, function, lines, first);
        let known = of(0x7f00_1000, 0x7f00_2000, 0x7f00_3000, 7);
        for other in [
            of(0x7f00_1010, 0x7f00_2000, 0x7f00_3000, 7),
            of(0x7f00_1000, 0x7f00_2010, 0x7f00_3000, 7),
            of(0x7f00_1000, 0x7f00_2000, 0x7f00_3010, 7),
            of(0x7f00_1000, 0x7f00_2000, 0x7f00_3000, 8),
            of(0x7f00_2000, 0x7f00_1000, 0x7f00_3000, 7),
        ] {
            assert_ne!(other, known);
        }
    }
}
