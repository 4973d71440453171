//! How much of the machine may be taken (`--max-cost`): what was taken decides how much is watched.
//!
//! In: what was taken since it was asked last. Out: [`Step`]s between [`Level`]s, and what is left out
//! meanwhile. A pure state machine: times are `CLOCK_MONOTONIC` nanoseconds, costs are shares of all CPUs.
//!
//! There is one account. It gains what may be taken as time passes, up to some seconds of that, and loses
//! what is taken. Less is watched once it is empty and more is taken than may be; pauses make up for the
//! rest. So on average no more is taken than may be, attaching included.

pub mod meter;

use std::time::Duration;

use profiler_core::fact::left_out::{LeftOut, Part};

use meter::{Meter, Reading};

const SECOND_NS: u64 = 1_000_000_000;
/// Attaching has a price of its own, which is paid once: what is taken at first says nothing of what is taken
/// all the time.
const SETTLED_NS: u64 = 3 * SECOND_NS;
/// What the account gains, as a share of what may be taken: measuring is not exact.
const AIM: f64 = 0.95;
/// What the account holds at most, in seconds of the limit: at twice the limit it lasts for so long.
const CREDIT_SECONDS: f64 = 10.0;
/// The time over which the mean goes that stands for what is taken now, in seconds.
const RECENT_SECONDS: f64 = 5.0;
/// More is watched where it would take at most this share of the limit, ...
const CALM: f64 = 0.7;
/// ... for so long at first, and for so long at most after it was too much each time.
const HOLD_NS: u64 = 60 * SECOND_NS;
const LONGEST_HOLD_NS: u64 = 3600 * SECOND_NS;
/// Too much within this time after more was watched: next time it is waited for longer.
const TOO_SOON_NS: u64 = 600 * SECOND_NS;
/// In a pause the account is made up for by this share of the limit, as attaching will take something.
const PAUSED: f64 = 0.8;
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_hours(24 * 7);
/// A window between pauses that is shorter is followed by another one; one that is longer is cut, ...
const SHORTEST_STRETCH_NS: u64 = 10 * SECOND_NS;
const LONGEST_STRETCH_NS: u64 = 65 * SECOND_NS;
/// ... and so is one in which as much more is taken as may be taken in so many seconds.
const DEBT_SECONDS: f64 = 60.0;

/// How much is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was asked for.
    Asked,
    /// No lines of code, and no looks at sleeping threads.
    WithoutLines,
    /// Nor system calls: light mode.
    Light,
    /// A window at a time, with pauses between them.
    Pauses,
}

impl Level {
    const ALL: [Self; 4] = [Self::Asked, Self::WithoutLines, Self::Light, Self::Pauses];

    /// What it takes by what the level before it takes, usually. Where that is not so, it is found out by
    /// watching more, which is tried more seldom each time.
    const fn usual_ratio(self) -> f64 {
        match self {
            Self::Asked | Self::Pauses => 1.0,
            Self::WithoutLines => 0.95,
            Self::Light => 0.6,
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Less is to be watched.
    Down(Level),
    /// More is to be watched.
    Up(Level),
    /// Nothing is to be watched for so long.
    Pause(Duration),
}

/// What was taken since it was asked last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// Now.
    pub now_ns: u64,
    /// Share of all CPUs of the machine.
    pub ratio: f64,
    /// Over so many seconds.
    pub seconds: f64,
}

/// What can be left out at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanBeLeftOut {
    /// Lines of code are asked for.
    pub lines: bool,
    /// System calls are asked for, and light mode can be had.
    pub system_calls: bool,
}

/// A limit, and how it is kept.
#[derive(Clone, Debug)]
pub struct CostLimit {
    max_ratio: f64,
    meter: Meter,
    can: CanBeLeftOut,
    level: Level,
    /// Since when it is watched in this way.
    began_ns: u64,
    /// Since when it is watched without a pause.
    stretch_ns: u64,
    recent_ratio: Option<f64>,
    /// What was taken as less came to be watched.
    last_ratio: f64,
    /// The account, in seconds of the whole machine.
    credit_seconds: f64,
    calm_since_ns: Option<u64>,
    raised_ns: Option<u64>,
    hold_ns: u64,
    /// What is left out now.
    open: Vec<LeftOut>,
    /// What was left out, and no session was told of yet.
    closed: Vec<LeftOut>,
}

