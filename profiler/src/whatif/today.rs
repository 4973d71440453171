//! Today: a replay as a model, and how far its simulation can be trusted.
//!
//! In: the snapshot of a replay, its trace. Out: [`Today`].

use profiler_core::model::Snapshot;
use profiler_forecast::figures::Figures;
use profiler_forecast::play::play;
use profiler_forecast::self_forecast::SelfForecast;
use profiler_forecast::setting::SettingError;

use super::model::{Arrivals, Model};
use super::refusal::{Refusal, refusals};
use super::trace::Trace;

/// The recorded setting.
#[derive(Debug)]
pub(super) struct Today {
    /// The model of it.
    pub(super) model: Model,
    /// Why nothing is forecast from it.
    pub(super) refusals: Vec<Refusal>,
    /// As it was simulated; `None`: there is no model of it.
    pub(super) simulated: Option<Figures>,
    /// The same beside what was measured.
    pub(super) self_forecast: Option<SelfForecast>,
}

impl Today {
    /// Simulates it. `arrivals`: how requests arrive, if not as connections show.
    ///
    /// # Errors
    /// If the recorded setting cannot be simulated.
    pub(super) fn of(
        snapshot: &Snapshot,
        trace: &Trace,
        arrivals: Option<Arrivals>,
        seed: u64,
    ) -> Result<Self, SettingError> {
        let mut model = Model::of(snapshot, trace, arrivals);
        model.setting.seed = seed;
        let refusals = refusals(snapshot, trace);
        if refusals.iter().any(Refusal::has_no_model) {
            return Ok(Self { model, refusals, simulated: None, self_forecast: None });
        }
        let simulated = play(&model.load, &model.setting)?;
        let measured = Figures::of(&model.measured, model.load.endpoints.len());
        let self_forecast = Some(SelfForecast::of(&measured, &simulated));
        Ok(Self { model, refusals, simulated: Some(simulated), self_forecast })
    }

    /// Whether other settings may be forecast from it.
    pub(super) fn is_trusted(&self) -> bool {
        self.refusals.is_empty() && self.self_forecast.as_ref().is_some_and(SelfForecast::holds)
    }
}
