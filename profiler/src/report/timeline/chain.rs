//! How a chain of waits shows: who waited, and arrows to whom it waited for, down to the leaf.
//!
//! In: the longest chain to one leaf. Out: an interval on a track of all chains, for the request, and one
//! beside each thread of the chain, all in one flow.

use std::io::Write;

use profiler_core::model::chain::ExampleHop;
use profiler_core::timeline::ChainEntry;

use super::message::{TrackEvent, Value};
use super::request::{Flow, annotation};
use super::text::bounded;
use super::track::Track;
use super::{Drawn, PerfettoSink, TimelineError, with_flow};

/// Number of the arrows of a chain: the same in every file, and that of no other chain, wakeup or request.
fn flow_of(chain: &ChainEntry) -> u64 {
    let example = &chain.example;
    let of_hop = |hop: &ExampleHop| [u64::from(hop.tid), hop.phase as u64, hop.start_ns];
    let words = [u64::MAX, example.request, example.start_ns, chain.kind as u64].into_iter();
    let words = words.chain(example.hops.iter().flat_map(of_hop));
    // FNV-1a over 64 bits. The top bit keeps it apart from the numbers of requests, and it is never 0.
    words.flat_map(u64::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }) | 1 << 63
}

/// Name of the request's interval: `#214 back_end: GET /page`.
fn name(chain: &ChainEntry) -> String {
    let endpoint = if chain.endpoint.is_empty() { "request" } else { &chain.endpoint };
    // The number stands where a long path cannot push it away.
    format!("#{} {}: {}", chain.example.request, chain.kind.name(), bounded(endpoint))
}

