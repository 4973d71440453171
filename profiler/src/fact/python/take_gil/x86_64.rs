//! Machine code of `x86_64`, as far as it is asked.
//!
//! In: bytes, hostile. Out: stubs, calls, and the steps of a function.

use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};

use super::{Called, Flow, MAX_CALLS, Machine, Step, Targets};

pub(super) const MACHINE: Machine = Machine { stubs: stubs_in, calls: calls_in, jumps: jumps_in, steps };

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
        let called = match pair {
            [0xe8, _] => relative(place.saturating_add(1)).map(Called::Address),
            [0xff, 0x15] => relative(place.saturating_add(2)).map(Called::Slot),
            _ => None,
        };
        if called.is_some_and(|called| targets.has(called)) && calls.len() <= MAX_CALLS {
            calls.extend(u64::try_from(place).ok().and_then(|place| address.checked_add(place)));
        }
    }
}

/// Addresses at which `code` seems to jump into a stretch.
fn jumps_in(code: &[u8], address: u64, into: &Range<u64>, jumps: &mut Vec<u64>) {
    for (place, pair) in code.windows(2).enumerate() {
        let behind = match pair {
            [0xe9, _] => 1,
            [0x0f, 0x80..=0x8f] => 2,
            _ => continue,
        };
        let leads_there = || {
            let at = place.checked_add(behind)?;
            let distance = code.get(at..at.checked_add(4)?)?.try_into().ok().map(i32::from_le_bytes)?;
            let next = address.checked_add(u64::try_from(at).ok()?)?.checked_add(4)?;
            Some(into.contains(&next.checked_add_signed(distance.into())?))
        };
        if leads_there() == Some(true) && jumps.len() <= MAX_CALLS * MAX_CALLS {
            jumps.extend(u64::try_from(place).ok().and_then(|place| address.checked_add(place)));
        }
    }
}

/// Every instruction of `code`.
fn steps(code: &[u8], start: u64) -> Option<Vec<Step>> {
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    let mut steps = Vec::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
        steps.push(Step {
            address: instruction.ip(),
            flow: flow(&instruction),
            is_emulated: is_emulated(&instruction),
            is_mark: instruction.code() == Code::Endbr64,
        });
    }
    Some(steps)
}

fn flow(instruction: &Instruction) -> Flow {
    match instruction.flow_control() {
        FlowControl::Next => Flow::Next,
        FlowControl::Return => Flow::Return,
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
            Flow::Branch(instruction.near_branch_target())
        }
        FlowControl::Call | FlowControl::IndirectCall => Flow::Call(called(instruction)),
        _ => Flow::Elsewhere,
    }
}

fn called(instruction: &Instruction) -> Option<Called> {
    match instruction.code() {
        Code::Call_rel32_64 => Some(Called::Address(instruction.near_branch64())),
        Code::Call_rm64 if instruction.is_ip_rel_memory_operand() => {
            Some(Called::Slot(instruction.ip_rel_memory_address()))
        }
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the probe at the beginning of this code goes, from its start.
    fn entry(code: &[u8]) -> Option<(u64, bool)> {
        const AT: u64 = 0x1000;
        super::super::entry(&steps(code, AT)?, AT).map(|step| (step.address - AT, step.is_emulated))
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
