//! The state of this stage.
//!
//! In: pieces of threads' time, requests that are over. Out: tables, each bounded, and [`Chains`] at the end
//! of a window.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::fact::asleep::{AsleepSeen, ObjectSeen, OtherProcess};
use crate::fact::sample::SampleSeen;
use crate::machine::chain::attendance::Attendance;
use crate::machine::chain::cpus::Cpus;
use crate::machine::chain::endpoints::EndpointNames;
use crate::machine::chain::feed::SleepSeen;
use crate::machine::chain::handed::{HandsOn, Wanted};
use crate::machine::chain::history::Histories;
use crate::machine::chain::known::Known;
use crate::machine::chain::lasting::LastingConnections;
use crate::machine::chain::looks::{AsleepLooks, port_of};
use crate::machine::chain::own_connections::OwnConnections;
use crate::machine::chain::place_samples::PlaceSamples;
use crate::machine::chain::releases::Releases;
use crate::machine::chain::replay::LineOf;
use crate::machine::chain::request_lines::LastLook;
use crate::machine::chain::settle::settle;
use crate::machine::chain::settling::{HowLong, Reached, Settling, waited};
use crate::machine::chain::sums::Sums;
use crate::machine::time::capacity::Span;
use crate::machine::time::short::LONG_NS;
use crate::model::chain::{Chains, Object};
use crate::model::request::{Request, Stretch};
use crate::model::whereabouts::CutOff;
use crate::phase::Phase;

/// Requests that wait to be settled. Of more, the oldest are settled with what is known.
const MAX_WAITING: usize = 16_384;
/// Connections of back ends of which it is remembered who reads them.
const MAX_CONNECTIONS: usize = 16_384;
/// A request is settled when this has passed since its end: whoever ended its waits has told by then, most
/// likely.
const SETTLED_AFTER_NS: u64 = 3_000_000_000;

/// When a request waited to be served, and its listener.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Service {
    /// When it waited; empty: known by its stretches alone.
    pub spans: Vec<Span>,
    /// Inode of its listener; 0: not known.
    pub inode: u64,
    /// What distinguishes its connection at the client's end; 0: not known.
    pub peer: u64,
    /// Nobody had accepted its connection by the window's end.
    pub in_queue: bool,
}

/// Everything that chains are followed with.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Chain {
    /// What threads did.
    pub histories: Histories,
    /// What connections have become.
    lasting: LastingConnections,
    /// What threads that slept for long were in.
    pub looks: AsleepLooks,
    /// Where in Python threads computed.
    samples: PlaceSamples,
    /// Who had CPUs for which threads waited.
    pub cpus: Cpus,
    /// Who accepts where.
    pub attendance: Attendance,
    /// Who reads each connection to a back end: the first process, and whether another does too.
    connections: BoundedMap<u64, (Tid, bool), MAX_CONNECTIONS>,
    /// Which processes hand requests to a pool.
    pub(super) handed: HandsOn,
    /// Requests that are over on their connection, and not yet complete.
    services: BoundedMap<u64, Service, MAX_WAITING>,
    endpoints: EndpointNames,
    waiting: VecDeque<Rc<Settling>>,
    /// Who released which lock.
    pub releases: Releases,
    /// Connections to itself.
    pub own_connections: OwnConnections,
    sums: Sums,
    rolled_ns: u64,
}

impl Chain {
    /// A process reads a connection to a back end.
    pub(in crate::machine) fn reads(&mut self, connection: u64, tgid: Tid) {
        if let Some((first, is_shared)) = self.connections.get_or_insert_with(connection, || (tgid, false)) {
            *is_shared |= *first != tgid;
        }
    }

