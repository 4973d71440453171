//! Who waits for a listener, and how.
//!
//! In: nothing. Out: [`Waiters`], the parts of a listener's row that say how many threads wait in which way.

/// How a thread waits for a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// Asleep in accept: a connection wakes one.
    Accept,
    /// In poll or select, with it in the set: a connection wakes all.
    Poll,
    /// In an epoll instance that has it in its interest list.
    Epoll {
        /// `EPOLLEXCLUSIVE`: a connection wakes one.
        exclusive: bool,
        /// `EPOLLONESHOT`.
        one_shot: bool,
        /// `EPOLLET`.
        edge_triggered: bool,
        /// Processes have inherited the instance: a connection wakes one of all who wait in it.
        shared: bool,
        /// The listener's instance is in another one's interest list.
        nested: bool,
    },
    /// For a lock that lets one at a time wait for it.
    Lock(Lock),
}

/// The lock around accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    /// A futex, in memory that the processes share (uWSGI's thunder lock) or of one process's threads.
    Futex,
    /// `fcntl` on a file.
    Fcntl,
    /// `flock` on a file.
    Flock,
    /// A System V semaphore.
    Semaphore,
}

impl Lock {
    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Futex => "futex",
            Self::Fcntl => "fcntl",
            Self::Flock => "flock",
            Self::Semaphore => "semaphore",
        }
    }
}

impl How {
    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Poll => "poll",
            Self::Epoll { .. } => "epoll",
            Self::Lock(_) => "lock",
        }
    }

    /// How it waits, in words for people, with what is particular.
    pub fn words(self) -> String {
        match self {
            Self::Accept => "in accept".to_owned(),
            Self::Poll => "in poll or select".to_owned(),
            Self::Epoll { exclusive, one_shot, edge_triggered, shared, nested } => {
                let mut words = "in epoll".to_owned();
                for (is_so, word) in [
                    (exclusive, ", exclusive"),
                    (one_shot, ", one-shot"),
                    (edge_triggered, ", edge-triggered"),
                    (shared, ", one instance for all"),
                    (nested, ", instance in instance"),
                ] {
                    words.push_str(if is_so { word } else { "" });
                }
                words
            }
            Self::Lock(lock) => format!("behind a lock ({})", lock.name()),
        }
    }
}

/// Threads that wait for a listener in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiters {
    /// The way.
    pub how: How,
    /// Threads that waited so in the window and still live at its end.
    pub threads: u32,
    /// Their processes.
    pub processes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_particular_is_said() {
        let plain = How::Epoll {
            exclusive: false,
            one_shot: false,
            edge_triggered: false,
            shared: false,
            nested: false,
        };
        assert_eq!(plain.words(), "in epoll");
        let special = How::Epoll {
            exclusive: true,
            one_shot: false,
            edge_triggered: true,
            shared: false,
            nested: true,
        };
        assert_eq!(special.words(), "in epoll, exclusive, edge-triggered, instance in instance");
        assert_eq!(How::Lock(Lock::Flock).words(), "behind a lock (flock)");
    }
}
