//! Time that a thread spent for a request and whose account comes later.
//!
//! In: a stretch in which a thread of a loop's pool worked for a request, while the slice that has this time
//! is not over; that slice's pieces, once it is. Out: what the thread surely did in the stretch.
//!
//! A thread hands its result to the loop and releases the interpreter lock. Only then does it make the call
//! by which it wakes the loop. If the loop waits for that lock, it answers the request before that call
//! begins. Such a request waits here for the account, for at most 100 ms of the stream's time.
//!
//! Where in the stretch the thread handed its result over is not known. What the thread waits for after that
//! (a CPU, a lock) belongs to no request, so such waits are never reported. What it runs until that call is
//! next to nothing.

use crate::event::Tid;
use crate::machine::time::piece::Piece;
use crate::machine::wire::connection::Connections;
use crate::machine::wire::request::RequestKey;
use crate::model::request::Request;
use crate::phase::Phases;

/// Stretches, and finished requests, kept at once. What has no room stays unexplained.
const MAX_KEPT: usize = 256;
/// A request that has been over for longer is complete without the account.
const LONGEST_NS: u64 = 100_000_000;

/// A stretch of a request's time, unexplained so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The request.
    pub key: RequestKey,
    /// The thread that worked for it.
    pub tid: Tid,
    /// Start.
    pub from_ns: u64,
    /// End.
    pub until_ns: u64,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Late {
    owed: Vec<Owed>,
    requests: Vec<Request>,
}

impl Late {
    /// Whether nothing is awaited.
    pub const fn is_empty(&self) -> bool {
        self.owed.is_empty() && self.requests.is_empty()
    }

    /// A stretch whose account is to come. Returns whether it is kept. It is not where it is empty, or there
    /// is no room.
    pub fn owe(&mut self, part: Owed) -> bool {
        let is_kept = self.owed.len() < MAX_KEPT && part.from_ns < part.until_ns;
        if is_kept {
            self.owed.push(part);
        }
        is_kept
    }

    /// Whether the account of some of a request's time is still to come.
    pub fn is_owed(&self, request: u64) -> bool {
        self.owed.iter().any(|part| part.key.1 == request)
    }

    /// A request is over, and the account of some of its time is still to come. Comes back where there is no
    /// room.
    pub fn keep(&mut self, request: Box<Request>) -> Option<Box<Request>> {
        if self.requests.len() >= MAX_KEPT {
            self.owed.retain(|part| part.key.1 != request.id);
            return Some(request);
        }
        self.requests.push(*request);
        None
    }

    /// These pieces of a thread are known now, up to `end_ns`. Returns what the thread surely did in the
    /// stretches, by request.
    pub fn arrive(&mut self, tid: Tid, pieces: [Option<Piece>; 2], end_ns: u64) -> Vec<(RequestKey, Phases)> {
        let mut told = Vec::new();
        self.owed.retain_mut(|part| {
            if part.tid != tid {
                return true;
            }
            let mut known = Phases::default();
            for piece in pieces.iter().flatten() {
                known.add_all(&piece.surely_done_within(part.from_ns, part.until_ns));
            }
            told.push((part.key, known));
            part.from_ns = part.from_ns.max(end_ns);
            part.from_ns < part.until_ns
        });
        told
    }

    /// These pieces of a thread are known now, up to `end_ns`: requests have what the thread surely did for
    /// them, whether they are over or not.
    pub fn explain(
        &mut self,
        connections: &mut Connections,
        tid: Tid,
        pieces: [Option<Piece>; 2],
        end_ns: u64,
    ) {
        for (key, known) in self.arrive(tid, pieces, end_ns) {
            if let Some(request) = self.request(key.1) {
                request.phases.explain(&known);
            } else if let Some(active) = connections.active_mut(key) {
                active.request.phases.explain(&known);
            }
        }
    }

    /// A request that is over and waits here.
    pub fn request(&mut self, id: u64) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    /// The finished requests that wait for nothing any more, or have waited for too long at `now_ns`.
    pub fn take_complete(&mut self, now_ns: u64) -> Vec<Request> {
        let owed = &self.owed;
        let is_complete = |request: &Request| {
            let is_old = request.times.end_ns.saturating_add(LONGEST_NS) < now_ns;
            is_old || !owed.iter().any(|part| part.key.1 == request.id)
        };
        let complete: Vec<Request> = self.requests.extract_if(.., |request| is_complete(request)).collect();
        self.forget(complete)
    }

