//! Windows of a run: a look at the one that is open, and the step from one to the next.
//!
//! In: what a run gathers when its window ends, at any moment of it. Out: the [`Snapshot`] of a run that
//! ended at that moment, while this one continues.
//!
//! A request counts in the window in which its end becomes known, with all its time. One that is in flight
//! when a window ends is open there, and whole in the next. So each completed request counts once, and the
//! phases of a short window can hold more time than the window has. What a window says of threads,
//! slots and listeners is cut at its edges.

use crate::decode::open::slice_of;
use crate::fact::asleep::Patrol;
use crate::fact::waiting::WaitingConnections;
use crate::fact::{Counters, EndReason, Fact, FactRecord};
use crate::machine::driver::now::{ThreadGlance, now};
use crate::model::now::Now;
use crate::model::{CgroupWindow, Snapshot};
use crate::stream::Item;
use crate::timeline::Entry;

use super::counted::{Counted, Received};
use super::{Machines, Pipeline};

/// Windows kept until somebody takes them. One that ends beyond it is not made, and the next one counts a
/// loss.
const MAX_WINDOWS: usize = 16;

/// Cumulative counts as they stood when the window began.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    counters: Counters,
    undecided_waits: u64,
    patrol: Patrol,
    received: Received,
    pub(super) evicted: u64,
}

impl Pipeline {
    /// The snapshot as if the window ended at `time_ns`, now. `closing`: the facts that a run gathers at its
    /// end (open slices, thread totals, counters, listener counts, what the profiler cost). This pipeline
    /// stays as it is. A copy is taken of all that the machines know, in a matter of milliseconds.
    pub fn peek(&self, time_ns: u64, closing: Vec<Fact>, reason: EndReason) -> Snapshot {
        self.look(time_ns, closing, reason, &[]).0
    }

    /// The snapshot as if the window ended at `time_ns`, and what the threads do at that moment, by a look at
    /// each of them.
    pub fn look(
        &self,
        time_ns: u64,
        closing: Vec<Fact>,
        reason: EndReason,
        glances: &[ThreadGlance],
    ) -> (Snapshot, Now) {
        let mut copy = self.clone();
        copy.order.cut(time_ns);
        let mut nobody = |_| {};
        let now = if glances.is_empty() {
            Now::default()
        } else {
            copy.catch_up(&mut nobody);
            now(&copy.machines.state, glances, time_ns)
        };
        for fact in closing.into_iter().chain([Fact::WindowEnded { reason }]) {
            copy.push::<&[u8]>(Item::Fact(Box::new(FactRecord { time_ns, fact })), &mut nobody);
        }
        (copy.finish(&mut nobody), now)
    }

    /// The oldest window that has ended and was not taken yet. A window ends with [`Fact::WindowRolled`],
    /// preceded by the facts that a run gathers at its end. It is there once everything before that
    /// moment is in order: some 100 ms of the stream later.
    pub fn take_window(&mut self) -> Option<Snapshot> {
        self.machines.windows.pop_front()
    }
}

impl Machines {
    /// One window ends here, the next begins.
    pub(super) fn roll(&mut self, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        if !self.started || self.window.end_reason.is_some() {
            return;
        }
        let has_room = self.windows.len() < MAX_WINDOWS;
        if has_room {
            let snapshot = self.ended(time_ns);
            self.windows.push_back(snapshot);
        }
        let open = self.take_open();
        let living = self.state.roll(time_ns, &open, sink);
        self.readings.totals.clear();
        self.readings.waiting = WaitingConnections::default();
        self.readings.overhead = None;
        self.readings.left_out.retain(|left_out| left_out.to_ns.is_none());
        self.listening.roll(time_ns, &living);
        self.wakes.roll();
        self.waits.roll();
        let evicted = self.evicted();
        for open in &open {
            self.waits.inside(&slice_of(open, time_ns), &self.state.world);
        }
        self.readings.cgroups = std::mem::take(&mut self.readings.cgroups)
            .into_iter()
            .map(|window| CgroupWindow { first: window.last.clone(), last: window.last })
            .collect();
        self.readings.machine = self.readings.machine.map(|(_, last)| (last, last));
        self.before = Before {
            counters: self.readings.counters.clone(),
            undecided_waits: self.undecided_waits,
            patrol: self.readings.patrol,
            received: self.received,
            evicted,
        };
        (self.window.start_ns, self.window.end_ns) = (time_ns, time_ns);
        if !has_room {
            self.state.evict();
        }
    }

    /// The window as it ends at `time_ns`, made of a copy.
    fn ended(&mut self, time_ns: u64) -> Snapshot {
        // What waits to be taken is no part of it.
        let waiting = std::mem::take(&mut self.windows);
        let mut ending = self.clone();
        self.windows = waiting;
        ending.window.end_ns = time_ns;
        ending.window.end_reason = Some(EndReason::NextWindow);
        ending.state.next_follows = true;
        ending.finish(&mut |_| {})
    }

    /// How much found no place in any table so far. Only differences within a window mean something: some
    /// tables are made again for each.
    pub(super) fn evicted(&self) -> u64 {
        self.state.evicted() + self.listening.evicted() + self.wakes.evicted() + self.waits.evicted()
    }

    /// What was counted since the window began.
    pub(super) fn counted(&self) -> Counted {
        let (now, before) = (&self.received, &self.before.received);
        Counted {
            counters: self.readings.counters.since(&self.before.counters),
            undecided_waits: self.undecided_waits.saturating_sub(self.before.undecided_waits),
            patrol: self.readings.patrol.since(&self.before.patrol),
            received: Received {
                malformed: now.malformed.saturating_sub(before.malformed),
                order: now.order.since(before.order),
            },
        }
    }
}
