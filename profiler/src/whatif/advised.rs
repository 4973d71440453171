//! What the advice of a report would bring: each alternative that changes how many there are of something,
//! simulated.
//!
//! In: a snapshot, the trace of the same window, findings with their advice. Out: the findings, each with its
//! [`Outlook`]. Where the simulation of today does not hold, or cannot be, they say why.

use std::collections::BTreeMap;

use profiler_core::finding::outlook::{AdviceForecast, Outlook, Times};
use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;
use profiler_core::server::advice::{Alternative, Arrangement, Change as Advised, Direction, Sizes};
use profiler_forecast::change::{Change, Class};
use profiler_forecast::figures::Figures;
use profiler_forecast::setting::Setting;

use super::forecast::{Asked, forecast, limit_name, resolved, together};
use super::text::{misses, p99_range};
use super::today::Today;
use super::trace::Trace;

/// Seed of all that is random: the same window has the same forecasts.
const SEED: u64 = 1;
/// Advice without a number is simulated with so many times what there is.
const MORE_TIMES: u32 = 2;

/// One alternative of one finding's advice, as a simulation takes it.
struct Asks {
    finding: usize,
    alternative: usize,
    words: String,
    changes: Vec<Resized>,
}

/// One change, with what there must be today for it to mean what it says.
struct Resized {
    words: String,
    asked: Asked,
    present: Option<(Sizes, u32)>,
}

/// Gives findings the outlook of their advice. Nothing is simulated where no advice changes a number.
pub fn attach(snapshot: &Snapshot, trace: &Trace, findings: &mut [Finding]) {
    let all: Vec<Asks> =
        findings.iter().enumerate().flat_map(|(at, finding)| asks(at, finding, snapshot)).collect();
    if all.is_empty() {
        return;
    }
    let today = Today::of(snapshot, trace, None, SEED);
    let reason = match &today {
        Ok(today) if today.is_trusted() => None,
        Ok(today) => Some(why_not(today)),
        Err(error) => Some(error.to_string()),
    };
    let mut forecasts: BTreeMap<usize, Vec<AdviceForecast>> = BTreeMap::new();
    if let (Ok(today), None) = (&today, &reason) {
        let mut known: BTreeMap<&str, Option<AdviceForecast>> = BTreeMap::new();
        for ask in &all {
            let one = known.entry(&ask.words).or_insert_with(|| simulated(ask, today, snapshot));
            let Some(one) = one else { continue };
            let one = AdviceForecast { alternative: ask.alternative, ..one.clone() };
            forecasts.entry(ask.finding).or_default().push(one);
        }
    }
    for ask in &all {
        let Some(finding) = findings.get_mut(ask.finding) else { continue };
        if let Some(reason) = &reason {
            finding.outlook = Some(Outlook::Unknown { reason: reason.clone() });
        } else if let Some(forecasts) = forecasts.remove(&ask.finding) {
            finding.outlook = Some(Outlook::Forecasts(forecasts));
        }
    }
}

/// Why there is no forecast, as a clause.
fn why_not(today: &Today) -> String {
    if let Some(refusal) = today.refusals.first() {
        return refusal.to_string();
    }
    let missed = today.self_forecast.as_ref().map(misses).unwrap_or_default();
    format!("simulated as it was, this window does not come out as it was measured ({missed})")
}

/// The alternatives of a finding's advice that a simulation can take.
fn asks(at: usize, finding: &Finding, snapshot: &Snapshot) -> Vec<Asks> {
    if finding.answer != Answer::Present {
        return Vec::new();
    }
    let numbered = (1..).zip(finding.steps.alternatives());
    let asks = numbered.filter_map(|(number, alternative)| {
        let changes = asked(&alternative, snapshot)?;
        let words = changes.iter().map(|change| change.words.as_str()).collect::<Vec<_>>().join(" ");
        Some(Asks { finding: at, alternative: number, words, changes })
    });
    asks.collect()
}

