//! The verdict on the last whole window, as Prometheus metrics.
//!
//! In: a view. Out: one family of gauges by its pattern, one by the kind of its cause. Each has a series for
//! every value, so an alert can count on it.

use std::fmt;

use profiler_core::model::chain::LeafKind;
use profiler_core::verdict::Pattern;
use prometheus_client::metrics::MetricType;

use super::{Labels, Out};
use crate::agent::board::View;

pub(super) fn encode(out: &mut Out<'_, '_>, view: &View) -> fmt::Result {
    let help = "The verdict on the last whole window has this pattern";
    out.family("verdict", help, None, MetricType::Gauge, |metric| {
        for pattern in Pattern::ALL {
            let labels: Labels<'_> = &[("pattern", pattern.name())];
            let is_it = view.verdict.pattern == pattern;
            metric.encode_family(&labels)?.encode_gauge(&u32::from(is_it))?;
        }
        Ok(())
    })?;
    let help = "The verdict on the last whole window names a cause of this kind";
    out.family("verdict_cause", help, None, MetricType::Gauge, |metric| {
        for kind in LeafKind::ALL {
            let labels: Labels<'_> = &[("kind", kind.name())];
            let is_it = view.verdict.causes.iter().any(|cause| cause.kind == kind);
            metric.encode_family(&labels)?.encode_gauge(&u32::from(is_it))?;
        }
        Ok(())
    })
}
