//! Whether advice helped, did nothing or harmed, from figures alone.
//!
//! In: figures of at least two watches under the settings of before, and of those under the settings of
//! after. Out: [`Verdict`] with its reasons. What advice says that it makes worse is no harm, as far as more
//! is answered for it. How far the watches of before differ is the noise: what is worse lies beyond all of
//! them by more than that.

use wsgi_trace_lab::advised::judge::{Fate, NOISE, cost_of_answer, fate};

use crate::record::{Figures, Verdict};

/// The noise of p99 is at least this: one turn of another thread with the GIL.
const TURN_MS: f64 = 5.0;
/// So many standard errors of a count are no chance any more.
const STANDARD_ERRORS: f64 = 3.0;
/// Endpoints of the application that compute. Where advice says that these may take longer, p99 may grow as
/// much as answers do.
const COMPUTES: &str = "/cpu/";
/// An endpoint that is asked less often than this has no p99.
const FEW_REQUESTS: usize = 5;

/// What became of a finding under advice, which may have said that requests that compute take longer.
pub(crate) fn judge(
    finding: &str,
    (before, after): (&[Figures], &[Figures]),
    has_computing_caveat: bool,
) -> (Verdict, Vec<String>) {
    let worse = worse(before, after, has_computing_caveat);
    if !worse.is_empty() {
        return (Verdict::Harmed, worse);
    }
    let (verdict, why) = of_finding(finding, before, after);
    if verdict == Verdict::Nothing {
        return (verdict, vec![why.to_owned()]);
    }
    match moved(finding, before, after) {
        Some(id) => {
            let lost = format!("{why}, but as much is lost to {id} now, and no client is better off");
            (Verdict::Nothing, vec![lost])
        }
        None => (verdict, vec![why.to_owned()]),
    }
}

/// A finding that was not there before, costs as much as this one did, and of which clients have nothing: the
/// same loss under another name.
fn moved<'a>(finding: &str, before: &[Figures], after: &'a [Figures]) -> Option<&'a str> {
    let cost = |id: &str, figures: &Figures| cost(id, figures).unwrap_or(0.0);
    let (least, _) = range(before.iter().map(|figures| cost(finding, figures)));
    let is_new = |id: &&String| {
        before.iter().all(|figures| !figures.findings.contains_key(*id))
            && least > 0.0
            && after.iter().all(|figures| cost(id, figures) >= least)
    };
    let new = after.first()?.findings.keys().find(is_new)?;
    // As the other way around: who was before is not worse than who is now.
    worse(after, before, false).is_empty().then_some(new.as_str())
}

/// What a finding that is present costs each answer.
fn cost(id: &str, figures: &Figures) -> Option<f64> {
    let said = figures.findings.get(id).filter(|said| said.answer == "present")?;
    Some(cost_of_answer(said.cost, figures.per_second))
}

fn of_finding(finding: &str, before: &[Figures], after: &[Figures]) -> (Verdict, &'static str) {
    let cost = |figures: &Figures| cost(finding, figures);
    let costs: Option<Vec<f64>> = before.iter().map(cost).collect();
    let Some(costs) = costs else {
        return (Verdict::Nothing, "it comes and goes under the same settings");
    };
    let least = costs.into_iter().fold(f64::INFINITY, f64::min);
    let fates: Vec<Fate> = after
        .iter()
        .map(|figures| {
            let answer = figures.findings.get(finding).map_or("absent", |said| said.answer.as_str());
            fate(least, Some(answer), cost(figures).unwrap_or(0.0))
        })
        .collect();
    let any = |one: Fate| fates.contains(&one);
    if any(Fate::Stays) && (any(Fate::Gone) || any(Fate::Halved)) {
        (Verdict::Nothing, "not every watch afterwards shows that it helped")
    } else if any(Fate::Stays) {
        (Verdict::Nothing, "it stays")
    } else if any(Fate::Undecided) {
        (Verdict::Nothing, "whether it is there cannot be said")
    } else if any(Fate::Halved) {
        (Verdict::Helped, "it costs half or less")
    } else {
        (Verdict::Helped, "it is gone")
    }
}

