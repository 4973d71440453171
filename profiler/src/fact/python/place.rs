//! Where in Python threads are, by name.
//!
//! In: a process, a thread of it that sleeps, or the stack of one that computed. Out: [`PlaceSeen`]s. What is
//! found of a process's interpreter is kept; its names are read while it lives, as the frames are. Whose code
//! files are is found by a thread of its own, and asked for afterwards: file systems may hang.

pub(super) mod class;
mod codes;
mod numbered;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use profiler_common::stack::StackFrame;
use profiler_core::fact::asleep::AsleepSeen;
use profiler_core::fact::place::{OwnCode, PlaceSeen, PythonFrame};
use profiler_core::server::program::{self, Stood};

use self::codes::Codes;
use self::numbered::Numbered;
use super::Interpreters;
use super::code::layouts;
use super::held::{HeldWay, has_given_back};
use super::memory::{Memory, Metered, ProcessMemory};
use super::number::inner;
use super::program::Program;
use super::stack::{FrameAt, StackWay, States};
use super::whose::ask::Ask;
use super::whose::mark_launcher;
use crate::fact::Proc;
use crate::fact::same::share_memory;

/// Frames that are named of one thread, the innermost.
const MAX_FRAMES: usize = 48;
/// Processes that are known; the memory of each is held open.
const MAX_PROCESSES: usize = 1024;
/// Bytes of the names and tables of all processes' code objects.
const ALL_CODE_BYTES: usize = 64 * 1024 * 1024;
/// A process that runs no Python yet is asked again after so long; one that was not asked for so long may
/// be forgotten.
const AGAIN: Duration = Duration::from_secs(1);
/// For so long a process is taken to run the same program: for the samples that were read at once.
const STILL_FOR: Duration = Duration::from_millis(10);
/// What one look reads of a process's memory: 1,000 threads' states, or 48 deep names.
const MAX_READS: u32 = 16_384;
/// How long it may take: several times what so many reads take, as others may have the CPU meanwhile.
const MAX_READING: Duration = Duration::from_millis(100);

/// Reads where threads are.
#[derive(Debug, Default)]
pub struct PlaceReader {
    interpreters: Interpreters,
    processes: HashMap<u32, Process>,
    numbered: Numbered,
    ask: Ask,
    /// Places by number that were told before it was known whose code they are: as read, and as told.
    unowned: BTreeMap<u32, (PlaceRead, PlaceSeen)>,
    /// Answers that had come when these were looked through last.
    answers: u64,
    /// Processes that were looked at so far.
    serial: u64,
    unplaced: u64,
}

/// What was read of a thread: its frames, as the code objects have them.
#[derive(Clone, Debug)]
pub struct PlaceRead {
    /// Which program of which process it is.
    serial: u64,
    tgid: u32,
    seen: PlaceSeen,
}

/// What frames say of locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// Those that the thread has taken by `with`: the addresses of their words, ascending.
    pub taken: Vec<u64>,
    /// The thread that has the one that this one waits for.
    pub taken_by: Option<u32>,
}

impl PlaceRead {
    /// The program of its process, as [`PlaceReader::serials`] has it.
    pub const fn serial(&self) -> u64 {
        self.serial
    }
}

/// What is known of a process.
#[derive(Debug)]
struct Process {
    looked_at: Instant,
    /// When it was looked at last whether it runs the same program.
    used_at: Instant,
    /// `None`: it runs no Python that can be read.
    python: Option<Python>,
}

#[derive(Debug)]
struct Python {
    serial: u64,
    program: Program,
    memory: ProcessMemory,
    way: StackWay,
    codes: Codes,
    /// How taken locks are read; `None`: they are not.
    held: Option<HeldWay>,
    /// Threads are known there by the numbers of another PID namespace.
    foreign_numbers: bool,
    /// The number by which its main thread may still be known.
    inherited_number: Option<u32>,
    states: States,
}

impl PlaceReader {
    /// With what the user names as own code.
    pub fn with_own(own: &[String]) -> Self {
        Self { ask: Ask::with_own(own), ..Self::default() }
    }

