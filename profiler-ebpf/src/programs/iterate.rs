//! Iterators: threads and sockets that were there before the hooks.
//!
//! In: `iter/task`, `iter/task_file`, run by user space after the hooks are on, until nothing is new. Out:
//! accounts, listeners, connections, and the records about them.

use aya_ebpf::bindings::{file, task_struct};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sock_from_file};
use profiler_common::account::{BLOCKED, NOT_IN_CALL, RUNNABLE, RUNNING};
use profiler_common::call_kind::Kind;
use profiler_common::record::detail::Words;
use profiler_common::record::lifecycle::ADOPTED;
use profiler_common::record::slice::{OTHER_TABLE, PAGE_FAULT};
use profiler_common::system_call::kind;

use super::{back_end, client, light, socket};
use crate::account::{self, Start};
use crate::emit::{self, Lifecycle, Writer};
use crate::kernel::file::of_socket;
use crate::kernel::registers::{self, Registers};
use crate::kernel::{sock, task};
use crate::maps::{TARGETS, UNIX_LISTENERS};

/// Context of `iter/task`.
#[repr(C)]
pub struct TaskContext {
    meta: *mut core::ffi::c_void,
    task: *mut task_struct,
}

/// Context of `iter/task_file`.
#[repr(C)]
pub struct FileContext {
    meta: *mut core::ffi::c_void,
    task: *mut task_struct,
    fd: u32,
    file: *mut file,
}

/// Adopts every thread of the target that has no account yet.
///
/// A thread that is switched between the look at its state and the moment its storage names the account would
/// start in a wrong state. So it is looked at once more after that.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn iterate_tasks(ctx: *mut TaskContext) -> i32 {
    // SAFETY: the kernel passes this context.
    let task = unsafe { (*ctx).task };
    if task.is_null() {
        return 0;
    }
    let who = task::who(task);
    if TARGETS.get_ptr(&who.0).is_none() || account::of(task).is_some() {
        return 0;
    }
    let state = state_of(task);
    let registers = registers::of(task);
    let shown = match registers::system_call(registers) {
        call if call >= 0 && task::is_in_32_bit_call(task) => OTHER_TABLE,
        call => call,
    };
    let start = Start {
        who,
        state,
        // For a thread that runs in user space these registers are those of its last call: then its next
        // entry overrules them.
        call: if shown >= 0 && kind(shown as u32).is_some() && !light::is_light() {
            shown
        } else {
            NOT_IN_CALL
        },
        blocked_in_call: if shown >= 0 { shown } else { PAGE_FAULT },
        detail: if state == BLOCKED && (0..OTHER_TABLE).contains(&shown) {
            under_way(registers, shown as u32)
        } else {
            [0; 4]
        },
    };
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if account::adopt(task, start, now_ns) {
        account::correct(task, state_of(task), now_ns);
        let event =
            Lifecycle { what: ADOPTED, who, other: (0, 0), detail: 0, comm: task::comm_address(task) };
        emit::lifecycle(Writer::Iterator, &event, now_ns);
    }
    0
}

/// What the registers show of a call that was entered before: what is learned at its entry or its end is not
/// known.
#[inline(always)]
fn under_way(registers: Registers, number: u32) -> Words {
    let [first, second, third] = registers::arguments(registers);
    match kind(number) {
        _ if light::is_light() => [first, 0, 0, 0],
        Some(Kind::Futex) => [first, second & 0xffff, 0, 0],
        Some(Kind::Connect) => [first, 0, 0, 0],
        _ => [first, second, third, 0],
    }
}

#[inline(always)]
fn state_of(task: *mut task_struct) -> u32 {
    if task::is_on_cpu(task) {
        RUNNING
    } else if task::state(task) == 0 {
        RUNNABLE
    } else {
        BLOCKED
    }
}

/// The socket of the target that a file stands for: its process, its descriptor there, its `struct sock`.
#[inline(always)]
pub(super) fn socket_of_target(ctx: *mut FileContext) -> Option<(u32, u32, u64)> {
    // SAFETY: the kernel passes this context.
    let (task, fd, file) = unsafe { ((*ctx).task, (*ctx).fd, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return None;
    }
    let tgid = task::tgid(task);
    TARGETS.get_ptr(&tgid)?;
    // SAFETY: a file pointer whose type the verifier knows.
    let socket = unsafe { bpf_sock_from_file(file) };
    if socket.is_null() {
        return None;
    }
    Some((tgid, fd, of_socket(socket as u64)?))
}

/// Whether a connection came to a listener of the target.
#[inline(always)]
pub(super) fn came_to_listener(sk: u64, family: u16) -> bool {
    match family {
        sock::AF_INET | sock::AF_INET6 => socket::listener_at(sock::local_port(sk)) != 0,
        // Accepted sockets share the address of their listener.
        sock::AF_UNIX => UNIX_LISTENERS.get_ptr(&sock::unix_address(sk)).is_some(),
        _ => false,
    }
}

/// Notes listeners of the target, and connections: those that listeners noted before have accepted, and to
/// back ends.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn iterate_files(ctx: *mut FileContext) -> i32 {
    let Some((tgid, fd, sk)) = socket_of_target(ctx) else { return 0 };
    let (family, state) = (sock::family(sk), sock::state(sk));
    if state == sock::LISTEN {
        socket::listens(sk);
        return 0;
    }
    let is_open = state == sock::ESTABLISHED || state == sock::CLOSE_WAIT;
    let is_ours = came_to_listener(sk, family);
    if is_open && is_ours && light::is_light() {
        light::seed(sk);
    } else if is_open && is_ours {
        // SAFETY: the helper has no preconditions.
        client::seed((tgid, tgid), fd, sk, unsafe { bpf_ktime_get_ns() });
    } else if is_open && !light::is_light() {
        back_end::seed(tgid, fd, sk);
    }
    0
}
