//! How much may be traced in full: whether a full trace may begin now, and for how long.
//!
//! In: times since the agent began, what is wanted. Out: a length, or the reason why not. A pure state
//! machine.

use std::collections::VecDeque;
use std::time::Duration;

/// The time of which only a share may be traced in full.
const SPAN: Duration = Duration::from_hours(1);
/// Less than this is not worth attaching for.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// What may be traced in full at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest full trace.
    pub longest: Duration,
    /// Share of any hour, in percent.
    pub share_percent: u8,
    /// After a full trace none begins by itself for so long.
    pub pause: Duration,
}

/// Who wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A person, or a program of theirs.
    Request,
    /// A trigger.
    Trigger,
}

/// Why there is none now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One is under way.
    #[error("a full trace is under way, for {} s more", left.as_secs())]
    UnderWay {
        /// Until it ends.
        left: Duration,
    },
    /// The share of the last hour is used up.
    #[error("as much was traced in full in the last hour as may be; again in {} s", again.as_secs().max(1))]
    Spent {
        /// Until some of it is free again.
        again: Duration,
    },
    /// One ended too short ago for another to begin by itself.
    #[error("a full trace ended a short time ago; another begins by itself in {} s at the earliest", again.as_secs().max(1))]
    Pause {
        /// Until the pause is over.
        again: Duration,
    },
    /// It would take more than may be taken.
    #[error("it would take more than --max-cost; /healthz says what is left out")]
    Cost,
    /// There is no full trace to end.
    #[error("no full trace is under way")]
    NoneUnderWay,
    /// Everything is traced in full.
    #[error("the server is traced in full all the time: /report.json has it")]
    Always,
    /// No target is watched.
    #[error("nothing is watched now; /healthz says why")]
    NotWatching,
    /// The agent attaches to a target, or detaches from one.
    #[error("the agent does not answer; /healthz says how it stands")]
    Busy,
}

/// One full trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: Duration,
    end: Duration,
}

/// What was traced in full in the last hour.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    /// Oldest first; the last one may be under way. Those that ended more than an hour ago are forgotten.
    runs: VecDeque<Run>,
}

