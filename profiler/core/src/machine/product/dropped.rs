//! Why connections were not served: each that ends gets one verdict.
//!
//! In: ends of connections and processes, evidence of the kernel, failing accepts, losses. Out: [`Dropped`].
//! The last sign may come after the end: the reset of a client that had left takes a round trip. So a verdict
//! waits for a second. If records were lost during the connection's last request, they may have explained its
//! end. Then it is undecided, unless it was seen to be served.

mod accept;
mod process;

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use self::accept::Accepts;
use self::process::ProcessEnds;

use crate::bounded::BoundedMap;
use crate::event::{Connection as Opened, ConnectionEvidence, Evidence, Sign, Tid};
use crate::fact::open_files::OpenFiles;
use crate::machine::product::gone::{Gone, Standing};
use crate::machine::product::inside::Inside;
use crate::machine::product::judge::{Scene, Verdict, judge};
use crate::machine::wire::ending::Ended;
use crate::machine::wire::origin::{Origin, Side};
use crate::machine::wire::signs::Signs;
use crate::machine::world::living::Living;
use crate::machine::world::lost::Lost;
use crate::model::dropped::{Asked, Cause, Counted, Dropped, Example};
use crate::model::whereabouts::CutOff;
use crate::server::OwnLimit;
use crate::timeline::Entry;

/// How long after its end a connection's signs are waited for.
const GRACE_NS: u64 = 1_000_000_000;
/// Connections that wait for their verdict together; beyond it the oldest gets it at once.
const MAX_ENDED: usize = 65_536;
/// Connections of which something is known before they are accepted.
const MAX_WAITING: usize = 65_536;
/// Examples kept of each cause.
const MAX_EXAMPLES: usize = 5;
/// A connection that nobody has accepted.
#[derive(Clone, Debug, Default)]
struct Unaccepted {
    established_ns: u64,
    /// Accepted by somebody: not lost in the queue, whoever has it.
    taken: bool,
    /// Its client had left before that.
    left_in_queue: bool,
    signs: Signs,
}

/// What became of connections.
#[derive(Clone, Debug)]
pub struct Drops {
    /// What ended before is no part of any window.
    from_ns: u64,
    /// By a socket's address: its generation, and where its connection stands.
    sockets: BoundedMap<u64, (u32, Standing), { 2 * MAX_ENDED }>,
    /// Where connections that are gone stand, by their ports.
    ports: FxHashMap<(u16, u16), Standing>,
    waiting: BoundedMap<(u64, u32), Unaccepted, MAX_WAITING>,
    gone: Gone,
    accepts: Accepts,
    processes: ProcessEnds,
    /// Connections between a front end and the server that ended too early.
    inside: Inside,
    /// When records were lost.
    pub lost: Lost,
    /// Name of the kind of server.
    kind: &'static str,
    /// The latest moment at which a client is known to have connected.
    came_ns: u64,
    /// When the first client left before it was served, in this window.
    left_ns: Option<u64>,
    counted: Dropped,
    causes: BTreeMap<Cause, Counted>,
}

impl Default for Drops {
    fn default() -> Self {
        Self {
            from_ns: u64::MAX,
            sockets: BoundedMap::default(),
            ports: FxHashMap::default(),
            waiting: BoundedMap::default(),
            gone: Gone::default(),
            accepts: Accepts::default(),
            processes: ProcessEnds::default(),
            inside: Inside::default(),
            lost: Lost::default(),
            kind: "",
            came_ns: 0,
            left_ns: None,
            counted: Dropped::default(),
            causes: BTreeMap::new(),
        }
    }
}

impl Drops {
    /// The first window begins.
    pub fn start(&mut self, at_ns: u64) {
        self.from_ns = at_ns;
    }

    /// A connection becomes known under `number`. Returns its signs so far.
    pub(in crate::machine) fn opened(&mut self, opened: &Opened, number: u32) -> Signs {
        let mut signs = Signs::of(opened);
        self.came_ns = self.came_ns.max(opened.established_ns);
        if let Some(waiting) = self.waiting.remove(&opened.socket) {
            signs.client_ended_ns = waiting.signs.client_ended_ns;
            signs.reset_received = waiting.signs.reset_received;
        }
        signs.turned_away = self.accepts.accepted(opened.tgid, opened.listener_fd);
        self.sockets.insert(opened.socket.0, (opened.socket.1, Standing::open(number)));
        signs
    }