impl<W: Write> PerfettoSink<W> {
    /// Perfetto orders the events of a flow by their start. So what a thread was in before the one before it
    /// began to wait for it is left out; the argument `in_it_for_ns` has it.
    pub(super) fn chain(&mut self, chain: &ChainEntry) -> Result<(), TimelineError> {
        let example = &chain.example;
        let flow = flow_of(chain);
        let hops: Vec<&ExampleHop> = example.hops.iter().filter(|hop| hop.tid > 0).collect();
        let flow_at = |place: usize| match place {
            0 if hops.is_empty() => Flow::None,
            place if place == hops.len() => Flow::Last(flow),
            _ => Flow::Through(flow),
        };
        self.start(example.start_ns)?;
        let request = TrackEvent {
            category_iids: vec![self.interner.category("chain")],
            name: Some(name(chain)),
            debug_annotations: vec![
                annotation(&mut self.interner, "request_id", Value::Uint(example.request)),
                annotation(&mut self.interner, "leaf", Value::Text(chain.kind.name().to_owned())),
            ],
            ..with_flow(flow_at(0))
        };
        let end_ns = example.start_ns.saturating_add(example.wait_ns);
        let drawn = Drawn { start_ns: example.start_ns, end_ns, event: request };
        self.draw(drawn, |lane| Track::Chains { lane })?;
        let mut from_ns = example.start_ns;
        for (place, hop) in (1..).zip(&hops) {
            from_ns = from_ns.max(hop.start_ns);
            let in_it_for_ns = hop.end_ns.saturating_sub(hop.start_ns);
            let event = TrackEvent {
                category_iids: vec![self.interner.category("hop")],
                name_iid: Some(self.interner.name(hop.phase.name())),
                debug_annotations: vec![
                    annotation(&mut self.interner, "request_id", Value::Uint(example.request)),
                    annotation(&mut self.interner, "in_it_for_ns", Value::Uint(in_it_for_ns)),
                ],
                ..with_flow(flow_at(place))
            };
            let drawn = Drawn { start_ns: from_ns, end_ns: hop.end_ns, event };
            self.draw(drawn, |lane| Track::Hops { tgid: hop.tgid, tid: hop.tid, lane })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::event::Tid;
    use profiler_core::model::chain::{ChainExample, LeafKind};
    use profiler_core::phase::Phase;
    use profiler_core::timeline::Entry;
    use prost::Message as _;

    use super::super::message::{Data, EventType, Trace};
    use super::*;

    fn hop(tid: Tid, phase: Phase, (start_ns, end_ns): (u64, u64)) -> ExampleHop {
        ExampleHop {
            tgid: 10,
            tid,
            comm: "pool".to_owned(),
            endpoint: 0,
            phase,
            start_ns,
            end_ns,
            place: None,
        }
    }

    fn chain(request: u64, hops: Vec<ExampleHop>) -> Entry {
        Entry::Chain(Box::new(ChainEntry {
            kind: LeafKind::BackEnd,
            endpoint: "GET /\n\u{202e}".to_owned(),
            example: ChainExample {
                request,
                endpoint: 1,
                start_ns: 1_000,
                wait_ns: 500,
                hops,
                candidates: Vec::new(),
            },
        }))
    }

    /// The beginning of an interval.
    struct Begin {
        time_ns: u64,
        track: u64,
        name: Option<String>,
        flow: Vec<u64>,
        /// The flow ends there.
        ends: bool,
    }

    fn begins(entries: &[Entry]) -> Vec<Begin> {
        let mut sink = PerfettoSink::new(Vec::new());
        for entry in entries {
            sink.entry(entry).expect("a vector takes everything");
        }
        let (bytes, _) = sink.finish().expect("a vector takes everything");
        let trace = Trace::decode(bytes.as_slice()).expect("a valid trace");
        let mut begins = Vec::new();
        for packet in trace.packet {
            let Some(Data::TrackEvent(event)) = packet.data else { continue };
            if event.event_type == Some(EventType::SliceBegin as i32) {
                let ends = !event.terminating_flow_ids.is_empty();
                let flow = if ends { event.terminating_flow_ids } else { event.flow_ids };
                let track = event.track_uuid.expect("a track");
                let time_ns = packet.timestamp.expect("a time");
                begins.push(Begin { time_ns, track, name: event.name, flow, ends });
            }
        }
        begins
    }

    #[test]
    fn arrows_lead_from_the_request_over_each_thread_to_the_last_in_the_order_of_time() {
        let hops = vec![
            hop(0, Phase::PoolWait, (1_000, 1_500)),
            hop(21, Phase::LockWait, (900, 1_500)),
            hop(22, Phase::BackendWait, (1_100, 1_490)),
        ];
        let begins = begins(&[chain(214, hops)]);
        let at: Vec<(u64, u64)> = begins.iter().map(|begin| (begin.time_ns, begin.track)).collect();
        let track = |tid| Track::Hops { tgid: 10, tid, lane: 0 }.uuid();
        let of_request = Track::Chains { lane: 0 }.uuid();
        assert_eq!(at, [(1_000, of_request), (1_000, track(21)), (1_100, track(22))]);
        assert!(begins.iter().all(|begin| begin.flow.len() == 1 && begin.flow == begins[0].flow));
        let ends: Vec<bool> = begins.iter().map(|begin| begin.ends).collect();
        assert_eq!(ends, [false, false, true]);
        let name = begins[0].name.as_deref().expect("a name");
        assert!(name.starts_with("#214 back_end: GET /") && !name.contains(['\n', '\u{202e}']), "{name}");
    }

    #[test]
    fn a_chain_without_a_thread_has_no_arrow_and_no_two_chains_have_one_flow() {
        let alone = begins(&[chain(1, vec![hop(0, Phase::AcceptQueue, (1_000, 1_500))])]);
        assert_eq!(alone.len(), 1);
        assert!(alone[0].flow.is_empty());
        let hops = |tid| vec![hop(tid, Phase::LockWait, (1_000, 1_500))];
        let several = begins(&[chain(1, hops(21)), chain(1, hops(22)), chain(2, hops(21))]);
        let flows: std::collections::HashSet<u64> =
            several.iter().flat_map(|begin| begin.flow.clone()).collect();
        assert_eq!((several.len(), flows.len()), (6, 3));
    }
}
