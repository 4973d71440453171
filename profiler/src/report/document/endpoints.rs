//! Endpoints by the time spent in them.
//!
//! In: the endpoints of a snapshot. Out: a section: a table (in the text report of the first few, the rest
//! added up), on the page the first of them in full.

use profiler_core::model::lasting::Open;
use profiler_core::model::{Endpoint, Snapshot};
use profiler_core::phase::Phases;

use super::block::{Block, Blocks, Folded, Section, parts};
use super::cell::{bar, count, duration, mostly, quantile, share, words};
use super::table::{On, Rows, Table};
use super::{header, phases, shown};
use crate::report::summary;

/// Endpoints in the text report.
const SHOWN: usize = 15;
/// Endpoints where the text report is one page.
const BRIEFLY: usize = 5;
/// Endpoints that the page shows in full.
const IN_FULL: usize = 12;

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let ordered = summary::endpoints_by_time(snapshot);
    let beyond = snapshot.by_endpoint.others.as_ref();
    let more = if beyond.is_some() { ", and more beyond the bound" } else { "" };
    let note = format!("{} by time{more}", ordered.len());
    let mut body = Blocks::default();
    if ordered.is_empty() && beyond.is_none() {
        body.say("None: no request was seen.");
        return Section::new("endpoints", "Endpoints", body).note(note);
    }
    let whole_ns = snapshot.requests.phases.total_ns();
    let at = |place: usize| format!("/endpoints/{place}");
    let listed = ordered.iter().enumerate().map(|(place, endpoint)| (at(place), (Some(snapshot), *endpoint)));
    let mut all = table(whole_ns, listed.collect()).added_up(SHOWN);
    let others = beyond.map(|endpoint| (at(ordered.len()), (None, endpoint)));
    all.feet(On::PAGE, table(whole_ns, others.into_iter().collect()));
    let rest: Vec<&Endpoint> = ordered.iter().skip(SHOWN).copied().chain(beyond).collect();
    if !rest.is_empty() {
        let mut other = Endpoint::default();
        for endpoint in rest {
            other.count = other.count.saturating_add(endpoint.count);
            other.total.merge(&endpoint.total);
            other.phases.add_all(&endpoint.phases);
            let Open { count, longest_ns, phases, .. } = &endpoint.open;
            other.open.count = other.open.count.saturating_add(*count);
            other.open.longest_ns = other.open.longest_ns.max(*longest_ns);
            other.open.phases.add_all(phases);
        }
        all.feet(On::TEXT, table(whole_ns, vec![(String::new(), (None, &other))]));
    }
    body.table(all);
    let mut open: Vec<&Endpoint> = ordered.iter().copied().filter(|of| of.open.count > 0).collect();
    open.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.open.longest_ns));
    for endpoint in open.into_iter().take(MOST_SAID) {
        let open = format!("{}: {}.", name(snapshot, endpoint), header::still_open(&endpoint.open));
        body.push(On::BOTH, Block::Sentence(open.into()));
    }
    let many = ordered.iter().take(SHOWN).filter(|endpoint| per_request(endpoint) >= MANY);
    for endpoint in many.take(MOST_SAID) {
        body.say(format!(
            "{} asks back ends {:.0} times in a request, on average{}.",
            name(snapshot, endpoint),
            per_request(endpoint),
            ports(endpoint)
        ));
    }
    let waits = ordered.iter().filter(|endpoint| endpoint.round_trips.has_waits_alone());
    for endpoint in waits.take(MOST_SAID) {
        let waits = format!("{} waits for back ends{}.", name(snapshot, endpoint), waits_by_port(endpoint));
        body.push(On::BOTH, Block::Sentence(waits.into()));
    }
    if !ordered.is_empty() {
        let mut each = Blocks::default();
        for (place, endpoint) in ordered.into_iter().take(IN_FULL).enumerate() {
            each.push(On::PAGE, in_full(snapshot, endpoint, place));
        }
        body.push(On::PAGE, Block::Folded(Folded::new("Phases and durations of each", each)));
    }
    Section::new("endpoints", "Endpoints", body).note(note).brief(BRIEFLY, 1)
}

/// An endpoint of a snapshot; without one it is several, added up.
pub(crate) type Listed<'a> = (Option<&'a Snapshot>, &'a Endpoint);

