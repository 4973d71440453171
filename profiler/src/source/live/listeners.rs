//! What connections to the target's listeners have set in motion so far.
//!
//! In: the map `LISTENERS`. Out: [`ListenerCounts`], cumulative, by inode.

use aya::maps::{HashMap, MapData};
use profiler_common::listener::{LISTENER_COUNT_WORDS, ListenerCount};
use profiler_core::fact::{ListenerCounts, ListenerWakes};

/// The map as the reader sees it: words, because only this crate's types may be read from a map.
pub(super) type ListenerTable = HashMap<MapData, u64, [u64; LISTENER_COUNT_WORDS]>;

/// Reads every listener. One that cannot be told from others (no inode) is left out.
pub(super) fn counts(table: &ListenerTable) -> ListenerCounts {
    let mut listeners: Vec<ListenerWakes> = table
        .iter()
        .filter_map(Result::ok)
        .map(|(_, words)| zerocopy::transmute!(words))
        .filter(|count: &ListenerCount| count.inode != 0)
        .map(|count| ListenerWakes {
            inode: count.inode,
            arrivals: count.arrivals,
            woken: count.woken,
            slept_again: count.slept_again,
            slept_again_cpu_ns: count.slept_again_cpu_ns,
            slept_again_run_queue_ns: count.slept_again_run_queue_ns,
        })
        .collect();
    listeners.sort_by_key(|wakes| wakes.inode);
    ListenerCounts { listeners }
}
