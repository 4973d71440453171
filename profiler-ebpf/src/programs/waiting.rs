//! Connections that nobody serves, although their clients have sent something.
//!
//! In: `iter/task_file`, run by user space as a window ends. Out: `WAITING`. A connection waits in the accept
//! queue of a traced listener, or a traced process has accepted it and not read what came. The queue is read
//! without its lock: what is taken out of it meanwhile is no such connection any more, and each is looked at
//! by itself.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use profiler_common::waiting::{
    LOOK_BEYOND, LOOK_LISTED, LOOK_NUMBER, MAX_OF_QUEUE, MAX_WAITING, WaitingConnection,
};

use super::iterate::{FileContext, came_to_listener, socket_of_target};
use crate::empty;
use crate::kernel::sock;
use crate::maps::{LOOKED, SOCKET_ACCEPTED, SOCKET_WAITING, SOCKETS, WAITING, WAITING_LOOK};

/// Lists the connections that a file stands for or leads to.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn iterate_waiting(ctx: *mut FileContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some((tgid, fd, sk)) = socket_of_target(ctx) else { return 0 };
    let family = sock::family(sk);
    if sock::state(sk) == sock::LISTEN {
        if is_first_of_look(sk) {
            queue(sk, family);
        }
        return 0;
    }
    if came_to_listener(sk, family) && has_unread(sk, family) {
        list(sk, family, Place { inode: 0, tgid, fd: fd as i32 });
    }
    0
}

/// Where a connection is.
#[derive(Clone, Copy)]
struct Place {
    inode: u64,
    tgid: u32,
    fd: i32,
}

/// Processes share their listeners: whether this look has not seen one yet.
#[inline(always)]
fn is_first_of_look(listener: u64) -> bool {
    let Some(number) = WAITING_LOOK.get_ptr(LOOK_NUMBER) else { return false };
    if let Some(seen) = LOOKED.get_ptr_mut(&listener) {
        // SAFETY: the look-ups succeeded; one look goes on at a time.
        return unsafe { core::mem::replace(&mut *seen, *number) != *number };
    }
    // SAFETY: the look-up succeeded.
    LOOKED.insert(&listener, unsafe { &*number }, 0).is_ok()
}

/// Where a walk through an accept queue is.
struct Walk {
    listener: u64,
    inode: u64,
    /// The next element; 0: there is none.
    element: u64,
    family: u16,
}

/// Goes through the accept queue of a listener, oldest first.
#[inline(always)]
fn queue(listener: u64, family: u16) {
    let element = sock::first_waiting(listener, family == sock::AF_UNIX);
    let mut walk = Walk { listener, inode: sock::inode(listener), element, family };
    // SAFETY: the callback is what the helper wants, and `walk` outlives the call.
    unsafe {
        bpf_loop(MAX_OF_QUEUE, step as *mut c_void, (&raw mut walk).cast(), 0);
    }
    if walk.element != 0 {
        count(LOOK_BEYOND);
    }
}

/// One connection of the queue. Returns whether that was the last.
extern "C" fn step(_: u64, walk: *mut Walk) -> i64 {
    // SAFETY: the helper passes on what it was given.
    let walk = unsafe { &mut *walk };
    let is_unix = walk.family == sock::AF_UNIX;
    let Some((sk, next)) = sock::waiting(walk.listener, walk.element, is_unix) else {
        walk.element = 0;
        return 1;
    };
    walk.element = next;
    // A connection that was accepted meanwhile has a descriptor.
    if !sock::is_taken(sk) && has_unread(sk, walk.family) {
        list(sk, walk.family, Place { inode: walk.inode, tgid: 0, fd: -1 });
    }
    0
}

/// Whether the client of an open connection has sent something that nobody has read.
#[inline(always)]
fn has_unread(sk: u64, family: u16) -> bool {
    let state = sock::state(sk);
    if state != sock::ESTABLISHED && state != sock::CLOSE_WAIT {
        return false;
    }
    if family == sock::AF_UNIX {
        return !sock::queue_is_empty(sk);
    }
    // A FIN counts as one.
    sock::tcp_unread_bytes(sk) > u32::from(state == sock::CLOSE_WAIT)
}

#[inline(always)]
fn list(sk: u64, family: u16, place: Place) {
    let Some(listed) = WAITING_LOOK.get_ptr_mut(LOOK_LISTED) else { return };
    // SAFETY: the look-up succeeded; one look goes on at a time.
    let index = unsafe { *listed };
    if index >= u64::from(MAX_WAITING) {
        return count(LOOK_BEYOND);
    }
    let Some(found) = WAITING.get_ptr_mut(index as u32) else { return };
    let (mut established_ns, mut first_data_ns, mut generation) = (0, 0, 0);
    if let Some(known) = SOCKETS.get_ptr(&sk) {
        // SAFETY: the look-up succeeded.
        unsafe {
            let stage = (*known).stage;
            // Another stage is that of a connection that had this address before.
            if stage == SOCKET_WAITING || stage == SOCKET_ACCEPTED {
                established_ns = (*known).established_ns;
                first_data_ns = (*known).first_data_ns;
                generation = (*known).generation;
            }
        }
    }
    let is_unix = family == sock::AF_UNIX;
    // SAFETY: the look-ups succeeded; as above.
    unsafe {
        *found = WaitingConnection {
            socket: sk,
            inode: place.inode,
            established_ns,
            first_data_ns,
            generation,
            tgid: place.tgid,
            fd: place.fd,
            family,
            peer_port: if is_unix { 0 } else { sock::peer_port(sk) },
        };
        *listed = index + 1;
    }
}

#[inline(always)]
fn count(element: u32) {
    if let Some(count) = WAITING_LOOK.get_ptr_mut(element) {
        // SAFETY: the look-up succeeded; one look goes on at a time.
        unsafe { *count = (*count).wrapping_add(1) };
    }
}
