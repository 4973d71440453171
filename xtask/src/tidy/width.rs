//! Width of the guide: lines that fit a screen, so that a diff shows which sentence changed.
//!
//! In: the Markdown of the tree. Out: offences. Code, tables, and what a chore writes below its mark are not looked at.

use super::{File, Offence};

/// Characters of a line at most.
const MAX: usize = 120;
/// From here on a chore writes the page.
const GENERATED: [&str; 2] = ["<!-- Below: generated", "<!-- table -->"];

/// Every line of prose that is longer.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    files.iter().filter(|file| file.path.ends_with(".md")).flat_map(of_file).collect()
}

/// A page up to the mark below which a chore writes it.
pub(super) fn written_by_hand(text: &str) -> &str {
    let mut lines = text.split_inclusive('\n').scan(0, |next, line| {
        let start = std::mem::replace(next, *next + line.len());
        Some((start, line))
    });
    let mark = lines.find(|(_, line)| GENERATED.iter().any(|mark| line.starts_with(mark)));
    text.get(..mark.map_or(text.len(), |(start, _)| start)).unwrap_or(text)
}

fn of_file(file: &File) -> Vec<Offence> {
    let mut in_block = false;
    let mut offences = Vec::new();
    for (index, line) in written_by_hand(&file.text).lines().enumerate() {
        let text = line.trim_start();
        in_block ^= text.starts_with("```");
        let width = line.chars().count();
        if width > MAX && !in_block && !text.starts_with('|') {
            offences.push(format!("{}:{}: {width} characters, more than {MAX}", file.path, index + 1));
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Offence> {
        offences(&[File { path: "docs/a.md".to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn long_lines_of_prose_are_offences_and_code_tables_and_what_chores_write_are_not() {
        let long = "word ".repeat(25);
        assert_eq!(of(&format!("first\n{long}\n")), ["docs/a.md:2: 125 characters, more than 120"]);
        assert_eq!(of(&format!("```sh\n{long}\n```\n| {long} |\n")), Vec::<Offence>::new());
        for mark in GENERATED {
            assert_eq!(of(&format!("{mark}\n{long}\n")), Vec::<Offence>::new());
        }
        assert_eq!(of(&"ä".repeat(120)), Vec::<Offence>::new(), "characters, not bytes");
    }
}
