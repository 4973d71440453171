//! Slots and capacity over the window.
//!
//! In: the slot machine. Out: [`Slots`]. Law 3: for every slot, busy + idle = window.

closed_list! {
    /// What holds a slot while it is busy.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Holding {
        Request = "request": "A request, without the time its client stalls.",
        ClientReadStall = "client_read_stall": "A request whose client does not send.",
        ClientWriteStall = "client_write_stall": "A request whose client does not take the response.",
        FirstByte = "first_byte": "A fresh connection on which nothing has arrived yet.",
        KeepaliveIdle = "keepalive_idle": "A kept-alive connection between requests.",
        Upgraded = "upgraded": "A connection that became another protocol: a WebSocket, a tunnel.",
        Stream = "stream": "A stream of events.",
        Linger = "linger": "A finished connection, waiting for the client to close.",
        Housekeeping = "housekeeping": "The worker's own work between requests: logging, accepting, heartbeats.",
    }
}

/// One slot: a sync worker, a pool thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Dense number.
    pub id: u32,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// When the slot came to be (its thread was born or first seen), not before the window.
    pub since_ns: u64,
    /// When it ceased to be, at most the end of the window.
    pub until_ns: u64,
    /// Time held, by what held it, in the order of [`Holding::ALL`].
    pub holding_ns: [u64; Holding::COUNT],
    /// Requests served.
    pub requests: u64,
    /// The slot is the thread of an event loop, which serves any number of requests at once: busy means not
    /// waiting.
    pub is_loop: bool,
}

impl Slot {
    /// Time the slot existed within the window.
    pub const fn length_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.since_ns)
    }

    /// Time held by anything.
    pub fn busy_ns(&self) -> u64 {
        self.holding_ns.iter().fold(0, |sum, held_ns| sum.saturating_add(*held_ns))
    }

    /// Time held by one kind.
    pub fn held_ns(&self, holding: Holding) -> u64 {
        self.holding_ns.get(holding as usize).copied().unwrap_or(0)
    }
}

/// Slots of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Why slots were not measured; `None`: they were.
    pub not_measured: Option<String>,
    /// Slots by configuration (workers × threads); `None`: not known.
    pub configured: Option<u32>,
    /// Slots that were seen.
    pub observed: Vec<Slot>,
    /// Threads that served ended and others took over while their process lived: the server makes them as it
    /// needs them, and has no number of slots that could run out.
    pub come_and_go: bool,
    /// Time with all slots busy at once: nothing could start.
    pub exhausted_ns: u64,
    /// Largest number busy at one moment.
    pub peak_busy: u32,
    /// Number busy as the window ended.
    pub busy_at_end: u32,
    /// Time that threads which are no slots (acceptors, event loops) spent waiting on finished connections:
    /// meanwhile they accept nothing.
    pub acceptor_linger_ns: u64,
    /// Busy share of all slots, per bucket of time: the heat map. One row per process, `heat_bucket_ns`
    /// each.
    pub heat: Vec<HeatRow>,
    /// Length of a bucket.
    pub heat_bucket_ns: u64,
}

impl Slots {
    /// Number of slots that capacity is counted against: configured ones, or as many as were there at one
    /// moment.
    pub fn count(&self) -> u32 {
        self.configured.unwrap_or_else(|| self.most_at_once())
    }

    /// The largest number of observed slots that existed at one moment: workers that follow one another are
    /// not more capacity.
    pub fn most_at_once(&self) -> u32 {
        let lasting = || self.observed.iter().filter(|slot| slot.length_ns() > 0);
        let begins = lasting().map(|slot| (slot.since_ns, true));
        let mut edges: Vec<_> = begins.chain(lasting().map(|slot| (slot.until_ns, false))).collect();
        // At the same moment an end comes before a beginning.
        edges.sort_unstable();
        let (mut now, mut most) = (0_u32, u32::from(!self.observed.is_empty()));
        for (_, begins) in edges {
            now = if begins { now.saturating_add(1) } else { now.saturating_sub(1) };
            most = most.max(now);
        }
        most
    }

    /// All that serves are event loops: there is no number of requests at once that could run out.
    pub fn are_loops(&self) -> bool {
        !self.observed.is_empty() && self.observed.iter().all(|slot| slot.is_loop)
    }

    /// There is a number of them that could run out: the server neither makes threads as it needs them, nor
    /// serves any number of requests on event loops.
    pub fn are_counted(&self) -> bool {
        self.count() > 0 && !self.are_loops() && !self.come_and_go
    }

    /// Busy slot-time.
    pub fn busy_ns(&self) -> u64 {
        self.observed.iter().fold(0, |sum, slot| sum.saturating_add(slot.busy_ns()))
    }

    /// Slot-time held by one kind.
    pub fn held_ns(&self, holding: Holding) -> u64 {
        self.observed.iter().fold(0, |sum, slot| sum.saturating_add(slot.held_ns(holding)))
    }
}

/// Busy slot-time of one process per bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeatRow {
    /// Process.
    pub tgid: u32,
    /// Slots of the process (configured, or seen).
    pub slots: u32,
    /// Busy slot-time per bucket.
    pub busy_ns: Vec<u64>,
    /// Time with all slots of this process busy at once: what it has accepted waits, whatever other
    /// processes do.
    pub exhausted_ns: u64,
}