impl Budget {
    /// Nothing was traced yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, runs: VecDeque::new() }
    }

    /// Grants a full trace that begins at `now`, of at most `wanted`; it counts from now on. What is left of
    /// the budget may be less than what is wanted: then it is what is granted.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn grant(&mut self, now: Duration, wanted: Duration, by: By) -> Result<Duration, Refusal> {
        self.runs.retain(|run| run.end + SPAN > now);
        if let Some(last) = self.runs.back() {
            if last.end > now {
                return Err(Refusal::UnderWay { left: last.end.saturating_sub(now) });
            }
            let again = (last.end + self.limits.pause).saturating_sub(now);
            if by == By::Trigger && !again.is_zero() {
                return Err(Refusal::Pause { again });
            }
        }
        let left = self.limit().saturating_sub(self.used(now));
        if left < SHORTEST {
            return Err(Refusal::Spent { again: self.again(now) });
        }
        let granted = wanted.clamp(SHORTEST, self.limits.longest).min(left);
        self.runs.push_back(Run { start: now, end: now + granted });
        Ok(granted)
    }

    /// The one that is under way has ended at `now`, early or late. One that took no time has not been.
    pub fn ended(&mut self, now: Duration) {
        let Some(last) = self.runs.back_mut() else { return };
        last.end = now;
        if last.end <= last.start {
            self.runs.pop_back();
        }
    }

    fn limit(&self) -> Duration {
        SPAN * u32::from(self.limits.share_percent) / 100
    }

    /// What of the hour before `now` was traced in full.
    fn used(&self, now: Duration) -> Duration {
        let since = now.saturating_sub(SPAN);
        self.runs.iter().map(|run| run.end.min(now).saturating_sub(run.start.max(since))).sum()
    }

    /// How long until the shortest full trace is free again.
    fn again(&self, now: Duration) -> Duration {
        let mut wanted = (self.used(now) + SHORTEST).saturating_sub(self.limit());
        let since = now.saturating_sub(SPAN);
        for run in &self.runs {
            let start = run.start.max(since);
            let length = run.end.saturating_sub(start);
            if length >= wanted {
                return (start + wanted + SPAN).saturating_sub(now);
            }
            wanted = wanted.saturating_sub(length);
        }
        SPAN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { longest: seconds(300), share_percent: 10, pause: Duration::from_secs(600) };

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What happens at a time, in seconds.
    enum Step {
        Ask(u64),
        Trigger(u64),
        Ended,
    }
    use Step::{Ask, Ended, Trigger};

    #[test]
    fn full_traces_keep_within_their_budget() {
        let pause = |again| Some(Err(Refusal::Pause { again: seconds(again) }));
        let spent = |again| Some(Err(Refusal::Spent { again: seconds(again) }));
        let ok = |granted| Some(Ok(seconds(granted)));
        let mut budget = Budget::new(LIMITS);
        for (at, step, expected) in [
            (0, Trigger(60), ok(60)),
            // One at a time, whoever wants it.
            (10, Ask(30), Some(Err(Refusal::UnderWay { left: seconds(50) }))),
            (10, Trigger(30), Some(Err(Refusal::UnderWay { left: seconds(50) }))),
            (61, Ended, None),
            // The full trace lasted a second longer than granted: that counts too. By itself none begins
            // before the pause is over.
            (70, Trigger(60), pause(591)),
            // A person need not wait; never more than the longest, nor than what is left of 360 s.
            (70, Ask(1000), ok(299)),
            (369, Ended, None),
            (370, Ask(60), spent(3231)),
            (3600, Trigger(60), spent(1)),
            // The first run has begun to leave the hour.
            (3610, Trigger(60), ok(10)),
            // Ended early: the rest is free.
            (3612, Ended, None),
            (3700, Ask(5), ok(5)),
            (3705, Ended, None),
            // None of the first hour is left.
            (7500, Ask(0), ok(1)),
        ] {
            let now = seconds(at);
            let answer = match step {
                Ask(wanted) => Some(budget.grant(now, seconds(wanted), By::Request)),
                Trigger(wanted) => Some(budget.grant(now, seconds(wanted), By::Trigger)),
                Ended => {
                    budget.ended(now);
                    None
                }
            };
            assert_eq!(answer, expected, "at {at} s");
        }
    }

    proptest! {
        #[test]
        fn no_hour_has_more_than_its_share(
            steps in prop::collection::vec((0_u64..400, 0_u64..500, any::<bool>()), 1..200),
            share_percent in 1_u8..=100,
        ) {
            let limits = Limits { share_percent, ..LIMITS };
            let mut budget = Budget::new(limits);
            let (mut now, mut runs) = (Duration::ZERO, Vec::new());
            for (wait, wanted, is_request) in steps {
                now += seconds(wait);
                let by = if is_request { By::Request } else { By::Trigger };
                if let Ok(granted) = budget.grant(now, seconds(wanted), by) {
                    prop_assert!(granted <= limits.longest);
                    runs.push((now, now + granted));
                }
            }
            for (_, end) in &runs {
                let since = end.saturating_sub(SPAN);
                let used: Duration =
                    runs.iter().map(|(start, stop)| (*stop).min(*end).saturating_sub((*start).max(since))).sum();
                prop_assert!(used <= SPAN * u32::from(share_percent) / 100, "{used:?} up to {end:?}");
            }
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two at once");
        }

        #[test]
        fn after_the_time_that_a_refusal_names_there_is_room(
            lengths in prop::collection::vec(1_u64..300, 1..20),
        ) {
            let mut budget = Budget::new(LIMITS);
            let mut now = Duration::ZERO;
            for length in lengths {
                match budget.grant(now, seconds(length), By::Request) {
                    Ok(granted) => now += granted,
                    Err(Refusal::Spent { again }) => {
                        let early = again.saturating_sub(seconds(1));
                        prop_assert!(budget.clone().grant(now + early, seconds(1), By::Request).is_err() || again <= seconds(1));
                        prop_assert!(budget.grant(now + again, seconds(1), By::Request).is_ok());
                        now += again + seconds(1);
                    }
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
