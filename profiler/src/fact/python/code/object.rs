//! One code object, read out of a process: its names, and the line of each instruction.
//!
//! In: the memory of a process, the address, the version's layout. Out: [`Code`], or nothing where what is
//! there is no code object. Layouts are those of `PyCodeObject` (Include/cpython/code.h), strings and bytes
//! as Include/cpython/unicodeobject.h and bytesobject.h have them; all figures are of `x86_64`.

use profiler_common::stack::{COMPARED_BYTES, CodeIdentity, content_of, mix};

use super::blocks::depth_at;
use super::lines::{LineTable, line_at};
use crate::fact::python::memory::Memory;

/// Longest name of a file or function, in characters.
const MAX_NAME: u64 = 1024;
/// Longest table of lines or of exceptions.
const MAX_TABLE_BYTES: u64 = 256 * 1024;
/// Distance of `co_exceptiontable`, from 3.11 on.
const EXCEPTIONS: u64 = 40;

/// Distances in a code object of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fact::python) struct CodeLayout {
    pub(super) file: u64,
    pub(super) function: u64,
    pub(super) lines: u64,
    pub(super) first_line: u64,
    /// Of its number among all (`co_version`); 0: it has none.
    pub(super) version: u64,
    /// Of the first instruction; 0: they are elsewhere, and frames have their numbers.
    pub(super) instructions: u64,
    /// Distance of an ASCII string's characters in the string.
    pub(super) characters: u64,
    /// How much further those of other strings are.
    pub(super) wide: u64,
    /// Of the number of its frames' variables; 0: its frames' stacks are not read by a table.
    pub(super) variables: u64,
    /// Of how many values its frames' stack may have; 0: not known.
    pub(super) stack_size: u64,
    pub(super) table: LineTable,
}

/// What is remembered of a code object.
#[derive(Debug)]
pub(in crate::fact::python) struct Code {
    pub(in crate::fact::python) identity: CodeIdentity,
    pub(in crate::fact::python) file: String,
    pub(in crate::fact::python) function: String,
    pub(super) instructions: u64,
    pub(super) table: Vec<u8>,
    pub(super) kind: LineTable,
    /// Variables of its frames, before their stack of values.
    pub(in crate::fact::python) variables: u32,
    /// Values that their stack may have; 0: not known.
    pub(in crate::fact::python) stack_size: u32,
    /// Its table of exceptions.
    pub(super) exceptions: Vec<u8>,
}

impl Code {
    /// Bytes that are remembered.
    pub(in crate::fact::python) const fn bytes(&self) -> usize {
        let tables = self.table.capacity() + self.exceptions.capacity();
        size_of::<Self>() + self.file.capacity() + self.function.capacity() + tables
    }

    /// Values that lie for certain on its frames' stack at the instruction at an address.
    pub(in crate::fact::python) fn depth(&self, instruction: u64) -> u32 {
        let offset = instruction.checked_sub(self.instructions);
        offset.map_or(0, |offset| depth_at(&self.exceptions, offset))
    }

    /// Line of the instruction at an address, or at so many bytes behind the first where frames have that;
    /// `None`: it is of no line.
    pub(in crate::fact::python) fn line(&self, instruction: u64) -> Option<u32> {
        let offset = instruction.checked_sub(self.instructions)?;
        line_at(self.kind, &self.table, self.identity.first_line, offset)
    }
}

/// What distinguishes the code object at `address` from others, if it can be read.
pub(in crate::fact::python) fn identity(
    memory: &dyn Memory,
    address: u64,
    layout: CodeLayout,
) -> Option<CodeIdentity> {
    let word = |distance: u64| memory.word(address.checked_add(distance)?).ok();
    let (file, function, lines) = (word(layout.file)?, word(layout.function)?, word(layout.lines)?);
    let version = if layout.version == 0 { 0 } else { word(layout.version)? as u32 };
    let content = if version > 0 {
        version.into()
    } else {
        let names =
            mix(content(memory, file, layout.characters), content(memory, function, layout.characters));
        mix(names, content(memory, lines, BYTES_AT))
    };
    Some(CodeIdentity { file, function, lines, first_line: word(layout.first_line)? as u32, content })
}

/// Distance of the bytes in a bytes object.
const BYTES_AT: u64 = 32;

