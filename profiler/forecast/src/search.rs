//! The smallest setting that keeps response times under a limit.
//!
//! In: a load, a setting, a [`Goal`], candidates. Out: [`Search`].

use crate::change::Change;
use crate::load::Load;
use crate::play::play;
use crate::quantiles::Quantiles;
use crate::setting::{Dispatch, MAX_SLOTS, Setting, SettingError};

/// Threads of a process that are tried, besides today's.
const THREADS: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// Processes that are tried: so many for each core.
const PROCESSES_PER_CORE: u32 = 2;
/// Processes that are tried at most.
const MAX_PROCESSES: u32 = 64;
/// A setting must keep the limit also where the machine is slower by this.
const SLOWER: f64 = 1.1;

/// Of which responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// The median.
    P50,
    /// Nine of ten.
    P90,
    /// 99 of 100.
    P99,
}

impl Quantile {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
        }
    }

    /// Of these.
    pub const fn of(self, quantiles: &Quantiles) -> u64 {
        match self {
            Self::P50 => quantiles.p50_ns,
            Self::P90 => quantiles.p90_ns,
            Self::P99 => quantiles.p99_ns,
        }
    }
}

/// What a setting must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Of which responses.
    pub quantile: Quantile,
    /// They must take less than this.
    pub below_ns: u64,
}

/// A number of processes and of threads in each.
pub type Slots = (u32, u32);

/// What a search gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Settings that were simulated.
    pub tried: usize,
    /// The first that keeps the goal.
    pub found: Option<Slots>,
    /// The best of all that were tried, and how long its responses take on a machine that is slower by a
    /// tenth, or on this one where that is longer; `None`: none was tried.
    pub best: Option<(Slots, u64)>,
}

/// Settings to try, fewest processes first (each takes memory), then fewest threads. There are up to two
/// processes for each core, but no more than 64 unless there are more today. A server without a pool of
/// threads whose processes have one keeps that.
pub fn candidates(setting: &Setting, most_processes: Option<u32>) -> Vec<Slots> {
    let most = setting.cores.saturating_mul(PROCESSES_PER_CORE).min(MAX_PROCESSES).max(setting.processes);
    let most = most_processes.map_or(most, |limit| most.min(limit));
    let has_pool = setting.threads > 1 || matches!(setting.dispatch, Dispatch::ByProcess(_));
    let mut threads: Vec<u32> = if has_pool { THREADS.to_vec() } else { vec![1] };
    threads.push(setting.threads);
    threads.sort_unstable();
    threads.dedup();
    let own = setting.own.as_ref().map_or(0, |own| own.processes.saturating_mul(own.threads));
    let has_room = |slots: &Slots| {
        slots.0.checked_mul(slots.1).is_some_and(|count| count <= MAX_SLOTS.saturating_sub(own))
    };
    let all = (1..=most).flat_map(|processes| threads.iter().map(move |threads| (processes, *threads)));
    all.filter(has_room).collect()
}

/// Tries them in their order until one keeps the goal, also on a machine that is slower by a tenth.
///
/// # Errors
/// If the load or a candidate cannot be simulated.
pub fn search(
    load: &Load,
    setting: &Setting,
    goal: Goal,
    candidates: &[Slots],
) -> Result<Search, SettingError> {
    let (mut slower, mut of_slower) = (load.clone(), setting.clone());
    Change::CpuTime(SLOWER).apply(&mut slower, &mut of_slower);
    let mut search = Search::default();
    for &(processes, threads) in candidates {
        search.tried += 1;
        let mut longest_ns = 0;
        for (load, setting) in [(&slower, &of_slower), (load, setting)] {
            let setting = Setting { processes, threads, ..setting.clone() };
            let figures = play(load, &setting)?;
            longest_ns = longest_ns.max(goal.quantile.of(&figures.overall));
            if longest_ns >= goal.below_ns {
                break;
            }
        }
        if search.best.is_none_or(|(_, best_ns)| longest_ns < best_ns) {
            search.best = Some(((processes, threads), longest_ns));
        }
        if longest_ns < goal.below_ns {
            search.found = Some((processes, threads));
            break;
        }
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use profiler_core::phase::Phase;

    use super::*;
    use crate::load::{Arrives, Request, Row, Segment, Work};

    const MS: u64 = 1_000_000;

    /// Every 10 ms a request that sleeps for 25 ms: three are there at once.
    fn sleeping() -> Load {
        let segments = vec![Segment { work: Work::Wait(Phase::Sleep), duration_ns: 25 * MS }];
        let request = |number| Request {
            endpoint: 0,
            connection: number,
            arrives: Arrives::At(number * 10 * MS),
            is_counted: true,
            row: Row { segments: segments.clone(), ..Row::default() },
        };
        Load { requests: (0..500).map(request).collect(), endpoints: vec![String::new()], ..Load::default() }
    }

    #[test]
    fn the_first_setting_that_keeps_the_limit_is_found() {
        let goal = Goal { quantile: Quantile::P99, below_ns: 30 * MS };
        let setting = Setting { processes: 1, threads: 2, cores: 2, ..Setting::default() };
        let all = candidates(&setting, None);
        assert_eq!(all[..4], [(1, 1), (1, 2), (1, 4), (1, 8)]);
        assert_eq!(all.last(), Some(&(4, 32)));
        let found = search(&sleeping(), &setting, goal, &all).unwrap();
        assert_eq!((found.found, found.tried), (Some((1, 4)), 3));
    }

    #[test]
    fn todays_setting_is_tried_however_large_and_none_that_cannot_be_simulated() {
        let setting = Setting { processes: 96, threads: 300, cores: 48, ..Setting::default() };
        let all = candidates(&setting, None);
        assert!(all.contains(&(54, 300)) && !all.contains(&(55, 300)), "{}", all.len());
        let setting = Setting { threads: 4, ..setting };
        let all = candidates(&setting, None);
        assert!(all.contains(&(96, 4)), "{}", all.len());
    }

    #[test]
    fn where_none_keeps_it_the_best_is_named() {
        let goal = Goal { quantile: Quantile::P50, below_ns: 20 * MS };
        let setting = Setting { cores: 2, ..Setting::default() };
        // One slot in a process stays one; two processes have memory.
        let all = candidates(&setting, Some(3));
        assert_eq!(all, [(1, 1), (2, 1), (3, 1)]);
        let found = search(&sleeping(), &setting, goal, &all).unwrap();
        assert_eq!(found, Search { tried: 3, found: None, best: Some(((3, 1), 25 * MS)) });
    }
}
