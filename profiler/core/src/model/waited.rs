//! Where in Python requests of an endpoint slept in system calls, by samples.
//!
//! In: the chain stage. Out: [`Waited`], a part of the chains. Waits for locks, for work and for clients are
//! none of it. Long waits are all there. A shorter one is drawn by lot and stands for what it was drawn from,
//! so a sum is right on average, and its error follows from what was drawn.

use std::collections::BTreeMap;

use super::computed::lines_of;
use crate::fact::place::PlaceSeen;

/// Sleeps, as samples of them say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SleptSum {
    /// Samples.
    pub samples: u64,
    /// How long they were in all.
    pub ns: u64,
    /// Sum of the squares of what drawn ones stand for, in ns².
    pub drawn_squares: u128,
    /// Sleeps shorter than this were drawn, in ns; 0: none.
    pub drawn_below_ns: u64,
}

impl SleptSum {
    /// Adds a sample.
    pub const fn add(&mut self, ns: u64, is_drawn: bool) {
        self.samples += 1;
        self.ns = self.ns.saturating_add(ns);
        if is_drawn {
            self.drawn_below_ns = if ns > self.drawn_below_ns { ns } else { self.drawn_below_ns };
            self.drawn_squares = self.drawn_squares.saturating_add((ns as u128).saturating_mul(ns as u128));
        }
    }

    /// Adds others.
    pub const fn join(&mut self, other: &Self) {
        self.samples += other.samples;
        self.ns = self.ns.saturating_add(other.ns);
        self.drawn_squares = self.drawn_squares.saturating_add(other.drawn_squares);
        if other.drawn_below_ns > self.drawn_below_ns {
            self.drawn_below_ns = other.drawn_below_ns;
        }
    }

    /// The standard error of its share of `all`, at most; `None`: there is nothing.
    pub fn share_error(&self, all: &Self) -> Option<f64> {
        (all.ns > 0).then(|| (self.drawn_squares as f64).sqrt() / all.ns as f64)
    }
}

/// Sleeps in a call at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitedAt {
    /// Number of the place.
    pub place: u32,
    /// Number of the system call.
    pub system_call: u32,
    /// How long.
    pub slept: SleptSum,
}

/// Sleeps of threads while they worked for requests of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// The endpoint, by its number in [`Chains::endpoints`](super::chain::Chains::endpoints); 0: for none.
    pub endpoint: u32,
    /// The threads run event loops: requests take turns there, and the endpoint is none.
    pub is_loop: bool,
    /// All.
    pub slept: SleptSum,
    /// Those at no place: no Python ran, or its frames could not be read or named.
    pub unplaced: SleptSum,
    /// Where they were, the longest first (bounded).
    pub places: Vec<WaitedAt>,
}

impl Waited {
    /// Requests slept in it: other threads without one wait for work, most of them.
    pub const fn is_of_requests(&self) -> bool {
        self.endpoint > 0 || self.is_loop
    }

    /// Sleeps by call and by the lines that the application is at, or whoever runs where it has no frame; the
    /// longest first. Of each the place at which it slept longest. `of`: places by number.
    pub fn lines<'a>(&self, of: impl Fn(u32) -> Option<&'a PlaceSeen>) -> Vec<WaitedAt> {
        let mut lines: BTreeMap<_, WaitedAt> = BTreeMap::new();
        for at in &self.places {
            let Some(place) = of(at.place).filter(|place| !place.frames.is_empty()) else { continue };
            let line = lines
                .entry((lines_of(place), at.system_call))
                .or_insert(WaitedAt { slept: SleptSum::default(), ..*at });
            line.slept.join(&at.slept);
        }
        let mut lines: Vec<WaitedAt> = lines.into_values().collect();
        lines.sort_unstable_by_key(|at| (std::cmp::Reverse(at.slept.ns), at.place, at.system_call));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::place::{PythonFrame, Whose};

    #[test]
    fn sleeps_of_one_line_in_one_call_count_together_with_the_error_of_what_was_drawn() {
        let frame = |line| PythonFrame {
            file: "/srv/db.py".to_owned(),
            function: "query".to_owned(),
            line,
            whose: Whose::Own,
        };
        let places = [3, 3, 7].map(|line| PlaceSeen { frames: vec![frame(line)], ..PlaceSeen::default() });
        let slept = |samples, ns, is_drawn| {
            let mut sum = SleptSum::default();
            (0..samples).for_each(|_| sum.add(ns, is_drawn));
            sum
        };
        let at = |place, system_call, slept| WaitedAt { place, system_call, slept };
        let waited = Waited {
            places: vec![
                at(0, 45, slept(4, 10, true)),
                at(1, 45, slept(1, 60, false)),
                at(2, 45, slept(1, 9, false)),
                at(1, 7, slept(1, 5, false)),
            ],
            ..Waited::default()
        };
        let lines = waited.lines(|number| places.get(number as usize));
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line.place, line.system_call, line.slept.ns, line.slept.samples))
            .collect();
        assert_eq!(told, [(0, 45, 100, 5), (2, 45, 9, 1), (1, 7, 5, 1)]);
        let all = slept(1, 200, false);
        assert_eq!(lines[0].slept.share_error(&all), Some(0.1), "four of ten each");
        assert_eq!(lines[1].slept.share_error(&all), Some(0.0));
        assert_eq!(all.share_error(&SleptSum::default()), None);
    }
}
