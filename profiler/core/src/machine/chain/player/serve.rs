//! How the player's server serves: who takes what next.
//!
//! In: arrivals, threads that have nothing to do. Out: threads with something to do.

use super::doing::{Doing, Outside};
use super::plan::{Plan, Server};
use super::random::Random;
use super::script::{Op, Writer};
use super::world::{Asked, Blocked, Next, PlayedServer, Process, Role};

impl PlayedServer {
    /// A server as planned, and its requests on their way.
    pub(super) fn planned(plan: Plan, random: Random) -> Self {
        let mut world = Self::new(plan, random);
        for process in 0..world.plan.processes {
            world.starts(process);
        }
        for request in 0..world.plan.requests {
            let grains = world.plan.busy_ns / world.plan.grain_ns;
            let arrives_ns = world.random.between(1, grains) * world.plan.grain_ns;
            let is_kept = world.plan.server == Server::Pool && world.plan.dispatch.keeps_connections;
            let is_kept = is_kept && world.random.percent(50);
            let kept_by = is_kept.then(|| world.random.place(world.plan.processes));
            let rest = world.writes(|writer| writer.script(0, 2)).into();
            let endpoint = world.random.below(3);
            let on = kept_by.map_or(Blocked::AcceptQueue, Blocked::Loop);
            world.requests.push(Asked {
                arrives_ns,
                ends_ns: None,
                endpoint,
                life: Vec::new(),
                on,
                on_since_ns: arrives_ns,
                rest,
                kept_by,
            });
            if world.plan.server == Server::Loop {
                let more = world.writes(|writer| {
                    let mut ops = vec![Op::Await(Outside::BackEnd(5432), writer.time_ns())];
                    ops.extend(writer.script(0, 1));
                    ops
                });
                world.requests[request].rest.extend(more);
            }
            world.at(arrives_ns, Next::Arrives(request));
        }
        world
    }

    fn starts(&mut self, process: usize) {
        let role = match self.plan.server {
            Server::Acceptors => Role::Main,
            Server::Pool => Role::Dispatcher,
            Server::Loop => Role::Loop,
        };
        let boss = self.spawn(process, role, None, Vec::new());
        let tgid = self.actors[boss].tid;
        self.processes.push(Process { tgid, boss, ..Process::default() });
        let role = if self.plan.server == Server::Pool { Role::Pool } else { Role::Acceptor };
        for _ in 0..self.plan.threads {
            self.spawn(process, role, None, Vec::new());
        }
        for _ in 0..self.plan.stuck {
            self.spawn(process, Role::Stuck, None, vec![Op::Hang(Outside::BackEnd(6379))]);
        }
        if self.plan.steps.asks {
            self.processes[process].manager = Some(self.spawn(process, Role::Manager, None, Vec::new()));
        }
        for _ in 0..self.plan.background {
            // What has slept since before may be of the pool, as it seems.
            self.spawn(process, Role::Background, None, vec![Op::RunFree(self.plan.grain_ns)]);
        }
    }

    fn writes<T>(&mut self, write: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        write(&mut Writer { plan: &self.plan, random: &mut self.random })
    }

    /// A request goes on to where it is next.
    pub(super) fn moves(&mut self, request: usize, on: Blocked) {
        let now_ns = self.now_ns;
        let asked = &mut self.requests[request];
        if now_ns > asked.on_since_ns {
            asked.life.push((asked.on_since_ns, now_ns, asked.on));
        }
        asked.on = on;
        asked.on_since_ns = now_ns;
    }

    pub(super) fn arrives(&mut self, request: usize) {
        if let Some(process) = self.requests[request].kept_by {
            self.processes[process].loop_queue.push_back(request);
            let boss = self.processes[process].boss;
            if self.is_idle(boss) {
                self.wake(boss, 0);
            }
            return;
        }
        self.accept_queue.push_back(request);
        let accepts = |role| matches!(role, Role::Acceptor | Role::Dispatcher | Role::Loop);
        let idle: Vec<usize> = (0..self.actors.len())
            .filter(|index| accepts(self.actors[*index].role) && self.is_idle(*index))
            .collect();
        if !idle.is_empty() {
            let index = idle[self.random.place(idle.len())];
            self.wake(index, 0);
        }
    }

    pub(super) fn ready(&mut self, request: usize) {
        let boss = self.requests[request].kept_by.unwrap();
        let process = self.actors[boss].process;
        self.moves(request, Blocked::Loop(process));
        self.processes[process].loop_queue.push_back(request);
        if self.is_idle(boss) {
            self.wake(boss, 0);
        }
    }

    pub(super) fn birth(&mut self, process: usize) {
        let role = if self.plan.server == Server::Pool { Role::Pool } else { Role::Acceptor };
        let boss = self.processes[process].boss;
        let ops = self.writes(|writer| vec![Op::Run(writer.time_ns())]);
        self.spawn(process, role, Some(boss), ops);
    }

