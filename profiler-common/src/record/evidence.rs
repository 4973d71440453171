//! Why connections end and processes die: what the kernel itself says of it.
//!
//! In: nothing. Out: [`EvidenceRecord`]. Most are written in the middle of whatever the CPU was at. So they
//! go through a ring of their own (`EVIDENCE`), which any number of writers may use at the same time.

use super::RecordHeader;
use crate::limits::COMM_BYTES;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`EvidenceRecord::what`]: the client has ended its direction (FIN) before the server did.
pub const CLIENT_ENDED: u32 = 1;
/// [`EvidenceRecord::what`]: the client reset the connection (RST received).
pub const RESET_RECEIVED: u32 = 2;
/// [`EvidenceRecord::what`]: the kernel reset the connection (RST sent).
pub const RESET_SENT: u32 = 3;
/// [`EvidenceRecord::what`]: a signal was sent to the header's process.
pub const SIGNAL: u32 = 4;
/// [`EvidenceRecord::what`]: the kernel chose the header's process to die, as memory ran out.
pub const OUT_OF_MEMORY: u32 = 5;
/// [`EvidenceRecord::what`]: an accept of the header's thread failed (light mode, where no other call is
/// seen).
pub const ACCEPT_FAILED: u32 = 6;

/// What accept returns where something ran out, or a connection was gone: `EMFILE`, `ENFILE`, `ENOMEM`,
/// `ENOBUFS`, `ECONNABORTED`, `EPROTO`.
pub const ACCEPT_FAILURES: [i64; 6] = [-24, -23, -12, -105, -103, -71];

/// [`EvidenceRecord::stage`]: nothing is known of the socket at this address.
pub const STAGE_UNKNOWN: u32 = 0;
/// [`EvidenceRecord::stage`]: nobody has accepted the connection yet.
pub const STAGE_WAITING: u32 = 1;
/// [`EvidenceRecord::stage`]: a traced process has accepted it.
pub const STAGE_ACCEPTED: u32 = 2;
/// [`EvidenceRecord::stage`]: the traced process has closed it.
pub const STAGE_CLOSED: u32 = 3;

/// [`EvidenceRecord::stage`]: accepted, but not (or not yet) by a traced process as far as the programs know.
pub const STAGE_TAKEN: u32 = 4;

/// Signal that resumes a stopped process, whether it handles the signal or not.
pub const SIGCONT: u32 = 18;
/// Signals that stop a process: `SIGSTOP`, `SIGTSTP`, `SIGTTIN`, `SIGTTOU`.
pub const STOPS: [u32; 4] = [19, 20, 21, 22];

/// Signals that are told of, one bit each (bit n: signal n): those that end a process unless it handles them,
/// and those that stop one or resume it. Neither those by which processes only talk (`SIGCHLD`, `SIGWINCH`,
/// `SIGALRM`, `SIGPIPE` …) nor those of real time.
pub const SIGNALS: u64 = 1 << 1 // SIGHUP
    | 1 << 2 // SIGINT
    | 1 << 3 // SIGQUIT
    | 1 << 4 // SIGILL
    | 1 << 6 // SIGABRT
    | 1 << 7 // SIGBUS
    | 1 << 8 // SIGFPE
    | 1 << 9 // SIGKILL
    | 1 << 10 // SIGUSR1
    | 1 << 11 // SIGSEGV
    | 1 << 12 // SIGUSR2
    | 1 << 15 // SIGTERM
    | 1 << SIGCONT
    | 1 << STOPS[0] | 1 << STOPS[1] | 1 << STOPS[2] | 1 << STOPS[3]
    | 1 << 24 // SIGXCPU
    | 1 << 31; // SIGSYS

