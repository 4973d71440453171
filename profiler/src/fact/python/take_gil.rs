//! The function of an interpreter that takes its lock, in the file's machine code: stripped or not.
//!
//! In: an ELF file, hostile. Out: [`TakeGil`]: where it begins, where it waits, where it ends. `take_gil` is
//! the only function of an interpreter that waits on a condition variable with a limit of time, so the call
//! of `pthread_cond_timedwait` finds it, and `.eh_frame` says how far it reaches. A debug build makes that
//! call in `PyCOND_TIMEDWAIT` (Python/condvar.h), which is inlined elsewhere: there its caller is the one.
//! What seldom runs may lie apart from the rest of its function (compilers do so, and BOLT): then the jumps
//! to it find that. What instructions do is in one file for each architecture.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::ops::Range;

use object::{
    Architecture, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _,
    ObjectSymbolTable as _,
};

use super::elf::MAX_FILE_BYTES;

mod arm64;
mod parts;
mod x86_64;

use parts::{Part, parts_of, whole};

/// The architecture of the machine: the kernel has no probes for others, whose programs may run in an
/// emulator.
pub(in crate::fact) const OWN: Architecture =
    if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };

/// The call that waits.
const WAIT: &str = "pthread_cond_timedwait";
/// The call with which an attempt ends: that of the lock's mutex, once the lock is taken.
const UNLOCK: &str = "pthread_mutex_unlock";
/// Calls of it that are looked at: CPython 3.8 has two copies of the function.
const MAX_CALLS: usize = 8;
/// Places where the function ends.
const MAX_EXITS: usize = 32;

/// Why the function cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The file cannot be read as ELF.
    #[error("its file cannot be read as ELF: {0}")]
    File(String),
    /// Of a program that runs in an emulator.
    #[error("its machine code is that of {0}, not this machine's")]
    Architecture(String),
    /// The wait is not called through anything that can be recognised.
    #[error("no call of {WAIT} is found in it")]
    NoCall,
    /// Too many functions wait with a limit of time.
    #[error("{WAIT} is called in {0} places, and which of them waits for the lock is not known")]
    TooManyCalls(usize),
    /// Nothing says where the function begins and ends.
    #[error("nothing in it says where the function that calls {WAIT} begins and ends")]
    NoBounds,
}

impl From<std::io::Error> for NotFound {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}

/// A place for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePoint {
    /// Place of the instruction in the file.
    pub offset: u64,
    /// Its address as the file has it.
    pub address: u64,
    /// The kernel carries the instruction out itself; otherwise the thread is stopped twice, at 20 times the
    /// cost.
    pub is_emulated: bool,
}

/// One copy of the function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakeGil {
    /// The first instruction on the way that every attempt takes, and takes once, that a probe is cheap on;
    /// else its first.
    pub entry: Option<ProbePoint>,
    /// Its calls of the wait: only run by who has to wait.
    pub waits: Vec<ProbePoint>,
    /// Its calls that unlock a mutex: the last thing it does is to unlock the lock's.
    pub unlocks: Vec<ProbePoint>,
    /// Where it returns.
    pub exits: Vec<ProbePoint>,
}

/// All copies of the function in a file.
///
/// # Errors
/// [`NotFound`]; nothing is guessed.
pub fn find(mut file: File) -> Result<Vec<TakeGil>, NotFound> {
    let length = file.metadata()?.len();
    if length > MAX_FILE_BYTES {
        return Err(NotFound::File(format!("it is {} MB long", length / (1024 * 1024))));
    }
    let mut bytes = Vec::new();
    // Opened before, perhaps, and read.
    file.rewind()?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    in_bytes(&bytes, OWN)
}

/// All copies of the function in any bytes, on a machine of this architecture.
///
/// # Errors
/// As [`find`].
pub fn in_bytes(bytes: &[u8], own: Architecture) -> Result<Vec<TakeGil>, NotFound> {
    let image = object::File::parse(bytes).map_err(|error| NotFound::File(error.to_string()))?;
    let machine = machine(own).filter(|_| image.architecture() == own && image.is_little_endian());
    let Some(machine) = machine else {
        return Err(NotFound::Architecture(format!("{:?}", image.architecture()).to_lowercase()));
    };
    let wait = targets(&image, machine, WAIT);
    let unlock = targets(&image, machine, UNLOCK);
    let found = that_call(&image, machine, &wait, &unlock)?;
    // Code that is little optimized waits in a function of its own, which unlocks nothing: its caller is the
    // one.
    let (wrappers, mut found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, found)| found.unlocks.is_empty());
    if !wrappers.is_empty() {
        let wrapped =
            Targets { direct: wrappers.iter().map(|(start, _)| *start).collect(), slots: Vec::new() };
        let mut callers = that_call(&image, machine, &wrapped, &unlock).unwrap_or_default();
        callers.retain(|(_, caller)| !caller.unlocks.is_empty());
        found.extend(if callers.is_empty() { wrappers } else { callers });
    }
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

