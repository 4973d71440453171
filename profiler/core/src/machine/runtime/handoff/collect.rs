//! A loop resumes a request: which of the threads' jobs were the request's.
//!
//! In: the jobs of a pool, a request that resumes, the task in which it does. Out: the job's time as part of
//! the request, and how sure that is.

use super::own_thread;
use crate::event::Tid;
use crate::machine::runtime::event_loop::Looks;
use crate::machine::runtime::pool::{Job, Pool};
use crate::machine::runtime::state::RuntimeContext;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::wire::request::RequestKey;
use crate::phase::Phase;
use crate::rule::Rule;

/// What resuming a request brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum Collected {
    /// Nobody worked for it.
    Nothing,
    /// A thread of the pool did.
    Known,
    /// One of several threads did. The order of their notes decided which.
    ByOrder,
}

/// How the loop resumes a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Resume<'a> {
    /// When the loop looked.
    pub(in crate::machine) looks: &'a Looks,
    pub(in crate::machine) tgid: Tid,
    pub(in crate::machine) key: RequestKey,
    pub(in crate::machine) at_ns: u64,
    /// A job whose last note the loop read before this moment was for no request: the loop has handled that
    /// note since.
    pub(in crate::machine) recent_ns: u64,
    /// The loop does not know of what threads noted after this moment.
    pub(in crate::machine) knows_until_ns: u64,
    /// Threads only help (gevent): any greenlet gives jobs, in any order. There a request gets only the jobs
    /// that are known to be its own.
    pub(in crate::machine) is_helped: bool,
    /// The Python task in which it resumes. What that task handed over is its own. Of several jobs, those of
    /// another task are not.
    pub(in crate::machine) task: Option<u64>,
    /// When the request ran first since it was read, at the earliest, where that is known.
    pub(in crate::machine) first_run_ns: Option<u64>,
}

/// The loop resumes a request: jobs that were done for it become part of it.
pub(in crate::machine) fn collect(state: &mut RuntimeContext<'_>, resume: Resume<'_>) -> Collected {
    let Resume { looks, tgid, key, at_ns, recent_ns, knows_until_ns, is_helped, task, first_run_ns } = resume;
    let Some(pool) = state.runtime.pools.get_mut(tgid) else { return Collected::Nothing };
    pool.own.resumed(key, at_ns);
    pool.givers.resumed(task, recent_ns);
    let task = task.filter(|_| pool.givers.resume_themselves());
    let own = &pool.own;
    pool.jobs.retain(|job| job.noted_ns >= recent_ns || job.key == Some(key) || own.has(job.tid));
    let Some(connection) = state.wire.connections.get_mut(key.0) else { return Collected::Nothing };
    let may_have_more = connection.outbound.may_have_more();
    let Some(active) = connection.requests.front_mut() else { return Collected::Nothing };
    let Some(read_ns) = active.request.times.service_start_ns.filter(|_| active.request.id == key.1) else {
        return Collected::Nothing;
    };
    let mut by_order = false;
    if !active.response.has_begun
        && let Some((tid, is_only)) = own_thread::claim(pool, key, read_ns.max(recent_ns))
    {
        by_order = !is_only;
        if let Some(thread) = state.runtime.threads.get_mut(tid) {
            thread.pooled.works_for = Some(key);
            thread.pooled.report.resumed_ns = at_ns;
        }
    }
    if !own_thread::in_flight(pool, &mut state.runtime.threads, key, at_ns) {
        *state.evicted = state.evicted.saturating_add(1);
    }
    let wanted = Wanted {
        key,
        at_ns,
        knows_until_ns,
        read_ns,
        given_ns: read_ns.max(active.on_loop.ran_ns),
        task,
        // One that another's thread did is no other's.
        may_be_any_s: !is_helped && !active.pooled,
    };
    if !pool.jobs.iter().any(|job| job.key == Some(key)) {
        // A thread that has worked for a request continues until the request is over, or until it has given a
        // piece of the response. Otherwise it just has not noted anything since. Its task may have
        // given another job.
        let works_on = active.pooled && !(active.response.has_begun && may_have_more);
        if works_on && !pool.jobs.iter().any(|job| wanted.is_told(job)) {
            return Collected::Nothing;
        }
        match wanted.give(pool, &mut state.runtime.threads) {
            Some(is_by_order) => by_order = is_by_order,
            None => return Collected::Nothing,
        }
    }
    let mut index = 0;
    while let Some(job) = pool.jobs.get(index) {
        if job.key != Some(key) {
            index += 1;
            continue;
        }
        let Some(mut job) = pool.jobs.remove(index) else { break };
        match job.ready_ns {
            Some(ready_ns) => {
                active.pass(ready_ns.min(job.begin_ns), Phase::Unexplained);
                active.pass(job.begin_ns, Phase::LoopWait);
            }
            None => {
                let do_tell = pool.givers.resume_themselves();
                job.handed.wait_for_turn(active, first_run_ns, job.begin_ns);
                job.handed.pass_before(active, job.begin_ns, do_tell, looks);
            }
        }
        active.pooled = true;
        active.take_pieces(&mut job.pieces, tgid, job.tid);
    }
    if by_order { Collected::ByOrder } else { Collected::Known }
}

