//! Which kind of leaf a piece of a thread's time is.
//!
//! In: a phase, a sleep. Out: its kind.

use crate::machine::chain::segment::{SegmentSleep, is_file_lock, opens};
use crate::model::chain::{LeafKind, Object};
use crate::model::round_trips::NAME_SERVER_PORT;
use crate::phase::Phase;

/// The leaf of time on a CPU.
pub(in crate::machine::chain) const fn ran(phase: Phase) -> LeafKind {
    match phase {
        Phase::ReadHead | Phase::ReadBody => LeafKind::Reading,
        Phase::Write => LeafKind::Writing,
        Phase::Unexplained => LeafKind::NotFollowed,
        _ => LeafKind::Computing,
    }
}

/// The leaf of a sleep that no thread of the target ends.
pub(super) fn slept(phase: Phase, sleep: &SegmentSleep) -> LeafKind {
    match phase {
        Phase::BackendWait if let Object::Peer { port } = sleep.object => back_end(port),
        Phase::FileWait if is_file_lock(sleep.system_call) => LeafKind::FileLock,
        Phase::Sleep if sleep.polls_file_lock => LeafKind::FileLock,
        Phase::FileWait if opens(sleep.system_call) && matches!(sleep.object, Object::Descriptor { .. }) => {
            LeafKind::Pipe
        }
        _ => by_phase(phase),
    }
}

/// The leaf of a wait for what answers at a port.
pub(in crate::machine::chain) const fn back_end(port: u16) -> LeafKind {
    if port == NAME_SERVER_PORT { LeafKind::NameServer } else { LeafKind::BackEnd }
}

/// The leaf of a phase of which nothing more is known.
pub(in crate::machine::chain) const fn by_phase(phase: Phase) -> LeafKind {
    match phase {
        Phase::BackendWait => LeafKind::BackEnd,
        Phase::ClientReadStall | Phase::ClientWriteStall => LeafKind::Client,
        Phase::ChildWait => LeafKind::Child,
        Phase::FileWait => LeafKind::File,
        Phase::FaultWait => LeafKind::PageFault,
        Phase::Sleep => LeafKind::Sleep,
        Phase::RunQueue => LeafKind::CpuTaken,
        Phase::FrontEnd => LeafKind::FrontEnd,
        Phase::Cpu => LeafKind::Computing,
        Phase::ReadHead | Phase::ReadBody => LeafKind::Reading,
        Phase::Write => LeafKind::Writing,
        Phase::AcceptQueue
        | Phase::PoolWait
        | Phase::LoopWait
        | Phase::GilWait
        | Phase::LockWait
        | Phase::Unexplained => LeafKind::NotFollowed,
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::system_call::{FCNTL, OPENAT, READ, RECVFROM};

    use super::*;
    use crate::machine::chain::segment::SleepEnd;

    /// `flock` (arch/x86/entry/syscalls/syscall_64.tbl), which is not observed.
    const FLOCK: u32 = 73;

    fn kind(phase: Phase, system_call: u32, object: Object) -> LeafKind {
        let sleep = SegmentSleep {
            phase,
            is_idle: false,
            system_call: system_call.cast_signed(),
            object,
            connection: 0,
            is_own_port: false,
            end: SleepEnd::Outside,
            since_before: false,
            is_way_out: false,
            held: None,
            polls_file_lock: false,
        };
        slept(phase, &sleep)
    }

    #[test]
    fn an_open_that_gave_an_end_of_a_pipe_waited_for_the_other_end() {
        let end = Object::Descriptor { fd: 5 };
        assert_eq!(kind(Phase::FileWait, OPENAT, end), LeafKind::Pipe);
        assert_eq!(kind(Phase::FileWait, OPENAT, Object::Unknown), LeafKind::File);
        assert_eq!(kind(Phase::FileWait, READ, end), LeafKind::File);
    }

    #[test]
    fn what_answers_at_port_53_is_a_name_server() {
        let at = |port| kind(Phase::BackendWait, RECVFROM, Object::Peer { port });
        assert_eq!((at(53), at(5432)), (LeafKind::NameServer, LeafKind::BackEnd));
        assert_eq!(kind(Phase::BackendWait, RECVFROM, Object::Unknown), LeafKind::BackEnd);
    }

    #[test]
    fn a_sleep_in_fcntl_or_flock_is_a_wait_for_a_file_lock() {
        let of = |system_call| kind(Phase::FileWait, system_call, Object::Unknown);
        assert_eq!(
            (of(FCNTL), of(FLOCK), of(READ)),
            (LeafKind::FileLock, LeafKind::FileLock, LeafKind::File)
        );
    }
}
