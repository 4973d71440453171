//! The one table: what a call means for a request, by its kind and the class of its descriptor.
//!
//! In: a call, the descriptor tables, the stage of the request on the touched connection. Out: the phase of
//! the call's CPU time, the phase of its sleep, whether it waits for work, which client it touches, and its
//! colour.

use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::world::descriptor::Descriptors;
use crate::machine::world::interest::Interest;
use crate::phase::Phase;
use crate::timeline::ThreadState;
use profiler_common::gap_sleep::{self, GapSleep};

/// How a call touches a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Reads from it.
    Read,
    /// Writes to it.
    Write,
    /// Waits until it is readable.
    WaitReadable,
    /// Waits until it is writable.
    WaitWritable,
    /// Ends one or both directions.
    Shutdown,
    /// Closes it.
    Close,
    /// Registers it with an event loop, or takes it off.
    Register,
}

/// Whether a call is a wait for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// No wait for work.
    No,
    /// A wait for work unless its thread is serving a request: the call's own descriptors do not decide it.
    UnlessServing,
    /// A wait for work, whatever the thread did before: it waits for a listener.
    Always,
}

/// What a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Phase of the time on a CPU inside the call.
    pub cpu: Phase,
    /// Phase of the sleep inside the call.
    pub blocked: Phase,
    /// Which client connection it touches, by descriptor, and how.
    pub touch: Option<(i32, Touch)>,
    /// Whether it waits for work (a connection, a job, an event) rather than within work.
    pub idle: Idle,
    /// Colour in the timeline.
    pub state: ThreadState,
}

const fn meaning(cpu: Phase, blocked: Phase, state: ThreadState) -> Meaning {
    Meaning { cpu, blocked, touch: None, idle: Idle::No, state }
}

const fn on_client(cpu: Phase, blocked: Phase, touch: (i32, Touch), state: ThreadState) -> Meaning {
    Meaning { cpu, blocked, touch: Some(touch), idle: Idle::No, state }
}

const fn waits_for_work(idle: Idle, blocked: Phase) -> Meaning {
    Meaning { cpu: Phase::Cpu, blocked, touch: None, idle, state: ThreadState::Idle }
}

const IDLE: Meaning = waits_for_work(Idle::Always, Phase::Unexplained);

/// Meaning of a call. `head_complete` says, for a client's descriptor, whether the head of the request
/// received there has been read.
pub fn classify(slice: &Slice, descriptors: &Descriptors, head_complete: impl Fn(i32) -> bool) -> Meaning {
    use ThreadState as State;
    let tgid = slice.tgid;
    match slice.call {
        Call::Accept { .. } => IDLE,
        Call::Read { fd, .. } => match descriptors.class(tgid, fd) {
            Some(DescriptorClass::Client) => {
                let cpu = if head_complete(fd) { Phase::ReadBody } else { Phase::ReadHead };
                let state = client_state(slice);
                on_client(cpu, Phase::ClientReadStall, (fd, Touch::Read), state)
            }
            class => on_descriptor(class),
        },
        Call::Write { fd } | Call::Transfer { to_fd: fd, .. } => match descriptors.class(tgid, fd) {
            Some(DescriptorClass::Client) => {
                on_client(Phase::Write, Phase::ClientWriteStall, (fd, Touch::Write), client_state(slice))
            }
            class => on_descriptor(class),
        },
        Call::Poll { is_sleep: true, .. } | Call::Sleep => meaning(Phase::Cpu, Phase::Sleep, State::Sleep),
        Call::Poll { only_fd: Some(fd), for_write, .. } => match descriptors.class(tgid, fd) {
            Some(DescriptorClass::Client) if for_write => wait_writable(fd),
            Some(DescriptorClass::Client) => wait_readable(fd, head_complete(fd)),
            Some(DescriptorClass::Listener) => IDLE,
            Some(DescriptorClass::Wakeup) => waits_for_work(Idle::UnlessServing, Phase::LockWait),
            class => on_descriptor(class),
        },
        Call::Poll { low_fds, .. } => poll_set(descriptors, tgid, low_fds),
        Call::EpollWait { epoll_fd, .. } => epoll(&descriptors.interest(tgid, epoll_fd), head_complete),
        Call::EpollControl { fd, .. } => match descriptors.class(tgid, fd) {
            Some(DescriptorClass::Client) => {
                on_client(Phase::Cpu, Phase::Unexplained, (fd, Touch::Register), State::Other)
            }
            _ => meaning(Phase::Cpu, Phase::Unexplained, State::Other),
        },
        Call::FutexWait { has_timeout, operation, .. } => Meaning {
            cpu: Phase::Cpu,
            blocked: Phase::LockWait,
            touch: None,
            idle: if is_queue_wait(operation, has_timeout) { Idle::UnlessServing } else { Idle::No },
            state: State::LockWait,
        },
        Call::Connect { .. } => meaning(Phase::Cpu, Phase::BackendWait, State::BackendWait),
        // Close frees the number before it returns: another thread may have it by then. A client's former
        // descriptor belongs to no request any more.
        Call::Close { fd } if !descriptors.had(tgid, fd, slice.enter_ns) => {
            let class = descriptors.class_at(tgid, fd, slice.enter_ns);
            on_descriptor(class.filter(|class| !matches!(class, DescriptorClass::Client)))
        }
        Call::Shutdown { fd, .. } | Call::Close { fd } => {
            let touch = if matches!(slice.call, Call::Close { .. }) { Touch::Close } else { Touch::Shutdown };
            match descriptors.class(tgid, fd) {
                Some(DescriptorClass::Client) => {
                    on_client(Phase::Cpu, Phase::Unexplained, (fd, touch), State::Other)
                }
                class => on_descriptor(class),
            }
        }
        // A named pipe is opened once somebody has opened its other end; other pipes are made at once.
        Call::Make { class: DescriptorClass::File | DescriptorClass::Wakeup } => {
            meaning(Phase::Cpu, Phase::FileWait, State::File)
        }
        Call::FutexWake { .. }
        | Call::Make { .. }
        | Call::MakePair { .. }
        | Call::CloseRange { .. }
        | Call::Duplicate { .. }
        | Call::Bind { .. }
        | Call::Listen { .. }
        | Call::Marker
        | Call::Other => meaning(Phase::Cpu, Phase::Unexplained, State::Other),
    }
}

