//! The row of segments of one request: what it asked of its thread, in order.
//!
//! In: a request and what its threads did. Out: segments. The timeline has the order, the request's phases
//! have the lengths. Each phase's time is spread over the stretches in which the thread did that, so that
//! both agree to the nanosecond. Waits that the model makes itself (for a slot, the interpreter lock, a CPU)
//! are left out.

use profiler_core::event::Tid;
use profiler_core::model::request::Request;
use profiler_core::phase::{Phase, Phases};
use profiler_core::timeline::ThreadState;
use profiler_forecast::load::{Row, Segment, Work};

use super::taken::is_behind_front;
use super::trace::{Place, Slice, Trace};

/// What comes before all else where the timeline does not say when.
const FIRST: [Phase; 3] = [Phase::ReadHead, Phase::ReadBody, Phase::Cpu];

/// Back ends by the port of the peer, numbered as they come.
#[derive(Clone, Debug, Default)]
pub(super) struct BackEnds(Vec<u16>);

impl BackEnds {
    fn number(&mut self, port: u16) -> u32 {
        let at = self.0.iter().position(|known| *known == port).unwrap_or_else(|| {
            self.0.push(port);
            self.0.len() - 1
        });
        // There are no more ports than fit.
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Their names: the port, or `local` for UNIX sockets and what is not known.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|port| if *port == 0 { "local".to_owned() } else { port.to_string() }).collect()
    }
}

/// Whether the model makes this time itself.
const fn is_made(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::AcceptQueue
            | Phase::PoolWait
            | Phase::LoopWait
            | Phase::RunQueue
            | Phase::GilWait
            | Phase::FrontEnd
    )
}

/// The row of a request, without what comes between it and its slot.
pub(super) fn row(request: &Request, trace: &Trace, back_ends: &mut BackEnds) -> Row {
    let stretches = stretches(request, trace);
    let Outside { ahead_ns, behind, phases } = Outside::of(request, &stretches);
    let pieces = spread(&phases, &stretches);
    let mut segments: Vec<Segment> = Vec::with_capacity(pieces.len());
    let ports = ports(request);
    let mut ahead_ns = ahead_ns;
    for Piece { phase, is_call, from_ns, duration_ns } in pieces {
        let mut push = |work: Work, duration_ns: u64| match segments.last_mut() {
            // It lasts until a moment.
            Some(last) if last.work == work && work == Work::ClientSends => last.duration_ns = duration_ns,
            Some(last) if last.work == work => {
                last.duration_ns = last.duration_ns.saturating_add(duration_ns)
            }
            _ if duration_ns > 0 => segments.push(Segment { work, duration_ns }),
            _ => {}
        };
        match (phase, from_ns) {
            // In a call a thread gives the lock up.
            (Phase::Cpu, _) if is_call => push(Work::Free(phase), duration_ns),
            (Phase::Cpu, _) => push(Work::Python, duration_ns),
            (Phase::ReadHead | Phase::ReadBody | Phase::Write, _) => push(Work::Free(phase), duration_ns),
            (Phase::BackendWait, _) => {
                let mut shares = Shares::new(duration_ns, ports.iter().map(|(_, weight)| *weight).sum());
                for (port, weight) in &ports {
                    push(Work::BackEnd(back_ends.number(*port)), shares.next(*weight));
                }
            }
            // Its client sends whether or not a slot is free.
            (Phase::ClientReadStall, Some(from_ns)) => {
                push(Work::ClientSends, from_ns.saturating_add(duration_ns));
            }
            // No thread waited for it: it is over before a slot has the request (Waitress).
            (Phase::ClientReadStall, None) => ahead_ns = ahead_ns.saturating_add(duration_ns),
            _ => push(Work::Wait(phase), duration_ns),
        }
    }
    Row { ahead_ns, segments, behind, ..Row::default() }
}

/// The ports that the request waited for, each with for how long. A wait does not say for which: each wait is
/// for all of them, in these proportions.
fn ports(request: &Request) -> Vec<(u16, u64)> {
    let waited = request.round_trips.ports().filter(|to| to.waited_ns > 0);
    let ports: Vec<(u16, u64)> = waited.map(|to| (to.port, to.waited_ns)).collect();
    if ports.is_empty() { vec![(0, 1)] } else { ports }
}

