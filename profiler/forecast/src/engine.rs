//! The simulation: discrete events, each request its row of segments, slots, interpreter locks and cores in
//! between.
//!
//! In: a [`Load`] and a [`Setting`]. Out: an [`Outcome`]. Time is in whole nanoseconds; all that is random
//! comes from the setting's seed.

mod agenda;
mod back_end;
mod cores;
mod front;
mod lock;
mod others;
mod running;
mod slots;
mod thread;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use profiler_core::phase::Phase;

use crate::load::{Arrives, Load, Segment, Work};
use crate::outcome::{Busy, Outcome, Served, Stretch};
use crate::setting::{Dispatch, Setting, SettingError};
use agenda::{Agenda, Event};
use back_end::BackEnd;
use cores::Cores;
use lock::Lock;
use slots::{Slots, woken};
use thread::{Errand, Job, Leg, Piece, Thread};

/// Plays a load at a setting.
///
/// # Errors
/// If the setting or the load cannot be simulated.
pub fn simulate(load: &Load, setting: &Setting) -> Result<Outcome, SettingError> {
    let mut engine = Engine::new(load, setting)?;
    while engine.step() {}
    Ok(engine.outcome())
}

/// Processes that wake up for one connection, at most. The kernel wakes all; to simulate more takes time.
const MOST_WOKEN: usize = 64;

struct Engine<'a> {
    load: &'a Load,
    setting: &'a Setting,
    agenda: Agenda,
    now_ns: u64,
    random: fastrand::Rng,
    cores: Cores,
    locks: Vec<Lock>,
    back_ends: Vec<BackEnd>,
    slots: Slots,
    /// The slots, then the dispatching thread of each process, then those of other programs and of a front
    /// end.
    threads: Vec<Thread>,
    /// How many of them are slots.
    threads_of_slots: usize,
    /// Threads of other programs, and those of them that have nothing to do.
    others: usize,
    idle_others: Vec<usize>,
    /// Bursts of other programs so far.
    bursts: u64,
    /// Threads of a front end that have nothing to do.
    idle_fronts: Vec<usize>,
    /// Requests whose slot is not free again.
    unserved: usize,
    /// Responses so far.
    responses: usize,
    /// From the first tenth of responses on; what was busy before, until they end.
    middle: Stretch,
    /// By process: what its dispatching thread has to do.
    errands: Vec<VecDeque<Errand>>,
    /// By process: when its dispatching thread went to sleep.
    asleep_since_ns: Vec<u64>,
    /// By server: connections that no process has accepted.
    backlogs: [VecDeque<usize>; 2],
    served: Vec<Served>,
    /// By request: what its time counts as, and since when.
    meters: Vec<(Phase, u64)>,
    /// By request: those that arrive after it, with the time in between.
    followers: Vec<Vec<(usize, u64)>>,
}

impl<'a> Engine<'a> {
    fn new(load: &'a Load, setting: &'a Setting) -> Result<Self, SettingError> {
        setting.check()?;
        let requests = load.requests.len();
        let mut arrivals = Vec::with_capacity(requests);
        let mut followers = vec![Vec::new(); requests];
        for (number, request) in load.requests.iter().enumerate() {
            match request.arrives {
                Arrives::At(at_ns) => arrivals.push((at_ns, number)),
                Arrives::After { request, .. } if request >= number => {
                    return Err(SettingError::Order { request: number });
                }
                Arrives::After { request, think_ns } => {
                    if let Some(after) = followers.get_mut(request) {
                        after.push((number, think_ns));
                    }
                }
            }
        }
        let slots = Slots::new(setting);
        let (count, processes) = (setting.slots() as usize, setting.all_processes() as usize);
        let cores = setting.cores as usize;
        let threads = (0..count).map(|slot| Thread::new(slots.process(slot), slot % cores));
        let dispatching = (0..processes).map(|process| Thread::new(process, process % cores));
        let limit = |number: usize| setting.back_end_limits.get(number).copied().flatten();
        let mut engine = Self {
            load,
            setting,
            agenda: Agenda::new(arrivals),
            now_ns: 0,
            random: fastrand::Rng::with_seed(setting.seed),
            cores: Cores::new(setting.cores),
            locks: vec![Lock::default(); processes],
            back_ends: (0..load.back_ends.len()).map(|at| BackEnd::new(limit(at))).collect(),
            threads: threads.chain(dispatching).collect(),
            threads_of_slots: count,
            others: 0,
            idle_others: Vec::new(),
            idle_fronts: Vec::new(),
            bursts: 0,
            unserved: requests,
            responses: 0,
            middle: Stretch::default(),
            slots,
            errands: vec![VecDeque::new(); processes],
            asleep_since_ns: vec![0; processes],
            backlogs: Default::default(),
            served: vec![Served::default(); requests],
            meters: vec![(Phase::AcceptQueue, 0); requests],
            followers,
        };
        engine.plan_others();
        Ok(engine)
    }

