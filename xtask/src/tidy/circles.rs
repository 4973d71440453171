//! The order of the stages within a folder of modules: arrows point one way, and there is no circle.
//!
//! In: the tree; each stage is a folder there. Out: imports against the order, circles, modules without a
//! stage.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{code_lines, paths_under};
use super::{File, Offence};

/// A folder of modules in stages. A module is named with its stage, as in `wire::request`.
struct House<'a> {
    /// The folder, with a slash at its end.
    folder: &'a str,
    /// The path of its module in its crate.
    path: &'a str,
    /// The stages, lowest first: a module may import those of its own stage and of stages before it.
    stages: &'a [&'a str],
}

const HOUSES: &[House<'static>] = &[MACHINE];

/// The core: what there is, who waited for the interpreter lock, what threads did, what went over
/// connections, for whom; the join of these, and what is reported of it.
const MACHINE: House<'static> = House {
    folder: "profiler/core/src/machine/",
    path: "machine",
    stages: &["world", "lock", "time", "wire", "runtime", "join", "ledger", "chain", "product", "driver"],
};

/// Who imports whom within a folder, with the place of the first such import.
type Arrows = BTreeMap<(String, String), String>;

impl House<'_> {
    /// The stage of a module, by its place in the order.
    fn stage(&self, module: &str) -> Option<usize> {
        let of_module = module.split("::").next();
        self.stages.iter().position(|stage| Some(*stage) == of_module)
    }

    /// The module that a path within the folder is of; `None`: it only names a stage.
    fn module(path: &[&str]) -> Option<String> {
        Some(path.get(..2)?.join("::"))
    }

    fn arrows(&self, files: &[File]) -> Arrows {
        let own: Vec<(&File, Vec<&str>)> = files
            .iter()
            .filter(|file| !file.is_unit_tests())
            .filter_map(|file| {
                let inner = file.path.strip_prefix(self.folder)?.strip_suffix(".rs")?;
                Some((file, inner.split('/').collect()))
            })
            .collect();
        let modules: BTreeSet<String> = own.iter().filter_map(|(_, place)| Self::module(place)).collect();
        let mut arrows = Arrows::new();
        for (file, place) in &own {
            let Some(from) = Self::module(place) else { continue };
            let lines = code_lines(&file.text);
            let of_crate = paths_under(&lines, &format!("crate::{}", self.path)).into_iter();
            let above =
                paths_under(&lines, "super").into_iter().map(|(line, path)| (line, beside(place, &path)));
            for (line, path) in of_crate.chain(above) {
                let path: Vec<&str> = path.split("::").collect();
                let to = Self::module(&path).filter(|to| *to != from && modules.contains(to));
                let Some(to) = to else { continue };
                arrows.entry((from.clone(), to)).or_insert_with(|| format!("{}:{line}", file.path));
            }
        }
        arrows
    }

    /// Whether an import points from a stage to one that comes after it.
    fn points_up(&self, from: &str, to: &str) -> bool {
        self.stage(from) < self.stage(to)
    }

    fn offences(&self, files: &[File]) -> Vec<Offence> {
        let arrows = self.arrows(files);
        let mut offences = self.without_stage(files);
        for ((from, to), at) in arrows.iter().filter(|((from, to), _)| self.points_up(from, to)) {
            offences.push(format!("{at}: {from} imports {to}, whose stage comes after its own"));
        }
        let all = arrows.keys().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        for circle in circles(&all) {
            offences.push(format!("{}: a circle of imports: {}", self.folder, circle.join(", ")));
        }
        offences
    }

    /// Modules that stand in no stage's folder.
    fn without_stage(&self, files: &[File]) -> Vec<Offence> {
        let name = |file: &File| Some(file.path.strip_prefix(self.folder)?.strip_suffix(".rs")?.to_owned());
        let has_none = |name: &String| {
            let stage = name.split('/').next().unwrap_or_default();
            !self.stages.contains(&stage)
        };
        let found = files.iter().filter_map(name).filter(has_none);
        found.map(|name| format!("{}{name}.rs: stands in no stage", self.folder)).collect()
    }
}

