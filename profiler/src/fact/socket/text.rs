//! Sockets by the tables of `/proc/PID/net`, where the kernel's query interface is missing.
//!
//! In: `/proc/PID/net/{tcp,tcp6,unix}`, so the target's own namespace. Out: [`Socket`]s, without their
//! queues.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::diag::Family;
use super::{MAX_PATH_CHARACTERS, Socket};
use crate::fact::{Proc, read};

/// Bytes of one table read.
const MAX_TABLE_BYTES: u64 = 256 * 1024 * 1024;
/// `__SO_ACCEPTCON`: the flag of a listening UNIX socket.
const ACCEPTS: u32 = 0x1_0000;

/// Every socket of the family.
pub(super) fn list(proc: &Proc, pid: u32, family: Family, each: &mut dyn FnMut(u64, Socket)) {
    type Row = fn(&str) -> Option<(u64, Socket)>;
    let (table, row): (&str, Row) = match family {
        Family::Ipv4 => ("net/tcp", |line| tcp_row(line, false)),
        Family::Ipv6 => ("net/tcp6", |line| tcp_row(line, true)),
        Family::Unix => ("net/unix", unix_row),
    };
    // A table that is not there (no IPv6) or cannot be read has no rows.
    let _ = read::lines(&proc.of(pid, table), MAX_TABLE_BYTES, |line| {
        if let Some((inode, socket)) = row(line).filter(|(inode, _)| *inode != 0) {
            each(inode, socket);
        }
        true
    });
}

/// `sl local remote st tx:rx tr:when retrnsmt uid timeout inode …`
fn tcp_row(line: &str, v6: bool) -> Option<(u64, Socket)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some((inode, Socket::Tcp { v6, local, remote, state, queue: None }))
}

/// `0100007F:1F90`: each 32-bit word of the address in the machine's own byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let digits = address.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *chunk = word(index)?;
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// `Num: RefCount Protocol Flags Type St Inode Path`; the path is hostile and may hold blanks.
fn unix_row(line: &str) -> Option<(u64, Socket)> {
    let mut rest = line;
    let mut field = || {
        let trimmed = rest.trim_start_matches(' ');
        let (field, tail) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        rest = tail;
        (!field.is_empty()).then_some(field)
    };
    field()?.strip_suffix(':')?;
    let flags = u32::from_str_radix(field().and_then(|_| field()).and_then(|_| field())?, 16).ok()?;
    let state = field().and_then(|_| field())?;
    let inode = field()?.parse().ok()?;
    let path = (!rest.is_empty()).then(|| rest.chars().take(MAX_PATH_CHARACTERS).collect());
    Some((
        inode,
        Socket::Unix {
            path,
            listening: flags & ACCEPTS != 0,
            connected: state == "03",
            peer: None,
            queue: None,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_of_all_three_tables_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 \
                    0000000000000000 100 0 0 10 0";
        let (inode, socket) = tcp_row(line, false).expect("tcp");
        assert_eq!(inode, 4242);
        assert!(socket.is_listening());
        assert!(matches!(socket, Socket::Tcp { local, .. } if local.to_string() == "127.0.0.1:8080"));

        let line = "   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C001 01 \
                    00000000:00000000 00:00000000 00000000  1000        0 77 1 0000000000000000 20 4 30 10 -1";
        let (_, socket) = tcp_row(line, true).expect("tcp6");
        assert!(
            matches!(socket, Socket::Tcp { remote, state: 1, .. } if remote.to_string() == "[::ffff:127.0.0.2]:49153")
        );

        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 46482 /tmp/a b.sock";
        assert_eq!(
            unix_row(line),
            Some((
                46482,
                Socket::Unix {
                    path: Some("/tmp/a b.sock".into()),
                    listening: true,
                    connected: false,
                    peer: None,
                    queue: None
                }
            ))
        );
        let line = "0000000000000000: 00000003 00000000 00000000 0001 03  1677";
        assert_eq!(
            unix_row(line),
            Some((
                1677,
                Socket::Unix { path: None, listening: false, connected: true, peer: None, queue: None }
            ))
        );
    }

    #[test]
    fn a_broken_row_is_no_row() {
        assert_eq!(unix_row("x"), None);
        assert_eq!(unix_row("0: 1 2"), None);
    }

    #[test]
    fn header_lines_are_no_rows() {
        assert_eq!(
            tcp_row("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt", false),
            None
        );
        assert_eq!(unix_row("Num       RefCount Protocol Flags    Type St Inode Path"), None);
    }

    proptest! {
        #[test]
        fn no_row_makes_the_readers_panic(line in "([0-9A-F: ]{0,80}|.*)") {
            let _ = tcp_row(&line, false);
            let _ = unix_row(&line);
        }
    }
}
