//! What happened at one interpreter lock: how threads came to wait for it, were passed over, and asked for it
//! without success.
//!
//! In: the sleeps of attempts to take the lock, in the order in which they end. Out: [`Lock`]. An attempt's
//! own state decides what a sleep means, and travels with its thread.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::{Slice, Tid};
use crate::fact::InterpreterLock;
use crate::machine::world::errno::{EAGAIN, ETIMEDOUT};
use crate::model::gil::{Convoy, DEPTHS, Lock};

/// Separate stretches kept for the union of waits; older ones are settled.
const MAX_STRETCHES: usize = 256;
/// Holders for which the last request to give the lock up is kept.
const MAX_ASKED: usize = 1024;
/// Result of a sleep of which it is not known whether a wakeup or its limit of time ended it.
pub(in crate::machine) const END_NOT_SEEN: i64 = i64::MIN;
/// Result of a sleep that a wakeup ended.
const WOKEN: i64 = 0;

/// One sleep of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    start_ns: u64,
    end_ns: u64,
    result: i64,
    on_condition: bool,
    /// Who had the lock at `start_ns`, and how often it had changed hands by then.
    holder: Option<(Tid, u32)>,
}

impl Sleep {
    /// The sleep of a slice. `on_condition`: it was not only for the lock's mutex.
    pub fn of(slice: &Slice, on_condition: bool) -> Self {
        let holder = slice.lock.holder_tid;
        Self {
            start_ns: slice.enter_ns,
            end_ns: slice.exit_ns,
            result: slice.result,
            on_condition,
            holder: (holder != 0 && holder != slice.tid).then_some((holder, slice.lock.switches)),
        }
    }
}

/// What an attempt has met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The last sleep ended by a wakeup.
    woken: bool,
    /// Wakeups after which another thread had the lock.
    missed: u32,
    /// When the first of them was.
    missed_since_ns: u64,
    /// The holder that was asked to give the lock up, and when.
    asked: Option<((Tid, u32), u64)>,
    /// For how long that holder is known to have kept it since.
    kept_ns: u64,
}

impl Attempt {
    /// The next sleep. Returns the time that it adds to a request to give the lock up that is not honoured.
    /// Not honoured: `interval_ns` or more after the request, the lock had not changed hands.
    fn sleep(&mut self, sleep: &Sleep, interval_ns: u64) -> u64 {
        if sleep.on_condition && std::mem::take(&mut self.woken) {
            if self.missed == 0 {
                self.missed_since_ns = sleep.start_ns;
            }
            self.missed = self.missed.saturating_add(1);
        }
        let mut added_ns = 0;
        match (self.asked, sleep.holder) {
            (Some((asked, since_ns)), Some(holder)) if asked == holder => {
                // A thread that is woken after asking for so long is woken by the release.
                let woken = sleep.on_condition && sleep.result == WOKEN && self.kept_ns > 0;
                let until_ns = if woken { sleep.end_ns } else { sleep.start_ns };
                let kept_ns = until_ns.saturating_sub(since_ns);
                if kept_ns >= interval_ns {
                    added_ns = kept_ns.saturating_sub(self.kept_ns);
                    self.kept_ns = self.kept_ns.max(kept_ns);
                }
            }
            _ => (self.asked, self.kept_ns) = (None, 0),
        }
        if sleep.on_condition && sleep.result == ETIMEDOUT && self.asked.is_none() {
            self.asked = sleep.holder.map(|holder| (holder, sleep.end_ns));
        }
        if sleep.on_condition && matches!(sleep.result, WOKEN | EAGAIN) {
            // Somebody gave the lock up.
            (self.asked, self.kept_ns) = (None, 0);
            self.woken = sleep.result == WOKEN;
        }
        added_ns
    }
}

/// When a holder was asked to give the lock up, the last time that it held the lock.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// How often the lock had changed hands.
    switches: u32,
    first_ns: u64,
    /// A thread that was asleep at the release asks later, without success.
    last_ns: u64,
}

/// Running sums of one lock.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    sums: Lock,
    /// Stretches in which somebody waited, disjoint and in order.
    stretches: VecDeque<(u64, u64)>,
    settled_until_ns: u64,
    /// When a thread that had the lock was asked to give it up.
    asked: FxHashMap<Tid, Asked>,
}

