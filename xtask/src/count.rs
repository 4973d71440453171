//! `count`: how much code the product is, how much only tests need, and how long the documentation is.
//!
//! In: the tree as git would commit it, or a commit (`--at COMMIT`). Out: a table by folder, words of docs/.

mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command;

/// The product; a folder within another stands before it.
const PRODUCT: [&str; 6] =
    ["profiler-common", "profiler-ebpf", "profiler/core", "profiler/forecast", "profiler", "xtask"];
/// What is counted beside it.
const BESIDE: [&str; 3] = ["lab", "tests", "fuzz"];
/// Folders that only tests need, in any crate.
const ONLY_TESTS: [&str; 3] = ["tests", "examples", "benches"];
/// A folder with more lines of code is opened.
const OPENED_LINES: usize = 4_000;

/// What begins the part of a page that a program writes: from declarations in the code, or by a measurement.
const GENERATED: &str = "<!-- Below: generated ";

/// Sums of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    files: usize,
    code_lines: usize,
    test_lines: usize,
    tests: usize,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.code_lines += other.code_lines;
        self.test_lines += other.test_lines;
        self.tests += other.tests;
    }
}

/// Words of the documentation.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    written: usize,
    measured: usize,
    references: usize,
}

/// Prints the table.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let root = command::root();
    let place = root.join("target/count");
    match std::fs::remove_dir_all(&place) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => std::fs::create_dir_all(place.join("tree"))?,
    }
    let commit = match arguments {
        [] => written_tree(&root, &place.join("index"))?,
        [at, commit] if at == "--at" => commit.clone(),
        _ => bail!("usage: cargo xtask count [--at COMMIT]"),
    };
    let files = extract(&root, &commit, &place)?;
    let rust: Vec<&(String, String)> = files.iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    print!("{}", table(&by_file(&rust)?));
    print!("{}", said(&words(&files)));
    Ok(std::fs::remove_dir_all(place)?)
}

/// The work tree as a tree of git, by an index of its own.
fn written_tree(root: &Path, index: &Path) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| {
        command::output(Command::new("git").current_dir(root).env("GIT_INDEX_FILE", index).args(arguments))
    };
    git(&["read-tree", "HEAD"])?;
    git(&["add", "--all"])?;
    Ok(git(&["write-tree"])?.trim().to_owned())
}

/// Every Rust file and page of a commit, formatted, by path.
fn extract(root: &Path, commit: &str, place: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let (archive, tree) = (place.join("tree.tar"), place.join("tree"));
    let mut git = Command::new("git");
    git.current_dir(root).args(["archive", "--format=tar", "--output"]).arg(&archive).arg(commit);
    command::run(&mut git)?;
    command::run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&tree))?;
    let mut list = Command::new("git");
    list.current_dir(root).args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]);
    let listed = command::output(&mut list)?;
    let paths = listed
        .split_terminator('\0')
        .filter(|path| path.ends_with(".rs") || (path.starts_with("docs/") && path.ends_with(".md")));
    let paths: Vec<&str> = paths.collect();
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.current_dir(&tree).args(["--edition=2024", "--config=max_width=110,use_small_heuristics=Max"]);
    let is_root = |path: &&&str| path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    command::run(rustfmt.args(paths.iter().filter(is_root)))?;
    let read = |path: &str| std::fs::read_to_string(tree.join(path)).with_context(|| path.to_owned());
    paths.into_iter().map(|path| Ok((path.to_owned(), read(path)?))).collect()
}

/// The sums of each file, by path; everything is of tests in files that only tests reach.
fn by_file<'a>(files: &[&'a (String, String)]) -> anyhow::Result<Vec<(&'a str, Sums)>> {
    let mut found = Vec::new();
    let mut only_tests = BTreeSet::new();
    for (path, text) in files {
        let scanned = scan::scan(text).with_context(|| path.clone())?;
        only_tests.extend(scanned.test_modules.iter().map(|module| place_of(path, module)));
        let (code_lines, test_lines) = (scanned.code_lines, scanned.test_lines);
        found.push((path.as_str(), Sums { files: 1, code_lines, test_lines, tests: scanned.tests }));
    }
    for (path, sums) in &mut found {
        let module = Path::new(path.trim_end_matches("/mod.rs").trim_end_matches(".rs"));
        let is_only = module.ancestors().any(|part| only_tests.contains(part.to_string_lossy().as_ref()));
        if is_only || is_beside_source(path) {
            sums.test_lines += std::mem::take(&mut sums.code_lines);
        }
    }
    Ok(found)
}

