//! The heat map: how busy the slots of a process were, stretch by stretch.
//!
//! In: busy slot-time by bucket. Out: shares by column of a map, however many it has.

use profiler_core::model::slot::HeatRow;

use crate::report::summary;

/// The busy share of a process over the window.
pub(crate) fn share_of(row: &HeatRow, window_ns: u64) -> Option<f64> {
    let slot_time_ns = window_ns.saturating_mul(u64::from(row.slots));
    let busy_ns = row.busy_ns.iter().copied().fold(0, u64::saturating_add);
    summary::ratio(busy_ns, slot_time_ns)
}

/// The busy share of a process in one column of the map: the average over the stretch of time it stands for.
pub(crate) fn share_of_column(
    row: &HeatRow,
    (column, columns): (u64, u64),
    bucket_ns: u64,
    window_ns: u64,
) -> Option<f64> {
    let edge = |column| summary::scaled(window_ns, column, columns);
    let (from_ns, to_ns) = (edge(column), edge(column + 1));
    let mut busy_ns = 0_u64;
    let mut start_ns = 0_u64;
    for bucket_busy_ns in &row.busy_ns {
        let end_ns = start_ns.saturating_add(bucket_ns).min(window_ns);
        let overlap_ns = end_ns.min(to_ns).saturating_sub(start_ns.max(from_ns));
        // Within a bucket the busy time is taken as even.
        let length_ns = end_ns.saturating_sub(start_ns);
        busy_ns = busy_ns.saturating_add(summary::scaled(*bucket_busy_ns, overlap_ns, length_ns));
        start_ns = end_ns;
    }
    summary::ratio(busy_ns, to_ns.saturating_sub(from_ns).saturating_mul(u64::from(row.slots)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of a map.
    const COLUMNS: u64 = 72;

    fn row(busy_ns: Vec<u64>) -> HeatRow {
        HeatRow { tgid: 1, slots: 2, busy_ns, exhausted_ns: 0 }
    }

    #[test]
    fn more_buckets_than_columns_are_averaged_and_fewer_are_stretched() {
        let window_ns = 7_200;
        let many: Vec<u64> = (0..7_200).map(|n| if n % 2 == 0 { 2 } else { 0 }).collect();
        assert_eq!(share_of_column(&row(many), (5, COLUMNS), 1, window_ns), Some(0.5));
        let few = row(vec![0, 3_600 * 2]);
        assert_eq!(share_of_column(&few, (35, COLUMNS), 3_600, window_ns), Some(0.0));
        assert_eq!(share_of_column(&few, (36, COLUMNS), 3_600, window_ns), Some(1.0));
    }

    #[test]
    fn busy_time_that_no_number_can_hold_still_has_a_share() {
        assert!(share_of(&row(vec![u64::MAX, 1]), 100).is_some_and(|share| share > 1.0));
    }

    #[test]
    fn a_last_bucket_cut_by_the_end_of_the_window_can_still_be_full() {
        // Buckets of 100 ns, the window ends at 144 ns: the last bucket holds 44 ns of two slots.
        let cut = row(vec![0, 88]);
        assert_eq!(share_of_column(&cut, (71, COLUMNS), 100, 144), Some(1.0));
    }
}
