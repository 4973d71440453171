//! From `_PyRuntime` to the locks, by version: one file for each difference.
//!
//! In: the memory of a process, the address of `_PyRuntime`, the version. Out: the locks. All figures are of
//! `x86_64`.

mod v3_11;
mod v3_12;
mod v3_13;
mod v3_14;
mod v3_15;
mod v3_8;
mod v3_9;

use std::fmt;

use profiler_common::gil::CollectingWay;
use profiler_core::fact::InterpreterLock;

use super::memory::{Memory, MemoryError};
use super::{PythonError, lock_at};

/// Interpreters of one process.
const MAX_INTERPRETERS: usize = 64;
/// The first bytes of `_PyRuntime` from 3.13 on.
const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");
/// Larger distances are not believed.
const MAX_DISTANCE: u64 = 16 * 1024 * 1024;

/// A version of CPython.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    major: u8,
    minor: u8,
    micro: Option<u8>,
}

impl Version {
    /// From `PY_VERSION_HEX`: one byte each, then the release level.
    pub(super) fn from_hex(hex: u64) -> Option<Self> {
        let [_, micro, minor, major, 0, 0, 0, 0] = hex.to_le_bytes() else { return None };
        (major > 0).then_some(Self { major, minor, micro: Some(micro) })
    }

    /// Distance of `native_thread_id` in `PyThreadState`; earlier versions have none.
    pub(super) const fn thread_number_at(self) -> Option<u64> {
        match (self.major, self.minor) {
            (3, 11 | 13 | 14) => Some(160),
            (3, 12) => Some(144),
            (3, 15) => Some(184),
            _ => None,
        }
    }

    /// Before 3.11 a `PyThreadState` only has what `pthread_self` gives: its distance.
    pub(super) const fn thread_handle_at(self) -> Option<u64> {
        match (self.major, self.minor) {
            (3, 8..=10) => Some(176),
            _ => None,
        }
    }

    /// The second number, if the first is 3.
    pub(super) const fn minor_of_3(self) -> Option<u8> {
        if self.major == 3 { Some(self.minor) } else { None }
    }

    /// From `3.11` or `3.11.7`.
    pub(super) fn parse_full(text: &str) -> Option<Self> {
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split_once('.').map_or(rest, |(minor, _)| minor);
        Self::parse(&format!("{major}.{minor}"))
    }

    /// From `3.11`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()?, micro: None })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.micro.map_or(Ok(()), |micro| write!(f, ".{micro}"))
    }
}

/// Where an interpreter version keeps its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One lock for all interpreters, within `_PyRuntime`.
    InRuntime {
        /// Distance of the lock.
        lock: u64,
    },
    /// A pointer in each interpreter.
    InInterpreters {
        /// Distance of the list's head in `_PyRuntime`; the main interpreter is the next word.
        head: u64,
        /// Distance of the next interpreter's pointer in an interpreter.
        next: u64,
        /// Distance of the lock's pointer in an interpreter.
        lock: u64,
    },
    /// As the debug offsets at the start of `_PyRuntime` say.
    Described {
        /// Index of the lock pointer's distance among them.
        lock_index: usize,
        /// Index of the distance of a thread's number, where that is known.
        thread_number_index: Option<usize>,
    },
}

/// Whether it is known where this version keeps its locks.
pub(super) const fn is_known(version: Version) -> bool {
    layout_of(version).is_some()
}

const fn layout_of(version: Version) -> Option<Layout> {
    match (version.major, version.minor) {
        (3, 8) => Some(v3_8::LAYOUT),
        (3, 9 | 10) => Some(v3_9::LAYOUT),
        (3, 11) => Some(v3_11::LAYOUT),
        (3, 12) => Some(v3_12::LAYOUT),
        (3, 13) => Some(v3_13::LAYOUT),
        (3, 14 | 15) => Some(v3_14::LAYOUT),
        _ => None,
    }
}

/// Distances in a `PyThreadState` (Include/cpython/pystate.h) of what shows which task its thread works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskPlaces {
    /// Of `context`: the `contextvars.Context` that runs.
    pub(super) context: u64,
    /// Of `datastack_chunk`: the last chunk of the stack of frames, where greenlets have one each.
    pub(super) chunk: Option<u64>,
}

