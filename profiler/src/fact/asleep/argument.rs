//! What a call is about, by its number and its arguments.
//!
//! In: [`Call`]. Out: [`About`]. A call that is not in the tables is about nothing that can be read.

use super::call::Call;

/// Where an argument is.
type Place = usize;

/// Calls whose first argument is a descriptor.
const OF_DESCRIPTOR: &[u32] = &[
    0, 1, 3, 5, 8, 16, 17, 18, 19, 20, // read to writev: also close, fstat, lseek, ioctl
    42, 43, 44, 45, 46, 47, 48, 288, 299, 307, // connect to shutdown, accept4, recvmmsg, sendmmsg
    74, 75, 77, 78, 81, 91, 93,
    138, // fsync, fdatasync, ftruncate, getdents, fchdir, fchmod, fchown, fstatfs
    187, 190, 193, 196, 199, 217, 221, // readahead, f…xattr, getdents64, fadvise64
    242, 243, 277, 285, // mq_timedsend, mq_timedreceive, sync_file_range, fallocate
    295, 296, 306, 327, 328, // preadv, pwritev, syncfs, preadv2, pwritev2
];

/// Calls with a path, and where it is. It begins at the working directory.
const OF_PATH: &[(u32, Place)] = &[
    (2, 0),   // open
    (4, 0),   // stat
    (6, 0),   // lstat
    (21, 0),  // access
    (59, 0),  // execve
    (76, 0),  // truncate
    (80, 0),  // chdir
    (82, 0),  // rename
    (83, 0),  // mkdir
    (84, 0),  // rmdir
    (85, 0),  // creat
    (86, 0),  // link
    (87, 0),  // unlink
    (88, 1),  // symlink
    (89, 0),  // readlink
    (90, 0),  // chmod
    (92, 0),  // chown
    (94, 0),  // lchown
    (132, 0), // utime
    (133, 0), // mknod
    (137, 0), // statfs
    (161, 0), // chroot
    (165, 1), // mount
    (166, 0), // umount2
    (188, 0), // setxattr
    (189, 0), // lsetxattr
    (191, 0), // getxattr
    (192, 0), // lgetxattr
    (194, 0), // listxattr
    (195, 0), // llistxattr
    (197, 0), // removexattr
    (198, 0), // lremovexattr
    (235, 0), // utimes
];

/// Calls with a path, and where that and the descriptor of the directory are at which it begins.
const OF_PATH_AT: &[(u32, Place, Place)] = &[
    (257, 0, 1), // openat
    (258, 0, 1), // mkdirat
    (259, 0, 1), // mknodat
    (260, 0, 1), // fchownat
    (261, 0, 1), // futimesat
    (262, 0, 1), // newfstatat
    (263, 0, 1), // unlinkat
    (264, 0, 1), // renameat
    (265, 0, 1), // linkat
    (266, 1, 2), // symlinkat
    (267, 0, 1), // readlinkat
    (268, 0, 1), // fchmodat
    (269, 0, 1), // faccessat
    (280, 0, 1), // utimensat
    (303, 0, 1), // name_to_handle_at
    (316, 0, 1), // renameat2
    (322, 0, 1), // execveat
    (332, 0, 1), // statx
    (437, 0, 1), // openat2
    (439, 0, 1), // faccessat2
    (452, 0, 1), // fchmodat2
];

/// Which child a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    /// This one, as the process numbers it.
    Number(u32),
    /// The process of a descriptor.
    Descriptor(i32),
    /// Any.
    Any,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A descriptor.
    Descriptor(i32),
    /// The file that it reads if the thread cannot be woken, else the descriptor that it writes to.
    Sends {
        /// Where to.
        to: i32,
        /// Where from.
        from: i32,
    },
    /// A lock on the file of a descriptor.
    Lock(i32),
    /// The path at an address.
    Path {
        /// Directory at which it begins; `None`: the working directory.
        directory: Option<i32>,
        /// Address; 0: the directory's descriptor itself is meant.
        address: u64,
    },
    /// So many `struct pollfd` at an address.
    Poll {
        /// Where they are.
        address: u64,
        /// How many.
        count: u64,
    },
    /// Sets of so many bits at three addresses, each of which may be 0.
    Select {
        /// The highest descriptor and one.
        count: u32,
        /// Where the sets are.
        sets: [u64; 3],
    },
    /// What an epoll instance waits for.
    Epoll(i32),
    /// A child.
    Child(Child),
    /// A time from now, at an address: `struct timespec`.
    Time(u64),
    /// Nothing that can be said.
    Nothing,
}

/// `fcntl`: wait for a lock of this process, or of this open file.
const WAIT_FOR_LOCK: [u64; 2] = [7, 38];
/// The working directory.
const WORKING_DIRECTORY: i32 = -100;
/// `clock_nanosleep`: until a time, not for one.
const ABSOLUTE: u64 = 1;

