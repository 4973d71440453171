//! Which slot serves which request: queues, free slots and the rule between them.
//!
//! In: requests that arrive or are handed over, slots that get free. Out: pairs of both.

use std::collections::{HashMap, VecDeque};

use crate::setting::{Dispatch, Setting, Wakes};

/// A queue of requests and the free slots that serve it: one for the server, or one for each process.
#[derive(Clone, Debug, Default)]
struct Pool {
    queue: VecDeque<usize>,
    /// In the order in which they got free.
    free: VecDeque<usize>,
}

/// All queues.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pools: Vec<Pool>,
    threads: usize,
    wakes: Wakes,
    is_shared: bool,
    /// The process that accepted a kept connection.
    accepted_by: HashMap<u64, usize>,
}

impl Slots {
    pub(super) fn new(setting: &Setting) -> Self {
        let (is_shared, wakes) = match setting.dispatch {
            Dispatch::Shared(wakes) => (true, wakes),
            // Threads of one pool are alike.
            Dispatch::ByProcess { .. } => (false, Wakes::LongestFree),
        };
        let slots = setting.slots() as usize;
        let threads = setting.threads as usize;
        let of_pool = if is_shared { slots } else { threads };
        let pools = (0..slots / of_pool.max(1)).map(|pool| Pool {
            queue: VecDeque::new(),
            free: (pool * of_pool..(pool + 1) * of_pool).collect(),
        });
        Self { pools: pools.collect(), threads, wakes, is_shared, accepted_by: HashMap::new() }
    }

    /// The process that a slot is of.
    pub(super) const fn process(&self, slot: usize) -> usize {
        slot / if self.threads == 0 { 1 } else { self.threads }
    }

    const fn pool_of(&self, slot: usize) -> usize {
        if self.is_shared { 0 } else { self.process(slot) }
    }

    /// A request waits for a slot of this pool: the slot that takes it at once, if one is free.
    pub(super) fn arrive(
        &mut self,
        request: usize,
        pool: usize,
        random: &mut fastrand::Rng,
    ) -> Option<usize> {
        let wakes = self.wakes;
        let pool = self.pools.get_mut(pool)?;
        let slot = match wakes {
            Wakes::LongestFree => pool.free.pop_front(),
            Wakes::LastFirst => pool.free.pop_back(),
            Wakes::Random if pool.free.is_empty() => None,
            Wakes::Random => pool.free.swap_remove_back(random.usize(..pool.free.len())),
        };
        if slot.is_none() {
            pool.queue.push_back(request);
        }
        slot
    }

    /// A slot has done its work: the request that it takes next, if one waits.
    pub(super) fn free(&mut self, slot: usize) -> Option<usize> {
        let at = self.pool_of(slot);
        let pool = self.pools.get_mut(at)?;
        let next = pool.queue.pop_front();
        if next.is_none() {
            pool.free.push_back(slot);
        }
        next
    }

    /// The process whose thread accepts this connection: that of its earlier requests, else any of those that could run at once, else any.
    pub(super) fn accepting(
        &mut self,
        connection: u64,
        is_sticky: bool,
        could_run: &[usize],
        random: &mut fastrand::Rng,
    ) -> usize {
        if let Some(process) = self.accepted_by.get(&connection).filter(|_| is_sticky) {
            return *process;
        }
        let process = match could_run.len() {
            0 => random.usize(..self.pools.len().max(1)),
            count => could_run.get(random.usize(..count)).copied().unwrap_or(0),
        };
        if is_sticky {
            self.accepted_by.insert(connection, process);
        }
        process
    }
}