    /// A thread was looked at. `own_listener`: inode of the target's listener that it is connected to; 0:
    /// none. `request`: the one that it serves; `None`: none, or which is not known.
    pub(in crate::machine) fn note_look(
        &mut self,
        seen: AsleepSeen,
        at_ns: u64,
        own_listener: u64,
        request: Option<u64>,
    ) {
        if let Some(request) = request {
            let AsleepSeen { tid, since_ns, system_call, place, .. } = seen;
            self.samples.lines.looked_at(request, LastLook { tid, at_ns, since_ns, system_call, place });
        }
        let is_ours = |process: &OtherProcess| !self.histories.of_process(process.tgid).is_empty();
        if let Some(ObjectSeen::Tcp { local, others, .. }) = &seen.object
            && (own_listener > 0 || others.iter().any(is_ours))
        {
            // What distinguishes the connection at the end that serves it.
            self.own_connections.made(port_of(local).unwrap_or(0).into());
        }
        self.note_place_of((seen.tgid, seen.tid), seen.place);
        self.looks.note(seen, at_ns, own_listener);
    }

    /// A thread computed as the clock ticked.
    pub(in crate::machine) fn note_sample(&mut self, sample: SampleSeen) {
        self.note_place_of((sample.tgid, sample.tid), sample.place);
        if sample.at_ns >= self.rolled_ns {
            let Self { samples, looks, histories, endpoints, .. } = self;
            let endpoint_of = |request| endpoints.of_request(request);
            samples.note(sample, histories, &endpoint_of, &|number| looks.place(number));
        }
    }

    /// Where in Python a thread was: its frames may say that it serves requests.
    pub(in crate::machine) fn note_place_of(&mut self, (tgid, tid): (Tid, Tid), place: Option<u32>) {
        let history = self.histories.get_mut(tid);
        if history.as_ref().is_some_and(|history| history.was_at_request())
            || !self.looks.is_in_request(place)
        {
            return;
        }
        self.handed.seen_at_request(tgid);
        if let Some(history) = history {
            history.serves_request();
        }
    }

    /// Light mode: whether a thread that waits until one of several descriptors is ready waits for work,
    /// whatever it has read before: others serve that.
    pub(in crate::machine) fn dispatches(&self, tid: Tid) -> bool {
        let history = self.histories.get(tid).filter(|history| history.dispatches());
        history.is_some_and(|history| self.handed.may_hand_on(history.tgid))
    }

    /// Nothing has been heard of a thread before the end of this interval. If a look saw it in a sleep that
    /// had begun by its start, and that waits for somebody outside, it was in that all the time.
    pub(in crate::machine) fn slept_since_before(&mut self, tid: Tid, (from_ns, until_ns): (u64, u64)) {
        let Some(look) = self.looks.last(tid) else { return };
        let seen = &look.seen;
        let (phase, object) = match &seen.object {
            _ if seen.since_ns > from_ns || look.at_ns > until_ns => return,
            Some(ObjectSeen::Tcp { peer, .. }) if look.own_listener == 0 && !peer.is_empty() => {
                (Phase::BackendWait, Object::Peer { port: port_of(peer).unwrap_or(0) })
            }
            Some(ObjectSeen::File(_)) => (Phase::FileWait, Object::Unknown),
            Some(ObjectSeen::Child(_)) => (Phase::ChildWait, Object::Unknown),
            _ => return,
        };
        let system_call = seen.system_call.map_or(-1, u32::cast_signed);
        let sleep = SleepSeen { object, since_before: true, ..SleepSeen::outside(system_call) };
        if let Some(mut entry) = self.histories.entry(seen.tgid, tid, from_ns) {
            entry.push_did(0, (from_ns, until_ns), sleep.in_phase(phase));
        }
    }

    /// A process runs another program, of this name.
    pub(in crate::machine) fn executes(&mut self, tgid: Tid, comm: &str) {
        let program = OtherProcess { tgid, comm: comm.to_owned(), ..OtherProcess::default() };
        if let Some(history) = self.histories.get_mut(tgid) {
            history.is_other_program = true;
            history.program = self.looks.number(&ObjectSeen::Child(program));
        }
    }

    /// A request is over on its connection: when it waited to be served.
    pub(in crate::machine) fn served(&mut self, request: u64, service: Service) {
        self.services.insert(request, service);
    }

