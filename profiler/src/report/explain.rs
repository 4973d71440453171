//! `wsgi-trace explain [ID]`: the catalogue of findings, for a terminal.
//!
//! In: an id, or none; how wide a line may be. Out: its page with the limits in force, or the list of all; a
//! pure function.

use profiler_core::finding::threshold::{Threshold, Thresholds};
use profiler_core::finding::{RULES, Rule};

use super::text::page::wrap;

/// Columns that no line of what the command prints exceeds.
pub const COLUMNS: usize = 96;

/// Why nothing can be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// No finding has this id.
    #[error("no finding is called {id:?}{hint}; the findings are: {known}")]
    Unknown {
        /// What was asked for.
        id: String,
        /// A question for the closest id, or nothing.
        hint: String,
        /// All ids, separated by commas.
        known: String,
    },
}

/// The page of a finding, or the list of findings; lines of at most so many columns.
///
/// # Errors
/// [`ExplainError::Unknown`] if no finding has this id.
pub fn explain(id: Option<&str>, columns: usize) -> Result<String, ExplainError> {
    let Some(id) = id else { return Ok(list()) };
    let rule = RULES.iter().find(|rule| rule.id == id).ok_or_else(|| unknown(id))?;
    Ok(page(rule, &Thresholds::default().table(), columns))
}

fn unknown(id: &str) -> ExplainError {
    let asked = id.to_ascii_lowercase().replace(['_', ' '], "-");
    let shares_word = |known: &str| asked.split('-').any(|word| word.len() > 2 && known.contains(word));
    let close = RULES.iter().find(|rule| rule.id == asked).or(RULES.iter().find(|rule| shares_word(rule.id)));
    ExplainError::Unknown {
        id: id.chars().take(60).collect(),
        hint: close.map(|rule| format!(" (did you mean {}?)", rule.id)).unwrap_or_default(),
        known: RULES.iter().map(|rule| rule.id).collect::<Vec<_>>().join(", "),
    }
}

fn list() -> String {
    let width = RULES.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut text = String::from("Findings that wsgi-trace looks for:\n\n");
    for rule in RULES {
        text.push_str(&format!("  {:width$}  {}\n", rule.id, rule.title));
    }
    text.push_str("\nwsgi-trace explain ID says what one means, what to do and how it is measured.\n");
    text
}

/// A page without its markup, with the limits as they are.
fn page(rule: &Rule, thresholds: &[Threshold], columns: usize) -> String {
    let mut text = String::new();
    let mut block = String::new();
    for line in rule.page.lines().chain([""]) {
        let heading = line.trim_start_matches('#').trim_start();
        if line.is_empty() || line.starts_with("- ") || line.starts_with('#') {
            flush(&mut text, &mut block, columns);
        }
        if line.starts_with("# ") {
            text.push_str(&format!("{heading}: {}\n\n", rule.title));
        } else if line.starts_with("## ") {
            separate(&mut text);
            text.push_str(&format!("{}\n", heading.to_uppercase()));
            if heading == "Thresholds" {
                limits(&mut text, rule, thresholds, columns);
            }
        } else if line.is_empty() {
            separate(&mut text);
        } else if !line.starts_with('|') {
            block.push_str(line.trim_start_matches("> ").trim_start());
            block.push(' ');
        }
    }
    format!("{}\n", text.trim_end())
}

/// An empty line between paragraphs; none after a heading, none twice.
fn separate(text: &mut String) {
    let follows_text = text.lines().next_back().is_some_and(|line| line.starts_with(' '));
    if follows_text {
        text.push('\n');
    }
}

/// The limits that a rule uses, each with its value and why.
fn limits(text: &mut String, rule: &Rule, thresholds: &[Threshold], columns: usize) {
    for threshold in thresholds.iter().filter(|threshold| threshold.serves(rule.id)) {
        text.push_str(&format!("  {} = {}\n", threshold.name, threshold.unit.show(threshold.value)));
        paragraph(text, threshold.why, "      ", columns);
    }
}