impl Measure {
    /// Of a lock of this process.
    pub fn new(tgid: Tid, lock: &InterpreterLock) -> Self {
        let sums =
            Lock { tgid, interpreter: lock.interpreter, interval_us: lock.interval_us, ..Lock::default() };
        Self { sums, ..Self::default() }
    }

    /// An attempt begins. `forced`: its thread was forced to give the lock up before, and did not do so
    /// voluntarily.
    pub const fn begin(&mut self, forced: bool) {
        let count = if forced { &mut self.sums.after_forced } else { &mut self.sums.after_voluntary };
        *count = count.saturating_add(1);
    }

    /// The next sleep of an attempt. Somebody waited from `waited_from_ns` on. Returns by how much it
    /// extended a request to give the lock up that was not honoured.
    pub fn sleep(&mut self, attempt: &mut Attempt, sleep: &Sleep, waited_from_ns: u64) -> u64 {
        self.cover(waited_from_ns, sleep.end_ns);
        let interval_ns = self.sums.interval_us.saturating_mul(1000);
        let was_kept = attempt.kept_ns > 0;
        let added_ns = attempt.sleep(sleep, interval_ns);
        if sleep.on_condition && sleep.result == ETIMEDOUT {
            self.ask(sleep);
        }
        self.sums.asked.switches_known |= sleep.holder.is_some();
        let is_end_unknown = sleep.on_condition && sleep.result == END_NOT_SEEN;
        self.sums.asked.ends_unknown += u64::from(is_end_unknown);
        self.sums.overtaken.woken += u64::from(sleep.on_condition && sleep.result == WOKEN);
        self.sums.asked.timed_out += u64::from(sleep.on_condition && sleep.result == ETIMEDOUT);
        self.sums.asked.not_honoured += u64::from(added_ns > 0 && !was_kept);
        self.sums.asked.not_honoured_ns = self.sums.asked.not_honoured_ns.saturating_add(added_ns);
        added_ns
    }

    /// A thread that sleeps for a whole interval asks the holder to give the lock up.
    fn ask(&mut self, sleep: &Sleep) {
        let Some((holder, switches)) = sleep.holder else { return };
        if self.asked.len() >= MAX_ASKED && !self.asked.contains_key(&holder) {
            // Most likely of threads that have ended. A holder that is asked gives the lock up soon after, or
            // is asked again.
            self.asked.clear();
        }
        let (first_ns, last_ns) = (sleep.end_ns, sleep.end_ns);
        match self.asked.get_mut(&holder) {
            Some(asked) if asked.switches == switches => asked.last_ns = last_ns,
            _ => drop(self.asked.insert(holder, Asked { switches, first_ns, last_ns })),
        }
    }

    /// Whether this thread was asked to give the lock up between these times.
    pub fn was_asked(&self, holder: Tid, from_ns: u64, until_ns: u64) -> bool {
        let then = from_ns..=until_ns;
        self.asked
            .get(&holder)
            .is_some_and(|asked| then.contains(&asked.first_ns) || then.contains(&asked.last_ns))
    }

    /// An attempt is over.
    pub fn end(&mut self, attempt: &Attempt, wait_ns: u64, run_queue_ns: u64, end_ns: u64) {
        let sums = &mut self.sums;
        sums.waits = sums.waits.saturating_add(1);
        sums.wait_ns = sums.wait_ns.saturating_add(wait_ns);
        sums.run_queue_ns = sums.run_queue_ns.saturating_add(run_queue_ns);
        sums.overtaken.missed = sums.overtaken.missed.saturating_add(u64::from(attempt.missed));
        sums.overtaken.deepest = sums.overtaken.deepest.max(attempt.missed);
        if attempt.missed > 0 {
            let missed_ns = end_ns.saturating_sub(attempt.missed_since_ns).min(wait_ns);
            sums.overtaken.missed_ns = sums.overtaken.missed_ns.saturating_add(missed_ns);
        }
        let depth = usize::try_from(attempt.missed).unwrap_or(DEPTHS).min(DEPTHS - 1);
        if let Some(count) = sums.overtaken.depths.get_mut(depth) {
            *count = count.saturating_add(1);
        }
        let band = cycles(wait_ns, sums.interval_us.saturating_mul(1000));
        if let Some(count) = sums.cycles.get_mut(band) {
            *count = count.saturating_add(1);
        }
    }

