//! What requests would wait for a slot if workers were fewer, or if each had an accept queue of its own
//! (`SO_REUSEPORT`).
//!
//! In: a [`Snapshot`]. Out: that time. The kernel gives a connection to one of several queues by a hash of
//! its addresses, whoever is busy (`reuseport_select_sock` in net/core/sock_reuseport.c). So each worker is
//! then a queue with its share of the load.

use crate::model::Snapshot;

/// Slots of one queue that are never all busy by chance: a setting may name any number.
const MANY: u64 = 4096;

/// The load that was seen, and the slots that it met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    window_ns: f64,
    /// Slots that were busy at one moment, on average.
    busy: f64,
    /// All slots.
    slots: u64,
    workers: u64,
}

impl Load {
    /// Of this window; `None`: slots or workers are not known.
    pub(super) fn of(snapshot: &Snapshot, workers: u64) -> Option<Self> {
        let window_ns = snapshot.window.length_ns() as f64;
        let slots = u64::from(snapshot.slots.count());
        if workers == 0 || slots < workers || window_ns <= 0.0 {
            return None;
        }
        Some(Self { window_ns, busy: snapshot.slots.busy_ns() as f64 / window_ns, slots, workers })
    }

    /// Nanoseconds that all requests of the window would wait if each worker had a queue of its own.
    pub(super) fn wait_with_own_queues_ns(self) -> f64 {
        let workers = self.workers as f64;
        self.window_ns * waiting(self.slots / self.workers, self.busy / workers) * workers
    }

    /// Nanoseconds that all requests of the window would wait with half of the workers and one queue.
    pub(super) fn wait_with_half_ns(self) -> f64 {
        let slots = self.slots / self.workers * self.workers.div_ceil(2);
        self.window_ns * waiting(slots, self.busy)
    }
}

/// Requests that wait at one moment, on average, for one of `slots` of which `busy` are. They come at random,
/// and all take as long: those that differ wait longer. Half of what Erlang's C gives, which holds for
/// exponential lengths; exact for one slot.
pub(crate) fn waiting(slots: u64, busy: f64) -> f64 {
    let free = slots as f64 - busy;
    if free <= 0.0 {
        return f64::INFINITY;
    }
    all_busy(slots, busy) * busy / free / 2.0
}

/// The share of requests that find all `slots` busy, of which `busy` are on average: Erlang's C. They come at
/// random.
pub(crate) fn all_busy(slots: u64, busy: f64) -> f64 {
    if busy >= slots as f64 {
        return 1.0;
    }
    if slots > MANY {
        return 0.0;
    }
    // Erlang's B by its recursion, then C.
    let blocked = (1..=slots).fold(1.0, |blocked, slot| busy * blocked / (slot as f64 + busy * blocked));
    blocked / (1.0 - busy / slots as f64 * (1.0 - blocked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::slot::Slot;

    #[test]
    fn a_request_waits_where_all_slots_of_its_queue_are_busy() {
        for (what, slots, busy, expected) in [
            ("nobody asks", 1, 0.0, 0.0),
            // M/D/1: rho² / (2 (1 − rho)).
            ("one slot, half of the time", 1, 0.5, 0.25),
            ("one slot, an eighth", 1, 0.125, 0.125 * 0.125 / (2.0 * 0.875)),
            // Erlang's C for two slots and one busy is 1/3, and so many wait at one moment.
            ("two slots, one busy", 2, 1.0, 1.0 / 6.0),
            ("more load than slots", 2, 2.0, f64::INFINITY),
            ("any number of slots", u64::MAX, 5.0, 0.0),
        ] {
            let found = waiting(slots, busy);
            assert!(found == expected || (found - expected).abs() < 1e-12, "{what}: {found}");
        }
    }

    #[test]
    fn a_request_finds_all_slots_busy_as_often_as_erlang_says() {
        for (what, slots, busy, expected) in [
            ("nobody asks", 1, 0.0, 0.0),
            ("one slot, a quarter", 1, 0.25, 0.25),
            ("two slots, one busy", 2, 1.0, 1.0 / 3.0),
            ("as much load as slots", 2, 2.0, 1.0),
            ("no slots", 0, 0.0, 1.0),
            ("any number of slots", u64::MAX, 5.0, 0.0),
        ] {
            assert!((all_busy(slots, busy) - expected).abs() < 1e-12, "{what}: {}", all_busy(slots, busy));
        }
    }

    #[test]
    fn queues_of_their_own_cost_more_than_one_and_fewer_workers_more_than_all() {
        let mut snapshot = Snapshot::default();
        assert!(Load::of(&snapshot, 8).is_none(), "no window");
        snapshot.window.end_ns = 1_000_000_000;
        assert!(Load::of(&snapshot, 8).is_none(), "no slots");
        snapshot.slots.configured = Some(8);
        assert!(Load::of(&snapshot, 0).is_none(), "no workers");
        let mut slot = Slot::default();
        slot.holding_ns[0] = 2_000_000_000;
        snapshot.slots.observed = vec![slot];
        let load = Load::of(&snapshot, 8).unwrap();
        let one_of_eight = 0.25 * 0.25 / (2.0 * 0.75);
        assert!((load.wait_with_own_queues_ns() - 8e9 * one_of_eight).abs() < 1.0);
        assert!(load.wait_with_half_ns() < load.wait_with_own_queues_ns());
        let all = Load { slots: 8, workers: 1, ..load };
        assert!(all.wait_with_own_queues_ns() < load.wait_with_half_ns(), "one queue of all slots");
    }
}
