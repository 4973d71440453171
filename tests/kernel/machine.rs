//! What init has to do before anything can run, and at the end.
//!
//! In: nothing. Out: mounted kernel file systems, a loopback interface that is up; and the machine switched
//! off.

use std::ffi::CStr;

const MOUNTS: &[(&CStr, &CStr)] = &[
    (c"proc", c"/proc"),
    (c"sysfs", c"/sys"),
    (c"devtmpfs", c"/dev"),
    (c"tmpfs", c"/tmp"),
    (c"tracefs", c"/sys/kernel/tracing"),
    (c"debugfs", c"/sys/kernel/debug"),
    (c"bpf", c"/sys/fs/bpf"),
];

/// Mounts and brings loopback up; each failure is a line on the console, and the checks will tell the rest.
pub(crate) fn prepare() {
    for (kind, place) in MOUNTS {
        mount(kind, place);
    }
    if let Err(error) = loopback_up() {
        println!("loopback: {error}");
    }
}

/// Lets the kernel say how it is secured. Not everywhere can it: in containers this is rarely mounted.
pub(crate) fn mount_security() {
    mount(c"securityfs", c"/sys/kernel/security");
}

fn mount(kind: &CStr, place: &CStr) {
    // SAFETY: all pointers are to NUL-terminated strings that outlive the call, or null where `mount` allows
    // it.
    let result = unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if result != 0 {
        println!("mount {place:?}: {}", std::io::Error::last_os_error());
    }
}

/// Release of the running kernel.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Switches the machine off; the console is written out before.
pub(crate) fn power_off() {
    // SAFETY: neither call takes a pointer.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
}

fn loopback_up() -> std::io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `ifreq` is plain data, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the descriptor is open, and `request` outlives the call.
    if unsafe { libc::ioctl(descriptor, libc::SIOCSIFFLAGS as _, &raw mut request) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
