//! The detail of a call: four words of its slice, or of a sleep in it, with names for their parts by kind of
//! call.
//!
//! In: the words. Out: the parts. The slice of a kind that is not named here has the call's first four
//! arguments, as in the registers. Descriptors are the low half of their register, as the kernel takes them.

/// A detail as it lies in a slice.
pub type Words = [u64; 4];

/// The lower half of a word.
const LOW: u64 = u32::MAX as u64;

/// Of read and write kinds, sendfile and splice: the first three arguments, and since when it could go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The call's first three arguments.
    pub arguments: [u64; 3],
    /// On a client's connection or a back end's. A read: when the first byte not seen by an earlier read, or
    /// the end of a back end's stream, reached the socket. A write to a back end: when the connection was
    /// made, if this is the first call after a connect that did not wait for that. 0: not known.
    pub ready_ns: u64,
}

impl Moves {
    /// Of a detail.
    pub const fn of(&[first, second, third, ready_ns]: &Words) -> Self {
        Self { arguments: [first, second, third], ready_ns }
    }

    /// As a detail.
    pub const fn words(self) -> Words {
        let [first, second, third] = self.arguments;
        [first, second, third, self.ready_ns]
    }
}

/// Of `open` kinds, the last word: what the new descriptor stands for.
pub struct Opened;

impl Opened {
    /// Set where the word says it: a call that failed has an argument there.
    const IS_SAID: u64 = 1 << 63;

    /// The word for one of [`super::sleep`]'s constants.
    #[inline(always)]
    pub const fn word(object: u16) -> u64 {
        Self::IS_SAID | object as u64
    }

    /// What it says; `None`: nothing.
    pub const fn of(word: u64) -> Option<u16> {
        if word & Self::IS_SAID == 0 { None } else { Some(low(word) as u16) }
    }
}

/// Of `connect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// The socket.
    pub fd: i32,
    /// What distinguishes a connection that was made, or is under way, from all others: its own TCP port, or
    /// the address of the UNIX socket at its other end. 0: not known.
    pub identity: u64,
    /// When the connection was made that an earlier `connect` had begun; 0: not known, or none had.
    pub made_ns: u64,
    /// Address family of the peer.
    pub family: u16,
    /// Its port, host order.
    pub port: u16,
    /// Its IPv4 address, network order.
    pub address: u32,
}

impl Connect {
    /// Of a detail.
    pub const fn of(&[fd, identity, made_ns, peer]: &Words) -> Self {
        Self {
            fd: low(fd).cast_signed(),
            identity,
            made_ns,
            family: low(peer) as u16,
            port: (low(peer) >> 16) as u16,
            address: high(peer),
        }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> Words {
        let peer = self.family as u64 | (self.port as u64) << 16 | (self.address as u64) << 32;
        [self.fd.cast_unsigned() as u64, self.identity, self.made_ns, peer]
    }
}

/// Of `poll` and `ppoll`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// How many descriptors it waits for.
    pub count: u32,
    /// The first `struct pollfd`, as at entry: fd in the low 32 bits, events in the next 16; 0: not readable.
    pub first: u64,
}

impl Poll {
    /// Of a detail.
    pub const fn of(&[_, count, _, first]: &Words) -> Self {
        Self { count: low(count), first }
    }

    /// As a detail.
    pub const fn words(self) -> Words {
        [0, self.count as u64, 0, self.first]
    }
}

/// Of `select` and `pselect6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// The highest descriptor of all sets plus one.
    pub count: i32,
    /// Where the write set is; 0: there is none.
    pub write_set: u64,
    /// The first 64 bits of the read set, as at entry.
    pub readable: u64,
}

impl Select {
    /// Of a detail.
    pub const fn of(&[count, _, write_set, readable]: &Words) -> Self {
        Self { count: low(count).cast_signed(), write_set, readable }
    }

    /// As a detail.
    pub const fn words(self) -> Words {
        [self.count.cast_unsigned() as u64, 0, self.write_set, self.readable]
    }
}

/// Of `epoll_ctl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollControl {
    /// The epoll instance.
    pub epoll_fd: i32,
    /// `EPOLL_CTL_ADD` 1, `DEL` 2, `MOD` 3.
    pub operation: u32,
    /// Descriptor added, changed or removed.
    pub fd: i32,
    /// What `struct epoll_event` asks for; 0: none, or not readable.
    pub events: u32,
}