    /// Where a thread is that sleeps, and what its frames say of locks; `None`: it runs no Python, or that
    /// cannot be read. That it sleeps on is for the caller to check. `waits_at`: the word at which it waits,
    /// if it does.
    pub fn read(
        &mut self,
        proc: &Proc,
        (tgid, tid): (u32, u32),
        waits_at: Option<u64>,
    ) -> Option<(PlaceRead, Locks)> {
        let mut unplaced = 0;
        let found = self.python(proc, tgid).and_then(|python| {
            Some((python.serial, python.place(proc, (tgid, tid), waits_at, &mut unplaced)?))
        });
        self.unplaced += unplaced;
        let (serial, (seen, locks)) = found?;
        Some((self.ask(proc, tgid, serial, seen), locks))
    }

    /// The functions in which a thread that sleeps stands, the innermost first, each with its file; `None`:
    /// it runs no Python, or that cannot be read. That it sleeps on is for the caller to check.
    pub fn functions(&mut self, proc: &Proc, tgid: u32, tid: u32) -> Option<Vec<Stood>> {
        self.python(proc, tgid)?.functions(proc, tgid, tid)
    }

    /// The place of a stack that the kernel side has read, the innermost frame first. A code object that has
    /// gone since has no name.
    pub fn name(&mut self, proc: &Proc, tgid: u32, stack: &[StackFrame], is_cut: bool) -> Option<PlaceRead> {
        let python = self.python(proc, tgid)?;
        let (serial, seen) = (python.serial, python.name(stack, is_cut)?);
        Some(self.ask(proc, tgid, serial, seen))
    }

    /// Has it found whose code a place's files are.
    fn ask(&mut self, proc: &Proc, tgid: u32, serial: u64, seen: PlaceSeen) -> PlaceRead {
        self.ask.files(proc, (serial, tgid), seen.frames.iter().map(|frame| frame.file.as_str()));
        PlaceRead { serial, tgid, seen }
    }

    /// A process that runs Python that can be read.
    fn python(&mut self, proc: &Proc, tgid: u32) -> Option<&mut Python> {
        let is_old = |process: &Process| process.python.is_none() && process.looked_at.elapsed() >= AGAIN;
        if self.processes.get(&tgid).is_none_or(is_old) {
            if !self.make_room(tgid) {
                self.unplaced += 1;
                return None;
            }
            self.serial += 1;
            let python = self.look(proc, tgid);
            let now = Instant::now();
            self.processes.insert(tgid, Process { looked_at: now, used_at: now, python });
        }
        let process = self.processes.get(&tgid)?;
        let python = process.python.as_ref()?;
        let is_fresh = process.used_at.elapsed() < STILL_FOR;
        if !is_fresh && (!python.program.is_still(proc, tgid) || python.is_gone()) {
            // Another program, or another process by the same number.
            self.processes.remove(&tgid);
            return None;
        }
        let share = ALL_CODE_BYTES / self.processes.len().max(1);
        let process = self.processes.get_mut(&tgid)?;
        if !is_fresh {
            process.used_at = Instant::now();
        }
        let python = process.python.as_mut()?;
        python.codes.may_have(share);
        Some(python)
    }

    /// The place with whose code it is, its number, and whether it is new; what it has of that by now.
    pub fn number(&mut self, read: PlaceRead) -> Option<(PlaceSeen, bool)> {
        let mut place = self.owned(&read);
        let is_new = self.numbered.number(read.serial, &mut place)?;
        if is_new && !place.is_owned() {
            self.unowned.insert(place.number, (read, place.clone()));
            // What gets another number is told by that.
            self.unowned = self.unowned.split_off(&self.numbered.oldest());
        }
        Some((place, is_new))
    }

