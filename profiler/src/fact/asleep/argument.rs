//! What a call is about, by its number and its arguments.
//!
//! In: [`Call`]. Out: [`About`]. A call that is not in the table is about nothing that can be read.

use super::call::Call;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A descriptor.
    Descriptor(i32),
    /// Nothing that can be said.
    Nothing,
}

/// What a call is about.
pub(super) fn about(call: &Call) -> About {
    let [first, ..] = call.arguments;
    match call.number {
        // read, write, close, fstat, lseek, ioctl, pread64, pwrite64, readv, writev; sendfile's first is where
        // it writes to; connect to recvmsg; fcntl, flock, fsync, fdatasync, ftruncate, getdents, fchmod,
        // fchown, fstatfs, readahead, f…xattr, getdents64, fadvise64, mq_timed…, sync_file_range, fallocate,
        // accept4, preadv, pwritev, recvmmsg, syncfs, sendmmsg, preadv2, pwritev2.
        Some(
            0
            | 1
            | 3
            | 5
            | 8
            | 16..=20
            | 40
            | 42..=48
            | 72..=75
            | 77
            | 78
            | 91
            | 93
            | 138
            | 187
            | 190
            | 193
            | 196
            | 199
            | 217
            | 221
            | 242
            | 243
            | 277
            | 285
            | 288
            | 295
            | 296
            | 299
            | 306
            | 307
            | 327
            | 328,
        ) => About::Descriptor(descriptor(first)),
        _ => About::Nothing,
    }
}

/// The kernel takes the low half of the register.
pub(super) const fn descriptor(argument: u64) -> i32 {
    (argument & u32::MAX as u64) as u32 as i32
}
