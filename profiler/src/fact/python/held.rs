//! Locks that a thread has taken by `with` and not given back, and who has the `RLock` that it waits for.
//!
//! In: the memory of a process, a frame of a thread that sleeps, its code. Out: the addresses of these locks'
//! words, as futex(2) has them; a thread, by what `pthread_self` gives it. Within a `with` block the block's
//! `__exit__` lies on the frame's stack of values: for `threading.Lock` and `RLock` a function in C that is
//! bound to the lock (Modules/_threadmodule.c, 3.8 to 3.13). What lies above what is known to be there may be
//! of a block that has ended, and is not looked at. All figures are of `x86_64`.

use profiler_core::fact::InterpreterSeen;
use profiler_core::fact::place::PythonFrame;

use super::code::object::Code;
use super::layout::Version;
use super::memory::Memory;
use super::stack::FrameAt;

/// Values of one frame that are looked at, the outermost.
const MAX_VALUES: u32 = 64;
/// Blocks of one frame (`CO_MAXBLOCKS`).
const MAX_BLOCKS: u32 = 20;
/// Distance of `m_ml`, and of `m_self` behind it, in a `PyCFunctionObject` (Include/cpython/methodobject.h).
const METHOD: u64 = 16;
/// Distance of `lock_lock` and of `rlock_lock`: the semaphore, which begins with its word.
const SEMAPHORE: u64 = 16;

/// How deep a frame's stack of values is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldWay {
    /// By the code's table of exceptions: 3.11 to 3.13.
    Table,
    /// By the frame's blocks: 3.8 to 3.10.
    Blocks {
        /// Distance of their number (`f_iblock`) in a frame; they begin two words of 4 bytes behind it.
        count: u64,
    },
}

impl HeldWay {
    /// Of an interpreter; `None`: its version is not known for it.
    pub(super) fn of(seen: &InterpreterSeen) -> Option<Self> {
        match seen.version.as_deref().and_then(Version::parse_full)?.minor_of_3()? {
            8 | 9 => Some(Self::Blocks { count: 112 }),
            10 => Some(Self::Blocks { count: 104 }),
            11..=13 => Some(Self::Table),
            _ => None,
        }
    }

    /// The locks that a frame has taken, the outermost first.
    pub(super) fn locks(self, memory: &dyn Memory, frame: FrameAt, code: &Code) -> Vec<u64> {
        let depth = self.depth(memory, frame, code).unwrap_or(0);
        let Some(values) = self.stack(memory, frame, code).filter(|_| depth > 0) else { return Vec::new() };
        (0..depth.min(MAX_VALUES))
            .filter_map(|index| lock_left_by(memory, value(memory, values, index)?))
            .collect()
    }

    /// Who has the `RLock` of this word, for which the function of a frame waits by a call. What is found has
    /// that very word, so it does not matter whether a value is still in use.
    pub(super) fn owner(self, memory: &dyn Memory, frame: FrameAt, code: &Code, lock: u64) -> Option<u64> {
        let values = self.stack(memory, frame, code)?;
        let bound_to = |value: u64| memory.word(value.checked_add(METHOD + 8)?).ok();
        let indices = 0..code.stack_size.min(MAX_VALUES);
        let mut all = indices.filter_map(|index| value(memory, values, index)).filter(|value| *value != 0);
        all.find_map(|value| {
            [Some(value), bound_to(value)].into_iter().flatten().find_map(|one| owner_of(memory, one, lock))
        })
    }

    /// Where a frame's stack of values begins.
    fn stack(self, memory: &dyn Memory, frame: FrameAt, code: &Code) -> Option<u64> {
        /// Distance of a frame's variables, from 3.11 on.
        const VARIABLES: u64 = 72;
        /// Distance of the address of a frame's stack, before.
        const STACK: u64 = 64;
        let at = |distance: u64| frame.at.checked_add(distance).filter(|_| frame.at > 0);
        match self {
            Self::Table => at(VARIABLES + 8 * u64::from(code.variables)),
            Self::Blocks { .. } => memory.word(at(STACK)?).ok(),
        }
    }

