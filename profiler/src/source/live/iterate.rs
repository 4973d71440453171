//! The programs that look at threads and open files once each time they are run: at all of the machine, or at
//! those of one process.
//!
//! In: the name of such a program. Out: nothing; what it finds is in the programs' own maps.

use std::fs::File;
use std::io::Error;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use aya::Ebpf;
use aya::programs::{Iter, Program};

use super::LiveError;

/// Runs the iterator `name` once, to its end.
///
/// # Errors
/// If the kernel refuses it.
pub(super) fn run(ebpf: &mut Ebpf, name: &'static str) -> Result<(), LiveError> {
    let failed = |reason: String| LiveError::Program { program: name, reason };
    let program = iterator(ebpf, name)?;
    let link =
        program.attach().and_then(|id| program.take_link(id)).map_err(|error| failed(error.to_string()))?;
    let mut file = link.into_file().map_err(|error| failed(error.to_string()))?;
    // The programs write nothing; reading to the end is what runs them.
    std::io::copy(&mut file, &mut std::io::sink()).map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// Runs the iterator `name` once for each of these processes, where that takes the kernel microseconds. One
/// that has ended is passed over.
///
/// # Errors
/// If the kernel refuses it: before Linux 6.1 an iterator goes through all processes.
pub(super) fn run_in(ebpf: &mut Ebpf, name: &'static str, tgids: &[u32]) -> Result<(), LiveError> {
    let failed = |reason: String| LiveError::Program { program: name, reason };
    let program = iterator(ebpf, name)?;
    let program = program.fd().map_err(|error| failed(error.to_string()))?;
    for tgid in tgids {
        match in_process(program.as_fd().as_raw_fd(), *tgid) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(failed(error.to_string())),
            _ => {}
        }
    }
    Ok(())
}

fn iterator<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Iter, LiveError> {
    let failed = |reason: &str| LiveError::Program { program: name, reason: reason.to_owned() };
    match ebpf.program_mut(name).ok_or_else(|| failed("not in the object"))? {
        Program::Iter(program) => Ok(program),
        _ => Err(failed("not an iterator")),
    }
}

/// Runs a program once for one process. The library has no way to say which.
fn in_process(program: RawFd, tgid: u32) -> Result<(), Error> {
    /// `BPF_LINK_CREATE` and `BPF_ITER_CREATE` (include/uapi/linux/bpf.h).
    const LINK: libc::c_int = 28;
    const ITERATOR: libc::c_int = 33;
    /// `BPF_TRACE_ITER` there.
    const TRACE_ITERATOR: u32 = 28;
    /// `union bpf_iter_link_info` there: of an iterator of tasks the thread, the process, and a descriptor.
    #[repr(C)]
    struct Which {
        thread: u32,
        process: u32,
        descriptor: u32,
        reserved: u32,
    }
    /// What `union bpf_attr` there has for the first call.
    #[repr(C)]
    struct Link {
        program: u32,
        target: u32,
        kind: u32,
        flags: u32,
        which: u64,
        which_bytes: u32,
        reserved: u32,
    }
    let which = Which { thread: 0, process: tgid, descriptor: 0, reserved: 0 };
    let link = Link {
        program: program.cast_unsigned(),
        target: 0,
        kind: TRACE_ITERATOR,
        flags: 0,
        which: (&raw const which) as u64,
        which_bytes: size_of::<Which>() as u32,
        reserved: 0,
    };
    // SAFETY: the kernel only reads the attributes, which are as long as is said and outlive the call.
    let link = unsafe { descriptor_of(LINK, (&raw const link).cast(), size_of::<Link>())? };
    let iterator = [link.as_raw_fd().cast_unsigned(), 0];
    // SAFETY: as above.
    let iterator = unsafe { descriptor_of(ITERATOR, iterator.as_ptr().cast(), size_of_val(&iterator))? };
    std::io::copy(&mut File::from(iterator), &mut std::io::sink()).map(drop)
}

/// The descriptor that a call of `bpf` gives.
///
/// # Safety
/// `attributes` holds so many bytes, and the call changes nothing through them.
unsafe fn descriptor_of(
    command: libc::c_int,
    attributes: *const libc::c_void,
    bytes: usize,
) -> Result<OwnedFd, Error> {
    // SAFETY: as the caller promises.
    let given = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, bytes) };
    match RawFd::try_from(given) {
        // SAFETY: the kernel has just given it, and nobody else has it.
        Ok(given) if given >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(given) }),
        _ => Err(Error::last_os_error()),
    }
}
