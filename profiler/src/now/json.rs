//! A moment for programs.
//!
//! In: a [`Moment`]. Out: one JSON document; what the keys mean is in docs/now.md.

use profiler_core::fact::place::PythonFrame;
use serde::Serialize;

use super::moment::{Asked, Busy, Moment, Work};
use crate::report::json::safe::Safe;

/// Changes whenever a key goes or means something else.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    at: String,
    watched_ns: u64,
    server: &'a str,
    configured_slots: Option<u32>,
    threads: Vec<Thread<'a>>,
    requests_without_thread: Vec<Request<'a>>,
    requests_not_read: u64,
    verdict: Option<&'a str>,
    connections_to_accept: Option<u64>,
}

#[derive(Serialize)]
struct Thread<'a> {
    pid: u32,
    tid: u32,
    name: &'a str,
    works_for: &'static str,
    request: Option<Request<'a>>,
    state: &'static str,
    what: &'a str,
    system_call: Option<&'static str>,
    asleep_at_least_ns: Option<u64>,
    asleep_since_before: bool,
    line: Option<Frame<'a>>,
    frames: Vec<Frame<'a>>,
    in_the_end: Option<&'a str>,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    age_ns: u64,
}

#[derive(Serialize)]
struct Frame<'a> {
    file: &'a str,
    line: Option<u32>,
    function: &'a str,
    whose: &'static str,
}

/// The document, as it is written.
///
/// # Errors
/// If it cannot be made into text.
pub fn text(moment: &Moment) -> Result<String, serde_json::Error> {
    let document = Document {
        schema_version: VERSION,
        at: crate::report::unit::moment(moment.at_wall_ns),
        watched_ns: moment.watched_ns,
        server: &moment.server,
        configured_slots: moment.configured,
        threads: moment.threads.iter().map(thread).collect(),
        requests_without_thread: moment.waiting.iter().map(request).collect(),
        requests_not_read: moment.unread.count,
        verdict: Some(moment.verdict.as_str()).filter(|said| !said.is_empty()),
        connections_to_accept: moment.queued,
    };
    let mut bytes = Vec::new();
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Safe::pretty()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}

fn request(asked: &Asked) -> Request<'_> {
    Request { method: &asked.method, path: &asked.path, age_ns: asked.for_ns }
}

fn thread(busy: &Busy) -> Thread<'_> {
    let place = busy.place.as_ref();
    let own = place.and_then(|place| place.own().last().copied());
    Thread {
        pid: busy.tgid,
        tid: busy.tid,
        name: &busy.comm,
        works_for: match busy.work {
            Work::Request(_) => "request",
            Work::Before => "request_before",
            Work::Some => "request_unknown",
            Work::Beside => "beside",
        },
        request: busy.asked().map(request),
        state: busy.state,
        what: &busy.what,
        system_call: busy.call,
        asleep_at_least_ns: busy.slept_ns,
        asleep_since_before: busy.since_before,
        line: own.map(frame),
        frames: place.map(|place| place.frames.iter().map(frame).collect()).unwrap_or_default(),
        in_the_end: busy.chain.as_deref(),
    }
}

fn frame(frame: &PythonFrame) -> Frame<'_> {
    Frame {
        file: &frame.file,
        line: Some(frame.line).filter(|line| *line > 0),
        function: &frame.function,
        whose: frame.whose.name(),
    }
}
