//! The published JSON: why a report has no number, and its schema without leniency.
//!
//! In: a report, a schema of `docs/`. Out: a reason, a schema by which no key and no word passes that it does
//! not name.

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Why a report has no numbers at a JSON pointer.
///
/// # Errors
///
/// Where it has, or does not say why not.
pub fn why_not_measured<'a>(report: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    ensure!(report.pointer(key).is_some_and(Value::is_null), "{key} was measured");
    let mut parts = report.get("not_measured").and_then(Value::as_array).into_iter().flatten();
    let part =
        parts.find(|part| part.get("key").is_some_and(|it| it == key)).with_context(|| key.to_owned())?;
    part.get("reason").and_then(Value::as_str).context("no reason")
}

/// A schema of `docs/`.
///
/// # Errors
///
/// Where there is none.
pub fn schema(name: &str) -> anyhow::Result<Value> {
    let text =
        std::fs::read_to_string(crate::root().join("docs").join(name)).with_context(|| name.to_owned())?;
    Ok(serde_json::from_str(&text)?)
}

/// A schema made strict: no unknown key and no unknown word passes.
pub fn strict(mut schema: Value) -> Value {
    make_strict(&mut schema);
    schema
}

fn make_strict(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.contains_key("properties") {
            map.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        // Not the key of that name, which is described by an object.
        if let Some(Value::Array(words)) = map.get("examples") {
            let words = words.iter().cloned().chain([Value::Null]).collect();
            map.insert("enum".to_owned(), Value::Array(words));
        }
        map.values_mut().for_each(make_strict);
    }
    if let Value::Array(list) = schema {
        list.iter_mut().for_each(make_strict);
    }
}
