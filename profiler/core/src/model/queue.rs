//! Accept queues of a window: how deep, for how long full, what was refused.
//!
//! In: readings of the queues, connections that were accepted. Out: [`Queue`], [`Network`].

use std::collections::BTreeMap;

use super::latency::Latency;
use crate::fact::queue::NetworkCounters;

/// Depths up to this are kept apart; greater ones are kept to 0.8 %.
const EXACT: u32 = 256;

/// The accept queue of one listener over the window.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Limit in force, as read last; the queue is full when more than this many wait.
    pub limit: u32,
    /// Connections that waited when the window ended.
    pub depth: u32,
    /// Time (ns) that the queue had each depth, by readings ten times a second.
    pub over_time: Depths,
    /// Time (ns) that it was full, by the same readings.
    pub full_ns: u64,
    /// Accepted connections by how many waited when each came, itself included. By order of arrival and
    /// accept, so to the connection.
    pub at_arrival: Depths,
    /// Packets of handshakes (SYN, or the ACK that ends one) refused in the window. Each is tried again by
    /// its client after a second, then after longer waits; one client counts once for each attempt. Of a UNIX
    /// listener the attempts to connect that found it full: the client gets an error, or waits and looks
    /// again. `None`: not counted.
    pub refused: Option<u64>,
    /// What is known of the clients behind refusals; `None`: this kernel does not report it.
    pub delays: Option<Delays>,
}

/// Clients that found the queue full.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    /// Packets of handshakes that found the queue full: each is an attempt that its client must repeat.
    pub attempts: u64,
    /// Refused packets that would have ended a handshake. Such a client takes itself for connected.
    pub attempts_at_end: u64,
    /// Clients (by address and port) refused for the first time in the window.
    pub clients: u64,
    /// From a client's first refusal to its connection, of the connections accepted in the window; to the
    /// millisecond.
    pub delay: Latency,
}

impl Queue {
    /// Most connections that waited at one moment, as far as was seen.
    pub fn deepest(&self) -> u32 {
        self.over_time.max().max(self.at_arrival.max()).max(self.depth)
    }

    /// Time (ns) over which the queue was read.
    pub const fn observed_ns(&self) -> u64 {
        self.over_time.weight()
    }
}

/// A namespace's counts in the window.
pub type Network = NetworkCounters;

/// Weights by depth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    weights: BTreeMap<u32, u64>,
    weight: u64,
    max: u32,
}

impl Depths {
    /// Adds weight to a depth.
    pub fn add(&mut self, depth: u32, weight: u64) {
        if weight == 0 {
            return;
        }
        let sum = self.weights.entry(kept(depth)).or_default();
        *sum = sum.saturating_add(weight);
        self.weight = self.weight.saturating_add(weight);
        self.max = self.max.max(depth);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (depth, weight) in &other.weights {
            self.add(*depth, *weight);
        }
        self.max = self.max.max(other.max);
    }

    /// All weight.
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Each depth by its weight, added up: over time, how long all connections together waited (ns).
    pub fn sum(&self) -> u64 {
        self.weights.iter().fold(0, |sum, (depth, weight)| {
            sum.saturating_add(weight.saturating_mul(u64::from((*depth).min(self.max))))
        })
    }

    /// Greatest depth.
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// The least depth that `share` (0 to 1) of the weight does not exceed; 0 without weight.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a sum fits")]
    pub fn quantile(&self, share: f64) -> u32 {
        let wanted = (self.weight as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut sum = 0_u64;
        for (depth, weight) in &self.weights {
            sum = sum.saturating_add(*weight);
            if sum >= wanted {
                return (*depth).min(self.max);
            }
        }
        self.max
    }
}

/// The depth as it is kept: the upper end of its step.
const fn kept(depth: u32) -> u32 {
    if depth < EXACT {
        return depth;
    }
    let step = depth.ilog2() - EXACT.ilog2() + 1;
    depth | ((1 << step) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_weight_and_small_depths_are_exact() {
        let mut depths = Depths::default();
        assert_eq!((depths.quantile(0.5), depths.max()), (0, 0));
        depths.add(0, 900);
        depths.add(3, 90);
        depths.add(129, 10);
        depths.add(4_000, 0);
        assert_eq!((depths.quantile(0.5), depths.quantile(0.95), depths.quantile(1.0)), (0, 3, 129));
        assert_eq!((depths.max(), depths.weight()), (129, 1_000));
        assert_eq!(depths.sum(), 3 * 90 + 129 * 10);
    }

    #[test]
    fn every_depth_is_kept_to_a_percent_and_the_table_stays_bounded() {
        let mut depths = Depths::default();
        for depth in 0..70_000_u32 {
            assert!(kept(depth) >= depth && u64::from(kept(depth) - depth) * 125 <= u64::from(depth));
            depths.add(depth, 1);
        }
        assert!(depths.weights.len() < 2_000, "{}", depths.weights.len());
        assert_eq!(depths.max(), 69_999);
        assert!(depths.quantile(1.0) == 69_999 && kept(u32::MAX) == u32::MAX);
    }
}
