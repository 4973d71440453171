//! Whether waits for something outside grow with the number of those who wait for it at that moment.
//!
//! In: waits of requests for a back end, a file, a child or a timer, as they are followed. Out:
//! [`Independence`] of what was waited for, by endpoint. Both modes give the same.
//!
//! Of each endpoint's waits the logarithm of their lengths is fitted by a line over the logarithm of how many
//! waited then (least squares). Its slope is 0 where each waits for itself, and 1 where one is served at a
//! time. How many waited is measured twice, as neither measure alone is safe: when the wait began (in a burst
//! for an object that all share in turns, all are as long, whoever came first), and in the mean over the wait
//! (in a burst before one that is served in order, the last waits longest, and mostly with few).
//!
//! A sleep has its length from its beginning, so of sleeps the first decides alone. And where always as many
//! sleep, something else shows: who sleeps until it is its turn after others (a rate limit) sleeps for less,
//! the later it begins. Who sleeps for itself sleeps as long, and then only later. So the length is fitted
//! over how long ago another's sleep had ended: the slope is -1, or 0.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::FxHashMap;

use crate::machine::time::short::LONG_NS;
use crate::model::chain::{Leaf, LeafKind, Object};
use crate::model::independence::Independence;

/// Waits that are kept. With one more, nothing is known.
const MAX_WAITS: usize = 32_768;
/// Of fewer waits nothing is said.
const FEWEST: usize = 20;
/// So many of them with few others, and so many with many: else what is fitted rests on chance.
const FEWEST_EACH: usize = 5;
/// The most must be half as many again as the fewest.
const LEAST_SPREAD: f64 = 1.5;
/// From this slope on waits grow: with twice as many, each takes 1.4 times as long.
const GROWS: f64 = 0.5;
/// Below this they do not: with twice as many, each takes less than 1.2 times as long.
const STAYS: f64 = 0.25;
/// A slope of less than this, either way, is nearer to 0 than to the -1 of sleeps for a turn.
const LATER: f64 = 0.5;
/// Timers end sleeps together that end so near to one another (`timerslack_ns`): within twice that, who
/// begins later sleeps for less in any case.
const TIMER_SLACK_NS: f64 = 50_000.0;
/// So many standard errors a slope may be off.
const SURE: f64 = 3.0;

/// What was waited for, as far as waits are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Thing {
    kind: LeafKind,
    /// Port of a peer; 0: another thing, or over a UNIX socket.
    port: u16,
}

impl Thing {
    /// `None`: nothing of which it is measured.
    const fn of(kind: LeafKind, object: Object) -> Option<Self> {
        match kind {
            LeafKind::BackEnd | LeafKind::NameServer => {
                Some(Self { kind, port: if let Object::Peer { port } = object { port } else { 0 } })
            }
            LeafKind::File | LeafKind::Child | LeafKind::Sleep => Some(Self { kind, port: 0 }),
            _ => None,
        }
    }
}

/// A request's wait for something outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct OutsideWait {
    pub kind: LeafKind,
    pub object: Object,
    pub start_ns: u64,
    pub end_ns: u64,
    /// It began and ended in the window, by no limit of its own.
    pub is_whole: bool,
}

/// The same, kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    endpoint: u32,
    start_ns: u64,
    end_ns: u64,
    /// What it took; less than from start to end where it is several.
    ns: u64,
    /// It is several.
    is_several: bool,
    is_whole: bool,
}

/// Waits of a window.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct OutsideWaits {
    by_thing: BTreeMap<Thing, Vec<Kept>>,
    count: usize,
    is_full: bool,
}

/// What was measured: by what was waited for, and the endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct MeasuredIndependence(FxHashMap<(Thing, u32), Independence>);

impl MeasuredIndependence {
    /// Of a leaf.
    pub(super) fn of(&self, leaf: &Leaf) -> Independence {
        let thing = Thing::of(leaf.kind, leaf.object);
        let known = thing.and_then(|thing| self.0.get(&(thing, leaf.endpoint)));
        known.copied().unwrap_or_default()
    }
}

