//! Seeds: small inputs from which a fuzzer gets far, made of the recordings where these have what it takes.
//!
//! In: a directory. Out: `TARGET/NAME` in it, the same bytes for the same recordings.

use std::path::Path;

use anyhow::Context as _;
use profiler_common::record::slice::SliceRecord;
use profiler_common::record::{
    KIND_HEAD, KIND_LIGHT, KIND_LIGHT_END, KIND_PLAINTEXT, KIND_SLEEP, KIND_TAKEN,
};
use profiler_core::fact::Fact;
use profiler_core::finding::Thresholds;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::verdict;
use serde_json::Value;
use wsgi_trace::recording::{Recorder, Recording};
use wsgi_trace::report::json::render;

use super::items;
use super::recording_reader::Memory;
use crate::scenario::Scenario;

/// Recordings that differ in what their machines do.
const RECORDINGS: [&str; 7] = [
    "gevent-gunicorn",
    "uvicorn-a2wsgi",
    "nginx-gthread",
    "light-gthread",
    "sync-dropped",
    "gthread-exhausted",
    "gevent-rolled",
];
/// Kernel records of a seed that is a recording.
const RECORDS: usize = 150;
/// Records of one kind in a seed of single records.
const OF_A_KIND: usize = 2;

type Items = Vec<Item<Vec<u8>>>;

/// Writes them all, in place of what stood there.
///
/// # Errors
///
/// Where a recording cannot be read or a seed not be written.
pub fn write(directory: &Path) -> anyhow::Result<()> {
    for name in RECORDINGS {
        let all = read(name)?;
        let short = shortened(&all);
        let put = |target: &str, bytes: &[u8]| one(directory, target, name, bytes);
        put("report", &recorded(&short)?)?;
        put("recording_reader", &recorded(short.get(..short.len().min(24)).unwrap_or_default())?)?;
        put("items", &framed(&few(&short)))?;
        let single = of_each_kind(&all);
        put("decode", &lengths_and_records(&single))?;
        put("pipeline", &as_built(&single))?;
        put("diff", &report(&all)?)?;
        for (number, head) in heads(&all).iter().enumerate() {
            one(directory, "redact", &format!("{name}-{number}"), head)?;
        }
    }
    for (target, name, bytes) in by_hand() {
        one(directory, target, name, &bytes)?;
    }
    Ok(())
}

fn one(directory: &Path, target: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let place = directory.join(target);
    std::fs::create_dir_all(&place)?;
    std::fs::write(place.join(name), bytes).with_context(|| format!("{target}/{name}"))
}

fn read(name: &str) -> anyhow::Result<Items> {
    let scenario = Scenario::named(name).with_context(|| format!("there is no scenario {name}"))?;
    let recording = Recording::open(&scenario.recording())?;
    Ok(recording
        .map(|item| match item {
            Item::Kernel(bytes) => Item::Kernel(bytes.to_vec()),
            Item::Fact(fact) => Item::Fact(fact),
        })
        .collect())
}

/// All facts that come once, and the first records: a window that begins, has requests, and ends.
fn shortened(all: &Items) -> Items {
    let begins = all.iter().position(|item| is_fact(item, |fact| matches!(fact, Fact::WindowStarted)));
    let begins = begins.unwrap_or(0);
    let mut records = 0;
    let mut kept = Items::new();
    for (place, item) in all.iter().enumerate() {
        let is_repeated = |fact: &Fact| {
            matches!(fact, Fact::Tick | Fact::Counters(_) | Fact::ListenerCounts(_) | Fact::AcceptQueues(_))
        };
        match item {
            Item::Kernel(_) if place < begins || records < RECORDS => records += usize::from(place >= begins),
            Item::Kernel(_) => continue,
            Item::Fact(fact) if place > begins && is_repeated(&fact.fact) => continue,
            Item::Fact(_) => {}
        }
        kept.push(item.clone());
    }
    kept
}