/// A part of a request's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    phase: Phase,
    /// In a call, not in the thread's own code.
    is_call: bool,
    /// When it began, since the request's arrival; `None`: the timeline does not show it.
    from_ns: Option<u64>,
    duration_ns: u64,
}

/// What the request's threads did, in order.
fn stretches(request: &Request, trace: &Trace) -> Vec<Piece> {
    let mut stretches = Vec::new();
    // What a front end does is in no row, nor what the server does once the front end is done.
    let is_of_server = |tgid: Tid| !is_behind_front(request) || tgid == request.tgid;
    let until_ns = if is_behind_front(request) { request.times.end_ns } else { u64::MAX };
    for stretch in request.stretches.iter().filter(|stretch| is_of_server(stretch.tgid)) {
        for slice in trace.between(stretch.tid, stretch.start_ns, stretch.end_ns.min(until_ns)) {
            if let Some(phase) = phase_of(&slice, request) {
                let is_call = slice.place != Place::Gap;
                stretches.push(Piece {
                    phase,
                    is_call,
                    from_ns: Some(slice.start_ns.saturating_sub(request.times.start_ns)),
                    duration_ns: slice.end_ns.saturating_sub(slice.start_ns),
                });
            }
        }
    }
    stretches
}

fn phase_of(slice: &Slice, request: &Request) -> Option<Phase> {
    let times = &request.times;
    // Behind a front end these moments are the front end's.
    let is_behind = is_behind_front(request);
    let is_response = match times.first_write_ns {
        _ if is_behind => slice.sends,
        first_ns => first_ns.is_some_and(|first_ns| slice.end_ns >= first_ns),
    };
    let is_head = !is_behind && times.service_start_ns.is_none_or(|start_ns| slice.end_ns <= start_ns);
    if slice.place == Place::Gap {
        // Asleep between two calls: a call that is not observed, or pages of memory.
        let is_asleep = slice.state == ThreadState::Other;
        let asleep =
            if request.phases.get(Phase::FaultWait) > 0 { Phase::FaultWait } else { Phase::Unexplained };
        return Some(if is_asleep { asleep } else { Phase::Cpu });
    }
    match slice.state {
        ThreadState::ClientIo if is_response => Some(Phase::Write),
        ThreadState::ClientIo if is_head => Some(Phase::ReadHead),
        ThreadState::ClientIo => Some(Phase::ReadBody),
        ThreadState::ClientWait if is_response => Some(Phase::ClientWriteStall),
        ThreadState::ClientWait => Some(Phase::ClientReadStall),
        // Short calls, such as closing a descriptor.
        ThreadState::Other => Some(Phase::Cpu),
        state => state.phase().filter(|phase| !is_made(*phase)),
    }
}

/// Of a request's time what passes while only a front end has it.
struct Outside {
    /// What its client takes to send it, before the server has it.
    ahead_ns: u64,
    /// What its client takes for the response, and what is not known, after the server's last byte.
    behind: Vec<Segment>,
    /// What is left: the server's own time.
    phases: Phases,
}

impl Outside {
    /// A phase of these lasts in the server as long as the timeline shows.
    fn of(request: &Request, stretches: &[Piece]) -> Self {
        let mut outside = Self { ahead_ns: 0, behind: Vec::new(), phases: request.phases };
        if !is_behind_front(request) {
            return outside;
        }
        for phase in [Phase::ClientReadStall, Phase::ClientWriteStall, Phase::Unexplained] {
            let shown = stretches.iter().filter(|piece| piece.phase == phase);
            let shown_ns = shown.map(|piece| piece.duration_ns).fold(0, u64::saturating_add);
            let outside_ns = request.phases.get(phase).saturating_sub(shown_ns);
            let outside_ns = outside.phases.take(phase, outside_ns);
            if phase == Phase::ClientReadStall {
                outside.ahead_ns = outside_ns;
            } else if outside_ns > 0 {
                outside.behind.push(Segment { work: Work::Wait(phase), duration_ns: outside_ns });
            }
        }
        outside
    }
}