/// Writes the gathered paragraph or list item, if there is one.
fn flush(text: &mut String, block: &mut String, columns: usize) {
    let plain = without_markup(block);
    match plain.strip_prefix("- ") {
        Some(item) => paragraph(text, item, "  - ", columns),
        None => paragraph(text, &plain, "  ", columns),
    }
    block.clear();
}

/// Words as lines, the first behind `first`, the others under them.
fn paragraph(text: &mut String, words: &str, first: &str, columns: usize) {
    let mut before = first.to_owned();
    for line in wrap(words, columns.saturating_sub(first.len()).max(1)) {
        text.push_str(&format!("{before}{line}\n"));
        before = " ".repeat(first.len());
    }
}

/// Text without emphasis, code marks and the targets of links.
fn without_markup(block: &str) -> String {
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
    fn every_page_fits_the_terminal_and_has_no_markup_left() {
        for (rule, width) in RULES.iter().flat_map(|rule| [(rule, COLUMNS), (rule, 79)]) {
            let text = explain(Some(rule.id), width).unwrap();
            assert!(text.starts_with(&format!("{}: ", rule.id)));
            assert!(!text.contains("\n\n\n"), "{text}");
            for line in text.lines() {
                let is_text = line.starts_with("  ");
                assert!(!is_text || line.chars().count() <= width, "{}: {line}", rule.id);
                assert!(line.chars().count() <= COLUMNS, "{}: {line}", rule.id);
                assert!(!line.contains("](") && !line.contains('`') && !line.contains("**"), "{line}");
                assert!(!line.starts_with('|') && !line.starts_with('#'), "{line}");
            }
        }
    }

    #[test]
    fn every_word_of_a_page_outside_its_table_is_printed() {
        for rule in RULES {
            let text = explain(Some(rule.id), COLUMNS).unwrap().to_lowercase();
            let printed: Vec<&str> = text.split_whitespace().collect();
            for line in rule.page.lines().filter(|line| !line.starts_with('|') && !line.contains("](")) {
                for word in without_markup(line).to_lowercase().split_whitespace() {
                    let word = word.trim_start_matches(['#', '>', '-']);
                    assert!(
                        word.is_empty() || printed.iter().any(|p| p.contains(word)),
                        "{}: {word}",
                        rule.id
                    );
                }
            }
        }
    }

    #[test]
    fn a_page_prints_each_limit_of_its_rule_once_with_its_value() {
        for rule in RULES {
            let text = explain(Some(rule.id), COLUMNS).unwrap();
            for threshold in Thresholds::default().table() {
                let stated = format!("  {} = {}\n", threshold.name, threshold.unit.show(threshold.value));
                let wanted = usize::from(threshold.serves(rule.id));
                assert_eq!(text.matches(&stated).count(), wanted, "{}: {stated}", rule.id);
            }
        }
    }

    #[test]
    fn without_an_id_all_findings_are_listed() {
        let text = explain(None, COLUMNS).unwrap();
        for rule in RULES {
            assert!(text.contains(&format!("  {}", rule.id)) && text.contains(rule.title));
        }
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
    }

    #[test]
    fn an_unknown_id_is_refused_with_the_closest_and_all_known() {
        let error = explain(Some("slow_clients"), COLUMNS).unwrap_err().to_string();
        assert!(error.contains("did you mean slow-clients?") && error.contains("cpu-throttled"), "{error}");
        let error = explain(Some("\u{1b}[2J"), COLUMNS).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && !error.contains("did you mean"), "{error}");
    }

    #[test]
    fn links_emphasis_and_code_marks_are_taken_off() {
        assert_eq!(without_markup("see [a](b.md), **c** and `d` *e*"), "see a, c and d e");
        assert_eq!(without_markup("no link](here"), "no link](here");
    }
}