    /// Places that were told before it was known whose code they are, of which it is known now: to be told
    /// once more, by the same numbers.
    pub fn take_owned(&mut self, proc: &Proc) -> Vec<PlaceSeen> {
        let answers = self.ask.answers();
        if self.unowned.is_empty() || std::mem::replace(&mut self.answers, answers) == answers {
            return Vec::new();
        }
        let (mut owned, serials, mut has_room) = (Vec::new(), self.serials(), true);
        for (number, (read, before)) in std::mem::take(&mut self.unowned) {
            let place = PlaceSeen { number, ..self.owned(&read) };
            if place.is_owned() {
                self.numbered.set(read.serial, &before, &place);
                owned.push(place);
            } else if serials.contains(&read.serial) {
                let PlaceRead { serial, tgid, seen } = &read;
                let files = seen.frames.iter().map(|frame| frame.file.as_str());
                // A question that found no room is asked once more.
                has_room = has_room && self.ask.files(proc, (*serial, *tgid), files);
                self.unowned.insert(number, (read, before));
            }
        }
        owned
    }

    /// Whether it is known of every place whose code it is.
    pub fn is_settled(&self) -> bool {
        self.unowned.is_empty()
    }

    /// A place with whose code it is, as far as that is known.
    fn owned(&mut self, read: &PlaceRead) -> PlaceSeen {
        let mut place = read.seen.clone();
        for frame in &mut place.frames {
            if let Some(known) = self.ask.known(read.serial, &frame.file) {
                frame.whose = known.whose;
                if let Some(whole) = &known.whole {
                    frame.file.clone_from(whole);
                }
            }
        }
        mark_launcher(&mut place.frames, place.is_cut);
        place
    }

    /// Programs that are known: what was read of others is of processes that are gone.
    pub fn serials(&self) -> HashSet<u64> {
        self.processes.values().filter_map(Process::serial).collect()
    }

    /// Whether a place is told by this number still; otherwise it gets another.
    pub const fn is_used(&self, number: u32) -> bool {
        number >= self.numbered.oldest()
    }

    /// A new place was not told.
    pub fn forget(&mut self, place: &PlaceSeen) {
        self.numbered.forget(place);
        self.unowned.remove(&place.number);
    }

    /// Threads whose place was not read since this was asked last, as there was no time or no room for it.
    pub fn take_unplaced(&mut self) -> u64 {
        std::mem::take(&mut self.unplaced)
    }

    /// What was found to be own code since this was asked last, and what decided that.
    pub fn take_own(&mut self) -> Vec<OwnCode> {
        self.ask.take_own()
    }

    /// Whether there is room for one more process, once those that are gone, or were not asked for, have
    /// made it.
    fn make_room(&mut self, tgid: u32) -> bool {
        self.processes.retain(|_, process| match &process.python {
            Some(python) => !python.is_gone(),
            None => process.looked_at.elapsed() < AGAIN,
        });
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&tgid) {
            let oldest = self.processes.iter().min_by_key(|(_, process)| process.used_at);
            let oldest = oldest.filter(|(_, process)| process.used_at.elapsed() >= AGAIN);
            let Some(oldest) = oldest.map(|(tgid, _)| *tgid) else { return false };
            self.processes.remove(&oldest);
        }
        let known = self.serials();
        self.ask.retain(|serial| known.contains(&serial));
        true
    }

    fn look(&mut self, proc: &Proc, tgid: u32) -> Option<Python> {
        let program = Program::of(proc, tgid)?;
        let memory = ProcessMemory::open(proc, tgid).ok()?;
        let seen = self.interpreters.look(proc, tgid).ok()?.seen;
        let (way, layout) = layouts(&seen)?;
        let way = StackWay::of(&seen, way)?;
        // Between `vfork` and `exec` all of this is its parent's.
        let is_shared = if program.parent > 0 { share_memory(tgid, program.parent) } else { Some(false) };
        if is_shared == Some(true) || !program.is_still(proc, tgid) {
            return None;
        }
        Some(Python {
            serial: self.serial,
            program,
            memory,
            way,
            codes: Codes::new(layout),
            held: HeldWay::of(&seen),
            foreign_numbers: seen.foreign_numbers,
            // Where the kernel does not say, the parent's state may be the parent's own.
            inherited_number: seen.inherited_number.filter(|_| is_shared.is_some()),
            states: States::default(),
        })
    }
}

impl Process {
    fn serial(&self) -> Option<u64> {
        self.python.as_ref().map(|python| python.serial)
    }
}

