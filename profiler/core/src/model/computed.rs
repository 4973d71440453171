//! Where in Python requests of an endpoint computed, by samples of the clock.
//!
//! In: the chain stage. Out: [`Computed`], a part of the chains. A share of few samples is rough: its
//! standard error is `√(p·(1−p)/n)`.

use std::collections::BTreeMap;

use crate::fact::place::{PlaceSeen, PythonFrame, Whose};

/// Samples at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputedAt {
    /// Number of the place.
    pub place: u32,
    /// Samples there.
    pub samples: u64,
    /// Those in a collection of garbage.
    pub collecting: u64,
}

/// Samples of threads while they worked for requests of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    /// The endpoint, by its number in [`Chains::endpoints`](super::chain::Chains::endpoints); 0: for none.
    pub endpoint: u32,
    /// The threads run event loops: requests take turns there, and the endpoint is none.
    pub is_loop: bool,
    /// All samples.
    pub samples: u64,
    /// Those at no place: no Python ran, or its frames could not be read or named.
    pub unplaced: u64,
    /// Those of which it is known whether they were in a collection of garbage.
    pub collecting_known: u64,
    /// Those that were.
    pub collecting: u64,
    /// Where they were, the most first (bounded).
    pub places: Vec<ComputedAt>,
}

impl Computed {
    /// Samples in collections of garbage; `None`: of none of them it is known.
    pub fn in_collections(&self) -> Option<u64> {
        (self.collecting_known > 0).then_some(self.collecting)
    }

    /// Whether it was the collection of garbage for the most part.
    pub fn is_collecting(&self) -> bool {
        is_most(self.collecting, self.samples)
    }

    /// Samples by the lines that the application is at, or whoever runs where it has no frame; the most
    /// first. Of each the place that most of them are at. `of`: places by number.
    pub fn lines<'a>(&self, of: impl Fn(u32) -> Option<&'a PlaceSeen>) -> Vec<ComputedAt> {
        self.by(of, lines_of)
    }

    /// The same by function.
    pub fn functions<'a>(&self, of: impl Fn(u32) -> Option<&'a PlaceSeen>) -> Vec<ComputedAt> {
        self.by(of, |place| line_of(place).map(|frame| (frame.file.as_str(), frame.function.as_str())))
    }

    fn by<'a, K: Ord>(
        &self,
        of: impl Fn(u32) -> Option<&'a PlaceSeen>,
        key: impl Fn(&'a PlaceSeen) -> K,
    ) -> Vec<ComputedAt> {
        let mut parts: BTreeMap<K, ComputedAt> = BTreeMap::new();
        for at in &self.places {
            let Some(place) = of(at.place).filter(|place| !place.frames.is_empty()) else { continue };
            let part = parts.entry(key(place)).or_insert(ComputedAt { samples: 0, collecting: 0, ..*at });
            part.samples = part.samples.saturating_add(at.samples);
            part.collecting = part.collecting.saturating_add(at.collecting);
        }
        let mut parts: Vec<ComputedAt> = parts.into_values().collect();
        parts.sort_unstable_by_key(|at| (std::cmp::Reverse(at.samples), at.place));
        parts
    }
}

/// Whether so many samples are surely more than half of all: by more than twice the standard error.
pub fn is_most(part: u64, all: u64) -> bool {
    standard_error(part, all).is_some_and(|error| part as f64 / all as f64 - 2.0 * error > 0.5)
}

/// The standard error of a share of samples; `None`: there are none.
pub fn standard_error(part: u64, all: u64) -> Option<f64> {
    if all == 0 {
        return None;
    }
    let share = part as f64 / all as f64;
    Some((share * (1.0 - share) / all as f64).max(0.0).sqrt())
}

/// What distinguishes a place for people: the application's lines that are shown of it, or else the
/// innermost.
pub fn lines_of(place: &PlaceSeen) -> Vec<(&str, &str, u32)> {
    let own = place.own();
    let shown = if own.is_empty() { line_of(place).into_iter().collect() } else { own };
    shown.into_iter().map(|frame| (frame.file.as_str(), frame.function.as_str(), frame.line)).collect()
}

/// The frame by which a place is known: the application's innermost, or else the innermost.
pub fn line_of(place: &PlaceSeen) -> Option<&PythonFrame> {
    place.frames.iter().find(|frame| frame.whose == Whose::Own).or_else(|| place.frames.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_one_line_of_the_application_counts_together() {
        let frame = |function: &str, line, whose| PythonFrame {
            file: "/srv/a.py".to_owned(),
            function: function.to_owned(),
            line,
            whose,
        };
        let place =
            |number, frames: &[PythonFrame]| PlaceSeen { number, frames: frames.to_vec(), is_cut: false };
        let view = frame("view", 9, Whose::Own);
        let places = [
            place(0, &[frame("loads", 1, Whose::Standard), view.clone()]),
            place(1, &[frame("dumps", 2, Whose::Standard), view.clone()]),
            place(2, &[frame("other", 7, Whose::Own), view]),
            place(3, &[frame("parse", 5, Whose::Server)]),
        ];
        let at = |place, samples| ComputedAt { place, samples, collecting: samples / 2 };
        let computed = Computed {
            places: vec![at(2, 5), at(0, 4), at(1, 3), at(3, 1), at(9, 1)],
            ..Computed::default()
        };
        let lines = computed.lines(|number| places.get(number as usize));
        let lines: Vec<_> = lines.iter().map(|at| (at.place, at.samples, at.collecting)).collect();
        assert_eq!(lines, [(0, 7, 3), (2, 5, 2), (3, 1, 0)]);
        let functions = computed.functions(|number| places.get(number as usize));
        let functions: Vec<_> = functions.iter().map(|at| (at.place, at.samples, at.collecting)).collect();
        assert_eq!(functions, lines, "each is in a function of its own");
    }
}
