//! How much stack a kernel program uses.
//!
//! In: the object, a program's name. Out: bytes. From Linux 6.13 on a program with [`LENT_FROM_BYTES`] or
//! more gets a stack of its own for each CPU. Probes in processes can be preempted, and what runs the same
//! probe meanwhile overwrites that stack: kernels panic on it (open-telemetry's
//! opentelemetry-ebpf-instrumentation, issue 3056).

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// `BPF_PRIV_STACK_MIN_SIZE`, kernel/bpf/verifier.c.
pub const LENT_FROM_BYTES: u32 = 64;

/// Bytes of an instruction (`struct bpf_insn`, include/uapi/linux/bpf.h), and of one that takes the room of
/// two.
const INSTRUCTION_BYTES: usize = 8;
/// Loads 8 bytes: two instructions long.
const WIDE: u8 = 0x18;
/// `BPF_LDX`, `BPF_ST`, `BPF_STX`: the classes that reach memory, by the lowest three bits.
const CLASSES: u8 = 7;
const LOAD: u8 = 1;
const STORES: [u8; 2] = [2, 3];
/// The register of the frame.
const FRAME: u8 = 10;
/// One register becomes another; a number is added to it.
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;

/// Bytes of stack that a program uses itself; `None`: the object has no such program.
pub fn bytes(object: &[u8], program: &str) -> Option<u32> {
    let file = object::File::parse(object).ok()?;
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(program))?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let from = usize::try_from(symbol.address()).ok()?;
    let length = usize::try_from(symbol.size()).ok()?;
    let code = section.data().ok()?.get(from..from.checked_add(length)?)?;
    Some(deepest(code))
}

/// How far below the frame the code reaches.
fn deepest(code: &[u8]) -> u32 {
    let mut deepest = 0;
    let mut rest = code;
    // The register that was made the frame's by the instruction before.
    let mut is_frame = None;
    while let Some((instruction, after)) = rest.split_first_chunk::<INSTRUCTION_BYTES>() {
        let [code, registers, low, high, number @ ..] = *instruction;
        let (to, from) = (registers & 15, registers >> 4);
        let class = code & CLASSES;
        let offset = i32::from(i16::from_le_bytes([low, high]));
        let reaches = match code {
            ADD if is_frame == Some(to) => i32::from_le_bytes(number),
            _ if class == LOAD && from == FRAME || STORES.contains(&class) && to == FRAME => offset,
            _ => 0,
        };
        is_frame = (code == MOVE && from == FRAME).then_some(to);
        deepest = deepest.max(reaches.saturating_neg());
        rest = if code == WIDE { after.get(INSTRUCTION_BYTES..).unwrap_or_default() } else { after };
    }
    deepest.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::OBJECT;
    use crate::hook::table::{AttachPoint, PROGRAMS};

    #[test]
    fn no_probe_uses_so_much_that_linux_lends_it_a_stack_that_preemption_corrupts() {
        for program in PROGRAMS.iter().filter(|program| program.place == AttachPoint::Process) {
            let used = bytes(OBJECT, program.name).expect("the object has every program of the table");
            assert!(used < LENT_FROM_BYTES, "{} uses {used} bytes of stack", program.name);
        }
        let most = PROGRAMS.iter().filter_map(|program| bytes(OBJECT, program.name)).max();
        assert!(most.is_some_and(|used| used > LENT_FROM_BYTES), "it is measured: {most:?}");
        assert_eq!(bytes(OBJECT, "no_such_program"), None);
    }

    #[test]
    fn stores_loads_and_addresses_below_the_frame_count() {
        let store = [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0];
        let load = [0x79, 0xa1, 0xf0, 0xff, 0, 0, 0, 0];
        let address = [0xbf, 0xa2, 0, 0, 0, 0, 0, 0, 0x07, 0x02, 0, 0, 0xd8, 0xff, 0xff, 0xff];
        // The second half of a wide load looks like a store.
        let wide = [0x18, 1, 0, 0, 0, 0, 0, 0, 0x7b, 0x1a, 0x00, 0xff, 0, 0, 0, 0];
        assert_eq!(deepest(&store), 8);
        assert_eq!(deepest(&load), 16);
        assert_eq!(deepest(&address), 40);
        assert_eq!(deepest(&wide), 0);
        assert_eq!(deepest(&[]), 0);
    }
}
