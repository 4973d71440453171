//! The player itself: threads, locks, the interpreter lock, and what comes next.
//!
//! In: a plan, random numbers. Out: what every thread and every request did, and who had each lock when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::doing::{Doing, Outside, Past, SleepEnded};
use super::plan::Plan;
use super::random::Random;
use super::script::Op;
use crate::event::Tid;

/// The longest that a thread has the interpreter lock while others wait for it.
const SWITCH_NS: u64 = 5_000_000;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    Acceptor,
    Dispatcher,
    Pool,
    Loop,
    Manager,
    Background,
    Stuck,
    /// Helps with this event, and ends.
    Helper(usize),
}

/// A thread.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub process: usize,
    pub tid: Tid,
    pub role: Role,
    pub born: Option<(u64, usize)>,
    pub ended_ns: Option<u64>,
    pub request: Option<usize>,
    pub ops: VecDeque<Op>,
    pub past: Vec<Past>,
    pub now: Doing,
    pub since_ns: u64,
    /// Its wake-up is on its way.
    pub is_woken: bool,
    /// Since when it accepts.
    pub accepts_since_ns: Option<u64>,
    generation: u64,
    has_gil: bool,
    wanted: Option<usize>,
}

/// A lock: a lock of the program, or a process's interpreter lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Lock {
    holder: Option<(usize, u64)>,
    waiting: VecDeque<usize>,
    /// Who had it: from, until, thread.
    pub held: Vec<(u64, u64, usize)>,
}

/// Something that is waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Occasion {
    waiter: usize,
    remaining: usize,
    /// Who brought it about.
    pub setter: Option<usize>,
}

/// A process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub tgid: Tid,
    pub boss: usize,
    pub manager: Option<usize>,
    pub pool_queue: VecDeque<usize>,
    pub loop_queue: VecDeque<usize>,
    pub jobs: VecDeque<(usize, Vec<Op>, bool)>,
    pub fault_ends: Vec<u64>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    AcceptQueue,
    /// Waits for the loop or the dispatcher of this process.
    Loop(usize),
    /// Waits for a pool thread of this process.
    Pool(usize),
    Thread(usize),
    /// On a loop: waits for something outside, on no thread.
    Away(Outside),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub arrives_ns: u64,
    pub ends_ns: Option<u64>,
    pub endpoint: u64,
    /// Where it was: from, until.
    pub life: Vec<(u64, u64, Blocked)>,
    pub on: Blocked,
    pub on_since_ns: u64,
    pub rest: VecDeque<Op>,
    /// It comes on a connection of this process.
    pub kept_by: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Next {
    Arrives(usize),
    /// On a loop: what it waited for is there.
    Ready(usize),
    /// A thread, its number of wake-ups so far; whether its limit of time has come.
    Wakes(usize, u64, bool, Tid),
    /// A thread for this process, by its boss.
    Birth(usize),
}

/// Everything.
#[derive(Debug)]
pub(super) struct PlayedServer {
    pub plan: Plan,
    pub random: Random,
    pub now_ns: u64,
    pub queue: BinaryHeap<Reverse<(u64, u64, Next)>>,
    sequence: u64,
    pub actors: Vec<Actor>,
    pub processes: Vec<Process>,
    pub locks: Vec<Lock>,
    pub gils: Vec<Lock>,
    pub occasions: Vec<Occasion>,
    pub requests: Vec<Asked>,
    pub accept_queue: VecDeque<usize>,
}

impl PlayedServer {
    pub(super) fn new(plan: Plan, random: Random) -> Self {
        let locks = vec![Lock::default(); plan.steps.locks * plan.processes];
        let gils = vec![Lock::default(); plan.processes];
        Self {
            plan,
            random,
            now_ns: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            actors: Vec::new(),
            processes: Vec::new(),
            locks,
            gils,
            occasions: Vec::new(),
            requests: Vec::new(),
            accept_queue: VecDeque::new(),
        }
    }

    pub(super) fn at(&mut self, time_ns: u64, next: Next) {
        self.sequence += 1;
        self.queue.push(Reverse((time_ns, self.sequence, next)));
    }

