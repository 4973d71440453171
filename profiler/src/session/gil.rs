//! The interpreter locks of a target: found, followed, and watched in the way that was asked for.
//!
//! In: the target's processes, now and again. Out: facts about interpreters and the method; the kernel side
//! told which locks to follow; probes attached to files.

use std::collections::BTreeMap;

use profiler_common::gil::CollectingWay;
use profiler_common::record::{KIND_FRAMES, KIND_WAITER_FRAMES};
use profiler_common::timers::TimersWay;
use profiler_core::decode::decode;
use profiler_core::event::{Body, Event};
use profiler_core::fact::{Fact, GilFile, GilMethod, InterpreterSeen};

use crate::attach::gil::{Choice, Code, Mode, Wanted, choose};
use crate::attach::{Hooks, Settings};
use crate::fact::Proc;
use crate::fact::python::code::Codes;
use crate::fact::python::{Interpreters, Looked, Mappings, Numbers, timers};
use crate::fact::schedule::process_cpu_ns;
use crate::session::shared::Tap;
use crate::source::live::FollowedLocks;

/// Processes looked at again each second.
const AGAIN_EACH_TICK: usize = 4;
/// Seconds after which a process is looked at again at the latest: each look that finds what the one before
/// found puts the next one off by one more. Where there is no interpreter yet, one is known sooner.
const LONGEST_REST: u32 = 10;
const REST_WITHOUT_INTERPRETER: u32 = 3;
/// Files with an interpreter that get probes.
const MAX_FILES: usize = 64;

/// What is known of the locks.
pub(super) struct LockWatch {
    wanted: Wanted,
    no_probes: Option<String>,
    follows_every_call: bool,
    /// The kernel side reads frames, for `--stacks` or as the clock ticks.
    reads_frames: bool,
    /// The kernel side reads tasks and timers as calls begin: not in light mode.
    reads_timers: bool,
    interpreters: Interpreters,
    numbers: Numbers,
    codes: Codes,
    seen: BTreeMap<u32, (InterpreterSeen, Option<CollectingWay>)>,
    files: BTreeMap<(String, u64), GilFile>,
    /// Where the timers of processes' event loops are.
    timers: BTreeMap<u32, TimersWay>,
    /// Process looked at again last.
    last_again: u32,
    rests: BTreeMap<u32, Rest>,
    /// Hits and attempts told last.
    told: (u64, u64),
}

/// When a process is looked at again.
#[derive(Default)]
struct Rest {
    /// For how many seconds it was left alone last.
    last: u32,
    /// For how many it still is.
    left: u32,
    /// CPU time that it had used when it was looked at last.
    cpu_ns: Option<u64>,
    mapped: Mappings,
}

impl LockWatch {
    pub(super) fn new(settings: &Settings, no_probes: Option<String>, follows_every_call: bool) -> Self {
        let wanted = settings.gil;
        Self {
            wanted,
            no_probes,
            follows_every_call,
            reads_frames: wanted.stacks || settings.reads_places(),
            reads_timers: settings.hooks != Hooks::Light,
            interpreters: Interpreters::default(),
            numbers: Numbers::default(),
            codes: Codes::default(),
            seen: BTreeMap::new(),
            files: BTreeMap::new(),
            timers: BTreeMap::new(),
            last_again: 0,
            rests: BTreeMap::new(),
            told: (0, 0),
        }
    }

