//! How a connection's arrival shows: a point on its listener's track, and an arrow to each thread that it
//! woke.
//!
//! In: one wakeup. Out: the point, and an interval beside the thread, from its wakeup until it slept again or
//! returned; its name distinguishes winner and losers.

use std::io::Write;

use profiler_core::event::Wake;
use profiler_core::model::wake::Outcome;

use super::message::{EventType, TrackEvent, Value};
use super::request::{Flow, annotation};
use super::track::Track;
use super::{Drawn, PerfettoSink, TimelineError, with_flow};

/// Name of the interval beside the thread.
const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "woken, got a connection",
        Outcome::SleptAgain => "wasted wakeup, slept again",
        Outcome::FoundNothing => "wasted wakeup, accept found nothing",
        Outcome::DidNotAccept => "wasted wakeup, did not accept",
    }
}

/// Number of the arrow: no other has it, since requests count from 1 and a thread is woken once at a time.
fn flow_of(wake: &Wake) -> u64 {
    (1 << 63) | (wake.woken_ns ^ u64::from(wake.tid).rotate_left(40)) >> 1
}

impl<W: Write> PerfettoSink<W> {
    pub(super) fn wake(&mut self, wake: &Wake, end_ns: u64, outcome: Outcome) -> Result<(), TimelineError> {
        self.start(wake.announced_ns)?;
        let flow = flow_of(wake);
        let listener = Track::Listener { inode: wake.listener_inode };
        self.announce(listener, wake.announced_ns)?;
        let mut debug_annotations = Vec::new();
        if wake.peer_port != 0 {
            let port = Value::Uint(u64::from(wake.peer_port));
            debug_annotations.push(annotation(&mut self.interner, "peer_port", port));
        }
        let arrival = TrackEvent {
            category_iids: vec![self.interner.category("connection")],
            name_iid: Some(self.interner.name("connection")),
            debug_annotations,
            ..with_flow(Flow::Through(flow))
        };
        self.event(listener, EventType::Instant, wake.announced_ns, arrival)?;
        let woken = TrackEvent {
            category_iids: vec![self.interner.category("woken")],
            name_iid: Some(self.interner.name(name(outcome))),
            debug_annotations: vec![
                annotation(&mut self.interner, "cpu_ns", Value::Uint(wake.since.cpu_ns)),
                annotation(&mut self.interner, "run_queue_ns", Value::Uint(wake.since.run_queue_ns)),
            ],
            ..with_flow(Flow::Last(flow))
        };
        let drawn = Drawn { start_ns: wake.woken_ns, end_ns, event: woken };
        self.draw(drawn, |lane| Track::Woken { tgid: wake.tgid, tid: wake.tid, lane })
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::event::Wake;
    use profiler_core::timeline::Entry;
    use prost::Message as _;

    use super::super::message::{Data, Trace};
    use super::*;

    #[test]
    fn an_arrow_leads_from_the_arrival_to_each_thread_that_it_woke() {
        let mut sink = PerfettoSink::new(Vec::new());
        let outcomes = [Outcome::Accepted, Outcome::SleptAgain, Outcome::FoundNothing, Outcome::DidNotAccept];
        for (tid, outcome) in (11..).zip(outcomes) {
            let wake = Wake {
                tgid: 10,
                tid,
                listener_inode: 7,
                announced_ns: 1_000,
                woken_ns: 1_010,
                peer_port: 4_000,
                ..Wake::default()
            };
            sink.entry(&Entry::Wake { wake, end_ns: 2_000, outcome }).expect("a vector takes everything");
        }
        let (bytes, _) = sink.finish().expect("a vector takes everything");
        let trace = Trace::decode(bytes.as_slice()).expect("a valid trace");
        let of = |data: &Option<Data>| match data {
            Some(Data::TrackEvent(event)) => Some(event.clone()),
            _ => None,
        };
        let events: Vec<_> =
            trace.packet.iter().filter_map(|packet| Some((packet.timestamp, of(&packet.data)?))).collect();
        let begins: Vec<u64> = events
            .iter()
            .flat_map(|(time, event)| event.flow_ids.iter().filter(|_| *time == Some(1_000)).copied())
            .collect();
        let ends: Vec<u64> = events
            .iter()
            .flat_map(|(time, event)| {
                event.terminating_flow_ids.iter().filter(|_| *time == Some(1_010)).copied()
            })
            .collect();
        assert_eq!((begins.len(), &begins), (4, &ends));
        let different: std::collections::HashSet<_> = begins.iter().collect();
        assert_eq!(different.len(), 4);
        let tracks: std::collections::HashSet<_> = events.iter().map(|(_, event)| event.track_uuid).collect();
        assert_eq!(tracks.len(), 5, "the listener's and one for each thread");
    }
}
