//! One request of two halves: what it spent in a front end and what in the server behind it.
//!
//! In: the front end's account of the request piece by piece, and the accounts of what the server did for it.
//! Out: phases that add up to the request's length, with nothing counted twice. While the server had the
//! request, its account counts. Before and after that, the front end's account counts.

use crate::event::Tid;
use crate::machine::wire::tail::{Tail, last_first};
use crate::machine::wire::trail::{Trail, TrailPiece, cut};
use crate::model::gil::Holder;
use crate::model::gil_waits::GilWaits;
use crate::model::request::{Framing, Http, Request, Stretch};
use crate::model::request_start::RequestStart;
use crate::model::round_trips::RoundTrips;
use crate::phase::{Phase, Phases};

/// Stretches of a request that are kept. Its phases have all of its time; a stretch only says which thread.
const MAX_STRETCHES: usize = 32;

/// What the server behind did for a request.
#[derive(Clone, Debug)]
pub struct Inner {
    /// First byte at the server's socket.
    pub start_ns: u64,
    /// Its last write.
    pub end_ns: u64,
    /// Where that time went; adds up to the difference.
    pub phases: Phases,
    /// Where that time went, piece by piece.
    pub tail: Tail,
    /// Process and thread that served it.
    pub who: (Tid, Tid),
    /// Slot that it held.
    pub slot: Option<u32>,
    /// Its stretches on threads.
    pub stretches: Vec<Stretch>,
    /// How often it asked back ends.
    pub round_trips: RoundTrips,
    /// Who had the interpreter lock while it waited for the lock.
    pub gil_holders: Vec<Holder>,
    /// Its waits for the lock, one by one.
    pub gil_waits: Option<Box<GilWaits>>,
    /// What the server was asked, how long that was in transit before `start_ns`, and what it answered: the
    /// status is 0 if it gave none, or its protocol shows none.
    pub http: Http,
    /// Records of its thread were lost.
    pub lossy: bool,
    /// The answer ended with its connection.
    pub ends_with_connection: bool,
}

/// Phases of a request that only a front end had. What it did itself is `front_end`. Its accept queue, the
/// client's stalls, a server that is not traced, and what is not known keep their names.
pub fn of_front_end(phases: &Phases) -> Phases {
    let mut result = Phases::default();
    for (phase, duration_ns) in phases.iter() {
        let kept = matches!(
            phase,
            Phase::AcceptQueue
                | Phase::ClientReadStall
                | Phase::ClientWriteStall
                | Phase::BackendWait
                | Phase::Unexplained
        );
        result.add(if kept { phase } else { Phase::FrontEnd }, duration_ns);
    }
    result
}

/// Puts the halves together. `has_read_all`: the front end has all that the server sent. Returns how many of
/// `inners` were left out because they were over before another was that had begun first.
pub fn compose(request: &mut Request, trail: &Trail, mut inners: Vec<Inner>, has_read_all: bool) -> u64 {
    inners.sort_by_key(|inner| inner.start_ns);
    let mut taken: Vec<Inner> = Vec::new();
    let mut left_out = 0;
    for mut inner in inners {
        let free_from_ns = taken.last().map_or(trail.from_ns, |last| last.end_ns);
        // A server's last write may return after the front end has turned to the next.
        if inner.end_ns <= free_from_ns && !taken.is_empty() {
            left_out += 1;
            continue;
        }
        clip(&mut inner, (free_from_ns, request.times.end_ns), has_read_all);
        if inner.end_ns > inner.start_ns {
            taken.push(inner);
        }
    }
    if taken.is_empty() {
        request.phases = of_front_end(&request.phases);
        return left_out;
    }
    let mut phases = without_backends(&of_front_end(&trail.before));
    let mut stalls = (0, 0);
    for piece in &trail.pieces {
        outside(piece, &taken, &mut phases, &mut stalls);
    }
    for inner in &taken {
        inside(inner, &mut phases, &mut stalls);
    }
    request.phases = phases;
    if let [inner] = taken.as_slice() {
        name(&mut request.http, &inner.http, has_read_all);
    }
    if let Some(last) = taken.last() {
        (request.tgid, request.tid) = last.who;
        request.slot = last.slot;
    }
    request.stretches = outside_of(&request.stretches, &taken);
    // What the front end asked was the server behind it.
    request.round_trips = RoundTrips::default();
    for inner in taken {
        let front = (request.http.request_start, request.times.start_ns);
        request.http.request_start =
            RequestStart::of_halves(front, (inner.http.request_start, inner.start_ns));
        request.seen.lossy |= inner.lossy;
        request.stretches.extend(inner.stretches);
        request.gil.holders.extend(inner.gil_holders);
        request.round_trips.add_all(&inner.round_trips);
        if let Some(waits) = inner.gil_waits {
            request.gil.waits.get_or_insert_default().add_all(*waits);
        }
    }
    request.stretches.sort_by_key(|stretch| (stretch.start_ns, stretch.tid));
    request.stretches.truncate(MAX_STRETCHES);
    left_out
}