/// Where the module of a file is, without `.rs`; modules within it are below that.
fn place_of(path: &str, module: &scan::TestModule) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(path) = &module.path {
        return format!("{folder}/{}", path.trim_end_matches("/mod.rs").trim_end_matches(".rs"));
    }
    match file.trim_end_matches(".rs") {
        "lib" | "main" | "mod" => format!("{folder}/{}", module.name),
        stem => format!("{folder}/{stem}/{}", module.name),
    }
}

/// The folder that a file belongs to, and its path there.
fn folder_of(path: &str) -> Option<(&'static str, &str)> {
    let folders = PRODUCT.into_iter().chain(BESIDE);
    folders.into_iter().find_map(|folder| Some((folder, path.strip_prefix(folder)?.strip_prefix('/')?)))
}

/// Integration tests, examples and fuzz targets.
fn is_beside_source(path: &str) -> bool {
    let Some((folder, within)) = folder_of(path) else { return true };
    let first = within.split('/').next().unwrap_or_default();
    matches!(folder, "tests" | "fuzz") || ONLY_TESTS.contains(&first)
}

/// The sums by folder: each of the product, opened where it is large, and what is beside it.
fn table(files: &[(&str, Sums)]) -> String {
    let mut text = row("lines of Rust", ["files", "code", "of tests", "tests"].map(str::to_owned));
    let mut product = Sums::default();
    for folder in PRODUCT {
        let within: Vec<(&str, Sums)> = files
            .iter()
            .filter_map(|(path, sums)| {
                let (of, within) = folder_of(path)?;
                (of == folder).then(|| (within.strip_prefix("src/").unwrap_or(within), *sums))
            })
            .collect();
        product.add(total(&within));
        open(&mut text, folder, 0, &within);
    }
    text.push_str(&sums_row("product (these six)", product));
    for folder in BESIDE {
        let of_folder = files.iter().filter(|(path, _)| folder_of(path).is_some_and(|(of, _)| of == folder));
        let beside = total(&of_folder.copied().collect::<Vec<_>>());
        if beside.files > 0 {
            text.push_str(&sums_row(folder, beside));
        }
    }
    text.push_str(&sums_row("everything", total(files)));
    text
}

/// The row of a folder, and those of the folders within it where it is large.
fn open(text: &mut String, name: &str, depth: usize, files: &[(&str, Sums)]) {
    let all = total(files);
    text.push_str(&sums_row(&format!("{:indent$}{name}", "", indent = 2 * depth), all));
    let folders: BTreeSet<&str> =
        files.iter().filter_map(|(path, _)| Some(path.split_once('/')?.0)).collect();
    if all.code_lines <= OPENED_LINES || folders.is_empty() {
        return;
    }
    let mut parts: BTreeMap<&str, Vec<(&str, Sums)>> = BTreeMap::new();
    for &(path, sums) in files {
        // `x.rs` belongs to the folder `x`.
        let (first, within) = path.split_once('/').unwrap_or((path.trim_end_matches(".rs"), path));
        let part = if folders.contains(first) { first } else { "(files)" };
        parts.entry(part).or_default().push((within, sums));
    }
    for (part, files) in parts {
        open(text, part, depth + 1, &files);
    }
}

fn total(files: &[(&str, Sums)]) -> Sums {
    files.iter().fold(Sums::default(), |mut all, (_, sums)| {
        all.add(*sums);
        all
    })
}

fn sums_row(name: &str, sums: Sums) -> String {
    row(name, [sums.files, sums.code_lines, sums.test_lines, sums.tests].map(|number| number.to_string()))
}

