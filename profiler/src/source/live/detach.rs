//! Detaching tracepoints of single system calls: each takes the kernel some 70 ms, one after the other.
//!
//! In: the attached programs. Out: a process of our own that holds what is left until the kernel is done, so
//! that the command line comes back at once. All other programs are detached at once, before.

use std::io::PipeWriter;
use std::os::fd::AsRawFd as _;

use aya::Ebpf;
use aya::maps::Array;
use aya::programs::Program;

/// Takes every program off its hook; the second time there is nothing to do.
pub(super) fn detach(ebpf: &mut Ebpf) {
    let slow =
        ebpf.programs().any(|(_, program)| matches!(program, Program::TracePoint(_)) && program.fd().is_ok());
    if slow {
        stop(ebpf);
    }
    for (_, program) in ebpf.programs_mut() {
        if let Program::UProbe(program) = program {
            // As below: most are never loaded.
            let _ = program.unload();
        }
    }
    // What sees calls goes first: it trusts `sched_switch` to say whose they are.
    for sees_calls in [true, false] {
        for (name, program) in ebpf.programs_mut() {
            if let Program::BtfTracePoint(program) = program
                && name.starts_with("sys_") == sees_calls
            {
                // A program that was never loaded has nothing to take off: that error is no news.
                let _ = program.unload();
            }
        }
    }
    if !slow {
        return;
    }
    let last_holder = linger();
    for (_, program) in ebpf.programs_mut() {
        if let Program::TracePoint(program) = program {
            let _ = program.unload();
        }
    }
    drop(last_holder);
}

/// Makes the programs that cannot be detached at once do nothing.
fn stop(ebpf: &mut Ebpf) {
    let control = ebpf.map_mut("CONTROL").and_then(|map| Array::<_, u32>::try_from(map).ok());
    if let Some(mut control) = control {
        // Without it they would go on filling a ring that nobody reads: a waste, not a fault.
        let _ = control.set(0, &1, 0);
    }
}

/// Forks a grandchild that inherits the links and ends when the returned pipe is closed: only then, as their
/// last holder, does it pay for them. The standard streams are closed before, so that a pipe's reader is not
/// kept waiting.
fn linger() -> Option<PipeWriter> {
    let (reader, writer) = std::io::pipe().ok()?;
    let (read_end, write_end) = (reader.as_raw_fd(), writer.as_raw_fd());
    // SAFETY: the children only call `fork`, `close`, `read` and `_exit`, which are async-signal-safe, and so
    // allowed after a fork of a process with several threads. The buffer is a local byte. `waitpid` gets
    // a null pointer for a status that nobody wants.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            if libc::fork() == 0 {
                for descriptor in [0, 1, 2, write_end] {
                    libc::close(descriptor);
                }
                let mut byte = 0_u8;
                libc::read(read_end, (&raw mut byte).cast(), 1);
            }
            libc::_exit(0);
        }
        if child < 0 {
            return None;
        }
        // So that neither becomes a zombie of this process: the grandchild belongs to init from now on.
        while libc::waitpid(child, std::ptr::null_mut(), 0) < 0
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
    Some(writer)
}
