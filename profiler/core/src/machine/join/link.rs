//! Which request of a front end is which of the server behind it. Pairs the two ends of their connections.
//!
//! In: connects, writes, reads and closes of a front end's threads on sockets to the server behind; what the
//! server's side shows of the connections it accepts. Out: pairs, and requests with both halves. The evidence
//! is the connection itself (the port of TCP, the socket of UNIX), if both sides know it. Otherwise
//! evidence is exact if nobody else did the same at the same moment: the server's handshake ended within the
//! connect, and its first byte arrived within the write. Of several the oldest is taken, as ambiguous.

mod awaits;
mod crossed;
mod fit;
mod socket;

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use self::awaits::{AwaitsInner, is_late};
pub use self::crossed::Crossed;
use self::fit::{Fit, fit};
use self::socket::FrontSocket;
use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::join::compose::{Inner, compose, of_front_end};
use crate::machine::wire::tail::Tail;
use crate::machine::wire::trail::Trail;
use crate::model::request::Request;

/// Length of mod_wsgi's `Status: 200 Continue` before it reads a body (4 to 6, `wsgi_execute_script`).
pub(in crate::machine) const CONTINUE_BYTES: u64 = 24;
/// Ends of connections followed at once.
const MAX_ENDS: usize = 65_536;
/// Requests of the server that wait for their other half.
const MAX_ORPHANS: usize = 1024;
/// The server's own errors that are kept until asked for, which is whenever requests are released.
const MAX_ERRORS: usize = 4096;
/// From this status on, an answer may be the front end's own report of what it met at the server.
const LOWEST_ERROR: u16 = 500;

/// A request of the front end: number of its connection, and its own.
pub type Outer = (u32, u64);

/// Results of pairing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of a front end joined with the server's.
    pub joined: u64,
    /// Halves for which more than one connection fitted.
    pub ambiguous: u64,
    /// Halves whose other half was not found.
    pub unpaired: u64,
}

/// The server's side of a connection, as far as it identifies the connection.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Dense number of the connection.
    pub connection: u64,
    /// The connection was open before tracing began.
    pub seeded: bool,
    /// The connection is over a UNIX socket.
    pub is_unix: bool,
    /// Port of the server's listener.
    pub port: u16,
    /// What distinguishes it from others, as the other end knows it; 0: not known.
    pub identity: u64,
    /// End of the handshake; 0: not seen.
    pub established_ns: u64,
    /// When accept returned it.
    pub accepted_ns: u64,
    /// When its first byte arrived; `None`: not measured.
    pub arrival_ns: Option<u64>,
    /// The connection ended with the answer.
    pub ended: bool,
}

/// Whom a front end connected to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// Port; `None`: a UNIX socket.
    pub port: Option<u16>,
    /// What distinguishes the connection from others; 0: not known.
    pub identity: u64,
}

/// Requests of which both halves are over.
pub type Ready = Vec<Request>;

/// A request that the server is done with, and its account piece by piece.
pub type CompletedHalf = (Box<Request>, Tail);

/// What became of a request of the server's.
#[derive(Debug)]
pub enum Half {
    /// The request belongs to one of the front end's.
    Joined(Ready),
    /// Its other half may still come.
    Pending,
    /// The request came from somebody else than the front end.
    Own(Box<Request>),
}

/// All connections between a front end and the server behind it.
#[derive(Clone, Debug, Default)]
pub struct Links {
    ends: BoundedMap<u64, FrontSocket, MAX_ENDS>,
    next_end: u64,
    of_descriptor: FxHashMap<(Tid, i32), u64>,
    /// Ends whose other side is not known yet, oldest first.
    unpaired: VecDeque<u64>,
    /// End of each of the server's connections.
    of_connection: FxHashMap<u64, u64>,
    waiting: BoundedMap<u64, AwaitsInner, MAX_ENDS>,
    orphans: Vec<(Evidence, CompletedHalf)>,
    /// Ports that the server behind listens on.
    pub ports: FxHashSet<u16>,
    /// What ended before counts nowhere.
    watch_start_ns: u64,
    /// Results of pairing.
    pub counts: Counts,
    /// Where the requests that were joined spent their time.
    pub crossed: Crossed,
    /// Requests of the front end with an error that was the server's own answer, since they were last taken.
    errors: Vec<u64>,
    /// The request of the front end that was joined last with one of the server's.
    settled: Option<Outer>,
}