fn row(name: &str, cells: [String; 4]) -> String {
    let cells: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    format!("{name:<26}{cells}\n")
}

/// The words of all pages.
fn words(files: &[(String, String)]) -> Words {
    let mut all = Words::default();
    for (_, page) in files.iter().filter(|(path, _)| path.ends_with(".md")) {
        let count = |text: &str| text.split_whitespace().count();
        let (above, below) = page.split_once(GENERATED).unwrap_or((page, ""));
        let (by, below) = below.split_once('\n').unwrap_or_default();
        all.written += count(above);
        *(if by.starts_with("from ") { &mut all.references } else { &mut all.measured }) += count(below);
    }
    all
}

fn said(words: &Words) -> String {
    let Words { written, measured, references } = words;
    let all = written + measured;
    format!(
        "\nwords in docs/ without generated references: {all} ({written} written, {measured} in tables of \
         measurements); in generated references: {references}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(files: &[(&str, &str)]) -> Vec<(usize, usize)> {
        let files: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let counted = by_file(&files.iter().collect::<Vec<_>>()).unwrap();
        counted.iter().map(|(_, sums)| (sums.code_lines, sums.test_lines)).collect()
    }

    #[test]
    fn files_that_only_tests_reach_are_of_tests() {
        let files = [
            ("xtask/src/main.rs", "mod a;\n#[cfg(test)]\nmod fixture;\n"),
            ("xtask/src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests;\n"),
            ("xtask/src/a/tests.rs", "mod more;\n"),
            ("xtask/src/a/tests/more.rs", "fn b() {}\n"),
            ("xtask/src/fixture/mod.rs", "fn c() {}\n"),
            ("xtask/src/fixtures.rs", "fn d() {}\n"),
        ];
        assert_eq!(sums(&files), [(1, 2), (1, 2), (0, 1), (0, 1), (0, 1), (1, 0)]);
    }

    #[test]
    fn a_path_says_where_a_module_is() {
        let files = [
            ("profiler/src/a.rs", "#[cfg(test)]\n#[path = \"a/cases.rs\"]\nmod tests;\n"),
            ("profiler/src/a/cases.rs", "fn b() {}\n"),
            ("profiler/src/a/tests.rs", "fn c() {}\n"),
        ];
        assert_eq!(sums(&files), [(0, 3), (0, 1), (1, 0)]);
    }

    #[test]
    fn integration_tests_and_examples_are_of_tests() {
        let text = "fn a() {}\n";
        let files = [
            ("profiler/forecast/examples/a.rs", text),
            ("tests/support/lib.rs", text),
            ("profiler/build.rs", text),
        ];
        assert_eq!(sums(&files), [(0, 1), (0, 1), (1, 0)]);
    }

    #[test]
    fn the_product_is_six_folders_and_a_large_one_is_opened() {
        let of = |code_lines| Sums { files: 1, code_lines, ..Sums::default() };
        let files = [
            ("profiler/core/src/machine.rs", of(1)),
            ("profiler/core/src/machine/wire/a.rs", of(4_000)),
            ("profiler/core/src/lib.rs", of(2)),
            ("profiler/src/main.rs", of(3)),
            ("xtask/src/main.rs", of(9)),
            ("lab/src/main.rs", of(7)),
        ];
        let text = table(&files);
        let code = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name)).expect(name);
            line.get(26..).unwrap().split_whitespace().nth(1).unwrap().to_owned()
        };
        let found = ["profiler/core", "machine", "wire", "(files)", "xtask", "product", "lab", "everything"]
            .map(code);
        assert_eq!(found, ["4003", "4001", "4000", "2", "9", "4015", "7", "4022"]);
    }

    #[test]
    fn words_below_a_mark_are_not_written_by_hand() {
        let page = |text: &str| ("docs/a.md".to_owned(), text.to_owned());
        let files = [
            page("one two\n<!-- Below: generated from code. -->\na b c\n"),
            page("three\n<!-- Below: generated by `make lab` from a.json. -->\na b\n"),
        ];
        let words = words(&files);
        assert_eq!(words, Words { written: 3, measured: 2, references: 3 });
    }
}
