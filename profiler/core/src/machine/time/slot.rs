//! Slots: when each is busy, how many at once, and the heat map.
//!
//! In: busy stretches of the threads that are slots, as they become certain. Out: the time with all slots
//! busy, the peak, the curve of busy slots for the timeline, busy time per bucket.

use rustc_hash::FxHashSet;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::time::arrivals::Arrivals;
use crate::model::slot::HeatRow;

/// Edges kept until they are certain; beyond it the oldest half is settled early and counted.
const MAX_EDGES: usize = 262_144;
/// Buckets of the heat map; when a run outgrows them, each two become one.
const MAX_BUCKETS: usize = 512;
/// First length of a bucket.
const FIRST_BUCKET_NS: u64 = 10_000_000;
/// Buckets that a report shows at most.
const SHOWN_BUCKETS: usize = 60;
/// Processes in the heat map.
const MAX_ROWS: usize = 256;
/// Processes without a row of which each counts once.
const MAX_LEFT_OUT: usize = 4096;
/// Busy slots distinguished: more than threads are followed.
const MAX_LEVELS: usize = 65_536;

/// The number of busy slots over time.
#[derive(Clone, Debug, Default)]
pub struct Busy {
    /// Changes of the number that are not settled, in no order between two settlings.
    edges: Vec<(u64, i32)>,
    settled_ns: u64,
    busy: i32,
    peak: i32,
    /// How many were busy right before the moment up to which it is settled.
    just_before: i32,
    /// Time spent at each number of busy slots.
    at_level_ns: Vec<u64>,
    arrivals: Arrivals,
    /// How often edges had to be settled before they were certain.
    pub forced: u64,
}

impl Busy {
    /// A slot was busy from `start_ns` to `end_ns`.
    pub fn add(&mut self, start_ns: u64, end_ns: u64) {
        let start_ns = start_ns.max(self.settled_ns);
        if end_ns <= start_ns {
            return;
        }
        self.edges.extend([(start_ns, 1), (end_ns, -1)]);
    }

    /// Everything before `until_ns` is certain. `each` gets the time and the new number at each change.
    pub fn settle(&mut self, until_ns: u64, mut each: impl FnMut(u64, u32)) {
        let mut edges = self.take_in_order();
        let forced = if edges.len() > MAX_EDGES {
            edges.get(MAX_EDGES / 2).map_or(until_ns, |(time_ns, _)| *time_ns)
        } else {
            0
        };
        if forced > until_ns {
            self.forced = self.forced.saturating_add(1);
        }
        let until_ns = until_ns.max(forced);
        let certain = edges.partition_point(|(time_ns, _)| *time_ns <= until_ns);
        if until_ns > self.settled_ns {
            self.just_before = self.busy;
        }
        for (time_ns, delta) in edges.drain(..certain) {
            self.pass(time_ns);
            if delta != 0 {
                self.busy += delta;
                if time_ns < until_ns {
                    self.just_before = self.busy;
                }
                self.peak = self.peak.max(self.busy);
                self.arrivals.change(time_ns, self.level());
                each(time_ns, u32::try_from(self.busy).unwrap_or(0));
            }
        }
        self.edges = edges;
        self.pass(until_ns);
    }

    /// The edges that are not settled, sorted, each time once.
    fn take_in_order(&mut self) -> Vec<(u64, i32)> {
        let mut edges = std::mem::take(&mut self.edges);
        // Stretches come nearly in the order of their ends: long runs are in order already.
        edges.sort_by_key(|(time_ns, _)| *time_ns);
        edges.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        edges
    }

    fn level(&self) -> u32 {
        u32::try_from(self.busy).unwrap_or(0)
    }

    fn pass(&mut self, time_ns: u64) {
        self.arrivals.pass(time_ns, self.level());
        let level = usize::try_from(self.busy).unwrap_or(0);
        if self.settled_ns > 0 && level < MAX_LEVELS {
            if self.at_level_ns.len() <= level {
                self.at_level_ns.resize(level + 1, 0);
            }
            if let Some(sum_ns) = self.at_level_ns.get_mut(level) {
                *sum_ns = sum_ns.saturating_add(time_ns.saturating_sub(self.settled_ns));
            }
        }
        self.settled_ns = self.settled_ns.max(time_ns);
    }

    /// Begins to count at `start_ns`.
    pub fn start(&mut self, start_ns: u64) {
        self.settled_ns = start_ns;
    }

    /// A request arrived, and had to wait; it counts by the number of slots that were busy then.
    pub fn arrive(&mut self, time_ns: u64) {
        self.arrivals.add(time_ns, self.settled_ns);
    }

    /// Everything up to the end of the window has been settled.
    pub fn finish(&mut self) {
        self.arrivals.finish(self.level());
    }

    /// Requests that arrived and had to wait while at least `count` slots were busy.
    pub fn arrived_at_least(&self, count: u32) -> u64 {
        self.arrivals.at_least(count)
    }

    /// Requests that had to wait, and of which the number of slots busy at their arrival is not known any
    /// more.
    pub const fn arrivals_unplaced(&self) -> u64 {
        self.arrivals.unplaced
    }

    /// Time with at least `count` slots busy.
    pub fn at_least_ns(&self, count: u32) -> u64 {
        self.at_level_ns.iter().skip(count as usize).fold(0, |sum, level_ns| sum.saturating_add(*level_ns))
    }