/// A wait for one of several descriptors, by what these are.
fn epoll(interest: &Interest, head_complete: impl Fn(i32) -> bool) -> Meaning {
    match interest.only_client {
        Some(fd) => wait_readable(fd, head_complete(fd)),
        None if interest.backends > 0 && interest.clients + interest.others == 0 && !interest.listener => {
            meaning(Phase::Cpu, Phase::BackendWait, ThreadState::BackendWait)
        }
        None if interest.listener => IDLE,
        None => waits_for_work(Idle::UnlessServing, Phase::Unexplained),
    }
}

/// Whether a futex wait may be a wait in a queue. glibc's semaphores and condition variables wait with a
/// bitset and, without a timeout, for ever (nptl/futex-internal.c). A mutex waits without a bitset
/// (nptl/lowlevellock.c). A mutex with priority inheritance waits in the kernel's own way. uWSGI's
/// workers and mod_wsgi's threads queue in mutexes before the listener. The interpreter lock's waits have a
/// timeout (Python/ceval_gil.c) or are known by their address.
const fn is_queue_wait(operation: u32, has_timeout: bool) -> bool {
    const FUTEX_WAIT_BITSET: u32 = 9;
    !has_timeout && (operation & FUTEX_COMMAND == FUTEX_WAIT_BITSET || is_mutex(operation))
}

/// `FUTEX_CMD_MASK` without the private and clock flags, include/uapi/linux/futex.h.
const FUTEX_COMMAND: u32 = 127;

/// Whether a futex wait is for a mutex.
pub(in crate::machine) const fn is_mutex(operation: u32) -> bool {
    const FUTEX_WAIT: u32 = 0;
    const FUTEX_LOCK_PI: u32 = 6;
    matches!(operation & FUTEX_COMMAND, FUTEX_WAIT | FUTEX_LOCK_PI)
}

/// A wait for several descriptors. `low_fds` is the set's first word where it is known (select), else 0
/// (poll).
fn poll_set(descriptors: &Descriptors, tgid: u32, low_fds: u64) -> Meaning {
    let mut backends_only = low_fds != 0;
    for fd in (0..64).filter(|bit| low_fds & (1 << bit) != 0) {
        match descriptors.class(tgid, fd) {
            Some(DescriptorClass::Listener) => return IDLE,
            Some(DescriptorClass::Backend { .. } | DescriptorClass::Socket) => {}
            _ => backends_only = false,
        }
    }
    if backends_only {
        return meaning(Phase::Cpu, Phase::BackendWait, ThreadState::BackendWait);
    }
    waits_for_work(Idle::UnlessServing, Phase::Unexplained)
}

