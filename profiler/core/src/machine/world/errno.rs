//! Errors of system calls, as their results have them.
//!
//! In: nothing. Out: constants (include/uapi/asm-generic/errno-base.h and errno.h, negated).

/// There is no such file.
pub const ENOENT: i64 = -2;
/// A signal interrupted the call.
pub const EINTR: i64 = -4;
/// Nothing is there now, and the call does not wait.
pub const EAGAIN: i64 = -11;
/// Nobody reads from the other end any more.
pub const EPIPE: i64 = -32;
/// The peer reset the connection.
pub const ECONNRESET: i64 = -104;
/// The timeout has expired; of a connection: the peer no longer acknowledges anything.
pub const ETIMEDOUT: i64 = -110;
/// Nobody listens there.
pub const ECONNREFUSED: i64 = -111;
/// A connect continues without its thread.
pub const EINPROGRESS: i64 = -115;
