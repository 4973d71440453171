//! Findings: what is wrong, the costliest first, and what to do; then what requests usually do, what is
//! undecided and why, and what is ruled out.
//!
//! In: findings, and the snapshot they are about. Out: a section.

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;

use super::block::{Block, Blocks, Folded, Section, Verdict};
use super::cell::{Words, maybe, measured, words};
use super::table::{On, Rows, listed};
use crate::report::{summary, unit};

pub(super) fn section<'a>(snapshot: &'a Snapshot, findings: &'a [Finding]) -> Section<'a> {
    // Places are those of the JSON report.
    let ordered = summary::worst_first(findings);
    let place =
        |finding: &Finding| ordered.iter().position(|other| other.id == finding.id).unwrap_or_default();
    let of = |wanted: fn(&Answer) -> bool| -> Vec<&'a Finding> {
        let rules = ordered.iter().copied().filter(|finding| finding.id != summary::HEALTHY);
        rules.filter(|finding| wanted(&finding.answer)).collect()
    };
    let present = summary::present(findings);
    let usual = of(|answer| *answer == Answer::Usual);
    let undecided = of(|answer| matches!(answer, Answer::Undecided { .. }));
    let absent = of(|answer| *answer == Answer::Absent);
    let note = format!(
        "{} present, {} usual, {} undecided, {} ruled out",
        present.len(),
        usual.len(),
        undecided.len(),
        absent.len()
    );
    let mut body = Blocks::default();
    for (index, finding) in present.iter().enumerate() {
        if index > 0 {
            body.gap();
        }
        let verdict = is_present(snapshot, finding, index + 1, place(finding));
        body.push(On::ALL, Block::Verdict(verdict));
    }
    if !present.is_empty() && !undecided.is_empty() {
        body.gap();
    }
    for text in open_questions(&undecided) {
        body.push(On::TEXT, Block::Undecided(text));
    }
    if !undecided.is_empty() {
        let ids: Vec<&str> = undecided.iter().map(|finding| finding.id).collect();
        let mut each = Blocks::default();
        for finding in undecided {
            if let Some(verdict) = is_undecided(snapshot, finding, place(finding)) {
                each.push(On::PAGE, Block::Verdict(verdict));
            }
        }
        let ids = format!("Undecided: {}", ids.join(", "));
        body.push(On::PAGE, Block::Folded(Folded::new(ids, each)));
    }
    if !usual.is_empty() {
        let ids: Vec<&str> = usual.iter().map(|finding| finding.id).collect();
        let ids = format!("A tenth of request time or more, and not what is wrong: {}", ids.join(", "));
        body.gap();
        body.push(On::TEXT, Block::RuledOut(format!("{ids}.")));
        body.push(On::PAGE, Block::Folded(Folded::new(ids, each_with_evidence(&usual, place))));
    }
    if !absent.is_empty() {
        let ids: Vec<&str> = absent.iter().map(|finding| finding.id).collect();
        let ids = format!("Ruled out: {}", ids.join(", "));
        body.gap();
        body.push(On::TEXT, Block::RuledOut(format!("{ids}.")));
        body.push(On::PAGE, Block::Folded(Folded::new(ids, each_with_evidence(&absent, place))));
    }
    Section::new("findings", "Findings", body).note(note).brief(0, 0)
}

/// Sentences of findings, each with what it rests on.
fn each_with_evidence<'a>(findings: &[&'a Finding], place: impl Fn(&Finding) -> usize) -> Blocks<'a> {
    let mut each = Blocks::default();
    for finding in findings {
        each.entry(finding.id, finding.sentence.as_str());
        each.all(evidence(finding, place(finding)));
    }
    each
}

fn is_present<'a>(snapshot: &Snapshot, finding: &'a Finding, number: usize, place: usize) -> Verdict<'a> {
    Verdict {
        finding,
        number,
        cost: match summary::is_wrong(finding.id) {
            true => format!("cost {} request-seconds", unit::request_seconds(finding.cost_ns)),
            false => "worth knowing".to_owned(),
        },
        sentence: &finding.sentence,
        exemplars: exemplars(snapshot, finding),
        evidence: evidence(finding, place),
    }
}

fn is_undecided<'a>(snapshot: &Snapshot, finding: &'a Finding, place: usize) -> Option<Verdict<'a>> {
    let Answer::Undecided { reason } = &finding.answer else { return None };
    Some(Verdict {
        finding,
        number: 0,
        cost: "undecided".to_owned(),
        sentence: reason,
        exemplars: exemplars(snapshot, finding),
        evidence: evidence(finding, place),
    })
}

fn exemplars(snapshot: &Snapshot, finding: &Finding) -> Vec<(u64, bool)> {
    let is_on_page = |id: &u64| snapshot.requests.slowest.iter().any(|request| request.id == *id);
    finding.exemplars.iter().map(|id| (*id, is_on_page(id))).collect()
}

/// What could not be decided, those with the same reason together.
fn open_questions(undecided: &[&Finding]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in undecided {
        let Answer::Undecided { reason } = &finding.answer else { continue };
        match groups.iter_mut().find(|(other, _)| other == reason) {
            Some((_, ids)) => ids.push(finding.id),
            None => groups.push((reason, vec![finding.id])),
        }
    }
    groups.iter().map(|(reason, ids)| format!("Undecided: {} ({reason}).", ids.join(", "))).collect()
}

fn evidence<'a>(finding: &Finding, place: usize) -> Blocks<'a> {
    let mut body = Blocks::default();
    if finding.evidence.is_empty() {
        return body;
    }
    let at = format!("/findings/{place}/evidence");
    let table = Rows::of("What the verdict rests on", listed(&at, &finding.evidence))
        .shrinking("measured", |of| words(unit::without_unit(of.name)))
        .right("value", |of| measured(of.name, of.value).at("value"))
        .right("present from", |of| maybe(of.threshold, |limit| measured(of.name, limit)))
        .table();
    let mut each = Blocks::default();
    each.table(table);
    let summary = Words::from(format!("Evidence ({})", unit::counted(finding.count, "request")));
    body.push(On::PAGE, Block::Folded(Folded::new(summary, each)));
    body
}
