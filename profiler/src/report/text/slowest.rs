//! The slowest requests, one line each.
//!
//! In: the slowest requests of a snapshot. Out: a table of a few; their numbers are those that findings name.

use profiler_core::model::Snapshot;
use profiler_core::model::request::{Framing, Request};
use profiler_core::phase::Phase;

use super::endpoints::status;
use super::page::Page;
use super::table::{Column, Table};
use super::{gil_words, phases, unit};
use crate::report::style::Role;
use crate::report::summary;

/// Requests shown.
const SHOWN: usize = 8;

const COLUMNS: [Column; 7] = [
    Column::Right("#"),
    Column::Right("total"),
    Column::Right("began at"),
    Column::Shrinking("request"),
    Column::Right("status"),
    Column::Right("thread"),
    Column::Left("mostly"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let slowest = summary::slowest(snapshot);
    if slowest.is_empty() {
        return;
    }
    page.heading("Slowest requests", "\"began at\" counts from the start of the window");
    let shown: Vec<&Request> = slowest.into_iter().take(SHOWN).collect();
    let mut table = Table::new(&COLUMNS);
    for request in &shown {
        table.row(row(page, request, snapshot.window.start_ns));
    }
    table.write(page);
    because(page, &shown);
    doubts(page, &shown);
}

/// Requests of which the holders of the interpreter lock are named.
const HOLDERS_SHOWN: usize = 3;

/// Because of whom those waited for the interpreter lock that waited for it for a considerable part of their time.
fn because(page: &mut Page, shown: &[&Request]) {
    let gil_wait_ns = |request: &Request| request.phases.get(Phase::GilWait);
    let mut waited: Vec<&Request> =
        shown.iter().copied().filter(|request| gil_wait_ns(request) >= request.total_ns() / 10).collect();
    waited.sort_by_key(|request| (std::cmp::Reverse(gil_wait_ns(request)), request.id));
    for request in waited.into_iter().take(HOLDERS_SHOWN) {
        if let Some(mut text) = gil_words::because(request, page.style.charset) {
            if let Some(wait) = gil_words::longest_waits(request, page.style.charset).first() {
                text.push_str(&format!(". A wait of {wait}"));
            }
            page.paragraph((Role::Quiet, "  "), (None, &format!("#{} {text}.", request.id)));
        }
    }
}

/// What is uncertain about some of the requests shown.
fn doubts(page: &mut Page, shown: &[&Request]) {
    type Doubt = (&'static str, fn(&Request) -> bool);
    const DOUBTS: [Doubt; 3] = [
        ("still open at the end", |request| request.seen.open),
        ("beginning not seen", |request| request.seen.truncated),
        ("records lost meanwhile", |request| request.seen.lossy),
    ];
    let mut parts = Vec::new();
    for (doubt, applies) in DOUBTS {
        let ids: Vec<String> = shown
            .iter()
            .filter(|request| applies(request))
            .map(|request| format!("#{}", request.id))
            .collect();
        if !ids.is_empty() {
            parts.push(format!("{doubt}: {}", ids.join(" ")));
        }
    }
    if !parts.is_empty() {
        let text = parts.join(page.dot());
        page.paragraph((Role::Quiet, "  "), (Some(Role::Quiet), &text));
    }
}

fn row(page: &Page, request: &Request, window_start_ns: u64) -> [String; COLUMNS.len()] {
    let shown = |duration_ns| unit::duration(duration_ns, page.style.charset);
    let began = match request.times.start_ns.checked_sub(window_start_ns) {
        Some(after_ns) => shown(after_ns),
        None => "before".to_owned(),
    };
    [
        request.id.to_string(),
        shown(request.total_ns()),
        began,
        name(request),
        status(request.http.status),
        request.tid.to_string(),
        phases::mostly(&request.phases),
    ]
}

/// Method and path of a request, or why there are none. Hostile input.
pub(in crate::report) fn name(request: &Request) -> String {
    match (request.http.method.as_str(), request.http.framing) {
        ("", Framing::NotHttp) => "encrypted, or not HTTP".to_owned(),
        ("", _) => "head not read".to_owned(),
        (method, _) => format!("{method} {}", request.http.path),
    }
}
