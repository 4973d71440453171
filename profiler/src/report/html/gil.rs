//! The interpreter lock: who waited for it, for how long, and because of whom (the hand-off matrix).
//!
//! In: the lock's part of a snapshot. Out: a section.

use std::collections::BTreeMap;

use profiler_core::model::Snapshot;
use profiler_core::model::gil::{Edge, Gil};
use profiler_core::model::gil_place::Blocked;

use super::chart;
use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::page::Page;
use crate::report::text::{gil as words, gil_place, gil_words, unit};

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

pub(super) fn section(html: &mut Html, page: &Page, snapshot: &Snapshot) {
    const COLUMNS: [Column; 7] = [
        Column::Words("thread"),
        Column::Number("pid"),
        Column::Number("tid"),
        Column::Number("waits"),
        Column::Number("waited"),
        Column::Number("of it ready, without a CPU"),
        Column::Number("longest"),
    ];
    let gil = &snapshot.gil;
    html.section("gil", "Global interpreter lock (GIL)", "");
    if let Some(reason) = &gil.not_measured {
        html.raw("<p>Not measured: ").text(reason).raw(".</p>");
        html.end_section();
        return;
    }
    html.element("p", &words::interpreters(gil)).element("p", &words::waits(page, gil));
    chart::histogram(html, &gil.waits, "wait");
    locks(html, snapshot);
    edges(html, gil);
    thread_edges(html, gil);
    places(html, page, gil);
    if !gil.threads.is_empty() {
        html.raw("<details><summary>Threads that waited longest</summary>");
        table::begin(html, "Threads that waited longest for the lock", &COLUMNS, true);
        for (place, waiter) in gil.threads.iter().enumerate() {
            let at = |key: &str| format!("/gil/threads/{place}/{key}");
            html.row(&waiter.comm).number(&waiter.tgid.to_string()).number(&waiter.tid.to_string());
            html.number_at(&at("waits"), waiter.waits, &unit::count(waiter.waits));
            html.number_at(&at("total_ns"), waiter.total_ns, &shown(waiter.total_ns));
            html.number_at(&at("run_queue_ns"), waiter.run_queue_ns, &shown(waiter.run_queue_ns));
            html.number_at(&at("longest_ns"), waiter.longest_ns, &shown(waiter.longest_ns)).end_row();
        }
        table::end(html);
        html.raw("</details>");
    }
    let refused = gil.interpreters.iter().filter_map(|interpreter| {
        let reason = interpreter.refused.as_ref()?;
        Some((format!("process {}", interpreter.tgid), format!("not measured: {reason}")))
    });
    html.entries(&words::method(gil).into_iter().chain(refused).collect::<Vec<_>>());
    html.end_section();
}

/// Where in Python the lock was held while others waited.
fn places(html: &mut Html, page: &Page, gil: &Gil) {
    const COLUMNS: [Column; 4] = [
        Column::Words("held in"),
        Column::Words("called from"),
        Column::Number("waited"),
        Column::Number("samples"),
    ];
    let Some(places) = &gil.places else { return };
    if !places.places.is_empty() {
        table::begin(html, "Where the lock was held while others waited", &COLUMNS, true);
        for (number, place) in places.places.iter().enumerate() {
            let at = |key: &str| format!("/gil/places/listed/{number}/{key}");
            html.row(&gil_words::spot(&place.at));
            html.words(&place.called_from.as_ref().map(gil_words::spot).unwrap_or_default());
            html.number_at(&at("wait_ns"), place.wait_ns, &shown(place.wait_ns));
            html.number_at(&at("waits"), place.waits, &unit::count(place.waits)).end_row();
        }
        table::end(html);
    }
    html.element("p", &gil_place::summary(page, places));
    blocked(html, &places.blocked);
}

/// Where in Python those stood that waited long.
fn blocked(html: &mut Html, blocked: &Blocked) {
    const COLUMNS: [Column; 6] = [
        Column::Words("waiter"),
        Column::Words("in"),
        Column::Words("called from"),
        Column::Number("waited"),
        Column::Number("longest"),
        Column::Number("waits"),
    ];
    let Some(sentence) = gil_place::blocked_summary(blocked) else { return };
    if !blocked.listed.is_empty() {
        table::begin(html, "Where the threads stood that waited long", &COLUMNS, true);
        for (number, block) in blocked.listed.iter().enumerate() {
            let at = |key: &str| format!("/gil/places/blocked/listed/{number}/{key}");
            html.row(&gil_words::party(&block.waiter));
            html.words(&gil_words::spot(&block.at));
            html.words(&block.called_from.as_ref().map(gil_words::spot).unwrap_or_default());
            html.number_at(&at("wait_ns"), block.wait_ns, &shown(block.wait_ns));
            html.number_at(&at("longest_ns"), block.longest_ns, &shown(block.longest_ns));
            html.number_at(&at("waits"), block.waits, &unit::count(block.waits)).end_row();
        }
        table::end(html);
    }
    html.element("p", &sentence);
}

/// How long each lock was held, and how threads came to it.
fn locks(html: &mut Html, snapshot: &Snapshot) {
    let window_ns = snapshot.window.length_ns();
    let entries: Vec<(String, String)> = snapshot
        .gil
        .locks
        .iter()
        .map(|lock| {
            let course = gil_words::course(lock, Charset::Unicode).join("; ");
            let name = format!("process {}, interpreter {}", lock.tgid, lock.interpreter);
            (name, format!("{}; {course}", gil_words::held(lock, window_ns)))
        })
        .collect();
    if !entries.is_empty() {
        html.entries(&entries);
    }
}

