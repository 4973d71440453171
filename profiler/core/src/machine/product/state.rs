//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::product::by_process::{ByProcess, MAX_COUNTED};
use crate::machine::product::dropped::Drops;
use crate::machine::product::lives::Lives;
use crate::machine::product::summary::Summary;

/// What will be reported.
#[derive(Clone, Debug, Default)]
pub struct Product {
    /// Finished requests.
    pub summary: Summary,
    /// Requests per process.
    pub served: BoundedMap<Tid, u64, MAX_COUNTED>,
    /// What they did, and the memory of each process.
    pub by_process: ByProcess,
    /// Workers that come and go.
    pub lives: Lives,
    /// What became of connections.
    pub drops: Drops,
}

impl Product {
    /// The next window begins: sums start at zero.
    pub fn roll(&mut self) {
        self.drops.roll();
        self.summary.roll();
        self.served.clear();
        self.by_process.roll();
        self.lives.roll();
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.served.evicted() + self.by_process.evicted() + self.lives.evicted() + self.drops.evicted()
    }
}
