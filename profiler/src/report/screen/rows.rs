//! The rows of each list.
//!
//! In: a moment, and what the reader wants to see of it. Out: a [`Table`] with the rows that the filter lets through, in their order.

use std::cmp::Reverse;

use profiler_core::finding::Answer;
use profiler_core::model::gil::Party;
use profiler_core::model::{Endpoint, Listener};
use profiler_core::phase::Phases;

use super::letter;
use super::list::{EndpointKey, Key, ListKind};
use super::look::{Look, Page};
use super::model::{Kept, Shown};
use super::paint::{Paint, Role};
use super::table::{Column, Row, Table};
use crate::report::document::{endpoints, phases, slowest};
use crate::report::summary;
use crate::report::unit;

/// Columns from which on phases have their names in tables.
const WIDE: usize = 110;

const ENDPOINTS: [Column; 7] = [
    Column::Flexible("endpoint"),
    Column::Right("status"),
    Column::Right("requests"),
    Column::Right("p50"),
    Column::Right("p99"),
    Column::Right("time"),
    Column::Left("mostly"),
];
const REQUESTS: [Column; 6] = [
    Column::Right("#"),
    Column::Right("total"),
    Column::Right("ended"),
    Column::Flexible("request"),
    Column::Right("status"),
    Column::Left("mostly"),
];
const IN_FLIGHT: [Column; 5] = [
    Column::Right("#"),
    Column::Right("for"),
    Column::Flexible("request"),
    Column::Right("thread"),
    Column::Left("now"),
];
const THREADS: [Column; 7] = [
    Column::Right("slot"),
    Column::Right("pid"),
    Column::Right("thread"),
    Column::Left("now"),
    Column::Right("for"),
    Column::Left("call"),
    Column::Flexible("request or name"),
];
const GIL: [Column; 4] = [
    Column::Flexible("who waited"),
    Column::Flexible("for whom"),
    Column::Right("waited"),
    Column::Right("waits"),
];
const LISTENERS: [Column; 8] = [
    Column::Flexible("address"),
    Column::Right("held"),
    Column::Right("accepted"),
    Column::Right("woken"),
    Column::Right("wasted"),
    Column::Right("CPU"),
    Column::Right("wait p99"),
    Column::Right("queue"),
];
const FINDINGS: [Column; 4] =
    [Column::Left("finding"), Column::Left("answer"), Column::Right("cost"), Column::Flexible("because")];

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

