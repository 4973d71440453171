//! `computed`: where in Python requests computed.
//!
//! In: samples by place of a snapshot. Out: a serialisable view of them.

use profiler_core::model::chain::Chains;
use profiler_core::model::computed::{Computed, ComputedAt, standard_error};

use super::chain_place::PlaceView;
use super::ratio;
use crate::report::chain_words;

/// Lines that are listed of one endpoint.
const LISTED: usize = 64;

view! {
    /// Samples of a clock on each CPU, of threads while they worked for one endpoint.
    pub(super) struct ComputedView<'a>(chains: &'a Chains, computed: &'a Computed) {
        /// Method and shape of the path; null: the threads worked for no request, or it is not known for
        /// which, as on event loops.
        endpoint: Option<&'a str> = chains.endpoint(computed.endpoint),
        /// The threads run event loops.
        is_event_loop: bool = computed.is_loop,
        /// All samples.
        samples: u64 = computed.samples,
        /// Those at no place: no Python ran, or its frames could not be read or named.
        unplaced: u64 = computed.unplaced,
        /// Those in a collection of garbage; null: of none of them it is known whether they were.
        collecting: Option<u64> = computed.in_collections(),
        /// Those of which it is known.
        collecting_known: u64 = computed.collecting_known,
        /// Those at lines that are not listed, or not known any more.
        unlisted: u64 = computed.samples.saturating_sub(
            listed(chains, computed).fold(computed.unplaced, |sum, at| sum.saturating_add(at.samples)),
        ),
        /// Lines, the most samples first.
        lines: Vec<ComputedLine<'a>> =
            listed(chains, computed).map(|at| ComputedLine::new(chains, computed, at)).collect(),
    }
}

fn listed(chains: &Chains, computed: &Computed) -> impl Iterator<Item = ComputedAt> {
    chains.computed_lines(computed).into_iter().take(LISTED)
}

view! {
    /// A line of the application, or where it has no frame the innermost line of all.
    pub(super) struct ComputedLine<'a>(chains: &'a Chains, computed: &Computed, at: ComputedAt) {
        /// The line (shop/table.py:5 row).
        line: Option<String> = chain_words::line_at(chains, at.place),
        /// The application's own lines there, the outermost first (shop/views.py:88 report ›
        /// shop/table.py:5 row); null: none is its own.
        own_lines: Option<String> = chain_words::lines(chains, Some(at.place)),
        /// Samples at it.
        samples: u64 = at.samples,
        /// Those in a collection of garbage, which began there; null: not known.
        collecting: Option<u64> = computed.in_collections().map(|_| at.collecting),
        /// Their part of the endpoint's samples.
        of_endpoint_ratio: Option<f64> = ratio(at.samples, computed.samples),
        /// Standard error of of_endpoint_ratio, by the number of samples.
        of_endpoint_error_ratio: Option<f64> = standard_error(at.samples, computed.samples),
        /// The place at which most of them were.
        place: Option<PlaceView<'a>> = chains.place(Some(at.place)).map(PlaceView::new),
    }
}
