//! A real chain as a picture: a lane for each step, on the time of the request's own wait.
//!
//! In: the longest chain to a leaf. Out: [`ChainPicture`]. Names are hostile.

use profiler_core::model::chain::{ChainExample, Chains, ExampleHop, LeafTime};
use profiler_core::phase::Phase;

use super::shown;
use crate::report::chain_words;

/// Characters of a name in a chain.
const LONGEST_NAME: usize = 60;

/// Who waited for whom.
pub(crate) struct ChainPicture {
    /// The request that waited.
    pub(crate) request: String,
    pub(crate) lanes: Vec<Lane>,
    /// What stands at the end, and who could stand behind it where that is not known.
    pub(crate) leaf: String,
    /// How long the request's own wait was, which all lanes are drawn on.
    pub(crate) length_ns: u64,
}

/// One step.
pub(crate) struct Lane {
    /// Who it was.
    pub(crate) who: String,
    /// What that was in.
    pub(crate) phase: Phase,
    /// The same, with how long it was.
    pub(crate) what: String,
    /// Where in Python, as words after it; may be empty.
    pub(crate) at: String,
    /// From when to when, after the request's wait began. What lies before and after that is cut off.
    pub(crate) span_ns: (u64, u64),
}

impl ChainPicture {
    pub(super) fn of(chains: &Chains, time: &LeafTime, example: &ChainExample) -> Self {
        let request = bounded(chains.endpoint(example.endpoint).unwrap_or("request"));
        let (start_ns, end_ns) = example.hops.first().map_or((0, 0), |first| (first.start_ns, first.end_ns));
        let lane = |hop: &ExampleHop| {
            let after = |at_ns: u64| at_ns.clamp(start_ns, end_ns.max(start_ns)) - start_ns;
            Lane {
                who: who(chains, hop, example.endpoint),
                phase: hop.phase,
                what: what(hop),
                at: at(chains, hop),
                span_ns: (after(hop.start_ns), after(hop.end_ns)),
            }
        };
        let one_of = example.candidates.iter().map(|hop| of_hop(chains, hop, example.endpoint));
        let one_of = one_of.collect::<Vec<_>>().join("; ");
        let one_of = if one_of.is_empty() { one_of } else { format!(": one of {one_of}") };
        Self {
            request: format!("{request} #{}", example.request),
            lanes: example.hops.iter().map(lane).collect(),
            leaf: format!("{}{one_of}", chain_words::leaf(chains, time)),
            length_ns: end_ns.saturating_sub(start_ns),
        }
    }

    /// `GET /page #214 → pool_wait 4.9 s → thread 7714, in GET /ws, lock_wait 4.9 s → lock, not released`.
    pub(super) fn in_words(&self) -> String {
        let steps = self.lanes.iter().map(Lane::in_words);
        let steps = std::iter::once(self.request.clone()).chain(steps).chain([self.leaf.clone()]);
        steps.collect::<Vec<_>>().join(" → ")
    }
}

impl Lane {
    fn in_words(&self) -> String {
        let Self { who, what, at, .. } = self;
        if who.is_empty() { format!("{what}{at}") } else { format!("{who}, {what}{at}") }
    }
}

/// So much of a name that what comes after it has room too.
fn bounded(name: &str) -> String {
    let mut letters = name.chars();
    let mut shown: String = letters.by_ref().take(LONGEST_NAME).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Who a hop is; empty: the request itself. Of a thread that works for the same endpoint, or for none, it is
/// not said for which.
fn who(chains: &Chains, hop: &ExampleHop, of_request: u32) -> String {
    match chains.endpoint(hop.endpoint) {
        _ if hop.tid == 0 => String::new(),
        Some(_) if hop.endpoint == of_request => format!("thread {}", hop.tid),
        Some(endpoint) => format!("thread {}, in {}", hop.tid, bounded(endpoint)),
        None => format!("thread {} {}", hop.tid, bounded(&hop.comm)).trim_end().to_owned(),
    }
}

fn what(hop: &ExampleHop) -> String {
    format!("{} {}", hop.phase.name(), shown(hop.end_ns.saturating_sub(hop.start_ns)))
}

fn at(chains: &Chains, hop: &ExampleHop) -> String {
    chain_words::lines(chains, hop.place).map(|lines| format!(" at {lines}")).unwrap_or_default()
}

fn of_hop(chains: &Chains, hop: &ExampleHop, of_request: u32) -> String {
    let lane = Lane {
        who: who(chains, hop, of_request),
        phase: hop.phase,
        what: what(hop),
        at: at(chains, hop),
        span_ns: (0, 0),
    };
    lane.in_words()
}

#[cfg(test)]
mod tests {
    use profiler_core::model::chain::LeafKind;

    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_real_chain_is_told_hop_by_hop_with_its_times() {
        let (snapshot, _) = fixture::exhausted();
        let chains = &snapshot.chains;
        let lock = chains.leaves.iter().find(|time| time.leaf.kind == LeafKind::NotReleased).unwrap();
        assert_eq!(
            ChainPicture::of(chains, lock, lock.example.as_ref().unwrap()).in_words(),
            "POST /upload #211 → pool_wait 380 ms → thread 4133, in GET /cpu, lock_wait 500 ms → \
             thread 4135 logger, lock_wait 30.0 s → lock nobody could release (futex), since before the trace"
        );
    }

    #[test]
    fn who_could_have_a_lock_is_told_by_name() {
        let (snapshot, _) = fixture::exhausted();
        let chains = &snapshot.chains;
        let client = chains.leaves.iter().find_map(|time| time.example.as_ref()).unwrap();
        let example = ChainExample { candidates: client.hops[1..].to_vec(), ..client.clone() };
        let words = ChainPicture::of(chains, &chains.leaves[0], &example).in_words();
        assert!(
            words.ends_with(": one of thread 4132, in GET /download/{uuid}, client_write_stall 640 ms"),
            "{words}"
        );
    }

    #[test]
    fn a_lane_is_drawn_within_the_requests_own_wait() {
        let (snapshot, _) = fixture::exhausted();
        let chains = &snapshot.chains;
        let lock = chains.leaves.iter().find(|time| time.leaf.kind == LeafKind::NotReleased).unwrap();
        let mut example = lock.example.clone().unwrap();
        for (hop, span) in example.hops.iter_mut().zip([(1_000, 5_000), (3_000, 9_000), (0, 30_000)]) {
            (hop.start_ns, hop.end_ns) = span;
        }
        let picture = ChainPicture::of(chains, lock, &example);
        let spans: Vec<(u64, u64)> = picture.lanes.iter().map(|lane| lane.span_ns).collect();
        assert_eq!((picture.length_ns, spans), (4_000, vec![(0, 4_000), (2_000, 4_000), (0, 4_000)]));
    }
}