/// What one alternative changes; `None`: something that no simulation knows, or nothing.
fn asked(alternative: &Alternative<'_>, snapshot: &Snapshot) -> Option<Vec<Resized>> {
    let arranged = |words: String, asked: Asked| Resized { words, asked, present: None };
    if !alternative.arrangements.is_empty() {
        let each = alternative.arrangements.iter().map(|arrangement| match arrangement {
            Arrangement::BufferingProxy => {
                Some(arranged("a proxy that buffers".to_owned(), Asked::Plain(Change::Proxy)))
            }
        });
        return each.collect();
    }
    if !alternative.needs.is_empty() || alternative.changes.is_empty() {
        return None;
    }
    alternative.changes.iter().map(|change| resized(change, snapshot)).collect()
}

/// A change of one setting.
fn resized(change: &Advised, snapshot: &Snapshot) -> Option<Resized> {
    let setting = &change.setting;
    if setting.name == "--worker-class" && change.proposed.as_deref() == Some("gthread") {
        let words = "--worker-class gthread".to_owned();
        return Some(Resized { words, asked: Asked::Class(Class::Pool), present: None });
    }
    let present = setting.present.as_ref().map_or(Ok(1), |present| present.parse()).ok()?;
    let number = number(change, present, snapshot.session.cpu_count)?;
    let sizes = setting.sizes?;
    let sized = match sizes {
        Sizes::Processes => Change::Processes(number),
        Sizes::Threads => Change::Threads(number),
        Sizes::Greenlets => return None,
    };
    let words = match setting.name.ends_with('=') {
        true => format!("{}{number}", setting.name),
        false => format!("{} {number}", setting.name),
    };
    Some(Resized { words, asked: Asked::Plain(sized), present: Some((sizes, present)) })
}

/// To what number: as proposed, up or down to that of the cores, or twice as many. `None`: it would not
/// change.
fn number(change: &Advised, present: u32, cores: u32) -> Option<u32> {
    let number = match (&change.proposed, change.limit, change.direction) {
        (Some(proposed), ..) => proposed.parse().ok()?,
        (None, Some(_), Direction::Raise) => cores.max(present),
        (None, Some(_), Direction::Lower) => cores.min(present),
        (None, None, Direction::Raise) => present.saturating_mul(MORE_TIMES),
        _ => return None,
    };
    let at_most = change.at_most.map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX));
    Some(number.min(at_most)).filter(|number| *number != present)
}

/// One alternative, simulated; `None`: the model cannot have it.
fn simulated(ask: &Asks, today: &Today, snapshot: &Snapshot) -> Option<AdviceForecast> {
    let (load, setting) = (&today.model.load, &today.model.setting);
    if !ask.changes.iter().all(|change| is_as_configured(change.present, setting)) {
        return None;
    }
    let named: Vec<(String, Asked)> =
        ask.changes.iter().map(|change| (change.words.clone(), change.asked.clone())).collect();
    let changes = together(&resolved(&named, load, snapshot).ok()?);
    let forecast = forecast(&snapshot.server, &ask.words, &changes, (load, setting)).ok()?;
    Some(AdviceForecast {
        alternative: ask.alternative,
        p99_range_ns: p99_range(&forecast),
        today: times(today.simulated.as_ref()?),
        then: times(&forecast.figures),
        capacity_per_s: forecast.capacity.per_s,
        next_limit: limit_name(forecast.capacity.limit, load),
        checked: forecast.checked,
        change: forecast.name,
    })
}

/// Whether the model has as many as the setting says there are.
fn is_as_configured(present: Option<(Sizes, u32)>, setting: &Setting) -> bool {
    match present {
        None => true,
        Some((Sizes::Processes, processes)) => setting.processes == processes,
        Some((Sizes::Threads, threads)) => setting.threads == threads,
        Some((Sizes::Greenlets, _)) => false,
    }
}

fn times(figures: &Figures) -> Times {
    let of = &figures.overall;
    Times { p50_ns: of.p50_ns, p90_ns: of.p90_ns, p99_ns: of.p99_ns }
}

#[cfg(test)]
mod tests {
    use profiler_core::finding::outlook::Effect;
    use profiler_core::phase::Phase;
    use profiler_core::server::advice::{Advice, Setting as Option, act, lower, raise, say};

    use super::super::tests::{calm, calm_snapshot, request, traced};
    use super::*;

    /// Every 10 ms two requests of 2 ms at once, to one process that has one slot: the second waits.
    fn pairs() -> Trace {
        let each = (0..300_u64).flat_map(|number| {
            let at_ns = number * 10_000_000;
            let first = request(at_ns, &[(Phase::Cpu, 2_000_000)]);
            let mut second = request(at_ns + 1, &[(Phase::AcceptQueue, 2_000_000), (Phase::Cpu, 2_000_000)]);
            "/b".clone_into(&mut second.http.path);
            [first, second]
        });
        traced(each.collect(), 1)
    }

