//! Whole stacks: Django and Flask with pools of connections to PostgreSQL and Redis, as they stand in
//! production.
//!
//! In: an application on a server, under clients. Out: verdicts against the application's own clock around
//! its calls, and of what is said.

mod pools;
mod rows;
mod slots;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::intervals::kind;
use wsgi_trace_test_support::server::stack::Stack;
use wsgi_trace_test_support::witness::Witness;

use crate::truth::{self, little_is_unexplained, slots_are_as_configured};
use crate::window::{Window, window_around};
use crate::work;

/// Requests of each kind of work that are compared, at least.
const MANY: usize = 10;

/// A stack that was watched.
pub(crate) struct Watched {
    pub(crate) window: Window,
    /// What the report says first, and the rest.
    findings: Vec<Value>,
}

/// Whether threads compete for the interpreter lock. Who wakes up wants it, and the application's clocks do
/// not tell that wait from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gil {
    /// Hardly: a wait is as long as the thread slept, to within the bounds of all intervals.
    Calm,
    /// Threads compete: a wait is as long as the thread slept, or less by the request's waits for the lock.
    Contended,
}

/// Watches a stack under clients, and holds its waits against the application's clocks.
pub(crate) fn watch(stack: &Stack, gil: Gil, load: &[&str]) -> anyhow::Result<Watched> {
    let _alone = exclusive()?;
    let window = window_around(stack, load)?;
    let failed = window.sent.requests.iter().filter(|sent| sent.status != Some(200)).count();
    ensure!(failed == 0, "{failed} of {} requests failed", window.sent.requests.len());
    let findings = window.traced.value("/findings")?.as_array().context("no findings")?.clone();
    let watched = Watched { window, findings };
    eprintln!(
        "{stack:?}: {} requests; present: {:?}",
        watched.window.traced.requests.len(),
        watched.present()
    );
    watched.adds_up(stack, gil).with_context(|| watched.all())?;
    Ok(watched)
}

impl Watched {
    /// Requests are those of the clients, slots those of the settings, waits those of the application's
    /// clocks.
    fn adds_up(&self, stack: &Stack, gil: Gil) -> anyhow::Result<()> {
        let window = &self.window;
        truth::each_request_is_seen_once(window)?;
        window.traced.lost_nothing()?;
        slots_are_as_configured(stack, &window.traced)?;
        little_is_unexplained(stack, &window.traced)?;
        let of_kind = |witness: &Witness, path: &str| format!("{} {}", kind(path), witness.kind);
        let compared = work::compared(stack, window, |witness, request| of_kind(witness, request.path()))?;
        ensure!(
            !compared.kinds.is_empty() && compared.kinds.values().all(|count| *count >= MANY),
            "too little is compared: {:?}",
            compared.kinds
        );
        let intervals = if gil == Gil::Calm { compared.asleep } else { compared.strict };
        let wrong = intervals.wrong(window.between(stack)?);
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Ids of the findings that are present, the costliest first.
    pub(crate) fn present(&self) -> Vec<&str> {
        let are = self.findings.iter().filter(|one| one["answer"] == "present");
        are.filter_map(|one| one["id"].as_str()).collect()
    }

    /// A finding.
    pub(crate) fn finding(&self, id: &str) -> anyhow::Result<&Value> {
        self.findings.iter().find(|one| one["id"] == id).with_context(|| format!("no finding {id}"))
    }

    /// A figure of a finding.
    pub(crate) fn figure(&self, id: &str, name: &str) -> anyhow::Result<f64> {
        let rows = self.finding(id)?["evidence"].as_array().context("no evidence")?;
        let row = rows.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["value"].as_f64()).with_context(|| format!("{id} has no figure {name}"))
    }

    /// Fails where one of these is present.
    pub(crate) fn says_none_of(&self, ids: &[&str]) -> anyhow::Result<()> {
        let said: Vec<&str> = self.present().into_iter().filter(|id| ids.contains(id)).collect();
        ensure!(said.is_empty(), "{said:?} is said\n{}", self.all());
        Ok(())
    }

    /// Fails where this is not what is said first.
    pub(crate) fn says_first(&self, id: &str) -> anyhow::Result<()> {
        ensure!(self.present().first() == Some(&id), "{id} is not said first\n{}", self.all());
        Ok(())
    }

    /// No present finding advises to raise the number of threads.
    pub(crate) fn advises_no_more_threads(&self) -> anyhow::Result<()> {
        for one in self.findings.iter().filter(|one| one["answer"] == "present") {
            let advice = one["advice"].as_str().context("no advice")?.to_lowercase();
            let advises = [
                "raise --threads",
                "more --threads",
                "raise threads",
                "add threads",
                "workers or threads",
                "more threads each",
            ];
            ensure!(!advises.iter().any(|words| advice.contains(words)), "{}: {advice}", one["id"]);
        }
        Ok(())
    }

    /// What the application's clocks say of this kind of work in all requests, in seconds.
    pub(crate) fn witnessed_seconds(&self, kind: &str) -> f64 {
        let of_kind = self.window.witnesses.iter().filter(|witness| witness.kind == kind);
        of_kind.map(Witness::asleep_ns).sum::<u64>() as f64 / 1e9
    }

    /// Every sentence of the report.
    pub(crate) fn all(&self) -> String {
        let said = self.findings.iter().filter(|one| one["answer"] != "absent");
        said.map(|one| {
            format!(
                "{} {}: {} {} → {}\n",
                one["id"], one["answer"], one["sentence"], one["reason"], one["advice"]
            )
        })
        .collect()
    }
}
