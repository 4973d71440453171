//! When an asyncio loop ran the coroutine of each request, by `apps/asgi_steps.py`.
//!
//! In: JSON lines. Out: by the request's number, how much of an interval its coroutine ran, slept on purpose,
//! and waited for a lock.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::whole_lines::whole_lines;

/// From and to, `CLOCK_MONOTONIC`, in ns.
type Span = (u64, u64);

#[derive(Clone, Debug, Deserialize)]
struct Line {
    id: String,
    steps: Vec<Span>,
    sleeps: Vec<Span>,
    turns: Vec<Span>,
}

/// One request's coroutine.
#[derive(Clone, Debug)]
pub struct Steps(Line);

/// Where an interval went by the coroutine's own notes, in ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// The coroutine ran, or was ready to within a step of its own.
    pub ran_ns: u64,
    /// Its timer was set and not due.
    pub slept_ns: u64,
    /// Another had the lock that it wanted.
    pub locked_ns: u64,
    /// The coroutine waited for something else, or for the loop.
    pub rest_ns: u64,
}

impl Steps {
    /// What it did of this interval.
    pub fn spent(&self, (from_ns, to_ns): Span) -> Spent {
        let cut = |(begin_ns, end_ns): Span| {
            let length_ns = end_ns.min(to_ns).saturating_sub(begin_ns.max(from_ns));
            if end_ns > begin_ns { length_ns } else { 0 }
        };
        let mut spent = Spent::default();
        for (place, step) in self.0.steps.iter().enumerate() {
            spent.ran_ns += cut(*step);
            let next = self.0.steps.get(place + 1);
            let within = |span: &&Span| span.0 >= step.0 && span.0 < step.1;
            let Some((next_ns, _)) = next else { continue };
            if let Some((_, due_ns)) = self.0.sleeps.iter().find(within) {
                spent.slept_ns += cut((step.1, (*due_ns).min(*next_ns)));
            }
            if let Some((_, got_ns)) = self.0.turns.iter().find(within) {
                spent.locked_ns += cut((step.1, (*got_ns).min(*next_ns)));
            }
        }
        let known_ns = spent.ran_ns + spent.slept_ns + spent.locked_ns;
        spent.rest_ns = to_ns.saturating_sub(from_ns).saturating_sub(known_ns);
        spent
    }
}

/// Reads the whole JSON lines; one that is being written is left.
///
/// # Errors
///
/// Where a line is not of a coroutine.
pub fn parse(text: &str) -> anyhow::Result<BTreeMap<u64, Steps>> {
    whole_lines(text)
        .map(|line| {
            let line: Line = serde_json::from_str(line)?;
            Ok((line.id.parse()?, Steps(line)))
        })
        .collect()
}
