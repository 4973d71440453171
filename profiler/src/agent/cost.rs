//! What the agent may take of the machine (`--max-cost`): how it is kept, and how it stands.
//!
//! In: a session's readings, once a second. Out: [`Step`]s, how to attach, what is left out.

use profiler_core::fact::left_out::LeftOut;

use crate::attach;
use crate::fact::asleep::Looks;
use crate::report::left_out::share;
use crate::report::unit;
use crate::session::cost_limit::meter::Reading;
use crate::session::cost_limit::{CanBeLeftOut, CostLimit, Level, Step};

/// How what is taken stands to what may be taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostNow {
    /// What is taken, as a share of all CPUs; `None`: not known yet, or nothing is watched.
    pub ratio: Option<f64>,
    /// What may be taken.
    pub max_ratio: f64,
    /// What is left out now.
    pub left_out: Vec<LeftOut>,
}

/// A limit that is kept.
#[derive(Clone, Debug)]
pub struct Cost {
    limit: CostLimit,
    is_said: bool,
}

impl Cost {
    /// At most this share of all CPUs.
    pub fn new(max_ratio: f64) -> Self {
        Self { limit: CostLimit::new(max_ratio), is_said: false }
    }

    /// How to attach now: as it was asked for, or so that it takes less. `light`: light mode, where that is
    /// less and can be had.
    pub fn attach(
        &mut self,
        asked: attach::Settings,
        light: Option<attach::Settings>,
        now_ns: u64,
    ) -> attach::Settings {
        let can = CanBeLeftOut { lines: asked.reads_places(), system_calls: light.is_some() };
        self.limit.set_can(can, now_ns);
        match self.limit.level() {
            Level::Asked => asked,
            Level::WithoutLines => attach::Settings { looks: Looks::Off, ..asked },
            Level::Light | Level::Pauses => attach::Settings { looks: Looks::Off, ..light.unwrap_or(asked) },
        }
    }

    /// What is left out, and what was since a session was told of that.
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.limit.left_out()
    }

    /// Whether as much is watched as was asked for.
    pub fn leaves_nothing_out(&self) -> bool {
        self.limit.level() == Level::Asked
    }

    /// Programs are attached, and their session has been told what is left out.
    pub fn begins(&mut self, now_ns: u64) {
        self.limit.told();
        self.limit.begins(now_ns);
    }

    /// They are taken off.
    pub const fn ends(&mut self) {
        self.limit.ends();
    }

    /// A pause begins, at this time.
    pub fn pauses(&mut self, now_ns: u64) {
        self.limit.pauses(now_ns);
    }

    /// The pause is over.
    pub fn ends_pause(&mut self, now_ns: u64) {
        self.limit.ends_pause(now_ns);
    }

    /// A full trace has been attached, or taken off.
    pub const fn settles(&mut self, now_ns: u64) {
        self.limit.settles(now_ns);
    }

    /// A reading: what is to be done, if anything. `spares`: whether something else ends in place of a step.
    pub fn read(&mut self, now: Reading, spares: &mut dyn FnMut() -> bool) -> Option<Step> {
        self.limit.read(now, spares)
    }

    /// A window ends: a pause may begin.
    pub fn ends_window(&self, now_ns: u64) -> Option<Step> {
        self.limit.ends_window(now_ns)
    }

    /// Whether it is to be said, once, that what the programs take is not known.
    pub fn lacks_programs(&mut self, now: &Reading) -> bool {
        let lacks = now.programs_cpus.is_none() && self.limit.recent_ratio().is_some();
        lacks && !std::mem::replace(&mut self.is_said, true)
    }

    /// How it stands.
    pub fn now(&self) -> CostNow {
        CostNow {
            ratio: self.limit.recent_ratio(),
            max_ratio: self.limit.max_ratio(),
            left_out: self.limit.left_out_now().to_vec(),
        }
    }

    /// What a step means, in one sentence.
    pub fn sentence(&self, step: Step) -> String {
        let (max, took) = (share(self.limit.max_ratio()), unit::percent(Some(self.limit.last_ratio())));
        let took = format!("watching took {took} of all CPUs of this machine, --max-cost is {max}");
        match step {
            Step::Down(Level::Asked | Level::WithoutLines) => {
                format!("{took}: from here on without lines of code")
            }
            Step::Down(Level::Light) => format!("{took}: from here on in light mode, without lines of code"),
            Step::Down(Level::Pauses) => format!("{took}: from here on with pauses"),
            Step::Up(Level::Asked) => {
                format!(
                    "there is room below --max-cost {max}: again everything is watched that was asked for"
                )
            }
            Step::Up(_) => format!("there is room below --max-cost {max}: more is watched again"),
            Step::Pause(pause) => format!("{took}: nothing is watched for {} s", pause.as_secs()),
        }
    }
}
