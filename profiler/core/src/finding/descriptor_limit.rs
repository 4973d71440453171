//! Finding `descriptor-limit`: accept failed because the process had no descriptor left.
//!
//! In: failing accepts with the limit, connections lost by them. Out: a verdict whose cost is how long their
//! clients waited.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::words::count;
use super::{Judge, Rule};
use crate::model::dropped::Cause;
use crate::server::advice::{Direction, Scope, Setting, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "descriptor-limit",
    title: "accept failed: the process had no file descriptor left",
    question: "the server ran out of file descriptors",
    page: include_str!("../../../../docs/findings/descriptor-limit.md"),
    advice: || {
        act("raise the limit of open files for the service (LimitNOFILE= in its systemd unit, ulimit -n)")
            .with(Setting::named("LimitNOFILE=").at(Scope::Service), Direction::Raise)
            .or(act("have fewer connections kept open"))
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let dropped = &basis.snapshot.dropped;
    let failures =
        || dropped.accept_failures.iter().filter(|failure| matches!(failure.error, "EMFILE" | "ENFILE"));
    let calls = failures().fold(0_u64, |sum, failure| sum.saturating_add(failure.count));
    let worst = failures().max_by_key(|failure| failure.count);
    let lost = dropped.of(Cause::AcceptFailed);
    let lost_count = lost.map_or(0, |counted| counted.count);
    let limit = worst.and_then(|failure| failure.open_files_limit);
    let needed = basis.thresholds.accepts_failed_min_count;
    let mut evidence = vec![
        decides("accepts_failed_count", calls as f64, needed),
        explains("connections_lost_count", lost_count as f64),
        explains("open_files_limit", limit.unwrap_or(0) as f64),
        explains("client_connections_count", worst.map_or(0, |failure| failure.clients) as f64),
    ];
    if let Some(open) = worst.and_then(|failure| failure.open_files) {
        evidence.push(explains("open_files_count", open as f64));
    }
    let Some(worst) = worst.filter(|_| calls as f64 >= needed) else {
        let sentence = "No accept failed for want of a file descriptor".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    };
    let of = limit.filter(|_| worst.error == "EMFILE").map_or_else(
        || "no file descriptor was left on the machine".to_owned(),
        |limit| format!("all {} file descriptors of process {} were in use", count(limit), worst.tgid),
    );
    let lost = match lost_count {
        0 => "no connection was lost by it".to_owned(),
        1 => "1 connection was lost by it".to_owned(),
        lost => format!("{} connections were lost by it", count(lost)),
    };
    let sentence = format!(
        "accept failed {} times with {}: {of}, {} of them by clients; {lost}",
        count(calls),
        worst.error,
        count(worst.clients)
    );
    let cost_ns = dropped.of(Cause::AcceptFailed).map_or(0, |counted| counted.waited_ns);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use crate::model::dropped::{AcceptFailure, Cause, Counted};

    #[test]
    fn failing_accepts_are_named_with_the_limit_and_what_was_lost() {
        let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND);
        let failure = AcceptFailure {
            tgid: 7,
            error: "EMFILE",
            count: 300,
            open_files_limit: Some(1024),
            open_files: Some(1024),
            clients: 1000,
            ..AcceptFailure::default()
        };
        scene.0.dropped.accept_failures.push(failure);
        let lost =
            Counted { cause: Cause::AcceptFailed, count: 5, waited_ns: 9 * SECOND, examples: Vec::new() };
        scene.0.dropped.causes.push(lost);
        let finding = scene.judge("descriptor-limit");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 9 * SECOND);
        assert!(finding.evidence.iter().any(|one| one.name == "open_files_count"), "{finding:?}");
        assert!(
            finding.sentence.contains("all 1,024 file descriptors of process 7 were in use, 1,000"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn connections_that_were_aborted_before_accept_are_no_want_of_descriptors() {
        let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND);
        let failure = AcceptFailure { error: "ECONNABORTED", count: 3, ..AcceptFailure::default() };
        scene.0.dropped.accept_failures.push(failure);
        scene.judge("descriptor-limit").assert_absent();
    }
}