impl Python {
    fn is_gone(&self) -> bool {
        self.way.lock().is_none_or(|lock| self.memory.word(lock).is_err())
    }

    /// The numbers by which the interpreter may know a thread.
    fn numbers(&self, proc: &Proc, tgid: u32, tid: u32) -> Option<Vec<u32>> {
        let number = if self.foreign_numbers { inner(proc, tgid, tid)? } else { tid };
        let inherited = self.inherited_number.filter(|_| tid == tgid);
        Some([number].into_iter().chain(inherited).collect())
    }

    fn functions(&mut self, proc: &Proc, tgid: u32, tid: u32) -> Option<Vec<Stood>> {
        let numbers = self.numbers(proc, tgid, tid)?;
        let memory = Metered::new(&self.memory, MAX_READS, Instant::now() + MAX_READING);
        let stack = self.way.read(&memory, &numbers, &mut self.states).filter(|_| !memory.is_spent())?;
        let named = self.codes.name(&memory, stack.frames.iter().copied().take(MAX_FRAMES), false);
        let way = &self.way;
        let stood = |(frame, at): (PythonFrame, &FrameAt)| {
            let classes = match program::wants_classes(&frame.file, &frame.function) {
                true => way.first_argument(&memory, *at).map(|object| class::names(&memory, object)),
                false => None,
            };
            Stood { file: frame.file, function: frame.function, classes: classes.unwrap_or_default() }
        };
        Some(named.frames.into_iter().zip(&stack.frames).map(stood).collect())
    }

    /// Where a thread is, and which locks it has taken.
    fn place(
        &mut self,
        proc: &Proc,
        (tgid, tid): (u32, u32),
        waits_at: Option<u64>,
        unplaced: &mut u64,
    ) -> Option<(PlaceSeen, Locks)> {
        let numbers = self.numbers(proc, tgid, tid)?;
        let memory = Metered::new(&self.memory, MAX_READS, Instant::now() + MAX_READING);
        let stack = self.way.read(&memory, &numbers, &mut self.states).filter(|_| !memory.is_spent());
        let found = stack.map(|stack| {
            let is_cut = stack.is_cut || stack.frames.len() > MAX_FRAMES;
            let frames = || stack.frames.iter().copied().take(MAX_FRAMES);
            let seen = self.codes.name(&memory, frames(), is_cut);
            let mut locks = Locks::default();
            if let Some(held) = self.held {
                let named = || frames().take(seen.frames.len());
                if !has_given_back(&seen.frames) {
                    let of = |frame: FrameAt| Some(held.locks(&memory, frame, self.codes.get(frame)?));
                    locks.taken.extend(named().filter_map(of).flatten());
                    locks.taken.sort_unstable();
                    locks.taken.dedup();
                    // Who waits for a lock does not have it, whatever its frames say.
                    locks.taken.retain(|lock| Some(*lock) != waits_at);
                    locks.taken.truncate(AsleepSeen::MAX_LOCKS);
                }
                let owner =
                    |(frame, lock): (FrameAt, u64)| held.owner(&memory, frame, self.codes.get(frame)?, lock);
                let owner = named().next().zip(waits_at).and_then(owner);
                let number = owner.and_then(|owner| self.way.number_of(&memory, owner, &self.states));
                let is_main = |number: &u32| self.inherited_number == Some(*number);
                locks.taken_by = number
                    .filter(|_| !self.foreign_numbers)
                    .map(|number| if is_main(&number) { tgid } else { number })
                    .filter(|by| *by != tid);
            }
            (seen, locks)
        });
        *unplaced += u64::from(memory.is_spent());
        found.filter(|(seen, _)| !seen.frames.is_empty())
    }

    fn name(&mut self, stack: &[StackFrame], is_cut: bool) -> Option<PlaceSeen> {
        let memory = Metered::new(&self.memory, MAX_READS, Instant::now() + MAX_READING);
        let seen = self.codes.name(&memory, stack.iter().map(|frame| self.way.frame(frame)), is_cut);
        (!seen.frames.is_empty()).then_some(seen)
    }
}
