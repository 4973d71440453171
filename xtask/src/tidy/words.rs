//! Words that the project no longer uses where people read: each has a plain one.
//!
//! In: Rust sources (comments, and what programs print), and the prose of the guide. Out: offences. The
//! changelog's past is not looked at.

use super::{File, Offence};

/// The old word and the plain one. In two parts, so that this file does not offend.
const WORDS: [(&str, &str, &str); 14] = [
    ("a", "new", "again"),
    ("laid", " to", "attributed to"),
    ("told", " apart", "distinguished"),
    ("time", "-out", "timeout"),
    ("in", " vain", "wasted, or for nothing"),
    ("setting to", " turn", "setting to change"),
    ("per", " cent", "percent"),
    ("told", " from", "distinguished from"),
    ("in", " hand", "in service, or being served"),
    ("lets it", " go on", "resumes it"),
    ("stands", " below", "is below, or follows"),
    ("stands", " beside", "is beside"),
    ("do", " as well", "works too"),
    ("does", " as well", "works too"),
];

/// Every line with an old word.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    files.iter().filter(|file| file.path != "CHANGELOG.md").flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Offence> {
    let (is_guide, is_rust) = (file.path.ends_with(".md"), file.path.ends_with(".rs"));
    if !is_guide && !is_rust {
        return Vec::new();
    }
    let mut in_block = false;
    let mut offences = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let text = line.trim_start();
        let is_fence = text.starts_with("```");
        in_block ^= is_guide && is_fence;
        if in_block {
            continue;
        }
        for (first, last, plain) in WORDS {
            let old = format!("{first}{last}");
            if has_word(&text.to_lowercase(), &old) {
                offences.push(format!("{}:{}: {old}: write {plain}", file.path, index + 1));
            }
        }
    }
    offences
}

/// Whether a text has these letters as whole words.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_letter =
            |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        !is_letter(text.get(..at).and_then(|before| before.chars().next_back()))
            && !is_letter(text.get(at + word.len()..).and_then(|after| after.chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Offence> {
        offences(&[File { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn old_words_are_found_where_people_read_and_whole_words_alone() {
        let old = ["a", "new"].concat();
        for (path, text, count) in [
            ("a.rs", format!("/// It starts {old}."), 1),
            ("a.rs", format!("println!(\"It starts {old}.\");"), 1),
            ("a.rs", format!("let is_{old} = 1;"), 0),
            ("a.rs", "// manewver".to_owned(), 0),
            ("docs/a.md", format!("It starts {old}.\n```\nstarts {old}\n```\n"), 1),
            ("CHANGELOG.md", format!("It starts {old}."), 0),
            ("a.py", format!("# {old}"), 0),
        ] {
            assert_eq!(lines(path, &text).len(), count, "{path}: {text}");
        }
    }
}
