//! Where the timers of a process's event loop are, if that is asyncio's own.
//!
//! In: the memory of a process, the version of its interpreter. Out: [`TimersWay`]. A thread that runs the
//! loop stands in `BaseEventLoop._run_once`, whose first argument is the loop. Its timers are the attribute
//! `_scheduled`, the fifth that `BaseEventLoop.__init__` sets, right after a deque (`asyncio/base_events.py`,
//! CPython 3.8 to 3.13). Where an object has its attributes is as Objects/dictobject.c and
//! Include/internal/pycore_object.h have it; all figures are of `x86_64`.
//!
//! The process runs meanwhile, so loop, list and deque are known by their types. A loop that is not found now
//! is looked for again.

use std::time::{Duration, Instant};

use profiler_common::timers::TimersWay;
use profiler_core::fact::{InterpreterSeen, TaskKind};

use super::code::layouts;
use super::code::object::is_named;
use super::layout::Version;
use super::memory::{Memory, Metered, ProcessMemory};
use super::place::class;
use super::stack::{FrameAt, StackWay};
use crate::fact::Proc;

/// Reads of one search, and how long it may take: a server may have hundreds of threads and no loop.
const MAX_READS: u32 = 4000;
const MAX_SEARCH: Duration = Duration::from_millis(20);
/// The function in which a loop stands, with its class from 3.11 on, and that class.
const FUNCTIONS: [&str; 2] = ["BaseEventLoop._run_once", "_run_once"];
const CLASS: &str = "BaseEventLoop";
/// Which attribute the timers are, counted from 0.
const PLACE: u64 = 4;
/// Distance of the type in an object, and of the name in a type.
const TYPE: u64 = 8;
const NAME: u64 = 24;

/// Where the timers of this interpreter's process are; `None`: no thread of it runs asyncio's own loop, or
/// that cannot be read. `known`: where they were.
pub fn find(proc: &Proc, tgid: u32, seen: &InterpreterSeen, known: Option<TimersWay>) -> Option<TimersWay> {
    if !matches!(seen.tasks, Some(TaskKind::Contexts | TaskKind::Either)) {
        return None;
    }
    let memory = ProcessMemory::open(proc, tgid).ok()?;
    let memory = Metered::new(&memory, MAX_READS, Instant::now() + MAX_SEARCH);
    known.filter(|way| is_there(&memory, *way)).or_else(|| search(&memory, seen))
}

/// Whether the timers are still where they were.
fn is_there(memory: &dyn Memory, way: TimersWay) -> bool {
    memory.word(way.slot).ok().and_then(|list| word(memory, list, TYPE)) == Some(way.list_type)
}

fn search(memory: &dyn Memory, seen: &InterpreterSeen) -> Option<TimersWay> {
    let minor = seen.version.as_deref().and_then(Version::parse_full)?.minor_of_3()?;
    if !(8..=13).contains(&minor) {
        return None;
    }
    let (way, layout) = layouts(seen)?;
    let way = StackWay::of(seen, way)?;
    let run_once = |frame: &FrameAt| is_named(memory, frame.code, layout, &FUNCTIONS);
    way.stacks(memory).into_iter().find_map(|(thread_mark, stack)| {
        let frame = stack.frames.iter().rev().copied().find(run_once)?;
        let event_loop = way.first_argument(memory, frame)?;
        if !class::names(memory, event_loop).iter().any(|name| name == CLASS) {
            return None;
        }
        let (slot, stride) = attribute(memory, event_loop, minor)?;
        let list_type = type_at(memory, slot, b"list\0\0\0\0")?;
        type_at(memory, slot.checked_sub(stride)?, b"collecti")?;
        let when_at = if minor < 12 { 88 } else { 80 };
        let closure_at = if minor < 10 { 48 } else { 72 };
        Some(TimersWay { slot, list_type, event_loop, thread_mark, when_at, closure_at })
    })
}

/// Address of the word with the loop's timers, and how far it is from that with the attribute before.
fn attribute(memory: &dyn Memory, object: u64, minor: u8) -> Option<(u64, u64)> {
    let before = |distance: u64| memory.word(object.checked_sub(distance)?).ok();
    let values = match minor {
        8..=10 => return of_dictionary(memory, word(memory, object, 16)?, minor),
        11 => match before(32)? {
            0 => return of_dictionary(memory, before(24)?, minor),
            values => values,
        },
        12 => match before(24)? {
            // The lowest bit says that it is one less than the address of values.
            word if word & 1 == 1 => word.checked_add(1)?,
            dictionary => return of_dictionary(memory, dictionary, minor),
        },
        _ => {
            // The fourth of the eight bytes before the values says that they are in use.
            let [.., is_valid, _, _, _, _] = word(memory, object, 16)?.to_le_bytes();
            if is_valid == 0 {
                return of_dictionary(memory, before(24)?, minor);
            }
            object.checked_add(24)?
        }
    };
    Some((values.checked_add(8 * PLACE)?, 8))
}

/// As [`attribute`], where they are in a dictionary.
fn of_dictionary(memory: &dyn Memory, dictionary: u64, minor: u8) -> Option<(u64, u64)> {
    let (keys, values) = (word(memory, dictionary, 32)?, word(memory, dictionary, 40)?);
    if values != 0 {
        let header = if minor < 13 { 0 } else { 8 };
        return Some((values.checked_add(header + 8 * PLACE)?, 8));
    }
    let (entries, stride, value_at) = if minor < 11 {
        let size = word(memory, keys, 8)?;
        let index_bytes = if size <= 0xff { 1 } else { 2 };
        (size.checked_mul(index_bytes)?.checked_add(40)?, 24, 16)
    } else {
        let [_, log2_bytes, kind, ..] = word(memory, keys, 8)?.to_le_bytes();
        // Of keys that are all text no hash is kept.
        let (stride, value_at) = if kind == 0 { (24, 16) } else { (16, 8) };
        (32 + 1_u64.checked_shl(log2_bytes.into())?, stride, value_at)
    };
    Some((keys.checked_add(entries)?.checked_add(stride * PLACE + value_at)?, stride))
}

/// The type of the object whose address is at `slot`, if its name begins so.
fn type_at(memory: &dyn Memory, slot: u64, name: &[u8; 8]) -> Option<u64> {
    let class = word(memory, memory.word(slot).ok()?, TYPE)?;
    let mut letters = [0; 8];
    memory.read(word(memory, class, NAME)?, &mut letters).ok()?;
    let length = name.iter().position(|letter| *letter == 0).map_or(name.len(), |end| end + 1);
    (letters.get(..length) == name.get(..length)).then_some(class)
}

/// The word at a distance from an object.
fn word(memory: &dyn Memory, object: u64, distance: u64) -> Option<u64> {
    memory.word(object.checked_add(distance)?).ok()
}

#[cfg(test)]
mod tests;