impl Links {
    /// A thread of the front end connected for the request `outer`, between these two times. Returns whether
    /// the request now has a half at the server.
    pub fn connect(
        &mut self,
        descriptor: (Tid, i32),
        peer: Peer,
        connect_ns: (u64, u64),
        outer: Option<Outer>,
    ) -> bool {
        if peer.port.is_some_and(|port| !self.ports.contains(&port)) {
            return false;
        }
        let Some(number) = self.open(descriptor, peer, Some(connect_ns)) else { return false };
        outer.is_some_and(|outer| self.send(number, outer))
    }

    fn open(&mut self, descriptor: (Tid, i32), peer: Peer, connect_ns: Option<(u64, u64)>) -> Option<u64> {
        self.close(descriptor, connect_ns.map_or(0, |(enter_ns, _)| enter_ns));
        let number = self.next_end;
        let end = FrontSocket {
            is_unix: peer.port.is_none(),
            port: peer.port.unwrap_or(0),
            identity: peer.identity,
            connect_ns,
            first_write_ns: None,
            unanswered: VecDeque::new(),
            asked: None,
            turned: false,
            paired: false,
            closed_ns: None,
        };
        if !self.ends.insert(number, end) {
            return None;
        }
        self.next_end = self.next_end.saturating_add(1);
        self.of_descriptor.insert(descriptor, number);
        self.unpaired.push_back(number);
        Some(number)
    }

    fn send(&mut self, number: u64, outer: Outer) -> bool {
        let Some(end) = self.ends.get_mut(&number) else { return false };
        // The server may be done before the front end's write returns: until that reads, it is one request.
        if end.asked == Some(outer) && !end.turned {
            return false;
        }
        let Some(waiting) = self.waiting.get_or_default(outer.1) else { return false };
        end.turned = false;
        end.unanswered.push_back(outer);
        end.asked = Some(outer);
        waiting.unanswered = waiting.unanswered.saturating_add(1);
        waiting.has_ended = false;
        true
    }

    /// A thread of the front end wrote to a socket that it had connected, for the request `outer` if that is
    /// known. `peer` says where to, if the connect was not seen.
    pub fn wrote(
        &mut self,
        descriptor: (Tid, i32),
        peer: Peer,
        write_ns: (u64, u64),
        outer: Option<Outer>,
    ) -> bool {
        let known = self.of_descriptor.get(&descriptor).copied();
        let is_ours = peer.port.is_none_or(|port| self.ports.contains(&port));
        let number = match known {
            Some(number) => Some(number),
            None if is_ours && outer.is_some() => self.open(descriptor, peer, None),
            None => None,
        };
        let Some(end) = number.and_then(|number| self.ends.get_mut(&number)) else { return false };
        end.first_write_ns.get_or_insert(write_ns);
        // A request that continues after an interim answer is one; the next on the connection is another.
        let is_new = end.unanswered.is_empty() || end.turned && end.unanswered.back().copied() != outer;
        let is_sent = match (outer, number) {
            (Some(outer), Some(number)) if is_new => self.send(number, outer),
            _ => false,
        };
        if let Some(waiting) = outer.and_then(|outer| self.waiting.get_mut(&outer.1))
            && waiting.sent_ns == 0
        {
            waiting.sent_ns = write_ns.0;
        }
        is_sent
    }

    /// The server answered, in part at least.
    pub fn read(&mut self, descriptor: (Tid, i32), bytes: u64, exit_ns: u64) {
        if let Some(end) = self.of_descriptor.get(&descriptor).and_then(|number| self.ends.get_mut(number)) {
            end.turned = true;
            if let Some(waiting) = end.asked.and_then(|asked| self.waiting.get_mut(&asked.1)) {
                waiting.answered_ns = exit_ns;
                waiting.read_bytes = waiting.read_bytes.saturating_add(bytes);
            }
        }
    }

    /// The front end's request that was sent last over this connection, if the server has answered since.
    pub fn answered_on(&self, descriptor: (Tid, i32)) -> Option<Outer> {
        let end = self.ends.get(self.of_descriptor.get(&descriptor)?)?;
        end.asked.filter(|_| end.turned)
    }

    /// Whether the server has nothing left to send for a request of the front end. If the answer ends with
    /// its connection, that end is still to come.
    pub fn has_all(&self, request: u64) -> bool {
        self.waiting.get(&request).is_none_or(|waiting| {
            waiting.unanswered == 0
                && waiting.has_read_all()
                && (waiting.has_ended || !waiting.inners.iter().any(|inner| inner.ends_with_connection))
        })
    }

