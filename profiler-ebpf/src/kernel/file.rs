//! From a descriptor of the current process to its socket.
//!
//! In: a descriptor that is known to be a socket. Out: the address of its `struct sock`.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;

use super::task::TASK_FILES;
use super::{field, read};

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
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let files: u64 = field(task, &TASK_FILES)?;
    let table: u64 = field(files, &FILES_FDT)?;
    let descriptors: u64 = field(table, &FDTABLE_FD)?;
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
