//! The schema of the report, made of the views: a key is described where it stands.
//!
//! In: types and doc comments of the views' fields, names and meanings of phases and holdings. Out:
//! [`SCHEMA`].

use std::borrow::Cow;
use std::sync::LazyLock;

use profiler_core::model::losses::LossCount;
use profiler_core::model::slot::Holding;
use profiler_core::phase::Phase;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Report;
use super::phases::PhaseTimes;
use super::slots::Held;

/// The schema.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(made);

/// Ends of keys that say the unit of a number.
pub(super) const UNITS: [&str; 6] =
    ["_ns", "_bytes", "_ratio", "_per_second", "_per_connection", "_request_seconds"];
/// Keys of numbers that something is called by. All others without a unit are counts of what they name.
const IDS: [&str; 20] = [
    "alternative",
    "connection",
    "descriptor",
    "exemplars",
    "holders",
    "id",
    "inode",
    "interpreter",
    "line",
    "longest_request",
    "namespace",
    "parent_pid",
    "pid",
    "pids",
    "port",
    "request",
    "signal",
    "slot",
    "status",
    "tid",
];
/// Keys of values whose unit is that of what a key beside them names.
const BY_NAME: [&str; 3] = ["at_most", "threshold", "value"];
/// Numbers with a unit that may be below 0.
const SIGNED: [&str; 1] = ["fit_ratio"];
/// A shape that stands in one place and has a name, because a line of ndjson is one as well.
const NAMED: &str = "Request";

fn made() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Report<'_>>().to_value();
    schema["$id"] = json!("urn:wsgi-trace:report:1");
    schema["title"] = json!("wsgi-trace report");
    complete(&mut schema);
    let text = schema.to_string();
    let Value::Object(shapes) = schema["$defs"].take() else { panic!("no shapes") };
    let is_shared = |name: &str| name == NAMED || text.matches(&format!("/{name}\"")).count() > 1;
    let (shared, single): (Map<_, _>, Map<_, _>) = shapes.into_iter().partition(|(name, _)| is_shared(name));
    schema["$defs"] = shared.into_iter().map(|(name, shape)| (snake(&name), shape)).collect();
    inline(&mut schema, &single);
    schema
}

/// Calls `change` with every object within a schema, from the outside in.
fn each(node: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match node {
        Value::Object(map) => {
            change(map);
            map.values_mut().for_each(|inner| each(inner, change));
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| each(inner, change)),
        _ => {}
    }
}

/// Adds what the names of keys say, takes away what is Rust's alone.
fn complete(schema: &mut Value) {
    each(schema, &mut |map| {
        if map.get("format").is_some_and(Value::is_string) {
            map.remove("format");
        }
        if let Some(Value::String(text)) = map.get_mut("description") {
            *text = text.replace('\n', " ");
        }
        for (key, property) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
        {
            let is_list = property.get("items").is_some();
            say_unit(key, if is_list { &mut property["items"] } else { property });
        }
    });
}

fn say_unit(key: &str, value: &mut Value) {
    let types = value["type"].to_string();
    let is_fraction = types.contains("\"number\"");
    if !is_fraction && !types.contains("\"integer\"") {
        return;
    }
    if !UNITS.iter().any(|unit| key.ends_with(unit)) {
        let is_id = IDS.contains(&key);
        let without_unit = if BY_NAME.contains(&key) { "by_name" } else { "count" };
        value["x-unit"] = json!(if is_id { "id" } else { without_unit });
    } else if is_fraction && !SIGNED.contains(&key) {
        value["minimum"] = json!(0);
    }
}

/// Puts each shape that stands in one place there, and calls the others as the schema does.
fn inline(schema: &mut Value, single: &Map<String, Value>) {
    each(schema, &mut |map| {
        let is_nullable = map.contains_key("anyOf");
        let reference =
            if is_nullable { &map["anyOf"][0]["$ref"] } else { map.get("$ref").unwrap_or(&Value::Null) };
        let Some(name) = reference.as_str().and_then(|at| at.strip_prefix("#/$defs/")).map(str::to_owned)
        else {
            return;
        };
        let Some(shape) = single.get(&name) else {
            let renamed = json!(format!("#/$defs/{}", snake(&name)));
            *(if is_nullable { &mut map["anyOf"][0]["$ref"] } else { &mut map["$ref"] }) = renamed;
            return;
        };
        map.remove("anyOf");
        map.remove("$ref");
        for (key, value) in shape.as_object().unwrap() {
            map.entry(key).or_insert(value.clone());
        }
        if is_nullable {
            map["type"] = json!(["object", "null"]);
        }
    });
}

/// `GilHolder` as `gil_holder`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// An object: its keys in order, each with its description.
fn object(kind: &Value, keys: impl Iterator<Item = (String, String)>) -> Schema {
    let keys: Vec<(String, String)> = keys.collect();
    let required: Vec<&String> = keys.iter().map(|(key, _)| key).collect();
    let property = |text: &String| json!({"description": text, "type": kind, "minimum": 0});
    let properties: Map<String, Value> =
        keys.iter().map(|(key, text)| (key.clone(), property(text))).collect();
    schemars::json_schema!({"type": "object", "required": required, "properties": properties})
}

/// A duration for each name.
fn durations(text: &str, kind: &Value, names: impl Iterator<Item = (&'static str, &'static str)>) -> Schema {
    let key = |(name, meaning): (&str, &str)| {
        (format!("{name}_ns"), format!("{}; ns.", meaning.trim_end_matches('.')))
    };
    let mut schema = object(kind, names.map(key));
    schema.insert("description".to_owned(), text.into());
    schema
}

fn losses(counts: &[LossCount]) -> Schema {
    let text = |count: &LossCount| format!("{} {}", count.sentence(), count.note).trim_end().to_owned();
    object(&json!("integer"), counts.iter().map(|count| (count.key.to_owned(), text(count))))
}

pub(super) fn losses_of_the_run(_: &mut SchemaGenerator) -> Schema {
    losses(LossCount::OF_THE_RUN)
}

pub(super) fn losses_of_the_recording(_: &mut SchemaGenerator) -> Schema {
    losses(LossCount::OF_THE_RECORDING)
}

impl JsonSchema for PhaseTimes<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Phases".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = "Time in every phase in ns; null where it was not measured.";
        let phases = Phase::ALL.iter().map(|phase| (phase.name(), phase.meaning()));
        durations(text, &json!(["integer", "null"]), phases)
    }
}

impl JsonSchema for Held {
    fn schema_name() -> Cow<'static, str> {
        "Held".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = "Slot-time by what held the slot, in ns.";
        let holdings = Holding::ALL.iter().map(|holding| (holding.name(), holding.meaning()));
        durations(text, &json!("integer"), holdings)
    }
}