/// Of a short recording what fits a list of items: the first processes, the window's ends, some records.
fn few(short: &Items) -> Items {
    let (mut records, mut facts) = (0, 0);
    let mut kept = Items::new();
    for item in short {
        let is_kept = match item {
            Item::Kernel(_) => {
                records += 1;
                records <= RECORDS / 4
            }
            Item::Fact(fact) => {
                facts += 1;
                let ends =
                    matches!(fact.fact, Fact::WindowStarted | Fact::WindowEnded { .. } | Fact::WindowRolled);
                ends || facts <= 24
            }
        };
        if is_kept {
            kept.push(item.clone());
        }
    }
    kept
}

fn is_fact(item: &Item<Vec<u8>>, what: impl Fn(&Fact) -> bool) -> bool {
    matches!(item, Item::Fact(record) if what(&record.fact))
}

fn recorded(all: &[Item<Vec<u8>>]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut recorder = Recorder::on(Memory(&mut bytes), Path::new("seed"), "seed")?;
    for (number, item) in all.iter().enumerate() {
        recorder.record(item)?;
        if number % 64 == 63 {
            recorder.flush()?;
        }
    }
    recorder.finish()?;
    Ok(bytes)
}

fn framed(all: &Items) -> Vec<u8> {
    let mut input = Vec::new();
    for item in all {
        match item {
            Item::Kernel(record) => items::put(&mut input, items::KERNEL, record),
            Item::Fact(fact) => {
                items::put(&mut input, items::FACT, &serde_json::to_vec(fact).unwrap_or_default());
            }
        }
    }
    input
}

fn kind_of(record: &[u8]) -> u16 {
    record.first_chunk().map_or(0, |kind| u16::from_le_bytes(*kind))
}

fn of_each_kind(all: &Items) -> Vec<&[u8]> {
    let mut counts = std::collections::BTreeMap::new();
    let records = all.iter().filter_map(|item| match item {
        Item::Kernel(record) => Some(record.as_slice()),
        Item::Fact(_) => None,
    });
    records
        .filter(|record| {
            let count: &mut usize = counts.entry(kind_of(record)).or_default();
            *count += 1;
            *count <= OF_A_KIND
        })
        .collect()
}

/// As `decode` takes them.
fn lengths_and_records(records: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::new();
    for record in records {
        input.extend_from_slice(&u16::try_from(record.len()).unwrap_or(u16::MAX).to_le_bytes());
        input.extend_from_slice(record);
    }
    input
}

/// As `pipeline` builds them: one byte for what it is, then the layout; times and threads stay.
fn as_built(records: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::new();
    for record in records {
        let what: u8 = match kind_of(record) {
            1 if record.len() > size_of::<SliceRecord>() => 0x60,
            1 => 0x40,
            2 => 0x38,
            3 => 12,
            4 => 10,
            5 => 6,
            6 => 0x16,
            7 => 0x26,
            10 => 0x66,
            11 => 0x36,
            KIND_LIGHT => 0x76,
            KIND_SLEEP => 0x2f,
            KIND_LIGHT_END => 0x6f,
            KIND_PLAINTEXT => 0x79,
            KIND_TAKEN => 0x4b,
            _ => continue,
        };
        // What is captured follows the layout of these.
        let layout = match kind_of(record) {
            KIND_HEAD => size_of::<profiler_common::record::head::HeadRecord>(),
            KIND_PLAINTEXT => size_of::<profiler_common::record::plaintext::PlaintextRecord>(),
            _ => record.len(),
        };
        input.push(0x80 | what);
        input.extend_from_slice(record.get(..layout).unwrap_or(record));
    }
    input.extend_from_slice(&[0x1f]);
    input
}

