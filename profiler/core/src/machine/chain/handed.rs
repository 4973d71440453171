//! Requests that a pool of threads was given, where nothing shows which thread.
//!
//! In: requests as they are over, threads' histories. Out: the thread that most likely has such a request, or
//! had it: of those at work for none that is known, the one that has been so longest since the request was
//! read, or was done about when it was answered.

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
    /// A thread was seen at a request.
    is_seen: bool,
}

/// A request whose thread is looked for.
pub(super) struct Wanted<'a> {
    pub tgid: Tid,
    pub stretches: &'a [Stretch],
    pub accepted_ns: u64,
    pub end_ns: u64,
    pub is_open: bool,
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

    /// A thread of a process was seen at a request.
    pub(super) fn seen_at_request(&mut self, tgid: Tid) {
        if let Some(count) = self.processes.get_or_default(tgid) {
            count.is_seen = true;
        }
    }

    /// Whether nearly all requests of a process go to a pool.
    fn is_usual(&self, tgid: Tid) -> bool {
        let count = self.processes.get(&tgid).copied().unwrap_or_default();
        count.handed.saturating_mul(20) >= count.all.saturating_mul(19) && count.all > 0
    }

    /// Whether a process may hand its requests to a pool of threads: it has, or a thread was seen at one. A
    /// loop does not show for whom its threads work, nor does light mode.
    pub(super) fn may_hand_on(&self, tgid: Tid) -> bool {
        self.is_usual(tgid) || self.processes.get(&tgid).is_some_and(|count| count.is_seen)
    }

    /// When a thread of a pool was at a request, where nothing else shows which one. It has one that nobody
    /// has answered if it has been at work longest; it had one that was answered if it was done about then.
    pub(super) fn who_has(&self, histories: &Histories, request: &Wanted<'_>) -> Option<Stretch> {
        let Wanted { tgid, accepted_ns: read_ns, end_ns, .. } = *request;
        // Who hangs since before the trace has none that came since.
        let of_pool = |tid: &Tid| {
            histories.get(*tid).is_some_and(|history| history.is_of_pool() && !history.hangs_in_request())
        };
        if !self.may_hand_on(tgid) || request.stretches.iter().any(|stretch| of_pool(&stretch.tid)) {
            return None;
        }
        let pool = histories.of_process(tgid).iter().copied().filter(of_pool);
        let stretch = |tid, (start_ns, end_ns)| Stretch { tgid, tid, start_ns, end_ns };
        if request.is_open {
            let since_ns = |tid: Tid| histories.get(tid)?.works_for_nobody_since(read_ns);
            let (since_ns, tid) = pool.filter_map(|tid| Some((since_ns(tid)?, tid))).min()?;
            return Some(stretch(tid, (since_ns, end_ns)));
        }
        let worked = |tid: Tid| {
            let (from_ns, until_ns) = histories.get(tid)?.worked_for_nobody((read_ns, end_ns))?;
            Some((until_ns.abs_diff(end_ns), stretch(tid, (from_ns, until_ns.min(end_ns)))))
        };
        let (_, found) = pool.filter_map(worked).min_by_key(|(off_ns, stretch)| (*off_ns, stretch.tid))?;
        Some(found)
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
