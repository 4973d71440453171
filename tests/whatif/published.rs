//! What the program says of its own forecasts, against the published page.
//!
//! In: `docs/whatif-judged.json`. Out: a verdict.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use wsgi_trace::whatif::judged::{JUDGED, Judged};

use crate::judge::median;
use crate::page::KNEE;

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

impl Published {
    /// A change of which most recordings give a forecast, below the knee: by how much p99 was off.
    fn p99_error(&self) -> Option<f64> {
        let given = self.runs.iter().filter(|run| run.forecast.is_some() && run.why_not.is_empty()).count();
        let used = median(self.runs.iter().filter_map(|run| run.used))?;
        let errors =
            self.runs.iter().filter_map(|run| Some(run.forecast.as_ref()?.p99_ms / run.real.p99_ms - 1.0));
        let is_judged = self.slots != self.recorded && given * 2 > self.runs.len() && used < KNEE;
        median(errors).filter(|_| is_judged).map(f64::abs)
    }
}

#[test]
fn what_the_program_says_of_its_forecasts_is_what_the_real_changes_showed() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/whatif-judged.json");
    let cells: Vec<Published> = serde_json::from_str(&std::fs::read_to_string(published).unwrap()).unwrap();
    let mut errors: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for cell in &cells {
        let kind = match cell.subject.as_str() {
            "sync" => ("gunicorn", Some("sync")),
            "gthread" => ("gunicorn", Some("gthread")),
            "uwsgi-threads" | "uwsgi-processes" => ("uwsgi", None),
            _ => continue,
        };
        errors.entry(kind).or_default().extend(cell.p99_error());
    }
    for Judged { name, worker_class, changes, p99_percent, worst_p99_percent } in JUDGED {
        let of_kind = &errors[&(name, worker_class)];
        let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
        let found = [
            of_kind.len().to_string(),
            percent(median(of_kind.iter().copied()).unwrap()),
            percent(of_kind.iter().copied().fold(0.0, f64::max)),
        ];
        let said = [changes.to_string(), p99_percent.to_string(), worst_p99_percent.to_string()];
        assert_eq!(said, found, "{name} {worker_class:?}");
    }
}
