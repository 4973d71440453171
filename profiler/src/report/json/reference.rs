//! `docs/report.schema.json`, and its keys as a page of the guide: `docs/json-reference.md`.
//!
//! In: the schema. Out: both files, or the failure of a test that says how to make them. The page has a table
//! for each part of a report, keys in the order of the alphabet.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::schema::SCHEMA;

/// What `x-unit` says of a number whose unit is given beside it.
const BY_NAME: &str = "by_name";

const INTRODUCTION: &str = "# JSON, key by key

Every key of `wsgi-trace --format json`, with its type. [Worked examples](json.md) show how to ask for them, after
the [rules](json.md#rules) that all keys keep. The contract is
[report.schema.json](report.schema.json). Both are made from the code.

Keys stand in the order of the alphabet. `[]` stands for every element of an array. A `count` and an `id` are
integers without a unit. A key may be `null` only where its type says so.

<!-- Below: generated from the views in the code. -->
";

/// The page for this schema.
fn page(schema: &Value) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, node) in members(schema, "properties") {
        section(&mut page, title, node);
    }
    page.push_str("\n## Shapes that occur in several places\n");
    for (title, node) in members(schema, "$defs") {
        section(&mut page, title, node);
    }
    page
}

/// The entries of an object within a schema, by name.
fn members<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    node.get(key).and_then(Value::as_object).into_iter().flatten().map(|(name, node)| (name.as_str(), node))
}

fn section(page: &mut String, title: &str, node: &Value) {
    let _ = writeln!(page, "\n### {title}\n\n{} {}.", description(node), capital(&type_of(node)));
    let mut rows = Vec::new();
    below(node, "", &mut rows);
    if rows.is_empty() {
        return;
    }
    page.push_str("\n| Key | Type | What it is |\n|---|---|---|\n");
    for (key, node) in rows {
        let _ = writeln!(page, "| `{key}` | {} | {} |", type_of(node), description(node).replace('|', "\\|"));
    }
}

/// Every key below a node, with its path.
fn below<'a>(node: &'a Value, path: &str, rows: &mut Vec<(String, &'a Value)>) {
    for (name, child) in members(node, "properties") {
        let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        rows.push((key.clone(), child));
        below(child, &key, rows);
    }
    if let Some(items) = node.get("items") {
        below(items, &format!("{path}[]"), rows);
    }
}

fn description(node: &Value) -> String {
    node.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A type in words: `integer or null`, `array of string`, a link where the shape has a section of its own.
fn type_of(node: &Value) -> String {
    if let Some(name) =
        node.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"))
    {
        return format!("[{name}](#{name})");
    }
    if let Some(values) = node.get("enum").and_then(Value::as_array) {
        return joined(values.iter().map(|value| format!("`{}`", plain(value))).collect());
    }
    if let Some(value) = node.get("const") {
        return format!("`{}`", plain(value));
    }
    let names = match node.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    if let Some(choices) = node.get("anyOf").and_then(Value::as_array) {
        return joined(choices.iter().map(type_of).collect());
    }
    let kind = node.get("x-unit").and_then(Value::as_str).filter(|kind| *kind != BY_NAME);
    let examples = node.get("examples").and_then(Value::as_array);
    let word = |name: &str| match (name, node.get("items")) {
        ("array", Some(items)) => format!("array of {}", type_of(items)),
        ("integer", _) => kind.unwrap_or(name).to_owned(),
        ("string", _) => examples.map_or_else(|| name.to_owned(), |words| such_as(words)),
        _ => name.to_owned(),
    };
    joined(names.into_iter().map(word).collect())
}

/// Words of a list that may grow.
fn such_as(words: &[Value]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{}`", plain(word))).collect();
    format!("string such as {}", words.join(", "))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn joined(mut words: Vec<String>) -> String {
    words.dedup();
    words.join(" or ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[test]
fn the_schema_and_its_page_are_made_of_the_views() {
    let schema = serde_json::to_string_pretty(&*SCHEMA).unwrap() + "\n";
    for (name, made) in [("report.schema.json", schema), ("json-reference.md", page(&SCHEMA))] {
        let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("WSGI_TRACE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        let hint = "is not up to date: WSGI_TRACE_UPDATE_DOCS=1 cargo test -p wsgi-trace --lib reference";
        assert!(is == made, "docs/{name} {hint}");
    }
}

#[test]
fn each_key_has_its_path_its_type_and_its_sentence() {
    let schema = json!({
        "properties": {"window": {"description": "The window.", "type": "object", "properties": {
            "start_ns": {"description": "Its start.", "type": ["integer", "null"]},
            "ends": {"description": "Why it ended.", "enum": ["done", "killed"]},
            "slots": {"description": "Slots.", "type": "array", "items": {"type": "object", "properties": {
                "id": {"description": "Its number.", "type": "integer"}}}},
            "open": {"description": "Still open.", "type": ["integer", "null"], "x-unit": "count"},
            "how": {"description": "How.", "type": ["string", "null"], "examples": ["a", "b"]},
            "wait": {"description": "Waits.", "$ref": "#/$defs/latency"},
            "lag": {"description": "Lag.", "anyOf": [{"$ref": "#/$defs/latency"}, {"type": "null"}]}
        }}},
        "$defs": {"latency": {"description": "Durations.", "type": "object"}}
    });
    let page = page(&schema);
    for row in [
        "### window\n\nThe window. Object.\n",
        "| `start_ns` | integer or null | Its start. |",
        "| `ends` | `done` or `killed` | Why it ended. |",
        "| `slots` | array of object | Slots. |",
        "| `slots[].id` | integer | Its number. |",
        "| `wait` | [latency](#latency) | Waits. |",
        "| `lag` | [latency](#latency) or null | Lag. |",
        "| `open` | count or null | Still open. |",
        "| `how` | string such as `a`, `b` or null | How. |",
        "### latency\n\nDurations. Object.\n",
    ] {
        assert!(page.contains(row), "{row}\n{page}");
    }
}