    /// The front end closed the socket. A request for which it never sent anything has no half at the server.
    pub fn close(&mut self, descriptor: (Tid, i32), at_ns: u64) {
        let Some(number) = self.of_descriptor.remove(&descriptor) else { return };
        let Some(end) = self.ends.get_mut(&number) else { return };
        end.closed_ns = Some(at_ns);
        if let Some(waiting) = end.asked.and_then(|asked| self.waiting.get_mut(&asked.1)) {
            waiting.has_ended = true;
        }
        if end.first_write_ns.is_none() {
            for outer in std::mem::take(&mut end.unanswered) {
                if let Some(waiting) = self.waiting.get_mut(&outer.1) {
                    waiting.unanswered = waiting.unanswered.saturating_sub(1);
                }
            }
        }
        self.forget_if_done(number);
    }

    /// A process of the front end has ended, and all that it had open with it.
    pub fn process_ends(&mut self, tgid: Tid, at_ns: u64) {
        let open: Vec<_> = self.of_descriptor.keys().filter(|(holder, _)| *holder == tgid).copied().collect();
        for descriptor in open {
            self.close(descriptor, at_ns);
        }
    }

    fn forget_if_done(&mut self, number: u64) {
        let done = |end: &FrontSocket| end.closed_ns.is_some() && end.unanswered.is_empty();
        if self.ends.get(&number).is_some_and(done) {
            self.ends.remove(&number);
            self.unpaired.retain(|other| *other != number);
        }
    }

    /// The front end's request behind a connection of the server, if that is certain by now.
    pub fn outer_of(&mut self, evidence: &Evidence) -> Option<Outer> {
        let number = self.end_of(evidence)?;
        self.ends.get(&number)?.unanswered.front().copied()
    }

    /// The front end's end of a connection of the server, if that is certain by now.
    pub fn end_of(&mut self, evidence: &Evidence) -> Option<u64> {
        self.pair(evidence, false)
    }

    /// The end of this connection. `at_last`: it does not wait for more evidence.
    fn pair(&mut self, evidence: &Evidence, at_last: bool) -> Option<u64> {
        if let Some(number) = self.of_connection.get(&evidence.connection) {
            return Some(*number);
        }
        if let Some(number) = self.same(evidence) {
            self.take(number, evidence.connection);
            return Some(number);
        }
        let mut exact = Vec::new();
        let mut possible = Vec::new();
        let mut unwritten = Vec::new();
        for number in &self.unpaired {
            let Some(end) = self.ends.get(number) else { continue };
            match fit(end, evidence) {
                Fit::Exact => exact.push(*number),
                Fit::Possible => possible.push(*number),
                Fit::Unwritten => unwritten.push(*number),
                Fit::No => {}
            }
        }
        let (chosen, is_ambiguous) = match (exact.as_slice(), unwritten.as_slice(), possible.as_slice()) {
            ([only], [], _) => (*only, false),
            _ if !at_last => return None,
            ([first, rest @ ..], _, _) => (*first, !rest.is_empty()),
            ([], [only], []) => (*only, false),
            ([], [], [first, ..]) => (*first, true),
            // A write is still under way: it will show which.
            _ => return None,
        };
        self.take(chosen, evidence.connection);
        self.counts.ambiguous = self.counts.ambiguous.saturating_add(u64::from(is_ambiguous));
        Some(chosen)
    }

    /// The end that is this very connection. Ports and addresses are reused, so it is the last end that began
    /// before the server had the connection.
    fn same(&self, evidence: &Evidence) -> Option<u64> {
        if evidence.identity == 0 {
            return None;
        }
        let fits = |number: &&u64| {
            self.ends.get(number).is_some_and(|end| {
                end.identity == evidence.identity
                    && end.is_unix == evidence.is_unix
                    && end.port == evidence.port
                    && (evidence.seeded || end.began_ns() <= evidence.accepted_ns)
            })
        };
        let began_ns = |number: &&u64| self.ends.get(number).map_or(0, FrontSocket::began_ns);
        self.unpaired.iter().filter(fits).max_by_key(began_ns).copied()
    }

    fn take(&mut self, number: u64, connection: u64) {
        if let Some(end) = self.ends.get_mut(&number) {
            end.paired = true;
        }
        self.unpaired.retain(|other| *other != number);
        self.of_connection.insert(connection, number);
    }