    /// A connection has become something else, by the head of a response.
    pub(in crate::machine) fn lasts(&mut self, request: &Request) {
        let endpoint = self.endpoints.of(&request.http, None);
        self.endpoints.remember(request.id, endpoint);
        if let Some(became) = request.lasting() {
            self.lasting.begins(request.id, (became, endpoint), request.times.start_ns);
        }
    }

    /// That is over, or the window is.
    pub(in crate::machine) fn lasted(&mut self, request: &Request) {
        self.claim(request);
        let &Request { id, tgid, .. } = request;
        let (accepted_ns, end_ns) = (request.times.start_ns, request.times.end_ns);
        let (stretches, is_open) = (request.stretches.as_slice(), request.seen.open);
        self.find(id, &Wanted { tgid, stretches, accepted_ns, end_ns, is_open });
        self.lasting.ends(id, end_ns);
    }

    /// A request is complete. `endpoint`: its endpoint's number in the sums of the window, if it has one.
    #[inline]
    pub(in crate::machine) fn complete(&mut self, request: &Request, endpoint: Option<usize>) {
        let endpoint = self.endpoints.of(&request.http, endpoint);
        self.endpoints.remember(request.id, endpoint);
        self.samples.served(request.id, endpoint, &request.stretches);
        self.cut_off_silent(request, endpoint);
        self.samples.lines.ended(request);
        if request.total_ns() >= LONG_NS {
            self.claim(request);
        }
        let service = if self.services.is_empty() { None } else { self.services.remove(&request.id) }
            .unwrap_or_default();
        let waited = waited(&request.phases);
        if waited == HowLong::Long || self.own_connections.has(service.peer) || self.computed_in_call(request)
        {
            return self.follow(request, endpoint, service);
        }
        let (endpoints, holders) = (&mut self.endpoints, request.gil.holders.iter());
        let holders = holders.map(|holder| (endpoints.of_contender(&holder.contender), holder.wait_ns));
        self.sums.add_short((endpoint, waited == HowLong::Shortly), request, holders);
    }

    /// A request has ended unanswered: the thread that was at it, and of which nothing has been heard since,
    /// was at it up to its end.
    fn cut_off_silent(&mut self, request: &Request, endpoint: u32) {
        let Request { id, tgid, tid, .. } = *request;
        let last = request.stretches.last().copied();
        let (start_ns, end_ns) = (request.times.service_start_ns.unwrap_or(u64::MAX), request.times.end_ns);
        // Light mode hears of the first stretch when it is over.
        let last = last.unwrap_or(Stretch { tgid, tid, start_ns, end_ns: start_ns });
        let Some(known) = self.histories.get(last.tid).filter(|_| request.http.status == 0) else { return };
        let start_ns = last.end_ns.max(known.end_ns());
        if start_ns < end_ns && (known.end_ns() <= last.end_ns || known.is_at(id.saturating_add(1))) {
            self.samples.served(id, endpoint, &[Stretch { start_ns, end_ns, ..last }]);
        }
    }

    /// Whether a request computed for long in a call: that has the call's name.
    fn computed_in_call(&self, request: &Request) -> bool {
        let history = || self.histories.get(request.tid);
        request.phases.get(Phase::Cpu) >= LONG_NS
            && history().is_some_and(|history| history.in_kernel_until_ns > request.times.start_ns)
    }

    /// What threads did for a request was for it, as is known now.
    fn claim(&mut self, request: &Request) {
        let is_kept = |stretch: &&Stretch| stretch.end_ns.saturating_sub(stretch.start_ns) >= LONG_NS;
        for stretch in request.stretches.iter().filter(is_kept) {
            let interval = (stretch.start_ns, stretch.end_ns);
            self.histories.claim(stretch.tid, interval, request.id.saturating_add(1));
        }
    }