/// What got worse, each in a few words; with a caveat, beyond what it says.
fn worse(before: &[Figures], after: &[Figures], has_computing_caveat: bool) -> Vec<String> {
    let mut worse = Vec::new();
    let rate = |figures: &Figures| figures.per_second;
    let (least, most) = range(before.iter().map(rate));
    let (gained, best) = range(after.iter().map(rate));
    let growth = if has_computing_caveat { gained / most } else { 1.0 };
    if best < least - (most - least).max(least * NOISE) {
        worse.push(format!("{best:.0} answers a second, {least:.0} to {most:.0} before"));
    }
    let share = |figures: &Figures| figures.failed as f64 / figures.requests().max(1) as f64;
    let (least, most) = range(before.iter().map(share));
    let (best, _) = range(after.iter().map(share));
    // Failures are counted: one or two of thousands say nothing.
    let by_chance = |figures: &Figures| {
        STANDARD_ERRORS * (figures.failed.max(1) as f64).sqrt() / figures.requests().max(1) as f64
    };
    let (_, chance) = range(before.iter().map(by_chance));
    if best > most + (most - least).max(most * NOISE).max(chance) {
        let percent = |share: f64| share * 100.0;
        worse.push(format!(
            "{:.2} % of requests failed, {:.2} to {:.2} % before",
            percent(best),
            percent(least),
            percent(most)
        ));
    }
    let mut endpoints: Vec<&String> = before.iter().flat_map(|figures| figures.endpoints.keys()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    worse.extend(endpoints.into_iter().filter_map(|endpoint| {
        let allowed = if endpoint.contains(COMPUTES) { growth.max(1.0) } else { 1.0 };
        slower(endpoint, (before, after), allowed)
    }));
    worse
}

/// Whether p99 of an endpoint is worse than so many times that of before. Who is not answered waits for
/// longer than all others.
fn slower(endpoint: &str, (before, after): (&[Figures], &[Figures]), allowed: f64) -> Option<String> {
    let of = |figures: &Figures| figures.endpoints.get(endpoint).cloned();
    let known: Vec<_> = before.iter().filter_map(of).collect();
    if known.len() < before.len() || known.iter().any(|one| one.requests < FEW_REQUESTS) {
        return None;
    }
    let (least, most) = range(known.iter().map(|one| one.p99_ms.unwrap_or(f64::INFINITY)));
    if most.is_infinite() {
        return None;
    }
    let now = after.iter().map(|figures| of(figures).and_then(|one| one.p99_ms).unwrap_or(f64::INFINITY));
    let (best, _) = range(now);
    let noise = (most - least).max(most * NOISE).max(TURN_MS);
    if best <= most * allowed + noise {
        return None;
    }
    let shown = if best.is_infinite() { "without answers".to_owned() } else { format!("{best:.1} ms") };
    Some(format!("p99 of {endpoint} {shown}, {least:.1} to {most:.1} ms before"))
}

/// The least and the greatest.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), one| (least.min(one), most.max(one)))
}

#[cfg(test)]
mod tests {
    use crate::record::Said;
    use wsgi_trace_lab::advised::watched::Endpoint;

    use super::*;

    fn present(cost: f64) -> Said {
        Said { answer: "present".to_owned(), cost }
    }

    /// A watch with this finding's cost, answers a second, failures of 1000 requests and p99.
    fn watch(cost: Option<f64>, per_second: f64, failed: usize, p99_ms: Option<f64>) -> Figures {
        let said = cost.map(|cost| ("herd".to_owned(), present(cost)));
        Figures {
            findings: said.into_iter().collect(),
            per_second,
            failed,
            endpoints: [("/fast".to_owned(), Endpoint { requests: 1000, p99_ms })].into(),
            ..Figures::default()
        }
    }

    fn before() -> [Figures; 2] {
        [watch(Some(2.0), 100.0, 0, Some(20.0)), watch(Some(3.0), 120.0, 2, Some(30.0))]
    }

    fn verdict(after: &[Figures]) -> Verdict {
        judge("herd", (&before(), after), false).0
    }

    #[test]
    fn what_is_gone_or_costs_half_of_the_least_before_has_helped() {
        assert_eq!(verdict(&[watch(None, 100.0, 0, Some(20.0))]), Verdict::Helped);
        assert_eq!(verdict(&[watch(Some(1.0), 100.0, 0, Some(20.0))]), Verdict::Helped);
        assert_eq!(verdict(&[watch(Some(1.2), 100.0, 0, Some(20.0))]), Verdict::Nothing);
        // In each watch.
        let both = [watch(None, 100.0, 0, Some(20.0)), watch(Some(2.0), 100.0, 0, Some(20.0))];
        let why = "not every watch afterwards shows that it helped".to_owned();
        assert_eq!(judge("herd", (&before(), &both), false), (Verdict::Nothing, vec![why]));
        let stays = [watch(Some(2.0), 100.0, 0, Some(20.0))];
        assert_eq!(
            judge("herd", (&before(), &stays), false),
            (Verdict::Nothing, vec!["it stays".to_owned()])
        );
    }

    #[test]
    fn what_comes_and_goes_by_itself_was_not_helped() {
        let before = [watch(Some(2.0), 100.0, 0, Some(20.0)), watch(None, 100.0, 0, Some(20.0))];
        let after = [watch(None, 100.0, 0, Some(20.0))];
        assert_eq!(judge("herd", (&before, &after), false).0, Verdict::Nothing);
    }

