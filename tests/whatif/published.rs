//! What the program says of its own forecasts, against the published page.
//!
//! In: `docs/whatif-judged.json`. Out: a verdict.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use wsgi_trace::whatif::judged::{JUDGED, Judged, KNEE};

use crate::judge::median;

#[derive(Deserialize)]
struct Published {
    subject: String,
    recorded: (u32, u32),
    slots: (u32, u32),
    runs: Vec<PublishedRun>,
}

#[derive(Deserialize)]
struct PublishedRun {
    forecast: Option<PublishedFigures>,
    used: Option<f64>,
    why_not: Vec<String>,
    real: PublishedFigures,
}

#[derive(Deserialize)]
struct PublishedFigures {
    p99_ms: f64,
}

impl PublishedRun {
    /// By how much p99 was off, where the program gives a forecast of as much use as it speaks of.
    fn p99_error(&self) -> Option<f64> {
        let is_given = self.why_not.is_empty() && self.used? < KNEE;
        let forecast = self.forecast.as_ref().filter(|_| is_given)?;
        Some((forecast.p99_ms / self.real.p99_ms - 1.0).abs())
    }
}

/// Server and class of workers, as the program names them.
fn kind(subject: &str) -> (&str, Option<&str>) {
    match subject {
        "sync" | "gthread" => ("gunicorn", Some(subject)),
        "mod_wsgi" => (subject, Some("daemon")),
        _ => (subject.split('-').next().unwrap_or_default(), None),
    }
}

#[test]
fn what_the_program_says_of_its_forecasts_is_what_the_real_changes_showed() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/whatif-judged.json");
    let cells: Vec<Published> = serde_json::from_str(&std::fs::read_to_string(published).unwrap()).unwrap();
    let mut errors: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.slots != cell.recorded) {
        let of_kind = errors.entry(kind(&cell.subject)).or_default();
        of_kind.extend(cell.runs.iter().filter_map(PublishedRun::p99_error));
    }
    errors.retain(|_, of_kind| of_kind.len() >= 10);
    let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
    let found: BTreeMap<_, _> = errors
        .iter()
        .map(|(kind, of_kind)| {
            let middle = median(of_kind.iter().copied()).unwrap();
            let worst = of_kind.iter().copied().fold(0.0, f64::max);
            (*kind, (of_kind.len(), percent(middle), percent(worst)))
        })
        .collect();
    let said: BTreeMap<_, _> = JUDGED
        .iter()
        .map(|Judged { name, worker_class, runs, p99_percent, worst_p99_percent }| {
            ((*name, *worker_class), (*runs, p99_percent.to_string(), worst_p99_percent.to_string()))
        })
        .collect();
    assert_eq!(said, found);
}
