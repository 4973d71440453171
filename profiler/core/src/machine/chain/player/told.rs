//! What the chain stage is told of what was played.
//!
//! In: what was played. Out: tellings, in the order of each thread, and requests as the machines have them.

use super::doing::{Doing, Outside, Past, SleepEnded};
use super::plan::Server;
use super::world::{Actor, Blocked, PlayedServer};
use crate::event::Tid;
use crate::fact::Account;
use crate::machine::chain::feed::{Doer, SleepSeen};
use crate::machine::chain::segment::SleepEnd;
use crate::machine::chain::state::{Chain, Service};
use crate::machine::lock::gil_holder::{HeldBy, Holders};
use crate::machine::time::piece::Piece;
use crate::machine::time::short::{LONG_NS, Short, ShortRun};
use crate::machine::wire::request::{Active, Beginning};
use crate::model::chain::Object;
use crate::model::request::{Request, Stretch};
use crate::phase::Phase;

/// The listener's inode.
pub(super) const LISTENER: u64 = 77;

/// Something that is told of a thread.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    pub at_ns: u64,
    pub tid: Tid,
    pub what: What,
}

/// What is told.
#[derive(Clone, Debug)]
pub(super) enum What {
    Birth((Tid, Tid), Tid),
    Ended,
    Accepts,
    IsSlot,
    /// A piece; whether it is a call.
    Piece(Doer, Piece, bool, SleepSeen),
    /// A gap and a call, both short.
    Short(Doer, ShortRun),
    /// Light mode: awake for so long, of which so much on a CPU in all.
    Awake(Doer, u64),
    /// Light mode: asleep.
    Slept(Doer, (u64, u64, u64), (Phase, Holders), SleepSeen),
}

impl Telling {
    pub(super) fn tell(&self, chain: &mut Chain) {
        let histories = &mut chain.histories;
        match &self.what {
            What::Birth(child, by) => histories.born(*child, *by, self.at_ns),
            What::Ended => histories.ended(self.tid, self.at_ns),
            What::Accepts => {
                chain.attendance.accepts(LISTENER, self.tid);
                if let Some(history) = histories.get_mut(self.tid) {
                    history.accepts = true;
                }
            }
            What::IsSlot => {
                if let Some(history) = histories.get_mut(self.tid) {
                    history.is_slot = true;
                }
            }
            What::Piece(doer, piece, is_call, seen) => {
                let slept_until_ns = piece.start_ns + piece.account.blocked_ns;
                histories.piece(*doer, piece, *is_call, seen);
                released(chain, *doer, seen, slept_until_ns);
            }
            What::Short(doer, run) => histories.run((doer.tgid, doer.tid), run),
            What::Awake(doer, ran_ns) => {
                let mut entry = histories.entry(doer.tgid, doer.tid, self.at_ns).unwrap();
                entry.awake(doer.request, self.at_ns, (1, *ran_ns));
            }
            What::Slept(doer, times, of, seen) => {
                let mut entry = histories.entry(doer.tgid, doer.tid, times.0).unwrap();
                entry.slept(doer.request, *times, *of, seen);
                released(chain, *doer, seen, times.1);
            }
        }
    }
}

/// A thread of the target ended a wait for a lock.
fn released(chain: &mut Chain, doer: Doer, seen: &SleepSeen, at_ns: u64) {
    if let (Object::Futex { address }, SleepEnd::Thread(by)) = (seen.object, seen.end) {
        chain.releases.released((doer.tgid, address), at_ns, by);
    }
}

impl PlayedServer {
    pub(super) fn tgid(&self, actor: &Actor) -> Tid {
        self.processes[actor.process].tgid
    }

    /// All that is told of each thread. `is_light`: as in light mode. `names_requests`: for whom threads work
    /// is known as they work, not only as requests are over.
    pub(super) fn told(&self, is_light: bool, names_requests: bool) -> Vec<Vec<Telling>> {
        let of = |actor: &Actor| {
            let mut told = Teller { world: self, actor, names_requests, told: Vec::new(), ran_ns: 0 };
            told.all(is_light);
            told.told
        };
        self.actors.iter().map(of).collect()
    }