    /// A process has ended: its requests that are over wait for nothing any more.
    pub fn process_ends(&mut self, tgid: Tid) -> Vec<Request> {
        let ended = self.requests.extract_if(.., |request| request.tgid == tgid).collect();
        self.forget(ended)
    }

    /// Nothing more comes for these requests.
    fn forget(&mut self, requests: Vec<Request>) -> Vec<Request> {
        self.owed.retain(|part| !requests.iter().any(|request| request.id == part.key.1));
        requests
    }

    /// Nothing more comes: the requests that are over.
    pub fn take_all(&mut self) -> Vec<Request> {
        self.owed.clear();
        std::mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};
    use crate::phase::Phase;

    fn request(id: u64, end_ns: u64) -> Box<Request> {
        let beginning = Beginning { connection: 1, ..Beginning::at(id, 0) };
        let mut request = Active::new(&beginning, 1, 2).request;
        request.times.end_ns = end_ns;
        request
    }

    const fn part(id: u64, tid: Tid, from_ns: u64, until_ns: u64) -> Owed {
        Owed { key: (0, id), tid, from_ns, until_ns }
    }

    #[test]
    fn a_request_is_complete_once_all_its_stretches_are_told() {
        let mut late = Late::default();
        assert!(late.owe(part(5, 2, 100, 200)) && late.owe(part(5, 3, 300, 400)));
        assert!(late.is_owed(5) && !late.is_owed(6));
        assert!(late.keep(request(5, 500)).is_none());
        let piece = [Some(Piece::unknown(50, 150)), None];
        // Another thread's, and the first half of one.
        assert!(late.arrive(9, piece, 1000).is_empty());
        assert_eq!(late.arrive(2, piece, 150).len(), 1);
        assert!(late.take_complete(600).is_empty());
        assert_eq!(late.arrive(2, [None; 2], 250).len(), 1);
        assert!(late.arrive(2, [None; 2], 300).is_empty());
        assert_eq!(late.arrive(3, [None; 2], 1000).len(), 1);
        assert_eq!(late.take_complete(600).len(), 1);
        assert!(late.is_empty());
    }

    #[test]
    fn a_request_that_has_waited_for_too_long_is_complete_and_is_owed_nothing_any_more() {
        let mut late = Late::default();
        assert!(late.owe(part(5, 2, 100, 200)));
        assert!(late.keep(request(5, 500)).is_none());
        assert!(late.take_complete(500 + LONGEST_NS).is_empty());
        assert_eq!(late.take_complete(501 + LONGEST_NS).len(), 1);
        assert!(late.is_empty() && !late.is_owed(5));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_has_no_room_comes_back() {
        let mut late = Late::default();
        assert!(!late.owe(part(1, 2, 100, 100)), "an empty stretch");
        for id in 0..MAX_KEPT as u64 {
            assert!(late.owe(part(id, 2, 100, 200)));
            assert!(late.keep(request(id, 500)).is_none());
        }
        assert!(!late.owe(part(1, 2, 100, 200)));
        assert!(late.keep(request(1, 500)).is_some());
        assert!(late.process_ends(9).is_empty());
        assert_eq!(late.process_ends(1).len(), MAX_KEPT);
        assert!(late.is_empty() && late.take_all().is_empty());
    }

    #[test]
    fn a_request_that_comes_back_for_want_of_room_leaves_room_for_the_stretch_of_another() {
        let mut late = Late::default();
        for id in 0..MAX_KEPT as u64 {
            assert!(late.owe(part(id, 2, 100, 200)));
            assert!(late.keep(request(1000 + id, 500)).is_none());
        }
        assert!(!late.owe(part(900, 2, 100, 200)));
        assert!(late.keep(request(7, 500)).is_some());
        assert!(!late.is_owed(7) && late.owe(part(900, 2, 100, 200)), "nobody asks for its account any more");
    }

    #[test]
    fn of_a_part_of_a_piece_only_what_the_rest_of_it_cannot_hold_is_told() {
        // 1000 ns: 700 on a CPU, 300 in the run queue, in an order that is not known.
        let mut piece = Piece::unknown(1000, 2000);
        piece.account = crate::fact::Account { cpu_ns: 700, run_queue_ns: 300, blocked_ns: 0 };
        piece.cpu = Phase::Cpu;
        let mut late = Late::default();
        assert!(late.owe(part(5, 2, 1000, 1800)));
        let told = late.arrive(2, [Some(piece), None], 2000);
        // The other 200 ns may have been CPU, or run queue. What it waited for may have come after its
        // result.
        let known: Vec<_> = told.iter().flat_map(|(_, known)| known.iter()).collect();
        assert_eq!(known, [(Phase::Cpu, 500)]);
    }
}
