//! From a recording and changes to bounds, the self-forecast and, where that holds, forecasts.
//!
//! In: an [`Ask`]. Out: a [`WhatIf`].

use std::path::PathBuf;

use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use profiler_forecast::bounds::{Bounds, Without, bounds};
use profiler_forecast::capacity::{Capacity, Limit, capacity};
use profiler_forecast::change::Change;
use profiler_forecast::engine::simulate;
use profiler_forecast::figures::Figures;
use profiler_forecast::load::{Arrives, Load};
use profiler_forecast::self_forecast::SelfForecast;
use profiler_forecast::setting::{Setting, SettingError};

use super::model::{Arrivals, Model};
use super::refusal::{Refusal, refusals};
use super::trace::Trace;
use crate::session::{SessionError, replay};

/// CPU times of the ranges: the machine is never as fast again as it was.
const CPU_TIMES: [f64; 2] = [0.9, 1.1];

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    /// The recording cannot be replayed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A change names a back end that the recording does not have.
    #[error("the recording has no back end {name}: it has {known}")]
    NoBackEnd {
        /// As the user named it.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A changed setting cannot be simulated.
    #[error("{0}")]
    Setting(#[from] SettingError),
}

/// One change as it was asked for: back ends by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Anything but a back end.
    Plain(Change),
    /// The back end of this name takes so many times as long.
    BackEnd(String, f64),
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The recording.
    pub recording: PathBuf,
    /// Each change, with the words that asked for it.
    pub changes: Vec<(String, Asked)>,
    /// How requests arrive, if not as connections show.
    pub arrivals: Option<Arrivals>,
    /// Seed of all that is random.
    pub seed: u64,
    /// Forecast also where nothing should be: to judge that.
    pub is_untrusted: bool,
}

/// A setting, simulated.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The changes, in the user's words.
    pub name: String,
    /// With CPU times as recorded.
    pub figures: Figures,
    /// With less CPU time, and with more.
    pub range: [Figures; 2],
    /// The most that it serves.
    pub capacity: Capacity,
    /// What is asked of it, as a ratio of that.
    pub used_ratio: f64,
}

/// What is said of a recording.
#[derive(Debug)]
pub struct WhatIf {
    /// Its report.
    pub snapshot: Snapshot,
    /// The model of it.
    pub model: Model,
    /// At best.
    pub bounds: Bounds,
    /// Bounds for which the waits were measured, in the order of [`Without::ALL`].
    pub is_bounded: [bool; Without::ALL.len()],
    /// Why nothing is forecast.
    pub refusals: Vec<Refusal>,
    /// Today as measured beside today as simulated; `None`: there is no model of it.
    pub self_forecast: Option<SelfForecast>,
    /// Today, each change alone, then all together; none unless the self-forecast holds.
    pub forecasts: Vec<Forecast>,
}

impl WhatIf {
    /// Answers.
    ///
    /// # Errors
    /// If the recording cannot be read, or a change makes no sense for it.
    pub fn of(ask: &Ask) -> Result<Self, WhatIfError> {
        let mut trace = Trace::default();
        let snapshot = replay::run(&ask.recording, &mut trace)?;
        Self::of_replay(snapshot, &trace, ask)
    }

    /// Answers for a recording that was replayed.
    ///
    /// # Errors
    /// If a change makes no sense for it.
    pub fn of_replay(snapshot: Snapshot, trace: &Trace, ask: &Ask) -> Result<Self, WhatIfError> {
        let mut model = Model::of(&snapshot, trace, ask.arrivals);
        model.setting.seed = ask.seed;
        let refusals = refusals(&snapshot, trace);
        let changes = resolved(&ask.changes, &model.load)?;
        let is_bounded = Without::ALL.map(|without| {
            let is_missing =
                |phase: &Phase| snapshot.coverage.not_measured.iter().any(|(other, _)| other == phase);
            !without.phases().iter().any(is_missing)
        });
        let bounds = bounds(&model.bounded, model.load.endpoints.len());
        let mut answer = Self {
            snapshot,
            bounds,
            is_bounded,
            refusals,
            self_forecast: None,
            forecasts: Vec::new(),
            model,
        };
        if !answer.refusals.iter().any(Refusal::has_no_model) {
            answer.simulate(&changes, ask.is_untrusted)?;
        }
        Ok(answer)
    }