    /// A new thread, which begins with `ops` now.
    pub(super) fn spawn(&mut self, process: usize, role: Role, by: Option<usize>, ops: Vec<Op>) -> usize {
        let index = self.actors.len();
        self.actors.push(Actor {
            process,
            tid: 1000 + u32::try_from(index).unwrap(),
            role,
            born: by.map(|by| (self.now_ns, by)),
            ended_ns: None,
            request: None,
            ops: ops.into(),
            past: Vec::new(),
            now: Doing::Idle,
            since_ns: self.now_ns,
            is_woken: false,
            accepts_since_ns: None,
            generation: 0,
            has_gil: false,
            wanted: None,
        });
        self.wake(index, 0);
        index
    }

    /// A thread goes on at this moment. `by`: who made it.
    pub(super) fn wake(&mut self, index: usize, by: Tid) {
        self.actors[index].is_woken = true;
        self.wake_at(index, self.now_ns, false, by);
    }

    fn wake_at(&mut self, index: usize, time_ns: u64, is_limit: bool, by: Tid) {
        self.actors[index].generation += 1;
        let generation = self.actors[index].generation;
        self.at(time_ns, Next::Wakes(index, generation, is_limit, by));
    }

    /// Plays until the window ends.
    pub(super) fn play(&mut self) {
        while let Some(Reverse((time_ns, _, next))) = self.queue.pop() {
            if time_ns >= self.plan.window_ns {
                break;
            }
            self.now_ns = time_ns;
            match next {
                Next::Arrives(request) => self.arrives(request),
                Next::Ready(request) => self.ready(request),
                Next::Birth(process) => self.birth(process),
                Next::Wakes(index, generation, is_limit, by) => {
                    if self.actors[index].generation == generation {
                        let end = if is_limit { SleepEnded::Limit } else { SleepEnded::Itself };
                        self.goes_on(index, if by > 0 { SleepEnded::By(by) } else { end });
                    }
                }
            }
        }
        self.now_ns = self.plan.window_ns;
        for index in 0..self.actors.len() {
            if self.actors[index].ended_ns.is_none() {
                self.turn(index, Doing::Idle, SleepEnded::Open);
            }
        }
        for lock in self.locks.iter_mut().chain(&mut self.gils) {
            if let Some((holder, since_ns)) = lock.holder.take() {
                lock.held.push((since_ns, self.plan.window_ns, holder));
            }
        }
        for request in 0..self.requests.len() {
            let asked = &self.requests[request];
            if asked.ends_ns.is_none() && asked.arrives_ns < self.plan.window_ns {
                let on = asked.on;
                self.moves(request, on);
            }
        }
    }