/// What cannot be read between the client and its front end (TLS) was passed on to the server in the clear.
/// The answer's status is the server's if the front end has all of that answer.
fn name(http: &mut Http, behind: &Http, has_read_all: bool) {
    if http.framing != Framing::NotHttp || !http.method.is_empty() || behind.method.is_empty() {
        return;
    }
    http.framing = Framing::Encrypted;
    (http.method, http.path) = (behind.method.clone(), behind.path.clone());
    http.trace_context = http.trace_context.or(behind.trace_context);
    if http.status == 0 && has_read_all {
        http.status = behind.status;
    }
}

/// The front end's stretches without what lies within the server's time: its thread may wait there for the
/// answer, and works for the request no more than others do.
fn outside_of(stretches: &[Stretch], taken: &[Inner]) -> Vec<Stretch> {
    let mut outside = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let mut rest = *stretch;
        for inner in taken.iter().filter(|inner| inner.end_ns > stretch.start_ns) {
            let end_ns = inner.start_ns.clamp(rest.start_ns, rest.end_ns);
            outside.push(Stretch { end_ns, ..rest });
            rest.start_ns = inner.end_ns.clamp(rest.start_ns, rest.end_ns);
        }
        outside.push(rest);
    }
    outside.retain(|stretch| stretch.end_ns > stretch.start_ns);
    outside
}

/// The server behind is traced. So no time before it is a wait for a back end.
fn without_backends(phases: &Phases) -> Phases {
    let mut result = Phases::default();
    for (phase, duration_ns) in phases.iter() {
        result.add(if phase == Phase::BackendWait { Phase::FrontEnd } else { phase }, duration_ns);
    }
    result
}

/// Cuts what lies outside of the request, such as a write that returned to a thread which did not get a CPU
/// at once, or a wait for the interpreter lock before a connection is closed. The pieces that are kept say
/// what that was. A server whose client has left may still do anything: where no piece says it, the last
/// phases of reports go first.
fn clip(inner: &mut Inner, (from_ns, until_ns): (u64, u64), has_read_all: bool) {
    let start_ns = inner.start_ns.clamp(from_ns, until_ns.max(from_ns));
    let end_ns = inner.end_ns.clamp(start_ns, until_ns.max(start_ns));
    let excess_ns = inner.phases.total_ns().saturating_sub(end_ns.saturating_sub(start_ns));
    let before_ns = start_ns.saturating_sub(inner.start_ns).min(excess_ns);
    cut(&mut inner.phases, Phase::ALL.into_iter(), before_ns);
    let mut after_ns = excess_ns - before_ns;
    for (phase, late_ns) in inner.tail.between(end_ns, inner.end_ns, has_read_all).iter() {
        after_ns -= inner.phases.take(phase, late_ns.min(after_ns));
    }
    cut(&mut inner.phases, last_first(has_read_all), after_ns);
    (inner.start_ns, inner.end_ns) = (start_ns, end_ns);
}

/// The part of a piece that lies outside of the server's time is the front end's. The exception is what
/// surely is unexplained or a stall of the client. Stalls that may lie inside are noted.
fn outside(piece: &TrailPiece, taken: &[Inner], phases: &mut Phases, stalls: &mut (u64, u64)) {
    let length_ns = piece.end_ns.saturating_sub(piece.start_ns);
    let covered_ns = taken
        .iter()
        .map(|inner| piece.end_ns.min(inner.end_ns).saturating_sub(piece.start_ns.max(inner.start_ns)))
        .fold(0, u64::saturating_add);
    let outside_ns = length_ns.saturating_sub(covered_ns);
    let surely = |own_ns: u64| outside_ns.saturating_sub(length_ns.saturating_sub(own_ns));
    let read_ns = surely(piece.read_stall_ns);
    let write_ns = surely(piece.write_stall_ns);
    let unexplained_ns = surely(piece.unexplained_ns);
    phases.add(Phase::ClientReadStall, read_ns);
    phases.add(Phase::ClientWriteStall, write_ns);
    phases.add(Phase::Unexplained, unexplained_ns);
    phases.add(
        Phase::FrontEnd,
        outside_ns.saturating_sub(read_ns.saturating_add(write_ns).saturating_add(unexplained_ns)),
    );
    stalls.0 = stalls.0.saturating_add(piece.read_stall_ns.saturating_sub(read_ns).min(covered_ns));
    stalls.1 = stalls.1.saturating_add(piece.write_stall_ns.saturating_sub(write_ns).min(covered_ns));
}

