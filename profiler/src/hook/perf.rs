//! Whether the kernel lets this process open perf events for the whole machine, by which tracepoints of
//! single system calls are hooked.
//!
//! In: the kernel, which is asked. Out: why not. `CAP_PERFMON` is enough for the kernel's own releases; those
//! of Debian and Ubuntu ask for `CAP_SYS_ADMIN` where `kernel.perf_event_paranoid` is 3 or more, as Debian
//! has it from the start.

use std::io::Error;

/// Where the setting is.
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
/// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_DUMMY`, `PERF_ATTR_SIZE_VER0` and `PERF_FLAG_FD_CLOEXEC`
/// (include/uapi/linux/perf_event.h).
const SOFTWARE: u64 = 1;
const DUMMY: u64 = 9;
const SIZE_BYTES: usize = 64;
const CLOSE_ON_EXEC: libc::c_ulong = 8;

/// Why one who has `CAP_PERFMON` may open no perf event, as a clause; `None`: it may, or what forbids it is
/// not a matter of who asks.
pub fn refused() -> Option<String> {
    let error = open_nothing().err()?.raw_os_error()?;
    clause(error, std::fs::read_to_string(PARANOID).unwrap_or_default().trim())
}

fn clause(error: i32, paranoid: &str) -> Option<String> {
    match error {
        libc::EACCES => Some(format!(
            "kernel.perf_event_paranoid is {paranoid}, and this kernel then lets only those hook them who have CAP_SYS_ADMIN"
        )),
        libc::EPERM => Some(
            "a filter of system calls, as containers have, or a security module refuses perf_event_open"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Opens an event that counts nothing, on the first CPU for all processes, as tracepoints are opened; and
/// closes it.
fn open_nothing() -> Result<(), Error> {
    let mut attributes = [0_u64; SIZE_BYTES / 8];
    // `type` and `size`, 32 bits each in this machine's order, then `config`.
    let first = SOFTWARE | (SIZE_BYTES as u64) << 32;
    for (to, from) in attributes.iter_mut().zip([first, DUMMY]) {
        *to = from;
    }
    // SAFETY: the attributes are as long as they say, and outlive the call.
    let descriptor =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, CLOSE_ON_EXEC) };
    let Ok(descriptor) = libc::c_int::try_from(descriptor) else { return Ok(()) };
    if descriptor < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel has just given it, and nobody else has it.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forbids_it_is_named_and_other_errors_forbid_nothing() {
        let of_setting = clause(libc::EACCES, "3").expect("it is refused");
        assert!(
            of_setting.contains("kernel.perf_event_paranoid is 3, ") && of_setting.contains("CAP_SYS_ADMIN")
        );
        assert!(clause(libc::EPERM, "2").is_some_and(|said| said.contains("filter of system calls")));
        assert_eq!(clause(libc::ENODEV, "2"), None);
    }
}
