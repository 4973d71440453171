//! From a descriptor of the current process to what it stands for.
//!
//! In: a descriptor that is known to be a socket, or any. Out: the address of its `struct sock`, or what it
//! is.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use profiler_common::record::sleep::{ANONYMOUS, FILE, NO_OBJECT, OTHER, PIPE, SOCKET};

use super::sock::FILE_INODE;
use super::task::TASK_FILES;
use super::{field, read, typed};

#[unsafe(no_mangle)]
static FILES_FDT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FDTABLE_FD: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FDTABLE_SIZE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_MODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_FILE_SYSTEM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_SYSTEM_MAGIC: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_PRIVATE_DATA: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_SK: Global<u32> = Global::new(0);

/// `struct sock` behind `fd`. Nothing here proves that the file is a socket: only ask for results of accept
/// and for arguments of listen.
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

/// What a descriptor stands for. No enumeration with payloads: Linux 6.1 refuses to copy one that is not
/// there.
#[derive(Clone, Copy)]
pub struct Object {
    /// One of the constants of `profiler_common::record::sleep`; [`SOCKET`] for every socket.
    pub kind: u16,
    /// Address of its `struct sock`, if it is a socket.
    pub sk: u64,
}

/// What `fd` of the current process stands for, whatever it is: the kind of its inode proves it.
#[inline(always)]
pub fn object_of(task: *mut task_struct, fd: u32) -> Object {
    object(task, fd).unwrap_or(Object { kind: NO_OBJECT, sk: 0 })
}

#[inline(always)]
fn object(task: *mut task_struct, fd: u32) -> Option<Object> {
    /// `S_IFMT` and its values, include/uapi/linux/stat.h.
    const KIND: u16 = 0xf000;
    const S_IFIFO: u16 = 0x1000;
    const S_IFCHR: u16 = 0x2000;
    const S_IFSOCK: u16 = 0xc000;
    /// `ANON_INODE_FS_MAGIC`, include/uapi/linux/magic.h. Its inodes may have the kind of a regular file.
    const ANONYMOUS_FILE_SYSTEM: u64 = 0x0904_1934;
    // SAFETY: the verifier knows the type of each pointer and checks the loads; a null pointer reads as zero.
    let (size, descriptors): (u32, u64) = unsafe {
        let files: *const c_void = typed(task.cast(), &TASK_FILES);
        let table: *const c_void = typed(files, &FILES_FDT);
        (typed(table, &FDTABLE_SIZE), typed(table, &FDTABLE_FD))
    };
    if fd >= size {
        return None;
    }
    let file: u64 = read(descriptors.wrapping_add(u64::from(fd).wrapping_mul(8)))?;
    if file == 0 {
        return None;
    }
    let inode: u64 = field(file, &FILE_INODE)?;
    let mode: u16 = field(inode, &INODE_MODE)?;
    let kind = mode & KIND;
    if kind == S_IFSOCK {
        return Some(Object { kind: SOCKET, sk: of_socket(field(file, &FILE_PRIVATE_DATA)?)? });
    }
    if kind == S_IFIFO {
        return Some(Object { kind: PIPE, sk: 0 });
    }
    if kind == S_IFCHR {
        return Some(Object { kind: OTHER, sk: 0 });
    }
    let file_system: u64 = field(inode, &INODE_FILE_SYSTEM)?;
    let magic: u64 = field(file_system, &FILE_SYSTEM_MAGIC)?;
    Some(Object { kind: if magic == ANONYMOUS_FILE_SYSTEM { ANONYMOUS } else { FILE }, sk: 0 })
}

/// `struct sock` of a `struct socket`.
#[inline(always)]
pub fn of_socket(socket: u64) -> Option<u64> {
    let sk: u64 = field(socket, &SOCKET_SK)?;
    if sk == 0 { None } else { Some(sk) }
}
