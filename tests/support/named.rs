//! Whether a report names what a leaf is about: which file, whose process, in which state.
//!
//! In: marks of the declared object, the report's leaves. Out: which of the marks are not there. How a report
//! writes an object is its own affair: a mark is looked for as a word anywhere in a leaf.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A mark is there where leaves that name it have this share of the kind's time.
const NAMED: f64 = 0.5;

/// Something that a report must say of the object.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// What it is, for messages.
    what: String,
    /// Any of these is it.
    words: Vec<String>,
}

impl Mark {
    /// One that any of these words is.
    pub fn new(what: &str, words: &[&str]) -> Self {
        Self { what: what.to_owned(), words: words.iter().map(|&word| word.to_owned()).collect() }
    }

    /// A process by its PID.
    pub fn process(pid: u32) -> Self {
        Self { what: "process".to_owned(), words: vec![pid.to_string()] }
    }

    /// Whether a leaf says it, whose text this is.
    pub fn is_in(&self, text: &str) -> bool {
        self.words.iter().any(|word| has_word(text, word))
    }
}

/// Marks that are not said; `leaves`: what each of the declared kind says, and how long it is held.
pub fn missing(marks: &[Mark], leaves: &[(&str, f64)]) -> Vec<String> {
    let all: f64 = leaves.iter().map(|leaf| leaf.1).sum();
    let named = |mark: &Mark| leaves.iter().filter(|leaf| mark.is_in(leaf.0)).map(|leaf| leaf.1).sum::<f64>();
    let is_missing = |mark: &&Mark| all <= 0.0 || named(mark) < all * NAMED;
    marks.iter().filter(is_missing).map(|mark| format!("{} {}", mark.what, mark.words.join("/"))).collect()
}

/// All that a leaf of a report's JSON says but one example: there is more than the object in it.
pub fn text(leaf: &serde_json::Map<String, Value>) -> String {
    let parts = leaf.iter().filter(|(key, _)| *key != "example");
    parts.map(|(key, value)| format!("{key}: {value}\n")).collect()
}

/// Whether the word stands there, and is no part of another.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |of: Option<char>| of.is_some_and(|of| of.is_alphanumeric() || of == '_');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + word.len()..));
        let before = before.and_then(|before| before.chars().next_back());
        !is_part(before) && !is_part(after.and_then(|after| after.chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_word_in_half_of_the_time_at_least() {
        let marks = [Mark::process(123), Mark::new("path", &["abcdef"])];
        let (all, other) = (r#"{"path": "/a/abcdef", "pid": 123}"#, r#"{"path": "/a/abcdefg", "pid": 1234}"#);
        assert!(missing(&marks, &[(all, 5.0), (other, 5.0)]).is_empty());
        assert_eq!(missing(&marks, &[(all, 4.0), (other, 6.0)]), ["process 123", "path abcdef"]);
        assert_eq!(missing(&marks, &[("123 of ABCDEF", 1.0)]), ["path abcdef"]);
        assert_eq!(missing(&marks, &[]).len(), 2);
        assert!(missing(&[], &[]).is_empty());
    }
}