    /// A request is complete, and has a wait that is followed.
    #[inline(never)]
    fn follow(&mut self, request: &Request, endpoint: u32, service: Service) {
        if !request.seen.open {
            self.handed.answered(request);
        }
        let holders = request.gil.holders.iter();
        let holders =
            holders.map(|holder| (self.endpoints.of_contender(&holder.contender), holder.wait_ns)).collect();
        let settling = Rc::new(Settling {
            id: request.id,
            endpoint,
            tgid: if service.in_queue { self.process_at(service.inode) } else { request.tgid },
            tid: request.tid,
            start_ns: request.times.start_ns,
            end_ns: request.times.end_ns,
            phases: request.phases,
            holders,
            stretches: request.stretches.clone(),
            reached: match (service.in_queue, request.seen.open) {
                (true, _) => Reached::Queue,
                (false, true) => Reached::Server,
                (false, false) => Reached::Answer,
            },
            found: Cell::default(),
            spans: service.spans,
            inode: service.inode,
            peer: service.peer,
            back_ends: request.round_trips.ports().map(|to| (to.port, to.waited_ns)).collect(),
        });
        self.own_connections.add(&settling);
        if settling.reached == Reached::Server {
            self.find_thread(&settling);
        }
        self.waiting.push_back(settling);
        self.settle_some(request.times.end_ns);
    }

    /// Finds the thread of a pool that has a request, or had it: what it did was for that one.
    fn find_thread(&mut self, request: &Settling) {
        if request.found.get().is_some() || request.phases.get(Phase::Unexplained) < LONG_NS {
            return;
        }
        let (&Settling { tgid, end_ns, .. }, is_open) = (request, request.reached != Reached::Answer);
        let (stretches, accepted_ns) = (request.stretches.as_slice(), request.accepted_ns());
        let wanted = Wanted { tgid, stretches, accepted_ns, end_ns, is_open };
        request.found.set(self.find(request.id, &wanted));
    }

    fn find(&mut self, request: u64, wanted: &Wanted<'_>) -> Option<Stretch> {
        let found = self.handed.who_has(&self.histories, wanted)?;
        self.histories.claim(found.tid, (found.start_ns, found.end_ns), request.saturating_add(1));
        Some(found)
    }

    /// A process in whose line those wait whom nobody has accepted from a listener; 0: none is known.
    fn process_at(&self, inode: u64) -> Tid {
        let acceptor = self.attendance.acceptors(inode).first().and_then(|tid| self.histories.get(*tid));
        let worker = self.attendance.workers(inode).first().copied();
        acceptor.map(|history| history.tgid).or(worker).unwrap_or(0)
    }

    /// Settles requests that have been over for long enough, one or two for each that comes.
    fn settle_some(&mut self, now_ns: u64) {
        for _ in 0..2 {
            let is_full = self.waiting.len() > MAX_WAITING;
            let is_due =
                self.waiting.front().is_some_and(|one| one.end_ns.saturating_add(SETTLED_AFTER_NS) <= now_ns);
            if !is_full && !is_due {
                return;
            }
            let Some(request) = self.waiting.pop_front() else { return };
            self.find_thread(&request);
            if let Some(request) = self.settle(request, !is_full) {
                // Some thread has been silent since. Its call ends later, or the window does.
                self.waiting.push_back(request);
                return;
            }
        }
    }

    /// Settles a request. Returns it if more may be known of it later, and `may_wait`.
    fn settle(&mut self, request: Rc<Settling>, may_wait: bool) -> Option<Rc<Settling>> {
        self.looks.hung.all_slept_on(&mut self.histories, request.end_ns);
        let connections = &self.connections;
        let known = Known {
            histories: &self.histories,
            attendance: &self.attendance,
            looks: &self.looks,
            cpus: &self.cpus,
            releases: &self.releases,
            endpoint_of: &|request| self.endpoints.of_request(request),
            hands_on: &|tgid| self.handed.may_hand_on(tgid),
            lasting: &|request, at_ns| self.lasting.at(request, at_ns),
            is_shared: &|connection| connections.get(&connection).is_some_and(|(_, is_shared)| *is_shared),
            over: &|connection| self.own_connections.over(connection),
        };
        let settled = settle(known, &request);
        if settled.is_incomplete && may_wait {
            return Some(request);
        }
        self.sums.add(&request, settled);
        None
    }

