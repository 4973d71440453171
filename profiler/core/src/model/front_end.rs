//! What stands before the server: requests that were joined across both, and where they spent their time.
//!
//! In: pairs of the two ends of connections. Out: [`FrontEnd`], where one is traced.

/// A front end that is traced with the server, or is part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontEnd {
    /// Kernel name of its first process. Hostile input.
    pub name: String,
    /// Its processes.
    pub tgids: Vec<u32>,
    /// Requests of the front end that were joined with one of the server's or more.
    pub joined: u64,
    /// Requests for which more than one connection fitted, and the oldest was taken.
    pub ambiguous: u64,
    /// Halves whose other half was not found.
    pub unpaired: u64,
    /// Requests joined with exactly one of the server's: the next three are sums over these, and add up to
    /// their length.
    pub crossed: u64,
    /// In the front end, its accept queue and its client's stalls included, in ns.
    pub front_end_ns: u64,
    /// Between the two, in ns: the way there and the way back. That is from the front end's first write to
    /// the first byte at the server's socket. And it is from the server's last write to the front end's
    /// last read.
    pub between_ns: u64,
    /// In the server, from the first byte at its socket to its last write, in ns.
    pub server_ns: u64,
}

impl FrontEnd {
    /// Of a sum over the joined requests what falls to one, in ns.
    pub const fn a_request_ns(&self, sum_ns: u64) -> u64 {
        match sum_ns.checked_div(self.crossed) {
            Some(mean_ns) => mean_ns,
            None => 0,
        }
    }

    /// Sum of the three, in ns.
    pub const fn whole_ns(&self) -> u64 {
        self.front_end_ns.saturating_add(self.between_ns).saturating_add(self.server_ns)
    }
}
