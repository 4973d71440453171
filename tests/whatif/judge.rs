//! Forecast beside real.
//!
//! In: recordings of all settings of a server under one load. Out: a [`Cell`] for each setting, the recorded one too (its forecast is the self-forecast).

use serde::Serialize;

use crate::Place;
use crate::run::{Beside, Said, Times, whatif};
use crate::subject::Slots;

/// p50, p90, p99 in ms, and requests a second.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq)]
pub(crate) struct Figures {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) per_s: f64,
}

/// One setting under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) subject: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) is_for_fixing: bool,
    pub(crate) percent: u32,
    pub(crate) recorded: Slots,
    pub(crate) slots: Slots,
    /// From the recorded setting; `None`: it cannot be simulated at all.
    pub(crate) forecast: Option<Figures>,
    /// Shortest and longest p99 of its range, in ms.
    pub(crate) range_ms: Option<(f64, f64)>,
    /// Share of the setting's capacity that is asked for, by the forecast.
    pub(crate) used: Option<f64>,
    /// The program gives this forecast; otherwise it said why not.
    pub(crate) is_given: bool,
    /// Why not.
    pub(crate) why_not: Vec<String>,
    /// Of each real run.
    pub(crate) real: Vec<Figures>,
    /// Beside each real run.
    pub(crate) beside: Vec<Option<Beside>>,
}

impl Cell {
    /// The median of the real runs, figure by figure.
    pub(crate) fn middle(&self) -> Option<Figures> {
        let of = |figure: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = self.real.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        };
        Some(Figures {
            p50_ms: of(|figures| figures.p50_ms)?,
            p90_ms: of(|figures| figures.p90_ms)?,
            p99_ms: of(|figures| figures.p99_ms)?,
            per_s: of(|figures| figures.per_s)?,
        })
    }

    /// By which ratio the forecast is above (or below) the real figure.
    pub(crate) fn error(&self, figure: fn(&Figures) -> f64) -> Option<f64> {
        Some(figure(&self.forecast?) / figure(&self.middle()?) - 1.0)
    }
}

/// All cells of a server under a load, as far as there are recordings.
pub(crate) fn judge(place: &Place<'_>, runs: u32) -> Vec<Cell> {
    let recorded = place.subject.recorded;
    let settings = std::iter::once(recorded).chain(place.subject.others.iter().copied());
    settings.filter_map(|slots| cell(place, slots, runs)).collect()
}

fn cell(place: &Place<'_>, slots: Slots, runs: u32) -> Option<Cell> {
    let recorded = place.subject.recorded;
    let mut real = Vec::new();
    let mut beside = Vec::new();
    for run in 0..runs {
        let said = whatif(&place.recording(slots, run), &[]).ok();
        if let Some(figures) = said.as_ref().and_then(Said::measured) {
            real.push(figures);
            beside.push(place.beside(slots, run));
        }
    }
    if real.is_empty() {
        return None;
    }
    let (workers, threads) = (format!("--workers={}", slots.0), format!("--threads={}", slots.1));
    let mut changes = vec!["--untrusted"];
    if slots.0 != recorded.0 {
        changes.push(&workers);
    }
    if slots.1 != recorded.1 {
        changes.push(&threads);
    }
    let said = whatif(&place.recording(recorded, 0), &changes);
    let mut why_not = Vec::new();
    let said = said.map_err(|error| why_not.push(format!("{error:#}"))).ok();
    why_not.extend(said.iter().flat_map(Said::reasons));
    // All changes together stand last.
    let last = said.as_ref().and_then(|said| said.forecasts.last());
    Some(Cell {
        subject: place.subject.name,
        workload: place.workload.name,
        is_for_fixing: place.workload.is_for_fixing,
        percent: place.percent,
        recorded,
        slots,
        forecast: last.map(|last| last.overall.figures(last.throughput_per_s)),
        range_ms: last.map(|last| (last.p99_range_ns.0 / 1e6, last.p99_range_ns.1 / 1e6)),
        used: last.map(|last| last.capacity_used_ratio),
        is_given: why_not.is_empty() && last.is_some(),
        why_not,
        real,
        beside,
    })
}

impl Said {
    /// Why the program gives no forecast from this recording.
    fn reasons(&self) -> Vec<String> {
        let compared = self.self_forecast.iter().flat_map(|itself| &itself.figures);
        let misses = compared.filter(|compared| !compared.holds).map(|compared| {
            let error = compared.simulated / compared.measured - 1.0;
            format!("{} {:+.0} %", compared.figure, error * 100.0)
        });
        self.refusals.iter().cloned().chain(misses).collect()
    }

    /// What was measured.
    fn measured(&self) -> Option<Figures> {
        let compared = &self.self_forecast.as_ref()?.figures;
        let per_s = compared.iter().find(|compared| compared.figure == "throughput_per_s")?.measured;
        Some(self.bounds.overall.today.figures(per_s))
    }
}

impl Times {
    fn figures(&self, per_s: f64) -> Figures {
        Figures { p50_ms: self.p50_ns / 1e6, p90_ms: self.p90_ns / 1e6, p99_ms: self.p99_ns / 1e6, per_s }
    }
}