    /// The window has ended: all requests are settled. `slowest`, `cut_off`: requests of which it is wanted
    /// where they were.
    pub(in crate::machine) fn finish(
        mut self,
        name_of: &dyn Fn(Tid) -> String,
        slowest: impl Iterator<Item = u64>,
        cut_off: &[CutOff],
    ) -> Chains {
        // Who waits behind a thread waits for the request that it is at.
        for request in std::mem::take(&mut self.waiting) {
            self.find_thread(&request);
            self.waiting.push_back(request);
        }
        while let Some(request) = self.waiting.pop_front() {
            self.settle(request, false);
        }
        let Self { endpoints, histories, attendance, looks, cpus, mut samples, sums, .. } = self;
        let line_of = |tgid| line_of(&histories, &attendance, tgid);
        let endpoint_of = |request| endpoints.of_request(request);
        let chains = sums.finish(endpoints.names(), &endpoint_of, name_of, line_of);
        let mut chains =
            Chains { objects: looks.objects(), programs: cpus.programs(), own: looks.own(), ..chains };
        let place_of = |number| looks.place(number);
        (chains.computed, chains.waited) = samples.finish(&histories, &endpoint_of, &place_of);
        chains.whereabouts = samples.lines.finish(slowest, cut_off, &histories, &place_of);
        chains.places =
            chains.numbers_of_places().filter_map(|number| looks.place(number).cloned()).collect();
        chains.place_computing();
        chains
    }

    /// The next window begins.
    pub(in crate::machine) fn roll(&mut self, time_ns: u64) {
        self.waiting.clear();
        self.sums = Sums::default();
        // Requests that are open may have waited for what ended in the window before.
        self.histories.forget_ended(self.rolled_ns);
        self.releases.roll(self.rolled_ns);
        self.cpus.roll(self.rolled_ns);
        let Self { samples, looks, histories, endpoints, .. } = self;
        let endpoint_of = |request| endpoints.of_request(request);
        samples.roll(histories, &endpoint_of, &|number| looks.place(number));
        self.samples.lines.roll(self.rolled_ns);
        self.lasting.roll(self.rolled_ns);
        if self.looks.roll(self.rolled_ns) {
            self.histories.forget_programs();
        }
        self.rolled_ns = time_ns;
        self.endpoints.roll();
        self.own_connections.roll();
        let histories = &self.histories;
        self.attendance.retain(|tid| histories.get(tid).is_some());
        self.handed.roll(histories);
        self.connections.clear();
    }

    /// What found no place.
    pub(in crate::machine) const fn evicted(&self) -> u64 {
        self.histories.evicted()
            + self.attendance.evicted()
            + self.looks.hung.evicted()
            + self.connections.evicted()
            + self.lasting.evicted()
            + self.services.evicted()
            + self.handed.evicted()
            + self.own_connections.evicted()
            + self.releases.evicted()
            + self.looks.evicted()
            + self.cpus.evicted()
            + self.samples.evicted()
            + self.sums.evicted()
    }
}

/// Where a process takes its requests from: from a queue of its own, if its threads are handed them, or else
/// from its listener.
fn line_of(histories: &Histories, attendance: &Attendance, tgid: Tid) -> LineOf {
    /// Numbers of processes do not reach this bit.
    const LISTENER: u64 = 1 << 63;
    let threads = || histories.of_process(tgid).iter().filter_map(|tid| Some((*tid, histories.get(*tid)?)));
    let slots = threads().filter(|(_, history)| history.is_slot).count();
    let is_handed = threads().any(|(_, history)| history.accepts && !history.is_slot);
    // Who hangs since before accepts nowhere.
    let of_worker = || attendance.listener_of_worker(tgid);
    let listener = threads().find_map(|(tid, _)| attendance.listener_of(tid)).or_else(of_worker);
    let listener = listener.filter(|_| !is_handed);
    LineOf { line: listener.map_or_else(|| tgid.into(), |inode| inode | LISTENER), slots }
}