impl CostLimit {
    /// At most this share of all CPUs.
    pub fn new(max_ratio: f64) -> Self {
        Self {
            max_ratio,
            meter: Meter::default(),
            can: CanBeLeftOut::default(),
            level: Level::Asked,
            began_ns: 0,
            stretch_ns: 0,
            recent_ratio: None,
            last_ratio: 0.0,
            credit_seconds: CREDIT_SECONDS * max_ratio,
            calm_since_ns: None,
            raised_ns: None,
            hold_ns: HOLD_NS,
            open: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// How much is watched.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// What may be taken, as a share of all CPUs.
    pub const fn max_ratio(&self) -> f64 {
        self.max_ratio
    }

    /// What is taken now, as a share of all CPUs; `None`: not known, or nothing is watched.
    pub const fn recent_ratio(&self) -> Option<f64> {
        self.recent_ratio
    }

    /// What was taken as less came to be watched, as a share of all CPUs.
    pub const fn last_ratio(&self) -> f64 {
        self.last_ratio
    }

    /// What can be left out of what is attached now: another server may have come.
    pub fn set_can(&mut self, can: CanBeLeftOut, now_ns: u64) {
        if can == self.can {
            return;
        }
        self.can = can;
        let level = if self.can_be_had(self.level) { self.level } else { self.below(self.level) };
        self.goes_to(level, now_ns);
    }

    /// Watching begins, or goes on with more or less.
    pub fn begins(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
        (self.recent_ratio, self.calm_since_ns) = (None, None);
        if self.stretch_ns == 0 {
            self.stretch_ns = now_ns;
        }
    }

    /// Watching has ended: nothing is taken that is known.
    pub const fn ends(&mut self) {
        self.recent_ratio = None;
    }

    /// A pause begins.
    pub fn pauses(&mut self, now_ns: u64) {
        self.leaves_out(Part::Everything, now_ns);
    }

    /// The pause is over.
    pub fn ends_pause(&mut self, now_ns: u64) {
        self.ends_of(Part::Everything, now_ns);
        self.stretch_ns = 0;
    }

    /// What is left out now.
    pub fn left_out_now(&self) -> &[LeftOut] {
        &self.open
    }

    /// What is left out, and what was since a session was told of that.
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.closed.iter().chain(&self.open).copied().collect()
    }

    /// A session has been told.
    pub fn told(&mut self) {
        self.closed.clear();
    }

    /// A reading: what is to be done, if anything. `spares`: whether something else ends that took part of
    /// what was taken since the one before.
    pub fn read(&mut self, now: Reading, spares: &mut dyn FnMut() -> bool) -> Option<Step> {
        let taken = self.meter.taken(now)?;
        self.took(taken, spares)
    }

    fn took(&mut self, taken: Taken, spares: &mut dyn FnMut() -> bool) -> Option<Step> {
        let Taken { now_ns, ratio, seconds } = taken;
        let most = CREDIT_SECONDS * self.max_ratio;
        let gained = (AIM * self.max_ratio - ratio) * seconds;
        self.credit_seconds = (self.credit_seconds + gained).min(most);
        if now_ns.saturating_sub(self.began_ns) < SETTLED_NS {
            return None;
        }
        let weight = 1.0 - (-seconds / RECENT_SECONDS).exp();
        let recent = self.recent_ratio.map_or(ratio, |recent| recent + (ratio - recent) * weight);
        self.recent_ratio = Some(recent);
        if self.credit_seconds < 0.0 && recent > self.max_ratio && self.level != Level::Pauses {
            return (!spares()).then(|| self.down(now_ns, recent));
        }
        let stretch_ns = now_ns.saturating_sub(self.stretch_ns);
        let is_dear = self.credit_seconds < -DEBT_SECONDS * self.max_ratio;
        if (stretch_ns >= LONGEST_STRETCH_NS || is_dear && stretch_ns >= SHORTEST_STRETCH_NS)
            && let Some(pause) = self.pause()
        {
            return Some(pause);
        }
        self.up(now_ns, recent)
    }

    /// A window ends: where there are pauses, one may begin.
    pub fn ends_window(&self, now_ns: u64) -> Option<Step> {
        let is_long = now_ns.saturating_sub(self.stretch_ns) >= SHORTEST_STRETCH_NS;
        if is_long { self.pause() } else { None }
    }

    /// What is taken for a while is not what is taken all the time: something else was attached, or ended.
    pub const fn settles(&mut self, now_ns: u64) {
        (self.began_ns, self.recent_ratio) = (now_ns, None);
    }

    /// A pause, where there are some, until the account is made up for.
    fn pause(&self) -> Option<Step> {
        // What takes less than it may makes up for itself, without another attach.
        let is_too_much = self.recent_ratio.is_some_and(|recent| recent > AIM * self.max_ratio);
        let is_due = self.level == Level::Pauses && self.credit_seconds < 0.0 && is_too_much;
        let seconds = -self.credit_seconds / (PAUSED * self.max_ratio);
        let pause = || Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        is_due.then(|| Step::Pause(pause()))
    }

    /// To the first level at which it would not be too much.
    fn down(&mut self, now_ns: u64, recent: f64) -> Step {
        let mut expected = recent;
        let mut to = self.level;
        while to != Level::Pauses && (to == self.level || expected > self.max_ratio) {
            to = self.below(to);
            expected *= to.usual_ratio();
        }
        let is_too_soon =
            self.raised_ns.is_some_and(|raised_ns| now_ns.saturating_sub(raised_ns) < TOO_SOON_NS);
        let longer_ns = self.hold_ns.saturating_mul(2).min(LONGEST_HOLD_NS);
        self.hold_ns = if is_too_soon { longer_ns } else { HOLD_NS };
        self.last_ratio = recent;
        self.stretch_ns = now_ns;
        self.goes_to(to, now_ns);
        Step::Down(to)
    }

    /// One level up, if that would not be too much for some time now.
    fn up(&mut self, now_ns: u64, recent: f64) -> Option<Step> {
        let to = self.above(self.level)?;
        let is_calm = recent / self.level.usual_ratio() <= CALM * self.max_ratio;
        if !is_calm || self.credit_seconds < 0.0 {
            self.calm_since_ns = None;
            return None;
        }
        let since_ns = *self.calm_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since_ns) < self.hold_ns {
            return None;
        }
        self.raised_ns = Some(now_ns);
        self.goes_to(to, now_ns);
        Some(Step::Up(to))
    }