    /// Lets the next event happen; false: there is none.
    fn step(&mut self) -> bool {
        let Some((at_ns, event)) = self.agenda.next() else { return false };
        self.now_ns = at_ns;
        match event {
            Event::Arrival(request) => self.arrive(request),
            Event::Whole(request) => self.enter(request),
            Event::Turn { core, turn } => self.turn_over(core, turn),
            Event::Woken(thread) => self.woken(thread),
            Event::Awake(thread) => self.advance(thread, None),
            Event::LockWanted { thread, count } => self.lock_wanted(thread, count),
            Event::Ready(thread) => self.ready(thread, None),
            Event::Burst(stretch) => self.burst(stretch),
        }
        true
    }

    fn outcome(self) -> Outcome {
        let busy = self.busy();
        // Others may go on after the last request.
        let end_ns = self.served.iter().map(|served| served.held_ns.1).max().unwrap_or(0);
        Outcome { served: self.served, busy, middle: self.middle, end_ns }
    }

    /// How long what has been busy until now.
    fn busy(&self) -> Busy {
        Busy {
            cores_ns: self.cores.busy_ns(self.now_ns),
            locks_ns: self.locks.iter().map(|lock| lock.held_ns(self.now_ns)).collect(),
            back_ends_ns: self.back_ends.iter().map(|back_end| back_end.busy_ns).collect(),
        }
    }

    /// What time counts as until the first segment begins.
    const fn before_service(&self) -> Phase {
        match self.setting.dispatch {
            Dispatch::Shared(_) => Phase::AcceptQueue,
            Dispatch::ByProcess(_) => Phase::PoolWait,
        }
    }

    // How requests come and go.

    fn arrive(&mut self, request: usize) {
        if let (Some(served), Some(meter)) = (self.served.get_mut(request), self.meters.get_mut(request)) {
            served.start_ns = self.now_ns;
            *meter = (Phase::ClientReadStall, self.now_ns);
        }
        let ahead_ns = self.load.requests.get(request).map_or(0, |request| request.row.ahead_ns);
        if ahead_ns > 0 {
            self.agenda.plan(self.now_ns.saturating_add(ahead_ns), Event::Whole(request));
        } else {
            self.enter(request);
        }
    }

    /// All of a request has come that a slot is asked for.
    fn enter(&mut self, request: usize) {
        if self.load.front.is_some() {
            self.run_front(request, Leg::There);
        } else {
            self.dispatch(request);
        }
    }

    /// A request asks for a slot, or for the thread that hands it to one.
    fn dispatch(&mut self, request: usize) {
        self.meter(request, self.before_service());
        let is_own = self.is_own(request);
        if !self.is_dispatched() {
            self.offer(request, usize::from(is_own));
            return;
        }
        let connection = self.load.requests.get(request).map_or(0, |request| request.connection);
        match self.slots.kept_by((connection, is_own)) {
            Some(process) => self.send_on_errand(process, Errand::Dispatch(request)),
            None => self.wait_in_backlog(request, is_own),
        }
    }

