//! Puts the kernel's functions that keep a CPU into the programs (`profiler_common::preemption`).
//!
//! In: the object, the kernel's type information. Out: the object with calls of these functions, or with none.

use profiler_common::preemption::{DISABLE, ENABLE};

use crate::capability::kernel_btf::KernelBtf;

/// Bytes of an instruction (include/uapi/linux/bpf.h, `struct bpf_insn`).
const INSTRUCTION_BYTES: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, in the place of the source register.
const OF_KERNEL_FUNCTION: u8 = 2 << 4;
/// `r0 = 0`: as a call without a result it changes nothing that is read.
const NOTHING: [u8; INSTRUCTION_BYTES] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// Each number of `profiler_common::preemption`, and the function for it.
const FUNCTIONS: [(u32, &str); 2] = [(DISABLE, "bpf_preempt_disable"), (ENABLE, "bpf_preempt_enable")];

/// The object as this kernel gets it, which preempts programs at system calls or does not: there the functions would only cost.
pub(super) fn put_into(object: &[u8], kernel: &KernelBtf, preempts_programs: bool) -> Vec<u8> {
    if !preempts_programs {
        return replace(object, &FUNCTIONS.map(|(number, _)| (number, None::<u32>)));
    }
    let found = FUNCTIONS.map(|(number, name)| (number, kernel.function(name)));
    let has_both = found.iter().all(|(_, function)| function.is_some());
    replace(object, &found.map(|(number, function)| (number, function.filter(|_| has_both))))
}

/// Each call of a number becomes one of the function with this number in the type information; `None`: nothing.
fn replace(object: &[u8], functions: &[(u32, Option<u32>)]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    for instruction in bytes.as_chunks_mut::<INSTRUCTION_BYTES>().0 {
        for (number, function) in functions {
            if *instruction == call(0, *number) {
                let replaced = function.map_or(NOTHING, |function| call(OF_KERNEL_FUNCTION, function));
                *instruction = replaced;
            }
        }
    }
    bytes
}

/// A call, by the registers of the instruction and its number.
const fn call(registers: u8, number: u32) -> [u8; INSTRUCTION_BYTES] {
    let [first, second, third, fourth] = number.to_le_bytes();
    [CALL, registers, 0, 0, first, second, third, fourth]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::OBJECT;

    fn calls(object: &[u8], registers: u8, number: u32) -> usize {
        object.as_chunks().0.iter().filter(|bytes| **bytes == call(registers, number)).count()
    }

    #[test]
    fn every_call_of_the_object_is_replaced_and_nothing_else() {
        let (disabled, enabled) = (calls(OBJECT, 0, DISABLE), calls(OBJECT, 0, ENABLE));
        assert!(disabled >= 4, "entry and exit in both forms: {disabled}");
        assert!(enabled >= disabled, "whatever way a program takes: {enabled}");
        for functions in [[(DISABLE, Some(7)), (ENABLE, Some(8))], [(DISABLE, None), (ENABLE, None)]] {
            let replaced = replace(OBJECT, &functions);
            assert_eq!(calls(&replaced, 0, DISABLE) + calls(&replaced, 0, ENABLE), 0);
            if functions.iter().all(|(_, function)| function.is_some()) {
                assert_eq!(calls(&replaced, OF_KERNEL_FUNCTION, 7), disabled);
                assert_eq!(calls(&replaced, OF_KERNEL_FUNCTION, 8), enabled);
            }
            let differ = OBJECT
                .as_chunks::<8>()
                .0
                .iter()
                .zip(replaced.as_chunks::<8>().0)
                .filter(|(was, is)| was != is);
            assert_eq!(differ.count(), disabled + enabled);
        }
    }
}
