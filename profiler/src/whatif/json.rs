//! What is said of a recording, as one JSON document.
//!
//! In: a [`WhatIf`]. Out: indented JSON, units in the keys, hostile text escaped as in reports.

use std::collections::BTreeMap;

use profiler_forecast::bounds::{AtBest, Without};
use profiler_forecast::figures::Figures;
use profiler_forecast::quantiles::Quantiles;
use profiler_forecast::search::{Goal, Search};
use serde::Serialize;

use super::forecast::{Forecast, WhatIf, limit_name};
use super::text::{ASSUMED, p99_range, quota_cores};
use crate::report::json::safe::Safe;

#[derive(Serialize)]
struct Document<'a> {
    model: Model<'a>,
    bounds: Bounds<'a>,
    refusals: Vec<String>,
    self_forecast: Option<SelfForecast<'a>>,
    forecasts: Vec<OneForecast<'a>>,
    search: Option<Searched>,
}

#[derive(Serialize)]
struct Searched {
    quantile: &'static str,
    below_ns: u64,
    tried_count: usize,
    found: Option<Slots>,
    best: Option<Slots>,
    best_ns: Option<u64>,
}

#[derive(Serialize)]
struct Slots {
    processes: u32,
    threads: u32,
}

#[derive(Serialize)]
struct Model<'a> {
    processes: u32,
    threads: u32,
    cores: u32,
    cpu_quota_cores: Option<f64>,
    arrivals: &'a str,
    other_programs_cores: Option<f64>,
    request_count: usize,
    back_ends: &'a [String],
}

#[derive(Serialize)]
struct Times {
    count: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
}

#[derive(Serialize)]
struct Bounds<'a> {
    overall: BTreeMap<&'static str, Option<Times>>,
    endpoints: Vec<Endpoint<'a>>,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    endpoint: &'a str,
    at_best: BTreeMap<&'static str, Option<Times>>,
}

#[derive(Serialize)]
struct SelfForecast<'a> {
    holds: bool,
    figures: Vec<Compared<'a>>,
}

#[derive(Serialize)]
struct Compared<'a> {
    figure: &'a str,
    measured: f64,
    simulated: f64,
    allowed_difference: f64,
    holds: bool,
}

#[derive(Serialize)]
struct OneForecast<'a> {
    change: &'a str,
    note: &'a str,
    assumes: &'static str,
    overall: Times,
    p99_range_ns: [u64; 2],
    endpoints: BTreeMap<&'a str, Times>,
    throughput_per_s: f64,
    capacity_per_s: f64,
    capacity_used_ratio: f64,
    next_limit: String,
}

/// The document with a newline at its end.
pub fn render(answer: &WhatIf) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Safe::pretty());
    // Memory takes everything.
    let _ = document(answer).serialize(&mut serializer);
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

fn document(answer: &WhatIf) -> Document<'_> {
    let setting = &answer.model.setting;
    let names = answer.model.load.endpoints.iter().map(String::as_str);
    let endpoints = names
        .zip(&answer.bounds.by_endpoint)
        .map(|(endpoint, best)| Endpoint { endpoint, at_best: at_best(answer, best) });
    Document {
        model: Model {
            processes: setting.processes,
            threads: setting.threads,
            cores: setting.cores,
            cpu_quota_cores: quota_cores(setting),
            arrivals: answer.model.arrivals.name(),
            other_programs_cores: answer.model.others_cores,
            request_count: answer.model.measured.len(),
            back_ends: &answer.model.load.back_ends,
        },
        bounds: Bounds { overall: at_best(answer, &answer.bounds.overall), endpoints: endpoints.collect() },
        refusals: answer.refusals.iter().map(ToString::to_string).collect(),
        self_forecast: answer.self_forecast.as_ref().map(|itself| SelfForecast {
            holds: itself.holds(),
            figures: itself.figures.iter().map(compared).collect(),
        }),
        forecasts: answer.forecasts.iter().map(|forecast| one(answer, forecast)).collect(),
        search: answer.searched.as_ref().map(searched),
    }
}

fn searched((goal, search): &(Goal, Search)) -> Searched {
    let slots = |(processes, threads)| Slots { processes, threads };
    Searched {
        quantile: goal.quantile.name(),
        below_ns: goal.below_ns,
        tried_count: search.tried,
        found: search.found.map(slots),
        best: search.best.map(|(best, _)| slots(best)),
        best_ns: search.best.map(|(_, best_ns)| best_ns),
    }
}

fn compared(compared: &profiler_forecast::self_forecast::Compared) -> Compared<'_> {
    Compared {
        figure: &compared.name,
        measured: compared.measured,
        simulated: compared.simulated,
        allowed_difference: compared.allowed,
        holds: compared.holds(),
    }
}

fn one<'a>(answer: &'a WhatIf, forecast: &'a Forecast) -> OneForecast<'a> {
    let Figures { overall, by_endpoint, throughput_per_s, .. } = &forecast.figures;
    let names = answer.model.load.endpoints.iter().map(String::as_str);
    OneForecast {
        change: &forecast.name,
        note: &forecast.checked,
        assumes: ASSUMED,
        overall: times(overall),
        p99_range_ns: p99_range(forecast),
        endpoints: names.zip(by_endpoint.iter().map(times)).collect(),
        throughput_per_s: *throughput_per_s,
        capacity_per_s: forecast.capacity.per_s,
        capacity_used_ratio: forecast.used_ratio,
        next_limit: limit_name(forecast.capacity.limit, &answer.model.load),
    }
}

fn at_best(answer: &WhatIf, best: &AtBest) -> BTreeMap<&'static str, Option<Times>> {
    let known = answer.is_bounded.iter().zip(&best.without);
    let without = Without::ALL.into_iter().zip(known);
    let without = without.map(|(without, (is_known, of))| (without.name(), is_known.then(|| times(of))));
    std::iter::once(("today", Some(times(&best.today)))).chain(without).collect()
}

const fn times(of: &Quantiles) -> Times {
    Times { count: of.count, p50_ns: of.p50_ns, p90_ns: of.p90_ns, p99_ns: of.p99_ns }
}
