//! Modules side by side in one folder never import one another in a circle; those at the top of a crate stand
//! in an order.
//!
//! In: the tree. Out: circles, imports against the order, modules without a place in it. What a parent gives
//! on by a `pub use` counts as the parent's.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::{beside, circles};
use super::source::{code_lines, paths_under};
use super::{File, Offence};

/// A crate.
struct Crate<'a> {
    /// The folder of its modules, with a slash at its end.
    folder: &'a str,
    /// Its modules, lowest first: each may import those before it. Empty: any order without a circle.
    order: &'a [&'a str],
    /// Folders, as paths of modules, whose own modules another test judges; what is below those is judged
    /// here.
    judged_elsewhere: &'a [&'a str],
}

/// The crates of which more is said than that there is no circle.
const CRATES: &[Crate<'static>] = &[
    Crate {
        folder: "profiler-ebpf/src/",
        order: &[
            "maps",
            "kernel",
            "order",
            "user_memory",
            "lock",
            "preemption",
            "empty",
            "emit",
            "account",
            "cause",
            "stints",
            "frames",
            "stack",
            "waits",
            "timers",
            "task",
            "take",
            "programs",
        ],
        judged_elsewhere: &[],
    },
    Crate {
        folder: "profiler/core/src/",
        order: &[
            "bounded",
            "tls",
            "phase",
            "fact",
            "stream",
            "event",
            "decode",
            "order",
            "model",
            "timeline",
            "redact",
            "loop_kind",
            "rule",
            "server",
            "finding",
            "verdict",
            "machine",
            "pipeline",
        ],
        // Stages, and who takes the state of all: `circles.rs`.
        judged_elsewhere: &["machine"],
    },
    Crate {
        folder: "profiler/forecast/src/",
        order: &[
            "quantiles",
            "bounds",
            "load",
            "competition",
            "setting",
            "outcome",
            "engine",
            "figures",
            "play",
            "capacity",
            "self_forecast",
            "change",
            "search",
        ],
        judged_elsewhere: &[],
    },
    Crate {
        folder: "profiler/src/",
        order: &[
            "output_file",
            "hook",
            "capability",
            "fact",
            "recording",
            "source",
            "attach",
            "report",
            "otlp",
            "cli",
            "session",
            "export",
            "compare",
            "agent",
            "fleet",
            "whatif",
            "now",
            "top",
            "command",
        ],
        judged_elsewhere: &[],
    },
];

/// Imports between modules of one folder, with the place of the first of each.
type Arrows = BTreeMap<(String, String), String>;

impl Crate<'_> {
    /// By folder within the crate, as a path of modules.
    fn arrows(&self, files: &[File]) -> BTreeMap<String, Arrows> {
        let own: Vec<(&File, Vec<&str>)> = files
            .iter()
            .filter(|file| !file.is_unit_tests())
            .filter_map(|file| {
                let inner = file.path.strip_prefix(self.folder)?.strip_suffix(".rs")?;
                let inner = inner.strip_suffix("/mod").unwrap_or(inner);
                Some((file, inner.split('/').collect()))
            })
            .collect();
        let modules: BTreeSet<String> =
            own.iter().flat_map(|(_, place)| (1..=place.len()).map(|end| path_of(place, end))).collect();
        let mut by_folder: BTreeMap<String, Arrows> = BTreeMap::new();
        for (file, place) in &own {
            let lines = code_lines(&file.text);
            let above = paths_under(&lines, "super").into_iter();
            let above = above.map(|(line, path)| (line, beside(place, &path)));
            for (line, path) in paths_under(&lines, "crate").into_iter().chain(above) {
                let to: Vec<&str> = path.split("::").collect();
                let shared = place.iter().zip(&to).take_while(|(one, other)| one == other).count();
                if shared >= place.len() || shared >= to.len() || !modules.contains(&path_of(&to, shared + 1))
                {
                    continue;
                }
                let ends = (place.get(shared), to.get(shared));
                let (Some(from), Some(to)) = ends else { continue };
                let arrows = by_folder.entry(path_of(place, shared)).or_default();
                let at = || format!("{}:{line}", file.path);
                arrows.entry(((*from).to_owned(), (*to).to_owned())).or_insert_with(at);
            }
        }
        by_folder
    }

    fn offences(&self, files: &[File]) -> Vec<Offence> {
        let mut offences = Vec::new();
        for (folder, arrows) in self.arrows(files) {
            if self.judged_elsewhere.contains(&folder.as_str()) {
                continue;
            }
            let all = arrows.keys().map(|(from, to)| (from.as_str(), to.as_str())).collect();
            for circle in circles(&all) {
                offences.push(format!("{}{folder}: a circle of imports: {}", self.folder, circle.join(", ")));
            }
            if folder.is_empty() && !self.order.is_empty() {
                offences.extend(arrows.iter().filter_map(|((from, to), at)| self.against(from, to, at)));
            }
        }
        offences
    }

    /// What is wrong with an import between two modules at the top.
    fn against(&self, from: &str, to: &str, at: &str) -> Option<Offence> {
        let place = |name: &str| self.order.iter().position(|known| *known == name);
        // Both stand above all others.
        if matches!(from, "lib" | "main") {
            return None;
        }
        match (place(from), place(to)) {
            (Some(own), Some(other)) if other < own => None,
            (Some(_), Some(_)) => Some(format!("{at}: {from} imports {to}, which comes after it")),
            (None, _) => Some(format!("{at}: {from} has no place in the order of {}", self.folder)),
            (_, None) => Some(format!("{at}: {to} has no place in the order of {}", self.folder)),
        }
    }
}

