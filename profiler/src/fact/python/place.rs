//! Where in Python threads are that sleep, by name.
//!
//! In: a process, a thread of it that sleeps. Out: [`PlaceSeen`]s. What is found of a process's interpreter
//! is kept; its names are read while it lives, as the frames are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use profiler_core::fact::place::{PlaceSeen, PythonFrame};

use super::Interpreters;
use super::code::layouts;
use super::code::object::{Code, CodeLayout, identity, read};
use super::memory::{Memory as _, ProcessMemory};
use super::number::inner;
use super::stack::{FrameAt, StackWay};
use super::whose::{Owners, mark_launcher};
use crate::fact::Proc;

/// Frames that are named of one thread, the innermost.
const MAX_FRAMES: usize = 48;
/// Processes that are known.
const MAX_PROCESSES: usize = 1024;
/// Code objects remembered of one process.
const MAX_CODES: usize = 16_384;
/// Places that have a number.
const MAX_PLACES: usize = 8192;
/// A process that runs no Python yet is asked again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads where threads are.
#[derive(Debug, Default)]
pub struct PlaceReader {
    interpreters: Interpreters,
    processes: HashMap<u32, Process>,
    numbers: HashMap<Vec<PythonFrame>, u32>,
}

/// What is known of a process.
#[derive(Debug)]
struct Process {
    looked_at: Instant,
    /// `None`: it runs no Python that can be read.
    python: Option<Python>,
}

#[derive(Debug)]
struct Python {
    memory: ProcessMemory,
    way: StackWay,
    layout: CodeLayout,
    /// Threads are known there by the numbers of another PID namespace.
    foreign_numbers: bool,
    /// The number by which its main thread may still be known.
    inherited_number: Option<u32>,
    /// Addresses of threads' states, by their numbers.
    states: HashMap<u32, u64>,
    codes: HashMap<u64, Code>,
    owners: Owners,
}

impl PlaceReader {
    /// Where a thread is that sleeps; `None`: it runs no Python, or that cannot be read. That it sleeps on is
    /// for the caller to check.
    pub fn read(&mut self, proc: &Proc, tgid: u32, tid: u32) -> Option<PlaceSeen> {
        let is_old = |process: &Process| process.python.is_none() && process.looked_at.elapsed() >= AGAIN;
        if self.processes.get(&tgid).is_none_or(is_old) {
            if self.processes.len() >= MAX_PROCESSES {
                self.processes.clear();
            }
            let python = self.look(proc, tgid);
            self.processes.insert(tgid, Process { looked_at: Instant::now(), python });
        }
        let python = self.processes.get_mut(&tgid)?.python.as_mut()?;
        if python.is_gone() {
            // Another program, or another process by the same number.
            self.processes.remove(&tgid);
            return None;
        }
        python.place(proc, tgid, tid)
    }

    /// The number of a place, and whether it is new.
    pub fn number(&mut self, place: &mut PlaceSeen) -> Option<bool> {
        if let Some(number) = self.numbers.get(&place.frames) {
            place.number = *number;
            return Some(false);
        }
        if self.numbers.len() >= MAX_PLACES {
            return None;
        }
        place.number = u32::try_from(self.numbers.len()).ok()?;
        self.numbers.insert(place.frames.clone(), place.number);
        Some(true)
    }

    fn look(&mut self, proc: &Proc, tgid: u32) -> Option<Python> {
        let seen = self.interpreters.look(proc, tgid).ok()?.seen;
        let (way, layout) = layouts(&seen)?;
        Some(Python {
            memory: ProcessMemory::open(proc, tgid).ok()?,
            way: StackWay::of(&seen, way)?,
            layout,
            foreign_numbers: seen.foreign_numbers,
            inherited_number: seen.inherited_number,
            states: HashMap::new(),
            codes: HashMap::new(),
            owners: Owners::of(proc, tgid),
        })
    }
}

impl Python {
    fn is_gone(&self) -> bool {
        self.way.lock().is_none_or(|lock| self.memory.word(lock).is_err())
    }

    fn place(&mut self, proc: &Proc, tgid: u32, tid: u32) -> Option<PlaceSeen> {
        let number = if self.foreign_numbers { inner(proc, tgid, tid)? } else { tid };
        let inherited = self.inherited_number.filter(|_| tid == tgid);
        let numbers: Vec<u32> = [number].into_iter().chain(inherited).collect();
        let stack = self.way.read(&self.memory, &numbers, &mut self.states)?;
        let mut frames = Vec::new();
        let mut is_cut = stack.is_cut || stack.frames.len() > MAX_FRAMES;
        for frame in stack.frames.into_iter().take(MAX_FRAMES) {
            match self.frame(proc, tgid, frame) {
                Some(frame) => frames.push(frame),
                // Half a stack would name the wrong caller.
                None => {
                    is_cut = true;
                    break;
                }
            }
        }
        mark_launcher(&mut frames);
        (!frames.is_empty()).then_some(PlaceSeen { number: 0, frames, is_cut })
    }

    fn frame(
        &mut self,
        proc: &Proc,
        tgid: u32,
        FrameAt { code, instruction }: FrameAt,
    ) -> Option<PythonFrame> {
        let now = identity(&self.memory, code, self.layout)?;
        if self.codes.get(&code).is_none_or(|known| known.identity != now) {
            if self.codes.len() >= MAX_CODES {
                self.codes.clear();
            }
            let mut read = read(&self.memory, code, self.layout)?;
            read.file = self.owners.whole(proc, tgid, read.file);
            self.codes.insert(code, read);
        }
        let known = self.codes.get(&code)?;
        let line = known.line(instruction).unwrap_or(0);
        let whose = self.owners.of_file(proc, tgid, &known.file);
        Some(PythonFrame { file: known.file.clone(), function: known.function.clone(), line, whose })
    }
}