    /// The server has finished a request.
    pub fn inner_done(&mut self, evidence: &Evidence, done: CompletedHalf, may_be_own: bool) -> Half {
        if let Some(number) = self.asked_on(evidence, &done.0) {
            return Half::Joined(self.join(number, done, evidence));
        }
        let mut ends = self.unpaired.iter().filter_map(|number| self.ends.get(number));
        let is_paired = self.of_connection.contains_key(&evidence.connection);
        let may_come = is_paired || ends.any(|end| fit(end, evidence) != Fit::No);
        if !may_come && may_be_own {
            return Half::Own(done.0);
        }
        if !may_come || self.orphans.len() >= MAX_ORPHANS {
            self.count_unpaired(&done.0, 1);
            return Half::Joined(Vec::new());
        }
        self.orphans.push((*evidence, done));
        Half::Pending
    }

    /// The end on which the front end is known to have asked for this. A write on a kept connection may
    /// return after the server is done. An end that is forgotten asks for nothing more: there it is
    /// joined with nobody. Whoever asked for something else there is forgotten too.
    fn asked_on(&mut self, evidence: &Evidence, request: &Request) -> Option<u64> {
        let number = self.pair(evidence, true)?;
        let Some(end) = self.ends.get_mut(&number) else { return Some(number) };
        let times = &request.times;
        let arrival_ns = if times.start_is_arrival { times.start_ns } else { 0 };
        let waiting = |outer: &Outer| self.waiting.get(&outer.1);
        // Who is waited for no more, or was over before this arrived, had asked for something else.
        while let Some(outer) = end.unanswered.front()
            && waiting(outer).is_none_or(|waiting| waiting.was_over(arrival_ns))
        {
            end.unanswered.pop_front();
        }
        // What was sent after the server was done is another request.
        let asked = end.unanswered.front().and_then(waiting)?;
        (asked.sent_ns <= times.end_ns).then_some(number)
    }

    /// Looks again for the other halves of what the server has finished.
    pub fn retry(&mut self) -> Ready {
        let mut ready = Vec::new();
        for (evidence, done) in std::mem::take(&mut self.orphans) {
            match self.asked_on(&evidence, &done.0) {
                Some(number) => ready.extend(self.join(number, done, &evidence)),
                None => self.orphans.push((evidence, done)),
            }
        }
        ready
    }