/// Each phase's time, spread over the stretches of it in proportion to their lengths; what has none comes
/// first or last.
fn spread(phases: &Phases, stretches: &[Piece]) -> Vec<Piece> {
    let mut shares = Phase::ALL.map(|phase| {
        let of_phase = stretches.iter().filter(|piece| piece.phase == phase);
        Shares::new(phases.get(phase), of_phase.map(|piece| piece.duration_ns).fold(0, u64::saturating_add))
    });
    let without = |phase: Phase, shares: &[Shares]| {
        let all = shares.get(phase as usize).filter(|shares| shares.of == 0 && !is_made(phase))?;
        Some(Piece { phase, is_call: false, from_ns: None, duration_ns: all.total })
    };
    let first = FIRST.into_iter().filter_map(|phase| without(phase, &shares));
    let mut pieces: Vec<Piece> = first.collect();
    let others = Phase::ALL.into_iter().filter(|phase| !FIRST.contains(phase));
    let last: Vec<Piece> = others.filter_map(|phase| without(phase, &shares)).collect();
    for piece in stretches {
        if let Some(shares) = shares.get_mut(piece.phase as usize) {
            pieces.push(Piece { duration_ns: shares.next(piece.duration_ns), ..*piece });
        }
    }
    pieces.extend(last);
    pieces.retain(|piece| piece.duration_ns > 0);
    pieces
}

/// A total that is handed out in proportion, to the nanosecond.
struct Shares {
    total: u64,
    of: u64,
    asked: u64,
    given: u64,
}

impl Shares {
    const fn new(total: u64, of: u64) -> Self {
        Self { total, of, asked: 0, given: 0 }
    }