/// What was captured of messages, as `redact` takes it: direction, portion, bytes.
fn heads(all: &Items) -> Vec<Vec<u8>> {
    let header = size_of::<profiler_common::record::head::HeadRecord>();
    let mut seen = Vec::new();
    for item in all {
        let Item::Kernel(record) = item else { continue };
        let Some(captured) = record.get(header..).filter(|_| kind_of(record) == KIND_HEAD) else { continue };
        let first = captured.get(..4).unwrap_or_default().to_vec();
        if captured.len() > 8 && seen.len() < 3 && !seen.iter().any(|(known, _)| *known == first) {
            let direction = u8::from(captured.starts_with(b"HTTP/"));
            seen.push((first, [&[direction, 40], captured].concat()));
        }
    }
    seen.into_iter().map(|(_, input)| input).collect()
}

/// What `diff` looks at of the report on a recording.
fn report(all: &Items) -> anyhow::Result<Vec<u8>> {
    let mut pipeline = Pipeline::new(Settings::default());
    for item in all {
        pipeline.push(item.clone(), &mut |_| {});
    }
    let snapshot = pipeline.finish(&mut |_| {});
    let findings = verdict::findings(&snapshot, &Thresholds::default());
    let mut report: Value = serde_json::from_slice(&render(&snapshot, &findings)?)?;
    if let Some(parts) = report.as_object_mut() {
        let looked_at = [
            "schema_version",
            "host",
            "target",
            "window",
            "losses",
            "findings",
            "requests",
            "phases",
            "endpoints",
            "slots",
            "capacity",
        ];
        parts.retain(|name, _| looked_at.contains(&name.as_str()));
        for long in ["findings", "endpoints"] {
            if let Some(Value::Array(list)) = parts.get_mut(long) {
                list.truncate(3);
            }
        }
        if let Some(Value::Object(requests)) = parts.get_mut("requests") {
            requests.remove("slowest");
        }
    }
    Ok(serde_json::to_vec(&report)?)
}

/// What no recording has.
fn by_hand() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let ask = |line: &str, headers: &str| {
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    };
    let reply = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    // Three spans refused, and a word about it.
    let partial = [0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'];
    let variables: Vec<u8> =
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/a?b=c"), ("CONTENT_LENGTH", "3"), ("HTTP_HOST", "x")]
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()])
            .flat_map(|text| [&u16::try_from(text.len()).unwrap_or(0).to_le_bytes(), text].concat())
            .collect();
    let length = u16::try_from(variables.len()).unwrap_or(0).to_le_bytes();
    vec![
        ("packet", "get", [length.as_slice(), &[0], &variables].concat()),
        (
            "http",
            "metrics",
            ask("GET /metrics", "Accept: application/openmetrics-text;version=1.0.0;q=0.9,*/*;q=0.1\r\n"),
        ),
        ("http", "report", ask("GET /report.json?window=last", "")),
        ("http", "page", ask("GET /", "Accept: text/html\r\nConnection: keep-alive\r\n")),
        ("http", "health-twice", [ask("HEAD /healthz", ""), ask("GET /healthz", "")].concat()),
        ("http", "body", ask("POST /metrics", "Content-Length: 3\r\n\r\nabc")),
        ("http", "chunked", ask("POST /", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")),
        ("http", "foreign-host", b"GET /metrics HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec()),
        ("http", "token", ask("GET /metrics", "Authorization: Bearer 0123456789abcdef\r\n")),
        ("otlp", "taken", reply("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", &partial)),
        (
            "otlp",
            "chunked",
            reply(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n",
                &[&partial[..], b"\r\n0\r\n\r\n"].concat(),
            ),
        ),
        ("otlp", "later", reply("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", b"")),
        (
            "otlp",
            "elsewhere",
            reply("HTTP/1.1 301 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", b""),
        ),
        ("otlp", "continue", reply("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", &partial)),
        (
            "interpreter",
            "elf",
            [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[3, 0, 62, 0, 1, 0, 0, 0], &[0; 40]].concat(),
        ),
        (
            "interpreter",
            "maps",
            b"7f0000000000-7f0000400000 r-xp 00001000 08:01 77 /usr/lib/libpython3.11.so.1.0\n".to_vec(),
        ),
    ]
}
