//! What is wrong with a cell's answer.
//!
//! In: a cell, and what it is to answer. Out: how they differ.

use wsgi_trace_lab::bottlenecks::expected::{EXPECTED, Expected, HEALTHY, UNDECIDED};

use crate::cell::{Cell, Outcome};

/// What is wrong with an answer; `None`: nothing.
pub(crate) fn differs(cell: &Cell) -> Option<String> {
    let expected = EXPECTED.iter().find(|one| (one.workload, one.server) == (cell.workload, cell.server));
    let Some(Expected { must, or, first, .. }) = expected else {
        return Some("nobody says what is expected".to_owned());
    };
    let found = cell.finding.as_deref();
    match cell.outcome {
        Outcome::Finding => {}
        Outcome::Failed => return cell.why.clone(),
        // Where all is well this is said, or that it cannot be said.
        outcome if [HEALTHY, UNDECIDED].contains(must) => {
            let is_right = outcome.word() == *must || outcome == Outcome::Healthy;
            return (!is_right).then(|| format!("{must} is expected, not {}", outcome.word()));
        }
        outcome => return Some(format!("{must} is expected, not {}", outcome.word())),
    }
    let present = || found.into_iter().chain(cell.also.iter().map(String::as_str));
    let is_it = |id: &str| id == *must || Some(id) == *or;
    if !present().any(is_it) {
        return Some(format!("{must} is expected, not {}", present().collect::<Vec<_>>().join(", ")));
    }
    let may_be_first = found.is_some_and(|id| is_it(id) || first.contains(&id));
    (!may_be_first).then(|| format!("{} comes before {must}", found.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use wsgi_trace_lab::bottlenecks::server::SUBJECTS;
    use wsgi_trace_lab::bottlenecks::workload::WORKLOADS;

    use super::*;
    use crate::cell::not_run;

    #[test]
    fn an_answer_differs_where_its_finding_is_missing_or_something_else_comes_first() {
        let named = |names: &[&str]| {
            let workload = WORKLOADS.iter().find(|one| one.name == "cpu").unwrap();
            let mut cell = not_run(&SUBJECTS[0], workload, "");
            cell.why = None;
            cell.outcome = if names.is_empty() { Outcome::Healthy } else { Outcome::Finding };
            cell.finding = names.first().map(|id| (*id).to_owned());
            cell.also = names.iter().skip(1).map(|id| (*id).to_owned()).collect();
            differs(&cell)
        };
        assert_eq!(named(&["cpu-bound"]), None);
        assert_eq!(named(&["cpu-taken", "cpu-bound"]), None);
        assert!(named(&["cpu-taken"]).is_some());
        assert!(named(&["herd", "cpu-bound"]).is_some());
        assert!(named(&[]).is_some());
    }
}