impl OutsideWaits {
    /// Waits of one request, which had its time from one moment to another, in any order. What began or ended
    /// with it was cut off.
    pub(super) fn add(&mut self, (endpoint, from_ns, until_ns): (u32, u64, u64), waits: &[OutsideWait]) {
        if waits.is_empty() {
            return;
        }
        let mut of_request: BTreeMap<Thing, Vec<Kept>> = BTreeMap::new();
        let mut waits: Vec<&OutsideWait> = waits.iter().collect();
        waits.sort_unstable_by_key(|wait| wait.start_ns);
        for wait in waits {
            let Some(thing) = Thing::of(wait.kind, wait.object) else { continue };
            let OutsideWait { start_ns, end_ns, is_whole, .. } = *wait;
            let is_whole = is_whole && start_ns > from_ns && end_ns < until_ns;
            let ns = end_ns.saturating_sub(start_ns);
            let kept = of_request.entry(thing).or_default();
            match kept.last_mut() {
                // Who looks again and again whether it may go on sleeps until it may: that is one wait.
                Some(last)
                    if thing.kind == LeafKind::Sleep || start_ns.saturating_sub(last.end_ns) < LONG_NS =>
                {
                    last.end_ns = last.end_ns.max(end_ns);
                    last.ns = last.ns.saturating_add(ns);
                    last.is_several = true;
                    last.is_whole &= is_whole;
                }
                _ => kept.push(Kept { endpoint, start_ns, end_ns, ns, is_several: false, is_whole }),
            }
        }
        for (thing, mut kept) in of_request {
            if self.count.saturating_add(kept.len()) > MAX_WAITS {
                self.is_full = true;
                return;
            }
            self.count += kept.len();
            self.by_thing.entry(thing).or_default().append(&mut kept);
        }
    }

    /// What they show.
    pub(super) fn measured(self) -> MeasuredIndependence {
        let mut measured = MeasuredIndependence::default();
        if self.is_full {
            return measured;
        }
        for (thing, mut waits) in self.by_thing {
            // The order in which requests were settled changes nothing.
            waits.sort_unstable_by_key(|wait| (wait.start_ns, wait.end_ns, wait.endpoint, wait.ns));
            for (endpoint, points) in points(&waits) {
                measured.0.insert((thing, endpoint), shown(thing.kind, &points));
            }
        }
        measured
    }
}

/// One wait among others.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Logarithm of how many waited when it began, itself included.
    at_start: f64,
    /// Logarithm of how many did in the mean.
    meanwhile: f64,
    /// Logarithm of its length.
    length: f64,
    /// How long before it another wait had ended, and how long it was, in nanoseconds; `None`: none had, or
    /// it is several waits.
    after: Option<(f64, f64)>,
}

/// All whole waits, by endpoint. `waits`: in the order of their beginnings.
fn points(waits: &[Kept]) -> BTreeMap<u32, Vec<Point>> {
    let crowd = Crowd::of(waits);
    let mut open: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut points: BTreeMap<u32, Vec<Point>> = BTreeMap::new();
    let mut last_end_ns = None;
    for wait in waits {
        while open.peek().is_some_and(|Reverse(end_ns)| *end_ns <= wait.start_ns) {
            last_end_ns = open.pop().map(|Reverse(end_ns)| end_ns);
        }
        open.push(Reverse(wait.end_ns));
        let meanwhile = crowd.mean(wait.start_ns, wait.end_ns);
        if wait.is_whole && wait.ns > 0 && meanwhile >= 1.0 {
            let at_start = open.len() as f64;
            let length = wait.ns as f64;
            let since_ns = last_end_ns.filter(|_| !wait.is_several).map(|end_ns| wait.start_ns - end_ns);
            let point = Point {
                at_start: at_start.ln(),
                meanwhile: meanwhile.ln(),
                length: length.ln(),
                after: since_ns.map(|since_ns: u64| (since_ns as f64, length)),
            };
            points.entry(wait.endpoint).or_default().push(point);
        }
    }
    points
}

/// How many waited, over time.
struct Crowd {
    /// From each moment on: the integral of their number up to it, and their number.
    moments: Vec<(u64, u128, u64)>,
}

impl Crowd {
    fn of(waits: &[Kept]) -> Self {
        let begin = waits.iter().map(|wait| (wait.start_ns, true));
        let end = waits.iter().map(|wait| (wait.end_ns, false));
        let mut changes: Vec<(u64, bool)> = begin.chain(end).collect();
        // Who begins as another ends is no other's company; but no number is less than none.
        changes.sort_unstable_by_key(|(at_ns, begins)| (*at_ns, !*begins));
        let mut moments: Vec<(u64, u128, u64)> = Vec::with_capacity(changes.len());
        let (mut sum, mut number, mut since_ns) = (0_u128, 0_u64, 0_u64);
        for (at_ns, begins) in changes {
            sum += u128::from(number) * u128::from(at_ns - since_ns);
            number = if begins { number + 1 } else { number.saturating_sub(1) };
            since_ns = at_ns;
            match moments.last_mut().filter(|last| last.0 == at_ns) {
                Some(last) => last.2 = number,
                None => moments.push((at_ns, sum, number)),
            }
        }
        Self { moments }
    }

