//! What a sleep of light mode is for, by the call that the thread slept in and what its descriptor stands
//! for.
//!
//! In: a [`Slept`]. Out: the phase. It is as `classify` has it for calls that are hooked, as far as a call
//! that is not hooked shows it. Of several descriptors, and of an epoll instance, it is not known which one
//! ended the sleep.

use profiler_common::call_kind::Kind;
use profiler_common::record::sleep::{READABLE, WRITABLE};
use profiler_common::record::slice::PAGE_FAULT;
use profiler_common::system_call::{FCNTL, FUTEX, kind};

use crate::event::{Slept, SleptOn};
use crate::machine::world::classify::gap_sleep_phase;
use crate::phase::Phase;

/// Whether it is a wait for a lock: only then an address can be that of the interpreter's.
pub fn is_for_lock(slept: &Slept) -> bool {
    slept.system_call == FUTEX.cast_signed()
}

/// What the thread slept for.
pub fn phase(slept: &Slept) -> Phase {
    let Ok(number) = u32::try_from(slept.system_call) else {
        return if slept.system_call == PAGE_FAULT { Phase::FaultWait } else { Phase::Unexplained };
    };
    let kind = match kind(number) {
        // A lock on a file; its other commands do not sleep.
        Some(_) if number == FCNTL => return gap_sleep_phase(slept.system_call),
        Some(kind) => kind,
        None => return gap_sleep_phase(slept.system_call),
    };
    match kind {
        Kind::Sleep => Phase::Sleep,
        Kind::Futex => Phase::LockWait,
        Kind::OpenFile => Phase::FileWait,
        Kind::Poll | Kind::Select if is_of_no_descriptor(slept) => Phase::Sleep,
        Kind::Read | Kind::ReadVector | Kind::ReadMessage => on(slept.on, Phase::ClientReadStall),
        Kind::Write | Kind::WriteVector | Kind::WriteMessage | Kind::SendFile | Kind::Splice => {
            on(slept.on, Phase::ClientWriteStall)
        }
        Kind::Poll | Kind::Select if slept.events & WRITABLE != 0 && slept.events & READABLE == 0 => {
            on(slept.on, Phase::ClientWriteStall)
        }
        Kind::Poll | Kind::Select => on(slept.on, Phase::ClientReadStall),
        Kind::Connect => on(slept.on, Phase::Unexplained),
        _ => Phase::Unexplained,
    }
}

/// Whether it is a wait until something that is written is taken.
pub fn writes(slept: &Slept) -> bool {
    let called = u32::try_from(slept.system_call).ok().and_then(kind);
    matches!(
        called,
        Some(Kind::Write | Kind::WriteVector | Kind::WriteMessage | Kind::SendFile | Kind::Splice)
    )
}

/// Whether it is a wait until one of several descriptors is ready, or a connection comes.
pub fn is_for_descriptors(slept: &Slept) -> bool {
    let called = u32::try_from(slept.system_call).ok().and_then(kind);
    matches!(called, Some(Kind::Accept | Kind::EpollWait | Kind::Poll | Kind::Select))
}

/// poll and select of nothing, or of a descriptor that the kernel ignores: a sleep with a clock of its own.
const fn is_of_no_descriptor(slept: &Slept) -> bool {
    /// The sign of a descriptor.
    const NEGATIVE: u64 = 1 << 31;
    matches!(slept.on, SleptOn::Nothing)
        && (slept.argument == 0 || slept.events != 0 && slept.argument & NEGATIVE != 0)
}

