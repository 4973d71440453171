//! What recordings gave when that was last looked at, as digests by part; and in words, which part is another
//! now.
//!
//! In: `tests/recordings/digests.json`, and what each recording gives. Out: a sentence for each recording of
//! which something changed. With `INSTA_UPDATE=always`, as for snapshots, the file is written again instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::Value;

use crate::root;

/// Parts of what a recording gives, by what they are parts of: each a digest, or a number that says more.
pub type Parts = BTreeMap<String, BTreeMap<String, Value>>;

/// Those of all recordings.
#[derive(Debug, Default)]
pub struct Digests {
    before: BTreeMap<String, Parts>,
    now: BTreeMap<String, Parts>,
}

impl Digests {
    /// As they were committed.
    ///
    /// # Errors
    ///
    /// Where the file is no JSON of that kind.
    pub fn committed() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path()).unwrap_or_else(|_| "{}".to_owned());
        let before = serde_json::from_str(&text).with_context(|| path().display().to_string())?;
        Ok(Self { before, now: BTreeMap::new() })
    }

    /// What a recording gives now.
    pub fn note(&mut self, recording: &str, parts: Parts) {
        self.now.insert(recording.to_owned(), parts);
    }

    /// A line for each recording of which something is another.
    pub fn differences(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.before.keys().chain(self.now.keys()).collect();
        let of_one = |name: &String| match (self.before.get(name), self.now.get(name)) {
            (Some(before), Some(now)) => difference(before, now).map(|told| format!("{name}: {told}")),
            (None, _) => Some(format!("{name}: it is new")),
            (_, None) => Some(format!("{name}: it is gone")),
        };
        names.into_iter().filter_map(of_one).collect()
    }

    /// Writes them, if that is asked for.
    ///
    /// # Errors
    ///
    /// Where something changed, and it is not; where the file cannot be written.
    pub fn finish(self) -> anyhow::Result<()> {
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            return Ok(std::fs::write(path(), written(&self.now)?)?);
        }
        let differences = self.differences();
        anyhow::ensure!(
            differences.is_empty(),
            "recordings give something else:\n{}\n`cargo xtask compare` shows what. Where it was meant, INSTA_UPDATE=always \
             takes it.",
            differences.join("\n")
        );
        Ok(())
    }
}

fn path() -> std::path::PathBuf {
    root().join("tests/recordings/digests.json")
}

/// A line for each whole: a change of one part is a change of one line.
fn written(all: &BTreeMap<String, Parts>) -> anyhow::Result<String> {
    let mut text = String::from("{");
    for (place, (name, parts)) in all.iter().enumerate() {
        write!(text, "{}\n  {name:?}: {{", if place > 0 { "," } else { "" })?;
        for (place, (whole, parts)) in parts.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(text, "{comma}\n    {whole:?}: {}", serde_json::to_string(parts)?)?;
        }
        text.push_str("\n  }");
    }
    text.push_str("\n}\n");
    Ok(text)
}

/// What differs, in words; `None`: nothing.
fn difference(before: &Parts, now: &Parts) -> Option<String> {
    let wholes: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let none = BTreeMap::new();
    let of_whole = |whole: &String| {
        let (before, now) = (before.get(whole).unwrap_or(&none), now.get(whole).unwrap_or(&none));
        let parts: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changed = parts.into_iter().filter(|part| before.get(*part) != now.get(*part));
        let told: Vec<String> = changed
            .map(|part| match (before.get(part), now.get(part)) {
                (Some(Value::Number(before)), Some(Value::Number(now))) => {
                    format!("{part} (was {before}, is {now})")
                }
                (None, _) => format!("{part} (new)"),
                (_, None) => format!("{part} (gone)"),
                _ => part.clone(),
            })
            .collect();
        (!told.is_empty()).then(|| format!("{whole}: {}", told.join(", ")))
    };
    let told: Vec<String> = wholes.into_iter().filter_map(of_whole).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(value: Value) -> anyhow::Result<Parts> {
        Ok(serde_json::from_value(value)?)
    }

    #[test]
    fn a_part_that_is_another_is_named_with_its_whole() -> anyhow::Result<()> {
        let before =
            parts(json!({ "JSON": { "chains": "a", "gil": "b" }, "totals": { "slices": 7, "open": 1 } }))?;
        let now =
            parts(json!({ "JSON": { "chains": "c", "drops": "d" }, "totals": { "slices": 8, "open": 1 } }))?;
        assert_eq!(difference(&before, &before), None);
        let expected = "JSON: chains, drops (new), gil (gone); totals: slices (was 7, is 8)";
        assert_eq!(difference(&before, &now).as_deref(), Some(expected));
        Ok(())
    }

    #[test]
    fn what_is_written_is_read_again() -> anyhow::Result<()> {
        let one = parts(json!({ "JSON": { "chains": "a" }, "text": { "Not seen": "b" } }))?;
        let all = BTreeMap::from([("sync-idle".to_owned(), one.clone()), ("waitress".to_owned(), one)]);
        let read: BTreeMap<String, Parts> = serde_json::from_str(&written(&all)?)?;
        assert_eq!(read, all);
        assert_eq!(written(&all)?.lines().count(), 10);
        Ok(())
    }
}
