//! The verdict on a difference, in words.
//!
//! In: a [`Difference`]. Out: a sentence: what is to be said first. Names of phases in it come from reports:
//! hostile.

use super::difference::{Difference, FindingChange};
use super::duration::{duration, signed};
use super::statistics::Verdict;

/// What is to be said first.
pub(super) fn verdict(difference: &Difference) -> String {
    let forbidding: Vec<&str> = difference
        .doubts
        .iter()
        .filter(|doubt| doubt.forbids_verdict)
        .map(|doubt| doubt.sentence.as_str())
        .collect();
    if !forbidding.is_empty() {
        return format!("Not comparable as a whole: {}.", forbidding.join("; "));
    }
    let change = &difference.total_ns;
    let percent = |value: f64| format!("{:+.0} %", value / change.a.max(1.0) * 100.0);
    let sure = change.interval.map_or_else(String::new, |[low, high]| {
        let confidence = difference.confidence_ratio * 100.0;
        format!("{} to {}, {confidence:.0} % sure", percent(low), percent(high))
    });
    let from_to = format!("{} instead of {} on average", duration(change.b), duration(change.a));
    let mut said = match change.verdict {
        Verdict::More => format!("B is slower: requests took {from_to} ({sure})"),
        Verdict::Less => format!("B is faster: requests took {from_to} ({sure})"),
        Verdict::NotShown => {
            format!("No change of the mean can be shown: {from_to} (the true change: {sure})")
        }
        Verdict::TooFew => format!("Too few requests to say: {from_to}"),
    };
    let moved = difference.phases_ns.iter().find(|phase| {
        matches!(phase.change.verdict, Verdict::More | Verdict::Less)
            && phase.change.difference * change.difference > 0.0
    });
    if matches!(change.verdict, Verdict::More | Verdict::Less)
        && let Some(moved) = moved
    {
        said += &format!(", mostly in {} ({})", moved.phase, signed(moved.change.difference));
    }
    for (what, words) in [("new", "new in B"), ("gone", "gone in B")] {
        let ids: Vec<&str> = of_kind(difference, what).map(|finding| finding.id.as_str()).collect();
        if !ids.is_empty() {
            said += &format!("; {words}: {}", ids.join(", "));
        }
    }
    said + "."
}

fn of_kind<'a>(difference: &'a Difference, what: &'a str) -> impl Iterator<Item = &'a FindingChange> {
    difference.findings.iter().filter(move |finding| finding.what == what)
}