const fn wait_readable(fd: i32, head_complete: bool) -> Meaning {
    let cpu = if head_complete { Phase::ReadBody } else { Phase::ReadHead };
    on_client(cpu, Phase::ClientReadStall, (fd, Touch::WaitReadable), ThreadState::ClientWait)
}

const fn wait_writable(fd: i32) -> Meaning {
    on_client(Phase::Write, Phase::ClientWriteStall, (fd, Touch::WaitWritable), ThreadState::ClientWait)
}

/// A call on something that is not a client: what its sleep waits for.
const fn on_descriptor(class: Option<DescriptorClass>) -> Meaning {
    match class {
        Some(DescriptorClass::Backend { .. } | DescriptorClass::Socket) => {
            meaning(Phase::Cpu, Phase::BackendWait, ThreadState::BackendWait)
        }
        Some(DescriptorClass::File) => meaning(Phase::Cpu, Phase::FileWait, ThreadState::File),
        // Pipes, socketpairs and eventfds are how threads and processes wait for one another.
        Some(DescriptorClass::Wakeup) => meaning(Phase::Cpu, Phase::LockWait, ThreadState::LockWait),
        _ => meaning(Phase::Cpu, Phase::Unexplained, ThreadState::Other),
    }
}

const fn client_state(slice: &Slice) -> ThreadState {
    let busy_ns = slice.inside.cpu_ns.saturating_add(slice.inside.run_queue_ns);
    if slice.inside.blocked_ns > busy_ns { ThreadState::ClientWait } else { ThreadState::ClientIo }
}

/// Phase of a sleep in the gap, by the unobserved call in which it happened.
pub const fn gap_sleep_phase(system_call: i32) -> Phase {
    match gap_sleep::of(system_call) {
        GapSleep::File | GapSleep::FileLock => Phase::FileWait,
        GapSleep::Memory => Phase::FaultWait,
        GapSleep::Child => Phase::ChildWait,
        GapSleep::Unknown => Phase::Unexplained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_in_each_kind_of_descriptor_has_its_own_phase() {
        let mut table = Descriptors::default();
        table.open(1, 3, DescriptorClass::Listener, 0);
        table.open_client(1, 4, 0, 0);
        table.open(1, 5, DescriptorClass::Backend { port: 5432 }, 0);
        table.open(1, 6, DescriptorClass::File, 0);
        table.open(1, 7, DescriptorClass::Wakeup, 0);
        let read =
            |fd| classify(&Slice::blank(Call::Read { fd, asked_bytes: 0, arrival_ns: 0 }), &table, |_| false);
        assert_eq!(read(4).blocked, Phase::ClientReadStall);
        assert_eq!(read(4).cpu, Phase::ReadHead);
        assert_eq!(read(5).blocked, Phase::BackendWait);
        assert_eq!(read(6).blocked, Phase::FileWait);
        assert_eq!(read(7).blocked, Phase::LockWait);
        assert_eq!(read(8).blocked, Phase::Unexplained);
        let body =
            classify(&Slice::blank(Call::Read { fd: 4, asked_bytes: 0, arrival_ns: 0 }), &table, |_| true);
        assert_eq!(body.cpu, Phase::ReadBody);
        let poll = |fd, for_write| {
            let call = Call::Poll { only_fd: Some(fd), low_fds: 0, for_write, is_sleep: false };
            classify(&Slice::blank(call), &table, |_| true)
        };
        assert_eq!(poll(4, true).blocked, Phase::ClientWriteStall);
        assert_eq!(poll(5, false).blocked, Phase::BackendWait);
        assert_eq!(poll(3, false).idle, Idle::Always);
        assert_eq!(classify(&Slice::blank(Call::Sleep), &table, |_| false).blocked, Phase::Sleep);
    }

    #[test]
    fn only_a_futex_wait_in_a_queue_may_be_a_wait_for_work() {
        let table = Descriptors::default();
        let futex = |operation, has_timeout| {
            let call = Call::FutexWait { address: 1, operation, has_timeout };
            classify(&Slice::blank(call), &table, |_| false)
        };
        assert_eq!(futex(393, false).idle, Idle::UnlessServing, "a semaphore");
        assert_eq!(futex(137, true).idle, Idle::No, "the interpreter lock's condition");
        assert_eq!(futex(0, false).idle, Idle::UnlessServing, "a mutex in shared memory");
        assert_eq!(futex(6, false).idle, Idle::UnlessServing, "uWSGI's thunder lock");
        assert_eq!(futex(128, true).idle, Idle::No, "a mutex with a limit");
        assert_eq!(futex(128, false).blocked, Phase::LockWait);
    }
}
