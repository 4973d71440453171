//! The options for full traces beside light mode: when, how long, how often.
//!
//! In: words of the command line. Out: [`FullTraces`], with its [`Condition`]s.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use profiler_core::finding::RULES;

use super::duration;
use super::help::FULL_TRACES;
use crate::report::summary::HEALTHY;

/// Longest full trace, whoever wants it.
pub const LONGEST: Duration = Duration::from_mins(5);

/// Full traces beside light mode.
#[derive(Clone, Debug, Args)]
pub struct FullTraces {
    /// In light mode, trace in full when this happens: p99=500ms, queue=10 or a finding
    ///
    /// Several are separated by commas. p99: the 99th percentile of the requests that ended in the last 10
    /// seconds is above this, of 20 requests or more. queue: as many connections wait for accept. A finding:
    /// it is present in the last window; light mode judges those about waiting, which `explain` lists,
    /// backlog-too-small, descriptor-limit, clients-leave, keep-alive-race, worker-timeouts, server-errors.
    #[arg(long = "full-when", value_name = "CONDITION", value_delimiter = ',', help_heading = FULL_TRACES)]
    pub when: Vec<Condition>,
    /// How long such a trace lasts
    #[arg(long = "full-for", value_name = "TIME", default_value = "60s", value_parser = length, help_heading = FULL_TRACES)]
    pub length: Duration,
    /// How long after a full trace none begins by itself
    #[arg(long = "full-pause", value_name = "TIME", default_value = "10m", value_parser = duration::parse, help_heading = FULL_TRACES)]
    pub pause: Duration,
    /// How much of any hour may be traced in full, also on request
    #[arg(long = "full-share", value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100), help_heading = FULL_TRACES)]
    pub share_percent: u8,
}

/// What makes a full trace begin by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The 99th percentile of requests is above this, in nanoseconds.
    P99(u64),
    /// As many connections wait for accept.
    Queue(u32),
    /// This finding is present.
    Finding(&'static str),
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// The time of `p99=`.
    #[error("p99={0}")]
    P99(duration::DurationError),
    /// The number of `queue=`.
    #[error("queue= needs a number of connections, such as queue=10")]
    Queue,
    /// Neither a condition nor a finding.
    #[error("is neither p99=TIME nor queue=NUMBER nor a finding; wsgi-trace explain lists the findings")]
    Unknown,
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        match text.trim().split_once('=') {
            Some(("p99", time)) => {
                let limit = duration::parse_with_unit(time).map_err(ConditionError::P99)?;
                Ok(Self::P99(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)))
            }
            Some(("queue", number)) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                number.map(Self::Queue).ok_or(ConditionError::Queue)
            }
            Some(_) => Err(ConditionError::Unknown),
            None => {
                let mut ids = RULES.iter().map(|rule| rule.id).filter(|id| *id != HEALTHY);
                ids.find(|id| *id == text.trim()).map(Self::Finding).ok_or(ConditionError::Unknown)
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P99(limit_ns) => write!(f, "p99={}ms", limit_ns / 1_000_000),
            Self::Queue(number) => write!(f, "queue={number}"),
            Self::Finding(id) => f.write_str(id),
        }
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=LONGEST).contains(&length) {
        Ok(length)
    } else {
        Err("must lie between 1s and 5m".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_what_is_none_is_said() {
        for (text, expected) in [
            ("p99=500ms", Ok(Condition::P99(500_000_000))),
            (" p99=2s ", Ok(Condition::P99(2_000_000_000))),
            ("queue=10", Ok(Condition::Queue(10))),
            ("sleeping", Ok(Condition::Finding("sleeping"))),
            ("p99=500", Err(ConditionError::P99(duration::DurationError::Unit))),
            ("queue=0", Err(ConditionError::Queue)),
            ("queue=many", Err(ConditionError::Queue)),
            ("p50=1s", Err(ConditionError::Unknown)),
            ("healthy", Err(ConditionError::Unknown)),
            ("", Err(ConditionError::Unknown)),
        ] {
            assert_eq!(text.parse::<Condition>(), expected, "{text}");
        }
    }

    #[test]
    fn lengths_beyond_five_minutes_are_refused() {
        assert_eq!(length("60s"), Ok(Duration::from_mins(1)));
        assert!(length("6m").is_err() && length("500ms").is_err());
    }
}
