//! From a recording and changes to bounds, the self-forecast and, where that holds, forecasts.
//!
//! In: an [`Ask`]. Out: a [`WhatIf`].

use std::path::PathBuf;

use profiler_core::model::Server;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;
use profiler_forecast::bounds::{Bounds, Without, bounds};
use profiler_forecast::capacity::{Capacity, Limit, capacity};
use profiler_forecast::change::{Change, Class};
use profiler_forecast::figures::Figures;
use profiler_forecast::load::{Arrives, Load};
use profiler_forecast::play::play;
use profiler_forecast::search::{Goal, Search, Slots, candidates, search};
use profiler_forecast::self_forecast::SelfForecast;
use profiler_forecast::setting::{Setting, SettingError};

use super::judged::checked;
use super::model::{Arrivals, Model};
use super::refusal::Refusal;
use super::today::Today;
use super::trace::Trace;
use crate::session::{SessionError, replay};

/// CPU times of the ranges: the machine is never as fast again as it was.
const CPU_TIMES: [f64; 2] = [0.9, 1.1];

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    /// The recording cannot be replayed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A change names a back end that the recording does not have.
    #[error("the recording has no back end {name}: it has {known}")]
    NoBackEnd {
        /// As the user named it.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The server has no classes of workers that are modelled.
    #[error("--worker-class is for gunicorn's sync and gthread workers: this is {server}")]
    NoClass {
        /// Its name and class.
        server: String,
    },
    /// sync workers have no threads.
    #[error("a sync worker serves one request at once: --threads makes gthread workers of them")]
    SyncThreads,
    /// Nor have those of a server of their own.
    #[error("a sync worker serves one request at once: --split with threads needs --worker-class gthread")]
    SplitThreads,
    /// A split names no endpoint, or all.
    #[error("{pattern} is {found} of the recording's endpoints: it has {known}")]
    Split {
        /// As the user wrote it.
        pattern: String,
        /// none, or all.
        found: &'static str,
        /// Some of those that there are.
        known: String,
    },
    /// Memory of workers is not known.
    #[error("the recording does not say how much memory a worker has: search without --memory")]
    NoMemory,
    /// A changed setting cannot be simulated.
    #[error("{0}")]
    Setting(#[from] SettingError),
}

/// One change as it was asked for: back ends and endpoints by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Anything but a back end.
    Plain(Change),
    /// The back end of this name takes so many times as long.
    BackEnd(String, f64),
    /// Another class of worker.
    Class(Class),
    /// Endpoints that this pattern matches go to a server of their own, with so many processes and threads if
    /// they are named.
    Split(String, Option<Slots>),
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The recording.
    pub recording: PathBuf,
    /// Each change, with the words that asked for it.
    pub changes: Vec<(String, Asked)>,
    /// Look for the smallest setting that keeps this.
    pub goal: Option<Goal>,
    /// Workers that it finds have so much memory.
    pub memory_bytes: Option<u64>,
    /// How requests arrive, if not as connections show.
    pub arrivals: Option<Arrivals>,
    /// Seed of all that is random.
    pub seed: u64,
    /// Forecast also where nothing should be: to judge that.
    pub is_untrusted: bool,
}

/// A setting, simulated.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The changes, in the user's words.
    pub name: String,
    /// With CPU times as recorded.
    pub figures: Figures,
    /// With less CPU time, and with more.
    pub range: [Figures; 2],
    /// The most that it serves.
    pub capacity: Capacity,
    /// What is asked of it, as a ratio of that.
    pub used_ratio: f64,
    /// How near forecasts like this one came to real runs.
    pub checked: String,
}

/// What is said of a recording.
#[derive(Debug)]
pub struct WhatIf {
    /// Its report.
    pub snapshot: Snapshot,
    /// The model of it.
    pub model: Model,
    /// At best.
    pub bounds: Bounds,
    /// Bounds for which the waits were measured, in the order of [`Without::ALL`].
    pub is_bounded: [bool; Without::ALL.len()],
    /// Why nothing is forecast.
    pub refusals: Vec<Refusal>,
    /// Today as measured beside today as simulated; `None`: there is no model of it.
    pub self_forecast: Option<SelfForecast>,
    /// Today, each change alone, then all together; none unless the self-forecast holds.
    pub forecasts: Vec<Forecast>,
    /// What was looked for, and found.
    pub searched: Option<(Goal, Search)>,
}

impl WhatIf {
    /// Answers.
    ///
    /// # Errors
    /// If the recording cannot be read, or a change makes no sense for it.
    pub fn of(ask: &Ask) -> Result<Self, WhatIfError> {
        let mut trace = Trace::default();
        let snapshot = replay::run(&ask.recording, &mut trace)?;
        Self::of_replay(snapshot, &trace, ask)
    }

