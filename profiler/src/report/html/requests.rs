//! Latency, endpoints, the slowest requests.
//!
//! In: requests and endpoints of a snapshot. Out: three sections.

use profiler_core::model::latency::Latency;
use profiler_core::model::request::Request;
use profiler_core::model::{Endpoint, Snapshot};

use super::markup::Html;
use super::table::{self, Column};
use super::{chart, phases};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{endpoints as names, gil_words, phases as words, slowest, unit};

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

pub(super) fn latency(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 7] = [
        Column::Words("interval"),
        Column::Number("requests"),
        Column::Number("mean"),
        Column::Number("median"),
        Column::Number("p90"),
        Column::Number("p99"),
        Column::Number("longest"),
    ];
    let requests = &snapshot.requests;
    html.section("latency", "Latency", "Percentiles are right within 1 %.");
    table::begin(html, "Durations of completed requests whose beginning was seen", &COLUMNS, false);
    for (name, key, latency) in [
        ("total: first byte to last write", "total", &requests.total),
        ("service: head read to last write", "service", &requests.service),
    ] {
        html.row(name);
        numbers(html, &format!("/requests/{key}"), latency);
        html.end_row();
    }
    table::end(html);
    chart::histogram(html, &requests.total, "request");
    html.end_section();
}

/// Count, mean, quantiles, each in its cell.
fn numbers(html: &mut Html, pointer: &str, latency: &Latency) {
    let count = latency.count();
    html.number_at(&format!("{pointer}/count"), count, &unit::count(count));
    let at = |quantile| (count > 0).then(|| latency.quantile_ns(quantile));
    for (key, value) in [
        ("mean_ns", latency.sum_ns().checked_div(count)),
        ("p50_ns", at(0.5)),
        ("p90_ns", at(0.9)),
        ("p99_ns", at(0.99)),
        ("max_ns", (count > 0).then(|| latency.max_ns())),
    ] {
        html.maybe_at(&format!("{pointer}/{key}"), value, shown);
    }
}

pub(super) fn endpoints(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 9] = [
        Column::Words("endpoint"),
        Column::Number("status"),
        Column::Number("requests"),
        Column::Number("median"),
        Column::Number("p99"),
        Column::Number("time"),
        Column::Number("of all"),
        Column::Words("phases"),
        Column::Words("mostly"),
    ];
    let ordered = summary::endpoints_by_time(snapshot);
    html.section("endpoints", "Endpoints", &format!("{} by time", ordered.len()));
    if ordered.is_empty() && snapshot.by_endpoint.others.is_none() {
        html.raw("<p>None: no request was seen.</p>");
        html.end_section();
        return;
    }
    let whole_ns = snapshot.requests.phases.total_ns();
    let listed = ordered.into_iter().map(|endpoint| (endpoint, names::name(snapshot, endpoint)));
    let other = snapshot.by_endpoint.others.iter().map(|endpoint| (endpoint, "other".to_owned()));
    let all: Vec<(&Endpoint, String)> = listed.chain(other).collect();
    table::begin(html, "Endpoints by the time spent in them", &COLUMNS, true);
    for (place, (endpoint, name)) in all.iter().enumerate() {
        let at = |key: &str| format!("/endpoints/{place}/{key}");
        let time_ns = endpoint.phases.total_ns();
        let quantile = |quantile| (endpoint.total.count() > 0).then(|| endpoint.total.quantile_ns(quantile));
        html.row(name).number(&names::status(endpoint.status));
        html.number_at(&at("count"), endpoint.count, &unit::count(endpoint.count));
        html.maybe_at(&at("total/p50_ns"), quantile(0.5), shown);
        html.maybe_at(&at("total/p99_ns"), quantile(0.99), shown);
        html.number_at(&at("time_in_requests_ns"), time_ns, &shown(time_ns));
        html.number(&unit::percent(summary::ratio(time_ns, whole_ns))).raw("<td>");
        phases::bar(html, &endpoint.phases);
        html.raw("</td>").words(&words::mostly(&endpoint.phases)).end_row();
    }
    table::end(html);
    details(html, &all);
    html.end_section();
}

/// Endpoints shown in full.
const IN_FULL: usize = 12;

/// Phases and durations of the first few endpoints.
fn details(html: &mut Html, all: &[(&Endpoint, String)]) {
    html.raw("<h3>The first of them in full</h3>");
    for (place, (endpoint, name)) in all.iter().enumerate().take(IN_FULL) {
        html.raw("<details><summary>").text(name).raw(" ").text(&names::status(endpoint.status));
        html.raw("</summary>");
        phases::detail(
            html,
            "Time in this endpoint, by phase",
            &endpoint.phases,
            &format!("/endpoints/{place}/phases"),
        );
        chart::histogram(html, &endpoint.total, "request");
        html.raw("</details>");
    }
}

pub(super) fn slowest(html: &mut Html, snapshot: &Snapshot) {
    let slowest = summary::slowest(snapshot);
    html.section(
        "slowest",
        "Slowest requests",
        "\"At\" counts from the start of the window; open one to see its phases.",
    );
    if slowest.is_empty() {
        html.raw("<p>No request was seen.</p>");
    }
    for (place, request) in slowest.into_iter().enumerate() {
        one(html, place, request, snapshot.window.start_ns);
    }
    html.end_section();
}

fn one(html: &mut Html, place: usize, request: &Request, window_start_ns: u64) {
    let at = |key: &str| format!("/requests/slowest/{place}/{key}");
    html.raw("<details").attribute("id", &format!("request-{}", request.id)).raw("><summary><b>#");
    html.figure(&at("id"), request.id, &request.id.to_string()).raw("</b> <b>");
    html.figure(&at("total_ns"), request.total_ns(), &shown(request.total_ns())).raw("</b> ");
    html.text(&slowest::name(request)).raw(" ").text(&names::status(request.http.status));
    html.raw(" <span class=\"mostly\">").text(&words::mostly(&request.phases)).raw("</span>");
    phases::bar(html, &request.phases);
    html.raw("</summary>");
    let began =
        request.times.start_ns.checked_sub(window_start_ns).map_or("before the window".to_owned(), shown);
    let mut entries = vec![
        ("at", began),
        ("served by", format!("pid {}, thread {}", request.tgid, request.tid)),
        ("connection", format!("{}, request {} on it", request.connection, request.index_on_connection + 1)),
        (
            "bytes",
            format!("{} in, {} out", unit::bytes(request.http.bytes_in), unit::bytes(request.http.bytes_out)),
        ),
    ];
    if let Some(service_ns) = request.service_ns() {
        entries.push(("service", shown(service_ns)));
    }
    if let Some(text) = gil_words::because(request, Charset::Unicode) {
        entries.push(("GIL", text));
    }
    for text in gil_words::longest_waits(request, Charset::Unicode) {
        entries.push(("GIL wait", text));
    }
    for (applies, doubt) in [
        (request.seen.open, "still open at the end of the window"),
        (request.seen.truncated, "its beginning was not seen"),
        (request.seen.lossy, "records of its thread were lost meanwhile"),
    ] {
        if applies {
            entries.push(("note", doubt.to_owned()));
        }
    }
    html.entries(&entries);
    phases::detail(html, "Time of this request, by phase", &request.phases, &at("phases"));
    html.raw("</details>");
}
