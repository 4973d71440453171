//! `waited`: where in Python requests slept in system calls.
//!
//! In: sleeps by place of a snapshot. Out: a serialisable view of them.

use profiler_common::system_call;
use profiler_core::model::chain::Chains;
use profiler_core::model::waited::{Waited, WaitedAt};

use super::chain_place::PlaceView;
use super::ratio;
use crate::report::chain_words;

/// Lines that are listed of one endpoint.
const LISTED: usize = 64;

view! {
    /// Sleeps of threads while they worked for one endpoint. Long ones are all there, shorter ones are drawn
    /// and stand for what they were drawn from. Waits for locks, for work and for clients are none of it.
    pub(super) struct WaitedView<'a>(chains: &'a Chains, waited: &'a Waited) {
        /// Method and shape of the path; null: the threads worked for no request, or it is not known for
        /// which, as on event loops.
        endpoint: Option<&'a str> = chains.endpoint(waited.endpoint),
        /// The threads run event loops.
        is_event_loop: bool = waited.is_loop,
        /// All sleeps together, in ns.
        slept_ns: u64 = waited.slept.ns,
        /// Samples.
        samples: u64 = waited.slept.samples,
        /// Those at no place, in ns: no Python ran, or its frames could not be read or named.
        unplaced_ns: u64 = waited.unplaced.ns,
        /// Those at lines that are not listed, or not known any more, in ns.
        unlisted_ns: u64 = waited.slept.ns.saturating_sub(
            listed(chains, waited).fold(waited.unplaced.ns, |sum, at| sum.saturating_add(at.slept.ns)),
        ),
        /// Sleeps shorter than this were drawn, in ns; null: none.
        drawn_below_ns: Option<u64> = Some(waited.slept.drawn_below_ns).filter(|below_ns| *below_ns > 0),
        /// Lines, each with the call in which it slept, the longest first.
        lines: Vec<WaitedLine<'a>> =
            listed(chains, waited).map(|at| WaitedLine::new(chains, waited, at)).collect(),
    }
}

fn listed(chains: &Chains, waited: &Waited) -> impl Iterator<Item = WaitedAt> {
    chains.waited_lines(waited).into_iter().take(LISTED)
}

view! {
    /// A line of the application, or where it has no frame the innermost line of all.
    pub(super) struct WaitedLine<'a>(chains: &'a Chains, waited: &Waited, at: WaitedAt) {
        /// The line (shop/db.py:3 query).
        line: Option<String> = chain_words::line_at(chains, at.place),
        /// The application's own lines there, the outermost first (shop/views.py:31 view › shop/db.py:3
        /// query); null: none is its own.
        own_lines: Option<String> = chain_words::lines(chains, Some(at.place)),
        /// Name of the system call.
        system_call: &'static str = system_call::name(at.system_call),
        /// How long it slept there, in ns.
        slept_ns: u64 = at.slept.ns,
        /// Its part of the endpoint's sleeps.
        of_endpoint_ratio: Option<f64> = ratio(at.slept.ns, waited.slept.ns),
        /// Standard error of of_endpoint_ratio, at most; 0: no sleep there was short.
        of_endpoint_error_ratio: Option<f64> = at.slept.share_error(&waited.slept),
        /// Samples.
        samples: u64 = at.slept.samples,
        /// The place at which it slept longest.
        place: Option<PlaceView<'a>> = chains.place(Some(at.place)).map(PlaceView::new),
    }
}
