//! A client of a UNIX socket that does not wait: it is connected at once, or told that there is no room.
//!
//! In: the socket's path. Out: a connection, or none.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::ensure;

/// Connects without waiting; `None`: there was no room (`EAGAIN`).
///
/// # Errors
///
/// Where it fails for any other reason.
pub fn connect_at_once(path: &Path) -> anyhow::Result<Option<OwnedFd>> {
    // SAFETY: a new descriptor, or −1.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) };
    ensure!(fd >= 0, "socket");
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut address =
        libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    let bytes = path.as_os_str().as_bytes();
    ensure!(bytes.len() < address.sun_path.len(), "the path is too long");
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>())?;
    // SAFETY: the address lives as long as the call, with its size.
    let outcome = unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if outcome == 0 {
        return Ok(Some(fd));
    }
    let error = std::io::Error::last_os_error();
    ensure!(error.raw_os_error() == Some(libc::EAGAIN), "{error}");
    Ok(None)
}
