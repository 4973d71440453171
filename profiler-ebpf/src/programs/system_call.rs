//! System-call entry and exit: the two ends of every slice.
//!
//! In: `sys_enter`, `sys_exit`, or the tracepoints of the single calls. Out: accounts, slices, and (by
//! `client`) connection and head records. Calls that are not observed are rejected by number before anything
//! is looked up. Both forms have the same bodies; the second spares the calls of other processes on a shared
//! host.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::macros::{btf_tracepoint, tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use profiler_common::account::{ENTRY_UNKNOWN, NOT_IN_CALL};
use profiler_common::call_kind::{Kind, duplicates};
use profiler_common::record::detail::{Connect, Futex, Opened};
use profiler_common::record::slice::{
    FLAG_BACK_END, FLAG_CLIENT, FLAG_PEEKS, FLAG_TAKE_FOLLOWED, FLAG_TAKES_LOCK,
};
use profiler_common::system_call::{FCNTL, RECVFROM, RECVMMSG, RECVMSG, SENDMMSG, kind};

use super::back_end;
use super::client::{self, Buffer, Got, Transfer};
use super::socket;
use crate::account::{self, Account};
use crate::cause;
use crate::empty;
use crate::frames;
use crate::kernel::registers::{self, Registers};
use crate::kernel::{sock, task};
use crate::lock;
use crate::maps::{CLIENT, CONTROL, Descriptor};
use crate::preemption;
use crate::take::{self, Wait};
use crate::task as works_for;
use crate::user_memory::first_word;
use crate::waits;

/// A close of what is not open, include/uapi/asm-generic/errno-base.h.
const EBADF: i64 = -9;
/// A connect that goes on without its thread, include/uapi/asm-generic/errno.h.
const EINPROGRESS: i64 = -115;

/// `MSG_PEEK`: a read that takes nothing.
const MSG_PEEK: u64 = 2;

/// `EPOLL_CTL_DEL`, include/uapi/linux/eventpoll.h.
const EPOLL_CTL_DEL: u64 = 2;

/// A call begins.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    preemption::disabled(|| {
        if enter(ctx.arg(0), registers::recorded(ctx.arg::<u64>(1) as u32)).is_none() {
            take::made_other_call();
        }
    });
    0
}

/// A call ends.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    preemption::disabled(|| {
        let registers: Registers = ctx.arg(0);
        let call =
            Ended { number: registers::system_call(registers) as u32, result: ctx.arg::<u64>(1) as i64 };
        // Every call is looked at here, so what follows a wait for the interpreter lock is known whole.
        exit(registers, &call, FLAG_TAKE_FOLLOWED);
    });
    0
}

/// An observed call begins: attached to `syscalls:sys_enter_…` of each. The registers hold what the context
/// holds, and are the same for all calls.
#[tracepoint]
pub fn enter_call(_ctx: TracePointContext) -> u32 {
    if empty::bodies_left_out() || is_stopped() {
        return 0;
    }
    preemption::disabled(|| {
        // SAFETY: the helper has no preconditions.
        let registers = registers::of(unsafe { bpf_get_current_task_btf() });
        let _ = enter(registers, registers::system_call(registers) as u32);
    });
    0
}

/// An observed call ends: attached to `syscalls:sys_exit_…` of each.
#[tracepoint]
pub fn exit_call(_ctx: TracePointContext) -> u32 {
    if empty::bodies_left_out() || is_stopped() {
        return 0;
    }
    preemption::disabled(|| {
        // SAFETY: the helper has no preconditions.
        let registers = registers::of(unsafe { bpf_get_current_task_btf() });
        let number = registers::system_call(registers) as u32;
        exit(registers, &Ended { number, result: registers::result(registers) }, 0);
    });
    0
}

/// User space has detached, and the kernel is still at it.
#[inline(always)]
fn is_stopped() -> bool {
    CONTROL.get(0).is_none_or(|stopped| *stopped != 0)
}

