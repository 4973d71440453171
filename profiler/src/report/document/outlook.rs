//! What a finding's advice would bring, in sentences.
//!
//! In: a finding with its outlook. Out: sentences; none where nobody asked for a forecast.

use profiler_core::finding::Finding;
use profiler_core::finding::outlook::{AdviceForecast, Effect, Outlook};
use profiler_core::model::Snapshot;

use super::shown;
use crate::report::verdict_words::{self, Headline};

/// All that is known of it; empty where no forecast was asked for.
pub(in crate::report) fn sentences(finding: &Finding) -> String {
    match &finding.outlook {
        None => String::new(),
        Some(Outlook::Unknown { reason }) => format!("No forecast: {reason}."),
        Some(Outlook::Forecasts(forecasts)) => {
            let first = forecasts.first().map_or("", |forecast| forecast.checked.as_str());
            let is_same = forecasts.iter().all(|forecast| forecast.checked == first);
            let each = forecasts.iter().map(|forecast| match is_same {
                true => sentence(forecast),
                false => format!("{} This one: {}.", sentence(forecast), forecast.checked),
            });
            let each: Vec<String> = each.collect();
            let checked = if is_same { format!("Forecast: {first}.") } else { "Forecast.".to_owned() };
            format!("{checked} {}", each.join(" "))
        }
    }
}

/// What a report begins with, and what the first thing to do would bring, if somebody simulated it.
pub(in crate::report) fn headline(snapshot: &Snapshot, findings: &[Finding]) -> Headline {
    let mut headline = verdict_words::headline(snapshot, findings);
    if let Headline::Wrong { finding: Some(id), change, .. } = &mut headline
        && let Some(finding) = findings.iter().find(|finding| finding.id == *id)
    {
        change.push_str(&in_short(finding));
    }
    headline
}

/// Of the first alternative alone; empty where nobody simulated it.
fn in_short(finding: &Finding) -> String {
    let Some(Outlook::Forecasts(forecasts)) = &finding.outlook else { return String::new() };
    let Some(first) = forecasts.iter().find(|forecast| forecast.alternative == 1) else {
        return String::new();
    };
    let today = shown(first.today.p99_ns);
    match first.effect() {
        Effect::None => format!(" (p99 would stay at {today}, by simulation)"),
        _ => format!(" (p99 from {today} to {}, by simulation)", shown(first.then.p99_ns)),
    }
}

fn sentence(forecast: &AdviceForecast) -> String {
    let AdviceForecast { change, today, then, p99_range_ns: [least_ns, most_ns], next_limit, .. } = forecast;
    let p99 = format!("p99 from {} to {}", shown(today.p99_ns), shown(then.p99_ns));
    if forecast.effect() == Effect::None {
        return format!("With {change} response times stay ({p99}).");
    }
    format!(
        "With {change} p50 goes from {} to {}, p90 from {} to {}, {p99} ({} to {}); the next \
         limit is {next_limit}.",
        shown(today.p50_ns),
        shown(then.p50_ns),
        shown(today.p90_ns),
        shown(then.p90_ns),
        shown(*least_ns),
        shown(*most_ns),
    )
}