/// A path under `super::` of the module at `place`, as one within the folder.
pub(super) fn beside(place: &[&str], path: &str) -> String {
    let mut above = place.len().saturating_sub(1);
    let mut path = path;
    while let Some(further) = path.strip_prefix("super::") {
        above = above.saturating_sub(1);
        path = further;
    }
    let mut whole: Vec<&str> = place.iter().take(above).copied().collect();
    whole.push(path);
    whole.join("::")
}

/// All that can be reached from a module.
fn reaches<'a>(arrows: &BTreeSet<(&'a str, &'a str)>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for (_, to) in arrows.range((module, "")..).take_while(|(from, _)| *from == module) {
            if found.insert(*to) {
                open.push(to);
            }
        }
    }
    found
}

/// The strongly connected components of more than one module.
pub(super) fn circles<'a>(arrows: &BTreeSet<(&'a str, &'a str)>) -> Vec<Vec<&'a str>> {
    let modules: BTreeSet<&str> = arrows.iter().map(|(from, _)| *from).collect();
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        modules.iter().map(|module| (*module, reaches(arrows, module))).collect();
    let reaches = |from: &str, to: &str| reach.get(from).is_some_and(|found| found.contains(to));
    let mut left = modules.clone();
    let mut circles = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut circle = vec![first];
        circle.extend(left.iter().copied().filter(|other| reaches(first, other) && reaches(other, first)));
        if circle.len() > 1 {
            left.retain(|module| !circle.contains(module));
            circles.push(circle);
        }
    }
    circles
}

/// Every import against the order of its folder.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    HOUSES.iter().flat_map(|house| house.offences(files)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const HOUSE: House<'static> =
        House { folder: "core/src/machine/", path: "machine", stages: &["low", "high"] };

    fn tree(texts: [&str; 4]) -> Vec<File> {
        let names = ["low/a", "low/b", "high/c", "high/state"];
        let named = names.iter().zip(texts);
        named.map(|(name, text)| file(&format!("core/src/machine/{name}.rs"), text)).collect()
    }

    #[test]
    fn an_import_down_or_beside_is_allowed_and_one_up_is_named_with_its_line() {
        let down = tree([
            "",
            "use super::a::X;",
            "use crate::machine::low::{a, b::Y};",
            "use crate::machine::{high::c, low::a::X};",
        ]);
        assert_eq!(HOUSE.offences(&down), Vec::<Offence>::new());
        for up in ["\nuse crate::machine::high::c::Z;", "\nlet z = super::super::high::c::z();"] {
            let offences = HOUSE.offences(&tree([up, "", "", ""]));
            let is_named = |offence: &Offence| {
                offence.starts_with("core/src/machine/low/a.rs:2: low::a imports high::c")
            };
            assert!(offences.len() == 1 && offences.iter().all(is_named), "{offences:?}");
        }
    }

    #[test]
    fn a_circle_within_a_stage_is_one() {
        let offences = HOUSE.offences(&tree(["use super::b;", "use super::a;", "", ""]));
        assert!(
            offences.len() == 1 && offences.iter().all(|o| o.ends_with("low::a, low::b")),
            "{offences:?}"
        );
    }

    #[test]
    fn a_file_below_a_module_is_of_that_module() {
        let mut files = tree(["", "", "", ""]);
        let text = "use super::X;\nuse super::super::b;\nuse crate::machine::high::c;\n";
        files.push(file("core/src/machine/low/a/deep.rs", text));
        let offences = HOUSE.offences(&files);
        let is_named = |offence: &Offence| {
            offence.starts_with("core/src/machine/low/a/deep.rs:3: low::a imports high::c")
        };
        assert!(offences.len() == 1 && offences.iter().all(is_named), "{offences:?}");
    }

    #[test]
    fn each_module_stands_in_a_stage() {
        let mut files = tree(["", "", "", ""]);
        files.push(file("core/src/machine/low.rs", "pub mod a;"));
        files.push(file("core/src/machine/d.rs", ""));
        files.push(file("core/src/machine/middle/e.rs", ""));
        assert_eq!(HOUSE.offences(&files).len(), 2);
    }
}