/// Entry of the call `number`; `None`: it is not observed. Calls by the 32-bit entry never are: so their ends
/// find no call that began.
#[inline(always)]
fn enter(registers: Registers, number: u32) -> Option<()> {
    let kind = kind(number)?;
    let arguments = registers::arguments(registers);
    if number == FCNTL && !duplicates(arguments[1]) {
        return None;
    }
    let Some(account) = account::current() else { return Some(()) };
    // SAFETY: the helper has no preconditions.
    if task::is_in_32_bit_call(unsafe { bpf_get_current_task_btf() }) {
        return None;
    }
    begin(account, registers, (number, kind), arguments);
    Some(())
}

/// The thread of `account`, which runs here, begins an observed call.
#[inline(always)]
fn begin(account: Account, registers: Registers, (number, kind): (u32, Kind), arguments: [u64; 3]) {
    // Before all that is read for the call: it has begun. SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the look-up succeeded.
    let tgid = unsafe { (*account).tgid };
    let mut was_client = false;
    let [first, second, third] = arguments;
    let mut detail = [first, second, third, 0];
    let mut holder_tid = 0;
    match kind {
        // The end of a call on a client's connection or a back end's says since when it could go on.
        Kind::Read
        | Kind::ReadVector
        | Kind::ReadMessage
        | Kind::Write
        | Kind::WriteVector
        | Kind::WriteMessage
        | Kind::SendFile
        | Kind::Splice => {}
        Kind::Poll => detail[3] = first_word(first, second) & 0x0000_ffff_ffff_ffff,
        Kind::Select => detail[3] = first_word(second, first),
        Kind::Connect => detail = peer(first, second, third).words(),
        // Taking a descriptor off the list needs no events, whatever the pointer is.
        Kind::EpollControl if second & 0xffff_ffff == EPOLL_CTL_DEL => {}
        // `struct epoll_event` begins with the events.
        Kind::EpollControl => detail[3] = first_word(registers::fourth(registers), 1) & 0xffff_ffff,
        Kind::Close => was_client = client::closes(tgid, first as u32),
        Kind::DuplicateOnto => {
            client::closes(tgid, second as u32);
        }
        Kind::Futex => {
            let futex = futex(account, registers, arguments, now_ns);
            holder_tid = futex.holder_tid;
            detail = futex.words();
        }
        _ => detail[3] = registers::fourth(registers),
    }
    // SAFETY: the thread itself runs here, so this is the account's only writer.
    let mut changed = unsafe { account::change(account) };
    account::enter(&mut changed, now_ns, number as i32, detail);
    if was_client {
        changed.flags |= FLAG_CLIENT;
    }
    drop(changed);
    works_for::tell(account, kind);
    // Looked up again: Linux 6.1 refuses a lock that is carried here by some ways only.
    if frames::wanted()
        && matches!(kind, Kind::Futex)
        && holder_tid != 0
        && let Some(lock) = lock::of(tgid, first)
    {
        // SAFETY: the thread itself runs here.
        frames::sample(account, lock, unsafe { (*account).enter_ns });
        frames::sample_waiter(account, lock, now_ns);
    }
}

/// The detail of a futex call of the thread of `account` that begins.
#[inline(always)]
fn futex(account: Account, registers: Registers, arguments: [u64; 3], now_ns: u64) -> Futex {
    let [address, operation, _] = arguments;
    // SAFETY: the look-up succeeded.
    let tgid = unsafe { (*account).tgid };
    let lock = take::lock_of_wait(tgid, &arguments);
    let held = lock.and_then(|lock| {
        let elsewhere = take::is_on_stack(account, registers, address, lock);
        lock.holder(if elsewhere { lock.address + take::COND } else { address })
    });
    let (holder_tid, switches) = held.map_or((0, 0), |held| (held.thread, held.switches as u32));
    let wait = lock.map(|lock| Wait { lock, now_ns });
    Futex {
        address,
        operation: operation as u16,
        has_timeout: registers::fourth(registers) != 0,
        woken_ago_ns: 0,
        holder_tid,
        last_holder_tid: 0,
        switches,
        lead_ns: take::futex(account, registers, &arguments, wait),
    }
}

