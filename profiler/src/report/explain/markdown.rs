//! Pages of the guide as text for a terminal.
//!
//! In: Markdown, how wide a line may be. Out: wrapped paragraphs and items without markup, two columns in.

use crate::report::text::page::wrap;

/// A part of a page: its heading with its marks, and the lines up to the next heading.
pub(super) type Section<'a> = (&'a str, Vec<&'a str>);

/// The parts of a page, in order.
pub(super) fn sections(page: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in page.lines() {
        if line.starts_with('#') {
            sections.push((line, Vec::new()));
        } else if let Some((_, body)) = sections.last_mut() {
            body.push(line);
        }
    }
    sections
}

/// The words of a heading.
pub(super) fn title(heading: &str) -> &str {
    heading.trim_start_matches('#').trim_start()
}

/// Writes a heading.
pub(super) fn heading(text: &mut String, words: &str) {
    separate(text);
    text.push_str(&format!("{}\n", without_markup(words).to_uppercase()));
}

/// Writes paragraphs and lists; tables are left out.
pub(super) fn prose(text: &mut String, lines: &[&str], columns: usize) {
    let mut block = String::new();
    for line in lines.iter().copied().chain([""]) {
        if line.is_empty() || item(line).is_some() {
            flush(text, &mut block, columns);
        }
        if line.is_empty() {
            separate(text);
        } else if !line.starts_with('|') {
            block.push_str(line.trim_start_matches("> ").trim_start());
            block.push(' ');
        }
    }
}

/// An empty line between paragraphs; none after a heading, none twice.
pub(super) fn separate(text: &mut String) {
    let follows_text = text.lines().next_back().is_some_and(|line| line.starts_with(' '));
    if follows_text {
        text.push('\n');
    }
}

/// The mark of a list item, and what follows it.
fn item(line: &str) -> Option<(&str, &str)> {
    let (mark, words) = line.split_once(' ')?;
    let is_number = mark.strip_suffix('.').is_some_and(|number| number.parse::<u8>().is_ok());
    (mark == "-" || is_number).then_some((mark, words))
}

/// Writes the gathered paragraph or list item, if there is one.
fn flush(text: &mut String, block: &mut String, columns: usize) {
    let plain = without_markup(block);
    match item(&plain) {
        Some((mark, words)) => paragraph(text, words, &format!("  {mark} "), columns),
        None => paragraph(text, &plain, "  ", columns),
    }
    block.clear();
}

/// Words as lines, the first behind `first`, the others under them.
pub(super) fn paragraph(text: &mut String, words: &str, first: &str, columns: usize) {
    let mut before = first.to_owned();
    for line in wrap(words, columns.saturating_sub(first.len()).max(1)) {
        text.push_str(&format!("{before}{line}\n"));
        before = " ".repeat(first.len());
    }
}

/// Text without emphasis, code marks and the targets of links.
pub(super) fn without_markup(block: &str) -> String {
    let marked = block.replace(['`', '*'], "");
    let mut plain = String::with_capacity(marked.len());
    let mut rest = marked.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        let (Some((outside, name)), Some((_target, tail))) = (before.rsplit_once('['), after.split_once(')'))
        else {
            break;
        };
        plain.push_str(outside);
        plain.push_str(name);
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_emphasis_and_code_marks_are_taken_off() {
        assert_eq!(without_markup("see [a](b.md), **c** and `d` *e*"), "see a, c and d e");
        assert_eq!(without_markup("no link](here"), "no link](here");
    }

    #[test]
    fn items_keep_their_marks_and_hang_under_them() {
        let mut text = String::new();
        prose(&mut text, &["- one two", "  three", "1. four", "", "five"], 12);
        assert_eq!(text, "  - one two\n    three\n  1. four\n\n  five\n\n");
    }
}