    /// Whether anything the server has finished waits for its other half.
    pub const fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    fn join(&mut self, number: u64, (request, tail): CompletedHalf, evidence: &Evidence) -> Ready {
        let outer = self.ends.get_mut(&number).and_then(|end| end.unanswered.pop_front());
        self.forget_if_done(number);
        let Some(waiting) = outer.and_then(|outer| self.waiting.get_mut(&outer.1)) else {
            self.count_unpaired(&request, 1);
            return Vec::new();
        };
        waiting.unanswered = waiting.unanswered.saturating_sub(1);
        self.settled = outer;
        waiting.inners.push(Inner {
            start_ns: request.times.start_ns,
            end_ns: request.times.end_ns,
            phases: request.phases,
            tail,
            who: (request.tgid, request.tid),
            slot: request.slot,
            stretches: request.stretches,
            round_trips: request.round_trips,
            gil_holders: request.gil.holders,
            gil_waits: request.gil.waits,
            http: request.http,
            lossy: request.seen.lossy,
            ends_with_connection: evidence.ended,
        });
        match outer {
            Some((_, outer)) if waiting.unanswered == 0 => self.release(outer).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn release(&mut self, outer: u64) -> Option<Request> {
        // Not over yet on the front end's side: `outer_done` will release it.
        self.waiting.get(&outer)?.held.as_ref()?;
        let mut waiting = self.waiting.remove(&outer)?;
        let (request, trail) = *waiting.held.take()?;
        if let [inner] = waiting.inners.as_slice()
            && self.counts_in(&request)
        {
            self.crossed.add(&request, inner, (waiting.sent_ns, waiting.answered_ns));
        }
        Some(self.put_together(request, &trail, waiting))
    }

    fn put_together(&mut self, mut request: Request, trail: &Trail, waiting: AwaitsInner) -> Request {
        let has_read_all = waiting.has_read_all();
        let inners = waiting.inners;
        self.count_unpaired(&request, u64::from(waiting.unanswered));
        let is_joined = !inners.is_empty() && self.counts_in(&request);
        self.counts.joined = self.counts.joined.saturating_add(u64::from(is_joined));
        let last = inners.iter().max_by_key(|inner| inner.start_ns);
        let answer = last.map(|inner| (inner.http.status, inner.http.bytes_out));
        let left_out = compose(&mut request, trail, inners, has_read_all);
        // The protocol of mod_wsgi's daemon shows no status. If the application answered, the daemon sends
        // more than the interim answer. A daemon that refuses sends no more: the front end answers.
        let is_passed_on = answer.is_some_and(|(status, bytes_out)| match status {
            0 => bytes_out > CONTINUE_BYTES,
            status => status == request.http.status,
        });
        if request.http.status >= LOWEST_ERROR && is_passed_on && self.errors.len() < MAX_ERRORS {
            self.errors.push(request.id);
        }
        self.counts.ambiguous = self.counts.ambiguous.saturating_add(left_out);
        request
    }

    /// The front end's request that was joined last since the previous call. The front end may have been done
    /// with it before the server's side was known to be.
    pub const fn take_settled(&mut self) -> Option<Outer> {
        self.settled.take()
    }

    /// Requests whose error was the server's own answer, since the previous call.
    pub fn take_errors(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.errors)
    }

    /// The front end has finished a request. Returns it if the server has finished too.
    pub fn outer_done(&mut self, mut request: Request, trail: Option<Trail>) -> Option<Request> {
        let outer = request.id;
        if let Some(trail) = trail
            && let Some(waiting) = self.waiting.get_mut(&outer)
        {
            waiting.held = Some(Box::new((request, trail)));
            return if waiting.unanswered == 0 { self.release(outer) } else { None };
        }
        // Without a trail nothing can be put together, whatever the server still does for it.
        self.waiting.remove(&outer);
        request.phases = of_front_end(&request.phases);
        Some(request)
    }

    /// Whether a request of the front end has waited too long by `now_ns`.
    pub fn is_late(&self, now_ns: u64) -> bool {
        self.waiting.values().any(|waiting| waiting.is_late(now_ns))
    }

    /// What has waited too long by `now_ns` waits no more. `in_hand`: ends of connections on which the server
    /// has a request under way. The front end has given up what it closed such a connection for, and the
    /// server knows nothing of that.
    pub fn expire(&mut self, now_ns: u64, in_hand: &FxHashSet<u64>) -> Ready {
        let late = |end_ns: u64| is_late(end_ns, now_ns);
        let given_up = in_hand.iter().filter_map(|number| self.ends.get(number));
        let given_up = given_up.filter(|end| end.closed_ns.is_some()).flat_map(|end| &end.unanswered);
        let given_up: FxHashSet<u64> = given_up.map(|outer| outer.1).collect();
        let mut outers: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(outer, waiting)| waiting.is_late(now_ns) && !given_up.contains(outer))
            .map(|(outer, _)| *outer)
            .collect();
        // The order of what comes out must not depend on a hash.
        outers.sort_unstable();
        let ready: Ready = outers.into_iter().filter_map(|outer| self.release(outer)).collect();
        let (gone, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|(_, (request, _))| late(request.times.end_ns));
        self.orphans = waiting;
        for (_, (request, _)) in gone {
            self.count_unpaired(&request, 1);
        }
        let gone: Vec<u64> = self
            .ends
            .iter()
            .filter(|(number, end)| end.closed_ns.is_some_and(late) && !in_hand.contains(number))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.ends.remove(&number);
            self.unpaired.retain(|other| *other != number);
        }
        let ends = &self.ends;
        self.of_connection.retain(|_, number| ends.contains_key(number));
        ready
    }

    /// Whether a request ended since the watch began.
    const fn counts_in(&self, request: &Request) -> bool {
        request.times.end_ns >= self.watch_start_ns
    }

    /// So many other halves of a request were not found.
    const fn count_unpaired(&mut self, request: &Request, halves: u64) {
        if self.counts_in(request) {
            self.counts.unpaired = self.counts.unpaired.saturating_add(halves);
        }
    }

    /// The watch begins.
    pub fn start(&mut self, time_ns: u64) {
        self.watch_start_ns = time_ns;
        (self.counts, self.crossed) = (Counts::default(), Crossed::default());
    }

    /// The next window begins.
    pub fn roll(&mut self) {
        self.counts = Counts::default();
        self.crossed = Crossed::default();
    }

    /// Ends and halves that found no place.
    pub const fn evicted(&self) -> u64 {
        self.ends.evicted() + self.waiting.evicted()
    }

    /// The server's connection is gone.
    pub fn connection_gone(&mut self, connection: u64) {
        // The write that asked for the last request may not have returned.
        if !self.orphans.iter().any(|(evidence, _)| evidence.connection == connection) {
            self.of_connection.remove(&connection);
        }
    }
}

#[cfg(test)]
#[path = "link/tests.rs"]
mod tests;