/// A call that has ended, and with what.
struct Ended {
    number: u32,
    result: i64,
}

/// Exit of a call; `followed` is what the slice of a wait for the interpreter lock says of what comes after.
#[inline(always)]
fn exit(registers: Registers, &Ended { number, result }: &Ended, followed: u32) {
    let Some(kind) = kind(number) else { return };
    let Some(account) = account::current() else { return };
    end(account, registers, (number, kind), result, followed);
}

/// An observed call of the thread of `account`, which runs here, has ended.
#[inline(always)]
fn end(account: Account, registers: Registers, (number, kind): (u32, Kind), result: i64, followed: u32) {
    // SAFETY: the look-up succeeded.
    let (call, enter_ns, woken_for) =
        unsafe { ((*account).system_call, (*account).enter_ns, (*account).cause_listener) };
    if call == NOT_IN_CALL || call as u32 != number {
        return;
    }
    // SAFETY: the thread itself runs here, so this is the account's only writer.
    let mut change = unsafe { account::change(account) };
    // SAFETY: the helper has no preconditions.
    let now_ns = account::settle_running(&mut change, unsafe { bpf_ktime_get_ns() });
    let mut sequence = 0;
    let takes_lock = matches!(kind, Kind::Futex) && change.take_flags & FLAG_TAKES_LOCK != 0;
    if enter_ns != ENTRY_UNKNOWN {
        if change.switches == 0 && matches!(kind, Kind::Futex) {
            account::fold(&mut change, now_ns);
            take::folded(&mut change, now_ns);
            return;
        }
        // Whoever starts itself again closes every number there may be: thousands of calls that do nothing.
        if result == EBADF && matches!(kind, Kind::Close) && change.flags & FLAG_CLIENT == 0 {
            account::fold(&mut change, now_ns);
            if change.take_lock != 0 {
                take::over(&mut change);
            }
            return;
        }
        sequence = change.sequence.wrapping_add(1);
        change.sequence = sequence;
    }
    if woken_for != 0 {
        cause::returns(account, result, now_ns);
    }
    let (last, flags) = consequences(registers, &Ending { account, kind, number, result, now_ns, sequence });
    let take_flags = change.take_flags | if takes_lock { followed } else { 0 };
    if takes_lock {
        // Who waits looks again at its next sleep only, if it makes one: meanwhile the lock may have passed
        // to a third.
        let last_holder_tid = take::last_holder_at(change.tgid, change.detail[0]);
        change.detail[2] = Futex::last_held_by(change.detail[2], last_holder_tid);
    } else if matches!(kind, Kind::Futex)
        && change.switches != 0
        && change.waker_tid != 0
        && change.detail[2] == 0
    {
        let ago_ns = now_ns.saturating_sub(change.waking_ns);
        change.detail[1] = Futex::woken_ago(change.detail[1], ago_ns);
    }
    if sequence != 0 {
        crate::emit::slice(account, now_ns, result, last, flags | take_flags);
    }
    let lock = if takes_lock { change.take_lock } else { 0 };
    let chosen = waits::choose(&change, (number, kind), flags, now_ns);
    account::restart(&mut change, now_ns);
    change.take_lock = lock;
    drop(change);
    if let Some(about) = chosen {
        waits::look(account, about);
    }
}

/// A call that is ending.
struct Ending {
    account: Account,
    kind: Kind,
    number: u32,
    result: i64,
    now_ns: u64,
    /// 0: its entry is unknown, it leaves no slice.
    sequence: u32,
}

