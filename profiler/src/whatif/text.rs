//! What is said of a recording, for a terminal.
//!
//! In: a [`WhatIf`]. Out: text. Names of endpoints and back ends are hostile: control characters are
//! replaced.

use std::fmt::Write as _;

use profiler_forecast::bounds::{AtBest, Without};
use profiler_forecast::quantiles::Quantiles;
use profiler_forecast::search::{Goal, Search};
use profiler_forecast::self_forecast::{Compared, SelfForecast};
use profiler_forecast::setting::Setting;

use super::forecast::{Forecast, WhatIf, limit_name, slots_name};
use super::model::Arrivals;
use crate::report::escape::{Charset, line};
use crate::report::unit::{count, counted, duration, percent, rate};

/// What every forecast takes for granted.
pub const ASSUMED: &str = "Assumes that requests ask the same of CPUs and back ends at every setting. Assumes that \
    back ends answer as fast to more requests at once, and that memory suffices. Assumes that caches of the application and \
    other programs on the machine stay as they were.";
/// Endpoints shown.
const MAX_ENDPOINTS: usize = 10;
/// Columns of a name.
const NAME_COLUMNS: usize = 30;

/// All of it.
pub fn render(answer: &WhatIf, charset: Charset) -> String {
    let mut text = String::new();
    // Memory takes everything.
    let _ = write(answer, charset, &mut text);
    text
}

fn write(answer: &WhatIf, charset: Charset, out: &mut String) -> std::fmt::Result {
    out.push_str(&head(answer, charset));
    bounds(answer, charset, out)?;
    if let Some(itself) = &answer.self_forecast {
        self_forecast(itself, charset, out)?;
    }
    let reasons = none_because(answer);
    for reason in &reasons {
        writeln!(out, "\n{reason}")?;
    }
    if reasons.is_empty() && answer.self_forecast.is_some() {
        forecasts(answer, charset, out)
    } else {
        Ok(())
    }
}

/// How many CPUs a cgroup's quota is worth.
pub(super) fn quota_cores(setting: &Setting) -> Option<f64> {
    setting.quota_ns.map(|quota_ns| quota_ns as f64 / 1e9)
}

/// Why there is no forecast, a sentence each; none: there is one.
pub(super) fn none_because(answer: &WhatIf) -> Vec<String> {
    let refusals = answer.refusals.iter().map(|refusal| format!("No forecast: {refusal}."));
    let missed = answer.self_forecast.as_ref().filter(|itself| !itself.holds()).map(|itself| {
        format!(
            "No forecast: simulated as it was, this recording does not come out as it was measured ({}).",
            misses(itself)
        )
    });
    refusals.chain(missed).collect()
}

/// What was recorded, in sentences.
pub(super) fn head(answer: &WhatIf, charset: Charset) -> String {
    let (setting, server) = (&answer.model.setting, &answer.snapshot.server);
    let arrivals = match answer.model.arrivals {
        Arrivals::Open => "requests arrive when they did, whatever the server does (--arrivals open)",
        Arrivals::Closed => {
            "each client asks again as long after its last response as it did (--arrivals closed)"
        }
    };
    let name = line(&format!("{} {}", server.name, server.worker_class), NAME_COLUMNS, charset);
    let cores = counted(setting.cores.into(), "core");
    let mut said = format!(
        "{name}: {} x {} on {cores}. {} requests count; {arrivals}.\n",
        counted(setting.processes.into(), "process"),
        counted(setting.threads.into(), "thread"),
        count(answer.model.measured.len() as u64),
    );
    if let Some(others) = answer.model.others_cores {
        // Memory takes everything.
        let _ = writeln!(said, "Other programs kept {others:.2} of {cores} busy, wsgi-trace among them.");
    }
    if let Some(quota_cores) = quota_cores(setting) {
        let _ = writeln!(
            said,
            "A cgroup lets the server use {quota_cores:.2} CPUs. That bounds what it serves at most; how it stops the server is not simulated."
        );
    }
    said
}

