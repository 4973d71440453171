//! What requests and threads are to do, made up at random.
//!
//! In: a plan, random numbers. Out: lists of [`Op`]s. Locks are taken in the order of their numbers, so none
//! of them makes a circle.

use super::doing::Outside;
use super::plan::Plan;
use super::random::Random;

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Computes, with the interpreter lock where there is one.
    Run(u64),
    /// Computes without it.
    RunFree(u64),
    /// Has no CPU.
    Queue(u64),
    /// Sleeps for something outside; true: with the interpreter lock.
    Sleep(Outside, u64, bool),
    /// The same for ever.
    Hang(Outside),
    Lock(usize),
    Unlock(usize),
    /// Waits for a lock, for so long at most; holds it for so long.
    Timed(usize, u64, u64),
    /// Waits for a lock that nobody gives back.
    Never,
    /// Makes helper threads and waits for all of them.
    Join(Vec<Vec<Op>>),
    /// Hands work to the manager thread and waits for it; true: a thread that the manager makes does it.
    Ask(Vec<Op>, bool),
    /// On an event loop: waits for something while the loop goes on.
    Await(Outside, u64),
    /// Of the manager: the answer is there.
    Answer(usize),
    /// Of the manager: a new thread is to do it, and to answer.
    Entrust(usize, Vec<Op>),
    /// Of a dispatcher: a request goes to the pool.
    HandOver(usize),
}

/// Makes scripts up.
pub(super) struct Writer<'a> {
    pub plan: &'a Plan,
    pub random: &'a mut Random,
}

impl Writer<'_> {
    /// A length of time, by the plan's granule.
    pub(super) const fn time_ns(&mut self) -> u64 {
        let count = match self.random.below(10) {
            0 => self.random.between(10, 60),
            1..4 => self.random.between(4, 20),
            _ => self.random.between(1, 6),
        };
        count * self.plan.grain_ns
    }

    fn outside(&mut self) -> (Outside, u64) {
        let time_ns = self.time_ns();
        match self.random.below(9) {
            0 | 1 => (Outside::BackEnd(5432), time_ns),
            2 => (Outside::BackEnd(53), time_ns),
            // Never of a length of SQLite's ladder.
            3 => (Outside::Sleep, [3, 7, 31, 13][self.random.place(4)] * 1_000_000),
            4 => (Outside::File(7), time_ns),
            5 => (Outside::FileLock, time_ns),
            6 => (Outside::Child, time_ns),
            7 => (Outside::Pipe(2), time_ns),
            _ if self.random.percent(50) => (Outside::Client, time_ns),
            _ => (Outside::Fault, time_ns),
        }
    }

    /// What a request does. Locks below `first_lock` are not touched.
    pub(super) fn script(&mut self, first_lock: usize, depth: u32) -> Vec<Op> {
        let mut ops = Vec::new();
        for _ in 0..self.random.between(1, 4) {
            self.step(first_lock, depth, &mut ops);
        }
        ops
    }

    /// What needs no lock and nobody.
    pub(super) fn simple(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        for _ in 0..self.random.between(1, 3) {
            self.alone(&mut ops);
        }
        ops
    }

    fn alone(&mut self, ops: &mut Vec<Op>) {
        let time_ns = self.time_ns();
        match self.random.below(8) {
            0..3 => ops.push(Op::Run(time_ns)),
            3 if self.plan.steps.runs_free => ops.push(Op::RunFree(time_ns)),
            4 if self.plan.steps.queues => ops.push(Op::Queue(time_ns)),
            _ => {
                let (outside, time_ns) = self.outside();
                let with_gil = self.plan.steps.sleeps_with_gil && self.random.percent(20);
                ops.push(Op::Sleep(outside, time_ns, with_gil));
            }
        }
    }

    fn step(&mut self, first_lock: usize, depth: u32, ops: &mut Vec<Op>) {
        if self.random.percent(self.plan.steps.never_percent) {
            // A fault that does not end would end with the window, and another with it.
            let outside = match self.outside().0 {
                Outside::Fault => Outside::BackEnd(5432),
                outside => outside,
            };
            return ops.push(if self.random.percent(50) { Op::Never } else { Op::Hang(outside) });
        }
        let has_lock = first_lock < self.plan.steps.locks;
        match self.random.below(10) {
            0..3 if has_lock => {
                let lock = first_lock + self.random.place(self.plan.steps.locks - first_lock);
                ops.push(Op::Lock(lock));
                if depth > 0 {
                    ops.extend(self.script(lock + 1, depth - 1));
                } else {
                    self.alone(ops);
                }
                ops.push(Op::Unlock(lock));
            }
            3 if has_lock && self.plan.steps.limits => {
                let lock = first_lock + self.random.place(self.plan.steps.locks - first_lock);
                // Two waits for one lock beside one another would be one, as they are kept.
                ops.push(Op::Run(self.plan.grain_ns));
                ops.push(Op::Timed(lock, self.time_ns(), self.time_ns()));
            }
            4 if self.plan.steps.joins && depth > 0 => {
                let helpers = (0..self.random.between(1, 3)).map(|_| self.script(first_lock, depth - 1));
                ops.push(Op::Join(helpers.collect()));
            }
            5 if self.plan.steps.asks => {
                let work = self.simple();
                ops.push(Op::Ask(work, self.random.percent(40)));
            }
            _ => self.alone(ops),
        }
    }
}
