//! The page of a fleet for programs.
//!
//! In: a [`Page`]. Out: JSON: what stands out, and the rows of each answer by the name of its query.

use serde_json::{Map, Value, json};

use super::Page;

/// Version of this form: major for what breaks readers.
const SCHEMA_VERSION: &str = "1.0";

/// The whole page.
pub fn render(page: &Page) -> String {
    let extent = &page.extent;
    let stands_out: Vec<Value> = page
        .stands_out
        .iter()
        .map(|notable| {
            json!({
                "query": notable.question,
                "sentence": notable.sentence,
                "since": notable.since,
                "advice": notable.advice,
            })
        })
        .collect();
    let rows =
        |answer: &super::Answer| Value::Array(answer.rows.iter().cloned().map(Value::Object).collect());
    let answers: Map<String, Value> =
        page.answers.iter().map(|answer| (answer.question.name.to_owned(), rows(answer))).collect();
    let value = json!({
        "schema_version": SCHEMA_VERSION,
        "directory": page.directory,
        "headline": page.headline(),
        "doubts": page.doubts(),
        "services": extent.services,
        "hosts": extent.hosts,
        "windows": extent.windows,
        "requests": extent.requests,
        "first_day": extent.days.as_ref().map(|(first, _)| first),
        "last_day": extent.days.as_ref().map(|(_, last)| last),
        "stands_out": stands_out,
        "answers": answers,
    });
    format!("{value:#}\n")
}