/// One piece of evidence. `header.tgid` is the process concerned (signals), 0 for connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct EvidenceRecord {
    /// Common header.
    pub header: RecordHeader,
    /// Kernel address of the socket (connections only).
    pub socket: u64,
    /// When the handshake was done; 0 if it was not seen (connections only).
    pub established_ns: u64,
    /// [`CLIENT_ENDED`] and so on.
    pub what: u32,
    /// Connections seen on this socket address before this one, as in the connection's record.
    pub generation: u32,
    /// [`STAGE_WAITING`] and so on.
    pub stage: u32,
    /// State of the socket (`include/net/tcp_states.h`).
    pub state: u32,
    /// Bytes that arrived and nobody has read, with those of the segment that [`RESET_SENT`] answers; a FIN
    /// counts as one.
    pub unread_bytes: u32,
    /// Bytes written and not acknowledged by the client; a FIN counts as one.
    pub unacknowledged_bytes: u32,
    /// Local port, host order.
    pub local_port: u16,
    /// Peer's port, host order.
    pub peer_port: u16,
    /// Of [`SIGNAL`] and [`OUT_OF_MEMORY`] a [`SentSignal`], of [`RESET_SENT`] a [`SentReset`], of
    /// [`ACCEPT_FAILED`] a [`FailedAccept`]; else zeroes.
    pub detail: EvidenceWords,
    /// Name of the thread that sent the signal, NUL-padded.
    pub sender_comm: [u8; COMM_BYTES],
}

/// A detail as it lies in a piece of evidence.
pub type EvidenceWords = [u32; 3];

/// Of [`SIGNAL`] and [`OUT_OF_MEMORY`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentSignal {
    /// Number of the signal; 0 of [`OUT_OF_MEMORY`].
    pub number: u32,
    /// How the signal came to be: `si_code`; above 0: by the kernel.
    pub code: i32,
    /// Process that sent the signal, as the initial PID namespace numbers it.
    pub sender_tgid: u32,
}

impl SentSignal {
    /// Of a detail.
    pub const fn of(&[number, code, sender_tgid]: &EvidenceWords) -> Self {
        Self { number, code: code.cast_signed(), sender_tgid }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> EvidenceWords {
        [self.number, self.code.cast_unsigned(), self.sender_tgid]
    }
}

/// Of [`RESET_SENT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentReset {
    /// In light mode the process that closed the connection by it; 0: it was closed before.
    pub closer_tgid: u32,
}

impl SentReset {
    /// Of a detail.
    pub const fn of(&[_, _, closer_tgid]: &EvidenceWords) -> Self {
        Self { closer_tgid }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> EvidenceWords {
        [0, 0, self.closer_tgid]
    }
}

/// Of [`ACCEPT_FAILED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedAccept {
    /// Descriptor of the listener.
    pub listener_fd: i32,
    /// What accept returned: one of [`ACCEPT_FAILURES`].
    pub result: i32,
}

impl FailedAccept {
    /// Of a detail.
    pub const fn of(&[listener_fd, result, _]: &EvidenceWords) -> Self {
        Self { listener_fd: listener_fd.cast_signed(), result: result.cast_signed() }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> EvidenceWords {
        [self.listener_fd.cast_unsigned(), self.result.cast_unsigned(), 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_layout_is_pinned() {
        assert_eq!(size_of::<EvidenceRecord>(), 96);
        assert_eq!(core::mem::offset_of!(EvidenceRecord, what), 40);
        assert_eq!(core::mem::offset_of!(EvidenceRecord, detail), 68);
        assert_eq!(core::mem::offset_of!(EvidenceRecord, sender_comm), 80);
    }

    #[test]
    fn every_part_of_a_detail_has_its_word() {
        let signal = SentSignal { number: 9, code: -6, sender_tgid: 3 };
        assert_eq!(signal.words(), [9, u32::MAX - 5, 3]);
        assert_eq!(SentSignal::of(&signal.words()), signal);
        let reset = SentReset { closer_tgid: 7 };
        assert_eq!(reset.words(), [0, 0, 7]);
        assert_eq!(SentReset::of(&reset.words()), reset);
        let accept = FailedAccept { listener_fd: 5, result: -24 };
        assert_eq!(accept.words(), [5, u32::MAX - 23, 0]);
        assert_eq!(FailedAccept::of(&accept.words()), accept);
    }
}