    /// A connection waits for the first process that accepts it. All of them are woken for it.
    fn wait_in_backlog(&mut self, request: usize, is_own: bool) {
        if let Some(backlog) = self.backlogs.get_mut(usize::from(is_own)) {
            backlog.push_back(request);
        }
        // Who is at work looks at the backlog afterwards.
        let is_idle = |process: &usize| {
            self.threads.get(self.threads_of_slots + process).is_some_and(|thread| thread.job == Job::Idle)
        };
        let of_server = self.slots.of_server(is_own);
        let first = of_server.start;
        let asleep = of_server.filter(is_idle);
        let since_ns = |process: usize| self.asleep_since_ns.get(process).copied().unwrap_or(0);
        let asleep = asleep.map(|process| (process, since_ns(process))).collect();
        for process in woken(asleep, first, &mut self.random).into_iter().take(MOST_WOKEN) {
            self.send_on_errand(process, Errand::Any);
        }
    }

    /// A process accepts the connection that has waited longest, if one waits.
    fn accept(&mut self, process: usize) -> Option<usize> {
        let is_own = self.slots.is_own(process);
        let request = self.backlogs.get_mut(usize::from(is_own))?.pop_front()?;
        if self.setting.is_sticky {
            let connection = self.load.requests.get(request)?.connection;
            self.slots.keep((connection, is_own), process);
        }
        Some(request)
    }

    fn has_backlog(&self, process: usize) -> bool {
        let is_own = self.slots.is_own(process);
        self.backlogs.get(usize::from(is_own)).is_some_and(|backlog| !backlog.is_empty())
    }

    /// Whether a request goes to the second server.
    fn is_own(&self, request: usize) -> bool {
        let own = self.setting.own.as_ref().map_or(&[][..], |own| &own.endpoints);
        self.load.requests.get(request).is_some_and(|request| own.binary_search(&request.endpoint).is_ok())
    }

    const fn is_dispatched(&self) -> bool {
        matches!(self.setting.dispatch, Dispatch::ByProcess(_))
    }

    /// A request may take a slot of this pool, now or later.
    fn offer(&mut self, request: usize, pool: usize) {
        if let Some(slot) = self.slots.arrive(request, pool, &mut self.random) {
            self.begin_serving(slot, request, Piece::Taken);
            self.advance(slot, None);
        }
    }

    fn begin_serving(&mut self, slot: usize, request: usize, first: Piece) {
        if let Some(thread) = self.threads.get_mut(slot) {
            thread.job = Job::Serve { request, piece: first };
        }
        if let Some(served) = self.served.get_mut(request) {
            served.slot = slot;
            served.held_ns.0 = self.now_ns;
        }
    }

    fn send_on_errand(&mut self, process: usize, errand: Errand) {
        let number = self.slots_count() + process;
        if let Some(errands) = self.errands.get_mut(process) {
            errands.push_back(errand);
        }
        if self.threads.get(number).is_some_and(|thread| thread.job == Job::Idle) {
            self.advance(number, None);
        }
    }

    fn slots_count(&self) -> usize {
        self.threads_of_slots
    }

    /// A slot has sent its last byte.
    fn answer(&mut self, request: usize) {
        if self.load.front.is_some() {
            self.run_front(request, Leg::Back);
        } else {
            self.respond(request);
        }
    }

    /// The last byte of the response has been sent.
    fn respond(&mut self, request: usize) {
        let meter = self.meters.get(request).copied();
        if let (Some(served), Some((phase, since_ns))) = (self.served.get_mut(request), meter) {
            served.phases.add(phase, self.now_ns - since_ns);
            served.end_ns = self.now_ns;
        }
        self.count_response();
        for (follower, think_ns) in self.followers.get_mut(request).map(std::mem::take).unwrap_or_default() {
            self.agenda.plan(self.now_ns.saturating_add(think_ns), Event::Arrival(follower));
        }
    }

    /// Notes where the middle of all responses begins and ends.
    fn count_response(&mut self) {
        let all = self.served.len();
        if self.responses == all / 10 {
            (self.middle.from_ns, self.middle.busy) = (self.now_ns, self.busy());
        }
        if self.responses == all * 9 / 10 {
            self.middle.to_ns = self.now_ns;
            self.middle.busy = self.busy().since(&self.middle.busy);
        }
        self.responses += 1;
    }