    /// How many values of a frame are there for certain.
    fn depth(self, memory: &dyn Memory, frame: FrameAt, code: &Code) -> Option<u32> {
        /// Bytes of a block, and the distance of how deep the stack was as it began.
        const BLOCK: (u64, u64) = (12, 8);
        let at = |distance: u64| frame.at.checked_add(distance).filter(|_| frame.at > 0);
        match self {
            Self::Table => Some(code.depth(frame.instruction)),
            Self::Blocks { count } => {
                let blocks = memory.word(at(count)?).ok()? as u32;
                let last = blocks.checked_sub(1).filter(|_| blocks <= MAX_BLOCKS)?;
                Some(memory.word(at(count + 8 + BLOCK.0 * u64::from(last) + BLOCK.1)?).ok()? as u32)
            }
        }
    }
}

/// One of a stack's values.
fn value(memory: &dyn Memory, stack: u64, index: u32) -> Option<u64> {
    memory.word(stack.checked_add(8 * u64::from(index))?).ok()
}

/// Who has an object, if it is an `RLock` of this word that is taken (`rlock_owner`, `rlock_count`).
fn owner_of(memory: &dyn Memory, object: u64, lock: u64) -> Option<u64> {
    let word = |distance: u64| memory.word(object.checked_add(distance)?).ok();
    let is_it = word(SEMAPHORE)? == lock && is_of_class(memory, object, &[b"_thread.RLock\0"]);
    let (owner, count) = (word(SEMAPHORE + 8)?, word(SEMAPHORE + 16)?);
    (is_it && owner > 0 && count > 0).then_some(owner)
}

fn is_text(memory: &dyn Memory, address: u64, wanted: &[u8]) -> bool {
    let mut letters = vec![0; wanted.len()];
    memory.read(address, &mut letters).is_ok() && letters == wanted
}

/// Whether an object's class has one of these names (`tp_name` at 24).
fn is_of_class(memory: &dyn Memory, object: u64, names: &[&[u8]]) -> bool {
    let name = || {
        let class = memory.word(object.checked_add(8)?).ok()?;
        memory.word(class.checked_add(24)?).ok()
    };
    name().is_some_and(|name| names.iter().any(|wanted| is_text(memory, name, wanted)))
}

/// Whether a thread waits for a condition by its own calls: it has given back the condition's lock, which its
/// `with` block may be about. An event, a semaphore or a barrier has a condition of its own
/// (Lib/threading.py).
pub(super) fn has_given_back(frames: &[PythonFrame]) -> bool {
    let is_threading = |frame: &&PythonFrame| frame.file.ends_with("/threading.py");
    let mut functions = frames.iter().take_while(is_threading).map(|frame| last_name(&frame.function));
    let mut function = functions.next();
    if function == Some("_acquire_restore") {
        function = functions.next();
    }
    function == Some("wait") && functions.all(|function| function == "wait_for")
}

/// `wait` of `Condition.wait`.
fn last_name(function: &str) -> &str {
    function.rsplit_once('.').map_or(function, |(_, name)| name)
}

/// The lock that a value gives back, if it is the `__exit__` of one.
fn lock_left_by(memory: &dyn Memory, value: u64) -> Option<u64> {
    let word = |base: u64, distance: u64| memory.word(base.checked_add(distance)?).ok();
    if value == 0 {
        return None;
    }
    let method = word(value, METHOD)?;
    if !is_text(memory, word(method, 0)?, b"__exit__\0") {
        return None;
    }
    let lock = word(value, METHOD + 8)?;
    let is_lock = is_of_class(memory, lock, &[b"_thread.lock\0", b"_thread.RLock\0"]);
    word(lock, SEMAPHORE).filter(|address| is_lock && *address != 0)
}

#[cfg(test)]
mod tests;
