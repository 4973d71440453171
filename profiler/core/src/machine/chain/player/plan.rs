//! What kind of server is played, and how it is told.
//!
//! In: random numbers. Out: a [`Plan`].

use super::random::Random;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Each thread accepts, and serves what it has accepted.
    Acceptors,
    /// A thread of each process accepts, and hands on to a pool.
    Pool,
    /// A thread of each process does everything, in turns.
    Loop,
}

/// What requests do.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub locks: usize,
    pub sleeps_with_gil: bool,
    pub runs_free: bool,
    pub queues: bool,
    pub limits: bool,
    pub joins: bool,
    pub asks: bool,
    /// So many steps of a hundred never end.
    pub never_percent: u64,
}

/// How a pool's dispatcher works.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    /// Some requests come on connections that it has.
    pub keeps_connections: bool,
    /// Dispatching takes time.
    pub dispatches_slowly: bool,
}

/// How a server is made up.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub server: Server,
    pub processes: usize,
    /// Threads that serve in each process, at first.
    pub threads: usize,
    /// A pool grows up to this.
    pub most_threads: usize,
    /// Threads of each process that have been stuck since before.
    pub stuck: usize,
    /// Threads of each process that serve nobody.
    pub background: usize,
    pub requests: usize,
    /// Requests arrive within this.
    pub busy_ns: u64,
    /// The window's length.
    pub window_ns: u64,
    /// All times are multiples of this.
    pub grain_ns: u64,
    pub has_gil: bool,
    /// Who has the interpreter lock is read.
    pub reads_holders: bool,
    pub steps: Steps,
    pub dispatch: Dispatch,
    /// Some of the threads that serve end, and others are born for them.
    pub replaces: bool,
}

impl Plan {
    pub(super) fn random(random: &mut Random) -> Self {
        let server = [Server::Acceptors, Server::Pool, Server::Loop][random.place(3)];
        let busy_ns = random.between(20, 400) * 1_000_000;
        let threads = random.between(1, 4);
        let threads = usize::try_from(threads).unwrap();
        let has_gil = random.percent(50);
        let sleeps_with_gil = has_gil && random.percent(30);
        let runs_free = random.percent(30);
        // Where one sleeps with the lock while another computes without, that one has it, as it seems.
        let reads_holders = random.percent(70) || sleeps_with_gil && runs_free;
        let locks = random.place(4);
        Self {
            server,
            processes: 1 + random.place(3),
            threads: if server == Server::Loop { 0 } else { threads },
            most_threads: threads + random.place(3),
            stuck: if server == Server::Pool { random.place(2) } else { 0 },
            background: random.place(2),
            requests: 3 + random.place(24),
            busy_ns,
            window_ns: busy_ns + random.between(50, 1000) * 1_000_000,
            grain_ns: 1_000_000,
            has_gil,
            reads_holders,
            steps: Steps {
                locks,
                sleeps_with_gil,
                runs_free,
                queues: random.percent(50),
                limits: random.percent(30),
                joins: random.percent(40),
                asks: random.percent(40),
                never_percent: if random.percent(30) { 3 } else { 0 },
            },
            dispatch: Dispatch {
                keeps_connections: random.percent(50),
                dispatches_slowly: random.percent(50),
            },
            replaces: random.percent(40),
        }
    }
}
