//! The slowest requests.
//!
//! In: the slowest requests of a snapshot. Out: a section: in the text report a table of a few, on the page
//! each to be opened. Their numbers are those that findings name.

use profiler_core::model::Snapshot;
use profiler_core::model::request::{Framing, Request};
use profiler_core::phase::Phase;

use super::block::{Block, Blocks, Folded, Section, parts};
use super::cell::{Words, bar, duration, id, mostly, words};
use super::endpoints::status;
use super::header::DOT;
use super::table::{On, Rows, Table, here};
use super::{gil_words, phases, shown};
use crate::report::{chain_words, summary, unit};

/// Requests in the text report, and those on the page that are not folded away.
const SHOWN: usize = 8;
/// Requests where the text report is one page, and lines on what they waited for.
const BRIEFLY: usize = 5;
const BRIEF_LINES: usize = 3;

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let slowest = summary::slowest(snapshot);
    let start_ns = snapshot.window.start_ns;
    let mut body = Blocks::default();
    if slowest.is_empty() {
        body.say("No request was seen.");
        return Section::new("slowest", "Slowest requests", body).short("Slowest").only(On::PAGE);
    }
    let table = table(slowest.clone(), (start_ns, snapshot.window.end_ns));
    body.push(On::TEXTS, Block::Table(table.first(SHOWN)));
    let listed: Vec<&Request> = slowest.iter().copied().take(SHOWN).collect();
    waits(&mut body, snapshot, &listed);
    computed(&mut body, snapshot, &listed);
    because(&mut body, &listed);
    doubts(&mut body, On::TEXT, &listed);
    doubts(&mut body, On::BRIEF, listed.get(..BRIEFLY).unwrap_or(&listed));
    let count = slowest.len();
    let mut rest = Blocks::default();
    for (place, request) in slowest.into_iter().enumerate() {
        let of = if place < SHOWN { &mut body } else { &mut rest };
        of.push(On::PAGE, in_full(snapshot, request, &format!("/requests/slowest/{place}")));
    }
    if count > SHOWN {
        body.push(On::PAGE, Block::Folded(Folded::new(format!("{} more", count - SHOWN), rest)));
    }
    Section::new("slowest", "Slowest requests", body)
        .short("Slowest")
        .note("\"began at\" counts from the start of the window")
        .brief(BRIEFLY, BRIEF_LINES)
}

/// Requests of a window, which began and is now at these times.
pub(crate) fn table(requests: Vec<&Request>, (start_ns, now_ns): (u64, u64)) -> Table {
    let began = |request| began_after_ns(request, start_ns).map_or_else(|| words("before"), duration);
    let ended = |request: &Request| match now_ns.saturating_sub(request.times.end_ns) / 1_000_000_000 {
        _ if request.seen.open => "open".to_owned(),
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    };
    Rows::of("Requests", here(requests))
        .right("#", |request| id(request.id))
        .in_list("#")
        .right("total", |request| duration(request.total_ns()))
        .in_list("total")
        .right("began at", began)
        .right("ended", |request| words(ended(request)))
        .only(On::SCREEN)
        .shrinking("request", |request| words(name(request)))
        .in_list("request")
        .right("status", |request| words(status(request.http.status)))
        .in_list("status")
        .right("thread", |request| id(request.tid))
        .left("mostly", |request| mostly(&request.phases))
        .in_list("mostly")
        .table()
}

/// What is worth a sentence.
const TOLD_NS: u64 = 10_000_000;

/// What those waited for longest that waited for a considerable part of their time, and at which lines.
fn waits(body: &mut Blocks<'_>, snapshot: &Snapshot, listed: &[&Request]) {
    for request in listed {
        let time = snapshot.chains.of_request(request.id);
        if let Some(time) = time.filter(|time| time.held_ns >= (request.total_ns() / 10).max(TOLD_NS)) {
            let what = chain_words::wait(&snapshot.chains, time);
            let text = format!("#{} waited {}{what}.", request.id, shown(time.held_ns));
            body.push(On::ALL, Block::Sentence(text.into()));
        }
    }
}

/// At which line those computed most that computed for a considerable part of their time.
fn computed(body: &mut Blocks<'_>, snapshot: &Snapshot, listed: &[&Request]) {
    for request in listed {
        let cpu_ns = request.phases.get(Phase::Cpu);
        if cpu_ns >= (request.total_ns() / 10).max(TOLD_NS)
            && let Some(computed) = chain_words::computed(&snapshot.chains, request.id)
        {
            let text = format!("#{} computed for {}: {computed}.", request.id, shown(cpu_ns));
            body.push(On::ALL, Block::Sentence(text.into()));
        }
    }
}

/// Requests of which the holders of the interpreter lock are named.
const HOLDERS_SHOWN: usize = 3;

