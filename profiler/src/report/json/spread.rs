//! How far means can be trusted.
//!
//! In: the spread of a group of requests. Out: standard errors of its mean length and of its mean time in
//! each phase, by batches of requests that followed one another; null where there are too few.

use profiler_core::model::spread;
use profiler_core::phase::Phase;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::phases::Key;

view! {
    /// How far means over this group of completed requests can be trusted: standard errors by the method of
    /// batch means. The run is cut into batches of equally many requests that ended one after the other, so
    /// that what they have in common counts. Null: fewer than two batches.
    pub(super) struct StandardError<'a>(spread: &'a spread::Spread) {
        /// Whole batches (one request each where there are fewer than 32 requests).
        batches: u32 = spread.batches(),
        /// Of the mean length of a request, in ns.
        total_ns: Option<u64> = spread.total_error_ns().map(whole),
        /// Of the mean time of a request in each phase.
        #[cfg_attr(test, schemars(with = "super::phases::PhaseTimes<'static>"))]
        phases: PhaseErrors<'a> = PhaseErrors(spread),
    }
}

struct PhaseErrors<'a>(&'a spread::Spread);

impl Serialize for PhaseErrors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Phase::COUNT))?;
        for phase in Phase::ALL {
            map.serialize_entry(&Key(phase), &self.0.phase_error_ns(phase).map(whole))?;
        }
        map.end()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a duration, far below 2^63")]
fn whole(duration_ns: f64) -> u64 {
    duration_ns.round() as u64
}