    /// A request as it is over. `None`: nobody has seen it.
    pub(super) fn completed(&self, index: usize) -> Option<(Request, Service)> {
        let asked = &self.requests[index];
        let end_ns = asked.ends_ns.unwrap_or(self.plan.window_ns);
        if end_ns <= asked.arrives_ns {
            return None;
        }
        let mut stretches = Vec::new();
        let mut spans = Vec::new();
        let (mut tgid, mut tid) = (0, 0);
        let beginning = Beginning { connection: 1, ..Beginning::at(index as u64, asked.arrives_ns) };
        let mut request = Active::new(&beginning, 1, 2).request;
        request.phases = crate::phase::Phases::default();
        for &(start_ns, end_ns, on) in &asked.life {
            let boss = |process: usize| (self.processes[process].tgid, 1000);
            match on {
                Blocked::AcceptQueue => request.phases.add(Phase::AcceptQueue, end_ns - start_ns),
                Blocked::Loop(process) | Blocked::Pool(process) => {
                    let phase =
                        if matches!(on, Blocked::Loop(_)) { Phase::LoopWait } else { Phase::PoolWait };
                    request.phases.add(phase, end_ns - start_ns);
                    spans.push((start_ns, end_ns));
                    (tgid, tid) = boss(process);
                    tid = self.actors[self.processes[process].boss].tid.max(tid);
                }
                Blocked::Away(outside) => {
                    request.phases.add(outside.phase(), end_ns - start_ns);
                    if let Outside::BackEnd(port) = outside {
                        request.round_trips.waits(port, end_ns - start_ns);
                    }
                }
                Blocked::Thread(actor) => {
                    let actor = &self.actors[actor];
                    (tgid, tid) = (self.tgid(actor), actor.tid);
                    stretches.push(Stretch { tgid, tid, start_ns, end_ns });
                    for past in &actor.past {
                        let (from_ns, until_ns) = (past.from_ns.max(start_ns), past.until_ns.min(end_ns));
                        let length_ns = until_ns.saturating_sub(from_ns);
                        request.phases.add(past.doing.phase(), length_ns);
                        if let Doing::Outside(Outside::BackEnd(port)) = past.doing {
                            request.round_trips.waits(port, length_ns);
                        }
                    }
                }
            }
        }
        request.tgid = tgid;
        request.tid = tid;
        request.times.start_ns = asked.arrives_ns;
        request.times.end_ns = end_ns;
        request.http.method = "GET".to_owned();
        request.http.path = format!("/{}", ["a", "b", "c"][usize::try_from(asked.endpoint).unwrap()]);
        request.stretches = stretches;
        request.seen.open = asked.ends_ns.is_none();
        // On a loop it is on no thread for other reasons too.
        if self.plan.server == Server::Acceptors {
            spans.clear();
        }
        Some((*request, Service { spans, inode: LISTENER, ..Service::default() }))
    }
}

struct Teller<'a> {
    world: &'a PlayedServer,
    actor: &'a Actor,
    names_requests: bool,
    told: Vec<Telling>,
    ran_ns: u64,
}