    /// Looks at a process; nothing, if it is gone, or told already. With `--gil=off` nothing is read of it.
    pub(super) fn look(&mut self, proc: &Proc, tgid: u32, source: &mut Tap) -> Vec<Fact> {
        if self.wanted.mode == Mode::Off {
            return Vec::new();
        }
        let mapped = &mut self.rests.entry(tgid).or_default().mapped;
        let Ok(looked) = self.interpreters.look_again(proc, tgid, mapped) else { return Vec::new() };
        let known = self.timers.get(&tgid).copied();
        let timers = self.reads_timers.then(|| timers::find(proc, tgid, &looked.seen, known)).flatten();
        if let Some(way) = timers.filter(|way| known != Some(*way)) {
            source.follow_timers(tgid, way);
            self.timers.insert(tgid, way);
        }
        let mut facts = Vec::new();
        if let Some(file) = self.watch_file(proc, tgid, &looked, source) {
            facts.push(file);
        }
        let known = self.seen.get(&tgid).filter(|(seen, _)| *seen == looked.seen);
        // Where its note of collections is may show later, and not in each look.
        if known.is_some_and(|(_, known)| looked.collecting.is_none() || looked.collecting == *known) {
            return facts;
        }
        let (is_new, collecting) = (known.is_none(), looked.collecting);
        let followed = FollowedLocks::of(&looked, self.reads_frames);
        let seen = looked.seen;
        if seen.foreign_numbers && seen.thread_number_at.is_some() {
            self.numbers.follow(tgid);
        }
        if let Some(followed) = followed {
            source.follow_locks(tgid, &followed);
        }
        if self.wanted.stacks {
            self.codes.follow(proc, &seen);
        }
        self.seen.insert(tgid, (seen.clone(), collecting));
        facts.extend(is_new.then_some(Fact::InterpreterSeen(seen)));
        facts
    }

    /// Looks at a few of the processes again, in turn: interpreters come and go while a process runs.
    pub(super) fn look_again(&mut self, proc: &Proc, known: &[u32], source: &mut Tap) -> Vec<Fact> {
        let gone: Vec<u32> = self.seen.keys().copied().filter(|tgid| !known.contains(tgid)).collect();
        for tgid in gone {
            self.seen.remove(&tgid);
            self.codes.forget(tgid);
            self.timers.remove(&tgid);
            source.forget_locks(tgid);
        }
        self.codes.next_turn();
        self.rests.retain(|tgid, _| known.contains(tgid));
        let mut turn: Vec<u32> = known.iter().copied().filter(|tgid| self.is_rested(*tgid)).collect();
        turn.sort_unstable();
        let first = turn.partition_point(|tgid| *tgid <= self.last_again);
        turn.rotate_left(first);
        turn.truncate(AGAIN_EACH_TICK);
        let mut facts = Vec::new();
        for tgid in turn {
            self.last_again = tgid;
            let found = if self.has_run(proc, tgid) { self.look(proc, tgid, source) } else { Vec::new() };
            self.rest(tgid, found.is_empty());
            facts.extend(found);
        }
        facts
    }

    /// Whether a process is to be looked at again: a second has passed.
    fn is_rested(&mut self, tgid: u32) -> bool {
        let rest = self.rests.entry(tgid).or_default();
        let is_over = rest.left == 0;
        rest.left = rest.left.saturating_sub(1);
        is_over
    }

    /// Whether a process has used CPU time since it was looked at last: else it is as it was.
    fn has_run(&mut self, proc: &Proc, tgid: u32) -> bool {
        let cpu_ns = process_cpu_ns(proc, tgid).ok();
        let before_ns = std::mem::replace(&mut self.rests.entry(tgid).or_default().cpu_ns, cpu_ns);
        cpu_ns.is_none() || cpu_ns != before_ns
    }

    fn rest(&mut self, tgid: u32, is_as_before: bool) {
        let has_interpreter = self.seen.get(&tgid).is_some_and(|(seen, _)| !seen.locks.is_empty());
        let longest = if has_interpreter { LONGEST_REST } else { REST_WITHOUT_INTERPRETER };
        let rest = self.rests.entry(tgid).or_default();
        rest.last = if is_as_before { rest.last.saturating_add(1).min(longest) } else { 0 };
        rest.left = rest.last;
    }

    /// What threads call themselves in processes of other PID namespaces, where there are others than before.
    pub(super) fn thread_numbers(&mut self, proc: &Proc) -> Vec<Fact> {
        self.numbers.changed(proc).into_iter().map(Fact::ThreadNumbers).collect()
    }