    /// Somebody waited from `start_ns` to `end_ns`. Ends come in ascending order.
    fn cover(&mut self, start_ns: u64, end_ns: u64) {
        let mut start_ns = start_ns.max(self.settled_until_ns);
        let mut end_ns = end_ns.max(start_ns);
        while let Some((last_start_ns, last_end_ns)) = self.stretches.back().copied() {
            if last_end_ns < start_ns {
                break;
            }
            self.stretches.pop_back();
            self.sums.held_at_least_ns =
                self.sums.held_at_least_ns.saturating_sub(last_end_ns - last_start_ns);
            start_ns = start_ns.min(last_start_ns);
            end_ns = end_ns.max(last_end_ns);
        }
        self.stretches.push_back((start_ns, end_ns));
        self.sums.held_at_least_ns = self.sums.held_at_least_ns.saturating_add(end_ns - start_ns);
        if self.stretches.len() > MAX_STRETCHES
            && let Some((_, settled_ns)) = self.stretches.pop_front()
        {
            self.settled_until_ns = settled_ns;
        }
    }

    /// The sums.
    pub fn finish(self) -> Lock {
        let convoy = convoy(&self.sums.cycles);
        Lock { convoy, ..self.sums }
    }
}

/// The band of mod_wsgi-telemetry that a wait falls in: how many switch intervals it took. 0.8 to 1.8 counts
/// as one.
fn cycles(wait_ns: u64, interval_ns: u64) -> usize {
    if interval_ns == 0 {
        return 0;
    }
    let fifths = u128::from(wait_ns) * 5 / u128::from(interval_ns);
    usize::try_from((fifths + 1) / 5).unwrap_or(usize::MAX).min(4)
}

/// The coefficient as mod_wsgi-telemetry 1.1 defines it: the share of waits that take `k` switch intervals is
/// `(1 - q)^k q`. `q` comes from the slope of the logarithms of the bands 1 to 3, weighted by their counts.
/// The bands 2 to 4 are used where band 1 has fewer waits than band 2, or the bands 1 to 3 give
/// nothing. `None` where the bands have fewer than 100 waits, or do not fall like that (R² below one half).
fn convoy(bands: &[u64; 5]) -> Option<Convoy> {
    const ENOUGH: u64 = 100;
    const MIN_R2: f64 = 0.5;
    let fit = |from: usize| {
        let chosen: Vec<u64> = bands.iter().skip(from).take(3).copied().collect();
        let waits: u64 = chosen.iter().sum();
        let points: Vec<(f64, f64, f64)> = chosen
            .iter()
            .zip([0.0, 1.0, 2.0])
            .filter(|(count, _)| **count > 0)
            .map(|(count, place)| (place, (*count as f64).ln(), *count as f64))
            .collect();
        if waits < ENOUGH || points.len() < 2 {
            return None;
        }
        let whole: f64 = points.iter().map(|(_, _, weight)| weight).sum();
        let mean = |of: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|(x, y, weight)| weight * of(*x, *y)).sum::<f64>() / whole
        };
        let (mean_x, mean_y) = (mean(&|x, _| x), mean(&|_, y| y));
        let variance_x = mean(&|x, _| (x - mean_x).powi(2));
        let variance_y = mean(&|_, y| (y - mean_y).powi(2));
        if variance_x <= 0.0 || variance_y <= 0.0 {
            return None;
        }
        let slope = mean(&|x, y| (x - mean_x) * (y - mean_y)) / variance_x;
        let intercept = mean_y - slope * mean_x;
        let residual = mean(&|x, y| (y - (intercept + slope * x)).powi(2));
        let (q, r2) = (1.0 - slope.exp(), 1.0 - residual / variance_y);
        (slope < 0.0 && q > 0.0 && q < 1.0 && r2 >= MIN_R2).then_some(Convoy { q, r2, waits })
    };
    let [_, first, second, ..] = bands;
    if first >= second { fit(1).or_else(|| fit(2)) } else { fit(2) }
}

#[cfg(test)]
mod tests;