impl Teller<'_> {
    fn say(&mut self, at_ns: u64, what: What) {
        self.told.push(Telling { at_ns, tid: self.actor.tid, what });
    }

    fn all(&mut self, is_light: bool) {
        let (world, actor) = (self.world, self.actor);
        if let Some((born_ns, by)) = actor.born {
            self.say(born_ns, What::Birth((world.tgid(actor), actor.tid), world.actors[by].tid));
        }
        let mut at = 0;
        let mut accepts_from_ns = actor.accepts_since_ns;
        while let Some(past) = actor.past.get(at) {
            let next = actor.past.get(at + 1);
            at += if is_light { self.light(past, next) } else { self.full(past, next) };
            let until_ns = actor.past[at - 1].until_ns;
            if matches!(actor.role, super::world::Role::Pool) {
                self.say(until_ns, What::IsSlot);
            }
            if accepts_from_ns.is_some_and(|since_ns| since_ns < until_ns) {
                accepts_from_ns = None;
                self.say(until_ns, What::Accepts);
            }
        }
        if let Some(ended_ns) = actor.ended_ns {
            self.say(ended_ns, What::Ended);
        }
    }

    fn doer(&self, past: &Past) -> Doer {
        let request = past.request.filter(|_| self.names_requests).map_or(0, |request| request as u64 + 1);
        Doer { tgid: self.world.tgid(self.actor), tid: self.actor.tid, request }
    }

    fn seen(&self, past: &Past) -> SleepSeen {
        let is_idle = past.doing == Doing::Idle;
        let is_ours = is_idle || past.doing.is_lock_wait();
        let end = match past.end {
            _ if !is_ours => SleepEnd::Outside,
            SleepEnded::Open => SleepEnd::Open,
            SleepEnded::Limit => SleepEnd::Limit,
            SleepEnded::By(tid) => SleepEnd::Thread(tid),
            SleepEnded::Itself => SleepEnd::Unknown,
        };
        let (object, system_call) = match past.doing {
            Doing::Outside(outside @ Outside::FileLock) => (Object::Unknown, outside.system_call()),
            Doing::Outside(outside) => (outside.leaf().1, outside.system_call()),
            Doing::Runs | Doing::Queued => (Object::Unknown, -1),
            // A lock of the program has an address; each other wait is in a lock of its own.
            Doing::ForLock(lock) => (Object::Futex { address: 1 + lock as u64 }, 202),
            Doing::ForEvent(occasion) => (Object::Futex { address: 1_000_000 + occasion as u64 }, 202),
            _ => (Object::Futex { address: 2_000_000 + u64::from(self.actor.tid) }, 202),
        };
        let since_before = past.since_before;
        SleepSeen { is_idle, object, end, since_before, ..SleepSeen::outside(system_call) }
    }

    /// Full mode. Returns how much of the past was told.
    fn full(&mut self, past: &Past, next: Option<&Past>) -> usize {
        let doer = self.doer(past);
        let (from_ns, until_ns) = (past.from_ns, past.until_ns);
        let next = next.filter(|next| next.request == past.request && next.from_ns == until_ns);
        let mut piece = Piece { cpu: Phase::Cpu, ..Piece::unknown(from_ns, until_ns) };
        let length_ns = until_ns - from_ns;
        match past.doing {
            Doing::Runs => {
                piece.account = Account { cpu_ns: length_ns, ..Account::default() };
                let fault = next.filter(|next| next.doing == Doing::Outside(Outside::Fault));
                let call = next.filter(|next| matches!(next.doing, Doing::Idle | Doing::Outside(_)));
                if let Some(fault) = fault {
                    piece.end_ns = fault.until_ns;
                    piece.fault_ns = fault.until_ns - fault.from_ns;
                    piece.account.blocked_ns = piece.fault_ns;
                } else if let Some(call) = call
                    && call.until_ns - from_ns < LONG_NS
                {
                    let (start_ns, end_ns, request) = (from_ns, call.until_ns, doer.request);
                    let mut short = Short::default();
                    short.take(&piece, false);
                    short.take(&asleep(call), call.doing == Doing::Idle);
                    self.say(end_ns, What::Short(doer, ShortRun { start_ns, end_ns, request, short }));
                    return 2;
                }
                self.say(piece.end_ns, What::Piece(doer, piece, false, SleepSeen::outside(-1)));
                return 1 + usize::from(fault.is_some());
            }
            Doing::Queued => {
                piece.account = Account { run_queue_ns: length_ns, ..Account::default() };
                self.say(until_ns, What::Piece(doer, piece, true, SleepSeen::outside(-1)));
            }
            Doing::ForGil => {
                for (from_ns, until_ns, held_by) in self.holders(past) {
                    let waits = Piece { held_by, ..asleep(&Past { from_ns, until_ns, ..*past }) };
                    self.say(until_ns, What::Piece(doer, waits, true, self.seen(past)));
                }
            }
            Doing::Outside(Outside::Fault) => {
                piece = asleep(past);
                piece.fault_ns = length_ns;
                self.say(until_ns, What::Piece(doer, piece, false, SleepSeen::outside(-1)));
            }
            _ => {
                let mut call = asleep(past);
                let queued = next.filter(|next| next.doing == Doing::Queued);
                if let Some(queued) = queued {
                    call.end_ns = queued.until_ns;
                    call.account.run_queue_ns = queued.until_ns - queued.from_ns;
                }
                self.say(call.end_ns, What::Piece(doer, call, true, self.seen(past)));
                return 1 + usize::from(queued.is_some());
            }
        }
        1
    }

    /// Light mode: sleeps alone, and how long the thread ran between them.
    fn light(&mut self, past: &Past, next: Option<&Past>) -> usize {
        let doer = self.doer(past);
        let (from_ns, until_ns) = (past.from_ns, past.until_ns);
        match past.doing {
            Doing::Runs => {
                self.ran_ns += until_ns - from_ns;
                self.say(until_ns, What::Awake(doer, self.ran_ns));
            }
            Doing::Queued => self.say(until_ns, What::Awake(doer, self.ran_ns)),
            Doing::ForGil => {
                for (from_ns, until_ns, held_by) in self.holders(past) {
                    let of = (Phase::GilWait, held_by);
                    let times = (from_ns, until_ns, until_ns);
                    self.say(until_ns, What::Slept(doer, times, of, self.seen(past)));
                }
            }
            _ => {
                let queued = next.filter(|next| next.doing == Doing::Queued && next.request == past.request);
                let end_ns = queued.map_or(until_ns, |queued| queued.until_ns);
                let times = (from_ns, until_ns, end_ns);
                let of = (past.doing.phase(), Holders::NONE);
                self.say(end_ns, What::Slept(doer, times, of, self.seen(past)));
                return 1 + usize::from(queued.is_some());
            }
        }
        1
    }

    /// A wait for the interpreter lock, cut so that each part has two holders at most.
    fn holders(&self, past: &Past) -> Vec<(u64, u64, Holders)> {
        let gil = &self.world.gils[self.actor.process];
        let mut parts: Vec<(u64, u64, Holders)> = Vec::new();
        for &(from_ns, until_ns, holder) in &gil.held {
            let (from_ns, until_ns) = (from_ns.max(past.from_ns), until_ns.min(past.until_ns));
            if from_ns >= until_ns {
                continue;
            }
            let is_read = self.world.plan.reads_holders;
            let tid = if is_read { self.world.actors[holder].tid } else { 0 };
            let by = HeldBy { contender: 0, tid };
            match parts.last_mut() {
                Some(last) if last.2.then.is_none() => {
                    last.1 = until_ns;
                    last.2.then = Some((from_ns, by));
                }
                _ => parts.push((from_ns, until_ns, Holders { first: by, then: None })),
            }
        }
        parts
    }
}

/// A sleep, as a call.
fn asleep(past: &Past) -> Piece {
    let length_ns = past.until_ns - past.from_ns;
    Piece {
        blocked: past.doing.phase(),
        cpu: Phase::Cpu,
        account: Account { blocked_ns: length_ns, ..Account::default() },
        ..Piece::unknown(past.from_ns, past.until_ns)
    }
}
