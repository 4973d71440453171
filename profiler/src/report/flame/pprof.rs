//! Stacks as `pprof` reads them (`go tool pprof`, Pyroscope, Parca): google/pprof's proto/profile.proto.
//!
//! In: stacks. Out: one protobuf message, not compressed. Each sample begins with its endpoint, which is its
//! label, too.

use std::collections::BTreeMap;
use std::io;

use profiler_core::model::Snapshot;
use prost::Message;

use super::form::AtTheEnd;
use super::{Frame, endpoints};
use crate::report::form::FormKind;

/// Stacks for pprof.
pub const FORM: FormKind = FormKind {
    name: "pprof",
    help: "Stacks in nanoseconds: read it with go tool pprof",
    endings: &["pprof", "pb"],
    open: |writer, _| Box::new(AtTheEnd { writer, render }),
};

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    value: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Numbers of what is named by numbers; those of strings begin with 0, which is the empty one.
#[derive(Default)]
struct Numbers<'a> {
    profile: Profile,
    strings: BTreeMap<String, i64>,
    locations: BTreeMap<Frame<'a>, u64>,
    functions: BTreeMap<(String, Option<&'a str>), u64>,
}

impl<'a> Numbers<'a> {
    fn string(&mut self, text: &str) -> i64 {
        if let Some(number) = self.strings.get(text) {
            return *number;
        }
        let number = i64::try_from(self.profile.string_table.len()).unwrap_or(0);
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), number);
        number
    }

    fn function(&mut self, name: &str, file: Option<&'a str>) -> u64 {
        let key = (name.to_owned(), file);
        if let Some(number) = self.functions.get(&key) {
            return *number;
        }
        let id = self.functions.len() as u64 + 1;
        let (name, filename) = (self.string(name), self.string(file.unwrap_or("")));
        self.profile.function.push(Function { id, name, system_name: name, filename });
        self.functions.insert(key, id);
        id
    }

    fn location(&mut self, frame: Frame<'a>) -> u64 {
        if let Some(number) = self.locations.get(&frame) {
            return *number;
        }
        let id = self.locations.len() as u64 + 1;
        let line = Line { function_id: self.function(&frame.name, frame.file), line: frame.line.into() };
        self.profile.location.push(Location { id, line: vec![line] });
        self.locations.insert(frame, id);
        id
    }
}

fn render(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    Ok(profile(snapshot).encode_to_vec())
}

fn profile(snapshot: &Snapshot) -> Profile {
    let mut numbers = Numbers::default();
    let _empty = numbers.string("");
    let value_type = ValueType { kind: numbers.string("time"), unit: numbers.string("nanoseconds") };
    numbers.profile.sample_type.push(value_type);
    let window_ns = snapshot.window.length_ns();
    numbers.profile.duration_nanos = i64::try_from(window_ns).unwrap_or(i64::MAX);
    let key = numbers.string("endpoint");
    for (endpoint, stacks) in endpoints(snapshot) {
        let label = Label { key, value: numbers.string(&endpoint) };
        for stack in stacks {
            let outermost = Frame { name: endpoint.clone(), file: None, line: 0, is_code: true };
            let mut location_id: Vec<u64> =
                [outermost].into_iter().chain(stack.frames).map(|frame| numbers.location(frame)).collect();
            location_id.reverse();
            let value = vec![i64::try_from(stack.time_ns).unwrap_or(i64::MAX)];
            numbers.profile.sample.push(Sample { location_id, value, label: vec![label] });
        }
    }
    numbers.profile
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::flame::time_ns;

    #[test]
    fn samples_add_up_and_name_what_is_there() {
        let snapshot = fixture::exhausted().0;
        let bytes = render(&snapshot).expect("memory");
        let profile = Profile::decode(bytes.as_slice()).expect("a profile");
        let all_ns: u64 = endpoints(&snapshot).iter().map(|(_, stacks)| time_ns(stacks)).sum();
        let sum: i64 = profile.sample.iter().flat_map(|sample| &sample.value).sum();
        assert_eq!(u64::try_from(sum).ok(), Some(all_ns));
        assert_eq!(profile.string_table.first().map(String::as_str), Some(""));
        let locations: Vec<u64> = profile.location.iter().map(|location| location.id).collect();
        assert_eq!(locations, (1..=profile.location.len() as u64).collect::<Vec<_>>());
        let of_samples = profile.sample.iter().flat_map(|sample| &sample.location_id);
        assert!(of_samples.copied().all(|id| id > 0 && id <= locations.len() as u64));
        let strings = profile.string_table.len() as i64;
        assert!(profile.function.iter().all(|function| function.name > 0 && function.filename < strings));
    }
}