    fn next(&mut self, weight: u64) -> u64 {
        self.asked = self.asked.saturating_add(weight);
        let due = u128::from(self.total) * u128::from(self.asked) / u128::from(self.of.max(1));
        let due = u64::try_from(due).unwrap_or(self.total).min(self.total);
        let part = due.saturating_sub(self.given);
        self.given = due.max(self.given);
        part
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::model::request::{Stretch, Times};
    use profiler_core::timeline::Entry;

    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::tests::{self, request};

    fn slice(start_ns: u64, end_ns: u64, state: ThreadState, label: &'static str) -> Entry {
        tests::slice(1, start_ns, end_ns, state, label)
    }

    #[test]
    fn a_row_has_the_order_of_the_timeline_and_the_lengths_of_the_phases() {
        let mut trace = Trace::default();
        for entry in [
            slice(0, 100, ThreadState::Idle, "epoll_wait"),
            slice(100, 110, ThreadState::ClientIo, "recvfrom"),
            // With 10 ns in a run queue.
            slice(110, 200, ThreadState::Running, "running"),
            slice(200, 300, ThreadState::BackendWait, "recvfrom"),
            slice(300, 350, ThreadState::GilWait, "futex"),
            slice(350, 380, ThreadState::Running, "running"),
            slice(380, 400, ThreadState::ClientIo, "sendto"),
            slice(400, 500, ThreadState::Running, "running"),
        ] {
            trace.entry(&entry);
        }
        let phases = [
            (Phase::AcceptQueue, 50),
            (Phase::ReadHead, 10),
            (Phase::Cpu, 110),
            (Phase::RunQueue, 10),
            (Phase::BackendWait, 100),
            (Phase::GilWait, 50),
            (Phase::Write, 20),
        ];
        let mut request = request(50, &phases);
        request.stretches = vec![Stretch { tgid: 1, tid: 1, start_ns: 100, end_ns: 400 }];
        request.times = Times {
            service_start_ns: Some(110),
            first_write_ns: Some(400),
            end_ns: 400,
            ..request.times.clone()
        };
        let mut back_ends = BackEnds::default();
        let found = row(&request, &trace, &mut back_ends).segments;
        let expected = [
            (Work::Free(Phase::ReadHead), 10),
            (Work::Python, 82),
            (Work::BackEnd(0), 100),
            (Work::Python, 28),
            (Work::Free(Phase::Write), 20),
        ];
        assert_eq!(found.iter().map(|s| (s.work, s.duration_ns)).collect::<Vec<_>>(), expected);
        assert_eq!(back_ends.names(), ["local"]);
    }

    #[test]
    fn what_a_client_sends_late_is_due_so_long_after_the_arrival() {
        let mut trace = Trace::default();
        for entry in [
            slice(100, 110, ThreadState::ClientIo, "recvfrom"),
            // With 10 ns in a run queue.
            slice(110, 200, ThreadState::ClientWait, "recvfrom"),
            slice(200, 260, ThreadState::ClientWait, "recvfrom"),
            slice(260, 300, ThreadState::Running, "running"),
        ] {
            trace.entry(&entry);
        }
        let phases =
            [(Phase::ReadHead, 10), (Phase::ClientReadStall, 140), (Phase::RunQueue, 10), (Phase::Cpu, 40)];
        let mut request = request(50, &phases);
        request.stretches = vec![Stretch { tgid: 1, tid: 1, start_ns: 100, end_ns: 300 }];
        request.times = Times { service_start_ns: Some(110), end_ns: 300, ..request.times.clone() };
        let found = row(&request, &trace, &mut BackEnds::default()).segments;
        let sends =
            found.iter().filter(|segment| segment.work == Work::ClientSends).collect::<Vec<&Segment>>();
        assert_eq!(sends.len(), 1, "{found:?}");
        // The second began 150 ns after the arrival and lasts 56 of its 60.
        assert_eq!(sends.first().map(|segment| segment.duration_ns), Some(206));
    }

    #[test]
    fn what_the_timeline_does_not_show_is_in_the_row_all_the_same() {
        let phases = [(Phase::Write, 5), (Phase::Cpu, 70), (Phase::Sleep, 30), (Phase::GilWait, 9)];
        let found = row(&request(0, &phases), &Trace::default(), &mut BackEnds::default()).segments;
        let expected = [(Work::Python, 70), (Work::Wait(Phase::Sleep), 30), (Work::Free(Phase::Write), 5)];
        assert_eq!(found.iter().map(|s| (s.work, s.duration_ns)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_stall_of_the_client_that_no_thread_waited_in_is_over_before_the_slot() {
        let phases = [(Phase::ClientReadStall, 40), (Phase::Cpu, 70)];
        let found = row(&request(0, &phases), &Trace::default(), &mut BackEnds::default());
        let expected = vec![Segment { work: Work::Python, duration_ns: 70 }];
        assert_eq!(found, Row { ahead_ns: 40, segments: expected, ..Row::default() });
    }

    #[test]
    fn what_a_client_does_to_a_front_end_holds_no_slot() {
        let mut trace = Trace::default();
        for entry in [
            // It waits for the body that the front end has, and sends in two parts.
            slice(2000, 2050, ThreadState::ClientWait, "poll"),
            slice(2050, 2060, ThreadState::ClientIo, "read"),
            slice(2060, 2100, ThreadState::Running, "running"),
            slice(2100, 2110, ThreadState::ClientIo, "write"),
            slice(2110, 2150, ThreadState::Running, "running"),
            slice(2150, 2160, ThreadState::ClientIo, "write"),
            // The front end is done by then.
            slice(9000, 9900, ThreadState::Running, "running"),
        ] {
            trace.entry(&entry);
        }
        let phases = [
            (Phase::FrontEnd, 100),
            (Phase::ClientReadStall, 1950),
            (Phase::ReadBody, 10),
            (Phase::Cpu, 80),
            (Phase::Write, 20),
            (Phase::ClientWriteStall, 6000),
        ];
        let mut request = request(0, &phases);
        request.stretches = vec![
            Stretch { tgid: 5, tid: 6, start_ns: 0, end_ns: 8160 },
            Stretch { tgid: 1, tid: 1, start_ns: 2000, end_ns: 9900 },
        ];
        request.times.first_write_ns = Some(2170);
        let found = row(&request, &trace, &mut BackEnds::default());
        assert_eq!(found.ahead_ns, 1900, "all but what the server waited for");
        let segments: Vec<(Work, u64)> =
            found.segments.iter().map(|one| (one.work, one.duration_ns)).collect();
        let write = (Work::Free(Phase::Write), 10);
        let expected = [
            (Work::ClientSends, 2050),
            (Work::Free(Phase::ReadBody), 10),
            (Work::Python, 40),
            write,
            (Work::Python, 40),
            write,
        ];
        assert_eq!(segments, expected);
        let stall = Segment { work: Work::Wait(Phase::ClientWriteStall), duration_ns: 6000 };
        assert_eq!(found.behind, [stall]);
    }

    #[test]
    fn shares_add_up_to_the_nanosecond() {
        let mut shares = Shares::new(100, 7);
        let parts: Vec<u64> = [1, 2, 4].into_iter().map(|weight| shares.next(weight)).collect();
        assert_eq!(parts, [14, 28, 58]);
    }
}
