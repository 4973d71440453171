//! Light mode: what a thread sleeps for, by the registers that it left at the entry of its call.
//!
//! In: a traced thread that leaves its CPU of its own will, and comes back. Out: a sleep record. No system
//! call is hooked: the registers on top of its kernel stack have the call's number and arguments. The
//! descriptor's file is looked up in the thread's own table, and memory of the process is read without
//! waiting for it. At the switch the thread that leaves is still the current one.

use aya_ebpf::bindings::task_struct;
use profiler_common::account::{RUNNABLE, ThreadAccount};
use profiler_common::call_kind::Kind;
use profiler_common::record::detail::{self, FutexSleep};
use profiler_common::record::sleep::{CLIENT, LISTENER, NO_OBJECT, PIPE, READABLE, SOCKET, WRITABLE};
use profiler_common::record::slice::{NO_CALL, PAGE_FAULT};
use profiler_common::system_call::{FUTEX, kind};

use super::socket;
use crate::account::{self, Account};
use crate::emit;
use crate::frames;
use crate::kernel::file::{self, Object};
use crate::kernel::registers::{self, Registers};
use crate::kernel::{sock, task};
use crate::lock::{self, Held, Lock};
use crate::maps::UNIX_LISTENERS;
use crate::user_memory::{user_time, user_word};

/// The call that a thread sleeps in, by its registers: [`PAGE_FAULT`] outside one, [`NO_CALL`] where its
/// number is of another table.
#[inline(always)]
pub fn call(task: *mut task_struct, registers: Registers) -> i32 {
    if !registers::is_of_64_bits(registers) || task::is_in_32_bit_call(task) {
        return NO_CALL;
    }
    let call = registers::system_call(registers);
    if call < 0 { PAGE_FAULT } else { call }
}

/// The thread of `account` goes to sleep in `call`; the account is settled.
#[inline(always)]
pub fn begins(account: &mut ThreadAccount, task: *mut task_struct, registers: Registers, call: i32) {
    account.take_since_ns = account.state_since_ns;
    let mut sleep = Sleep { argument: 0, events: 0, fd: NO_DESCRIPTOR };
    if call >= 0 {
        sleep = what(registers);
    }
    if call == FUTEX as i32 {
        let mut futex =
            FutexSleep { address: sleep.argument, operation: sleep.events as u16, ..FutexSleep::default() };
        if let Some((lock, held)) = at_lock(account.tgid, registers, &mut futex) {
            futex.is_locked = held.is_locked;
            futex.holder_tid = held.thread;
            futex.switches = held.switches as u32;
            if frames::wanted() {
                frames::sample_asleep(account, lock, account.take_since_ns);
            }
        }
        account::set_detail(account, futex.words());
        return;
    }
    let mut object = Object { kind: NO_OBJECT, sk: 0 };
    let mut end = End { family: 0, port: 0, address: 0 };
    let mut is_shut = false;
    if sleep.fd != NO_DESCRIPTOR {
        object = file::object_of(task, sleep.fd as u32);
        if object.kind == SOCKET {
            object.kind = kind_of_socket(object.sk);
            if object.kind == SOCKET {
                end = other_end(object.sk);
            } else if object.kind == CLIENT {
                is_shut = sock::is_shut(object.sk);
            } else if object.kind == PIPE {
                // Who ended the sleep has its place: that is who wrote to the other end of the pair.
                object.sk = 0;
            }
        }
    }
    let detail = detail::Sleep {
        argument: sleep.argument,
        object: object.kind,
        is_shut,
        events: sleep.events,
        socket: object.sk,
        family: end.family,
        port: end.port,
        address: end.address,
    };
    account::set_detail(account, detail.words());
}

/// The thread of `account` gets a CPU: it had been in `state` since `since_ns`, and the account is settled.
#[inline(always)]
pub fn ends(account: Account, state: u32, since_ns: u64) {
    // SAFETY: an element of `ACCOUNTS`; under the run-queue lock this is its only writer.
    unsafe {
        if (*account).take_since_ns == 0 {
            return;
        }
        // Without its wakeup it is not known how long it slept.
        if state == RUNNABLE {
            emit::sleep(account, since_ns, (*account).state_since_ns);
        }
        if frames::wanted() {
            let is_for_lock = (*account).blocked_in_call == FUTEX as i32 && (*account).detail[2] as u32 != 0;
            frames::slept(&mut *account, is_for_lock, since_ns.wrapping_sub((*account).take_since_ns));
        }
        (*account).take_since_ns = 0;
        // The thread is awake: nobody wakes it meanwhile. For a wakeup that is not seen, the waker before
        // would be reported.
        (&raw mut (*account).waker_tid).write_volatile(0);
    }
}

/// [`Sleep::fd`]: the call is about none, or about several.
const NO_DESCRIPTOR: u64 = u64::MAX;