fn bounds(answer: &WhatIf, charset: Charset, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nAt best (bounds, no forecasts: the wait gone, nothing else changed)")?;
    let overall = &answer.bounds.overall;
    writeln!(out, "  {:NAME_COLUMNS$} {:>9} {:>9} {:>9}", "", "p50", "p90", "p99")?;
    quantiles(out, "today, as measured", Some(&overall.today), charset)?;
    for (at, without) in Without::ALL.into_iter().enumerate() {
        let is_known = answer.is_bounded.get(at).copied().unwrap_or(false);
        let best = overall.without.get(at).filter(|_| is_known);
        quantiles(out, &without.name().replace('_', " "), best, charset)?;
    }
    let endpoints = endpoints_by_time(answer);
    let names = ["today", "no GIL", "no slow", "no slot", "1 core"];
    write!(out, "\n  {:NAME_COLUMNS$}", "p99 by endpoint, at best")?;
    names.iter().try_for_each(|name| write!(out, " {name:>9}"))?;
    writeln!(
        out,
        "\n  {:NAME_COLUMNS$} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "", "waits", "clients", "waits", "more"
    )?;
    for (name, best) in endpoints.iter().take(MAX_ENDPOINTS) {
        write!(
            out,
            "  {:NAME_COLUMNS$} {:>9}",
            line(name, NAME_COLUMNS, charset),
            duration(best.today.p99_ns, charset)
        )?;
        for (is_known, without) in answer.is_bounded.iter().zip(&best.without) {
            let shown = if *is_known { duration(without.p99_ns, charset) } else { "-".to_owned() };
            write!(out, " {shown:>9}")?;
        }
        writeln!(out)?;
    }
    match endpoints.len().saturating_sub(MAX_ENDPOINTS) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more: --format json has all"),
    }
}

/// Endpoints that had requests, those with the most time first.
pub(super) fn endpoints_by_time(answer: &WhatIf) -> Vec<(&String, &AtBest)> {
    let mut endpoints: Vec<(&String, &AtBest)> =
        answer.model.load.endpoints.iter().zip(&answer.bounds.by_endpoint).collect();
    endpoints.retain(|(_, best)| best.today.count > 0);
    endpoints.sort_by_key(|(_, best)| std::cmp::Reverse(best.today.p50_ns.saturating_mul(best.today.count)));
    endpoints
}

fn quantiles(out: &mut String, name: &str, of: Option<&Quantiles>, charset: Charset) -> std::fmt::Result {
    let Some(of) = of else { return writeln!(out, "  {name:NAME_COLUMNS$} not measured") };
    let [p50, p90, p99] = [of.p50_ns, of.p90_ns, of.p99_ns].map(|ns| duration(ns, charset));
    writeln!(out, "  {name:NAME_COLUMNS$} {p50:>9} {p90:>9} {p99:>9}")
}

fn self_forecast(itself: &SelfForecast, charset: Charset, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nToday, as measured and as simulated")?;
    writeln!(
        out,
        "  {:NAME_COLUMNS$} {:>9} {:>9} {:>9} {:>9}",
        "", "measured", "simulated", "differs", "may"
    )?;
    for compared in &itself.figures {
        writeln!(
            out,
            "  {:NAME_COLUMNS$} {:>9} {:>9} {:>9} {:>9}{}",
            shown_name(&compared.name),
            shown(compared, compared.measured, charset),
            shown(compared, compared.simulated, charset),
            percent(compared.error_ratio()),
            shown(compared, compared.allowed, charset),
            if compared.holds() { "" } else { "  <- too far" },
        )?;
    }
    Ok(())
}

/// What does not come out as it was measured, as a list.
pub(super) fn misses(itself: &SelfForecast) -> String {
    itself.misses().map(|miss| shown_name(&miss.name)).collect::<Vec<_>>().join(", ")
}

pub(super) fn shown_name(name: &str) -> String {
    name.trim_end_matches("_ns").trim_end_matches("_per_s").replace('_', " ")
}

