//! tracefs, which names the tracepoints of single system calls; often it is not mounted.
//!
//! In: the file system. Out: work done while tracefs can be read. Where it is not mounted, a thread of its
//! own mounts it in a private mount namespace, which ends with the thread: no other process ever sees the
//! mount.

use std::ffi::CStr;
use std::path::Path;

/// Where aya and everybody else look.
const PLACES: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
const MOUNT_POINT: &CStr = c"/sys/kernel/tracing";

/// Why tracefs cannot be used, as a clause; `None`: it can. `may_mount`: this process has `CAP_SYS_ADMIN`.
pub fn unusable(may_mount: bool) -> Option<String> {
    if is_mounted() {
        return None;
    }
    let reason = match (Path::new("/sys/kernel/tracing").is_dir(), may_mount) {
        (true, true) => return None,
        (true, false) => {
            "tracefs is not mounted here, or may not be read, and mounting it takes CAP_SYS_ADMIN"
        }
        (false, _) => "this kernel has no tracefs",
    };
    Some(reason.to_owned())
}

fn is_mounted() -> bool {
    PLACES.iter().any(|place| Path::new(place).is_dir())
}

/// Does `work` where tracefs can be read.
///
/// # Errors
/// If tracefs can neither be read nor mounted.
pub fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    if is_mounted() {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            mount_privately().map_err(|error| format!("tracefs cannot be mounted: {error}"))?;
            Ok(work())
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives this thread a mount namespace of its own and mounts tracefs there.
fn mount_privately() -> std::io::Result<()> {
    // SAFETY: the calls take constant strings and null pointers where nothing is meant; they change this
    // thread only.
    let outcomes = unsafe {
        [
            libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS),
            // Otherwise the mount would propagate to the namespace that everybody is in.
            mount(c"none", c"/", std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE),
        ]
    };
    if outcomes.iter().any(|outcome| *outcome != 0) {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: as above.
    let outcome = unsafe { mount(c"tracefs", MOUNT_POINT, c"tracefs".as_ptr(), 0) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// # Safety
/// `kind` is null or a C string.
unsafe fn mount(what: &CStr, at: &CStr, kind: *const libc::c_char, flags: libc::c_ulong) -> libc::c_int {
    // SAFETY: as the caller promises.
    unsafe { libc::mount(what.as_ptr(), at.as_ptr(), kind, flags, std::ptr::null()) }
}
