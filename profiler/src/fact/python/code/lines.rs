//! The line of an instruction, by a code object's table of lines.
//!
//! In: the table, the code object's first line, how far the instruction is behind the first. Out: its line.
//! Tables are a process's own memory: hostile.

/// How a version writes the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fact::python) enum LineTable {
    /// 3.11 and later: locations with columns.
    #[default]
    Locations,
    /// 3.10: ranges of instructions (PEP 626, Objects/lnotab_notes.txt).
    Ranges,
    /// 3.8 and 3.9: steps of instructions and of lines (Objects/lnotab_notes.txt).
    Steps,
}

/// The line of the instruction `offset_bytes` behind a code object's first.
pub(super) fn line_at(kind: LineTable, table: &[u8], first_line: u32, offset_bytes: u64) -> Option<u32> {
    match kind {
        LineTable::Locations => of_locations(table, first_line, offset_bytes),
        LineTable::Ranges => of_ranges(table, first_line, offset_bytes),
        LineTable::Steps => of_steps(table, first_line, offset_bytes),
    }
}

/// Pairs: for how many bytes a range goes on, how far its line is from that of the range before; −128 there:
/// it is of no line.
fn of_ranges(table: &[u8], first_line: u32, offset_bytes: u64) -> Option<u32> {
    const NO_LINE: i8 = -128;
    let (pairs, _) = table.as_chunks::<2>();
    let (mut line, mut end) = (i64::from(first_line), 0);
    for [length, step] in pairs {
        let step = step.cast_signed();
        end += u64::from(*length);
        if step != NO_LINE {
            line += i64::from(step);
        }
        if offset_bytes < end {
            return if step == NO_LINE { None } else { u32::try_from(line).ok() };
        }
    }
    None
}

/// Pairs: how many bytes later the next line begins, and how far it is from the line before.
fn of_steps(table: &[u8], first_line: u32, offset_bytes: u64) -> Option<u32> {
    let (pairs, _) = table.as_chunks::<2>();
    let (mut line, mut start) = (i64::from(first_line), 0);
    for [length, step] in pairs {
        start += u64::from(*length);
        if start > offset_bytes {
            break;
        }
        line += i64::from(step.cast_signed());
    }
    u32::try_from(line).ok()
}

/// The line of the instruction `offset_bytes` behind a code object's first, by its table of locations
/// (InternalDocs/code_objects.md in CPython's source). The table has runs of instructions of two bytes each,
/// every run with how far its line is from that of the run before.
fn of_locations(table: &[u8], first_line: u32, offset_bytes: u64) -> Option<u32> {
    const NO_LOCATION: u8 = 15;
    const LONG: u8 = 14;
    const NO_COLUMNS: u8 = 13;
    const ONE_LINE: u8 = 10;
    let mut bytes = table.iter().copied().peekable();
    let (mut line, mut end) = (i64::from(first_line), 0);
    while let Some(head) = bytes.next() {
        if head & 0x80 == 0 {
            return None;
        }
        let kind = head >> 3 & 15;
        end += u64::from(head & 7) * 2 + 2;
        line += match kind {
            LONG | NO_COLUMNS => {
                let number = varint(&mut bytes)?;
                // The sign is the lowest bit.
                let size = i64::try_from(number >> 1).ok()?;
                if number & 1 == 1 { -size } else { size }
            }
            _ if (ONE_LINE..NO_COLUMNS).contains(&kind) => i64::from(kind - ONE_LINE),
            _ => 0,
        };
        // What is left of this run are columns: none of its further bytes has the top bit.
        while bytes.next_if(|byte| byte & 0x80 == 0).is_some() {}
        if offset_bytes < end {
            return if kind == NO_LOCATION { None } else { u32::try_from(line).ok() };
        }
    }
    None
}

/// Six bits a byte, the lowest first; all but the last have bit 6.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..36).step_by(6) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 63) << shift;
        if byte & 64 == 0 {
            return Some(number);
        }
    }
    None
}
