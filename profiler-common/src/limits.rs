//! Bounds that both sides of the kernel/user line rely on.
//!
//! In: nothing. Out: constants; each says what happens at the bound.

/// Threads that can be followed at once. A thread beyond it has no account; each refusal is counted
/// (`Loss::ThreadTableFull`).
pub const MAX_THREADS: u32 = 4096;

/// Bytes of all rings together, so far as [`MIN_RING_BYTES`] and [`MAX_RING_BYTES`] allow; what a full ring
/// cannot take is counted (`Loss::RingFull…`).
pub const ALL_RINGS_BYTES: u32 = 16 * 1024 * 1024;

/// Fewest bytes of one CPU's ring: at 30 ms between two reads, 4500 slices in that time.
pub const MIN_RING_BYTES: u32 = 1024 * 1024;

/// Most bytes of one CPU's ring.
pub const MAX_RING_BYTES: u32 = 4 * 1024 * 1024;

/// Client connections and listeners whose kernel-side state is kept at once (least recently used goes first).
pub const MAX_SOCKETS: u32 = 65_536;

/// Bytes captured after the direction of traffic turned inward: the head of one request, or of several
/// pipelined ones. Longer heads are framed by inference.
pub const MAX_REQUEST_HEAD_BYTES: u32 = 4096;

/// Bytes captured from the start of a write that begins with a status line, up to the write that ends with a
/// blank line (the head's end).
pub const MAX_RESPONSE_HEAD_BYTES: u32 = 1024;

/// Fewest bytes of the ring through which evidence about ends of connections and processes comes: two and a
/// half thousand pieces between two reads. What finds no room is counted (`Loss::RingFullEvidence`).
pub const MIN_EVIDENCE_RING_BYTES: u32 = 256 * 1024;

/// Most bytes of that ring.
pub const MAX_EVIDENCE_RING_BYTES: u32 = 16 * 1024 * 1024;

/// Its share of the bytes of all CPUs' rings: one in so many. A connection leaves two pieces at most, 208
/// bytes with what the kernel adds; its own record, and slices and heads of a single request, are about a
/// thousand. So where every connection is reset after one request, this ring is not full long before the
/// others are.
pub const EVIDENCE_SHARE: u32 = 4;

/// Bytes captured of a request, or of a response, whose connection is encrypted. A longer head still says
/// what is asked for.
pub const MAX_PLAINTEXT_BYTES: usize = 1024;

/// Bytes of the ring through which they come, a power of two: nine hundred and more between two reads. What
/// finds no room is counted (`Loss::RingFullPlaintext`), and its request has no name.
pub const PLAINTEXT_RING_BYTES: u32 = 1024 * 1024;

/// Length of a kernel thread name (`TASK_COMM_LEN`, include/linux/sched.h), the closing NUL included.
pub const COMM_BYTES: usize = 16;
