//! The rows of each list.
//!
//! In: a moment, and what the reader wants to see of it. Out: a [`Table`] with the rows that the filter lets
//! through, in their order.

use std::cmp::Reverse;

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Endpoint;
use profiler_core::model::gil::Edge;
use profiler_core::model::now::{RequestNow, ThreadNow};
use profiler_core::model::request::Request;
use profiler_core::phase::Phases;

use super::list::{EndpointKey, Key, ListKind};
use super::look::{Look, Page};
use super::model::{Kept, Shown};
use super::paint::{Paint, Role};
use super::table::{Row, Table};
use crate::report::document::cell::{Cell, duration, id, maybe, words};
use crate::report::document::table::{Column, On, Rows, here};
use crate::report::document::{self, endpoints as names, gil_matrix, slowest};
use crate::report::{summary, unit, vocabulary};

/// Columns from which on phases have their names in tables.
const WIDE: usize = 110;

/// The list that the reader looks at; `None`: this place has none.
pub fn table(shown: &Shown, look: &Look, paint: Paint, width: usize) -> Option<Table> {
    let kind = look.shown_list()?;
    let of_endpoint = match look.page() {
        Page::Endpoint(key) => Some(key),
        _ => None,
    };
    Some(table_of(shown, look, kind, of_endpoint, paint, width < WIDE))
}

/// The list that follows a short one where there is room: who suffers, or the slowest of their requests.
pub(super) fn second(shown: &Shown, look: &Look, paint: Paint, width: usize) -> Option<Table> {
    let kind = match (look.page(), look.shown_list()?) {
        (Page::Overview, ListKind::Endpoints) => ListKind::Requests,
        (Page::Overview, _) => ListKind::Endpoints,
        _ => return None,
    };
    Some(table_of(shown, look, kind, None, paint, width < WIDE))
}

/// The rows of a list. `of_endpoint`: only the requests of this one; `narrow`: there is no room for names of
/// phases.
fn table_of(
    shown: &Shown,
    look: &Look,
    kind: ListKind,
    of_endpoint: Option<&EndpointKey>,
    paint: Paint,
    narrow: bool,
) -> Table {
    let Listing { table, rows, phases } = match kind {
        ListKind::Endpoints => endpoints(shown, look),
        ListKind::Requests => requests(shown, look, of_endpoint),
        ListKind::InFlight => in_flight(shown, look),
        ListKind::Threads => threads(shown, look),
        ListKind::Gil => gil(shown, look),
        ListKind::Listeners => listeners(shown),
        ListKind::Findings => findings(shown),
    };
    let all = rows.len();
    let listed = |column: &&Column| column.on.is(On::SCREEN);
    let row = |(index, ((key, role), row)): (usize, ((Key, Role), &document::table::Row))| {
        let cells = row.cells.iter().zip(&table.columns).filter(|(_, column)| listed(column));
        let shown = |(cell, _): (&Cell, _)| match narrow {
            true => cell.brief(paint.charset),
            false => cell.shown(paint.charset),
        };
        Row { key, cells: cells.map(shown).collect(), role, phases: phases.get(index).copied() }
    };
    let wanted = |row: &Row| row.cells.iter().any(|cell| look.wants(cell));
    let rows = rows.into_iter().zip(&table.rows).enumerate().map(row).filter(wanted).collect();
    let columns = table.columns.iter().filter(listed).copied().collect();
    Table { kind, columns, rows, all, empty: empty(shown, kind) }
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

fn endpoints(shown: &Shown, look: &Look) -> Listing {
    let snapshot = &shown.snapshot;
    let mut ordered: Vec<&Endpoint> = summary::endpoints_by_time(snapshot);
    match look.order_of(ListKind::Endpoints) {
        "requests" => ordered.sort_by_key(|endpoint| Reverse(endpoint.count)),
        "p50" => ordered.sort_by_key(|endpoint| Reverse(endpoint.total.quantile_ns(0.5))),
        "p99" => ordered.sort_by_key(|endpoint| Reverse(endpoint.total.quantile_ns(0.99))),
        "endpoint" => ordered.sort_by_key(|e| (&e.path_shape, &e.method, e.status)),
        _ => {}
    }
    let listed = ordered.into_iter().map(|endpoint| (Some(&**snapshot), endpoint));
    let listed: Vec<names::Listed<'_>> =
        listed.chain(snapshot.by_endpoint.others.iter().map(|others| (None, others))).collect();
    let key = |(_, endpoint): &names::Listed<'_>| {
        let (method, shape) = (endpoint.method.clone(), endpoint.path_shape.clone());
        let key = EndpointKey { method, shape, status: endpoint.status };
        (Key::Endpoint(key), of_status(endpoint.status))
    };
    let rows = listed.iter().map(key).collect();
    let phases = listed.iter().map(|(_, endpoint)| endpoint.phases).collect();
    Listing { table: names::table(snapshot.requests.phases.total_ns(), here(listed)), rows, phases }
}