/// What a call is about.
pub(super) fn about(call: &Call) -> About {
    let [first, second, third, fourth, ..] = call.arguments;
    let Some(number) = call.number else { return About::Nothing };
    match number {
        7 | 271 => About::Poll { address: first, count: low(second) },
        23 | 270 => About::Select {
            count: u32::try_from(descriptor(first)).unwrap_or(0),
            sets: [second, third, fourth],
        },
        232 | 281 | 441 => About::Epoll(descriptor(first)),
        35 => About::Time(first),
        230 if low(second) & ABSOLUTE == 0 => About::Time(third),
        40 => About::Sends { to: descriptor(first), from: descriptor(second) },
        73 => About::Lock(descriptor(first)),
        72 if WAIT_FOR_LOCK.contains(&low(second)) => About::Lock(descriptor(first)),
        72 => About::Descriptor(descriptor(first)),
        61 => About::Child(
            u32::try_from(descriptor(first)).ok().filter(|pid| *pid > 0).map_or(Child::Any, Child::Number),
        ),
        // By number, by the descriptor of a process, else any.
        247 => About::Child(match low(first) {
            1 => u32::try_from(descriptor(second)).map_or(Child::Any, Child::Number),
            3 => Child::Descriptor(descriptor(second)),
            _ => Child::Any,
        }),
        _ if OF_DESCRIPTOR.contains(&number) => About::Descriptor(descriptor(first)),
        _ => path(call, number),
    }
}

fn path(call: &Call, number: u32) -> About {
    let argument = |place: Place| call.arguments.get(place).copied().unwrap_or(0);
    if let Some((_, place)) = OF_PATH.iter().find(|(of, _)| *of == number) {
        return About::Path { directory: None, address: argument(*place) };
    }
    let Some((_, directory, place)) = OF_PATH_AT.iter().find(|(of, ..)| *of == number) else {
        return About::Nothing;
    };
    let directory = descriptor(argument(*directory));
    let address = argument(*place);
    About::Path { directory: (directory != WORKING_DIRECTORY).then_some(directory), address }
}

/// The kernel takes the low half of the register.
const fn descriptor(argument: u64) -> i32 {
    (low(argument) as u32).cast_signed()
}

const fn low(argument: u64) -> u64 {
    argument & u32::MAX as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: u32, arguments: [u64; 6]) -> About {
        about(&Call { number: Some(number), arguments })
    }

    #[test]
    fn descriptors_are_the_low_half_of_their_registers() {
        assert_eq!(of(0, [0xdead_0000_0003, 1, 2, 0, 0, 0]), About::Descriptor(3));
        assert_eq!(of(72, [4, 7, 0, 0, 0, 0]), About::Lock(4));
        assert_eq!(of(72, [4, 6, 0, 0, 0, 0]), About::Descriptor(4), "F_SETLK does not wait");
        assert_eq!(of(40, [4, 5, 0, 0, 0, 0]), About::Sends { to: 4, from: 5 });
    }

    #[test]
    fn paths_begin_at_their_directory_or_at_the_working_directory() {
        let at = u64::from((-100_i32).cast_unsigned());
        assert_eq!(of(257, [at, 0x1000, 0, 0, 0, 0]), About::Path { directory: None, address: 0x1000 });
        assert_eq!(of(280, [6, 0, 0, 0, 0, 0]), About::Path { directory: Some(6), address: 0 });
        assert_eq!(of(82, [0x10, 0x20, 0, 0, 0, 0]), About::Path { directory: None, address: 0x10 });
        assert_eq!(of(266, [1, 7, 0x20, 0, 0, 0]), About::Path { directory: Some(7), address: 0x20 });
    }

    #[test]
    fn children_are_named_by_number_or_by_descriptor_or_not_at_all() {
        assert_eq!(of(61, [42, 0, 0, 0, 0, 0]), About::Child(Child::Number(42)));
        for any in [-1_i32, 0, -42] {
            assert_eq!(of(61, [u64::from(any.cast_unsigned()), 0, 0, 0, 0, 0]), About::Child(Child::Any));
        }
        assert_eq!(of(247, [1, 42, 0, 0, 0, 0]), About::Child(Child::Number(42)));
        assert_eq!(of(247, [3, 9, 0, 0, 0, 0]), About::Child(Child::Descriptor(9)));
        assert_eq!(of(247, [0, 0, 0, 0, 0, 0]), About::Child(Child::Any));
    }

    #[test]
    fn a_time_from_now_is_one_and_a_time_of_day_is_none() {
        assert_eq!(of(230, [0, 0, 0x99, 0, 0, 0]), About::Time(0x99));
        assert_eq!(of(230, [1, 1, 0x99, 0, 0, 0]), About::Nothing);
        assert_eq!(of(202, [1, 2, 3, 4, 5, 6]), About::Nothing);
        assert_eq!(about(&Call::default()), About::Nothing);
    }

    #[test]
    fn no_call_is_in_two_tables() {
        let mut numbers: Vec<u32> = OF_DESCRIPTOR.to_vec();
        numbers.extend(OF_PATH.iter().map(|row| row.0));
        numbers.extend(OF_PATH_AT.iter().map(|row| row.0));
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
