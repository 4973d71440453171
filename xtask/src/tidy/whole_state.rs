//! The whole state of the machines: only the driver's files that know the order of the stages see it.
//!
//! In: the tree. Out: functions elsewhere that take it to change it. Each stage is lent what it works on.

use super::source::code_lines;
use super::{File, Offence};

/// Where this holds.
const FOLDER: &str = "profiler/core/src/";
/// The type, as something that may be changed.
const TAKEN: &str = "&mut State";
/// The files of the driver whose methods may have it: the state itself, slices, light slices and their
/// connections' ends, what the kernel reports, what the ledger has settled, what chains are told, ends,
/// windows.
const ORDER: &[&str] = &[
    "profiler/core/src/machine/driver/state.rs",
    "profiler/core/src/machine/driver/serving.rs",
    "profiler/core/src/machine/driver/light.rs",
    "profiler/core/src/machine/driver/light/ending.rs",
    "profiler/core/src/machine/driver/light/lasting.rs",
    "profiler/core/src/machine/driver/evidence.rs",
    "profiler/core/src/machine/driver/publish.rs",
    "profiler/core/src/machine/driver/chains.rs",
    "profiler/core/src/machine/driver/ends.rs",
    "profiler/core/src/machine/driver/unserved.rs",
    "profiler/core/src/machine/driver/hung.rs",
    "profiler/core/src/machine/driver/roll.rs",
];

/// Whether this is the name of the type, and not the beginning of another's.
fn is_whole(after: &str) -> bool {
    !after.starts_with(|character: char| character.is_alphanumeric() || character == '_')
}

/// What a line of code does with the whole state, where it should not.
fn offence(path: &str, line: &str) -> Option<&'static str> {
    let takes = |before: &str| line.split(before).skip(1).any(is_whole);
    if takes(TAKEN) {
        return Some("takes the whole state: let it take the stages that it needs");
    }
    let has_methods = line.strip_prefix("impl State").is_some_and(is_whole);
    (has_methods && !ORDER.contains(&path))
        .then_some("methods of the whole state stand with the driver's order")
}

/// Every function that takes it, and every method of it beside the driver's order.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let is_test = |file: &&File| file.is_unit_tests() || file.path.contains("/tests/");
    let own = files.iter().filter(|file| file.path.starts_with(FOLDER) && file.path.ends_with(".rs"));
    let mut offences = Vec::new();
    for file in own.filter(|file| !is_test(file)) {
        for (number, line) in (1..).zip(code_lines(&file.text)) {
            let found = offence(&file.path, &line);
            offences.extend(found.map(|what| format!("{}:{number}: {what}", file.path)));
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn whoever_takes_the_whole_state_is_named_and_who_takes_a_part_of_it_is_not() {
        for (text, count) in [
            ("fn a(state: &mut State) {}\n", 1),
            ("fn a(\n    state: &mut State,\n) {}\n", 1),
            ("fn a(state: &mut StateOfOne, b: &State) {}\n", 0),
            ("// It is no &mut State.\nfn a(time: &mut Time) {}\n", 0),
            ("#[cfg(test)]\nmod tests {\n    fn a(state: &mut State) {}\n}\n", 0),
        ] {
            for path in ["profiler/core/src/pipeline/a.rs", ORDER[0]] {
                let found = offences(&[file(path, text)]);
                assert_eq!(found.len(), count, "{text}: {found:?}");
            }
            assert_eq!(
                offences(&[file("profiler/core/src/machine/tests/a.rs", text)]),
                Vec::<Offence>::new()
            );
        }
    }

    #[test]
    fn its_methods_stand_with_the_driver_s_order() {
        let text = "impl State {\n    fn a(&mut self) {}\n}\n";
        assert_eq!(offences(&[file(ORDER[1], text)]), Vec::<Offence>::new());
        let expected =
            "profiler/core/src/machine/time/a.rs:1: methods of the whole state stand with the driver's order";
        assert_eq!(offences(&[file("profiler/core/src/machine/time/a.rs", text)]), [expected]);
    }
}