    /// What the frames of a record are of, as far as that was not told yet, at the time of the record. The
    /// request that waited may end before the record is read. Nothing, if it is a record of another kind.
    pub(super) fn look_up(&mut self, record: &[u8]) -> Vec<(u64, Fact)> {
        let kind = record.first_chunk().map(|kind| u16::from_ne_bytes(*kind));
        if !self.wanted.stacks || !matches!(kind, Some(KIND_FRAMES | KIND_WAITER_FRAMES)) {
            return Vec::new();
        }
        let Ok(Event { time_ns, body: Body::Frames(found) }) = decode(record) else { return Vec::new() };
        let look_up = |(code, instruction)| self.codes.look_up(found.tgid, code, instruction);
        found
            .frames
            .iter()
            .copied()
            .filter_map(look_up)
            .map(|seen| (time_ns, Fact::FrameSeen(seen)))
            .collect()
    }

    /// How it is done, and how often the probes were hit.
    pub(super) fn method(&mut self, source: &Tap) -> Fact {
        let (probe_hits, attempts) = source.gil_probe_hits();
        self.told = (probe_hits, attempts);
        Fact::GilMethod(GilMethod {
            wanted: self.wanted.mode.name().to_owned(),
            follows_every_call: self.follows_every_call,
            stacks: self.wanted.stacks,
            files: self.files.values().cloned().collect(),
            probe_hits,
            attempts,
        })
    }

    /// How waits are seen, if that has changed since it was last reported.
    pub(super) fn method_if_changed(&mut self, source: &Tap) -> Option<Fact> {
        (source.gil_probe_hits() != self.told).then(|| self.method(source))
    }

    /// Chooses how to watch the file that a process's interpreter is in, and attaches to it, once for all
    /// processes.
    fn watch_file(&mut self, proc: &Proc, tgid: u32, looked: &Looked, source: &mut Tap) -> Option<Fact> {
        let file = looked.file.as_ref()?;
        if looked.seen.locks.is_empty()
            || self.files.len() >= MAX_FILES
            || self.files.contains_key(&file.key())
        {
            return None;
        }
        let opened = file.open(proc, tgid);
        let take_gil = match self.wanted.mode {
            Mode::Auto | Mode::SystemCalls | Mode::Off if !looked.waits_elsewhere => Ok(Vec::new()),
            Mode::Sleeps => Ok(Vec::new()),
            _ => opened.as_ref().map_or_else(
                || Err(crate::fact::python::take_gil::NotFound::File("it cannot be opened".to_owned())),
                |opened| {
                    opened.try_clone().map_or_else(|e| Err(e.into()), crate::fact::python::take_gil::find)
                },
            ),
        };
        let code = Code {
            take_gil: take_gil.as_deref(),
            waits_elsewhere: looked.waits_elsewhere,
            no_probes: self.no_probes.as_deref(),
        };
        let mut choice = choose(self.wanted, &code);
        if let Some(opened) = &opened {
            for probe in &choice.probes {
                if let Err(reason) = source.probe(probe.program, opened, probe.point.offset) {
                    // What is attached already does no harm: a mark that no end follows is dropped.
                    choice = Choice { mode: Mode::SystemCalls, reason, probes: Vec::new() };
                    break;
                }
            }
        }
        let count = |stepped: bool| {
            let probes = choice.probes.iter().filter(|probe| !stepped || !probe.point.is_emulated).count();
            u32::try_from(probes).unwrap_or(u32::MAX)
        };
        let entry = GilFile {
            file: looked.seen.file.clone(),
            method: choice.mode.name().to_owned(),
            reason: choice.reason.clone(),
            probes: count(false),
            stepped: count(true),
            is_blind: looked.waits_elsewhere && matches!(choice.mode, Mode::SystemCalls | Mode::Sleeps),
        };
        self.files.insert(file.key(), entry);
        Some(self.method(source))
    }
}
