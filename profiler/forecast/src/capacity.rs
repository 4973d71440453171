//! How many requests a second a setting serves at most, and what stops it from serving more.
//!
//! In: a load and a setting. Out: [`Capacity`]. There are always several of these requests for each slot.
//! What counts is the middle of all responses, from the first tenth to the last: their rate is the capacity,
//! and what is busy meanwhile is the limit.

use crate::competition::Competition;
use crate::engine::simulate;
use crate::figures::rate;
use crate::load::{Arrives, Front, Load, Request, Segment};
use crate::outcome::Stretch;
use crate::setting::{Dispatch, Errands, Setting, SettingError};

/// From this share of the time on, what is busy is the limit. Less than all: at some moments there is nothing
/// to do for it.
const BUSY_RATIO: f64 = 0.9;

/// So many requests for each slot are in flight. If all came at once, each would go to a process before any
/// is busy, and one process would have the most for good.
const FOR_EACH_SLOT: usize = 8;
/// That is no more than one of so many of all, so that there is a stretch in which it is always so. Few
/// requests come again and again.
const AT_ONCE: usize = 10;
/// No more requests than this are simulated, where that is enough to fill all slots: more take time.
const MOST: usize = 20_000;

/// What stops a server from serving more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All cores run.
    Cores,
    /// The interpreter lock of a process is always held.
    Lock,
    /// A back end serves as many as it can, by its number.
    BackEnd(usize),
    /// A cgroup's quota of CPU time is used up.
    Quota,
    /// All slots are busy, mostly waiting.
    Slots,
}

/// The most that a setting serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Requests a second.
    pub per_s: f64,
    /// What stops it there.
    pub limit: Limit,
}

/// The capacity of a setting for requests like these.
///
/// # Errors
/// If the setting or the load cannot be simulated.
pub fn capacity(load: &Load, setting: &Setting) -> Result<Capacity, SettingError> {
    let some = load.requests.get(..MOST).unwrap_or(&load.requests);
    let slots = setting.slots() as usize;
    let for_each = FOR_EACH_SLOT.saturating_mul(times_its_slot(some, load.front.as_ref()));
    let enough = slots.saturating_mul(for_each).saturating_mul(AT_ONCE).min(MOST);
    let count = enough.max(slots.saturating_mul(AT_ONCE)).max(some.len());
    let mut requests: Vec<Request> = some.iter().cycle().take(count).cloned().collect();
    let width = slots.saturating_mul(for_each).min(requests.len() / AT_ONCE).max(1);
    // Half of what a request takes of a CPU. Just as a response is sent its process could take the next one,
    // though others of its requests wait.
    let think_ns = row_cpu_ns(&requests) / 2;
    for (number, request) in requests.iter_mut().enumerate() {
        let before = number.checked_sub(width);
        request.arrives =
            before.map_or(Arrives::At(0), |before| Arrives::After { request: before, think_ns });
    }
    // The flood takes another time than the recording did: others do in it what they did in the mean.
    let competition = Competition::mean(&setting.competition).into_iter().collect();
    let flood = Load {
        requests,
        after: load.after.clone(),
        front: load.front.clone(),
        endpoints: load.endpoints.clone(),
        back_ends: load.back_ends.clone(),
    };
    let outcome = simulate(&flood, &Setting { competition, ..setting.clone() })?;
    let Stretch { from_ns, to_ns, .. } = outcome.middle;
    let is_in_middle = |end_ns: u64| end_ns > from_ns && end_ns <= to_ns;
    let count = outcome.served.iter().filter(|served| is_in_middle(served.end_ns)).count();
    let per_s = rate(count, to_ns.saturating_sub(from_ns));
    let by_quota = setting.quota_ns.map(|quota_ns| quota_ns as f64 / cpu_ns(load, setting).max(1) as f64);
    Ok(match by_quota.filter(|most| *most < per_s) {
        Some(per_s) => Capacity { per_s, limit: Limit::Quota },
        None => Capacity { per_s, limit: limit(&outcome.middle, setting) },
    })
}

/// CPU time of a request in the mean, with what is done for it before and after.
fn cpu_ns(load: &Load, setting: &Setting) -> u64 {
    let errands = match &setting.dispatch {
        Dispatch::Shared(_) => None,
        Dispatch::ByProcess(errands) => Some(errands),
    };
    let of_each = load.after.iter().chain(errands.into_iter().flat_map(Errands::each));
    let front = load.front.iter().flat_map(Front::each);
    row_cpu_ns(&load.requests).saturating_add(sum_ns(on_cpu(of_each.chain(front))))
}

/// CPU time of their rows in the mean.
fn row_cpu_ns(requests: &[Request]) -> u64 {
    mean_ns(sum_ns(on_cpu(requests.iter().flat_map(|request| &request.row.segments))), requests)
}

fn on_cpu<'a>(segments: impl Iterator<Item = &'a Segment>) -> impl Iterator<Item = &'a Segment> {
    segments.filter(|segment| !segment.work.is_wait())
}

fn sum_ns<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> u64 {
    segments.into_iter().map(|segment| segment.duration_ns).fold(0, u64::saturating_add)
}

/// What of this comes to each of so many.
fn mean_ns(sum_ns: u64, requests: &[Request]) -> u64 {
    sum_ns / u64::try_from(requests.len()).unwrap_or(u64::MAX).max(1)
}

