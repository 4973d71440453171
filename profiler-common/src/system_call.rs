//! The observed system calls, by the numbers that records have: those of `x86_64`, whatever the machine's own
//! are ([`arm64`]).
//!
//! In: nothing. Out: one constant per observed call, [`kind`], and [`name`], which knows the others too. A
//! call that is not in the table is rejected by number in the kernel programs, before any look-up. A call of
//! a [`Kind`] that exists is added by one line.

use crate::call_kind::Kind;

pub mod arm64;
mod unobserved;

/// Room for the numbers of all observed calls: a power of two, or the verifier does not see that an index is
/// inside.
const NUMBERS: usize = 512;

macro_rules! observed {
    ($($constant:ident = $number:literal, $name:literal, $kind:ident;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub const $constant: u32 = $number;
        )*

        /// Name of a call; `other` where no call has this number.
        pub fn name(number: u32) -> &'static str {
            match number {
                $($number => $name,)*
                _ => unobserved::name(number).unwrap_or("other"),
            }
        }

        /// What the call does; `None` for calls that are not observed (of `fcntl` only the duplications are:
        /// see [`duplicates`](crate::call_kind::duplicates)).
        #[inline(always)]
        #[allow(clippy::indexing_slicing, reason = "the index is compared with the length; `get` is not const")]
        pub const fn kind(number: u32) -> Option<Kind> {
            if (number as usize) < NUMBERS { KINDS[number as usize] } else { None }
        }

        /// [`kind`] as a table: one load, where a `match` is a tree of branches that a CPU guesses wrong.
        static KINDS: [Option<Kind>; NUMBERS] = {
            let mut kinds = [None; NUMBERS];
            $(kinds[$number] = Some(Kind::$kind);)*
            kinds
        };

        /// Numbers of all observed calls, ascending.
        pub const OBSERVED: &[u32] = &[$($number),*];
    };
}

observed! {
    READ = 0, "read", Read;
    WRITE = 1, "write", Write;
    OPEN = 2, "open", OpenFile;
    CLOSE = 3, "close", Close;
    POLL = 7, "poll", Poll;
    PREAD64 = 17, "pread64", Read;
    PWRITE64 = 18, "pwrite64", Write;
    READV = 19, "readv", ReadVector;
    WRITEV = 20, "writev", WriteVector;
    PIPE = 22, "pipe", MakePipe;
    SELECT = 23, "select", Select;
    DUP = 32, "dup", Duplicate;
    DUP2 = 33, "dup2", DuplicateOnto;
    NANOSLEEP = 35, "nanosleep", Sleep;
    SENDFILE = 40, "sendfile", SendFile;
    SOCKET = 41, "socket", MakeSocket;
    CONNECT = 42, "connect", Connect;
    ACCEPT = 43, "accept", Accept;
    SENDTO = 44, "sendto", Write;
    RECVFROM = 45, "recvfrom", Read;
    SENDMSG = 46, "sendmsg", WriteMessage;
    RECVMSG = 47, "recvmsg", ReadMessage;
    SHUTDOWN = 48, "shutdown", Shutdown;
    BIND = 49, "bind", Bind;
    LISTEN = 50, "listen", Listen;
    SOCKETPAIR = 53, "socketpair", MakeSocketPair;
    FCNTL = 72, "fcntl", Duplicate;
    FSYNC = 74, "fsync", Write;
    FDATASYNC = 75, "fdatasync", Write;
    GETRUSAGE = 98, "getrusage", Marker;
    FUTEX = 202, "futex", Futex;
    EPOLL_CREATE = 213, "epoll_create", MakeEpoll;
    CLOCK_NANOSLEEP = 230, "clock_nanosleep", Sleep;
    EPOLL_WAIT = 232, "epoll_wait", EpollWait;
    EPOLL_CTL = 233, "epoll_ctl", EpollControl;
    OPENAT = 257, "openat", OpenFile;
    PSELECT6 = 270, "pselect6", Select;
    PPOLL = 271, "ppoll", Poll;
    SPLICE = 275, "splice", Splice;
    EPOLL_PWAIT = 281, "epoll_pwait", EpollWait;
    EVENTFD = 284, "eventfd", MakeEvent;
    ACCEPT4 = 288, "accept4", Accept;
    EVENTFD2 = 290, "eventfd2", MakeEvent;
    EPOLL_CREATE1 = 291, "epoll_create1", MakeEpoll;
    DUP3 = 292, "dup3", DuplicateOnto;
    PIPE2 = 293, "pipe2", MakePipe;
    PREADV = 295, "preadv", ReadVector;
    PWRITEV = 296, "pwritev", WriteVector;
    RECVMMSG = 299, "recvmmsg", ReadMessage;
    SENDMMSG = 307, "sendmmsg", WriteMessage;
    PREADV2 = 327, "preadv2", ReadVector;
    PWRITEV2 = 328, "pwritev2", WriteVector;
    IO_URING_SETUP = 425, "io_uring_setup", UringSetup;
    CLOSE_RANGE = 436, "close_range", CloseRange;
    OPENAT2 = 437, "openat2", OpenFile;
    EPOLL_PWAIT2 = 441, "epoll_pwait2", EpollWait;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_table_is_observed() {
        let observed: Vec<u32> = (0..100_000).filter(|number| kind(*number).is_some()).collect();
        assert_eq!(observed, OBSERVED);
        assert!(kind(u32::MAX).is_none());
    }

    #[test]
    fn every_observed_call_has_a_name_of_its_own() {
        let mut names: Vec<&str> = OBSERVED.iter().map(|number| name(*number)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OBSERVED.len());
        assert!(!names.contains(&"other"));
        assert_eq!((name(280), name(82), name(39)), ("utimensat", "rename", "getpid"));
        assert_eq!((name(400), name(u32::MAX)), ("other", "other"));
    }
}
