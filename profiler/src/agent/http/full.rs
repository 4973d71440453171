//! `/full`: what is asked for, and the answer.
//!
//! In: the query of a request, what was granted or refused. Out: a length, a body, a status.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;

use crate::agent::budget::{Refusal, SHORTEST};
use crate::cli::full::LONGEST;

/// The body for whoever gets a full trace, or its end.
#[derive(Serialize)]
pub(super) struct Granted {
    full_for_seconds: f64,
    report: &'static str,
}

impl Granted {
    /// A full trace that goes on for so long.
    pub(super) const fn new(length: Duration) -> Self {
        Self { full_for_seconds: length.as_secs_f64(), report: "/report.json?window=full" }
    }
}

/// The length that a query asks for: `seconds=60`, or nothing.
///
/// # Errors
/// What can be asked for.
pub(super) fn length(query: Option<&str>) -> Result<Option<Duration>, &'static str> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let seconds = query.strip_prefix("seconds=").and_then(|seconds| seconds.parse::<u64>().ok());
    let length = seconds.map(Duration::from_secs).filter(|length| (SHORTEST..=LONGEST).contains(length));
    length.map(Some).ok_or("only ?seconds=N can be asked for, N from 1 to 300")
}

/// The status of a refusal, and after how long it is worth asking again.
pub(super) const fn status(refusal: Refusal) -> (StatusCode, Option<Duration>) {
    match refusal {
        Refusal::UnderWay { left: again } | Refusal::Spent { again } | Refusal::Pause { again } => {
            (StatusCode::TOO_MANY_REQUESTS, Some(again))
        }
        Refusal::Always | Refusal::NoneUnderWay => (StatusCode::CONFLICT, None),
        Refusal::NotWatching | Refusal::Busy | Refusal::Cost => (StatusCode::SERVICE_UNAVAILABLE, None),
    }
}
