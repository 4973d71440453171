//! The row of a thread's slices: each begins where the one before ended (law 1).
//!
//! In: slices, in the order of the thread. Out: what is missing between two, and which break the laws.

use profiler_common::record::slice::Undecided;

use crate::event::Slice;

/// The slices of a thread, as far as they have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// End of the last one.
    pub last_exit_ns: u64,
    /// Number of the last one.
    pub sequence: u32,
    /// One was seen: the next one must follow it.
    pub has_begun: bool,
}

/// What continuity says of a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Continuity {
    /// Slices missing before it.
    pub missing: u32,
    /// Stretch of which nothing is known, before its gap.
    pub hole: Option<(u64, u64)>,
    /// Its accounts do not add up.
    pub broken: bool,
    /// Sleep that may have been run queue or CPU.
    pub undecided_ns: u64,
}

impl Row {
    /// Takes the next slice: checks it against the one before. `None`: it follows that one, and all of it is
    /// known.
    #[inline]
    pub fn take(&mut self, slice: &Slice) -> Option<Continuity> {
        let gap_start_ns = slice.gap_start_ns();
        let adds_up = slice.enter_ns <= slice.exit_ns
            && slice.inside.total_ns() == slice.exit_ns - slice.enter_ns
            && slice.gap.total_ns() <= slice.enter_ns;
        let follows = !self.has_begun
            || gap_start_ns == self.last_exit_ns && slice.sequence.wrapping_sub(self.sequence) == 1;
        let is_decided = slice.undecided == Undecided::NOTHING;
        let before = *self;
        self.sequence = slice.sequence;
        self.last_exit_ns = self.last_exit_ns.max(slice.exit_ns);
        self.has_begun = true;
        if adds_up && follows && is_decided {
            return None;
        }
        Some(before.judge(slice, gap_start_ns, adds_up))
    }

    /// What a slice after this row lacks.
    #[cold]
    fn judge(self, slice: &Slice, gap_start_ns: u64, adds_up: bool) -> Continuity {
        let mut continuity = Continuity { broken: !adds_up, ..Continuity::default() };
        if self.has_begun {
            continuity.missing = slice.sequence.saturating_sub(self.sequence).saturating_sub(1);
            if gap_start_ns > self.last_exit_ns {
                continuity.hole = Some((self.last_exit_ns, gap_start_ns));
                // A hole without missing numbers means that the gap's account is short.
                continuity.broken |= continuity.missing == 0;
            } else if gap_start_ns < self.last_exit_ns {
                continuity.broken = true;
            }
        }
        continuity.undecided_ns = slice.call_undecided_ns().saturating_add(slice.gap_undecided_ns());
        continuity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Call;
    use crate::fact::Account;

    /// A slice by its number, with a gap that begins at the first moment and a call from the second to the
    /// third, all of it on a CPU.
    fn slice(sequence: u32, (gap_start_ns, enter_ns, exit_ns): (u64, u64, u64)) -> Slice {
        let cpu = |cpu_ns| Account { cpu_ns, ..Account::default() };
        Slice {
            sequence,
            enter_ns,
            exit_ns,
            gap: cpu(enter_ns - gap_start_ns),
            inside: cpu(exit_ns - enter_ns),
            ..Slice::blank(Call::Other)
        }
    }

    #[test]
    fn a_slice_follows_the_one_before_or_says_what_is_missing() {
        let hole = |missing, hole, broken| Continuity { missing, hole, broken, ..Continuity::default() };
        let cases = [
            // The slice begins where the one before ended.
            ((2, (200, 250, 300)), hole(0, None, false)),
            // Two were lost.
            ((4, (230, 250, 300)), hole(2, Some((200, 230)), false)),
            // Nothing was lost, and time is missing: its account is short.
            ((2, (230, 250, 300)), hole(0, Some((200, 230)), true)),
            // The slice begins before the one before had ended.
            ((2, (190, 250, 300)), hole(0, None, true)),
            // A number that goes back is no loss.
            ((1, (200, 250, 300)), hole(0, None, false)),
        ];
        for ((sequence, times), expected) in cases {
            let mut row = Row::default();
            // The first may begin anywhere.
            assert_eq!(row.take(&slice(1, (100, 150, 200))), None);
            let continuity = row.take(&slice(sequence, times));
            assert_eq!(continuity.unwrap_or_default(), expected, "{sequence} {times:?}");
            assert_eq!((row.sequence, row.last_exit_ns), (sequence, 300));
        }
    }

    #[test]
    fn a_call_whose_account_is_not_its_length_breaks_the_law() {
        let call = slice(1, (100, 150, 200));
        for exit_ns in [201, 149] {
            let call = Slice { exit_ns, ..call };
            assert!(Row::default().take(&call).is_some_and(|continuity| continuity.broken));
        }
    }
}
