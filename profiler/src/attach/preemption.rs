//! Puts the kernel's functions that keep a CPU into the programs (`profiler_common::preemption`).
//!
//! In: the object, the kernel's type information. Out: the object with calls of these functions, or with
//! none.

use profiler_common::preemption::{DISABLE, ENABLE, RESTORE, SAVE};

use crate::capability::kernel_btf::KernelBtf;

/// Bytes of an instruction (include/uapi/linux/bpf.h, `struct bpf_insn`).
const INSTRUCTION_BYTES: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, in the place of the source register.
const OF_KERNEL_FUNCTION: u8 = 2 << 4;
/// `r0 = 0`: as a call without a result it changes nothing that is read.
const NOTHING: [u8; INSTRUCTION_BYTES] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// What runs programs at system calls where those can be preempted; it came with that, in Linux 7.2.
const PREEMPTS: &str = "trace_call_bpf_faultable";

/// Each number of `profiler_common::preemption`, and the function for it.
const FUNCTIONS: [(u32, &str); 4] = [
    (DISABLE, "bpf_preempt_disable"),
    (ENABLE, "bpf_preempt_enable"),
    (SAVE, "bpf_local_irq_save"),
    (RESTORE, "bpf_local_irq_restore"),
];

/// The object as this kernel gets it. Where no program of ours is preempted the functions would only cost.
pub(super) fn put_into(object: &[u8], kernel: &KernelBtf) -> Vec<u8> {
    if !kernel.has(PREEMPTS) {
        return replace(object, &FUNCTIONS.map(|(number, _)| (number, None::<u32>)));
    }
    let found = FUNCTIONS.map(|(number, name)| (number, kernel.function(name)));
    let has_all = found.iter().all(|(_, function)| function.is_some());
    replace(object, &found.map(|(number, function)| (number, function.filter(|_| has_all))))
}

/// Each call of a number becomes one of the function with this number in the type information; `None`:
/// nothing.
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
        let numbers = FUNCTIONS.map(|(number, _)| number);
        let all = numbers.map(|number| calls(OBJECT, 0, number));
        let [disabled, enabled, saved, restored] = all;
        assert!(disabled >= 6, "entry and exit in both forms, and light mode: {disabled}");
        assert!(enabled >= disabled, "whatever way a program takes: {enabled}");
        assert_eq!([saved, restored], [enabled, enabled], "around each");
        for is_there in [true, false] {
            let functions = numbers.map(|number| (number, is_there.then_some(number + 1_000)));
            let replaced = replace(OBJECT, &functions);
            for (number, count) in numbers.into_iter().zip(all) {
                assert_eq!(calls(&replaced, 0, number), 0);
                let expected = if is_there { count } else { 0 };
                assert_eq!(calls(&replaced, OF_KERNEL_FUNCTION, number + 1_000), expected);
            }
            let differ = OBJECT
                .as_chunks::<8>()
                .0
                .iter()
                .zip(replaced.as_chunks::<8>().0)
                .filter(|(was, is)| was != is);
            assert_eq!(differ.count(), all.iter().sum::<usize>());
        }
    }
}
