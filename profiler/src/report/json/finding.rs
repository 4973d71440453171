//! One entry of `findings`.
//!
//! In: a finding of the core. Out: a serialisable view of it.

use profiler_core::finding::outlook::{self, Effect};
use profiler_core::finding::{self, Answer};
use profiler_core::server::advice::{Advice, Alternative, Change, Limit};

use super::{rounded, summary};

view! {
    pub(super) struct Finding<'a>(finding: &'a finding::Finding) with {
        let (answer, reason) = match &finding.answer {
            Answer::Present => ("present", None),
            Answer::Usual => ("usual", None),
            Answer::Absent => ("absent", None),
            Answer::Undecided { reason } => ("undecided", Some(reason.as_str())),
        };
    } {
        /// Stable id, as in wsgi-trace explain ID.
        id: &'static str = finding.id,
        /// Whether it is so.
        #[cfg_attr(test, schemars(extend("enum" = ["present", "usual", "absent", "undecided"])))]
        answer: &'static str = answer,
        /// Why it cannot be said; null unless undecided.
        reason: Option<&'a str> = reason,
        /// One sentence with its numbers.
        sentence: &'a str = &finding.sentence,
        /// Request-seconds that would not have been without it; where that was not replayed, those that were
        /// spent at it. Of several findings they do not add up.
        #[cfg_attr(test, schemars(with = "f64"))]
        cost_request_seconds: Option<f64> = rounded(summary::seconds(finding.cost_ns)),
        /// What the verdict rests on.
        evidence: Vec<Evidence> = finding.evidence.iter().map(Evidence::new).collect(),
        /// Requests counted for it.
        count: u64 = finding.count,
        /// Ids of exemplar requests.
        exemplars: &'a [u64] = &finding.exemplars,
        /// The setting to change for this server, or the next step.
        advice: &'a str = &finding.advice,
        /// The settings that the advice changes, in the order in which it names them.
        settings: Vec<AdvisedSetting<'a>> = settings(&finding.steps),
        /// What its advice would bring, as a simulation of this window says; null: no forecast was asked for
        /// (`--forecast`), or the advice changes nothing that is simulated.
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
        /// Why there is no forecast, as a clause; null: there are forecasts.
        refusal: Option<&'a str> = refusal,
        /// One for each alternative of the advice that is simulated.
        forecasts: Vec<Forecast<'a>> = forecasts.iter().map(Forecast::new).collect(),
    }
}

view! {
    struct Forecast<'a>(forecast: &'a outlook::AdviceForecast) {
        /// Which alternative, as in `settings`; one without a setting has no entry there.
        #[cfg_attr(test, schemars(range(min = 1)))]
        alternative: usize = forecast.alternative,
        /// What was simulated (`--threads 8`).
        change: &'a str = &forecast.change,
        /// How near forecasts like this one came to real runs, as a clause.
        checked: &'a str = &forecast.checked,
        /// What becomes of p50, p90 and p99, where they differ by more than a tenth: shorter, longer, both
        /// (one shorter, one longer), none.
        #[cfg_attr(test, schemars(extend("examples" = ["shorter", "longer", "both", "none"])))]
        effect: &'static str = match forecast.effect() {
            Effect::Shorter => "shorter",
            Effect::Longer => "longer",
            Effect::Both => "both",
            Effect::None => "none",
        },
        /// Today, as simulated.
        today_simulated: ForecastTimes = ForecastTimes::new(&forecast.today),
        /// With the change.
        with_change: ForecastTimes = ForecastTimes::new(&forecast.then),
        /// The least p99 to be expected, in ns: with CPU times 10 % less or more, and as far as so few
        /// requests show a p99.
        p99_least_ns: u64 = forecast.p99_range_ns[0],
        /// The most, in ns.
        p99_most_ns: u64 = forecast.p99_range_ns[1],
        /// The most requests that it would serve.
        capacity_per_second: Option<f64> = rounded(forecast.capacity_per_s),
        /// What would then keep it from serving more (`the GIL`).
        next_limit: &'a str = &forecast.next_limit,
    }
}

