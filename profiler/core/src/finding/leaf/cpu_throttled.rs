//! Finding `cpu-throttled`: requests are ready to run, and the CPU quota is used up.
//!
//! In: a leaf, with the way to it. Out: whether it is one of this finding's.

use super::taken_by;
use crate::finding::{Judge, Rule};
use crate::model::chain::TakenBy;
use crate::server::advice::common::cpu_limit;
use crate::server::advice::{Direction, Sizes, act};

/// The rule.
pub(in crate::finding) const RULE: Rule = Rule {
    id: "cpu-throttled",
    title: "the CPU quota is used up",
    question: "a CPU quota stopped requests",
    page: include_str!("../../../../../docs/findings/cpu-throttled.md"),
    advice: || {
        act("raise the CPU limit of the container or cgroup (cpu.max)")
            .with(cpu_limit(), Direction::Raise)
            .or(act("run fewer workers and threads within it")
                .no_more(Sizes::Processes)
                .no_more(Sizes::Threads))
            .into()
    },
    judge: Judge::Leaves(|time| taken_by(time, |by| by == TakenBy::Quota)),
};
