//! Length of the pages for users: what a tired person opens must be short enough to be read.
//!
//! In: the book's table of contents, the pages of its part *Using it*, the README. Out: pages with too many
//! words. Code is not counted.

use super::{File, Offence};

/// Words of a page at most.
const MAX: usize = 1_500;
/// The book's table of contents, and its part for users.
const SUMMARY: (&str, &str) = ("docs/SUMMARY.md", "# Using it");

/// Every page for users that is longer.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let Some(summary) = files.iter().find(|file| file.path == SUMMARY.0) else { return Vec::new() };
    let pages: Vec<String> = summary
        .text
        .lines()
        .skip_while(|line| *line != SUMMARY.1)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| Some(format!("docs/{}", line.split_once("](")?.1.strip_suffix(')')?)))
        .collect();
    let is_for_users = |file: &&File| file.path == "README.md" || pages.contains(&file.path);
    let long = files.iter().filter(is_for_users).map(|file| (file, words(&file.text)));
    long.filter(|(_, words)| *words > MAX)
        .map(|(file, words)| {
            format!("{}: {words} words, more than {MAX}: cut it, or make two pages of it", file.path)
        })
        .collect()
}

/// Words of prose and of tables.
fn words(text: &str) -> usize {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    });
    prose.flat_map(str::split_whitespace).filter(|word| word.contains(char::is_alphanumeric)).count()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn pages_for_users_are_short_and_others_as_long_as_they_need() {
        let long = "word ".repeat(MAX + 1);
        let summary = "# Using it\n\n- [A](a.md)\n  - [B](b/c.md)\n\n# How it is made\n\n- [D](d.md)\n";
        let of = |path: &str, text: &str| offences(&[file(SUMMARY.0, summary), file(path, text)]);
        for page in ["docs/a.md", "docs/b/c.md", "README.md"] {
            assert_eq!(
                of(page, &long),
                [format!("{page}: 1501 words, more than 1500: cut it, or make two pages of it")]
            );
        }
        assert_eq!(of("docs/d.md", &long), Vec::<Offence>::new());
        assert_eq!(of("docs/a.md", &format!("a\n```sh\n{long}\n```\n| b | - |\n")), Vec::<Offence>::new());
    }
}
