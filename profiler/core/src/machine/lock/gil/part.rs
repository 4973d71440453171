//! What a slice is in its thread's wait, and how much of its time counts as waiting.
//!
//! In: a slice and its part in a wait. Out: how much of it is a wait.

use super::episode::begin_ns;
use crate::event::Slice;
use crate::machine::lock::gil_waits::EndedAttempt;

/// What a slice is in its thread's wait, and what it shows of the wait before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The slice itself.
    pub part: Part,
    /// How long the wait before it continued after its last sleep, within the window.
    pub tail_ns: u64,
    /// The wait, if it ended with this slice and each one is asked for.
    pub ended: Option<Box<EndedAttempt>>,
}

/// What a slice is in its thread's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No wait for the lock.
    None,
    /// The call is a wait; the gap before it is not.
    First,
    /// The call continues the wait of the slice before. The gap belongs to that wait.
    Again,
    /// The call waits on the lock's memory, but not to take the lock: to give it up, or until another thread
    /// has taken it.
    Handover,
}

impl Part {
    /// How much of a slice is a wait within the window; `None`: it is no wait.
    pub const fn wait_ns(self, slice: &Slice, window_start_ns: u64) -> Option<u64> {
        let start_ns = match self {
            Self::First => begin_ns(slice),
            Self::Again => slice.gap_start_ns(),
            Self::None | Self::Handover => return None,
        };
        let start_ns = if start_ns > window_start_ns { start_ns } else { window_start_ns };
        if slice.exit_ns > start_ns { Some(slice.exit_ns - start_ns) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Call;
    use crate::fact::Account;

    #[test]
    fn a_wait_is_the_call_and_where_it_goes_on_the_gap_before_it_within_the_window() {
        // A gap from 600 to 1000, of which the probe saw the last 100 as a part of the attempt.
        let gap = Account { cpu_ns: 400, ..Account::default() };
        let mut slice = Slice { enter_ns: 1_000, gap, ..Slice::blank(Call::Other) };
        slice.lock.take_lead_ns = Some(100);
        for (what, part, exit_ns, window_start_ns, expected) in [
            ("no wait", Part::None, 1_200, 0, None),
            ("a wait to give it up", Part::Handover, 1_200, 0, None),
            ("the first sleep", Part::First, 1_200, 0, Some(300)),
            ("a further one", Part::Again, 1_200, 0, Some(600)),
            ("the window begins before it", Part::First, 1_200, 900, Some(300)),
            ("the window begins within it", Part::First, 1_200, 901, Some(299)),
            ("the window begins within the gap", Part::Again, 1_200, 700, Some(500)),
            ("the window begins with its end", Part::Again, 1_200, 1_200, None),
            ("the window begins after it", Part::Again, 1_200, 1_300, None),
            ("it ends as it begins", Part::First, 900, 0, None),
        ] {
            let slice = Slice { exit_ns, ..slice };
            assert_eq!(part.wait_ns(&slice, window_start_ns), expected, "{what}");
        }
    }
}