pub(super) fn shown(compared: &Compared, value: f64, charset: Charset) -> String {
    if compared.name.ends_with("_per_s") { rate(Some(value)) } else { duration(value as u64, charset) }
}

/// How near forecasts like these came to real runs; of which, where they differ. Today is none.
pub(super) fn notes(answer: &WhatIf) -> String {
    let (today, others) = answer.forecasts.split_at(answer.forecasts.len().min(1));
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in if others.is_empty() { today } else { others } {
        match notes.iter_mut().find(|(note, _)| *note == one.checked) {
            Some((_, names)) => names.push(&one.name),
            None => notes.push((&one.checked, vec![&one.name])),
        }
    }
    match notes.as_slice() {
        [(note, _)] => (*note).to_owned(),
        notes => {
            let each = notes.iter().map(|(note, names)| format!("{}: {note}", names.join(", ")));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

fn forecasts(answer: &WhatIf, charset: Charset, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nForecast ({})", notes(answer))?;
    writeln!(
        out,
        "  {:NAME_COLUMNS$} {:>9} {:>9} {:>9} {:>19} {:>9} {:>9}  next limit",
        "", "p50", "p90", "p99", "range of p99", "served", "capacity"
    )?;
    for forecast in &answer.forecasts {
        one(answer, forecast, charset, out)?;
    }
    if let Some((goal, search)) = &answer.searched {
        writeln!(out, "{}", searched(*goal, search, charset))?;
    }
    if answer.forecasts.len() == 1 {
        writeln!(out, "  Name a change to have its forecast: wsgi-trace whatif --help shows them.")?;
    }
    writeln!(out, "\n{ASSUMED}")
}

fn one(answer: &WhatIf, forecast: &Forecast, charset: Charset, out: &mut String) -> std::fmt::Result {
    let of = &forecast.figures.overall;
    let [p50, p90, p99] = [of.p50_ns, of.p90_ns, of.p99_ns].map(|ns| duration(ns, charset));
    let [low, high] = p99_range(forecast).map(|ns| duration(ns, charset));
    writeln!(
        out,
        "  {:NAME_COLUMNS$} {p50:>9} {p90:>9} {p99:>9} {:>19} {:>9} {:>9}  {}, {} of it used",
        line(&forecast.name, NAME_COLUMNS, charset),
        format!("{low} to {high}"),
        rate(Some(forecast.figures.throughput_per_s)),
        rate(Some(forecast.capacity.per_s)),
        line(&limit_name(forecast.capacity.limit, &answer.model.load), NAME_COLUMNS, charset),
        percent(Some(forecast.used_ratio)),
    )
}

/// What a search found, as a sentence; the setting's forecast stands above.
pub(super) fn searched(goal: Goal, search: &Search, charset: Charset) -> String {
    let what = format!("{} under {}", goal.quantile.name(), duration(goal.below_ns, charset));
    let name = |slots| slots_name(slots, std::iter::empty());
    match (search.found, search.best) {
        (Some(slots), _) => {
            let tried = search.tried;
            format!(
                "  The smallest that keeps {what}, also with 10 % more CPU time: {} ({tried} tried).",
                name(slots)
            )
        }
        (None, Some((slots, best_ns))) => format!(
            "  None of {} settings keeps {what}: the best, {}, has {} with up to 10 % more CPU time.",
            search.tried,
            name(slots),
            duration(best_ns, charset)
        ),
        (None, None) => format!("  No setting that has room keeps {what}: there is memory for none."),
    }
}

/// Between which two times p99 is to be expected: with a tenth less CPU time and with a tenth more, and in
/// all of these as far as so few requests show it.
pub(super) fn p99_range(forecast: &Forecast) -> [u64; 2] {
    let [less, more] = forecast.range.each_ref().map(|figures| figures.brackets.p99_ns);
    let middle = forecast.figures.brackets.p99_ns;
    [less.0.min(more.0).min(middle.0), less.1.max(more.1).max(middle.1)]
}
