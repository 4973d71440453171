//! The function of an interpreter that takes its lock, in the file's machine code: stripped or not.
//!
//! In: an ELF file, hostile. Out: [`TakeGil`]: where it begins, where it waits, where it ends. `take_gil` is the only
//! function of an interpreter that waits on a condition variable with a limit of time, so the call of
//! `pthread_cond_timedwait` finds it, and `.eh_frame` says how far it reaches.

use std::fs::File;
use std::io::{Read as _, Seek as _};

use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection as _};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};
use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, ObjectSymbolTable as _,
};

use super::elf::MAX_FILE_BYTES;

/// The call that waits.
const WAIT: &str = "pthread_cond_timedwait";
/// The call with which an attempt ends: that of the lock's mutex, once the lock is taken.
const UNLOCK: &str = "pthread_mutex_unlock";
/// Calls of it that are looked at: CPython 3.8 has two copies of the function.
const MAX_CALLS: usize = 8;
/// A function longer than this is not the one.
const MAX_FUNCTION_BYTES: u64 = 16 * 1024;
/// Entries of `.eh_frame` looked at.
const MAX_FRAMES: usize = 1_000_000;
/// Places where the function ends.
const MAX_EXITS: usize = 32;

/// Why the function cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The file cannot be read as ELF.
    #[error("its file cannot be read as ELF: {0}")]
    File(String),
    /// Not `x86_64`.
    #[error("its machine code is that of {0}; probe points are found in x86_64 code only")]
    Architecture(String),
    /// The wait is not called through anything that can be told.
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
    /// The kernel carries the instruction out itself; otherwise the thread is stopped twice, at 20 times the cost.
    pub is_emulated: bool,
}

/// One copy of the function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakeGil {
    /// The first instruction on the way that every attempt takes, and takes once, that a probe is cheap on; else its first.
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
    in_bytes(&bytes)
}

/// The same for any bytes.
///
/// # Errors
/// As [`find`].
pub fn in_bytes(bytes: &[u8]) -> Result<Vec<TakeGil>, NotFound> {
    let image = object::File::parse(bytes).map_err(|error| NotFound::File(error.to_string()))?;
    if image.architecture() != object::Architecture::X86_64 || !image.is_little_endian() {
        return Err(NotFound::Architecture(format!("{:?}", image.architecture()).to_lowercase()));
    }
    let targets = targets(&image, WAIT);
    let mut calls = Vec::new();
    for section in image.sections().filter(|section| section.kind() == object::SectionKind::Text) {
        if let Ok(code) = section.data() {
            calls_in(code, section.address(), &targets, &mut calls);
        }
    }
    if calls.is_empty() {
        return Err(NotFound::NoCall);
    }
    if calls.len() > MAX_CALLS {
        return Err(NotFound::TooManyCalls(calls.len()));
    }
    let bounds = bounds_of(&image, &calls)?;
    let unlock = self::targets(&image, UNLOCK);
    let found: Vec<TakeGil> =
        bounds.iter().filter_map(|bounds| function(&image, *bounds, &targets, &unlock)).collect();
    if found.is_empty() { Err(NotFound::NoCall) } else { Ok(found) }
}

/// Addresses by which a function of the C library is called.
#[derive(Debug, Default)]
struct Targets {
    /// Of stubs, or of the function itself: what a direct call names.
    direct: Vec<u64>,
    /// Of pointers to it: what an indirect call reads.
    slots: Vec<u64>,
}

fn targets(image: &object::File<'_>, function: &str) -> Targets {
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
            stubs_in(code, section.address(), &targets.slots, &mut targets.direct);
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

/// Stubs that jump to what one of `slots` points to.
fn stubs_in(code: &[u8], address: u64, slots: &[u64], stubs: &mut Vec<u64>) {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    // A stub may begin with the mark for indirect branches.
    let mut mark = None;
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.code() == Code::Endbr64 {
            mark = Some(instruction.ip());
            continue;
        }
        let jumps_there = instruction.code() == Code::Jmp_rm64
            && instruction.is_ip_rel_memory_operand()
            && slots.contains(&instruction.ip_rel_memory_address());
        if jumps_there {
            stubs.push(mark.unwrap_or(instruction.ip()));
        }
        mark = None;
    }
}

