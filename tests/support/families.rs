//! Families of sockets that a program may make, as `RestrictAddressFamilies=` of a systemd unit says it.
//!
//! In: the text of a unit; a command. Out: the command under the same rule: `socket` of another family fails
//! with `EAFNOSUPPORT`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail};

/// include/uapi/linux/bpf_common.h and seccomp.h: load a word, compare it, return.
const LOAD_WORD: u16 = 0x20;
/// See [`LOAD_WORD`].
const JUMP_IF_EQUAL: u16 = 0x15;
/// See [`LOAD_WORD`].
const RETURN: u16 = 0x06;
/// Where `struct seccomp_data` has the number of the call, and the low half of its first argument.
const NUMBER_AT: u32 = 0;
/// See [`NUMBER_AT`].
const FIRST_ARGUMENT_AT: u32 = 16;

/// The numbers of the families that a unit allows.
///
/// # Errors
///
/// Where it names none, or one that is not known here.
pub fn of_unit(unit: &str) -> anyhow::Result<Vec<u32>> {
    let line = unit.lines().find_map(|line| line.strip_prefix("RestrictAddressFamilies="));
    let names = line.context("the unit restricts no families")?;
    names
        .split_whitespace()
        .map(|name| {
            let number = match name {
                "AF_UNIX" => libc::AF_UNIX,
                "AF_INET" => libc::AF_INET,
                "AF_INET6" => libc::AF_INET6,
                "AF_NETLINK" => libc::AF_NETLINK,
                _ => bail!("family {name} is not known to this test"),
            };
            Ok(u32::try_from(number)?)
        })
        .collect()
}

/// Lets the command make sockets of these families alone. Needs root.
pub fn restrict(command: &mut Command, families: &[u32]) {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let allow = step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
    let refuse = step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.unsigned_abs());
    let socket = u32::try_from(libc::SYS_socket).unwrap_or(u32::MAX);
    let mut program = vec![
        step(LOAD_WORD, 0, 0, NUMBER_AT),
        step(JUMP_IF_EQUAL, 1, 0, socket),
        allow,
        step(LOAD_WORD, 0, 0, FIRST_ARGUMENT_AT),
    ];
    for family in families {
        program.extend([step(JUMP_IF_EQUAL, 0, 1, *family), allow]);
    }
    program.push(refuse);
    // SAFETY: between fork and exec only `prctl` runs, which is async-signal-safe; the program is owned by
    // the closure and outlives the call, which copies it.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog {
                len: u16::try_from(program.len()).unwrap_or(0),
                filter: program.as_mut_ptr(),
            };
            if libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_a_unit_are_read_and_one_that_is_not_known_is_refused() {
        assert_eq!(of_unit("[Service]\nRestrictAddressFamilies=AF_INET AF_UNIX\n").expect("known"), [2, 1]);
        assert!(of_unit("RestrictAddressFamilies=AF_X25").is_err());
        assert!(of_unit("[Service]").is_err());
    }
}