    // What threads do.

    /// A thread begins its next piece of work; `core`: the one that it is just leaving.
    fn advance(&mut self, number: usize, core: Option<usize>) {
        while let Some((work, duration_ns)) = self.next_piece(number) {
            if duration_ns > 0 {
                self.begin(number, work, duration_ns, core);
                return;
            }
        }
    }

    fn next_piece(&mut self, number: usize) -> Option<(Work, u64)> {
        match self.threads.get(number)?.job {
            Job::Serve { request, piece } => self.next_of_request(number, request, piece),
            Job::Idle | Job::Errand { .. } => self.next_errand(number),
            Job::Front { request, leg, at } => self.next_of_front(number, (request, leg, at)),
            Job::Other => {
                self.idle_others.push(number);
                None
            }
        }
    }

    fn next_of_request(&mut self, number: usize, request: usize, piece: Piece) -> Option<(Work, u64)> {
        let row = &self.load.requests.get(request)?.row;
        let is_pool = self.is_dispatched();
        let (next, work) = match piece {
            Piece::Taken => (Piece::PickedUp, (Work::Wait(self.before_service()), row.pickup_ns)),
            // A thread of a pool wakes up in Python: it needs the lock before it can read.
            Piece::PickedUp => (Piece::Segment(0), (Work::Python, u64::from(is_pool))),
            Piece::Segment(at) => match row.segments.get(at) {
                Some(segment) => (Piece::Segment(at + 1), (segment.work, self.length_ns(request, *segment))),
                None => {
                    self.answer(request);
                    (Piece::After(0), (Work::Python, 0))
                }
            },
            Piece::After(at) => match self.load.after.get(at) {
                Some(segment) => (Piece::After(at + 1), (segment.work, segment.duration_ns)),
                None => return self.next_request(number, request),
            },
        };
        self.threads.get_mut(number)?.job = Job::Serve { request, piece: next };
        Some(work)
    }

    /// How long a segment takes that begins now.
    fn length_ns(&self, request: usize, segment: Segment) -> u64 {
        let Segment { work: Work::ClientSends, duration_ns } = segment else { return segment.duration_ns };
        let arrived_ns = self.served.get(request).map_or(0, |served| served.start_ns);
        arrived_ns.saturating_add(duration_ns).saturating_sub(self.now_ns)
    }

    /// The slot is done with this request: what it does for the next that waits.
    fn next_request(&mut self, number: usize, request: usize) -> Option<(Work, u64)> {
        self.served.get_mut(request)?.held_ns.1 = self.now_ns;
        self.unserved = self.unserved.saturating_sub(1);
        if self.is_dispatched() {
            let process = self.threads.get(number)?.process;
            self.send_on_errand(process, Errand::After);
        }
        self.threads.get_mut(number)?.job = Job::Idle;
        let next = self.slots.free(number)?;
        // It is awake.
        self.begin_serving(number, next, Piece::PickedUp);
        // Nothing to do yet: the caller asks again.
        Some((Work::Python, 0))
    }