/// Addresses at which `code` seems to call a target: it may be the middle of an instruction.
fn calls_in(code: &[u8], address: u64, targets: &Targets, calls: &mut Vec<u64>) {
    let relative = |at: usize| {
        let distance = code.get(at..at.checked_add(4)?)?.try_into().ok().map(i32::from_le_bytes)?;
        let next = address.checked_add(u64::try_from(at).ok()?)?.checked_add(4)?;
        next.checked_add_signed(distance.into())
    };
    for (place, pair) in code.windows(2).enumerate() {
        let is_call = match pair {
            [0xe8, _] => relative(place.saturating_add(1)).is_some_and(|to| targets.direct.contains(&to)),
            [0xff, 0x15] => {
                relative(place.saturating_add(2)).is_some_and(|slot| targets.slots.contains(&slot))
            }
            _ => false,
        };
        if is_call && calls.len() <= MAX_CALLS {
            calls.extend(u64::try_from(place).ok().and_then(|place| address.checked_add(place)));
        }
    }
}

/// First and last address of each function that holds one of `calls`, as `.eh_frame` has them.
fn bounds_of(image: &object::File<'_>, calls: &[u64]) -> Result<Vec<(u64, u64)>, NotFound> {
    let section = image.section_by_name(".eh_frame").ok_or(NotFound::NoBounds)?;
    let data = section.data().map_err(|error| NotFound::File(error.to_string()))?;
    let frames = EhFrame::new(data, LittleEndian);
    let text = image.section_by_name(".text").map_or(0, |text| text.address());
    let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
    let mut entries = frames.entries(&bases);
    let mut bounds: Vec<(u64, u64)> = Vec::new();
    for _ in 0..MAX_FRAMES {
        let Ok(Some(entry)) = entries.next() else { break };
        let CieOrFde::Fde(partial) = entry else { continue };
        let Ok(frame) = partial.parse(EhFrame::cie_from_offset) else { continue };
        let (start, length) = (frame.initial_address(), frame.len());
        let holds = |call: &u64| call.checked_sub(start).is_some_and(|distance| distance < length);
        if length <= MAX_FUNCTION_BYTES && calls.iter().any(holds) && !bounds.contains(&(start, length)) {
            bounds.push((start, length));
        }
    }
    if bounds.is_empty() { Err(NotFound::NoBounds) } else { Ok(bounds) }
}

/// Reads a function instruction by instruction; `None` if it does not call the wait after all.
fn function(
    image: &object::File<'_>,
    (start, length): (u64, u64),
    wait: &Targets,
    unlock: &Targets,
) -> Option<TakeGil> {
    let (code, offset) = code_at(image, start, length)?;
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    let mut found = TakeGil::default();
    let mut instruction = Instruction::default();
    let mut start_of_all = Start::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
        let place = offset.checked_add(instruction.ip().checked_sub(start)?)?;
        let point =
            ProbePoint { offset: place, address: instruction.ip(), is_emulated: is_emulated(&instruction) };
        start_of_all.look(&instruction, point);
        if calls(&instruction, wait) {
            found.waits.push(point);
        } else if calls(&instruction, unlock) && found.unlocks.len() < MAX_EXITS {
            found.unlocks.push(point);
        } else if instruction.flow_control() == FlowControl::Return && found.exits.len() < MAX_EXITS {
            found.exits.push(point);
        }
    }
    found.entry = start_of_all.entry(start);
    (!found.waits.is_empty()).then_some(found)
}

