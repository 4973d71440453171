//! The rows of each list.
//!
//! In: a moment, and what the reader wants to see of it. Out: a [`Table`] with the rows that the filter lets through, in their order.

use std::cmp::Reverse;

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::gil::{Edge, Party};
use profiler_core::model::now::{RequestNow, ThreadNow};
use profiler_core::model::request::Request;
use profiler_core::model::{Endpoint, Listener};
use profiler_core::phase::Phases;

use super::list::{EndpointKey, Key, ListKind};
use super::look::{Look, Page};
use super::model::{Kept, Shown};
use super::paint::{Paint, Role};
use super::table::{Row, Table};
use crate::report::document::cell::{Cell, count, duration, id, maybe, quantile, share, words};
use crate::report::document::table::Rows;
use crate::report::document::{self, endpoints as names, phases, slowest};
use crate::report::{summary, unit, vocabulary};

/// Columns from which on phases have their names in tables.
const WIDE: usize = 110;

/// The list that the reader looks at; `None`: this place has none.
#[must_use]
pub fn table(shown: &Shown, look: &Look, paint: Paint, width: usize) -> Option<Table> {
    let kind = look.shown_list()?;
    let of_endpoint = match look.page() {
        Page::Endpoint(key) => Some(key),
        _ => None,
    };
    Some(table_of(shown, look, kind, of_endpoint, paint, width < WIDE))
}

/// The list that stands below a short one where there is room: who suffers, or the slowest of their requests.
#[must_use]
pub(super) fn second(shown: &Shown, look: &Look, paint: Paint, width: usize) -> Option<Table> {
    let kind = match (look.page(), look.shown_list()?) {
        (Page::Overview, ListKind::Endpoints) => ListKind::Requests,
        (Page::Overview, _) => ListKind::Endpoints,
        _ => return None,
    };
    Some(table_of(shown, look, kind, None, paint, width < WIDE))
}

/// The rows of a list. `of_endpoint`: only the requests of this one; `narrow`: there is no room for names of phases.
fn table_of(
    shown: &Shown,
    look: &Look,
    kind: ListKind,
    of_endpoint: Option<&EndpointKey>,
    paint: Paint,
    narrow: bool,
) -> Table {
    let Listing { table, rows, phases } = match kind {
        ListKind::Endpoints => endpoints(shown, look, narrow),
        ListKind::Requests => requests(shown, look, of_endpoint, narrow),
        ListKind::InFlight => in_flight(shown, look),
        ListKind::Threads => threads(shown, look),
        ListKind::Gil => gil(shown, look),
        ListKind::Listeners => listeners(shown),
        ListKind::Findings => findings(shown),
    };
    let all = rows.len();
    let row = |(index, ((key, role), row)): (usize, ((Key, Role), &document::table::Row))| {
        let cells = row.cells.iter().map(|cell| cell.shown(paint.charset)).collect();
        Row { key, cells, role, phases: phases.get(index).copied() }
    };
    let wanted = |row: &Row| row.cells.iter().any(|cell| look.wants(cell));
    let rows = rows.into_iter().zip(&table.rows).enumerate().map(row).filter(wanted).collect();
    Table { kind, columns: table.columns, rows, all, empty: empty(shown, kind) }
}

/// A list before the filter: a table, and what each row is and how it looks.
struct Listing {
    table: document::table::Table,
    rows: Vec<(Key, Role)>,
    /// Where the time of each row went; empty where rows have none.
    phases: Vec<Phases>,
}

impl Listing {
    const fn new(table: document::table::Table, rows: Vec<(Key, Role)>) -> Self {
        Self { table, rows, phases: Vec::new() }
    }
}

fn empty(shown: &Shown, kind: ListKind) -> String {
    match kind {
        ListKind::Endpoints => "No request has ended in this window.".to_owned(),
        ListKind::Requests => "No request has ended so far.".to_owned(),
        ListKind::InFlight => "No request is in flight.".to_owned(),
        ListKind::Threads => "No thread can be looked at here.".to_owned(),
        ListKind::Gil => match &shown.snapshot.gil.not_measured {
            Some(reason) => format!("Not measured: {reason}."),
            None if shown.snapshot.gil.waits.count() == 0 => "Nobody waited for the GIL.".to_owned(),
            None => "Who held it is not known here.".to_owned(),
        },
        ListKind::Listeners => "No listening socket was seen.".to_owned(),
        ListKind::Findings => "No rule was run.".to_owned(),
    }
}

