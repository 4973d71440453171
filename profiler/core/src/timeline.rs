//! The first product: spans and slices, streamed as they become certain.
//!
//! In: transitions of the machines. Out: [`Entry`]s, roughly in the order in which they end. Consumers
//! (Perfetto, ndjson) keep no more than they need; memory does not grow with the length of the run.

use crate::event::{Tid, Wake};
use crate::model::chain::{ChainExample, Chains, LeafKind};
use crate::model::dropped::{Cause, Example};
use crate::model::gil_waits::Sites;
use crate::model::request::Request;
pub use crate::model::thread_state::ThreadState;
use crate::model::wake::Outcome;

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A process gets its track.
    Process {
        /// Process.
        tgid: Tid,
        /// Name to show. Hostile input.
        name: String,
    },
    /// A thread gets its track.
    Thread {
        /// Process.
        tgid: Tid,
        /// Thread.
        tid: Tid,
        /// Name to show. Hostile input.
        name: String,
    },
    /// A stretch of a thread's time.
    Slice {
        /// Process.
        tgid: Tid,
        /// Thread.
        tid: Tid,
        /// Start.
        start_ns: u64,
        /// End.
        end_ns: u64,
        /// Colour.
        state: ThreadState,
        /// Name of the call, or `running`.
        label: &'static str,
        /// Descriptor concerned, if one is.
        fd: Option<i32>,
        /// The stretch was still open when the window ended.
        open: bool,
        /// A wait for the interpreter lock: the thread that had it when the wait began, if that is known.
        held_by: Option<Tid>,
        /// Where in Python that thread was, and who waits, as far as they were looked at.
        sites: Option<Box<Sites>>,
    },
    /// A request came to its end (or to the end of the window).
    Request(Box<Request>),
    /// How many connections wait for a listener to accept them.
    AcceptQueue {
        /// When.
        time_ns: u64,
        /// Inode of the listening socket.
        inode: u64,
        /// Its address. Hostile input where it is a path.
        address: String,
        /// Connections that wait from then on.
        depth: u32,
    },
    /// A connection that was not served came to its end.
    Dropped {
        /// Why.
        cause: Cause,
        /// The connection.
        example: Box<Example>,
    },
    /// A connection woke a thread that waited for its listener.
    Wake {
        /// Who, by which connection, when.
        wake: Wake,
        /// When it slept again, or its wait returned.
        end_ns: u64,
        /// What it got.
        outcome: Outcome,
    },
    /// The number of busy slots changed.
    BusySlots {
        /// When.
        time_ns: u64,
        /// Process; 0: the whole server.
        tgid: Tid,
        /// Slots busy from then on.
        busy: u32,
    },
    /// A window came to its end: the longest chain of waits to one leaf, to be drawn as arrows.
    Chain(Box<ChainEntry>),
}

/// A chain of waits, as the timeline shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEntry {
    /// What stands at its end.
    pub kind: LeafKind,
    /// Endpoint of the request; empty: not known. Hostile input.
    pub endpoint: String,
    /// Who waited for whom, when.
    pub example: ChainExample,
}

impl Entry {
    /// The examples of a window, one entry each, in the order of their leaves.
    pub fn of_chains(chains: &Chains) -> impl Iterator<Item = Self> + '_ {
        chains.leaves.iter().filter_map(|time| {
            let example = time.example.clone()?;
            let endpoint = chains.endpoint(example.endpoint).unwrap_or_default().to_owned();
            Some(Self::Chain(Box::new(ChainEntry { kind: time.leaf.kind, endpoint, example })))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chain::{Hops, Leaf, LeafTime};
    use crate::model::independence::Independence;

    #[test]
    fn each_leaf_with_an_example_is_an_entry_with_the_name_of_its_endpoint() {
        let time = |kind, endpoint: Option<u32>| LeafTime {
            leaf: Leaf::of(kind),
            hops: Hops::NONE,
            held_ns: 7,
            unusual_ns: 0,
            prevented_ns: None,
            requests: 1,
            longest_ns: 7,
            victim: None,
            is_shared_connection: false,
            is_collecting: false,
            measured: Independence::Unknown,
            place: None,
            seen: None,
            waited_at: None,
            example: endpoint.map(|endpoint| ChainExample {
                request: 214,
                endpoint,
                start_ns: 1_000,
                wait_ns: 7,
                hops: Vec::new(),
                candidates: Vec::new(),
            }),
        };
        let chains = Chains {
            leaves: vec![
                time(LeafKind::BackEnd, Some(1)),
                time(LeafKind::Computing, None),
                time(LeafKind::File, Some(9)),
            ],
            endpoints: vec![String::new(), "GET /a".to_owned()],
            ..Chains::default()
        };
        let entries: Vec<(LeafKind, String)> = Entry::of_chains(&chains)
            .filter_map(|entry| match entry {
                Entry::Chain(chain) => Some((chain.kind, chain.endpoint)),
                _ => None,
            })
            .collect();
        assert_eq!(entries, [(LeafKind::BackEnd, "GET /a".to_owned()), (LeafKind::File, String::new())]);
    }
}
