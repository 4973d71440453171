//! Width of the guide, for lines that fit a screen, as of comments, which rustfmt leaves as they are.
//!
//! In: the Markdown and the Rust of the tree. Out: offences. Code, tables, and what a chore writes below its
//! mark are not looked at; nor is a comment of one word, or one with columns.

use super::{File, Offence};

/// Characters of a line at most.
const MAX: usize = 120;
/// Characters of a line with a comment at most.
const MAX_COMMENT: usize = 110;
/// From here on a chore writes the page.
const GENERATED: [&str; 2] = ["<!-- Below: generated", "<!-- table -->"];

/// Every line of prose that is longer.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let comments = files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(comments);
    files.iter().filter(|file| file.path.ends_with(".md")).flat_map(of_file).chain(comments).collect()
}

/// Comments that are wider than code may be (`max_width` of rustfmt.toml).
fn comments(file: &File) -> Vec<Offence> {
    let lines = file.text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    let wide = lines.map(|(index, line)| (index, line, line.chars().count()));
    let has_columns = |line: &str| line.trim_start().contains("  ");
    let is_prose = |line: &str| line.split_whitespace().count() > 2 && !has_columns(line);
    wide.filter(|(_, line, width)| *width > MAX_COMMENT && is_prose(line))
        .map(|(index, _, width)| {
            format!("{}:{}: a comment of {width} characters, more than {MAX_COMMENT}", file.path, index + 1)
        })
        .collect()
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

    #[test]
    fn comments_are_as_wide_as_code_but_for_one_word_and_columns() {
        let of = |text: String| offences(&[File { path: "a.rs".to_owned(), text }]);
        let wide = format!("//! {}", "word ".repeat(25));
        assert_eq!(of(wide), ["a.rs:1: a comment of 129 characters, more than 110"]);
        assert_eq!(of(format!("    // {}", "word ".repeat(20))), Vec::<Offence>::new());
        assert_eq!(of(format!("// begin  end  {}", "word ".repeat(25))), Vec::<Offence>::new());
        assert_eq!(of(format!("// `{}`", "a".repeat(100))), Vec::<Offence>::new());
    }

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