fn path_of(place: &[&str], end: usize) -> String {
    place.iter().take(end).copied().collect::<Vec<_>>().join("::")
}

/// The folders that hold the root of a crate, with a slash at their ends; a program and a library may share
/// one.
fn folders(files: &[File]) -> BTreeSet<&str> {
    let paths = files.iter().map(|file| &file.path);
    let folders =
        paths.filter_map(|path| path.strip_suffix("lib.rs").or_else(|| path.strip_suffix("main.rs")));
    folders.filter(|folder| folder.ends_with('/')).collect()
}

/// Every circle, and every import against the order of its crate.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let listed = |folder: &str| CRATES.iter().find(|one| one.folder == folder);
    let judged = |folder| match listed(folder) {
        Some(one) => one.offences(files),
        None => Crate { folder, order: &[], judged_elsewhere: &[] }.offences(files),
    };
    folders(files).into_iter().flat_map(judged).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const CRATE: Crate<'static> =
        Crate { folder: "some/src/", order: &["low", "high"], judged_elsewhere: &["apart"] };

    fn offences(texts: &[(&str, &str)]) -> Vec<Offence> {
        let files: Vec<File> =
            texts.iter().map(|(name, text)| file(&format!("some/src/{name}.rs"), text)).collect();
        CRATE.offences(&files)
    }

    #[test]
    fn imports_down_are_allowed_and_one_up_is_named_with_its_line() {
        assert_eq!(offences(&[("low", ""), ("high", "use crate::low::x;")]), Vec::<Offence>::new());
        let up = offences(&[("low", "\nuse crate::high::Y;"), ("high", "")]);
        assert_eq!(up, ["some/src/low.rs:2: low imports high, which comes after it"]);
        let unplaced = offences(&[("low", ""), ("other", "use crate::low::x;")]);
        assert_eq!(unplaced, ["some/src/other.rs:1: other has no place in the order of some/src/"]);
    }

    #[test]
    fn a_circle_in_any_folder_is_named() {
        let found = offences(&[
            ("high", ""),
            ("high/a", "use super::b::X;"),
            ("high/b", "use super::c;"),
            ("high/c/deep", "use crate::high::{a::Y, d};"),
            ("high/c", ""),
        ]);
        assert_eq!(found, ["some/src/high: a circle of imports: a, b, c"]);
    }

    #[test]
    fn a_parent_that_names_its_children_and_a_child_that_names_its_parent_are_none() {
        let found = offences(&[
            ("high", "use crate::high::a::X;"),
            ("high/a", "use super::Y;\nuse super::super::high::Z;"),
        ]);
        assert_eq!(found, Vec::<Offence>::new());
    }
    #[test]
    fn a_folder_that_another_test_judges_is_left_out_and_what_is_below_it_is_not() {
        let found = offences(&[
            ("apart/a/one", "use crate::apart::b::X;\nuse super::two::Y;"),
            ("apart/a/two", "use super::one::Z;"),
            ("apart/b", "use super::a::W;"),
        ]);
        assert_eq!(found, ["some/src/apart::a: a circle of imports: one, two"]);
    }

    #[test]
    fn every_folder_with_the_root_of_a_crate_is_judged() {
        let names =
            ["one/src/lib.rs", "one/src/main.rs", "tests/two/main.rs", "tests/two/other_main.rs", "three.rs"];
        let files: Vec<File> = names.into_iter().map(|name| file(name, "")).collect();
        assert_eq!(folders(&files).into_iter().collect::<Vec<_>>(), ["one/src/", "tests/two/"]);
        let circle = [("lib", ""), ("a", "use crate::b::X;"), ("b", "use crate::a::Y;")];
        let files: Vec<File> =
            circle.into_iter().map(|(name, text)| file(&format!("new/src/{name}.rs"), text)).collect();
        assert_eq!(super::offences(&files), ["new/src/: a circle of imports: a, b"]);
    }
}
