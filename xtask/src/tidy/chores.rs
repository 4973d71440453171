//! Tests that `make test` leaves out, and the chores that run them.
//!
//! In: the tree. Out: ignored tests that name no chore, or whose program is not among those that the chore
//! runs.

use crate::{dist, fleet, live};

use super::{File, Offence};

/// Folders whose manifests say which file is which test program.
const FOLDERS: [&str; 2] = ["tests", "lab"];

/// A chore and the test programs that it runs with their ignored tests.
const CHORES: &[(&str, &[&str])] = &[
    ("live", &live::PROGRAMS),
    ("live-all", &live::SERVERS),
    ("gil-matrix", &live::GIL_MATRIX),
    ("thousand-clients", &live::THOUSAND_CLIENTS),
    ("dist-test", &dist::PROGRAMS),
    ("fleet", &fleet::PROGRAMS),
];

/// Every ignored test that nothing runs.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let manifest = |folder: &str| files.iter().find(|file| file.path == format!("{folder}/Cargo.toml"));
    let in_folder = |folder| manifest(folder).map_or_else(Vec::new, |file| programs(folder, &file.text));
    let programs: Vec<_> = FOLDERS.into_iter().flat_map(in_folder).collect();
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        for (number, line) in file.text.lines().enumerate() {
            let Some(attribute) = line.trim_start().strip_prefix("#[ignore") else { continue };
            if let Err(why) = is_run(&file.path, attribute, &programs) {
                offences.push(format!("{}:{}: {why}", file.path, number + 1));
            }
        }
    }
    offences
}

/// Whether the chore that an `ignore` names runs the program that the file belongs to.
fn is_run(path: &str, attribute: &str, programs: &[(String, String)]) -> Result<(), String> {
    let reason = attribute.split('"').nth(1).unwrap_or_default();
    let named = reason.strip_prefix("make ").unwrap_or_default();
    let chore = named.split([':', ';', ' ']).next().unwrap_or_default();
    let Some((_, runs)) = CHORES.iter().find(|(name, _)| *name == chore) else {
        return Err(format!("the reason of an ignored test begins with the chore that runs it: {reason:?}"));
    };
    let Some(program) = program_of(path, programs) else {
        return Err("an ignored test of no test program".to_owned());
    };
    if runs.contains(&program) { Ok(()) } else { Err(format!("make {chore} does not run {program}")) }
}

/// Name of each `[[test]]`, and its path in the tree.
fn programs(folder: &str, manifest: &str) -> Vec<(String, String)> {
    let value = |table: &str, key: &str| -> Option<String> {
        let line = table.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches([' ', '=']).trim_matches('"').to_owned())
    };
    let tables = manifest.split("\n[[test]]\n").skip(1);
    tables
        .filter_map(|table| Some((value(table, "name")?, format!("{folder}/{}", value(table, "path")?))))
        .collect()
}

/// The program whose file this is, or in whose directory.
fn program_of<'a>(path: &str, programs: &'a [(String, String)]) -> Option<&'a str> {
    let is_part =
        |of: &str| path == of || of.strip_suffix("main.rs").is_some_and(|place| path.starts_with(place));
    programs.iter().find(|(_, of)| is_part(of)).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn an_ignored_test_needs_a_chore_that_runs_its_program() {
        let manifest = "[lib]\n\n[[test]]\nname = \"truth\"\npath = \"live/truth/main.rs\"\n\n[[test]]\nname = \"harness\"\npath = \"live/harness.rs\"\n";
        let test = |reason: &str| format!("#[test]\n#[ignore = \"{reason}\"]\nfn a() {{}}\n");
        let files = [
            file("tests/Cargo.toml", manifest),
            file("lab/Cargo.toml", "\n[[test]]\nname = \"gil_matrix\"\npath = \"gil_matrix/main.rs\"\n"),
            file("lab/gil_matrix/ending.rs", &test("make gil-matrix")),
            file("tests/live/truth/herd.rs", &test("make live: some seconds")),
            file("tests/live/truth/gil.rs", &test("make nothing")),
            file("tests/live/truth/loops.rs", &test("make gil-matrix")),
            file("tests/live/harness.rs", &test("make live")),
            file("profiler/src/lib.rs", &test("make live")),
            file("tests/live/other.rs", "#[test]\n#[ignore]\nfn a() {}\n"),
        ];
        let offences = offences(&files);
        assert_eq!(offences.len(), 5, "{offences:#?}");
        assert!(offences.iter().all(|offence| !offence.contains("herd")), "{offences:#?}");
    }
}
