//! `phases`, and the phases of one request or endpoint.
//!
//! In: durations over the closed list. Out: an object with a key for every phase, in the order of the list.

use profiler_core::model::Snapshot;
use profiler_core::phase::{Phase, Phases};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{ratio, summary};

/// Every phase with its total and share, or with the reason why it was not measured.
pub(super) struct PhaseTable<'a>(&'a Snapshot);

#[derive(Serialize)]
#[serde(untagged)]
enum PhaseRow<'a> {
    Measured { total_ns: u64, share_ratio: Option<f64> },
    NotMeasured { not_measured: &'a str },
}

impl<'a> PhaseTable<'a> {
    pub(super) const fn new(snapshot: &'a Snapshot) -> Self {
        Self(snapshot)
    }
}

impl Serialize for PhaseTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let phases = &self.0.requests.phases;
        let whole_ns = phases.total_ns();
        let mut map = serializer.serialize_map(Some(Phase::COUNT))?;
        for phase in Phase::ALL {
            let total_ns = phases.get(phase);
            let row = summary::not_measured(self.0, phase).map_or_else(
                || PhaseRow::Measured { total_ns, share_ratio: ratio(total_ns, whole_ns) },
                |reason| PhaseRow::NotMeasured { not_measured: reason },
            );
            map.serialize_entry(phase.name(), &row)?;
        }
        map.end()
    }
}

/// Which phases a run did not measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmeasured([bool; Phase::COUNT]);

impl Unmeasured {
    pub(crate) fn of(phases: impl IntoIterator<Item = Phase>) -> Self {
        let mut set = Self::default();
        for phase in phases {
            if let Some(flag) = set.0.get_mut(phase as usize) {
                *flag = true;
            }
        }
        set
    }

    pub(crate) fn of_snapshot(snapshot: &Snapshot) -> Self {
        Self::of(snapshot.coverage.not_measured.iter().map(|(phase, _)| *phase))
    }

    fn holds(self, phase: Phase) -> bool {
        self.0.get(phase as usize).copied().unwrap_or(false)
    }
}

/// Every phase in ns; null where it was not measured.
pub(super) struct PhaseTimes<'a> {
    phases: &'a Phases,
    unmeasured: Unmeasured,
}

impl<'a> PhaseTimes<'a> {
    pub(super) const fn new(phases: &'a Phases, unmeasured: Unmeasured) -> Self {
        Self { phases, unmeasured }
    }
}

impl Serialize for PhaseTimes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Phase::COUNT))?;
        for phase in Phase::ALL {
            let duration_ns = self.phases.get(phase);
            let measured = duration_ns > 0 || !self.unmeasured.holds(phase);
            map.serialize_entry(phase.name(), &measured.then_some(duration_ns))?;
        }
        map.end()
    }
}