/// What the call did to descriptors and connections: the last word of its detail and the flags of its slice.
#[inline(always)]
fn consequences(registers: Registers, ending: &Ending) -> (u64, u32) {
    // SAFETY: the account comes from a successful look-up.
    let (who, mut last, flags) = unsafe {
        (
            ((*ending.account).tgid, (*ending.account).tid),
            (*ending.account).detail[3],
            (*ending.account).flags,
        )
    };
    // From the registers, not from the account: they are right even where the entry was not seen.
    let arguments = registers::arguments(registers);
    let fd = arguments[0] as u32;
    let result = ending.result;
    // A descriptor that the call made.
    let mut made = None;
    match ending.kind {
        Kind::Read | Kind::ReadVector | Kind::ReadMessage => return read(registers, arguments, who, ending),
        Kind::Write | Kind::WriteVector | Kind::WriteMessage | Kind::SendFile | Kind::Splice => {
            return write(arguments, who, ending);
        }
        Kind::Shutdown => return (last, flags | client::flag(who.0, fd)),
        Kind::Accept if result >= 0 => client::accept(who, result as u32, fd as i32, ending.now_ns),
        Kind::Listen if result == 0 => {
            if let Some(sk) = crate::kernel::file::socket_of(fd) {
                socket::listens(sk);
            }
        }
        Kind::Connect if result == 0 || result == EINPROGRESS => {
            if let Some(sk) = crate::kernel::file::socket_of(fd) {
                let identity = sock::identity(sk);
                if identity != 0 {
                    // SAFETY: as above; the thread itself is the account's only writer.
                    unsafe { (*ending.account).detail[1] = identity };
                }
                let begun = back_end::Begun { tgid: who.0, fd, sk, is_under_way: result == EINPROGRESS };
                if let Some(made_ns) = back_end::connects(&begun, ending.now_ns) {
                    // SAFETY: as above.
                    unsafe { (*ending.account).detail[2] = made_ns };
                    return (last, flags | FLAG_BACK_END);
                }
            }
        }
        Kind::OpenFile if result >= 0 => {
            // A path may be that of a pipe.
            // SAFETY: the helper has no preconditions.
            let task = unsafe { bpf_get_current_task_btf() };
            last = Opened::word(crate::kernel::file::object_of(task, result as u32).kind);
            made = Some(result as u32);
        }
        Kind::MakeSocket | Kind::MakeEpoll | Kind::MakeEvent | Kind::Duplicate if result >= 0 => {
            made = Some(result as u32);
        }
        Kind::MakeSocketPair | Kind::MakePipe if result >= 0 => {
            let address = match ending.kind {
                Kind::MakePipe => arguments[0],
                _ => registers::fourth(registers),
            };
            last = first_word(address, 1);
            client::forget(who.0, last as u32);
            made = Some((last >> 32) as u32);
        }
        _ => {}
    }
    if let Some(made) = made {
        client::forget(who.0, made);
    }
    (last, flags)
}

/// A read that ended: since when it could go on, and the flags of its slice.
#[inline(always)]
fn read(registers: Registers, arguments: [u64; 3], who: (u32, u32), ending: &Ending) -> (u64, u32) {
    // SAFETY: the account comes from a successful look-up.
    let mut flags = unsafe { (*ending.account).flags };
    let takes_nothing = ending.result > 0 && peeks(registers, arguments, ending);
    if takes_nothing {
        flags |= FLAG_PEEKS;
    }
    let Some(descriptor) = client::any(who.0, arguments[0] as u32) else { return (0, flags) };
    // SAFETY: the look-up succeeded.
    if unsafe { (*descriptor).role } != CLIENT {
        let last = if takes_nothing { 0 } else { read_back_end(descriptor, arguments, ending) };
        return (last, flags | FLAG_BACK_END);
    }
    let flags = flags | FLAG_CLIENT;
    if ending.result == 0 {
        client::ended(descriptor);
    }
    if ending.result <= 0 || takes_nothing {
        return (0, flags);
    }
    let transfer = transfer(who, arguments[0] as u32, arguments, ending);
    (client::read(descriptor, transfer, buffer(ending.kind, ending.number, arguments)), flags)
}

/// A read from a back end that ended: when what it got had arrived.
#[inline(always)]
fn read_back_end(descriptor: *mut Descriptor, arguments: [u64; 3], ending: &Ending) -> u64 {
    if ending.result < 0 {
        return 0;
    }
    back_end::read(descriptor, got(arguments, ending))
}