    /// Answers for a recording that was replayed.
    ///
    /// # Errors
    /// If a change makes no sense for it.
    pub fn of_replay(snapshot: Snapshot, trace: &Trace, ask: &Ask) -> Result<Self, WhatIfError> {
        let today = Today::of(&snapshot, trace, ask.arrivals, ask.seed)?;
        let changes = resolved(&ask.changes, &today.model.load, &snapshot)?;
        let most_processes = most_processes(&snapshot, ask.memory_bytes)?;
        let is_bounded = Without::ALL.map(|without| {
            let is_missing =
                |phase: &Phase| snapshot.coverage.not_measured.iter().any(|(other, _)| other == phase);
            !without.phases().iter().any(is_missing)
        });
        let is_trusted = today.is_trusted();
        let Today { model, refusals, self_forecast, .. } = today;
        let mut answer = Self {
            snapshot,
            bounds: bounds(&model.bounded, model.load.endpoints.len()),
            is_bounded,
            refusals,
            self_forecast,
            forecasts: Vec::new(),
            searched: None,
            model,
        };
        if is_trusted || ask.is_untrusted && answer.self_forecast.is_some() {
            answer.forecast(&changes)?;
        }
        if let Some(goal) = ask.goal.filter(|_| !answer.forecasts.is_empty()) {
            answer.search(&changes, goal, most_processes)?;
        }
        Ok(answer)
    }

    /// Looks for the smallest setting with these changes that keeps the goal, and forecasts it, or the best
    /// there is.
    fn search(
        &mut self,
        changes: &[(String, Vec<Change>)],
        goal: Goal,
        most: Option<u32>,
    ) -> Result<(), WhatIfError> {
        let all = together(changes);
        let (mut load, mut setting) = (self.model.load.clone(), self.model.setting.clone());
        all.iter().for_each(|change| change.apply(&mut load, &mut setting));
        let found = search(&load, &setting, goal, &candidates(&setting, most))?;
        if let Some((processes, threads)) = found.found.or(found.best.map(|best| best.0)) {
            let name = slots_name((processes, threads), changes.iter().map(|(words, _)| words.as_str()));
            let slots = [Change::Processes(processes), Change::Threads(threads)];
            let server = &self.snapshot.server;
            let mut found = forecast(server, &name, &slots, (&load, &setting))?;
            found.checked = checked(server, &[all, slots.to_vec()].concat(), found.used_ratio);
            self.forecasts.push(found);
        }
        self.searched = Some((goal, found));
        Ok(())
    }

    fn forecast(&mut self, changes: &[(String, Vec<Change>)]) -> Result<(), WhatIfError> {
        let (Model { load, setting, .. }, server) = (&self.model, &self.snapshot.server);
        self.forecasts.push(forecast(server, "today", &[], (load, setting))?);
        for (name, change) in changes {
            self.forecasts.push(forecast(server, name, change, (load, setting))?);
        }
        if changes.len() > 1 {
            let all = together(changes);
            self.forecasts.push(forecast(server, "all together", &all, (load, setting))?);
        }
        Ok(())
    }
}

/// All changes in the order in which they make sense: the class of workers decides what they can have, and a
/// split has what the server has by then.
pub(super) fn together(changes: &[(String, Vec<Change>)]) -> Vec<Change> {
    let mut all: Vec<Change> = changes.iter().flat_map(|(_, of_one)| of_one.clone()).collect();
    all.sort_by_key(|change| match change {
        Change::Class(_) => 0,
        Change::Split { .. } => 2,
        _ => 1,
    });
    all
}

/// A setting as options, after those that it was found with.
pub(super) fn slots_name<'a>((processes, threads): Slots, words: impl Iterator<Item = &'a str>) -> String {
    let slots = format!("--workers {processes} --threads {threads}");
    words.map(ToOwned::to_owned).chain([slots]).collect::<Vec<_>>().join(" ")
}

/// So many workers have room; `None`: memory does not matter.
fn most_processes(snapshot: &Snapshot, memory_bytes: Option<u64>) -> Result<Option<u32>, WhatIfError> {
    let Some(memory_bytes) = memory_bytes else { return Ok(None) };
    let of_each = snapshot.capacity.workers.iter().filter_map(|worker| worker.memory?.proportional_bytes);
    let largest = of_each.max().filter(|bytes| *bytes > 0).ok_or(WhatIfError::NoMemory)?;
    Ok(Some(u32::try_from(memory_bytes / largest).unwrap_or(u32::MAX)))
}

