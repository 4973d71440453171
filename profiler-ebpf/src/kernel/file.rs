//! From a descriptor of the current process to its socket.
//!
//! In: a descriptor that is known to be a socket. Out: the address of its `struct sock`.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;

use super::task::TASK_FILES;
use super::{field, read, typed};

#[unsafe(no_mangle)]
static FILES_FDT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FDTABLE_FD: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_PRIVATE_DATA: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_SK: Global<u32> = Global::new(0);

/// `struct sock` behind `fd`. Nothing here proves that the file is a socket: only ask for results of accept and for
/// arguments of listen.
#[inline(always)]
pub fn socket_of(fd: u32) -> Option<u64> {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task_btf() };
    // SAFETY: the verifier knows the type of each pointer and checks the loads; a null pointer reads as zero.
    let descriptors: u64 = unsafe {
        let files: *const c_void = typed(task.cast(), &TASK_FILES);
        let table: *const c_void = typed(files, &FILES_FDT);
        typed(table, &FDTABLE_FD)
    };
    let file: u64 = read(descriptors.wrapping_add(u64::from(fd).wrapping_mul(8)))?;
    let socket: u64 = field(file, &FILE_PRIVATE_DATA)?;
    of_socket(socket)
}

/// `struct sock` of a `struct socket`.
#[inline(always)]
pub fn of_socket(socket: u64) -> Option<u64> {
    let sk: u64 = field(socket, &SOCKET_SK)?;
    if sk == 0 { None } else { Some(sk) }
}
