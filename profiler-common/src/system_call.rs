//! The observed system calls, by the numbers of `x86_64`.
//!
//! In: nothing. Out: one constant per observed call, [`name`] and [`is_observed`]. A call that is not in the table is
//! rejected by number in the kernel programs, before any look-up.

macro_rules! observed {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub const $constant: u32 = $number;
        )*

        /// Name of an observed call; `other` for all the rest.
        #[must_use]
        pub const fn name(number: u32) -> &'static str {
            match number {
                $($number => $name,)*
                _ => "other",
            }
        }

        /// Numbers of all observed calls, ascending.
        pub const OBSERVED: &[u32] = &[$($number),*];
    };
}

observed! {
    READ = 0, "read";
    WRITE = 1, "write";
    OPEN = 2, "open";
    CLOSE = 3, "close";
    POLL = 7, "poll";
    PREAD64 = 17, "pread64";
    PWRITE64 = 18, "pwrite64";
    READV = 19, "readv";
    WRITEV = 20, "writev";
    PIPE = 22, "pipe";
    SELECT = 23, "select";
    DUP = 32, "dup";
    DUP2 = 33, "dup2";
    NANOSLEEP = 35, "nanosleep";
    SENDFILE = 40, "sendfile";
    SOCKET = 41, "socket";
    CONNECT = 42, "connect";
    ACCEPT = 43, "accept";
    SENDTO = 44, "sendto";
    RECVFROM = 45, "recvfrom";
    SENDMSG = 46, "sendmsg";
    RECVMSG = 47, "recvmsg";
    SHUTDOWN = 48, "shutdown";
    BIND = 49, "bind";
    LISTEN = 50, "listen";
    SOCKETPAIR = 53, "socketpair";
    FCNTL = 72, "fcntl";
    GETRUSAGE = 98, "getrusage";
    FUTEX = 202, "futex";
    EPOLL_CREATE = 213, "epoll_create";
    CLOCK_NANOSLEEP = 230, "clock_nanosleep";
    EPOLL_WAIT = 232, "epoll_wait";
    EPOLL_CTL = 233, "epoll_ctl";
    OPENAT = 257, "openat";
    PSELECT6 = 270, "pselect6";
    PPOLL = 271, "ppoll";
    SPLICE = 275, "splice";
    EPOLL_PWAIT = 281, "epoll_pwait";
    EVENTFD = 284, "eventfd";
    ACCEPT4 = 288, "accept4";
    EVENTFD2 = 290, "eventfd2";
    EPOLL_CREATE1 = 291, "epoll_create1";
    DUP3 = 292, "dup3";
    PIPE2 = 293, "pipe2";
    PREADV = 295, "preadv";
    PWRITEV = 296, "pwritev";
    RECVMMSG = 299, "recvmmsg";
    SENDMMSG = 307, "sendmmsg";
    PREADV2 = 327, "preadv2";
    PWRITEV2 = 328, "pwritev2";
    IO_URING_SETUP = 425, "io_uring_setup";
    CLOSE_RANGE = 436, "close_range";
    OPENAT2 = 437, "openat2";
    EPOLL_PWAIT2 = 441, "epoll_pwait2";
}

/// Words of the bit set behind [`is_observed`]: numbers 0 to 447.
const WORDS: usize = 7;

const BITS: [u64; WORDS] = {
    let mut bits = [0_u64; WORDS];
    let mut rest = OBSERVED;
    while let [number, after @ ..] = rest {
        let (_, tail) = bits.split_at_mut(*number as usize / 64);
        if let Some(word) = tail.first_mut() {
            *word |= 1 << (*number % 64);
        }
        rest = after;
    }
    bits
};

/// Whether the kernel programs make slices of this call.
#[must_use]
pub const fn is_observed(number: u32) -> bool {
    let word = number as usize / 64;
    // A comparison that the verifier follows, instead of a bounds check that could panic.
    if word >= WORDS {
        return false;
    }
    match BITS.split_at(word).1.first() {
        Some(bits) => (*bits >> (number % 64)) & 1 == 1,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_table_is_observed() {
        let observed: Vec<u32> = (0..100_000).filter(|number| is_observed(*number)).collect();
        assert_eq!(observed, OBSERVED);
        assert!(!is_observed(u32::MAX));
    }

    #[test]
    fn every_observed_call_has_a_name_of_its_own() {
        let mut names: Vec<&str> = OBSERVED.iter().map(|number| name(*number)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OBSERVED.len());
        assert!(!names.contains(&"other"));
        assert_eq!(name(39), "other");
    }
}
