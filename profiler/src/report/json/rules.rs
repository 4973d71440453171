//! The rules (docs/json.md), held against every key of the schema.
//!
//! In: the schema. Out: a failure that names the key which breaks a rule.

use profiler_core::phase::Phase;
use serde_json::Value;

use super::schema::{SCHEMA, UNITS};

/// Ends of keys that would say a unit, and are none of ours.
const OTHER_UNITS: [&str; 7] = ["_us", "_ms", "_s", "_seconds", "_kb", "_mb", "_percent"];
/// What `x-unit` may say of a number without such an end. It may be how many of what the key names, or a
/// number that something is called by. Or it is a value whose unit is that of what a key beside it names.
const WITHOUT_UNIT: [&str; 3] = ["count", "id", "by_name"];
/// Keys of words that no minor version adds to; all other lists of words are `examples`.
const CLOSED: [&str; 3] = ["answer", "direction", "framing"];
/// So many phases make a table of them.
const TABLE_OF_PHASES: usize = 4;

/// Every object schema below `schema`, with where it stands.
fn object_schemas<'a>(schema: &'a Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
    if schema.get("properties").is_some() {
        found.push((at.to_owned(), schema));
    }
    match schema {
        Value::Object(map) => {
            map.iter().for_each(|(key, inner)| object_schemas(inner, &format!("{at}/{key}"), found));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, inner)| object_schemas(inner, &format!("{at}/{n}"), found));
        }
        _ => {}
    }
}

/// Every key of the schema: where it stands, its name and what is said of it.
fn keys() -> Vec<(String, &'static str, &'static Value)> {
    let mut objects = Vec::new();
    object_schemas(&SCHEMA, "", &mut objects);
    let of = |(at, schema): (String, &'static Value)| {
        let properties = schema["properties"].as_object().unwrap().iter();
        properties.map(move |(key, property)| (format!("{at}/{key}"), key.as_str(), property))
    };
    objects.into_iter().flat_map(of).collect()
}

/// What a value may be; that of the elements where it is a list.
fn types(property: &Value) -> Vec<&str> {
    match &property["type"] {
        Value::String(name) if name == "array" => types(&property["items"]),
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_schema_is_a_valid_schema_that_requires_and_describes_every_key() {
    assert!(jsonschema::meta::is_valid(&SCHEMA));
    let mut found = Vec::new();
    object_schemas(&SCHEMA, "", &mut found);
    assert!(found.len() > 20);
    for (at, schema) in found {
        assert!(schema.get("additionalProperties").is_none(), "{at}: readers pass over unknown keys");
        let properties = schema["properties"].as_object().unwrap();
        let mut required: Vec<&str> =
            schema["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        let mut keys: Vec<&str> = properties.keys().map(String::as_str).collect();
        required.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, required, "{at}");
        for (key, property) in properties {
            let text = property["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{at}/{key} has no description");
            assert!(
                !key.ends_with("_ns") || text.contains("ns") || text.contains("nanoseconds"),
                "{at}/{key}"
            );
        }
    }
}

#[test]
fn the_schema_says_by_what_name_and_version_it_is_known() {
    assert_eq!(SCHEMA["$id"], "urn:wsgi-trace:report:1");
    let major = super::SCHEMA_VERSION.split('.').next().unwrap();
    assert!(
        SCHEMA["properties"]["schema_version"]["pattern"].as_str().unwrap().starts_with(&format!("^{major}"))
    );
}

#[test]
fn the_key_of_a_number_ends_in_its_unit_or_the_schema_says_what_it_is() {
    let mut seen = 0;
    for (at, key, property) in keys() {
        let is_number = types(property).iter().any(|name| ["integer", "number"].contains(name));
        let has_unit = UNITS.iter().any(|unit| key.ends_with(unit));
        let list = if property["type"] == "array" { &property["items"] } else { property };
        let said = list["x-unit"].as_str().or_else(|| property["x-unit"].as_str());
        let is_said = said.is_some_and(|said| WITHOUT_UNIT.contains(&said));
        if is_number {
            assert!(has_unit != is_said, "{at}: a unit at the end of the key, or x-unit: {said:?}");
            assert!(has_unit || said == Some("by_name") || !types(property).contains(&"number"), "{at}");
            assert!(
                has_unit || !OTHER_UNITS.iter().any(|unit| key.ends_with(unit)),
                "{at}: a unit of others"
            );
            seen += 1;
        } else {
            assert!(said.is_none(), "{at}: x-unit of what is no number");
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn booleans_and_only_they_begin_with_is_or_has() {
    for (at, key, property) in keys() {
        let is_named = key.starts_with("is_") || key.starts_with("has_");
        assert_eq!(is_named, types(property).contains(&"boolean"), "{at}");
    }
}

#[test]
fn what_was_not_measured_is_null_everywhere() {
    for (at, key, property) in keys() {
        let is_one_or_null = property["anyOf"].as_array().is_none_or(|choices| {
            matches!(choices.as_slice(), [one, null] if one["$ref"].is_string() && null["type"] == "null")
        });
        assert!(property.get("oneOf").is_none() && is_one_or_null, "{at}: one shape, or null");
        let names = types(property);
        assert!(names.iter().filter(|name| **name != "null").count() <= 1, "{at}: {names:?}");
        assert!(!key.contains("not_measured") || at == "/not_measured", "{at}: reasons stand in one place");
    }
}

#[test]
fn phases_have_one_shape_everywhere() {
    let is_phase =
        |key: &str| Phase::ALL.iter().any(|phase| key.strip_suffix("_ns").unwrap_or(key) == phase.name());
    let mut tables = 0;
    for (at, key, property) in keys() {
        if key == "phases" {
            assert_eq!(property["$ref"], "#/$defs/phases", "{at}");
            tables += 1;
        }
    }
    assert!(tables >= 4, "{tables}");
    let mut objects = Vec::new();
    object_schemas(&SCHEMA, "", &mut objects);
    for (at, schema) in objects {
        let named = schema["properties"].as_object().unwrap().keys().filter(|key| is_phase(key)).count();
        assert!(named < TABLE_OF_PHASES || at == "/$defs/phases", "{at} is a table of phases of its own");
    }
    let keys: Vec<&String> = SCHEMA["$defs"]["phases"]["properties"].as_object().unwrap().keys().collect();
    let mut expected: Vec<String> = Phase::ALL.iter().map(|phase| format!("{}_ns", phase.name())).collect();
    expected.sort_by_key(|name| keys.iter().position(|key| *key == name));
    assert_eq!(keys, expected.iter().collect::<Vec<_>>());
}

#[test]
fn lists_of_words_may_grow_but_for_those_that_are_closed() {
    for (at, key, property) in keys() {
        assert!(property.get("enum").is_none() || CLOSED.contains(&key), "{at}: examples, not enum");
    }
}