    /// A connection of light mode becomes known as it is used for the first time, or ends. Returns its signs
    /// so far and where it comes from. When it was accepted is not seen: only whether that was before the
    /// client left.
    pub(in crate::machine) fn opened_light(&mut self, socket: (u64, u32), at_ns: u64) -> (Signs, Origin) {
        let mut signs = Signs { socket, ..Signs::default() };
        let mut origin = Origin { accepted_ns: Some(at_ns), ..Origin::default() };
        if let Some(waiting) = self.waiting.remove(&socket) {
            origin.established_ns = waiting.established_ns;
            signs.client_ended_ns = waiting.signs.client_ended_ns;
            signs.reset_received = waiting.signs.reset_received;
            let gone_ns = signs.client_gone_ns();
            if gone_ns > 0 && !waiting.left_in_queue {
                origin.accepted_ns = Some(waiting.established_ns.min(gone_ns.saturating_sub(1)));
            }
        }
        // Where it stands is known by its address for as long as it is open.
        self.sockets.insert(socket.0, (socket.1, Standing::open(u32::MAX >> 1)));
        (signs, origin)
    }

    /// Whether somebody has accepted the connection of this socket.
    pub(in crate::machine) fn knows(&self, socket: (u64, u32)) -> bool {
        self.sockets.get(&socket.0).is_some_and(|(generation, _)| *generation == socket.1)
    }

    /// The process has used a connection that was made at `established_ns`.
    pub(in crate::machine) fn accepted_since(&mut self, tgid: Tid, established_ns: u64) {
        self.accepts.accepted_since(tgid, established_ns);
    }

    /// Whether the process has ended.
    pub(in crate::machine) fn has_ended(&self, tgid: Tid) -> bool {
        self.processes.end(tgid).is_some()
    }

    /// What kind of server this is, and after how long it ends its own process, if it does.
    pub const fn is_of(&mut self, kind: &'static str, own_limit: Option<OwnLimit>) {
        self.kind = kind;
        self.processes.own_limit = own_limit;
    }

    /// A process of the target was seen.
    pub fn seen(&mut self, tgid: Tid, parent: Tid) {
        self.processes.seen(tgid, parent);
    }

    /// A process is born.
    pub fn born(&mut self, tgid: Tid, parent: Tid) {
        self.accepts.begins_again(tgid);
        self.processes.born(tgid, parent);
    }

    /// A process ends with this exit code; its connections end after this. `held`: the requests at hand on
    /// them, and for how many nanoseconds each has run.
    pub fn process_ends(&mut self, tgid: Tid, code: i64, at_ns: u64, held: &[(Asked, u64)]) {
        self.processes.ends(tgid, code, at_ns, held, self.from_ns);
    }

    /// An accept of a process at a listener's descriptor found nothing or failed; `clients` counts the
    /// connections that the process has open.
    pub fn accept_failed(&mut self, by: (Tid, i32), result: i64, at_ns: u64, clients: impl FnOnce() -> u64) {
        self.accepts.failed(by, result, at_ns, clients);
    }

    /// A process is near its limit of open files.
    pub fn open_files(&mut self, reading: OpenFiles) {
        self.accepts.open_files(reading);
    }

    /// The process has read from a connection: it does not turn clients away.
    pub fn serves(&mut self, tgid: Tid) {
        self.accepts.serves(tgid);
    }

    /// The kernel reports something. Returns the number of the open connection that it is about, if there is
    /// one.
    pub fn evidence(
        &mut self,
        evidence: &Evidence,
        at_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) -> Option<(u32, ConnectionEvidence)> {
        match evidence {
            Evidence::Signal(signal) => self.processes.signals.send(signal, at_ns),
            Evidence::OutOfMemory { tgid } => self.processes.signals.choose(*tgid, at_ns),
            Evidence::Connection(evidence) => return self.of_connection(evidence, at_ns, sink),
            // The driver knows how many clients the process has.
            Evidence::AcceptFailed { .. } => {}
        }
        None
    }

