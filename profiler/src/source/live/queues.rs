//! What was refused so far because the accept queues of the target's listeners were full.
//!
//! In: the map `QUEUES`. Out: [`QueueCounts`], cumulative, by inode.

use aya::maps::{HashMap, MapData};
use profiler_common::queue::{QUEUE_COUNT_WORDS, QueueCount};
use profiler_core::fact::queue::{QueueCounts, Refusals};

/// The map as the reader sees it: words, because only this crate's types may be read from a map.
pub(super) type QueueTable = HashMap<MapData, u64, [u64; QUEUE_COUNT_WORDS]>;

/// Reads every listener. One that cannot be distinguished from others (no inode) is left out.
pub(super) fn counts(table: &QueueTable) -> QueueCounts {
    let mut listeners: Vec<Refusals> = table
        .iter()
        .filter_map(Result::ok)
        .map(|(_, words)| zerocopy::transmute!(words))
        .filter(|count: &QueueCount| count.inode != 0)
        .map(|count| Refusals {
            inode: count.inode,
            at_begin: count.refused_at_begin,
            at_end: count.refused_at_end,
            delayed: count.delayed,
            is_deferred: count.is_deferred != 0,
        })
        .collect();
    listeners.sort_by_key(|refusals| refusals.inode);
    QueueCounts { listeners }
}