pub(super) fn resolved(
    changes: &[(String, Asked)],
    load: &Load,
    snapshot: &Snapshot,
) -> Result<Vec<(String, Vec<Change>)>, WhatIfError> {
    let (name, class) = (snapshot.server.name.as_str(), snapshot.server.worker_class.as_str());
    let is_sync = name == "gunicorn" && class == "sync";
    let becomes = |class| changes.iter().any(|(_, asked)| *asked == Asked::Class(class));
    let (becomes_sync, becomes_pool) = (becomes(Class::Sync), becomes(Class::Pool));
    let resolve = |(words, asked): &(String, Asked)| {
        let changes = match asked {
            Asked::Plain(Change::Threads(2..)) if becomes_sync => return Err(WhatIfError::SyncThreads),
            // gunicorn itself makes gthread workers of them.
            Asked::Plain(change @ Change::Threads(2..)) if is_sync => {
                vec![Change::Class(Class::Pool), change.clone()]
            }
            Asked::Plain(change) => vec![change.clone()],
            Asked::BackEnd(name, factor) => vec![Change::BackEnd(back_end(name, load)?, *factor)],
            Asked::Class(class)
                if is_sync || (name, snapshot.server.worker_class.as_str()) == ("gunicorn", "gthread") =>
            {
                vec![Change::Class(*class)]
            }
            Asked::Class(_) => return Err(WhatIfError::NoClass { server: format!("{name} {class}") }),
            Asked::Split(_, Some((_, 2..))) if becomes_sync || is_sync && !becomes_pool => {
                return Err(WhatIfError::SplitThreads);
            }
            Asked::Split(pattern, slots) => {
                let split = Change::Split { endpoints: endpoints(pattern, load)?, slots: *slots };
                let has_threads = slots.is_some_and(|(_, threads)| threads > 1);
                let class = (is_sync && has_threads).then_some(Change::Class(Class::Pool));
                class.into_iter().chain([split]).collect()
            }
        };
        Ok((words.clone(), changes))
    };
    changes.iter().map(resolve).collect()
}

fn back_end(name: &str, load: &Load) -> Result<usize, WhatIfError> {
    load.back_ends.iter().position(|known| known == name).ok_or_else(|| {
        let known = if load.back_ends.is_empty() { "none".to_owned() } else { load.back_ends.join(", ") };
        WhatIfError::NoBackEnd { name: name.to_owned(), known }
    })
}

/// Endpoints named in an error.
const MAX_NAMED: usize = 5;

/// The endpoints that a pattern matches: some, and not all.
fn endpoints(pattern: &str, load: &Load) -> Result<Vec<usize>, WhatIfError> {
    let matching = load.endpoints.iter().enumerate().filter(|(_, name)| matches(pattern, name));
    let found: Vec<usize> = matching.map(|(number, _)| number).collect();
    if found.is_empty() || found.len() == load.endpoints.len() {
        let named: Vec<&str> = load.endpoints.iter().take(MAX_NAMED).map(String::as_str).collect();
        let more = if load.endpoints.len() > MAX_NAMED { ", and more" } else { "" };
        return Err(WhatIfError::Split {
            pattern: pattern.to_owned(),
            found: if found.is_empty() { "none" } else { "all" },
            known: format!("{}{more}", named.join(", ")),
        });
    }
    Ok(found)
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let Some((middle, last)) = rest.rsplit_once('*').or(Some(("", rest))) else { return false };
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(last)
}

pub(super) fn forecast(
    server: &Server,
    name: &str,
    changes: &[Change],
    (load, setting): (&Load, &Setting),
) -> Result<Forecast, SettingError> {
    let (mut load, mut setting) = (load.clone(), setting.clone());
    changes.iter().for_each(|change| change.apply(&mut load, &mut setting));
    let played = |cpu_times: f64| {
        let (mut load, mut setting) = (load.clone(), setting.clone());
        Change::CpuTime(cpu_times).apply(&mut load, &mut setting);
        play(&load, &setting)
    };
    let figures = play(&load, &setting)?;
    let [less, more] = CPU_TIMES;
    let capacity = capacity(&load, &setting)?;
    let used_ratio = if capacity.per_s > 0.0 { asked_per_s(&load, &figures) / capacity.per_s } else { 0.0 };
    Ok(Forecast {
        name: name.to_owned(),
        range: [played(less)?, played(more)?],
        figures,
        capacity,
        used_ratio,
        checked: checked(server, changes, used_ratio),
    })
}

/// Requests a second that arrive: open ones as they come, of users who think as many as are served.
fn asked_per_s(load: &Load, figures: &Figures) -> f64 {
    let mut last_ns = 0;
    for request in &load.requests {
        match request.arrives {
            Arrives::At(at_ns) => last_ns = last_ns.max(at_ns),
            Arrives::After { .. } => return figures.throughput_per_s,
        }
    }
    if last_ns == 0 { figures.throughput_per_s } else { load.requests.len() as f64 * 1e9 / last_ns as f64 }
}

/// What a limit is called.
pub fn limit_name(limit: Limit, load: &Load) -> String {
    match limit {
        Limit::Cores => "cores".to_owned(),
        Limit::Lock => "the GIL".to_owned(),
        Limit::Slots => "slots".to_owned(),
        Limit::Quota => "the cgroup's CPU quota".to_owned(),
        Limit::BackEnd(number) => {
            format!("back end {}", load.back_ends.get(number).map_or("?", String::as_str))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("GET /report/*", "GET /report/{number}", true),
            ("GET /report/*", "GET /reports", false),
            ("*", "anything", true),
            ("* /a/*/c", "POST /a/b/c", true),
            ("* /a/*/c", "POST /a/b/d", false),
            ("GET /a*b*c", "GET /a-b-b-c", true),
            ("GET /a*b*c", "GET /a-c-b", false),
            ("GET /a", "GET /a", true),
            ("GET /a", "GET /ab", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
