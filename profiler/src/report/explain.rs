//! `wsgi-trace explain [WORD]`: what the words of reports mean, for a terminal.
//!
//! In: a word, or none; how wide a line may be. Out: the page of a finding with the limits in force, or what
//! the guide says of a phase, a leaf, a cause or an alert, or the list of all; a pure function.

mod alert;
mod guide;
mod markdown;
mod table;
mod word;

use profiler_core::finding::threshold::{Thresholds, VERDICT};
use profiler_core::finding::{RULES, Rule};

use markdown::{heading, paragraph, prose, sections, separate, title, without_markup};
use word::{Kind, Word, all, key};

/// Columns that no line of what the command prints exceeds.
pub const COLUMNS: usize = 96;

/// The section of a finding's page before which its limits are printed.
const LIMITS_COME_BEFORE: &str = "What it does not say";

/// Least likeness (Jaro) of what was asked for to a word that is offered for it.
const MIN_LIKENESS: f64 = 0.8;

/// Why nothing can be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// No word is written so.
    #[error(
        "no finding, phase, leaf, verdict, cause or alert is called {word:?}{hint}; wsgi-trace explain lists them"
    )]
    Unknown {
        /// What was asked for.
        word: String,
        /// A question for the closest word, or nothing.
        hint: String,
    },
}

/// What a word means, or all words; lines of at most so many columns.
///
/// # Errors
/// [`ExplainError::Unknown`] if there is no such word.
pub fn explain(word: Option<&str>, columns: usize) -> Result<String, ExplainError> {
    let words = all();
    let Some(asked) = word else { return Ok(list(&words, columns)) };
    let exact = words.iter().find(|word| word.name == asked);
    let word = exact.or_else(|| words.iter().find(|word| word.key() == key(asked)));
    let word = word.ok_or_else(|| unknown(asked, &words))?;
    let mut text = finding(&word.name, columns).unwrap_or_else(|| from_guide(word, columns));
    see_also(&mut text, word, &words, columns);
    Ok(text)
}

/// The page of a finding.
pub fn finding(id: &str, columns: usize) -> Option<String> {
    let rule = RULES.iter().find(|rule| rule.id == id)?;
    Some(page(rule, columns))
}

fn unknown(asked: &str, words: &[Word]) -> ExplainError {
    let wanted = key(asked);
    let likeness = |word: &Word| strsim::jaro(&wanted, &word.key());
    let closest = words.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let asked_words: Vec<&str> = asked.split(['-', '_', ' ']).filter(|part| part.len() > 2).collect();
    let shares_part = |word: &&Word| asked_words.iter().any(|part| word.name.contains(part));
    let close = closest.filter(|word| likeness(word) >= MIN_LIKENESS).or(words.iter().find(shares_part));
    ExplainError::Unknown {
        word: asked.chars().take(60).collect(),
        hint: close.map(|word| format!(" (did you mean {}?)", word.name)).unwrap_or_default(),
    }
}

/// Findings and phases with what they mean, the other words by name.
fn list(words: &[Word], columns: usize) -> String {
    let mut text = String::new();
    let width =
        words.iter().filter(|word| is_listed(word.kind)).map(|word| word.name.len()).max().unwrap_or(0);
    for kind in Kind::ALL {
        let of_kind: Vec<&Word> = words.iter().filter(|word| word.kind == kind).collect();
        separate(&mut text);
        text.push_str(&format!("{}\n\n", kind.heading()));
        if is_listed(kind) {
            for word in of_kind {
                text.push_str(&format!("  {:width$}  {}\n", word.name, word.meaning));
            }
        } else {
            let names: Vec<&str> = of_kind.iter().map(|word| word.name.as_str()).collect();
            paragraph(&mut text, &names.join(", "), "  ", columns);
        }
    }
    text.push_str("\nwsgi-trace explain WORD says what one means and what to do.\n");
    text
}

const fn is_listed(kind: Kind) -> bool {
    matches!(kind, Kind::Finding | Kind::Phase)
}

/// A page without its markup, with the limits as they are.
fn page(rule: &Rule, columns: usize) -> String {
    let mut text = String::new();
    for (mark, body) in sections(rule.page) {
        let words = title(mark);
        if words == LIMITS_COME_BEFORE {
            heading(&mut text, "Thresholds");
            limits(&mut text, |of| of.is_empty() || of.contains(&rule.id), columns);
        }
        if mark.starts_with("# ") {
            text.push_str(&format!("{words}: {}\n\n", rule.title));
        } else {
            heading(&mut text, words);
        }
        prose(&mut text, &body, columns);
    }
    format!("{}\n", text.trim_end())
}

/// The limits of such rules, each with its value and why.
fn limits(text: &mut String, is_such: impl Fn(&[&str]) -> bool, columns: usize) {
    for threshold in Thresholds::default().table().iter().filter(|threshold| is_such(threshold.rules)) {
        text.push_str(&format!("  {} = {}\n", threshold.name, threshold.unit.show(threshold.value)));
        paragraph(text, threshold.why, "      ", columns);
    }
}

/// What the guide says of a word.
fn from_guide(word: &Word, columns: usize) -> String {
    let said = guide::said(word);
    let mut text = format!("{}: {}\n\n", word.name, word.meaning);
    paragraph(&mut text, &format!("{} is {}.", word.name, word.kind.what()), "  ", columns);
    separate(&mut text);
    prose(&mut text, &said.before, columns);
    for cell in &said.cells {
        paragraph(&mut text, cell, "  ", columns);
    }
    for (mark, body) in &said.sections {
        // A section that is called like the word goes on below it.
        match without_markup(title(mark)) == word.name {
            true => separate(&mut text),
            false => heading(&mut text, title(mark)),
        }
        prose(&mut text, body, columns);
    }
    if word.kind == Kind::Verdict {
        heading(&mut text, "Thresholds");
        limits(&mut text, |of| of.is_empty() || of.contains(&VERDICT), columns);
    }
    format!("{}\n", text.trim_end())
}

