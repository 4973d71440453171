//! Locks that a thread has taken by `with` and not given back, read from its frames.
//!
//! In: the memory of a process, a frame of a thread that sleeps, its code. Out: the addresses of these locks'
//! words, as futex(2) has them. Within a `with` block the block's `__exit__` lies on the frame's stack of
//! values: for `threading.Lock` and `RLock` a function in C that is bound to the lock
//! (Modules/_threadmodule.c, 3.8 to 3.13). What lies above what is known to be there may be of a block that
//! has ended, and is not looked at. All figures are of `x86_64`.

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
        let Some((values, depth)) = self.values(memory, frame, code) else { return Vec::new() };
        let value = |index: u32| memory.word(values.checked_add(8 * u64::from(index))?).ok();
        (0..depth.min(MAX_VALUES)).filter_map(|index| lock_left_by(memory, value(index)?)).collect()
    }

    /// Where a frame's stack of values begins, and how many are there for certain.
    fn values(self, memory: &dyn Memory, frame: FrameAt, code: &Code) -> Option<(u64, u32)> {
        /// Distance of a frame's variables, from 3.11 on.
        const VARIABLES: u64 = 72;
        /// Distance of the address of a frame's stack, before.
        const STACK: u64 = 64;
        /// Bytes of a block, and the distance of how deep the stack was as it began.
        const BLOCK: (u64, u64) = (12, 8);
        let at = |distance: u64| frame.at.checked_add(distance);
        if frame.at == 0 {
            return None;
        }
        match self {
            Self::Table => match code.depth(frame.instruction) {
                0 => None,
                depth => Some((at(VARIABLES + 8 * u64::from(code.variables))?, depth)),
            },
            Self::Blocks { count } => {
                let blocks = memory.word(at(count)?).ok()? as u32;
                let last = blocks.checked_sub(1).filter(|_| blocks <= MAX_BLOCKS)?;
                let depth = memory.word(at(count + 8 + BLOCK.0 * u64::from(last) + BLOCK.1)?).ok()? as u32;
                Some((memory.word(at(STACK)?).ok()?, depth))
            }
        }
    }
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
    let is_text = |address: u64, wanted: &[u8]| {
        let mut letters = vec![0; wanted.len()];
        memory.read(address, &mut letters).is_ok() && letters == wanted
    };
    if value == 0 {
        return None;
    }
    let method = word(value, METHOD)?;
    if !is_text(word(method, 0)?, b"__exit__\0") {
        return None;
    }
    let lock = word(value, METHOD + 8)?;
    let class = word(lock, 8)?;
    let name = word(class, 24)?;
    let is_lock = [&b"_thread.lock\0"[..], b"_thread.RLock\0"].iter().any(|wanted| is_text(name, wanted));
    word(lock, SEMAPHORE).filter(|address| is_lock && *address != 0)
}

#[cfg(test)]
mod tests;
