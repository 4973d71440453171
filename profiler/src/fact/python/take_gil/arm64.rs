//! Machine code of arm64, as far as it is asked: each instruction has 32 bits (Arm Architecture Reference
//! Manual, C4.1).
//!
//! In: bytes, hostile. Out: stubs, calls, and the steps of a function. A call of what a register holds is not
//! followed: compilers make such calls of the C library only with `-fno-plt`.

use std::ops::Range;

use super::{Called, Flow, MAX_CALLS, Machine, Step, Targets};

pub(super) const MACHINE: Machine = Machine { stubs: stubs_in, calls: calls_in, jumps: jumps_in, steps };

/// Bytes of an instruction.
const STEP: u64 = 4;
/// `bti c`: a stub may begin with it.
const BTI_C: u32 = 0xd503_245f;
/// Instructions of a stub (`elfNN_aarch64_small_plt_entry`, bfd/elfnn-aarch64.c): `adrp`, `ldr`, `add`, `br`,
/// after the mark.
const STUB_STEPS: usize = 4;

/// The instructions of `code`, with their addresses.
fn words(code: &[u8], address: u64) -> impl Iterator<Item = (u64, u32)> {
    let words = code.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    (0..)
        .zip(words)
        .map(move |(index, word): (u64, u32)| (address.wrapping_add(index.wrapping_mul(STEP)), word))
}

/// Stubs that jump to what one of `slots` points to.
fn stubs_in(code: &[u8], address: u64, slots: &[u64], stubs: &mut Vec<u64>) {
    let mut before = 0;
    for ((at, page), window) in words(code, address).zip(code.as_chunks().0.windows(STUB_STEPS)) {
        let mut rest = window.iter().skip(1).map(|bytes| u32::from_le_bytes(*bytes));
        let slot = rest.next().and_then(|load| slot(at, page, load));
        if slot.is_some_and(|slot| slots.contains(&slot)) && rest.any(is_jump) {
            stubs.push(if before == BTI_C { at.wrapping_sub(STEP) } else { at });
        }
        before = page;
    }
}

/// The address that `adrp x16, …` at `at` and `ldr x17, [x16, …]` after it load from.
fn slot(at: u64, page: u32, load: u32) -> Option<u64> {
    // Of `ldr`, 64 bits, unsigned offset: the register it goes to and the one that has the base.
    let is_load = load & 0xffc0_0000 == 0xf940_0000 && load >> 5 & 31 == page & 31;
    if page & 0x9f00_0000 != 0x9000_0000 || !is_load {
        return None;
    }
    let pages = signed(page >> 5 & 0x7_ffff, 19) << 2 | i64::from(page >> 29 & 3);
    let offset = u64::from(load >> 10 & 0xfff) * 8;
    (at & !0xfff).checked_add_signed(pages << 12)?.checked_add(offset)
}

/// Addresses at which `code` calls a target.
fn calls_in(code: &[u8], address: u64, targets: &Targets, calls: &mut Vec<u64>) {
    let found = words(code, address)
        .filter(|(at, word)| matches!(flow(*at, *word), Flow::Call(Some(called)) if targets.has(called)));
    let room = (MAX_CALLS + 1).saturating_sub(calls.len());
    calls.extend(found.map(|(at, _)| at).take(room));
}

/// Addresses at which `code` jumps into a stretch.
fn jumps_in(code: &[u8], address: u64, into: &Range<u64>, jumps: &mut Vec<u64>) {
    let leads_there = |at: u64, word: u32| matches!(flow(at, word), Flow::Branch(to) if into.contains(&to));
    let found = words(code, address).filter(|(at, word)| leads_there(*at, *word));
    let room = (MAX_CALLS * MAX_CALLS + 1).saturating_sub(jumps.len());
    jumps.extend(found.map(|(at, _)| at).take(room));
}

/// Every instruction of `code`.
fn steps(code: &[u8], start: u64) -> Option<Vec<Step>> {
    let step = |(address, word)| Step {
        address,
        flow: flow(address, word),
        is_emulated: is_emulated(word),
        // `bti` with any target.
        is_mark: word & 0xffff_ff3f == 0xd503_241f,
    };
    Some(words(code, start).map(step).collect())
}

fn flow(at: u64, word: u32) -> Flow {
    let to = |distance: i64| at.checked_add_signed(distance * STEP as i64);
    let branch = |distance: i64| to(distance).map_or(Flow::Elsewhere, Flow::Branch);
    if word & 0xfc00_0000 == 0x9400_0000 {
        return Flow::Call(to(signed(word & 0x3ff_ffff, 26)).map(Called::Address));
    }
    if is_b(word) {
        return branch(signed(word & 0x3ff_ffff, 26));
    }
    // `bc.cond` is a branch too, of Armv8.8.
    if word & 0xff00_0000 == 0x5400_0000 || is_compare(word) {
        return branch(signed(word >> 5 & 0x7_ffff, 19));
    }
    if is_test(word) {
        return branch(signed(word >> 5 & 0x3fff, 14));
    }
    match word & 0xffff_fc1f {
        0xd63f_0000 => Flow::Call(None),
        0xd65f_0000 => Flow::Return,
        // Other branches to what a register holds, signed ones too; exceptions.
        _ if word & 0xfe00_0000 == 0xd600_0000 || word & 0xff00_0000 == 0xd400_0000 => Flow::Elsewhere,
        _ => Flow::Next,
    }
}

