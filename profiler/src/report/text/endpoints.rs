//! Endpoints by the time spent in them.
//!
//! In: the endpoints of a snapshot. Out: a table of the first few, the rest added up.

use profiler_core::model::{Endpoint, Snapshot};

use super::page::Page;
use super::table::{Column, Table};
use super::{phases, unit};
use crate::report::style::Role;
use crate::report::summary;

/// Endpoints shown.
const SHOWN: usize = 15;

const COLUMNS: [Column; 7] = [
    Column::Shrinking("endpoint"),
    Column::Right("status"),
    Column::Right("requests"),
    Column::Right("median"),
    Column::Right("p99"),
    Column::Right("of time"),
    Column::Left("mostly"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let ordered = summary::endpoints_by_time(snapshot);
    let beyond = if snapshot.by_endpoint.others.is_some() { ", and more beyond the bound" } else { "" };
    page.heading("Endpoints", &format!("{} by time{beyond}", ordered.len()));
    if ordered.is_empty() && snapshot.by_endpoint.others.is_none() {
        page.paragraph((Role::Quiet, "  "), (None, "None: no request was seen."));
        return;
    }
    let whole_ns = snapshot.requests.phases.total_ns();
    let mut table = Table::new(&COLUMNS);
    for endpoint in ordered.iter().take(SHOWN) {
        table.row(row(page, name(snapshot, endpoint), endpoint, whole_ns));
    }
    let rest: Vec<&Endpoint> =
        ordered.iter().skip(SHOWN).copied().chain(snapshot.by_endpoint.others.as_ref()).collect();
    if !rest.is_empty() {
        let mut other = Endpoint::default();
        for endpoint in rest {
            other.count = other.count.saturating_add(endpoint.count);
            other.total.merge(&endpoint.total);
            other.phases.add_all(&endpoint.phases);
        }
        table.row(row(page, "other".to_owned(), &other, whole_ns));
    }
    table.write(page);
    for endpoint in
        ordered.iter().take(SHOWN).filter(|endpoint| per_request(endpoint) >= MANY).take(MOST_SAID)
    {
        let text = format!(
            "{} asks back ends {:.0} times in a request, on average{}.",
            name(snapshot, endpoint),
            per_request(endpoint),
            ports(endpoint)
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
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
    let ports: Vec<String> = endpoint
        .round_trips
        .by_port()
        .into_iter()
        .filter(|to| to.count.saturating_mul(10) >= all)
        .map(|to| match to.port {
            0 => "a socket without port".to_owned(),
            port => format!("port {port}"),
        })
        .collect();
    if ports.is_empty() { String::new() } else { format!(" ({})", ports.join(", ")) }
}

/// Method and path shape of an endpoint, or why there are none. Hostile input.
pub(in crate::report) fn name(snapshot: &Snapshot, endpoint: &Endpoint) -> String {
    let method = match (endpoint.method.as_str(), endpoint.status) {
        // What was answered in HTTP was asked in HTTP, before the window or where the head was lost.
        ("", 0) if snapshot.requests.not_http >= endpoint.count => "encrypted, or not HTTP",
        ("", 0) if snapshot.requests.not_http > 0 => "encrypted, not HTTP, or no head",
        ("", _) => "head not read",
        (method, _) => method,
    };
    format!("{method} {}", endpoint.path_shape)
}

fn row(page: &Page, name: String, endpoint: &Endpoint, whole_ns: u64) -> [String; COLUMNS.len()] {
    let counted = endpoint.total.count() > 0;
    let quantile = |quantile| match counted {
        true => unit::duration(endpoint.total.quantile_ns(quantile), page.style.charset),
        false => "-".to_owned(),
    };
    [
        name,
        status(endpoint.status),
        unit::count(endpoint.count),
        quantile(0.5),
        quantile(0.99),
        unit::percent(summary::ratio(endpoint.phases.total_ns(), whole_ns)),
        phases::mostly(&endpoint.phases),
    ]
}

/// A status code, or a dash where none was seen.
pub(in crate::report) fn status(status: u16) -> String {
    if status > 0 { status.to_string() } else { "-".to_owned() }
}
