//! Self-forecasts: every recording simulated at the setting that it was made at.
//!
//! In: the recordings that are there. Out: how many can be trusted, and how far off the simulation is, server
//! by server.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Place;
use crate::run::{SelfForecast, whatif};

/// What is compared, in the order of the table.
const FIGURES: [&str; 3] = ["p50_ns", "p90_ns", "p99_ns"];

/// The self-forecast of one recording.
#[derive(Clone, Debug)]
pub(crate) struct Itself {
    subject: &'static str,
    /// Name of the recording.
    recording: String,
    /// By which ratio each of [`FIGURES`] is off, 1 at most: a server that is full is off by any ratio.
    errors: [f64; 3],
    /// What does not hold; none: the program gives forecasts from this recording, unless it refuses it.
    misses: Vec<String>,
}

/// Of all settings of a server under a load, the recorded one and the others. What cannot be simulated is
/// left out.
pub(crate) fn itself(place: &Place<'_>, runs: u32) -> Vec<Itself> {
    let subject = place.subject;
    let settings = std::iter::once(subject.recorded).chain(subject.others.iter().copied());
    let files = settings.flat_map(|slots| (0..runs).map(move |run| place.recording(slots, run)));
    let of = |file: std::path::PathBuf| {
        let forecast = whatif(&file, &[]).ok()?.self_forecast?;
        let recording = file.file_stem()?.to_string_lossy().into_owned();
        Some(Itself {
            subject: subject.name,
            recording,
            errors: FIGURES.map(|figure| error(&forecast, figure).unwrap_or(1.0)),
            misses: forecast.misses(),
        })
    };
    files.filter(|file| file.exists()).filter_map(of).collect()
}

fn error(forecast: &SelfForecast, name: &str) -> Option<f64> {
    let compared = forecast.figures.iter().find(|compared| compared.figure == name)?;
    Some((compared.simulated / compared.measured - 1.0).abs().min(1.0))
}

/// A line for each server and one for all, then one for each recording.
pub(crate) fn page(all: &[Itself]) -> String {
    let mut text =
        String::from("| server | recordings | hold | p50 | p90 | p99 |\n|---|--:|--:|--:|--:|--:|\n");
    let mut by_subject: BTreeMap<&str, Vec<&Itself>> = BTreeMap::new();
    for one in all {
        by_subject.entry(one.subject).or_default().push(one);
        by_subject.entry("all").or_default().push(one);
    }
    for (subject, of) in &by_subject {
        let hold = of.iter().filter(|one| one.misses.is_empty()).count();
        let [p50, p90, p99] = mean_errors(of).map(|ratio| format!("{:.1} %", ratio * 100.0));
        let _ = writeln!(text, "| {subject} | {} | {hold} | {p50} | {p90} | {p99} |", of.len());
    }
    text.push('\n');
    for one in all {
        let misses = if one.misses.is_empty() { "holds".to_owned() } else { one.misses.join("; ") };
        let _ = writeln!(text, "- {}: {misses}", one.recording);
    }
    text
}

fn mean_errors(of: &[&Itself]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for one in of {
        for (sum, error) in sums.iter_mut().zip(one.errors) {
            *sum += error;
        }
    }
    sums.map(|sum| sum / of.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts_what_holds_and_takes_the_mean_of_errors_server_by_server() {
        let one = |subject, errors, misses: &[&str]| Itself {
            subject,
            recording: format!("{subject}-cpu"),
            errors,
            misses: misses.iter().map(|&miss| miss.to_owned()).collect(),
        };
        let page = page(&[
            one("sync", [0.02, 0.0, 0.1], &[]),
            one("sync", [0.04, 0.0, 1.0], &["p99_ns +180 %"]),
            one("waitress", [0.5, 0.0, 0.1], &["p50_ns -50 %"]),
        ]);
        assert!(page.contains("| sync | 2 | 1 | 3.0 % | 0.0 % | 55.0 % |"), "{page}");
        assert!(page.contains("| all | 3 | 1 | 18.7 % | 0.0 % | 40.0 % |"), "{page}");
        assert!(page.contains("- waitress-cpu: p50_ns -50 %"), "{page}");
    }
}