const fn of_status(status: u16) -> Role {
    if status >= 500 { Role::Bad } else { Role::Plain }
}

fn requests(shown: &Shown, look: &Look, of: Option<&EndpointKey>) -> Listing {
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
    let key = |request: &&Request| (Key::Request(request.id), of_status(request.http.status));
    let rows = requests.iter().map(key).collect();
    let phases = requests.iter().map(|request| request.phases).collect();
    let times = (shown.snapshot.window.start_ns, shown.now.at_ns);
    Listing { table: slowest::table(requests, times), rows, phases }
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
    let table = Rows::on_screen(requests)
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
        let mut what = match request {
            Some(request) => format!("{} {}", request.method, request.path),
            None => format!("({})", thread.comm),
        };
        what.extend(shown.lines.get(&thread.tid).map(|line| format!(" at {line}")));
        what
    };
    let state = |thread: &ThreadNow| {
        let term = vocabulary::of_thread(thread);
        format!("{} {}", term.letter, term.name)
    };
    let since_ns = |thread: &ThreadNow| Some(thread.since_ns).filter(|since_ns| *since_ns > 0);
    let role = |thread: &ThreadNow| if thread.slot.is_some() { Role::Plain } else { Role::Quiet };
    let rows = threads.iter().map(|thread| (Key::Thread(thread.tid), role(thread))).collect();
    let table = Rows::on_screen(threads)
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

fn gil(shown: &Shown, look: &Look) -> Listing {
    let gil = &shown.snapshot.gil;
    let mut edges: Vec<&Edge> = gil.edges.iter().collect();
    if look.order_of(ListKind::Gil) == "waits" {
        edges.sort_by_key(|edge| Reverse(edge.waits));
    }
    let rows = (0..edges.len()).map(|rank| (Key::Pair(rank), Role::Plain)).collect();
    Listing::new(gil_matrix::table(gil, here(edges)), rows)
}

fn listeners(shown: &Shown) -> Listing {
    let listeners = &shown.snapshot.sockets.listeners;
    let rows = (0..listeners.len()).map(|rank| (Key::Listener(rank), Role::Plain)).collect();
    Listing::new(document::listeners::list(listeners), rows)
}

fn findings(shown: &Shown) -> Listing {
    let said = |finding: &'_ Finding| match &finding.answer {
        Answer::Present if finding.id == summary::HEALTHY => ("present", Role::Good),
        Answer::Present if summary::is_wrong(finding.id) => ("present", Role::Bad),
        Answer::Present => ("present", Role::Plain),
        Answer::Undecided { .. } => ("undecided", Role::Doubt),
        Answer::Usual => ("usual", Role::Plain),
        Answer::Absent => ("ruled out", Role::Quiet),
    };
    let because = |finding: &Finding| match &finding.answer {
        Answer::Undecided { reason } => reason.clone(),
        Answer::Present | Answer::Usual | Answer::Absent => finding.sentence.clone(),
    };
    let cost = |finding: &Finding| match finding.cost_ns {
        0 => "-".to_owned(),
        cost_ns => format!("{} s", unit::request_seconds(cost_ns)),
    };
    let ordered = summary::worst_first(&shown.findings);
    let rows = ordered.iter().map(|finding| (Key::Finding(finding.id), said(finding).1)).collect();
    let table = Rows::on_screen(ordered)
        .left("finding", |finding| words(finding.id))
        .left("answer", |finding| words(said(finding).0))
        .right("cost", |finding| words(cost(finding)))
        .shrinking("because", |finding| words(because(finding)))
        .table();
    Listing::new(table, rows)
}
