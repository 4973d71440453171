//! The pools of all processes that have a loop.
//!
//! In: loops as they become known, ends of processes. Out: each process's pool, in a bounded table.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::runtime::pool::Pool;
use crate::machine::world::living::Living;

/// Processes with a loop whose pools are followed at once.
const MAX_POOLS: usize = 4096;

/// Pools by process.
#[derive(Clone, Debug, Default)]
pub struct Pools(FxHashMap<Tid, Pool>);

impl Pools {
    /// The pool of a process.
    pub fn get(&self, tgid: Tid) -> Option<&Pool> {
        self.0.get(&tgid)
    }

    /// Whether the Python tasks of a process show which thread's job is whose.
    pub(in crate::machine) fn tasks_tell(&self, tgid: Tid) -> bool {
        self.get(tgid).is_some_and(|pool| pool.givers.resume_themselves())
    }

    /// The pool of a process.
    pub fn get_mut(&mut self, tgid: Tid) -> Option<&mut Pool> {
        self.0.get_mut(&tgid)
    }

    /// A process has a loop, which this thread runs. The first one that is known counts. `false`: there is no
    /// room.
    pub fn has_loop(&mut self, tgid: Tid, loop_tid: Tid) -> bool {
        if self.0.contains_key(&tgid) {
            return true;
        }
        let has_room = self.0.len() < MAX_POOLS;
        if has_room {
            self.0.insert(tgid, Pool::of(loop_tid));
        }
        has_room
    }

    /// A process has ended.
    pub fn process_ends(&mut self, tgid: Tid) {
        self.0.remove(&tgid);
    }

    /// Forgets processes that have ended.
    pub(in crate::machine) fn retain(&mut self, living: &Living) {
        self.0.retain(|tgid, _| living.process(*tgid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_than_the_bound_and_a_process_that_ends_makes_room() {
        let mut pools = Pools::default();
        let all = Tid::try_from(MAX_POOLS).unwrap_or(Tid::MAX);
        assert!((1..=all).all(|tgid| pools.has_loop(tgid, tgid)));
        assert!(!pools.has_loop(all + 1, 7));
        assert!(pools.get(all + 1).is_none());
        // Who has a pool keeps it, and its loop.
        assert!(pools.has_loop(1, 9));
        assert_eq!(pools.get(1).map(|pool| pool.loop_tid), Some(1));
        pools.process_ends(1);
        assert!(pools.get(1).is_none());
        assert!(pools.has_loop(all + 1, 7));
    }
}