fn endpoints(shown: &Shown, look: &Look, narrow: bool) -> Listing {
    let snapshot = &shown.snapshot;
    let mut ordered: Vec<&Endpoint> = summary::endpoints_by_time(snapshot);
    match look.order_of(ListKind::Endpoints) {
        "requests" => ordered.sort_by_key(|endpoint| Reverse(endpoint.count)),
        "p50" => ordered.sort_by_key(|endpoint| Reverse(endpoint.total.quantile_ns(0.5))),
        "p99" => ordered.sort_by_key(|endpoint| Reverse(endpoint.total.quantile_ns(0.99))),
        "endpoint" => ordered.sort_by_key(|e| (&e.path_shape, &e.method, e.status)),
        _ => {}
    }
    ordered.extend(&snapshot.by_endpoint.others);
    let key = |endpoint: &&Endpoint| {
        let (method, shape) = (endpoint.method.clone(), endpoint.path_shape.clone());
        Key::Endpoint(EndpointKey { method, shape, status: endpoint.status })
    };
    let rows = ordered.iter().map(|endpoint| (key(endpoint), of_status(endpoint.status))).collect();
    let phases = ordered.iter().map(|endpoint| endpoint.phases).collect();
    let whole_ns = snapshot.requests.phases.total_ns();
    let table = Rows::here(ordered)
        .shrinking("endpoint", |endpoint| words(names::name(snapshot, endpoint)))
        .right("status", |endpoint| words(names::status(endpoint.status)))
        .right("requests", |endpoint| count(endpoint.count))
        .right("p50", |endpoint| quantile(&endpoint.total, 0.5))
        .right("p99", |endpoint| quantile(&endpoint.total, 0.99))
        .right("time", |endpoint| share(endpoint.phases.total_ns(), whole_ns))
        .left("mostly", |endpoint| mostly(&endpoint.phases, narrow))
        .table();
    Listing { table, rows, phases }
}

const fn of_status(status: u16) -> Role {
    if status >= 500 { Role::Bad } else { Role::Plain }
}

fn requests(shown: &Shown, look: &Look, of: Option<&EndpointKey>, narrow: bool) -> Listing {
    let belongs = |kept: &&Kept| {
        of.is_none_or(|key| {
            key.shape == kept.shape
                && key.method == kept.request.http.method
                && key.status == kept.request.http.status
        })
    };
    let kept = shown.kept.iter().map(AsRef::as_ref).filter(belongs);
    let mut requests: Vec<&Request> = kept.map(|kept| &kept.request).collect();
    match look.order_of(ListKind::Requests) {
        "ended" => requests.sort_by_key(|request| Reverse((request.times.end_ns, request.id))),
        _ => requests.sort_by_key(|request| (Reverse(request.total_ns()), request.id)),
    }
    let ended = |request: &Request| match request.seen.open {
        true => "open".to_owned(),
        false => ago(shown.now.at_ns.saturating_sub(request.times.end_ns)),
    };
    let key = |request: &&Request| (Key::Request(request.id), of_status(request.http.status));
    let rows = requests.iter().map(key).collect();
    let phases = requests.iter().map(|request| request.phases).collect();
    let table = Rows::here(requests)
        .right("#", |request| id(request.id))
        .right("total", |request| duration(request.total_ns()))
        .right("ended", |request| words(ended(request)))
        .shrinking("request", |request| words(slowest::name(request)))
        .right("status", |request| words(names::status(request.http.status)))
        .left("mostly", |request| mostly(&request.phases, narrow))
        .table();
    Listing { table, rows, phases }
}

/// The phase that took most, by its letter where there is no room for its name.
fn mostly(all: &Phases, narrow: bool) -> Cell {
    words(match narrow {
        true => phases::mostly_by(all, |phase| vocabulary::of_phase(phase).letter.to_string()),
        false => phases::mostly(all),
    })
}

/// A short time ago, in whole units.
fn ago(duration_ns: u64) -> String {
    match duration_ns / 1_000_000_000 {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    }
}

fn in_flight(shown: &Shown, look: &Look) -> Listing {
    let mut requests: Vec<&RequestNow> = shown.now.requests.iter().collect();
    if look.order_of(ListKind::InFlight) == "request" {
        requests.sort_by_key(|request| (&request.path, &request.method, request.start_ns));
    }
    let name = |request: &RequestNow| match request.method.as_str() {
        "" => "head not read".to_owned(),
        method => format!("{method} {}", request.path),
    };
    let doing = |request: &RequestNow| {
        let serves = |thread: &&ThreadNow| {
            thread.request == Some(request.id) || thread.request.is_none() && request.tid == Some(thread.tid)
        };
        match (shown.now.threads.iter().find(serves), request.tid) {
            (Some(thread), _) => vocabulary::of_thread(thread).name,
            (None, Some(_)) => "-",
            (None, None) => "waits for a thread",
        }
    };
    let rows = requests.iter().map(|request| (Key::Request(request.id), Role::Plain)).collect();
    let table = Rows::here(requests)
        .right("#", |request| id(request.id))
        .right("for", |request| duration(shown.now.at_ns.saturating_sub(request.start_ns)))
        .shrinking("request", |request| words(name(request)))
        .right("thread", |request| maybe(request.tid, id))
        .left("now", |request| words(doing(request)))
        .table();
    Listing::new(table, rows)
}