    #[test]
    fn harm_lies_beyond_all_of_before_by_more_than_they_differ() {
        // 100 to 120: the noise is 20.
        assert_eq!(verdict(&[watch(None, 81.0, 0, Some(20.0))]), Verdict::Helped);
        assert_eq!(verdict(&[watch(None, 79.0, 0, Some(20.0))]), Verdict::Harmed);
        // 20 to 30 ms: the noise is 10 ms.
        assert_eq!(verdict(&[watch(None, 100.0, 0, Some(39.0))]), Verdict::Helped);
        assert_eq!(verdict(&[watch(None, 100.0, 0, Some(41.0))]), Verdict::Harmed);
        // None to two of a thousand: three standard errors of two are 4.2.
        assert_eq!(verdict(&[watch(None, 100.0, 6, Some(20.0))]), Verdict::Helped);
        assert_eq!(verdict(&[watch(None, 100.0, 7, Some(20.0))]), Verdict::Harmed);
        // Where many fail, a tenth more: 200 of 1000 have 42 by chance.
        let many = [watch(Some(2.0), 100.0, 200, Some(20.0)), watch(Some(2.0), 100.0, 200, Some(20.0))];
        assert_eq!(judge("herd", (&many, &[watch(None, 100.0, 242, Some(20.0))]), false).0, Verdict::Helped);
        assert_eq!(judge("herd", (&many, &[watch(None, 100.0, 243, Some(20.0))]), false).0, Verdict::Harmed);
    }

    #[test]
    fn harm_that_one_watch_of_after_does_not_show_is_noise() {
        let after = [watch(None, 50.0, 0, Some(90.0)), watch(None, 100.0, 0, Some(20.0))];
        assert_eq!(verdict(&after), Verdict::Helped);
    }

    #[test]
    fn p99_without_answers_is_longer_than_any_and_a_few_requests_have_none() {
        assert_eq!(verdict(&[watch(None, 100.0, 0, None)]), Verdict::Harmed);
        let unanswered = [watch(Some(2.0), 100.0, 0, None), watch(Some(2.0), 100.0, 0, Some(1.0))];
        let after = [watch(None, 100.0, 0, Some(900.0))];
        assert_eq!(judge("herd", (&unanswered, &after), false).0, Verdict::Helped);
        let mut rare = before();
        for figures in &mut rare {
            figures.endpoints.get_mut("/fast").unwrap().requests = 4;
        }
        // Where failures are shares of so few, none may have failed.
        rare[1].failed = 0;
        assert_eq!(judge("herd", (&rare, &[watch(None, 100.0, 0, None)]), false).0, Verdict::Helped);
    }

    #[test]
    fn a_few_milliseconds_are_no_harm() {
        let before = [watch(Some(2.0), 100.0, 0, Some(2.0)), watch(Some(2.0), 100.0, 0, Some(2.1))];
        assert_eq!(judge("herd", (&before, &[watch(None, 100.0, 0, Some(7.0))]), false).0, Verdict::Helped);
        let harmed = judge("herd", (&before, &[watch(None, 100.0, 0, Some(7.2))]), false);
        assert_eq!(harmed, (Verdict::Harmed, vec!["p99 of /fast 7.2 ms, 2.0 to 2.1 ms before".to_owned()]));
    }

    #[test]
    fn what_its_advice_says_is_no_harm_as_far_as_more_is_answered() {
        let at = |path: &str, per_second: f64, p99_ms: f64| Figures {
            per_second,
            endpoints: [(path.to_owned(), Endpoint { requests: 1000, p99_ms: Some(p99_ms) })].into(),
            ..Figures::default()
        };
        let harmed = |path: &str, after: (f64, f64), caveat: bool| {
            let before = [at(path, 100.0, 70.0), at(path, 100.0, 70.0)];
            judge("herd", (&before, &[at(path, after.0, after.1)]), caveat).0 == Verdict::Harmed
        };
        for (what, path, after, caveat, expected) in [
            ("half as many answers more, p99 by a third", "/truth/cpu/20", (150.0, 93.0), true, false),
            ("p99 by more than the answers", "/truth/cpu/20", (150.0, 120.0), true, true),
            ("no more answers", "/truth/cpu/20", (100.0, 93.0), true, true),
            ("nobody said so", "/truth/cpu/20", (150.0, 93.0), false, true),
            ("it does not compute", "/sleep/20", (150.0, 93.0), true, true),
        ] {
            assert_eq!(harmed(path, after, caveat), expected, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_no_help() {
        let mut after = watch(None, 100.0, 0, Some(20.0));
        after.findings.insert("herd".to_owned(), Said { answer: "undecided".to_owned(), ..present(0.0) });
        assert_eq!(verdict(&[after]), Verdict::Nothing);
    }

    #[test]
    fn loss_that_only_has_another_name_now_was_not_helped() {
        let with = |per_second, p99_ms, cost: f64| {
            let mut figures = watch(None, per_second, 0, Some(p99_ms));
            figures.findings.insert("gil-contention".to_owned(), present(cost));
            figures
        };
        let (verdict, why) = judge("herd", (&before(), &[with(110.0, 20.0, 2.2)]), false);
        assert_eq!(verdict, Verdict::Nothing, "{why:?}");
        assert!(why[0].contains("gil-contention"), "{why:?}");
        for (what, after) in [
            ("it costs less", with(110.0, 20.0, 2.1)),
            ("there are more answers", with(150.0, 20.0, 3.0)),
            ("they come sooner", with(110.0, 5.0, 2.2)),
        ] {
            assert_eq!(verdict_of(&after), Verdict::Helped, "{what}");
        }
    }

    fn verdict_of(after: &Figures) -> Verdict {
        verdict(std::slice::from_ref(after))
    }
}
