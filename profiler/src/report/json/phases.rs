//! `phases`: of all requests, of an endpoint, of one request; the shape is the same everywhere.
//!
//! In: durations over the closed list. Out: an object with a key for every phase, in the order of the list.

use profiler_core::model::Snapshot;
use profiler_core::phase::{Phase, Phases};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

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

/// A phase as a key: its name with the unit.
pub(super) struct Key(pub(super) Phase);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}_ns", self.0.name()))
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
            map.serialize_entry(&Key(phase), &measured.then_some(duration_ns))?;
        }
        map.end()
    }
}
