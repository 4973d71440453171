//! How many values lie for certain on a frame's stack at an instruction, by a code object's table of
//! exceptions.
//!
//! In: the table (`co_exceptiontable`, from 3.11 on), how far the instruction is behind the first. Out: how
//! many are kept where an exception is handled that is raised there. Within a `with` block the last of them
//! is what ends it. The format is that of Objects/exception_handling_notes.txt. Tables are a process's own
//! memory: hostile.

/// Bytes of one instruction.
const UNIT_BYTES: u64 = 2;

/// Values below the handler of what is raised at the instruction `offset_bytes` behind the first; 0: nothing
/// handles it.
pub(super) fn depth_at(table: &[u8], offset_bytes: u64) -> u32 {
    let mut bytes = table.iter().copied();
    while let Some([start, length, _, depth]) = entry(&mut bytes) {
        let (start, length) = (u64::from(start) * UNIT_BYTES, u64::from(length) * UNIT_BYTES);
        if (start..start + length).contains(&offset_bytes) {
            // The lowest bit says whether the handler gets the instruction, too.
            return depth >> 1;
        }
    }
    0
}

/// Where a range begins, how long it is, its handler, and how deep the stack is there.
fn entry(bytes: &mut impl Iterator<Item = u8>) -> Option<[u32; 4]> {
    Some([number(bytes)?, number(bytes)?, number(bytes)?, number(bytes)?])
}

/// Six bits a byte, the highest first; another byte follows where bit 6 is set.
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    const MORE: u8 = 64;
    let mut value = 0_u32;
    loop {
        let byte = bytes.next()?;
        value = value.checked_mul(64)? | u32::from(byte & 63);
        if byte & MORE == 0 {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 3.11, as `compile` made it:
    ///
    /// ```python
    /// def f():
    ///     with a:
    ///         with b:
    ///             g()
    /// ```
    const NESTED: &[u8] = &[
        0x88, 0x08, 0x41, 0x03, 0x03, 0x90, 0x0f, 0x2b, 0x05, 0x9f, 0x0c, 0x41, 0x03, 0x03, 0xab, 0x04, 0x2f,
        0x09, 0xaf, 0x03, 0x41, 0x03, 0x03, 0xb2, 0x01, 0x2f, 0x09, 0xb3, 0x03, 0x41, 0x03, 0x03, 0xc1, 0x03,
        0x04, 0x41, 0x07, 0x07, 0xc1, 0x0a, 0x01, 0x41, 0x07, 0x07,
    ];

    #[test]
    fn the_stack_is_as_deep_as_the_handler_of_the_innermost_block_says() {
        // Before, at `with b` (BEFORE_WITH), at the call of `g`, at the end of that block, and of the other.
        for (offset_bytes, depth) in [(14, 0), (30, 1), (50, 2), (72, 1), (118, 0)] {
            assert_eq!(depth_at(NESTED, offset_bytes), depth, "{offset_bytes}");
        }
    }

    #[test]
    fn a_table_that_ends_in_the_middle_or_has_no_end_of_a_number_says_nothing() {
        assert_eq!(depth_at(&[], 0), 0);
        assert_eq!(depth_at(&[0x80, 9, 3], 0), 0);
        assert_eq!(depth_at(&[0xff; 64], 0), 0);
    }
}
