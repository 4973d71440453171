//! How waits for an interpreter's lock are seen, and with which probes: a pure function of what is wanted and
//! what the interpreter's file allows.
//!
//! In: [`Wanted`], the machine code that takes the lock, the C library. Out: [`Choice`].

use crate::fact::python::take_gil::{NotFound, ProbePoint, TakeGil};

/// What the user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The way.
    pub mode: Mode,
    /// Probe points that the kernel must single-step are taken as well.
    pub single_step: bool,
    /// The holder's frames are read as waits begin.
    pub stacks: bool,
}

/// The ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By what the interpreter allows.
    #[default]
    Auto,
    /// System calls alone.
    SystemCalls,
    /// With probes where a thread is about to wait.
    Uprobes,
    /// With probes where every attempt begins and ends.
    Full,
    /// By the address of what threads sleep on: light mode.
    Sleeps,
    /// Not at all.
    Off,
}

impl Mode {
    /// As `--gil` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::SystemCalls => "syscalls",
            Self::Uprobes => "uprobes",
            Self::Full => "full",
            Self::Sleeps => "sleeps",
            Self::Off => "off",
        }
    }
}

/// Costs of a probe on this machine's kind of processor, in nanoseconds: an instruction that the kernel
/// carries out itself, and one that it steps. (Measured in a virtual machine; bare metal steps for less.)
const EMULATED_NS: u64 = 700;
const STEPPED_NS: u64 = 10_000;

/// A program of the object and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name in the attach table.
    pub program: &'static str,
    /// Its place.
    pub point: ProbePoint,
}

/// What was chosen for one interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The way it came to; never `Auto`.
    pub mode: Mode,
    /// Why, as a clause.
    pub reason: String,
    /// Its probes.
    pub probes: Vec<Probe>,
}

/// What is known of an interpreter's file.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// The functions that take the lock.
    pub take_gil: Result<&'a [TakeGil], &'a NotFound>,
    /// The process runs with a C library whose waits are not on the lock's memory (musl).
    pub waits_elsewhere: bool,
    /// Why this kernel gets no probes; `None`: it may.
    pub no_probes: Option<&'a str>,
}

/// What every attempt to take the lock costs with probes at its beginning and end, in nanoseconds.
pub const fn full_price_ns(single_step: bool) -> u64 {
    // The beginning and two mutexes, or the beginning and the return.
    if single_step { EMULATED_NS + STEPPED_NS } else { 3 * EMULATED_NS }
}

/// What is said of the price before anything is attached; `None`: there is none worth a word.
pub fn price(wanted: Wanted) -> Option<String> {
    let price_us = full_price_ns(wanted.single_step) as f64 / 1000.0;
    let stepped = match (wanted.mode, wanted.single_step) {
        (Mode::Full, true) => ", half of a busy server's throughput",
        (Mode::Full, false) => "",
        _ => return None,
    };
    Some(format!(
        "--gil=full: each time a thread takes the GIL, waiting or not, it loses some {price_us:.0} µs{stepped}"
    ))
}

/// Chooses. Whatever is asked for, an interpreter without the probes for it is watched by its system calls.
pub fn choose(wanted: Wanted, code: &Code<'_>) -> Choice {
    let by_calls = |reason: String| Choice { mode: Mode::SystemCalls, reason, probes: Vec::new() };
    let blind = "; its C library waits where system calls do not show the lock, so only waits for the lock's mutex are seen";
    let wants = match wanted.mode {
        Mode::Off => {
            return Choice { mode: Mode::Off, reason: "switched off".to_owned(), probes: Vec::new() };
        }
        Mode::Sleeps => {
            let reason = if code.waits_elsewhere {
                "its C library waits where sleeps do not show the lock"
            } else {
                "sleeps on the lock's memory show their address"
            };
            return Choice { mode: Mode::Sleeps, reason: reason.to_owned(), probes: Vec::new() };
        }
        Mode::SystemCalls => {
            return by_calls(format!("asked for{}", if code.waits_elsewhere { blind } else { "" }));
        }
        Mode::Auto if !code.waits_elsewhere => {
            return by_calls("waits on the lock's memory show in system calls, without a probe".to_owned());
        }
        Mode::Auto => Mode::Uprobes,
        other => other,
    };
    let blind = if code.waits_elsewhere { blind } else { "" };
    if let Some(reason) = code.no_probes {
        return by_calls(format!("{reason}{blind}"));
    }
    let functions = match code.take_gil {
        Ok(functions) => functions,
        Err(reason) => return by_calls(format!("{reason}{blind}")),
    };
    match probes(wants, wanted.single_step, functions) {
        Ok(probes) => {
            let asked =
                if wanted.mode == Mode::Auto { "its C library waits on the stack" } else { "asked for" };
            Choice { mode: wants, reason: asked.to_owned(), probes }
        }
        Err(Refused) => by_calls(format!(
            "its probe points would have to be single-stepped, at some {} µs each time, which --gil-single-step \
             allows{blind}",
            STEPPED_NS / 1000
        )),
    }
}

/// An instruction would have to be stepped.
struct Refused;

