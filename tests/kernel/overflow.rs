//! A full accept queue, on any kernel: only those that are known not to let their functions be hooked are
//! left out.
//!
//! In: listeners that nobody serves, with room for two. Out: verdicts: what the programs counted is what the
//! kernel did, or what each client was told.

use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace::attach::{Settings, attach};
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::unix_client::connect_at_once;

use crate::known::has;

const CLIENTS: u64 = 8;
/// A queue takes one more than its limit.
const ROOM: u64 = 2;

/// Clients of a full queue are counted, each attempt once.
pub(crate) fn counted() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // SAFETY: the descriptor is the listener's own; a second call changes the limit alone.
    ensure!(unsafe { libc::listen(listener.as_raw_fd(), 1) } == 0, "listen");
    let port = listener.local_addr()?.port();
    let (source, report) = attach(&Settings::default(), &mut || vec![std::process::id()])?;
    if !has(&report, "tcp_conn_request")? || !has(&report, "tcp_v4_syn_recv_sock")? {
        return Ok(());
    }
    let before = overflows()?;
    let clients: Vec<OwnedFd> =
        (0..CLIENTS).map(|_| begin_to_connect(port)).collect::<anyhow::Result<_>>()?;
    until("every client's first attempt", Duration::from_secs(30), || {
        let counts = source.queue_counts().listeners;
        let delayed: u64 = counts.iter().map(|count| count.delayed).sum();
        Ok((delayed >= CLIENTS - ROOM).then_some(()))
    })?;
    // Both are read while no client tries again: their next attempts are a second away.
    let (counts, kernel) = (source.queue_counts().listeners, overflows()? - before);
    drop(clients);
    let ours = counts.iter().find(|count| count.delayed > 0).context("no listener was refused anything")?;
    println!("{kernel} overflows by the kernel, {ours:?}");
    ensure!(ours.at_begin + ours.at_end == kernel, "{kernel} by the kernel: {ours:?}");
    ensure!(ours.delayed == CLIENTS - ROOM, "{ours:?}");
    Ok(())
}

/// Clients of a UNIX listener that nobody serves: each that finds it full counts once.
pub(crate) fn counted_over_unix() -> anyhow::Result<()> {
    let path = std::env::temp_dir().join(format!("wsgi-trace-full-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path)?;
    // SAFETY: as above.
    let outcome = unsafe { libc::listen(listener.as_raw_fd(), 1) };
    let counted = counts_of_unix(&path);
    std::fs::remove_file(&path)?;
    ensure!(outcome == 0, "listen");
    counted
}

fn counts_of_unix(path: &Path) -> anyhow::Result<()> {
    let (source, report) = attach(&Settings::default(), &mut || vec![std::process::id()])?;
    if !has(&report, "unix_find_other")? {
        return Ok(());
    }
    let clients = (0..CLIENTS).map(|_| connect_at_once(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let turned_away = clients.iter().filter(|client| client.is_none()).count() as u64;
    // Counted inside the calls, which are over.
    let counts = source.queue_counts().listeners;
    let ours: u64 = counts.iter().map(|count| count.at_begin).sum();
    println!("{turned_away} turned away, {counts:?}");
    ensure!(turned_away == CLIENTS - ROOM && ours == turned_away, "{turned_away} turned away: {counts:?}");
    Ok(())
}

/// Sends a SYN and does not wait for the answer.
fn begin_to_connect(port: u16) -> anyhow::Result<OwnedFd> {
    // SAFETY: a new descriptor, or −1.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) };
    ensure!(fd >= 0, "socket");
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    // SAFETY: the address lives as long as the call, with its size.
    unsafe {
        libc::connect(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32);
    }
    Ok(fd)
}

/// `ListenOverflows` of this network namespace.
fn overflows() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/net/netstat")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let names = lines.next().context("no names")?.split_ascii_whitespace();
    let values = lines.next().context("no values")?.split_ascii_whitespace();
    let found = names.zip(values).find(|(name, _)| *name == "ListenOverflows").context("no such counter")?;
    Ok(found.1.parse()?)
}