fn threads(shown: &Shown, look: &Look) -> Listing {
    let now = &shown.now;
    let mut threads: Vec<&ThreadNow> = now.threads.iter().collect();
    match look.order_of(ListKind::Threads) {
        "for" => threads.sort_by_key(|thread| (thread.since_ns, thread.tid)),
        "pid" => {}
        _ => threads.sort_by_key(|thread| (thread.slot.is_none(), thread.slot, thread.tgid, thread.tid)),
    }
    let what = |thread: &ThreadNow| {
        let request = thread.request.and_then(|id| now.requests.iter().find(|request| request.id == id));
        match request {
            Some(request) => format!("{} {}", request.method, request.path),
            None => format!("({})", thread.comm),
        }
    };
    let state = |thread: &ThreadNow| {
        let term = vocabulary::of_thread(thread);
        format!("{} {}", term.letter, term.name)
    };
    let since_ns = |thread: &ThreadNow| Some(thread.since_ns).filter(|since_ns| *since_ns > 0);
    let role = |thread: &ThreadNow| if thread.slot.is_some() { Role::Plain } else { Role::Quiet };
    let rows = threads.iter().map(|thread| (Key::Thread(thread.tid), role(thread))).collect();
    let table = Rows::here(threads)
        .right("slot", |thread| maybe(thread.slot, id))
        .right("pid", |thread| id(thread.tgid))
        .right("thread", |thread| id(thread.tid))
        .left("now", |thread| words(state(thread)))
        .right("for", |thread| maybe(since_ns(thread), |ns| duration(now.at_ns.saturating_sub(ns))))
        .left("call", |thread| words(thread.call.unwrap_or("-")))
        .shrinking("request or name", |thread| words(what(thread)))
        .table();
    Listing::new(table, rows)
}

/// A side of a wait for the interpreter lock. Hostile input.
pub(super) fn party(party: &Party) -> String {
    match party {
        Party::Endpoint(name) if name.is_empty() => "(head not read)".to_owned(),
        Party::Endpoint(name) => name.clone(),
        Party::Thread { tid, comm, .. } => format!("thread {tid} ({comm})"),
        Party::Unknown => "(not known)".to_owned(),
    }
}

fn gil(shown: &Shown, look: &Look) -> Listing {
    let mut edges: Vec<&Edge> = shown.snapshot.gil.edges.iter().collect();
    if look.order_of(ListKind::Gil) == "waits" {
        edges.sort_by_key(|edge| Reverse(edge.waits));
    }
    let rows = (0..edges.len()).map(|rank| (Key::Pair(rank), Role::Plain)).collect();
    let table = Rows::here(edges)
        .shrinking("who waited", |edge| words(party(&edge.waiter)))
        .shrinking("for whom", |edge| words(party(&edge.holder)))
        .right("waited", |edge| duration(edge.total_ns))
        .right("waits", |edge| count(edge.waits))
        .table();
    Listing::new(table, rows)
}

fn listeners(shown: &Shown) -> Listing {
    let listeners: Vec<&Listener> = shown.snapshot.sockets.listeners.iter().collect();
    let held = |listener: &Listener| match listener.is_closed {
        true => words("closed"),
        false => id(unit::number(listener.holders.len())),
    };
    let rows = (0..listeners.len()).map(|rank| (Key::Listener(rank), Role::Plain)).collect();
    let table = Rows::here(listeners)
        .shrinking("address", |listener| words(&listener.seen.address))
        .right("held", held)
        .right("accepted", |listener| count(listener.accepted))
        .right("woken", |listener| {
            maybe(listener.woken_per_connection(), |woken| words(format!("{woken:.2}")))
        })
        .right("wasted", |listener| maybe(listener.wakes, |_| count(listener.woken_in_vain())))
        .right("CPU", |listener| maybe(listener.wakes, |_| duration(listener.in_vain_cpu_ns())))
        .right("wait p99", |listener| quantile(&listener.accept_wait, 0.99))
        .right("queue", |listener| {
            maybe(listener.queue.as_ref(), |queue| words(format!("{}/{}", queue.depth, queue.limit)))
        })
        .table();
    Listing::new(table, rows)
}

fn findings(shown: &Shown) -> Listing {
    let said = |finding: &'_ Finding| match &finding.answer {
        Answer::Present if finding.id == summary::HEALTHY => ("present", Role::Good),
        Answer::Present if summary::is_wrong(finding.id) => ("present", Role::Bad),
        Answer::Present => ("present", Role::Plain),
        Answer::Undecided { .. } => ("undecided", Role::Doubt),
        Answer::Absent => ("ruled out", Role::Quiet),
    };
    let because = |finding: &Finding| match &finding.answer {
        Answer::Undecided { reason } => reason.clone(),
        Answer::Present | Answer::Absent => finding.sentence.clone(),
    };
    let cost = |finding: &Finding| match finding.cost_ns {
        0 => "-".to_owned(),
        cost_ns => format!("{} s", unit::request_seconds(cost_ns)),
    };
    let ordered = summary::worst_first(&shown.findings);
    let rows = ordered.iter().map(|finding| (Key::Finding(finding.id), said(finding).1)).collect();
    let table = Rows::here(ordered)
        .left("finding", |finding| words(finding.id))
        .left("answer", |finding| words(said(finding).0))
        .right("cost", |finding| words(cost(finding)))
        .shrinking("because", |finding| words(because(finding)))
        .table();
    Listing::new(table, rows)
}