/// What [`content_of`] makes of a string or bytes object, as the kernel side does: what cannot be read is 0.
fn content(memory: &dyn Memory, object: u64, at: u64) -> u64 {
    let length = memory.word(object.wrapping_add(16)).unwrap_or(0);
    let bytes = usize::try_from(length).map_or(COMPARED_BYTES, |length| length.min(COMPARED_BYTES));
    let from = object.wrapping_add(at).wrapping_add(length.wrapping_sub(bytes as u64));
    let mut last = [0_u8; COMPARED_BYTES];
    if let Some(part) = last.get_mut(..bytes)
        && memory.read(from, part).is_err()
    {
        last = [0; COMPARED_BYTES];
    }
    content_of(length, &zerocopy::transmute!(last))
}

/// Whether the code object at `address` is of a function of one of these names, which are short and ASCII.
pub(in crate::fact::python) fn is_named(
    memory: &dyn Memory,
    address: u64,
    layout: CodeLayout,
    names: &[&str],
) -> bool {
    let found = || {
        let function = memory.word(address.checked_add(layout.function)?).ok()?;
        let length = memory.word(function.checked_add(16)?).ok()?;
        let length = usize::try_from(length).ok()?;
        let name = names.iter().find(|name| name.len() == length)?;
        let mut letters = vec![0; name.len()];
        memory.read(function.checked_add(layout.characters)?, &mut letters).ok()?;
        Some(letters == name.as_bytes())
    };
    found().unwrap_or(false)
}

/// Reads the code object at `address`, if one is there.
pub(in crate::fact::python) fn read(memory: &dyn Memory, address: u64, layout: CodeLayout) -> Option<Code> {
    let at = |distance: u64| address.checked_add(distance);
    // Every object begins with its count of references and its type, a type with its own and its name
    // (`tp_name` at 24).
    let class = memory.word(at(8)?).ok()?;
    let name = memory.word(class.checked_add(24)?).ok()?;
    let mut letters = [0; 5];
    memory.read(name, &mut letters).ok()?;
    if &letters != b"code\0" {
        return None;
    }
    let identity = identity(memory, address, layout)?;
    // Names do not depend on it.
    let blocks = || {
        let variables = memory.word(at(layout.variables).filter(|_| layout.variables > 0)?).ok()? as u32;
        Some((variables, bytes(memory, memory.word(at(EXCEPTIONS)?).ok()?)?))
    };
    let (variables, exceptions) = blocks().unwrap_or_default();
    Some(Code {
        identity,
        file: text(memory, identity.file, layout)?,
        function: text(memory, identity.function, layout)?,
        instructions: if layout.instructions == 0 { 0 } else { at(layout.instructions)? },
        table: bytes(memory, identity.lines)?,
        kind: layout.table,
        variables,
        stack_size: match layout.stack_size {
            0 => 0,
            distance => memory.word(at(distance)?).map_or(0, |word| word as u32),
        },
        exceptions,
    })
}

/// A `bytes` that is no longer than tables are.
fn bytes(memory: &dyn Memory, address: u64) -> Option<Vec<u8>> {
    let length = memory.word(address.checked_add(16)?).ok().filter(|length| *length <= MAX_TABLE_BYTES)?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    memory.read(address.checked_add(32)?, &mut bytes).ok()?;
    Some(bytes)
}

/// A `str` of printable characters. Its state (at 32) says how wide its characters are, and whether they are
/// in it at all.
fn text(memory: &dyn Memory, address: u64, layout: CodeLayout) -> Option<String> {
    const COMPACT: u64 = 1 << 5;
    const ASCII: u64 = 1 << 6;
    let length = memory.word(address.checked_add(16)?).ok().filter(|length| *length <= MAX_NAME)?;
    let state = memory.word(address.checked_add(32)?).ok()?;
    let width = state >> 2 & 7;
    if state & COMPACT == 0 || !matches!(width, 1 | 2 | 4) || state & ASCII != 0 && width != 1 {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length * width).ok()?];
    let further = if state & ASCII == 0 { layout.wide } else { 0 };
    memory.read(address.checked_add(layout.characters + further)?, &mut bytes).ok()?;
    // Bytes of a file's name that are no UTF-8 are halves of surrogate pairs.
    let character = |bytes: &[u8]| {
        let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let text: String = bytes.chunks_exact(usize::try_from(width).ok()?).map(character).collect();
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
pub(in crate::fact::python) mod tests {
    use super::*;

    /// Code whose first instruction is at 0 and whose frames have three variables, with such a table of
    /// exceptions.
    pub(in crate::fact::python) fn code_with_blocks(exceptions: &[u8]) -> Code {
        Code {
            identity: CodeIdentity::default(),
            file: String::new(),
            function: String::new(),
            instructions: 0,
            table: Vec::new(),
            kind: LineTable::Locations,
            variables: 3,
            stack_size: 6,
            exceptions: exceptions.to_vec(),
        }
    }
}