    /// Moments at which no lock is waited for, and the run can be cut into two windows.
    pub(super) fn cuts(&self) -> impl Iterator<Item = u64> + '_ {
        let waits = |past: &&Past| past.doing.is_lock_wait() || past.doing == Doing::Idle;
        let grains = self.plan.busy_ns / self.plan.grain_ns;
        (grains / 4..grains).map(|grain| grain * self.plan.grain_ns).filter(move |at_ns| {
            let mut pasts = self.actors.iter().flat_map(|actor| actor.past.iter().filter(waits));
            !pasts.any(|past| {
                let is_work = past.doing == Doing::Idle && !matches!(past.end, SleepEnded::By(_));
                !is_work && past.from_ns < *at_ns && past.until_ns > *at_ns
            })
        })
    }

    pub(super) fn is_over(&self, request: usize, at_ns: u64) -> bool {
        self.requests[request].ends_ns.is_some_and(|end_ns| end_ns < at_ns)
    }

    /// The same, as it is known at a moment.
    pub(super) fn until(&self, at_ns: u64) -> Self {
        let mut plan = self.plan.clone();
        plan.window_ns = at_ns;
        let mut world = Self::new(plan, self.random.clone());
        world.actors = self.actors.clone();
        world.actors.iter_mut().for_each(|actor| {
            actor.past.retain(|past| past.from_ns < at_ns);
            if let Some(last) = actor.past.last_mut().filter(|last| last.until_ns > at_ns) {
                (last.until_ns, last.end) = (at_ns, SleepEnded::Open);
            }
            actor.ended_ns = actor.ended_ns.filter(|end_ns| *end_ns <= at_ns);
        });
        // Those that are not born yet have said nothing, and are nobody.
        world.actors.retain(|actor| actor.born.is_none_or(|(born_ns, _)| born_ns < at_ns));
        world.processes = self.processes.clone();
        world.gils = self.gils.clone();
        world.requests = self.requests.clone();
        world
    }

    /// A thread turns to something else.
    fn turn(&mut self, index: usize, doing: Doing, end: SleepEnded) {
        let now_ns = self.now_ns;
        let actor = &mut self.actors[index];
        if now_ns > actor.since_ns {
            let (from_ns, until_ns) = (actor.since_ns, now_ns);
            let since_before = from_ns == 0 && actor.born.is_none();
            let (doing, request) = (actor.now, actor.request);
            actor.past.push(Past { from_ns, until_ns, doing, request, end, since_before });
        }
        actor.now = doing;
        actor.since_ns = now_ns;
    }

    /// What a thread was in has ended.
    fn goes_on(&mut self, index: usize, end: SleepEnded) {
        let actor = &mut self.actors[index];
        actor.is_woken = false;
        if let Some(lock) = actor.wanted.take()
            && end == SleepEnded::Limit
        {
            actor.ops.drain(..2);
            self.locks[lock].waiting.retain(|other| *other != index);
        }
        self.turn(index, Doing::Runs, end);
        // Who was woken for the interpreter lock has it now.
        if end == SleepEnded::Itself {
            self.release_gil(index);
        }
        loop {
            let Some(op) = self.actors[index].ops.pop_front() else {
                if self.takes_next(index) {
                    continue;
                }
                return;
            };
            if self.does(index, op) {
                return;
            }
        }
    }

    /// A thread falls asleep, or works, for so long; `None`: until it is woken.
    fn begins(&mut self, index: usize, doing: Doing, for_ns: Option<u64>) {
        self.turn(index, doing, SleepEnded::Itself);
        if let Some(for_ns) = for_ns {
            self.wake_at(index, self.now_ns + for_ns, false, 0);
        }
    }

    /// A thread does something. Returns whether that takes time.
    fn does(&mut self, index: usize, op: Op) -> bool {
        let process = self.actors[index].process;
        match op {
            Op::Run(for_ns) => {
                if !self.has_gil(index) {
                    self.waits_for_gil(index, op);
                    return true;
                }
                let turn_ns = if self.plan.has_gil { for_ns.min(SWITCH_NS) } else { for_ns };
                if for_ns > turn_ns {
                    self.actors[index].ops.push_front(Op::Run(for_ns - turn_ns));
                }
                self.begins(index, Doing::Runs, Some(turn_ns));
            }
            Op::Sleep(_, _, true) if !self.has_gil(index) => self.waits_for_gil(index, op),
            Op::RunFree(for_ns) => self.begins(index, Doing::Runs, Some(for_ns)),
            Op::Queue(for_ns) => self.begins(index, Doing::Queued, Some(for_ns)),
            // Threads of a process whose page faults end at one moment were stopped, as it seems.
            Op::Sleep(Outside::Fault, for_ns, _) if self.ends_beside_a_fault(process, for_ns) => {
                self.begins(index, Doing::Outside(Outside::File(7)), Some(for_ns));
            }
            Op::Sleep(outside, for_ns, _) => self.begins(index, Doing::Outside(outside), Some(for_ns)),
            Op::Hang(outside) => self.begins(index, Doing::Outside(outside), None),
            Op::Never => self.begins(index, Doing::ForNobody, None),
            Op::Lock(lock) => {
                let lock = process * self.plan.steps.locks + lock;
                return self.locks(index, lock, None);
            }
            Op::Timed(number, limit_ns, hold_ns) => {
                let lock = process * self.plan.steps.locks + number;
                self.actors[index].ops.push_front(Op::Unlock(number));
                self.actors[index].ops.push_front(Op::Run(hold_ns));
                return self.locks(index, lock, Some(limit_ns));
            }
            Op::Unlock(lock) => {
                self.unlocks(index, process * self.plan.steps.locks + lock);
                return false;
            }
            Op::Join(helpers) => {
                let occasion = self.waits_for(index, helpers.len());
                for ops in helpers {
                    self.spawn(process, Role::Helper(occasion), Some(index), ops);
                }
            }
            Op::Ask(work, by_another) => {
                let occasion = self.waits_for(index, 1);
                self.processes[process].jobs.push_back((occasion, work, by_another));
                let manager = self.processes[process].manager.unwrap();
                if self.is_idle(manager) {
                    self.wake(manager, self.actors[index].tid);
                }
            }
            Op::Answer(occasion) => {
                self.occurs(index, occasion);
                return false;
            }
            Op::Entrust(occasion, work) => {
                self.spawn(process, Role::Helper(occasion), Some(index), work);
                return false;
            }
            Op::HandOver(request) => {
                self.hands_over(index, request);
                return false;
            }
            Op::Await(outside, for_ns) => {
                self.goes_away(index, outside, for_ns);
                return false;
            }
        }
        true
    }

    fn ends_beside_a_fault(&mut self, process: usize, for_ns: u64) -> bool {
        let end_ns = (self.now_ns + for_ns).min(self.plan.window_ns);
        let ends = &mut self.processes[process].fault_ends;
        let is_beside = ends.iter().any(|known_ns| known_ns.abs_diff(end_ns) <= 2_000_000);
        ends.extend((!is_beside).then_some(end_ns));
        is_beside
    }

    fn waits_for(&mut self, index: usize, remaining: usize) -> usize {
        self.occasions.push(Occasion { waiter: index, remaining, setter: None });
        let occasion = self.occasions.len() - 1;
        self.begins(index, Doing::ForEvent(occasion), None);
        occasion
    }

    /// A thread has done its part of what is waited for.
    pub(super) fn occurs(&mut self, index: usize, occasion: usize) {
        let occasion = &mut self.occasions[occasion];
        occasion.remaining -= 1;
        if occasion.remaining == 0 {
            occasion.setter = Some(index);
            let waiter = occasion.waiter;
            self.wake(waiter, self.actors[index].tid);
        }
    }

    pub(super) fn is_idle(&self, index: usize) -> bool {
        let actor = &self.actors[index];
        actor.now == Doing::Idle && !actor.is_woken && actor.ended_ns.is_none()
    }

    /// Takes a lock, or waits for it. Returns whether it waits.
    fn locks(&mut self, index: usize, lock: usize, limit_ns: Option<u64>) -> bool {
        if self.locks[lock].holder.is_none() {
            self.locks[lock].holder = Some((index, self.now_ns));
            return false;
        }
        self.locks[lock].waiting.push_back(index);
        self.begins(index, Doing::ForLock(lock), None);
        if let Some(limit_ns) = limit_ns {
            self.actors[index].wanted = Some(lock);
            self.wake_at(index, self.now_ns + limit_ns, true, 0);
        }
        true
    }

    fn unlocks(&mut self, index: usize, lock: usize) {
        if let Some(next) = pass_on(&mut self.locks[lock], self.now_ns) {
            self.wake(next, self.actors[index].tid);
        }
    }

    fn has_gil(&mut self, index: usize) -> bool {
        let actor = &mut self.actors[index];
        let gil = &mut self.gils[actor.process];
        if self.plan.has_gil && !actor.has_gil && gil.holder.is_none() {
            gil.holder = Some((index, self.now_ns));
            actor.has_gil = true;
        }
        actor.has_gil || !self.plan.has_gil
    }

    fn waits_for_gil(&mut self, index: usize, op: Op) {
        self.actors[index].ops.push_front(op);
        let process = self.actors[index].process;
        self.gils[process].waiting.push_back(index);
        self.begins(index, Doing::ForGil, None);
    }

    fn release_gil(&mut self, index: usize) {
        if !std::mem::take(&mut self.actors[index].has_gil) {
            return;
        }
        let process = self.actors[index].process;
        if let Some(next) = pass_on(&mut self.gils[process], self.now_ns) {
            self.actors[next].has_gil = true;
            self.wake(next, self.actors[index].tid);
        }
    }
}

/// Its holder gives a lock back, and the one that has waited longest has it.
fn pass_on(lock: &mut Lock, now_ns: u64) -> Option<usize> {
    let (holder, since_ns) = lock.holder.take().unwrap();
    if now_ns > since_ns {
        lock.held.push((since_ns, now_ns, holder));
    }
    let next = lock.waiting.pop_front()?;
    lock.holder = Some((next, now_ns));
    Some(next)
}