/// Words that differ from this by a stroke only, and what they are.
fn see_also(text: &mut String, word: &Word, words: &[Word], columns: usize) {
    let others: Vec<&Word> =
        words.iter().filter(|other| other.name != word.name && other.key() == word.key()).collect();
    if others.is_empty() {
        return;
    }
    heading(text, "See also");
    for other in others {
        let says = format!("{} is {}: {}", other.name, other.kind.what(), other.meaning);
        paragraph(text, &says, "  ", columns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_fits_the_terminal_and_has_no_markup_left() {
        for (word, width) in all().iter().flat_map(|word| [(word, COLUMNS), (word, 79)]) {
            let text = explain(Some(&word.name), width).unwrap();
            assert!(text.starts_with(&format!("{}: ", word.name)));
            assert!(!text.contains("\n\n\n"), "{text}");
            for line in text.lines() {
                let is_text = line.starts_with("  ");
                assert!(!is_text || line.chars().count() <= width, "{}: {line}", word.name);
                assert!(line.chars().count() <= COLUMNS, "{}: {line}", word.name);
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
    fn each_limit_is_printed_once_with_its_value_where_it_is_used() {
        let verdict = all().into_iter().find(|word| word.kind == Kind::Verdict).unwrap();
        let of_rules = RULES.iter().map(|rule| (rule.id, rule.id));
        for (word, id) in of_rules.chain([(verdict.name.as_str(), VERDICT)]) {
            let text = explain(Some(word), COLUMNS).unwrap();
            for threshold in Thresholds::default().table() {
                let stated = format!("  {} = {}\n", threshold.name, threshold.unit.show(threshold.value));
                let is_used = threshold.rules.is_empty() || threshold.rules.contains(&id);
                assert_eq!(text.matches(&stated).count(), usize::from(is_used), "{id}: {stated}");
            }
        }
    }

    #[test]
    fn without_a_word_all_are_listed() {
        let text = explain(None, COLUMNS).unwrap();
        for word in all() {
            assert!(text.contains(&word.name), "{}", word.name);
        }
        for rule in RULES {
            assert!(text.contains(&format!("  {}", rule.id)) && text.contains(rule.title));
        }
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
    }

    #[test]
    fn a_phase_says_what_it_is() {
        let phase = explain(Some("accept_queue"), COLUMNS).unwrap();
        assert!(phase.starts_with("accept_queue: in the listener's accept queue\n"), "{phase}");
        assert!(phase.contains("accept_queue is a phase"), "{phase}");
        assert!(phase.contains("no worker has accepted the connection yet"), "{phase}");
    }

    #[test]
    fn a_leaf_says_where_to_look_and_names_the_finding_that_differs_by_a_stroke() {
        let leaf = explain(Some("back_end"), COLUMNS).unwrap();
        for part in ["back_end: back end\n", "Look at: the service on that port", "back-end is a finding"] {
            assert!(leaf.contains(part), "{part:?} is not in {leaf}");
        }
        let finding = explain(Some("back-end"), COLUMNS).unwrap();
        assert!(finding.contains("back_end is a leaf"), "{finding}");
        // What is a phase as well is explained as that.
        assert!(explain(Some("front_end"), COLUMNS).unwrap().contains("front_end is a phase"));
    }

    #[test]
    fn causes_and_alerts_say_what_to_do() {
        for (asked, parts) in [
            (
                "worker_timeout",
                [
                    "Do first: shorten what the named request waits for",
                    "gunicorn's --timeout",
                    "worker-timeouts is a finding",
                ],
            ),
            (
                "WsgiWorkerTimeouts",
                ["Do: give the back end a shorter timeout", "for an hour", "worker-timeouts is a finding"],
            ),
        ] {
            let text = explain(Some(asked), COLUMNS).unwrap();
            let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in parts {
                assert!(unwrapped.contains(part), "{part:?} is not in {text}");
            }
        }
    }

    #[test]
    fn no_word_is_a_heading_below_itself() {
        for word in all() {
            let text = explain(Some(&word.name), COLUMNS).unwrap();
            let again = word.name.to_uppercase();
            assert!(text.lines().skip(1).all(|line| line != again), "{text}");
        }
        let text = explain(Some("WsgiStuck"), COLUMNS).unwrap();
        assert!(text.contains("look at the back end\n\n  Usually a back end"), "{text}");
    }

    #[test]
    fn strokes_and_case_do_not_matter_where_only_one_word_can_be_meant() {
        let page = explain(Some("slow-clients"), COLUMNS);
        for asked in ["slow_clients", "Slow Clients", "slow-client"] {
            assert_eq!(explain(Some(asked), COLUMNS), page, "{asked}");
        }
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_closest() {
        let error = |asked| explain(Some(asked), COLUMNS).unwrap_err().to_string();
        assert!(error("loop-wiat").contains("did you mean loop_wait?"), "{}", error("loop-wiat"));
        assert!(error("slow").contains("did you mean slowest?"), "{}", error("slow"));
        let escape = error("\u{1b}[2J");
        assert!(!escape.contains('\u{1b}') && !escape.contains("did you mean"), "{escape}");
    }
}
