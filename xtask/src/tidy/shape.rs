//! Size and header of each Rust file.
//!
//! In: the tree. Out: files that are too long, or that do not begin by saying what they are for, take and
//! give.

use super::{File, Offence};

const WARN_LINES: usize = 400;
const FAIL_LINES: usize = 600;

/// Files that should be split soon.
pub(super) fn warnings(files: &[File]) -> Vec<Offence> {
    rust(files)
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| (WARN_LINES + 1..=FAIL_LINES).contains(lines))
        .map(|(file, lines)| format!("{}: {lines} lines, more than {WARN_LINES}", file.path))
        .collect()
}

/// Files that are too long, and headers that are missing or incomplete.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in rust(files) {
        let lines = file.text.lines().count();
        if lines > FAIL_LINES {
            offences.push(format!("{}: {lines} lines, more than {FAIL_LINES}: split it", file.path));
        }
        let header: String = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .map(|line| format!("{line}\n"))
            .collect();
        if header.is_empty() {
            offences.push(format!("{}:1: does not begin with a `//!` header", file.path));
        } else if !file.is_unit_tests() {
            for word in ["In:", "Out:"] {
                if !header.contains(word) {
                    offences.push(format!("{}:1: the header does not say `{}`", file.path, word.trim()));
                }
            }
        }
    }
    offences
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const HEADER: &str = "//! What it is.\n//!\n//! In: a. Out: b.\n";

    #[test]
    fn a_file_without_header_or_without_its_in_and_out_is_named() {
        let files = [
            file("a.rs", "fn a() {}\n"),
            file("b.rs", "//! Only a title.\n"),
            file("c.rs", HEADER),
            file("d.py", "x"),
        ];
        let offences = offences(&files);
        assert_eq!(offences.len(), 3, "{offences:?}");
        assert!(offences.iter().all(|offence| !offence.starts_with("c.rs")));
    }

    #[test]
    fn length_warns_first_and_fails_later() {
        let long = |lines: usize| format!("{HEADER}{}", "\n".repeat(lines - 3));
        let files = [file("a.rs", &long(400)), file("b.rs", &long(401)), file("c.rs", &long(601))];
        assert_eq!(warnings(&files).len(), 1);
        assert_eq!(offences(&files).len(), 1);
    }
}
