//! Stacks as speedscope opens them (<https://www.speedscope.app>, its file-format-spec.ts).
//!
//! In: stacks. Out: one JSON document, in which each endpoint is a profile.

use std::collections::BTreeMap;
use std::io;

use profiler_core::model::Snapshot;
use serde::Serialize;

use super::form::AtTheEnd;
use super::{Frame, endpoints, time_ns};
use crate::report::form::FormKind;
use crate::report::json::safe::Safe;

/// Stacks for speedscope.
pub const FORM: FormKind = FormKind {
    name: "speedscope",
    help: "Stacks in nanoseconds: open it in www.speedscope.app",
    endings: &["speedscope"],
    open: |writer, _| Box::new(AtTheEnd { writer, render }),
};

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'static str,
    exporter: String,
    shared: Shared<'a>,
    profiles: Vec<Profile>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<SharedFrame<'a>>,
}

#[derive(Serialize)]
struct SharedFrame<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
}

fn render(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let mut numbers: BTreeMap<Frame<'_>, usize> = BTreeMap::new();
    let mut frames = Vec::new();
    let mut profiles = Vec::new();
    for (name, stacks) in endpoints(snapshot) {
        let end_value = time_ns(&stacks);
        let (mut samples, mut weights) = (Vec::new(), Vec::new());
        for stack in stacks {
            let sample = stack.frames.into_iter().map(|frame| {
                let next = numbers.len();
                *numbers.entry(frame).or_insert_with_key(|Frame { name, file, line, .. }| {
                    let line = Some(*line).filter(|line| *line > 0);
                    frames.push(SharedFrame { name: name.clone(), file: *file, line });
                    next
                })
            });
            samples.push(sample.collect());
            weights.push(stack.time_ns);
        }
        let (kind, unit) = ("sampled", "nanoseconds");
        profiles.push(Profile { kind, name, unit, start_value: 0, end_value, samples, weights });
    }
    let document = Document {
        schema: "https://www.speedscope.app/file-format-schema.json",
        name: "wsgi-trace",
        exporter: format!("wsgi-trace {}", env!("CARGO_PKG_VERSION")),
        shared: Shared { frames },
        profiles,
    };
    let mut bytes = Vec::new();
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Safe::compact()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::fixture;

    #[test]
    fn samples_name_frames_that_are_there_and_add_up() {
        let bytes = render(&fixture::exhausted().0).expect("memory");
        let document: Value = serde_json::from_slice(&bytes).expect("JSON");
        let frames = document.pointer("/shared/frames").and_then(Value::as_array).expect("frames");
        let profiles = document.pointer("/profiles").and_then(Value::as_array).expect("profiles");
        assert!(!profiles.is_empty());
        for profile in profiles {
            let weights: Vec<u64> =
                serde_json::from_value(profile.get("weights").cloned().expect("weights")).expect("numbers");
            let samples: Vec<Vec<usize>> =
                serde_json::from_value(profile.get("samples").cloned().expect("samples")).expect("numbers");
            assert_eq!(samples.len(), weights.len());
            assert!(samples.iter().flatten().all(|number| *number < frames.len()));
            assert_eq!(profile.get("endValue").and_then(Value::as_u64), Some(weights.iter().sum()));
        }
    }
}
