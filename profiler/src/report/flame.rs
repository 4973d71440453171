//! Stacks of what requests computed and waited for: what flame graphs are drawn from.
//!
//! In: phases of endpoints, and at which places in Python they computed and slept. Out: stacks, which the
//! forms in this folder write. Phases are exact, and samples say how they are shared out among lines: so the
//! stacks of an endpoint add up to the time of its requests, to the nanosecond.

pub mod collapsed;
mod form;
pub mod pprof;
pub mod speedscope;

use std::collections::BTreeMap;

use profiler_common::system_call;
use profiler_core::fact::place::PlaceSeen;
use profiler_core::model::Snapshot;
use profiler_core::model::chain::Chains;
use profiler_core::phase::{Phase, Phases};

use super::vocabulary::of_phase;

/// Phases of waits that are looked at by time slept: what they were in is shared out by that.
const SLEPT: [Phase; 4] = [Phase::BackendWait, Phase::ChildWait, Phase::FileWait, Phase::Sleep];

/// One frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Frame<'a> {
    /// A function, or in brackets what is no function. Hostile input.
    pub(super) name: String,
    /// Its file; `None`: it is no function. Hostile input.
    pub(super) file: Option<&'a str>,
    /// The line in it; 0: none.
    pub(super) line: u32,
    /// The thread ran, or called what ran or waited.
    pub(super) is_code: bool,
}

impl Frame<'_> {
    fn word(word: &str) -> Self {
        Self { name: format!("[{word}]"), file: None, line: 0, is_code: false }
    }

    fn code(word: &str) -> Self {
        Self { is_code: true, ..Self::word(word) }
    }
}

/// How long requests of an endpoint were at some frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stack<'a> {
    /// The outermost first.
    pub(super) frames: Vec<Frame<'a>>,
    pub(super) time_ns: u64,
}

/// An endpoint, by method and shape of path (hostile input), with its stacks.
pub(super) type Endpoint<'a> = (String, Vec<Stack<'a>>);

/// All endpoints, the one with the most time first.
pub(super) fn endpoints(snapshot: &Snapshot) -> Vec<Endpoint<'_>> {
    let mut endpoints: Vec<Endpoint<'_>> = phases(snapshot)
        .into_iter()
        .map(|(name, phases)| {
            let stacks = stacks(&snapshot.chains, &name, &phases);
            (name, stacks)
        })
        .filter(|(_, stacks)| !stacks.is_empty())
        .collect();
    endpoints.sort_by_key(|(_, stacks)| std::cmp::Reverse(time_ns(stacks)));
    endpoints
}

/// The time of all stacks.
pub(super) fn time_ns(stacks: &[Stack<'_>]) -> u64 {
    stacks.iter().fold(0, |sum, stack| sum.saturating_add(stack.time_ns))
}

/// Phases of each endpoint, whatever its answers were, open requests included.
fn phases(snapshot: &Snapshot) -> BTreeMap<String, Phases> {
    let mut by_name: BTreeMap<String, Phases> = BTreeMap::new();
    for endpoint in &snapshot.by_endpoint.list {
        let name = if endpoint.method.is_empty() {
            "[not HTTP]".to_owned()
        } else {
            format!("{} {}", endpoint.method, endpoint.path_shape)
        };
        let phases = by_name.entry(name).or_default();
        phases.add_all(&endpoint.phases);
        phases.add_all(&endpoint.open.phases);
    }
    if let Some(others) = &snapshot.by_endpoint.others {
        let phases = by_name.entry("[other endpoints]".to_owned()).or_default();
        phases.add_all(&others.phases);
        phases.add_all(&others.open.phases);
    }
    by_name
}

/// The stacks of one endpoint.
fn stacks<'a>(chains: &'a Chains, name: &str, phases: &Phases) -> Vec<Stack<'a>> {
    let is_it = |number| chains.endpoint(number) == Some(name);
    let mut stacks = Vec::new();
    let mut phases = *phases;
    if let Some(computed) = chains.computed.iter().find(|of| is_it(of.endpoint) && of.samples > 0) {
        let mut parts: Vec<_> =
            computed.places.iter().map(|at| (python(chains, at.place), at.samples)).collect();
        let rest = parts.iter().fold(computed.samples, |rest, (_, part)| rest.saturating_sub(*part));
        parts.push((vec![Frame::code("running, at no line")], rest));
        share_out(phases.take(Phase::Cpu, u64::MAX), parts, &mut stacks);
    }
    if let Some(waited) = chains.waited.iter().find(|of| is_it(of.endpoint) && of.slept.ns > 0) {
        let mut parts: Vec<_> = waited
            .places
            .iter()
            .map(|at| {
                let mut frames = python(chains, at.place);
                frames.push(Frame::word(system_call::name(at.system_call)));
                (frames, at.slept.ns)
            })
            .collect();
        let rest = parts.iter().fold(waited.slept.ns, |rest, (_, part)| rest.saturating_sub(*part));
        parts.push((vec![Frame::word("asleep in a call, at no line")], rest));
        let slept_ns = SLEPT.iter().fold(0, |sum, phase| phases.take(*phase, u64::MAX).saturating_add(sum));
        share_out(slept_ns, parts, &mut stacks);
    }
    stacks.extend(phases.iter().map(|(phase, time_ns)| {
        let name = of_phase(phase).meaning;
        let frame = if phase == Phase::Cpu { Frame::code(name) } else { Frame::word(name) };
        Stack { frames: vec![frame], time_ns }
    }));
    stacks
}