/// How many times as long as a slot has a request, in the mean, the front end has it too, rounded up. So many
/// are on their way for each that a slot has.
fn times_its_slot(requests: &[Request], front: Option<&Front>) -> usize {
    let Some(front) = front else { return 1 };
    let rows_ns = sum_ns(requests.iter().flat_map(|request| &request.row.segments));
    let front_ns = sum_ns(&front.before).saturating_add(sum_ns(&front.after));
    let times = front_ns.div_ceil(mean_ns(rows_ns, requests).max(1)).saturating_add(1);
    usize::try_from(times).unwrap_or(usize::MAX)
}

fn limit(middle: &Stretch, setting: &Setting) -> Limit {
    let whole_ns = middle.to_ns.saturating_sub(middle.from_ns).max(1) as f64;
    let busy = &middle.busy;
    let cores = busy.cores_ns.iter().sum::<u64>() as f64 / whole_ns / busy.cores_ns.len().max(1) as f64;
    let back_ends = busy.back_ends_ns.iter().enumerate().filter_map(|(number, busy_ns)| {
        let limit = setting.back_end_limits.get(number).copied().flatten()?;
        Some((*busy_ns as f64 / whole_ns / f64::from(limit), Limit::BackEnd(number)))
    });
    let lock = busy.locks_ns.iter().map(|held_ns| *held_ns as f64 / whole_ns).fold(0.0, f64::max);
    // With one core both are always busy: the lock is the limit only where nothing else is.
    let candidates = std::iter::once((cores, Limit::Cores)).chain(back_ends).chain([(lock, Limit::Lock)]);
    candidates.filter(|(ratio, _)| *ratio > BUSY_RATIO).map(|(_, limit)| limit).next().unwrap_or(Limit::Slots)
}

#[cfg(test)]
mod tests {
    use profiler_core::phase::Phase;

    use super::*;
    use crate::load::{Row, Work};

    const MS: u64 = 1_000_000;

    fn load(works: &[Work]) -> Load {
        let segments: Vec<Segment> =
            works.iter().map(|work| Segment { work: *work, duration_ns: MS }).collect();
        let request = |number| Request {
            endpoint: 0,
            connection: number,
            arrives: Arrives::At(number * 1000 * MS),
            is_counted: true,
            row: Row { segments: segments.clone(), ..Row::default() },
        };
        Load {
            requests: (0..500).map(request).collect(),
            endpoints: vec![String::new()],
            back_ends: vec!["db".to_owned()],
            ..Load::default()
        }
    }

    #[test]
    fn what_is_always_busy_is_the_limit() {
        let setting = |processes, threads, cores| Setting { processes, threads, cores, ..Setting::default() };
        let accept = Segment { work: Work::Python, duration_ns: MS / 100 };
        let pool = || Dispatch::ByProcess(Errands { before: vec![accept], ..Errands::default() });
        let sleeping = [Work::Python, Work::Wait(Phase::Sleep)];
        for (works, setting, per_s, limit) in [
            (&[Work::Python][..], setting(1, 1, 1), 1000.0, Limit::Cores),
            (&[Work::Python], setting(1, 4, 4), 1000.0, Limit::Lock),
            (&[Work::Python], setting(4, 1, 2), 2000.0, Limit::Cores),
            // Which process gets a connection depends on what each is doing.
            (&[Work::Python], Setting { dispatch: pool(), ..setting(2, 2, 2) }, 2000.0, Limit::Cores),
            (&sleeping, setting(1, 1, 2), 500.0, Limit::Slots),
            (&[Work::BackEnd(0)], setting(1, 4, 2), 4000.0, Limit::Slots),
            // More slots than a tenth of the requests.
            (&[Work::Wait(Phase::Sleep)], setting(4, 32, 2), 128_000.0, Limit::Slots),
            // A quota of a core and a half.
            (
                &[Work::Python],
                Setting { quota_ns: Some(1500 * MS), ..setting(4, 1, 2) },
                1500.0,
                Limit::Quota,
            ),
            (&sleeping, Setting { quota_ns: Some(1500 * MS), ..setting(1, 1, 2) }, 500.0, Limit::Slots),
            (
                &[Work::BackEnd(0)],
                Setting { back_end_limits: vec![Some(2)], ..setting(1, 4, 2) },
                2000.0,
                Limit::BackEnd(0),
            ),
        ] {
            let found = capacity(&load(works), &setting).unwrap();
            assert_eq!(found.limit, limit, "{works:?} {setting:?}");
            assert!((found.per_s - per_s).abs() < 0.03 * per_s, "{works:?} {setting:?}: {found:?}");
        }
    }

    #[test]
    fn one_long_request_at_the_end_does_not_hide_what_is_busy() {
        let mut load = load(&[Work::Python]);
        let long = Segment { work: Work::Wait(Phase::Sleep), duration_ns: 1000 * MS };
        load.requests.last_mut().unwrap().row.segments = vec![long];
        let found = capacity(&load, &Setting { processes: 2, cores: 1, ..Setting::default() }).unwrap();
        assert_eq!(found.limit, Limit::Cores, "{found:?}");
    }

    #[test]
    fn no_requests_have_no_capacity() {
        let found = capacity(&Load::default(), &Setting::default()).unwrap();
        assert_eq!((found.per_s, found.limit), (0.0, Limit::Slots));
    }
}
