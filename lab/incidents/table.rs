//! How many incidents were named right, by mode and by leaf.
//!
//! In: records. Out: a table in Markdown, and what is to be looked at.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::judge::Verdict;
use crate::record::{Mode, Record};

/// All of it.
pub(crate) fn table(records: &[Record]) -> String {
    let mut text = String::new();
    for mode in Mode::ALL {
        let of_mode: Vec<&Record> = records.iter().filter(|record| record.mode == mode).collect();
        if of_mode.is_empty() {
            continue;
        }
        let head = Verdict::ALL.map(Verdict::word).join(" | ");
        let _ = writeln!(text, "\n| {} mode | {head} | kind | object | false leaves |", mode.name());
        let _ = writeln!(text, "|---|{}---|---|---|", "---|".repeat(Verdict::ALL.len()));
        let leaves: BTreeSet<&str> = of_mode.iter().map(|record| record.leaf.as_str()).collect();
        for leaf in leaves {
            let of_leaf: Vec<&Record> = of_mode.iter().copied().filter(|one| one.leaf == leaf).collect();
            row(&mut text, leaf, &of_leaf);
        }
        row(&mut text, "**all**", &of_mode);
    }
    sentences(&mut text, records);
    let (right, known) = serial(records);
    let _ = writeln!(text, "\nSerial or not: {right} of {known} right.");
    let bad: Vec<String> = records.iter().filter(|one| !one.is_well()).map(Record::line).collect();
    if !bad.is_empty() {
        let _ = writeln!(text, "\nTo look at:\n\n- {}", bad.join("\n- "));
    }
    text
}

fn row(text: &mut String, name: &str, records: &[&Record]) {
    let count = |verdict: Verdict| records.iter().filter(|one| one.verdict == verdict).count().to_string();
    let counts = Verdict::ALL.map(count).join(" | ");
    let lies = records.iter().filter(|one| !one.false_leaves.is_empty()).count();
    let kinds = of_known(records.iter().map(|one| one.is_kind_right));
    let objects = of_known(records.iter().map(|one| one.missing.as_ref().map(Vec::is_empty)));
    let _ = writeln!(text, "| {name} | {counts} | {kinds} | {objects} | {lies} |");
}

/// What the verdicts said, by mode.
fn sentences(text: &mut String, records: &[Record]) {
    let head = Verdict::ALL.map(Verdict::word).join(" | ");
    let _ = writeln!(text, "\n| first sentence | {head} | harm |");
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(Verdict::ALL.len()));
    for mode in Mode::ALL {
        let of_mode = records.iter().filter(|record| record.mode == mode);
        let all: Vec<_> = of_mode.filter_map(|record| record.sentence.as_ref()).collect();
        if all.is_empty() {
            continue;
        }
        let count = |verdict: Verdict| all.iter().filter(|one| one.verdict == verdict).count().to_string();
        let counts = Verdict::ALL.map(count).join(" | ");
        let harm = all.iter().filter(|one| one.is_harm).count();
        let _ = writeln!(text, "| {} mode | {counts} | {harm} |", mode.name());
    }
}

/// How many are right of those of which it is known.
fn of_known(all: impl Iterator<Item = Option<bool>>) -> String {
    let (right, known) =
        all.flatten().fold((0, 0), |(right, known), is| (right + usize::from(is), known + 1));
    if known == 0 { String::new() } else { format!("{right} of {known}") }
}

/// How often it was rightly called serial or not, of how many that name the leaf.
fn serial(records: &[Record]) -> (usize, usize) {
    let known: Vec<bool> = records.iter().filter_map(|one| one.is_serial_right).collect();
    (known.iter().filter(|is_right| **is_right).count(), known.len())
}