fn probes(wants: Mode, single_step: bool, functions: &[TakeGil]) -> Result<Vec<Probe>, Refused> {
    let mut probes = Vec::new();
    for function in functions {
        add(&mut probes, "gil_waits", &function.waits, single_step)?;
        if wants == Mode::Full {
            add(&mut probes, "gil_enters", function.entry.as_slice(), single_step)?;
            let is_exact = single_step && !function.exits.is_empty();
            if is_exact {
                add(&mut probes, "gil_leaves", &function.exits, true)?;
            } else {
                add(&mut probes, "gil_unlocks", &function.unlocks, single_step)?;
            }
        }
    }
    Ok(probes)
}

fn add(
    probes: &mut Vec<Probe>,
    program: &'static str,
    points: &[ProbePoint],
    single_step: bool,
) -> Result<(), Refused> {
    if points.is_empty() || !single_step && points.iter().any(|point| !point.is_emulated) {
        return Err(Refused);
    }
    probes.extend(points.iter().map(|point| Probe { program, point: *point }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(offset: u64, is_emulated: bool) -> ProbePoint {
        ProbePoint { offset, address: 0x40_0000 + offset, is_emulated }
    }

    fn function(entry_is_emulated: bool) -> TakeGil {
        TakeGil {
            entry: Some(point(1, entry_is_emulated)),
            waits: vec![point(2, true)],
            unlocks: vec![point(3, true), point(4, true)],
            exits: vec![point(5, false)],
        }
    }

    fn wanted(mode: Mode, single_step: bool) -> Wanted {
        Wanted { mode, single_step, stacks: false }
    }

    fn chosen(wanted: Wanted, functions: &[TakeGil], waits_elsewhere: bool) -> Choice {
        choose(wanted, &Code { take_gil: Ok(functions), waits_elsewhere, no_probes: None })
    }

    fn programs(choice: &Choice) -> Vec<(&'static str, u64)> {
        choice.probes.iter().map(|probe| (probe.program, probe.point.offset)).collect()
    }

    #[test]
    fn auto_needs_no_probe_where_system_calls_show_the_waits() {
        let choice = chosen(Wanted::default(), &[function(true)], false);
        assert_eq!((choice.mode, choice.probes.len()), (Mode::SystemCalls, 0));
        let choice = chosen(Wanted::default(), &[function(true)], true);
        assert_eq!((choice.mode, programs(&choice)), (Mode::Uprobes, vec![("gil_waits", 2)]));
    }

    #[test]
    fn full_ends_where_the_mutex_is_unlocked_unless_stepping_is_allowed() {
        let choice = chosen(wanted(Mode::Full, false), &[function(true)], false);
        let expected = vec![("gil_waits", 2), ("gil_enters", 1), ("gil_unlocks", 3), ("gil_unlocks", 4)];
        assert_eq!((choice.mode, programs(&choice)), (Mode::Full, expected));
        let choice = chosen(wanted(Mode::Full, true), &[function(false)], false);
        assert_eq!(programs(&choice), [("gil_waits", 2), ("gil_enters", 1), ("gil_leaves", 5)]);
        assert!(full_price_ns(true) > 4 * full_price_ns(false));
        assert!(price(wanted(Mode::Full, true)).is_some_and(|text| text.contains("some 11 µs")));
        assert!(price(wanted(Mode::Full, false)).is_some_and(|text| text.contains("some 2 µs")));
        assert_eq!(price(wanted(Mode::Uprobes, true)), None);
    }

    #[test]
    fn a_probe_point_that_must_be_stepped_is_refused_and_the_reason_names_the_way_out() {
        let choice = chosen(wanted(Mode::Full, false), &[function(false)], false);
        assert_eq!((choice.mode, choice.probes.len()), (Mode::SystemCalls, 0));
        assert!(choice.reason.contains("--gil-single-step"), "{}", choice.reason);
    }

    #[test]
    fn an_interpreter_without_probe_points_is_watched_by_its_system_calls_and_why_is_said() {
        let refused = "this kernel may panic";
        for (waits_elsewhere, no_probes) in [(false, None), (true, None), (true, Some(refused))] {
            let code = Code { take_gil: Err(&NotFound::NoBounds), waits_elsewhere, no_probes };
            let choice = choose(wanted(Mode::Uprobes, false), &code);
            assert_eq!((choice.mode, choice.probes.len()), (Mode::SystemCalls, 0));
            assert_eq!(choice.reason.contains("only waits for the lock's mutex"), waits_elsewhere);
            assert_eq!(choice.reason.contains(refused), no_probes.is_some());
        }
    }

    #[test]
    fn light_mode_has_no_probe_and_says_where_sleeps_do_not_show_the_lock() {
        for waits_elsewhere in [false, true] {
            let choice = chosen(wanted(Mode::Sleeps, false), &[function(true)], waits_elsewhere);
            assert_eq!((choice.mode, choice.probes.len()), (Mode::Sleeps, 0));
            assert_eq!(choice.reason.contains("do not show"), waits_elsewhere);
        }
    }

    #[test]
    fn off_has_no_probe_whatever_is_there() {
        let choice = chosen(wanted(Mode::Off, true), &[function(true)], true);
        assert_eq!((choice.mode, choice.probes.len()), (Mode::Off, 0));
    }
}
