//! `computed_of_requests`: where single requests computed; `was` of a request that ended with its process.
//!
//! In: whereabouts of requests of a snapshot. Out: serialisable views of them.

use profiler_common::system_call;
use profiler_core::model::chain::Chains;
use profiler_core::model::computed::ComputedAt;
use profiler_core::model::whereabouts::{WasIn, Whereabouts};

use super::chain_place::PlaceView;
use crate::report::chain_words;

view! {
    /// Samples of a clock on each CPU, of threads while they worked for one request.
    pub(super) struct ComputedOfRequest<'a>(chains: &'a Chains, of: &'a Whereabouts) {
        /// Number of the request.
        request: u64 = of.request,
        /// All samples.
        samples: u64 = of.computed.samples,
        /// Those at no place: no Python ran, or its frames could not be read or named.
        unplaced: u64 = of.computed.unplaced,
        /// Those in a collection of garbage; null: of none of them it is known whether they were.
        collecting: Option<u64> = of.computed.in_collections(),
        /// Lines, the most samples first. Of many lines only those with the most samples are kept.
        lines: Vec<LineOfRequest<'a>> = chains
            .computed_lines(&of.computed)
            .into_iter()
            .map(|at| LineOfRequest::new(chains, at))
            .collect(),
    }
}

view! {
    /// A line of the application, or where it has no frame the innermost line of all.
    struct LineOfRequest<'a>(chains: &'a Chains, at: ComputedAt) {
        /// The line (shop/table.py:5 row).
        line: Option<String> = chain_words::line_at(chains, at.place),
        /// The application's own lines there, the outermost first; null: none is its own.
        own_lines: Option<String> = chain_words::lines(chains, Some(at.place)),
        /// Samples at it.
        samples: u64 = at.samples,
        /// The place at which the first of them was.
        place: Option<PlaceView<'a>> = chains.place(Some(at.place)).map(PlaceView::new),
    }
}

view! {
    /// What a request was in as the end of its process cut it off.
    pub(super) struct WasInView<'a>(chains: &'a Chains, of: &'a Whereabouts, was: WasIn) with {
        let (system_call, slept_ns, samples) = match was {
            WasIn::Asleep { system_call, slept_ns, .. } => (system_call, Some(slept_ns), None),
            WasIn::Computing(most) => (None, None, Some(most.samples)),
        };
    } {
        /// Whether it slept in a call or computed.
        #[cfg_attr(test, schemars(extend("examples" = ["asleep", "computing"])))]
        state: &'static str = if samples.is_some() { "computing" } else { "asleep" },
        /// The line of the application, or where it has no frame the innermost line of all
        /// (shop/pay.py:31 fetch). Of computing, where most of the request's samples were.
        line: Option<String> = chain_words::line_at(chains, was.place()),
        /// The application's own lines there, the outermost first; null: none is its own.
        own_lines: Option<String> = chain_words::lines(chains, Some(was.place())),
        /// Name of the system call in which it slept; null: it computed, or that is not known.
        system_call: Option<&'static str> = system_call.map(system_call::name),
        /// How long it had slept, in ns; null: it computed.
        slept_ns: Option<u64> = slept_ns,
        /// Samples at the line; null: it slept.
        samples: Option<u64> = samples,
        /// All samples of the request; null: it slept.
        of_samples: Option<u64> = samples.map(|_| of.computed.samples),
        /// The frames, read while it was there.
        place: Option<PlaceView<'a>> = chains.place(Some(was.place())).map(PlaceView::new),
    }
}

/// What a request was in as its process ended; nothing where that is not known.
pub(super) fn was_in(chains: &Chains, request: Option<u64>) -> Option<WasInView<'_>> {
    let of = chains.whereabouts_of(request?)?;
    Some(WasInView::new(chains, of, of.was?))
}