    fn up_to(&self, at_ns: u64) -> u128 {
        let after = self.moments.partition_point(|(from_ns, ..)| *from_ns <= at_ns);
        let known = after.checked_sub(1).and_then(|last| self.moments.get(last));
        known.map_or(0, |(from_ns, sum, number)| sum + u128::from(*number) * u128::from(at_ns - from_ns))
    }

    /// In the mean over a stretch.
    fn mean(&self, from_ns: u64, until_ns: u64) -> f64 {
        let length_ns = until_ns.saturating_sub(from_ns);
        if length_ns == 0 {
            return 0.0;
        }
        (self.up_to(until_ns) - self.up_to(from_ns)) as f64 / length_ns as f64
    }
}

/// What becomes of waits as their number grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    Grows,
    Stays,
    Unknown,
}

fn shown(kind: LeafKind, points: &[Point]) -> Independence {
    let at_start = growth(points, |point| point.at_start);
    let second = match (kind, at_start) {
        (LeafKind::Sleep, Growth::Unknown) => return by_turns(points),
        (LeafKind::Sleep, _) => at_start,
        _ => growth(points, |point| point.meanwhile),
    };
    match (at_start, second) {
        (Growth::Grows, _) | (_, Growth::Grows) => Independence::Shared,
        (Growth::Stays, Growth::Stays) => Independence::Independent,
        _ => Independence::Unknown,
    }
}

/// Whether lengths grow with a number.
fn growth(points: &[Point], number: impl Fn(&Point) -> f64) -> Growth {
    let numbers = || points.iter().map(&number);
    let (least, most) = (numbers().fold(f64::INFINITY, f64::min), numbers().fold(0.0, f64::max));
    let with_few = numbers().filter(|number| *number < f64::midpoint(least, most)).count();
    let is_spread = most - least >= LEAST_SPREAD.ln();
    if !is_spread || with_few < FEWEST_EACH || points.len() - with_few < FEWEST_EACH {
        return Growth::Unknown;
    }
    let over_number: Vec<(f64, f64)> = points.iter().map(|point| (number(point), point.length)).collect();
    match slope(&over_number) {
        Some((slope, error)) if slope >= GROWS && SURE.mul_add(-error, slope) > 0.0 => Growth::Grows,
        Some((slope, error)) if SURE.mul_add(error, slope) < STAYS => Growth::Stays,
        _ => Growth::Unknown,
    }
}

/// Whether sleeps last until it is one's turn after others.
fn by_turns(points: &[Point]) -> Independence {
    let over_time: Vec<(f64, f64)> = points.iter().filter_map(|point| point.after).collect();
    // Where sleeps are several, they may be a wait for something.
    if over_time.len() * 2 < points.len() {
        return Independence::Unknown;
    }
    let mean = over_time.iter().map(|(since, _)| since).sum::<f64>() / over_time.len() as f64;
    let squares: f64 = over_time.iter().map(|(since, _)| (since - mean).powi(2)).sum();
    if (squares / over_time.len() as f64).sqrt() < 2.0 * TIMER_SLACK_NS {
        return Independence::Unknown;
    }
    match slope(&over_time) {
        Some((slope, error)) if SURE.mul_add(error, (slope + 1.0).abs()) < LATER => Independence::Shared,
        Some((slope, error)) if SURE.mul_add(error, slope.abs()) < LATER => Independence::Independent,
        _ => Independence::Unknown,
    }
}

/// The slope of a line through these, and its standard error; `None`: there are too few, or they do not
/// differ.
fn slope(pairs: &[(f64, f64)]) -> Option<(f64, f64)> {
    if pairs.len() < FEWEST {
        return None;
    }
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let off: Vec<(f64, f64)> = pairs.iter().map(|(x, y)| (x - x_mean, y - y_mean)).collect();
    let spread: f64 = off.iter().map(|(x, _)| x.powi(2)).sum();
    let common: f64 = off.iter().map(|(x, y)| x * y).sum();
    let slope = common / spread;
    // As usual, or where lengths scatter more at one end, by that (White, 1980).
    let rest = |(x, y): &(f64, f64)| slope.mul_add(-x, *y);
    let squares: f64 = off.iter().map(|pair| rest(pair).powi(2)).sum();
    let weighted: f64 = off.iter().map(|pair| (pair.0 * rest(pair)).powi(2)).sum();
    let usual = (squares / (count - 2.0) / spread).sqrt();
    let error = usual.max(weighted.sqrt() / spread);
    (slope.is_finite() && error.is_finite()).then_some((slope, error))
}

#[cfg(test)]
mod tests;
