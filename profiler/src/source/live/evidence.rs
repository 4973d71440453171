//! Evidence among the other records: it comes through a ring of its own, and takes its place by time.
//!
//! In: the records of that ring, and the times of those of the others as they are handed out. Out: both in
//! the order of their times. Handed out first, evidence of this moment would make all that waits in the other
//! rings come too late, after a pause of the reader that was longer than records are held back.

use std::collections::VecDeque;

use super::rings::time_ns;

/// Pieces of evidence that were taken and wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    waiting: VecDeque<(u64, Box<[u8]>)>,
}

impl Evidence {
    /// What was taken from the ring, in any order, beside what waits.
    pub(super) fn take(&mut self, records: impl Iterator<Item = Box<[u8]>>) {
        self.waiting.extend(records.map(|record| (time_ns(&record), record)));
        self.waiting.make_contiguous().sort_by_key(|(time_ns, _)| *time_ns);
    }

    /// Hands over what is no later than `until_ns`; returns how many.
    pub(super) fn until(&mut self, until_ns: u64, each: &mut impl FnMut(&[u8])) -> u64 {
        let mut handed = 0;
        while let Some((_, record)) = self.waiting.pop_front_if(|(time_ns, _)| *time_ns <= until_ns) {
            each(&record);
            handed += 1;
        }
        handed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::record::RecordHeader;
    use zerocopy::IntoBytes as _;

    #[test]
    fn evidence_is_handed_out_at_its_time_however_it_was_taken() {
        let record = |time_ns| Box::from(RecordHeader { time_ns, ..RecordHeader::default() }.as_bytes());
        let mut evidence = Evidence::default();
        evidence.take([900].into_iter().map(record));
        evidence.take([500, 300].into_iter().map(record));
        let mut order = Vec::new();
        for (other_ns, handed) in [(400, 1), (800, 1), (u64::MAX, 1)] {
            assert_eq!(evidence.until(other_ns, &mut |record| order.push(time_ns(record))), handed);
            order.push(other_ns);
        }
        assert_eq!(order, [300, 400, 500, 800, 900, u64::MAX]);
    }
}