/// A request that resumes, and wants the job that was done for it.
struct Wanted {
    key: RequestKey,
    /// When it resumes.
    at_ns: u64,
    /// The loop does not know of what was noted after this moment.
    knows_until_ns: u64,
    /// When it was read.
    read_ns: u64,
    /// Since when its job may have been given.
    given_ns: u64,
    /// The Python task in which it resumes.
    task: Option<u64>,
    /// A job of which nothing is known may be its own.
    may_be_any_s: bool,
}

impl Wanted {
    /// Whether a job that is not given yet was done while it waited.
    fn fits(&self, job: &Job) -> bool {
        job.key.is_none()
            && job.ready_ns.is_none()
            && job.noted_ns > self.read_ns
            && job.begin_ns >= self.given_ns
    }

    /// Whether its own task handed the job over.
    fn is_told(&self, job: &Job) -> bool {
        self.fits(job) && self.task.is_some() && job.handed.task == self.task
    }

    /// Whether the job may be its own by what is known of tasks.
    fn may_be(&self, job: &Job) -> bool {
        self.fits(job) && (self.task.is_none() || job.handed.task.is_none())
    }

    /// Whether the job's thread was woken for it. An attribution by order alone at the wakeup says less than
    /// the order of the notes: the loop resumes in that order.
    fn is_own(&self, job: &Job) -> bool {
        self.may_be(job) && job.woken_for == Some(self.key) && !job.by_order
    }

    fn is_free(&self, job: &Job) -> bool {
        let is_known = job.told_ns <= self.knows_until_ns || !Rule::NotedBeforeLook.holds();
        self.may_be(job) && self.may_be_any_s && is_known && (job.woken_for.is_none() || job.by_order)
    }

    /// Gives it its job, and the jobs that its task handed over one after the other. Returns whether it is
    /// one of several, found by the order of their notes alone. `None`: there is none.
    fn give(&self, pool: &mut Pool, threads: &mut Threads) -> Option<bool> {
        let count = pool.jobs.iter().filter(|job| self.fits(job)).count();
        let own = pool.jobs.iter().filter(|job| self.is_own(job)).count();
        let is_told = pool.jobs.iter().any(|job| self.is_told(job));
        let is_it = |job: &Job| match (is_told, own) {
            (true, _) => self.is_told(job),
            (false, 0) => self.is_free(job) && (count == 1 || Rule::DoneInOrder.holds()),
            (false, _) => self.is_own(job),
        };
        let job = pool.jobs.iter_mut().find(|job| is_it(job))?;
        job.key = Some(self.key);
        let (tid, noted_ns, by_task) = (job.tid, job.noted_ns, job.handed.task);
        pool.open.remove(&tid);
        // The thread may be at another request's job by now.
        let is_at_it = |thread: &&mut Thread| {
            let handed = thread.pooled.handed;
            thread.pooled.begun_ns <= noted_ns || handed.task.is_none() || handed.task == by_task
        };
        if let Some(thread) = threads.get_mut(tid).filter(is_at_it) {
            thread.pooled.report.resumed_ns = self.at_ns;
            thread.pooled.works_for = Some(self.key);
            pool.working.retain(|(worker, _)| *worker != tid);
            pool.working.push((tid, self.key));
        }
        if is_told {
            // The thread has done nothing else in between.
            pool.jobs.iter_mut().filter(|job| self.is_told(job)).for_each(|job| job.key = Some(self.key));
        }
        Some(!is_told && (own > 1 || own == 0 && count > 1))
    }
}

#[cfg(test)]
mod tests;
