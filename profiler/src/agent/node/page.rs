//! All servers of a node on one page.
//!
//! In: rows. Out: HTML, without a script.

use super::row::Row;
use crate::report::escape::Charset;
use crate::report::html::{Html, begin_table, end_table, sheet};
use crate::report::unit::duration;

const NONE: &str = "–";

/// The page.
pub(super) fn render(rows: &[Row]) -> String {
    sheet("This node - wsgi-trace", |html| {
        html.raw("<header><h1>WSGI servers on this node</h1></header>\n<main>\n");
        if rows.is_empty() {
            html.raw("<p>No server is watched. <a href=\"/healthz\">/healthz</a> says what was left out, and why.</p>");
        } else {
            table(html, rows);
        }
        html.raw("<p>As JSON: <a href=\"/servers.json\">/servers.json</a>. For Prometheus: ");
        html.raw("<a href=\"/metrics\">/metrics</a>.</p>\n</main>\n");
    })
}

fn table(html: &mut Html, rows: &[Row]) {
    const HEADINGS: [&str; 6] = ["Server", "Verdict", "p99", "Slots busy", "In line", "Mode"];
    begin_table(html, "Each server now, the worst first", &HEADINGS);
    for row in rows {
        html.raw("<tr><td><a").attribute("href", &row.path).raw(">").text(&row.name).raw("</a><br>");
        html.text(&place(row)).raw("</td>");
        html.element("td", &said(row));
        html.element("td", &row.p99_seconds.map_or_else(|| NONE.to_owned(), seconds));
        let count = |count: Option<u64>| count.map_or_else(|| NONE.to_owned(), |count| count.to_string());
        let slots = [row.slots_busy, row.slots].map(|slots| count(slots.map(u64::from)));
        html.element("td", &slots.join(" of "));
        html.element("td", &count(row.requests_in_line));
        html.element("td", row.mode.unwrap_or(NONE)).raw("</tr>\n");
    }
    end_table(html);
}

fn seconds(seconds: f64) -> String {
    duration(
        std::time::Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_nanos() as u64),
        Charset::Unicode,
    )
}

fn said(row: &Row) -> String {
    row.verdict.clone().or_else(|| row.reason.clone()).unwrap_or_else(|| row.status.to_owned())
}

/// Where it runs: process, pod, container.
fn place(row: &Row) -> String {
    let container = row.about.get("container");
    let of = |name: &str| container.and_then(|container| container.get(name)).and_then(|name| name.as_str());
    let mut place = format!("process {}", row.pid);
    match (of("k8s_namespace_name"), of("k8s_pod_name"), of("id")) {
        (Some(namespace), Some(pod), _) => place.push_str(&format!(", pod {namespace}/{pod}")),
        (_, _, Some(id)) => place.push_str(&format!(", container {}", id.get(..12).unwrap_or(id))),
        _ => {}
    }
    place
}
