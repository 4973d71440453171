//! Lists: which there are, and what their rows are.
//!
//! In: nothing. Out: their names and orders, and keys that a row keeps wherever it is.

/// The lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Endpoints of the window.
    Endpoints,
    /// Requests that ended lately, and the slowest.
    Requests,
    /// Requests that have not ended.
    InFlight,
    /// Threads and what they do.
    Threads,
    /// Who made whom wait for the interpreter lock.
    Gil,
    /// Listening sockets.
    Listeners,
    /// What the rules say.
    Findings,
}

impl ListKind {
    /// All lists, in the order of their number keys.
    pub const ALL: [Self; 7] = [
        Self::Endpoints,
        Self::Requests,
        Self::InFlight,
        Self::Threads,
        Self::Gil,
        Self::Listeners,
        Self::Findings,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Requests => "requests",
            Self::InFlight => "in flight",
            Self::Threads => "threads",
            Self::Gil => "GIL",
            Self::Listeners => "listen",
            Self::Findings => "findings",
        }
    }

    /// The orders that it can be in, the usual one first. Each but the last resort is the title of a column.
    pub const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Endpoints => &["time", "requests", "p50", "p99", "endpoint"],
            Self::Requests => &["total", "ended"],
            Self::InFlight => &["for", "request"],
            Self::Threads => &["slot", "for", "pid"],
            Self::Gil => &["waited", "waits"],
            Self::Listeners => &["accepted"],
            Self::Findings => &["cost"],
        }
    }
}

/// An endpoint: method, path shape, status. Hostile input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointKey {
    /// Method.
    pub method: String,
    /// Path shape.
    pub shape: String,
    /// Status code, 0: none seen.
    pub status: u16,
}

/// What a row is, whatever place it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An endpoint.
    Endpoint(EndpointKey),
    /// A request.
    Request(u64),
    /// A thread.
    Thread(u32),
    /// A pair of the GIL's, by its rank.
    Pair(usize),
    /// A listener, by its rank.
    Listener(usize),
    /// A finding.
    Finding(&'static str),
}