/// Who made whom wait, by threads.
fn thread_edges(html: &mut Html, gil: &Gil) {
    const COLUMNS: [Column; 5] = [
        Column::Words("thread that waited"),
        Column::Words("because of thread"),
        Column::Number("pid"),
        Column::Number("waited"),
        Column::Number("stretches"),
    ];
    if !gil.holders_known || gil.thread_edges.is_empty() {
        return;
    }
    html.raw("<details><summary>The same by threads</summary>");
    table::begin(html, "Which thread waited for the lock because of which", &COLUMNS, true);
    for (place, edge) in gil.thread_edges.iter().enumerate() {
        let at = |key: &str| format!("/gil/thread_edges/{place}/{key}");
        html.row(&words::thread(&edge.waiter)).words(&words::thread(&edge.holder));
        html.number(&edge.tgid.to_string());
        html.number_at(&at("total_ns"), edge.total_ns, &shown(edge.total_ns));
        html.number_at(&at("waits"), edge.waits, &unit::count(edge.waits)).end_row();
    }
    table::end(html);
    if gil.other_thread_edges_ns > 0 {
        html.raw("<p>Pairs that are not listed: ");
        html.figure(
            "/gil/other_thread_edges_ns",
            gil.other_thread_edges_ns,
            &shown(gil.other_thread_edges_ns),
        );
        html.raw("</p>");
    }
    html.raw("</details>");
}

/// Parties in the matrix, of each side; all pairs are in the list under it.
const SIDE: usize = 10;

/// Who made whom wait.
fn edges(html: &mut Html, gil: &Gil) {
    const COLUMNS: [Column; 5] = [
        Column::Words("who waited"),
        Column::Words("because of"),
        Column::Number("waited"),
        Column::Number("of all waits"),
        Column::Number("waits"),
    ];
    if !gil.holders_known || gil.edges.is_empty() {
        return;
    }
    matrix(html, gil);
    html.raw("<details><summary>Each pair</summary>");
    table::begin(html, "Who waited for the lock because of whom", &COLUMNS, true);
    for (place, edge) in gil.edges.iter().enumerate() {
        let at = |key: &str| format!("/gil/edges/{place}/{key}");
        html.row(&gil_words::party(&edge.waiter)).words(&gil_words::party(&edge.holder));
        html.number_at(&at("total_ns"), edge.total_ns, &shown(edge.total_ns));
        html.number(&unit::percent(summary::ratio(edge.total_ns, gil.waits.sum_ns())));
        html.number_at(&at("waits"), edge.waits, &unit::count(edge.waits)).end_row();
    }
    table::end(html);
    if gil.other_edges_ns > 0 {
        html.raw("<p>Pairs that are not listed: ");
        html.figure("/gil/other_edges_ns", gil.other_edges_ns, &shown(gil.other_edges_ns)).raw("</p>");
    }
    html.raw("</details>");
}

/// A row for who waited, a column for who had the lock, darker where the wait was longer.
fn matrix(html: &mut Html, gil: &Gil) {
    let waiters = costliest(gil, |edge| gil_words::party(&edge.waiter));
    let holders = costliest(gil, |edge| gil_words::party(&edge.holder));
    let most_ns = gil.edges.iter().map(|edge| edge.total_ns).max().unwrap_or(0);
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Hand-off matrix\"><table class=\"matrix\">");
    html.raw(
        "<caption>Time that the one at the left waited for the lock while the one on top had it</caption>",
    );
    html.raw("<thead><tr><td>waited \\ had the lock</td>");
    for holder in &holders {
        html.raw("<th scope=\"col\" class=\"number\">").text(holder).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for waiter in &waiters {
        html.row(waiter);
        for holder in &holders {
            let pair = |edge: &&Edge| {
                gil_words::party(&edge.waiter) == *waiter && gil_words::party(&edge.holder) == *holder
            };
            let total_ns = gil.edges.iter().filter(pair).map(|edge| edge.total_ns).sum::<u64>();
            html.raw(match summary::ratio(total_ns, most_ns).unwrap_or(0.0) {
                share if share <= 0.0 => "<td class=\"number\">",
                share if share < 0.25 => "<td class=\"number shade-1\">",
                share if share < 0.6 => "<td class=\"number shade-2\">",
                _ => "<td class=\"number shade-3\">",
            });
            html.text(&if total_ns > 0 { shown(total_ns) } else { "-".to_owned() }).raw("</td>");
        }
        html.end_row();
    }
    table::end(html);
}

/// The parties of one side, those with the longest waits first.
fn costliest(gil: &Gil, side: impl Fn(&Edge) -> String) -> Vec<String> {
    let mut parties: BTreeMap<String, u64> = BTreeMap::new();
    for edge in &gil.edges {
        let total_ns = parties.entry(side(edge)).or_default();
        *total_ns = total_ns.saturating_add(edge.total_ns);
    }
    let mut parties: Vec<(String, u64)> = parties.into_iter().collect();
    // Stable: equals stay in the order of their names.
    parties.sort_by_key(|(_, total_ns)| std::cmp::Reverse(*total_ns));
    parties.into_iter().take(SIDE).map(|(party, _)| party).collect()
}