/// The frames of a place.
fn python(chains: &Chains, place: u32) -> Vec<Frame<'_>> {
    let Some(PlaceSeen { frames, is_cut, .. }) = chains.place(Some(place)) else {
        return vec![Frame::code("at a line that is not known any more")];
    };
    let cut = is_cut.then(|| Frame::code("frames that could not be read"));
    let python = frames.iter().rev().map(|frame| Frame {
        name: frame.function.clone(),
        file: Some(&frame.file),
        line: frame.line,
        is_code: true,
    });
    cut.into_iter().chain(python).collect()
}

/// Shares a time out by the weights of its parts; what is rounded off goes to the next.
fn share_out<'a>(all_ns: u64, parts: Vec<(Vec<Frame<'a>>, u64)>, stacks: &mut Vec<Stack<'a>>) {
    let weights: u128 = parts.iter().map(|(_, weight)| u128::from(*weight)).sum();
    // A product of two numbers of 64 bits fits.
    let shift = u64::BITS.saturating_sub(weights.leading_zeros());
    let (mut so_far, mut given_ns) = (0_u128, 0_u64);
    for (frames, weight) in parts {
        so_far += u128::from(weight);
        let until_ns = (u128::from(all_ns) * (so_far >> shift)).checked_div(weights >> shift).unwrap_or(0);
        let until_ns = u64::try_from(until_ns).unwrap_or(u64::MAX);
        let time_ns = until_ns.saturating_sub(given_ns);
        given_ns = until_ns;
        if time_ns > 0 {
            stacks.push(Stack { frames, time_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::fixture;

    #[test]
    fn stacks_add_up_to_the_time_of_requests_and_have_lines_where_there_are_samples() {
        let snapshot = fixture::exhausted().0;
        let endpoints = endpoints(&snapshot);
        let mut all_ns = 0;
        for (name, phases) in phases(&snapshot) {
            let (_, stacks) = endpoints.iter().find(|(found, _)| *found == name).expect("each is there");
            assert_eq!(time_ns(stacks), phases.total_ns(), "{name}");
            all_ns += phases.total_ns();
        }
        assert!(all_ns > 0);
        let at_query = |leaf: &str| {
            endpoints.iter().flat_map(|(_, stacks)| stacks).any(|stack| {
                stack.frames.iter().any(|frame| frame.name == "query")
                    && stack.frames.last().is_some_and(|last| last.name == leaf)
            })
        };
        assert!(at_query("SocketIO.readinto"), "it computes there");
        assert!(at_query("[recvfrom]"), "it waits there");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_rounding(all_ns: u64, weights in proptest::collection::vec(any::<u64>(), 1..9)) {
            let is_any = weights.iter().any(|weight| *weight > 0);
            let parts = weights.iter().map(|weight| (vec![Frame::word("x")], *weight)).collect();
            let mut stacks = Vec::new();
            share_out(all_ns, parts, &mut stacks);
            prop_assert_eq!(time_ns(&stacks), if is_any { all_ns } else { 0 });
        }
    }
}