    const fn can_be_had(&self, level: Level) -> bool {
        match level {
            Level::Asked | Level::Pauses => true,
            Level::WithoutLines => self.can.lines,
            Level::Light => self.can.system_calls,
        }
    }

    /// The next level below that can be had.
    fn below(&self, level: Level) -> Level {
        let is_below = |below: &Level| *below > level && self.can_be_had(*below);
        Level::ALL.into_iter().find(is_below).unwrap_or(Level::Pauses)
    }

    fn above(&self, level: Level) -> Option<Level> {
        Level::ALL.into_iter().rfind(|above| *above < level && self.can_be_had(*above))
    }

    fn goes_to(&mut self, to: Level, now_ns: u64) {
        self.calm_since_ns = None;
        self.level = to;
        let lines = self.can.lines && to >= Level::WithoutLines;
        let system_calls = self.can.system_calls && to >= Level::Light;
        for (part, is_left_out) in [(Part::Lines, lines), (Part::SystemCalls, system_calls)] {
            if is_left_out {
                self.leaves_out(part, now_ns);
            } else {
                self.ends_of(part, now_ns);
            }
        }
    }

    fn leaves_out(&mut self, what: Part, now_ns: u64) {
        if !self.open.iter().any(|open| open.what == what) {
            let (cost_ratio, max_ratio) = (self.last_ratio, self.max_ratio);
            self.open.push(LeftOut { what, from_ns: now_ns, to_ns: None, cost_ratio, max_ratio });
        }
    }

    fn ends_of(&mut self, part: Part, now_ns: u64) {
        let ended = self.open.extract_if(.., |open| open.what == part);
        self.closed.extend(ended.map(|open| LeftOut { to_ns: Some(now_ns), ..open }));
    }
}

#[cfg(test)]
mod tests;