/// Where a version has them; `None`: it is not known.
pub(super) const fn task_places(version: Version) -> Option<TaskPlaces> {
    match (version.major, version.minor) {
        (3, 8) => Some(v3_8::TASKS),
        (3, 9 | 10) => Some(v3_9::TASKS),
        (3, 11) => Some(v3_11::TASKS),
        (3, 12) => Some(v3_12::TASKS),
        (3, 13) => Some(v3_13::TASKS),
        (3, 14) => Some(v3_14::TASKS),
        (3, 15) => Some(v3_15::TASKS),
        _ => None,
    }
}

/// Indices among the debug offsets of two distances whose sum is that of the collector's note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CollectingIndices {
    /// Of the collector's state in an interpreter.
    collector: u64,
    /// Of the note that it collects in that.
    note: u64,
}

/// Where an interpreter of this version notes that it collects garbage; `None`: it is not known.
pub(super) fn collecting(memory: &dyn Memory, runtime: u64, version: Version) -> Option<CollectingWay> {
    match version.minor_of_3()? {
        8 => Some(v3_8::COLLECTING),
        9 | 10 => Some(v3_9::COLLECTING),
        11 => Some(v3_11::COLLECTING),
        12 => Some(v3_12::COLLECTING),
        13 => {
            let CollectingIndices { collector, note } = v3_13::COLLECTING;
            let offset = |index: u64| {
                let distance = memory.word(runtime.checked_add(8 * index)?).ok()?;
                (distance <= MAX_DISTANCE).then_some(distance)
            };
            let at = offset(collector)?.checked_add(offset(note)?)?;
            u32::try_from(at).ok().filter(|at| *at > 0).map(CollectingWay::InInterpreter)
        }
        _ => None,
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// A build without lock.
    pub free_threaded: bool,
    /// The locks.
    pub locks: Vec<InterpreterLock>,
    /// Distance of a thread's number in its `PyThreadState`, where the interpreter itself says so.
    pub thread_number_at: Option<u64>,
}

/// The version that `_PyRuntime` itself gives, if it describes itself.
pub(super) fn described(memory: &dyn Memory, runtime: u64) -> Result<Option<Version>, MemoryError> {
    let mut bytes = [0; 16];
    memory.read(runtime, &mut bytes)?;
    let [cookie, hex] = words(&bytes);
    Ok(if cookie == COOKIE { Version::from_hex(hex) } else { None })
}

/// The locks of an interpreter.
pub(super) fn locks(
    memory: &dyn Memory,
    runtime: u64,
    version: Version,
    describes_itself: bool,
) -> Result<Found, PythonError> {
    let at = |base: u64, distance: u64| base.checked_add(distance).ok_or(MemoryError::Address);
    match layout_of(version).ok_or(PythonError::UnknownVersion { version })? {
        Layout::InRuntime { lock } => {
            let lock = lock_at(memory, at(runtime, lock)?, 0)?;
            let locks = vec![lock.ok_or(PythonError::Implausible { version })?];
            Ok(Found { locks, ..Found::default() })
        }
        Layout::InInterpreters { head, next, lock } => {
            let walk = Walk::begin(memory, at(runtime, head)?, next, lock, 0)?;
            let locks = walk.locks(memory, version, |_, place| Ok(place))?;
            Ok(Found { locks, ..Found::default() })
        }
        Layout::Described { lock_index, thread_number_index } if describes_itself => {
            through_debug_offsets(memory, runtime, version, lock_index, thread_number_index)
        }
        Layout::Described { .. } => Err(PythonError::DebugOffsets { version }),
    }
}

/// From 3.13 on: the interpreter describes itself.
fn through_debug_offsets(
    memory: &dyn Memory,
    runtime: u64,
    version: Version,
    lock_index: usize,
    thread_number_index: Option<usize>,
) -> Result<Found, PythonError> {
    const WORDS: usize = 26;
    let mut bytes = [0; WORDS * 8];
    memory.read(runtime, &mut bytes)?;
    let offsets: [u64; WORDS] = words(&bytes);
    let nonsense = || PythonError::DebugOffsets { version };
    let offset = |index: usize| {
        offsets.get(index).copied().filter(|distance| *distance <= MAX_DISTANCE).ok_or_else(nonsense)
    };
    let free_threaded = offsets.get(2).is_some_and(|flag| *flag != 0);
    let (head, id, next) = (offset(5)?, offset(7)?, offset(8)?);
    let (lock, state, locked) = (offset(lock_index)?, offset(lock_index + 1)?, offset(lock_index + 3)?);
    // A free-threaded build has one more field before the others.
    let shift =
        locked.checked_sub(state).and_then(|distance| distance.checked_sub(16)).ok_or_else(nonsense)?;
    if shift > 8 {
        return Err(nonsense());
    }
    let address = runtime.checked_add(head).ok_or(MemoryError::Address)?;
    let walk = Walk::begin(memory, address, next, lock, shift)?;
    if free_threaded && !walk.is_switched_on(memory)? {
        return Ok(Found { free_threaded, ..Found::default() });
    }
    let locks = walk.locks(memory, version, |interpreter, _| {
        Ok(memory.word(interpreter.checked_add(id).ok_or(MemoryError::Address)?)?)
    })?;
    let thread_number_at = thread_number_index.and_then(|index| offset(index).ok());
    Ok(Found { free_threaded, locks, thread_number_at })
}

/// A list of interpreters.
struct Walk {
    /// The newest interpreter.
    head: u64,
    /// The main one: the last of the list.
    main: u64,
    next: u64,
    lock: u64,
    /// Distance of `interval` in the lock.
    shift: u64,
}

impl Walk {
    /// Of the list whose head is at `address`; the main interpreter is in the next word.
    fn begin(
        memory: &dyn Memory,
        address: u64,
        next: u64,
        lock: u64,
        shift: u64,
    ) -> Result<Self, MemoryError> {
        let main = memory.word(address.checked_add(8).ok_or(MemoryError::Address)?)?;
        Ok(Self { head: memory.word(address)?, main, next, lock, shift })
    }

    fn lock_of(&self, memory: &dyn Memory, interpreter: u64) -> Result<u64, MemoryError> {
        memory.word(interpreter.checked_add(self.lock).ok_or(MemoryError::Address)?)
    }

    /// Whether a free-threaded build runs with its lock all the same: its first field says so.
    fn is_switched_on(&self, memory: &dyn Memory) -> Result<bool, MemoryError> {
        if self.head == 0 {
            return Ok(false);
        }
        let lock = self.lock_of(memory, self.head)?;
        Ok(memory.word(lock)? as u32 != 0)
    }

    /// The locks of all interpreters, each once: the main one's, number 0, first, then the newest one's.
    /// `number` gives those of the others.
    fn locks(
        &self,
        memory: &dyn Memory,
        version: Version,
        number: impl Fn(u64, u64) -> Result<u64, PythonError>,
    ) -> Result<Vec<InterpreterLock>, PythonError> {
        if self.head == 0 || self.main == 0 {
            return Err(PythonError::NotStarted);
        }
        let at = |lock: u64, number: u64| {
            let found = lock_at(memory, lock.wrapping_add(self.shift), number)?;
            found.ok_or(PythonError::Implausible { version })
        };
        let mut locks = vec![at(self.lock_of(memory, self.main)?, 0)?];
        let mut interpreter = self.head;
        for place in 1..MAX_INTERPRETERS as u64 {
            if interpreter == 0 || interpreter == self.main {
                break;
            }
            let lock = self.lock_of(memory, interpreter)?;
            // One that is just being made, or ends, stands in the list without a lock; others share the main
            // one's.
            if lock != 0 {
                let lock = at(lock, number(interpreter, place)?)?;
                if !locks.iter().any(|known| known.address == lock.address) {
                    locks.push(lock);
                }
            }
            let next = interpreter.checked_add(self.next).ok_or(MemoryError::Address)?;
            interpreter = memory.word(next)?;
        }
        Ok(locks)
    }
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    let (chunks, _) = bytes.as_chunks::<8>();
    for (word, bytes) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}
