//! How far a function reaches, and in how many parts it lies.
//!
//! In: an image, addresses in its code. Out: stretches of code, as `.eh_frame` has them, and those that make
//! one function. A part that a compiler or BOLT has moved elsewhere is entered by jumps alone: at its first
//! instruction the caller's frame is not where a call leaves it.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, FrameDescriptionEntry, LittleEndian, ReaderOffset, Register,
    RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection as _, UnwindTableRow,
};
use object::{Architecture, Object as _, ObjectSection as _};

use super::{Flow, MAX_CALLS, Machine, NotFound, code_at};

/// A function longer than this is not the one.
const MAX_FUNCTION_BYTES: u64 = 16 * 1024;
/// Entries of `.eh_frame` looked at.
const MAX_FRAMES: usize = 1_000_000;
/// Parts of one function: what runs often, what seldom does, what hardly ever does.
const MAX_PARTS: usize = 4;

/// Room for what a row says: rules of registers, and rows that are kept for later.
struct Room;

impl<T: ReaderOffset> UnwindContextStorage<T> for Room {
    type Rules = [(Register, RegisterRule<T>); 64];
    type Stack = [UnwindTableRow<T, Self>; 4];
}

type Section<'a> = gimli::EndianSlice<'a, LittleEndian>;

/// A stretch of code with an entry of its own in `.eh_frame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its first address.
    pub(super) start: u64,
    /// Its bytes.
    pub(super) length: u64,
    /// No call leads to its beginning: its function has another part before.
    pub(super) is_later: bool,
}

impl Part {
    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|distance| distance < self.length)
    }
}

/// The parts that hold one of these addresses.
pub(super) fn parts_of(image: &object::File<'_>, addresses: &[u64]) -> Result<Vec<Part>, NotFound> {
    let section = image.section_by_name(".eh_frame").ok_or(NotFound::NoBounds)?;
    let data = section.data().map_err(|error| NotFound::File(error.to_string()))?;
    let frames = EhFrame::new(data, LittleEndian);
    let text = image.section_by_name(".text").map_or(0, |text| text.address());
    let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
    let mut entries = frames.entries(&bases);
    let mut parts: Vec<Part> = Vec::new();
    for _ in 0..MAX_FRAMES {
        let Ok(Some(entry)) = entries.next() else { break };
        let CieOrFde::Fde(partial) = entry else { continue };
        let Ok(frame) = partial.parse(EhFrame::cie_from_offset) else { continue };
        let mut part = Part { start: frame.initial_address(), length: frame.len(), is_later: false };
        let is_known = parts.iter().any(|known| (known.start, known.length) == (part.start, part.length));
        if part.length <= MAX_FUNCTION_BYTES && !is_known && addresses.iter().any(|at| part.holds(*at)) {
            part.is_later = !is_entered_by_call(image.architecture(), &frames, &bases, &frame);
            parts.push(part);
        }
    }
    if parts.is_empty() { Err(NotFound::NoBounds) } else { Ok(parts) }
}

/// Whether at the first instruction of a stretch the caller's frame is where a call leaves it: at the stack's
/// end, behind the address to return to, which arm64 keeps in a register.
fn is_entered_by_call(
    architecture: Architecture,
    frames: &EhFrame<Section<'_>>,
    bases: &BaseAddresses,
    frame: &FrameDescriptionEntry<Section<'_>>,
) -> bool {
    const STACK_X86_64: (u16, i64) = (7, 8);
    const STACK_ARM64: (u16, i64) = (31, 0);
    let (stack, offset) = if architecture == Architecture::Aarch64 { STACK_ARM64 } else { STACK_X86_64 };
    let mut context = UnwindContext::<usize, Room>::new_in();
    let Ok(mut rows) = frame.rows(frames, bases, &mut context) else { return true };
    // What nobody can tell is taken for a function.
    rows.next_row()
        .ok()
        .flatten()
        .is_none_or(|row| *row.cfa() == CfaRule::RegisterAndOffset { register: Register(stack), offset })
}

/// The parts of the function that this one is of, as far as jumps lead to it from one other: that with its
/// beginning first.
pub(super) fn whole(image: &object::File<'_>, machine: Machine, part: Part) -> Vec<Part> {
    let mut parts = vec![part];
    while let Some(first) = parts.first().copied().filter(|first| first.is_later)
        && parts.len() < MAX_PARTS
    {
        let before: Vec<Part> =
            leading_to(image, machine, first).into_iter().filter(|part| !parts.contains(part)).collect();
        // Where several lead to it, it is nobody's.
        let [before] = before.as_slice() else { break };
        parts.insert(0, *before);
    }
    parts
}

/// The parts whose instructions jump into this one.
fn leading_to(image: &object::File<'_>, machine: Machine, part: Part) -> Vec<Part> {
    let into = part.start..part.start.saturating_add(part.length);
    let mut jumps = Vec::new();
    for section in image.sections().filter(|section| section.kind() == object::SectionKind::Text) {
        if let Ok(code) = section.data() {
            (machine.jumps)(code, section.address(), &into, &mut jumps);
        }
    }
    // So many are no part of one function.
    if jumps.len() > MAX_CALLS * MAX_CALLS {
        return Vec::new();
    }
    let mut parts = parts_of(image, &jumps).unwrap_or_default();
    parts.retain(|from| {
        let code = code_at(image, from.start, from.length);
        let steps = code.and_then(|(code, _)| (machine.steps)(code, from.start)).unwrap_or_default();
        steps.iter().any(|step| matches!(step.flow, Flow::Branch(to) if into.contains(&to)))
    });
    parts
}
