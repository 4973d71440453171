//! `event_loops`: threads that serve many requests at once, and what made them wait.
//!
//! In: the event loops of a snapshot. Out: serialisable views of them.

use profiler_core::model::Snapshot;
use profiler_core::model::event_loop::{self, Holder as HolderModel};
use serde::Serialize;

use super::latency::Latency;
use super::{non_empty, ratio};

#[derive(Serialize)]
pub(super) struct EventLoop<'a> {
    pid: u32,
    tid: u32,
    turns: u64,
    busy_ns: u64,
    waiting_ns: u64,
    busy_ratio: Option<f64>,
    longest_turn_ns: u64,
    lag: Latency,
    lag_unknown: u64,
    pooled: u64,
    paired_by_order: u64,
    /// Always 0: nothing is measured under this name any more, and version 1 promises the key.
    between_requests_ns: u64,
    back_ends_unknown: u64,
    holders: Vec<Holder<'a>>,
}

#[derive(Serialize)]
struct Holder<'a> {
    method: Option<&'a str>,
    path_shape: Option<&'a str>,
    turns: u64,
    held_ns: u64,
    longest_ns: u64,
    longest_request: Option<u64>,
    waited: u64,
    waited_ns: u64,
    long: Long,
}

#[derive(Serialize)]
struct Long {
    turns: u64,
    held_ns: u64,
    waited: u64,
    waited_ns: u64,
}

pub(super) fn list(snapshot: &Snapshot) -> Vec<EventLoop<'_>> {
    snapshot.event_loops.iter().map(EventLoop::new).collect()
}

impl<'a> EventLoop<'a> {
    fn new(event_loop: &'a event_loop::EventLoop) -> Self {
        let whole_ns = event_loop.busy_ns.saturating_add(event_loop.waiting_ns);
        Self {
            pid: event_loop.tgid,
            tid: event_loop.tid,
            turns: event_loop.turns,
            busy_ns: event_loop.busy_ns,
            waiting_ns: event_loop.waiting_ns,
            busy_ratio: ratio(event_loop.busy_ns, whole_ns),
            longest_turn_ns: event_loop.longest_turn_ns,
            lag: Latency::new(&event_loop.lag),
            lag_unknown: event_loop.lag_unknown,
            pooled: event_loop.pooled,
            paired_by_order: event_loop.paired_by_order,
            between_requests_ns: 0,
            back_ends_unknown: event_loop.back_ends_unknown,
            holders: event_loop.holders.iter().map(Holder::new).collect(),
        }
    }
}

impl<'a> Holder<'a> {
    fn new(holder: &'a HolderModel) -> Self {
        let HolderModel { long, .. } = holder;
        Self {
            method: non_empty(&holder.method),
            path_shape: non_empty(&holder.path_shape),
            turns: holder.turns,
            held_ns: holder.held_ns,
            longest_ns: holder.longest_ns,
            longest_request: holder.longest_request,
            waited: holder.waited,
            waited_ns: holder.waited_ns,
            long: Long {
                turns: long.count,
                held_ns: long.held_ns,
                waited: long.waited,
                waited_ns: long.waited_ns,
            },
        }
    }
}