    fn of_connection(
        &mut self,
        evidence: &ConnectionEvidence,
        at_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) -> Option<(u32, ConnectionEvidence)> {
        if evidence.is_waiting || evidence.is_taken {
            self.waits(evidence, at_ns, sink);
            return None;
        }
        let place = match self.sockets.get(&evidence.socket.0) {
            _ if evidence.only_ports => None,
            Some((generation, place)) if *generation == evidence.socket.1 => Some(*place),
            _ => None,
        };
        let place = place.or_else(|| self.ports.get(&(evidence.local_port, evidence.peer_port)).copied())?;
        if let Some(number) = place.as_open() {
            return Some((number, *evidence));
        }
        // Another socket can lie where the closed one lay: for one, the client's own of a later connection.
        let ends_match = |ended: &&mut Ended| match (ended.signs.ports.1, evidence.peer_port) {
            (0, _) | (_, 0) => true,
            (known, seen) => known == seen,
        };
        if let Some(ended) = self.gone.get_mut(place).filter(ends_match) {
            ended.signs.take(evidence, at_ns);
        }
        None
    }

    /// Something happened to a connection that is not known yet.
    fn waits(&mut self, evidence: &ConnectionEvidence, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let Some(waiting) = self.waiting.get_or_default(evidence.socket) else { return };
        waiting.established_ns = evidence.established_ns;
        self.came_ns = self.came_ns.max(evidence.established_ns);
        waiting.taken |= evidence.is_taken;
        let was_there = waiting.signs.client_gone_ns() == 0;
        waiting.signs.take(evidence, at_ns);
        waiting.left_in_queue |= was_there && evidence.is_waiting && waiting.signs.client_gone_ns() > 0;
        if evidence.sign == Sign::ResetSent
            && evidence.is_waiting
            && let Some(waiting) = self.waiting.remove(&evidence.socket)
        {
            self.never_accepted(&waiting, at_ns, sink);
        }
    }

    /// A connection left the queue, and nobody had accepted it.
    fn never_accepted(&mut self, waiting: &Unaccepted, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let gone_ns = waiting.signs.client_gone_ns();
        let (cause, until_ns, evidence) = match gone_ns {
            0 => (
                Cause::ListenerClosed,
                at_ns,
                "the kernel reset it as its listener was closed; nobody had accepted it".to_owned(),
            ),
            gone_ns => {
                let what = if waiting.signs.reset_received.is_some() { "reset" } else { "ended" };
                (Cause::ClientLeftInQueue, gone_ns, format!("the client {what} it; nobody had accepted it"))
            }
        };
        let (cause, evidence) = match self.accepts.failed_between(waiting.established_ns, until_ns) {
            Some(error) if cause == Cause::ClientLeftInQueue => {
                (Cause::AcceptFailed, format!("{evidence}, as accept failed with {error}"))
            }
            _ => (cause, evidence),
        };
        // Whoever accepted it may not have been seen.
        if self.lost.any(waiting.established_ns, at_ns) {
            self.leave_undecided(at_ns);
            return;
        }
        let waited_ns = (waiting.established_ns > 0).then(|| until_ns.saturating_sub(waiting.established_ns));
        let example = Example { time_ns: at_ns, waited_ns, evidence, ..Example::default() };
        self.count(cause, example, sink);
    }

    /// A connection is gone: it gets its verdict later.
    pub(in crate::machine) fn ended(&mut self, ended: Box<Ended>, sink: &mut dyn FnMut(Entry)) {
        let (address, generation) = ended.signs.socket;
        if matches!(ended.origin.side, Side::Inner { .. }) {
            self.sockets.remove(&address);
            self.inside.ended(*ended);
            return;
        }
        let (now_ns, ports) = (ended.at_ns, ended.signs.ports);
        let place = self.gone.push(ended);
        if let Some((known, stands)) = self.sockets.get_mut(&address)
            && *known == generation
        {
            *stands = place;
        }
        if ports != (0, 0) {
            self.ports.insert(ports, place);
        }
        self.expire(now_ns, sink);
        if self.gone.len() > MAX_ENDED {
            // Its verdict comes early, by what is known of it so far.
            self.decide(sink);
        }
    }

    /// Requests of the front end that got an error which was the server's own answer.
    pub(in crate::machine) fn errors_of_server(&mut self, requests: Vec<u64>) {
        self.inside.passed_on(requests);
    }

    /// Time has passed.
    pub fn expire(&mut self, now_ns: u64, sink: &mut dyn FnMut(Entry)) {
        while let Some(ended_ns) = self.gone.oldest_ns()
            && ended_ns.saturating_add(GRACE_NS) <= now_ns
            && (now_ns == u64::MAX || self.lost.is_known(ended_ns))
        {
            self.decide(sink);
        }
    }

