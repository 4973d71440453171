//! Length of sentences in the guide: one thought each, so that a tired person reads none of them twice.
//!
//! In: the Markdown of the tree. Out: offences. Headings, tables, code, quotations (what the program prints),
//! the changelog, and what a chore writes below its mark are not looked at.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{File, Offence, width};

/// Words of a sentence at most.
const MAX: usize = 25;
/// Words of a sentence that an offence names.
const NAMED: usize = 6;
/// Words with a full stop that end no sentence.
const ABBREVIATIONS: [&str; 5] = ["e.g.", "i.e.", "vs.", "cf.", "approx."];
/// What may stand around a word.
const AROUND: [char; 8] = ['(', ')', '[', ']', '"', '“', '”', '’'];

/// Every sentence that is longer.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let is_guide = |file: &&File| file.path.ends_with(".md") && file.path != "CHANGELOG.md";
    files.iter().filter(is_guide).flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (position, paragraph) in paragraphs(width::written_by_hand(&file.text)) {
        for sentence in sentences(&paragraph).into_iter().filter(|words| words.len() > MAX) {
            let line = file.text.get(..position).unwrap_or_default().matches('\n').count() + 1;
            let begins: Vec<&str> = sentence.iter().take(NAMED).copied().collect();
            let (path, words, begins) = (&file.path, sentence.len(), begins.join(" "));
            offences
                .push(format!("{path}:{line}: {words} words in one sentence, more than {MAX}: {begins} …"));
        }
    }
    offences
}

/// Paragraphs and list items of prose, each with where it begins; a piece of code in one is one word.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut paragraphs = vec![(0, String::new())];
    let mut skipped = 0_usize;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(
                Tag::Heading { .. } | Tag::Table(_) | Tag::CodeBlock(_) | Tag::BlockQuote(_) | Tag::HtmlBlock,
            ) => skipped += 1,
            Event::End(
                TagEnd::Heading(_)
                | TagEnd::Table
                | TagEnd::CodeBlock
                | TagEnd::BlockQuote(_)
                | TagEnd::HtmlBlock,
            ) => skipped = skipped.saturating_sub(1),
            Event::Start(Tag::Paragraph | Tag::Item | Tag::List(_)) | Event::End(TagEnd::Item) => {
                paragraphs.push((range.start, String::new()));
            }
            Event::Text(_) | Event::Code(_) | Event::SoftBreak | Event::HardBreak if skipped == 0 => {
                let Some((_, paragraph)) = paragraphs.last_mut() else { continue };
                match event {
                    Event::Text(text) => paragraph.push_str(&text),
                    Event::Code(_) => paragraph.push_str("code"),
                    _ => paragraph.push(' '),
                }
            }
            _ => {}
        }
    }
    paragraphs
}

/// The words of each sentence. Signs alone (`%`, `→`) are no words.
fn sentences(paragraph: &str) -> Vec<Vec<&str>> {
    let mut sentences = vec![Vec::new()];
    for token in paragraph.split_whitespace() {
        if let Some(sentence) = sentences.last_mut().filter(|_| token.contains(char::is_alphanumeric)) {
            sentence.push(token);
        }
        let bare = token.trim_matches(AROUND);
        if bare.ends_with(['.', '!', '?']) && !ABBREVIATIONS.contains(&bare.to_lowercase().as_str()) {
            sentences.push(Vec::new());
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn of(text: &str) -> Vec<Offence> {
        offences(&[file("docs/a.md", text)])
    }

    #[test]
    fn sentences_end_at_full_stops_and_not_at_numbers_or_abbreviations() {
        for (text, words) in [
            ("One two. Three four five.", &[2, 3][..]),
            ("It takes 1.5 s (Linux 6.3 and later). Then? Yes!", &[8, 1, 1]),
            ("All of it (91 %). The rest.", &[4, 2]),
            ("(A sentence of its own.) \"Another one.\" The third", &[5, 2, 2]),
            ("Servers, e.g. gunicorn, in wsgi.py: one; two – three.", &[8]),
            ("first, then", &[2]),
        ] {
            let counted: Vec<usize> =
                sentences(text).iter().map(Vec::len).filter(|words| *words > 0).collect();
            assert_eq!(counted, words, "{text}");
        }
    }

    #[test]
    fn a_long_sentence_is_found_in_paragraphs_and_items_with_the_line_where_those_begin() {
        let long = "word ".repeat(26);
        assert_eq!(
            of(&format!("# Title\n\nShort.\n\nShort, too. {}\n", long.trim_end())),
            ["docs/a.md:5: 26 words in one sentence, more than 25: word word word word word word …"]
        );
        assert_eq!(of(&format!("- short\n  - {long}\n")).len(), 1);
        assert_eq!(of(&format!("- {long}\n\n  Short.\n")).len(), 1);
        assert!(of(&"word ".repeat(25)).is_empty());
    }

    #[test]
    fn lines_join_items_and_paragraphs_do_not() {
        let half = "word ".repeat(13);
        assert_eq!(of(&format!("{half}\n{half}\n")).len(), 1);
        for apart in ["\n\n", ".\n", "\n- ", "\n1. ", "\n# ", "\n> ", "\n```sh\n", "\n<!-- x -->\n"] {
            assert!(of(&format!("{half}{apart}{half}\n")).is_empty(), "{apart:?}");
        }
        assert!(of(&format!("- {half}\n- {half}\n\n{half}\n")).is_empty());
    }

    #[test]
    fn code_and_the_address_of_a_link_are_no_words_of_their_own() {
        let short = "word ".repeat(20);
        assert!(of(&format!("{short} `a b c d e f` [to b](https://c.example/d/e) **c**.\n")).is_empty());
        assert_eq!(of(&format!("{short} `a b` and [five words in a link](b.md).\n")).len(), 1);
    }

    #[test]
    fn what_the_program_prints_tables_titles_and_what_chores_write_are_not_looked_at() {
        let long = "word ".repeat(30);
        for text in [
            format!("# {long}\n"),
            format!("> {long}\n"),
            format!("```text\n{long}\n```\n"),
            format!("| a |\n|---|\n| {long} |\n"),
            format!("<!-- {long} -->\n"),
            format!("Short.\n\n<!-- table -->\n\n{long}\n"),
        ] {
            assert!(of(&text).is_empty(), "{text}");
        }
        assert!(offences(&[file("CHANGELOG.md", &long), file("a.rs", &long)]).is_empty());
    }
}
