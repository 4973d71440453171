//! Ctrl-C, SIGTERM and SIGHUP as a flag.
//!
//! In: signals. Out: [`received`]. The default would end this program before it has ended what it started.

use std::sync::atomic::{AtomicBool, Ordering};

static RECEIVED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    RECEIVED.store(true, Ordering::Relaxed);
}

/// From now on these signals only set the flag.
pub(crate) fn install() {
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether one has come.
pub(crate) fn received() -> bool {
    RECEIVED.load(Ordering::Relaxed)
}
