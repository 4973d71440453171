//! Forecast beside real.
//!
//! In: recordings of all settings of a server under one load. Out: a [`Cell`] for each setting, the recorded
//! one too (its forecast is the self-forecast).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Place;
use crate::run::{Beside, Forecast, OfEndpoint, Said, SelfForecast, Times, whatif};
use crate::subject::Slots;

/// p50, p90, p99 in ms, and requests a second.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
pub(crate) struct Figures {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) per_s: f64,
}

/// One setting under one load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) subject: String,
    pub(crate) workload: String,
    pub(crate) is_for_fixing: bool,
    pub(crate) percent: u32,
    pub(crate) recorded: Slots,
    pub(crate) slots: Slots,
    /// Each with arrivals of its own: forecast and real run have the same.
    pub(crate) runs: Vec<Run>,
}

/// A forecast and the real run of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    /// From the recorded setting; `None`: it cannot be simulated at all.
    pub(crate) forecast: Option<Figures>,
    /// Shortest and longest p99 of its range, in ms.
    pub(crate) range_ms: Option<(f64, f64)>,
    /// Share of the setting's capacity that is asked for, by the forecast.
    pub(crate) used: Option<f64>,
    /// Why the program does not give this forecast; none: it does.
    pub(crate) why_not: Vec<String>,
    pub(crate) real: Figures,
    /// Response times by endpoint. Lines from before these were noted have none.
    #[serde(default)]
    pub(crate) endpoints: BTreeMap<String, Both>,
    pub(crate) beside: Option<Beside>,
}

/// Response times of one endpoint, in ms.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
pub(crate) struct Both {
    pub(crate) forecast: Quantiles,
    pub(crate) real: Quantiles,
}

/// p50, p90, p99 in ms.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Cell {
    /// The median of the real runs, figure by figure.
    pub(crate) fn real(&self) -> Option<Figures> {
        Figures::middle(&self.runs.iter().map(|run| run.real).collect::<Vec<_>>())
    }

    /// The median of the forecasts, figure by figure.
    pub(crate) fn forecast(&self) -> Option<Figures> {
        Figures::middle(&self.runs.iter().filter_map(|run| run.forecast).collect::<Vec<_>>())
    }

    /// Share of the capacity that is asked for, by the forecasts: the median.
    pub(crate) fn used(&self) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| run.used))
    }

    /// By which ratio the forecasts are above (or below) the real figure of the same run: the median.
    pub(crate) fn error(&self, figure: fn(&Figures) -> f64) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| Some(figure(&run.forecast?) / figure(&run.real) - 1.0)))
    }

    /// By which ratio the forecasts are above (or below) the real figure of the same run, for each endpoint:
    /// the median.
    pub(crate) fn endpoint_errors(&self, quantile: fn(&Quantiles) -> f64) -> Vec<f64> {
        let mut by_name: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
        for (name, both) in self.runs.iter().flat_map(|run| &run.endpoints) {
            let error = quantile(&both.forecast) / quantile(&both.real) - 1.0;
            by_name.entry(name).or_default().push(error);
        }
        by_name.into_values().filter_map(|errors| median(errors.into_iter())).collect()
    }

    /// The program gives the forecast from most of the recordings.
    pub(crate) fn is_given(&self) -> bool {
        self.given() * 2 > self.runs.len()
    }

    /// From how many of the recordings it does.
    pub(crate) fn given(&self) -> usize {
        self.runs.iter().filter(|run| run.is_given()).count()
    }
}

impl Run {
    pub(crate) const fn is_given(&self) -> bool {
        self.why_not.is_empty() && self.forecast.is_some()
    }
}

impl Figures {
    /// The median of each figure; `None` of none.
    fn middle(all: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure));
        Some(Self {
            p50_ms: of(|figures| figures.p50_ms)?,
            p90_ms: of(|figures| figures.p90_ms)?,
            p99_ms: of(|figures| figures.p99_ms)?,
            per_s: of(|figures| figures.per_s)?,
        })
    }
}

/// The median of these; `None` of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// All cells of a server under a load, as far as there are recordings.
pub(crate) fn judge(place: &Place<'_>, runs: u32) -> Vec<Cell> {
    let recorded = place.subject.recorded;
    let settings = std::iter::once(recorded).chain(place.subject.others.iter().copied());
    settings.filter_map(|slots| cell(place, slots, runs)).collect()
}

fn cell(place: &Place<'_>, slots: Slots, runs: u32) -> Option<Cell> {
    let runs: Vec<Run> = (0..runs).filter_map(|number| run(place, slots, number)).collect();
    if runs.is_empty() {
        return None;
    }
    Some(Cell {
        subject: place.subject.name.to_owned(),
        workload: place.workload.name.to_owned(),
        is_for_fixing: place.workload.is_for_fixing(place.percent)
            || place.subject.fixing_loads.contains(&place.percent),
        percent: place.percent,
        recorded: place.subject.recorded,
        slots,
        runs,
    })
}

/// `None`: there was no such run, or nothing is known of it.
fn run(place: &Place<'_>, slots: Slots, number: u32) -> Option<Run> {
    let recorded = place.subject.recorded;
    let measured = whatif(&place.recording(slots, number), &[]).ok()?;
    let real = measured.measured()?;
    let (workers, threads) = (format!("--workers={}", slots.0), format!("--threads={}", slots.1));
    let mut changes = vec!["--untrusted"];
    if slots.0 != recorded.0 {
        changes.push(&workers);
    }
    if slots.1 != recorded.1 {
        changes.push(&threads);
    }
    let said = whatif(&place.recording(recorded, number), &changes);
    let mut why_not = Vec::new();
    let said = said.map_err(|error| why_not.push(format!("{error:#}"))).ok();
    why_not.extend(said.iter().flat_map(Said::reasons));
    // All changes together stand last.
    let last = said.as_ref().and_then(|said| said.forecasts.last());
    Some(Run {
        forecast: last.map(|last| last.overall.figures(last.throughput_per_s)),
        range_ms: last.map(|last| (last.p99_range_ns.0 / 1e6, last.p99_range_ns.1 / 1e6)),
        used: last.map(|last| last.capacity_used_ratio),
        why_not,
        real,
        endpoints: last.map(|last| by_endpoint(last, &measured)).unwrap_or_default(),
        beside: place.beside(slots, number),
    })
}

/// Forecast beside real, for each endpoint that both have.
fn by_endpoint(forecast: &Forecast, measured: &Said) -> BTreeMap<String, Both> {
    let both = |real: &OfEndpoint| {
        let forecast = forecast.endpoints.get(&real.endpoint)?.quantiles();
        Some((real.endpoint.clone(), Both { forecast, real: real.at_best.today.quantiles() }))
    };
    measured.bounds.endpoints.iter().filter_map(both).collect()
}

impl Said {
    /// Why the program gives no forecast from this recording.
    fn reasons(&self) -> Vec<String> {
        let misses = self.self_forecast.iter().flat_map(SelfForecast::misses);
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
    fn quantiles(&self) -> Quantiles {
        Quantiles { p50_ms: self.p50_ns / 1e6, p90_ms: self.p90_ns / 1e6, p99_ms: self.p99_ns / 1e6 }
    }

    fn figures(&self, per_s: f64) -> Figures {
        let Quantiles { p50_ms, p90_ms, p99_ms } = self.quantiles();
        Figures { p50_ms, p90_ms, p99_ms, per_s }
    }
}