/// A sleep on this descriptor; `of_client`: what it is for on a client's.
const fn on(on: SleptOn, of_client: Phase) -> Phase {
    match on {
        SleptOn::Client => of_client,
        SleptOn::Socket { .. } => Phase::BackendWait,
        SleptOn::File => Phase::FileWait,
        // Pipes, socketpairs and eventfds are how threads and processes wait for one another.
        SleptOn::Pipe | SleptOn::Anonymous => Phase::LockWait,
        SleptOn::Nothing | SleptOn::Listener | SleptOn::Other => Phase::Unexplained,
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::gap_sleep;
    use profiler_common::record::slice::NO_CALL;
    use profiler_common::system_call::{
        ACCEPT4, CLOCK_NANOSLEEP, CLOSE, CONNECT, EPOLL_WAIT, OPENAT, POLL, PSELECT6, READ, RECVFROM, SENDTO,
        WRITEV,
    };

    use super::*;

    fn slept(call: u32, on: SleptOn) -> Slept {
        Slept { system_call: call.cast_signed(), on, ..Slept::blank() }
    }

    #[test]
    fn a_sleep_is_for_what_its_call_and_its_descriptor_are() {
        const FLOCK: u32 = 73;
        const WAIT4: u32 = gap_sleep::WAIT4.cast_unsigned();
        const WAITID: u32 = gap_sleep::WAITID.cast_unsigned();
        const VFORK: u32 = gap_sleep::VFORK.cast_unsigned();
        const CLONE: u32 = gap_sleep::CLONE.cast_unsigned();
        const MMAP: u32 = 9;
        let back_end = SleptOn::Socket { port: 5432 };
        for (call, on, expected) in [
            (CLOCK_NANOSLEEP, SleptOn::Nothing, Phase::Sleep),
            (FUTEX, SleptOn::Nothing, Phase::LockWait),
            (RECVFROM, SleptOn::Client, Phase::ClientReadStall),
            (SENDTO, SleptOn::Client, Phase::ClientWriteStall),
            (WRITEV, SleptOn::Client, Phase::ClientWriteStall),
            (RECVFROM, back_end, Phase::BackendWait),
            (SENDTO, back_end, Phase::BackendWait),
            (CONNECT, back_end, Phase::BackendWait),
            (POLL, back_end, Phase::BackendWait),
            (READ, SleptOn::Pipe, Phase::LockWait),
            (READ, SleptOn::Anonymous, Phase::LockWait),
            (READ, SleptOn::File, Phase::FileWait),
            (OPENAT, SleptOn::Nothing, Phase::FileWait),
            (FLOCK, SleptOn::Nothing, Phase::FileWait),
            (FCNTL, SleptOn::Nothing, Phase::FileWait),
            (MMAP, SleptOn::Nothing, Phase::FaultWait),
            (READ, SleptOn::Other, Phase::Unexplained),
            (ACCEPT4, SleptOn::Listener, Phase::Unexplained),
            (EPOLL_WAIT, SleptOn::Nothing, Phase::Unexplained),
            (CLOSE, SleptOn::Nothing, Phase::Unexplained),
            (WAIT4, SleptOn::Nothing, Phase::ChildWait),
            (WAITID, SleptOn::Nothing, Phase::ChildWait),
            (VFORK, SleptOn::Nothing, Phase::ChildWait),
            (CLONE, SleptOn::Nothing, Phase::Unexplained),
        ] {
            assert_eq!(phase(&slept(call, on)), expected, "call {call} on {on:?}");
        }
        assert_eq!(phase(&Slept { system_call: PAGE_FAULT, ..Slept::blank() }), Phase::FaultWait);
        assert_eq!(phase(&Slept { system_call: NO_CALL, ..Slept::blank() }), Phase::Unexplained);
    }

    #[test]
    fn a_wait_for_one_descriptor_is_for_what_is_asked_of_it() {
        let ready = |call, events| phase(&Slept { events, ..slept(call, SleptOn::Client) });
        assert_eq!(ready(POLL, READABLE), Phase::ClientReadStall);
        assert_eq!(ready(POLL, READABLE | WRITABLE), Phase::ClientReadStall);
        assert_eq!(ready(POLL, WRITABLE), Phase::ClientWriteStall);
        assert_eq!(ready(PSELECT6, WRITABLE), Phase::ClientWriteStall);
    }

    #[test]
    fn poll_and_select_of_nothing_are_a_sleep_and_of_several_are_not_known() {
        let of = |call, argument, events| phase(&Slept { argument, events, ..slept(call, SleptOn::Nothing) });
        assert_eq!(of(POLL, 0, 0), Phase::Sleep);
        assert_eq!(of(PSELECT6, 0, 0), Phase::Sleep);
        assert_eq!(of(POLL, 0xffff_ffff, READABLE), Phase::Sleep, "a descriptor of -1 is ignored");
        assert_eq!(of(POLL, 3, 0), Phase::Unexplained);
        assert_eq!(of(PSELECT6, 8, 0), Phase::Unexplained);
    }
}