    /// The connection that has been gone for longest gets its verdict.
    fn decide(&mut self, sink: &mut dyn FnMut(Entry)) {
        let Some((place, ended)) = self.gone.pop() else { return };
        let (address, _) = ended.signs.socket;
        if self.sockets.get(&address).is_some_and(|(_, stands)| *stands == place) {
            self.sockets.remove(&address);
        }
        if ended.signs.ports != (0, 0) && self.ports.get(&ended.signs.ports) == Some(&place) {
            self.ports.remove(&ended.signs.ports);
        }
        if ended.at_ns < self.from_ns {
            return;
        }
        let answered = ended.signs.answered.as_ref().filter(|_| ended.origin.side == Side::Front);
        let inside = answered.and_then(|answered| self.inside.behind(answered, &ended.signs));
        let inside = inside.and_then(|inside| self.at_the_server(&inside));
        let passed_on = answered.is_some_and(|answered| self.inside.was_passed_on(answered));
        let verdict = judge(&ended, &Scene { inside, passed_on, ..self.scene(&ended) });
        let needs_all = match &verdict {
            Verdict::Served => false,
            Verdict::NothingAsked => true,
            Verdict::Dropped { cause, .. } => !cause.is_said_by_the_answer(),
        };
        if needs_all && self.lost.any(ended.waits_since_ns(), ended.at_ns) {
            self.leave_undecided(ended.at_ns);
            return;
        }
        match verdict {
            Verdict::Served => self.counted.served = self.counted.served.saturating_add(1),
            Verdict::NothingAsked => {
                self.counted.nothing_asked = self.counted.nothing_asked.saturating_add(1);
            }
            Verdict::Dropped { cause, evidence } => {
                let since_ns = ended.waits_since_ns();
                let gone_ns = ended.signs.client_gone_ns();
                let until_ns =
                    if cause.is_client_s() && gone_ns > 0 { gone_ns } else { ended.at_ns.max(gone_ns) };
                let example = Example {
                    time_ns: ended.at_ns,
                    connection: Some(ended.id),
                    tgid: ended.tgid,
                    asked: ended.asked(),
                    waited_ns: (since_ns > 0).then(|| until_ns.saturating_sub(since_ns)),
                    evidence,
                };
                self.count(cause, example, sink);
            }
        }
    }

    /// A connection ended at `at_ns`, and too much is missing to say what became of it.
    const fn leave_undecided(&mut self, at_ns: u64) {
        if at_ns >= self.from_ns {
            self.counted.undecided = self.counted.undecided.saturating_add(1);
        }
    }