/// Endpoints, each with its share of this time.
pub(crate) fn table(whole_ns: u64, endpoints: Vec<(String, Listed<'_>)>) -> Table {
    Rows::of("Endpoints by the time spent in them", endpoints)
        .shrinking("endpoint", |(snapshot, of)| {
            words(snapshot.map_or_else(|| "other".to_owned(), |snapshot| name(snapshot, of)))
        })
        .in_list("endpoint")
        .right("status", |(_, of)| words(status(of.status)))
        .in_list("status")
        .right("requests", |(_, of)| count(of.count).at("count"))
        .in_list("requests")
        .right("open", |(_, of)| count(of.open.count).at("open/count"))
        .only(On::PAGE)
        .in_list("open")
        .right("median", |(_, of)| quantile(&of.total, 0.5).at("total/p50_ns"))
        .in_list("p50")
        .right("p99", |(_, of)| quantile(&of.total, 0.99).at("total/p99_ns"))
        .in_list("p99")
        .right("time", |(_, of)| duration(whole(of).total_ns()))
        .only(On::PAGE)
        .right("of time", |(_, of)| share(whole(of).total_ns(), whole_ns))
        .in_list("time")
        .left("phases", |(_, of)| bar(parts(&whole(of)), whole(of).total_ns()))
        .only(On::PAGE)
        .left("mostly", |(_, of)| mostly(&whole(of)))
        .in_list("mostly")
        .table()
}

/// Where the time of all its requests went, of those that are open too.
pub(crate) fn whole(endpoint: &Endpoint) -> Phases {
    let mut all = endpoint.phases;
    all.add_all(&endpoint.open.phases);
    all
}

/// Its phases and durations.
fn in_full<'a>(snapshot: &Snapshot, endpoint: &'a Endpoint, place: usize) -> Block<'a> {
    let mut body = Blocks::default();
    let pointer = format!("/endpoints/{place}/phases");
    body.push(On::PAGE, phases::detail("Time in this endpoint, by phase", &endpoint.phases, &pointer));
    body.push(On::PAGE, Block::Histogram(&endpoint.total, "request"));
    let summary = format!("{} {}", name(snapshot, endpoint), status(endpoint.status));
    Block::Folded(Folded::new(summary, body))
}

/// Round trips to back ends of one request from which they are said.
const MANY: f64 = 5.0;
/// Endpoints of which they are.
const MOST_SAID: usize = 3;

fn per_request(endpoint: &Endpoint) -> f64 {
    summary::ratio(endpoint.round_trips.total(), endpoint.count).unwrap_or(0.0)
}

/// To which ports most of them went.
fn ports(endpoint: &Endpoint) -> String {
    let all = endpoint.round_trips.total();
    let most = endpoint.round_trips.by_port().into_iter().filter(|to| to.count.saturating_mul(10) >= all);
    in_parentheses(most.map(|to| port(to.port)).collect())
}

/// For which ports it waited longest, and how long.
fn waits_by_port(endpoint: &Endpoint) -> String {
    let ports = endpoint.round_trips.by_port().into_iter().take(MOST_SAID);
    in_parentheses(ports.map(|to| format!("{} {}", port(to.port), shown(to.waited_ns))).collect())
}

fn port(port: u16) -> String {
    if port > 0 { format!("port {port}") } else { "a socket without port".to_owned() }
}

fn in_parentheses(list: Vec<String>) -> String {
    if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) }
}

/// Method and path shape of an endpoint, or why there are none. Hostile input.
pub(crate) fn name(snapshot: &Snapshot, endpoint: &Endpoint) -> String {
    let method = match (endpoint.method.as_str(), endpoint.status) {
        // What was answered in HTTP was asked in HTTP, before the window or where the head was lost.
        // Nobody has read what it asks.
        ("", 0) if endpoint.count == 0 && endpoint.open.count > 0 => "not read yet",
        ("", 0) if snapshot.requests.not_http >= endpoint.count => "encrypted, or not HTTP",
        ("", 0) if snapshot.requests.not_http > 0 => "encrypted, not HTTP, or no head",
        ("", _) => "head not read",
        (method, _) => method,
    };
    format!("{method} {}", endpoint.path_shape)
}

/// A status code, or a dash where none was seen.
pub(crate) fn status(status: u16) -> String {
    if status > 0 { status.to_string() } else { "-".to_owned() }
}
