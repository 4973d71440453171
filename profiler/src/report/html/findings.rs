//! Findings on the page: the headline, and an article on each.
//!
//! In: findings and the snapshot they are about, verdicts. Out: the first line of the page, markup of a
//! verdict.

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;

use super::markup::Html;
use crate::report::document::block::Verdict;
use crate::report::document::outlook;
use crate::report::summary;
use crate::report::verdict_words::Headline;

/// Begins an article on one finding; its evidence follows.
pub(super) fn article(html: &mut Html, verdict: &Verdict<'_>) {
    let Verdict { finding, cost, .. } = verdict;
    if finding.answer == Answer::Present {
        html.raw(match summary::is_wrong(finding.id) {
            true => "<article class=\"finding\"",
            false => "<article class=\"finding notice\"",
        });
    } else {
        html.raw("<article class=\"finding undecided\"");
    }
    // Its own link, to be copied.
    let own = format!("finding-{}", finding.id);
    html.attribute("id", &own).raw("><h3><a").attribute("href", &format!("#{own}")).raw(">");
    html.text(finding.id).raw("</a> <span class=\"cost\">").text(cost);
    html.raw("</span></h3>").element("p", verdict.sentence);
    if !finding.advice.is_empty() {
        html.raw("<p class=\"advice\"><strong>What to do:</strong> ").text(&finding.advice).raw("</p>");
    }
    let outlook = outlook::sentences(finding);
    if !outlook.is_empty() {
        html.raw("<p class=\"forecast\">").text(&outlook).raw("</p>");
    }
    exemplars(html, &verdict.exemplars);
}

/// The first line of the page: the cause and what to change, or that nothing is wrong.
pub(super) fn headline(html: &mut Html, snapshot: &Snapshot, findings: &[Finding]) {
    match outlook::headline(snapshot, findings) {
        Headline::Wrong { finding, cause, change } => {
            let place = finding.map_or_else(|| "#chains".to_owned(), |id| format!("#finding-{id}"));
            html.raw("<p class=\"verdict bad\"><a").attribute("href", &place).raw(">");
            html.text(&cause).raw("</a>");
            if !change.is_empty() {
                html.raw(" → ").text(&change);
            }
            html.raw(".</p>");
        }
        Headline::Healthy(text) => {
            html.raw("<p class=\"verdict good\">").text(&text).raw("</p>");
        }
        Headline::Usual(text) => {
            html.raw("<p class=\"verdict\">").text(&text).raw("</p>");
        }
        Headline::NoTraffic(text) | Headline::Unsure(text) => {
            html.raw("<p class=\"verdict doubt\">").text(&text).raw("</p>");
        }
    }
}

/// Requests to look at; those that are on the page are linked, the script finds the others on the timeline.
fn exemplars(html: &mut Html, exemplars: &[(u64, bool)]) {
    if exemplars.is_empty() {
        return;
    }
    html.raw("<p>See");
    for (id, is_on_page) in exemplars {
        let shown = format!("#{id}");
        html.raw(" ");
        if *is_on_page {
            html.raw("<a").attribute("href", &format!("#request-{id}")).raw(">").text(&shown).raw("</a>");
        } else {
            html.raw("<span class=\"exemplar\"").attribute("data-request", &id.to_string()).raw(">");
            html.text(&shown).raw("</span>");
        }
    }
    html.raw("</p>");
}