/// What the registers say of a sleep.
struct Sleep {
    argument: u64,
    events: u32,
    fd: u64,
}

#[inline(always)]
fn what(registers: Registers) -> Sleep {
    // Loaded again: of a number that was carried here, the verifier forgets that it was compared.
    let number = registers::number(registers);
    let [first, second, third] = registers::arguments(registers);
    let on = |fd: u64| Sleep { argument: fd & 0xffff_ffff, events: 0, fd: fd & 0xffff_ffff };
    let other = Sleep { argument: first, events: 0, fd: NO_DESCRIPTOR };
    match kind(number) {
        Some(Kind::Futex) => Sleep { events: second as u32, ..other },
        Some(
            Kind::Accept
            | Kind::Read
            | Kind::ReadVector
            | Kind::ReadMessage
            | Kind::Write
            | Kind::WriteVector
            | Kind::WriteMessage
            | Kind::SendFile
            | Kind::Connect,
        ) => on(first),
        Some(Kind::Splice) => on(third),
        Some(Kind::Poll) if second == 1 => {
            // `struct pollfd`: the descriptor, then the events asked for.
            let word = user_word(first);
            if word == 0 {
                return other;
            }
            Sleep { events: (word >> 32) as u32 & 0xffff, ..on(word) }
        }
        Some(Kind::Poll) => Sleep { argument: second, ..other },
        Some(Kind::Select) => select(first, second, third),
        _ => other,
    }
}

/// Of a wait on the memory of an interpreter lock that lock, and who has it. Notes until when the wait would
/// last.
#[inline(always)]
fn at_lock(tgid: u32, registers: Registers, futex: &mut FutexSleep) -> Option<(Lock, Held)> {
    /// `FUTEX_WAIT_BITSET` without its flags, whose timeout is a moment; the flag says that it is one of
    /// another clock (include/uapi/linux/futex.h).
    const WAIT_BITSET: u16 = 9;
    const CLOCK_REALTIME: u16 = 256;
    const COMMAND: u16 = 127;
    let lock = lock::of(tgid, futex.address)?;
    let held = lock.holder(futex.address)?;
    let timeout = registers::fourth(registers);
    if futex.operation & (COMMAND | CLOCK_REALTIME) == WAIT_BITSET && timeout != 0 {
        futex.until_ns = user_time(timeout);
    }
    Some((lock, held))
}

/// select on the descriptors below `count`; the sets are at `readable` and `writable`.
#[inline(always)]
fn select(count: u64, readable: u64, writable: u64) -> Sleep {
    let several = Sleep { argument: count, events: 0, fd: NO_DESCRIPTOR };
    if count == 0 || count > 64 {
        return several;
    }
    let readable = if readable == 0 { 0 } else { user_word(readable) };
    let writable = if writable == 0 { 0 } else { user_word(writable) };
    // The only descriptor is the highest: its number is one less than the count.
    let only = 1_u64 << ((count - 1) & 63);
    let fd = count - 1;
    if readable == only && writable == 0 {
        Sleep { argument: fd, events: READABLE, fd }
    } else if writable == only && readable == 0 {
        Sleep { argument: fd, events: WRITABLE, fd }
    } else {
        several
    }
}

/// Whose a socket is: a client's, a listener, one end of a pair, or another.
#[inline(always)]
fn kind_of_socket(sk: u64) -> u16 {
    let family = sock::family(sk);
    let is_stream = sock::is_stream(sk);
    if is_stream && sock::state(sk) == sock::LISTEN {
        return LISTENER;
    }
    if family == sock::AF_INET || family == sock::AF_INET6 {
        let is_client = is_stream && socket::listener_at(sock::local_port(sk)) != 0;
        return if is_client { CLIENT } else { SOCKET };
    }
    if family == sock::AF_UNIX {
        // Accepted sockets share the address of their listener.
        if UNIX_LISTENERS.get_ptr(&sock::unix_address(sk)).is_some() {
            return CLIENT;
        }
        return if sock::has_named_peer(sk) { SOCKET } else { PIPE };
    }
    SOCKET
}

/// The other end of a socket.
struct End {
    family: u16,
    /// Host order.
    port: u16,
    /// IPv4, network order.
    address: u32,
}

/// The other end of a socket, as far as it is known.
#[inline(always)]
fn other_end(sk: u64) -> End {
    let family = sock::family(sk);
    let unknown = End { family, port: 0, address: 0 };
    if family != sock::AF_INET && family != sock::AF_INET6 {
        return unknown;
    }
    let Some(peer) = sock::peer(sk) else { return unknown };
    // Of an IPv6 address only a mapped one has four bytes; others are told by their port.
    End { family, port: peer.port, address: if family == sock::AF_INET { peer.address } else { 0 } }
}