    /// What a dispatching thread does next; what it has just done takes effect.
    fn next_errand(&mut self, number: usize) -> Option<(Work, u64)> {
        let process = number.checked_sub(self.slots_count())?;
        let Dispatch::ByProcess(errands) = &self.setting.dispatch else { return None };
        if let Job::Errand { mut errand, at } = self.threads.get(number)?.job {
            if errand == Errand::Any && at == errands.accept_at {
                errand = self.accept(process).map_or(Errand::Any, Errand::Dispatch);
            }
            let segment = match errand {
                Errand::After => errands.after.get(at),
                // Another one was faster.
                Errand::Any if at >= errands.accept_at => None,
                Errand::Any | Errand::Dispatch(_) => errands.before.iter().chain(&errands.then).nth(at),
            };
            if let Errand::Dispatch(request) = errand
                && at == errands.before.len()
            {
                let goes_on = |segment: &&Segment| segment.work == Work::Python && segment.duration_ns > 0;
                if segment.filter(goes_on).is_none() {
                    self.give_back_lock(number);
                }
                self.offer(request, process);
            }
            if let Some(Segment { work, duration_ns }) = segment.copied() {
                self.threads.get_mut(number)?.job = Job::Errand { errand, at: at + 1 };
                return Some((work, duration_ns));
            }
        }
        let is_wanted = self.has_backlog(process);
        let next = self.errands.get_mut(process)?.pop_front().or_else(|| is_wanted.then_some(Errand::Any));
        self.threads.get_mut(number)?.job = next.map_or(Job::Idle, |errand| Job::Errand { errand, at: 0 });
        if next.is_none() {
            *self.asleep_since_ns.get_mut(process)? = self.now_ns;
        }
        // Nothing to do yet: the caller asks again.
        next.map(|_| (Work::Python, 0))
    }

    fn begin(&mut self, number: usize, work: Work, duration_ns: u64, core: Option<usize>) {
        let Some(thread) = self.threads.get_mut(number) else { return };
        (thread.work, thread.left_ns) = (work, duration_ns);
        match work {
            Work::Wait(_) | Work::ClientSends => {
                let phase = if let Work::Wait(phase) = work { phase } else { Phase::ClientReadStall };
                self.count(number, phase);
                self.agenda.plan(self.now_ns.saturating_add(duration_ns), Event::Woken(number));
            }
            Work::BackEnd(which) => {
                self.count(number, Phase::BackendWait);
                if self
                    .back_ends
                    .get_mut(which as usize)
                    .is_none_or(|back_end| back_end.ask(number, duration_ns))
                {
                    self.agenda.plan(self.now_ns.saturating_add(duration_ns), Event::Woken(number));
                }
            }
            Work::Python | Work::Free(_) => self.ready(number, core),
        }
    }

    fn woken(&mut self, number: usize) {
        if let Some(Work::BackEnd(which)) = self.threads.get(number).map(|thread| thread.work) {
            let next = self.back_ends.get_mut(which as usize).and_then(BackEnd::answered);
            if let Some((other, duration_ns)) = next {
                self.agenda.plan(self.now_ns.saturating_add(duration_ns), Event::Woken(other));
            }
        }
        if self.setting.wakeup_ns > 0 && self.wakes_to_run(number) {
            self.count(number, Phase::RunQueue);
            self.agenda.plan(self.now_ns.saturating_add(self.setting.wakeup_ns), Event::Awake(number));
        } else {
            self.advance(number, None);
        }
    }

    /// Whether a thread whose wait is over goes on with work of its request.
    fn wakes_to_run(&self, number: usize) -> bool {
        let job = self.threads.get(number).map(|thread| thread.job);
        let Some(Job::Serve { request, piece: Piece::Segment(next) }) = job else { return false };
        self.load.requests.get(request).is_some_and(|request| request.row.wakes_before(next))
    }

    /// From now on the time of the request that this thread serves counts as this phase.
    fn count(&mut self, number: usize, phase: Phase) {
        let Some(Job::Serve { request, piece }) = self.threads.get(number).map(|thread| thread.job) else {
            return;
        };
        let phase = match piece {
            // The piece that is done next: the one before is what the thread does.
            Piece::Taken | Piece::PickedUp => self.before_service(),
            // A thread of a pool has woken up: from now on it waits for the lock or a CPU.
            Piece::Segment(0) if !matches!(phase, Phase::GilWait | Phase::RunQueue) => self.before_service(),
            Piece::Segment(_) => phase,
            Piece::After(_) => return,
        };
        self.meter(request, phase);
    }

    /// From now on the time of this request counts as this phase.
    fn meter(&mut self, request: usize, phase: Phase) {
        if let (Some(served), Some(meter)) = (self.served.get_mut(request), self.meters.get_mut(request)) {
            served.phases.add(meter.0, self.now_ns - meter.1);
            *meter = (phase, self.now_ns);
        }
    }
}