impl EpollControl {
    /// Of a detail.
    pub const fn of(&[epoll_fd, operation, fd, events]: &Words) -> Self {
        Self {
            epoll_fd: low(epoll_fd).cast_signed(),
            operation: low(operation),
            fd: low(fd).cast_signed(),
            events: low(events),
        }
    }

    /// As a detail.
    pub const fn words(self) -> Words {
        [
            self.epoll_fd.cast_unsigned() as u64,
            self.operation as u64,
            self.fd.cast_unsigned() as u64,
            self.events as u64,
        ]
    }
}

/// Of `socketpair`, `pipe2` and `pipe`: the two descriptors, as read at exit.
pub const fn pair(&[_, _, _, fds]: &Words) -> [i32; 2] {
    [low(fds).cast_signed(), high(fds).cast_signed()]
}

/// Of `futex`. Threads are named by the numbers that they give themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Futex {
    /// User address of the futex.
    pub address: u64,
    /// The operation with its flags.
    pub operation: u16,
    /// The call has a limit of time.
    pub has_timeout: bool,
    /// Where the call waits for no interpreter lock: how long before its end the waker was about to wake the
    /// thread. That is on the waker's CPU; the thread may have been queued later. 0: not known.
    pub woken_ago_ns: u32,
    /// Where the call waits on the memory of an interpreter lock: the thread that held the lock at entry. If
    /// the lock was free just then, it is the thread that held it last. 0: not known.
    pub holder_tid: u32,
    /// The thread that held that lock last, at exit; 0: not known.
    pub last_holder_tid: u32,
    /// How often the lock had passed from one thread to another at entry, modulo 2³²; of a known holder.
    pub switches: u32,
    /// Where the call waits to take the lock: how long before it the attempt began, as a probe in the
    /// interpreter saw it. 0: there is none, or not before this wait.
    pub lead_ns: u32,
}

impl Futex {
    /// Bit of the second word for [`Futex::has_timeout`].
    const HAS_TIMEOUT: u64 = 1 << 16;

    /// The second word with how long ago the thread was woken. What does not fit is not known.
    #[inline(always)]
    pub const fn woken_ago(second: u64, ago_ns: u64) -> u64 {
        let ago_ns = if ago_ns > LOW { 0 } else { ago_ns };
        second & LOW | ago_ns << 32
    }

    /// The third word with who held the lock last.
    #[inline(always)]
    pub const fn last_held_by(third: u64, last_holder_tid: u32) -> u64 {
        third & LOW | (last_holder_tid as u64) << 32
    }

    /// Of a detail.
    pub const fn of(&[address, how, holders, lock]: &Words) -> Self {
        Self {
            address,
            operation: low(how) as u16,
            has_timeout: how & Self::HAS_TIMEOUT != 0,
            woken_ago_ns: high(how),
            holder_tid: low(holders),
            last_holder_tid: high(holders),
            switches: low(lock),
            lead_ns: high(lock),
        }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> Words {
        let timeout = if self.has_timeout { Self::HAS_TIMEOUT } else { 0 };
        [
            self.address,
            self.operation as u64 | timeout | (self.woken_ago_ns as u64) << 32,
            self.holder_tid as u64 | (self.last_holder_tid as u64) << 32,
            self.switches as u64 | (self.lead_ns as u64) << 32,
        ]
    }
}

/// Of a sleep in light mode, but for one in `futex`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleep {
    /// The descriptor that the call is about, where it is one; of poll and select how many descriptors they
    /// were given; of other calls the first argument.
    pub argument: u64,
    /// What the descriptor stands for: one of [`super::sleep`]'s constants.
    pub object: u16,
    /// The socket is a client's connection that this side has ended (a FIN was sent): the thread waits for
    /// the client to do so.
    pub is_shut: bool,
    /// Of poll and select on one descriptor what they wait for.
    pub events: u32,
    /// Kernel address of the socket, if it is one and no end of a pair; else the thread that woke this one,
    /// or that ran where an interrupt did (0: none).
    pub socket: u64,
    /// Address family of its other end; 0: not known.
    pub family: u16,
    /// Port of its other end, host order.
    pub port: u16,
    /// IPv4 address of its other end, network order.
    pub address: u32,
}

impl Sleep {
    /// Bit of the second word for [`Sleep::is_shut`].
    const IS_SHUT: u64 = 1 << 16;

