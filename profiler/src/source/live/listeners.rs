//! What connections to the target's listeners have set in motion so far.
//!
//! In: the map `LISTENERS`; listeners that are closed. Out: [`ListenerCounts`], cumulative, by inode; the
//! kernel side's tables without those that are closed: a server may make one for each worker, and the tables
//! have room for a thousand.

use std::collections::BTreeSet;

use aya::Pod;
use aya::maps::{HashMap, MapData};
use profiler_common::listener::{LISTENER_COUNT_WORDS, ListenerCount};
use profiler_core::fact::{ListenerCounts, ListenerWakes};

/// The map as the reader sees it: words, because only this crate's types may be read from a map.
pub(super) type ListenerTable = HashMap<MapData, u64, [u64; LISTENER_COUNT_WORDS]>;

/// Reads every listener. One that cannot be distinguished from others (no inode) is left out.
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

/// By the address object of a UNIX listener: its inode.
pub(super) type UnixTable = HashMap<MapData, u64, u32>;

/// Takes the listeners out of a table that are closed. What lies at the address of one by now has another
/// inode, and stays.
pub(super) fn forget<V: Pod>(
    table: &mut HashMap<MapData, u64, V>,
    closed: &BTreeSet<u64>,
    inode_of: impl Fn(V) -> u64,
) {
    let found = table.iter().filter_map(Result::ok).filter(|(_, value)| closed.contains(&inode_of(*value)));
    let keys: Vec<u64> = found.map(|(key, _)| key).collect();
    for key in keys {
        // The entry may have been taken out, or be another's, by now.
        if table.get(&key, 0).is_ok_and(|value| closed.contains(&inode_of(value))) {
            let _ = table.remove(&key);
        }
    }
}