view! {
    /// Response times.
    struct ForecastTimes(times: &outlook::Times) {
        /// Median response time in ns.
        p50_ns: u64 = times.p50_ns,
        /// The 90th percentile in ns.
        p90_ns: u64 = times.p90_ns,
        /// The 99th percentile in ns.
        p99_ns: u64 = times.p99_ns,
    }
}

view! {
    /// A setting that advice changes.
    pub(super) struct AdvisedSetting<'a>(number: usize, change: &'a Change, alternative: &Alternative<'a>) {
        /// Place in the advice, from 1: settings with the same number are changed together. A number that is
        /// missing is no setting.
        #[cfg_attr(test, schemars(range(min = 1)))]
        alternative: usize = number,
        /// The setting, as the server or the kernel calls it.
        option: &'a str = &change.setting.name,
        /// Where it is set.
        #[cfg_attr(test, schemars(extend("examples" = [
            "command_line", "directive", "program", "sysctl", "service"
        ])))]
        scope: &'static str = change.setting.scope.name(),
        /// Another way to set the same; null: none is known.
        also: Option<&'a str> = change.setting.also.as_deref(),
        /// Its present value; null: not known.
        present: Option<&'a str> = change.setting.present.as_deref(),
        /// Which way to change it.
        #[cfg_attr(test, schemars(extend("enum" = ["raise", "lower", "set", "remove"])))]
        direction: &'static str = change.direction.name(),
        /// The value to set; null: the advice says what it depends on.
        proposed: Option<&'a str> = change.proposed.as_deref(),
        /// The present value was only counted: it may be more.
        is_seen: bool = change.setting.is_seen,
        /// How far it is worth raising or lowering: cores (the number of the host's cores); null: not known.
        #[cfg_attr(test, schemars(extend("examples" = ["cores"])))]
        limit: Option<&'static str> = change.limit.map(Limit::name),
        /// The highest value that the server or the kernel takes as it is; null: none is known.
        at_most: Option<u64> = change.at_most,
        /// When it holds, in words; null: always.
        when: Option<&'static str> = Some(alternative.when).filter(|when| !when.is_empty()),
        /// What else must be done together with it, in words, as it is no setting.
        needs: Vec<&'a str> = alternative.needs.clone(),
        /// What it may make worse, a clause; null: nothing is known.
        caveat: Option<&'static str> = change.caveat,
        /// Request time that would not have been with the proposed value, in ns, by a replay of the lines;
        /// null: not known.
        prevented_ns: Option<u64> = change.prevented_ns,
        /// What it takes beside that, each as a noun: memory, connections, code that is safe in threads.
        costs: &'a [String] = &change.costs,
        /// When it is in force: at_once, after a reload, after a restart.
        #[cfg_attr(test, schemars(extend("examples" = ["at_once", "reload", "restart"])))]
        takes_effect: &'static str = change.takes_effect().name(),
        /// What undoes it (--threads 4); null: its present value is not known.
        undone_by: Option<String> = change.undone_by(),
    }
}

view! {
    struct Evidence(evidence: &finding::Evidence) {
        /// What was measured, with its unit.
        name: &'static str = evidence.name,
        /// The value, rounded to six digits; null if it is not finite.
        value: Option<f64> = rounded(evidence.value),
        /// The value from which the rule says present; null if this value does not decide.
        threshold: Option<f64> = evidence.threshold.and_then(rounded),
    }
}

/// The changes of its advice, numbered by which of them belong together; 1 is what it says first.
pub(super) fn settings(advice: &Advice) -> Vec<AdvisedSetting<'_>> {
    let mut settings = Vec::new();
    for (number, alternative) in (1..).zip(advice.alternatives()) {
        let new = |change| AdvisedSetting::new(number, change, &alternative);
        settings.extend(alternative.changes.iter().copied().map(new));
    }
    settings
}