/// The server's own account. Its client is the front end. A stall there is the real client's as far as that
/// client stalled the front end at the same time. Beyond that, the stall is the front end's. In its accept
/// queue requests wait for a slot.
fn inside(inner: &Inner, phases: &mut Phases, stalls: &mut (u64, u64)) {
    let mut stalled = |phase, left_ns: &mut u64, duration_ns: u64| {
        let own_ns = duration_ns.min(*left_ns);
        *left_ns -= own_ns;
        phases.add(phase, own_ns);
        phases.add(Phase::FrontEnd, duration_ns - own_ns);
    };
    stalled(Phase::ClientReadStall, &mut stalls.0, inner.phases.get(Phase::ClientReadStall));
    stalled(Phase::ClientWriteStall, &mut stalls.1, inner.phases.get(Phase::ClientWriteStall));
    for (phase, duration_ns) in inner.phases.iter() {
        match phase {
            Phase::ClientReadStall | Phase::ClientWriteStall => {}
            Phase::AcceptQueue => phases.add(Phase::PoolWait, duration_ns),
            other => phases.add(other, duration_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::{OnGil, Seen, Times};
    use proptest::prelude::*;

    fn request(start_ns: u64, end_ns: u64) -> Request {
        Request {
            id: 1,
            connection: 1,
            index_on_connection: 0,
            tgid: 10,
            tid: 11,
            slot: None,
            phases: Phases::default(),
            stretches: Vec::new(),
            round_trips: RoundTrips::default(),
            times: Times { start_ns, start_is_arrival: true, end_ns, ..Times::default() },
            http: Http { method: "GET".into(), path: "/".into(), status: 200, ..Http::default() },
            gil: OnGil::default(),
            seen: Seen::default(),
        }
    }

    fn phases(of: &[(Phase, u64)]) -> Phases {
        let mut phases = Phases::default();
        for (phase, duration_ns) in of {
            phases.add(*phase, *duration_ns);
        }
        phases
    }

    fn inner(start_ns: u64, of: &[(Phase, u64)]) -> Inner {
        let phases = phases(of);
        let end_ns = start_ns + phases.total_ns();
        Inner {
            start_ns,
            end_ns,
            phases,
            tail: Tail::default(),
            who: (20, 21),
            slot: Some(3),
            stretches: Vec::new(),
            round_trips: RoundTrips::default(),
            gil_holders: Vec::new(),
            gil_waits: None,
            http: Http::default(),
            lossy: false,
            ends_with_connection: false,
        }
    }

    /// ```text
    /// front:  | queue 5 | own 10 |  write 4 |      waits 100       | own 6 | stalls 20 |
    /// server:                         | pool 30 | cpu 50 | … 15 |
    /// ```
    #[test]
    fn what_the_server_had_counts_as_its_own_and_the_rest_as_the_front_end_s() {
        let mut trail = Trail::new(phases(&[(Phase::AcceptQueue, 5), (Phase::Cpu, 10)]), 15);
        trail.push(15, 19, &phases(&[(Phase::Cpu, 4)]));
        trail.push(19, 119, &phases(&[(Phase::BackendWait, 98), (Phase::RunQueue, 2)]));
        trail.push(119, 125, &phases(&[(Phase::Write, 6)]));
        trail.push(125, 145, &phases(&[(Phase::ClientWriteStall, 20)]));
        let mut request = request(0, 145);
        let server = inner(17, &[(Phase::AcceptQueue, 30), (Phase::Cpu, 50), (Phase::GilWait, 15)]);
        assert_eq!(compose(&mut request, &trail, vec![server], true), 0);
        let shown = [Phase::AcceptQueue, Phase::PoolWait, Phase::Cpu, Phase::GilWait, Phase::FrontEnd]
            .map(|phase| request.phases.get(phase));
        assert_eq!(shown, [5, 30, 50, 15, 10 + 2 + 7 + 6]);
        assert_eq!(request.phases.get(Phase::ClientWriteStall), 20);
        assert_eq!(request.phases.total_ns(), 145);
        assert_eq!((request.tgid, request.tid, request.slot), (20, 21, Some(3)));
    }

    #[test]
    fn a_stall_of_the_server_is_the_client_s_only_as_far_as_the_front_end_stalled_too() {
        let mut trail = Trail::new(Phases::default(), 0);
        trail.push(0, 60, &phases(&[(Phase::ClientReadStall, 40), (Phase::ReadBody, 20)]));
        trail.push(60, 100, &phases(&[(Phase::BackendWait, 40)]));
        let mut request = request(0, 100);
        compose(
            &mut request,
            &trail,
            vec![inner(10, &[(Phase::ClientReadStall, 70), (Phase::Cpu, 20)])],
            true,
        );
        assert_eq!(request.phases.get(Phase::ClientReadStall), 40);
        assert_eq!(request.phases.get(Phase::FrontEnd), 30 + 10);
        assert_eq!(request.phases.total_ns(), 100);
    }

    /// ```text
    /// front:      | waits 100                    |
    /// server: | pool 10 | sleep 60 | write 5, run queue 60 |
    /// ```
    #[test]
    fn what_lies_outside_of_the_request_is_cut_where_it_lies() {
        let mut trail = Trail::new(Phases::default(), 6);
        trail.push(6, 106, &phases(&[(Phase::BackendWait, 100)]));
        let of = [(Phase::PoolWait, 10), (Phase::Sleep, 60), (Phase::Write, 5), (Phase::RunQueue, 60)];
        // The front end has all, or its client had left.
        for (has_read_all, expected) in [(true, [4, 60, 5, 31]), (false, [4, 36, 0, 60])] {
            let mut request = request(6, 106);
            compose(&mut request, &trail, vec![inner(0, &of)], has_read_all);
            let told = [Phase::PoolWait, Phase::Sleep, Phase::Write, Phase::RunQueue]
                .map(|phase| request.phases.get(phase));
            assert_eq!(told, expected);
            assert_eq!(request.phases.total_ns(), 100);
        }
    }

    #[test]
    fn a_thread_of_the_front_end_has_the_request_only_while_the_server_has_not() {
        let stretch = |tid, start_ns, end_ns| Stretch { tgid: 10, tid, start_ns, end_ns };
        let of = |tid, (from_ns, until_ns): (u64, u64)| {
            let mut server = inner(from_ns, &[(Phase::AcceptQueue, until_ns - from_ns)]);
            server.stretches = vec![stretch(tid, until_ns - 5, until_ns)];
            server
        };
        let mut request = request(0, 100);
        request.stretches = vec![stretch(11, 0, 60), stretch(12, 60, 100)];
        let mut trail = Trail::new(Phases::default(), 0);
        trail.push(0, 100, &phases(&[(Phase::BackendWait, 100)]));
        // The first was refused, as its write returned after the front end had turned to the second.
        assert_eq!(compose(&mut request, &trail, vec![of(21, (10, 30)), of(22, (28, 90))], true), 0);
        let told: Vec<_> = request.stretches.iter().map(|one| (one.tid, one.start_ns, one.end_ns)).collect();
        assert_eq!(told, [(11, 0, 10), (21, 25, 30), (22, 85, 90), (12, 90, 100)]);
        assert_eq!(request.phases.get(Phase::PoolWait), 20 + 60);
        assert_eq!((request.tid, request.phases.total_ns()), (21, 100));
        // One that was over before another is, is left out.
        let mut request = self::request(0, 100);
        assert_eq!(compose(&mut request, &trail, vec![of(21, (10, 90)), of(22, (28, 60))], true), 1);
    }

    /// ```text
    /// front:      | waits 60                      |
    /// server: | cpu 30 | lock 12, run queue 8 | write 1 | lock 40 | write 2 |
    /// ```
    #[test]
    fn what_a_server_did_after_the_front_end_was_done_is_what_its_last_pieces_say() {
        let mut trail = Trail::new(Phases::default(), 0);
        trail.push(0, 60, &phases(&[(Phase::BackendWait, 60)]));
        let last = [
            (0, &[(Phase::Cpu, 30)][..]),
            (30, &[(Phase::GilWait, 12), (Phase::RunQueue, 8)]),
            (50, &[(Phase::Write, 1)]),
            (51, &[(Phase::GilWait, 40)]),
            (91, &[(Phase::Write, 2)]),
        ];
        let of: Vec<(Phase, u64)> = last.iter().flat_map(|(_, of)| of.iter().copied()).collect();
        let mut server = inner(0, &of);
        for (start_ns, of) in last {
            let of = phases(of);
            server.tail.push(start_ns, start_ns + of.total_ns(), &of);
        }
        let mut request = request(0, 60);
        compose(&mut request, &trail, vec![server], true);
        let shown = [Phase::Cpu, Phase::GilWait, Phase::RunQueue, Phase::Write]
            .map(|phase| request.phases.get(phase));
        assert_eq!(shown, [30, 12 + 9, 8, 1], "it computed, whatever it waited for later");
        assert_eq!(request.phases.total_ns(), 60);
    }

    #[test]
    fn what_cannot_be_read_before_the_front_end_is_named_by_what_the_server_was_asked() {
        let asked =
            |path: &str| Http { method: "GET".into(), path: path.into(), status: 404, ..Http::default() };
        let unread = Http { framing: Framing::NotHttp, ..Http::default() };
        let own = asked("/own");
        for (what, http, behind, has_read_all, expected) in [
            ("it is encrypted", &unread, &["/a"][..], true, ("/a", 404, Framing::Encrypted)),
            ("the client left before", &unread, &["/a"], false, ("/a", 0, Framing::Encrypted)),
            ("the front end asked twice", &unread, &["/a", "/b"], true, ("", 0, Framing::NotHttp)),
            ("the server had no head", &unread, &[""], true, ("", 0, Framing::NotHttp)),
            ("it was read", &own, &["/a"], true, ("/own", 404, Framing::Exact)),
        ] {
            let mut request = Request { http: http.clone(), ..request(0, 100) };
            let inners = behind.iter().zip(0..).map(|(path, at)| Inner {
                http: if path.is_empty() { Http::default() } else { asked(path) },
                ..inner(10 + 20 * at, &[(Phase::Cpu, 10)])
            });
            compose(&mut request, &Trail::new(Phases::default(), 0), inners.collect(), has_read_all);
            let told = (request.http.path.as_str(), request.http.status, request.http.framing);
            assert_eq!(told, expected, "{what}");
        }
    }

    proptest! {
        /// Any account of the front end and any of servers behind it, in time or not.
        #[test]
        fn halves_add_up_to_the_request(
            before in 0_u64..500,
            pieces in prop::collection::vec((0_u64..200, 0_usize..Phase::COUNT, 0_u64..100), 0..700),
            has_read_all in any::<bool>(),
            servers in prop::collection::vec((0_u64..90_000, prop::collection::vec((0_usize..Phase::COUNT, 0_u64..5_000), 0..6)), 0..5),
        ) {
            let mut trail = Trail::new(phases(&[(Phase::Cpu, before)]), 1_000 + before);
            let mut whole = phases(&[(Phase::Cpu, before)]);
            let mut now_ns = 1_000 + before;
            for (length_ns, phase, other_ns) in pieces {
                let own_ns = length_ns.saturating_sub(other_ns);
                let of = phases(&[(Phase::ALL[phase], own_ns), (Phase::Cpu, length_ns - own_ns)]);
                trail.push(now_ns, now_ns + length_ns, &of);
                whole.add_all(&of);
                now_ns += length_ns;
            }
            let mut request = Request { phases: whole, ..request(1_000, now_ns) };
            let of = |(start_ns, list): (u64, Vec<(usize, u64)>)| {
                let all: Vec<(Phase, u64)> = list.into_iter().map(|(phase, ns)| (Phase::ALL[phase], ns)).collect();
                let mut server = inner(start_ns, &all);
                let mut now_ns = start_ns;
                // Of each second one no pieces are kept.
                for (phase, ns) in all.into_iter().filter(|_| start_ns % 2 == 0) {
                    server.tail.push(now_ns, now_ns + ns, &phases(&[(phase, ns)]));
                    now_ns += ns;
                }
                server
            };
            compose(&mut request, &trail, servers.into_iter().map(of).collect(), has_read_all);
            prop_assert_eq!(request.phases.total_ns(), request.total_ns());
        }
    }
}
