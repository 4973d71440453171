//! The verdict on the last whole window, as Prometheus metrics.
//!
//! In: a view. Out: one family of gauges by its pattern, one by the kind of its cause. Each has a series for
//! every value, so an alert can count on it.

use std::fmt;

use profiler_core::model::chain::LeafKind;
use profiler_core::verdict::Pattern;

use super::Out;
use crate::agent::board::View;

pub(super) fn encode(out: &mut Out<'_, '_>, view: &View) -> fmt::Result {
    let verdict = &view.verdict;
    let help = "The verdict on the last whole window has this pattern";
    let has = |pattern: Pattern| (pattern.name(), verdict.pattern == pattern);
    out.flags(("verdict", help), "pattern", Pattern::ALL.map(has))?;
    let help = "The verdict on the last whole window names a cause of this kind";
    let names = |kind: LeafKind| (kind.name(), verdict.causes.iter().any(|cause| cause.kind == kind));
    out.flags(("verdict_cause", help), "kind", LeafKind::ALL.map(names))
}
