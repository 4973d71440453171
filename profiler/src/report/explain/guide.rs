//! What the guide says of a word that has no page of its own: its rows in tables, and sections about it.
//!
//! In: a word. Out: [`Said`], from the pages that people read; the words are nowhere else.

use super::alert;
use super::markdown::{Section, sections, title};
use super::table::rows;
use super::word::{Kind, Word};

const PHASES: &str = include_str!("../../../../docs/phases.md");
const QUESTIONS: &str = include_str!("../../../../docs/questions.md");
const CHAINS: &str = include_str!("../../../../docs/chains.md");
const VERDICT: &str = include_str!("../../../../docs/verdict.md");
const CAUSES: &str = include_str!("../../../../docs/dropped-connections.md");

/// What the guide says of a word.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What stands before the table, where that is part of what a row says.
    pub(super) before: Vec<&'static str>,
    /// Cells of its rows, each behind the heading of its column.
    pub(super) cells: Vec<String>,
    /// Sections that are about it.
    pub(super) sections: Vec<Section<'static>>,
}

/// What the guide says of this word.
pub(super) fn said(word: &Word) -> Said {
    let pages: &[&'static str] = match word.kind {
        Kind::Finding => &[],
        Kind::Phase => &[PHASES, QUESTIONS],
        Kind::State | Kind::Holding => &[PHASES],
        Kind::Leaf => &[CHAINS],
        Kind::Verdict => &[VERDICT],
        Kind::Cause => &[CAUSES],
        Kind::Alert => &alert::PAGES,
    };
    let mut said = Said::default();
    for (heading, body) in pages.iter().flat_map(|page| sections(page)) {
        let row = rows(&body).into_iter().find(|row| row.names.contains(&word.name.as_str()));
        if let Some(row) = row {
            said.cells.extend(row.cells());
            // When alerts of a table fire that has no column for it.
            if word.kind == Kind::Alert {
                said.before = body.iter().copied().take_while(|line| !line.starts_with('|')).collect();
            }
        }
        if about(heading, &word.name) {
            said.sections.push((heading, body));
        }
    }
    said
}

/// Whether a section is about a word: its heading has it.
fn about(heading: &str, name: &str) -> bool {
    title(heading).split([' ', '`']).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::super::word::all;
    use super::*;

    #[test]
    fn the_guide_says_something_of_every_word_without_a_page() {
        for word in all().iter().filter(|word| word.kind != Kind::Finding) {
            let said = said(word);
            assert!(!said.cells.is_empty() || !said.sections.is_empty(), "{word:?}");
        }
    }

    #[test]
    fn a_phase_has_its_row_what_it_waited_for_and_the_questions_about_it() {
        let word = all().into_iter().find(|word| word.name == "loop_wait").unwrap();
        let said = said(&word);
        assert!(
            said.cells.iter().any(|cell| cell.starts_with("The request waited for: the event loop")),
            "{said:?}"
        );
        assert_eq!(said.sections.len(), 2, "{:?}", said.sections);
    }

    #[test]
    fn a_heading_is_about_a_word_that_stands_in_it_whole() {
        assert!(about("### What does accept_queue mean?", "accept_queue"));
        assert!(about("## Much is `unexplained`", "unexplained"));
        assert!(!about("### accept_queue_overflow", "accept_queue"));
    }
}
