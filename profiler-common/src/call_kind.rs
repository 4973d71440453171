//! What an observed system call can do.
//!
//! In: nothing. Out: [`Kind`], which the table in [`system_call`](crate::system_call) gives to each observed
//! call.

/// What an observed call does. The arguments that matter are named per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Takes a connection from the listener in argument 0.
    Accept,
    /// Reads from the descriptor in argument 0 into one buffer: address in argument 1, size in argument 2.
    Read,
    /// Reads from the descriptor in argument 0 into vectors (`struct iovec` array in argument 1).
    ReadVector,
    /// Reads from the descriptor in argument 0 into a `struct msghdr` (argument 1).
    ReadMessage,
    /// Writes to the descriptor in argument 0 from one buffer: address in argument 1, size in argument 2.
    Write,
    /// Writes to the descriptor in argument 0 from vectors (`struct iovec` array in argument 1).
    WriteVector,
    /// Writes to the descriptor in argument 0 from a `struct msghdr` (argument 1).
    WriteMessage,
    /// sendfile: to the descriptor in argument 0 from that in argument 1.
    SendFile,
    /// splice: from the descriptor in argument 0 to that in argument 2.
    Splice,
    /// Waits for the `struct pollfd` array in argument 0, of the length in argument 1.
    Poll,
    /// Waits for sets of descriptors: highest number + 1 in argument 0, read, write and exception set after
    /// it.
    Select,
    /// Waits on the epoll instance in argument 0.
    EpollWait,
    /// Changes the interest list of the epoll instance in argument 0.
    EpollControl,
    /// Futex wait or wake: user address in argument 0, operation in argument 1.
    Futex,
    /// Sleeps for a given time.
    Sleep,
    /// Connects the socket in argument 0.
    Connect,
    /// Shuts down the socket in argument 0; direction in argument 1.
    Shutdown,
    /// Closes the descriptor in argument 0.
    Close,
    /// Closes the descriptors from argument 0 to argument 1.
    CloseRange,
    /// Makes a socket; `result` is its descriptor.
    MakeSocket,
    /// Opens a file; `result` is its descriptor.
    OpenFile,
    /// Makes an epoll instance; `result` is its descriptor.
    MakeEpoll,
    /// Makes an eventfd; `result` is its descriptor.
    MakeEvent,
    /// socketpair: two descriptors, stored at the user address in argument 3.
    MakeSocketPair,
    /// pipe: two descriptors, stored at the user address in argument 0.
    MakePipe,
    /// dup, and fcntl with `F_DUPFD` or `F_DUPFD_CLOEXEC`: `result` is a copy of argument 0.
    Duplicate,
    /// dup2, dup3: argument 1 becomes a copy of argument 0, whatever it was before.
    DuplicateOnto,
    /// Binds the socket in argument 0.
    Bind,
    /// Makes a listener of the socket in argument 0; length of the accept queue in argument 1.
    Listen,
    /// getrusage: servers mark phases with it.
    Marker,
    /// io_uring_setup: what goes through the ring is not seen.
    UringSetup,
}

/// `fcntl` command `F_DUPFD` (include/uapi/linux/fcntl.h).
pub const F_DUPFD: u64 = 0;
/// `fcntl` command `F_DUPFD_CLOEXEC`.
pub const F_DUPFD_CLOEXEC: u64 = 1030;

/// Whether an `fcntl` with this command (argument 1) makes a descriptor; all other commands are not observed.
#[inline(always)]
pub const fn duplicates(command: u64) -> bool {
    let command = command & 0xffff_ffff;
    command == F_DUPFD || command == F_DUPFD_CLOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fcntl_is_observed_for_duplications_only() {
        assert!(duplicates(F_DUPFD) && duplicates(F_DUPFD_CLOEXEC));
        assert!(!duplicates(3), "F_GETFL");
    }
}