/// The way from a function's first instruction to the first that may lead elsewhere: whoever calls the function takes it.
#[derive(Debug, Default)]
struct Start {
    first: Option<ProbePoint>,
    cheap: Option<ProbePoint>,
    is_over: bool,
    /// Where the function's own branches lead.
    branches: Vec<u64>,
}

impl Start {
    fn look(&mut self, instruction: &Instruction, point: ProbePoint) {
        if matches!(
            instruction.flow_control(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
        ) {
            self.branches.push(instruction.near_branch_target());
        }
        // What comes right after the mark for indirect branches is as good a start.
        if self.is_over || instruction.code() == Code::Endbr64 {
            return;
        }
        self.first = self.first.or(Some(point));
        if self.cheap.is_none() && point.is_emulated {
            self.cheap = Some(point);
        }
        self.is_over = instruction.flow_control() != FlowControl::Next;
    }

    /// A probe there is hit once by each attempt: nothing jumps back to before it.
    fn entry(&self, start: u64) -> Option<ProbePoint> {
        let once = |point: &ProbePoint| !self.branches.iter().any(|to| *to > start && *to <= point.address);
        self.cheap.filter(once).or(self.first)
    }
}

fn calls(instruction: &Instruction, targets: &Targets) -> bool {
    match instruction.code() {
        Code::Call_rel32_64 => targets.direct.contains(&instruction.near_branch64()),
        Code::Call_rm64 if instruction.is_ip_rel_memory_operand() => {
            targets.slots.contains(&instruction.ip_rel_memory_address())
        }
        _ => false,
    }
}

/// What the kernel carries out without stepping: `branch_setup_xol_ops` and `push_setup_xol_ops`,
/// arch/x86/kernel/uprobes.c. A prefix makes it step.
fn is_emulated(instruction: &Instruction) -> bool {
    let plain = !instruction.has_repne_prefix() && !instruction.has_repe_prefix();
    match instruction.code() {
        Code::Push_r64 | Code::Call_rel32_64 | Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => plain,
        Code::Nopd | Code::Nopq => plain && instruction.len() == 1,
        _ => {
            plain
                && instruction.flow_control() == FlowControl::ConditionalBranch
                && instruction.is_jcc_short_or_near()
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the probe at the beginning of this code goes, from its start.
    fn entry(code: &[u8]) -> Option<(u64, bool)> {
        const AT: u64 = 0x1000;
        let mut decoder = Decoder::with_ip(64, code, AT, DecoderOptions::NONE);
        let mut start = Start::default();
        while decoder.can_decode() {
            let instruction = decoder.decode();
            let point =
                ProbePoint { offset: 0, address: instruction.ip(), is_emulated: is_emulated(&instruction) };
            start.look(&instruction, point);
        }
        start.entry(AT).map(|point| (point.address - AT, point.is_emulated))
    }

    const MARK: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    const SUB: [u8; 4] = [0x48, 0x83, 0xec, 0x08];
    const PUSH: [u8; 1] = [0x55];
    const CALL: [u8; 5] = [0xe8, 0, 0, 0, 0];
    const RET: [u8; 1] = [0xc3];

    #[test]
    fn a_beginning_is_the_first_cheap_instruction_that_every_attempt_passes_once() {
        assert_eq!(entry(&[&MARK[..], &PUSH, &RET].concat()), Some((4, true)));
        assert_eq!(entry(&[&MARK[..], &SUB, &CALL, &PUSH, &RET].concat()), Some((8, true)));
        assert_eq!(entry(&[&SUB[..], &RET, &PUSH].concat()), Some((0, false)), "not everybody gets there");
        // `je` to itself and behind: the second way to it is not a beginning.
        assert_eq!(entry(&[&SUB[..], &[0x74, 0xfe], &RET].concat()), Some((0, false)));
        assert_eq!(entry(&[&SUB[..], &[0x74, 0x00], &RET].concat()), Some((4, true)));
    }
}
