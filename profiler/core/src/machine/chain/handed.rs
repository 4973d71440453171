//! Requests that a pool of threads was given and has not answered.
//!
//! In: requests as they are over, threads' histories. Out: the thread that most likely has such a request:
//! the one that has been at work longest since the request was read, for none that is known.

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::chain::history::Histories;
use crate::model::request::{Request, Stretch};

/// Processes of which it is remembered whether they hand on requests.
const MAX_PROCESSES: usize = 8192;

/// Requests of a process that went from one thread to another, and all.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    handed: u64,
    all: u64,
}

/// Which processes hand their requests to a pool of threads.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct HandsOn {
    processes: BoundedMap<Tid, Count, MAX_PROCESSES>,
}

impl HandsOn {
    /// A request was answered.
    pub(super) fn answered(&mut self, request: &Request) {
        let mut tids = request.stretches.iter().map(|stretch| stretch.tid);
        let first = tids.next();
        if let Some(count) = self.processes.get_or_default(request.tgid) {
            count.all += 1;
            count.handed += u64::from(tids.any(|tid| Some(tid) != first));
        }
    }

    /// Whether nearly all requests of a process go to a pool.
    pub(super) fn is_usual(&self, tgid: Tid) -> bool {
        let count = self.processes.get(&tgid).copied().unwrap_or_default();
        count.handed.saturating_mul(20) >= count.all.saturating_mul(19) && count.all > 0
    }

    /// Whether a process hands its requests to a pool of threads: it has, or it has answered none, and
    /// threads of a pool hang.
    pub(super) fn hands_on(&self, histories: &Histories, tgid: Tid) -> bool {
        let hangs = |tid: &Tid| {
            histories.get(*tid).is_some_and(|history| history.hangs_in_request && history.is_of_pool())
        };
        self.is_usual(tgid)
            || self.processes.get(&tgid).is_none() && histories.of_process(tgid).iter().any(hangs)
    }

    /// The thread that has a request that nobody has answered, and since when.
    pub(super) fn who_has(&self, histories: &Histories, request: &Request) -> Option<Stretch> {
        let tgid = request.tgid;
        // Who hangs since before the trace has none that came since.
        let of_pool = |tid: &Tid| {
            histories.get(*tid).is_some_and(|history| history.is_of_pool() && !history.hangs_in_request)
        };
        if !self.is_usual(tgid) || request.stretches.iter().any(|stretch| of_pool(&stretch.tid)) {
            return None;
        }
        let read_ns = request.stretches.first().map_or(request.times.start_ns, |stretch| stretch.start_ns);
        let works = |tid: Tid| {
            let since_ns = histories.get(tid)?.works_for_nobody_since(read_ns)?;
            Some(Stretch { tgid, tid, start_ns: since_ns, end_ns: request.times.end_ns })
        };
        let pool = histories.of_process(tgid).iter().copied().filter(of_pool);
        pool.filter_map(works).min_by_key(|stretch| (stretch.start_ns, stretch.tid))
    }

    /// The next window begins.
    pub(super) fn roll(&mut self, histories: &Histories) {
        self.processes.retain(|tgid, _| !histories.of_process(*tgid).is_empty());
    }

    /// Processes that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.processes.evicted()
    }
}
