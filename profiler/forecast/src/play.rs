//! Figures of a setting: what a simulation gives, without the luck of one seed.
//!
//! In: a load and a setting. Out: [`Figures`]. Who wins a race for a lock changes what comes after it. With
//! one seed, p90 of a thousand requests of threads that share an interpreter lock is off by several percent.
//! So a short load is played again with other seeds, and all plays count together.

use crate::engine::simulate;
use crate::figures::Figures;
use crate::load::Load;
use crate::setting::{Setting, SettingError};

/// A load is played until so many requests have been.
const REQUESTS: usize = 20_000;
/// But no more often than this.
const MOST: usize = 8;

/// Plays a load at a setting, and again with the seeds after its own if it is short.
///
/// # Errors
/// If the setting or the load cannot be simulated.
pub fn play(load: &Load, setting: &Setting) -> Result<Figures, SettingError> {
    let plays = (0..).take(times(load.requests.len()));
    let outcomes = plays.map(|play| {
        let seed = setting.seed.wrapping_add(play);
        simulate(load, &Setting { seed, ..setting.clone() })
    });
    Ok(Figures::simulated(load, &outcomes.collect::<Result<Vec<_>, _>>()?))
}

/// How often so many requests are played.
fn times(requests: usize) -> usize {
    REQUESTS.div_ceil(requests.max(1)).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Arrives, Request, Row, Segment, Work};

    #[test]
    fn a_short_load_is_played_more_often() {
        assert_eq!([0, 1000, 2500, 5000, 19_999, 20_000, 100_000].map(times), [8, 8, 8, 4, 2, 1, 1]);
    }

    #[test]
    fn figures_of_several_plays_are_of_as_many_requests_as_one_and_less_a_matter_of_luck() {
        let row = |at_ns| Request {
            endpoint: 0,
            connection: at_ns,
            arrives: Arrives::At(at_ns),
            is_counted: true,
            row: Row { segments: vec![Segment { work: Work::Python, duration_ns: 9000 }], ..Row::default() },
        };
        let mut random = fastrand::Rng::with_seed(1);
        let load = Load {
            requests: (0..500).map(|number| row(number * 10_000 + random.u64(..10_000))).collect(),
            endpoints: vec![String::new()],
            ..Load::default()
        };
        let competition = vec![crate::competition::Competition {
            from_ns: 0,
            until_ns: u64::MAX / 1000,
            cpu_ns: u64::MAX / 3000,
            burst_ns: 50_000,
        }];
        let setting = |seed| Setting { seed, competition: competition.clone(), ..Setting::default() };
        let one = |seed| Figures::simulated(&load, &[simulate(&load, &setting(seed)).unwrap()]);
        let spread = |of: &dyn Fn(u64) -> Figures| {
            let p90: Vec<u64> = (0..10).map(|number| of(number * 100).overall.p90_ns).collect();
            p90.iter().max().unwrap() - p90.iter().min().unwrap()
        };
        let several = |seed| play(&load, &setting(seed)).unwrap();
        assert!(spread(&several) < spread(&one) / 2, "{} {}", spread(&several), spread(&one));
        let found = several(1);
        assert_eq!((found.overall.count, found.by_endpoint[0].count), (500, 500));
        assert_eq!(found, several(1), "the same seed has the same figures");
    }
}