/// How much a read got of what it asked for.
#[inline(always)]
fn got(arguments: [u64; 3], ending: &Ending) -> Got {
    if !matches!(ending.kind, Kind::Read) {
        return Got::UNKNOWN;
    }
    if ending.result as u64 >= arguments[2] {
        return Got::AS_ASKED;
    }
    // SAFETY: the account comes from a successful look-up.
    Got { is_short: true, all_since_ns: unsafe { (*ending.account).enter_ns } }
}

/// Whether a read takes nothing.
#[inline(always)]
fn peeks(registers: Registers, arguments: [u64; 3], ending: &Ending) -> bool {
    let flags = match ending.number {
        RECVFROM => registers::fourth(registers),
        RECVMSG => arguments[2],
        _ => 0,
    };
    flags & MSG_PEEK != 0
}

/// A write that ended: since when it could go on, and the flags of its slice.
#[inline(always)]
fn write(arguments: [u64; 3], who: (u32, u32), ending: &Ending) -> (u64, u32) {
    // SAFETY: the account comes from a successful look-up.
    let flags = unsafe { (*ending.account).flags };
    let fd = if matches!(ending.kind, Kind::Splice) { arguments[2] } else { arguments[0] } as u32;
    let Some(descriptor) = client::any(who.0, fd) else { return (0, flags) };
    // SAFETY: the look-up succeeded.
    if unsafe { (*descriptor).role } != CLIENT {
        return (back_end::made(descriptor), flags | FLAG_BACK_END);
    }
    let flags = flags | FLAG_CLIENT;
    if ending.result <= 0 {
        return (0, flags);
    }
    // The bytes come from a file.
    let from_file = matches!(ending.kind, Kind::SendFile | Kind::Splice);
    let buffer = if from_file { None } else { buffer(ending.kind, ending.number, arguments) };
    (0, flags | client::write(descriptor, transfer(who, fd, arguments, ending), buffer))
}

#[inline(always)]
fn transfer(who: (u32, u32), fd: u32, arguments: [u64; 3], ending: &Ending) -> Transfer {
    let got = got(arguments, ending);
    Transfer { who, fd, now_ns: ending.now_ns, moved: ending.result as u64, got, sequence: ending.sequence }
}

/// Where the bytes of a read or write are: its buffer, or the first of its vectors.
#[inline(always)]
pub fn buffer(kind: Kind, number: u32, arguments: [u64; 3]) -> Option<Buffer> {
    match kind {
        Kind::Read | Kind::Write => Some(Buffer { address: arguments[1], length: u64::MAX }),
        Kind::ReadVector | Kind::WriteVector => first_vector(arguments[1]),
        // Several messages at once: the result counts messages, not bytes.
        _ if number == RECVMMSG || number == SENDMMSG => None,
        // `msg_iov` is at 16 in `struct user_msghdr`.
        _ => first_vector(first_word(arguments[1].wrapping_add(16), 1)),
    }
}

#[inline(always)]
fn first_vector(address: u64) -> Option<Buffer> {
    let mut vector = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: the destination holds 16 bytes, and the helper writes them all, or fails.
    unsafe {
        if bpf_probe_read_user(vector.as_mut_ptr().cast(), 16, address as *const _) != 0 {
            return None;
        }
        let [address, length] = vector.assume_init();
        Some(Buffer { address, length })
    }
}

/// The detail of a connect of the socket `fd` to the `sockaddr` at this address.
#[inline(always)]
fn peer(fd: u64, address: u64, length: u64) -> Connect {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    // Shorter addresses (an unnamed UNIX one) may end at the edge of a page: then nothing is known.
    let word = if length < 2 { 0 } else { first_word(address, 1) };
    let family = word as u16;
    let has_port = family == AF_INET || family == AF_INET6;
    Connect {
        fd: fd as i32,
        identity: 0,
        made_ns: 0,
        family,
        port: if has_port { u16::from_be((word >> 16) as u16) } else { 0 },
        address: if family == AF_INET { (word >> 32) as u32 } else { 0 },
    }
}
