//! One entry of `findings`.
//!
//! In: a finding of the core. Out: a serialisable view of it.

use profiler_core::finding::outlook::{self, Effect};
use profiler_core::finding::{self, Answer};
use profiler_core::server::advice::{Alternative, Change, Limit};

use super::{rounded, summary};

view! {
    pub(super) struct Finding<'a>(finding: &'a finding::Finding) with {
        let (answer, reason) = match &finding.answer {
            Answer::Present => ("present", None),
            Answer::Absent => ("absent", None),
            Answer::Undecided { reason } => ("undecided", Some(reason.as_str())),
        };
    } {
        id: &'static str = finding.id,
        answer: &'static str = answer,
        reason: Option<&'a str> = reason,
        sentence: &'a str = &finding.sentence,
        cost_request_seconds: Option<f64> = rounded(summary::seconds(finding.cost_ns)),
        evidence: Vec<Evidence> = finding.evidence.iter().map(Evidence::new).collect(),
        count: u64 = finding.count,
        exemplars: &'a [u64] = &finding.exemplars,
        advice: &'a str = &finding.advice,
        settings: Vec<Setting<'a>> = settings(finding),
        yields_to: Option<&'static str> = finding.yields_to,
        follows: Option<Follows> = finding.follows.map(Follows::new),
        outlook: Option<Outlook<'a>> = finding.outlook.as_ref().map(Outlook::new),
    }
}

view! {
    struct Outlook<'a>(outlook: &'a outlook::Outlook) with {
        let (refusal, forecasts) = match outlook {
            outlook::Outlook::Unknown { reason } => (Some(reason.as_str()), &[][..]),
            outlook::Outlook::Forecasts(forecasts) => (None, forecasts.as_slice()),
        };
    } {
        refusal: Option<&'a str> = refusal,
        forecasts: Vec<Forecast<'a>> = forecasts.iter().map(Forecast::new).collect(),
    }
}

view! {
    struct Forecast<'a>(forecast: &'a outlook::AdviceForecast) {
        alternative: usize = forecast.alternative,
        change: &'a str = &forecast.change,
        checked: &'a str = &forecast.checked,
        effect: &'static str = match forecast.effect() {
            Effect::Shorter => "shorter",
            Effect::Longer => "longer",
            Effect::Both => "both",
            Effect::None => "none",
        },
        today_simulated: Times = Times::new(&forecast.today),
        with_change: Times = Times::new(&forecast.then),
        p99_least_ns: u64 = forecast.p99_range_ns[0],
        p99_most_ns: u64 = forecast.p99_range_ns[1],
        capacity_per_second: Option<f64> = rounded(forecast.capacity_per_s),
        next_limit: &'a str = &forecast.next_limit,
    }
}

view! {
    struct Times(times: &outlook::Times) {
        p50_ns: u64 = times.p50_ns,
        p90_ns: u64 = times.p90_ns,
        p99_ns: u64 = times.p99_ns,
    }
}

view! {
    struct Setting<'a>(number: usize, change: &'a Change, alternative: &Alternative<'a>) {
        alternative: usize = number,
        option: &'a str = &change.setting.name,
        scope: &'static str = change.setting.scope.name(),
        also: Option<&'a str> = change.setting.also.as_deref(),
        present: Option<&'a str> = change.setting.present.as_deref(),
        direction: &'static str = change.direction.name(),
        proposed: Option<&'a str> = change.proposed.as_deref(),
        is_seen: bool = change.setting.is_seen,
        limit: Option<&'static str> = change.limit.map(Limit::name),
        at_most: Option<u64> = change.at_most,
        when: Option<&'static str> = Some(alternative.when).filter(|when| !when.is_empty()),
        needs: Vec<&'a str> = alternative.needs.clone(),
        caveat: Option<&'static str> = change.caveat,
    }
}

view! {
    struct Follows(follows: finding::follows::Follows) {
        from: &'static str = follows.from,
        share_ratio: Option<f64> = rounded(follows.share),
    }
}

view! {
    struct Evidence(evidence: &finding::Evidence) {
        name: &'static str = evidence.name,
        value: Option<f64> = rounded(evidence.value),
        threshold: Option<f64> = evidence.threshold.and_then(rounded),
    }
}

/// The changes of its advice, numbered by which of them belong together; 1 is what it says first.
fn settings(finding: &finding::Finding) -> Vec<Setting<'_>> {
    let mut settings = Vec::new();
    for (number, alternative) in (1..).zip(finding.steps.alternatives()) {
        let new = |change| Setting::new(number, change, &alternative);
        settings.extend(alternative.changes.iter().copied().map(new));
    }
    settings
}