/// What the kernel carries out without stepping: `arm_probe_decode_insn`,
/// arch/arm64/kernel/probes/decode-insn.c, as far as all versions do. Loads of literals are left out (Linux
/// 6.12 took them back), and so is `nop` (new in 6.13).
fn is_emulated(word: u32) -> bool {
    let is_conditional = word & 0xff00_0010 == 0x5400_0000;
    let is_address = word & 0x1f00_0000 == 0x1000_0000;
    let is_call = word & 0xfc00_0000 == 0x9400_0000;
    let by_register = matches!(word & 0xffff_fc1f, 0xd61f_0000 | 0xd63f_0000 | 0xd65f_0000);
    is_conditional || is_address || is_call || by_register || is_b(word) || is_compare(word) || is_test(word)
}

/// `b`.
const fn is_b(word: u32) -> bool {
    word & 0xfc00_0000 == 0x1400_0000
}

/// `cbz` and `cbnz`.
const fn is_compare(word: u32) -> bool {
    word & 0x7e00_0000 == 0x3400_0000
}

/// `tbz` and `tbnz`.
const fn is_test(word: u32) -> bool {
    word & 0x7e00_0000 == 0x3600_0000
}

/// `br`.
const fn is_jump(word: u32) -> bool {
    word & 0xffff_fc1f == 0xd61f_0000
}

/// A number of so many bits, the highest of which is its sign.
fn signed(bits: u32, count: u32) -> i64 {
    let shift = u32::BITS - count;
    i64::from((bits << shift).cast_signed() >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 0x48_0130;

    fn code(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Where the probe at the beginning of this code goes, from its start.
    fn entry(words: &[u32]) -> Option<(u64, bool)> {
        let steps = steps(&code(words), AT)?;
        super::super::entry(&steps, AT).map(|step| (step.address - AT, step.is_emulated))
    }

    const PACIASP: u32 = 0xd503_233f;
    const STP: u32 = 0xa9b5_7bfd;
    /// `adrp x22, 0xa27000` at [`AT`].
    const ADRP: u32 = 0xf000_2d36;
    const BL: u32 = 0x97fe_7fb5;
    const RET: u32 = 0xd65f_03c0;

    /// As GNU as has them, each at [`AT`].
    #[test]
    fn instructions_lead_where_the_assembler_says() {
        for (name, word, expected, is_emulated) in [
            ("bl 0x420030", 0x97fe_7fc0, Flow::Call(Some(Called::Address(0x42_0030))), true),
            ("b 0x48048c", 0x1400_00d7, Flow::Branch(0x48_048c), true),
            ("b.ne 0x4804e0", 0x5400_1d81, Flow::Branch(0x48_04e0), true),
            ("bc.eq 0x480100", 0x54ff_fe90, Flow::Branch(0x48_0100), false),
            ("cbnz x0, 0x480488", 0xb500_1ac0, Flow::Branch(0x48_0488), true),
            ("cbz w0, 0x480100", 0x34ff_fe80, Flow::Branch(0x48_0100), true),
            ("tbz x3, #40, 0x480134", 0xb640_0023, Flow::Branch(0x48_0134), true),
            ("blr x16", 0xd63f_0200, Flow::Call(None), true),
            ("br x17", 0xd61f_0220, Flow::Elsewhere, true),
            ("ret", RET, Flow::Return, true),
            ("retaa", 0xd65f_0bff, Flow::Elsewhere, false),
            ("svc #0", 0xd400_0001, Flow::Elsewhere, false),
            ("adrp x22, 0xa27000", ADRP, Flow::Next, true),
            ("adr x0, 0x480134", 0x1000_0020, Flow::Next, true),
            ("ldr x0, 0x480134", 0x5800_0020, Flow::Next, false),
            ("paciasp", PACIASP, Flow::Next, false),
            ("nop", 0xd503_201f, Flow::Next, false),
        ] {
            assert_eq!((flow(AT, word), super::is_emulated(word)), (expected, is_emulated), "{name}");
        }
    }

    #[test]
    fn a_beginning_is_the_first_cheap_instruction_that_every_attempt_passes_once() {
        assert_eq!(entry(&[PACIASP, STP, ADRP, BL, RET]), Some((8, true)));
        assert_eq!(entry(&[BTI_C, STP, RET, ADRP]), Some((8, true)), "nothing is cheaper than the return");
        assert_eq!(entry(&[BTI_C, STP, 0xd400_0001, ADRP]), Some((4, false)), "not everybody gets there");
        // `cbz w0` back to the cheap one: it is no beginning.
        assert_eq!(entry(&[STP, ADRP, STP, 0x34ff_ffc0]), Some((0, false)));
    }

    #[test]
    fn a_stub_is_known_by_the_pointer_that_it_jumps_to_whatever_mark_it_begins_with() {
        // At 0x420dc0: `adrp x16, 0x9e0000`, `ldr x17, [x16, #3688]`, `add x16, x16, #0xe68`, `br x17`.
        let stub = [0x9000_2e10_u32, 0xf947_3611, 0x9139_a210, 0xd61f_0220];
        let mut stubs = Vec::new();
        stubs_in(&code(&stub), 0x42_0dc0, &[0x9e_0e68], &mut stubs);
        stubs_in(&code(&[&[BTI_C], &stub[..]].concat()), 0x42_0dbc, &[0x9e_0e68], &mut stubs);
        assert_eq!(stubs, [0x42_0dc0, 0x42_0dbc]);
        stubs.clear();
        stubs_in(&code(&stub), 0x42_0dc0, &[0x9e_0e70], &mut stubs);
        assert_eq!(stubs, [0; 0], "another pointer");
        let targets = Targets { direct: vec![0x42_0dc0], slots: Vec::new() };
        let mut calls = Vec::new();
        // At 0x4803b4: `bl 0x420dc0`.
        calls_in(&code(&[STP, 0x97fe_8283]), 0x48_03b0, &targets, &mut calls);
        assert_eq!(calls, [0x48_03b4]);
    }
}