/// The functions that call one of `targets`, each with its address.
fn that_call(
    image: &object::File<'_>,
    machine: Machine,
    targets: &Targets,
    unlock: &Targets,
) -> Result<Vec<(u64, TakeGil)>, NotFound> {
    let mut calls = Vec::new();
    for section in image.sections().filter(|section| section.kind() == object::SectionKind::Text) {
        if let Ok(code) = section.data() {
            (machine.calls)(code, section.address(), targets, &mut calls);
        }
    }
    if calls.is_empty() {
        return Err(NotFound::NoCall);
    }
    if calls.len() > MAX_CALLS {
        return Err(NotFound::TooManyCalls(calls.len()));
    }
    let mut found: Vec<(u64, TakeGil)> = Vec::new();
    for part in parts_of(image, &calls)? {
        let parts = whole(image, machine, part);
        let Some(start) = parts.first().map(|part| part.start) else { continue };
        if found.iter().all(|(known, _)| *known != start)
            && let Some(function) = function(image, machine, &parts, targets, unlock)
        {
            found.push((start, function));
        }
    }
    if found.is_empty() { Err(NotFound::NoCall) } else { Ok(found) }
}

/// How machine code of one architecture is read.
#[derive(Clone, Copy)]
struct Machine {
    /// Adds the addresses of stubs (`code` begins at the address) that jump to what one of the slots points
    /// to.
    stubs: fn(code: &[u8], address: u64, slots: &[u64], stubs: &mut Vec<u64>),
    /// Adds addresses at which `code` seems to call a target, a few more than [`MAX_CALLS`] at most.
    calls: fn(code: &[u8], address: u64, targets: &Targets, calls: &mut Vec<u64>),
    /// Adds addresses of jumps, conditional or not, that seem to lead into a stretch of addresses; a bounded
    /// number of them.
    jumps: fn(code: &[u8], address: u64, into: &Range<u64>, jumps: &mut Vec<u64>),
    /// The instructions of a function that begins at the address; `None`: what is there is no code.
    steps: fn(code: &[u8], address: u64) -> Option<Vec<Step>>,
}

const fn machine(architecture: Architecture) -> Option<Machine> {
    match architecture {
        Architecture::X86_64 => Some(x86_64::MACHINE),
        Architecture::Aarch64 => Some(arm64::MACHINE),
        _ => None,
    }
}

/// An instruction, as far as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    address: u64,
    /// Where it leads.
    flow: Flow,
    /// [`ProbePoint::is_emulated`].
    is_emulated: bool,
    /// The mark for indirect branches: what comes right after it is as good a start.
    is_mark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// To the next one.
    Next,
    /// To a function, if it is known, and back.
    Call(Option<Called>),
    /// To this address, always or not.
    Branch(u64),
    /// To the caller.
    Return,
    /// Not known.
    Elsewhere,
}

/// By what a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// By its address.
    Address(u64),
    /// By the address of a pointer to it; never so on arm64, which loads pointers with instructions of their
    /// own.
    Slot(u64),
}

/// Addresses by which a function of the C library is called.
#[derive(Debug, Default)]
struct Targets {
    /// Of stubs, or of the function itself: what a direct call names.
    direct: Vec<u64>,
    /// Of pointers to it: what an indirect call reads.
    slots: Vec<u64>,
}

impl Targets {
    fn has(&self, called: Called) -> bool {
        match called {
            Called::Address(address) => self.direct.contains(&address),
            Called::Slot(slot) => self.slots.contains(&slot),
        }
    }
}

fn targets(image: &object::File<'_>, machine: Machine, function: &str) -> Targets {
    let mut targets = Targets::default();
    let is_it = |name: &str| name == function || name.strip_prefix("__") == Some(function);
    if let (Some(relocations), Some(symbols)) = (image.dynamic_relocations(), image.dynamic_symbol_table()) {
        for (slot, relocation) in relocations {
            if let object::RelocationTarget::Symbol(index) = relocation.target()
                && let Ok(symbol) = symbols.symbol_by_index(index)
                && symbol.name().is_ok_and(is_it)
            {
                targets.slots.push(slot);
            }
        }
    }
    for section in image.sections() {
        let is_stubs = section.name().is_ok_and(|name| name.starts_with(".plt"));
        if let (true, Ok(code)) = (is_stubs, section.data()) {
            (machine.stubs)(code, section.address(), &targets.slots, &mut targets.direct);
        }
    }
    // A static build has the function itself.
    for symbol in image.symbols().chain(image.dynamic_symbols()) {
        if symbol.is_definition() && symbol.address() != 0 && symbol.name().is_ok_and(is_it) {
            targets.direct.push(symbol.address());
        }
    }
    targets.direct.sort_unstable();
    targets.direct.dedup();
    targets
}