    /// How many were busy right before the moment up to which it is settled.
    pub fn at_end(&self) -> u32 {
        u32::try_from(self.just_before).unwrap_or(0)
    }

    /// Largest number busy at once.
    pub fn peak(&self) -> u32 {
        u32::try_from(self.peak).unwrap_or(0)
    }
}

/// Busy slot-time per process and bucket.
#[derive(Clone, Debug)]
pub struct Heat {
    start_ns: u64,
    bucket_ns: u64,
    rows: BoundedMap<Tid, Vec<u64>, MAX_ROWS>,
    left_out: FxHashSet<Tid>,
}

impl Heat {
    /// A map that starts at `start_ns`.
    pub fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            bucket_ns: FIRST_BUCKET_NS,
            rows: BoundedMap::default(),
            left_out: FxHashSet::default(),
        }
    }

    /// Processes for which there is no row.
    pub fn evicted(&self) -> u64 {
        self.left_out.len() as u64
    }

    /// A slot of a process was busy from `start_ns` to `end_ns`.
    pub fn add(&mut self, tgid: Tid, start_ns: u64, end_ns: u64) {
        let mut start_ns = start_ns.saturating_sub(self.start_ns);
        let end_ns = end_ns.saturating_sub(self.start_ns);
        while end_ns > self.bucket_ns.saturating_mul(MAX_BUCKETS as u64) {
            self.widen();
        }
        let Some(row) = self.rows.get_or_default(tgid) else {
            if self.left_out.len() < MAX_LEFT_OUT {
                self.left_out.insert(tgid);
            }
            return;
        };
        while start_ns < end_ns {
            let bucket = start_ns / self.bucket_ns;
            let until_ns = end_ns.min(bucket.saturating_add(1).saturating_mul(self.bucket_ns));
            let Ok(index) = usize::try_from(bucket) else { return };
            if row.len() <= index {
                row.resize(index + 1, 0);
            }
            if let Some(sum_ns) = row.get_mut(index) {
                *sum_ns = sum_ns.saturating_add(until_ns.saturating_sub(start_ns));
            }
            start_ns = until_ns;
        }
    }

    fn widen(&mut self) {
        self.bucket_ns = self.bucket_ns.saturating_mul(2);
        for row in self.rows.values_mut() {
            *row =
                row.chunks(2).map(|pair| pair.iter().fold(0u64, |sum, ns| sum.saturating_add(*ns))).collect();
        }
    }

    /// The map for a window that ends at `end_ns`, in at most as many buckets as a report shows.
    pub fn finish(mut self, end_ns: u64) -> (u64, Vec<HeatRow>) {
        let length_ns = end_ns.saturating_sub(self.start_ns).max(1);
        while length_ns.div_ceil(self.bucket_ns) > SHOWN_BUCKETS as u64 {
            self.widen();
        }
        let buckets = usize::try_from(length_ns.div_ceil(self.bucket_ns)).unwrap_or(SHOWN_BUCKETS);
        let mut rows: Vec<_> = self
            .rows
            .into_map()
            .into_iter()
            .map(|(tgid, mut busy_ns)| {
                busy_ns.resize(buckets, 0);
                HeatRow { tgid, slots: 0, busy_ns, exhausted_ns: 0 }
            })
            .collect();
        rows.sort_by_key(|row| row.tgid);
        (self.bucket_ns, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```text
    ///  A: ####....####      at least 1: 0–12
    ///  B: ..####..####      at least 2: 2–4, 8–12
    /// ```
    #[test]
    fn time_with_all_slots_busy_counts_overlap_exactly() {
        let mut busy = Busy::default();
        busy.start(100);
        for (start, end) in [(100, 104), (108, 112), (102, 106), (108, 112)] {
            busy.add(start, end);
        }
        let mut curve = Vec::new();
        busy.settle(120, |time_ns, count| curve.push((time_ns, count)));
        assert_eq!(busy.at_least_ns(2), 6);
        assert_eq!(busy.at_least_ns(1), 10);
        assert_eq!(busy.at_least_ns(0), 20);
        assert_eq!(busy.peak(), 2);
        assert_eq!(curve, [(100, 1), (102, 2), (104, 1), (106, 0), (108, 2), (112, 0)]);
    }

    #[test]
    fn busy_time_survives_every_widening_of_the_heat_map() {
        let mut heat = Heat::new(1000);
        let mut sum_ns = 0;
        for index in 0..10_000_u64 {
            let start_ns = 1000 + index * 7_000_001;
            heat.add(7, start_ns, start_ns + 3_000_000);
            sum_ns += 3_000_000;
        }
        let (bucket_ns, rows) = heat.finish(1000 + 70_000_010_000);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].busy_ns.len() <= SHOWN_BUCKETS);
        assert_eq!(rows[0].busy_ns.iter().sum::<u64>(), sum_ns);
        assert!(rows[0].busy_ns.iter().all(|busy_ns| *busy_ns <= bucket_ns));
    }

    #[test]
    fn a_process_for_which_there_is_no_row_is_counted_once() {
        let mut heat = Heat::new(0);
        for tgid in 0..=MAX_ROWS as u32 {
            heat.add(tgid, 10, 20);
            heat.add(tgid, 30, 40);
        }
        assert_eq!(heat.evicted(), 1);
        assert_eq!(heat.finish(100).1.len(), MAX_ROWS);
    }
}