    fn scene(&self, ended: &Ended) -> Scene<'_> {
        let request_ns = ended.unfinished.as_ref().map(|request| request.start_ns);
        let answered_ns = ended.signs.answered.as_ref().map(|answered| answered.start_ns);
        let since_ns = request_ns.or(answered_ns).unwrap_or(ended.origin.accepted_or_zero_ns());
        let processes = &self.processes;
        let end = processes.end(ended.tgid);
        let exited = end.is_some_and(|end| end.cause == Cause::WorkerExited);
        Scene {
            end: end.map(|end| (end.cause, end.evidence.as_str())),
            aborted: processes.signals.aborted(
                ended.tgid,
                processes.parent(ended.tgid),
                since_ns,
                ended.at_ns,
            ),
            accept_failed: self
                .accepts
                .failed_between(ended.origin.established_ns, ended.origin.accepted_or_zero_ns()),
            gave_up: self.accepts.stopped(ended.tgid, ended.at_ns).filter(|_| exited),
            inside: None,
            passed_on: false,
            kind: self.kind,
        }
    }

    /// Why a connection behind the front end ended without an answer, where that was the server's doing.
    fn at_the_server(&self, inside: &Ended) -> Option<(Cause, String)> {
        match judge(inside, &self.scene(inside)) {
            Verdict::Dropped { cause, evidence }
                if !cause.is_client_s() && !matches!(cause, Cause::FrontEndGaveUp | Cause::Unknown) =>
            {
                Some((cause, evidence))
            }
            _ => None,
        }
    }

    fn count(&mut self, cause: Cause, example: Example, sink: &mut dyn FnMut(Entry)) {
        if example.time_ns < self.from_ns {
            return;
        }
        if Cause::LEFT.contains(&cause) {
            self.left_ns =
                Some(self.left_ns.map_or(example.time_ns, |first_ns| first_ns.min(example.time_ns)));
        }
        let new = Counted { cause, count: 0, waited_ns: 0, examples: Vec::new() };
        let counted = self.causes.entry(cause).or_insert(new);
        counted.count = counted.count.saturating_add(1);
        counted.waited_ns = counted.waited_ns.saturating_add(example.waited_ns.unwrap_or(0));
        if counted.examples.len() < MAX_EXAMPLES {
            counted.examples.push(example.clone());
        }
        sink(Entry::Dropped { cause, example: Box::new(example) });
    }

    /// The next window begins: what was counted is no part of it.
    pub fn roll(&mut self) {
        self.counted = Dropped::default();
        self.causes.clear();
        self.left_ns = None;
        self.accepts.roll();
        self.processes.roll();
    }

    /// Forgets processes that have ended, except those whose connections still wait for their verdicts.
    pub(in crate::machine) fn retain(&mut self, living: &Living) {
        let judged: FxHashSet<Tid> =
            self.gone.iter().map(|ended| ended.tgid).chain(self.inside.tgids()).collect();
        let stays = |tgid: Tid| living.process(tgid) || judged.contains(&tgid);
        self.accepts.retain(stays);
        self.processes.retain(stays);
    }

    /// The window has ended with `open` connections. `next_follows`: another one begins, and what waits gets
    /// its verdict there.
    pub fn finish(
        mut self,
        open: u64,
        next_follows: bool,
        now_ns: u64,
        limit: impl Fn(Tid) -> Option<u64>,
        sink: &mut dyn FnMut(Entry),
    ) -> Dropped {
        let mut open = open;
        if next_follows {
            open = open.saturating_add(self.gone.len() as u64);
        } else {
            self.expire(u64::MAX, sink);
            let mut waiting: Vec<_> = std::mem::take(&mut self.waiting).into_map().into_iter().collect();
            // The order of examples must not depend on a hash.
            waiting.sort_unstable_by_key(|(socket, waiting)| (waiting.signs.client_gone_ns(), *socket));
            for (_, waiting) in waiting {
                if !waiting.taken && waiting.signs.client_gone_ns() > 0 {
                    self.never_accepted(&waiting, now_ns, sink);
                }
            }
        }
        let mut dropped = self.counted;
        dropped.open = open;
        dropped.came_after_left = self.left_ns.is_some_and(|left_ns| self.came_ns > left_ns);
        dropped.causes = Cause::ALL.iter().filter_map(|cause| self.causes.remove(cause)).collect();
        dropped.accept_failures = self.accepts.finish(limit);
        dropped.cut_off = cut_off(&dropped.causes, &self.processes);
        self.processes.had_in_hand(&dropped.causes);
        dropped.worker_ends = self.processes.worker_ends;
        dropped
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.sockets.evicted() + self.waiting.evicted() + self.accepts.evicted() + self.processes.evicted()
    }
}

/// Requests that ended with their process, as far as examples name them, by their numbers.
fn cut_off(causes: &[Counted], processes: &ProcessEnds) -> Vec<CutOff> {
    let of_workers = causes.iter().filter(|counted| counted.cause.is_end_of_worker());
    let examples = of_workers.flat_map(|counted| &counted.examples);
    let of_examples = examples.map(|one| {
        (one.asked.as_ref(), one.tgid, one.time_ns.saturating_sub(one.waited_ns.unwrap_or(0)), one.time_ns)
    });
    let of_ends = processes
        .worker_ends
        .iter()
        .map(|end| (end.asked.as_ref(), end.tgid, end.time_ns.saturating_sub(end.ran_ns), end.time_ns));
    let cut = |(asked, tgid, since_ns, ended_ns): (Option<&Asked>, Tid, u64, u64)| {
        let told_ns = processes.signals.first_stop(tgid, since_ns);
        let at_ns = told_ns.map_or(ended_ns, |told_ns| told_ns.min(ended_ns));
        Some(CutOff { request: asked?.request?, at_ns })
    };
    let mut cut_off: Vec<CutOff> = of_examples.chain(of_ends).filter_map(cut).collect();
    cut_off.sort_unstable_by_key(|cut| (cut.request, cut.at_ns));
    cut_off.dedup_by_key(|cut| cut.request);
    cut_off
}

#[cfg(test)]
mod tests;