/// Reads a function instruction by instruction, from its parts, of which it begins with the first; `None` if
/// it does not call the wait after all.
fn function(
    image: &object::File<'_>,
    machine: Machine,
    parts: &[Part],
    wait: &Targets,
    unlock: &Targets,
) -> Option<TakeGil> {
    let mut steps: Vec<(Step, u64)> = Vec::new();
    for part in parts {
        let (code, offset) = code_at(image, part.start, part.length)?;
        let place = |step: Step| Some((step, offset.checked_add(step.address.checked_sub(part.start)?)?));
        steps.extend((machine.steps)(code, part.start)?.into_iter().filter_map(place));
    }
    let point = |(step, offset): &(Step, u64)| ProbePoint {
        offset: *offset,
        address: step.address,
        is_emulated: step.is_emulated,
    };
    let mut found = TakeGil::default();
    let first = parts.first()?;
    // Where a part is all that is found of it, its beginning is not known.
    if !first.is_later {
        let all: Vec<Step> = steps.iter().map(|(step, _)| *step).collect();
        let entry = entry(&all, first.start);
        found.entry = steps.iter().find(|(step, _)| Some(step) == entry).map(point);
    }
    for step in &steps {
        match step.0.flow {
            Flow::Call(Some(called)) if wait.has(called) => found.waits.push(point(step)),
            Flow::Call(Some(called)) if unlock.has(called) && found.unlocks.len() < MAX_EXITS => {
                found.unlocks.push(point(step));
            }
            Flow::Return if found.exits.len() < MAX_EXITS => found.exits.push(point(step)),
            _ => {}
        }
    }
    (!found.waits.is_empty()).then_some(found)
}

/// The first instruction that is cheap to probe on the way from a function's first to the first that may lead
/// elsewhere: whoever calls the function takes it, and once, for nothing jumps back to before it. Else its
/// first.
fn entry(steps: &[Step], start: u64) -> Option<&Step> {
    // A call too may lead elsewhere: it need not come back.
    let end = steps.iter().position(|step| step.flow != Flow::Next).map_or(steps.len(), |end| end + 1);
    let mut way = steps.get(..end)?.iter().filter(|step| !step.is_mark);
    let is_passed_once = |step: &Step| {
        let leads_there = |to: u64| to > start && to <= step.address;
        !steps.iter().any(|other| matches!(other.flow, Flow::Branch(to) if leads_there(to)))
    };
    let cheap = way.clone().find(|step| step.is_emulated).filter(|step| is_passed_once(step));
    cheap.or_else(|| way.next())
}

/// How any function begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fact) struct Beginning {
    /// Its first instruction: where its return can be probed, too.
    pub(in crate::fact) first: ProbePoint,
    /// The first that is cheap to probe and that everybody passes, once; else the first.
    pub(in crate::fact) entry: ProbePoint,
    /// The function that it calls first, if it calls one by its address.
    pub(in crate::fact) calls: Option<u64>,
}

/// How the function at `address` begins, on this machine; `None`: that is not known.
pub(in crate::fact) fn beginning(image: &object::File<'_>, address: u64) -> Option<Beginning> {
    let machine = machine(OWN)?;
    let parts = parts_of(image, &[address]).ok()?;
    let Part { start, length, .. } = parts.into_iter().find(|part| part.start == address)?;
    let (code, offset) = code_at(image, start, length)?;
    let steps = (machine.steps)(code, start)?;
    let point = |step: &Step| {
        let offset = offset.checked_add(step.address.checked_sub(start)?)?;
        Some(ProbePoint { offset, address: step.address, is_emulated: step.is_emulated })
    };
    let called = steps.iter().find_map(|step| match step.flow {
        Flow::Call(called) => Some(called),
        _ => None,
    });
    let calls = match called.flatten() {
        Some(Called::Address(address)) => Some(address),
        _ => None,
    };
    Some(Beginning { first: point(steps.first()?)?, entry: point(entry(&steps, start)?)?, calls })
}

/// The bytes at `address`, and their place in the file.
fn code_at<'a>(image: &object::File<'a>, address: u64, length: u64) -> Option<(&'a [u8], u64)> {
    image.segments().find_map(|segment| {
        let distance = address.checked_sub(segment.address())?;
        let (offset, size) = segment.file_range();
        if distance.checked_add(length)? > size {
            return None;
        }
        let from = usize::try_from(distance).ok()?;
        let bytes = segment.data().ok()?.get(from..from.checked_add(usize::try_from(length).ok()?)?)?;
        Some((bytes, offset.checked_add(distance)?))
    })
}