    fn simulate(&mut self, changes: &[(String, Change)], is_untrusted: bool) -> Result<(), WhatIfError> {
        let Model { load, setting, measured, .. } = &self.model;
        let simulated = Figures::simulated(load, &simulate(load, setting)?);
        let itself = SelfForecast::of(&Figures::of(measured, load.endpoints.len()), &simulated);
        let holds = itself.holds();
        self.self_forecast = Some(itself);
        if (!holds || !self.refusals.is_empty()) && !is_untrusted {
            return Ok(());
        }
        self.forecasts.push(forecast("today", &[], load, setting)?);
        for (name, change) in changes {
            self.forecasts.push(forecast(name, std::slice::from_ref(change), load, setting)?);
        }
        if changes.len() > 1 {
            let all: Vec<Change> = changes.iter().map(|(_, change)| change.clone()).collect();
            self.forecasts.push(forecast("all together", &all, load, setting)?);
        }
        Ok(())
    }
}

fn resolved(changes: &[(String, Asked)], load: &Load) -> Result<Vec<(String, Change)>, WhatIfError> {
    let resolve = |(words, asked): &(String, Asked)| {
        let change = match asked {
            Asked::Plain(change) => change.clone(),
            Asked::BackEnd(name, factor) => {
                let number = load.back_ends.iter().position(|known| known == name);
                let Some(number) = number else {
                    let known =
                        if load.back_ends.is_empty() { "none".to_owned() } else { load.back_ends.join(", ") };
                    return Err(WhatIfError::NoBackEnd { name: name.clone(), known });
                };
                Change::BackEnd(number, *factor)
            }
        };
        Ok((words.clone(), change))
    };
    changes.iter().map(resolve).collect()
}

fn forecast(
    name: &str,
    changes: &[Change],
    load: &Load,
    setting: &Setting,
) -> Result<Forecast, SettingError> {
    let (mut load, mut setting) = (load.clone(), setting.clone());
    changes.iter().for_each(|change| change.apply(&mut load, &mut setting));
    let played = |cpu_times: f64| {
        let (mut load, mut setting) = (load.clone(), setting.clone());
        Change::CpuTime(cpu_times).apply(&mut load, &mut setting);
        Ok(Figures::simulated(&load, &simulate(&load, &setting)?))
    };
    let figures = Figures::simulated(&load, &simulate(&load, &setting)?);
    let [less, more] = CPU_TIMES;
    let capacity = capacity(&load, &setting)?;
    let used_ratio = if capacity.per_s > 0.0 { asked_per_s(&load, &figures) / capacity.per_s } else { 0.0 };
    Ok(Forecast {
        name: name.to_owned(),
        range: [played(less)?, played(more)?],
        figures,
        capacity,
        used_ratio,
    })
}

/// Requests a second that arrive: open ones as they come, of users who think as many as are served.
fn asked_per_s(load: &Load, figures: &Figures) -> f64 {
    let mut last_ns = 0;
    for request in &load.requests {
        match request.arrives {
            Arrives::At(at_ns) => last_ns = last_ns.max(at_ns),
            Arrives::After { .. } => return figures.throughput_per_s,
        }
    }
    if last_ns == 0 { figures.throughput_per_s } else { load.requests.len() as f64 * 1e9 / last_ns as f64 }
}

/// What a limit is called.
#[must_use]
pub fn limit_name(limit: Limit, load: &Load) -> String {
    match limit {
        Limit::Cores => "cores".to_owned(),
        Limit::Lock => "the GIL".to_owned(),
        Limit::Slots => "slots".to_owned(),
        Limit::BackEnd(number) => {
            format!("back end {}", load.back_ends.get(number).map_or("?", String::as_str))
        }
    }
}