/// Because of whom those waited for the interpreter lock that waited for it for a considerable part of their
/// time.
fn because(body: &mut Blocks<'_>, listed: &[&Request]) {
    let gil_wait_ns = |request: &Request| request.phases.get(Phase::GilWait);
    let mut waited: Vec<&Request> =
        listed.iter().copied().filter(|request| gil_wait_ns(request) >= request.total_ns() / 10).collect();
    waited.sort_by_key(|request| (std::cmp::Reverse(gil_wait_ns(request)), request.id));
    for request in waited.into_iter().take(HOLDERS_SHOWN) {
        if let Some(mut text) = gil_words::because(request) {
            if let Some(wait) = gil_words::longest_waits(request).first() {
                text.push_str(&format!(". A wait of {wait}"));
            }
            body.push(On::TEXT, Block::Sentence(format!("#{} {text}.", request.id).into()));
        }
    }
}

/// What may be uncertain about a request, and whether it is.
type Doubt = (&'static str, fn(&Request) -> bool);
const DOUBTS: [Doubt; 3] = [
    ("still open at the end", |request| request.seen.open),
    ("beginning not seen", |request| request.seen.truncated),
    ("records lost meanwhile", |request| request.seen.lossy),
];

/// What is uncertain about some of the requests shown.
fn doubts(body: &mut Blocks<'_>, on: On, listed: &[&Request]) {
    let mut parts = Vec::new();
    for (doubt, applies) in DOUBTS {
        let ids: Vec<String> = listed
            .iter()
            .filter(|request| applies(request))
            .map(|request| format!("#{}", request.id))
            .collect();
        if !ids.is_empty() {
            parts.push(format!("{doubt}: {}", ids.join(" ")));
        }
    }
    if !parts.is_empty() {
        body.push(on, Block::Aside(parts.join(DOT).into()));
    }
}

/// Time from the start of the window to that of a request; nothing if it began before.
const fn began_after_ns(request: &Request, start_ns: u64) -> Option<u64> {
    request.times.start_ns.checked_sub(start_ns)
}

/// Who served a request, or had it as the window ended.
fn served_by(request: &Request) -> String {
    match (request.tgid, request.tid) {
        (0, _) => "nobody: its connection waited in the accept queue".to_owned(),
        (tgid, 0) => format!("nobody: pid {tgid} had its connection"),
        (tgid, tid) => format!("pid {tgid}, thread {tid}"),
    }
}

/// All that is known of one, folded.
fn in_full<'a>(snapshot: &Snapshot, request: &Request, pointer: &str) -> Block<'a> {
    let at = |key: &str| format!("{pointer}/{key}");
    let summary = Words::from("#")
        .figure(id(request.id).at(at("id")))
        .text(" ")
        .figure(duration(request.total_ns()).at(at("total_ns")))
        .text(format!(" {} {}", name(request), status(request.http.status)));
    let mut body = Blocks::default();
    let began_ns = began_after_ns(request, snapshot.window.start_ns);
    let began = began_ns.map_or_else(|| "before the window".to_owned(), shown);
    body.entry("began at", began);
    body.entry("served by", served_by(request));
    let connection = format!("{}, request {} on it", request.connection, request.index_on_connection + 1);
    body.entry("connection", connection);
    let (bytes_in, bytes_out) = (unit::bytes(request.http.bytes_in), unit::bytes(request.http.bytes_out));
    body.entry("bytes", format!("{bytes_in} in, {bytes_out} out"));
    if let Some(service_ns) = request.service_ns() {
        body.entry("service", shown(service_ns));
    }
    if let Some(text) = chain_words::computed(&snapshot.chains, request.id) {
        body.entry("computed", text);
    }
    if let Some(text) = gil_words::because(request) {
        body.entry("GIL", text);
    }
    for text in gil_words::longest_waits(request) {
        body.entry("GIL wait", text);
    }
    for (doubt, applies) in DOUBTS {
        if applies(request) {
            body.entry("note", doubt);
        }
    }
    body.push(On::PAGE, phases::detail("Time of this request, by phase", &request.phases, &at("phases")));
    Block::Folded(Folded {
        id: Some(format!("request-{}", request.id)),
        mostly: Some(mostly(&request.phases)),
        bar: Some(bar(parts(&request.phases), request.phases.total_ns())),
        ..Folded::new(summary, body)
    })
}

/// Method and path of a request, or why there are none. Hostile input.
pub(crate) fn name(request: &Request) -> String {
    match (request.http.method.as_str(), request.http.framing) {
        ("", Framing::NotHttp) => "encrypted, or not HTTP".to_owned(),
        ("", _) => "head not read".to_owned(),
        (method, _) => format!("{method} {}", request.http.path),
    }
}