/// The rows of a list. `of_endpoint`: only the requests of this one; `narrow`: there is no room for names of phases.
fn table_of(
    shown: &Shown,
    look: &Look,
    kind: ListKind,
    of_endpoint: Option<&EndpointKey>,
    paint: Paint,
    narrow: bool,
) -> Table {
    let (columns, rows): (&'static [Column], Vec<Row>) = match kind {
        ListKind::Endpoints => (&ENDPOINTS, endpoint_rows(shown, look, paint, narrow)),
        ListKind::Requests => (&REQUESTS, request_rows(shown, look, of_endpoint, (paint, narrow))),
        ListKind::InFlight => (&IN_FLIGHT, in_flight_rows(shown, look, paint)),
        ListKind::Threads => (&THREADS, thread_rows(shown, look, paint)),
        ListKind::Gil => (&GIL, gil_rows(shown, look, paint)),
        ListKind::Listeners => (&LISTENERS, listener_rows(shown, paint)),
        ListKind::Findings => (&FINDINGS, finding_rows(shown)),
    };
    let all = rows.len();
    let wanted = |row: &Row| row.cells.iter().any(|cell| look.wants(cell));
    let rows = rows.into_iter().filter(wanted).collect();
    Table { kind, columns, rows, all, empty: empty(shown, kind) }
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

fn endpoint_rows(shown: &Shown, look: &Look, paint: Paint, narrow: bool) -> Vec<Row> {
    let snapshot = &shown.snapshot;
    let mut ordered: Vec<&Endpoint> = summary::endpoints_by_time(snapshot);
    match look.order_of(ListKind::Endpoints) {
        "requests" => ordered.sort_by_key(|endpoint| Reverse(endpoint.count)),
        "p50" => ordered.sort_by_key(|endpoint| Reverse(endpoint.total.quantile_ns(0.5))),
        "p99" => ordered.sort_by_key(|endpoint| Reverse(endpoint.total.quantile_ns(0.99))),
        "endpoint" => ordered.sort_by_key(|e| (&e.path_shape, &e.method, e.status)),
        _ => {}
    }
    let whole_ns = snapshot.requests.phases.total_ns();
    let row = |endpoint: &Endpoint| {
        let time = |quantile| match endpoint.total.count() {
            0 => "-".to_owned(),
            _ => unit::duration(endpoint.total.quantile_ns(quantile), paint.charset),
        };
        let key = EndpointKey {
            method: endpoint.method.clone(),
            shape: endpoint.path_shape.clone(),
            status: endpoint.status,
        };
        Row {
            key: Key::Endpoint(key),
            cells: vec![
                endpoints::name(snapshot, endpoint),
                endpoints::status(endpoint.status),
                unit::count(endpoint.count),
                time(0.5),
                time(0.99),
                unit::percent(summary::ratio(endpoint.phases.total_ns(), whole_ns)),
                mostly(&endpoint.phases, narrow),
            ],
            role: if endpoint.status >= 500 { Role::Bad } else { Role::Plain },
        }
    };
    ordered.into_iter().chain(snapshot.by_endpoint.others.as_ref()).map(row).collect()
}

fn request_rows(
    shown: &Shown,
    look: &Look,
    of: Option<&EndpointKey>,
    (paint, narrow): (Paint, bool),
) -> Vec<Row> {
    let belongs = |kept: &&Kept| {
        of.is_none_or(|key| {
            key.shape == kept.shape
                && key.method == kept.request.http.method
                && key.status == kept.request.http.status
        })
    };
    let mut kept: Vec<&Kept> = shown.kept.iter().map(AsRef::as_ref).filter(belongs).collect();
    match look.order_of(ListKind::Requests) {
        "ended" => kept.sort_by_key(|kept| Reverse((kept.request.times.end_ns, kept.request.id))),
        _ => kept.sort_by_key(|kept| (Reverse(kept.request.total_ns()), kept.request.id)),
    }
    let row = |kept: &Kept| {
        let request = &kept.request;
        let ago_ns = shown.now.at_ns.saturating_sub(request.times.end_ns);
        let ended = if request.seen.open { "open".to_owned() } else { ago(ago_ns) };
        Row {
            key: Key::Request(request.id),
            cells: vec![
                request.id.to_string(),
                unit::duration(request.total_ns(), paint.charset),
                ended,
                slowest::name(request),
                endpoints::status(request.http.status),
                mostly(&request.phases, narrow),
            ],
            role: if request.http.status >= 500 { Role::Bad } else { Role::Plain },
        }
    };
    kept.into_iter().map(row).collect()
}

/// The phase that took most, by its letter where there is no room for its name.
fn mostly(all: &Phases, narrow: bool) -> String {
    let longest = all.iter().max_by_key(|(phase, duration_ns)| (*duration_ns, Reverse(*phase)));
    match longest {
        Some((phase, duration_ns)) if narrow => {
            let share = summary::ratio(duration_ns, all.total_ns()).unwrap_or(0.0);
            format!("{} {:.0} %", letter::of_phase(phase).letter, share * 100.0)
        }
        _ => phases::mostly(all),
    }
}

/// A short time ago, in whole units.
fn ago(duration_ns: u64) -> String {
    match duration_ns / 1_000_000_000 {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    }
}

fn in_flight_rows(shown: &Shown, look: &Look, paint: Paint) -> Vec<Row> {
    let mut requests: Vec<_> = shown.now.requests.iter().collect();
    if look.order_of(ListKind::InFlight) == "request" {
        requests.sort_by_key(|request| (&request.path, &request.method, request.start_ns));
    }
    let row = |request: &&profiler_core::model::now::RequestNow| {
        let age_ns = shown.now.at_ns.saturating_sub(request.start_ns);
        let serves = |thread: &&profiler_core::model::now::ThreadNow| {
            thread.request == Some(request.id) || thread.request.is_none() && request.tid == Some(thread.tid)
        };
        let thread = shown.now.threads.iter().find(serves);
        let name = match request.method.as_str() {
            "" => "head not read".to_owned(),
            method => format!("{method} {}", request.path),
        };
        let doing = match (thread, request.tid) {
            (Some(thread), _) => letter::of_thread(thread).meaning,
            (None, Some(_)) => "-",
            (None, None) => "waits for a thread",
        };
        Row {
            key: Key::Request(request.id),
            cells: vec![
                request.id.to_string(),
                unit::duration(age_ns, paint.charset),
                name,
                request.tid.map_or_else(|| "-".to_owned(), |tid| tid.to_string()),
                doing.to_owned(),
            ],
            role: Role::Plain,
        }
    };
    requests.iter().map(row).collect()
}

fn thread_rows(shown: &Shown, look: &Look, paint: Paint) -> Vec<Row> {
    let now = &shown.now;
    let mut threads: Vec<_> = now.threads.iter().collect();
    match look.order_of(ListKind::Threads) {
        "for" => threads.sort_by_key(|thread| (thread.since_ns, thread.tid)),
        "pid" => {}
        _ => threads.sort_by_key(|thread| (thread.slot.is_none(), thread.slot, thread.tgid, thread.tid)),
    }
    let row = |thread: &&profiler_core::model::now::ThreadNow| {
        let request = thread.request.and_then(|id| now.requests.iter().find(|request| request.id == id));
        let what = match request {
            Some(request) => format!("{} {}", request.method, request.path),
            None => format!("({})", thread.comm),
        };
        let held_for = match thread.since_ns {
            0 => "-".to_owned(),
            since_ns => unit::duration(now.at_ns.saturating_sub(since_ns), paint.charset),
        };
        let sign = letter::of_thread(thread);
        Row {
            key: Key::Thread(thread.tid),
            cells: vec![
                thread.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string()),
                thread.tgid.to_string(),
                thread.tid.to_string(),
                format!("{} {}", sign.letter, sign.meaning),
                held_for,
                thread.call.unwrap_or("-").to_owned(),
                what,
            ],
            role: if thread.slot.is_some() { Role::Plain } else { Role::Quiet },
        }
    };
    threads.iter().map(row).collect()
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

fn gil_rows(shown: &Shown, look: &Look, paint: Paint) -> Vec<Row> {
    let mut edges: Vec<_> = shown.snapshot.gil.edges.iter().collect();
    if look.order_of(ListKind::Gil) == "waits" {
        edges.sort_by_key(|edge| Reverse(edge.waits));
    }
    let row = |(rank, edge): (usize, &&profiler_core::model::gil::Edge)| Row {
        key: Key::Pair(rank),
        cells: vec![
            party(&edge.waiter),
            party(&edge.holder),
            unit::duration(edge.total_ns, paint.charset),
            unit::count(edge.waits),
        ],
        role: Role::Plain,
    };
    edges.iter().enumerate().map(row).collect()
}

fn listener_rows(shown: &Shown, paint: Paint) -> Vec<Row> {
    let row = |(rank, listener): (usize, &Listener)| {
        let wait = |quantile| match listener.accept_wait.count() {
            0 => "-".to_owned(),
            _ => unit::duration(listener.accept_wait.quantile_ns(quantile), paint.charset),
        };
        let measured = |text: String| listener.wakes.map_or_else(|| "-".to_owned(), |_| text);
        Row {
            key: Key::Listener(rank),
            cells: vec![
                listener.seen.address.clone(),
                if listener.is_closed { "closed".to_owned() } else { listener.holders.len().to_string() },
                unit::count(listener.accepted),
                listener.woken_per_connection().map_or_else(|| "-".to_owned(), |woken| format!("{woken:.2}")),
                measured(unit::count(listener.woken_in_vain())),
                measured(unit::duration(listener.in_vain_cpu_ns(), paint.charset)),
                wait(0.99),
                listener
                    .queue
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |queue| format!("{}/{}", queue.depth, queue.limit)),
            ],
            role: Role::Plain,
        }
    };
    shown.snapshot.sockets.listeners.iter().enumerate().map(row).collect()
}

fn finding_rows(shown: &Shown) -> Vec<Row> {
    let ordered = summary::worst_first(&shown.findings);
    let row = |finding: &profiler_core::finding::Finding| {
        let (answer, because, role) = match &finding.answer {
            Answer::Present if finding.id == summary::HEALTHY => ("present", &finding.sentence, Role::Good),
            Answer::Present => ("present", &finding.sentence, Role::Bad),
            Answer::Undecided { reason } => ("undecided", reason, Role::Doubt),
            Answer::Absent => ("ruled out", &finding.sentence, Role::Quiet),
        };
        let cost = match finding.cost_ns {
            0 => "-".to_owned(),
            cost_ns => format!("{} s", unit::request_seconds(cost_ns)),
        };
        Row {
            key: Key::Finding(finding.id),
            cells: vec![finding.id.to_owned(), answer.to_owned(), cost, because.clone()],
            role,
        }
    };
    ordered.into_iter().map(row).collect()
}