    fn finding(steps: Advice) -> Finding {
        let snapshot = calm_snapshot();
        let mut all = profiler_core::verdict::findings(&snapshot, &Default::default());
        let mut finding = all.pop().unwrap();
        (finding.answer, finding.steps) = (Answer::Present, steps);
        finding
    }

    fn outlook(trace: &Trace, mut finding: Finding) -> std::option::Option<Outlook> {
        attach(&calm_snapshot(), trace, std::slice::from_mut(&mut finding));
        finding.outlook
    }

    fn workers(present: u32) -> Option {
        Option::named("--workers").now(present).sizing(Sizes::Processes)
    }

    fn threads() -> Option {
        Option::named("threads=").now(1).sizing(Sizes::Threads)
    }

    #[test]
    fn each_alternative_that_can_be_simulated_has_its_forecast_under_its_number() {
        let first = raise(&workers(1)).up_to_cores().or(act("sleep less")).or(raise(&threads()));
        let found = outlook(&pairs(), finding(Advice::first(first).then(say("more is not needed"))));
        let Some(Outlook::Forecasts(found)) = found else { panic!("{found:?}") };
        let shown: Vec<(usize, &str)> =
            found.iter().map(|one| (one.alternative, one.change.as_str())).collect();
        // Two cores; twice as many threads.
        assert_eq!(shown, [(1, "--workers 2"), (3, "threads=2")]);
        let [workers, threads] = &found[..] else { panic!("{found:?}") };
        // Each of both then has a process, and a core.
        assert_eq!((workers.today.p99_ns, workers.then.p99_ns), (3_999_999, 2_000_000));
        assert_eq!((workers.effect(), workers.next_limit.as_str()), (Effect::Shorter, "cores"));
        // Both compute: they would wait for the GIL instead.
        assert_eq!((threads.then.p99_ns > 3_900_000, threads.next_limit.as_str()), (true, "the GIL"));
    }

    #[test]
    fn a_proxy_is_forecast() {
        let finding = finding(act("put a proxy there").arranging(Arrangement::BufferingProxy).into());
        let found = outlook(&pairs(), finding);
        let Some(Outlook::Forecasts(found)) = found else { panic!("{found:?}") };
        let shown: Vec<(&str, Effect)> =
            found.iter().map(|one| (one.change.as_str(), one.effect())).collect();
        assert_eq!(shown, [("a proxy that buffers", Effect::None)]);
    }

    #[test]
    fn where_today_cannot_be_trusted_the_reason_stands_there() {
        let more = || finding(raise(&workers(1)).into());
        let mut snapshot = calm_snapshot();
        snapshot.coverage.losses.late = 1;
        let mut lossy = more();
        attach(&snapshot, &calm(), std::slice::from_mut(&mut lossy));
        let reason = "records were lost: record again, for a shorter time or under less load";
        assert_eq!(lossy.outlook, Some(Outlook::Unknown { reason: reason.to_owned() }));
        let waits = [(Phase::Cpu, 2_000_000), (Phase::RunQueue, 3_000_000)];
        let strange = traced((0..600).map(|number| request(number * 10_000_000, &waits)).collect(), 1);
        let found = outlook(&strange, more());
        let says = |reason: &str| reason.starts_with("simulated as it was") && reason.contains("run queue");
        assert!(matches!(&found, Some(Outlook::Unknown { reason }) if says(reason)), "{found:?}");
    }

    #[test]
    fn advice_that_changes_no_number_has_no_outlook_nor_has_what_is_not_as_it_says() {
        for steps in [
            Advice::from(act("sleep less")),
            // There is one process, not three; and there is none less than one.
            raise(&workers(3)).into(),
            lower(&workers(1)).into(),
            raise(&workers(1)).and(act("sleep less")).into(),
        ] {
            assert_eq!(outlook(&pairs(), finding(steps.clone())), None, "{steps}");
        }
        let absent = Finding { answer: Answer::Absent, ..finding(raise(&workers(1)).into()) };
        assert_eq!(outlook(&pairs(), absent), None);
    }
}