    /// Of a detail.
    pub const fn of(&[argument, what, socket, peer]: &Words) -> Self {
        Self {
            argument,
            object: low(what) as u16,
            is_shut: what & Self::IS_SHUT != 0,
            events: high(what),
            socket,
            family: low(peer) as u16,
            port: (low(peer) >> 16) as u16,
            address: high(peer),
        }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> Words {
        let shut = if self.is_shut { Self::IS_SHUT } else { 0 };
        [
            self.argument,
            self.object as u64 | shut | (self.events as u64) << 32,
            self.socket,
            self.family as u64 | (self.port as u64) << 16 | (self.address as u64) << 32,
        ]
    }
}

/// Of a sleep in `futex` in light mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FutexSleep {
    /// User address of the futex.
    pub address: u64,
    /// The operation with its flags.
    pub operation: u16,
    /// The interpreter lock was taken as the thread went to sleep.
    pub is_locked: bool,
    /// The thread that woke this one, or that ran where an interrupt did; 0: none.
    pub waker_tid: u32,
    /// The thread that had the interpreter lock on whose memory the futex is, or had it last, as the thread
    /// went to sleep, by the number that it gives itself; 0: not known, or another futex.
    pub holder_tid: u32,
    /// How often that lock had passed from one thread to another, modulo 2³²; of a known holder.
    pub switches: u32,
    /// Until when the wait for that lock would last at most, `CLOCK_MONOTONIC`; 0: no limit, or not known.
    pub until_ns: u64,
}

impl FutexSleep {
    /// Bit of the second word for [`FutexSleep::is_locked`].
    const IS_LOCKED: u64 = 1 << 16;

    /// The second word, which did not say so yet, with who woke the thread.
    #[inline(always)]
    pub const fn woken_by(second: u64, waker_tid: u32) -> u64 {
        second & LOW | (waker_tid as u64) << 32
    }

    /// Of a detail.
    pub const fn of(&[address, how, lock, until_ns]: &Words) -> Self {
        Self {
            address,
            operation: low(how) as u16,
            is_locked: how & Self::IS_LOCKED != 0,
            waker_tid: high(how),
            holder_tid: low(lock),
            switches: high(lock),
            until_ns,
        }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn words(self) -> Words {
        let locked = if self.is_locked { Self::IS_LOCKED } else { 0 };
        [
            self.address,
            self.operation as u64 | locked | (self.waker_tid as u64) << 32,
            self.holder_tid as u64 | (self.switches as u64) << 32,
            self.until_ns,
        ]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
#[inline(always)]
const fn low(word: u64) -> u32 {
    word as u32
}

#[inline(always)]
const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_detail_comes_back() {
        assert_eq!(Opened::of(Opened::word(4)), Some(4));
        assert_eq!(Opened::of(4), None);
        let futex = Futex {
            address: 0x7fff_0123_4567,
            operation: 0x189,
            has_timeout: true,
            woken_ago_ns: u32::MAX,
            holder_tid: 1,
            last_holder_tid: u32::MAX,
            switches: 2,
            lead_ns: 3,
        };
        assert_eq!(Futex::of(&futex.words()), futex);
        let connect =
            Connect { fd: -1, identity: 2, made_ns: 3, family: 4, port: 65_535, address: 0x0102_0304 };
        assert_eq!(Connect::of(&connect.words()), connect);
        let moves = Moves { arguments: [1, 2, 3], ready_ns: 4 };
        assert_eq!(Moves::of(&moves.words()), moves);
        let control = EpollControl { epoll_fd: -1, operation: 3, fd: 7, events: u32::MAX };
        assert_eq!(EpollControl::of(&control.words()), control);
        let poll = Poll { count: 1, first: u64::MAX };
        assert_eq!(Poll::of(&poll.words()), poll);
        let select = Select { count: -1, write_set: 1, readable: 2 };
        assert_eq!(Select::of(&select.words()), select);
        assert_eq!(pair(&[0, 0, 0, 4 | 5 << 32]), [4, 5]);
        let sleep = Sleep {
            argument: 7,
            object: 3,
            is_shut: true,
            events: u32::MAX,
            socket: 9,
            family: 2,
            port: 65_535,
            address: 0x0102_0304,
        };
        assert_eq!(Sleep::of(&sleep.words()), sleep);
        let futex = FutexSleep {
            address: 1,
            operation: 0x189,
            is_locked: true,
            waker_tid: 2,
            holder_tid: 3,
            switches: u32::MAX,
            until_ns: 5,
        };
        assert_eq!(FutexSleep::of(&futex.words()), futex);
    }
}