    /// A thread looks for its next work. Returns whether there is some.
    pub(super) fn takes_next(&mut self, index: usize) -> bool {
        let (role, process) = (self.actors[index].role, self.actors[index].process);
        if role != Role::Dispatcher
            && let Some(request) = self.actors[index].request.take()
        {
            self.moves(request, Blocked::AcceptQueue);
            self.requests[request].ends_ns = Some(self.now_ns);
            let is_boss = self.processes[process].boss == index;
            if self.plan.replaces && !is_boss && self.random.percent(15) {
                let delay_ns = self.writes(|writer| writer.time_ns());
                self.at(self.now_ns + delay_ns, Next::Birth(process));
                return self.ends(index);
            }
        }
        let found = match role {
            Role::Main | Role::Stuck => false,
            Role::Acceptor => self.accepts(index),
            Role::Dispatcher => self.dispatches(index),
            Role::Loop => self.turns(index),
            Role::Pool => match self.processes[process].pool_queue.pop_front() {
                Some(request) => self.serves(index, request),
                None => false,
            },
            Role::Manager => self.manages(index),
            Role::Background => {
                let ops = self.writes(|writer| {
                    let mut ops = writer.script(0, 1);
                    ops.push(Op::Sleep(Outside::Sleep, 30 * writer.time_ns(), false));
                    ops
                });
                self.actors[index].ops = ops.into();
                true
            }
            Role::Helper(occasion) => {
                self.occurs(index, occasion);
                return self.ends(index);
            }
        };
        if !found {
            self.actors[index].now = Doing::Idle;
        }
        found
    }

    fn ends(&mut self, index: usize) -> bool {
        self.actors[index].ended_ns = Some(self.now_ns);
        false
    }

    fn serves(&mut self, index: usize, request: usize) -> bool {
        self.moves(request, Blocked::Thread(index));
        self.actors[index].request = Some(request);
        self.actors[index].ops = std::mem::take(&mut self.requests[request].rest);
        true
    }

    fn accepts(&mut self, index: usize) -> bool {
        self.actors[index].accepts_since_ns.get_or_insert(self.now_ns);
        match self.accept_queue.pop_front() {
            Some(request) => self.serves(index, request),
            None => false,
        }
    }

    fn dispatches(&mut self, index: usize) -> bool {
        let process = self.actors[index].process;
        self.actors[index].accepts_since_ns.get_or_insert(self.now_ns);
        let kept = self.processes[process].loop_queue.pop_front();
        let Some(request) = kept.or_else(|| self.accept_queue.pop_front()) else { return false };
        if self.requests[request].on == Blocked::AcceptQueue {
            self.moves(request, Blocked::Loop(process));
        }
        let is_slow = self.plan.dispatch.dispatches_slowly;
        let mut ops = if is_slow { vec![Op::Run(self.plan.grain_ns)] } else { Vec::new() };
        if is_slow && self.random.percent(20) {
            ops.extend(self.writes(|writer| writer.simple()));
        }
        ops.push(Op::HandOver(request));
        self.actors[index].ops = ops.into();
        true
    }

    pub(super) fn hands_over(&mut self, index: usize, request: usize) {
        let process = self.actors[index].process;
        self.moves(request, Blocked::Pool(process));
        self.processes[process].pool_queue.push_back(request);
        let of_pool = |actor: &super::world::Actor| {
            actor.role == Role::Pool && actor.process == process && actor.ended_ns.is_none()
        };
        let pool: Vec<usize> = (0..self.actors.len()).filter(|at| of_pool(&self.actors[*at])).collect();
        let idle: Vec<usize> = pool.iter().copied().filter(|at| self.is_idle(*at)).collect();
        if !idle.is_empty() {
            let chosen = idle[self.random.place(idle.len())];
            self.wake(chosen, self.actors[index].tid);
        } else if pool.len() < self.plan.most_threads {
            self.birth(process);
        }
    }

    /// A loop's next turn.
    fn turns(&mut self, index: usize) -> bool {
        let process = self.actors[index].process;
        self.actors[index].accepts_since_ns.get_or_insert(self.now_ns);
        let ready = self.processes[process].loop_queue.pop_front();
        let Some(request) = ready.or_else(|| self.accept_queue.pop_front()) else { return false };
        self.requests[request].kept_by = Some(index);
        self.serves(index, request)
    }

    pub(super) fn goes_away(&mut self, index: usize, outside: Outside, for_ns: u64) {
        let request = self.actors[index].request.take().unwrap();
        self.requests[request].rest = std::mem::take(&mut self.actors[index].ops);
        self.moves(request, Blocked::Away(outside));
        self.at(self.now_ns + for_ns, Next::Ready(request));
    }

    fn manages(&mut self, index: usize) -> bool {
        let process = self.actors[index].process;
        let Some((occasion, work, by_another)) = self.processes[process].jobs.pop_front() else {
            return false;
        };
        let ops = if by_another {
            vec![Op::Run(self.plan.grain_ns), Op::Entrust(occasion, work)]
        } else {
            work.into_iter().chain([Op::Answer(occasion)]).collect()
        };
        self.actors[index].ops = ops.into();
        true
    }
}
