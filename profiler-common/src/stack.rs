//! Where in Python a thread was as the clock ticked on its CPU, or as a wait of it ended.
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
/// [`StackSample::flags`]: the wait was shorter than what the sample stands for. It was drawn, with a
/// probability of its part of that.
pub const DRAWN: u32 = 4;
/// [`StackSample::flags`]: it was drawn twice, and stands for twice as much.
pub const DRAWN_TWICE: u32 = 8;
/// [`StackSample::flags`], of the clock: it was read whether the interpreter collected garbage.
pub const COLLECTING_READ: u32 = 16;
/// [`StackSample::flags`]: the interpreter collected garbage, and the thread had its lock.
pub const COLLECTING: u32 = 32;
/// [`StackSample::flags`]: the interpreter collected garbage, and the thread did not have its lock.
pub const COLLECTING_ELSEWHERE: u32 = 64;
/// [`StackSample::flags`], beside [`COLLECTING`]: `gc.callbacks` is not empty, or that is not known.
pub const COLLECTOR_CALLS: u32 = 128;

/// One frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct StackFrame {
    /// Address of its code object.
    pub code: u64,
    /// Its instruction: its address, or before 3.11 what `f_lasti` says.
    pub instruction: u64,
    /// What [`CodeIdentity::mixed`] makes of the code object.
    pub identity: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What stands before the frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct StackSample {
    /// `CLOCK_MONOTONIC` of the tick, or of the end of the call.
    pub time_ns: u64,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// What distinguishes these frames of this process from others; 0: there are none.
    pub stack: u64,
    /// How long the thread had slept, or what the sample stands for ([`DRAWN`]); 0: it computed.
    pub slept_ns: u64,
    /// Number of the system call in which it slept.
    pub system_call: u32,
    /// How long it had slept, if it was drawn; else 0.
    pub drawn_ns: u32,
    /// [`CUT`], [`NO_STATE`], [`DRAWN`], [`DRAWN_TWICE`], [`COLLECTING_READ`] and those after it.
    pub flags: u32,
    /// Frames that follow; 0: they were told before, or there are none.
    pub count: u32,
    /// How long this look took.
    pub cost_ns: u32,
    /// How often the lock had passed from one thread to another, of [`COLLECTING`] alone (its lowest bits).
    pub switches: u16,
    /// Collections that were over by then, of [`COLLECTING`] alone (its lowest bits).
    pub collections: u16,
}

/// Bytes of a name or a table of lines that are compared, the last.
pub const COMPARED_BYTES: usize = 64;

/// What distinguishes a code object from another that is at its address once it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeIdentity {
    /// Address of its file's name.
    pub file: u64,
    /// Address of its qualified name; before 3.11 of its name.
    pub function: u64,
    /// Address of its table of lines.
    pub lines: u64,
    /// Its first line.
    pub first_line: u32,
    /// Its number among all code objects (`co_version`), from 3.12 on as far as there are numbers. Else what
    /// [`content_of`] makes of the three: memory that is free again is soon another's, at the same addresses.
    pub content: u64,
}

impl CodeIdentity {
    /// All of it in 32 bits.
    #[inline(always)]
    pub const fn mixed(&self) -> u32 {
        let Self { file, function, lines, first_line, content } = *self;
        let mixed = mix(mix(mix(mix(file, function), lines), first_line as u64), content);
        (mixed >> 32) as u32
    }
}

/// A number that depends on both.
#[inline(always)]
pub const fn mix(known: u64, next: u64) -> u64 {
    (known.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A number that depends on the length of a name or a table, and on its last bytes; those that it does not
/// have are 0.
#[inline(always)]
pub const fn content_of(length: u64, last: &[u64; COMPARED_BYTES / 8]) -> u64 {
    let [a, b, c, d, e, f, g, h] = *last;
    mix(mix(mix(mix(mix(mix(mix(mix(length, a), b), c), d), e), f), g), h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_layout_is_pinned() {
        assert_eq!((size_of::<StackSample>(), size_of::<StackFrame>()), (56, 24));
    }

    #[test]
    fn code_objects_that_differ_in_one_thing_have_different_identities() {
        let known = CodeIdentity {
            file: 0x7f00_1000,
            function: 0x7f00_2000,
            lines: 0x7f00_3000,
            first_line: 7,
            content: 5,
        };
        for other in [
            CodeIdentity { file: 0x7f00_1010, ..known },
            CodeIdentity { function: 0x7f00_2010, ..known },
            CodeIdentity { lines: 0x7f00_3010, ..known },
            CodeIdentity { first_line: 8, ..known },
            CodeIdentity { content: 6, ..known },
            CodeIdentity { file: known.function, function: known.file, ..known },
        ] {
            assert_ne!(other.mixed(), known.mixed());
        }
        let last = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_ne!(content_of(64, &last), content_of(65, &last));
        assert_ne!(content_of(64, &last), content_of(64, &[1, 2, 3, 4, 5, 6, 8, 7]));
    }
}
