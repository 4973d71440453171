//! Finding `keep-alive-race`: the server closed kept connections as requests arrived on them.
//!
//! In: connections that ended so. Out: a verdict. Each is a request that failed for no reason of its own.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::words::{count, percent, ratio};
use super::{Judge, Rule};
use crate::model::dropped::Cause;
use crate::server::advice::act;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "keep-alive-race",
    title: "the server closed kept connections as requests arrived",
    question: "the server closes kept connections too early",
    page: include_str!("../../../../docs/findings/keep-alive-race.md"),
    advice: || {
        act("keep idle connections longer in the server than its clients, or the proxy before it, keep them")
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let dropped = &basis.snapshot.dropped;
    let raced = dropped.count(Cause::KeepAliveRace);
    let needed = basis.thresholds.raced_min_count;
    let share = ratio(raced, dropped.ended());
    let evidence = vec![
        decides("connections_raced_count", raced as f64, needed),
        explains("connections_raced_ratio", share),
    ];
    if (raced as f64) < needed {
        let sentence = "No request is known to have come as its connection was closed".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let what = if raced == 1 {
        "a kept connection".to_owned()
    } else {
        format!("{} kept connections", count(raced))
    };
    let sentence = format!(
        "The server closed {what} ({} of all that ended) as the next request arrived: the client saw a reset",
        percent(share)
    );
    let cost_ns = dropped.of(Cause::KeepAliveRace).map_or(0, |counted| counted.waited_ns);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use crate::model::dropped::{Cause, Counted};

    #[test]
    fn one_is_enough_for_it_is_a_request_that_failed() {
        let mut scene = Scene::gunicorn("gthread", 4, 60 * SECOND);
        scene.clone().judge("keep-alive-race").assert_absent();
        let counted =
            Counted { cause: Cause::KeepAliveRace, count: 1, waited_ns: SECOND, examples: Vec::new() };
        scene.0.dropped.causes.push(counted);
        let finding = scene.judge("keep-alive-race");
        finding.assert_present();
        assert!(finding.advice.contains("--keep-alive"), "{}", finding.advice);
    }
}
